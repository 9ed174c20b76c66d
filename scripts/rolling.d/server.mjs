// A server without shutdown code and with an event loop: one thread for all connections, as node has it.
//
// server.mjs KIND ADDRESS PORT ADMIN BOOT [KEY CERTIFICATE]; KIND: node (HTTP/1.1), `node tls` (the same through
// TLS 1.3), `node h2` (HTTP/2 without TLS); BOOT: seconds before it listens.
//
// /work/MS answers after that many milliseconds. /stream/PARTS/MS answers with so many parts and a pause before
// each. Every answer ends with `end` and names the process in X-Replica. At the port ADMIN, in plain HTTP, /health
// answers 200, and /drained 204, or 503 while any answer is owed.

import fs from "node:fs";
import http from "node:http";
import http2 from "node:http2";
import https from "node:https";

const [kind, address, port, admin, boot, key, certificate] = process.argv.slice(2);
const replica = process.env.REPLICA ?? "none";
const sleep = (milliseconds) => new Promise((wake) => setTimeout(wake, milliseconds));
let inFlight = 0;

async function serve(request, response) {
  inFlight++;
  response.on("close", () => inFlight--);
  const [what, first, second] = request.url.slice(1).split("/");
  if (what === "stream") {
    response.writeHead(200, { "X-Replica": replica });
    for (let part = 0; part < Number(first); part++) {
      await sleep(Number(second));
      response.write("part\n");
    }
  } else {
    if (what === "work") await sleep(Number(first));
    response.writeHead(200, { "X-Replica": replica, "Content-Length": 3 });
  }
  response.end("end");
}

function ask(request, response) {
  response.writeHead(request.url === "/health" ? 200 : inFlight === 0 ? 204 : 503, { Connection: "close" });
  response.end();
}

const make = {
  node: () => http.createServer(serve),
  "node tls": () =>
    https.createServer({ key: fs.readFileSync(key), cert: fs.readFileSync(certificate), minVersion: "TLSv1.3" }, serve),
  "node h2": () => http2.createServer(serve),
};

await sleep(Number(boot) * 1000);
const server = make[kind]();
// As a pooling balancer wants it: the server closes no connection that it may use again.
server.keepAliveTimeout = 3_600_000;
server.listen(Number(port), address, 128);
http.createServer(ask).listen(Number(admin), address);
