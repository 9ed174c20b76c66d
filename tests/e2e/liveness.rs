//! `--live-when`: a child that hangs is stopped, and one that does not is left alone.

use std::fs;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::health;
use crate::support::ended::Ended;
use crate::support::running::Running;
use crate::support::{
    Mode, Stepdown, binary, both, holds_within, net, once_within, proc, wait_until,
};

fn dir() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// A server that answers the n-th request, counted from 0, so late and with this status; `None` is never.
struct Server {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl Server {
    fn of(answer: fn(usize) -> Option<(u64, u32)>) -> Self {
        let server = TcpListener::bind("127.0.0.1:0").expect("a port of loopback");
        let address = server.local_addr().expect("it is bound");
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        thread::spawn(move || {
            let mut silent = Vec::new();
            while let Ok((mut client, _)) = server.accept() {
                let number = count.fetch_add(1, Ordering::SeqCst);
                let Some((late, status)) = answer(number) else {
                    silent.push(client);
                    continue;
                };
                let _ = client.read(&mut [0; 4096]);
                thread::sleep(Duration::from_millis(late));
                let _ = write!(client, "HTTP/1.1 {status} So\r\nContent-Length: 0\r\n\r\n");
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn url(&self) -> String {
        format!("http:http://{}/up", self.address)
    }
}

fn watched(mode: Mode, condition: &str) -> Stepdown {
    Stepdown::in_mode(mode).args(["--live-when", condition, "--live-every", "50ms"])
}

const POST_STOP: [&str; 2] = [
    "--post-stop",
    "sh -c 'echo then $STEPDOWN_REASON $SERVICE_RESULT'",
];

#[test]
fn a_server_that_deadlocks_is_stopped_and_the_status_is_our_own() {
    both(|mode| {
        let server = Server::of(|number| (number < 2).then_some((0, 200)));
        let ended = watched(mode, &server.url())
            .args(["--live-timeout", "200ms", "--live-failures", "2"])
            .args(["--pre-stop", "echo pre-stop"])
            .args(POST_STOP)
            .shell("trap 'echo bye; exit 0' TERM; while :; do sleep 0.02; done")
            .run();
        ended.code(125).nothing_left();
        assert_eq!(ended.stdout, "pre-stop\nbye\nthen unhealthy watchdog\n");
        ended
            .logged(&["not alive, 1 of 2: no answer in time (--live-when)"])
            .logged(&["not alive, 2 of 2"])
            .logged(&["stopping: the child is unhealthy"]);
    });
}

#[test]
fn one_that_is_slow_below_the_threshold_is_left_alone() {
    both(|mode| {
        let server = Server::of(|_| Some((100, 204)));
        let mut run = watched(mode, &server.url())
            .args(["--live-timeout", "60s", "--live-failures", "1"])
            .shell("echo ready; exec sleep 1000")
            .start();
        run.says("ready");
        wait_until("it was asked", || server.asked() > 5);
        run.signal(Signal::SIGTERM);
        run.wait().code(143).never_logged("alive").nothing_left();
    });
}

#[test]
fn only_failures_in_a_row_count() {
    both(|mode| {
        let server = Server::of(|number| Some((0, if number % 3 == 2 { 200 } else { 503 })));
        let mut run = watched(mode, &server.url())
            .args(["--live-timeout", "60s"])
            .shell("echo ready; exec sleep 1000")
            .start();
        run.says("ready");
        wait_until("it was asked", || server.asked() > 12);
        run.signal(Signal::SIGTERM);
        let ended = run.wait();
        ended.code(143).never_logged("unhealthy").nothing_left();
        ended
            .logged(&["not alive, 2 of 3: the answer is 503"])
            .logged(&["alive again after 2 failures"]);
    });
}

/// A server that is stopped by a signal once it listens on its port, with these options besides, is found at the second
/// check.
fn stopped_server(mode: Mode, options: &dyn Fn(u16) -> [String; 2]) -> Ended {
    let port = net::free_port();
    let mut run = watched(mode, &format!("http://127.0.0.1:{port}/status/200"))
        .args(["--live-timeout", "300ms", "--live-failures", "2"])
        .args(options(port))
        .child([binary::http().as_os_str(), "registry".as_ref()])
        .args([port.to_string()])
        .start();
    run.logs("ready after");
    let child = run.children().first().expect("the server").pid;
    proc::kill(child, Signal::SIGSTOP as i32).expect("it is alive");
    let ended = run.wait();
    ended.code(125).nothing_left();
    ended.logged(&["not alive, 2 of 2"]).logged(&["unhealthy"]);
    ended
}

#[test]
fn one_that_was_stopped_by_a_signal_is_found_and_ended() {
    both(|mode| {
        stopped_server(mode, &|port| {
            ["--ready-when".to_owned(), format!("tcp:{port}")]
        });
    });
}

/// The questions that it has not answered are no requests that are waited for.
#[test]
fn one_that_hangs_is_not_drained_of_our_own_questions() {
    both(|mode| {
        let drained = |port| {
            [
                format!("--drain-port={port}"),
                "--drain-timeout=1h".to_owned(),
            ]
        };
        stopped_server(mode, &drained).logged(&["drained in"]);
    });
}

#[test]
fn a_command_is_asked_once_the_child_is_ready_and_not_before() {
    both(|mode| {
        let dir = dir();
        let question = "exec:sh -c 'echo noise; echo $STEPDOWN_PHASE >>asked; test -e alive'";
        let at = |name: &str| dir.path().join(name);
        fs::write(at("alive"), "").expect("a directory of ours");
        let mut run = watched(mode, question)
            .dir(dir.path())
            .args(["--live-timeout", "60s", "--ready-when", "file:ready"])
            .shell("echo started; exec sleep 1000")
            .start();
        run.says("started");
        let asked = || fs::read_to_string(at("asked")).unwrap_or_default();
        assert!(!holds_within(Duration::from_millis(300), || !asked().is_empty()));
        fs::write(at("ready"), "").expect("a directory of ours");
        wait_until("it is asked", || asked().lines().count() > 2);
        assert!(asked().lines().all(|line| line == "live"));
        fs::remove_file(at("alive")).expect("it is there");
        let ended = run.wait();
        ended.code(125).never_said("noise").nothing_left();
        ended.logged(&["not alive, 3 of 3: it exited with 1"]);
    });
}

#[test]
fn a_port_that_nobody_listens_on_is_no_life() {
    let port = net::free_port();
    let condition = format!("tcp:{port}");
    let ended = watched(Mode::Ordinary, &condition)
        .shell("exec sleep 1000")
        .run();
    let why = format!("nobody listens on port {port}");
    ended.code(125).logged(&["not alive, 3 of 3", &why]);
    let server = format!("bind 127.0.0.1 {port} listen say ready pause");
    let mut run = watched(Mode::Ordinary, &condition)
        .args(["--ready-when", &condition])
        .child([binary::deeds()])
        .args(server.split(' '))
        .start();
    run.logs("ready after");
    let told = |run: &mut Running| run.stderr_has("not alive");
    assert!(!holds_within(Duration::from_millis(300), || told(&mut run)));
    run.signal(Signal::SIGTERM);
    run.wait().code(143);
}

#[test]
fn a_file_must_change_from_check_to_check() {
    both(|mode| {
        let dir = dir();
        let mut run = Stepdown::in_mode(mode)
            .dir(dir.path())
            .args(["--live-when=file:beat", "--live-every=400ms"])
            .args(["--ready-when=file:beat", "--live-timeout=60s"])
            .shell(
                "trap 'echo >hangs' USR1; echo ready; \
                 while :; do test -e hangs || echo >beat; sleep 0.02; done",
            )
            .start();
        run.says("ready").logs("ready after");
        let told = |run: &mut Running| run.stderr_has("3 of 3");
        assert!(!holds_within(Duration::from_millis(1500), || told(
            &mut run
        )));
        run.signal(Signal::SIGUSR1);
        let why = "the file has not changed since the last check";
        run.wait().code(125).logged(&["not alive, 3 of 3", why]);
    });
}

/// A file that does not change is no sign of life, whether it can be told or not.
#[test]
fn a_file_is_looked_at_without_a_free_descriptor_too() {
    both(|mode| {
        let not_changed = "the file has not changed since the last check";
        for (is_hard, why) in [(false, not_changed), (true, "no answer")] {
            let dir = dir();
            fs::write(dir.path().join("beat"), "").expect("a directory of ours");
            let mut run = Stepdown::in_mode(mode)
                .dir(dir.path())
                .args(["--live-when=file:beat", "--live-every=100ms"])
                .args(["--ready-when=file:ready", "--live-timeout=60s"])
                .shell("echo ready; exec sleep 1000")
                .start();
            run.says("ready");
            let pid = run.pid();
            if is_hard {
                proc::limit_descriptors_hard(pid, 3);
            } else {
                proc::limit_descriptors(pid, 3);
            }
            fs::write(dir.path().join("ready"), "").expect("a directory of ours");
            run.wait().code(125).logged(&["not alive, 3 of 3", why]);
        }
    });
}

#[test]
fn who_listens_is_found_without_a_free_descriptor_too() {
    both(|mode| {
        let port = net::free_port();
        let mut run = Stepdown::in_mode(mode)
            .args(["--live-every=50ms", "--sweep-grace=10ms"])
            .args([
                format!("--live-when=tcp:{port}"),
                format!("--listen=127.0.0.1:{port}"),
            ])
            .shell("echo ready; exec sleep 1000")
            .start();
        run.says("ready");
        proc::limit_descriptors(run.pid(), 3);
        let mut fails = || run.stderr_has("not alive");
        assert!(!holds_within(Duration::from_millis(500), &mut fails));
        run.signal(Signal::SIGTERM);
        run.wait().code(143).nothing_left();
    });
}

#[test]
fn one_that_misses_its_watchdog_gets_abrt_first() {
    both(|mode| {
        let ended = Stepdown::in_mode(mode)
            .args(["--live-when", "watchdog:400ms"])
            .args(POST_STOP)
            .shell(
                "echo $WATCHDOG_USEC; trap 'echo aborted; exit 0' ABRT; \
                 while :; do sleep 0.02; done",
            )
            .run();
        ended.code(125).nothing_left();
        assert_eq!(ended.stdout, "400000\naborted\nthen unhealthy watchdog\n");
        ended
            .logged(&["not alive: the child has not said WATCHDOG=1 for 400 ms"])
            .logged(&["before the ladder: ABRT to the child"]);
    });
}

#[test]
fn one_that_survives_abrt_meets_the_ladder() {
    both(|mode| {
        let ended = Stepdown::in_mode(mode)
            .args(["--live-when", "watchdog:300ms", "--grace", "200ms"])
            .shell("trap '' ABRT TERM; while :; do sleep 0.02; done")
            .run();
        ended.code(125).nothing_left();
        ended
            .logged(&["step 1 of 2: TERM"])
            .logged(&["step 2 of 2: KILL"]);
    });
}

/// A child that says to its socket what the story has it say, to its end.
fn notifier(mode: Mode, watchdog: &str, story: impl Fn(&mut dyn FnMut(&str))) -> Ended {
    let dir = dir();
    let orders = dir.path().join("orders");
    nix::unistd::mkfifo(&orders, nix::sys::stat::Mode::S_IRWXU).expect("a directory of ours");
    let mut run = Stepdown::in_mode(mode)
        .args(["--live-when", watchdog])
        .child([binary::notifier().as_os_str(), orders.as_os_str()])
        .start();
    run.says("ready");
    let orders = OpenOptions::new().write(true).open(&orders);
    let mut orders = orders.expect("the child reads it");
    story(&mut |message| {
        writeln!(orders, "say {message}").expect("the child reads it");
    });
    run.wait()
}

/// As docker pause and docker commit stop a container.
#[test]
fn a_time_in_which_nothing_ran_is_no_hang() {
    both(|mode| {
        let dir = dir();
        let orders = dir.path().join("orders");
        nix::unistd::mkfifo(&orders, nix::sys::stat::Mode::S_IRWXU).expect("a directory of ours");
        let mut run = Stepdown::in_mode(mode)
            .args(["--live-when", "watchdog:1s"])
            .child([binary::notifier().as_os_str(), orders.as_os_str()])
            .start();
        run.says("ready");
        let orders = OpenOptions::new().write(true).open(&orders);
        let mut orders = orders.expect("the child reads it");
        run.signal(Signal::SIGSTOP);
        // Longer than the time that it has: nothing can be waited for.
        thread::sleep(Duration::from_millis(1_800));
        run.signal(Signal::SIGCONT);
        for order in ["say WATCHDOG=1", "say WATCHDOG_USEC=3600000000", "exit 0"] {
            writeln!(orders, "{order}").expect("the child reads it");
        }
        let ended = run.wait();
        ended.code(0).nothing_left();
        assert!(!ended.stderr.contains("not alive"), "{}", ended.told());
    });
}

#[test]
fn one_that_keeps_saying_so_is_alive_and_one_that_says_it_hangs_is_not() {
    both(|mode| {
        let ended = notifier(mode, "watchdog:1s", |say| {
            // Longer than the time that it has.
            for _ in 0..15 {
                say("WATCHDOG=1");
                thread::sleep(Duration::from_millis(100));
            }
        });
        ended.code(125).logged(&["died of ABRT"]).nothing_left();
        assert!(ended.ran >= Duration::from_millis(2_300), "{:?}", ended.ran);
        let ended = notifier(mode, "watchdog:1h", |say| say("WATCHDOG=trigger"));
        ended.code(125).logged(&["the child says WATCHDOG=trigger"]);
    });
}

#[test]
fn it_says_itself_how_often_it_will_say_so() {
    both(|mode| {
        // Shorter than it was told.
        let ended = notifier(mode, "watchdog:1h", |say| say("WATCHDOG_USEC=200000"));
        ended
            .code(125)
            .logged(&["the child has not said WATCHDOG=1 for 200 ms"]);
        // Longer, or not at all any more; then it says that it hangs.
        for every in ["3600000000", "0", "18446744073709551615"] {
            let ended = notifier(mode, "watchdog:1s", |say| {
                say(&format!("WATCHDOG_USEC={every}"));
                thread::sleep(Duration::from_millis(1_500));
                say("WATCHDOG=trigger");
            });
            ended
                .code(125)
                .logged(&["the child says WATCHDOG=trigger"])
                .never_logged("has not said");
        }
    });
}

#[test]
fn what_hangs_is_started_again_where_that_is_asked_for() {
    both(|mode| {
        let dir = dir();
        let mut run = watched(mode, "exec:test -e second")
            .dir(dir.path())
            .args([
                "--restart=on-failure",
                "--restart-delay=1ms",
                "--live-timeout=60s",
            ])
            .args(POST_STOP)
            .shell("test -e first && touch second; touch first; echo life; exec sleep 1000")
            .start();
        run.says_times("life", 2);
        let told = |run: &mut Running| run.stderr_has("generation 2");
        assert!(!holds_within(Duration::from_millis(400), || told(&mut run)));
        run.signal(Signal::SIGTERM);
        let ended = run.wait();
        ended
            .code(143)
            .nothing_left()
            .said("then unhealthy watchdog");
        ended.logged(&["generation 1 was unhealthy: restarted in"]);
    });
}

#[test]
fn a_check_that_hangs_delays_no_signal_and_is_gone_with_the_stop() {
    let stopped = |mode| {
        let dir = dir();
        let mut run = watched(
            mode,
            "exec:sh -c 'trap \"\" TERM; touch asked; sleep 1000 & wait'",
        )
        .dir(dir.path())
        .args(["--live-timeout", "1h"])
        .shell("trap 'exit 3' TERM; echo ready; while :; do sleep 0.02; done")
        .start();
        run.says("ready");
        wait_until("it was asked", || dir.path().join("asked").exists());
        run.signal(Signal::SIGTERM);
        let ended = run.wait();
        ended.code(3).never_logged("left").nothing_left();
        ended.stop_took()
    };
    both(|mode| once_within(Duration::from_secs(2), || stopped(mode)));
}

#[test]
fn a_check_that_hangs_has_failed_and_is_killed() {
    let dir = dir();
    let ended = watched(Mode::Ordinary, "exec:sh -c 'sleep 1000 & wait'")
        .dir(dir.path())
        .args(["--live-timeout", "100ms", "--live-failures", "2"])
        .shell("exec sleep 1000")
        .run();
    ended.code(125).nothing_left();
    ended.logged(&["not alive, 2 of 2: no end of it within 100ms"]);
}

#[test]
fn the_endpoint_the_report_and_the_metrics_tell_of_it() {
    let dir = dir();
    let server = Server::of(|_| Some((0, 500)));
    let stepdown = watched(Mode::Ordinary, &server.url()).dir(dir.path());
    let (stepdown, port) = health::with_endpoint(stepdown);
    let run = stepdown
        .args(["--live-failures", "40", "--live-timeout", "60s"])
        .args(["--report", "run.json", "--metrics-file", "m.prom"])
        .shell("exec sleep 1000")
        .start();
    wait_until("/status tells", || {
        health::json(port)["not_alive"].as_str() == Some("the answer is 500 Internal Server Error")
    });
    run.wait().code(125);
    let read = |name: &str| fs::read_to_string(dir.path().join(name)).expect("it was written");
    let report: serde_json::Value = serde_json::from_str(&read("run.json")).expect("JSON");
    assert_eq!(report["outcome"]["reason"], "unhealthy");
    let metrics = read("m.prom");
    let counted = "stepdown_runs_total{reason=\"unhealthy\"} 1";
    assert!(metrics.contains(counted), "{metrics}");
}

#[test]
fn the_variable_and_the_file_say_it_as_well() {
    let dir = dir();
    let config = dir.path().join("config.toml");
    let text = "live-when = 'exec:false'\nlive-every = '20ms'\nlive-failures = 2\n";
    fs::write(&config, text).expect("a directory of ours");
    let ended = Stepdown::new()
        .args(["--config".as_ref(), config.as_os_str()])
        .env("STEPDOWN_LIVE_TIMEOUT", "60s")
        .shell("exec sleep 1000")
        .run();
    ended.code(125).logged(&["not alive, 2 of 2"]);
    let ended = Stepdown::new()
        .env("STEPDOWN_LIVE_WHEN", "watchdog:100ms")
        .shell("exec sleep 1000")
        .run();
    ended.code(125).logged(&["WATCHDOG=1"]);
}

#[test]
fn explain_tells_how_soon_it_is_noticed() {
    // The next check begins when the one before has ended.
    for (timeout, noticed) in [("1s", "7.0 s"), ("5s", "17.0 s")] {
        let ended = Stepdown::new()
            .args(["explain", "--live-when", "http://a/", "--live-every=2s"])
            .args(["--live-timeout", timeout])
            .run();
        let told = format!("A child that hangs is noticed after at most {noticed} (http://a/)");
        ended.code(0);
        assert!(ended.stdout.contains(&told), "{}", ended.stdout);
    }
}

#[test]
fn a_mistake_is_told_before_anything_is_started() {
    for (args, told) in [
        (&["--live-when", "tpc:80"][..], "did you mean tcp?"),
        (&["--live-when", "watchdog"], "write watchdog:30s"),
        (&["--live-when=exec:true", "--live-failures=0"], "from 1 on"),
        (
            &["--live-when=exec:true", "--live-every=0"],
            "no time at all",
        ),
        (
            &["--live-when=exec:true", "--live-timeout=0"],
            "no time at all",
        ),
        (&["--live-every", "5s"], "add --live-when"),
        (
            &["--live-when=watchdog:3s", "--live-every=5s"],
            "leave it out",
        ),
        (
            &["--live-when=watchdog:1s", "--live-every", "5s"],
            "stepdown makes no checks: leave it out",
        ),
    ] {
        let ended = Stepdown::new()
            .args(args.iter().copied())
            .shell("echo started")
            .run();
        ended
            .code(125)
            .never_said("started")
            .logged(&["--live-", told]);
    }
}
