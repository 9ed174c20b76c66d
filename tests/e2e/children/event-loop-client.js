// A client of event-loop.js: node event-loop-client.js KIND HOST PORT QUICK MS [CASE]
//
// It makes QUICK requests that are answered at once, and then, where MS is not 0, one that is answered after so
// long, with no pause before it. It prints `asked`, and then `answered` or `cut`; where MS is 0, `closed`. CASE:
// `several` (HTTP/2) has other streams beside the slow one, `upload` sends its body in parts, `pings` sends one
// every 100 ms. https takes TLS 1.3, https1.2 the older one.
'use strict';
const [kind, host, portText, quickText, msText, variant] = process.argv.slice(2);
const [port, quick, ms] = [portText, quickText, msText].map(Number);

let said = false;
function end(word) {
  if (!said) console.log(word);
  said = true;
  process.exit(0);
}
const lost = () => end(ms ? 'cut' : 'closed');

function connect(then) {
  const version = kind === 'https1.2' ? 'TLSv1.2' : 'TLSv1.3';
  const options = { host, port, rejectUnauthorized: false, minVersion: version, maxVersion: version };
  const socket = kind.startsWith('https')
    ? require('tls').connect(options, () => then(socket))
    : require('net').connect(options, () => then(socket));
  socket.setNoDelay(true);
  socket.on('close', lost).on('error', lost);
}

/** Requests one by one on one connection, each in the moment in which the one before was answered. */
function http1(socket) {
  let left = quick;
  let text = '';
  const ask = (ms) => socket.write(`GET /?ms=${ms} HTTP/1.1\r\nHost: x\r\n\r\n`);
  const next = () => {
    if (left-- > 0) return ask(0);
    if (ms) ask(ms);
    console.log('asked');
  };
  socket.on('data', (data) => {
    text += data;
    if (!text.endsWith('\r\n\r\nxx')) return;
    text = '';
    if (left < 0) end('answered');
    next();
  });
  next();
}

function http2() {
  const scheme = kind === 'h2' ? 'https' : 'http';
  const session = require('http2').connect(`${scheme}://${host}:${port}`, { rejectUnauthorized: false });
  session.on('error', lost).on('close', lost);
  const ask = (ms, then) => {
    const upload = ms && variant === 'upload';
    const stream = session.request({ ':path': `/?ms=${ms}`, ':method': upload ? 'POST' : 'GET' });
    let text = '';
    stream.on('data', (data) => (text += data)).on('end', () => text === 'xx' && then()).on('error', lost);
    if (upload) {
      for (let part = 0; part < 10; part++) setTimeout(() => stream.write('x'.repeat(10_000)), part * 50);
      setTimeout(() => stream.end(), 500);
    }
  };
  const next = (left) => {
    if (left > 0) return ask(0, () => next(left - 1));
    if (ms) ask(ms, () => end('answered'));
    // The answers of these come after the request that is owed one.
    if (variant === 'several') for (let at = 0; at < 4; at++) setTimeout(() => ask(1, () => {}), at * 20);
    if (variant === 'pings') setInterval(() => session.ping(() => {}), 100);
    setTimeout(() => console.log('asked'), variant ? 300 : 0);
  };
  session.on('connect', () => next(quick));
}

function websocket(socket) {
  const send = (opcode, text) =>
    socket.write(Buffer.concat([Buffer.from([0x80 | opcode, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)]));
  socket.write('GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
    'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n');
  let left = quick;
  let text = '';
  const next = () => {
    if (left-- > 0) return send(1, '0');
    if (ms) send(1, `${ms}`);
    if (variant === 'pings') setInterval(() => send(9, 'ping'), 100);
    setTimeout(() => console.log('asked'), variant ? 300 : 0);
  };
  socket.on('data', (data) => {
    text += data.toString('latin1');
    const greeted = text.startsWith('HTTP/1.1 101') && text.endsWith('\r\n\r\n');
    if (!greeted && !text.endsWith('done')) return;
    text = '';
    if (left < 0) end('answered');
    next();
  });
}

function raw(socket) {
  socket.on('data', (data) => String(data).includes('done') && end('answered'));
  if (ms) socket.write(`${ms}`);
  setTimeout(() => console.log('asked'), 300);
}

if (kind.startsWith('h2')) http2();
else connect({ ws: websocket, raw }[kind] || http1);
