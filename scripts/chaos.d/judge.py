"""Whether a stop of scripts/chaos has kept the promises."""

import collections
import itertools
import json
import re
import signal

from look import marked, send, until
from programs import NOTES, PROGRAMS
from watch import first_untold

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
    try:
        report = json.loads(stop.report.read_text())
    except (OSError, ValueError):
        # Where nothing could be written, or stepdown has not got as far.
        if stop.status != 125 and stop.short not in ("full-disk", "descriptors", "memory"):
            breaks("there is no report")
        judge_hooks(stop, [], None)
        return
    records, outcome = report["records"], report["outcome"]
    if outcome["code"] != stop.status:
        breaks(f"the report says {outcome['code']}, and the exit status is {stop.status}")
    last = records[-1]["event"] if records else None
    if last != "ended":
        breaks(f"the last record is {last}")
    # What follows looks for records that have to be there.
    if report["records_omitted"]:
        judge_hooks(stop, [], None)
        return
    judge_hooks(stop, records, len(report["generations"]))
    judge_signals(stop, records)
    judge_metrics(stop, records)
    untold = first_untold(stop.said, records)
    if untold:
        breaks(f"/status says {untold}, and the records do not, after {stop.said[: stop.said.index(untold)]}")
    events = [one["event"] for one in records]
    took_over = "handed-over" in events and not stop.restarts and not stop.replaces
    if took_over and stop.status == 0:
        breaks("the exit status is not that of the one that took over")
    if stop.status == 137 and stop.short != "memory":
        if not any(one.get("signal") == "KILL" or one["event"] in ("deadline", "deadline-over") for one in records):
            breaks("killed, and no record says by whom")


def judge_hooks(stop, records, lives):
    """What the hooks have noted, in this order; each with its generation, where there may be several."""
    breaks = stop.broken.append
    noted = stop.directory / "hooks"
    lines = noted.read_text().split() if noted.exists() else []
    twice = [line for line, count in collections.Counter(lines).items() if count > 1]
    if twice:
        breaks(f"more than once: {', '.join(twice)}")
    # Those after the stop run in the opposite order.
    which = {phase: range(count)[:: -1 if phase == "post-stop" else 1] for phase, count in stop.hooks.items()}
    order = [f"{phase}-{one}" for phase in stop.hooks for one in which[phase]]
    runs = {}
    for line in lines:
        hook, _, generation = line.rpartition("-")
        runs.setdefault(generation, []).append(order.index(hook))
    for generation, ran in runs.items():
        if ran != sorted(ran):
            breaks(f"not in their order: {' '.join(lines)}")
    if lives is None:
        return
    if len(runs) > max(lives, 1):
        breaks(f"hooks of {len(runs)} lives, and there were {lives}")
    events = [one["event"] for one in records]
    of_phase = lambda event, phase: [one for one in records if one["event"] == event and one.get("phase") == phase]
    for phase in stop.hooks:
        ran = sum(line.startswith(f"{phase}-") for line in lines)
        begun, ended = of_phase("hook-started", phase), of_phase("hook-ended", phase)
        # A further INT may kill it before it has written anything.
        done = sum(one["result"] == {"ended": {"exited": 0}} for one in ended if "hooks" in one["name"])
        if not done <= ran <= len(begun):
            breaks(f"{ran} × {phase} noted, {len(begun)} begun and {done} done by the report")
    if "started" in events and not stop.short and not stop.deadline and stop.hooks["post-stop"]:
        if not of_phase("hook-started", "post-stop"):
            breaks("the post-stop hook has not run")
    asked = next((index for index, event in enumerate(events) if event in ("stop-asked", "replaced")), len(events))
    if any(one["event"] == "hook-started" and one["phase"] == "pre-stop" for one in records[:asked]):
        breaks("a pre-stop hook was begun before a stop was asked for")


def judge_signals(stop, records):
    """What the program got, if it notes it: nothing that nobody sent, and all that is told as forwarded once it was up."""
    breaks = stop.broken.append
    if stop.program not in NOTES:
        return
    names = {signal.Signals(one).name.removeprefix("SIG") for one in stop.sent}
    by_itself = {"TERM"} if stop.replaces or stop.restarts else set()
    noted = stop.directory / "got"
    got = set(noted.read_text().split() if noted.exists() else []) - {"up"}
    if got - names - by_itself:
        breaks(f"the program got {sorted(got - names)}, and {sorted(names)} was sent")
    # A shell notes what it gets between two commands, and one that is killed notes nothing more.
    killed = any(one.get("signal") == "KILL" for one in records)
    if not stop.is_up or killed or stop.restarts or stop.replaces or stop.hands_over or stop.short:
        return
    # What is forwarded after a step may find it gone.
    until_step = list(itertools.takewhile(lambda one: one["event"] != "step", records))
    forwarded = {one["signal"] for one in until_step if one["event"] == "forwarded"} & {"HUP", "USR1", "WINCH"}
    if forwarded - got:
        breaks(f"forwarded, and the program did not get it: {sorted(forwarded - got)}")
    first = next(index for index, one in enumerate(stop.sent) if one in (signal.SIGTERM, signal.SIGINT))
    # The kernel hands out what is pending by number: WINCH may come after the CHLD of a program that has ended.
    before = {signal.Signals(one).name.removeprefix("SIG") for one in stop.sent[:first]} - {"WINCH"}
    before -= {"HUP"} if stop.reloads else set()
    told = {one.get("received") for one in records} | {one.get("signal") for one in records}
    if before - told:
        breaks(f"sent before the stop, and no record says what became of it: {sorted(before - told)}")


def judge_metrics(stop, records):
    """The file with the metrics, where there is one, counts what the report lists."""
    try:
        text = stop.metrics.read_text()
    except OSError:
        return
    total = collections.Counter()
    for name, value in re.findall(r"^stepdown_(\w+?)(?:_total)?(?:{[^}]*})? ([0-9.]+)$", text, re.MULTILINE):
        total[name] += float(value)
    count = lambda *events: sum(one["event"] in events for one in records)
    failed = [one for one in records if one["event"] == "hook-ended" and one["result"] != {"ended": {"exited": 0}}]
    listed = {
        "runs": 1,
        "restarts": count("generation-ended", "replaced"),
        "orphans_reaped": count("reaped"),
        "config_reloads": count("reloaded", "reload-refused"),
        "hook_failures": len(failed),
        "generation": max([1, *(one["generation"] for one in records if one["event"] in ("generation-began", "replaced"))]),
    }
    differs = {name: (total[name], number) for name, number in listed.items() if total[name] != number}
    if differs:
        stop.broken.append(f"the metrics are not what the report lists: {differs}")
