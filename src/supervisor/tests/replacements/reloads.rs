//! A configuration file that is read again during a replacement.

use super::*;
use crate::machine::HookId;
use crate::plan::HookPhase;
use crate::plan::reload::Reload;
use crate::record::HookResult;

/// The file is read again, with which these options change.
fn reload(changed: &[(&'static str, &str)]) -> Event {
    let mut settings = Settings::default();
    settings.set("ready-when", "notify");
    for (name, value) in changed {
        settings.set(name, value);
    }
    Event::Reloaded(Box::new(Reload {
        plan: settings.plan().unwrap(),
        changed: changed.iter().map(|(name, _)| *name).collect(),
        needs_restart: Vec::new(),
    }))
}

#[test]
fn a_deadline_that_was_read_again_bounds_the_one_that_leaves_too() {
    for no_kill in ["on", "off"] {
        let reload = reload(&[("no-kill", no_kill), ("deadline", "2s")]);
        let mut story = replaced(replaces())
            .with("no-kill", no_kill)
            .at(1000, received(named("USR2")))
            .at(1500, reload)
            .at(3000, TERM);
        story.script.exits_on.clear();
        let told = story.told();
        let told_last = told.lines().rev().nth(1).unwrap();
        let last: u64 = told_last.split(' ').next().unwrap().parse().unwrap();
        assert!((4_000..=5_000).contains(&last), "{told}");
    }
}

#[test]
fn a_stop_by_what_was_read_again_reaches_the_one_that_comes_too() {
    let reload = reload(&[
        ("pre-start", "a"),
        ("stop-on", "QUIT"),
        ("escalate-on", "QUIT"),
    ]);
    let mut story = replaced(replaces())
        .with("pre-start", "a")
        .at(1000, received(named("USR2")))
        .at(1100, reload)
        .at(1200, received(named("QUIT")))
        .at(1300, received(named("QUIT")));
    let pre_start = HookId {
        phase: HookPhase::PreStart,
        index: 0,
    };
    let done = HookResult::Ended(ExitStatus::Exited(0));
    story.script.hooks = vec![(pre_start, Some(ms(800)), done)];
    story.script.exits_on = vec![(Cue::Signal(named("QUIT")), ms(200))];
    story.tells(
        "0 pre-start hook \"a\" started
         800 pre-start hook \"a\" done (800 ms)
         800 started, pid 2
         900 ready after 100 ms
         1000 replacing: USR2 from outside the container: generation 2 begins
         1000 generation 2: pre-start hook \"a\" started
         1100 configuration reloaded: pre-start, stop-on, escalate-on changed
         1200 stopping: QUIT from outside the container
         1200 not ready: a stop was asked for
         1200 step 1 of 2: QUIT to the child, waiting up to 30.0 s
         1200 generation 2: stopping: QUIT from outside the container
         1200 generation 2: nothing will be started; the pre-start hook that is running ends first
         1300 QUIT from outside the container: passed on to the child; another QUIT takes the next step
         1300 generation 2: QUIT from outside the container: not waiting any longer
         1300 generation 2: pre-start hook \"a\" killed (300 ms)
         1300 generation 2: stopped in 100 ms, exit status 131
         1400 child exited with 0 on step 1 after 200 ms
         1400 stopped in 200 ms, exit status 0
         -> exit 0",
    );
}

#[test]
fn what_makes_one_that_leaves_faster_stands_in_its_own_plan() {
    let reload = reload(&[("escalate-on", "QUIT")]);
    let mut story = replaced(replaces())
        .with("escalate-on", "USR1")
        .at(1000, received(named("USR2")))
        .at(2000, reload)
        .at(3000, received(named("QUIT")))
        .at(3100, received(named("USR1")))
        .at(3200, received(named("USR1")))
        .at(9000, TERM);
    story.script.exits_on = vec![(Cue::Signal(Signal::TERM), ms(5000))];
    let told = story.told();
    for line in [
        "\n3000 QUIT forwarded",
        "\n3200 generation 1: USR1 from outside the container: passed on",
    ] {
        assert!(told.contains(line), "{told}");
    }
    assert!(!told.contains("3000 generation 1"), "{told}");
}
