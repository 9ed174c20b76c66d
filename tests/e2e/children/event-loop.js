// A server with an event loop and no shutdown code: node event-loop.js KIND PORT [KEY CERT]
//
// KIND: http, https, h2c, h2, ws or raw. A request for /?ms=N&size=N is answered after N milliseconds with so many
// bytes; a message N on a WebSocket or a raw connection is answered after N milliseconds, on the
// raw one with a line at once, too. It prints `ready`.
'use strict';
const [kind, port, key, cert] = process.argv.slice(2);
const fs = require('fs');
const crypto = require('crypto');

function answer(request, response) {
  const query = new URL(request.url, 'http://x').searchParams;
  const text = 'x'.repeat(Number(query.get('size') || 2));
  const ms = Number(query.get('ms') || 0);
  request.on('data', () => {});
  request.on('end', () => (ms ? setTimeout(() => response.end(text), ms) : response.end(text)));
}

function upgrade(request, socket) {
  const nonce = request.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
  const accept = crypto.createHash('sha1').update(nonce).digest('base64');
  socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
    `Sec-WebSocket-Accept: ${accept}\r\n\r\n`);
  const send = (opcode, data) => socket.write(Buffer.concat([Buffer.from([0x80 | opcode, data.length]), data]));
  let bytes = Buffer.alloc(0);
  socket.on('error', () => {});
  socket.on('data', (chunk) => {
    bytes = Buffer.concat([bytes, chunk]);
    // A frame of a client is masked, and these are short.
    while (bytes.length >= 6 && bytes.length >= 6 + (bytes[1] & 0x7f)) {
      const [opcode, length] = [bytes[0] & 0x0f, bytes[1] & 0x7f];
      const data = bytes.subarray(6, 6 + length).map((byte, i) => byte ^ bytes[2 + (i % 4)]);
      bytes = bytes.subarray(6 + length);
      if (opcode === 9) send(10, data);
      if (opcode === 1) setTimeout(() => send(1, Buffer.from('done')), Number(Buffer.from(data).toString()));
    }
  });
}

function raw(socket) {
  socket.on('error', () => {});
  socket.on('data', (data) => {
    socket.write('working\n');
    setTimeout(() => socket.write('done\n'), Number(data));
  });
}

const tls = () => ({ key: fs.readFileSync(key), cert: fs.readFileSync(cert) });
const kept = { keepAliveTimeout: 3_600_000, noDelay: true };
const make = {
  http: () => require('http').createServer(kept, answer),
  https: () => require('https').createServer({ ...tls(), ...kept }, answer),
  h2c: () => require('http2').createServer(answer),
  h2: () => require('http2').createSecureServer(tls(), answer),
  ws: () => require('http').createServer(kept, answer).on('upgrade', upgrade),
  raw: () => require('net').createServer(raw),
};
make[kind]().listen({ port: Number(port), backlog: 20_000 }, () => console.log('ready'));
