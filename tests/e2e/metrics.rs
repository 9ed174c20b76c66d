//! Metrics survive the process: in the file, across runs, in a format that Prometheus itself accepts.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::health::{body, get, ready, with_endpoint};
use crate::support::binary::installed;
use crate::support::{Stepdown, both, need, wait_until};

const PROMTOOL: &str = "/usr/bin/promtool";

/// The value of one line of the file.
#[track_caller]
fn value(text: &str, name: &str) -> f64 {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = line.and_then(|value| value.parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in\n{text}"))
}

/// Prometheus's own parser and linter have nothing to say about it.
#[track_caller]
fn check(text: &str) {
    let mut promtool = Command::new(PROMTOOL)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it is installed");
    let mut stdin = promtool.stdin.take().expect("a pipe");
    stdin.write_all(text.as_bytes()).expect("promtool reads");
    drop(stdin);
    let said = promtool.wait_with_output().expect("our own child");
    let words =
        String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success() && words.is_empty(), "{words}\n{text}");
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("the file was written")
}

/// The file once it says that the child runs: the child says so itself a little earlier.
#[track_caller]
fn running(path: &Path) -> String {
    let mut text = String::new();
    wait_until("the file says that the child runs", || {
        text = fs::read_to_string(path).unwrap_or_default();
        text.contains("stepdown_phase{phase=\"running\"} 1")
    });
    text
}

#[test]
fn the_file_follows_the_run_and_outlives_it() {
    both(|mode| {
        let dir = tempfile::tempdir().expect("a directory of our own");
        let path = dir.path().join("stepdown.prom");
        let mut run = Stepdown::in_mode(mode)
            .dir(dir.path())
            .args(["--metrics-file", "stepdown.prom", "--grace", "100ms"])
            .args(["--post-stop", "false"])
            .shell("trap '' TERM; echo ready; while :; do sleep 0.02; done")
            .start();
        run.says("ready");
        let text = running(&path);
        assert_eq!(value(&text, "stepdown_phase{phase=\"running\"}"), 1.0);
        assert_eq!(value(&text, "stepdown_runs_total{reason=\"signal\"}"), 0.0);
        assert!(value(&text, "stepdown_child_start_time_seconds") > 1.5e9);
        run.signal(Signal::SIGTERM);
        run.wait().code(137);
        let text = read(&path);
        assert_eq!(value(&text, "stepdown_phase{phase=\"running\"}"), 0.0);
        assert_eq!(value(&text, "stepdown_phase{phase=\"ended\"}"), 1.0);
        assert_eq!(value(&text, "stepdown_in_flight_requests"), 0.0);
        assert_eq!(value(&text, "stepdown_runs_total{reason=\"signal\"}"), 1.0);
        assert_eq!(
            value(&text, "stepdown_stops_total{outcome=\"killed\"}"),
            1.0
        );
        assert_eq!(value(&text, "stepdown_stop_duration_seconds_count"), 1.0);
        assert_eq!(
            value(&text, "stepdown_stop_duration_seconds_bucket{le=\"0.05\"}"),
            0.0
        );
        assert_eq!(
            value(&text, "stepdown_stop_duration_seconds_bucket{le=\"+Inf\"}"),
            1.0
        );
        assert_eq!(
            value(&text, "stepdown_hook_failures_total{phase=\"post-stop\"}"),
            1.0
        );
        assert!(value(&text, "stepdown_stop_duration_seconds_sum") >= 0.1);
        assert!(value(&text, "stepdown_child_uptime_seconds") >= 0.1);
        assert!(
            text.contains("\n# TYPE stepdown_stops_total counter\n"),
            "{text}"
        );
    });
}

#[test]
fn orphans_are_counted() {
    let dir = tempfile::tempdir().expect("a directory of our own");
    let run = Stepdown::new()
        .dir(dir.path())
        .args(["--metrics-file", "m.prom"])
        // The inner shells end first; what they leave becomes ours and ends, too. As long as it is not
        // reaped it can be signalled.
        .shell(
            "for i in 1 2; do orphan=$(sleep 0.01 >/dev/null & echo $!); \
             while kill -0 $orphan 2>/dev/null; do sleep 0.01; done; done",
        )
        .start();
    run.wait().code(0);
    let text = read(&dir.path().join("m.prom"));
    assert_eq!(value(&text, "stepdown_orphans_reaped_total"), 2.0);
}

#[test]
fn counters_go_on_from_run_to_run_with_a_state_file() {
    let dir = tempfile::tempdir().expect("a directory of our own");
    for round in 1..=3 {
        let mut run = Stepdown::new()
            .dir(dir.path())
            .args(["--metrics-file", "m.prom", "--state-file", "state.json"])
            .shell("echo ready; exec sleep 1000")
            .start();
        run.says("ready").signal(Signal::SIGTERM);
        run.wait().code(143);
        let text = read(&dir.path().join("m.prom"));
        let round = f64::from(round);
        assert_eq!(
            value(&text, "stepdown_stops_total{outcome=\"graceful\"}"),
            round
        );
        assert_eq!(value(&text, "stepdown_stop_duration_seconds_count"), round);
        assert_eq!(
            value(&text, "stepdown_stop_duration_seconds_bucket{le=\"+Inf\"}"),
            round
        );
    }
}

#[test]
fn reloads_are_counted() {
    let dir = tempfile::tempdir().expect("a directory of our own");
    let config = dir.path().join("stepdown.toml");
    let good = "reload-on = 'HUP'\nmetrics-file = 'm.prom'\n";
    fs::write(&config, good).expect("our own file");
    let mut run = Stepdown::new()
        .dir(dir.path())
        .args(["--config", "stepdown.toml"])
        .shell("echo ready; exec sleep 1000")
        .start();
    run.says("ready");
    fs::write(&config, "nonsense").expect("our own file");
    run.signal(Signal::SIGHUP)
        .logs("configuration not reloaded");
    fs::write(&config, good).expect("our own file");
    run.signal(Signal::SIGHUP).logs("configuration reloaded");
    run.signal(Signal::SIGTERM);
    run.wait().code(143);
    let text = read(&dir.path().join("m.prom"));
    assert_eq!(
        value(&text, "stepdown_config_reloads_total{result=\"failure\"}"),
        1.0
    );
    assert_eq!(
        value(&text, "stepdown_config_reloads_total{result=\"success\"}"),
        1.0
    );
}

#[test]
fn prometheus_accepts_the_format() {
    need!(installed(PROMTOOL));
    let dir = tempfile::tempdir().expect("a directory of our own");
    let path = dir.path().join("m.prom");
    let mut run = Stepdown::new()
        .dir(dir.path())
        .args(["--metrics-file", "m.prom", "--state-file", "state.json"])
        .shell("echo ready; exec sleep 1000")
        .start();
    run.says("ready");
    check(&running(&path));
    run.signal(Signal::SIGTERM);
    run.wait().code(143);
    check(&read(&path));

    let (stepdown, port) = with_endpoint(Stepdown::new());
    let mut run = stepdown.shell("echo ready; exec sleep 1000").start();
    run.says("ready");
    wait_until("it is ready", || ready(port) == "200");
    check(body(&get(port, "/metrics")));
    run.signal(Signal::SIGTERM);
    run.wait().code(143);
}

#[test]
fn a_metrics_file_that_cannot_be_written_costs_one_line() {
    let mut run = Stepdown::new()
        .args(["--metrics-file", "/no/such/directory/m.prom"])
        .shell("echo ready; exec sleep 1000")
        .start();
    run.says("ready").signal(Signal::SIGTERM);
    let ended = run.wait();
    ended
        .code(143)
        .logged(&["--metrics-file: /no/such/directory/m.prom: No such file or directory"]);
    assert_eq!(
        ended.stderr.matches("m.prom").count(),
        1,
        "{}",
        ended.told()
    );
}
