//! Signals in each phase: forwarded, rewritten, kept, from the terminal.

use super::*;

#[test]
fn a_child_that_ends_by_a_forwarded_signal_has_missed_its_stop_sequence() {
    let after = |options: &str, millis: u64, status| {
        let told = Story::of(options)
            .at(1_000, signal(named("WINCH")))
            .at(1_000 + millis, Event::ChildExited(status))
            .told();
        told.contains("--stop-on INT,TERM,WINCH")
    };
    let winch = named("WINCH");
    let killed = |signal| ExitStatus::Killed {
        signal,
        core: false,
    };
    for options in [
        "--pre-stop a",
        "--drain-port 80",
        "--health-listen :90",
        "--report f",
    ] {
        assert!(after(options, 9_000, ExitStatus::Exited(0)), "{options}");
    }
    assert!(after("--post-stop a", 100, killed(winch)));
    assert!(after("--post-stop a", 100, ExitStatus::Exited(156)));
    // As under the name of tini: nothing is to ask for a stop.
    assert!(!after("--report f --stop-on ''", 100, killed(winch)));
    // It has other reasons; it has taken its time; there is nothing to miss.
    assert!(!after("--pre-stop a", 100, ExitStatus::Exited(1)));
    assert!(!after("--pre-stop a", 100, killed(named("SEGV"))));
    assert!(!after("--pre-stop a", 11_000, ExitStatus::Exited(0)));
    assert!(!after("--grace 1s", 100, ExitStatus::Exited(0)));
}

#[test]
fn other_signals_are_forwarded_in_every_phase_of_the_childs_life() {
    Story::of("--pre-start a --pre-stop b --post-stop c --grace 1s --target group")
        .drain(500, 500)
        .asked(Signal::TERM)
        .hook(HookPhase::PreStart, 0, 100, done())
        .hook(HookPhase::PreStop, 0, 100, done())
        .hook(HookPhase::PostStop, 0, 100, done())
        .at(50, signal(named("USR1")))
        .at(150, signal(named("USR1")))
        .at(300, signal(named("USR1")))
        .at(800, signal(named("USR1")))
        .at(1_750, signal(named("USR1")))
        .tells(
            r#"
            0 -> run the pre-start hook "a"
            100 pre-start hook "a" done (100 ms)
            100 -> start
            100 started, pid 2
            100 -> usr1 to the group
            100 USR1 forwarded to the group
            100 -> notready
            100 stopping: TERM from outside the container
            100 -> run the pre-stop hook "b"
            150 -> usr1 to the group
            150 USR1 forwarded to the group
            200 pre-stop hook "b" done (100 ms)
            200 -> startdrain
            200 drain: waiting 500 ms, load balancers do not know yet (--drain-delay)
            300 -> usr1 to the group
            300 USR1 forwarded to the group
            700 -> enddrain
            700 -> term to the group
            700 drain ended by its timeout after 500 ms
            700 step 1 of 2: TERM to the group, waiting up to 1.0 s
            700 -> cont to the group
            800 -> usr1 to the group
            800 USR1 forwarded to the group
            1700 -> kill to the tree
            1700 step 2 of 2: KILL to the tree
            1700 child died of KILL on step 2 after 1.6 s
            1700 -> run the post-stop hook "c"
            1750 USR1 not forwarded: the child has ended
            1800 post-stop hook "c" done (100 ms)
            1800 stopped by KILL in 1.7 s, exit status 137
            1800 -> exit 137
            "#,
        );
}

#[test]
fn rewrite_changes_what_is_forwarded_and_what_same_is() {
    Story::of("--rewrite TERM:QUIT --rewrite HUP:USR2 --rewrite WINCH:0")
        .at(10, signal(Signal::HUP))
        .at(20, signal(named("WINCH")))
        .at(30, signal(Signal::TERM))
        .exits_on(Cue::Signal(Signal::QUIT), 5)
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            10 -> usr2 to the child
            10 HUP forwarded as USR2 to the child
            20 WINCH not forwarded: rewritten to 0
            30 -> notready
            30 -> quit to the child
            30 stopping: TERM from pid 9
            30 step 1 of 2: QUIT to the child, waiting up to 30.0 s
            30 -> cont to the child
            35 child exited with 0 on step 1 after 5 ms
            35 stopped in 5 ms, exit status 0
            35 -> exit 0
            "#,
        );
}

#[test]
fn a_stop_signal_that_is_dropped_stops_nothing() {
    Story::of("--rewrite TERM:0 --max-runtime 1s --grace 1s")
        .asked(Signal::TERM)
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 TERM not forwarded: rewritten to 0
            1000 -> notready
            1000 -> term to the child
            1000 stopping: --max-runtime is over
            1000 step 1 of 2: TERM to the child, waiting up to 1.0 s
            1000 -> cont to the child
            2000 -> kill to the tree
            2000 step 2 of 2: KILL to the tree
            2000 child died of KILL on step 2 after 1.0 s
            2000 stopped by KILL in 1.0 s, exit status 124
            2000 -> exit 124
            "#,
        );
}

#[test]
fn what_the_terminal_sent_is_not_sent_twice() {
    Story::of("--grace 5s")
        .at(10, typed(named("WINCH")))
        .at(20, typed(Signal::INT))
        .at(30, typed(Signal::INT))
        .at(40, typed(Signal::INT))
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            10 WINCH not forwarded: the child has got it as well
            20 -> notready
            20 stopping: INT from the terminal or the kernel
            20 step 1 of 2: INT to the child, sent by the terminal already, waiting up to 5.0 s
            20 -> cont to the child
            30 INT from the terminal or the kernel: another one takes the next step
            40 -> kill to the tree
            40 INT from the terminal or the kernel: not waiting any longer
            40 step 2 of 2: KILL to the tree
            40 child died of KILL on step 2 after 20 ms
            40 stopped by KILL in 20 ms, exit status 137
            40 -> exit 137
            "#,
        );
}

#[test]
fn what_the_terminal_sent_goes_on_to_those_whom_it_has_not_reached() {
    let sent = |target: &str| {
        let options = format!("--target {target} --stop-on INT --ladder INT:5s,KILL");
        let mut machine = Machine::new(Rc::new(plan(&options)));
        machine.handle(ms(0), Event::Started { pid: 2 });
        machine.handle(ms(1), typed(named("WINCH")));
        machine.handle(ms(2), typed(Signal::INT));
        let mut sent = Vec::new();
        while let Some(action) = machine.poll() {
            match action {
                Action::Send { signal, .. } => sent.push(signal.to_string()),
                Action::SendBeyondGroup(signal) => sent.push(format!("{signal} beyond")),
                Action::Continue(_) => sent.push("CONT".to_owned()),
                _ => {}
            }
        }
        sent.join(" ")
    };
    assert_eq!(sent("child"), "CONT");
    assert_eq!(sent("group"), "CONT");
    assert_eq!(sent("tree"), "WINCH beyond INT beyond CONT");
}

#[test]
fn a_stopped_child_is_left_stopped_only_where_somebody_will_continue_it() {
    let stopped = |signal, shell_waits| Event::ChildStopped {
        signal,
        shell_waits,
    };
    Story::of("--grace 5s")
        .at(10, stopped(named("TSTP"), true))
        .at(20, stopped(named("TTIN"), true))
        .at(30, stopped(named("STOP"), false))
        .at(40, stopped(named("TTIN"), false))
        .at(50, signal(Signal::TERM))
        .at(60, stopped(named("TSTP"), true))
        .at(70, stopped(named("TTOU"), true))
        .at(80, typed(named("TSTP")))
        .exits_on(Cue::Signal(Signal::TERM), 50)
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            10 stopped on the terminal, together with the child
            10 -> suspend by TSTP
            20 stopped on the terminal, together with the child
            20 -> suspend by TTIN
            30 -> cont to the group
            30 child stopped by STOP: continued, as nobody else would
            50 -> notready
            50 -> term to the child
            50 stopping: TERM from pid 9
            50 step 1 of 2: TERM to the child, waiting up to 5.0 s
            50 -> cont to the child
            60 -> cont to the group
            60 child stopped by TSTP: continued, as nobody else would
            80 -> cont to the group
            80 child stopped by TSTP: continued, as nobody else would
            100 child exited with 0 on step 1 after 50 ms
            100 stopped in 50 ms, exit status 0
            100 -> exit 0
            "#,
        );
}

#[test]
fn a_child_that_the_ladder_stops_stays_stopped() {
    Story::of("--ladder STOP:1s,KILL")
        .at(10, signal(Signal::TERM))
        .at(
            20,
            Event::ChildStopped {
                signal: named("STOP"),
                shell_waits: true,
            },
        )
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            10 -> notready
            10 -> stop to the child
            10 stopping: TERM from pid 9
            10 step 1 of 2: STOP:1s to the child, waiting up to 1.0 s
            1010 -> kill to the tree
            1010 step 2 of 2: KILL to the tree
            1010 child died of KILL on step 2 after 1.0 s
            1010 stopped by KILL in 1.0 s, exit status 137
            1010 -> exit 137
            "#,
        );
}

#[test]
fn what_the_terminal_sent_is_sent_as_something_else() {
    Story::of("--rewrite INT:TERM --rewrite HUP:USR1")
        .at(10, typed(Signal::HUP))
        .at(20, typed(Signal::INT))
        .exits_on(Cue::Signal(Signal::TERM), 0)
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            10 -> usr1 to the child
            10 HUP forwarded as USR1 to the child
            20 -> notready
            20 -> term to the child
            20 stopping: INT from the terminal or the kernel
            20 step 1 of 2: TERM to the child, waiting up to 30.0 s
            20 -> cont to the child
            20 child exited with 0 on step 1 after 0 s
            20 stopped in 0 s, exit status 0
            20 -> exit 0
            "#,
        );
}

#[test]
fn int_is_forwarded_where_a_shell_has_set_it_to_be_ignored() {
    let ignored = |signal| {
        Event::Signal(Received {
            signal,
            sender: Sender::Kernel,
            reached_child: false,
            ignored: true,
        })
    };
    Story::of("--pre-start a --grace 1s")
        .hook(HookPhase::PreStart, 0, 100, done())
        .at(50, ignored(Signal::INT))
        .at(200, ignored(Signal::INT))
        .at(300, signal(Signal::TERM))
        .at(400, ignored(Signal::QUIT))
        .tells(
            r#"
            0 -> run the pre-start hook "a"
            100 pre-start hook "a" done (100 ms)
            100 -> start
            100 started, pid 2
            100 -> int to the child
            100 INT forwarded to the child
            200 -> int to the child
            200 INT forwarded to the child
            300 -> notready
            300 -> term to the child
            300 stopping: TERM from pid 9
            300 step 1 of 2: TERM to the child, waiting up to 1.0 s
            300 -> cont to the child
            400 -> quit to the child
            400 QUIT forwarded to the child
            1300 -> kill to the tree
            1300 step 2 of 2: KILL to the tree
            1300 child died of KILL on step 2 after 1.0 s
            1300 stopped by KILL in 1.0 s, exit status 137
            1300 -> exit 137
            "#,
        );
}

#[test]
fn a_signal_that_is_named_counts_even_if_it_was_ignored_at_the_start() {
    for (options, stops) in [
        ("", false),
        ("--escalate-on QUIT", false),
        ("--stop-on TERM", false),
        ("--stop-on TERM,INT", true),
        ("--stop-on TERM,INT --escalate-on QUIT", true),
    ] {
        let mut machine = Machine::new(Rc::new(plan(options)));
        machine.handle(ms(0), Event::Started { pid: 2 });
        let ignored = Event::Signal(Received {
            signal: Signal::INT,
            sender: Sender::Kernel,
            reached_child: false,
            ignored: true,
        });
        machine.handle(ms(1), ignored);
        assert_eq!(machine.comes_down(), stops, "{options}");
    }
}

#[test]
fn no_option_is_proposed_for_a_signal_that_was_ignored_at_the_start() {
    let ignored = Event::Signal(Received {
        signal: Signal::INT,
        sender: Sender::Kernel,
        reached_child: false,
        ignored: true,
    });
    Story::of("--post-stop a")
        .at(200, ignored)
        .at(300, Event::ChildExited(ExitStatus::Exited(0)))
        .hook(HookPhase::PostStop, 0, 100, done())
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            200 -> int to the child
            200 INT forwarded to the child
            300 -> notready
            300 child exited with 0 after 300 ms
            300 -> run the post-stop hook "a"
            400 post-stop hook "a" done (100 ms)
            400 exit status 0
            400 -> exit 0
            "#,
        );
}
