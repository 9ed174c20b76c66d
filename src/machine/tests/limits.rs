//! The deadline, and durations that are absurdly long, or nothing at all.

use super::*;

#[test]
fn the_deadline_cuts_pre_stop_hooks() {
    Story::of("--deadline 10s --hook-timeout 4s --pre-stop a --pre-stop b --pre-stop c --grace 2s")
        .asked(Signal::TERM)
        .hooks_hang()
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 stopping: TERM from outside the container
            0 -> run the pre-stop hook "a"
            4000 -> kill the pre-stop hook "a"
            4000 pre-stop hook "a" killed: its time was over (4.0 s)
            4000 -> run the pre-stop hook "b"
            7500 -> kill the pre-stop hook "b"
            7500 -> term to the child
            7500 pre-stop hook "b" killed: its time was over (3.5 s)
            7500 pre-stop hook "c" skipped: the deadline leaves no time for it (0 s)
            7500 step 1 of 2: TERM to the child, waiting up to 2.0 s
            7500 -> cont to the child
            9500 -> kill to the tree
            9500 step 2 of 2: KILL to the tree
            9500 child died of KILL on step 2 after 9.5 s
            9500 stopped by KILL in 9.5 s, exit status 137
            9500 -> exit 137
            "#,
        );
}

#[test]
fn the_deadline_cuts_the_drain() {
    Story::of("--deadline 10s --grace 2s")
        .drain(20_000, 30_000)
        .asked(Signal::TERM)
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 stopping: TERM from outside the container
            0 -> startdrain
            0 drain: waiting 7.5 s, load balancers do not know yet (--drain-delay)
            7500 -> enddrain
            7500 -> term to the child
            7500 drain ended after 7.5 s: the deadline leaves no more time for it
            7500 step 1 of 2: TERM to the child, waiting up to 2.0 s
            7500 -> cont to the child
            9500 -> kill to the tree
            9500 step 2 of 2: KILL to the tree
            9500 child died of KILL on step 2 after 9.5 s
            9500 stopped by KILL in 9.5 s, exit status 137
            9500 -> exit 137
            "#,
        );
}

#[test]
fn the_deadline_cuts_the_ladder() {
    Story::of("--deadline 10s --ladder TERM:6s,INT:6s,QUIT:6s")
        .asked(Signal::TERM)
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 -> term to the child
            0 stopping: TERM from outside the container
            0 step 1 of 4: TERM:6s to the child, waiting up to 6.0 s
            0 -> cont to the child
            6000 -> int to the child
            6000 step 2 of 4: INT:6s to the child, waiting up to 3.5 s
            6000 -> cont to the child
            8000 -> lookwhoisthere { signal: some(int), target: child }
            9500 -> kill to the tree
            9500 step 3 of 4: QUIT:6s skipped: the deadline leaves no time for it
            9500 step 4 of 4: KILL to the tree
            9500 child died of KILL on step 4 after 9.5 s
            9500 stopped by KILL in 9.5 s, exit status 137
            9500 -> exit 137
            "#,
        );
}

#[test]
fn without_a_grace_a_step_has_all_that_is_left_of_the_deadline() {
    Story::of("--deadline 30s --post-stop p")
        .asked(Signal::TERM)
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 -> term to the child
            0 stopping: TERM from outside the container
            0 step 1 of 2: TERM to the child, waiting up to 24.5 s
            0 -> cont to the child
            8000 -> lookwhoisthere { signal: some(term), target: child }
            24500 -> kill to the tree
            24500 step 2 of 2: KILL to the tree
            24500 child died of KILL on step 2 after 24.5 s
            24500 -> run the post-stop hook "p"
            24500 post-stop hook "p" done (0 s)
            24500 stopped by KILL in 24.5 s, exit status 137
            24500 -> exit 137
            "#,
        );
}

#[test]
fn the_deadline_cuts_the_sweep() {
    Story::of("--deadline 3s --grace 2s --sweep-grace 9s")
        .asked(Signal::TERM)
        .exits_on(Cue::Signal(Signal::TERM), 1_000)
        .leaves(Leftover::Kill)
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 -> term to the child
            0 stopping: TERM from outside the container
            0 step 1 of 2: TERM to the child, waiting up to 2.0 s
            0 -> cont to the child
            1000 child exited with 0 on step 1 after 1.0 s
            1000 -> sweep TERM
            1000 TERM to 1 process left: 3 left behind
            2850 -> sweep KILL
            2850 KILL to 1 process left: 3 left behind (--deadline leaves no more time)
            2850 nothing is left (1.9 s)
            2850 stopped in 2.9 s, exit status 0
            2850 -> exit 0
            "#,
        );
}

#[test]
fn the_deadline_cuts_the_rounds_of_kill() {
    let told = Story::of("--deadline 3s --ladder TERM:1s,KILL@child --sweep-grace 100ms")
        .asked(Signal::TERM)
        .leaves(Leftover::Nothing)
        .told();
    assert!(told.ends_with("2925 -> exit 137"), "{told}");
    assert!(
        told.contains("2925 some processes are still there after 1.9 s"),
        "{told}"
    );
}

#[test]
fn a_large_tree_that_is_dying_does_not_overrun_the_deadline() {
    let crowd = || Event::Swept {
        signal: Signal::KILL,
        processes: (10..50_000).map(|pid| Process::new(pid, "")).collect(),
    };
    // KILL is due at 950 ms, and whoever is there at 975 ms is left: in the sweep, then in the ladder.
    let swept = Story::of("--deadline 1s --sweep-grace 9s")
        .exits_on(Cue::Start, 0)
        .leaves(Leftover::Nothing)
        .at(960, crowd());
    let killed = Story::of("--deadline 1s")
        .asked(Signal::TERM)
        .leaves(Leftover::Nothing)
        .at(950, crowd());
    for story in [swept, killed] {
        let told = story.told();
        let end = told.lines().last().unwrap();
        assert!(end.starts_with("975 -> exit"), "{end}");
    }
}

#[test]
fn post_stop_hooks_share_what_the_deadline_leaves_them() {
    Story::of("--deadline 10s --hook-timeout 10s --post-stop p --post-stop q --post-stop r")
        .asked(Signal::TERM)
        .hooks_hang()
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 -> term to the child
            0 stopping: TERM from outside the container
            0 step 1 of 2: TERM to the child, waiting up to 4.5 s
            0 -> cont to the child
            4500 -> kill to the tree
            4500 step 2 of 2: KILL to the tree
            4500 child died of KILL on step 2 after 4.5 s
            4500 -> run the post-stop hook "r"
            6250 -> kill the post-stop hook "r"
            6250 post-stop hook "r" killed: its time was over (1.8 s)
            6250 -> run the post-stop hook "q"
            8000 -> kill the post-stop hook "q"
            8000 post-stop hook "q" killed: its time was over (1.8 s)
            8000 -> run the post-stop hook "p"
            9750 -> kill the post-stop hook "p"
            9750 post-stop hook "p" killed: its time was over (1.8 s)
            9750 stopped by KILL in 9.8 s, exit status 137
            9750 -> exit 137
            "#,
        );
}

#[test]
fn a_child_that_outlives_kill_leaves_the_post_stop_hooks_half_of_their_time() {
    Story::of("--deadline 10s --hook-timeout 4s --post-stop p")
        .asked(Signal::TERM)
        .immortal()
        .hooks_hang()
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 -> term to the child
            0 stopping: TERM from outside the container
            0 step 1 of 2: TERM to the child, waiting up to 5.5 s
            0 -> cont to the child
            5500 -> kill to the tree
            5500 step 2 of 2: KILL to the tree
            7750 child 2 is still there, ending without it
            7750 -> sweep KILL
            7750 -> run the post-stop hook "p"
            9750 -> kill the post-stop hook "p"
            9750 post-stop hook "p" killed: its time was over (2.0 s)
            9750 -> sweep KILL
            9750 stopped by KILL in 9.8 s, exit status 137
            9750 -> exit 137
            "#,
        );
}

#[test]
fn the_deadline_bounds_the_end_after_a_crash() {
    let told = Story::of("--deadline 4s --sweep-grace 9s --post-stop p --hook-timeout 9s")
        .exits_on(Cue::Start, 60_000)
        .hooks_hang()
        .leaves(Leftover::Nothing)
        .told();
    let end: u64 = told
        .lines()
        .last()
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert!((63_500..64_000).contains(&end), "{told}");
}

#[test]
fn a_deadline_of_nothing_is_a_kill_at_once() {
    Story::of("--deadline 0 --pre-stop a --post-stop p --hook-timeout 1s")
        .drain(1_000, 1_000)
        .asked(Signal::TERM)
        .hooks_hang()
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 stopping: TERM from outside the container
            0 pre-stop hook "a" skipped: the deadline leaves no time for it (0 s)
            0 -> startdrain
            0 drain: waiting 0 s, load balancers do not know yet (--drain-delay)
            0 -> enddrain
            0 -> kill to the tree
            0 drain ended after 0 s: the deadline leaves no more time for it
            0 step 1 of 2: TERM skipped: the deadline leaves no time for it
            0 step 2 of 2: KILL to the tree
            0 child died of KILL on step 2 after 0 s
            0 -> run the post-stop hook "p"
            0 -> kill the post-stop hook "p"
            0 post-stop hook "p" killed: its time was over (0 s)
            0 stopped by KILL in 0 s, exit status 137
            0 -> exit 137
            "#,
        );
}

#[test]
fn waits_of_nothing_are_no_waits() {
    Story::of(
        "--grace 0 --hook-timeout 1ns --sweep-grace 0 --pre-start a --pre-stop b --post-stop c",
    )
    .asked(Signal::TERM)
    .drain(0, 0)
    .hooks_hang()
    .leaves(Leftover::Kill)
    .tells(
        r#"
            0 -> run the pre-start hook "a"
            0 pre-start hook "a" done (0 s)
            0 -> start
            0 started, pid 2
            0 -> notready
            0 stopping: TERM from outside the container
            0 -> run the pre-stop hook "b"
            0 -> kill the pre-stop hook "b"
            0 pre-stop hook "b" killed: its time was over (0 s)
            0 -> startdrain
            0 drain: waiting until no request is in flight
            0 -> enddrain
            0 -> term to the child
            0 drain ended by its timeout after 0 s
            0 step 1 of 2: TERM to the child, waiting up to 0 s
            0 -> cont to the child
            0 -> kill to the tree
            0 step 2 of 2: KILL to the tree
            0 child died of KILL on step 2 after 0 s
            0 KILL to 1 process left: 3 left behind
            0 nothing is left (0 s)
            0 -> run the post-stop hook "c"
            0 -> kill the post-stop hook "c"
            0 post-stop hook "c" killed: its time was over (0 s)
            0 stopped by KILL in 0 s, exit status 137
            0 -> exit 137
            "#,
    );
}

#[test]
fn waits_of_a_thousand_million_years_overflow_nothing() {
    let ever = "31556952000000000s";
    let durations = format!(
        "--grace {ever} --hook-timeout {ever} --sweep-grace {ever} --max-runtime {ever} \
         --pre-start a --pre-stop a --pre-stop b --post-stop c --post-stop d \
         --ladder TERM,INT,QUIT"
    );
    for deadline in ["", "--deadline 18446744073709551615s", "--deadline 5s"] {
        let story = Story::of(&format!("{durations} {deadline}"));
        let story = story
            .drain(u64::MAX, u64::MAX)
            .asked(Signal::TERM)
            .leaves(Leftover::Term);
        let story = (0..12).fold(story, |story, second| {
            story
                .at(second * 100 + 50, Event::Extend(Duration::MAX))
                .at(second * 100 + 100, signal(Signal::INT))
        });
        let told = story.told();
        assert!(told.contains("KILL to the tree"), "{told}");
    }
}
