//! The configuration file: every option is a key, the stronger source wins, and no mistake gets past the
//! start.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::support::ended::Ended;
use crate::support::{BOUND, Stepdown, both, uninterrupted};

/// A directory with a file in it.
fn file(text: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory of our own");
    let path = dir.path().join("stepdown.toml");
    fs::write(&path, text).expect("our own file");
    (dir, path)
}

/// Runs a child that must not be started, because the file is wrong.
fn refused(text: &str) -> String {
    let (dir, _path) = file(text);
    let run = Stepdown::new()
        .dir(dir.path())
        .args(["--config", "stepdown.toml"])
        .shell("echo started")
        .start();
    let ended: Ended = run.wait();
    ended.code(125).never_said("started");
    ended.stderr.clone()
}

#[test]
fn options_come_from_the_file_in_both_modes() {
    let (_dir, path) = file(
        "stop-signal = 'USR1'\n\
         env = { GREETING = 'from the file', NUMBER = 7 }\n\
         success-exit = [ 3, 'HUP' ]\n\
         clean-stop = true\n",
    );
    both(|mode| {
        let mut run = Stepdown::in_mode(mode)
            .args(["--config".as_ref(), path.as_os_str()])
            .shell(
                "trap 'echo $GREETING $NUMBER; exit 3' USR1; echo ready; while :; do sleep 0.02; done",
            )
            .start();
        run.says("ready").signal(Signal::SIGTERM);
        run.wait().code(0).said("from the file 7").nothing_left();
    });
}

#[test]
fn the_variable_names_the_file_too() {
    let (_dir, path) = file("env = ['A=1', 'B=2']");
    let run = Stepdown::new()
        .env("STEPDOWN_CONFIG", &path)
        .shell("echo $A$B")
        .start();
    run.wait().code(0).said("12").was_silent();
}

#[test]
fn a_flag_wins_over_a_variable_and_both_over_the_file() {
    let (_dir, path) = file("workdir = '/usr'\nuser = 'nobody-like-this'\nlog-format = 'json'");
    // Who everybody may be.
    let own = nix::unistd::getuid().to_string();
    let run = Stepdown::new()
        .args(["--config".as_ref(), path.as_os_str()])
        .args(["--user", &own, "-v"])
        .env("STEPDOWN_USER", "nobody-either")
        .env("STEPDOWN_WORKDIR", "/etc")
        .shell("pwd; id -u")
        .start();
    let ended = run.wait();
    ended.code(0).said("/etc").said(&own);
    // What neither of the others says is still taken from the file.
    ended.logged(&["{\"time_ms\":", "\"event\":\"started\""]);
}

#[test]
fn a_quiet_flag_wins_over_a_verbose_file() {
    let (_dir, path) = file("verbose = true");
    let run = Stepdown::new()
        .args(["--config".as_ref(), path.as_os_str()])
        .args(["-q"])
        .shell("true")
        .start();
    run.wait().code(0).was_silent();
}

#[test]
fn numbers_are_seconds_and_a_ladder_is_an_array() {
    let (_dir, path) = file("ladder = ['USR1:0.2', 'KILL']\nsweep-grace = 1");
    let mut run = Stepdown::new()
        .args(["--config".as_ref(), path.as_os_str()])
        .shell("trap '' USR1 TERM; echo ready; while :; do sleep 0.02; done")
        .start();
    run.says("ready").signal(Signal::SIGTERM);
    let ended = run.wait();
    ended.code(137).logged(&["USR1", "waiting up to 200 ms"]);
    ended.stopped_no_sooner_than(Duration::from_millis(200));
}

#[test]
fn a_comma_in_an_entry_of_an_array_divides_nothing() {
    let (_dir, path) = file("ladder = ['stdin=say bye, now:1h', 'KILL']");
    let mut run = Stepdown::new()
        .args(["--config".as_ref(), path.as_os_str()])
        .shell("echo ready; read line; echo \"got $line\"")
        .start();
    run.says("ready").signal(Signal::SIGTERM);
    run.says("got say bye, now");
    run.wait().code(0);
}

#[test]
fn a_datagram_of_the_file_may_hold_a_url() {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
    socket
        .set_read_timeout(Some(BOUND))
        .expect("a bound above zero");
    let at = socket.local_addr().expect("a bound socket");
    let (_dir, path) = file(&format!("[[pre-start]]\nudp = '{at}/http://a/b'"));
    let run = Stepdown::new()
        .args(["--config".as_ref(), path.as_os_str()])
        .shell("true")
        .start();
    run.wait().code(0);
    let mut buffer = [0; 100];
    let length = uninterrupted(|| socket.recv(&mut buffer)).expect("a datagram");
    assert_eq!(&buffer[..length], b"http://a/b");
}

#[test]
fn hook_tables_have_names_order_environment_and_time() {
    let (dir, path) = file(
        r#"
        [[pre-stop]]
        name = "second"
        run = "sh -c 'echo second $WHAT >> order'"
        env = { WHAT = "of two" }

        [[pre-stop]]
        run = ["sh", "-c", "echo 'third' >> order"]

        [[pre-stop]]
        name = "first"
        run = "sh -c 'echo first >> order'"
        priority = 10

        [[post-stop]]
        run = "sh -c 'echo post2 >> order'"

        [[post-stop]]
        name = "too long"
        run = "sleep 1000"
        timeout = "100ms"

        [[post-stop]]
        run = "sh -c 'echo post-last >> order'"
        priority = -1
        "#,
    );
    let mut run = Stepdown::new()
        .dir(dir.path())
        .args(["--config".as_ref(), path.as_os_str()])
        // So long have hooks that do not say how long they may take, and so long nobody waits.
        .args(["--hook-timeout", "1h"])
        .shell("echo ready; exec sleep 1000")
        .start();
    run.says("ready").signal(Signal::SIGTERM);
    let ended = run.wait();
    ended.code(143).logged(&["pre-stop hook \"first\" done"]);
    ended.logged(&["post-stop hook \"too long\"", "its time was over"]);
    let order = fs::read_to_string(dir.path().join("order")).expect("the hooks wrote it");
    assert_eq!(order, "first\nsecond of two\nthird\npost2\npost-last\n");
    ended.nothing_left();
}

#[test]
fn a_pre_start_hook_of_the_file_prevents_the_start_unless_told_otherwise() {
    for (word, code) in [("fail", 125), ("ignore", 0)] {
        let (_dir, path) = file(&format!(
            "[[pre-start]]\nrun = 'false'\non-failure = '{word}'"
        ));
        let run = Stepdown::new()
            .args(["--config".as_ref(), path.as_os_str()])
            .shell("echo started")
            .start();
        let ended = run.wait();
        ended.code(code);
        assert_eq!(ended.stdout == "started\n", code == 0, "{}", ended.told());
    }
}

#[test]
fn hooks_of_a_flag_replace_those_of_the_file() {
    let (dir, path) = file("post-stop = 'touch file'");
    let run = Stepdown::new()
        .dir(dir.path())
        .args(["--config".as_ref(), path.as_os_str()])
        .args(["--post-stop", "touch flag"])
        .shell("true")
        .start();
    run.wait().code(0);
    assert!(dir.path().join("flag").exists());
    assert!(!dir.path().join("file").exists());
}

#[test]
fn mistakes_name_file_line_column_key_and_the_way_out() {
    for (text, parts) in [
        (
            "grace = '5s'\n\ngracee = 3",
            vec!["stepdown.toml:3:1: gracee: unknown key: did you mean grace?"],
        ),
        (
            "# äöü\ngrace   = '5 parsecs'",
            vec![
                "stepdown.toml:2:11: grace: ",
                "is not a duration: write it as 1500ms",
            ],
        ),
        (
            "ladder = 'TERM:5s,KIL'",
            vec!["stepdown.toml:1:10: ladder: ", "did you mean KILL?", "^^^"],
        ),
        (
            "grace = '5s'\ngrace = '6s'",
            vec!["stepdown.toml:2:1: grace: duplicate key"],
        ),
        ("grace = ", vec!["stepdown.toml:1:9: "]),
        // Of an array the entry is named, and shown as it stands there.
        (
            "ladder = [\n  'TERM:5s',\n  'KIL',\n]",
            vec![
                "stepdown.toml:3:3: ladder: unknown step \"KIL\" at column 1: did you mean KILL?",
                "\n  KIL\n  ^^^\n",
            ],
        ),
        (
            "stop-on = ['TERM', 'HPU']",
            vec!["1:20: stop-on: unknown signal \"HPU\" at column 1: did you mean HUP?"],
        ),
        (
            "drain-port = [80,\n 99999]",
            vec!["2:2: drain-port: \"99999\" is no port"],
        ),
        (
            "GRACE = 5",
            vec!["1:1: GRACE: unknown key: did you mean grace?"],
        ),
        (
            "[drain]\nport = 80",
            vec!["1:2: drain: unknown key: did you mean drain-port?"],
        ),
        (
            "env = { 'A=B' = 'c' }",
            vec!["1:17: env: \"A=B\" is no name of a variable"],
        ),
        (
            "[[pre-stop]]\nrun = 'true'\nenv = { '' = 'c' }",
            vec!["3:14: pre-stop.env: \"\" is no name of a variable"],
        ),
        (
            "config = 'x'",
            vec!["1:1: config: a file cannot name another"],
        ),
        (
            "grace = [1, 2]",
            vec!["1:9: grace: an array cannot stand here"],
        ),
        ("grace = 2026-01-01", vec!["1:9: grace: a date cannot"]),
        ("grace = true", vec!["1:9: grace: ", "not a duration"]),
        (
            "[stop]\ngrace = 1",
            vec!["1:2: stop: unknown key: keys are named as the options"],
        ),
        ("workdir = \"a\\u0000b\"", vec!["1:11: workdir: ", "NUL"]),
        (
            "[[pre-stop]]\nrun = 'true'\n[[pre-stop]]\nrunn = 'true'",
            vec!["stepdown.toml:4:1: pre-stop.runn: unknown key: did you mean run?"],
        ),
        (
            "[[pre-stop]]\nname = 'idle'",
            vec!["stepdown.toml:1:1: pre-stop: the hook does nothing: add run, http, udp or mdns"],
        ),
        (
            "pre-stop = [{ run = 'true', udp = 'h:1/x' }]",
            vec!["1:35: pre-stop.udp: the hook has a \"run\" already"],
        ),
        (
            "[[post-stop]]\nrun = 'true'\ntimeout = 'soon'",
            vec!["3:11: post-stop.timeout: ", "is not a duration"],
        ),
        (
            "[[post-stop]]\nrun = 'true'\non-failure = 'fial'",
            vec!["3:14: post-stop.on-failure: ", "did you mean fail?"],
        ),
        (
            "[[post-stop]]\nrun = \"sh -c 'x\"",
            vec!["2:7: post-stop: a quote is never closed"],
        ),
        (
            "[[post-stop]]\nhttp = 'https://localhost/x'",
            vec!["2:8: post-stop.http: https is not supported here"],
        ),
        (
            "[[post-stop]]\nudp = 'localhost/x'",
            vec!["2:7: post-stop: the port is missing"],
        ),
        (
            "[[post-stop]]\nrun = 'x'\npriority = 'high'",
            vec!["3:12: post-stop.priority: ", "no whole number"],
        ),
    ] {
        let told = refused(text);
        for part in parts {
            assert!(told.contains(part), "{part:?} for {text:?} in {told}");
        }
    }
}

#[test]
fn what_is_no_small_regular_file_is_refused_at_once() {
    let dir = tempfile::tempdir().expect("a directory of our own");
    let fifo = dir.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).expect("our own directory");
    let large = dir.path().join("large");
    fs::write(&large, "#".repeat(2 << 20)).expect("our own file");
    let deep = dir.path().join("deep");
    fs::write(&deep, format!("a = {}", "[".repeat(500_000))).expect("our own file");
    let binary = dir.path().join("binary");
    fs::write(&binary, b"grace = '\xff'").expect("our own file");
    let missing = dir.path().join("missing");
    for (path, why) in [
        (fifo, "not a regular file"),
        (dir.path().to_owned(), "not a regular file"),
        ("/dev/zero".into(), "not a regular file"),
        (large, "larger than 1 MiB"),
        (deep, "deep:1:"),
        (binary, "not UTF-8"),
        (missing, "No such file"),
    ] {
        let run = Stepdown::new()
            .args(["--config".as_ref(), path.as_os_str()])
            .shell("echo started")
            .start();
        let ended = run.wait();
        ended.code(125).never_said("started").logged(&[why]);
        ended.logged(&[&path.to_string_lossy()]);
        if !path.ends_with("deep") {
            ended.logged(&["stepdown: --config: ", "name a TOML file"]);
        }
    }
}

/// What explain prints, and that it starts nothing.
fn explained(dir: &std::path::Path, args: &[&str]) -> String {
    let run = Stepdown::new()
        .dir(dir)
        .args(["explain", "--config", "stepdown.toml", "--grace", "3"])
        .args(args)
        .env("STEPDOWN_SWEEP_GRACE", "1500ms")
        .shell("echo started")
        .start();
    let ended = run.wait();
    ended.code(0).never_said("started").was_silent();
    ended.stdout.clone()
}

const EXPLAINED: &str = "stop-on = ['TERM', 'HUP']\ngrace = 9\n\
     [[post-stop]]\nname = 'bye'\nrun = 'true'\npriority = 2\n";

#[test]
fn explain_shows_every_value_and_where_it_came_from() {
    let (dir, _path) = file(EXPLAINED);
    let text = explained(dir.path(), &[]);
    let line = |name: &str| -> Vec<&str> {
        let found = text.lines().find(|line| line.starts_with(name));
        let words = found.unwrap_or_else(|| panic!("no {name} in\n{text}"));
        words
            .split("  ")
            .map(str::trim)
            .filter(|w| !w.is_empty())
            .collect()
    };
    assert_eq!(line("grace"), ["grace", "3s", "--grace"]);
    assert_eq!(
        line("sweep-grace"),
        ["sweep-grace", "1s 500ms", "STEPDOWN_SWEEP_GRACE"]
    );
    assert_eq!(line("stop-on"), ["stop-on", "HUP,TERM", "stepdown.toml:1"]);
    assert_eq!(
        line("post-stop"),
        ["post-stop", "bye: true (priority 2)", "stepdown.toml:5"]
    );
    assert_eq!(line("ladder"), ["ladder", "SAME,KILL", "default"]);
    assert_eq!(line("stdin"), ["stdin", "inherit", "default"]);
    assert!(
        text.contains("\nNo other option is set") && !text.contains("\ndeadline "),
        "{text}"
    );
    // The columns stand below each other, and the timeline comes after them.
    let from = text.lines().next().and_then(|head| head.find("FROM"));
    let grace = text.lines().find(|line| line.starts_with("grace"));
    assert_eq!(grace.and_then(|line| line.find("--grace")), from, "{text}");
    assert!(
        text.find("No other option") < text.find("stopping: TERM"),
        "{text}"
    );
}

#[test]
fn explain_tells_the_values_as_json_too() {
    let (dir, _path) = file(EXPLAINED);
    let text = explained(dir.path(), &["--json"]);
    for line in [
        r#"{"event":"setting","name":"grace","value":"3s","source":"flag","place":"--grace"}"#,
        r#"{"event":"setting","name":"stop-on","value":"HUP,TERM","source":"file","place":"stepdown.toml:1"}"#,
        r#"{"event":"setting","name":"target","value":"child","source":"default","place":null}"#,
    ] {
        assert!(text.lines().any(|seen| seen == line), "{line} in\n{text}");
    }
    assert!(text.lines().all(|line| line.starts_with('{')), "{text}");
}
