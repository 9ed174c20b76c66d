//! `--listen` around real servers that take sockets: gunicorn by LISTEN_FDS, uvicorn and Node.js by the
//! descriptor's number, nginx by its own variable.

use std::fs;
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::support::net::{self, free_port};
use crate::support::running::Running;
use crate::support::{BOUND, Stepdown, binary, both, need};

const APPLICATIONS: &str = "\
def wsgi(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'hello from gunicorn']

async def asgi(scope, receive, send):
    if scope['type'] == 'http':
        await send({'type': 'http.response.start', 'status': 200, 'headers': []})
        await send({'type': 'http.response.body', 'body': b'hello from uvicorn'})
";

const NGINX: &str = "\
pid DIR/pid; error_log stderr; daemon off; worker_processes 1; events {}
http { access_log off; server { listen 127.0.0.1:PORT; return 200 'hello from nginx'; } }
";

/// Where the programs are Debian's.
const PATH: &str = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";

struct Server {
    run: Running,
    dir: TempDir,
    port: u16,
}

fn ask(mut stream: impl Read + Write) -> String {
    send(&mut stream);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

fn send(stream: &mut impl Write) {
    let request = b"GET / HTTP/1.0\r\n\r\n";
    stream.write_all(request).expect("it reads");
}

/// A restart that is held between its two generations: who connects meanwhile is answered by the second one.
#[track_caller]
fn restarts_under_a_client(server: &mut Server, body: &str) {
    let answer = ask(net::connect(server.port));
    assert!(answer.ends_with(body), "{answer}");
    server.run.signal(Signal::SIGHUP);
    server.run.logs("generation 1 ");
    let early = TcpStream::connect(net::address(server.port));
    let mut early = early.expect("it listens all the time");
    early.set_read_timeout(Some(BOUND)).expect("above zero");
    send(&mut early);
    File::create(server.dir.path().join("next")).expect("a directory of ours");
    let mut answer = String::new();
    early.read_to_string(&mut answer).expect("it answers");
    assert!(answer.ends_with(body), "{answer}");
}

fn served(stepdown: Stepdown, options: &[&str], command: &[&str]) -> Server {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let port = free_port();
    let place = |text: &str| {
        let text = text.replace("PORT", &port.to_string());
        text.replace("DIR", &dir.path().display().to_string())
    };
    for (name, text) in [("applications.py", APPLICATIONS), ("nginx.conf", NGINX)] {
        fs::write(dir.path().join(name), place(text)).expect("a directory of ours");
    }
    let held = "sh -c 'test $STEPDOWN_GENERATION = 1 || while ! test -e next; do sleep 0.01; done'";
    let run = stepdown
        .dir(dir.path())
        .args(["--env", PATH, "--restart-on=HUP", "--pre-start", held])
        .args(["--listen", &format!("web=127.0.0.1:{port}")])
        .args(options.iter().map(|word| place(word)))
        .child(command.iter().map(|word| place(word)))
        .start();
    Server { run, dir, port }
}

#[test]
fn gunicorn_takes_its_sockets_and_keeps_them_over_a_restart() {
    const GUNICORN: &str = "/usr/bin/gunicorn";
    need!(binary::installed(GUNICORN));
    both(|mode| {
        let options = ["--listen=local=unix:DIR/local.sock", "--ready-when=notify"];
        // A worker that gets TERM while it boots misses it, and gunicorn waits for it for that long.
        let patience = "--graceful-timeout=2";
        let command = [GUNICORN, "--workers=2", patience, "applications:wsgi"];
        let mut server = served(Stepdown::in_mode(mode), &options, &command);
        server.run.logs("ready after");
        let body = "hello from gunicorn";
        restarts_under_a_client(&mut server, body);
        let local = UnixStream::connect(server.dir.path().join("local.sock"));
        assert!(ask(local.expect("it listens")).ends_with(body));
        server.run.signal(Signal::SIGTERM);
        server.run.wait().code(0).nothing_left();
    });
}

#[test]
fn uvicorn_takes_the_descriptor_it_is_told() {
    const UVICORN: &str = "/usr/bin/uvicorn";
    need!(binary::installed(UVICORN));
    both(|mode| {
        let command = [UVICORN, "--fd=3", "applications:asgi"];
        let mut server = served(Stepdown::in_mode(mode), &["--env=PYTHONPATH=."], &command);
        restarts_under_a_client(&mut server, "hello from uvicorn");
        server.run.signal(Signal::SIGTERM);
        server.run.wait().code(0).nothing_left();
    });
}

#[test]
fn nginx_takes_what_its_variable_names() {
    const PROGRAM: &str = "/usr/sbin/nginx";
    need!(binary::installed(PROGRAM));
    both(|mode| {
        let options = ["--env=NGINX=3;", "--stop-signal=QUIT"];
        let command = [PROGRAM, "-e", "stderr", "-c", "DIR/nginx.conf"];
        let mut server = served(Stepdown::in_mode(mode), &options, &command);
        restarts_under_a_client(&mut server, "hello from nginx");
        server.run.signal(Signal::SIGTERM);
        server.run.wait().code(0).nothing_left();
    });
}

#[test]
fn node_listens_on_a_descriptor() {
    const NODE: &str = "/usr/bin/node";
    need!(binary::installed(NODE));
    const SERVER: &str = "require('http').createServer((_, response) => response.end('hello from node'))\
        .listen({ fd: 3 })";
    both(|mode| {
        let command = [NODE, "-e", SERVER];
        let mut server = served(Stepdown::in_mode(mode), &[], &command);
        restarts_under_a_client(&mut server, "hello from node");
        server.run.signal(Signal::SIGTERM);
        server.run.wait().code(143).nothing_left();
    });
}
