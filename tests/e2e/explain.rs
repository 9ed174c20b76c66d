//! `explain` tells what `run` does: the same records in the same order, and texts that stay as they are.
//!
//! The texts are in `tests/golden`; with the variable `UPDATE_GOLDEN` set they are written anew.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::ended::Ended;
use crate::support::{Stepdown, both};

/// Records as JSON, without what no two runs have in common: times, pids, who sent the signal, and who
/// else was reaped or swept; and without the settings and the worst case, which only `explain` tells.
fn records(lines: &str) -> Vec<Value> {
    let of_others = ["reaped", "swept", "sweep-ended", "setting", "worst-case"];
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .filter(|record: &Value| !of_others.iter().any(|event| record["event"] == *event))
        .map(|mut record| {
            let fields = record.as_object_mut().expect("a record is an object");
            fields.retain(|key, _| {
                !key.ends_with("_ms") && !["timestamp", "pid", "sender"].contains(&&**key)
            });
            record
        })
        .collect()
}

fn explained(options: &[&str], assume: &[&str]) -> Vec<Value> {
    let assume = assume.iter().flat_map(|cue| ["--assume", cue]);
    let explain = Stepdown::new()
        .args(["explain", "--json"])
        .args(assume)
        .args(options.iter().copied())
        .run();
    explain.code(0);
    records(&explain.stdout)
}

/// Runs `script` in both modes with these options, asks for the stop once it is ready, and compares.
#[track_caller]
fn tells_the_same(options: &[&str], assume: &[&str], script: &str) {
    let explained = explained(options, assume);
    both(|mode| {
        let mut run = Stepdown::in_mode(mode)
            .args(["--log-format", "json", "-v"])
            .args(options.iter().copied())
            .shell(script)
            .start();
        run.says("ready");
        run.signal(Signal::SIGTERM);
        let ended = run.wait();
        let ran = records(&ended.stderr);
        assert_eq!(ran, explained, "{}", ended.stderr);
        // A step, the child's end and the run's end are in every story: nothing was compared in vain.
        assert!(ran.len() >= 5, "{ran:?}");
    });
}

/// The shell looks at its traps between two short sleeps.
const LOOP: &str = "echo ready; while :; do sleep 0.02; done";

#[test]
fn a_child_that_exits_on_term() {
    tells_the_same(&[], &["TERM"], &format!("trap 'exit 0' TERM; {LOOP}"));
}

#[test]
fn a_child_that_ignores_term() {
    let ignores = "trap '' TERM; echo ready; exec sleep 1000";
    tells_the_same(&["--grace", "200ms"], &[], ignores);
}

#[test]
fn a_child_that_needs_int() {
    tells_the_same(
        &["--ladder", "TERM:200ms,INT@group:10s,QUIT:10s"],
        &["INT"],
        &format!("trap '' TERM; trap 'exit 0' INT; {LOOP}"),
    );
}

#[test]
fn a_child_that_obeys_its_standard_input() {
    tells_the_same(
        &["--ladder", "stdin=stop:10s"],
        &["stdin"],
        "echo ready; read line; [ \"$line\" = stop ] && exit 0; exec sleep 1000",
    );
}

#[test]
fn a_child_that_ends_with_its_input() {
    tells_the_same(
        &["--ladder", "stdin=no:200ms,eof:10s"],
        &["eof"],
        "echo ready; cat >/dev/null; exit 0",
    );
}

#[test]
fn a_child_that_a_stop_command_stops() {
    // It exits only when the command is no more, so that the order is the same each time.
    let dir = tempfile::tempdir().expect("a directory of our own");
    let pid = dir.path().join("command");
    let pid = pid.display();
    let step = format!("exec='sh -c \"echo \\$\\$ >{pid}; kill -USR1 \\$STEPDOWN_CHILD_PID\"':10s");
    let waits = format!("while kill -0 $(cat {pid}) 2>/dev/null; do sleep 0.01; done");
    tells_the_same(
        &["--ladder", &step],
        &["exec:1ms"],
        &format!("trap '{waits}; exit 0' USR1; {LOOP}"),
    );
}

#[test]
fn hooks_before_and_after() {
    tells_the_same(
        &[
            "--pre-start",
            "true",
            "--pre-stop",
            "true",
            "--pre-stop",
            "sleep 0.01",
            "--post-stop",
            "true",
        ],
        &["TERM"],
        &format!("trap 'exit 0' TERM; {LOOP}"),
    );
}

#[test]
fn hooks_that_hang() {
    tells_the_same(
        // No hook that ends: it might not come to it in so short a time.
        &[
            "--pre-stop",
            "sleep 1000",
            "--post-stop",
            "sleep 1001",
            "--hook-timeout",
            "200ms",
            "--grace",
            "200ms",
        ],
        &[],
        "trap '' TERM; echo ready; exec sleep 1000",
    );
}

#[test]
fn a_deadline_that_cuts_hooks_ladder_and_sweep() {
    tells_the_same(
        // Seconds for each, and for the child to die of KILL in (half of the time that the post-stop hook
        // has): whoever is late is late by less.
        &[
            "--deadline",
            "10s",
            "--pre-stop",
            "sleep 1000",
            "--pre-stop",
            "sleep 1000",
            "--ladder",
            "TERM:10s,INT:10s",
            "--post-stop",
            "sleep 1000",
            "--hook-timeout",
            "5s",
        ],
        &[],
        "trap '' TERM INT; echo ready; exec sleep 1000",
    );
}

#[test]
fn a_delay_without_a_port() {
    tells_the_same(
        &["--drain-delay", "200ms"],
        &["TERM"],
        &format!("trap 'exit 0' TERM; {LOOP}"),
    );
}

#[test]
fn a_child_that_ends_by_itself() {
    let run = Stepdown::new()
        .args(["--log-format", "json", "-v", "--post-stop", "true"])
        .shell("exit 0")
        .run();
    let explained = explained(&["--post-stop", "true"], &["start"]);
    assert_eq!(records(&run.stderr), explained, "{}", run.stderr);
    assert_eq!(explained.len(), 5, "{explained:?}");
}

/// Compares with `tests/golden/NAME.txt`.
#[track_caller]
fn is_golden(name: &str, args: &[&str]) {
    let told = Stepdown::new().args(args.iter().copied()).run();
    told.code(0);
    // The table of all options before the timeline is another story's.
    let told = match told.stdout.split_once("\n\n") {
        Some((_, timeline)) if told.stdout.starts_with("OPTION") => timeline,
        _ => &told.stdout,
    };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.txt"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, told).expect("the golden files can be written");
        return;
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        told == golden,
        "another text than {}; if it shall be so, run this test with UPDATE_GOLDEN=1\n{}",
        path.display(),
        told
    );
}

#[test]
fn the_help_is_golden() {
    is_golden("help", &["--help"]);
    is_golden("help-explain", &["explain", "--help"]);
    is_golden("help-doctor", &["doctor", "--help"]);
    is_golden("help-check", &["check", "--help"]);
    is_golden("help-lint", &["lint", "--help"]);
}

#[test]
fn timelines_are_golden() {
    is_golden("explain-default", &["explain"]);
    is_golden("explain-process", &["explain", "--as", "process"]);
    is_golden(
        "explain-lost",
        &[
            "explain",
            "--post-stop=unlock",
            "--report=/report",
            "--ladder=INT,TERM",
        ],
    );
    is_golden(
        "explain-assumed",
        &["explain", "--assume", "TERM:1500ms", "--", "server"],
    );
    is_golden("explain-without-end", &["explain", "--no-kill"]);
    is_golden(
        "explain-crash",
        &["explain", "--assume", "start:1m", "--post-stop", "clean up"],
    );
    is_golden(
        "explain-ladder",
        &[
            "explain",
            "--ladder",
            "stdin=stop:3s,exec=ctl quit:2s,INT@group:500ms,KILL@child",
        ],
    );
    is_golden(
        "explain-deadline",
        &[
            "explain",
            "--deadline",
            "25s",
            "--pre-stop",
            "deregister web-1",
            "--drain-port",
            "80",
            "--post-stop",
            "unlock",
        ],
    );
}

#[test]
fn what_a_platform_does_is_golden() {
    is_golden(
        "explain-platform",
        &["explain", "--platform=kubernetes", "--deadline=25s"],
    );
}

#[test]
fn failures_and_restarts_are_timelines_of_their_own() {
    let delays = ["explain", "--restart=on-failure", "--restart-on=USR2"];
    let hooks = ["--post-stop=unlock", "--hook-timeout=1s", "--grace=2s"];
    is_golden("explain-restart", &[&delays[..], &hooks].concat());
    let assumed = ["--assume=fail=7:3s", "--assume=fail:1s", "--assume=TERM:1s"];
    is_golden("explain-restart-assumed", &[&delays[..], &assumed].concat());
    let never = ["explain", "--restart=always", "--restart-limit=none"];
    let told = Stepdown::new().args(never).run().stdout;
    assert!(
        told.contains("restarted in 30.0 s (--restart)\n         ...  and so on\n"),
        "{told}"
    );
}

#[test]
fn a_hang_is_a_timeline_from_then_on() {
    let options = ["explain", "--live-when=http://127.0.0.1:80/up"];
    let hangs = ["--restart=on-failure", "--assume=hang:30s"];
    is_golden("explain-hang", &[&options[..], &hangs].concat());
    // Where nothing follows, the status is our own.
    let told = |args: &[&str]| Stepdown::new().args([&options[..], args].concat()).run();
    let told = told(&["--assume=hang:1m", "--assume=TERM:1s"]).stdout;
    for line in [
        "A command that hangs from 0 s on, as assumed",
        "1.0 s  not alive, 1 of 3: no answer in time (--live-when)",
        "21.0 s  not alive, 3 of 3",
        "stopping: the child is unhealthy",
        "22.0 s  child exited with 0",
        "stopped in 1.0 s, exit status 125",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    let explain = |condition: &str, assumed: &[&str]| {
        let args = ["explain", "--live-when", condition];
        let told = Stepdown::new().args([&args[..], assumed].concat()).run();
        told.code(0);
        told.stdout
    };
    let told = explain("exec:ask", &["--live-every=1s", "--assume=hang:2500ms"]);
    assert!(
        told.contains("2.5 s  not alive, 2 of 3: no end of it within 1s"),
        "{told}"
    );
    let told = explain("file:beat", &["--assume=hang:25s"]);
    assert!(
        told.contains("15.0 s  not alive, 1 of 3: the file has not"),
        "{told}"
    );
    let told = explain("watchdog:30s", &["--assume=hang:50s", "--assume=ABRT:1s"]);
    assert!(
        told.contains("30.0 s  not alive: the child has not said"),
        "{told}"
    );
    assert!(told.contains("31.0 s  child exited with 0"), "{told}");
}

#[test]
fn a_hang_that_nobody_would_notice_is_refused() {
    let refused = |options: &[&str]| {
        let hangs = ["explain", "--assume=hang:30s"];
        Stepdown::new().args([&hangs[..], options].concat()).run()
    };
    let told = refused(&[]);
    told.code(125)
        .logged(&["--assume: hang: nobody checks", "add --live-when http:URL"]);
    refused(&["--live-when=tcp:80"])
        .code(125)
        .logged(&["hangs still listens"]);
}

#[test]
fn a_hang_and_the_life_after_it_are_told_as_they_are() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name).display().to_string();
    // The second life is alive, and gets the stop once it is ready.
    let script = "trap 'test -e SECOND && rm SECOND ASKED || touch SECOND; exit 0' TERM; \
                  test -e SECOND && echo ready; while :; do sleep 0.02; done";
    let script = script.replace("SECOND", &path("second"));
    let script = script.replace("ASKED", &path("asked"));
    let ask = "exec:sh -c 'test -e ASKED || { touch ASKED; exec sleep 1000; }'";
    let condition = ask.replace("ASKED", &path("asked"));
    tells_the_same(
        &[
            "--restart=on-failure",
            "--restart-delay=1ms",
            "--live-failures=1",
            "--live-every=100ms",
            &format!("--live-when={condition}"),
        ],
        &["hang", "TERM"],
        &script,
    );
}

#[test]
fn a_failure_and_the_life_after_it_are_told_as_they_are() {
    let dir = tempfile::tempdir().expect("a directory");
    let failed = dir.path().join("failed");
    let script = "test -e FAILED && rm FAILED || { touch FAILED; exit 7; }; trap 'exit 0' TERM; ";
    let script = script.replace("FAILED", &failed.display().to_string());
    tells_the_same(
        &["--restart=on-failure", "--restart-delay=1ms"],
        &["fail=7:10ms", "TERM"],
        &format!("{script}{LOOP}"),
    );
}

const REPLACES: [&str; 3] = [
    "--listen=127.0.0.1:0",
    "--ready-when=exec:true",
    "--replace-on=USR2",
];

#[test]
fn a_replacement_is_a_timeline_of_its_own() {
    let bounds = ["--grace=5s", "--drain-timeout=4s"];
    let options = [&["explain"], &REPLACES[..], &bounds].concat();
    is_golden("explain-replace", &options);
    let assumed = [
        "--assume=fail:3s",
        "--assume=replace:3s",
        "--assume=TERM:1s",
    ];
    let options = [&options[..], &["--restart=on-failure"], &assumed].concat();
    is_golden("explain-replace-assumed", &options);
}

/// Its lives would follow each other without end.
#[test]
fn a_run_that_no_signal_ends_is_explained_as_well() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let none = ["stop-on = \"\"", "rewrite = [\"TERM:0\", \"INT:0\"]"];
    for (restart, none) in [
        ("always", none[0]),
        ("on-failure", none[0]),
        ("on-failure", none[1]),
    ] {
        let text = format!("{none}\nrestart = \"{restart}\"\n");
        let file = dir.path().join("stepdown.toml");
        std::fs::write(&file, text).expect("it is ours");
        for assumed in [&[][..], &["--assume=fail:1s"]] {
            let explained = Stepdown::new()
                .args(["explain", "--config"])
                .args([&file])
                .args(assumed.iter().copied())
                .run();
            explained.code(0);
        }
    }
}

#[test]
fn a_signal_that_is_dropped_asks_for_no_stop() {
    let explain = |options: &[&str]| Stepdown::new().args(["explain"]).args(options).run();
    let tells = |explained: Ended, code, told: &str| {
        explained.code(code);
        assert!(explained.stdout.contains(told), "{}", explained.stdout);
    };
    let endless = ["--restart=always", "--restart-limit=none"];
    let endless = explain(&[&endless[..], &["--rewrite=INT:0"]].concat());
    tells(endless, 0, "A stop by TERM, ");
    let other = explain(&["--rewrite=TERM:0", "--grace=3s"]);
    tells(other, 0, "A stop by INT, ");
    let none = explain(&["--stop-on=", "--grace=3s"]);
    let why = "No signal begins the stop (--stop-on, --rewrite).";
    tells(none, 0, &format!("Worst case: without end. {why}"));
    let kubernetes = ["--platform=kubernetes", "--grace=3s"];
    let dropped = explain(&[&kubernetes[..], &["--rewrite=TERM:0"]].concat());
    let told = "It does not fit: --rewrite drops that signal, so nothing happens until KILL.";
    tells(dropped, 1, told);
    explain(&[&kubernetes[..], &["--rewrite=TERM:QUIT"]].concat()).code(0);
}

#[test]
fn lives_without_a_last_one_are_refused() {
    let lives = ["explain", "--assume=fail:1s", "--assume=start:2s"];
    let always = Stepdown::new().args(lives).args(["--restart=always"]).run();
    let told = "--assume: start: with --restart always one life would follow the other without end: leave it out";
    always.code(125);
    assert!(always.stderr.contains(told), "{}", always.stderr);
    let one = ["explain", "--assume=start:2s", "--restart=always"];
    Stepdown::new().args(one).run().code(125);
    // It exits with 0, and that is the end.
    let on_failure = Stepdown::new().args(lives).args(["--restart=on-failure"]);
    on_failure.run().code(0);
}

/// It may be a migration.
#[test]
fn a_pre_start_hook_may_make_the_stop_longer() {
    let hook = ["--grace=1s", "--pre-start=true", "--hook-timeout=50s"];
    // While the next one comes there may be clients, too.
    let cases: [(&[&str], &str, &str); 2] = [(&[], "52.0 s", "53s"), (&REPLACES, "54.0 s", "55s")];
    for (options, worst, enough) in cases {
        let explain = |options: &[&str]| {
            let explain = Stepdown::new().args(["explain"]).args(hook);
            explain.args(options.iter().copied()).run()
        };
        let fits = |grace| explain(&[options, &["--fits", grace]].concat());
        let told = format!(
            "Worst case: {worst} from the request to stop, if\na pre-start hook is running, hooks use up their time, \
             and what they leave behind ignores TERM.\n"
        );
        let enough = fits(enough);
        enough.code(0);
        assert!(enough.stdout.contains(&told), "{}", enough.stdout);
        let told =
            format!("It does not fit: the worst case is {worst}, the grace period is 10.0 s.");
        let short = fits("10s");
        short.code(1);
        assert!(short.stdout.contains(&told), "{}", short.stdout);
        let bounded = explain(&[options, &["--deadline=9s", "--fits=10s"]].concat());
        bounded.code(0);
    }
}

/// The child dies of neither.
#[test]
fn a_watchdog_that_was_missed_just_before_makes_the_stop_longer() {
    let options = [
        "--live-when=watchdog:500ms",
        "--grace=1s",
        "--ready-when=exec:true",
    ];
    let explained = Stepdown::new()
        .args(["explain", "--fits=3s"])
        .args(options)
        .run();
    explained.code(1);
    let told = "Worst case: 4.0 s from the request to stop, if\nthe child has just missed its watchdog and gets ABRT \
        first, and all that follows takes its longest.\n";
    assert!(explained.stdout.contains(told), "{}", explained.stdout);
    both(|mode| {
        let mut run = Stepdown::in_mode(mode)
            .args(options)
            .shell("trap '' TERM ABRT; while :; do sleep 0.02; done")
            .start();
        run.logs("before the ladder: ABRT");
        run.signal(Signal::SIGTERM);
        let ended = run.wait();
        ended.logged(&["step 2 of 2: KILL"]);
        ended.stopped_no_sooner_than(Duration::from_millis(1_500));
        ended.stopped_within(Duration::from_secs(4));
    });
}

#[test]
fn a_replacement_is_told_as_it_is() {
    let explained = explained(&REPLACES, &["replace", "TERM"]);
    both(|mode| {
        let mut run = Stepdown::in_mode(mode)
            .args(["--log-format", "json", "-v"])
            .args(REPLACES)
            .shell(&format!("trap 'exit 0' TERM; {LOOP}"))
            .start();
        run.logs(r#""event":"ready""#);
        // Whoever has no trap yet dies of the signal.
        run.says("ready");
        run.signal(Signal::SIGUSR2);
        run.says_times("ready", 2);
        run.logs(r#""generation":1,"event":"ended""#);
        run.signal(Signal::SIGTERM);
        let ended = run.wait();
        // stepdown says where it listens, which a simulated one cannot know.
        let ran: Vec<Value> = records(&ended.stderr)
            .into_iter()
            .filter(|record| record["event"] != "listening")
            .collect();
        assert_eq!(ran, explained, "{}", ended.stderr);
    });
}

#[test]
fn a_drain_tells_what_it_waits_for() {
    let options = [
        "explain",
        "--health-listen=:9000",
        "--drain-port=80",
        "--drain-delay=2s",
        "--drain-checks=2",
        "--drain-until=notify",
        "--drain-until=metric:http://127.0.0.1:9100/metrics#jobs{queue=\"mail\"}",
    ];
    is_golden("explain-drain", &options);
    // The maximum that counts, where nobody has written it.
    let told = Stepdown::new().args(options).run().stdout;
    let shown = |option: &str, value: &str| {
        told.lines().any(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words == [option, value, "default"]
        })
    };
    assert!(shown("drain-checks-timeout", "10s"), "{told}");
    assert!(shown("drain-timeout", "30s"), "{told}");
    // Where requests end at once, so does what the program is asked.
    let assumed = [&options[..], &["--assume=TERM"]].concat();
    let told = Stepdown::new().args(assumed).run().stdout;
    assert!(told.contains(" drained in 10.0 s"), "{told}");
}

#[test]
fn a_stop_that_does_not_fit_is_an_exit_status() {
    let explain = |options: &[&str]| Stepdown::new().args(["explain"]).args(options).run();
    // 8 s of grace, and 2 s for what is left.
    let fits = explain(&["--grace=8s", "--fits=12s"]);
    fits.code(0);
    assert!(fits.stdout.contains("It fits: the worst case is 10.0 s"));
    let longer = explain(&["--grace=8s", "--fits=9s"]);
    longer.code(1);
    assert!(
        longer.stdout.contains("It does not fit"),
        "{}",
        longer.stdout
    );
    // Without any time of its own PID 1 waits for whoever sends KILL.
    explain(&["--fits=1h"]).code(1);
    explain(&["--fits=1h", "--as=process"]).code(0);
    let fly = explain(&["--platform", "fly", "--grace=8s"]);
    fly.code(1);
    assert!(fly.stdout.contains("A stop by INT"), "{}", fly.stdout);
    explain(&["--platform=fly", "--grace=8s", "--fits=15s"]).code(0);
    // Where the platform runs it outside containers it is no PID 1, unless that is said.
    explain(&["--platform=systemd"]).code(0);
    explain(&["--platform=systemd", "--as=pid1"]).code(1);
    explain(&["--platform=docker", "--fits=1h"]).code(1);
    // With 0 s the platform would send KILL at once.
    let none = explain(&["--deadline=0"]);
    none.code(0);
    let told = "Give the container at least 1 s: ";
    assert!(none.stdout.contains(told), "{}", none.stdout);
}

#[test]
fn the_worst_case_is_the_last_line_of_the_json() {
    let last = |options: &[&str], code| {
        let told = Stepdown::new()
            .args(["explain", "--json"])
            .args(options)
            .run();
        told.code(code);
        let line = told.stdout.lines().last().unwrap_or_default();
        serde_json::from_str::<Value>(line).expect(line)
    };
    let plain = last(&["--grace=8s"], 0);
    assert_eq!(plain["event"], "worst-case");
    assert_eq!(
        (&plain["worst_case_ms"], &plain["needed_s"]),
        (&10_000.into(), &11.into())
    );
    assert_eq!(plain["fits"], Value::Null);
    assert_eq!(last(&[], 0)["worst_case_ms"], Value::Null);
    let heroku = last(&["--grace=40s", "--platform=heroku"], 1);
    assert_eq!(
        (&heroku["fits"], &heroku["grace_ms"]),
        (&false.into(), &30_000.into())
    );
    let row = &heroku["platform"];
    assert_eq!(
        (&row["name"], &row["signal"]),
        (&"heroku".into(), &"TERM".into())
    );
    assert!(row["source"].is_string() && row["date"].is_string());
}

#[test]
fn a_platform_or_grace_that_is_none_is_refused() {
    for (option, hints) in [
        (
            "--platform=kubernets",
            ["--platform", "did you mean kubernetes?"],
        ),
        ("--platform=borg", ["there are docker", "github-actions"]),
        ("--fits=soon", ["--fits", "write it as 1500ms"]),
    ] {
        let refused = Stepdown::new().args(["explain", option]).run();
        refused.code(125);
        refused.logged(&hints);
    }
}

#[test]
fn a_place_that_is_none_is_refused() {
    let refused = Stepdown::new().args(["explain", "--as", "proces"]).run();
    refused.code(125);
    refused.logged(&["--as", "did you mean process?"]);
}

#[test]
fn an_assumption_that_is_none_is_refused() {
    let refused = Stepdown::new()
        .args(["explain", "--assume", "TREM:2s"])
        .run();
    refused.code(125);
    assert!(
        refused.stderr.contains("did you mean TERM?"),
        "{}",
        refused.stderr
    );
}

/// The lines of the table of options, blanks between the columns counted once.
fn values(options: &[&str]) -> String {
    let explained = Stepdown::new().args(["explain"]).args(options).run();
    explained.code(0);
    let rows = explained.stdout.lines().take_while(|line| !line.is_empty());
    let words = rows.map(|row| row.split_whitespace().collect::<Vec<_>>().join(" "));
    words.collect::<Vec<_>>().join("\n")
}

/// What is printed is what the plan has, also where it follows from another option.
#[test]
fn values_that_follow_from_others_are_shown() {
    for (options, row) in [
        (
            &["--drain-port", "80,443"][..],
            "ready-when tcp:80,443 default",
        ),
        (
            &["--drain-port", "80", "--ready-timeout", "5s"],
            "ready-when tcp:80 default",
        ),
        (&["--ladder", "TERM:1s"], "ladder TERM:1s,KILL --ladder"),
        (
            &["--ladder", "SAME:1s,INT", "--stop-signal", "QUIT"],
            "ladder QUIT:1s,INT,KILL --ladder",
        ),
        (&["--ladder", "TERM", "--no-kill"], "ladder TERM --ladder"),
        (&["--stop-signal", "QUIT"], "ladder QUIT,KILL default"),
        (&["--ladder", "eof"], "stdin relay default"),
    ] {
        let values = values(options);
        assert!(
            values.lines().any(|line| line == row),
            "{row:?} in:\n{values}"
        );
        let last = values.lines().last().unwrap_or_default();
        assert!(last.starts_with("No other option is set"), "{values}");
    }
    // No step asks how long.
    assert!(!values(&["--ladder", "TERM:1s,INT:2s"]).contains("\ngrace "));
}

#[test]
fn a_timeout_of_a_hook_s_own_is_shown() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("c.toml");
    std::fs::write(&file, "[[pre-stop]]\nrun = \"a\"\ntimeout = \"20s\"\n").expect("written");
    let option = format!("--config={}", file.display());
    let values = values(&[&option]);
    assert!(values.contains("pre-stop a (timeout 20.0 s) "), "{values}");
}
