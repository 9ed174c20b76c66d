//! Rules of single moments, of the drain.

use super::*;

#[test]
fn a_deadline_that_comes_from_outside_ends_a_drain_in_time_for_the_ladder() {
    let mut run = Run::of("--drain-port 80 --drain-timeout 30s --grace 5s");
    run.hears(0, signal(Signal::TERM));
    run.hears(0, in_flight(1, false));
    run.machine.ends_with(run.now, &plan("--deadline 10s"));
    assert_eq!(run.waits(), Some(ms(4750)));
}

#[test]
fn eight_reasons_why_an_answer_is_not_known_are_told_each_once() {
    let mut run = Run::of("--drain-until exec:idle --drain-timeout 30s");
    run.hears(0, signal(Signal::TERM));
    let mut told = 0;
    for reason in (0..10).chain(0..10) {
        let answer = Answer::NotKnown(format!("reason {reason}"));
        let actions = run.hears(0, answered(0, answer));
        told += usize::from(tells(&actions, "reason"));
    }
    assert_eq!(told, 8);
}

#[test]
fn only_the_one_that_serves_has_requests_to_wait_for() {
    let generation = Generation {
        number: 2,
        restarts: 0,
    };
    for serves in [false, true] {
        let machine = Machine::beside(Rc::new(plan("--drain-port 80")), ms(0), generation);
        let now = ms(0);
        let mut run = Run { machine, now };
        run.hears(0, Event::Started { pid: 2 });
        if serves {
            run.machine.serve();
        }
        let actions = run.hears(0, signal(Signal::TERM));
        assert_eq!(actions.contains(&Action::StartDrain), serves);
        assert_eq!(sends(&actions).is_empty(), serves);
    }
}

#[test]
fn where_no_port_is_looked_at_the_programs_word_ends_the_drain_with_the_delay() {
    let mut run = Run::of("--drain-delay 1s --drain-until notify");
    run.hears(0, Event::SaysInFlight(0));
    assert_eq!(sends(&run.hears(0, signal(Signal::TERM))), []);
    assert_eq!(sends(&run.hears(1000, Event::Deadline)), [Signal::TERM]);
}

#[test]
fn what_was_seen_before_the_delay_was_over_is_looked_at_once_more() {
    let mut run = Run::of("--drain-port 80 --drain-delay 1s");
    run.hears(0, signal(Signal::TERM));
    run.hears(500, in_flight(0, true));
    let actions = run.hears(500, Event::Deadline);
    assert_eq!(actions, [Action::LookAgain]);
    assert_eq!(run.hears(0, Event::Deadline), []);
    assert_eq!(sends(&run.hears(0, in_flight(0, true))), [Signal::TERM]);
    let mut run = Run::of("--drain-delay 1s --drain-until exec:idle");
    run.hears(0, signal(Signal::TERM));
    run.hears(500, answered(0, Answer::Holds));
    let actions = run.hears(500, Event::Deadline);
    assert_eq!(actions, [Action::LookAgain]);
    let actions = run.hears(1, answered(0, Answer::Holds));
    assert_eq!(sends(&actions), [Signal::TERM]);
}

#[test]
fn a_drain_that_cuts_no_request_names_no_connection_at_its_end() {
    let mut run = Run::of("--drain-port 80 --drain-until exec:idle --drain-timeout 5s");
    run.hears(0, signal(Signal::TERM));
    run.hears(0, in_flight(1, false));
    run.hears(4500, held_up(1));
    run.hears(300, in_flight(0, true));
    run.hears(0, held_up(0));
    let actions = run.hears(200, Event::Deadline);
    assert_eq!(sends(&actions), [Signal::TERM]);
    let names = |action: &Action| matches!(action, Action::Record(Record::HeldUp { .. }));
    assert!(!actions.iter().any(names), "{actions:?}");
}
