//! Every signal reaches whom it is for: none lost, none merged, none made up.

use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::signal::Signal;

use crate::support::{Mode, Stepdown, both, proc, wait_until};

/// Signals that can be forwarded: KILL and STOP never arrive, CHLD is about our own children.
fn forwardable() -> impl Iterator<Item = i32> {
    (1..=64).filter(|number| ![libc::SIGKILL, libc::SIGSTOP, libc::SIGCHLD].contains(number))
}

fn got(number: i32) -> String {
    format!("got {number}")
}

/// How often the child was reached by this signal.
fn count(stdout: &str, number: i32) -> usize {
    stdout.lines().filter(|line| *line == got(number)).count()
}

#[test]
fn every_signal_is_forwarded_fault_and_real_time_ones_too() {
    both(|mode| {
        let all = format!("count:{}", forwardable().count());
        let mut run = Stepdown::in_mode(mode)
            .args(["--stop-on", ""])
            .witness(["listen", &all])
            .start();
        run.says("ready");
        for number in forwardable() {
            run.signal_number(number).says(&got(number));
        }
        run.wait().code(0).was_silent();
    });
}

#[test]
fn the_default_stop_signals_stop_and_all_others_are_forwarded() {
    for (signal, code) in [(Signal::SIGTERM, 115), (Signal::SIGINT, 102)] {
        both(|mode| {
            let mut run = Stepdown::in_mode(mode)
                .witness(["listen", "15:115", "2:102"])
                .start();
            run.says("ready").signal(Signal::SIGHUP).says("got 1");
            // A thread dump or a stack trace, to many programs.
            run.signal(Signal::SIGQUIT).says("got 3");
            run.signal(signal);
            run.wait().code(code).logged(&["stopping: "]).nothing_left();
        });
    }
}

#[test]
fn queued_real_time_signals_arrive_as_often_as_they_were_sent() {
    both(|mode| {
        let mut run = Stepdown::in_mode(mode).witness(["listen", "15:0"]).start();
        run.says("ready");
        for value in 0..50 {
            run.sigqueue(proc::rtmin(1), value);
        }
        for _ in 0..7 {
            run.signal_number(33);
        }
        // RTMIN+2 is larger than all of them, so the kernel delivers it last.
        run.signal_number(proc::rtmin(2)).says(&got(proc::rtmin(2)));
        run.signal(Signal::SIGTERM);
        let ended = run.wait();
        assert_eq!(count(&ended.stdout, proc::rtmin(1)), 50);
        assert_eq!(count(&ended.stdout, 33), 7);
    });
}

#[test]
fn signals_keep_the_order_in_which_the_kernel_gives_them() {
    // Sent while we cannot run: what the child sees must be what it would see without us, the
    // lower number first, each real-time signal as often as it was sent.
    let stepdown = Stepdown::new().witness(["listen", "64:0"]);
    let bare = Stepdown::new()
        .program(crate::support::binary::witness())
        .args(["listen", "64:0"]);
    let seen = [stepdown, bare].map(|start| {
        let mut run = start.start();
        run.says("ready");
        run.signal(Signal::SIGSTOP);
        let pid = run.pid();
        wait_until("it is stopped", || {
            proc::process(pid).is_some_and(|process| process.state == 'T')
        });
        for number in [40, 12, 35, 1, 35, 34, 10, 35, 64, 40] {
            run.signal_number(number);
        }
        run.signal(Signal::SIGCONT);
        run.wait().code(0).stdout.replace("got 18\n", "")
    });
    assert_eq!(seen[0], seen[1]);
    assert_eq!(count(&seen[0], 35), 3);
}

#[test]
fn a_forged_child_signal_is_no_message_to_the_child() {
    both(|mode| {
        let mut run = Stepdown::in_mode(mode).witness(["listen", "15:0"]).start();
        run.says("ready");
        run.signal(Signal::SIGCHLD).signal(Signal::SIGWINCH);
        run.says("got 28").signal(Signal::SIGTERM);
        run.wait().code(0).never_said("got 17");
    });
}

#[test]
fn signals_are_rewritten_and_dropped() {
    both(|mode| {
        let mut run = Stepdown::in_mode(mode)
            .args(["-v", "-r", "HUP:USR1", "--rewrite", "12:0,RTMIN+3:33"])
            .args(["--rewrite=TERM:QUIT"])
            .witness(["listen", "3:7"])
            .start();
        run.says("ready").signal(Signal::SIGHUP).says("got 10");
        run.signal(Signal::SIGUSR2);
        run.signal_number(proc::rtmin(3)).says("got 33");
        run.signal(Signal::SIGTERM);
        run.wait()
            .code(7)
            .never_said("got 1")
            .never_said("got 12")
            .never_said("got 15")
            .logged(&["USR2", "not forwarded", "rewritten to 0"])
            .logged(&["HUP forwarded as USR1"])
            .logged(&["QUIT"]);
    });
}

#[test]
fn a_stop_signal_that_is_dropped_stops_nothing() {
    let mut run = Stepdown::new()
        .env("STEPDOWN_REWRITE", "TERM:0\nINT:0")
        .witness(["listen", "10:7"])
        .start();
    run.says("ready").signal(Signal::SIGTERM);
    run.signal(Signal::SIGINT)
        .signal(Signal::SIGHUP)
        .says("got 1");
    run.signal(Signal::SIGUSR1);
    run.wait()
        .code(7)
        .never_said("got 15")
        .never_said("got 2")
        .was_silent();
}

#[test]
fn stop_on_says_which_signals_stop() {
    both(|mode| {
        let mut run = Stepdown::in_mode(mode)
            .args(["--stop-on", "SIGUSR1,rtmin+3"])
            .witness(["listen", "10:7"])
            .start();
        run.says("ready").signal(Signal::SIGTERM).says("got 15");
        run.signal(Signal::SIGUSR1);
        run.wait().code(7).logged(&["stopping: USR1"]);
    });
}

#[test]
fn escalate_on_says_which_signals_mean_faster() {
    both(|mode| {
        let mut run = Stepdown::in_mode(mode)
            .args(["--escalate-on", "USR2", "--ladder", "TERM:1h,HUP:1h"])
            .witness(["listen", "1:7"])
            .start();
        run.says("ready").signal(Signal::SIGTERM).says("got 15");
        // INT is a request to stop and no more; everything else is forwarded in every phase.
        run.signal(Signal::SIGINT)
            .signal(Signal::SIGUSR1)
            .says("got 10");
        run.signal(Signal::SIGUSR2).says("got 12");
        run.signal(Signal::SIGUSR2).says_times("got 12", 2);
        run.signal(Signal::SIGUSR2);
        run.wait()
            .code(7)
            .logged(&["INT from", "passed on to the child"])
            .logged(&["USR2 from", "not waiting any longer"]);
    });
}

#[test]
fn a_repeated_term_changes_nothing() {
    both(|mode| {
        let mut run = Stepdown::in_mode(mode)
            .args(["--grace", "1h", "-v"])
            .witness(["listen", "10:7"])
            .start();
        run.says("ready").signal(Signal::SIGTERM).says("got 15");
        for _ in 0..5 {
            run.signal(Signal::SIGTERM);
            run.signal(Signal::SIGHUP);
        }
        run.says("got 1").signal(Signal::SIGUSR1);
        let ended = run.wait();
        ended.code(7).logged(&["TERM not forwarded"]);
        assert_eq!(count(&ended.stdout, 15), 1);
        assert_eq!(ended.stderr.matches("stopping: ").count(), 1);
    });
}

#[test]
fn the_log_says_who_asked() {
    both(|mode| {
        let mut run = Stepdown::in_mode(mode).witness(["listen", "15:0"]).start();
        run.says("ready").signal(Signal::SIGTERM);
        let who = match mode {
            Mode::Ordinary => format!("from pid {}", std::process::id()),
            Mode::Pid1 => "from outside the container".to_owned(),
        };
        run.wait().code(0).logged(&["stopping: TERM", &who]);
    });
}

#[test]
fn a_signal_from_below_is_forwarded_and_its_sender_named() {
    both(|mode| {
        // The child's own child asks for the stop, as a supervisor that has given up does.
        let mut run = Stepdown::in_mode(mode)
            .shell(
                "trap 'exit 7' TERM; echo ready
                 sh -c 'echo asker $$; kill -TERM $1' - $PPID & while :; do sleep 0.05; done",
            )
            .start();
        let asker = run.says_about("asker ").replace("asker ", "");
        run.wait()
            .code(7)
            .logged(&[&format!("stopping: TERM from pid {asker}")]);
    });
}

#[test]
fn the_sigpipe_of_a_log_line_is_nobodys_message() {
    both(|mode| {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut run = Stepdown::in_mode(mode)
            .args(["-v"])
            .stderr_to(writer)
            .witness(["listen", "15:7"])
            .start();
        run.says("ready");
        for number in [1, 10, 12, 28, 1] {
            run.signal_number(number).says(&got(number));
        }
        run.signal(Signal::SIGTERM);
        let ended = run.wait();
        ended.code(7).never_said("got 13");
        // One for each that was sent: nothing loops.
        assert_eq!(
            ended.stdout.lines().filter(|l| l.contains("got")).count(),
            6
        );
    });
}

#[test]
fn what_was_ignored_at_start_is_no_request_to_stop() {
    // A shell starts background jobs so: a Ctrl-C meant for another program does not end them.
    let mut run = Stepdown::new()
        .ignoring(libc::SIGINT)
        .witness(["listen", "15:7"])
        .start();
    run.says("ready").signal(Signal::SIGINT).says("got 2");
    run.signal(Signal::SIGTERM);
    run.wait().code(7);
}

#[test]
fn what_is_named_asks_for_the_stop_even_if_it_was_ignored_at_start() {
    for (option, signal) in [
        ("--stop-on=TERM,INT", Signal::SIGINT),
        ("--restart-on=QUIT", Signal::SIGQUIT),
    ] {
        let mut run = Stepdown::new()
            .ignoring(signal as i32)
            .args([option, "--stop-signal=TERM", "--grace=1h"])
            .witness(["listen", "15:7"])
            .start();
        run.says("ready").signal(signal);
        if option.starts_with("--restart") {
            run.says_times("ready", 2).signal(Signal::SIGTERM);
        }
        let ended = run.wait();
        ended.code(7).never_said("got 2").never_said("got 3");
    }
}

#[test]
fn signals_for_the_group_and_the_tree() {
    both(|mode| {
        for (target, reached, missed) in [
            (
                "child",
                &["main"][..],
                &["member", "outsider", "orphan"][..],
            ),
            ("group", &["main", "member"], &["outsider", "orphan"]),
            ("tree", &["main", "member", "outsider", "orphan"], &[]),
        ] {
            let mut run = Stepdown::in_mode(mode)
                .args(["--target", target])
                .witness(["family", "15:0"])
                .start();
            run.says("ready").signal(Signal::SIGUSR1);
            for name in reached {
                run.says(&format!("{name} got 10"));
            }
            run.signal(Signal::SIGTERM);
            let ended = run.wait();
            ended.code(0).nothing_left();
            for name in missed {
                ended.never_said(&format!("{name} got 10"));
            }
        }
    });
}

#[test]
fn signals_that_come_before_the_child_are_kept_for_it() {
    both(|mode| {
        let dir = tempfile::tempdir().expect("a directory");
        let mut run = Stepdown::in_mode(mode)
            .args([
                "--hook-timeout",
                "1h",
                "--pre-start",
                "sh -c 'echo starting; while ! [ -e go ]; do sleep 0.02; done'",
            ])
            .dir(dir.path())
            // The child inherits it, so that nothing ends it before it listens.
            .blocking_mask(u64::MAX)
            .witness(["listen", "36:7"])
            .start();
        run.says("starting").signal(Signal::SIGHUP);
        run.sigqueue(proc::rtmin(1), 1).sigqueue(proc::rtmin(1), 2);
        // The hook got none of it: it runs on until it is told.
        std::fs::write(dir.path().join("go"), "").expect("a directory of our own");
        // It ends by a larger number: of those that are pending the kernel delivers that last.
        run.says("got 1").signal_number(proc::rtmin(2));
        let ended = run.wait();
        ended.code(7);
        assert_eq!(count(&ended.stdout, proc::rtmin(1)), 2);
    });
}

#[test]
fn a_term_that_is_pending_at_exec_is_acted_on() {
    // Blocked by whoever started us, so it waits in the kernel from before our first instruction.
    both(|mode| {
        let mut run = Stepdown::in_mode(mode)
            .blocking(Signal::SIGTERM)
            .prepared(move || match mode {
                Mode::Ordinary => nix::sys::signal::raise(Signal::SIGTERM).map_err(Into::into),
                Mode::Pid1 => Ok(()),
            })
            .witness(["listen", "15:7"])
            .start();
        if mode == Mode::Pid1 {
            run.signal(Signal::SIGTERM);
        }
        run.wait().code(7).said("got 15").nothing_left();
    });
}

#[test]
fn no_term_is_lost_at_any_offset_from_the_start() {
    const RUNS: u32 = 201;
    let (mut before_main, mut after) = (0, 0);
    // Where it takes longer to start the last ones wait longer, until one is hit after main has begun.
    for round in (0..RUNS).chain((1..12).map(|power| RUNS << power)) {
        if round > RUNS && after > 0 {
            break;
        }
        let offset = Duration::from_micros(2_400) * round / RUNS;
        let mut run = Stepdown::new()
            .args(["--grace", "1h", "-q"])
            .witness(["listen", "15:7"])
            .start();
        let start = Instant::now();
        while start.elapsed() < offset {
            std::hint::spin_loop();
        }
        let pid = run.pid();
        // All blocked: main has begun, and from here on nothing can be lost to a default action.
        let begun = proc::status(pid, "SigBlk").is_some_and(|mask| mask == "fffffffffffbfeff");
        run.signal(Signal::SIGTERM);
        let ended = run.wait();
        ended.nothing_left();
        match ended.status.code() {
            // Its answer, or its death before it had blocked the signal.
            Some(7 | 143) => after += 1,
            None if !begun => before_main += 1,
            _ => panic!("{} after {offset:?}\n{}", ended.status, ended.told()),
        }
    }
    println!("{before_main} before main, {after} after");
    assert!(after > 0, "no run was hit after main had begun");
}
