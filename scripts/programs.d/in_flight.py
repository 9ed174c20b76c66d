"""What is in flight when a program is stopped, and the backend behind proxies. All of it answers after 3 s."""

import contextlib
import glob
import http.client
import http.server
import pathlib
import socket
import ssl
import struct
import subprocess
import threading
import time

PORT, BACKEND, RESOLVER = 8080, 9000, 9053
SECONDS = 3
# Longer than any answer and any stop.
PATIENCE = 60
FLYING = pathlib.Path("/mnt/flying")


class Backend(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/slow":
            FLYING.touch()
            time.sleep(SECONDS)
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        # The proxy may be gone.
        with contextlib.suppress(OSError):
            self.wfile.write(b"done\n")

    def log_message(self, *_):
        pass


def backends():
    """An HTTP server and a name server, for the proxies and forwarders among the programs."""
    web = http.server.ThreadingHTTPServer(("127.0.0.1", BACKEND), Backend)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    names.bind(("127.0.0.1", RESOLVER))

    def answer(query, client):
        # Only the question of dns() below: a forwarder's own ones are left without an answer.
        if NAME in query:
            FLYING.touch()
            time.sleep(SECONDS)
            end = query.index(NAME) + len(NAME) + 4
            names.sendto(query[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + query[12:end] + ADDRESS, client)

    def serve():
        while True:
            threading.Thread(target=answer, args=names.recvfrom(4096), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()


# One that no name server answers by itself, as it would .test.
NAME = b"\4slow\7example\0"
# The name of the question again, type A, class IN, a minute, 192.0.2.1.
ADDRESS = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\1"


def get(path, connection=None):
    connection = connection or http.client.HTTPConnection("127.0.0.1", PORT, timeout=PATIENCE)
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status == 200 and answer.read() == b"done\n"


def quick():
    return get("/")


def slow():
    return get("/slow")


def http_proxy():
    return get(f"http://127.0.0.1:{BACKEND}/slow")


def https():
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return get("/slow", http.client.HTTPSConnection("127.0.0.1", PORT, timeout=PATIENCE, context=context))


def dns():
    query = b"\x12\x34\1\0\0\1\0\0\0\0\0\0" + NAME + b"\0\1\0\1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.1", PORT))
        client.settimeout(10)
        client.send(query)
        return client.recv(4096).endswith(ADDRESS[2:])


def line(text, expected):
    with socket.create_connection(("127.0.0.1", PORT), timeout=PATIENCE) as client:
        client.sendall(text)
        FLYING.touch()
        return client.recv(len(expected)) == expected


def command(argv, silent=None):
    """A client that comes with the program; `silent` is in the output only of a request that came to its end."""
    ran = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE)
    return ran.returncode == 0 and (silent is None or silent in ran.stdout)


def file(path):
    while not glob.glob(path):
        time.sleep(0.05)
    return True


def fastcgi():
    """A FastCGI request by hand, so that PHP-FPM needs no web server in front."""
    values = {
        "SCRIPT_FILENAME": "/mnt/app/slow.php",
        "REQUEST_URI": "/slow",
        "REQUEST_METHOD": "GET",
        "SERVER_PROTOCOL": "HTTP/1.1",
    }
    parameters = b"".join(
        bytes([len(name), len(value)]) + name.encode() + value.encode() for name, value in values.items()
    )

    def record(kind, content):
        return struct.pack(">BBHHBx", 1, kind, 1, len(content), 0) + content

    with socket.create_connection(("127.0.0.1", PORT), timeout=PATIENCE) as client:
        client.sendall(
            record(1, struct.pack(">HB5x", 1, 0)) + record(4, parameters) + record(4, b"") + record(5, b"")
        )
        answer = b""
        while piece := client.recv(4096):
            answer += piece
    return b"\r\n\r\ndone\n" in answer


class InFlight:
    """A request in a thread of its own: None while it has no outcome, then whether it came to its end."""

    def __init__(self, request):
        self.complete = None
        self.thread = threading.Thread(target=self.run, args=(request,), daemon=True)
        self.thread.start()

    def run(self, request):
        try:
            self.complete = bool(request())
        except (OSError, http.client.HTTPException, subprocess.SubprocessError):
            self.complete = False


def exists(path):
    return bool(glob.glob(path))


def listens(port):
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        return True

