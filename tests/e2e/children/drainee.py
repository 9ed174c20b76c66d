"""A server without shutdown code. Its clients say what it shall do, one line each.

drainee.py ADDRESS PORT WAIT; WAIT: how its threads wait for the next request (recv, poll, select),
or hidden: in recv, but none of the same user may look into the process (PR_SET_DUMPABLE), or
accepts: it accepts no connection before it is released. A UDP datagram to 127.0.0.1 and the
same port releases one request that it holds.

fast: answers. slow: answers once released. stream: answers with one line now and one once released.
hang-up: answers and closes the connection. big N: answers with N bytes and ends the whole process.
exit: ends the whole process.
"""

import ctypes
import os
import select
import socket
import sys
import threading

address, port, wait = sys.argv[1], int(sys.argv[2]), sys.argv[3]
held = threading.Semaphore(0)
if wait == "hidden":
    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)


def line(connection):
    text = b""
    while not text.endswith(b"\n"):
        if wait == "poll":
            connection.settimeout(3600)
        if wait == "select":
            select.select([connection], [], [])
        data = connection.recv(1)
        if not data:
            return None
        text += data
    return text.decode().split()


def serve(connection):
    while (words := line(connection)) is not None:
        command = words[0]
        if command == "exit":
            os._exit(7)
        if command == "big":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, int(words[1]))
            connection.sendall(b"x" * int(words[1]))
            os._exit(7)
        if command == "stream":
            connection.sendall(b"part\n")
        if command in ("slow", "stream"):
            held.acquire()
        connection.sendall(b"done\n")
        if command == "hang-up":
            break
    connection.close()


def release():
    while True:
        releases.recv(1)
        held.release()


releases = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
releases.bind(("127.0.0.1", port))
threading.Thread(target=release, daemon=True).start()
listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
if ":" in address:
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind((address, port))
listener.listen(1 if wait == "accepts" else 64)
print("ready", flush=True)
if wait == "accepts":
    held.acquire()
while True:
    connection, _ = listener.accept()
    threading.Thread(target=serve, args=(connection,), daemon=True).start()
