//! A stop hurries nobody unless somebody asks for that: requests that are repeated, and how long a step waits.

use std::ffi::OsStr;

use nix::sys::signal::Signal;

use crate::health;
use crate::support::{Mode, Stepdown, binary, both, proc};

/// A child that says which signals have come, and ends with 5 once `condition` of the shell holds: `$i` INTs
/// and `$t` TERMs have come.
fn counts(stepdown: Stepdown, condition: &str) -> Stepdown {
    stepdown.shell(&format!(
        "i=0; t=0; trap 'i=$((i+1)); echo int $i' INT; trap 't=$((t+1)); echo term $t' TERM
         echo ready; until [ {condition} ]; do sleep 0.02; done; sleep 0.3; exit 5"
    ))
}

#[test]
fn a_thread_dump_stops_nothing() {
    both(|mode| {
        let mut run = Stepdown::in_mode(mode)
            .shell("trap 'echo dump' QUIT; trap 'exit 5' TERM; echo ready; while :; do sleep 0.02; done")
            .start();
        run.says("ready").signal(Signal::SIGQUIT).says("dump");
        run.signal(Signal::SIGQUIT).says_times("dump", 2);
        assert_eq!(run.stderr_text(), "");
        run.signal(Signal::SIGTERM);
        run.wait().code(5).logged(&["stopping: TERM"]);
    });
}

#[test]
fn int_twice_from_machines_reaches_the_child_twice_and_leaves_it_its_time() {
    both(|mode| {
        let mut run = counts(Stepdown::in_mode(mode), "$i = 2").start();
        run.says("ready").asks_again().says("int 1");
        run.asks_again();
        run.wait().code(5).said("int 2").never_logged("KILL");
    });
}

#[test]
fn the_first_int_after_a_term_is_passed_on_and_hurries_nothing() {
    both(|mode| {
        let mut run = counts(Stepdown::in_mode(mode), "$t$i = 11").start();
        run.says("ready").signal(Signal::SIGTERM).says("term 1");
        run.signal(Signal::SIGTERM).asks_again();
        run.wait()
            .code(5)
            .said("int 1")
            .never_said("term 2")
            .logged(&["INT from ", "passed on to the child"])
            .never_logged("KILL");
    });
}

#[test]
fn a_ci_server_that_cancels_by_int_and_then_term_reaches_the_child_with_both() {
    both(|mode| {
        let mut run = Stepdown::in_mode(mode)
            .shell("trap '' INT; trap 'echo saved; exit 5' TERM; echo ready; while :; do sleep 0.02; done")
            .start();
        run.says("ready").asks_again().logs("step 1 of 2");
        run.signal(Signal::SIGTERM);
        run.wait().code(5).said("saved");
    });
}

#[test]
fn what_comes_before_the_ladder_waits_for_it() {
    both(|mode| {
        let dir = tempfile::tempdir().expect("a directory");
        let hook = "sh -c 'echo hook; while ! [ -e go ]; do sleep 0.02; done'";
        let stepdown = Stepdown::in_mode(mode).dir(dir.path()).args([
            "--pre-stop",
            hook,
            "--hook-timeout",
            "1h",
        ]);
        let mut run = counts(stepdown, "$t$i = 11").start();
        run.says("ready").signal(Signal::SIGTERM).says("hook");
        run.asks_again().logs("once the ladder begins");
        std::fs::write(dir.path().join("go"), "").expect("a directory of our own");
        run.wait()
            .code(5)
            .said("int 1")
            .said("term 1")
            .logged(&["pre-stop hook", "done"]);
    });
}

#[test]
fn kill_by_hand_takes_three_requests() {
    both(|mode| {
        for first in [Signal::SIGINT, Signal::SIGTERM] {
            let mut run = Stepdown::in_mode(mode)
                .args(["--grace", "1h"])
                .witness(["listen"])
                .start();
            run.says("ready").signal(first).logs("step 1 of 2");
            if first == Signal::SIGTERM {
                run.says("got 15").asks_again();
            }
            run.says_times("got 2", 1)
                .asks_again()
                .says_times("got 2", 2);
            run.logs("takes the next step");
            assert!(!run.stderr_has("KILL"));
            run.asks_again();
            let ended = run.wait();
            ended.code(137).logged(&["not waiting any longer"]);
            assert_eq!(ended.stdout.matches("got 2").count(), 2);
        }
    });
}

#[test]
fn a_ladder_keeps_no_stop_signal_from_the_child_that_it_has_not_had() {
    both(|mode| {
        for ladder in ["SAME:1h", "INT:1h", "exec=true:1h", "INT:1h,TERM:1h"] {
            let mut run = Stepdown::in_mode(mode)
                .args(["--ladder", ladder])
                .shell("trap '' INT; trap 'echo saved; exit 5' TERM; echo ready; while :; do sleep 0.02; done")
                .start();
            run.says("ready").asks_again().logs("step 1 of ");
            run.signal(Signal::SIGTERM);
            let ended = run.wait();
            ended
                .code(5)
                .said("saved")
                .logged(&["TERM from ", "passed on to the child"])
                .never_logged("step 2");
        }
    });
}

#[test]
fn a_stop_signal_that_the_ladder_has_sent_is_not_passed_on() {
    both(|mode| {
        let stepdown = Stepdown::in_mode(mode).args(["-v", "--ladder", "TERM:1h"]);
        let mut run = counts(stepdown, "$t$i = 11").start();
        run.says("ready").asks_again().says("term 1");
        run.signal(Signal::SIGTERM).logs("TERM not forwarded");
        run.asks_again();
        run.wait().code(5).said("int 1").never_said("term 2");
    });
}

#[test]
fn the_stop_signal_option_stands_for_every_request() {
    // QUIT lets nginx finish what it has begun; TERM and INT would cut it.
    both(|mode| {
        let mut run = Stepdown::in_mode(mode)
            .args(["--stop-signal=QUIT"])
            .witness(["listen", "10:5"])
            .start();
        run.says("ready").asks_again().says("got 3");
        run.signal(Signal::SIGTERM)
            .logs("QUIT is sent in its place");
        run.signal(Signal::SIGHUP).says("got 1");
        run.signal(Signal::SIGUSR1);
        run.wait().code(5).never_said("got 2").never_said("got 15");
    });
}

#[test]
fn the_first_int_does_not_cut_a_post_stop_hook_after_the_childs_own_end() {
    both(|mode| {
        let dir = tempfile::tempdir().expect("a directory");
        let hook = "sh -c 'echo hook; while ! [ -e go ]; do sleep 0.02; done; echo whole'";
        let start = || {
            let _ = std::fs::remove_file(dir.path().join("go"));
            let mut run = Stepdown::in_mode(mode)
                .dir(dir.path())
                .args(["--post-stop", hook, "--hook-timeout", "1h"])
                .child(["false"])
                .start();
            run.says("hook").asks_again();
            run
        };
        let run = start();
        std::fs::write(dir.path().join("go"), "").expect("a directory of our own");
        run.wait().code(1).said("whole");
        // The second one does.
        let mut run = start();
        run.asks_again();
        run.wait().code(1).never_said("whole");
    });
}

#[test]
fn how_long_a_step_waits_is_left_to_the_platform_by_pid_1_alone() {
    both(|mode| {
        let mut run = Stepdown::in_mode(mode).witness(["listen", "15:5"]).start();
        run.says("ready").signal(Signal::SIGTERM);
        run.wait().code(5).logged(&[match mode {
            Mode::Pid1 => "TERM to the child, waiting until it has ended",
            Mode::Ordinary => "TERM to the child, waiting up to 30.0 s",
        }]);
        let mut run = Stepdown::in_mode(mode)
            .args(["--grace", "7s"])
            .witness(["listen", "15:5"])
            .start();
        run.says("ready").signal(Signal::SIGTERM);
        run.wait().code(5).logged(&["waiting up to 7.0 s"]);
        // No platform asks here, and so none would send KILL.
        let run = Stepdown::in_mode(mode)
            .args(["--max-runtime", "100ms"])
            .witness(["listen", "15:5"])
            .start();
        run.wait().code(124).logged(&["waiting up to 30.0 s"]);
    });
}

#[test]
fn after_eight_seconds_the_log_tells_who_is_still_there_and_why() {
    // All at once, because each takes its eight seconds.
    let ignores = "trap '' TERM; echo ready; while :; do sleep 1000; done";
    let traps = "trap 'exit 5' TERM; echo ready; sleep 1000; exit 6";
    both(|mode| {
        let mut runs = Vec::new();
        for (script, options, why) in [
            (ignores, &[][..], "sh (ignores TERM)"),
            (traps, &[], "a shell, whose trap for TERM runs only once"),
            // Somebody has said how long it may take.
            (ignores, &["--grace=9s"], ""),
            // The stop command is no part of the tree.
            (ignores, &["--ladder=exec='sleep 999':1h,KILL"], "sh, "),
        ] {
            let run = Stepdown::in_mode(mode).args(options).shell(script).start();
            runs.push((run, why));
        }
        for (deeds, why) in [
            ("pause", "(blocks TERM and has not taken it"),
            (
                "take 15 pause",
                "(has taken TERM, by sigwait or a signalfd, and is not done",
            ),
        ] {
            let deeds = format!("block 2 block 15 say ready {deeds}");
            let program = [binary::deeds().as_os_str()].into_iter();
            let run = Stepdown::in_mode(mode)
                .child(program.chain(deeds.split(' ').map(OsStr::new)))
                .start();
            runs.push((run, why));
        }
        for (run, _) in &mut runs {
            run.says("ready").signal(Signal::SIGTERM);
        }
        for (run, why) in &mut runs {
            if !why.is_empty() {
                // When it is told is the machine's (its own tests say 8.0 s): a busy computer adds to it.
                let told = run.logs("still there after ");
                assert!(told.contains(*why), "{told}");
                assert!(told.contains(" sleep") || told.contains(" deeds"), "{told}");
                // Not that of the stop command.
                assert!(
                    *why != "sh, " || told.matches(" sleep").count() == 1,
                    "{told}"
                );
                run.asks_again().asks_again().asks_again();
            }
        }
        for (run, why) in runs {
            let ended = run.wait();
            assert_eq!(
                ended.stderr.matches("still there").count(),
                usize::from(!why.is_empty())
            );
            assert!(!ended.stderr.contains("exited with 6"), "{}", ended.stderr);
        }
    });
}

#[test]
fn status_tells_who_is_still_there_and_why() {
    let (stepdown, port) = health::with_endpoint(Stepdown::new());
    let mut run = stepdown
        .shell("trap '' TERM; echo ready; while :; do sleep 1000; done")
        .start();
    run.says("ready").signal(Signal::SIGTERM);
    run.logs("still there after ");
    let still_there = &health::json(port)["still_there"];
    assert_eq!(still_there[0]["why"], "ignores TERM", "{still_there}");
    assert_eq!(still_there[0]["command"], "sh", "{still_there}");
    run.asks_again().asks_again().asks_again();
    run.wait().nothing_left();
}

#[test]
fn a_child_that_ends_by_a_signal_that_is_no_stop_is_told_about_with_the_way_out() {
    both(|mode| {
        for (signal, name) in [
            (Signal::SIGWINCH as i32, "WINCH"),
            (Signal::SIGUSR1 as i32, "USR1"),
            (Signal::SIGQUIT as i32, "QUIT"),
            (proc::rtmin(3), "RTMIN+3"),
        ] {
            let start = |options: &[&str]| {
                let ends = format!("{signal}:0");
                let mut run = Stepdown::in_mode(mode)
                    .args(["--pre-stop", "echo before"])
                    .args(options)
                    .witness(["listen", &ends])
                    .start();
                run.says("ready").signal_number(signal);
                run.wait()
            };
            let missed = start(&[]);
            missed.code(0).never_said("before");
            missed.logged(&[&format!("{name} was only forwarded"), "--stop-on "]);
            let line = missed
                .stderr
                .lines()
                .find(|line| line.contains("--stop-on "));
            let value = line.and_then(|line| line.rsplit_once("--stop-on "));
            let way_out = ["--stop-on", value.expect("a value").1];
            start(&way_out)
                .code(0)
                .said("before")
                .logged(&["stopping: ", name])
                .never_logged("only forwarded");
            // Where nothing was to be done, nothing was missed.
            let mut run = Stepdown::in_mode(mode)
                .witness(["listen", &format!("{signal}:0")])
                .start();
            run.says("ready").signal_number(signal);
            run.wait().code(0).was_silent();
        }
    });
}

/// An image with STOPSIGNAL SIGWINCH and a program that knows TERM alone.
#[test]
fn a_child_that_ends_by_what_a_signal_was_rewritten_to_is_told_about_as_well() {
    both(|mode| {
        let mut run = Stepdown::in_mode(mode)
            .args(["--rewrite=WINCH:TERM", "--post-stop=true"])
            .shell("echo ready; exec sleep 1000")
            .start();
        run.says("ready").signal(Signal::SIGWINCH);
        let way_out = "WINCH was only forwarded";
        run.wait()
            .code(143)
            .logged(&[way_out, "--stop-on INT,TERM,WINCH"]);
    });
}
