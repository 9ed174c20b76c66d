//! The drain when the balancers' checks are counted: it does not end before all of them know, nor before its delay.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::support::drainee::{Drainee, THREADED};
use crate::support::net::free_port;
use crate::support::{BOUND, Mode, Stepdown, binary, both, wait_until};

/// What only a told balancer may end.
const FOR_EVER: [&str; 2] = ["--drain-checks-timeout=1h", "--drain-timeout=1h"];

/// A drainee with an endpoint, and the port of that one.
struct Checked {
    server: Drainee,
    health: u16,
}

impl Checked {
    #[track_caller]
    fn start(mode: Mode, options: &[&str]) -> Self {
        let health = free_port();
        let listen = format!("--health-listen=127.0.0.1:{health}");
        let options = [&["--drain-port=PORT", &listen][..], options].concat();
        let server = Drainee::start(mode, &options, THREADED);
        let checked = Self { server, health };
        wait_until("it is ready", || checked.check(A) == "200");
        checked
    }

    /// The status that a balancer with this address is told.
    #[track_caller]
    fn check(&self, from: Ipv4Addr) -> String {
        get(self.health, from, "/readyz")
    }

    #[track_caller]
    fn stop(&mut self) {
        self.server.run.signal(Signal::SIGTERM).logs("drain");
    }

    /// Longer than it needs to go on once a balancer has been told; requests are answered meanwhile.
    #[track_caller]
    fn still_waits(&mut self) {
        let since = Instant::now();
        while since.elapsed() < Duration::from_millis(400) {
            self.server.connect().say("fast").hears("done");
        }
        assert!(self.server.run.is_running());
    }
}

const A: Ipv4Addr = Ipv4Addr::LOCALHOST;
const B: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// The status of the answer that a client with this address gets.
#[track_caller]
fn get(health: u16, from: Ipv4Addr, path: &str) -> String {
    let mut stream = connection(from, health);
    let request = format!("GET {path} HTTP/1.0\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

fn connection(from: Ipv4Addr, to: u16) -> TcpStream {
    let stream = SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Inet, SockType::Stream, stream, None).expect("a socket");
    let bound = TimeVal::seconds(i64::try_from(BOUND.as_secs()).expect("a small bound"));
    setsockopt(&socket, sockopt::ReceiveTimeout, &bound).expect("a bound above zero");
    let address = |ip, port| SockaddrIn::from(SocketAddrV4::new(ip, port));
    bind(socket.as_raw_fd(), &address(from, 0)).expect("all of 127.0.0.0/8 is ours");
    connect(socket.as_raw_fd(), &address(A, to)).expect("an endpoint that listens");
    socket.into()
}

#[test]
fn the_delay_ends_when_the_balancer_was_told_often_enough() {
    both(|mode| {
        let options = [&["--drain-checks=3"][..], &FOR_EVER].concat();
        let mut checked = Checked::start(mode, &options);
        // "Ready" does not count.
        for _ in 0..5 {
            assert_eq!(checked.check(A), "200");
        }
        checked.stop();
        for _ in 0..2 {
            assert_eq!(checked.check(A), "503");
        }
        checked.still_waits();
        // Not that no request is in flight: that is not what it waits for.
        let waits = "drain: waiting until each checker was told \"not ready\" 3 times, up to 1h";
        let run = &mut checked.server.run;
        assert!(run.stderr_has(waits) && !run.stderr_has("waiting until no request"));
        assert_eq!(checked.check(A), "503");
        let ended = checked.server.run.wait();
        ended.code(143).logged(&["drained in"]);
        ended.never_logged("not every checker");
    });
}

#[test]
fn a_balancer_that_was_not_told_often_enough_in_time_is_logged_and_reported() {
    both(|mode| {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("report.json");
        let report = format!("--report={}", path.display());
        let options = [
            "--drain-checks=2",
            "--drain-checks-timeout=1500ms",
            "--drain-timeout=1h",
            &report,
        ];
        let mut checked = Checked::start(mode, &options);
        let mut client = checked.server.connect();
        client.say("slow");
        checked.stop();
        assert_eq!(checked.check(A), "503");
        let untold = "drain: not every checker was told \"not ready\" 2 times within 1.5 s (--drain-checks-timeout)";
        checked.server.logs(untold);
        // What is in flight is still waited for.
        checked
            .server
            .logs("drain: waiting until no request is in flight");
        checked.server.release();
        client.hears("done");
        checked.server.run.wait().code(143).logged(&["drained in"]);
        let report = std::fs::read_to_string(&path).expect("a report");
        let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
        let records = report["records"].as_array().expect("records").iter();
        let mut untold = records.filter(|record| record["event"] == "drain-untold");
        let record = untold.next().expect("a record of it");
        assert_eq!(
            (&record["times"], &record["within_ms"]),
            (&2.into(), &1500.into())
        );
        assert!(untold.next().is_none());
    });
}

#[test]
fn the_delay_is_kept_when_all_balancers_know_and_each_wait_is_told() {
    both(|mode| {
        let options = [&["--drain-checks=1", "--drain-delay=1500ms"][..], &FOR_EVER];
        let mut checked = Checked::start(mode, &options.concat());
        let mut client = checked.server.connect();
        client.say("slow");
        checked.stop();
        assert_eq!(checked.check(A), "503");
        let waits = "drain: waiting 1.5 s, load balancers do not know yet (--drain-delay)";
        checked.server.logs(waits);
        checked
            .server
            .logs("drain: waiting until no request is in flight");
        checked.server.release();
        client.hears("done");
        let ended = checked.server.run.wait();
        ended.code(143).logged(&["drained in"]);
        ended.never_logged("each checker");
        ended.stopped_no_sooner_than(Duration::from_millis(1500));
    });
}

#[test]
fn what_is_in_flight_when_all_balancers_know_is_answered() {
    both(|mode| {
        let options = [&["--drain-checks=1"][..], &FOR_EVER].concat();
        let mut checked = Checked::start(mode, &options);
        let mut client = checked.server.connect();
        client.say("slow");
        checked.stop();
        checked.server.logs("drain: 1 in flight");
        assert_eq!(checked.check(A), "503");
        checked.still_waits();
        checked.server.release();
        client.hears("done");
        checked.server.run.wait().code(143).logged(&["drained in"]);
    });
}

#[test]
fn of_two_balancers_the_slower_one_is_waited_for() {
    both(|mode| {
        let options = [&["--drain-checks=2"][..], &FOR_EVER].concat();
        let mut checked = Checked::start(mode, &options);
        // One checks now and then, the other all the time.
        assert_eq!(checked.check(B), "200");
        let since = Instant::now();
        while since.elapsed() < Duration::from_secs(2) {
            assert_eq!(checked.check(A), "200");
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(checked.check(B), "200");
        checked.stop();
        for _ in 0..6 {
            assert_eq!(checked.check(A), "503");
        }
        assert_eq!(checked.check(B), "503");
        checked.still_waits();
        assert_eq!(checked.check(B), "503");
        checked.server.run.wait().code(143).logged(&["drained in"]);
    });
}

#[test]
fn with_no_balancer_asking_the_delay_is_waited_out() {
    both(|mode| {
        let options = ["--drain-checks=1", "--stop-signal=TERM"];
        let options = [&options[..], &FOR_EVER].concat();
        let mut checked = Checked::start(mode, &options);
        checked.stop();
        // Neither of these is a balancer.
        assert_eq!(get(checked.health, B, "/livez"), "200");
        assert_eq!(get(checked.health, B, "/status"), "200");
        let url = format!("http://127.0.0.1:{}/readyz", checked.health);
        let asked = Command::new(binary::under_test())
            .args(["health", &url])
            .output();
        assert_eq!(asked.expect("our own binary").status.code(), Some(1));
        checked.still_waits();
        checked.server.run.asks_again().asks_again();
        checked.server.run.wait().code(143).logged(&["cut short"]);
        // And it ends by itself.
        let options = ["--drain-checks=1", "--drain-checks-timeout=1500ms"];
        let mut checked = Checked::start(mode, &options);
        checked.stop();
        let ended = checked.server.run.wait();
        ended.code(143).logged(&["not every checker was told"]);
        ended.logged(&["drained in"]);
        ended.stopped_no_sooner_than(Duration::from_millis(1500));
    });
}

#[test]
fn checks_during_the_pre_stop_hooks_count_and_no_port_is_needed() {
    both(|mode| {
        let gate = tempfile::tempdir().expect("a temporary directory");
        let go = gate.path().join("go");
        let hook = format!(
            "sh -c 'while ! test -e {}; do sleep 0.01; done'",
            go.display()
        );
        let health = free_port();
        let mut run = Stepdown::in_mode(mode)
            .args([
                &format!("--health-listen=127.0.0.1:{health}"),
                "--drain-checks=2",
            ])
            .args(["--hook-timeout=1h", "--pre-stop", &hook])
            .args(["--drain-checks-timeout=1h"])
            .shell("echo ready; exec sleep 1000")
            .start();
        run.says("ready").signal(Signal::SIGTERM);
        wait_until("it is told", || get(health, A, "/readyz") == "503");
        assert_eq!(get(health, A, "/readyz"), "503");
        std::fs::write(&go, "").expect("a directory of ours");
        run.wait().code(143).logged(&["drained in"]);
    });
}

#[test]
fn without_an_endpoint_there_is_nothing_to_count() {
    let ended = Stepdown::new()
        .args(["--drain-checks=3"])
        .witness(["exit", "0"])
        .run();
    ended
        .code(125)
        .logged(&["--drain-checks", "add --health-listen"]);
    let ended = Stepdown::new()
        .args(["--drain-checks-timeout=3s"])
        .witness(["exit", "0"])
        .run();
    ended
        .code(125)
        .logged(&["--drain-checks-timeout", "add --drain-checks"]);
}
