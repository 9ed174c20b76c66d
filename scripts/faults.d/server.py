"""Serves the socket that it is passed, or hands over to a process of its own; notes in $OUT what comes to it.

`serve` answers each connection with its generation, is ready once it says so, and answers whom it has accepted before it
ends: a restart in place can promise no more. `hand-over` says MAINPID= and ends.
"""

import os
import select
import signal
import socket
import sys
import time

GENERATION = os.environ.get("STEPDOWN_GENERATION", "")


def note(word):
    with open(os.environ["OUT"], "a") as out:
        out.write(f"{word}{GENERATION}\n")


def say(message):
    name = os.environ.get("NOTIFY_SOCKET")
    if not name:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(message.encode(), "\0" + name[1:] if name[0] == "@" else name)


def serve():
    listener = socket.socket(fileno=3)
    told, tells = os.pipe()
    signal.signal(signal.SIGTERM, lambda *_: os.write(tells, b"."))
    say("READY=1")
    note("up")
    while told not in select.select([told, listener], [], [])[0]:
        client, _ = listener.accept()
        with client:
            client.sendall(GENERATION.encode())
    sys.exit(3)


def hand_over():
    parent = os.getpid()
    if child := os.fork():
        say(f"MAINPID={child}")
        return
    while os.getppid() == parent:
        time.sleep(0.01)
    note("up")
    while True:
        signal.pause()


signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
signal.signal(signal.SIGUSR1, lambda *_: note("usr1"))
{"serve": serve, "hand-over": hand_over}[sys.argv[1]]()
