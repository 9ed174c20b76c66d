"""Whether a stop of scripts/chaos has kept the promises."""

import collections
import json
import signal

from look import marked, send, until
from programs import PROGRAMS

# Nobody has more grace than 300 ms, and no hook more time than a second; an heir is waited for two seconds.
LONGEST = 8
# A shell that cannot fork exits with 2, and so do others that have no memory.
BY_SHORTAGE = {
    "descriptors": {125, 126, 2},
    "no-proc": {125},
    "pids": {125, 126, 2},
    "pid-max": {125, 126, 2},
    "memory": {125, 126, 127, 2, 134, 139},
}


def due(stop):
    """The statuses that this program can have after these signals; the moment decides between them."""
    # The faulty file may be the one that is read at the start.
    statuses = PROGRAMS[stop.program][1] | ({125} if stop.faulty else set()) | BY_SHORTAGE.get(stop.short, set())
    # The first one, where nobody has taken over; one that is not ready in time.
    statuses |= ({0} if stop.hands_over else set()) | ({125} if stop.replaces else set())
    # A signal that has no handler (yet), or asks for the stop before the start.
    ends = {signal.SIGTERM, signal.SIGINT, signal.SIGUSR1} | ({signal.SIGHUP} if not stop.reloads else set())
    return statuses | {128 + one for one in stop.sent if one in ends} | {137}


def judge(stop):
    breaks = stop.broken.append
    # unshare(1) wants to die of KILL as its child did, and says that it cannot give up a handler for it.
    told_by_unshare = "unshare: sigprocmask unblock failed" in (stop.directory / "log").read_text(errors="replace")
    if stop.short == "memory" and (stop.status == -signal.SIGKILL or stop.status == 1 and told_by_unshare):
        # Of all in the cgroup the kernel has chosen stepdown, which cannot keep anything then.
        for one in marked(stop.directory):
            send(one, signal.SIGKILL)
        return
    if stop.deadline and stop.took > stop.deadline / 1000 + 2:
        breaks(f"{stop.took:.2f} s, with a deadline of {stop.deadline} ms")
    if stop.took > LONGEST:
        breaks(f"{stop.took:.2f} s, and nothing takes so long")
    if stop.status not in due(stop):
        breaks(f"exit status {stop.status}, and due is one of {sorted(due(stop))}")
    judge_report(stop)
    left = until(lambda: not marked(stop.directory), 0.5) is False and marked(stop.directory) or []
    for one in left:
        send(one, signal.SIGKILL)
    if left:
        breaks(f"{len(left)} left")
    stop.is_silent = not left


def judge_report(stop):
    breaks = stop.broken.append
    hooks = stop.directory / "hooks"
    runs = collections.Counter(hooks.read_text().split() if hooks.exists() else [])
    try:
        report = json.loads(stop.report.read_text())
    except (OSError, ValueError):
        # Where nothing could be written, or stepdown has not got as far.
        if stop.status != 125 and stop.short not in ("full-disk", "descriptors", "memory"):
            breaks("there is no report")
        report = None
    for phase, there in stop.hooks.items():
        # Each is noted with its generation, where there may be several.
        of_phase = {name: count for name, count in runs.items() if name.startswith(f"{phase}-")}
        twice = [name for name, count in of_phase.items() if count > there]
        if twice:
            breaks(f"more than once: {', '.join(twice)}")
        lives = max(len(report["generations"]), 1) if report and not report["generations_omitted"] else 10**6
        if len(of_phase) > lives:
            breaks(f"{len(of_phase)} × {phase} in {lives} lives")
    if not report:
        return
    records = report["records"]
    ran = lambda phase: any(name.startswith(f"{phase}-") for name in runs)
    events = [one["event"] for one in records]
    if not stop.short and stop.hooks["post-stop"] and not stop.deadline and not ran("post-stop"):
        # A further INT may kill it before it has written anything: then its start is in the report.
        begun = any(one["event"] == "hook-started" and one["phase"] == "post-stop" for one in records)
        if "started" in events and not begun and not report["records_omitted"]:
            breaks("the post-stop hook has not run")
    outcome, last = report["outcome"], records[-1] if records else {}
    if outcome["code"] != stop.status:
        breaks(f"the report says {outcome['code']}, and the exit status is {stop.status}")
    took_over = "handed-over" in events and not stop.restarts and not stop.replaces and not report["records_omitted"]
    if took_over and stop.status == 0:
        breaks("the exit status is not that of the one that took over")
    if last.get("event") != "ended":
        breaks(f"the last record is {last.get('event')}")
    if stop.status == 137 and stop.short != "memory":
        steps = [one for one in records if one.get("signal") == "KILL" or one["event"] in ("deadline", "deadline-over")]
        if not steps and not report["records_omitted"]:
            breaks("killed, and no record says by whom")
