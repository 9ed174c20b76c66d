//! Requests that are repeated: what the child has not had yet, what is faster, and what changes nothing.

use super::*;

#[test]
fn int_again_is_told_to_the_child_and_then_takes_the_next_step() {
    Story::of("--ladder SAME:5s,QUIT:5s")
        .asked(Signal::INT)
        .at(100, signal(Signal::INT))
        .at(200, signal(Signal::INT))
        .at(300, signal(Signal::INT))
        .at(400, signal(Signal::INT))
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 -> int to the child
            0 stopping: INT from outside the container
            0 step 1 of 3: INT:5s to the child, waiting up to 5.0 s
            0 -> cont to the child
            100 -> int to the child
            100 -> cont to the child
            100 INT from pid 9: passed on to the child; another INT takes the next step
            200 -> quit to the child
            200 INT from pid 9: not waiting any longer
            200 step 2 of 3: QUIT:5s to the child, waiting up to 5.0 s
            200 -> cont to the child
            300 -> int to the child
            300 -> cont to the child
            300 INT from pid 9: passed on to the child; another INT takes the next step
            400 -> kill to the tree
            400 INT from pid 9: not waiting any longer
            400 step 3 of 3: KILL to the tree
            400 child died of KILL on step 3 after 400 ms
            400 stopped by KILL in 400 ms, exit status 137
            400 -> exit 137
            "#,
        );
}

#[test]
fn a_stop_signal_that_the_child_has_not_had_is_passed_on_once() {
    Story::of("--grace 9s")
        .asked(Signal::INT)
        .at(7_500, signal(Signal::TERM))
        .at(7_600, signal(Signal::TERM))
        .exits_on(Cue::Signal(Signal::TERM), 1_000)
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 -> int to the child
            0 stopping: INT from outside the container
            0 step 1 of 2: INT to the child, waiting up to 9.0 s
            0 -> cont to the child
            7500 -> term to the child
            7500 -> cont to the child
            7500 TERM from pid 9: passed on to the child
            7600 TERM not forwarded: a stop is under way
            8500 child exited with 0 on step 1 after 8.5 s
            8500 stopped in 8.5 s, exit status 0
            8500 -> exit 0
            "#,
        );
}

#[test]
fn before_the_ladder_a_stop_signal_waits_until_the_child_has_been_told_the_first_one() {
    Story::of("--pre-stop a --ladder 'eof:1s,SAME:1s,INT:1s,KILL'")
        .hook(HookPhase::PreStop, 0, 1_000, done())
        .asked(Signal::TERM)
        .at(500, signal(Signal::INT))
        .at(1_500, signal(Signal::TERM))
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 stopping: TERM from outside the container
            0 -> run the pre-stop hook "a"
            500 INT from pid 9: passed on to the child later in the stop
            1000 pre-stop hook "a" done (1.0 s)
            1000 step 1 of 4: eof:1s, waiting up to 1.0 s
            1000 -> closestdin
            1500 TERM not forwarded: a stop is under way
            2000 -> term to the child
            2000 step 2 of 4: TERM:1s to the child, waiting up to 1.0 s
            2000 -> cont to the child
            2000 -> int to the child
            2000 -> cont to the child
            2000 INT forwarded to the child
            3000 step 3 of 4: INT:1s to the child, passed on already, waiting up to 1.0 s
            4000 -> kill to the tree
            4000 step 4 of 4: KILL to the tree
            4000 child died of KILL on step 4 after 4.0 s
            4000 stopped by KILL in 4.0 s, exit status 137
            4000 -> exit 137
            "#,
        );
}

#[test]
fn a_stop_signal_that_the_ladder_does_not_name_is_passed_on_once() {
    Story::of("--ladder 'exec=a:5s,INT:9s'")
        .asked(Signal::INT)
        .at(1_000, signal(Signal::TERM))
        .at(2_000, signal(Signal::TERM))
        .exits_on(Cue::Signal(Signal::TERM), 3_000)
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 stopping: INT from outside the container
            0 step 1 of 3: exec=a:5s, waiting up to 5.0 s
            0 -> run step 1
            0 stop command done
            1000 -> term to the child
            1000 -> cont to the child
            1000 TERM from pid 9: passed on to the child
            2000 TERM not forwarded: a stop is under way
            4000 child exited with 0 on step 1 after 4.0 s
            4000 stopped in 4.0 s, exit status 0
            4000 -> exit 0
            "#,
        );
}

#[test]
fn a_step_that_has_sent_a_stop_signal_or_is_passed_it_on_sends_it_no_second_time() {
    let told = |options: &str, at| {
        Story::of(options)
            .asked(Signal::INT)
            .at(at, signal(Signal::TERM))
            .told()
    };
    for (options, at) in [
        ("--ladder TERM:1s,QUIT:1s", 500),
        ("--ladder QUIT:1s,TERM:1s", 500),
        ("--ladder QUIT:1s,TERM:1s", 1_500),
        ("--pre-stop a --ladder QUIT:1s,TERM:1s", 0),
    ] {
        let told = told(options, at);
        assert_eq!(told.matches("-> term to").count(), 1, "{options}\n{told}");
    }
}

#[test]
fn the_stop_signal_option_stands_for_every_request() {
    for options in ["--grace 9s", "--pre-stop a --grace 9s"] {
        let told = Story::of(&format!("--stop-signal QUIT {options}"))
            .asked(Signal::INT)
            .hook(HookPhase::PreStop, 0, 500, done())
            .at(100, signal(Signal::TERM))
            .at(200, signal(Signal::TERM))
            .exits_on(Cue::Signal(Signal::QUIT), 3_000)
            .told();
        let line = "100 TERM from pid 9: not passed on, QUIT is sent in its place (--stop-signal)";
        assert!(told.contains(line), "{told}");
        assert_eq!(told.matches("-> quit to").count(), 1, "{told}");
        assert!(!told.contains("int to the child"), "{told}");
        assert!(!told.contains("term to the child"), "{told}");
    }
}

#[test]
fn the_first_request_leaves_a_post_stop_hook_alone() {
    Story::of("--post-stop p")
        .exits_on(Cue::Start, 100)
        .hook(HookPhase::PostStop, 0, 1_000, done())
        .at(500, signal(Signal::INT))
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            100 -> notready
            100 child exited with 0 after 100 ms
            100 -> run the post-stop hook "p"
            500 INT from pid 9: another one makes the stop faster
            1100 post-stop hook "p" done (1.0 s)
            1100 exit status 0
            1100 -> exit 0
            "#,
        );
}

#[test]
fn after_kill_nothing_is_faster() {
    Story::of("--grace 1s")
        .asked(Signal::INT)
        .immortal()
        .at(1_100, signal(Signal::TERM))
        .at(1_200, signal(Signal::INT))
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 -> int to the child
            0 stopping: INT from outside the container
            0 step 1 of 2: INT to the child, waiting up to 1.0 s
            0 -> cont to the child
            1000 -> kill to the tree
            1000 step 2 of 2: KILL to the tree
            1100 TERM not forwarded: the child has got KILL
            1200 INT not forwarded: there is no next step to take
            11000 child 2 is still there, ending without it
            11000 -> sweep KILL
            11000 stopped by KILL in 11.0 s, exit status 137
            11000 -> exit 137
            "#,
        );
}

#[test]
fn a_second_term_changes_nothing() {
    Story::of("--grace 1s")
        .asked(Signal::TERM)
        .at(100, signal(Signal::TERM))
        .at(999, signal(Signal::TERM))
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 -> term to the child
            0 stopping: TERM from outside the container
            0 step 1 of 2: TERM to the child, waiting up to 1.0 s
            0 -> cont to the child
            100 TERM not forwarded: a stop is under way
            999 TERM not forwarded: a stop is under way
            1000 -> kill to the tree
            1000 step 2 of 2: KILL to the tree
            1000 child died of KILL on step 2 after 1.0 s
            1000 stopped by KILL in 1.0 s, exit status 137
            1000 -> exit 137
            "#,
        );
}

#[test]
fn escalate_on_says_which_signals_are_in_a_hurry() {
    Story::of("--grace 9s --escalate-on TERM,USR2")
        .asked(Signal::TERM)
        .at(100, signal(Signal::INT))
        .at(200, signal(Signal::INT))
        .at(300, signal(named("USR2")))
        .at(400, signal(Signal::TERM))
        .at(500, signal(Signal::TERM))
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 -> term to the child
            0 stopping: TERM from outside the container
            0 step 1 of 2: TERM to the child, waiting up to 9.0 s
            0 -> cont to the child
            100 -> int to the child
            100 -> cont to the child
            100 INT from pid 9: passed on to the child
            200 INT not forwarded: a stop is under way
            300 -> usr2 to the child
            300 USR2 forwarded to the child
            400 -> term to the child
            400 -> cont to the child
            400 TERM from pid 9: passed on to the child; another TERM takes the next step
            500 -> kill to the tree
            500 TERM from pid 9: not waiting any longer
            500 step 2 of 2: KILL to the tree
            500 child died of KILL on step 2 after 500 ms
            500 stopped by KILL in 500 ms, exit status 137
            500 -> exit 137
            "#,
        );
}
