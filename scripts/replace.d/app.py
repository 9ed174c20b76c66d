"""The same server for gunicorn, which has shutdown code of its own."""

import os
import time


def app(environ, start_response):
    wait = environ["PATH_INFO"].removeprefix("/")
    if wait:
        time.sleep(float(wait))
    body = b"%d\n" % os.getpid()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
