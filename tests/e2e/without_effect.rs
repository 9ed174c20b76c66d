//! Options that mean nothing without another one, or beside it: refused where they are typed, and no reason
//! not to start where an image's variable or a file for many commands says them.

use crate::errors::refused;
use crate::support::{Stepdown, both};

/// An option, its value, the way out, and what gives it a meaning.
type Idle = (&'static str, &'static str, &'static str, &'static str);

/// Measures of something that nobody has asked for.
const MEASURES: &[Idle] = &[
    (
        "drain-timeout",
        "3s",
        "add --drain-port or --drain-until",
        "--drain-port=65001",
    ),
    (
        "drain-quiet",
        "3s",
        "add --drain-port",
        "--drain-port=65001",
    ),
    (
        "drain-checks-timeout",
        "3s",
        "add --drain-checks",
        "--drain-checks=1",
    ),
    (
        "hook-timeout",
        "3s",
        "add --pre-start, --pre-stop or --post-stop",
        "--post-stop=true",
    ),
    (
        "not-ready-status",
        "404",
        "add --health-listen",
        "--health-listen=127.0.0.1:0",
    ),
];

/// A file that says nothing.
const EMPTY: &str = concat!(
    "--config=",
    env!("CARGO_MANIFEST_DIR"),
    "/tests/e2e/support/empty.toml"
);

/// Something that does not happen.
const MISSED: &[Idle] = &[
    (
        "drain-checks",
        "3",
        "add --health-listen",
        "--health-listen=127.0.0.1:0",
    ),
    (
        "ready-timeout",
        "3s",
        "add --ready-when",
        "--ready-when=exec:true",
    ),
    ("reload-on", "HUP", "add --config", EMPTY),
];

fn all() -> impl Iterator<Item = &'static Idle> {
    MEASURES.iter().chain(MISSED)
}

fn variable(name: &str) -> String {
    format!("STEPDOWN_{}", name.replace('-', "_").to_ascii_uppercase())
}

#[test]
fn what_is_typed_and_changes_nothing_is_refused() {
    for (name, value, way_out, _) in all() {
        let flag = format!("--{name}");
        let start = || Stepdown::new().args([&flag, *value]);
        refused(start, &flag, &[way_out]);
        let explained = Stepdown::new().args(["explain", &flag, value]).run();
        explained.code(125).logged(&[&flag, way_out]);
    }
    // With an endpoint the checks' time still measures nothing.
    let start = || Stepdown::new().args(["--drain-delay=1ms", "--drain-timeout=1s"]);
    refused(start, "--drain-timeout", &["no request is waited for"]);
    let start = || Stepdown::new().args(["--drain-until=exec:true", "--drain-quiet=1s"]);
    refused(start, "--drain-quiet", &["no connection is looked at"]);
}

#[test]
fn with_what_it_is_about_it_is_taken() {
    for (name, value, _, other) in all() {
        let mut options = vec![format!("--{name}={value}"), (*other).to_owned()];
        if *name == "drain-checks-timeout" {
            options.push("--health-listen=127.0.0.1:0".to_owned());
        }
        Stepdown::new()
            .args(options)
            .witness(["exit", "3"])
            .run()
            .code(3)
            .never_logged("without effect");
        // Wherever the other one is said.
        let (other, said) = other[2..].split_once('=').expect("an option with a value");
        let mut start = Stepdown::new()
            .args([format!("--{name}={value}")])
            .env(variable(other), said);
        if *name == "drain-checks-timeout" {
            start = start.env("STEPDOWN_HEALTH_LISTEN", "127.0.0.1:0");
        }
        start.witness(["exit", "3"]).run().code(3);
    }
}

#[test]
fn an_image_s_variables_and_files_fail_no_start() {
    both(|mode| {
        let mut start = Stepdown::in_mode(mode);
        for (name, value, ..) in MEASURES {
            start = start.env(variable(name), value);
        }
        start
            .env("STEPDOWN_GRACE", "3s")
            .env("STEPDOWN_SWEEP_GRACE", "3s")
            .args(["--ladder=TERM:1s", "--left=leave"])
            .witness(["exit", "3"])
            .run()
            .code(3)
            .was_silent();
    });
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("all.toml");
    let line = |(name, value, ..): &Idle| format!("{name} = '{value}'\n");
    let measures: String = MEASURES.iter().map(line).collect();
    std::fs::write(&path, measures).expect("our own file");
    let option = format!("--config={}", path.display());
    let ended = Stepdown::new().args([option]).witness(["exit", "3"]).run();
    ended.code(3).was_silent();
}

#[test]
fn what_they_ask_for_in_vain_is_told_in_a_line() {
    for (name, value, why, _) in MISSED {
        let variable = variable(name);
        let ended = Stepdown::new()
            .env(&variable, value)
            .witness(["exit", "3"])
            .run();
        let line = format!("without effect: {variable}: ");
        ended.code(3).logged(&[&line, why]);
    }
}

#[test]
fn what_another_option_leaves_nothing_to_is_refused_where_both_are_typed() {
    let start = || Stepdown::new().args(["--grace=3s", "--ladder=TERM:1s,INT:2s"]);
    refused(
        start,
        "--grace",
        &["each step of the ladder", "leave out the wait"],
    );
    let start = || Stepdown::new().args(["--sweep-grace=3s", "--left=leave"]);
    refused(start, "--sweep-grace", &["leave out --left leave"]);
    for (variable, value, option) in [
        ("STEPDOWN_LADDER", "TERM:1s", "--grace=3s"),
        ("STEPDOWN_LEFT", "leave", "--sweep-grace=3s"),
    ] {
        let start = Stepdown::new().env(variable, value).args([option]);
        start.witness(["exit", "3"]).run().code(3).was_silent();
    }
    for options in [
        &["--grace=3s", "--ladder=TERM:1s,INT"][..],
        &["--sweep-grace=3s", "--left=wait"],
    ] {
        let start = Stepdown::new().args(options);
        start.witness(["exit", "3"]).run().code(3).was_silent();
    }
}

#[test]
fn a_run_that_no_signal_can_stop_is_refused() {
    let drops = ["--restart=always", "--stop-on=QUIT", "--rewrite=QUIT:0"];
    let why = "nothing but KILL stops the run";
    let start = || Stepdown::new().args(drops);
    refused(start, "--rewrite", &[why, "name one more in --stop-on"]);
    let names_none = || Stepdown::new().args(["--restart=always", "--stop-on="]);
    refused(names_none, "--stop-on", &[why, "name one, as TERM"]);
    // Where both do not stand on the command line it is worth a line.
    let ended = Stepdown::new()
        .env("STEPDOWN_REWRITE", "TERM:0,INT:0")
        .args(["--restart=always", "--restart-limit=1/1m"])
        .witness(["exit", "3"])
        .run();
    ended.logged(&["without effect: STEPDOWN_REWRITE: ", why]);
    // One signal is left; the command says itself when it is over; nothing is started again.
    for options in [
        &[
            "--restart=always",
            "--restart-limit=1/1m",
            "--rewrite=TERM:0",
        ][..],
        &[
            "--restart=always",
            "--restart-never-on=3",
            "--rewrite=TERM:0,INT:0",
        ],
        &[
            "--restart=on-failure",
            "--restart-limit=1/1m",
            "--rewrite=TERM:0,INT:0",
        ],
        &["--rewrite=TERM:0,INT:0"],
        &["--stop-on="],
    ] {
        let start = Stepdown::new().args(options).witness(["exit", "3"]);
        start.run().never_logged("stops the run");
    }
}

/// Where two contradict each other, the flag wins over the variable, and the variable over the file.
#[test]
fn a_variable_that_contradicts_a_flag_fails_no_start() {
    let told = |start: Stepdown| {
        let explained = start.run();
        explained.code(0);
        explained.stdout.clone()
    };
    let explain = |options: &[&str]| Stepdown::new().args(["explain"]).args(options.to_vec());
    let ladder = |text: &str, wanted: &str| {
        let shown = text.lines().find(|line| line.starts_with("ladder "));
        let shown = shown.unwrap_or_default();
        assert!(shown.split_whitespace().nth(1) == Some(wanted), "{shown}");
    };
    let no_kill = |options| explain(options).env("STEPDOWN_NO_KILL", "1");
    ladder(&told(no_kill(&["--ladder=TERM:1s,KILL"])), "TERM:1s,KILL");
    ladder(&told(no_kill(&["--ladder=TERM:1s"])), "TERM:1s");
    let kills = explain(&["--no-kill"]).env("STEPDOWN_LADDER", "TERM:1s,KILL");
    ladder(&told(kills), "TERM:1s");
    let inherits = explain(&["--ladder=eof:1s"]).env("STEPDOWN_STDIN", "inherit");
    assert!(told(inherits).contains("Standard input is relayed"));
    // Both in the same place: nobody can say which was meant.
    let start = || {
        Stepdown::new()
            .env("STEPDOWN_NO_KILL", "1")
            .env("STEPDOWN_LADDER", "TERM:1s,KILL")
    };
    refused(start, "STEPDOWN_LADDER", &["drop one of the two"]);
}

#[test]
fn what_may_come_with_the_file_read_again_is_taken() {
    let start = Stepdown::new().args([EMPTY, "--reload-on=HUP", "--hook-timeout=3s"]);
    start.witness(["exit", "3"]).run().code(3).was_silent();
}

#[test]
fn explain_tells_what_changes_nothing() {
    let start = || Stepdown::new().env("STEPDOWN_DRAIN_QUIET", "3s");
    let explained = start().args(["explain"]).run();
    explained.code(0);
    let line =
        "Without effect: STEPDOWN_DRAIN_QUIET: no connection is looked at: add --drain-port.";
    let is_told = explained.stdout.lines().any(|told| told == line);
    assert!(is_told, "{}", explained.told());
    let explained = start().args(["explain", "--json"]).run();
    let row = explained
        .stdout
        .lines()
        .find(|row| row.contains("without_effect"));
    let row: serde_json::Value = serde_json::from_str(row.expect("a row")).expect("JSON");
    assert_eq!(row["name"], "drain-quiet");
}
