"""A small HTTP server on the port given that ignores TERM, as a program with a bug does."""

import http.server
import signal
import sys


class StillHere(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"still here\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


signal.signal(signal.SIGTERM, signal.SIG_IGN)
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), StillHere)
print("ready", flush=True)
server.serve_forever()
