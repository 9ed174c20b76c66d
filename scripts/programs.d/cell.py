"""Plays one cell of the table, a program under an init in one situation, and prints what came of it as JSON.

It is PID 1 of namespaces that scripts/programs has made (mount, network, pid, ipc, uts), so all that it starts ends with
it. The program is PID 1, or the child of PID 1, of a second pid namespace: signals come to it from outside, as from a
container engine.
"""

import contextlib
import json
import os
import pathlib
import resource
import select
import shutil
import signal
import subprocess
import sys
import time

import catalog
import in_flight
import more

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "PYTHONPATH": catalog.HERE,
    "PYTHONDONTWRITEBYTECODE": "1",
}
# A start on a busy machine.
START = 60.0
# Of the program's own log.
KEPT = 4000

# When which signal is sent.
SITUATIONS = {
    "TERM": [(0, "TERM")],
    "INT": [(0, "INT")],
    "QUIT": [(0, "QUIT")],
    "HUP": [(0, "HUP")],
    "INT-INT": [(0, "INT"), (1, "INT")],
    "TERM-INT": [(0, "TERM"), (1, "INT")],
    "INT-TERM": [(0, "INT"), (1, "TERM")],
    "TERM-TERM": [(0, "TERM"), (1, "TERM")],
    # A workflow that is cancelled, see GitHub's documentation.
    "CI": [(0, "INT"), (7.5, "TERM"), (10, "KILL")],
}
# These end few programs, so their end is not waited for as long.
PASSED_ON = {"QUIT", "HUP"}


def mount(*arguments):
    subprocess.run(["mount", *map(str, arguments)], check=True)


def isolate(binary, template):
    """Leaves the machine's files as they are, whatever the program writes; everything is gone with the namespace."""
    mount("-t", "tmpfs", "-o", "mode=1777", "tmpfs", "/mnt")
    for name in ("app", "data"):
        os.mkdir(f"/mnt/{name}")
    mount("--bind", "-o", "ro", pathlib.Path(__file__).parent, "/mnt/app")
    pathlib.Path("/mnt/stepdown").touch()
    mount("--bind", binary, "/mnt/stepdown")
    if template is not None:
        overlay(template, "/mnt/data")
    for directory in ("/etc", "/var"):
        overlay(directory, directory)
    for directory, mode in (("/run", 755), ("/tmp", 1777), ("/dev/shm", 1777), ("/etc/cron.d", 755)):
        if os.path.isdir(directory):
            mount("-t", "tmpfs", "-o", f"mode={mode}", "tmpfs", directory)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    # A death by QUIT leaves no core.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Some programs make a table of all the descriptors that they may have.
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 4096))


def overlay(lower, place):
    upper = pathlib.Path("/mnt/.overlay", lower.replace("/", "_"))
    for part in ("upper", "work"):
        (upper / part).mkdir(parents=True)
    # The root of the overlay has the owner and mode of its upper directory.
    shutil.copystat(lower, upper / "upper")
    about = os.stat(lower)
    os.chown(upper / "upper", about.st_uid, about.st_gid)
    mount("-t", "overlay", "overlay", "-o", f"lowerdir={lower},upperdir={upper}/upper,workdir={upper}/work", place)


def write(files):
    for name, text in files.items():
        path = pathlib.Path(name)
        if name.endswith("/"):
            path.mkdir(mode=0o700)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755 if text.startswith("#!") else 0o644)


def until(holds, process, bound=START):
    """Whether the condition came true in time while the program lived."""
    end = time.monotonic() + bound
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(Exception):
            if holds():
                return True
        time.sleep(0.05)
    return False


def first_process(unshare):
    """The descriptor of PID 1 of the inner namespace."""
    children = pathlib.Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children")
    end = time.monotonic() + START
    while not (found := children.read_text().split()):
        if time.monotonic() > end or unshare.poll() is not None:
            sys.exit("unshare has no child")
        time.sleep(0.01)
    return os.pidfd_open(int(found[0]))


def ended(pidfd, seconds):
    return bool(select.select([pidfd], [], [], max(seconds, 0))[0])


def play(program, situation, init, bound):
    write(program.files)
    in_flight.backends()
    log = open("/mnt/log", "ab")
    if program.beside is not None:
        subprocess.Popen(program.beside, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    # The session of its own is what a container engine gives to PID 1.
    process = subprocess.Popen(
        ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "--", "setsid", *init, *program.argv],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        cwd="/",
        env={**ENVIRONMENT, **program.env},
    )
    pidfd = first_process(process)
    ready = program.ready
    if isinstance(ready, str):
        ready = lambda: in_flight.exists(program.ready)  # noqa: E731
    elif isinstance(ready, int):
        ready = lambda: in_flight.listens(program.ready)  # noqa: E731
    if not until(ready, process):
        ended_with = process.poll()
        return {"failed": "it did not become ready" if ended_with is None else f"ended with {ended_with} at the start"}
    flying = None
    if program.request is not None:
        flying = in_flight.InFlight(program.request)
        if not until(in_flight.FLYING.exists, process):
            return {"failed": "the request did not begin"}
        time.sleep(program.under_way)
    began = time.monotonic()
    killed = False
    for after, name in SITUATIONS[situation]:
        if ended(pidfd, began + after - time.monotonic()):
            break
        killed = killed or name == "KILL"
        signal.pidfd_send_signal(pidfd, getattr(signal, f"SIG{name}"))
    if not ended(pidfd, began + bound - time.monotonic()):
        killed = True
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    seconds = time.monotonic() - began
    status = process.wait()
    if flying is not None:
        flying.thread.join(timeout=2)
    return {
        "status": 128 - status if status < 0 else status,
        "seconds": round(seconds, 2),
        "killed": killed,
        "request": None if flying is None else bool(flying.complete),
    }


def main():
    request = json.loads(sys.argv[1])
    known = catalog.PROGRAMS + more.PROGRAMS
    program = next(program for program in known if program.name == request["program"])
    isolate(request["binary"], request["template"])
    with_options = ["/mnt/stepdown", *request["options"], "--"]
    inits = {"bare": [], "tini": ["tini", "--"], "stepdown": ["/mnt/stepdown", "--"], "options": with_options}
    init = inits[request["init"]]
    outcome = play(program, request["situation"], init, request["bound"])
    text = pathlib.Path("/mnt/log").read_text(errors="replace")
    outcome["well"] = None if program.well is None else program.well in text
    outcome["log"] = text[-KEPT:]
    print(json.dumps(outcome))


if __name__ == "__main__":
    main()
