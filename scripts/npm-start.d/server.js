// Answers after two seconds, and saves before it ends: what a server does that handles SIGTERM.
const http = require("http");

const server = http.createServer((request, response) => {
  console.log("request begun");
  setTimeout(() => response.end("done\n"), 2000);
});
process.on("SIGTERM", () => {
  console.log("got SIGTERM");
  server.close(() => {
    console.log("saved");
    process.exit(0);
  });
});
server.listen(0, "127.0.0.1", () => console.log(`listening on ${server.address().port}`));
