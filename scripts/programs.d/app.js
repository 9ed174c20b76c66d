// A server whose answer to /slow takes 3 s; with "handler" it closes on TERM and INT and exits with 0.
const fs = require('fs');
const server = require('http').createServer((request, response) => {
  if (request.url !== '/slow') return response.end('done\n');
  fs.writeFileSync('/mnt/flying', '');
  setTimeout(() => response.end('done\n'), 3000);
});
server.listen(8080, '127.0.0.1');
if (process.argv[2] === 'handler') {
  for (const name of ['SIGTERM', 'SIGINT']) {
    process.on(name, () => server.close(() => {
      console.log('well: closed');
      process.exit(0);
    }));
  }
}
