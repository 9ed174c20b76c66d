//! `--replace-on`: the next generation is started beside the one that serves, and takes its place without a gap.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use nix::libc;
use nix::sys::signal::Signal;
use nix::sys::socket::{setsockopt, sockopt};
use nix::unistd::Pid;

use crate::identity::is_root;
use crate::listen::{Server, hears, unix};
use crate::support::net::{connect, free_port, ipv6};
use crate::support::{
    BOUND, Mode, Stepdown, binary, both, holds_within, need, proc, seccomp, wait_until,
};

/// Each generation is ready once there is a file of its name.
const READY: &str = "--ready-when=exec:sh -c 'test -e ready$STEPDOWN_GENERATION'";

/// The first generation serves.
fn serving(mode: Mode, options: &[&str]) -> Server {
    let options = [&["--replace-on=USR2", READY], options].concat();
    let mut server = Server::start(Stepdown::in_mode(mode), &options, &["quick"]);
    server.make("ready1");
    server.run.logs("ready after");
    server
}

/// As a URL and `--listen` name them.
fn loopback_hosts() -> impl Iterator<Item = &'static str> {
    let ipv6 = ipv6().is_ok().then_some("[::1]");
    ["127.0.0.1"].into_iter().chain(ipv6)
}

impl Server {
    /// Asks for a replacement, and waits until the next one is there, which is not ready yet.
    #[track_caller]
    fn asks(&mut self, generation: u32) {
        self.run.signal(Signal::SIGUSR2);
        self.run
            .logs(&format!("generation {generation} begins"))
            .clear();
        let times = usize::try_from(generation).expect("a few");
        self.run.says_times("ready", times);
    }

    #[track_caller]
    fn replaces(&mut self, generation: u32) {
        self.asks(generation);
        self.make(&format!("ready{generation}"));
        self.run.logs(&format!("generation {generation} serves"));
    }

    /// New connections go to this one.
    #[track_caller]
    fn is_served_by(&self, generation: u32) {
        for _ in 0..10 {
            let mut client = self.connect();
            client.write_all(b"who\n").expect("somebody reads");
            hears(client, &format!("web {generation}"));
        }
    }

    fn pid_in(&self, file: &str) -> Option<Pid> {
        let text = fs::read_to_string(self.dir.path().join(file)).ok()?;
        text.trim().parse().ok().map(Pid::from_raw)
    }
}

#[test]
fn the_next_one_takes_over_and_what_the_other_one_has_is_finished() {
    both(|mode| {
        let mut server = serving(mode, &[]);
        let mut early = server.connect();
        early.write_all(b"wait\n").expect("it reads");
        server.asks(2);
        server.is_served_by(1);
        server.make("ready2");
        server.run.logs("generation 2 serves");
        server.is_served_by(2);
        server.run.logs("generation 1: drain: 1 in flight");
        server.make("go");
        hears(early, "web wait");
        server.run.logs("generation 1: drained in");
        server.run.logs("generation 1: stopped in");
        server.is_served_by(2);
        // And again: sockets change their places.
        for generation in 3..6 {
            server.replaces(generation);
            server.is_served_by(generation);
            let before = generation - 1;
            server.run.logs(&format!("generation {before}: stopped in"));
            server.is_served_by(generation);
        }
        server.run.signal(Signal::SIGTERM);
        let ended = server.run.wait();
        ended.code(0).never_logged("killed").nothing_left();
    });
}

/// They stay in the queue of who does not accept.
#[test]
fn connections_that_were_reset_do_not_hold_up_the_one_that_hangs() {
    both(|mode| {
        let mut server = serving(mode, &["--drain-timeout=1h"]);
        let hangs = server.run.children().first().expect("the server").pid;
        proc::kill(hangs, Signal::SIGSTOP as i32).expect("it is alive");
        for _ in 0..3 {
            let client = server.connect();
            let reset = libc::linger {
                l_onoff: 1,
                l_linger: 0,
            };
            setsockopt(&client, sockopt::Linger, &reset).expect("a socket");
        }
        server.replaces(2);
        server.run.logs("generation 1: drained in");
        server.run.signal(Signal::SIGTERM);
        server.run.wait().code(0).nothing_left();
    });
}

/// Until it is known whose they are they would count, and there are always some.
#[test]
fn what_the_next_one_has_in_flight_does_not_hold_up_the_other_one() {
    both(|mode| {
        let mut server = serving(mode, &[]);
        server.replaces(2);
        let mut waiting = Vec::new();
        server.run.wait_for("generation 1 to be gone", |run| {
            let mut client = TcpStream::connect(server.address).expect("somebody listens");
            client.write_all(b"wait\n").expect("it reads");
            waiting.push(client);
            run.stderr_has("generation 1: drained in")
        });
        server.make("go");
        server.run.signal(Signal::SIGTERM);
        server.run.wait().code(0).nothing_left();
    });
}

#[test]
fn one_that_is_not_ready_in_time_is_stopped_and_the_other_one_goes_on() {
    both(|mode| {
        let mut server = serving(mode, &["--ready-timeout=500ms"]);
        server.run.signal(Signal::SIGUSR2);
        server.run.logs("generation 2: not ready after");
        server
            .run
            .logs("not replaced: generation 2 has ended and was not ready; generation 1 goes on");
        server.is_served_by(1);
        server.replaces(3);
        server.is_served_by(3);
        server.run.signal(Signal::SIGTERM);
        server.run.wait().code(0).nothing_left();
    });
}

#[test]
fn one_that_crashes_at_once_changes_nothing() {
    both(|mode| {
        let fails = "sh -c 'test ! -e fails'";
        let options = ["--pre-start", fails, "--hook-timeout=10s"];
        let mut server = serving(mode, &options);
        server.make("fails");
        server.run.signal(Signal::SIGUSR2);
        server.run.logs("not replaced: generation 2");
        server.is_served_by(1);
        server.run.signal(Signal::SIGTERM);
        server.run.wait().code(0).nothing_left();
    });
}

#[test]
fn a_request_during_a_replacement_is_dropped_and_said() {
    both(|mode| {
        let mut server = serving(mode, &["--restart-on=HUP"]);
        server.asks(2);
        let requests = [
            (Signal::SIGUSR2, "USR2 (--replace-on)"),
            (Signal::SIGHUP, "HUP (--restart-on)"),
        ];
        for (signal, asked) in requests {
            server.run.signal(signal);
            server
                .run
                .logs(&format!("{asked} not obeyed: a replacement is under way"));
        }
        server.make("ready2");
        server.run.logs("generation 2 serves");
        server.is_served_by(2);
        server.run.signal(Signal::SIGTERM);
        server.run.wait().code(0).nothing_left();
    });
}

#[test]
fn a_stop_ends_both() {
    both(|mode| {
        let mut coming = serving(mode, &[]);
        coming.asks(2);
        coming.run.signal(Signal::SIGTERM);
        let ended = coming.run.wait();
        ended.code(0).never_logged("serves").nothing_left();

        let mut leaving = serving(mode, &[]);
        let mut early = leaving.connect();
        early.write_all(b"wait\n").expect("it reads");
        leaving.replaces(2);
        leaving.run.logs("generation 1: drain: 1 in flight");
        leaving.run.signal(Signal::SIGTERM);
        leaving.run.logs("stopping: TERM");
        // What is in flight with the first one is still answered.
        leaving.make("go");
        hears(early, "web wait");
        leaving.run.wait().code(0).nothing_left();
    });
}

/// That none of its processes is left was once not noticed, and waited for 10 s.
/// Whoever sends requests does not know of the stop yet, and they come to the one that serves.
#[test]
fn a_stop_waits_for_what_comes_to_the_one_that_serves_while_the_other_one_leaves() {
    both(|mode| {
        let mut server = serving(mode, &["--drain-delay=3s", "--drain-timeout=1h"]);
        let mut before = server.connect();
        before.write_all(b"wait\n").expect("somebody reads");
        server.replaces(2);
        server.run.logs("generation 1: drain: 1 in flight");
        server.run.signal(Signal::SIGTERM).logs("--drain-delay");
        // So long after the switch a connection can no longer be one that was being made at that moment.
        let since = Instant::now();
        while since.elapsed() < Duration::from_secs(2) {
            server.is_served_by(2);
        }
        let mut late = server.connect();
        late.write_all(b"wait\n").expect("somebody reads");
        server
            .run
            .logs("stepdown: drain: waiting until no request is in flight");
        server.make("go");
        hears(before, "web wait");
        hears(late, "web wait");
        server.run.wait().code(0).nothing_left();
    });
}

#[test]
fn a_stop_is_over_when_the_one_that_comes_ends_last() {
    both(|mode| {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let ends = "until test -e over1 || test $STEPDOWN_GENERATION = 1; do sleep 0.02; done";
        let mut run = Stepdown::in_mode(mode)
            .dir(dir.path())
            .args(["--listen=127.0.0.1:0", "--replace-on=USR2", READY])
            .args(["--post-stop", "sh -c 'touch over$STEPDOWN_GENERATION'"])
            .args(["--hook-timeout=60s", "--grace=60s"])
            .shell(&format!(
                "trap '{ends}; exit 0' TERM; echo up; while :; do sleep 0.02; done"
            ))
            .start();
        fs::write(dir.path().join("ready1"), "").expect("a directory of ours");
        run.logs("ready after");
        run.signal(Signal::SIGUSR2);
        run.says_times("up", 2);
        run.signal(Signal::SIGTERM);
        let ended = run.wait();
        ended.code(0).never_logged("still there").nothing_left();
    });
}

#[test]
fn where_the_one_that_serves_dies_the_next_one_serves_at_once() {
    both(|mode| {
        let mut server = serving(mode, &[]);
        server.asks(2);
        server.crashes();
        server.run.logs("not ready yet: generation 1 has ended");
        server.is_served_by(2);
        server.run.signal(Signal::SIGTERM);
        server.run.wait().code(0).nothing_left();
    });
}

#[test]
fn a_crash_of_the_next_one_is_a_failure_like_any_other() {
    both(|mode| {
        let options = ["--restart=on-failure", "--restart-delay=1ms"];
        let mut server = serving(mode, &options);
        let mut early = server.connect();
        early.write_all(b"wait\n").expect("it reads");
        server.replaces(2);
        server.run.logs("generation 1: drain: 1 in flight");
        server.crashes();
        server.run.logs("generation 2 exited with 7");
        server.make("ready3");
        server.is_served_by(3);
        server.make("go");
        hears(early, "web wait");
        server.run.logs("generation 1: stopped in");
        server.is_served_by(3);
        server.run.signal(Signal::SIGTERM);
        server.run.wait().code(0).nothing_left();
    });
}

#[test]
fn the_sweep_of_one_does_not_touch_the_other() {
    // Without parents: in sessions of their own, and with an environment that says nothing.
    let orphans = "gen=$STEPDOWN_GENERATION; \
        (setsid sh -c 'echo $$ >session'$gen'; exec sleep 1000' &); \
        ((env -i sh -c 'echo $$ >cleared'$gen'; exec sleep 1000' &) &); \
        until test -s session$gen && test -s cleared$gen; do sleep 0.01; done; \
        exec \"$@\"";
    let sleeps = |server: &Server| {
        let all = server.run.mark().processes();
        all.iter().filter(|process| process.name == "sleep").count()
    };
    both(|mode| {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let listener = binary::listener();
        let mut run = Stepdown::in_mode(mode)
            .dir(dir.path())
            .args(["--listen", "web=127.0.0.1:0", "--replace-on=USR2", READY])
            .args(["--sweep-grace=10s"])
            .child(["sh", "-c", orphans, "sh"])
            .args([listener.as_os_str(), "quick".as_ref()])
            .start();
        let line = run.logs("(web)");
        let address = line
            .split_ascii_whitespace()
            .find_map(|word| word.parse().ok());
        let mut server = Server {
            run,
            dir,
            address: address.expect("an address"),
        };
        server.run.says("ready");
        server.make("ready1");
        server.run.logs("ready after");
        let of_one = sleeps(&server);
        server.replaces(2);
        server.run.logs("generation 1: stopped in");
        let lives = |pid: Option<Pid>| pid.is_some_and(proc::is_alive);
        if mode == Mode::Ordinary {
            for file in ["session", "cleared"] {
                let of = |generation| server.pid_in(&format!("{file}{generation}"));
                assert_eq!((lives(of(1)), lives(of(2))), (false, true), "{file}");
            }
        }
        // Elsewhere the pids are those of another namespace.
        assert_eq!(sleeps(&server), of_one);
        server.is_served_by(2);
        server.run.signal(Signal::SIGTERM);
        server.run.wait().code(0).nothing_left();
    });
}

#[test]
fn each_has_its_hooks_once_and_says_why() {
    both(|mode| {
        let hook = |name: &str| {
            format!("--{name}=sh -c 'echo {name} $STEPDOWN_GENERATION $STEPDOWN_REASON >>hooks'")
        };
        let hooks = ["pre-start", "pre-stop", "post-stop"].map(hook);
        let options: Vec<&str> = hooks.iter().map(String::as_str).collect();
        let mut server = serving(mode, &options);
        server.replaces(2);
        server.run.logs("generation 1: stopped in");
        server.run.signal(Signal::SIGTERM);
        server.run.wait().code(0).nothing_left();
        let told = fs::read_to_string(server.dir.path().join("hooks")).expect("hooks ran");
        let told: Vec<&str> = told.lines().map(str::trim).collect();
        assert_eq!(
            told,
            [
                "pre-start 1",
                "pre-start 2",
                "pre-stop 1 replaced",
                "post-stop 1 replaced",
                "pre-stop 2 signal",
                "post-stop 2 signal",
            ]
        );
    });
}

/// The first one would answer for the second one.
#[test]
fn a_look_by_http_asks_the_one_that_comes() {
    both(|mode| {
        for host in loopback_hosts() {
            let port = free_port();
            let listen = format!("--listen={host}:{port}");
            let ready = format!("--ready-when=http://{host}:{port}/");
            let options = ["--replace-on=USR2", &*listen, &*ready];
            let mut server = Server::start(Stepdown::in_mode(mode), &options, &["quick"]);
            server.make("ready1");
            server.run.logs("ready after");
            server.asks(2);
            // It has been looked at, and is not ready.
            server.run.signal(Signal::SIGTERM);
            server.run.wait().code(0).never_logged("serves");

            let mut server = Server::start(Stepdown::in_mode(mode), &options, &["quick"]);
            server.make("ready1");
            server.run.logs("ready after");
            server.replaces(2);
            server.is_served_by(2);
            server.run.signal(Signal::SIGTERM);
            server.run.wait().code(0).nothing_left();
        }
    });
}

/// The next one would stop to serve in its place.
#[test]
fn a_pre_stop_hook_by_http_asks_the_one_that_leaves() {
    both(|mode| {
        for host in loopback_hosts() {
            let port = free_port();
            let listen = format!("--listen={host}:{port}");
            let hook = format!("--pre-stop=http://{host}:{port}/");
            let options = ["--replace-on=USR2", READY, &*listen, &*hook];
            let mut server = Server::start(Stepdown::in_mode(mode), &options, &["quick"]);
            server.make("ready1");
            server.run.logs("ready after");
            fs::remove_file(server.dir.path().join("ready1")).expect("it is there");
            server.replaces(2);
            let hook = server.run.logs("generation 1: pre-stop hook");
            assert!(hook.contains("failed"), "{hook}");
            server.run.logs("generation 1: stopped in");
            server.run.signal(Signal::SIGTERM);
            let ended = server.run.wait();
            ended.code(0).nothing_left();
        }
    });
}

/// It has the new plan only when its child runs, and must not come so far.
#[test]
fn a_stop_by_what_was_read_again_reaches_the_one_in_its_pre_start_hook() {
    both(|mode| {
        let files = tempfile::tempdir().expect("a directory of our own");
        let path = files.path().join("stepdown.toml");
        fs::write(&path, "reload-on = 'HUP'").expect("our own file");
        let config = format!("--config={}", path.display());
        let hook =
            "--pre-start=sh -c 'test $STEPDOWN_GENERATION = 1 || { touch begun; sleep 100; }'";
        let mut server = serving(mode, &[&config, hook, "--hook-timeout=100s"]);
        server.run.signal(Signal::SIGUSR2);
        let begun = server.dir.path().join("begun");
        server.run.wait_for("the hook to begin", |_| begun.exists());
        let signals = "stop-on = 'QUIT'\nescalate-on = 'QUIT'\nstop-signal = 'TERM'";
        fs::write(&path, format!("reload-on = 'HUP'\n{signals}")).expect("our own file");
        server.run.signal(Signal::SIGHUP);
        server.run.logs("configuration reloaded");
        server.run.signal(Signal::SIGQUIT);
        server.run.logs("generation 2: nothing will be started");
        server.run.signal(Signal::SIGQUIT);
        server.run.logs("generation 2: QUIT");
        server.run.wait().code(0).nothing_left();
    });
}

#[test]
fn a_unix_socket_is_shared_by_both() {
    both(|mode| {
        let sockets = tempfile::tempdir().expect("a temporary directory");
        let path = sockets.path().join("s");
        let listen = format!("--listen=local=unix:{}", path.display());
        let mut server = serving(mode, &[&listen]);
        server.replaces(2);
        server.run.logs("generation 1: stopped in");
        let mut client = unix(&path);
        client.write_all(b"who\n").expect("somebody reads");
        hears(client, "local 2");
        server.run.signal(Signal::SIGTERM);
        server.run.wait().code(0).nothing_left();
    });
}

/// A restart would be short of it as well, with nobody left who serves.
#[test]
fn where_descriptors_or_memory_are_short_the_one_that_serves_goes_on() {
    both(|mode| {
        let mut server = serving(mode, &["--fd-store-max=30"]);
        let pid = server.run.pid();
        let allowed = proc::limit_descriptors(pid, 3);
        server.run.signal(Signal::SIGUSR2);
        let short = "not replaced: --listen 127.0.0.1:0: Too many open files";
        server.run.logs(short);
        server.is_served_by(1);
        // One that is not high enough for a socket.
        proc::limit_descriptors(pid, 20);
        server.run.signal(Signal::SIGUSR2);
        server
            .run
            .logs("not replaced: --listen 127.0.0.1:0: Too many open files");
        proc::limit_descriptors(pid, allowed);
        server.replaces(2);
        server.is_served_by(2);
        server.run.signal(Signal::SIGTERM);
        let ended = server.run.wait();
        ended.code(0).never_logged("in place").nothing_left();
        let mut server = refused(mode, libc::ENOMEM);
        server.run.logs(
            "not replaced: --listen 127.0.0.1:0: Cannot allocate memory; generation 1 goes on",
        );
        server.is_served_by(1);
        server.run.signal(Signal::SIGTERM);
        server.run.wait().code(0).nothing_left();
    });
}

/// A replacement was asked for, and the kernel does not take the program that steers connections.
fn refused(mode: Mode, errno: i32) -> Server {
    let stepdown = Stepdown::in_mode(mode).prepared(move || {
        let option = u32::try_from(libc::SO_ATTACH_REUSEPORT_CBPF).unwrap_or_default();
        seccomp::refuse_where(libc::SYS_setsockopt, Some((2, option)), errno)
    });
    let mut server = Server::start(stepdown, &["--replace-on=USR2", READY], &["quick"]);
    server.make("ready1");
    server.run.logs("ready after");
    server.run.signal(Signal::SIGUSR2);
    server
}

/// Without an environment only its age tells whose it is.
#[test]
fn the_one_that_leaves_keeps_its_orphans_though_the_next_one_is_restarted() {
    both(|mode| {
        let dir = tempfile::tempdir().expect("a directory");
        let options =
            "--listen=unix:socket --replace-on=USR2 --ready-when=exec:true --restart=on-failure";
        let mut run = Stepdown::in_mode(mode)
            .dir(dir.path())
            .args(options.split(' '))
            .args(["--restart-delay=10ms", "--grace=1h"])
            .shell(
                "case $STEPDOWN_GENERATION in \
                 1) (env -i sleep 1000 &); trap 'while ! test -e go; do sleep 0.02; done; exit 3' TERM;; \
                 2) while ! test -e crash; do sleep 0.02; done; exit 4;; esac; \
                 echo up; while :; do sleep 0.02; done",
            )
            .start();
        let make = |name: &str| fs::write(dir.path().join(name), "").expect("our own");
        run.says("up");
        run.logs("ready after");
        let up = proc::now();
        wait_until("the next one to be younger", || proc::now() > up + 1);
        run.signal(Signal::SIGUSR2)
            .logs("generation 1: step 1 of 2");
        make("crash");
        run.says_times("up", 2);
        make("go");
        run.logs("generation 1: TERM to 1 process left");
        run.logs("generation 1: stopped in");
        run.signal(Signal::SIGTERM);
        run.wait().nothing_left();
    });
}

/// As on a kernel that has no such programs, or forbids them.
#[test]
fn where_the_kernel_refuses_it_is_restarted_in_place() {
    both(|mode| {
        let mut server = refused(mode, libc::EPERM);
        server.run.logs(
            "--replace-on: --listen 127.0.0.1:0: Operation not permitted: restarted in place",
        );
        server.make("ready2");
        server.run.says_times("ready", 2);
        server.is_served_by(2);
        server.run.signal(Signal::SIGTERM);
        server
            .run
            .wait()
            .code(0)
            .logged(&["restarted, as asked"])
            .nothing_left();
    });
}

#[test]
fn status_metrics_and_the_report_know_both() {
    both(|mode| {
        let port = free_port();
        let health = format!("--health-listen=127.0.0.1:{port}");
        let options = [&*health, "--report=report.json", "--metrics-file=m.prom"];
        let mut server = serving(mode, &options);
        let status = || {
            let mut stream = connect(port);
            let asked = stream.write_all(b"GET /status HTTP/1.0\r\n\r\n");
            asked.expect("somebody reads");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("an answer");
            let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
            serde_json::from_str::<serde_json::Value>(body).expect("JSON")
        };
        assert_eq!(status().get("beside"), None);
        let mut early = server.connect();
        early.write_all(b"wait\n").expect("it reads");
        server.asks(2);
        assert_eq!(
            status()["beside"],
            serde_json::json!({"generation": 2, "stage": "coming"})
        );
        assert_eq!(status()["generation"], 1);
        let runs = SystemTime::now();
        server.make("ready2");
        server.run.logs("generation 2 serves");
        let told = status();
        assert_eq!(
            told["beside"],
            serde_json::json!({"generation": 1, "stage": "leaving"})
        );
        assert_eq!(told["listening"][0]["name"], "web", "{told}");
        assert_eq!(
            (&told["generation"], &told["ready"]),
            (&2.into(), &true.into())
        );
        server.make("go");
        hears(early, "web wait");
        server.run.logs("generation 1: stopped in");
        wait_until("it is over", || status().get("beside").is_none());
        let last = &status()["last_exit"];
        assert_eq!(
            (&last["generation"], &last["reason"]),
            (&1.into(), &"replaced".into())
        );
        let path = server.dir.path().to_owned();
        let file = |name: &str| fs::read_to_string(path.join(name)).expect("written");
        wait_until("the file of metrics has it, too", || {
            let text = file("m.prom");
            text.contains("\nstepdown_generation 2.0\n")
                && text.contains("{reason=\"replaced\"} 1\n")
        });
        // It runs since it was started, not since it serves.
        let text = file("m.prom");
        let started = text
            .lines()
            .find_map(|line| line.strip_prefix("stepdown_child_start_time_seconds "));
        let started: f64 = started.and_then(|time| time.parse().ok()).expect("a time");
        let runs = runs.duration_since(SystemTime::UNIX_EPOCH);
        assert!(started <= runs.expect("after 1970").as_secs_f64(), "{text}");
        server.run.signal(Signal::SIGTERM);
        server.run.wait().code(0).nothing_left();
        let report: serde_json::Value = serde_json::from_str(&file("report.json")).expect("JSON");
        let lives = report["generations"].as_array().expect("a list");
        let told: Vec<_> = lives
            .iter()
            .map(|life| (&life["generation"], &life["reason"]))
            .collect();
        assert_eq!(
            told,
            [
                (&1.into(), &"replaced".into()),
                (&2.into(), &"signal".into())
            ]
        );
        assert!(
            file("m.prom").contains("reason=\"replaced\"} 1"),
            "{}",
            file("m.prom")
        );
    });
}

#[test]
fn nobody_else_joins_the_group() {
    let mut server = serving(Mode::Ordinary, &[]);
    let listen = format!("--listen={}", server.address);
    let ended = Stepdown::new()
        .args([&*listen, "--replace-on=USR2", "--ready-when=notify"])
        .shell("echo child")
        .run();
    ended.code(125).never_said("child").logged(&["in use"]);
    assert!(TcpStream::connect(server.address).is_ok());
    server.run.signal(Signal::SIGTERM);
    server.run.wait().code(0);
}

#[test]
fn what_cannot_be_replaced_is_refused_before_anything_is_started() {
    for (options, why) in [
        (&["--ready-when=notify"][..], "add --listen ADDR:PORT"),
        (&["--listen=127.0.0.1:0"], "add --ready-when notify"),
        (
            &[
                "--listen=127.0.0.1:0",
                "--ready-when=notify",
                "--restart-on=USR2",
            ],
            "--restart-on",
        ),
        (
            &[
                "--listen=127.0.0.1:0",
                "--ready-when=notify",
                "--stop-on=USR2",
            ],
            "--stop-on",
        ),
    ] {
        let ended = Stepdown::new()
            .args(["--replace-on=USR2"])
            .args(options)
            .shell("echo child")
            .run();
        ended
            .code(125)
            .never_said("child")
            .logged(&["--replace-on", why]);
    }
}

/// A slice of `scripts/replace`: requests come straight to the port all the time.
#[test]
fn no_request_is_lost_under_load() {
    need!(binary::installed("/usr/bin/python3"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/replace");
    let mut played = Command::new(script)
        .arg("--quick")
        .env("STEPDOWN_BIN", binary::under_test())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a script of ours");
    // About half a minute on a machine that has nothing else to do.
    let ended = holds_within(BOUND * 12, || {
        played.try_wait().expect("our own child").is_some()
    });
    if !ended {
        // It ends what it has started.
        let _ = proc::kill(Pid::from_raw(played.id().cast_signed()), libc::SIGINT);
    }
    let told = played.wait_with_output().expect("our own child");
    let table = String::from_utf8_lossy(&told.stdout);
    let error = String::from_utf8_lossy(&told.stderr);
    assert!(ended && told.status.success(), "{error}{table}");
    assert_eq!(
        table
            .lines()
            .filter(|row| row.contains("| stepdown |"))
            .count(),
        2,
        "{table}"
    );
}

#[test]
fn a_port_on_which_the_one_that_serves_would_answer_makes_nobody_ready() {
    let start = |url: &str| {
        let run = Stepdown::new().args(["--listen=127.0.0.1:0", "--replace-on=USR2"]);
        let run = run.args([&format!("--ready-when={url}")]);
        run.shell("echo started").run()
    };
    for url in ["http://127.0.0.1:9/", "http:http://localhost:9/up"] {
        let ended = start(url);
        ended.code(125).never_said("started");
        ended.logged(&["--ready-when", "no --listen has port 9", "or use notify"]);
    }
}

/// The sockets are ours, whoever the child is.
#[test]
fn the_child_of_another_user_is_restarted_and_replaced_as_well() {
    need!(is_root());
    both(|mode| {
        let options = [
            "--user=65534",
            "--restart-on=HUP",
            READY,
            "--replace-on=USR2",
        ];
        let mut server = Server::start(Stepdown::in_mode(mode), &options, &["quick"]);
        let readable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(server.dir.path(), readable).expect("a directory of ours");
        server.make("ready1");
        server.run.logs("ready after").clear();
        server.run.signal(Signal::SIGHUP);
        server.run.logs("restarted, as asked").clear();
        server.make("ready2");
        server.run.logs("ready after");
        server.is_served_by(2);
        server.replaces(3);
        server.run.logs("generation 2: stopped in");
        server.is_served_by(3);
        server.run.signal(Signal::SIGTERM);
        server.run.wait().code(0).nothing_left();
    });
}
