//! What was not understood: told before anything is started, with its place and the way out.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::support::{Stepdown, both, wait_until};

/// An option, a value that it cannot have, and what is said about it.
type Malformed = (&'static str, &'static str, &'static [&'static str]);

const A_DURATION: &[&str] = &["is not a duration", "write it as 1500ms, 10s or 1m30s"];

const MALFORMED: &[Malformed] = &[
    (
        "ladder",
        "TERM:5s,QIUT",
        &["\"QIUT\"", "at column 9", "did you mean QUIT?", "^^^^"],
    ),
    (
        "ladder",
        "TERM@grop:5s",
        &["\"grop\"", "at column 6", "did you mean group?"],
    ),
    ("ladder", "TERM:5sec5", &["at column 6", "1500ms"]),
    (
        "ladder",
        "",
        &["a step is missing", "write one, as TERM:5s"],
    ),
    ("ladder", "TERM,,KILL", &["a step is empty at column 6"]),
    (
        "ladder",
        "KILL,TERM",
        &["nothing can follow KILL at column 6"],
    ),
    ("ladder", "sdtin=stop", &["did you mean stdin=TEXT?"]),
    ("ladder", "exec='kill", &["never closed at column 6"]),
    (
        "ladder",
        "exec:web stop,KILL",
        &["exec takes its COMMAND behind =", "write exec=COMMAND"],
    ),
    ("ladder", "stdin:stop:5s", &["write stdin=TEXT"]),
    ("ladder", "TERM=8s,KILL", &["did you mean TERM:8s?"]),
    ("ladder", "eof=5s,KILL", &["did you mean eof:5s?"]),
    (
        "ladder",
        "stdin=stop\\ ,KILL",
        &["this backslash escapes nothing at column 11", "quote"],
    ),
    (
        "ladder",
        "exec=",
        &["exec= needs a command", "write exec='"],
    ),
    (
        "ladder",
        "exec=a;KILL",
        &["divided by commas at column 7", "write exec=a,KILL"],
    ),
    ("ladder", "eof@tree", &["eof has no target"]),
    ("ladder", "SAEM", &["did you mean SAME?"]),
    ("stop-signal", "TREM", &["\"TREM\"", "did you mean TERM?"]),
    ("stop-signal", "65", &["\"65\"", "a number from 1 to 64"]),
    ("stop-signal", "RTMIN+31", &["RTMIN+31"]),
    ("stop-signal", "", &["unknown signal"]),
    ("grace", "5 parsecs", A_DURATION),
    ("grace", "-5s", A_DURATION),
    ("grace", "", A_DURATION),
    ("deadline", "tomorrow", A_DURATION),
    ("deadline", "1e99", A_DURATION),
    (
        "max-runtime",
        "0",
        &["0 leaves it no time at all", "or leave it out"],
    ),
    ("max-runtime", "10x", A_DURATION),
    ("hook-timeout", "5s5", A_DURATION),
    ("hook-timeout", "0", &["0 leaves it no time at all"]),
    ("ready-timeout", "0s", &["0 leaves it no time at all"]),
    ("sweep-grace", "two", A_DURATION),
    (
        "stop-on",
        "TERM,INIT",
        &["\"INIT\"", "at column 6", "did you mean INT?", "^^^^"],
    ),
    ("stop-on", "TERM INT", &["\"TERM INT\""]),
    (
        "stop-on",
        "TERM,KILL",
        &["KILL reaches no program", "at column 6"],
    ),
    ("escalate-on", "STOP", &["STOP reaches no program"]),
    ("reload-on", "CHLD", &["CHLD only tells stepdown"]),
    ("escalate-on", "QIUT", &["did you mean QUIT?"]),
    (
        "rewrite",
        "TERM:QIUT",
        &["\"QIUT\"", "at column 6", "did you mean QUIT?"],
    ),
    (
        "rewrite",
        "HPU:USR1",
        &["\"HPU\"", "at column 1", "did you mean HUP?"],
    ),
    ("rewrite", "15", &["a rule is FROM:TO"]),
    ("target", "treee", &["\"treee\"", "did you mean tree?"]),
    ("target", "everybody", &["a target is child, group or tree"]),
    ("parent-death-signal", "TEMR", &["did you mean TERM?"]),
    ("wait-for", "tpc:db:5432", &["did you mean tcp?"]),
    ("wait-for", "tcp:db:x", &["at column 5", "write HOST:PORT"]),
    ("wait-timeout", "soon", A_DURATION),
    ("pre-start", "sh -c 'true", &["a quote is never closed"]),
    ("pre-stop", "''\"", &["a quote is never closed"]),
    (
        "post-stop",
        "true\\",
        &["the backslash at the end escapes nothing"],
    ),
    ("post-stop", "  ", &["the command is empty"]),
    (
        "user",
        "deamon",
        &["/etc/passwd has no user \"deamon\"", "did you mean daemon?"],
    ),
    ("user", "daemon:", &["write USER or USER:GROUP"]),
    ("user", "4294967295", &["4294967295"]),
    (
        "group",
        "dameon",
        &["/etc/group has no group", "did you mean daemon?"],
    ),
    (
        "env",
        "NOVALUE",
        &["\"NOVALUE\" is not KEY=VALUE", "NAME=VALUE"],
    ),
    ("env", "=value", &["is not KEY=VALUE"]),
    ("stdin", "realy", &["did you mean relay?"]),
    ("left", "stpo", &["did you mean stop?"]),
    ("left", "murder", &["use one of stop, wait, leave"]),
    (
        "success-exit",
        "143,256",
        &["256 is no exit code", "at column 5", "0 to 255"],
    ),
    ("success-exit", "TEMR", &["did you mean TERM?"]),
    (
        "reload-on",
        "HUP,TEMR",
        &["\"TEMR\"", "at column 5", "did you mean TERM?"],
    ),
    ("drain-port", "80,http", &["http"]),
    ("drain-port", "0", &["0"]),
    (
        "drain-port",
        "8080,8443/tsl",
        &["\"tsl\"", "at column 11", "did you mean tls?", "^^^"],
    ),
    ("drain-port", "8443/https", &["did you mean tls?"]),
    ("drain-port", "80/h3", &["did you mean h2?"]),
    (
        "drain-port",
        "80/quic",
        &["use one of http, tls, h2, ws, opaque"],
    ),
    (
        "drain-port",
        "auto/h2",
        &["auto takes every port as http", "8443/tls"],
    ),
    (
        "drain-port",
        "80,80/h2",
        &["port 80 speaks one protocol only", "at column 4"],
    ),
    ("drain-delay", "short", A_DURATION),
    ("drain-quiet", "1sec1", A_DURATION),
    ("drain-until", "metric:http://a/metrics", &["#NAME"]),
    ("drain-until", "exec: ", &["the command is missing"]),
    (
        "drain-until",
        "exec:test $X = 0 | cat",
        &["only a shell understands $X", "write sh -c"],
    ),
    ("drain-timeout", "-1s", A_DURATION),
    ("drain-checks", "few", &["few"]),
    ("drain-checks-timeout", "soon", A_DURATION),
    ("ready-when", "tpc:80", &["did you mean tcp?"]),
    ("ready-when", "tcp:0", &["at column 5", "1 to 65535"]),
    ("ready-timeout", "soon", A_DURATION),
    ("live-when", "tpc:80", &["did you mean tcp?"]),
    ("live-when", "watchdog:soon", A_DURATION),
    ("live-every", "soon", A_DURATION),
    ("main-pid", "pidfile", &["write file:PATH or notify"]),
    ("main-pid", "notfy", &["did you mean notify?"]),
    ("live-timeout", "soon", A_DURATION),
    (
        "live-failures",
        "0",
        &["is no number of checks", "write one from 1 on"],
    ),
    ("restart", "alwys", &["did you mean always?"]),
    ("restart-delay", "soon", A_DURATION),
    ("restart-max-delay", "soon", A_DURATION),
    (
        "restart-limit",
        "few",
        &["\"few\" is no number", "write as 5/1m"],
    ),
    ("restart-limit", "0", &["0 restarts are none"]),
    (
        "restart-limit",
        "2/0",
        &["no restart is within 0 s", "at column 3", "write as 5/1m"],
    ),
    (
        "restart-never-on",
        "78,300",
        &["300 is no exit code", "at column 4"],
    ),
    ("restart-on", "TREM", &["did you mean TERM?"]),
    ("replace-on", "TREM", &["did you mean TERM?"]),
    ("health-listen", "foo", &["write ADDR:PORT"]),
    ("not-ready-status", "200", &["from 400 to 599"]),
    ("log-level", "wran", &["did you mean warn?"]),
    (
        "log-level",
        "warn,info",
        &["there is a level already at column 6", "as warn,reaped"],
    ),
    ("log-level", "reapd", &["did you mean reaped?"]),
    (
        "log-level",
        ",",
        &["there is no level", "write error, warn"],
    ),
    (
        "log-level",
        "chatty",
        &["use one of error, warn, info, debug"],
    ),
    ("log-format", "jsno", &["did you mean json?"]),
    (
        "trace",
        "drain=debug,kernl=trace",
        &["\"kernl\"", "at column 13", "did you mean kernel?", "^^^^^"],
    ),
    (
        "trace",
        "drain=debgu",
        &["at column 7", "did you mean debug?"],
    ),
    ("trace", "machine", &["use drain, kernel, sys, tell"]),
    (
        "report",
        "/proc/self",
        &[
            "Is a directory",
            "name a file in it, as /proc/self/run.json",
        ],
    ),
    ("report", "reports/", &["Is a directory"]),
    ("report", "", &["the name is empty", "leave it out"]),
    ("config", "", &["the name is empty", "leave it out"]),
    (
        "termination-log",
        "/proc/self",
        &["Is a directory", "/proc/self/termination-log"],
    ),
    ("state-file", ".", &["Is a directory", "/state.json"]),
    (
        "metrics-file",
        "/no/such/directory/m.txt",
        &["m.txt", "*.prom only", "stepdown.prom"],
    ),
    (
        "listen",
        "nowhere",
        &["is no address with a port", "ports go up to 65535"],
    ),
    ("listen", "::1:80", &["write [::1]:80"]),
    (
        "health-listen",
        "fe80::1:9000",
        &["stands in brackets: write [fe80::1]:9000"],
    ),
    (
        "ladder",
        "stdin=bye,now:5s,KILL",
        &["unknown step \"now\"", "holds a comma, quote it"],
    ),
    (
        "fd-store-max",
        "many",
        &["is no number of descriptors", "up to 512"],
    ),
    ("metrics-file", "/tmp", &["*.prom only"]),
];

/// What is on or off.
const SWITCHES: [&str; 9] = [
    "cgroup",
    "subreaper",
    "no-kill",
    "no-new-privs",
    "clean-stop",
    "restart-start-failures",
    "verbose",
    "quiet",
    "log-reaped",
];

/// Options whose every value has a meaning, or whose value is looked at only when it is used.
const FREE: &[&str] = &[
    "config",
    "help",
    "license",
    "single-child",
    "version",
    "workdir",
];

fn variable(name: &str) -> String {
    format!("STEPDOWN_{}", name.replace('-', "_").to_ascii_uppercase())
}

/// Asserts that this is refused, with these parts in what is said, and that nothing was started.
#[track_caller]
pub(crate) fn refused(start: impl Fn() -> Stepdown, place: &str, parts: &[&str]) {
    let dir = tempfile::tempdir().expect("a directory");
    let ended = start().dir(dir.path()).child(["touch", "started"]).run();
    ended.code(125).nothing_left();
    assert!(
        ended.stderr.starts_with(&format!("stepdown: {place}: ")),
        "{}",
        ended.told()
    );
    for part in parts {
        assert!(ended.stderr.contains(part), "{part:?} in {}", ended.told());
    }
    assert_eq!(
        ended.stderr.matches("stepdown: ").count(),
        1,
        "{}",
        ended.told()
    );
    assert_eq!(ended.stdout, "");
    let left: Vec<OsString> = std::fs::read_dir(dir.path())
        .expect("it is there")
        .filter_map(|entry| Some(entry.ok()?.file_name()))
        .collect();
    assert!(left.is_empty(), "{left:?} was started\n{}", ended.told());
}

#[test]
fn a_malformed_value_is_told_wherever_it_stands() {
    for (name, value, parts) in MALFORMED {
        let hook = "touch hook";
        let flag = || {
            Stepdown::new()
                .args(["--pre-start", hook, "--post-stop", hook])
                .args([format!("--{name}={value}")])
        };
        refused(flag, &format!("--{name}"), parts);
        // An empty variable is no value.
        if !value.trim().is_empty() {
            let in_variable = || {
                Stepdown::new()
                    .args(
                        ["--max-runtime=1h"]
                            .iter()
                            .filter(|_| *name != "max-runtime"),
                    )
                    .env(variable(name), value)
            };
            refused(in_variable, &variable(name), parts);
        }
    }
}

/// What an image has set can be taken back by `docker run -e STEPDOWN_GRACE=`.
#[test]
fn an_empty_variable_counts_as_unset() {
    let names = MALFORMED.iter().map(|(name, ..)| *name).chain(SWITCHES);
    let emptied = names.fold(Stepdown::new(), |run, name| run.env(variable(name), ""));
    emptied.shell("echo started").run().code(0).said("started");
    let explained = Stepdown::new()
        .args(["explain", "--json"])
        .env("STEPDOWN_GRACE", "")
        .run();
    explained.code(0).never_said("STEPDOWN_GRACE");
}

#[test]
fn a_negative_number_is_a_malformed_value_not_an_option() {
    for (words, option, part) in [
        (["--grace", "-1"], "--grace", "\"-1\" is not a duration"),
        (["-e", "-1"], "--success-exit", "unknown signal \"-1\""),
        (["--stop-signal", "-9"], "--stop-signal", "write a name"),
    ] {
        refused(|| Stepdown::new().args(words), option, &[part]);
    }
}

#[test]
fn a_malformed_switch_is_told() {
    let parts = &["\"perhaps\" is neither on nor off", "use on or off"];
    for name in SWITCHES {
        let start = || Stepdown::new().env(variable(name), "perhaps");
        refused(start, &variable(name), parts);
        if !["verbose", "quiet", "log-reaped"].contains(&name) {
            let flag = format!("--{name}");
            let start = || Stepdown::new().args([format!("{flag}=perhaps")]);
            refused(start, &flag, parts);
        }
    }
}

#[test]
fn there_is_a_malformed_value_for_every_option() {
    let told: BTreeSet<&str> = MALFORMED
        .iter()
        .map(|(name, ..)| *name)
        .chain(SWITCHES)
        .chain(FREE.iter().copied())
        .collect();
    let of_help = crate::options::of_help();
    let missing: Vec<&String> = of_help
        .iter()
        .filter(|name| !told.contains(name.as_str()))
        .collect();
    assert!(missing.is_empty(), "no malformed value for {missing:?}");
}

#[test]
fn a_value_that_is_no_text_is_told() {
    let odd = OsStr::from_bytes(b"\xff5s");
    for name in ["grace", "ladder", "stop-on", "log-level", "user"] {
        let mut flag = OsString::from(format!("--{name}="));
        flag.push(odd);
        let flag = || Stepdown::new().args([&flag]);
        refused(flag, &format!("--{name}"), &["not UTF-8"]);
        let in_variable = || Stepdown::new().env(variable(name), odd);
        refused(in_variable, &variable(name), &["not UTF-8"]);
    }
}

#[test]
fn a_malformed_value_of_a_subcommands_own_option_is_told() {
    let odd = OsStr::from_bytes(b"\xff5s");
    let told = |words: &[&OsStr]| {
        let ended = Stepdown::new().args(words).run();
        ended.code(125);
        ended.stderr.clone()
    };
    for (subcommand, name) in [
        ("explain", "--fits"),
        ("health", "--timeout"),
        ("doctor", "--signal"),
        ("lint", "--format"),
    ] {
        let [subcommand, flag] = [subcommand, name].map(OsStr::new);
        let mut joined = OsString::from(format!("{name}="));
        joined.push(odd);
        for words in [&[subcommand, flag, odd][..], &[subcommand, &joined]] {
            assert_eq!(
                told(words),
                format!("stepdown: {name}: the value is not UTF-8\n")
            );
        }
    }
    let words = ["completions".as_ref(), odd];
    assert_eq!(
        told(&words),
        "stepdown: \u{fffd}5s: the value is not UTF-8\n"
    );
    for [subcommand, name, rest] in [
        ["explain", "--fits", "true"],
        ["health", "--timeout", ":1"],
        ["health", "--wait", ":1"],
        ["doctor", "--grace", "1"],
    ] {
        let told = told(&[subcommand, name, "-1", rest].map(OsStr::new));
        assert!(told.starts_with(&format!("stepdown: {name}: ")), "{told}");
    }
}

#[test]
fn variables_that_are_almost_options_are_told() {
    for (name, near) in [
        ("STEPDOWN_GRACEE", "STEPDOWN_GRACE"),
        ("STEPDOWN_LADER", "STEPDOWN_LADDER"),
        ("STEPDOWN_PRESTOP", "STEPDOWN_PRE_STOP"),
        ("STEPDOWN_GRACE_", "STEPDOWN_GRACE"),
        ("STEPDOWN_STOP-ON", "STEPDOWN_STOP_ON"),
    ] {
        let start = || Stepdown::new().env(name, "1s");
        refused(start, name, &[&format!("did you mean {near}?")]);
    }
}

#[test]
fn variables_of_others_and_of_our_own_telling_are_no_options() {
    // Kubernetes makes such names for a service, and a stepdown below a hook inherits the hook's.
    both(|mode| {
        let mut start = Stepdown::in_mode(mode);
        for name in [
            "STEPDOWN_PORT",
            "STEPDOWN_SERVICE_HOST",
            "STEPDOWN_SERVICE_PORT",
            "STEPDOWN_SERVICE_PORT_HTTP",
            "STEPDOWN_PORT_80_TCP_ADDR",
            "STEPDOWN_PHASE",
            "STEPDOWN_REASON",
            "STEPDOWN_SIGNAL",
            "STEPDOWN_SENDER_PID",
            "STEPDOWN_CHILD_PID",
            "STEPDOWN_EXIT_CODE",
            "STEPDOWN_EXIT_SIGNAL",
            "STEPDOWN_ESCALATED",
            "STEPDOWN_REMAINING_MS",
            "STEPDOWN_LAST_REASON",
        ] {
            start = start.env(name, "what ever");
        }
        start.shell("exit 3").run().code(3).was_silent();
    });
}

#[test]
fn unknown_options_are_told_with_the_nearest() {
    for (words, parts) in [
        (&["--grac", "5s"][..], &["--grac", "--grace"][..]),
        (&["--pre-strat=true"], &["--pre-strat", "--pre-start"]),
        (&["-x"], &["-x"]),
        (
            &["--grace"],
            &["--grace: the value is missing: write --grace DUR"],
        ),
        (
            &["--grace", "--", "true"],
            &["--grace: the value is missing"],
        ),
        (
            &["--verbose=perhaps"],
            &["--verbose: it takes no value: write --log-level debug"],
        ),
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        let ended = Stepdown::new().dir(dir.path()).args(words).run();
        ended.code(125);
        assert!(ended.stderr.starts_with("stepdown: "), "{}", ended.told());
        let first = ended.stderr.lines().next().unwrap_or_default();
        for part in parts {
            assert!(first.contains(part), "{part:?} in {}", ended.told());
        }
        assert_eq!(ended.stdout, "");
    }
}

#[test]
fn options_that_contradict_each_other_are_told() {
    let start = || Stepdown::new().args(["--no-kill", "--ladder", "TERM,KILL"]);
    refused(start, "--ladder", &["--no-kill", "drop one of the two"]);
    let start = || Stepdown::new().args(["--stdin=inherit", "--ladder", "stdin=stop"]);
    refused(start, "--stdin", &["needs the relay", "--stdin relay"]);
    let start = || Stepdown::new().args(["--report=a", "--state-file=./a"]);
    refused(
        start,
        "--state-file",
        &["--report goes to ", "name another file"],
    );
}

#[test]
fn the_way_out_is_told_behind_a_long_value() {
    let long = "x".repeat(20_000);
    let start = || Stepdown::new().args([format!("--grace={long}")]);
    refused(start, "--grace", &["a bare number is seconds\n"]);
}

#[test]
fn a_word_too_many_is_told_as_one() {
    for words in [
        &["health", "http://127.0.0.1:1/", "more"][..],
        &["completions", "bash", "more"],
    ] {
        let ended = Stepdown::new().args(words).run();
        ended.code(125);
        assert_eq!(
            ended.stderr,
            "stepdown: more: one word too many: see --help\n"
        );
    }
}

/// Nothing can follow KILL, whoever has named it.
#[test]
fn kill_as_the_stop_signal_is_the_last_step() {
    let start = || Stepdown::new().args(["--stop-signal=KILL", "--ladder=SAME:1s,TERM"]);
    refused(
        start,
        "--stop-signal",
        &["nothing can follow KILL", "end the ladder with SAME"],
    );
    let start = || Stepdown::new().args(["--stop-signal=KILL", "--no-kill"]);
    refused(
        start,
        "--stop-signal",
        &["--no-kill", "drop one of the two"],
    );
    let steps = Stepdown::new()
        .args(["explain", "--stop-signal=KILL", "--", "true"])
        .run();
    assert!(
        steps.stdout.contains("step 1 of 1: KILL to the tree"),
        "{}",
        steps.stdout
    );
}

/// A signal that no step sends would pass unseen.
#[test]
fn a_stop_signal_that_no_step_sends_is_told() {
    let parts = [
        "the ladder has no SAME",
        "name it in --ladder, or leave out one of the two",
    ];
    let start = || Stepdown::new().args(["--stop-signal=INT", "--ladder=TERM:1s"]);
    refused(start, "--stop-signal", &parts);
    let start = || {
        Stepdown::new()
            .env("STEPDOWN_LADDER", "TERM:1s")
            .args(["--stop-signal=INT"])
    };
    refused(start, "--stop-signal", &parts);
    // A variable fails no start.
    let ended = Stepdown::new()
        .env("STEPDOWN_STOP_SIGNAL", "INT")
        .args(["--ladder=TERM:1s"])
        .witness(["exit", "3"])
        .run();
    ended
        .code(3)
        .logged(&["without effect: STEPDOWN_STOP_SIGNAL: ", parts[0]]);
}

/// A wait of 0 does not wait; what would have no time to run is refused.
#[test]
fn zero_means_the_same_everywhere() {
    for options in [
        &["--grace=0"][..],
        &["--deadline=0"],
        &["--ladder=TERM:0,INT:0"],
    ] {
        both(|mode| {
            let mut run = Stepdown::in_mode(mode)
                .args(options)
                .shell("trap '' TERM INT; echo ready; exec sleep 1000")
                .start();
            run.says("ready").signal(nix::sys::signal::Signal::SIGTERM);
            let ended = run.wait();
            ended.code(137);
            // With a deadline of 0 nobody waits until the kernel has ended the child.
            wait_until("the child is gone", || ended.still_there().is_empty());
        });
    }
    let waits = [
        "--sweep-grace=0",
        "--drain-port=65001",
        "--drain-delay=0",
        "--drain-timeout=0",
        "--drain-quiet=0",
    ];
    let ended = Stepdown::new().args(waits).witness(["exit", "3"]).run();
    ended.code(3).was_silent();
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("c.toml");
    std::fs::write(&path, "[[pre-stop]]\nrun = 'true'\ntimeout = 0\n").expect("written");
    let config = format!("--config={}", path.display());
    let start = || Stepdown::new().args([&config]);
    let place = format!("{}:3:11: pre-stop.timeout", path.display());
    refused(start, &place, &["0 leaves it no time at all"]);
    for (words, place) in [
        (&["check", "--within=0", "--", "true"][..], "--within"),
        (&["health", "--timeout=0", "9000"], "--timeout"),
    ] {
        let ended = Stepdown::new().args(words).run();
        ended.code(125);
        ended.logged(&[&format!("stepdown: {place}: 0 leaves it no time at all")]);
    }
}
