//! What clients do to the health endpoint costs nothing, delays nothing, and is the clients' business only.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use nix::libc;
use nix::sys::signal::Signal;

use crate::health::{SLOW, get, ready, status, with_endpoint};
use crate::support::binary::installed;
use crate::support::{Mode, Stepdown, binary, both, need, net, proc, wait_until};

const STRACE: &str = "/usr/bin/strace";

/// A checker may reset the connection right after the first bytes: there must be no second write.
#[test]
fn each_answer_is_one_write() {
    need!(installed(STRACE));
    let dir = tempfile::tempdir().expect("a temporary directory");
    let trace = dir.path().join("trace");
    let port = net::free_port();
    // With -D stepdown keeps its place as our child, and strace is the one that is aside.
    let mut run = Stepdown::new()
        .program(STRACE)
        .args([
            "-D",
            "-q",
            "-s",
            "100",
            "-e",
            "trace=write,writev,sendto,sendmsg",
            "-o",
        ])
        .args([trace.as_os_str(), binary::under_test().as_os_str()])
        .args(["--health-listen", &format!("127.0.0.1:{port}")])
        .shell("echo ready; exec sleep 1000")
        .start();
    run.says("ready");
    let mut lengths: Vec<usize> = Vec::new();
    for path in ["/livez", "/readyz", "/status", "/metrics", "/nothing"] {
        lengths.push(get(port, path).len());
    }
    run.signal(Signal::SIGTERM);
    run.wait().code(143);
    let mut text = String::new();
    wait_until("strace has written all", || {
        text = fs::read_to_string(&trace).expect("strace has made it");
        text.contains("+++ exited")
    });
    let is_to_a_client = |line: &&str| {
        // The log is written to 2, and 8 bytes wake the reactor up.
        line.contains(") = ") && !line.contains("(2, ") && !line.ends_with(", 8) = 8")
    };
    let sent: Vec<&str> = text.lines().filter(is_to_a_client).collect();
    assert_eq!(sent.len(), lengths.len(), "{sent:#?}");
    for (line, length) in sent.iter().zip(lengths) {
        let whole = format!(") = {length}");
        assert!(
            line.contains("\"HTTP/1.1 ") && line.ends_with(&whole),
            "{length}: {line}"
        );
    }
}

/// How often something that takes some time may be tried. What takes longer now and then is the machine,
/// which may stand still; what does so each time is stepdown.
const TRIES: u32 = 4;

/// A stop goes on at its pace, orphans are reaped and honest checks answered, whatever clients do.
#[test]
fn hostile_clients_delay_nothing() {
    both(|mode| {
        // They are given up after five seconds: that is what a stop would take that waits for them.
        let quick = |_| stop_among_hostile_clients(mode) < Duration::from_secs(4);
        assert!((0..TRIES).any(quick), "each stop was slow");
    });
}

/// Has the server not closed it yet?
fn is_open(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).expect("a socket of our own");
    let seen = stream.peek(&mut [0]);
    seen.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

fn stop_among_hostile_clients(mode: Mode) -> Duration {
    let (stepdown, port) = with_endpoint(Stepdown::in_mode(mode));
    let mut run = stepdown
        .args(["-v"])
        .shell("echo ready; while :; do (sleep 0.01 &); sleep 0.05; done")
        .start();
    run.says("ready");
    let mut held: Vec<TcpStream> = Vec::new();
    for index in 0..200 {
        let mut stream = net::connect(port);
        match index % 4 {
            // Says nothing.
            0 => {}
            // Half a request, and never the rest.
            1 => stream
                .write_all(b"GET /readyz HTTP/1.1\r\nX: ")
                .expect("room"),
            // Garbage.
            2 => drop(stream.write_all(&[0xff; 512])),
            // Asks and does not read.
            _ => stream
                .write_all(b"GET /status HTTP/1.1\r\n\r\n")
                .expect("room"),
        }
        held.push(stream);
        if index % 20 == 0 {
            assert_eq!(ready(port), "200");
        }
    }
    // More head than is read: refused, or closed while it still comes.
    let mut stream = net::connect(port);
    let mut sent = stream.write_all(b"GET /readyz HTTP/1.1\r\n");
    for _ in 0..1_000 {
        sent = sent.and_then(|()| stream.write_all(&[b'a'; 1024]));
    }
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    assert!(sent.is_err() || read.is_err() || answer.starts_with(b"HTTP/1.1 431"));

    let is_answered_meanwhile = |_| {
        let mut stream = net::connect(port);
        stream.write_all(b"GET /readyz HTTP/1.1\r\n").expect("room");
        assert_eq!(ready(port), "200");
        is_open(&stream)
    };
    assert!((0..TRIES).any(is_answered_meanwhile), "after the others");
    // Also now, with all of them waiting.
    let seen = run.stderr_text().matches("orphan").count();
    run.logs_times("orphan", seen + 3);
    // As many as are kept, and what stepdown has of its own.
    let open = proc::descriptors(run.pid()).len();
    assert!(open < 64 + 20, "{open} descriptors");
    run.signal(Signal::SIGTERM);
    let ended = run.wait();
    ended.code(143).nothing_left();
    ended.stopped_in.expect("it was signalled")
}

#[test]
fn a_client_that_never_finishes_is_closed() {
    let (stepdown, port) = with_endpoint(Stepdown::new());
    let mut run = stepdown.shell("echo ready; exec sleep 1000").start();
    run.says("ready");
    let mut stream = net::connect(port);
    stream
        .write_all(b"GET /readyz HTTP/1.1\r\nX: ")
        .expect("room");
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer)),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    run.signal(Signal::SIGTERM);
    run.wait().code(143);
}

#[test]
fn a_checker_that_resets_is_normal() {
    let (stepdown, port) = with_endpoint(Stepdown::new());
    let mut run = stepdown.args(["-v"]).shell(SLOW).start();
    run.says("ready");
    for _ in 0..50 {
        let mut stream = net::connect(port);
        stream
            .write_all(b"GET /readyz HTTP/1.1\r\n\r\n")
            .expect("room");
        let linger = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        nix::sys::socket::setsockopt(&stream, nix::sys::socket::sockopt::Linger, &linger)
            .expect("a socket of our own");
        // With that, closing is a reset.
        drop(stream);
    }
    let mut stream = net::connect(port);
    stream
        .write_all(b"GET /readyz HTTP/1.1\r\n\r\n")
        .expect("room");
    // Half closed is not gone: `printf ... | nc` asks so.
    stream.shutdown(Shutdown::Write).expect("a connection");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .expect("the server answers");
    assert_eq!(status(&answer), "200");
    run.signal(Signal::SIGTERM);
    run.wait().code(3).never_logged("PIPE");
}

/// Reads to the end: what came, or that the connection was reset.
#[track_caller]
fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn a_client_that_drips_is_closed() {
    let (stepdown, port) = with_endpoint(Stepdown::new());
    let mut run = stepdown.shell("echo ready; exec sleep 1000").start();
    run.says("ready");
    let mut stream = net::connect(port);
    stream.write_all(b"GET /readyz HTTP/1.1\r\n").expect("room");
    // Each byte comes in time; all of them never do.
    let mut drip = || stream.write_all(b"a").is_err();
    wait_until("it is closed", || {
        thread::sleep(Duration::from_millis(50));
        drip()
    });
    assert_eq!(ready(port), "200");
    run.signal(Signal::SIGTERM);
    run.wait().code(143);
}

#[test]
fn more_than_is_read_of_a_request_ends_it() {
    let (stepdown, port) = with_endpoint(Stepdown::new());
    let mut run = stepdown.shell("echo ready; exec sleep 1000").start();
    run.says("ready");
    let idle = proc::descriptors(run.pid()).len();
    // Many headers.
    let mut stream = net::connect(port);
    let headers = "X: y\r\n".repeat(65);
    let request = format!("GET /readyz HTTP/1.1\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).expect("room");
    assert_eq!(status(&rest(&mut stream)), "431");
    // A long line.
    let mut stream = net::connect(port);
    let path = "a".repeat(20_000);
    let request = format!("GET /{path} HTTP/1.1\r\n\r\n");
    let sent = stream.write_all(request.as_bytes());
    let answer = rest(&mut stream);
    assert!(
        sent.is_err() || ["", "414", "431"].contains(&status(&answer)),
        "{answer}"
    );
    // A body without end, announced or not.
    for kind in [
        "Transfer-Encoding: chunked",
        "Content-Length: 1000000000000",
    ] {
        let mut stream = net::connect(port);
        let head = format!("POST /readyz HTTP/1.1\r\n{kind}\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("room");
        let chunk = format!("400\r\n{}\r\n", "a".repeat(1024));
        wait_until("the body is not taken any more", || {
            stream.write_all(chunk.as_bytes()).is_err()
        });
    }
    wait_until("all of them are closed", || {
        proc::descriptors(run.pid()).len() <= idle
    });
    assert_eq!(ready(port), "200");
    run.signal(Signal::SIGTERM);
    run.wait().code(143);
}

/// Ends the flood, also when the story fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_flood_of_checks_delays_no_stop() {
    both(|mode| {
        let (stepdown, port) = with_endpoint(Stepdown::in_mode(mode));
        let mut run = stepdown
            .args(["-v"])
            .shell("echo ready; while :; do (sleep 0.01 &); sleep 0.05; done")
            .start();
        run.says("ready");
        let (over, asked) = (AtomicBool::new(false), AtomicU32::new(0));
        thread::scope(|scope| {
            let end = Over(&over);
            for _ in 0..3 {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        // As fast as they can, and nobody reads the answers.
                        if let Ok(mut stream) = TcpStream::connect(net::address(port)) {
                            let _ = stream.write_all(b"GET /status HTTP/1.1\r\n\r\n");
                            asked.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
            wait_until("the flood is there", || asked.load(Ordering::Relaxed) > 300);
            let seen = run.stderr_text().matches("orphan").count();
            run.logs_times("orphan", seen + 3);
            run.signal(Signal::SIGTERM);
            // The flood goes on until it is gone: nothing is proven by a pause of it.
            let ended = run.wait();
            drop(end);
            ended.code(143).nothing_left();
        });
    });
}
