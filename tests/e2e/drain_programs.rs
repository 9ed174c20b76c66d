//! `--drain-until` around real programs in whose connections nobody sees from outside what is in flight: an
//! HTTP/2 server, a WebSocket server and a worker. Each story comes with its twin, in which the time decides.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;

use crate::support::net::{self, free_port};
use crate::support::running::Running;
use crate::support::{Mode, Stepdown, both, need};

const NODE: &str = "/usr/bin/node";

fn node() -> Result<(), String> {
    crate::support::binary::installed(NODE)
}

fn words(kind: &str, port: u16, argument: &str) -> [String; 5] {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/children/programs.mjs");
    let script = script.display().to_string();
    [NODE, &script, kind, &port.to_string(), argument].map(str::to_owned)
}

/// A program of `programs.mjs` under stepdown.
struct Program {
    run: Running,
    port: u16,
    admin: u16,
}

impl Program {
    /// With `ADMIN` in the options standing for the port at which the program is asked.
    #[track_caller]
    fn start(mode: Mode, kind: &str, options: &[&str]) -> Self {
        let (port, admin) = (free_port(), free_port());
        let options = options
            .iter()
            .map(|o| o.replace("ADMIN", &admin.to_string()));
        let mut run = Stepdown::in_mode(mode)
            .args(options)
            .child(words(kind, port, &admin.to_string()))
            .start();
        run.says("ready");
        Self { run, port, admin }
    }

    /// What it answers at its administrative port.
    #[track_caller]
    fn ask(&self, path: &str) -> String {
        let mut stream = net::connect(self.admin);
        let request = format!("GET {path} HTTP/1.0\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    }

    #[track_caller]
    fn has_in_flight(&mut self, count: usize) {
        let line = format!("}} {count}\n");
        crate::support::wait_until(&format!("{count} in flight"), || {
            self.ask("/metrics").ends_with(&line)
        });
    }

    #[track_caller]
    fn release(&self) {
        assert!(self.ask("/release").starts_with("HTTP/1.1 204"));
    }

    #[track_caller]
    fn stop(&mut self) {
        self.run.signal(Signal::SIGTERM);
    }

    /// It has got no signal yet.
    #[track_caller]
    fn still_drains(&mut self) {
        assert!(self.run.is_running());
        assert!(!self.run.stderr_has("step 1"));
    }

    #[track_caller]
    fn drained(self) {
        let ended = self.run.wait();
        ended.code(143).logged(&["drained in"]);
        ended.never_logged("does not hold").nothing_left();
    }

    #[track_caller]
    fn was_cut(self, interrupted: &str) {
        let ended = self.run.wait();
        ended.code(143).logged(&["does not hold: "]);
        ended.logged(&["drain ended by its timeout after", interrupted]);
        ended.nothing_left();
    }
}

const METRIC: &str = "--drain-until=metric:http://127.0.0.1:ADMIN/metrics#in_flight";
const DRAINED: &str = "--drain-until=http://127.0.0.1:ADMIN/drained";

/// A client with several streams on one connection; dropping it ends it.
struct Streams(Child);

impl Streams {
    #[track_caller]
    fn open(port: u16, count: usize) -> Self {
        let [program, arguments @ ..] = words("h2-client", port, &count.to_string());
        let client = Command::new(program)
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn();
        Self(client.expect("node is installed"))
    }

    /// What became of each stream.
    #[track_caller]
    fn ended(&mut self) -> Vec<String> {
        let output = self.0.stdout.take().expect("it is piped");
        let lines = BufReader::new(output).lines();
        lines.map(|line| line.expect("text")).collect()
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_http_2_server_answers_all_streams_of_a_connection() {
    need!(node());
    both(|mode| {
        let mut server = Program::start(mode, "h2", &[METRIC, "--drain-timeout=1h"]);
        let mut streams = Streams::open(server.port, 3);
        server.has_in_flight(3);
        server.stop();
        server.run.logs("drain: 3 in flight");
        // What has been answered on the connection does not hide what is owed.
        server.release();
        server.run.logs("drain: 2 in flight");
        server.release();
        server.run.logs("drain: 1 in flight");
        server.still_drains();
        server.release();
        assert_eq!(streams.ended(), ["done"; 3]);
        server.drained();
    });
}

#[test]
fn an_http_2_server_that_never_answers_is_stopped_in_the_end() {
    need!(node());
    both(|mode| {
        let mut server = Program::start(mode, "h2", &[METRIC, "--drain-timeout=700ms"]);
        let mut streams = Streams::open(server.port, 3);
        server.has_in_flight(3);
        server.stop();
        assert_eq!(streams.ended(), ["lost"; 3]);
        server.was_cut("3 requests interrupted");
    });
}

#[test]
fn without_it_the_streams_are_lost() {
    need!(node());
    let mut server = Program::start(Mode::Ordinary, "h2", &[]);
    let mut streams = Streams::open(server.port, 3);
    server.has_in_flight(3);
    server.stop();
    assert_eq!(streams.ended(), ["lost"; 3]);
    server.run.wait().code(143).never_logged("drain");
}

/// A WebSocket on which each message waits for its answer.
struct WebSocket(TcpStream);

impl WebSocket {
    #[track_caller]
    fn open(port: u16) -> Self {
        let mut stream = net::connect(port);
        let request = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
        let answer = net::ask(&mut stream, request, |answer| answer.ends_with(b"\r\n\r\n"));
        let answer = String::from_utf8_lossy(&answer).into_owned();
        // The key and its answer are those of RFC 6455, section 1.3.
        assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
        Self(stream)
    }

    #[track_caller]
    fn say(&mut self) {
        // A masked text frame, the mask all zero.
        let frame = b"\x81\x84\0\0\0\0work";
        self.0.write_all(frame).expect("the server reads");
    }

    /// The next message; `None` where the connection is cut.
    fn hear(&mut self) -> Option<String> {
        let mut frame = [0; 6];
        self.0.read_exact(&mut frame).ok()?;
        Some(String::from_utf8_lossy(&frame[2..]).into_owned())
    }
}

#[test]
fn a_websocket_server_answers_what_it_was_told_and_open_connections_hold_up_nothing() {
    need!(node());
    both(|mode| {
        let mut server = Program::start(mode, "websocket", &[DRAINED, "--drain-timeout=1h"]);
        let mut talking = WebSocket::open(server.port);
        let mut silent = WebSocket::open(server.port);
        talking.say();
        server.has_in_flight(1);
        server.stop();
        server.run.logs("drain: waiting until http://127.0.0.1:");
        // One that is told while it drains counts as well.
        silent.say();
        server.has_in_flight(2);
        server.release();
        assert_eq!(talking.hear().as_deref(), Some("done"));
        server.still_drains();
        server.release();
        assert_eq!(silent.hear().as_deref(), Some("done"));
        // Both stay open until the server ends.
        assert_eq!(talking.hear(), None);
        server.drained();
    });
}

#[test]
fn a_websocket_server_that_never_answers_is_stopped_in_the_end() {
    need!(node());
    both(|mode| {
        let options = [DRAINED, "--drain-timeout=700ms"];
        let mut server = Program::start(mode, "websocket", &options);
        let mut socket = WebSocket::open(server.port);
        socket.say();
        server.has_in_flight(1);
        server.stop();
        assert_eq!(socket.hear(), None);
        // How many there were was not said.
        server.was_cut("");
    });
}

#[test]
fn a_worker_finishes_its_jobs_and_takes_no_more() {
    need!(node());
    both(|mode| {
        let options = [
            "--pre-stop=http://127.0.0.1:ADMIN/pause",
            "--drain-until=metric:http://127.0.0.1:ADMIN/metrics#in_flight{kind=\"worker\"}",
            "--drain-timeout=1h",
        ];
        let mut worker = Program::start(mode, "worker", &options);
        // While it runs, the next job takes the place of one that is done.
        worker.release();
        worker.has_in_flight(2);
        worker.stop();
        worker.run.logs("drain: 2 in flight");
        worker.release();
        worker.run.logs("drain: 1 in flight");
        worker.still_drains();
        worker.release();
        worker.drained();
    });
}

#[test]
fn a_worker_that_goes_on_taking_jobs_is_stopped_in_the_end() {
    need!(node());
    both(|mode| {
        let mut worker = Program::start(mode, "worker", &[METRIC, "--drain-timeout=1500ms"]);
        worker.stop();
        worker.run.logs("drain: 2 in flight");
        worker.release();
        worker.was_cut("2 requests interrupted");
    });
}
