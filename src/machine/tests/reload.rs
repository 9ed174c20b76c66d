//! A plan that changes while the child runs, and one that comes too late.

use super::*;
use crate::plan::reload::Reload;

const OPTIONS: &str = "--config file --reload-on HUP --grace 5s";

fn reloaded(options: &str) -> Event {
    Event::Reloaded(Box::new(Reload {
        plan: plan(options),
        changed: vec!["grace"],
        needs_restart: vec!["user"],
    }))
}

fn hangup() -> Event {
    signal(named("HUP"))
}

#[test]
fn the_new_plan_counts_from_the_next_request_on() {
    Story::of(OPTIONS)
        .at(1_000, hangup())
        .at(1_001, reloaded("--grace 2s --max-runtime 10s"))
        .exits_on(Cue::Signal(Signal::KILL), 0)
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            1000 -> reload
            1001 -> take the new plan
            1001 configuration reloaded: grace changed; only a restart of stepdown changes user
            10000 -> notready
            10000 -> term to the child
            10000 stopping: --max-runtime is over
            10000 step 1 of 2: TERM to the child, waiting up to 2.0 s
            10000 -> cont to the child
            12000 -> kill to the tree
            12000 step 2 of 2: KILL to the tree
            12000 child died of KILL on step 2 after 2.0 s
            12000 stopped by KILL in 2.0 s, exit status 124
            12000 -> exit 124
            "#,
        );
}

#[test]
fn a_plan_that_cannot_be_read_changes_nothing() {
    Story::of(OPTIONS)
        .at(1_000, hangup())
        .at(1_000, Event::ReloadRefused("no such file".to_owned()))
        .exits_on(Cue::Start, 2_000)
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            1000 -> reload
            1000 configuration not reloaded: no such file
            2000 -> notready
            2000 child exited with 0 after 2.0 s
            2000 exit status 0
            2000 -> exit 0
            "#,
        );
}

#[test]
fn once_a_stop_is_under_way_its_plan_stands() {
    Story::of(OPTIONS)
        .at(1_000, signal(Signal::TERM))
        .at(1_000, reloaded("--grace 1h"))
        .at(2_000, hangup())
        .exits_on(Cue::Signal(Signal::KILL), 0)
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            1000 -> notready
            1000 -> term to the child
            1000 stopping: TERM from pid 9
            1000 step 1 of 2: TERM to the child, waiting up to 5.0 s
            1000 -> cont to the child
            1000 configuration not reloaded: a stop is under way
            2000 HUP (--reload-on) not obeyed: a stop is under way
            6000 -> kill to the tree
            6000 step 2 of 2: KILL to the tree
            6000 child died of KILL on step 2 after 5.0 s
            6000 stopped by KILL in 5.0 s, exit status 137
            6000 -> exit 137
            "#,
        );
}

#[test]
fn a_request_before_the_start_is_kept_until_the_child_runs() {
    Story::of("--config file --reload-on HUP --pre-start a")
        .hook(HookPhase::PreStart, 0, 100, done())
        .at(50, hangup())
        .exits_on(Cue::Start, 10)
        .tells(
            r#"
            0 -> run the pre-start hook "a"
            100 pre-start hook "a" done (100 ms)
            100 -> start
            100 started, pid 2
            100 -> reload
            110 -> notready
            110 child exited with 0 after 10 ms
            110 exit status 0
            110 -> exit 0
            "#,
        );
}

/// It is read again while the next generation is on its way beside the one that serves.
#[test]
fn a_new_plan_that_comes_before_the_start_counts_from_the_start_on() {
    Story::of("--pre-start a --grace 5s")
        .hook(HookPhase::PreStart, 0, 1_000, done())
        .at(500, reloaded("--grace 2s"))
        .at(2_000, signal(Signal::TERM))
        .exits_on(Cue::Signal(Signal::TERM), 100)
        .tells(
            r#"
            0 -> run the pre-start hook "a"
            1000 pre-start hook "a" done (1.0 s)
            1000 -> start
            1000 started, pid 2
            1000 -> take the new plan
            1000 configuration reloaded: grace changed; only a restart of stepdown changes user
            2000 -> notready
            2000 -> term to the child
            2000 stopping: TERM from pid 9
            2000 step 1 of 2: TERM to the child, waiting up to 2.0 s
            2000 -> cont to the child
            2100 child exited with 0 on step 1 after 100 ms
            2100 stopped in 100 ms, exit status 0
            2100 -> exit 0
            "#,
        );
}
