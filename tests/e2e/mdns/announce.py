"""Announces web._http._tcp.local again and again, over IPv4 and, where there is a link-local address, over IPv6, and
never takes it back: it dies of TERM. Arguments: its IPv4 address, its interface."""
import socket
import struct
import sys
import time

GROUPS = {socket.AF_INET: "224.0.0.251", socket.AF_INET6: "ff02::fb"}


def name(*labels):
    return b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\0"


def record(owner, kind, unique, data):
    return owner + struct.pack(">HHIH", kind, 0x8001 if unique else 1, 4500, len(data)) + data


own, interface = sys.argv[1:]
kind = name("_http", "_tcp", "local")
instance = b"\x03web" + kind
host = name("webhost", "local")
message = struct.pack(">6H", 0, 0x8400, 0, 4, 0, 0)
message += record(kind, 12, False, instance)
message += record(instance, 33, True, struct.pack(">3H", 0, 0, 8080) + host)
message += record(instance, 16, True, b"\0")
message += record(host, 1, True, socket.inet_aton(own))


def sender(family, address):
    ours = socket.socket(family, socket.SOCK_DGRAM)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family == socket.AF_INET6:
        ours.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        ours.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
    else:
        ours.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
    ours.bind((address, 5353))
    return ours


four = sender(socket.AF_INET, own)
try:
    six = sender(socket.AF_INET6, "::")
except OSError:
    six = None
while True:
    four.sendto(message, (GROUPS[socket.AF_INET], 5353))
    try:
        if six:
            scope = socket.if_nametoindex(interface)
            six.sendto(message, (GROUPS[socket.AF_INET6], 5353, 0, scope))
    except OSError:
        pass  # No address for it yet.
    time.sleep(0.3)
