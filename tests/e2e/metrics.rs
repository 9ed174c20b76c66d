//! Metrics survive the process: in the file, across runs, in a format that Prometheus itself accepts.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::health::{body, get, json, ready, with_endpoint};
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

/// The phase that metrics name.
#[track_caller]
fn phase(text: &str) -> String {
    let is_one = |line: &&str| line.starts_with("stepdown_phase{") && line.ends_with(" 1.0");
    let lines: Vec<&str> = text.lines().filter(is_one).collect();
    assert_eq!(lines.len(), 1, "{text}");
    lines[0].split('"').nth(1).expect("a label").to_owned()
}

/// A hook that says that it runs, and ends once its gate is there.
fn gated(name: &str) -> String {
    format!("sh -c 'echo in {name}; until test -e {name}; do sleep 0.01; done'")
}

#[test]
fn endpoint_and_file_name_the_same_phase_while_hooks_run() {
    both(|mode| {
        let dir = tempfile::tempdir().expect("a directory of our own");
        let (stepdown, port) = with_endpoint(Stepdown::in_mode(mode));
        let mut run = stepdown
            .dir(dir.path())
            .args(["--metrics-file=m.prom", "--hook-timeout=60s"])
            .args(["--pre-start", &gated("pre-start")])
            .args([
                "--pre-stop",
                &gated("pre-stop"),
                "--pre-stop",
                &gated("second"),
            ])
            .args(["--post-stop", &gated("post-stop")])
            .shell("echo ready; until test -e end; do sleep 0.01; done; touch ended")
            .start();
        let all_say = |name: &str| {
            assert_eq!(json(port)["phase"], name);
            assert_eq!(phase(body(&get(port, "/metrics"))), name);
            // The file is replaced; what it was until then does not count.
            wait_until(name, || phase(&read(&dir.path().join("m.prom"))) == name);
        };
        let open = |name: &str| fs::write(dir.path().join(name), "").expect("our own directory");
        run.says("in pre-start");
        all_say("pre-start");
        open("pre-start");
        run.says("ready");
        all_say("running");
        run.signal(Signal::SIGTERM).says("in pre-stop");
        all_say("pre-stop");
        // The child's end ends no hook of a stop that was asked for.
        open("end");
        wait_until("the child has ended", || dir.path().join("ended").exists());
        wait_until("it is known", || json(port)["child"].is_null());
        all_say("pre-stop");
        open("pre-stop");
        run.says("in second");
        all_say("pre-stop");
        open("second");
        run.says("in post-stop");
        all_say("post-stop");
        open("post-stop");
        run.wait().code(0).nothing_left();
        assert_eq!(phase(&read(&dir.path().join("m.prom"))), "ended");
    });
}

#[test]
fn endpoint_and_file_name_the_same_phase_from_the_drain_to_the_ladder() {
    both(|mode| {
        let dir = tempfile::tempdir().expect("a directory of our own");
        let (stepdown, port) = with_endpoint(Stepdown::in_mode(mode));
        let mut run = stepdown
            .dir(dir.path())
            .args(["--metrics-file=m.prom", "--ladder=TERM:60s,KILL"])
            .args(["--drain-until=exec:test -e drained", "--drain-timeout=60s"])
            .shell("trap '' TERM; echo ready; until test -e end; do sleep 0.01; done")
            .start();
        let all_say = |name: &str| {
            wait_until(name, || json(port)["phase"] == name);
            assert_eq!(phase(body(&get(port, "/metrics"))), name);
            wait_until(name, || phase(&read(&dir.path().join("m.prom"))) == name);
        };
        run.says("ready").signal(Signal::SIGTERM);
        all_say("drain");
        assert!(json(port)["step"].is_null());
        fs::write(dir.path().join("drained"), "").expect("our own directory");
        all_say("ladder");
        assert_eq!(json(port)["step"], 1);
        fs::write(dir.path().join("end"), "").expect("our own directory");
        run.wait().code(0).nothing_left();
        assert_eq!(phase(&read(&dir.path().join("m.prom"))), "ended");
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
fn prometheus_accepts_it_between_generations_and_with_sockets() {
    need!(installed(PROMTOOL));
    both(|mode| {
        let dir = tempfile::tempdir().expect("a directory of our own");
        let path = dir.path().join("m.prom");
        let (stepdown, port) = with_endpoint(Stepdown::in_mode(mode));
        let mut run = stepdown
            .dir(dir.path())
            .args(["--metrics-file=m.prom", "--state-file=state.json"])
            .args(["--listen=a\"b\\c=127.0.0.1:0", "--listen=unix:s"])
            .args(["--restart=always", "--restart-delay=1h"])
            .args(["--restart-max-delay=1h", "--restart-on=USR2"])
            .shell("echo lives; test -e once && exec sleep 1000; touch once; exit 7")
            .start();
        run.says("lives").logs("restarted in");
        wait_until("it waits", || json(port)["phase"] == "restart-delay");
        let told = get(port, "/metrics");
        check(body(&told));
        assert_eq!(
            value(&told, "stepdown_restarts_total{reason=\"failure\"}"),
            1.0
        );
        run.signal(Signal::SIGUSR2).says_times("lives", 2);
        wait_until("it is ready", || ready(port) == "200");
        check(body(&get(port, "/metrics")));
        run.signal(Signal::SIGTERM);
        run.wait().code(143);
        check(&read(&path));
    });
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

#[test]
fn the_file_follows_what_changes_no_phase() {
    let dir = tempfile::tempdir().expect("a directory of our own");
    let config = "reload-on = 'HUP'\nmetrics-file = 'stepdown.prom'\n";
    fs::write(dir.path().join("stepdown.toml"), config).expect("our own file");
    let mut run = Stepdown::new()
        .dir(dir.path())
        .args(["--config", "stepdown.toml"])
        .shell("echo ready; exec sleep 600")
        .start();
    run.says("ready");
    let path = dir.path().join("stepdown.prom");
    running(&path);
    run.signal(Signal::SIGHUP).logs("configuration reloaded");
    wait_until("the file counts it", || {
        read(&path).contains("\nstepdown_config_reloads_total{result=\"success\"} 1\n")
    });
    run.signal(Signal::SIGTERM);
    run.wait().code(143);
}
