//! The health endpoint as balancers and kubelets see it, and `stepdown health`.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::signal::Signal;

use crate::support::drainee::{Drainee, THREADED};
use crate::support::pty::Pty;
use crate::support::server::Server;
use crate::support::stepdown::can_be_pid1;
use crate::support::{
    Mode, Stepdown, binary, both, docker, need, net, once_within, proc, seccomp, wait_until,
};

/// stepdown with an endpoint on a free port.
pub(crate) fn with_endpoint(stepdown: Stepdown) -> (Stepdown, u16) {
    let port = net::free_port();
    let listen = format!("127.0.0.1:{port}");
    (stepdown.args(["--health-listen", &listen]), port)
}

/// Starts without what the tests themselves happen to have inherited.
fn without_others(stepdown: Stepdown) -> Stepdown {
    stepdown.prepared(|| {
        let flags = libc::CLOSE_RANGE_CLOEXEC;
        // SAFETY: marks descriptors of the forked child only.
        match unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, flags) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    })
}

/// One request on a connection of its own; the whole answer.
fn request(port: u16, request: &str) -> String {
    let mut stream = net::connect(port);
    let head = format!("{request} HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("the server reads");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .expect("the server answers");
    answer
}

pub(crate) fn get(port: u16, path: &str) -> String {
    request(port, &format!("GET {path}"))
}

pub(crate) fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

pub(crate) fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").expect("a head").1
}

pub(crate) fn ready(port: u16) -> String {
    status(&get(port, "/readyz")).to_owned()
}

pub(crate) fn json(port: u16) -> serde_json::Value {
    serde_json::from_str(body(&get(port, "/status"))).expect("JSON")
}

/// A child that stays for a while after TERM.
pub(crate) const SLOW: &str =
    "trap 'sleep 0.7; exit 3' TERM; echo ready; while :; do sleep 0.02; done";

/// A child that stays after TERM until this file is there, so that the stop can be watched.
fn staying(gate: &Path) -> String {
    format!(
        "trap 'while ! test -e {}; do sleep 0.01; done; exit 3' TERM; \
         echo ready; while :; do sleep 0.02; done",
        gate.display()
    )
}

#[test]
fn it_is_ready_while_the_child_runs_and_not_from_the_stop_to_the_very_end() {
    both(|mode| {
        let (stepdown, port) = with_endpoint(Stepdown::in_mode(mode));
        let gate = tempfile::tempdir().expect("a temporary directory");
        let hook = |name: &str| {
            let path = gate.path().join(name);
            let path = path.display();
            format!("sh -c 'touch {path}.at; while ! test -e {path}; do sleep 0.01; done'")
        };
        let at = |name: &str| gate.path().join(name);
        let mut run = stepdown
            .args(["--pre-start", &hook("start"), "--pre-stop", &hook("pre")])
            .args(["--post-stop", &hook("post"), "--deadline", "100s"])
            .args(["--hook-timeout", "60s", "--grace", "60s"])
            .shell(&staying(&gate.path().join("child")))
            .start();
        let go = |name: &str| std::fs::write(at(name), "").expect("our own directory");
        let comes_to = |name: &str| {
            let mark = at(&format!("{name}.at"));
            wait_until(name, || mark.exists());
        };

        comes_to("start");
        let answer = get(port, "/readyz");
        assert_eq!(
            (status(&answer), body(&answer)),
            ("503", "not ready: starting\n")
        );
        assert!(answer.contains("retry-after: 1\r\n"), "{answer}");
        assert_eq!(json(port)["phase"], "pre-start");
        assert_eq!(status(&get(port, "/livez")), "200");
        go("start");
        run.says("ready");
        wait_until("it is ready", || ready(port) == "200");
        let told = json(port);
        assert_eq!(told["phase"], "running");
        assert!(told["child"].as_i64().is_some_and(|pid| pid > 1), "{told}");
        assert!(
            told["uptime_ms"].is_u64() && told["deadline_left_ms"].is_null(),
            "{told}"
        );

        run.signal(Signal::SIGTERM);
        comes_to("pre");
        let answer = get(port, "/readyz");
        assert_eq!(
            (status(&answer), body(&answer)),
            ("503", "not ready: stopping\n")
        );
        let told = json(port);
        assert_eq!(told["phase"], "pre-stop");
        let left = told["deadline_left_ms"].as_u64().expect("a deadline");
        assert!((1_000..100_000).contains(&left), "{told}");
        go("pre");
        wait_until("the ladder is taken", || json(port)["phase"] == "ladder");
        assert_eq!(ready(port), "503");
        go("child");
        comes_to("post");
        assert_eq!(ready(port), "503");
        let told = json(port);
        assert_eq!(told["phase"], "post-stop");
        assert!(told["child"].is_null(), "{told}");
        assert_eq!(status(&get(port, "/livez")), "200");
        go("post");
        run.wait().code(3).nothing_left();
        assert!(!net::is_listening(port));
    });
}

#[test]
fn it_is_not_ready_where_the_stop_came_before_the_child() {
    // With a terminal what came before is taken, and the start and the stop are one step.
    let gate = tempfile::tempdir().expect("a temporary directory");
    let path = gate.path().join("gate");
    let path = path.display();
    let hook = format!("sh -c 'echo in the hook; while ! test -e {path}; do sleep 0.01; done'");
    let port = net::free_port();
    let mut command = Command::new(binary::deeds());
    command.args(["block", "15", "raise", "15", "exec"]);
    command.arg(binary::under_test());
    command.args(["--health-listen", &format!("127.0.0.1:{port}")]);
    command.args([
        "--pre-stop",
        &hook,
        "--hook-timeout",
        "60s",
        "--grace",
        "60s",
    ]);
    command.arg("--").arg(binary::witness());
    let mut pty = Pty::running(command.args(["listen", "15:7"]));
    pty.shows("in the hook");
    assert_eq!(ready(port), "503");
    assert_eq!(json(port)["phase"], "pre-stop");
    std::fs::write(gate.path().join("gate"), "").expect("our own directory");
    pty.shows("got 15");
    assert_eq!(pty.ends().code(), Some(7));
}

#[test]
fn the_status_has_what_is_in_flight_and_what_is_left_of_the_deadline() {
    both(|mode| {
        let port = net::free_port();
        let listen = format!("--health-listen=127.0.0.1:{port}");
        let options = [&listen, "--drain-port=PORT", "--deadline=100s"];
        let mut server = Drainee::start(mode, &options, THREADED);
        wait_until("it is ready", || ready(port) == "200");
        assert!(json(port)["in_flight"].is_null());
        let mut client = server.connect();
        client.say("fast").hears("done").say("slow");
        server.stop();
        wait_until("one is in flight", || json(port)["in_flight"] == 1);
        let told = json(port);
        assert_eq!(told["phase"], "drain");
        assert!(
            told["child"].is_i64() && told["uptime_ms"].is_u64(),
            "{told}"
        );
        let left = told["deadline_left_ms"].as_u64().expect("a deadline");
        assert!((1_000..100_000).contains(&left), "{told}");
        let metrics = get(port, "/metrics");
        assert!(
            metrics.contains("\nstepdown_in_flight_requests 1.0\n"),
            "{metrics}"
        );
        server.release();
        client.hears("done");
        server.run.wait().code(143);
    });
}

#[test]
fn without_an_address_both_families_are_taken_whatever_the_system_defaults_to() {
    need!(can_be_pid1());
    need!(net::ipv6());
    let prepare = "echo 1 > /proc/sys/net/ipv6/bindv6only && exec \"$@\"";
    let ask = "for at in 127.0.0.1 [::1]; do \"$0\" health http://$at:9000/livez || exit 1; done";
    let stepdown = binary::under_test();
    let ended = Stepdown::new()
        .program("/usr/bin/unshare")
        .args(["--net", "--", "sh", "-c", prepare, "sh"])
        .args([binary::deeds()])
        .args(["loopback", "exec"])
        .args([stepdown.as_os_str()])
        .args(["--health-listen", ":9000", "--", "sh", "-c", ask])
        .args([stepdown.as_os_str()])
        .run();
    ended.code(0);
}

#[test]
fn the_status_while_not_ready_is_the_one_that_was_asked_for() {
    let (stepdown, port) = with_endpoint(Stepdown::new());
    let dir = tempfile::tempdir().expect("a temporary directory");
    let gate = dir.path().join("gate");
    let mut run = stepdown
        .args(["--not-ready-status", "404", "--grace", "60s"])
        .shell(&staying(&gate))
        .start();
    run.says("ready");
    wait_until("it is ready", || ready(port) == "200");
    run.signal(Signal::SIGTERM);
    wait_until("it is not", || ready(port) == "404");
    std::fs::write(gate, "").expect("our own directory");
    run.wait().code(3);
}

#[test]
fn it_says_what_it_has_and_takes_nothing() {
    let (stepdown, port) = with_endpoint(Stepdown::new());
    let mut run = stepdown.shell("echo ready; exec sleep 1000").start();
    run.says("ready");
    assert_eq!(status(&get(port, "/")), "404");
    assert_eq!(status(&get(port, "/readyz?full=1")), "200");
    let answer = request(port, "HEAD /readyz");
    assert_eq!((status(&answer), body(&answer)), ("200", ""));
    let answer = request(port, "POST /readyz");
    assert_eq!(status(&answer), "405");
    assert!(answer.contains("allow: GET, HEAD\r\n"), "{answer}");
    let metrics = get(port, "/metrics");
    assert_eq!(status(&metrics), "200");
    assert!(
        metrics.contains("content-type: text/plain; version=0.0.4"),
        "{metrics}"
    );
    assert!(
        body(&metrics).contains("# TYPE stepdown_phase gauge"),
        "{metrics}"
    );
    // As HAProxy asks by default.
    let mut stream = net::connect(port);
    let answer = net::ask(&mut stream, b"OPTIONS / HTTP/1.0\r\n\r\n", |a| {
        a.ends_with(b"\n")
    });
    assert!(
        answer.starts_with(b"HTTP/1.0 405"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    run.signal(Signal::SIGTERM);
    run.wait().code(143);
}

/// More than it serves at a time, and all of them have asked before it gets to any.
#[test]
fn however_many_ask_while_it_is_held_up_each_is_answered() {
    both(|mode| {
        let (stepdown, port) = with_endpoint(Stepdown::in_mode(mode));
        let mut run = stepdown.shell("echo ready; exec sleep 1000").start();
        run.says("ready");
        let pid = run.pid();
        run.signal(Signal::SIGSTOP);
        wait_until("it is held up", || {
            proc::status(pid, "State").is_some_and(|state| state.starts_with('T'))
        });
        let clients: Vec<_> = (0..300)
            .map(|_| {
                let mut client = net::connect(port);
                let asked = client.write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n");
                asked.expect("the kernel takes it");
                client
            })
            .collect();
        run.signal(Signal::SIGCONT);
        for mut client in clients {
            let mut answer = String::new();
            let read = client.read_to_string(&mut answer);
            read.expect("the server answers");
            assert_eq!(status(&answer), "200");
        }
        run.signal(Signal::SIGTERM);
        run.wait().code(143).nothing_left();
    });
}

#[test]
fn a_port_that_the_kernel_has_chosen_is_told() {
    both(|mode| {
        let start = Stepdown::in_mode(mode).args(["--health-listen", "127.0.0.1:0"]);
        let mut run = start.witness(["listen", "15:7"]).start();
        let line = run.logs("(--health-listen)");
        let mut words = line.split_ascii_whitespace();
        let port = words.find_map(|word| word.strip_prefix("127.0.0.1:")?.parse().ok());
        run.says("ready");
        assert_eq!(status(&get(port.expect(&line), "/readyz")), "200");
        run.signal(Signal::SIGTERM);
        run.wait().code(7);
    });
}

#[test]
fn a_port_that_is_taken_is_told_before_anything_is_started() {
    both(|mode| {
        let taken = TcpListener::bind(net::address(0)).expect("loopback");
        let address = taken.local_addr().expect("a bound socket").to_string();
        let ended = Stepdown::in_mode(mode)
            .args(["--health-listen", &address, "--pre-start", "echo hook"])
            .shell("echo started")
            .run();
        ended.code(125).never_said("started").never_said("hook");
        ended.logged(&["--health-listen", &address, "Address already in use"]);
    });
    let ended = Stepdown::new()
        .args(["--health-listen", "localhost"])
        .shell("echo started")
        .run();
    ended.code(125).never_said("started");
    ended.logged(&[
        "--health-listen",
        "no address with a port",
        "127.0.0.1:9000",
    ]);
}

/// Inherits a descriptor with this number besides.
fn with_descriptor(stepdown: Stepdown, from: std::os::fd::RawFd, number: i32) -> Stepdown {
    stepdown.prepared(move || {
        // SAFETY: numbers only, in the forked child. dup2(2) changes nothing where it has that number already.
        let is_there = unsafe {
            libc::dup2(from, number) == number && libc::fcntl(number, libc::F_SETFD, 0) == 0
        };
        if is_there {
            Ok(())
        } else {
            Err(std::io::Error::last_os_error())
        }
    })
}

#[test]
fn a_descriptor_above_the_limit_is_let_go() {
    both(|mode| {
        let inherited = tempfile::tempfile().expect("a temporary file");
        let from = std::os::fd::AsRawFd::as_raw_fd(&inherited);
        let (stepdown, port) = with_endpoint(Stepdown::in_mode(mode));
        let mut run = with_descriptor(without_others(stepdown), from, 700)
            .prepared(|| {
                let limit = libc::rlimit {
                    rlim_cur: 64,
                    rlim_max: 4096,
                };
                // SAFETY: the limit lives through the call.
                match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                }
            })
            .shell("[ -e /proc/self/fd/700 ] && echo inherited; echo ready; exec sleep 1000")
            .start();
        run.says("inherited").says("ready");
        let pid = run.pid();
        wait_until("stepdown has let go of it", || {
            proc::descriptors(pid).iter().all(|fd| *fd != 700)
        });
        wait_until("it answers", || ready(port) == "200");
        run.signal(Signal::SIGTERM);
        run.wait().code(143);
    });
}

#[test]
fn where_descriptors_are_short_the_newest_client_is_served() {
    both(|mode| {
        let (stepdown, port) = with_endpoint(Stepdown::in_mode(mode));
        let mut run = stepdown.shell("echo ready; exec sleep 1000").start();
        run.says("ready");
        let pid = run.pid();
        let open = proc::descriptors(pid);
        let mut free = (0..).filter(|number| !open.contains(number));
        let third = free.nth(2).unwrap_or_default();
        proc::limit_descriptors(pid, third.cast_unsigned().into());
        let began = Instant::now();
        let idle = [(); 2].map(|()| net::connect(port));
        wait_until("both are taken", || {
            proc::descriptors(pid).len() == open.len() + idle.len()
        });
        assert_eq!(ready(port), "200");
        // By then an idle connection is closed in any case.
        assert!(began.elapsed() < Duration::from_secs(5));
        run.signal(Signal::SIGTERM);
        run.wait().code(143);
    });
}

#[test]
fn where_descriptors_are_short_the_next_life_has_its_input() {
    both(|mode| {
        let (stepdown, _port) = with_endpoint(Stepdown::in_mode(mode));
        let mut run = stepdown
            .args(["--stdin=relay", "--restart=always", "--restart-delay=1ms"])
            .shell("echo alive; exec sleep 1000")
            .start();
        run.says("alive");
        proc::leave_no_descriptor(run.pid());
        for child in run.children() {
            let _ = nix::sys::signal::kill(child.pid, Signal::SIGKILL);
        }
        run.says_times("alive", 2).signal(Signal::SIGTERM);
        run.wait().code(143);
    });
}

#[test]
fn its_own_descriptors_stay_open_where_the_kernel_does_not_tell_which_are_inherited() {
    let inherited = tempfile::tempfile().expect("a temporary file");
    let from = std::os::fd::AsRawFd::as_raw_fd(&inherited);
    let (stepdown, port) = with_endpoint(Stepdown::new());
    let mut run = with_descriptor(without_others(stepdown), from, 77)
        .prepared(|| {
            #[cfg(target_arch = "x86_64")]
            seccomp::refuse(libc::SYS_poll, None, libc::ENOMEM)?;
            seccomp::refuse(libc::SYS_ppoll, None, libc::ENOMEM)
        })
        .args(["--ready-when", "notify"])
        .shell("echo ready; exec sleep 1000")
        .start();
    run.says("ready");
    assert_eq!(ready(port), "503");
    let pid = run.pid();
    wait_until("stepdown has let go of it", || {
        proc::descriptors(pid).iter().all(|fd| *fd != 77)
    });
    run.signal(Signal::SIGTERM);
    run.wait().code(143);
}

#[test]
fn the_child_and_hooks_get_none_of_its_descriptors_and_keep_their_own() {
    both(|mode| {
        // One that is inherited stays the child's, and only the child's.
        let inherited = tempfile::tempfile().expect("a temporary file");
        let from = std::os::fd::AsRawFd::as_raw_fd(&inherited);
        let (stepdown, _port) = with_endpoint(Stepdown::in_mode(mode));
        let list = "ls /proc/self/fd | tr '\\n' ' '";
        let mut run = with_descriptor(without_others(stepdown), from, 77)
            .args(["--ready-when", "notify"])
            .args(["--pre-stop", &format!("sh -c \"{list}; echo in the hook\"")])
            .shell(&format!("{list}; echo; echo ready; exec sleep 1000"))
            .start();
        run.says("ready");
        let pid = run.pid();
        wait_until("stepdown has let go of it", || {
            proc::descriptors(pid).iter().all(|fd| *fd != 77)
        });
        run.signal(Signal::SIGTERM);
        let ended = run.wait();
        ended.code(143).logged(&["pre-stop hook", "done"]);
        // ls itself has one open to read the directory.
        let child = ended.stdout.lines().next().expect("a line");
        assert_eq!(child.trim(), "0 1 2 3 77", "{}", ended.told());
        let hook = ended
            .stdout
            .lines()
            .find(|line| line.contains("in the hook"));
        assert_eq!(hook, Some("0 1 2 3 in the hook"), "{}", ended.told());
    });
}

#[test]
fn with_standard_streams_closed_nothing_takes_their_place() {
    let (stepdown, port) = with_endpoint(Stepdown::new());
    let gate = tempfile::tempdir().expect("a temporary directory");
    let list = gate.path().join("list");
    let script = format!(
        "ls /proc/self/fd > {0}.new; mv {0}.new {0}; exec sleep 1000",
        list.display()
    );
    let mut run = without_others(stepdown)
        .closing(0)
        .closing(2)
        .shell(&script)
        .start();
    wait_until("the child has looked", || list.exists());
    assert_eq!(ready(port), "200");
    // 1 is the list; 0 is what ls has open to read the directory, and 2 is nothing.
    let seen = std::fs::read_to_string(&list).expect("just made");
    assert_eq!(seen.split_whitespace().collect::<Vec<_>>(), ["0", "1"]);
    run.signal(Signal::SIGTERM);
    run.wait().code(143);
}

fn health(args: &[&str], listen: Option<&str>) -> Output {
    let mut command = Command::new(binary::under_test());
    command.arg("health").args(args);
    command.env_remove("STEPDOWN_HEALTH_LISTEN");
    if let Some(listen) = listen {
        command.env("STEPDOWN_HEALTH_LISTEN", listen);
    }
    command.output().expect("the binary under test")
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

#[test]
fn stepdown_health_asks_and_exits_with_the_answer() {
    let port = net::free_port();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let gate = dir.path().join("gate");
    // All addresses, by an environment variable that the check of the same container sees, too.
    let mut run = Stepdown::new()
        .env("STEPDOWN_HEALTH_LISTEN", format!(":{port}"))
        .args(["--grace", "60s"])
        .shell(&staying(&gate))
        .start();
    run.says("ready");
    let listen = format!(":{port}");
    wait_until("it is ready", || {
        code(&health(&[], Some(&listen))) == Some(0)
    });
    assert_eq!(code(&health(&["/livez"], Some(&listen))), Some(0));
    let base = format!("http://127.0.0.1:{port}");
    assert_eq!(code(&health(&[&format!("{base}/readyz")], None)), Some(0));
    let unknown = health(&[&format!("{base}/nothing")], None);
    assert_eq!(code(&unknown), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("404"));
    run.signal(Signal::SIGTERM);
    wait_until("it is not", || {
        let asked = health(&[], Some(&listen));
        let why = String::from_utf8_lossy(&asked.stderr).into_owned();
        code(&asked) == Some(1) && why.contains("503")
    });
    std::fs::write(gate, "").expect("our own directory");
    run.wait().code(3);

    let gone = health(&[], Some(&listen));
    assert_eq!(code(&gone), Some(1));
    assert!(String::from_utf8_lossy(&gone.stderr).contains("refused"));
    let nobody = health(&[], None);
    assert_eq!(code(&nobody), Some(125));
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("STEPDOWN_HEALTH_LISTEN"));
    let unknown = health(&[], Some("127.0.0.1:0"));
    assert_eq!(code(&unknown), Some(125));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("the kernel chooses the port"));
}

#[test]
fn stepdown_health_gives_up_in_time_and_can_be_interrupted() {
    let server = Server::registry();
    let url = format!("http://127.0.0.1:{}/silent", server.port());
    // Who does not say how long it may take has five seconds.
    once_within(Duration::from_secs(4), || {
        let asked = Instant::now();
        assert_eq!(code(&health(&["--timeout", "200ms", &url], None)), Some(1));
        asked.elapsed()
    });

    let mut run = Stepdown::new()
        .args(["health", "--timeout", "1000s", &url])
        .start();
    let pid = run.pid();
    wait_until("it is connected", || proc::descriptors(pid).len() > 3);
    run.signal(Signal::SIGTERM);
    run.wait().died_of(Signal::SIGTERM);
}

/// Takes one connection and answers with this status.
fn answer(listener: &TcpListener, status: &str) {
    let (mut stream, _) = listener.accept().expect("somebody asks");
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a request");
        seen.extend(byte);
    }
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(answer.as_bytes()).expect("it listens");
}

fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let url = format!("http://{}/readyz", listener.local_addr().expect("bound"));
    (listener, url)
}

#[test]
fn stepdown_health_asks_again_until_the_answer_is_yes() {
    let (listener, url) = listener();
    let run = Stepdown::new()
        .args(["health", "--wait", "1000s", &url])
        .start();
    answer(&listener, "503 Service Unavailable");
    answer(&listener, "404 Not Found");
    answer(&listener, "204 No Content");
    run.wait().code(0).was_silent();
}

#[test]
fn stepdown_health_asks_again_no_longer_than_it_was_told() {
    let url = format!("http://127.0.0.1:{}/readyz", net::free_port());
    let asked = Instant::now();
    let ended = health(&["--wait", "1s", &url], None);
    assert!(asked.elapsed() >= Duration::from_secs(1));
    assert_eq!(code(&ended), Some(1));
    let why = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(why.contains("Connection refused (--wait 1.0 s)"), "{why}");
    // The whole time counts, whatever a single answer may take.
    let (_silent, url) = listener();
    once_within(Duration::from_secs(4), || {
        let asked = Instant::now();
        assert_eq!(code(&health(&["--wait", "200ms", &url], None)), Some(1));
        asked.elapsed()
    });
    let bad = health(&["--wait", "soon", &url], None);
    assert_eq!(code(&bad), Some(125));
    assert!(String::from_utf8_lossy(&bad.stderr).contains("--wait"));
}

#[test]
fn a_signal_ends_stepdown_health_also_as_pid1() {
    let url = format!("http://127.0.0.1:{}/readyz", net::free_port());
    both(|mode| {
        for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM] {
            let mut run = Stepdown::in_mode(mode)
                .args(["health", "--wait", "1000s", &url])
                .start();
            let pid = run.pid();
            // Before it has run its first instruction a signal is lost to PID 1.
            wait_until("it waits", || proc::catches(pid, signal));
            run.signal(signal);
            let ended = run.wait();
            match mode {
                Mode::Ordinary => ended.died_of(signal),
                Mode::Pid1 => ended.code(128 + signal as i32),
            };
            ended.was_silent();
        }
    });
    // One that was ignored at the start does not.
    let (listener, url) = listener();
    let mut run = Stepdown::new()
        .args(["health", "--wait", "1000s", &url])
        .ignoring(libc::SIGHUP)
        .start();
    answer(&listener, "503 Service Unavailable");
    run.signal(Signal::SIGHUP);
    answer(&listener, "200 OK");
    run.wait().code(0);
}

#[test]
fn all_addresses_of_a_port_together_have_the_time_that_was_given() {
    need!(net::ipv6());
    let silent = TcpListener::bind("[::]:0").expect("there is IPv6");
    let listen = format!(":{}", silent.local_addr().expect("bound").port());
    once_within(Duration::from_millis(3_500), || {
        let asked = Instant::now();
        assert_eq!(code(&health(&["--timeout", "2s"], Some(&listen))), Some(1));
        asked.elapsed()
    });
}

#[test]
fn a_healthcheck_works_in_a_scratch_image() {
    need!(docker::available());
    let image = docker::Image::from_scratch("scratch-health")
        .file("/stepdown", binary::under_test_static())
        .file("/actor", binary::actor())
        .line("ENV STEPDOWN_HEALTH_LISTEN=:9000")
        .line(r#"HEALTHCHECK --interval=1s CMD ["/stepdown", "health"]"#)
        .line(r#"ENTRYPOINT ["/stepdown", "--"]"#)
        .build();
    let mut run = docker::container(&image)
        .command(["/actor", "print-signals", "0"])
        .start();
    run.says("ready");
    run.wait_for("Docker calls it healthy", |run| {
        run.inspect("{{.State.Health.Status}}") == "healthy"
    });
    run.stop(&[]);
    run.wait().code(0);
}
