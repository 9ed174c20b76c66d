//! `--wait-for`: nothing is started until what the command depends on is there.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::health;
use crate::support::running::Running;
use crate::support::server::Server;
use crate::support::stepdown::can_be_pid1;
use crate::support::{
    Mode, Stepdown, binary, both, holds_within, need, net, once_within, wait_until,
};

fn dir() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn listener(port: u16) -> TcpListener {
    TcpListener::bind(("127.0.0.1", port)).expect("a free port")
}

fn touch(path: &Path) {
    fs::write(path, "").expect("a directory of ours");
}

fn waiting(mode: Mode, condition: &str) -> Stepdown {
    Stepdown::in_mode(mode).args(["--wait-for", condition])
}

/// Not for a while; a bound on nothing, so it can only be too lenient.
fn has_not_started(run: &mut Running) {
    let started = |run: &mut Running| run.stderr_has(" holds after");
    assert!(!holds_within(Duration::from_millis(300), || started(run)));
}

#[test]
fn a_database_that_comes_later_is_waited_for() {
    both(|mode| {
        let port = net::free_port();
        let mut run = waiting(mode, &format!("tcp:127.0.0.1:{port}"))
            .args(["--pre-start", "echo migrating"])
            .shell("echo started; exit 3")
            .start();
        let told = run.logs("waiting up to");
        assert!(told.contains("onnection refused"), "{told}");
        has_not_started(&mut run);
        let database = listener(port);
        let ended = run.wait();
        drop(database);
        ended.code(3).nothing_left();
        assert_eq!(ended.stdout, "migrating\nstarted\n");
        ended.logged(&[&format!("tcp:127.0.0.1:{port} holds after")]);
    });
}

#[test]
fn what_is_there_already_costs_no_line() {
    both(|mode| {
        let database = listener(0);
        let port = database.local_addr().expect("it is bound").port();
        for host in ["127.0.0.1", "localhost"] {
            let ended = waiting(mode, &format!("tcp:{host}:{port}"))
                .shell("echo started")
                .run();
            ended.code(0).said("started").was_silent();
        }
    });
}

#[test]
fn a_name_that_is_not_known_yet_is_asked_for_again() {
    need!(binary::installed("/etc/hosts"));
    need!(can_be_pid1());
    let dir = dir();
    let hosts = dir.path().join("hosts");
    touch(&hosts);
    let database = listener(0);
    let port = database.local_addr().expect("it is bound").port();
    // Its file of hosts is what stands for a name server that comes up later.
    let mut run = Stepdown::new()
        .program("/usr/bin/unshare")
        .args(["--mount", "--", "sh", "-c"])
        .args([
            "mount --bind \"$1\" /etc/hosts && echo nameserver 127.0.0.1 >\"$2\" && \
             mount --bind \"$2\" /etc/resolv.conf && shift 2 && exec \"$@\"",
            "sh",
        ])
        .args([
            hosts.as_os_str(),
            dir.path().join("resolv.conf").as_os_str(),
            binary::under_test().as_os_str(),
        ])
        .args(["--wait-for", &format!("tcp:late.test:{port}")])
        .args(["--", "sh", "-c", "echo started; exit 3"])
        .start();
    run.logs("waiting up to");
    fs::write(&hosts, "127.0.0.1 late.test\n").expect("a directory of ours");
    let ended = run.wait();
    ended
        .code(3)
        .said("started")
        .logged(&["late.test", "holds"]);
}

#[test]
fn a_timeout_fails_the_start_with_the_last_reason() {
    both(|mode| {
        let port = net::free_port();
        let ended = waiting(mode, &format!("tcp:127.0.0.1:{port}"))
            .args(["--wait-timeout", "500ms", "--pre-start", "echo hook"])
            .args([
                "--post-stop",
                "sh -c 'echo then $STEPDOWN_REASON $SERVICE_RESULT'",
            ])
            .shell("echo started")
            .run();
        ended.code(125).nothing_left();
        assert_eq!(ended.stdout, "then start-failed resources\n");
        let told = format!("--wait-for tcp:127.0.0.1:{port} does not hold after 5");
        ended.logged(&[&told, "onnection refused"]);
        assert!(ended.ran >= Duration::from_millis(500), "{:?}", ended.ran);
    });
}

#[test]
fn why_it_does_not_hold_is_told_for_every_condition() {
    let dir = dir();
    let registry = Server::registry();
    let missing = dir.path().join("missing");
    let runs = [
        (
            format!("http:http://127.0.0.1:{}/status/500", registry.port()),
            "the answer is 500",
        ),
        ("exec:sh -c 'exit 9'".to_owned(), "it exited with 9"),
        (
            "exec:/no/such/program".to_owned(),
            "/no/such/program: not found",
        ),
        (format!("file:{}", missing.display()), "o such file"),
        ("tcp:nobody.invalid:80".to_owned(), "nobody.invalid: "),
    ]
    .map(|(condition, why)| {
        let stepdown = waiting(Mode::Ordinary, &condition);
        let stepdown = stepdown.args(["--wait-timeout", "3s"]);
        (stepdown.shell("echo started").start(), why)
    });
    for (run, why) in runs {
        let ended = run.wait();
        ended.code(125).never_said("started").nothing_left();
        ended.logged(&["does not hold after 3", why]);
    }
}

#[test]
fn a_silent_server_is_told_of_in_time() {
    // It takes the connection, and says nothing.
    let server = listener(0);
    let address = server.local_addr().expect("it is bound");
    let ended = waiting(Mode::Ordinary, &format!("http:http://{address}/"))
        .args(["--wait-timeout", "1s"])
        .shell("echo started")
        .run();
    ended.code(125).logged(&["no answer in time"]);
}

#[test]
fn a_first_look_that_hangs_is_told_of_long_before_it_has_failed() {
    let told = |mode| {
        let dir = dir();
        let gate = dir.path().join("gate");
        let hangs = format!(
            "exec:sh -c 'until test -e {}; do sleep 0.02; done'",
            gate.display()
        );
        let begun = Instant::now();
        let mut run = waiting(mode, &hangs).shell("exit 3").start();
        let line = run.logs("waiting up to");
        let took = begun.elapsed();
        assert!(line.contains("the first check is not over"), "{line}");
        touch(&gate);
        run.wait().code(3).logged(&[" holds after "]).nothing_left();
        took
    };
    both(|mode| once_within(Duration::from_secs(5), || told(mode)));
}

#[test]
fn a_stop_ends_it_at_once_whatever_a_look_is_doing() {
    let stopped = |mode| {
        let dir = dir();
        let asked = dir.path().join("asked");
        let hangs = format!(
            "exec:sh -c 'trap \"\" TERM; touch {}; sleep 1000 & wait'",
            asked.display()
        );
        let mut run = waiting(mode, &hangs)
            .args(["--post-stop", "sh -c 'echo then $STEPDOWN_REASON'"])
            .shell("echo started")
            .start();
        wait_until("it was asked", || asked.exists());
        run.signal(Signal::SIGTERM);
        let ended = run.wait();
        ended.code(143).never_said("started").nothing_left();
        ended.said("then signal").logged(&["stopping: TERM"]);
        ended.never_logged("left").stop_took()
    };
    both(|mode| once_within(Duration::from_secs(2), || stopped(mode)));
}

#[test]
fn a_stop_in_the_pause_between_two_looks_ends_it_too() {
    both(|mode| {
        let mut run = waiting(mode, "file:/no/such/file")
            .shell("echo started")
            .start();
        run.logs("waiting up to");
        run.signal(Signal::SIGINT);
        run.wait().code(130).never_said("started").nothing_left();
    });
}

#[test]
fn a_signal_that_is_no_stop_reaches_the_child() {
    both(|mode| {
        let dir = dir();
        let file = dir.path().join("file");
        let mut run = waiting(mode, &format!("file:{}", file.display()))
            .shell("exec sleep 1000")
            .start();
        run.logs("waiting up to");
        run.signal(Signal::SIGUSR1);
        touch(&file);
        run.wait().code(138).nothing_left();
    });
}

#[test]
fn all_must_hold_one_after_the_other() {
    both(|mode| {
        let dir = dir();
        let at = |name: &str| dir.path().join(name);
        let mut run = waiting(mode, "file:first")
            .args(["--wait-for", "exec:test -e second"])
            .dir(dir.path())
            .shell("echo started")
            .start();
        run.logs("first: ");
        touch(&at("first"));
        let told = run.logs("test -e second");
        assert!(told.contains("waiting up to 5"), "{told}");
        touch(&at("second"));
        run.wait().code(0).said("started").nothing_left();
    });
}

#[test]
fn a_command_is_told_the_phase_and_what_it_prints_is_not_told() {
    let dir = dir();
    let ended = waiting(
        Mode::Ordinary,
        "exec:sh -c 'echo noise; echo noise >&2; echo $STEPDOWN_PHASE >>phases; test $(wc -l <phases) -gt 2'",
    )
    .dir(dir.path())
    .shell("cat phases")
    .run();
    ended.code(0).never_said("noise");
    assert_eq!(ended.stdout, "wait-for\n".repeat(3));
    let lines = ended.stderr.lines();
    assert!(
        lines.clone().all(|line| line.starts_with("stepdown: ")),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_url_holds_once_it_answers_with_success() {
    both(|mode| {
        let server = listener(0);
        let address = server.local_addr().expect("it is bound");
        let run = waiting(mode, &format!("http:HEAD http://{address}/up"))
            .shell("echo started")
            .start();
        for answer in ["503 Not Yet", "204 Here"] {
            let (mut client, _) = server.accept().expect("a look");
            let mut head = [0; 4096];
            let length = client.read(&mut head).expect("a request");
            assert!(head[..length].starts_with(b"HEAD /up HTTP/1.1\r\n"));
            write!(client, "HTTP/1.1 {answer}\r\n\r\n").expect("it waits for it");
        }
        let ended = run.wait();
        ended.code(0).said("started").logged(&["the answer is 503"]);
    });
}

#[test]
fn each_life_of_the_command_waits_anew() {
    both(|mode| {
        let dir = dir();
        let at = dir.path().join("there");
        touch(&at);
        let mut run = waiting(mode, "file:there")
            .dir(dir.path())
            .args(["--restart=on-failure", "--restart-delay=1ms"])
            .shell("echo life; test -e second && exit 0; rm there; touch second; exit 1")
            .start();
        run.says("life").logs("waiting up to");
        touch(&at);
        run.says_times("life", 2);
        run.wait().code(0).nothing_left();
    });
}

#[test]
fn a_stop_while_a_later_life_waits_ends_the_run() {
    both(|mode| {
        let dir = dir();
        touch(&dir.path().join("there"));
        let mut run = waiting(mode, "file:there")
            .dir(dir.path())
            .args(["--restart=on-failure", "--restart-delay=1ms"])
            .shell("rm there; exit 1")
            .start();
        run.logs("waiting up to");
        run.signal(Signal::SIGTERM);
        run.wait().code(143).nothing_left();
    });
}

#[test]
fn the_endpoint_tells_of_it() {
    let dir = dir();
    let (stepdown, port) = health::with_endpoint(waiting(Mode::Ordinary, "file:there"));
    let mut run = stepdown
        .dir(dir.path())
        .shell("echo ready; exec sleep 1000")
        .start();
    run.logs("waiting up to");
    let told = health::json(port);
    assert_eq!(told["phase"], "wait-for");
    let why = told["not_ready"].as_str().expect("a reason");
    assert!(why.starts_with("waiting for file:there: "), "{why}");
    assert_eq!(health::ready(port), "503");
    touch(&dir.path().join("there"));
    run.says("ready").signal(Signal::SIGTERM);
    run.wait();
}

#[test]
fn the_variable_and_the_file_say_it_as_well() {
    let dir = dir();
    let config = dir.path().join("config.toml");
    fs::write(
        &config,
        "wait-for = ['file:/no/such', 'file:/']\nwait-timeout = '300ms'\n",
    )
    .expect("a directory of ours");
    let ended = Stepdown::new()
        .args(["--config".as_ref(), config.as_os_str()])
        .shell("echo started")
        .run();
    ended.code(125).logged(&["file:/no/such does not hold"]);
    let ended = Stepdown::new()
        .env("STEPDOWN_WAIT_FOR", "file:/\nfile:/nor/this")
        .env("STEPDOWN_WAIT_TIMEOUT", "300ms")
        .shell("echo started")
        .run();
    ended.code(125).logged(&["file:/nor/this does not hold"]);
}

#[test]
fn explain_tells_of_it() {
    let ended = Stepdown::new()
        .args(["explain", "--wait-for", "tcp:db:5432", "--wait-for=file:/a"])
        .start()
        .wait();
    ended.code(0);
    for told in [
        "wait-timeout",
        "stepdown waits up to 60.0 s for tcp:db:5432, then file:/a",
    ] {
        assert!(ended.stdout.contains(told), "{}", ended.stdout);
    }
}

#[test]
fn a_mistake_is_told_before_anything_is_started() {
    for (args, told) in [
        (&["--wait-for", "tpc:db:80"][..], "did you mean tcp?"),
        (&["--wait-for", "tcp:5432"], "write tcp:127.0.0.1:5432"),
        (&["--wait-for", "tcp:db"], "write HOST:PORT"),
        (&["--wait-for", "db:5432"], "write tcp:HOST:PORT"),
        (&["--wait-for", "notify"], "write tcp:HOST:PORT"),
        (&["--wait-timeout", "5s"], "add --wait-for"),
        (&["--wait-timeout=0", "--wait-for=file:/"], "no time at all"),
    ] {
        let ended = Stepdown::new()
            .args(args.iter().copied())
            .shell("echo started")
            .run();
        ended
            .code(125)
            .never_said("started")
            .logged(&["--wait-", told]);
    }
}
