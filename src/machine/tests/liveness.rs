//! A child that hangs: failures in a row, the watchdog, and what becomes of the run.

use super::*;

fn not(why: &str) -> Event {
    Event::NotAlive(why.to_owned())
}

const LOOKS: &str = "--live-when exec:a --live-failures 2 --grace 1s";

#[test]
fn failures_in_a_row_stop_it_by_the_plan_and_the_status_is_our_own() {
    Story::of(LOOKS)
        .at(1_000, not("refused"))
        .at(2_000, Event::Alive)
        .at(3_000, not("refused"))
        .at(4_000, not("silent"))
        .exits_on(Cue::Signal(Signal::TERM), 500)
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> look whether it is alive
            1000 not alive, 1 of 2: refused (--live-when)
            2000 alive again after 1 failure
            3000 not alive, 1 of 2: refused (--live-when)
            4000 not alive, 2 of 2: silent (--live-when)
            4000 -> notready
            4000 -> term to the child
            4000 stopping: the child is unhealthy
            4000 step 1 of 2: TERM to the child, waiting up to 1.0 s
            4000 -> cont to the child
            4500 child exited with 0 on step 1 after 500 ms
            4500 stopped in 500 ms, exit status 125
            4500 -> exit 125
            "#,
        );
}

#[test]
fn nobody_looks_before_it_is_ready() {
    Story::of("--live-when exec:a --ready-when notify --grace 1s")
        .at(1_000, not("not ready yet"))
        .at(2_000, Event::Ready)
        .exits_on(Cue::Start, 3_000)
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> awaitready
            2000 ready after 2.0 s
            2000 -> ready
            2000 -> look whether it is alive
            3000 -> notready
            3000 child exited with 0 after 3.0 s
            3000 not ready: the child has exited
            3000 exit status 0
            3000 -> exit 0
            "#,
        );
}

#[test]
fn a_missed_watchdog_is_abrt_before_the_ladder() {
    Story::of("--live-when watchdog:2s --grace 1s")
        .at(1_500, Event::KeepsAlive)
        .exits_on(Cue::Signal(Signal::KILL), 0)
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            3500 not alive: the child has not said WATCHDOG=1 for 2.0 s (--live-when)
            3500 -> notready
            3500 -> abrt to the child
            3500 stopping: the child is unhealthy
            3500 before the ladder: ABRT to the child, waiting up to 1.0 s
            3500 -> cont to the child
            4500 -> term to the child
            4500 step 1 of 2: TERM to the child, waiting up to 1.0 s
            4500 -> cont to the child
            5500 -> kill to the tree
            5500 step 2 of 2: KILL to the tree
            5500 child died of KILL on step 2 after 2.0 s
            5500 stopped by KILL in 2.0 s, exit status 125
            5500 -> exit 125
            "#,
        );
}

#[test]
fn a_child_may_say_how_often_it_will_speak() {
    let every = |millis| Event::WatchdogIs(Some(Duration::from_millis(millis)));
    let late = |told: &str, at: &str, after: &str| {
        let line = format!("{at} not alive: the child has not said WATCHDOG=1 for {after}");
        assert!(told.contains(&line), "{told}");
    };
    let watched =
        || Story::of("--live-when watchdog:2s --grace 1s").exits_on(Cue::Signal(Signal::ABRT), 0);
    let told = watched()
        .at(500, every(1_000))
        .at(1_400, Event::KeepsAlive)
        .told();
    late(&told, "2400", "1.0 s");
    let told = watched().at(500, every(9_000)).told();
    late(&told, "9500", "9.0 s");
    let told = watched()
        .at(500, Event::WatchdogIs(None))
        .at(600, every(700))
        .told();
    late(&told, "1300", "700 ms");
    // It counts for one that is not ready yet, too.
    let told = Story::of("--live-when watchdog:2s --ready-when notify --grace 1s")
        .exits_on(Cue::Signal(Signal::ABRT), 0)
        .at(500, every(9_000))
        .at(1_000, Event::Ready)
        .told();
    late(&told, "10000", "9.0 s");
}

#[test]
fn a_child_that_says_that_it_hangs_is_taken_at_its_word_and_one_that_stops_is_left_alone() {
    let told = Story::of("--live-when watchdog:2s --grace 1s")
        .at(500, Event::SaysItHangs)
        .exits_on(Cue::Signal(Signal::ABRT), 10)
        .told();
    assert!(
        told.contains("500 not alive: the child says WATCHDOG=trigger"),
        "{told}"
    );
    assert!(told.ends_with("510 -> exit 125"), "{told}");
    let told = Story::of("--live-when watchdog:2s --grace 1s")
        .at(500, Event::ChildStopping)
        .exits_on(Cue::Start, 9_000)
        .told();
    assert!(told.ends_with("9000 -> exit 0"), "{told}");
}

#[test]
fn what_hooks_are_told_is_that_it_was_unhealthy() {
    let told = Story::of("--live-when exec:a --live-failures 1 --post-stop p")
        .at(1_000, not("no"))
        .exits_on(Cue::Signal(Signal::TERM), 0)
        .with_facts()
        .told();
    assert!(told.contains(r#"[Some("unhealthy") None None"#), "{told}");
    assert!(told.contains(r#"result Some("watchdog")"#), "{told}");
}
