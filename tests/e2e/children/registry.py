"""A service registry over HTTP on the port given (0: any), as Consul or Eureka are, but small.

PUT /services/NAME registers, DELETE deregisters, GET says whether it is registered; GET / lists. /status/N answers with
N, /silent never answers, /redirect leads to /status/200. Each request is printed.
"""

import http.server
import sys
import threading

services = set()


class Registry(http.server.BaseHTTPRequestHandler):
    def answer(self, status, body=b""):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def act(self):
        host = self.headers.get("Host", "")
        length = self.headers.get("Content-Length", "")
        print(self.command, self.path, "Host:" + host, "Content-Length:" + length, flush=True)
        path, _, _ = self.path.partition("?")
        part, _, name = path.strip("/").partition("/")
        if part == "status":
            self.answer(int(name))
        elif part == "silent":
            threading.Event().wait()
        elif part == "redirect":
            self.send_response(302)
            self.send_header("Location", "/status/200")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif part == "services" and self.command == "PUT":
            services.add(name)
            self.answer(201)
        elif part == "services" and self.command == "DELETE":
            known = name in services
            services.discard(name)
            self.answer(204 if known else 404)
        elif part == "services" and self.command == "GET":
            self.answer(200 if name in services else 404)
        else:
            self.answer(200, "".join(sorted(s + "\n" for s in services)).encode())

    do_GET = do_PUT = do_POST = do_DELETE = act

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Registry)
server.daemon_threads = True
print("ready on", server.server_address[1], flush=True)
server.serve_forever()
