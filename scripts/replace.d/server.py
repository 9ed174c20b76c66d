"""An HTTP server without shutdown code: whatever it has in flight when it gets TERM is lost.

It listens on the socket that it is passed (LISTEN_FDS, or SERVER_FD), or on SERVER_PORT. GET /SECONDS is answered after
so long, with its pid; a connection is kept unless the client closes it.
"""

import asyncio
import os
import socket


async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ", 2)[1].decode()
            wait = path.removeprefix("/")
            if wait:
                await asyncio.sleep(float(wait))
            body = b"%d\n" % os.getpid()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            await writer.drain()
            if b"connection: close" in head.lower():
                break
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main():
    if "LISTEN_FDS" in os.environ:
        listening = socket.socket(fileno=3)
    else:
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", int(os.environ["SERVER_PORT"])))
        listening.listen(4096)
    listening.setblocking(False)
    server = await asyncio.start_server(serve, sock=listening, backlog=4096)
    async with server:
        await server.serve_forever()


asyncio.run(main())
