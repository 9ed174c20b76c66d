"""An HTTP/1.1 server without shutdown code: a thread a connection, as many a legacy server has it.

server.py ADDRESS PORT [BOOT]; BOOT: seconds before it listens.

/work/MS answers after that many milliseconds. /stream/PARTS/MS answers with so many parts and a
pause before each. Every answer ends with `end` and names the process in X-Replica.
"""

import http.server
import os
import sys
import time


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        words = self.path.strip("/").split("/")
        if words[0] == "stream":
            self.head("Transfer-Encoding", "chunked")
            for _ in range(int(words[1])):
                time.sleep(int(words[2]) / 1000)
                self.wfile.write(b"5\r\npart\n\r\n")
            self.wfile.write(b"3\r\nend\r\n0\r\n\r\n")
            return
        if words[0] == "work":
            time.sleep(int(words[1]) / 1000)
        self.head("Content-Length", "3", b"end")

    def head(self, name, value, body=b""):
        self.send_response(200)
        self.send_header("X-Replica", os.environ.get("REPLICA", "none"))
        self.send_header(name, value)
        # One segment with the body, as a server that minds its latency sends it.
        self._headers_buffer.append(b"\r\n" + body)
        self.flush_headers()

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True


time.sleep(float(sys.argv[3]) if len(sys.argv) > 3 else 0)
Server((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
