//! What comes before the ladder: start, pre-stop hooks, the deadline of a run.

use super::*;

#[test]
fn a_stop_before_the_start_keeps_the_child_from_starting() {
    Story::of("--pre-start slow --post-stop p")
        .hook(HookPhase::PreStart, 0, 5_000, done())
        .at(1_000, signal(Signal::TERM))
        .at(2_000, signal(Signal::TERM))
        .at(3_000, signal(Signal::INT))
        .at(3_500, signal(named("USR1")))
        .tells(
            r#"
            0 -> run the pre-start hook "slow"
            1000 stopping: TERM from pid 9
            1000 nothing will be started; the pre-start hook that is running ends first
            1000 -> no more attempts of the pre-start hook "slow"
            2000 TERM not forwarded: a stop is under way
            3000 INT from pid 9: another one makes the stop faster
            3500 USR1 not forwarded: nothing will be started
            5000 pre-start hook "slow" done (5.0 s)
            5000 -> run the post-stop hook "p"
            5000 post-stop hook "p" done (0 s)
            5000 stopped in 4.0 s, exit status 143
            5000 -> exit 143
            "#,
        );
}

#[test]
fn int_again_ends_a_pre_start_hook_before_which_nothing_will_be_started() {
    Story::of("--pre-start slow --pre-start next --post-stop p --hook-timeout 9s")
        .hook(HookPhase::PreStart, 0, 8_000, done())
        .at(1_000, signal(Signal::INT))
        .at(2_000, signal(Signal::INT))
        .tells(
            r#"
            0 -> run the pre-start hook "slow"
            1000 stopping: INT from pid 9
            1000 nothing will be started; the pre-start hook that is running ends first
            1000 -> no more attempts of the pre-start hook "slow"
            2000 INT from pid 9: not waiting any longer
            2000 -> kill the pre-start hook "slow"
            2000 pre-start hook "slow" killed (2.0 s)
            2000 -> run the post-stop hook "p"
            2000 post-stop hook "p" done (0 s)
            2000 stopped in 1.0 s, exit status 130
            2000 -> exit 130
            "#,
        );
}

#[test]
fn after_a_stop_a_pre_start_hook_has_its_own_time_and_that_of_the_deadline() {
    let told = |options: &str| {
        Story::of(&format!(
            "--pre-start slow --hook-timeout 5s --post-stop p {options}"
        ))
        .hook(HookPhase::PreStart, 0, 50_000, done())
        .at(1_000, signal(Signal::TERM))
        .told()
    };
    let line = "pre-start hook \"slow\" killed: its time was over";
    let told_late = told("");
    assert!(told_late.contains(&format!("5000 {line}")), "{told_late}");
    assert!(told_late.ends_with("exit 143"), "{told_late}");
    let told_soon = told("--deadline 2s");
    assert!(told_soon.contains(&format!("1900 {line}")), "{told_soon}");
}

#[test]
fn a_stop_during_the_start_is_kept_until_exec_is_confirmed() {
    Story::of("--grace 1s")
        .at(0, signal(named("USR1")))
        .at(0, signal(Signal::TERM))
        .at(0, signal(Signal::INT))
        .exits_on(Cue::Signal(Signal::KILL), 0)
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> usr1 to the child
            0 USR1 forwarded to the child
            0 -> notready
            0 -> term to the child
            0 stopping: TERM from pid 9
            0 step 1 of 2: TERM to the child, waiting up to 1.0 s
            0 -> cont to the child
            0 -> int to the child
            0 -> cont to the child
            0 INT from pid 9: passed on to the child
            1000 -> kill to the tree
            1000 step 2 of 2: KILL to the tree
            1000 child died of KILL on step 2 after 1.0 s
            1000 stopped by KILL in 1.0 s, exit status 137
            1000 -> exit 137
            "#,
        );
}

#[test]
fn signals_during_a_pre_start_hook_reach_the_child_later() {
    Story::of("--pre-start a")
        .hook(HookPhase::PreStart, 0, 100, done())
        .at(50, signal(named("USR1")))
        .exits_on(Cue::Signal(named("USR1")), 10)
        .tells(
            r#"
            0 -> run the pre-start hook "a"
            100 pre-start hook "a" done (100 ms)
            100 -> start
            100 started, pid 2
            100 -> usr1 to the child
            100 USR1 forwarded to the child
            110 -> notready
            110 child exited with 0 after 10 ms
            110 exit status 0
            110 -> exit 0
            "#,
        );
}

#[test]
fn a_failing_pre_start_hook_prevents_the_start() {
    Story::of("--pre-start a --pre-start b --post-stop p")
        .hook(HookPhase::PreStart, 0, 10, failed())
        .tells(
            r#"
            0 -> run the pre-start hook "a"
            10 pre-start hook "a" failed: exited with 1 (10 ms)
            10 not started: the pre-start hook "a" failed
            10 -> run the post-stop hook "p"
            10 post-stop hook "p" done (0 s)
            10 exit status 125
            10 -> exit 125
            "#,
        );
}

#[test]
fn a_pre_start_hook_that_hangs_prevents_the_start() {
    Story::of("--pre-start a --hook-timeout 3s")
        .hook(HookPhase::PreStart, 0, 10_000, done())
        .tells(
            r#"
            0 -> run the pre-start hook "a"
            3000 -> kill the pre-start hook "a"
            3000 pre-start hook "a" killed: its time was over (3.0 s)
            3000 not started: the pre-start hook "a" failed
            3000 exit status 125
            3000 -> exit 125
            "#,
        );
}

#[test]
fn a_failed_start_is_told_to_the_post_stop_hooks() {
    Story::of("--post-stop p --clean-stop")
        .start_fails(127)
        .with_facts()
        .tells(
            r#"
            0 -> start
            0 no such program
            0 -> run the post-stop hook "p" [Some("start-failed") None None child None None escalated false left None result Some("resources")]
            0 post-stop hook "p" done (0 s)
            0 exit status 127
            0 -> exit 127
            "#,
        );
}

#[test]
fn the_parents_death_is_a_request_to_stop_in_every_phase() {
    Story::of("--parent-death-signal HUP --grace 1s")
        .at(100, Event::ParentDied)
        .at(200, Event::ParentDied)
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            100 -> notready
            100 -> hup to the child
            100 stopping with HUP: the parent process died
            100 step 1 of 2: HUP to the child, waiting up to 1.0 s
            100 -> cont to the child
            1100 -> kill to the tree
            1100 step 2 of 2: KILL to the tree
            1100 child died of KILL on step 2 after 1.0 s
            1100 stopped by KILL in 1.0 s, exit status 137
            1100 -> exit 137
            "#,
        );
}

#[test]
fn a_parent_that_died_before_the_start_stops_the_child_all_the_same() {
    Story::of("--parent-death-signal HUP --grace 1s")
        .at(0, Event::ParentDied)
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 -> hup to the child
            0 stopping with HUP: the parent process died
            0 step 1 of 2: HUP to the child, waiting up to 1.0 s
            0 -> cont to the child
            1000 -> kill to the tree
            1000 step 2 of 2: KILL to the tree
            1000 child died of KILL on step 2 after 1.0 s
            1000 stopped by KILL in 1.0 s, exit status 137
            1000 -> exit 137
            "#,
        );
}

#[test]
fn max_runtime_counts_from_the_start() {
    Story::of("--pre-start a --max-runtime 5s --grace 1s")
        .hook(HookPhase::PreStart, 0, 1_000, done())
        .exits_on(Cue::Signal(Signal::TERM), 500)
        .tells(
            r#"
            0 -> run the pre-start hook "a"
            1000 pre-start hook "a" done (1.0 s)
            1000 -> start
            1000 started, pid 2
            6000 -> notready
            6000 -> term to the child
            6000 stopping: --max-runtime is over
            6000 step 1 of 2: TERM to the child, waiting up to 1.0 s
            6000 -> cont to the child
            6500 child exited with 0 on step 1 after 500 ms
            6500 stopped in 500 ms, exit status 124
            6500 -> exit 124
            "#,
        );
}

#[test]
fn a_stop_before_the_max_runtime_is_not_a_time_out() {
    Story::of("--max-runtime 5s --grace 9s")
        .at(4_000, signal(Signal::TERM))
        .exits_on(Cue::Signal(Signal::TERM), 2_000)
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            4000 -> notready
            4000 -> term to the child
            4000 stopping: TERM from pid 9
            4000 step 1 of 2: TERM to the child, waiting up to 9.0 s
            4000 -> cont to the child
            6000 child exited with 0 on step 1 after 2.0 s
            6000 stopped in 2.0 s, exit status 0
            6000 -> exit 0
            "#,
        );
}

#[test]
fn hooks_run_in_their_order_and_a_failing_one_stops_nothing() {
    Story::of("--pre-stop a --pre-stop b --post-stop p --post-stop q")
        .asked(Signal::TERM)
        .exits_on(Cue::Signal(Signal::TERM), 5)
        .hook(HookPhase::PreStop, 0, 30, failed())
        .hook(
            HookPhase::PreStop,
            1,
            30,
            HookResult::Failed("no such file".to_owned()),
        )
        .hook(HookPhase::PostStop, 0, 30, failed())
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 stopping: TERM from outside the container
            0 -> run the pre-stop hook "a"
            30 pre-stop hook "a" failed: exited with 1 (30 ms)
            30 -> run the pre-stop hook "b"
            60 -> term to the child
            60 pre-stop hook "b" failed: no such file (30 ms)
            60 step 1 of 2: TERM to the child, waiting up to 30.0 s
            60 -> cont to the child
            65 child exited with 0 on step 1 after 65 ms
            65 -> run the post-stop hook "q"
            95 post-stop hook "q" failed: exited with 1 (30 ms)
            95 -> run the post-stop hook "p"
            95 post-stop hook "p" done (0 s)
            95 stopped in 95 ms, exit status 0
            95 -> exit 0
            "#,
        );
}

#[test]
fn hooks_that_hang_are_killed_and_the_stop_goes_on() {
    Story::of("--pre-stop a --pre-stop b --post-stop p --hook-timeout 1s --grace 1s")
        .asked(Signal::TERM)
        .hooks_hang()
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 stopping: TERM from outside the container
            0 -> run the pre-stop hook "a"
            1000 -> kill the pre-stop hook "a"
            1000 pre-stop hook "a" killed: its time was over (1.0 s)
            1000 -> run the pre-stop hook "b"
            2000 -> kill the pre-stop hook "b"
            2000 -> term to the child
            2000 pre-stop hook "b" killed: its time was over (1.0 s)
            2000 step 1 of 2: TERM to the child, waiting up to 1.0 s
            2000 -> cont to the child
            3000 -> kill to the tree
            3000 step 2 of 2: KILL to the tree
            3000 child died of KILL on step 2 after 3.0 s
            3000 -> run the post-stop hook "p"
            4000 -> kill the post-stop hook "p"
            4000 post-stop hook "p" killed: its time was over (1.0 s)
            4000 stopped by KILL in 4.0 s, exit status 137
            4000 -> exit 137
            "#,
        );
}

#[test]
fn the_late_end_of_a_killed_hook_is_not_the_end_of_the_next() {
    let late = HookId {
        phase: HookPhase::PreStop,
        index: 0,
    };
    Story::of("--pre-stop a --pre-stop b --hook-timeout 1s --grace 1s")
        .asked(Signal::TERM)
        .hooks_hang()
        .at(
            1_500,
            Event::HookEnded {
                hook: late,
                result: failed(),
            },
        )
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 stopping: TERM from outside the container
            0 -> run the pre-stop hook "a"
            1000 -> kill the pre-stop hook "a"
            1000 pre-stop hook "a" killed: its time was over (1.0 s)
            1000 -> run the pre-stop hook "b"
            2000 -> kill the pre-stop hook "b"
            2000 -> term to the child
            2000 pre-stop hook "b" killed: its time was over (1.0 s)
            2000 step 1 of 2: TERM to the child, waiting up to 1.0 s
            2000 -> cont to the child
            3000 -> kill to the tree
            3000 step 2 of 2: KILL to the tree
            3000 child died of KILL on step 2 after 3.0 s
            3000 stopped by KILL in 3.0 s, exit status 137
            3000 -> exit 137
            "#,
        );
}

#[test]
fn a_second_int_is_faster_in_every_phase() {
    Story::of("--pre-stop a --pre-stop b --post-stop p --grace 9s --sweep-grace 9s")
        .drain(1_000, 9_000)
        .asked(Signal::INT)
        .hooks_hang()
        .leaves(Leftover::Kill)
        .at(100, signal(Signal::INT))
        .at(200, signal(Signal::INT))
        .at(300, signal(Signal::INT))
        .at(400, Event::ChildExited(ExitStatus::Exited(3)))
        .at(500, signal(Signal::INT))
        .at(600, signal(Signal::INT))
        .at(700, signal(Signal::INT))
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 stopping: INT from outside the container
            0 -> run the pre-stop hook "a"
            100 INT from pid 9: not waiting any longer
            100 -> kill the pre-stop hook "a"
            100 pre-stop hook "a" killed: going on without it (100 ms)
            100 -> run the pre-stop hook "b"
            200 INT from pid 9: not waiting any longer
            200 -> kill the pre-stop hook "b"
            200 pre-stop hook "b" killed: going on without it (100 ms)
            200 -> startdrain
            200 drain: waiting 1.0 s, load balancers do not know yet (--drain-delay)
            300 INT from pid 9: not waiting any longer
            300 -> enddrain
            300 -> int to the child
            300 drain cut short after 100 ms
            300 step 1 of 2: INT to the child, waiting up to 9.0 s
            300 -> cont to the child
            400 child exited with 3 on step 1 after 400 ms
            400 -> sweep TERM
            400 TERM to 1 process left: 3 left behind
            500 INT from pid 9: not waiting any longer
            500 -> sweep KILL
            500 KILL to 1 process left: 3 left behind
            500 nothing is left (100 ms)
            500 -> run the post-stop hook "p"
            600 INT from pid 9: not waiting any longer
            600 -> kill the post-stop hook "p"
            600 post-stop hook "p" killed: going on without it (100 ms)
            600 stopped in 600 ms, exit status 3
            600 -> exit 3
            "#,
        );
}

#[test]
fn pre_stop_hooks_run_to_their_end_when_the_child_goes_first() {
    Story::of("--pre-stop a --pre-stop b")
        .drain(1_000, 9_000)
        .asked(Signal::TERM)
        .hook(HookPhase::PreStop, 0, 1_000, done())
        .hook(HookPhase::PreStop, 1, 1_000, done())
        .at(500, Event::ChildExited(ExitStatus::Exited(0)))
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 stopping: TERM from outside the container
            0 -> run the pre-stop hook "a"
            500 child exited with 0 after 500 ms
            1000 pre-stop hook "a" done (1.0 s)
            1000 -> run the pre-stop hook "b"
            2000 pre-stop hook "b" done (1.0 s)
            2000 stopped in 2.0 s, exit status 0
            2000 -> exit 0
            "#,
        );
}

#[test]
fn events_out_of_their_phase_change_nothing() {
    let stray = || {
        [
            Event::Started { pid: 7 },
            Event::StartFailed(StartFailure {
                code: 127,
                message: String::new(),
            }),
            in_flight(9, false),
            Event::BalancersTold,
            Event::Extend(ms(60_000)),
            Event::StopCommandEnded {
                step: 0,
                result: done(),
            },
            Event::HookEnded {
                hook: HookId {
                    phase: HookPhase::PreStop,
                    index: 7,
                },
                result: done(),
            },
            Event::Deadline,
        ]
    };
    let mut story =
        Story::of("--pre-stop a --post-stop p --hook-timeout 1s --ladder TERM:1s,KILL:1s")
            .drain(1_000, 1_000)
            .asked(Signal::TERM)
            .immortal()
            .hooks_hang();
    let plain = Story {
        plan: story.plan.clone(),
        script: story.script.clone(),
        events: Vec::new(),
        shows_facts: false,
    };
    // In the middle of: pre-stop, the KILL step, post-stop.
    for at in [500, 3_500, 4_500] {
        story.events.extend(stray().map(|event| (ms(at), event)));
    }
    assert_eq!(story.told(), plain.told());
}
