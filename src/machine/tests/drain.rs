//! The drain: its delay, its end, and what is told of it.

use super::*;
use crate::record::held::{HeldConnection, Why};
use crate::tell::log::text;

#[test]
fn what_comes_in_the_last_moment_of_the_delay_is_waited_for() {
    let drained = |machine: &mut Machine| {
        let mut asked = false;
        while let Some(action) = machine.poll() {
            asked |= action == Action::LookAgain;
        }
        (asked, !matches!(machine.phase, Phase::Drain(_)))
    };
    let checks = "--health-listen :1 --drain-checks 1 --drain-checks-timeout 2s";
    for (options, told_at) in [("--drain-delay 2s", None), (checks, Some(1_500))] {
        let options = format!("--drain-port 80 {options}");
        let mut machine = Machine::new(Rc::new(plan(&options)));
        machine.handle(ms(0), Event::Started { pid: 2 });
        machine.handle(ms(0), signal(Signal::TERM));
        machine.handle(ms(1_000), in_flight(0, true));
        assert_eq!(drained(&mut machine), (false, false));
        let (at, event) = match told_at {
            None => (2_000, Event::Deadline),
            Some(at) => (at, Event::BalancersTold),
        };
        machine.handle(ms(at), event);
        assert_eq!(drained(&mut machine), (true, false));
        machine.handle(ms(at + 1), in_flight(1, false));
        assert_eq!(drained(&mut machine), (false, false));
        machine.handle(ms(at + 500), in_flight(0, false));
        machine.handle(ms(at + 550), in_flight(0, true));
        assert_eq!(drained(&mut machine), (false, true));
    }
}

#[test]
fn the_drain_ends_when_it_has_settled_but_not_before_its_delay() {
    Story::of("--grace 1s")
        .drain(2_000, 9_000)
        .asked(Signal::TERM)
        .exits_on(Cue::Signal(Signal::TERM), 5)
        .at(100, in_flight(3, false))
        .at(200, in_flight(3, false))
        .at(500, in_flight(0, true))
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 stopping: TERM from outside the container
            0 -> startdrain
            0 drain: waiting 2.0 s, load balancers do not know yet (--drain-delay)
            100 drain: 3 in flight, 8.9 s left
            1100 drain: 0 in flight, 7.9 s left
            2000 -> lookagain
            2000 -> enddrain
            2000 -> term to the child
            2000 drained in 2.0 s
            2000 step 1 of 2: TERM to the child, waiting up to 1.0 s
            2000 -> cont to the child
            2005 child exited with 0 on step 1 after 2.0 s
            2005 stopped in 2.0 s, exit status 0
            2005 -> exit 0
            "#,
        );
}

#[test]
fn the_drain_goes_on_after_its_delay_while_requests_are_in_flight() {
    Story::of("--grace 1s")
        .drain(2_000, 9_000)
        .asked(Signal::TERM)
        .exits_on(Cue::Signal(Signal::TERM), 5)
        .at(100, in_flight(3, false))
        .at(4_000, in_flight(0, false))
        .at(5_000, in_flight(0, true))
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 stopping: TERM from outside the container
            0 -> startdrain
            0 drain: waiting 2.0 s, load balancers do not know yet (--drain-delay)
            100 drain: 3 in flight, 8.9 s left
            2000 drain: waiting until no request is in flight
            4000 drain: 0 in flight, 5.0 s left
            5000 -> enddrain
            5000 -> term to the child
            5000 drained in 5.0 s
            5000 step 1 of 2: TERM to the child, waiting up to 1.0 s
            5000 -> cont to the child
            5005 child exited with 0 on step 1 after 5.0 s
            5005 stopped in 5.0 s, exit status 0
            5005 -> exit 0
            "#,
        );
}

#[test]
fn the_drain_ends_by_its_timeout_and_tells_who_was_interrupted() {
    Story::of("--grace 1s")
        .drain(2_000, 3_000)
        .asked(Signal::TERM)
        .exits_on(Cue::Signal(Signal::TERM), 5)
        .at(100, in_flight(2, false))
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 stopping: TERM from outside the container
            0 -> startdrain
            0 drain: waiting 2.0 s, load balancers do not know yet (--drain-delay)
            100 drain: 2 in flight, 2.9 s left
            2000 drain: waiting until no request is in flight
            3000 -> enddrain
            3000 -> term to the child
            3000 drain ended by its timeout after 3.0 s, 2 requests interrupted
            3000 step 1 of 2: TERM to the child, waiting up to 1.0 s
            3000 -> cont to the child
            3005 child exited with 0 on step 1 after 3.0 s
            3005 stopped in 3.0 s, exit status 0
            3005 -> exit 0
            "#,
        );
}

#[test]
fn the_delay_is_kept_even_where_the_timeout_is_shorter() {
    Story::of("--grace 1s")
        .drain(3_000, 1_000)
        .asked(Signal::TERM)
        .exits_on(Cue::Signal(Signal::TERM), 5)
        .at(100, in_flight(0, true))
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 stopping: TERM from outside the container
            0 -> startdrain
            0 drain: waiting 3.0 s, load balancers do not know yet (--drain-delay)
            3000 -> enddrain
            3000 -> term to the child
            3000 drained in 3.0 s
            3000 step 1 of 2: TERM to the child, waiting up to 1.0 s
            3000 -> cont to the child
            3005 child exited with 0 on step 1 after 3.0 s
            3005 stopped in 3.0 s, exit status 0
            3005 -> exit 0
            "#,
        );
}

#[test]
fn balancers_that_were_told_end_their_wait_but_not_the_delay() {
    let story = |delay| {
        Story::of("--grace 1s")
            .drain(delay, 9_000)
            .checks(2, 5_000)
            .asked(Signal::TERM)
            .exits_on(Cue::Signal(Signal::TERM), 5)
            .at(100, in_flight(1, false))
            .at(1_000, Event::BalancersTold)
            .at(1_500, in_flight(0, true))
    };
    story(0).tells(
        r#"
        0 -> start
        0 started, pid 2
        0 -> notready
        0 stopping: TERM from outside the container
        0 -> startdrain
        0 drain: waiting until each checker was told "not ready" 2 times, up to 5.0 s (--drain-checks)
        100 drain: 1 in flight, 8.9 s left
        1000 drain: waiting until no request is in flight
        1500 -> enddrain
        1500 -> term to the child
        1500 drained in 1.5 s
        1500 step 1 of 2: TERM to the child, waiting up to 1.0 s
        1500 -> cont to the child
        1505 child exited with 0 on step 1 after 1.5 s
        1505 stopped in 1.5 s, exit status 0
        1505 -> exit 0
        "#,
    );
    story(2_000).tells(
        r#"
        0 -> start
        0 started, pid 2
        0 -> notready
        0 stopping: TERM from outside the container
        0 -> startdrain
        0 drain: waiting 2.0 s, load balancers do not know yet (--drain-delay)
        100 drain: 1 in flight, 8.9 s left
        1500 drain: 0 in flight, 7.5 s left
        2000 -> lookagain
        2000 -> enddrain
        2000 -> term to the child
        2000 drained in 2.0 s
        2000 step 1 of 2: TERM to the child, waiting up to 1.0 s
        2000 -> cont to the child
        2005 child exited with 0 on step 1 after 2.0 s
        2005 stopped in 2.0 s, exit status 0
        2005 -> exit 0
        "#,
    );
}

#[test]
fn checks_are_waited_for_after_the_delay_and_each_wait_is_told() {
    Story::of("--grace 1s")
        .drain(1_000, 2_000)
        .checks(1, 4_000)
        .asked(Signal::TERM)
        .exits_on(Cue::Signal(Signal::TERM), 5)
        .at(100, in_flight(1, false))
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 stopping: TERM from outside the container
            0 -> startdrain
            0 drain: waiting 1.0 s, load balancers do not know yet (--drain-delay)
            100 drain: 1 in flight, 3.9 s left
            1000 drain: waiting until each checker was told "not ready" once, up to 3.0 s (--drain-checks)
            4000 drain: not every checker was told "not ready" once within 4.0 s (--drain-checks-timeout)
            4000 -> enddrain
            4000 -> term to the child
            4000 drain ended by its timeout after 4.0 s, 1 request interrupted
            4000 step 1 of 2: TERM to the child, waiting up to 1.0 s
            4000 -> cont to the child
            4005 child exited with 0 on step 1 after 4.0 s
            4005 stopped in 4.0 s, exit status 0
            4005 -> exit 0
            "#,
        );
}

#[test]
fn that_not_all_balancers_know_is_told_and_the_drain_goes_on() {
    Story::of("--grace 1s")
        .drain(0, 9_000)
        .checks(2, 3_000)
        .asked(Signal::TERM)
        .exits_on(Cue::Signal(Signal::TERM), 5)
        .at(100, in_flight(1, false))
        .at(3_500, in_flight(0, true))
        // The wait for them is over: they change nothing.
        .at(3_400, Event::BalancersTold)
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 stopping: TERM from outside the container
            0 -> startdrain
            0 drain: waiting until each checker was told "not ready" 2 times, up to 3.0 s (--drain-checks)
            100 drain: 1 in flight, 8.9 s left
            3000 drain: not every checker was told "not ready" 2 times within 3.0 s (--drain-checks-timeout)
            3000 drain: waiting until no request is in flight
            3500 -> enddrain
            3500 -> term to the child
            3500 drained in 3.5 s
            3500 step 1 of 2: TERM to the child, waiting up to 1.0 s
            3500 -> cont to the child
            3505 child exited with 0 on step 1 after 3.5 s
            3505 stopped in 3.5 s, exit status 0
            3505 -> exit 0
            "#,
        );
}

#[test]
fn what_balancers_were_told_before_it_was_ready_again_ends_no_delay() {
    let options =
        "--ready-when notify --drain-checks-timeout 5s --health-listen :1 --drain-checks 2";
    let mut machine = Machine::new(Rc::new(plan(options)));
    machine.handle(ms(0), Event::Started { pid: 2 });
    for (at, event) in [
        (1, Event::Ready),
        (2, Event::ChildStopping),
        (3, Event::BalancersTold),
        (4, Event::Ready),
        (5, signal(Signal::TERM)),
    ] {
        machine.handle(ms(at), event);
    }
    assert_eq!(machine.deadline(), Some(ms(5_005)));
}

#[test]
fn a_child_that_wants_more_time_stretches_the_drain() {
    Story::of("--grace 1s")
        .drain(0, 1_000)
        .asked(Signal::TERM)
        .at(100, in_flight(1, false))
        .at(500, Event::Extend(ms(3_000)))
        .at(600, in_flight(2, false))
        .at(3_600, Event::Extend(ms(3_000)))
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 stopping: TERM from outside the container
            0 -> startdrain
            0 drain: waiting until no request is in flight
            100 drain: 1 in flight, 900 ms left
            500 the child asks for more time: it has 3.0 s
            1100 drain: 2 in flight, 2.4 s left
            3500 -> enddrain
            3500 -> term to the child
            3500 drain ended by its timeout after 3.5 s, 2 requests interrupted
            3500 step 1 of 2: TERM to the child, waiting up to 1.0 s
            3500 -> cont to the child
            3600 the child asks for more time: it has 3.0 s
            6600 -> kill to the tree
            6600 step 2 of 2: KILL to the tree
            6600 child died of KILL on step 2 after 6.6 s
            6600 stopped by KILL in 6.6 s, exit status 137
            6600 -> exit 137
            "#,
        );
}

#[test]
fn no_child_stretches_the_drain_past_what_the_ladder_needs() {
    let mut machine = Machine::new(Rc::new(plan(
        "--drain-port 80 --drain-timeout 1s --grace 2s --deadline 10s",
    )));
    machine.handle(ms(0), Event::Started { pid: 2 });
    machine.handle(ms(0), signal(Signal::TERM));
    machine.handle(ms(1), in_flight(1, false));
    assert_eq!(machine.deadline(), Some(ms(1_000)));
    machine.handle(ms(2), Event::Extend(ms(60_000)));
    let ladder_by = machine.plan.budget().unwrap().ladder_by;
    assert!(ladder_by < ms(8_000));
    assert_eq!(machine.deadline(), Some(ladder_by));
    machine.handle(ladder_by, Event::Deadline);
    assert!(matches!(machine.phase, Phase::Ladder(_)));
}

#[test]
fn a_child_that_exits_ends_the_drain() {
    Story::of("--grace 1s")
        .drain(0, 9_000)
        .asked(Signal::TERM)
        .at(100, in_flight(1, false))
        .at(500, Event::ChildExited(ExitStatus::Exited(1)))
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 stopping: TERM from outside the container
            0 -> startdrain
            0 drain: waiting until no request is in flight
            100 drain: 1 in flight, 8.9 s left
            500 child exited with 1 after 500 ms
            500 -> enddrain
            500 drain ended after 500 ms: the child has exited, 1 request interrupted
            500 stopped in 500 ms, exit status 1
            500 -> exit 1
            "#,
        );
}

// What the program itself is asked.

#[test]
fn the_drain_lasts_until_all_that_the_program_is_asked_holds() {
    let options = "--grace 1s --drain-until exec:a --drain-until notify --drain-timeout 9s";
    Story::of(options)
        .asked(Signal::TERM)
        .exits_on(Cue::Signal(Signal::TERM), 5)
        .at(0, Event::SaysInFlight(2))
        .at(100, answered(0, Answer::of_number(5)))
        .at(200, answered(0, not_known()))
        .at(300, answered(0, not_known()))
        .at(2_000, answered(0, Answer::Holds))
        .at(3_000, Event::SaysInFlight(1))
        .at(4_000, Event::SaysInFlight(0))
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 stopping: TERM from outside the container
            0 -> startdrain
            0 drain: waiting until exec:a holds and notify holds
            0 -> ask about 2
            0 drain: 2 in flight, 9.0 s left
            200 --drain-until exec:a: refused
            3000 drain: 1 in flight, 6.0 s left
            4000 -> enddrain
            4000 -> term to the child
            4000 drained in 4.0 s
            4000 step 1 of 2: TERM to the child, waiting up to 1.0 s
            4000 -> cont to the child
            4005 child exited with 0 on step 1 after 4.0 s
            4005 stopped in 4.0 s, exit status 0
            4005 -> exit 0
            "#,
        );
}

#[test]
fn what_never_holds_is_told_when_the_timeout_decides() {
    Story::of("--grace 1s --drain-until exec:a --drain-until exec:b --drain-until notify --drain-timeout 2s")
        .asked(Signal::TERM)
        .exits_on(Cue::Signal(Signal::TERM), 5)
        .at(100, answered(0, Answer::Holds))
        .at(100, answered(1, Answer::of_number(5)))
        .tells(
            r#"
            0 -> start
            0 started, pid 2
            0 -> notready
            0 stopping: TERM from outside the container
            0 -> startdrain
            0 drain: waiting until exec:a holds and exec:b holds and notify holds
            0 -> ask about 3
            100 drain: 5 in flight, 1.9 s left
            2000 -> enddrain
            2000 -> term to the child
            2000 --drain-until exec:b does not hold: 5 in flight
            2000 --drain-until notify does not hold: the child has not said X_STEPDOWN_IN_FLIGHT
            2000 drain ended by its timeout after 2.0 s, 5 requests interrupted
            2000 step 1 of 2: TERM to the child, waiting up to 1.0 s
            2000 -> cont to the child
            2005 child exited with 0 on step 1 after 2.0 s
            2005 stopped in 2.0 s, exit status 0
            2005 -> exit 0
            "#,
        );
}

#[test]
fn what_was_answered_during_the_delay_is_asked_again() {
    let options = "--drain-port 80 --drain-until exec:a --drain-delay 2s";
    let mut machine = Machine::new(Rc::new(plan(options)));
    let mut drained = |at, event| {
        machine.handle(ms(at), event);
        let mut asked = false;
        while let Some(action) = machine.poll() {
            asked |= action == Action::LookAgain;
        }
        (asked, !matches!(machine.phase, Phase::Drain(_)))
    };
    drained(0, Event::Started { pid: 2 });
    drained(0, signal(Signal::TERM));
    let holds = answered(0, Answer::Holds);
    assert_eq!(drained(100, holds.clone()), (false, false));
    assert_eq!(drained(1_000, in_flight(0, true)), (false, false));
    assert_eq!(drained(2_000, Event::Deadline), (true, false));
    assert_eq!(drained(2_001, in_flight(0, true)), (false, false));
    assert_eq!(
        drained(2_010, answered(0, Answer::of_number(1))),
        (false, false)
    );
    assert_eq!(drained(2_500, holds), (false, true));
}

fn held_up(connections: u32, peers: &[u16]) -> Event {
    let held = |port: &u16| HeldConnection {
        peer: ([10, 0, 0, 1], *port).into(),
        port: 80,
        why: Why::Owed,
        waited: ms(4_000),
    };
    Event::HeldUp {
        connections,
        oldest: peers.iter().map(held).collect(),
    }
}

#[test]
fn what_holds_up_the_drain_is_told_when_it_changes_and_at_the_end() {
    let mut machine = Machine::new(Rc::new(plan("--drain-port 80 --drain-timeout 3s")));
    machine.handle(ms(0), Event::Started { pid: 2 });
    machine.handle(ms(0), signal(Signal::TERM));
    let mut told = |at: u64, event: Event| -> Vec<String> {
        machine.handle(ms(at), event);
        let actions = std::iter::from_fn(|| machine.poll());
        let lines = actions.filter_map(|action| match action {
            Action::Record(record @ Record::HeldUp { .. }) => Some(text(&record)),
            _ => None,
        });
        lines.collect()
    };
    let nothing: [&str; 0] = [];
    // That nothing is in flight is no news at the beginning.
    assert_eq!(told(10, held_up(0, &[])), nothing);
    assert_eq!(told(20, in_flight(2, false)), nothing);
    assert_eq!(
        told(20, held_up(2, &[1, 2])),
        [
            "drain: held up by 2 connections: 10.0.0.1:1 on port 80 (owed, 4.0 s), 10.0.0.1:2 on port 80 (owed, 4.0 s)"
        ]
    );
    // No more often than once a second, and then as it is.
    assert_eq!(told(500, held_up(3, &[3])), nothing);
    assert_eq!(
        told(1_020, Event::Deadline),
        ["drain: held up by 3 connections: 10.0.0.1:3 on port 80 (owed, 4.5 s) and 2 more"]
    );
    assert_eq!(told(1_500, held_up(1, &[4])), nothing);
    assert_eq!(told(1_600, in_flight(1, false)), nothing);
    assert_eq!(told(2_020, Event::Deadline).len(), 1);
    assert_eq!(told(2_100, held_up(1, &[5])), nothing);
    assert_eq!(
        told(3_000, Event::Deadline),
        ["drain: held up by 1 connection: 10.0.0.1:5 on port 80 (owed, 4.9 s)"]
    );
}
