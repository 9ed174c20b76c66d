//! Options, variables and keys by the names that other tools give them, and words that would be taken for something
//! else: each is told with the name that stepdown has.

use std::fs;

use crate::errors::refused;
use crate::support::{Stepdown, both};

/// An option that there is not, and what is said about it.
const NAMES: [(&str, &str); 15] = [
    ("signal", "did you mean --stop-signal?"),
    ("timeout", "did you mean --grace or --max-runtime?"),
    ("stop-timeout", "did you mean --grace?"),
    ("stop-grace-period", "did you mean --grace?"),
    ("kill-after", "did you mean --grace?"),
    ("on-stop", "did you mean --pre-stop?"),
    ("cwd", "did you mean --workdir?"),
    ("stop-singal", "did you mean --stop-signal?"),
    ("ready", "did you mean --ready-when or --ready-timeout?"),
    ("graceful-timeout", "did you mean --grace?"),
    ("port", "did you mean --drain-port or --health-listen?"),
    ("expect-exit", "it is an option of stepdown check"),
    ("fits", "it is an option of stepdown explain"),
    (
        "reap",
        "see --help; write -- before a command that begins with -",
    ),
    (
        "colour",
        "see --help; write -- before a command that begins with -",
    ),
];

#[test]
fn an_option_of_another_tool_leads_to_ours() {
    for (name, way_out) in NAMES {
        for words in [
            vec![format!("--{name}"), "5s".to_owned()],
            vec![format!("--{name}=5s")],
            vec![
                "-v".to_owned(),
                "--grace=1s".to_owned(),
                format!("--{name}=5s"),
            ],
        ] {
            let start = || Stepdown::new().args(words.clone());
            refused(start, &format!("--{name}"), &["unknown option: ", way_out]);
        }
    }
    let check = || Stepdown::new().args(["check", "--timeout=5s"]);
    refused(check, "--timeout", &["did you mean --grace or --within?"]);
    let explain = Stepdown::new().args(["explain", "--timeout=5s"]).run();
    explain
        .code(125)
        .logged(&["did you mean --grace or --max-runtime?"]);
}

#[test]
fn a_duration_below_zero_is_told_as_the_value_that_it_is() {
    for value in ["-5", "-5s", "-1m30s"] {
        let start = || Stepdown::new().args(["--grace", value]);
        let what = format!("{value:?} is not a duration: write it as ");
        refused(start, "--grace", &[&what]);
    }
}

#[test]
fn one_hyphen_before_a_long_name_is_told() {
    for (words, place, way_out) in [
        (&["-grace", "5s"][..], "-grace", "did you mean --grace?"),
        (&["-grace=5s"], "-grace=5s", "did you mean --grace=5s?"),
        (
            &["-v", "-stop-signal", "INT"],
            "-stop-signal",
            "did you mean --stop-signal?",
        ),
        (
            &["--env", "A=B", "-timeout", "5s"],
            "-timeout",
            "did you mean --grace or",
        ),
        (&["-verbose"], "-verbose", "did you mean --log-level?"),
    ] {
        let start = || Stepdown::new().args(words.iter().copied());
        refused(start, place, &["unknown option: ", way_out]);
    }
}

/// Letters in a group, and what stands behind the command, are no long names.
#[test]
fn letters_stay_letters() {
    both(|mode| {
        let told = |words: &[&str]| Stepdown::in_mode(mode).args(words).run();
        told(&["-qw", "echo", "-grace"]).code(0).said("-grace");
        told(&[
            "-rHUP:USR1",
            "-e7",
            "-pTERM",
            "echo",
            "-user",
            "--cgroup",
            "x",
        ])
        .code(0)
        .said("-user --cgroup x");
        told(&["--env", "A=-grace", "-q", "--", "-grace"]).code(127);
        told(&["--env=A=-grace", "sh", "-c", "echo $A"])
            .code(0)
            .said("-grace");
    });
}

#[test]
fn a_variable_of_another_tool_leads_to_ours() {
    for (name, near) in [
        ("STEPDOWN_TIMEOUT", "STEPDOWN_GRACE or STEPDOWN_MAX_RUNTIME"),
        ("STEPDOWN_SIGNAL", "STEPDOWN_STOP_SIGNAL"),
        ("STEPDOWN_KILL_AFTER", "STEPDOWN_GRACE"),
        ("STEPDOWN_STOP_TIMEOUT", "STEPDOWN_GRACE"),
        ("STEPDOWN_ON_STOP", "STEPDOWN_PRE_STOP"),
    ] {
        let start = || Stepdown::new().env(name, "TERM");
        let way_out = format!("no option has this name: did you mean {near}?");
        refused(start, name, &[&way_out]);
    }
}

/// Kubernetes makes these for services whose names begin so, and a hook is told the signal.
#[test]
fn variables_of_services_and_of_hooks_are_passed_over() {
    both(|mode| {
        let mut start = Stepdown::in_mode(mode);
        for (name, value) in [
            ("STEPDOWN_PORT", "tcp://10.0.0.1:80"),
            ("STEPDOWN_SERVICE_HOST", "10.0.0.1"),
            ("STEPDOWN_DRAIN_PORT", "tcp://10.0.0.1:80"),
            ("STEPDOWN_DRAIN_PORT_80_TCP_ADDR", "10.0.0.1"),
            ("STEPDOWN_DRAIN_SERVICE_HOST", "10.0.0.1"),
            ("STEPDOWN_TIMEOUT_SERVICE_PORT", "80"),
            ("STEPDOWN_HEALTH_PORT", "tcp://10.0.0.1:80"),
        ] {
            start = start.env(name, value);
        }
        start.shell("exit 3").run().code(3).was_silent();
        let hook = "sh -c '\"$0\" -- echo \"by $STEPDOWN_SIGNAL\"' ";
        let hook = format!("{hook}{}", crate::support::binary::under_test().display());
        let mut run = Stepdown::in_mode(mode)
            .args(["--pre-stop", &hook])
            .witness(["listen", "15:7"])
            .start();
        run.says("ready").signal(nix::sys::signal::Signal::SIGTERM);
        run.wait().code(7).said("by TERM");
    });
}

#[test]
fn a_key_of_another_tool_leads_to_ours() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("c.toml");
    for (text, place, way_out) in [
        (
            "[[pre-stop]]\nexec = \"true\"",
            ":2:1: pre-stop.exec",
            "did you mean run?",
        ),
        (
            "[[pre-stop]]\ncommand = \"true\"",
            ":2:1: pre-stop.command",
            "did you mean run?",
        ),
        (
            "[[post-stop]]\nurl = \"http://a/\"",
            ":2:1: post-stop.url",
            "did you mean http?",
        ),
        (
            "[[pre-stop]]\nretries = 3",
            ":2:1: pre-stop.retries",
            "a hook has name, run, http, udp, mdns, timeout, priority, on-failure, env, body",
        ),
        (
            "timeout = \"5s\"",
            ":1:1: timeout",
            "did you mean grace or max-runtime?",
        ),
        (
            "on_stop = \"true\"",
            ":1:1: on_stop",
            "did you mean pre-stop?",
        ),
        (
            "grace = 99999999999999999999",
            ":1:9: grace",
            "the number is too large",
        ),
    ] {
        fs::write(&file, text).expect("written");
        let start = || Stepdown::new().args([format!("--config={}", file.display())]);
        refused(start, &format!("{}{place}", file.display()), &[way_out]);
    }
}

#[test]
fn an_option_that_takes_the_command_for_its_value_is_told() {
    for (words, place, parts) in [
        (
            &["--grace", "nginx"][..],
            "--grace",
            "\"nginx\" is not a duration",
        ),
        (
            &["--stop-signal", "nginx"],
            "--stop-signal",
            "unknown signal \"nginx\"",
        ),
    ] {
        let ended = Stepdown::new().args(words.iter().copied()).run();
        ended
            .code(125)
            .logged(&[&format!("stepdown: {place}: "), parts]);
        let ended = Stepdown::new()
            .args(words.iter().copied())
            .args(["-g"])
            .run();
        ended
            .code(125)
            .logged(&[&format!("stepdown: {place}: "), parts]);
    }
}

#[test]
fn a_value_that_stayed_unquoted_is_told() {
    for words in [
        &[
            "--pre-stop",
            "curl",
            "-X",
            "POST",
            "http://a/",
            "--",
            "true",
        ][..],
        &["--pre-stop=curl", "-X", "POST", "http://a/", "--", "true"],
    ] {
        let way_out = "if it belongs to --pre-stop, quote all of that: --pre-stop 'curl -X ...'";
        let start = || Stepdown::new().args(words.iter().copied());
        refused(start, "-X", &["unknown option: ", way_out]);
    }
}

#[test]
fn a_list_with_other_signs_than_commas_is_told() {
    for (option, value, parts) in [
        (
            "--ladder",
            "TERM:8s;KILL",
            &["steps are divided by commas at column 8: write TERM:8s,KILL"][..],
        ),
        (
            "--ladder",
            "TERM:8s KILL",
            &["steps are divided by commas at column 8: write TERM:8s,KILL"],
        ),
        // As a web page has it.
        (
            "--ladder",
            "TERM:8s\u{a0}KILL",
            &["steps are divided by commas at column 8: write TERM:8s,KILL"],
        ),
        (
            "--ladder",
            "HUP,TERM->KILL",
            &["steps are divided by commas", "write TERM,KILL"],
        ),
        (
            "--stop-on",
            "TERM INT",
            &[
                "signals are divided by commas, not as in \"TERM INT\"",
                "write TERM,INT",
            ],
        ),
        (
            "--escalate-on",
            "INT;QUIT",
            &["signals are divided by commas", "write INT,QUIT"],
        ),
    ] {
        refused(|| Stepdown::new().args([option, value]), option, parts);
    }
    // A blank may belong to a duration.
    let ended = Stepdown::new()
        .args(["--ladder", "TERM:1m 30s , KILL", "echo", "ran"])
        .run();
    ended.code(0).said("ran");
}

#[test]
fn a_number_that_is_too_large_is_told_as_such() {
    let duration = "is too large for a duration: write a shorter one, as 24h";
    for (option, value, part) in [
        ("--grace", "99999999999999999999", duration),
        ("--deadline", "99999999999999999999s", duration),
        (
            "--ladder",
            "TERM:9999999999999999999h",
            "is too large for a duration at column 6: write",
        ),
        (
            "--drain-checks",
            "99999999999",
            "write a whole number from 1 to 4294967295",
        ),
        ("--health-listen", ":99999", "ports go up to 65535"),
        ("--drain-port", "70000", "from 1 to 65535"),
        ("--ready-when", "tcp:70000", "from 1 to 65535"),
    ] {
        refused(|| Stepdown::new().args([option, value]), option, &[part]);
    }
}

#[test]
fn a_condition_that_is_not_looked_at_is_told() {
    for (value, parts) in [
        (
            "https:",
            &[
                "https is not supported here",
                "use http://, or a client: exec:curl -fsS URL",
            ][..],
        ),
        (
            "https://a:8443/",
            &["https is not supported here", "use http://"],
        ),
        (
            "tcp:localhost:8080",
            &[
                "\"localhost:8080\" is no port at column 5",
                "write tcp:8080, which is a port of the child's",
            ],
        ),
        (
            "tcp://db:5432",
            &["at column 5", "write tcp:5432", "exec:nc -z HOST PORT"],
        ),
    ] {
        refused(
            || Stepdown::new().args(["--ready-when", value]),
            "--ready-when",
            parts,
        );
    }
}

#[test]
fn a_health_question_names_its_url() {
    for (word, url) in [
        ("9000", "http://localhost:9000/readyz"),
        (":9000", "http://localhost:9000/readyz"),
        ("web:9000/livez", "http://web:9000/livez"),
    ] {
        let ended = Stepdown::new().args(["health", word]).run();
        let way_out = format!("URL: this is no URL at column 1: write {url}");
        ended.code(125).logged(&[&way_out]);
    }
    let closed = crate::support::net::free_port();
    let url = format!("http://127.0.0.1:{closed}/readyz");
    let ended = Stepdown::new().args(["health", &url]).run();
    ended
        .code(1)
        .logged(&[&format!("stepdown health: {url}: Connection refused")]);
    let listen = format!(":{closed}");
    let ended = Stepdown::new()
        .env("STEPDOWN_HEALTH_LISTEN", listen)
        .args(["health"])
        .run();
    ended
        .code(1)
        .logged(&[&format!("{closed}/readyz: Connection refused")]);
}
