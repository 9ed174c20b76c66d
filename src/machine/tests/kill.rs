//! KILL: who gets it, how long it is given, and what happens without it.

use super::*;

#[test]
fn a_child_that_ends_of_something_else_when_it_gets_kill_has_not_needed_it() {
    let killed = |signal| ExitStatus::Killed {
        signal,
        core: false,
    };
    for (status, code, needed) in [
        (killed(Signal::TERM), 143, false),
        (ExitStatus::Exited(0), 0, false),
        (killed(Signal::KILL), 137, true),
        // A wrapper says so of its program.
        (ExitStatus::Exited(137), 137, true),
    ] {
        let mut machine = Machine::new(Rc::new(plan("--grace 0 --post-stop p")));
        machine.handle(ms(0), Event::Started { pid: 2 });
        machine.handle(ms(5), signal(Signal::TERM));
        machine.handle(ms(5), Event::Deadline);
        assert!(machine.facts(ms(5), "stop").escalated);
        machine.handle(ms(6), Event::ChildExited(status));
        let outcome = machine.outcome(ms(6));
        assert_eq!((outcome.code, outcome.escalated), (code, needed));
        let facts = machine.facts(ms(6), HookPhase::PostStop.name());
        assert_eq!(facts.escalated, needed);
        assert_eq!(facts.result == Some("timeout"), needed);
    }
}

#[test]
fn without_kill_the_last_step_waits_for_the_child() {
    Story::of("--no-kill --ladder TERM:1s,INT:1s --post-stop p")
        .asked(Signal::TERM)
        .at(3_000, signal(Signal::INT))
        .at(3_100, signal(Signal::INT))
        .at(3_200, signal(Signal::INT))
        .at(60_000, Event::ChildExited(ExitStatus::Exited(0)))
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 -> term to the child
            0 stopping: TERM from outside the container
            0 step 1 of 2: TERM:1s to the child, waiting up to 1.0 s
            0 -> cont to the child
            1000 -> int to the child
            1000 step 2 of 2: INT:1s to the child, waiting until it has ended
            1000 -> cont to the child
            3000 INT from pid 9: another one makes the stop faster
            3100 -> int to the child
            3100 -> cont to the child
            3100 INT from pid 9: passed on to the child
            3200 INT not forwarded: there is no next step to take
            8000 -> lookwhoisthere { signal: some(int), target: child }
            60000 child exited with 0 on step 2 after 60.0 s
            60000 -> run the post-stop hook "p"
            60000 post-stop hook "p" done (0 s)
            60000 stopped in 60.0 s, exit status 0
            60000 -> exit 0
            "#,
        );
}

#[test]
fn without_kill_the_deadline_leaves_the_child_alone() {
    Story::of("--no-kill --ladder TERM:1s,INT:20s --deadline 10s --post-stop p --post-stop q")
        .asked(Signal::TERM)
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 -> term to the child
            0 stopping: TERM from outside the container
            0 step 1 of 2: TERM:1s to the child, waiting up to 1.0 s
            0 -> cont to the child
            1000 -> int to the child
            1000 step 2 of 2: INT:20s to the child, waiting up to 3.5 s
            1000 -> cont to the child
            4500 child 2 is still there, ending without it
            4500 -> run the post-stop hook "q"
            4500 post-stop hook "q" done (0 s)
            4500 -> run the post-stop hook "p"
            4500 post-stop hook "p" done (0 s)
            4500 stopped in 4.5 s, exit status 137
            4500 -> exit 137
            "#,
        );
}

#[test]
fn a_child_that_outlives_kill_is_left_and_the_others_are_not() {
    Story::of("--ladder TERM:1s,KILL@child:2s --post-stop p")
        .asked(Signal::TERM)
        .immortal()
        .leaves(Leftover::Kill)
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 -> term to the child
            0 stopping: TERM from outside the container
            0 step 1 of 2: TERM:1s to the child, waiting up to 1.0 s
            0 -> cont to the child
            1000 -> kill to the child
            1000 step 2 of 2: KILL@child:2s to the child
            3000 child 2 is still there, ending without it
            3000 -> sweep KILL
            3000 -> run the post-stop hook "p"
            3000 KILL to 1 process left: 3 left behind
            3000 post-stop hook "p" done (0 s)
            3000 -> sweep KILL
            3000 stopped by KILL in 3.0 s, exit status 137
            3000 -> exit 137
            "#,
        );
}

#[test]
fn kill_is_given_ten_seconds() {
    Story::of("--grace 1s")
        .asked(Signal::TERM)
        .immortal()
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 -> term to the child
            0 stopping: TERM from outside the container
            0 step 1 of 2: TERM to the child, waiting up to 1.0 s
            0 -> cont to the child
            1000 -> kill to the tree
            1000 step 2 of 2: KILL to the tree
            11000 child 2 is still there, ending without it
            11000 -> sweep KILL
            11000 stopped by KILL in 11.0 s, exit status 137
            11000 -> exit 137
            "#,
        );
}

#[test]
fn a_child_that_dies_while_the_post_stop_hooks_run_is_heard_of() {
    Story::of("--ladder TERM:1s,KILL:1s --post-stop p")
        .asked(Signal::TERM)
        .immortal()
        .hook(HookPhase::PostStop, 0, 500, done())
        .at(2_200, Event::ChildExited(killed()))
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 -> term to the child
            0 stopping: TERM from outside the container
            0 step 1 of 2: TERM:1s to the child, waiting up to 1.0 s
            0 -> cont to the child
            1000 -> kill to the tree
            1000 step 2 of 2: KILL:1s to the tree
            2000 child 2 is still there, ending without it
            2000 -> sweep KILL
            2000 -> run the post-stop hook "p"
            2200 child died of KILL after 2.2 s
            2500 post-stop hook "p" done (500 ms)
            2500 stopped by KILL in 2.5 s, exit status 137
            2500 -> exit 137
            "#,
        );
}

#[test]
fn the_child_may_ask_for_more_time_but_kill_is_not_bargained_with() {
    Story::of("--ladder TERM:2s,KILL:1s")
        .asked(Signal::TERM)
        .immortal()
        .at(1_000, Event::Extend(ms(5_000)))
        .at(2_000, Event::Extend(ms(1_000)))
        .at(6_100, Event::Extend(ms(9_000)))
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 -> term to the child
            0 stopping: TERM from outside the container
            0 step 1 of 2: TERM:2s to the child, waiting up to 2.0 s
            0 -> cont to the child
            1000 the child asks for more time: it has 5.0 s
            2000 the child asks for more time: it has 4.0 s
            6000 -> kill to the tree
            6000 step 2 of 2: KILL:1s to the tree
            7000 child 2 is still there, ending without it
            7000 -> sweep KILL
            7000 stopped by KILL in 7.0 s, exit status 137
            7000 -> exit 137
            "#,
        );
}

#[test]
fn more_time_never_passes_the_deadline() {
    Story::of("--ladder TERM:2s --deadline 5s")
        .asked(Signal::TERM)
        .at(1_000, Event::Extend(ms(u64::MAX)))
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 -> term to the child
            0 stopping: TERM from outside the container
            0 step 1 of 2: TERM:2s to the child, waiting up to 2.0 s
            0 -> cont to the child
            1000 the child asks for more time: it has 3.8 s
            4750 -> kill to the tree
            4750 step 2 of 2: KILL to the tree
            4750 child died of KILL on step 2 after 4.8 s
            4750 stopped by KILL in 4.8 s, exit status 137
            4750 -> exit 137
            "#,
        );
}

#[test]
fn a_frozen_container_does_not_thaw_straight_into_kill() {
    let mut machine = Machine::new(Rc::new(plan("--ladder TERM:1s,INT:1s")));
    let mut told = Vec::new();
    let events = [
        (0, Event::Started { pid: 2 }),
        (0, signal(Signal::TERM)),
        // Frozen here for an hour.
        (3_600_000, Event::Deadline),
        (3_600_000, Event::Deadline),
        (3_600_999, Event::Deadline),
        (3_601_000, Event::Deadline),
    ];
    for (at, event) in events {
        machine.handle(ms(at), event);
        while let Some(action) = machine.poll() {
            match action {
                Action::Send { signal, .. } => told.push(format!("{at} {signal}")),
                Action::Continue(_) => told.push(format!("{at} CONT")),
                _ => {}
            }
        }
    }
    assert_eq!(
        told.join(", "),
        "0 TERM, 0 CONT, 3600000 INT, 3600000 CONT, 3601000 KILL"
    );
}

fn killed() -> ExitStatus {
    ExitStatus::Killed {
        signal: Signal::KILL,
        core: false,
    }
}

/// A machine whose child has left somebody, who has got KILL at `killed`.
fn killing(options: &str, killed: Duration) -> Machine {
    let mut machine = Machine::new(Rc::new(plan(options)));
    machine.handle(ms(0), Event::Started { pid: 2 });
    machine.handle(ms(0), Event::ChildExited(ExitStatus::Exited(0)));
    machine.handle(ms(0), Event::Deadline);
    machine.handle(killed, Event::Deadline);
    while machine.poll().is_some() {}
    machine
}

#[test]
fn what_was_started_while_time_went_by_gets_kill_before_it_is_given_up() {
    let mut machine = killing("--sweep-grace 2s", ms(2_000));
    machine.handle(ms(60_000), Event::Deadline);
    assert_eq!(machine.poll(), Some(Action::Sweep(Signal::KILL)));
    let told = machine.poll();
    let Some(Action::Record(Record::SweepEnded { left: true, .. })) = told else {
        panic!("{told:?}");
    };
}

#[test]
fn what_hooks_have_started_meanwhile_gets_kill_before_it_is_given_up() {
    let mut machine = killing("--sweep-grace 2s --post-stop p", ms(2_000));
    machine.handle(ms(2_000), Event::NoneLeft);
    let hook = HookId {
        phase: HookPhase::PostStop,
        index: 0,
    };
    let result = done();
    machine.handle(ms(2_000), Event::HookEnded { hook, result });
    machine.handle(ms(2_000), Event::Deadline);
    while machine.poll().is_some() {}
    machine.handle(ms(60_000), Event::Deadline);
    assert_eq!(machine.poll(), Some(Action::Sweep(Signal::KILL)));
}

/// What is done until it waits, and the rest of the world is that these processes got KILL, round by round.
fn last_looks(machine: &mut Machine, now: Duration, mut found: Vec<i32>) -> (usize, bool) {
    let (mut looks, mut told) = (0, false);
    for _ in 0..1_000 {
        match machine.poll() {
            Some(Action::Sweep(Signal::KILL)) => {
                looks += 1;
                let processes = found.pop().map(|pid| Process::new(pid, "new"));
                let (signal, processes) = (Signal::KILL, processes.into_iter().collect());
                machine.handle(now, Event::Swept { signal, processes });
            }
            Some(Action::Sweep(signal)) => {
                let processes = Vec::new();
                machine.handle(now, Event::Swept { signal, processes });
            }
            Some(Action::Record(Record::SweepEnded { left, .. })) => told = left,
            Some(Action::Finish(_)) => return (looks, told),
            Some(_) => {}
            None => {
                let due = machine.deadline().unwrap().max(now);
                machine.handle(due, Event::Deadline);
            }
        }
    }
    panic!("it looks for ever");
}

#[test]
fn who_is_forked_in_the_moment_of_the_last_kill_gets_it_too() {
    let asked = || killing("--deadline 10s --sweep-grace 1s", ms(1_000));
    let mut machine = asked();
    // The deadline is near, and time has gone by.
    machine.handle(ms(9_800), Event::Deadline);
    let (looks, told) = last_looks(&mut machine, ms(9_800), vec![12, 11]);
    assert!(looks >= 3, "{looks}");
    assert!(told);
}

#[test]
fn the_last_looks_end_however_many_are_forked() {
    let mut machine = killing("--deadline 10s --sweep-grace 1s", ms(1_000));
    machine.handle(ms(20_000), Event::Deadline);
    let (looks, told) = last_looks(&mut machine, ms(20_000), (100..900).collect());
    assert!((3..20).contains(&looks), "{looks}");
    assert!(told);
}

#[test]
fn a_hook_that_used_up_its_time_leaves_nobody() {
    let mut machine = killing("--deadline 10s --hook-timeout 30s --post-stop p", ms(1_000));
    machine.handle(ms(1_000), Event::NoneLeft);
    while machine.poll().is_some() {}
    let due = machine.deadline().unwrap();
    machine.handle(due, Event::Deadline);
    machine.handle(due, Event::Deadline);
    let (looks, told) = last_looks(&mut machine, due, vec![11]);
    assert!(looks >= 2, "{looks}");
    assert!(told);
}
