//! What outlives a run: the report and the state file are whole or not there, and nothing that is wrong
//! with them reaches the exit status.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use nix::libc;
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Mode, Stepdown, both, once_within, proc, seccomp};

pub(crate) fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory of our own")
}

#[track_caller]
pub(crate) fn json(path: &Path) -> Value {
    let text = fs::read_to_string(path).expect("the file was written");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

/// The names in a directory, sorted.
pub(crate) fn names(dir: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(dir.path()).expect("a directory of our own");
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.ok().map(name)).collect();
    names.sort();
    names
}

/// Runs a child that ends by itself.
pub(crate) fn run_in(dir: &TempDir, args: &[&str], script: &str) -> crate::support::ended::Ended {
    let run = Stepdown::new().dir(dir.path()).args(args).shell(script);
    run.start().wait()
}

// The report.

#[test]
fn the_files_are_written_without_a_free_descriptor_too() {
    both(|mode| {
        let dir = directory();
        let files = ["run.json", "state.json", "why"];
        let options = ["--report", "--state-file", "--termination-log"];
        let mut run = Stepdown::in_mode(mode)
            .dir(dir.path())
            .args(
                options
                    .iter()
                    .zip(files)
                    .flat_map(|(option, file)| [*option, file]),
            )
            .args(["--metrics-file", "run.prom"])
            .shell("trap 'exit 3' TERM; echo ready; while :; do sleep 0.02; done")
            .start();
        run.says("ready");
        for file in names(&dir) {
            fs::remove_file(dir.path().join(file)).expect("a directory of our own");
        }
        proc::limit_descriptors(run.pid(), 3);
        run.signal(Signal::SIGTERM);
        run.wait().code(3).never_logged("Too many open files");
        assert_eq!(names(&dir), ["run.json", "run.prom", "state.json", "why"]);
        assert_eq!(json(&dir.path().join("run.json"))["outcome"]["code"], 3);
    });
}

#[test]
fn a_command_that_was_ending_when_it_got_kill_has_not_needed_it() {
    both(|mode| {
        let dir = directory();
        let mut run = Stepdown::in_mode(mode)
            .dir(dir.path())
            .args(["--report=run.json", "--state-file=state.json"])
            .args(["--metrics-file=run.prom", "--ladder=TERM:0"])
            .args(["--post-stop", "sh -c 'echo escalated $STEPDOWN_ESCALATED'"])
            // It dies of TERM at once, and takes some time to give its memory back.
            .shell("x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo ready; sleep 1000 & wait")
            .start();
        run.says("ready").signal(Signal::SIGTERM);
        let ended = run.wait();
        ended.code(143).logged(&["stopped in", "exit status 143"]);
        ended.said("escalated 0");
        let report = json(&dir.path().join("run.json"));
        assert_eq!(report["outcome"]["escalated"], false);
        assert_eq!(report["outcome"]["clean"], true);
        let state = json(&dir.path().join("state.json"));
        assert_eq!(state["last_runs"][0]["escalated"], false);
        assert_eq!(state["last_runs"][0]["clean"], true);
        let metrics = fs::read_to_string(dir.path().join("run.prom")).expect("metrics");
        assert!(metrics.contains("stepdown_stops_total{outcome=\"graceful\"} 1"));
    });
}

#[test]
fn the_report_tells_the_whole_run_in_both_modes() {
    both(|mode| {
        let dir = directory();
        let mut run = Stepdown::in_mode(mode)
            .dir(dir.path())
            .args(["--report", "run.json", "--grace", "200ms"])
            .args(["--env", "SECRET=hidden", "--post-stop", "true"])
            .shell("trap '' TERM; echo ready; while :; do sleep 0.02; done")
            .start();
        run.says("ready").signal(Signal::SIGTERM);
        run.wait().code(137);
        assert_eq!(names(&dir), ["run.json"]);
        let report = json(&dir.path().join("run.json"));
        assert_eq!(report["schema"], 1);
        assert_eq!(report["command"][0], "sh");
        assert_eq!(report["plan"]["ladder"][0]["step"], "SAME");
        assert_eq!(report["plan"]["ladder"][0]["wait_ms"], 200);
        assert_eq!(report["plan"]["hooks"][0]["phase"], "post-stop");
        assert_eq!(report["outcome"]["code"], 137);
        assert_eq!(report["outcome"]["reason"], "signal");
        assert_eq!(report["outcome"]["escalated"], true);
        assert_eq!(report["outcome"]["clean"], false);
        assert_eq!(report["records_omitted"], 0);
        let records = report["records"].as_array().expect("a list");
        let events: Vec<&str> = records.iter().filter_map(|r| r["event"].as_str()).collect();
        for event in [
            "started",
            "stop-asked",
            "step",
            "child-exited",
            "hook-ended",
            "ended",
        ] {
            assert!(events.contains(&event), "{event} in {events:?}");
        }
        assert_eq!(events.last(), Some(&"ended"));
        let times: Vec<u64> = records
            .iter()
            .filter_map(|r| r["time_ms"].as_u64())
            .collect();
        assert_eq!(times.len(), records.len());
        assert!(times.is_sorted(), "{times:?}");
        let started = report["started_at"].as_str().expect("a time");
        assert!(
            started.ends_with('Z') && started.starts_with("20"),
            "{started}"
        );
        assert!(!report.to_string().contains("hidden"), "{report}");
    });
}

#[test]
fn there_is_a_report_of_a_child_that_could_not_be_started() {
    let dir = directory();
    let run = Stepdown::new()
        .dir(dir.path())
        .env("STEPDOWN_REPORT", "run.json")
        .child(["/no/such/program"])
        .start();
    run.wait().code(127);
    let report = json(&dir.path().join("run.json"));
    assert_eq!(report["outcome"]["code"], 127);
    assert_eq!(report["outcome"]["reason"], "start-failed");
    assert_eq!(report["outcome"]["clean"], false);
}

#[test]
fn a_start_that_stepdown_itself_refuses_is_a_run_like_any_other() {
    both(|mode| {
        let dir = directory();
        // Somebody else has the address.
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
        let address = taken.local_addr().expect("it is bound").to_string();
        let hook = "sh -c 'echo $STEPDOWN_PHASE $STEPDOWN_REASON $SERVICE_RESULT'";
        let ended = Stepdown::in_mode(mode)
            .dir(dir.path())
            .args(["--report=run.json", "--metrics-file=m.prom"])
            .args(STATE)
            .args(["--health-listen", &address])
            .args(["--pre-start", "echo registered", "--post-stop", hook])
            .shell("echo started")
            .run();
        ended
            .code(125)
            .logged(&["--health-listen", &address, "cannot listen"]);
        assert_eq!(
            ended.stderr.matches("cannot listen").count(),
            1,
            "{}",
            ended.told()
        );
        assert_eq!(ended.stdout, "post-stop start-failed resources\n");
        let report = json(&dir.path().join("run.json"));
        assert_eq!(report["outcome"]["code"], 125);
        assert_eq!(report["outcome"]["reason"], "start-failed");
        let metrics = fs::read_to_string(dir.path().join("m.prom")).expect("it was written");
        let counted = "stepdown_runs_total{reason=\"start-failed\"} 1";
        assert!(metrics.contains(counted), "{metrics}");

        let next = run_in(&dir, &STATE, TELL);
        next.code(0).was_silent();
        assert_eq!(told(&next), "1|start-failed||125|0|0");
    });
}

#[test]
fn a_refused_start_has_the_status_of_the_tool_in_whose_place_it_is() {
    let dir = directory();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
    let address = taken.local_addr().expect("it is bound").to_string();
    symlink(
        crate::support::binary::under_test(),
        dir.path().join("tini"),
    )
    .expect("our directory");
    let ended = Stepdown::new()
        .program(dir.path().join("tini"))
        .env("STEPDOWN_HEALTH_LISTEN", &address)
        .child(["true"])
        .run();
    ended.code(1).logged(&["cannot listen"]);
}

#[test]
fn without_a_descriptor_for_the_event_loop_the_run_is_told_all_the_same() {
    let dir = directory();
    let ended = Stepdown::new()
        .dir(dir.path())
        .args(["--report=run.json", "--ready-when=notify"])
        .args(STATE)
        .prepared(|| seccomp::refuse(libc::SYS_epoll_create1, None, libc::EMFILE))
        .shell("echo started")
        .run();
    ended
        .code(125)
        .never_said("started")
        .logged(&["no event loop"]);
    assert_eq!(json(&dir.path().join("run.json"))["outcome"]["code"], 125);
    assert_eq!(json(&dir.path().join("state.json"))["running"], Value::Null);
}

#[test]
fn a_report_that_cannot_be_written_costs_one_line() {
    let dir = directory();
    nix::unistd::mkfifo(&dir.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU)
        .expect("our own directory");
    for (path, why) in [
        ("/no/such/directory/run.json", "No such file or directory"),
        ("/dev/full", "No space left on device"),
        ("/proc/version/run.json", "Not a directory"),
        // Nobody reads it, and nobody waits for that.
        ("fifo", "No such device or address"),
    ] {
        let ended = run_in(&dir, &["--report", path], "exit 3");
        ended.code(3).logged(&["--report: /", path, why]);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.told());
        assert_eq!(names(&dir), ["fifo"]);
    }
}

#[test]
fn a_file_that_must_not_grow_costs_one_line_and_leaves_nothing() {
    let dir = directory();
    fs::write(dir.path().join("run.json"), "old").expect("our own file");
    let run = Stepdown::new()
        .dir(dir.path())
        .args(["--report", "run.json"])
        .prepared(|| {
            let none = libc::rlimit {
                rlim_cur: 100,
                rlim_max: 100,
            };
            // SAFETY: setrlimit(2) reads the struct, which lives through the call.
            match unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const none) } {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        })
        .shell("exit 3")
        .start();
    let ended = run.wait();
    ended.code(3).logged(&["run.json: File too large"]);
    assert_eq!(names(&dir), ["run.json"]);
    let text = fs::read_to_string(dir.path().join("run.json")).expect("our own file");
    assert_eq!(text, "old", "half a report replaced it");
}

#[test]
fn the_report_is_there_before_the_deadline() {
    // The hook is ended a twentieth of a second before the deadline.
    once_within(Duration::from_secs(2), || {
        let dir = directory();
        let mut run = Stepdown::new()
            .dir(dir.path())
            .args(["--report", "run.json", "--state-file", "state.json"])
            .args(["--deadline", "2s", "--hook-timeout", "1h"])
            .args(["--post-stop", "sleep 1000"])
            .shell("trap '' TERM; echo ready; while :; do sleep 0.02; done")
            .start();
        run.says("ready").signal(Signal::SIGTERM);
        run.wait().code(137);
        assert_eq!(json(&dir.path().join("state.json"))["running"], Value::Null);
        let report = json(&dir.path().join("run.json"));
        let took = report["outcome"]["took_ms"].as_u64();
        Duration::from_millis(took.expect("a number"))
    });
}

// The state file.

/// What the child is told.
const TELL: &str = "echo \"$STEPDOWN_LAST_RUNS|$STEPDOWN_LAST_REASON|$STEPDOWN_LAST_SIGNAL|\
     $STEPDOWN_LAST_EXIT_CODE|$STEPDOWN_LAST_CLEAN|$STEPDOWN_LAST_ESCALATED\"";

const STATE: [&str; 2] = ["--state-file", "state.json"];

fn told(ended: &crate::support::ended::Ended) -> &str {
    ended.stdout.lines().next().unwrap_or_default()
}

#[test]
fn a_run_is_told_how_the_last_one_ended() {
    let dir = directory();
    let first = run_in(&dir, &STATE, &format!("{TELL}; exit 7"));
    first.code(7).was_silent();
    assert_eq!(told(&first), "0|||||");

    // The next one is stopped, with KILL.
    let mut run = Stepdown::new()
        .dir(dir.path())
        .args(STATE)
        .args(["--grace", "100ms"])
        .shell(&format!(
            "trap '' TERM; {TELL}; echo ready; while :; do sleep 0.02; done"
        ))
        .start();
    run.says("ready").signal(Signal::SIGTERM);
    let second = run.wait();
    second.code(137);
    assert_eq!(told(&second), "1|exit||7|0|0");

    // The hooks know it, too, and what somebody else told before is gone.
    let run = Stepdown::new()
        .dir(dir.path())
        .args(STATE)
        .args(["--post-stop", "sh -c 'echo hook $STEPDOWN_LAST_SIGNAL'"])
        .env("STEPDOWN_LAST_SIGNAL", "stale")
        .shell(&format!("{TELL}; echo $STEPDOWN_LAST_STOP_MS"))
        .start();
    let third = run.wait();
    third.code(0).said("hook TERM");
    assert_eq!(told(&third), "2|signal|TERM|137|0|1");
    let stop_ms: u64 = third
        .stdout
        .lines()
        .nth(1)
        .and_then(|l| l.parse().ok())
        .expect("a number");
    assert!((100..15_000).contains(&stop_ms), "{stop_ms}");

    let fourth = run_in(&dir, &STATE, TELL);
    assert_eq!(told(&fourth), "3|exit||0|1|0");
    let state = json(&dir.path().join("state.json"));
    assert_eq!(state["schema"], 1);
    assert_eq!(state["running"], Value::Null);
    assert_eq!(state["totals"]["runs"]["exit"], 3);
    assert_eq!(state["totals"]["runs"]["signal"], 1);
    assert_eq!(state["totals"]["stops"]["killed"], 1);
    assert_eq!(state["totals"]["stop_duration"]["count"], 1);
    assert_eq!(state["last_runs"].as_array().map(Vec::len), Some(4));
    assert_eq!(state["last_runs"][0]["exit_code"], 0);
    assert_eq!(names(&dir), ["state.json"]);
}

#[test]
fn a_stop_by_the_asked_signal_counts_as_clean() {
    both(|mode| {
        let dir = directory();
        let mut run = Stepdown::in_mode(mode)
            .dir(dir.path())
            .args(STATE)
            .shell("echo ready; exec sleep 1000")
            .start();
        run.says("ready");
        // While it runs, the file says so.
        let running = json(&dir.path().join("state.json"));
        assert!(
            running["running"]["started_at"].as_u64() > Some(1_500_000_000),
            "{running}"
        );
        run.signal(Signal::SIGTERM);
        run.wait().code(143);
        let state = json(&dir.path().join("state.json"));
        assert_eq!(state["last_runs"][0]["clean"], true);
        assert_eq!(state["totals"]["stops"]["graceful"], 1);
    });
}

#[test]
fn without_the_option_nobody_is_told_anything() {
    let dir = directory();
    let ended = run_in(&dir, &[], "echo ${STEPDOWN_LAST_RUNS-unset}");
    ended.code(0).said("unset").was_silent();
    assert_eq!(names(&dir), Vec::<String>::new());
}

/// What a run has counted up to its last restart is not lost with it.
#[test]
fn a_run_that_was_killed_has_counted_its_restarts() {
    let dir = directory();
    let restarts = ["--restart=always", "--restart-delay=1ms"];
    let mut run = Stepdown::new()
        .dir(dir.path())
        .args(STATE)
        .args(restarts)
        .shell("echo >>lives; test $(wc -l <lives) -lt 3 || { echo ready; exec sleep 1000; }")
        .start();
    run.says("ready").signal(Signal::SIGKILL);
    run.wait();
    run_in(&dir, &STATE, "true").code(0);
    let totals = &json(&dir.path().join("state.json"))["totals"];
    assert_eq!(totals["restarts"]["success"], 2, "{totals}");
    assert_eq!(totals["runs"]["lost"], 1, "{totals}");
}

#[test]
fn a_run_that_was_killed_is_found_to_be_lost() {
    let dir = directory();
    let mut run = Stepdown::new()
        .dir(dir.path())
        .args(STATE)
        .shell("echo ready; exec sleep 1000")
        .start();
    run.says("ready").signal(Signal::SIGKILL);
    run.wait();
    let ended = run_in(&dir, &STATE, TELL);
    ended.code(0).logged(&[
        "the run before this one",
        "was lost: it was killed before its end",
    ]);
    assert_eq!(told(&ended), "1|lost|||0|");
    let state = json(&dir.path().join("state.json"));
    assert_eq!(state["totals"]["runs"]["lost"], 1);
    assert_eq!(state["last_runs"][1]["reason"], "lost");
}

/// As touch(1) makes one: to mount a single file into a container there has to be one.
#[test]
fn an_empty_state_file_is_a_fresh_one() {
    let dir = directory();
    fs::write(dir.path().join("state.json"), "").expect("our own file");
    run_in(&dir, &STATE, TELL)
        .code(0)
        .said("0|||||")
        .was_silent();
    assert_eq!(names(&dir), ["state.json"]);
    run_in(&dir, &STATE, TELL)
        .code(0)
        .said("1|exit||0|1|0")
        .was_silent();
}

#[test]
fn a_corrupt_state_file_is_put_aside_with_one_line() {
    let large = vec![b' '; 2 << 20];
    for text in [
        &b"{\"schema\": 1"[..],
        b"\n",
        b"[]",
        b"{\"schema\": 2, \"running\": null}",
        b"\0\x01",
        b"{\"schema\": 1, \"running\": null, \"x\": \"\xff\"}",
        b"\xff\xfe",
        &large,
    ] {
        let dir = directory();
        fs::write(dir.path().join("state.json"), text).expect("our own file");
        let ended = run_in(&dir, &STATE, TELL);
        ended
            .code(0)
            .logged(&["state.json: ", "state.json.corrupt, starting afresh"]);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.told());
        assert_eq!(told(&ended), "0|||||");
        assert_eq!(names(&dir), ["state.json", "state.json.corrupt"]);
        let kept = fs::read(dir.path().join("state.json.corrupt"));
        assert!(kept.expect("it was kept") == text, "{}", ended.told());
        run_in(&dir, &STATE, TELL)
            .code(0)
            .said("1|exit||0|1|0")
            .was_silent();
    }
}

#[test]
fn what_is_told_before_the_start_is_in_the_report_too() {
    both(|mode| {
        let dir = directory();
        fs::write(dir.path().join("state.json"), "[").expect("our own file");
        let ended = Stepdown::in_mode(mode)
            .dir(dir.path())
            .args(["--report=run.json", "--state-file=state.json"])
            .env("STEPDOWN_DRAIN_CHECKS", "2")
            .shell("exit 0")
            .run();
        ended.code(0);
        let report = json(&dir.path().join("run.json"));
        let records = report["records"].as_array().expect("a list").iter();
        let troubles = records.filter(|record| record["event"] == "trouble");
        let told: Vec<&str> = troubles
            .filter_map(|record| record["message"].as_str())
            .collect();
        let lines = ended.stderr.lines();
        let lines: Vec<&str> = lines
            .filter_map(|line| line.strip_prefix("stepdown: "))
            .collect();
        assert_eq!(told, lines);
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!(report["records"][2]["event"], "started");
    });
}

#[test]
fn a_state_file_that_is_none_is_left_alone() {
    let dir = directory();
    nix::unistd::mkfifo(
        &dir.path().join("state.json"),
        nix::sys::stat::Mode::S_IRWXU,
    )
    .expect("our own directory");
    let ended = run_in(&dir, &STATE, "exit 3");
    ended.code(3).logged(&[
        "--state-file: ",
        "state.json: not a regular file; no state is kept",
    ]);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.told());
    assert_eq!(names(&dir), ["state.json"]);
}

#[test]
fn a_state_file_that_cannot_be_written_costs_one_line() {
    let mut run = Stepdown::in_mode(Mode::Ordinary)
        .args(["--state-file", "/proc/state.json"])
        .shell("echo ready; exec sleep 1000")
        .start();
    run.says("ready").signal(Signal::SIGTERM);
    let ended = run.wait();
    ended
        .code(143)
        .logged(&["--state-file: /proc/state.json: "]);
    assert_eq!(
        ended.stderr.matches("/proc/state.json").count(),
        1,
        "{}",
        ended.told()
    );
}
