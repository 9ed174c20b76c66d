//! The drain around real servers that have no shutdown code: what is in flight is answered, and what is
//! not in flight is not waited for.
//!
//! A story that wants rule 7 of `src/drain.rs` (a blocked thread tells that it waits for the next request)
//! sets the quiet time to an hour, so that only that rule can call a connection idle; one that wants the
//! rule to hold a pause sets it to nearly nothing.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::health::json;
use crate::support::drainee::{
    Client, Drainee, Kind, LOCALHOST, Start, THREADED, release, threads_can_be_read, words,
};
use crate::support::net::{address, free_port, ipv6};
use crate::support::{Mode, Stepdown, both, need, proc, wait_until};

// What is in flight is answered.

#[test]
fn without_a_drain_the_request_in_flight_is_lost() {
    both(|mode| {
        let mut server = Drainee::start(mode, &[], THREADED);
        let mut client = server.connect();
        client.say("fast").hears("done").say("slow");
        server.stop();
        assert_eq!(client.hear(), None);
        server.run.wait().code(143).never_logged("drain");
    });
}

#[test]
fn a_request_in_flight_is_answered_before_the_child_gets_its_signal() {
    both(|mode| {
        for start in [Start::Direct, Start::BehindShell] {
            for wait in ["recv", "poll", "select"] {
                let kind = Kind {
                    wait,
                    start,
                    ..THREADED
                };
                let mut server = Drainee::start(mode, &["--drain-port=PORT"], kind);
                let mut client = server.connect();
                client.say("fast").hears("done").say("slow");
                server.stop().logs("drain: 1 in flight, ");
                server.release();
                client.hears("done");
                let ended = server.run.wait();
                ended.code(143).logged(&["drained in"]).nothing_left();
                ended.never_logged("interrupted");
            }
        }
    });
}

#[test]
fn what_is_opened_for_the_drain_takes_no_place_of_a_closed_stream() {
    both(|mode| {
        for stream in [0, 2] {
            let closed = Stepdown::in_mode(mode).closing(stream);
            let mut server = Drainee::prepared(closed, &["--drain-port=PORT"], THREADED);
            let mut client = server.connect();
            client.say("fast").hears("done").say("slow");
            server.stop();
            let pid = server.run.pid();
            let is_socket = |number: i32| {
                let link = fs::read_link(format!("/proc/{pid}/fd/{number}"));
                link.is_ok_and(|target| target.to_string_lossy().starts_with("socket:"))
            };
            wait_until("the connections are looked at", || {
                proc::descriptors(pid).into_iter().any(is_socket)
            });
            assert!(!is_socket(stream), "{stream}");
            server.release();
            client.hears("done");
            server.run.wait().code(143);
        }
    });
}

#[test]
fn requests_that_come_while_it_drains_are_answered_as_well() {
    both(|mode| {
        let mut server = Drainee::start(mode, &["--drain-port=PORT"], THREADED);
        let mut first = server.connect();
        first.say("slow");
        server.stop().logs("drain: 1 in flight");
        let mut second = server.connect();
        second.say("fast").hears("done").say("slow");
        first.say("slow");
        // The answer to the first request of `first`, and then one of the two others.
        server.release();
        server.release();
        server.release();
        first.hears("done").hears("done");
        second.hears("done");
        server.run.wait().code(143).logged(&["drained in"]);
    });
}

#[test]
fn a_pause_in_a_streamed_answer_is_waited_for_however_long() {
    need!(threads_can_be_read());
    both(|mode| {
        let options = ["--drain-port=PORT", "--drain-quiet=1ms"];
        let mut server = Drainee::start(mode, &options, THREADED);
        let mut client = server.connect();
        client.say("stream").hears("part");
        server.stop().logs("drain: 1 in flight");
        // Some looks later it still is.
        let mut probe = server.connect();
        for _ in 0..20 {
            probe.say("fast").hears("done");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(server.run.is_running());
        server.release();
        client.hears("done");
        server.run.wait().code(143).logged(&["drained in"]);
    });
}

#[test]
fn a_client_that_has_closed_its_half_still_gets_its_answer() {
    both(|mode| {
        let mut server = Drainee::start(mode, &["--drain-port=PORT"], THREADED);
        let mut client = server.connect();
        client.say("slow");
        client
            .0
            .get_ref()
            .shutdown(Shutdown::Write)
            .expect("an open connection");
        server.stop().logs("drain: 1 in flight");
        server.release();
        client.hears("done");
        assert_eq!(client.hear(), None);
        server.run.wait().code(143).logged(&["drained in"]);
    });
}

#[test]
fn requests_in_a_full_accept_queue_are_answered() {
    both(|mode| {
        let kind = Kind {
            wait: "accepts",
            ..THREADED
        };
        let options = ["--drain-port=PORT", "--drain-quiet=1ms"];
        let mut server = Drainee::start(mode, &options, kind);
        // A backlog of one holds two.
        let mut clients = [server.connect(), server.connect()];
        for client in &mut clients {
            client.say("fast");
        }
        server.stop().logs("drain: 2 in flight");
        server.release();
        for client in &mut clients {
            client.hears("done");
        }
        server.run.wait().code(143).logged(&["drained in"]);
    });
}

#[test]
fn ipv6_and_a_dual_stack_listener_with_an_ipv4_client() {
    need!(ipv6());
    let ipv6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
    for (listen, client) in [("::1", ipv6), ("::", ipv6), ("::", LOCALHOST)] {
        let kind = Kind { listen, ..THREADED };
        let mut server = Drainee::start(Mode::Ordinary, &["--drain-port=PORT"], kind);
        let mut client = Client::connect((client, server.port).into());
        client.say("slow");
        server.stop().logs("drain: 1 in flight");
        server.release();
        client.hears("done");
        server.run.wait().code(143).logged(&["drained in"]);
    }
}

#[test]
fn auto_drains_every_port_that_the_tree_listens_on() {
    both(|mode| {
        let ports = [free_port(), free_port()];
        let servers = ports.map(|port| words("127.0.0.1", port, "recv").join(" ") + " &");
        let mut run = Stepdown::in_mode(mode)
            .args(["--drain-port=auto", "--drain-quiet=1ms"])
            .shell(&format!("{} wait", servers.concat()))
            .start();
        run.wait_for("both are ready", |_| {
            ports
                .iter()
                .all(|&port| TcpStream::connect(address(port)).is_ok())
        });
        let mut clients = ports.map(|port| Client::connect(address(port)));
        for client in &mut clients {
            client.say("slow");
        }
        run.signal(Signal::SIGTERM).logs("drain: 2 in flight");
        for (port, client) in ports.iter().zip(&mut clients) {
            assert!(run.is_running());
            release(*port);
            client.hears("done");
        }
        run.wait().code(143).logged(&["drained in"]).nothing_left();
    });
}

// What is not in flight is not waited for.

#[test]
fn idle_connections_do_not_hold_up_the_stop() {
    need!(threads_can_be_read());
    both(|mode| {
        for (wait, start) in [("recv", Start::BehindShell), ("poll", Start::Direct)] {
            let options = [
                "--drain-port=PORT",
                "--drain-quiet=1h",
                "--drain-timeout=1h",
            ];
            let kind = Kind {
                wait,
                start,
                ..THREADED
            };
            let mut server = Drainee::start(mode, &options, kind);
            let mut kept: Vec<Client> = (0..20).map(|_| server.connect()).collect();
            for client in &mut kept {
                client.say("fast").hears("done");
            }
            // A pool opens connections in advance, too.
            let _opened: Vec<Client> = (0..20).map(|_| server.connect()).collect();
            server.stop();
            server.run.wait().code(143).logged(&["drained in"]);
        }
    });
}

#[test]
fn a_connection_of_another_process_on_the_same_port_is_none_of_ours() {
    // On another address, but the port is what was asked for.
    let mut server = Drainee::start(Mode::Ordinary, &["--drain-port=PORT"], THREADED);
    let other = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 2), server.port)).expect("loopback");
    let to = other.local_addr().expect("a bound socket");
    let mut theirs = Client::connect(to);
    theirs.say("an answer is owed for ever");
    let (accepted, _) = other.accept().expect("a client that is connected");
    server.stop();
    server.run.wait().code(143).logged(&["drained in"]);
    drop(accepted);
}

#[test]
fn the_stop_takes_no_longer_than_the_request_the_delay_the_quiet_time_and_300_ms() {
    both(|mode| {
        // The machine may be busy: what holds once could not hold at all if a wait were slept out.
        let mut late = Vec::new();
        let kept_time = (0..15).any(|_| {
            let options = [
                "--drain-port=PORT",
                "--drain-quiet=400ms",
                "--drain-delay=200ms",
            ];
            let mut server = Drainee::start(mode, &options, THREADED);
            let mut client = server.connect();
            let mut idle = server.connect();
            idle.say("fast").hears("done");
            client.say("slow");
            server.stop().logs("drain: 1 in flight");
            std::thread::sleep(Duration::from_millis(200));
            server.release();
            client.hears("done");
            let answered = Instant::now();
            server.run.wait().code(143).logged(&["drained in"]);
            late.push(answered.elapsed());
            answered.elapsed() <= Duration::from_millis(400 + 300)
        });
        assert!(kept_time, "after the answer: {late:?}");
    });
}

// The delay.

#[test]
fn the_delay_is_not_skipped_when_nothing_is_in_flight() {
    both(|mode| {
        for port in [&["--drain-port=PORT"][..], &[]] {
            let options = [&["--drain-delay=700ms"], port].concat();
            let mut server = Drainee::start(mode, &options, THREADED);
            server.stop();
            let ended = server.run.wait();
            ended.code(143).logged(&["drained in"]);
            ended.stopped_no_sooner_than(Duration::from_millis(700));
            // The balancer does not know yet, and what it sends is answered.
            let options = [&["--drain-delay=1h", "--stop-signal=TERM"], port].concat();
            let mut server = Drainee::start(mode, &options, THREADED);
            server.stop().logs("drain");
            for _ in 0..20 {
                server.connect().say("fast").hears("done");
            }
            server.run.asks_again().asks_again();
            server.logs("drain cut short");
            server.run.wait().code(143);
        }
    });
}

// How it ends otherwise.

#[test]
fn the_timeout_ends_it_and_what_was_interrupted_is_told_and_counted() {
    both(|mode| {
        let options = ["--drain-port=PORT", "--drain-timeout=600ms"];
        let mut server = Drainee::start(mode, &options, THREADED);
        let mut clients = [server.connect(), server.connect()];
        for client in &mut clients {
            client.say("slow");
        }
        server.stop();
        let ended = server.run.wait();
        ended.code(143).nothing_left();
        ended.logged(&["drain ended by its timeout after", "2 requests interrupted"]);
        ended.stopped_no_sooner_than(Duration::from_millis(600));
        for client in &mut clients {
            assert_eq!(client.hear(), None);
        }
    });
}

#[test]
fn what_was_interrupted_is_counted_for_machines() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let metrics = directory.path().join("stepdown.prom");
    let options = [
        "--drain-port=PORT",
        "--drain-timeout=300ms",
        "--log-format=json",
        "--metrics-file",
        metrics.to_str().expect("UTF-8"),
    ];
    let mut server = Drainee::start(Mode::Ordinary, &options, THREADED);
    let mut client = server.connect();
    client.say("slow");
    server.stop();
    let ended = server.run.wait();
    ended.code(143).logged(&["\"interrupted\":1", "timed-out"]);
    let metrics = fs::read_to_string(metrics).expect("written at the end");
    let counted = |line| metrics.lines().any(|seen| seen == line);
    for line in [
        "stepdown_requests_interrupted_total 1",
        "stepdown_drain_duration_seconds_count 1",
        "stepdown_drain_duration_seconds_bucket{le=\"0.25\"} 0",
        "stepdown_drain_duration_seconds_bucket{le=\"+Inf\"} 1",
    ] {
        assert!(counted(line), "{line} in\n{metrics}");
    }
}

#[test]
fn the_deadline_ends_it_in_time_for_the_ladder() {
    both(|mode| {
        // Of what is left to it, the drain gets a half and the ladder the other.
        let options = ["--drain-port=PORT", "--deadline=12s", "--grace=9s"];
        let mut server = Drainee::start(mode, &options, THREADED);
        let mut client = server.connect();
        client.say("slow");
        server.stop();
        let ended = server.run.wait();
        // TERM, not KILL.
        ended.code(143).logged(&["1 request interrupted"]);
        // What the drain may take by itself is 30 s.
        ended.stopped_within(Duration::from_secs(20));
    });
}

#[test]
fn what_holds_up_the_drain_is_told_with_its_peer_and_the_rule() {
    both(|mode| {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let report = directory.path().join("run.json");
        let health = free_port();
        let mut options = vec!["--drain-port=PORT".to_owned(), "-v".to_owned()];
        options.push(format!("--health-listen=127.0.0.1:{health}"));
        options.push(format!("--report={}", report.display()));
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let mut server = Drainee::start(mode, &options, THREADED);
        let mut client = server.connect();
        client.say("slow");
        let peer = client.0.get_ref().local_addr().expect("a bound socket");
        let port = server.port;
        let line = format!("drain: held up by 1 connection: {peer} on port {port} (");
        server.stop().logs(&line);
        let held = |told: &serde_json::Value| {
            assert_eq!(told["connections"], 1, "{told}");
            let oldest = &told["oldest"][0];
            assert_eq!(oldest["peer"], peer.to_string(), "{told}");
            assert_eq!(oldest["port"], port, "{told}");
            assert!(oldest["waited_ms"].is_u64(), "{told}");
            oldest["why"].as_str().expect("a word").to_owned()
        };
        wait_until("it is in the status", || {
            let told = json(health);
            // Nothing was ever sent.
            told["held_up"].is_object() && held(&told["held_up"]) == "unanswered"
        });
        server.release();
        client.hears("done");
        server.run.wait().code(143).logged(&["drained in"]);
        let text = fs::read_to_string(report).expect("written at the end");
        let report: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let records = report["records"].as_array().expect("a list");
        let record = records.iter().find(|record| record["event"] == "held-up");
        assert!(
            record.is_some_and(|record| !held(record).is_empty()),
            "{text}"
        );
    });
}

#[test]
fn progress_is_told_about_once_a_second() {
    both(|mode| {
        let options = ["--drain-port=PORT", "--drain-timeout=1h"];
        let mut server = Drainee::start(mode, &options, THREADED);
        let mut clients: Vec<Client> = (0..3).map(|_| server.connect()).collect();
        for client in &mut clients {
            client.say("slow");
        }
        server.stop().logs("drain: 3 in flight, 59m");
        server.release();
        server.logs("drain: 2 in flight, 59m");
        server.release();
        server.logs("drain: 1 in flight, 59m");
        server.release();
        for client in &mut clients {
            client.hears("done");
        }
        let ended = server.run.wait();
        ended.code(143).logged(&["drained in"]);
        let lines = ended
            .stderr
            .lines()
            .filter(|line| line.contains("in flight,"))
            .count();
        assert!((3..=5).contains(&lines), "{}", ended.told());
    });
}

#[test]
fn waiting_costs_next_to_nothing() {
    let options = ["--drain-port=PORT", "--drain-timeout=1h"];
    let mut server = Drainee::start(Mode::Ordinary, &options, THREADED);
    let mut client = server.connect();
    client.say("slow");
    server.stop().logs("drain: 1 in flight");
    let pid = server.run.pid();
    let cpu = || {
        let spent = fs::read_to_string(format!("/proc/{pid}/schedstat")).expect("schedstat");
        let nanos = spent.split(' ').next().and_then(|nanos| nanos.parse().ok());
        Duration::from_nanos(nanos.expect("a number"))
    };
    let before = (cpu(), Instant::now());
    std::thread::sleep(Duration::from_secs(2));
    let (spent, passed) = (cpu() - before.0, before.1.elapsed());
    // A build for tests takes a multiple of what is shipped; a loop that never sleeps takes all.
    assert!(spent < passed / 5, "{spent:?} in {passed:?}");
    server.release();
    client.hears("done");
    server.run.wait().code(143);
}

#[test]
fn a_second_int_ends_the_drain_and_a_second_term_does_not() {
    both(|mode| {
        let options = [
            "--drain-port=PORT",
            "--drain-timeout=1h",
            "--drain-delay=1h",
            "--stop-signal=TERM",
        ];
        let mut server = Drainee::start(mode, &options, THREADED);
        let mut client = server.connect();
        client.say("slow");
        server.stop().logs("drain: 1 in flight");
        // So does the first INT, whoever has sent it.
        server.stop().run.asks_again();
        server.connect().say("fast").hears("done");
        server.run.asks_again();
        server.logs("drain cut short after");
        let ended = server.run.wait();
        ended
            .code(143)
            .logged(&["cut short", "1 request interrupted"]);
        assert_eq!(client.hear(), None);
    });
}

#[test]
fn a_child_that_ends_by_itself_ends_the_drain() {
    both(|mode| {
        let options = ["--drain-port=PORT", "--drain-timeout=1h"];
        let mut server = Drainee::start(mode, &options, THREADED);
        let mut client = server.connect();
        client.say("slow");
        server.stop().logs("drain: 1 in flight");
        server.connect().say("exit");
        let ended = server.run.wait();
        ended
            .code(7)
            .logged(&["the child has exited", "1 request interrupted"]);
        assert_eq!(client.hear(), None);
    });
}
