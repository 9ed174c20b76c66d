//! What is told of a command that lives more than once: `/readyz`, `/status`, metrics, report, state file.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::files::{directory, json as file};
use crate::health::{body, get, json, ready, status, with_endpoint};
use crate::support::{Mode, Stepdown, both, wait_until};

/// A life ends where its end is written into `end`, with that status; it says that it lives.
const AS_TOLD: &str = "trap 'exit 0' TERM; echo lives; until test -s end; do sleep 0.01; done; \
     code=$(cat end); rm end; exit $code";

fn restarting(mode: Mode, dir: &TempDir, options: &[&str]) -> Stepdown {
    let always = ["--restart=on-failure", "--restart-delay=1ms"];
    Stepdown::in_mode(mode)
        .dir(dir.path())
        .args(always)
        .args(options)
}

fn end(dir: &TempDir, code: &str) {
    let (made, path) = (dir.path().join("made"), dir.path().join("end"));
    fs::write(&made, code).expect("our own directory");
    fs::rename(made, path).expect("our own directory");
}

/// The value of a metric.
#[track_caller]
fn value(text: &str, name: &str) -> f64 {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = line.and_then(|value| value.parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in\n{text}"))
}

fn metrics(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn between_two_generations_it_is_not_ready_and_says_when_the_next_one_begins() {
    both(|mode| {
        let dir = directory();
        let (stepdown, port) = with_endpoint(restarting(mode, &dir, &["--metrics-file=m.prom"]));
        let mut run = stepdown
            .args(["--restart-delay=1h", "--restart-max-delay=2h"])
            .args(["--restart-on=USR2"])
            .shell(AS_TOLD)
            .start();
        run.says("lives");
        wait_until("it is ready", || ready(port) == "200");
        let told = json(port);
        assert_eq!(
            (&told["generation"], &told["restarts"]),
            (&1.into(), &0.into())
        );
        assert!(told["last_exit"].is_null(), "{told}");
        assert!(told["next_start_in_ms"].is_null(), "{told}");

        end(&dir, "7");
        run.logs("restarted in");
        wait_until("it waits", || json(port)["phase"] == "restart-delay");
        let answer = get(port, "/readyz");
        assert_eq!(
            (status(&answer), body(&answer)),
            ("503", "not ready: restarting\n")
        );
        assert!(answer.contains("retry-after: 1\r\n"), "{answer}");
        let told = json(port);
        assert_eq!(told["not_ready"], "restarting");
        assert!(
            told["child"].is_null() && told["uptime_ms"].is_null(),
            "{told}"
        );
        assert_eq!(told["restarts"], 1);
        let left = told["next_start_in_ms"].as_u64().expect("it waits");
        assert!((2_000_000..=4_320_000).contains(&left), "{told}");
        let last = &told["last_exit"];
        assert_eq!(last["generation"], 1);
        assert_eq!(last["code"], 7);
        assert_eq!(last["status"]["exited"], 7);
        assert_eq!(last["reason"], "exit");
        assert_eq!(last["restart"], "failure");
        assert!(last["ago_ms"].is_u64(), "{told}");
        let text = get(port, "/metrics");
        assert_eq!(value(&text, "stepdown_phase{phase=\"restart-delay\"}"), 1.0);
        assert_eq!(value(&text, "stepdown_last_exit_code"), 7.0);

        // Nobody waits for that long who asks.
        run.signal(Signal::SIGUSR2).says_times("lives", 2);
        wait_until("it is ready", || ready(port) == "200");
        let told = json(port);
        assert_eq!(
            (&told["generation"], &told["restarts"]),
            (&2.into(), &1.into())
        );
        assert_eq!(told["phase"], "running");
        assert!(
            told["child"].is_i64() && told["uptime_ms"].is_u64(),
            "{told}"
        );
        assert_eq!(told["last_exit"]["code"], 7);
        assert!(told["next_start_in_ms"].is_null(), "{told}");
        assert_eq!(value(&get(port, "/metrics"), "stepdown_generation"), 2.0);
        run.signal(Signal::SIGTERM);
        run.wait().code(0);
    });
}

#[test]
fn what_one_generation_was_asked_is_forgotten_in_the_next() {
    both(|mode| {
        let dir = directory();
        let (stepdown, port) = with_endpoint(restarting(mode, &dir, &["--restart-on=USR2"]));
        let mut run = stepdown.args(["--deadline=1h"]).shell(AS_TOLD).start();
        run.says("lives");
        run.signal(Signal::SIGUSR2).says_times("lives", 2);
        wait_until("it is ready", || ready(port) == "200");
        let told = json(port);
        assert!(
            told["deadline_left_ms"].is_null() && told["step"].is_null(),
            "{told}"
        );
        run.signal(Signal::SIGTERM);
        run.wait().code(0);
    });
}

#[test]
fn balancers_are_told_anew_in_each_generation() {
    both(|mode| {
        let dir = directory();
        let (stepdown, port) = with_endpoint(restarting(mode, &dir, &["--restart-on=USR2"]));
        let mut run = stepdown
            .args(["--drain-until=exec:true", "--drain-checks=2"])
            .args(["--drain-checks-timeout=1h", "--drain-timeout=1h"])
            .shell(AS_TOLD)
            .start();
        for life in 1..=3 {
            run.says_times("lives", life);
            wait_until("it is ready", || ready(port) == "200");
            let last = life == 3;
            run.signal(if last {
                Signal::SIGTERM
            } else {
                Signal::SIGUSR2
            });
            wait_until("it is not ready", || ready(port) == "503");
            assert!(run.is_running() && json(port)["phase"] == "drain");
            if !last {
                assert_eq!(ready(port), "503");
            }
        }
        assert_eq!(ready(port), "503");
        run.wait().code(0);
    });
}

#[test]
fn restarts_are_counted_by_reason_and_from_run_to_run() {
    both(|mode| {
        let dir = directory();
        for round in [1.0, 2.0] {
            let files = ["--metrics-file=m.prom", "--state-file=state.json"];
            let mut run = restarting(mode, &dir, &files)
                .args(["--restart-on=USR2", "--max-runtime=1h"])
                .shell(AS_TOLD)
                .start();
            run.says("lives");
            let path = dir.path().join("m.prom");
            wait_until("the child runs", || {
                metrics(&path).contains("stepdown_phase{phase=\"running\"} 1")
            });
            let text = metrics(&path);
            let restarts = |text: &str, reason: &str| {
                value(
                    text,
                    &format!("stepdown_restarts_total{{reason=\"{reason}\"}}"),
                )
            };
            let all = ["asked", "failure", "success", "max-runtime", "start-failed"];
            for reason in all {
                let before = match reason {
                    "asked" => round - 1.0,
                    "failure" => 2.0 * (round - 1.0),
                    _ => 0.0,
                };
                assert_eq!(restarts(&text, reason), before, "{reason}");
            }
            end(&dir, "3");
            run.says_times("lives", 2).signal(Signal::SIGUSR2);
            run.says_times("lives", 3);
            end(&dir, "4");
            run.says_times("lives", 4).signal(Signal::SIGTERM);
            run.wait().code(0);
            let text = metrics(&path);
            assert_eq!(restarts(&text, "asked"), round);
            assert_eq!(restarts(&text, "failure"), 2.0 * round);
            assert_eq!(value(&text, "stepdown_generation"), 4.0);
            assert_eq!(value(&text, "stepdown_last_exit_code"), 0.0);
            // Each stop that was asked for counts, and each run.
            let graceful = "stepdown_stops_total{outcome=\"graceful\"}";
            assert_eq!(value(&text, graceful), 2.0 * round);
            let runs = "stepdown_runs_total{reason=\"signal\"}";
            assert_eq!(value(&text, runs), round);
        }
    });
}

#[test]
fn the_report_has_every_generation_and_the_whole_run_last() {
    both(|mode| {
        let dir = directory();
        let mut run = restarting(mode, &dir, &["--report=run.json", "--restart-on=USR2"])
            .args(["--grace=50ms"])
            .shell(&format!(
                "test -e first || {{ touch first; exit 9; }}; {AS_TOLD}"
            ))
            .start();
        run.says("lives").signal(Signal::SIGUSR2);
        run.says_times("lives", 2).signal(Signal::SIGTERM);
        run.wait().code(0);
        let report = file(&dir.path().join("run.json"));
        let of = |key: &str| -> Vec<Value> {
            let generations = report["generations"].as_array().expect("a list");
            generations.iter().map(|life| life[key].clone()).collect()
        };
        assert_eq!(of("generation"), [1, 2, 3]);
        assert_eq!(of("code"), [9, 0, 0]);
        assert_eq!(of("reason"), ["exit", "restart", "signal"]);
        let restarts = [Some("failure"), Some("asked"), None];
        assert_eq!(of("restart"), restarts.map(Value::from));
        assert_eq!(of("clean"), [false, true, true]);
        assert_eq!(of("delay_ms")[1..], [Value::from(0), Value::Null]);
        let times = |key| -> Vec<u64> { of(key).iter().filter_map(Value::as_u64).collect() };
        let (began, ended) = (times("began_ms"), times("ended_ms"));
        let in_turn = (0..3).flat_map(|life| [began[life], ended[life]]);
        assert!(in_turn.is_sorted(), "{began:?} {ended:?}");
        assert_eq!(report["generations_omitted"], 0);
        assert_eq!(report["outcome"]["reason"], "signal");
        assert_eq!(report["outcome"]["code"], 0);
        // The last word is not the first one's: it had nothing to do with this stop.
        assert_eq!(report["outcome"]["clean"], true);
    });
}

#[test]
fn a_run_that_ends_between_two_generations_has_no_life_more_in_its_report() {
    both(|mode| {
        let dir = directory();
        // Cannot be started: it was never there, and all the same it is over.
        let cases = [
            (&["sh", "-c", "exit 5"][..], 5),
            (&["/no/such/program"], 127),
        ];
        for (command, code) in cases {
            let mut run = restarting(mode, &dir, &["--report=run.json"])
                .args(["--restart-delay=1h", "--restart-max-delay=2h"])
                .args(["--restart-start-failures"])
                .child(command)
                .start();
            run.logs("restarted in");
            run.signal(Signal::SIGTERM);
            run.wait().code(code);
            let report = file(&dir.path().join("run.json"));
            let generations = report["generations"].as_array().expect("a list");
            assert_eq!(generations.len(), 1, "{report}");
            assert_eq!(generations[0]["code"], code);
            assert_eq!(report["outcome"]["code"], code);
            assert_eq!(report["outcome"]["reason"], "signal");
            assert_eq!(report["outcome"]["took_ms"], 0);
        }
    });
}

/// The stop had nothing to do any more; the command had been killed before.
#[test]
fn a_stop_in_the_delay_after_kill_is_not_clean() {
    both(|mode| {
        let dir = directory();
        let mut run = restarting(
            mode,
            &dir,
            &["--report=run.json", "--state-file=state.json"],
        )
        .args(["--restart-delay=1h", "--restart-max-delay=2h"])
        .args(["--max-runtime=100ms", "--grace=10ms"])
        .shell("trap '' TERM; exec sleep 1000")
        .start();
        run.logs("restarted in");
        run.signal(Signal::SIGTERM);
        run.wait().code(124);
        let report = file(&dir.path().join("run.json"));
        assert_eq!(report["outcome"]["clean"], false, "{report}");
        let state = file(&dir.path().join("state.json"));
        assert_eq!(state["last_runs"][0]["clean"], false, "{state}");
    });
}

#[test]
fn a_stop_during_a_restart_is_a_stop_and_no_restart() {
    both(|mode| {
        let dir = directory();
        let options = [
            "--report=run.json",
            "--metrics-file=m.prom",
            "--restart-on=USR2",
        ];
        let mut run = restarting(mode, &dir, &options)
            .args(["--post-stop", "sh -c 'echo over: $STEPDOWN_REASON'"])
            .args([
                "--pre-stop",
                "sh -c 'echo in hook; until test -e go; do sleep 0.01; done'",
            ])
            .args(["--hook-timeout=1h"])
            .shell(AS_TOLD)
            .start();
        run.says("lives").signal(Signal::SIGUSR2);
        run.says("in hook").signal(Signal::SIGTERM);
        run.logs("stopping: TERM");
        fs::write(dir.path().join("go"), "").expect("our own directory");
        run.wait().code(0).said("over: signal");
        let report = file(&dir.path().join("run.json"));
        assert_eq!(report["outcome"]["reason"], "signal");
        let text = metrics(&dir.path().join("m.prom"));
        assert_eq!(value(&text, "stepdown_runs_total{reason=\"signal\"}"), 1.0);
    });
}

#[test]
fn the_next_run_is_told_of_a_crash_loop_that_was_given_up() {
    both(|mode| {
        let dir = directory();
        let state = ["--state-file=state.json"];
        let tell =
            "echo \"$STEPDOWN_LAST_RESTARTS|$STEPDOWN_LAST_GAVE_UP|$STEPDOWN_LAST_EXIT_CODE\"";
        let first = restarting(mode, &dir, &state)
            .args(["--restart-limit=2"])
            .shell(&format!("{tell}; exit 3"))
            .run();
        first.code(3).said("||").logged(&["not restarted again"]);
        let kept = file(&dir.path().join("state.json"));
        let last = &kept["last_runs"][0];
        assert_eq!(last["generations"], 3);
        assert_eq!(last["restarts"], 2);
        assert_eq!(last["gave_up"], true);
        let hook = format!("sh -c '{}'", tell.replace("echo \"", "echo \"hook "));
        let second = restarting(mode, &dir, &state)
            .args(["--post-stop", &hook])
            .shell(tell)
            .run();
        second.code(0).said("2|1|3").said("hook 2|1|3");
        let third = restarting(mode, &dir, &state).shell(tell).run();
        third.code(0).said("0|0|0");
    });
}

#[test]
fn the_json_log_names_generations_as_everything_else_does() {
    both(|mode| {
        let dir = directory();
        let ended = restarting(mode, &dir, &["--restart-limit=1/1h", "-v"])
            .args(["--log-format=json"])
            .shell("exit 3")
            .run();
        ended.code(3);
        let records: Vec<Value> = ended
            .stderr
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        let the = |event: &str| {
            let record = records.iter().find(|record| record["event"] == event);
            record.unwrap_or_else(|| panic!("no {event}\n{}", ended.told()))
        };
        let over = the("generation-ended");
        assert_eq!(over["generation"], 1);
        assert_eq!(
            (&over["code"], &over["reason"]),
            (&3.into(), &"exit".into())
        );
        assert_eq!(over["restart"], "failure");
        assert!(over["delay_ms"].is_u64() && over["took_ms"].is_u64());
        assert_eq!(the("generation-began")["generation"], 2);
        let gave_up = the("gave-up");
        assert_eq!(gave_up["restarts"], 1);
        assert_eq!(gave_up["within_ms"], 3_600_000);
    });
}

#[test]
fn sockets_are_told_with_their_names_in_every_generation() {
    both(|mode| {
        let dir = directory();
        let options = [
            "--listen=web\"b=127.0.0.1:0",
            "--listen=unix:s",
            "--restart-on=USR2",
        ];
        let (stepdown, port) = with_endpoint(restarting(mode, &dir, &options));
        let mut run = stepdown.shell(AS_TOLD).start();
        let line = run.logs("(web\"b)");
        let address = line.split(' ').find(|word| word.starts_with("127.0.0.1:"));
        let address = address.unwrap_or_else(|| panic!("{line}"));
        run.says("lives").signal(Signal::SIGUSR2);
        run.says_times("lives", 2);
        wait_until("it is ready", || json(port)["generation"] == 2);
        let told = json(port);
        assert_eq!(told["listening"][0]["name"], "web\"b");
        assert_eq!(told["listening"][0]["address"], address);
        assert_eq!(told["listening"][1]["name"], "unknown");
        let path = told["listening"][1]["address"].as_str().expect("text");
        assert!(path.starts_with("unix:"), "{told}");
        let text = get(port, "/metrics");
        let line = format!("stepdown_listening_info{{name=\"web\\\"b\",address=\"{address}\"}}");
        assert_eq!(value(&text, &line), 1.0);
        run.signal(Signal::SIGTERM);
        run.wait().code(0);
    });
}

#[test]
fn the_reports_plan_has_what_was_asked_of_the_supervision() {
    let dir = directory();
    let ended = restarting(
        Mode::Ordinary,
        &dir,
        &[
            "--report=run.json",
            "--restart-limit=4/1h",
            "--restart-never-on=78,ABRT",
            "--restart-on=USR2",
            "--wait-for=file:/",
            "--live-when=exec:true",
            "--live-failures=2",
            "--listen=web=127.0.0.1:0",
            "--fd-store-max=3",
        ],
    )
    .shell("exit 0")
    .run();
    ended.code(0);
    let plan = &file(&dir.path().join("run.json"))["plan"];
    let expected = serde_json::json!({
        "after": "on-failure", "delay_ms": 1, "max_delay_ms": 30_000,
        "limit": { "times": 4, "within_ms": 3_600_000 },
        "never_on": ["78", "ABRT"], "start_failures": false, "on": ["USR2"], "replace_on": [],
    });
    assert_eq!(plan["restart"], expected);
    let expected = serde_json::json!({ "conditions": ["file:/"], "timeout_ms": 60_000 });
    assert_eq!(plan["wait_for"], expected);
    let expected = serde_json::json!({
        "condition": "exec:true", "every_ms": 10_000, "timeout_ms": 1_000, "failures": 2,
    });
    assert_eq!(plan["live_when"], expected);
    let expected = serde_json::json!([{ "name": "web", "address": "127.0.0.1:0" }]);
    assert_eq!(plan["listen"], expected);
    assert_eq!(plan["fd_store_max"], 3);
    // What was not asked for is not there.
    let ended = Stepdown::new()
        .dir(dir.path())
        .args(["--report=plain.json"]);
    ended.shell("exit 0").run().code(0);
    let plan = &file(&dir.path().join("plain.json"))["plan"];
    for name in ["restart", "wait_for", "live_when"] {
        assert!(plan[name].is_null(), "{plan}");
    }
}
