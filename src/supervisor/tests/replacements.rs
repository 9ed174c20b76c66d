//! One story for each rule of a replacement.

use super::*;
use crate::machine::Unopened;
use crate::record::Process;
use crate::sim::Leftover;

mod reloads;

/// Replaces on USR2; each is ready 100 ms after its start where nothing else is said.
fn replaces() -> Supervision {
    let mut supervision = on_failure();
    supervision.restart = Restart::No;
    supervision.replace_on.insert(named("USR2"));
    supervision
}

fn replaced(supervision: Supervision) -> Story {
    let mut story = Story::new(supervision, &[]).with("ready-when", "notify");
    story.script.ready = [Some(ms(100)); 4].into();
    story
}

const EXITS: Event = Event::ChildExited(ExitStatus::Exited(3));

#[test]
fn the_next_one_comes_beside_serves_and_the_one_before_it_leaves() {
    let mut story = replaced(replaces())
        .with("pre-start", "a")
        .with("post-stop", "z")
        .with("drain-port", "80")
        .at(1000, received(named("USR2")))
        .at(3000, TERM);
    story.script.requests_end = true;
    story.script.hooks_take = Some(ms(20));
    story.tells(
        "0 pre-start hook \"a\" started
         0 pre-start hook \"a\" done (0 s)
         0 started, pid 2
         100 ready after 100 ms
         1000 replacing: USR2 from outside the container: generation 2 begins
         1000 generation 2: pre-start hook \"a\" started
         1000 generation 2: pre-start hook \"a\" done (0 s)
         1000 generation 2: started, pid 4
         1100 generation 2: ready after 100 ms
         1100 generation 2 serves, pid 4
         1100 generation 1: stopping: the next one serves
         1100 generation 1: drain: waiting until no request is in flight
         1100 generation 1: drained in 0 s
         1100 generation 1: step 1 of 2: TERM to the child, waiting up to 30.0 s
         1110 generation 1: child exited with 0 on step 1 after 10 ms
         1110 generation 1: post-stop hook \"z\" started
         1130 generation 1: post-stop hook \"z\" done (20 ms)
         1130 generation 1: stopped in 30 ms, exit status 0
         3000 stopping: TERM from outside the container
         3000 not ready: a stop was asked for
         3000 drain: waiting until no request is in flight
         3000 drained in 0 s
         3000 step 1 of 2: TERM to the child, waiting up to 30.0 s
         3010 child exited with 0 on step 1 after 10 ms
         3010 post-stop hook \"z\" started
         3030 post-stop hook \"z\" done (20 ms)
         3030 stopped in 30 ms, exit status 0
         -> exit 0",
    );
}

#[test]
fn one_that_is_not_ready_in_time_is_stopped_and_nothing_changes() {
    let mut story = replaced(replaces())
        .with("ready-timeout", "2s")
        .at(1000, received(named("USR2")))
        .at(5000, TERM);
    story.script.ready = [Some(ms(100)), None].into();
    story.tells(
        "0 started, pid 2
         100 ready after 100 ms
         1000 replacing: USR2 from outside the container: generation 2 begins
         1000 generation 2: started, pid 4
         3000 generation 2: not ready after 2.0 s, --ready-when notify does not hold
         3000 generation 2: stopping: the start has failed
         3000 generation 2: step 1 of 2: TERM to the child, waiting up to 30.0 s
         3010 generation 2: child exited with 0 on step 1 after 10 ms
         3010 generation 2: exit status 125
         3010 not replaced: generation 2 has ended and was not ready; generation 1 goes on
         5000 stopping: TERM from outside the container
         5000 not ready: a stop was asked for
         5000 step 1 of 2: TERM to the child, waiting up to 30.0 s
         5010 child exited with 0 on step 1 after 10 ms
         5010 stopped in 10 ms, exit status 0
         -> exit 0",
    );
}

#[test]
fn one_that_ends_before_it_is_ready_changes_nothing() {
    let mut story = replaced(replaces())
        .at(1000, received(named("USR2")))
        .at(1050, EXITS.of(2))
        .at(2000, received(named("USR2")))
        .at(4000, TERM);
    story.script.ready = [Some(ms(100)), None, Some(ms(100))].into();
    story.tells(
        "0 started, pid 2
         100 ready after 100 ms
         1000 replacing: USR2 from outside the container: generation 2 begins
         1000 generation 2: started, pid 4
         1050 generation 2: child exited with 3 after 50 ms
         1050 generation 2: exit status 3
         1050 not replaced: generation 2 has ended and was not ready; generation 1 goes on
         2000 replacing: USR2 from outside the container: generation 3 begins
         2000 generation 3: started, pid 4
         2100 generation 3: ready after 100 ms
         2100 generation 3 serves, pid 4
         2100 generation 1: stopping: the next one serves
         2100 generation 1: step 1 of 2: TERM to the child, waiting up to 30.0 s
         2110 generation 1: child exited with 0 on step 1 after 10 ms
         2110 generation 1: stopped in 10 ms, exit status 0
         4000 stopping: TERM from outside the container
         4000 not ready: a stop was asked for
         4000 step 1 of 2: TERM to the child, waiting up to 30.0 s
         4010 child exited with 0 on step 1 after 10 ms
         4010 stopped in 10 ms, exit status 0
         -> exit 0",
    );
}

#[test]
fn where_the_one_that_serves_ends_the_next_one_serves_ready_or_not() {
    replaced(replaces())
        .at(1000, received(named("USR2")))
        .at(1050, EXITS.of(1))
        .at(3000, TERM)
        .tells(
            "0 started, pid 2
         100 ready after 100 ms
         1000 replacing: USR2 from outside the container: generation 2 begins
         1000 generation 2: started, pid 4
         1050 generation 2 serves, pid 4, not ready yet: generation 1 has ended
         1050 generation 1: child exited with 3 after 1.1 s
         1050 generation 1: exit status 3
         1100 ready after 100 ms
         3000 stopping: TERM from outside the container
         3000 not ready: a stop was asked for
         3000 step 1 of 2: TERM to the child, waiting up to 30.0 s
         3010 child exited with 0 on step 1 after 10 ms
         3010 stopped in 10 ms, exit status 0
         -> exit 0",
        );
}

#[test]
fn a_stop_while_the_next_one_comes_ends_both_at_once() {
    replaced(replaces())
        .at(1000, received(named("USR2")))
        .at(1050, TERM)
        .tells(
            "0 started, pid 2
         100 ready after 100 ms
         1000 replacing: USR2 from outside the container: generation 2 begins
         1000 generation 2: started, pid 4
         1050 stopping: TERM from outside the container
         1050 not ready: a stop was asked for
         1050 step 1 of 2: TERM to the child, waiting up to 30.0 s
         1050 generation 2: stopping: TERM from outside the container
         1050 generation 2: step 1 of 2: TERM to the child, waiting up to 30.0 s
         1060 child exited with 0 on step 1 after 10 ms
         1060 generation 2: child exited with 0 on step 1 after 10 ms
         1060 generation 2: stopped in 10 ms, exit status 0
         1060 stopped in 10 ms, exit status 0
         -> exit 0",
        );
}

#[test]
fn a_stop_while_the_one_before_leaves_ends_both_and_waits_for_the_slower() {
    let mut story = replaced(replaces())
        .with("post-stop", "z")
        .at(1000, received(named("USR2")))
        .at(1105, TERM);
    story.script.hooks_take = Some(ms(400));
    story.tells(
        "0 started, pid 2
         100 ready after 100 ms
         1000 replacing: USR2 from outside the container: generation 2 begins
         1000 generation 2: started, pid 4
         1100 generation 2: ready after 100 ms
         1100 generation 2 serves, pid 4
         1100 generation 1: stopping: the next one serves
         1100 generation 1: step 1 of 2: TERM to the child, waiting up to 30.0 s
         1105 stopping: TERM from outside the container
         1105 not ready: a stop was asked for
         1105 step 1 of 2: TERM to the child, waiting up to 30.0 s
         1105 generation 1: TERM not forwarded: the child has had it
         1110 generation 1: child exited with 0 on step 1 after 10 ms
         1110 generation 1: post-stop hook \"z\" started
         1115 child exited with 0 on step 1 after 10 ms
         1115 post-stop hook \"z\" started
         1510 generation 1: post-stop hook \"z\" done (400 ms)
         1510 generation 1: stopped in 410 ms, exit status 0
         1515 post-stop hook \"z\" done (400 ms)
         1515 stopped in 410 ms, exit status 0
         -> exit 0",
    );
}

#[test]
fn a_failure_of_the_next_one_is_restarted_while_the_one_before_leaves() {
    let mut supervision = replaces();
    supervision.restart = Restart::OnFailure;
    let mut story = replaced(supervision)
        .with("post-stop", "z")
        .at(1000, received(named("USR2")))
        .at(1105, EXITS.of(2))
        .at(9000, TERM);
    story.script.hooks_take = Some(ms(700));
    story.tells(
        "0 started, pid 2
         100 ready after 100 ms
         1000 replacing: USR2 from outside the container: generation 2 begins
         1000 generation 2: started, pid 4
         1100 generation 2: ready after 100 ms
         1100 generation 2 serves, pid 4
         1100 generation 1: stopping: the next one serves
         1100 generation 1: step 1 of 2: TERM to the child, waiting up to 30.0 s
         1105 child exited with 3 after 105 ms
         1105 not ready: the child has exited
         1105 post-stop hook \"z\" started
         1110 generation 1: child exited with 0 on step 1 after 10 ms
         1110 generation 1: post-stop hook \"z\" started
         1805 post-stop hook \"z\" done (700 ms)
         1805 generation 2 exited with 3: restarted in 500 ms (--restart)
         1810 generation 1: post-stop hook \"z\" done (700 ms)
         1810 generation 1: stopped in 710 ms, exit status 0
         2305 generation 3 begins
         2305 started, pid 4
         2405 ready after 100 ms
         9000 stopping: TERM from outside the container
         9000 not ready: a stop was asked for
         9000 step 1 of 2: TERM to the child, waiting up to 30.0 s
         9010 child exited with 0 on step 1 after 10 ms
         9010 post-stop hook \"z\" started
         9710 post-stop hook \"z\" done (700 ms)
         9710 stopped in 710 ms, exit status 0
         -> exit 0",
    );
}

#[test]
fn a_replacement_during_a_replacement_is_dropped() {
    replaced(replaces())
        .at(1000, received(named("USR2")))
        .at(1050, received(named("USR2")))
        .at(1105, received(named("USR2")))
        .at(2000, received(named("USR2")))
        .at(4000, TERM)
        .tells(
            "0 started, pid 2
         100 ready after 100 ms
         1000 replacing: USR2 from outside the container: generation 2 begins
         1000 generation 2: started, pid 4
         1050 USR2 (--replace-on) not obeyed: a replacement is under way
         1100 generation 2: ready after 100 ms
         1100 generation 2 serves, pid 4
         1100 generation 1: stopping: the next one serves
         1100 generation 1: step 1 of 2: TERM to the child, waiting up to 30.0 s
         1105 USR2 (--replace-on) not obeyed: a replacement is under way
         1110 generation 1: child exited with 0 on step 1 after 10 ms
         1110 generation 1: stopped in 10 ms, exit status 0
         2000 replacing: USR2 from outside the container: generation 3 begins
         2000 generation 3: started, pid 2
         2100 generation 3: ready after 100 ms
         2100 generation 3 serves, pid 2
         2100 generation 2: stopping: the next one serves
         2100 generation 2: step 1 of 2: TERM to the child, waiting up to 30.0 s
         2110 generation 2: child exited with 0 on step 1 after 10 ms
         2110 generation 2: stopped in 10 ms, exit status 0
         4000 stopping: TERM from outside the container
         4000 not ready: a stop was asked for
         4000 step 1 of 2: TERM to the child, waiting up to 30.0 s
         4010 child exited with 0 on step 1 after 10 ms
         4010 stopped in 10 ms, exit status 0
         -> exit 0",
        );
}

#[test]
fn where_the_kernel_refuses_the_next_one_follows_in_place() {
    let mut story = replaced(replaces())
        .at(1000, received(named("USR2")))
        .at(4000, TERM);
    story.script.beside_refused = Some(Unopened::Never("no such program".to_owned()));
    story.tells(
        "0 started, pid 2
         100 ready after 100 ms
         1000 --replace-on: no such program: restarted in place, with the sockets kept open
         1000 restarting: USR2 from outside the container
         1000 not ready: a stop was asked for
         1000 step 1 of 2: TERM to the child, waiting up to 30.0 s
         1010 child exited with 0 on step 1 after 10 ms
         1010 generation 1 exited with 0: restarted, as asked
         1010 generation 2 begins
         1010 started, pid 2
         1110 ready after 100 ms
         4000 stopping: TERM from outside the container
         4000 not ready: a stop was asked for
         4000 step 1 of 2: TERM to the child, waiting up to 30.0 s
         4010 child exited with 0 on step 1 after 10 ms
         4010 stopped in 10 ms, exit status 0
         -> exit 0",
    );
}

#[test]
fn a_signal_that_comes_when_the_one_that_served_has_ended_is_told_of() {
    let mut story = replaced(replaces())
        .at(1000, received(named("USR2")))
        .at(2000, TERM)
        .at(2001, EXITS.of(1))
        .at(2005, received(named("USR1")))
        .at(2006, received(named("USR2")));
    story.script.ready = [Some(ms(100)), None].into();
    story.tells(
        "0 started, pid 2
         100 ready after 100 ms
         1000 replacing: USR2 from outside the container: generation 2 begins
         1000 generation 2: started, pid 4
         2000 stopping: TERM from outside the container
         2000 not ready: a stop was asked for
         2000 step 1 of 2: TERM to the child, waiting up to 30.0 s
         2000 generation 2: stopping: TERM from outside the container
         2000 generation 2: step 1 of 2: TERM to the child, waiting up to 30.0 s
         2001 child exited with 3 on step 1 after 1 ms
         2005 USR1 not forwarded: the child has ended
         2006 USR2 (--replace-on) not obeyed: the child has ended
         2010 generation 2: child exited with 0 on step 1 after 10 ms
         2010 generation 2: stopped in 10 ms, exit status 0
         2010 stopped in 10 ms, exit status 3
         -> exit 3",
    );
}

/// It can serve on, and the next one is not ready yet.
#[test]
fn where_the_one_that_serves_hands_over_it_serves_on() {
    let heir = Event::HeirFound {
        heir: Process::new(9, "next"),
        had: SignalSet::default(),
    };
    let exits = Event::ChildExited(ExitStatus::Exited(0));
    let mut story = replaced(replaces())
        .with("main-pid", "notify")
        .at(1000, received(named("USR2")))
        .at(1050, exits.of(1))
        .at(1060, heir.of(1))
        .at(3000, TERM);
    story.script.leftover = Leftover::Term;
    story.tells(
        "0 started, pid 2
         100 ready after 100 ms
         1000 replacing: USR2 from outside the container: generation 2 begins
         1000 generation 2: started, pid 4
         1050 child 2 exited with 0: waiting up to 10.0 s for the one that takes over: nobody is named (--main-pid)
         1060 child 2 exited with 0: handed over to pid 9 (next)
         1100 generation 2: ready after 100 ms
         1100 generation 2 serves, pid 4
         1100 generation 1: stopping: the next one serves
         1100 generation 1: step 1 of 2: TERM to the child, waiting up to 30.0 s
         1110 generation 1: child exited with 0 on step 1 after 10 ms
         1110 generation 1: TERM to 1 process left: 3 left behind
         1110 generation 1: nothing is left (0 s)
         1110 generation 1: stopped in 10 ms, exit status 0
         3000 stopping: TERM from outside the container
         3000 not ready: a stop was asked for
         3000 step 1 of 2: TERM to the child, waiting up to 30.0 s
         3010 child exited with 0 on step 1 after 10 ms
         3010 TERM to 1 process left: 3 left behind
         3010 nothing is left (0 s)
         3010 stopped in 10 ms, exit status 0
         -> exit 0",
    );
}

#[test]
fn one_that_is_being_stopped_does_not_serve_when_the_other_one_ends() {
    let mut supervision = replaces();
    supervision.restart = Restart::OnFailure;
    let mut story = replaced(supervision)
        .with("ready-timeout", "500ms")
        .at(1000, received(named("USR2")))
        .at(1505, EXITS.of(1))
        .at(4000, TERM);
    story.script.ready = [Some(ms(100)), None, Some(ms(100))].into();
    let told = story.told();
    for line in [
        "1500 generation 2: stopping: the start has failed",
        "1505 generation 1 exited with 3: restarted in 500 ms (--restart)",
        "1510 generation 2: exit status 125",
        "2005 generation 3 begins",
        "4010 stopped in 10 ms, exit status 0",
    ] {
        assert!(told.contains(line), "{told}");
    }
    assert!(!told.contains("serves"), "{told}");
}

#[test]
fn where_something_is_short_the_one_that_serves_goes_on() {
    let mut story = replaced(replaces())
        .at(1000, received(named("USR2")))
        .at(4000, TERM);
    story.script.beside_refused = Some(Unopened::NotNow("no descriptor is left".to_owned()));
    story.tells(
        "0 started, pid 2
         100 ready after 100 ms
         1000 not replaced: no descriptor is left; generation 1 goes on
         4000 stopping: TERM from outside the container
         4000 not ready: a stop was asked for
         4000 step 1 of 2: TERM to the child, waiting up to 30.0 s
         4010 child exited with 0 on step 1 after 10 ms
         4010 stopped in 10 ms, exit status 0
         -> exit 0",
    );
}
