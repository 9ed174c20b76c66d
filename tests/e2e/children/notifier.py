"""Obeys lines on the FIFO given: `say MESSAGE` to NOTIFY_SOCKET, with \\n for a newline; `exit N`.

Prints `ready` first, then `done` after each line. TERM is taken as `exit 3`, unless `deaf` was said.
"""

import os
import signal
import socket
import subprocess
import sys


def send(message):
    name = os.environ["NOTIFY_SOCKET"]
    if name.startswith("@"):
        name = "\0" + name[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(message.encode(), name)


if sys.argv[1] == "once":
    send(sys.argv[2])
    # Stays until it is closed, as systemd-notify(1) stays: who has gone cannot be looked up.
    sys.stdin.read()
    sys.exit(0)

# They stay as long as we do.
speakers = []
signal.signal(signal.SIGTERM, lambda *_: os._exit(3))
print("ready", flush=True)
with open(sys.argv[1]) as orders:
    for line in orders:
        verb, _, rest = line.rstrip("\n").partition(" ")
        if verb == "say":
            send(rest.replace("\\n", "\n"))
        elif verb == "child-says":
            speakers.append(subprocess.Popen([sys.executable, __file__, "once", rest], stdin=subprocess.PIPE))
        elif verb == "env":
            print(rest, os.environ.get(rest), flush=True)
        elif verb == "deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        elif verb == "exit":
            os._exit(int(rest))
        print("done", verb, flush=True)
