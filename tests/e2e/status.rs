//! The exit status: the child's own, or the one that says what stepdown itself could not do.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::Signal;

use crate::support::skipped::skip_part;
use crate::support::{Mode, Stepdown, binary, both};

#[test]
fn every_exit_code_is_the_childs() {
    for code in 0..=255 {
        Stepdown::new()
            .witness(["exit", &code.to_string()])
            .run()
            .code(code)
            .was_silent();
    }
    if let Err(why) = crate::support::stepdown::can_be_pid1() {
        skip_part(format!("as PID 1: {why}"));
        return;
    }
    for code in [0, 1, 2, 7, 124, 125, 126, 127, 128, 137, 143, 254, 255] {
        Stepdown::as_pid1()
            .witness(["exit", &code.to_string()])
            .run()
            .code(code)
            .was_silent();
    }
}

#[test]
fn death_by_a_signal_is_128_and_its_number() {
    // Those that end nobody: CHLD, CONT, STOP, TSTP, TTIN, TTOU, URG, WINCH.
    let harmless = [17, 18, 19, 20, 21, 22, 23, 28];
    for number in (1..=64).filter(|number| !harmless.contains(number)) {
        Stepdown::new()
            .witness(["die", &number.to_string()])
            .run()
            .code(128 + number)
            .logged(&["child died of"]);
    }
    if let Err(why) = crate::support::stepdown::can_be_pid1() {
        skip_part(format!("as PID 1: {why}"));
        return;
    }
    for number in [1, 9, 11, 15, 32, 33, 34, 64] {
        Stepdown::as_pid1()
            .witness(["die", &number.to_string()])
            .run()
            .code(128 + number)
            .logged(&["child died of"]);
    }
}

#[test]
fn listed_codes_and_signals_become_success() {
    both(|mode| {
        let with = |options: &[&str]| Stepdown::in_mode(mode).args(options);
        for (options, child, code) in [
            (&["-e", "143"][..], ["exit", "143"], 0),
            (&["-e", "143"], ["die", "15"], 0),
            (&["-e", "7,9"], ["exit", "9"], 0),
            (&["-e7", "-e", "9"], ["exit", "7"], 0),
            (&["-e", "7"], ["exit", "8"], 8),
            (&["--success-exit", "TERM"], ["die", "15"], 0),
            // A signal is the death by it, not the number that stands for it.
            (&["--success-exit", "SIGTERM"], ["exit", "143"], 143),
            (&["--success-exit", "3, RTMIN+3"], ["die", "37"], 0),
            (&["--success-exit=3"], ["die", "9"], 137),
            (&["--success-exit", "1"], ["exit", "0"], 0),
        ] {
            with(options).witness(child).run().code(code);
        }
        Stepdown::in_mode(mode)
            .env("STEPDOWN_SUCCESS_EXIT", "3\n4")
            .witness(["exit", "4"])
            .run()
            .code(0);
    });
}

/// Stops a child and says with what stepdown exits.
fn stopped(mode: Mode, options: &[&str], script: &str, signal: Signal) -> Option<i32> {
    let mut run = Stepdown::in_mode(mode).args(options).shell(script).start();
    run.says("ready").signal(signal);
    run.wait().status.code()
}

#[test]
fn a_clean_stop_is_success() {
    both(|mode| {
        let clean = &["--clean-stop", "--grace", "1h"][..];
        let dies = "echo ready; exec sleep 1000";
        let shell = "trap 'exit 143' TERM; echo ready; while :; do sleep 0.02; done";
        assert_eq!(
            stopped(mode, &["--grace", "1h"], dies, Signal::SIGTERM),
            Some(143)
        );
        assert_eq!(stopped(mode, clean, dies, Signal::SIGTERM), Some(0));
        assert_eq!(stopped(mode, clean, dies, Signal::SIGINT), Some(0));
        assert_eq!(stopped(mode, clean, shell, Signal::SIGTERM), Some(0));
        // An answer of its own is told as it is.
        let answers = "trap 'exit 3' TERM; echo ready; while :; do sleep 0.02; done";
        assert_eq!(stopped(mode, clean, answers, Signal::SIGTERM), Some(3));
        // KILL is no clean end.
        let deaf = "trap '' TERM; echo ready; while :; do sleep 1; done";
        let hurried = &["--clean-stop", "--grace", "50ms"];
        assert_eq!(stopped(mode, hurried, deaf, Signal::SIGTERM), Some(137));
        // Nobody asked, so nothing was clean.
        Stepdown::in_mode(mode)
            .args(["--clean-stop"])
            .witness(["die", "15"])
            .run()
            .code(143);
        Stepdown::in_mode(mode)
            .env("STEPDOWN_CLEAN_STOP", "1")
            .args(["--ladder", "HUP:20ms,USR1:1h"])
            .shell("trap '' HUP; echo ready; kill -TERM $PPID; while :; do sleep 0.02; done")
            .run()
            .code(0);
    });
}

#[test]
fn a_run_that_lasts_too_long_is_124() {
    both(|mode| {
        for script in [
            "trap 'exit 3' TERM; while :; do sleep 0.02; done",
            "exec sleep 1000",
        ] {
            Stepdown::in_mode(mode)
                .args(["--max-runtime", "100ms", "--grace", "1h"])
                .shell(script)
                .run()
                .code(124)
                .logged(&["stopping: --max-runtime is over"])
                .nothing_left();
        }
        Stepdown::in_mode(mode)
            .args(["--max-runtime", "50ms", "--grace", "50ms", "-e", "124"])
            .shell("trap '' TERM; while :; do sleep 1; done")
            .run()
            .code(124)
            .nothing_left();
        // One that ends in time is what it is.
        Stepdown::in_mode(mode)
            .args(["--max-runtime=1h"])
            .witness(["exit", "3"])
            .run()
            .code(3)
            .was_silent();
    });
}

/// Asserts that it fails to start with this code and exactly one line, which has these parts.
#[track_caller]
fn fails(stepdown: Stepdown, code: i32, parts: &[&str]) {
    let ended = stepdown.run();
    ended.code(code).logged(parts).nothing_left();
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.told());
    assert!(ended.stderr.starts_with("stepdown: "), "{}", ended.told());
    assert_eq!(ended.stdout, "");
}

#[test]
fn what_cannot_be_started_is_told_in_one_line() {
    both(|mode| {
        let named = |name: &str| Stepdown::in_mode(mode).child([name]);
        fails(
            named("no-such-command"),
            127,
            &["no-such-command: not found"],
        );
        fails(
            named("/no/such/command"),
            127,
            &["/no/such/command: not found"],
        );
        fails(named("./no-such-command"), 127, &["not found"]);
        fails(named(""), 127, &["stepdown: \"\": not found"]);
    });
}

#[test]
fn own_failures_are_125_in_one_line() {
    both(|mode| {
        let with = |options: &[&str]| {
            Stepdown::in_mode(mode)
                .args(options)
                .child(["echo", "hello"])
        };
        fails(
            with(&["--workdir", "/no/such/directory"]),
            125,
            &["--workdir", "/no/such/directory"],
        );
        fails(
            with(&["--grace", "tomorrow"]),
            125,
            &["--grace", "tomorrow"],
        );
        let nothing = Stepdown::in_mode(mode).args(["--grace", "1s"]);
        fails(nothing, 125, &["no command to run"]);
        // In a container the command is usually the image's, and ENTRYPOINT has dropped it.
        let way_out = match mode {
            Mode::Ordinary => "no command to run: stepdown [OPTIONS]",
            Mode::Pid1 => "no command to run: write CMD again",
        };
        fails(Stepdown::in_mode(mode), 125, &[way_out]);
        fails(
            Stepdown::in_mode(mode).args(["--"]),
            125,
            &["no command to run"],
        );
        if nix::unistd::geteuid().is_root() {
            let other = || {
                Stepdown::in_mode(mode).prepared(|| {
                    // SAFETY: numbers only.
                    match unsafe { libc::setuid(12_345) } {
                        0 => Ok(()),
                        _ => Err(std::io::Error::last_os_error()),
                    }
                })
            };
            if mode == Mode::Ordinary && may_be_run_by_others() {
                let start = other().args(["--user", "1"]).child(["echo", "hello"]);
                fails(start, 125, &["--user", "CAP_SETUID"]);
            }
        }
    });
}

/// Whether somebody else may reach the binary at all.
fn may_be_run_by_others() -> bool {
    let path = binary::under_test();
    path.ancestors().skip(1).all(|directory| {
        fs::metadata(directory).is_ok_and(|meta| meta.permissions().mode() & 0o001 != 0)
    })
}

#[test]
fn help_and_version_are_printed_and_succeed() {
    for (option, part) in [
        ("--help", "--ladder"),
        ("-h", "--ladder"),
        ("--license", "MIT"),
        ("--version", "stepdown "),
    ] {
        let ended = Stepdown::new().args([option]).run();
        ended.code(0).was_silent();
        assert!(ended.stdout.contains(part), "{}", ended.told());
        // Printed text that is lost is a failure.
        let full = fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .expect("a device");
        Stepdown::new()
            .args([option])
            .stdout_to(full)
            .run()
            .code(125)
            .logged(&["standard output: No space left on device"]);
    }
}
