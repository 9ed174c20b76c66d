// Programs with an event loop and no shutdown code, in whose connections nobody sees from outside what is in flight.
//
//   programs.mjs h2 PORT ADMIN          an HTTP/2 server: each stream is held until it is released
//   programs.mjs websocket PORT ADMIN   a WebSocket server: each message is held, then answered `done`
//   programs.mjs worker PORT ADMIN      takes two jobs at a time from a queue of its own that never ends
//   programs.mjs h2-client PORT COUNT   that many streams on one connection, a line for each: done or lost
//
// ADMIN is a port for GET /metrics (gauge `in_flight`, by kind), /drained (204, or 503 while anything is in
// flight), /release (finishes what has been held longest) and /pause (a worker takes no more jobs).

import crypto from "node:crypto";
import http from "node:http";
import http2 from "node:http2";

const [kind, port, argument] = process.argv.slice(2);
const held = [];
let paused = false;

function hold(finish) {
  held.push(finish);
}

function takeJobs() {
  while (kind === "worker" && !paused && held.length < 2) hold(() => {});
}

function admin(request, response) {
  const answer = (status, body = "") => {
    response.writeHead(status, { Connection: "close" });
    response.end(body);
  };
  switch (request.url) {
    case "/metrics":
      return answer(200, `# TYPE in_flight gauge\nin_flight{kind="${kind}"} ${held.length}\n`);
    case "/drained":
      return answer(held.length === 0 ? 204 : 503);
    case "/release":
      held.shift()?.();
      takeJobs();
      return answer(204);
    case "/pause":
      paused = true;
      return answer(204);
    default:
      return answer(404);
  }
}

function h2() {
  const server = http2.createServer();
  server.on("stream", (stream) => {
    stream.on("error", () => {});
    hold(() => {
      stream.respond({ ":status": 200 });
      stream.end("done");
    });
  });
  return server;
}

function websocket() {
  const server = http.createServer();
  server.on("upgrade", (request, socket) => {
    socket.on("error", () => {});
    const key = request.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    const accept = crypto.createHash("sha1").update(key).digest("base64");
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
    );
    let bytes = Buffer.alloc(0);
    socket.on("data", (more) => {
      bytes = Buffer.concat([bytes, more]);
      // Short masked frames (RFC 6455, section 5.2) are all that the client sends.
      while (bytes.length >= 6 && bytes.length >= 6 + (bytes[1] & 0x7f)) {
        const opcode = bytes[0] & 0x0f;
        bytes = bytes.subarray(6 + (bytes[1] & 0x7f));
        if (opcode === 1) hold(() => socket.write(Buffer.from("\x81\x04done", "latin1")));
      }
    });
  });
  return server;
}

function client() {
  const session = http2.connect(`http://127.0.0.1:${port}`);
  session.on("error", () => {});
  let left = Number(argument);
  for (let stream = left; stream > 0; stream--) {
    const request = session.request({ ":path": "/" });
    let body = "";
    request.setEncoding("utf8");
    request.on("data", (part) => (body += part));
    request.on("error", () => {});
    request.on("close", () => {
      console.log(body === "done" ? "done" : "lost");
      if (--left === 0) session.close();
    });
  }
}

if (kind === "h2-client") {
  client();
} else {
  const servers = { h2, websocket, worker: http.createServer };
  takeJobs();
  servers[kind]().listen(Number(port), "127.0.0.1", () => {
    http.createServer(admin).listen(Number(argument), "127.0.0.1", () => console.log("ready"));
  });
}
