//! `--ready-when`: when the child counts as ready, and what happens when it never does.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::identity::is_root;
use crate::support::running::Running;
use crate::support::server::Server;
use crate::support::{
    BOUND, Stepdown, binary, both, holds_within, need, net, once_within, wait_until,
};

fn stage() -> (TempDir, impl Fn(&str) -> PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let root = dir.path().to_owned();
    (dir, move |name: &str| root.join(name))
}

/// The words of a child that does these deeds.
fn deeds(text: &str) -> Vec<String> {
    let program = binary::deeds().display().to_string();
    let words = text.split(' ').map(str::to_owned);
    std::iter::once(program).chain(words).collect()
}

fn touch(path: &Path) {
    std::fs::write(path, "").expect("a directory of ours");
}

/// Not for a while; a bound on nothing, so it can only be too lenient.
fn is_not_ready(run: &mut Running) {
    let told = |run: &mut Running| run.stderr_has("ready after");
    assert!(!holds_within(Duration::from_millis(300), || told(run)));
}

#[test]
fn a_port_counts_once_it_is_listened_on_and_nobody_connects_to_it() {
    both(|mode| {
        let (_dir, at) = stage();
        let (go, port) = (at("go"), net::free_port());
        let server = deeds(&format!(
            "bind 127.0.0.1 {port} say ready await {} listen accept 500 pause",
            go.display()
        ));
        let mut run = Stepdown::in_mode(mode)
            .args(["--ready-when", &format!("tcp:{port}")])
            .child(server)
            .start();
        run.says("ready");
        // Bound is not listened on.
        is_not_ready(&mut run);
        touch(&go);
        run.logs("ready after");
        run.says("nobody came");
        run.signal(Signal::SIGTERM);
        run.wait().code(143).nothing_left();
    });
}

/// Whichever of its drain ports that is: nobody has asked for a condition that never holds.
#[test]
fn a_drain_port_that_is_never_listened_on_is_told_and_liveness_begins() {
    let port = net::free_port();
    let mut run = Stepdown::new()
        .args([format!("--drain-port={port}")])
        .args(["--live-when=exec:false", "--live-every=100ms"])
        .args(["--live-failures=2"])
        .child(["sleep", "1000"])
        .start();
    let warning = format!(
        "not ready after 30.0 s, --drain-port {port} does not hold: nobody listens on port {port}"
    );
    // It takes longer than most things are waited for.
    let bound = Duration::from_secs(30) + BOUND;
    assert!(holds_within(bound, || run.stderr_has(&warning)));
    let ended = run.wait();
    ended.code(125).logged(&["not alive, 2 of 2"]);
}

#[test]
fn the_ports_of_a_file_that_is_read_again_are_for_the_next_child() {
    both(|mode| {
        let (dir, at) = stage();
        let (first, next) = (net::free_port(), net::free_port());
        let file = |port: u16| {
            let text = format!("reload-on = 'HUP'\ndrain-port = '{port}'\ndrain-timeout = 0\n");
            std::fs::write(at("stepdown.toml"), text).expect("a directory of ours");
        };
        file(first);
        let server = deeds(&format!(
            "bind 127.0.0.1 {first} say ready await {} listen pause",
            at("go").display()
        ));
        let mut run = Stepdown::in_mode(mode)
            .dir(dir.path())
            .args(["--config", "stepdown.toml"])
            .child(server)
            .start();
        run.says("ready");
        file(next);
        run.signal(Signal::SIGHUP).logs("drain-port changed");
        is_not_ready(&mut run);
        touch(&at("go"));
        run.logs("ready after");
        run.signal(Signal::SIGTERM);
        run.wait().code(143).nothing_left();
    });
}

#[test]
fn a_port_that_only_another_process_listens_on_does_not_count() {
    both(|mode| {
        let (_dir, at) = stage();
        let (go, port) = (at("go"), net::free_port());
        // The replica before this one, on the network of the host.
        let listens = format!("bind 127.0.0.1 {port} listen");
        let old = deeds(&format!("{listens} say ready read-input"));
        let new = deeds(&format!("say ready await {} {listens} pause", go.display()));
        let mut other = Stepdown::new()
            .program(binary::deeds())
            .args(&old[1..])
            .with_stdin()
            .start();
        other.says("ready");
        let mut run = Stepdown::in_mode(mode)
            .args(["--ready-when", &format!("tcp:{port}")])
            .child(new)
            .start();
        run.says("ready");
        is_not_ready(&mut run);
        touch(&go);
        run.logs("ready after");
        run.signal(Signal::SIGTERM);
        run.wait().code(143).nothing_left();
        other.signal(Signal::SIGKILL);
        other.wait();
    });
}

#[test]
fn an_ipv6_port_and_all_of_several_count() {
    let (first, second) = (net::free_port(), net::free_port());
    let (_dir, at) = stage();
    let server = deeds(&format!(
        "bind :: {first} listen say ready await {} bind 127.0.0.1 {second} listen pause",
        at("go").display()
    ));
    let mut run = Stepdown::new()
        .args(["--ready-when", &format!("tcp:{first},{second}")])
        .child(server)
        .start();
    run.says("ready");
    is_not_ready(&mut run);
    touch(&at("go"));
    run.logs("ready after");
    run.signal(Signal::SIGTERM);
    run.wait().code(143);
}

#[test]
fn a_command_is_asked_until_it_says_yes_and_what_it_prints_is_not_told() {
    both(|mode| {
        let (_dir, at) = stage();
        let (go, asked) = (at("go"), at("asked"));
        let question = format!(
            "exec:sh -c 'echo noise; echo noise >&2; echo $STEPDOWN_CHILD_PID >> {}; test -e {}'",
            asked.display(),
            go.display()
        );
        let mut run = Stepdown::in_mode(mode)
            .args(["-v", "--ready-when", &question])
            .shell("echo ready; exec sleep 1000")
            .start();
        run.says("ready");
        let times = || std::fs::read_to_string(&asked).map_or(0, |text| text.lines().count());
        wait_until("it was asked three times", || times() > 2);
        assert!(!run.stderr_has("ready after"));
        touch(&go);
        run.logs("ready after");
        let (then, count) = (times(), || times());
        assert!(
            !holds_within(Duration::from_millis(300), || count() > then),
            "still asked"
        );
        run.signal(Signal::SIGTERM);
        let ended = run.wait();
        ended
            .code(143)
            .never_said("noise")
            .never_logged("noise")
            .nothing_left();
        // They are looks, not orphans.
        ended.never_logged("orphan");
        let text = std::fs::read_to_string(&asked).expect("it was asked");
        let pid = text.lines().next().expect("a line");
        ended.logged(&["started, pid", pid]);
    });
}

#[test]
fn a_look_under_way_is_killed_with_all_it_started_when_the_stop_begins() {
    let stopped = |mode| {
        let (_dir, at) = stage();
        let asked = at("asked");
        let question = format!("exec:sh -c 'touch {}; sleep 1000 & wait'", asked.display());
        let mut run = Stepdown::in_mode(mode)
            .args(["-v", "--ready-when", &question])
            .shell("echo ready; exec sleep 1000")
            .start();
        run.says("ready");
        wait_until("it was asked", || asked.exists());
        run.signal(Signal::SIGTERM);
        let ended = run.wait();
        ended.code(143).nothing_left();
        // The child has left nothing behind; the look is no business of the log's.
        ended.never_logged("left").stop_took()
    };
    // A look that may take its time has five seconds.
    both(|mode| once_within(Duration::from_secs(2), || stopped(mode)));
}

#[test]
fn a_look_that_hangs_is_given_up_and_another_is_taken() {
    let (_dir, at) = stage();
    let (first, again) = (at("first"), at("again"));
    let question = format!(
        "exec:sh -c 'if test -e {0}; then touch {1}; exit 0; fi; touch {0}; sleep 1000'",
        first.display(),
        again.display()
    );
    let mut run = Stepdown::new()
        .args(["--ready-when", &question])
        .shell("echo ready; exec sleep 1000")
        .start();
    run.says("ready").logs("ready after");
    assert!(again.exists());
    run.signal(Signal::SIGTERM);
    run.wait().code(143).nothing_left();
}

#[test]
fn a_url_counts_once_it_answers_with_success() {
    both(|mode| {
        let mut registry = Server::registry();
        let url = format!("http://127.0.0.1:{}", registry.port());
        // 404 until somebody registers.
        let question = format!("http:GET {url}/services/probe");
        let mut run = Stepdown::in_mode(mode)
            .args(["-v", "--ready-when", &question])
            .shell("echo ready; exec sleep 1000")
            .start();
        run.says("ready");
        registry.says("GET /services/probe ");
        is_not_ready(&mut run);
        let mut stream = net::connect(registry.port());
        let put = b"PUT /services/probe HTTP/1.0\r\n\r\n";
        net::ask(&mut stream, put, |answer| {
            answer.starts_with(b"HTTP/1.0 201")
        });
        run.logs("ready after");
        run.signal(Signal::SIGTERM);
        run.wait().code(143).never_logged("orphan").nothing_left();
    });
}

#[test]
fn a_file_counts_when_it_is_made_and_an_old_one_when_it_changes() {
    let (dir, at) = stage();
    let file = at("file");
    let start = || {
        // The directory of the start is what a relative path is relative to.
        let mut run = Stepdown::new()
            .dir(dir.path())
            .args(["--ready-when", "file:file"])
            .shell("echo ready; exec sleep 1000")
            .start();
        run.says("ready");
        is_not_ready(&mut run);
        touch(&file);
        run.logs("ready after");
        run.signal(Signal::SIGTERM);
        run.wait().code(143);
    };
    start();
    assert!(file.exists());
    // What the last run left says nothing about this one.
    start();
}

/// Root without CAP_SYS_PTRACE, as in a container, may not look at the descriptors of another user: that user may.
#[test]
fn the_port_of_somebody_else_makes_no_child_of_another_user_ready() {
    need!(is_root());
    need!(binary::installed("/usr/bin/setpriv"));
    let others = std::net::TcpListener::bind("127.0.0.1:0").expect("a port of loopback");
    let port = others.local_addr().expect("it is bound").port();
    let ended = Stepdown::new()
        .program("/usr/bin/setpriv")
        .args(["--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace"])
        .args([binary::for_everybody().as_os_str(), "--user=65534".as_ref()])
        .args([&format!("--ready-when=tcp:{port}"), "--ready-timeout=500ms"])
        .child(["sleep", "1000"])
        .run();
    let told = format!("port {port} is listened on by another process only");
    ended.code(125).logged(&[&told]).nothing_left();
}

#[test]
fn a_child_that_is_not_ready_in_time_is_stopped_and_the_start_has_failed() {
    both(|mode| {
        let port = net::free_port();
        let (_dir, at) = stage();
        let trapped = at("trapped");
        let trapped = trapped.display();
        // TERM follows the hook, however late the child comes to its trap.
        let hook = format!(
            "sh -c 'while ! test -e {trapped}; do sleep 0.01; done; echo pre-stop for $STEPDOWN_REASON'"
        );
        let dir = tempfile::tempdir().expect("a temporary directory");
        let report = dir.path().join("report.json");
        let run = Stepdown::in_mode(mode)
            .args([
                "--ready-when",
                &format!("tcp:{port}"),
                "--ready-timeout",
                "600ms",
            ])
            .args(["--report".as_ref(), report.as_os_str()])
            .args(["--hook-timeout", "60s", "--pre-stop", &hook])
            .args([
                "--post-stop",
                "sh -c 'echo then $STEPDOWN_REASON $SERVICE_RESULT'",
            ])
            .shell(&format!(
                "trap 'echo bye; exit 0' TERM; touch {trapped}; while :; do sleep 0.02; done"
            ))
            .start();
        let ended = run.wait();
        ended
            .code(125)
            .said("pre-stop for start-failed")
            .said("bye");
        ended.said("then start-failed timeout").nothing_left();
        ended.logged(&["not ready after", "--ready-when tcp:"]);
        ended.logged(&["stopping: the start has failed"]);
        // No signal has asked for it.
        let report = std::fs::read_to_string(&report).expect("a report");
        let asked = "\"event\":\"stop-asked\",\"reason\":\"start-failed\",\"signal\":null";
        assert!(report.contains(asked), "{report}");
    });
}

#[test]
fn what_was_missing_is_told_for_every_condition() {
    let (_dir, at) = stage();
    let registry = Server::registry();
    let closed = net::free_port();
    let missing = at("missing");
    // One look has to be over when the time is: so it is long, and all wait at the same time.
    let runs = [
        (
            format!("tcp:{closed}"),
            format!("nobody listens on port {closed}"),
        ),
        (
            format!("http:http://127.0.0.1:{}/status/500", registry.port()),
            "500".to_owned(),
        ),
        (
            format!("http:http://127.0.0.1:{closed}/"),
            "onnection refused".to_owned(),
        ),
        ("exec:sh -c 'exit 9'".to_owned(), "9".to_owned()),
        (
            "exec:/no/such/program".to_owned(),
            "/no/such/program: not found".to_owned(),
        ),
        (
            format!("file:{}", missing.display()),
            missing.display().to_string(),
        ),
        ("notify".to_owned(), "READY=1".to_owned()),
    ]
    .map(|(when, why)| {
        let run = Stepdown::new()
            .args(["--ready-when", &when, "--ready-timeout", "5s"])
            .shell("exec sleep 1000")
            .start();
        (run, why)
    });
    for (run, why) in runs {
        let ended = run.wait();
        ended.code(125).nothing_left();
        ended.logged(&["not ready after", "--ready-when ", &why]);
    }
}

#[test]
fn a_child_that_ends_before_it_is_ready_ends_as_ever() {
    both(|mode| {
        let ended = Stepdown::in_mode(mode)
            .args(["--ready-when", "exec:false", "--ready-timeout", "1000s"])
            .shell("exit 7")
            .run();
        ended.code(7).nothing_left().was_silent();
    });
}

#[test]
fn a_stop_before_it_is_ready_is_a_stop() {
    let mut run = Stepdown::new()
        .args(["--ready-when", "notify", "--ready-timeout", "1000s"])
        .shell("echo ready; exec sleep 1000")
        .start();
    run.says("ready").signal(Signal::SIGTERM);
    run.wait().code(143).never_logged("ready after");
}

#[test]
fn a_mistake_is_told_before_anything_is_started() {
    for (args, told) in [
        (&["--ready-when", "tpc:80"][..], "did you mean tcp?"),
        (&["--ready-when", "tcp:x"], "ports go from 1 to 65535"),
        (&["--ready-timeout", "5s"], "add --ready-when"),
        (&["--not-ready-status", "200"], "400 to 599"),
    ] {
        let ended = Stepdown::new()
            .args(args.iter().copied())
            .shell("echo started")
            .run();
        ended
            .code(125)
            .never_said("started")
            .logged(&[args[0], told]);
    }
}
