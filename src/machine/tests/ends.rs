//! What comes after the child: sweep, post-stop hooks, the last bytes.

use super::*;

#[test]
fn a_normal_exit() {
    Story::of("").exits_on(Cue::Start, 1_000).tells(
        r#"
            0 -> start
            0 started, pid 2
            1000 -> notready
            1000 child exited with 0 after 1.0 s
            1000 exit status 0
            1000 -> exit 0
            "#,
    );
}

#[test]
fn a_crash() {
    let segv = named("SEGV");
    let status = ExitStatus::Killed {
        signal: segv,
        core: true,
    };
    Story::of("--post-stop p")
        .at(1_000, Event::ChildExited(status))
        .with_facts()
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            1000 -> notready
            1000 child died of SEGV (core dumped) after 1.0 s
            1000 -> run the post-stop hook "p" [Some("exit") None None child Some(2) Some("died of SEGV (core dumped)") escalated false left None result Some("core-dump")]
            1000 post-stop hook "p" done (0 s)
            1000 exit status 139
            1000 -> exit 139
            "#,
        );
}

#[test]
fn without_a_request_no_pre_stop_hook_runs() {
    Story::of("--pre-stop a --post-stop p")
        .exits_on(Cue::Start, 1_000)
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            1000 -> notready
            1000 child exited with 0 after 1.0 s
            1000 -> run the post-stop hook "p"
            1000 post-stop hook "p" done (0 s)
            1000 exit status 0
            1000 -> exit 0
            "#,
        );
}

#[test]
fn what_is_left_gets_term_and_the_grace() {
    Story::of("")
        .exits_on(Cue::Start, 1_000)
        .leaves(Leftover::Term)
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            1000 -> notready
            1000 child exited with 0 after 1.0 s
            1000 -> sweep TERM
            1000 TERM to 1 process left: 3 left behind
            1000 nothing is left (0 s)
            1000 exit status 0
            1000 -> exit 0
            "#,
        );
}

#[test]
fn what_is_left_and_ignores_term_gets_kill() {
    Story::of("--sweep-grace 500ms --post-stop p")
        .exits_on(Cue::Start, 1_000)
        .leaves(Leftover::Kill)
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            1000 -> notready
            1000 child exited with 0 after 1.0 s
            1000 -> sweep TERM
            1000 TERM to 1 process left: 3 left behind
            1500 -> sweep KILL
            1500 KILL to 1 process left: 3 left behind (--sweep-grace is over)
            1500 nothing is left (500 ms)
            1500 -> run the post-stop hook "p"
            1500 post-stop hook "p" done (0 s)
            1500 exit status 0
            1500 -> exit 0
            "#,
        );
}

#[test]
fn what_outlives_kill_is_given_up_after_ten_seconds() {
    let told = Story::of("--sweep-grace 500ms --post-stop p")
        .exits_on(Cue::Start, 1_000)
        .leaves(Leftover::Nothing)
        .told();
    let rounds = told
        .lines()
        .filter(|line| line.ends_with("-> sweep KILL"))
        .count();
    assert!((60..100).contains(&rounds), "{told}");
    let end: Vec<&str> = told.lines().rev().take(6).collect();
    assert_eq!(
        end,
        [
            "11500 -> exit 0",
            "11500 exit status 0",
            "11500 -> sweep KILL",
            "11500 post-stop hook \"p\" done (0 s)",
            "11500 -> run the post-stop hook \"p\"",
            "11500 some processes are still there after 10.5 s",
        ]
    );
}

#[test]
fn after_kill_to_the_tree_there_is_no_second_grace() {
    Story::of("--grace 1s")
        .asked(Signal::TERM)
        .leaves(Leftover::Kill)
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
            1000 child died of KILL on step 2 after 1.0 s
            1000 KILL to 1 process left: 3 left behind
            1000 nothing is left (0 s)
            1000 stopped by KILL in 1.0 s, exit status 137
            1000 -> exit 137
            "#,
        );
}

#[test]
fn after_kill_to_the_child_alone_the_others_are_asked_first() {
    Story::of("--ladder TERM:1s,KILL@child")
        .asked(Signal::TERM)
        .leaves(Leftover::Term)
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
            1000 step 2 of 2: KILL@child to the child
            1000 child died of KILL on step 2 after 1.0 s
            1000 -> sweep TERM
            1000 TERM to 1 process left: 3 left behind
            1000 nothing is left (0 s)
            1000 stopped by KILL in 1.0 s, exit status 137
            1000 -> exit 137
            "#,
        );
}

#[test]
fn what_is_left_may_stay() {
    Story::of("--left leave --post-stop p")
        .exits_on(Cue::Start, 1_000)
        .leaves(Leftover::Term)
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            1000 -> notready
            1000 child exited with 0 after 1.0 s
            1000 -> run the post-stop hook "p"
            1000 post-stop hook "p" done (0 s)
            1000 exit status 0
            1000 -> exit 0
            "#,
        );
}

#[test]
fn what_is_left_may_be_waited_for_whatever_the_deadline_is() {
    Story::of("--left wait --deadline 5s --post-stop p --sweep-grace 1s")
        .exits_on(Cue::Start, 1_000)
        .leaves(Leftover::Term)
        .with_facts()
        .at(2_000, signal(named("USR1")))
        .at(90_000, signal(Signal::TERM))
        .at(90_000, signal(Signal::TERM))
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            1000 -> notready
            1000 child exited with 0 after 1.0 s
            2000 USR1 not forwarded: the child has ended
            90000 stopping: TERM from pid 9
            90000 -> sweep TERM
            90000 TERM not forwarded: a stop is under way
            90000 TERM to 1 process left: 3 left behind
            90000 nothing is left (0 s)
            90000 -> run the post-stop hook "p" [Some("signal") Some(TERM) Some(Pid(9)) child Some(2) Some("exited with 0") escalated false left Some(4875) result Some("success")]
            90000 post-stop hook "p" done (0 s)
            90000 stopped in 0 s, exit status 0
            90000 -> exit 0
            "#,
        );
}

#[test]
fn a_wait_for_what_is_left_ends_with_the_last_of_them() {
    let mut story = Story::of("--left wait --deadline 5s --post-stop p")
        .exits_on(Cue::Start, 1_000)
        .with_facts()
        .leaves(Leftover::Nothing)
        .at(60_000, Event::NoneLeft);
    story.script.hooks_take = HANGS;
    story.tells(
            r#"
            0 -> start
            0 started, pid 2
            1000 -> notready
            1000 child exited with 0 after 1.0 s
            60000 -> run the post-stop hook "p" [Some("exit") None None child Some(2) Some("exited with 0") escalated false left Some(4875) result Some("success")]
            64875 -> kill the post-stop hook "p"
            64875 post-stop hook "p" killed: its time was over (4.9 s)
            64875 -> sweep KILL
            64880 some processes are still there after 5 ms
            64880 exit status 0
            64880 -> exit 0
            "#,
        );
}

#[test]
fn a_wait_for_what_is_left_is_part_of_the_max_runtime() {
    Story::of("--left wait --max-runtime 9s --sweep-grace 1s")
        .exits_on(Cue::Start, 1_000)
        .leaves(Leftover::Term)
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            1000 -> notready
            1000 child exited with 0 after 1.0 s
            9000 stopping: --max-runtime is over
            9000 -> sweep TERM
            9000 TERM to 1 process left: 3 left behind
            9000 nothing is left (0 s)
            9000 stopped in 0 s, exit status 124
            9000 -> exit 124
            "#,
        );
}

#[test]
fn the_parents_death_does_not_restart_a_sweep() {
    Story::of("--parent-death-signal TERM --sweep-grace 1s")
        .exits_on(Cue::Start, 1_000)
        .leaves(Leftover::Kill)
        .at(1_500, Event::ParentDied)
        .at(1_600, signal(Signal::INT))
        .at(1_700, signal(Signal::INT))
        .at(1_800, signal(Signal::INT))
        .at(1_801, Event::ParentDied)
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            1000 -> notready
            1000 child exited with 0 after 1.0 s
            1000 -> sweep TERM
            1000 TERM to 1 process left: 3 left behind
            1600 INT from pid 9: another one makes the stop faster
            1700 INT from pid 9: another one makes the stop faster
            1800 INT from pid 9: not waiting any longer
            1800 -> sweep KILL
            1800 KILL to 1 process left: 3 left behind
            1800 nothing is left (800 ms)
            1800 exit status 0
            1800 -> exit 0
            "#,
        );
}

#[test]
fn a_stop_that_was_asked_for_waits_for_nothing_that_is_left() {
    Story::of("--left wait --sweep-grace 1s")
        .asked(Signal::TERM)
        .exits_on(Cue::Signal(Signal::TERM), 0)
        .leaves(Leftover::Kill)
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 -> term to the child
            0 stopping: TERM from outside the container
            0 step 1 of 2: TERM to the child, waiting up to 30.0 s
            0 -> cont to the child
            0 child exited with 0 on step 1 after 0 s
            0 -> sweep TERM
            0 TERM to 1 process left: 3 left behind
            1000 -> sweep KILL
            1000 KILL to 1 process left: 3 left behind (--sweep-grace is over)
            1000 nothing is left (1.0 s)
            1000 stopped in 1.0 s, exit status 0
            1000 -> exit 0
            "#,
        );
}

#[test]
fn somebody_new_in_the_sweep_brings_the_next_round_soon() {
    let born = || Event::Swept {
        signal: Signal::KILL,
        processes: vec![Process::new(4, "born meanwhile")],
    };
    Story::of("--sweep-grace 0")
        .exits_on(Cue::Start, 0)
        .leaves(Leftover::Nothing)
        .at(30, born())
        .at(50, Event::NoneLeft)
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 child exited with 0 after 0 s
            0 -> sweep TERM
            0 TERM to 1 process left: 3 left behind
            0 -> sweep KILL
            5 -> sweep KILL
            15 -> sweep KILL
            30 -> sweep STOP
            30 KILL to 1 process left: 4 born meanwhile (--sweep-grace is over)
            30 -> sweep KILL
            35 -> sweep KILL
            45 -> sweep KILL
            50 nothing is left (50 ms)
            50 exit status 0
            50 -> exit 0
            "#,
        );
}

#[test]
fn what_a_post_stop_hook_leaves_is_killed() {
    // The simulated hooks leave nobody: it is told that somebody is left, and then that nobody is.
    let mut machine = Machine::new(Rc::new(plan("--post-stop p")));
    let hook = HookId {
        phase: HookPhase::PostStop,
        index: 0,
    };
    let mut told = Vec::new();
    for (at, event) in [
        (0, Event::Started { pid: 2 }),
        (10, Event::ChildExited(ExitStatus::Exited(0))),
        (10, Event::NoneLeft),
        (
            20,
            Event::HookEnded {
                hook,
                result: done(),
            },
        ),
        (20, Event::Deadline),
        (25, Event::Deadline),
        (30, Event::NoneLeft),
    ] {
        machine.handle(ms(at), event);
        while let Some(action) = machine.poll() {
            match action {
                Action::Sweep(signal) => told.push(format!("{at} {signal}")),
                Action::Finish(_) => told.push(format!("{at} finish")),
                _ => {}
            }
        }
    }
    assert_eq!(told.join(", "), "20 KILL, 25 KILL, 30 finish");
}

#[test]
fn bytes_on_their_way_have_two_seconds_or_until_somebody_is_in_a_hurry() {
    let flushing = || {
        let mut machine = Machine::new(Rc::new(plan("--drain-port 80")));
        machine.handle(ms(0), Event::Started { pid: 2 });
        machine.handle(ms(10), Event::ChildExited(ExitStatus::Exited(0)));
        machine.handle(ms(10), Event::NoneLeft);
        assert_eq!(machine.deadline(), Some(ms(2_010)));
        machine
    };
    let mut machine = flushing();
    machine.handle(ms(500), Event::Flushed);
    assert_eq!(machine.phase, Phase::Ended);
    let mut machine = flushing();
    machine.handle(ms(500), signal(Signal::INT));
    assert_eq!(machine.phase, Phase::Flush);
    machine.handle(ms(600), signal(Signal::INT));
    assert_eq!(machine.phase, Phase::Ended);
    let mut machine = flushing();
    machine.handle(ms(2_009), Event::Deadline);
    assert_eq!(machine.phase, Phase::Flush);
    machine.handle(ms(2_010), Event::Deadline);
    assert_eq!(machine.phase, Phase::Ended);
    // A client that takes some has two seconds more, and all of them no more than a drain.
    let mut machine = flushing();
    for taken in (1_000..=29_000).step_by(1_000) {
        machine.handle(ms(taken), Event::Flushing);
        assert_eq!(machine.deadline(), Some(ms((taken + 2_000).min(30_010))));
    }
}

#[test]
fn a_request_just_when_the_child_has_ended_ends_the_wait_for_what_is_left() {
    Story::of("--left wait --sweep-grace 1s")
        .leaves(Leftover::Term)
        .at(100, Event::ChildExited(ExitStatus::Exited(0)))
        .at(100, signal(Signal::TERM))
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            100 -> notready
            100 child exited with 0 after 100 ms
            100 stopping: TERM from pid 9
            100 -> sweep TERM
            100 TERM to 1 process left: 3 left behind
            100 nothing is left (0 s)
            100 stopped in 0 s, exit status 0
            100 -> exit 0
            "#,
        );
}
