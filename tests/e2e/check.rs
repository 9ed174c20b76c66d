//! `stepdown check`: its options, its endings, its reports, and that it leaves nothing.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;

use crate::support::ended::Ended;
use crate::support::net::free_port;
use crate::support::pty::{CTRL_C, Pty};
use crate::support::stepdown::can_be_pid1;
use crate::support::{BOUND, Stepdown, binary, need, wait_until};

fn check(options: &[&str]) -> Stepdown {
    Stepdown::new().args(["check"]).args(options)
}

/// A program of the gallery.
fn clean(options: &[&str]) -> Ended {
    let gallery = binary::gallery().as_os_str();
    check(options)
        .child([gallery, "hanging-handler".as_ref(), "clean".as_ref()])
        .run()
}

fn broken(options: &[&str]) -> Ended {
    let gallery = binary::gallery().as_os_str();
    check(options)
        .child([gallery, "no-handler".as_ref(), "broken".as_ref()])
        .start()
        .wait_within(BOUND * 2)
}

#[test]
fn a_clean_stop_holds() {
    let ended = clean(&["--ready-line=ready", "--expect-exit=0"]);
    ended
        .code(0)
        .said("All promises held.")
        .was_silent()
        .nothing_left();
}

#[test]
fn without_readiness_the_signal_comes_after_a_while() {
    // TERM ends it at any moment: whether it has got anywhere by then does not matter.
    let ended = check(&["--after=200ms", "--json=-"])
        .shell("exec sleep 1000")
        .run();
    ended.code(0).nothing_left();
    let json: serde_json::Value = serde_json::from_str(&ended.stdout).expect("a document");
    let records = json["runs"][0]["records"].as_array().expect("records");
    let time_of = |what: &str| {
        let found = records.iter().find(|record| {
            record["text"]
                .as_str()
                .is_some_and(|text| text.starts_with(what))
        });
        let record = found.unwrap_or_else(|| panic!("{what:?} in {records:#?}"));
        record["at_us"].as_u64().expect("a time")
    };
    assert!(time_of("stopping: TERM") >= time_of("started, pid ") + 200_000);
}

#[test]
fn a_mistake_is_told_before_anything_is_started() {
    for (option, way_out) in [
        ("--within=soon", "write it as 1500ms, 10s or 1m30s"),
        ("--signal=TREM", "did you mean TERM?"),
        ("--offsets=1s", "write FROM..TO/STEP"),
        ("--expect-exit=300", "codes go from 0 to 255"),
        ("--port-free=http", "ports go from 1 to 65535"),
        ("--in-flight=https://a/", "use http://"),
        ("--runs=many", "write one from 1"),
        ("--stop-command='", "close it"),
        ("--ready-timeout=5x", "write it as 1500ms, 10s or 1m30s"),
        ("--ladder=TREM", "TERM"),
        ("--runz=3", "--runs"),
    ] {
        let ended = check(&["--ready-line=up", option])
            .shell("echo started")
            .run();
        ended.code(125).never_said("started");
        let name = option.split('=').next().expect("an option");
        assert!(ended.stderr.contains(way_out), "{option}: {}", ended.told());
        assert!(ended.stderr.contains(name), "{option}: {}", ended.told());
    }
    for other in ["--ladder=TERM,KILL", "--stop-signal=QUIT"] {
        let both = check(&["--stop-command=true", other]).shell("echo started");
        both.run().code(125).never_said("started");
    }
    check(&[]).run().code(125).logged(&["no command to check"]);
}

#[test]
fn what_an_option_was_called_before_is_taken() {
    let ended = check(&["--sweep=1s"]).shell("echo started").run();
    let way_out = ["--offsets", "write FROM..TO/STEP"];
    ended.code(125).never_said("started").logged(&way_out);
}

#[test]
fn a_command_that_does_not_exist_cannot_be_checked() {
    let ended = check(&["--runs=100"]).child(["/does/not/exist"]).run();
    ended.code(125).said("check: could not be checked");
    ended.said("  happened: /does/not/exist: not found");
    // Once is enough.
    assert!(!ended.stdout.contains("run   2"), "{}", ended.told());
}

#[test]
fn a_command_that_ends_before_the_signal_breaks_a_promise() {
    let ended = check(&["--after=20s"]).shell("echo oops; exit 3").run();
    ended.code(1).said("runs: broken").said("    oops");
    assert!(ended.stdout.contains("(exit status 3)"), "{}", ended.told());
    let ended = check(&["--after=20s"])
        .shell("no-such-program-anywhere")
        .run();
    ended.code(1);
    let reason = "  probably: a program was not found (127, said by a shell or docker run)";
    ended.said(reason);
}

#[test]
fn a_command_that_cannot_be_executed_cannot_be_checked() {
    let text = binary::child("not-executable.txt");
    let ended = check(&["--ready-line=ready"]).child([text]).run();
    ended.code(125).said("check: could not be checked");
}

/// A wrong port would be free after each run.
#[test]
fn a_port_that_nobody_listened_on_is_not_judged() {
    let port = free_port();
    let freed = format!("--port-free={port}");
    let check = |more: &[&str]| {
        check(&["--ready-line=ready", &freed, "--expect-exit=TERM"])
            .args(more)
            .shell("echo ready; exec sleep 1000")
            .run()
    };
    let ended = check(&[]);
    ended.code(0).said("All promises held.").nothing_left();
    ended.said(&format!(
        "port-free: not judged: nobody listened on port {port} before the stop either"
    ));
    let ended = check(&["-q"]);
    ended.code(0).nothing_left();
    assert_eq!(ended.stdout, "");
}

#[test]
fn readiness_is_a_promise() {
    let port = free_port();
    let tcp = format!("--ready-when=tcp:{port}");
    let listens = binary::gallery().as_os_str();
    let freed = format!("--port-free={port}");
    let command = [
        listens,
        "requests".as_ref(),
        "clean".as_ref(),
        port.to_string().as_ref(),
    ]
    .map(std::ffi::OsStr::to_owned);
    let ended = check(&[&tcp, &freed, "--expect-exit=0"])
        .child(command)
        .run();
    ended.code(0).said("All promises held.").nothing_left();
    assert!(!ended.stdout.contains("not judged"), "{}", ended.told());
    for (condition, happened) in [
        (
            "--ready-line=up",
            "  happened: not ready after 300 ms: no line of its output holds \"up\"",
        ),
        (&tcp, "  happened: not ready after"),
    ] {
        // A hook has written before the time runs; who knows when a command comes to it.
        let ended = check(&[condition, "--ready-timeout=300ms"])
            .args(["--pre-start=echo starting"])
            .shell("exec sleep 1000")
            .run();
        ended.code(1).said("ready: broken").nothing_left();
        ended.said("    starting");
        assert!(ended.stdout.contains(happened), "{}", ended.told());
        let reason = "it runs, and what was waited for does not come";
        assert!(ended.stdout.contains(reason), "{}", ended.told());
    }
    // One that ends while it is waited for never became ready, either.
    let ended = check(&["--ready-line=up"]).shell("echo oops; exit 3").run();
    ended.code(1).said("runs: broken").said("    oops");
}

/// Colours may stand in the middle of it, and a prompt has no end of line.
#[test]
fn a_ready_line_is_what_a_reader_sees() {
    for (line, printed) in [
        (
            "ready on port",
            "printf '\\033[32mready\\033[0m on port\\n'",
        ),
        ("console>", "printf 'starting\\nconsole> '"),
    ] {
        let ended = check(&["--expect-exit=TERM", "--ready-line", line])
            .shell(&format!("{printed}; exec sleep 1000"))
            .run();
        ended.code(0).said("All promises held.").nothing_left();
    }
}

#[test]
fn kill_may_be_allowed() {
    let script = "trap '' TERM; echo ready; while :; do sleep 0.05; done";
    let options = ["--ready-line=ready", "--within=60s", "--grace=200ms"];
    check(&options)
        .shell(script)
        .run()
        .code(1)
        .said("  probably: sh ignores TERM")
        .nothing_left();
    let ended = check(&options).args(["--allow-kill"]).shell(script).run();
    ended.code(0).nothing_left();
    // It comes in time for what is promised.
    let options = ["--ready-line=ready", "--within=2s", "--allow-kill"];
    check(&options).shell(script).run().code(0).nothing_left();
    // It comes too late by the options, and the program has not ended by itself all the same.
    let options = ["--ready-line=ready", "--within=200ms", "--grace=500ms"];
    let ended = check(&options).args(["--allow-kill"]).shell(script).run();
    ended.code(1).said("within: broken");
    ended.said("  probably: sh ignores TERM").nothing_left();
}

#[test]
fn a_port_that_is_taken_before_the_start_is_told() {
    let port = free_port();
    let _taken = std::net::TcpListener::bind(("127.0.0.1", port)).expect("a free port");
    let ended = clean(&["--ready-line=ready", &format!("--port-free={port}")]);
    ended.code(125);
    assert!(
        ended.stdout.contains("is taken before the start"),
        "{}",
        ended.told()
    );
}

#[test]
fn another_signal_and_a_stop_command() {
    let script = "trap 'exit 4' USR1; echo ready; while :; do sleep 0.02; done";
    check(&["--ready-line=ready", "--signal=USR1", "--expect-exit=4"])
        .shell(script)
        .run()
        .code(0)
        .nothing_left();
    let command = "sh -c 'kill -USR1 $STEPDOWN_CHILD_PID'";
    check(&[
        "--ready-line=ready",
        "--expect-exit=4",
        "--stop-command",
        command,
    ])
    .shell(script)
    .run()
    .code(0)
    .nothing_left();
}

#[test]
fn a_stop_command_that_did_not_run_is_no_stop() {
    let run = |command: &str| {
        check(&["--ready-line=ready", "--within=5s"])
            .args(["--stop-command", command])
            .shell("echo ready; exec sleep 1")
            .run()
    };
    let ended = run("/does/not/exist");
    ended.code(125).said("check: could not be checked");
    ended.said("  happened: stop command failed: /does/not/exist: not found");
    // It may have stopped it all the same.
    run("sh -c 'kill $STEPDOWN_CHILD_PID; exit 3'").code(0);
}

#[test]
fn a_stop_command_that_does_not_stop_it_is_told_as_such() {
    // A command that ends gets the time to do so even where it is held up.
    let runs = [
        (
            "5s",
            "sh -c 'exit 3'",
            "has failed (stop command failed: exited with 3)",
        ),
        (
            "5s",
            "true",
            "`true` has done its part, and the program runs on",
        ),
        (
            "300ms",
            "sleep 1000",
            "`sleep 1000` itself has not come to its end",
        ),
    ];
    let runs = runs.map(|(within, command, reason)| {
        let run = check(&["--ready-line=ready", "--within", within])
            .args(["--stop-command", command])
            .shell("echo ready; exec sleep 1000")
            .start();
        (run, command, reason)
    });
    for (run, command, reason) in runs {
        let ended = run.wait();
        ended.code(1).said("no-kill: broken").nothing_left();
        assert!(ended.stdout.contains(reason), "{}", ended.told());
        let promised = format!("  promised: `{command}` is enough, KILL is not needed");
        ended.said(&promised);
    }
}

#[test]
fn a_stop_command_that_outlasts_the_program_is_named() {
    let command = "sh -c 'kill $STEPDOWN_CHILD_PID; sleep 1000'";
    let ended = check(&["--ready-line=ready", "--within=3s", "--sweep-grace=20s"])
        .args(["--stop-command", command])
        .shell("echo ready; exec sleep 1000")
        .run();
    ended.code(1).said("within: broken").nothing_left();
    let reason = format!("`{command}` was waited for, and ended by KILL");
    assert!(ended.stdout.contains(&reason), "{}", ended.told());
}

/// Time enough to die of a signal for one that is held up, and what a deaf one costs.
const UNHURRIED: [&str; 2] = ["--ready-line=ready", "--within=5s"];

#[test]
fn with_stepdown_in_front_the_same_program_stops() {
    need!(can_be_pid1());
    let ended = broken(&[&UNHURRIED[..], &["--compare"]].concat());
    ended
        .code(1)
        .said("without stepdown:")
        .said("with stepdown:");
    ended.said(
        "no-kill: broken without stepdown in 1 of 1 runs".trim_end_matches(" in 1 of 1 runs"),
    );
    ended
        .said("A promise was broken in 1 of 2 runs.")
        .nothing_left();
}

#[test]
fn both_ways_are_told_side_by_side() {
    need!(can_be_pid1());
    let ended = broken(&[&UNHURRIED[..], &["--compare", "--runs=2"]].concat());
    ended.code(1).nothing_left();
    let row = |words: &[&str]| {
        let is_row = |line: &str| line.split_whitespace().eq(words.iter().copied());
        assert!(
            ended.stdout.lines().any(is_row),
            "{words:?} in\n{}",
            ended.told()
        );
    };
    row(&["without", "stepdown", "with", "stepdown"]);
    row(&["no-kill", "broken", "held"]);
    row(&["within", "not", "judged", "held"]);
    row(&["nothing-left", "not", "judged", "held"]);
    let times = |line: &str| line.starts_with("stop p50 ");
    assert!(ended.stdout.lines().any(times), "{}", ended.told());
}

#[test]
fn as_pid_1_without_being_root() {
    need!(unprivileged());
    let dir = reachable();
    let program = dir.path().join("stepdown");
    let gallery = dir.path().join("gallery");
    binary::install(&binary::under_test(), &program, 0o755);
    binary::install(binary::gallery(), &gallery, 0o755);
    let runs = [
        ("--as-pid1", "clean", 0),
        ("--as-pid1", "broken", 1),
        ("--compare", "clean", 0),
        ("--compare", "broken", 1),
    ];
    let runs = runs.map(|(how, state, code)| {
        let run = Stepdown::new()
            .program("setpriv")
            .args(["--reuid=1234", "--regid=1234", "--clear-groups"])
            .args([program.as_os_str()])
            .args(["check", how])
            .args(UNHURRIED)
            .args(["--".as_ref(), gallery.as_os_str()])
            .args(["no-handler", state])
            .start();
        (run, how, state, code)
    });
    for (run, how, state, code) in runs {
        let ended = run.wait();
        ended.code(code).nothing_left();
        if (how, state) == ("--compare", "broken") {
            ended.said("no-kill: broken without stepdown");
        }
    }
}

/// May an ordinary user make namespaces here?
fn unprivileged() -> Result<(), String> {
    let tried = Command::new("setpriv")
        .args(["--reuid=1234", "--regid=1234", "--clear-groups"])
        .args(["unshare", "--user", "--map-current-user", "--fork", "--pid"])
        .args(["--mount-proc", "true"])
        .output();
    match tried {
        Ok(tried) if tried.status.success() => Ok(()),
        Ok(tried) => Err(String::from_utf8_lossy(&tried.stderr).trim().to_owned()),
        Err(error) => Err(format!("cannot run setpriv: {error}")),
    }
}

/// A directory that everybody may enter.
pub(crate) fn reachable() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let all = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(dir.path(), all).expect("our own directory");
    dir
}

#[test]
fn ctrl_c_stops_the_program_and_reports_what_there_is() {
    let dir = tempfile::tempdir().expect("a directory");
    let trapped = dir.path().join("trapped");
    let script = format!(
        "trap 'echo asked; exit 0' TERM; : > {}; while :; do sleep 0.02; done",
        trapped.display()
    );
    let mut run = check(&["--after=100s", "--runs=50", "--json=-"])
        .shell(&script)
        .start();
    // The first run is on its way, and the program says so itself: that it exists is too early.
    wait_until("the program has its trap", || trapped.exists());
    run.signal(Signal::SIGINT);
    let ended = run.wait();
    ended.code(125).nothing_left();
    let json: serde_json::Value = serde_json::from_str(&ended.stdout).expect("a document");
    assert_eq!(json["verdict"], "unknown");
    assert_eq!(json["runs"][0]["output"][0], "asked");
    assert_eq!(json["planned_runs"], 50);
}

#[test]
fn ctrl_c_while_requests_are_in_flight_leaves_nothing() {
    for end in [Signal::SIGINT, Signal::SIGKILL] {
        let port = free_port();
        let url = format!("--in-flight=http://127.0.0.1:{port}/");
        // It never comes down by itself.
        let script = format!(
            "trap '' TERM; {} requests clean {port} & while :; do sleep 0.05; done",
            binary::gallery().display()
        );
        let mut run = check(&["--ready-line=ready", "--within=100s", "-v", &url])
            .shell(&script)
            .start();
        run.says_about("stopping: TERM");
        let mark = run.mark().clone();
        run.signal(end);
        if end == Signal::SIGINT {
            // The second one takes the next step, which is KILL.
            run.says_about("a stop is under way");
            run.signal(end);
            let ended = run.wait();
            ended.code(125).nothing_left();
            ended.said("  happened: interrupted before it was over");
        } else {
            // Its end would end the story's other processes, too: first they have the time that they need.
            mark.wait_until_gone();
            run.wait().died_of(end);
        }
    }
}

#[test]
fn killed_it_leaves_nothing() {
    let script = "setsid sleep 1000 & sleep 1000 & trap '' TERM; while :; do sleep 0.05; done";
    for pid1 in [false, true] {
        if pid1 {
            need!(can_be_pid1());
        }
        let mut options = vec!["--after=100s"];
        options.extend(pid1.then_some("--as-pid1"));
        let mut run = check(&options).shell(script).start();
        wait_until("all of the program runs", || {
            let named = |name: &str| {
                let all = run.mark().processes();
                all.iter().filter(|process| process.name == name).count()
            };
            named("sleep") >= 2 && named("sh") >= 1
        });
        run.signal(Signal::SIGKILL);
        let mark = run.mark().clone();
        // As above.
        mark.wait_until_gone();
        run.wait().died_of(Signal::SIGKILL);
    }
}

#[test]
fn a_program_that_kills_its_init_leaves_nothing() {
    let ended = check(&["--after=100s"])
        .shell("setsid sleep 1000 & sleep 1000 & kill -9 $PPID; sleep 1000")
        .run();
    ended.code(125).nothing_left();
}

#[test]
fn the_reports_say_the_same() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = |name: &str| -> PathBuf { dir.path().join(name) };
    let option = |name: &str| format!("--{name}={}", file(name).display());
    let ended = broken(&[
        "--ready-line=ready",
        "--runs=3",
        "--expect-exit=0",
        &option("json"),
        &option("junit"),
        &option("html"),
    ]);
    ended.code(1);
    let read = |name: &str| std::fs::read_to_string(file(name)).expect("a report");
    let json: serde_json::Value = serde_json::from_str(&read("json")).expect("JSON");
    assert_eq!(json["schema"], "stepdown-check/1");
    assert_eq!(json["verdict"], "broken");
    let runs = json["runs"].as_array().expect("runs");
    assert_eq!(runs.len(), 3);
    for run in runs {
        assert_eq!(run["exit"]["signal"], "TERM");
        assert_eq!(run["fate"], "broken");
        let broken = run["promises"].as_array().expect("promises").iter();
        let broken: Vec<_> = broken.filter(|promise| promise["held"] == "no").collect();
        assert_eq!(broken.len(), 1, "{run}");
        assert_eq!(broken[0]["promise"], "expect-exit");
        assert!(broken[0]["reason"]["way_out"].is_string());
        assert!(run["phases_us"]["stop"].as_u64().is_some());
    }
    let phases = json["phases"].as_array().expect("phases");
    let names: Vec<_> = phases.iter().map(|phase| &phase["phase"]).collect();
    assert_eq!(names, ["ready", "stop", "total"]);
    assert!(phases.iter().all(|phase| phase["runs"] == 3), "{json}");
    let page = read("html");
    assert!(page.starts_with("<!DOCTYPE html>"));
    for foreign in ["<script", "http://", "https://", "@import", "url("] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    assert_eq!(page.matches("class=\"run broken\"").count(), 3);
    let junit = read("junit");
    assert_eq!(junit.matches("<failure").count(), 3);
    need!(binary::installed("/usr/bin/xmllint"));
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/children/junit.xsd");
    let valid = Command::new("xmllint")
        .args(["--noout", "--schema"])
        .args([&schema, &file("junit")])
        .output()
        .expect("xmllint");
    assert!(
        valid.status.success(),
        "{}",
        String::from_utf8_lossy(&valid.stderr)
    );
}

/// Whoever reads it relies on these names; a change of any of them is another schema.
#[test]
fn the_json_document_has_this_layout() {
    let document = |ended: Ended| -> serde_json::Value {
        ended.code(1);
        serde_json::from_str(&ended.stdout).expect("a document")
    };
    let keys = |value: &serde_json::Value| -> String {
        let keys = value.as_object().expect("an object").keys();
        keys.cloned().collect::<Vec<_>>().join(" ")
    };
    let port = free_port();
    let url = format!("--in-flight=http://127.0.0.1:{port}/");
    let command = [
        binary::gallery().as_os_str(),
        "requests".as_ref(),
        "broken".as_ref(),
    ];
    let json = document(
        check(&[
            "--ready-line=ready",
            "--json=-",
            "--in-flight-count=2",
            &url,
        ])
        .child(command)
        .args([port.to_string()])
        .run(),
    );
    assert_eq!(
        keys(&json),
        "as_pid1 began command phases planned_runs runs schema sentence signal stepdown steps verdict \
         windows within_ms"
    );
    assert_eq!(json["schema"], "stepdown-check/1");
    assert_eq!(json["signal"], "TERM");
    assert_eq!(json["steps"], serde_json::json!(["TERM"]));
    assert_eq!(json["within_ms"], 10_000);
    let run = &json["runs"][0];
    assert_eq!(
        keys(run),
        "exit fate load number offset_ms output phases_us promises records remained requests summary verdict"
    );
    assert_eq!(keys(&run["exit"]), "code signal");
    assert_eq!(keys(&run["requests"]), "broken complete open");
    assert_eq!(keys(&run["phases_us"]), "ready stop total");
    assert_eq!(keys(&run["records"][0]), "at_us text");
    assert_eq!(
        keys(&run["promises"][0]),
        "happened held promise promised reason"
    );
    let promises = run["promises"].as_array().expect("promises");
    let held: Vec<String> = promises
        .iter()
        .map(|promise| format!("{}={}", promise["promise"], promise["held"]).replace('"', ""))
        .collect();
    assert_eq!(
        held.join(" "),
        "ready=yes runs=yes no-kill=yes within=yes expect-exit=yes nothing-left=yes in-flight=no"
    );
    let broken = promises.last().expect("a promise");
    assert_eq!(keys(&broken["reason"]), "way_out why");
    assert_eq!(
        keys(&json["phases"][0]),
        "max_us min_us p50_us p95_us phase runs variant"
    );
    let json = document(
        check(&[
            "--json=-",
            "--offsets=100ms..200ms/100ms",
            "--expect-exit=0",
        ])
        .shell("exec sleep 1000")
        .run(),
    );
    assert_eq!(keys(&json["windows"][0]), "fate from_ms text to_ms variant");
    assert_eq!(json["windows"][0]["fate"], "broken");
    assert_eq!(json["runs"][1]["offset_ms"], 200);
}

#[test]
fn github_gets_annotations() {
    let gallery = binary::gallery().as_os_str();
    let run = |github: &str| {
        check(&["--ready-line=ready", "--expect-exit=0"])
            .env("GITHUB_ACTIONS", github)
            .child([gallery, "no-handler".as_ref(), "broken".as_ref()])
            .run()
    };
    let ended = run("true");
    let annotation = "::error title=stepdown check%3A expect-exit::promised: exit status 0%0A";
    assert!(ended.stdout.contains(annotation), "{}", ended.told());
    assert!(!run("").stdout.contains("::error"));
    // A document on standard output stays one.
    let ended = check(&["--ready-line=ready", "--expect-exit=0", "--json=-"])
        .env("GITHUB_ACTIONS", "true")
        .child([gallery, "no-handler".as_ref(), "broken".as_ref()])
        .run();
    serde_json::from_str::<serde_json::Value>(&ended.stdout).expect("a document");
    assert!(ended.stderr.contains(annotation), "{}", ended.told());
}

#[test]
fn a_table_of_many_runs_and_no_bar_in_a_pipe() {
    let ended = clean(&["--ready-line=ready", "--runs=20"]);
    ended
        .code(0)
        .was_silent()
        .said("All promises held in 20 runs.");
    let heads = ["min", "p50", "p95", "max", "runs"];
    let is_head = |line: &str| line.split_whitespace().eq(heads);
    assert!(ended.stdout.lines().any(is_head), "{}", ended.told());
    assert!(!ended.stdout.contains('\u{1b}'), "{}", ended.told());
}

#[test]
fn a_timeline_is_drawn_for_each_run() {
    let ended = clean(&["--ready-line=ready", "--runs=3"]);
    let is_line = |line: &&str| {
        let drawn = line.split_once(" |").map(|(_, drawn)| drawn);
        drawn.is_some_and(|drawn| drawn.starts_with('=') && drawn.ends_with("s"))
    };
    assert_eq!(ended.stdout.lines().filter(is_line).count(), 3);
    // Nothing was killed, and nothing was left.
    for line in ended.stdout.lines().filter(is_line) {
        assert!(!line.contains(['!', '~']), "{line}");
    }
    let script = "trap '' TERM; echo ready; while :; do sleep 0.05; done";
    let ended = check(&["--ready-line=ready", "--within=200ms"])
        .shell(script)
        .run();
    assert!(ended.stdout.contains("=!"), "{}", ended.told());
    let orphan = "setsid sleep 1000 & echo ready; exec sleep 1000";
    let ended = check(&["--ready-line=ready"]).shell(orphan).run();
    assert!(ended.stdout.contains("=~"), "{}", ended.told());
}

/// `check` of a program that stops at once, in a terminal window.
fn in_a_window(options: &[&str]) -> Pty {
    let mut command = Command::new("env");
    command.arg("TERM=xterm").arg(binary::under_test());
    command.args(["check", "--ready-line=ready"]).args(options);
    command.arg("--").arg(binary::gallery());
    Pty::running(command.args(["hanging-handler", "clean"]))
}

#[test]
fn a_terminal_shows_a_bar() {
    let mut window = in_a_window(&["--runs=5", "--after=100ms"]);
    window.shows("0/5 run 1").shows("4/5 run 5");
    window.shows("All promises held in 5 runs.");
    assert_eq!(window.ends().code(), Some(0));
    window.wait_until_empty();
    // A single run has none.
    let mut window = in_a_window(&["--after=300ms"]);
    window.shows("All promises held.").never_showed("/1 run");
    assert_eq!(window.ends().code(), Some(0));
}

#[test]
fn ctrl_c_in_a_window_ends_it_in_order() {
    let mut window = in_a_window(&["--runs=50", "--after=300s"]);
    window.shows("0/50 run 1");
    window
        .types(CTRL_C)
        .shows("interrupted: the program is being stopped");
    window.shows("Cut short after 1 of 50 runs.");
    assert_eq!(window.ends().code(), Some(125));
    window.wait_until_empty();
}

#[test]
fn what_escapes_the_terminal_is_made_harmless() {
    let ended = check(&["--ready-line=ready", "--expect-exit=5"])
        .shell("printf '\\033[2Jready\\n'; exec sleep 1000")
        .run();
    ended.code(1);
    assert!(!ended.stdout.contains('\u{1b}'), "{}", ended.told());
}

#[test]
fn the_program_starts_as_it_does_without_check() {
    let dir = tempfile::tempdir().expect("a directory");
    let said = dir.path().join("said");
    let script = format!(
        "grep -E 'Sig(Blk|Ign)' /proc/self/status > {0}; ls /proc/self/fd | wc -l >> {0}; pwd >> {0}; \
         echo ready; exec sleep 1000",
        said.display()
    );
    let dir_of_start = std::env::temp_dir();
    check(&["--ready-line=ready"])
        .dir(&dir_of_start)
        .shell(&script)
        .run()
        .code(0);
    let checked = std::fs::read_to_string(&said).expect("its own words");
    let mut run = Stepdown::new().dir(&dir_of_start).shell(&script).start();
    run.says("ready").signal(Signal::SIGTERM);
    run.wait().code(143);
    let ran = std::fs::read_to_string(&said).expect("its own words");
    assert_eq!(checked, ran);
}
