//! Ready or not: each change is a record, and a run in which nobody asks has none.

use super::*;
use crate::plan::reload::Reload;

/// The records about readiness of a child that is told of as these events say, one a millisecond.
fn told(options: &str, events: &[Event]) -> Vec<String> {
    let mut machine = Machine::new(Rc::new(plan(options)));
    let mut told = Vec::new();
    for (at, event) in (0..).zip([Event::Started { pid: 2 }].iter().chain(events)) {
        machine.handle(ms(at), event.clone());
        while let Some(action) = machine.poll() {
            if let Action::Record(
                record @ (Record::Ready { .. }
                | Record::NotYetReady { .. }
                | Record::StillNotReady { .. }
                | Record::NotReady { .. }
                | Record::ReadyAgain { .. }),
            ) = action
            {
                told.push(format!("{at} {}", log::text(&record)));
            }
        }
    }
    told
}

fn not_yet(why: &str) -> Event {
    Event::NotYetReady(why.to_owned())
}

#[test]
fn why_it_is_not_ready_yet_is_told_when_that_changes() {
    let events = [
        not_yet("refused"),
        not_yet("refused"),
        not_yet("404"),
        Event::Ready,
        Event::Ready,
    ];
    assert_eq!(
        told("--ready-when tcp:80", &events),
        [
            "1 not ready yet: refused",
            "3 not ready yet: 404",
            "4 ready after 4 ms"
        ]
    );
}

#[test]
fn ports_that_are_never_listened_on_are_told_once_and_liveness_begins() {
    let run = |options: &str| {
        let options = format!("--live-when exec:x {options}");
        let mut machine = Machine::new(Rc::new(plan(&options)));
        machine.handle(ms(0), Event::Started { pid: 2 });
        machine.handle(ms(0), not_yet("nobody listens on port 81"));
        let mut told = Vec::new();
        for at in [29_999, 30_000, 60_000] {
            machine.handle(ms(at), Event::Deadline);
            while let Some(action) = machine.poll() {
                match action {
                    Action::Record(record @ Record::StillNotReady { .. }) => {
                        told.push(format!("{at} {}", log::text(&record)));
                    }
                    Action::Watch(_) => told.push(format!("{at} watch")),
                    _ => {}
                }
            }
        }
        told
    };
    assert_eq!(
        run("--drain-port 80,81"),
        [
            "30000 not ready after 30.0 s, --drain-port 80,81 does not hold: nobody listens on port 81; \
             --ready-when says otherwise when it is ready",
            "30000 watch"
        ]
    );
    // Somebody has said when it is ready, or by when.
    for options in ["--ready-when tcp:81", "--drain-port 81 --ready-timeout 5m"] {
        assert_eq!(run(options), [""; 0], "{options}");
    }
}

#[test]
fn a_child_that_is_ready_in_time_or_says_that_it_is_stopping_is_not_told_of_again() {
    for event in [Event::Ready, Event::ChildStopping] {
        let mut machine = Machine::new(Rc::new(plan("--drain-port 80")));
        machine.handle(ms(0), Event::Started { pid: 2 });
        assert_eq!(machine.deadline(), Some(ms(30_000)));
        machine.handle(ms(1), event);
        assert_eq!(machine.deadline(), None);
    }
}

#[test]
fn what_a_child_waits_for_is_not_changed_by_a_plan_that_is_read_again() {
    let mut machine = Machine::new(Rc::new(plan("--drain-port 80 --ready-timeout 1s")));
    machine.handle(ms(0), Event::Started { pid: 2 });
    machine.handle(
        ms(1),
        Event::Reloaded(Box::new(Reload {
            plan: plan("--drain-port 81 --ready-timeout 1s"),
            changed: vec!["drain-port"],
            needs_restart: Vec::new(),
        })),
    );
    machine.handle(ms(1_000), Event::Deadline);
    let told = std::iter::from_fn(|| machine.poll()).find_map(|action| match action {
        Action::Record(Record::StartFailed(failure)) => Some(failure.message),
        _ => None,
    });
    let expected = "not ready after 1.0 s, --drain-port 80 does not hold";
    assert_eq!(told.as_deref(), Some(expected));
}

#[test]
fn its_own_word_makes_a_child_ready_unless_another_condition_is_written() {
    for (options, counts) in [
        ("", true),
        ("--drain-port 80", true),
        ("--ready-when notify --drain-port 80", true),
        ("--ready-when tcp:80", false),
    ] {
        assert_eq!(plan(options).takes_ready_from_child(), counts, "{options}");
    }
}

#[test]
fn a_stop_that_the_child_announces_is_told_once_and_so_is_that_it_does_not_come() {
    let events = [
        Event::Ready,
        Event::ChildStopping,
        Event::ChildStopping,
        Event::Ready,
        Event::ChildStopping,
        signal(Signal::TERM),
    ];
    assert_eq!(
        told("--ready-when notify", &events),
        [
            "1 ready after 1 ms",
            "2 not ready: the child says that it is stopping",
            "4 ready again after 2 ms",
            "5 not ready: the child says that it is stopping",
            "6 not ready: a stop was asked for",
        ]
    );
}

#[test]
fn that_it_is_not_ready_is_told_to_whom_it_was_told_that_it_is() {
    let exits = [Event::ChildExited(ExitStatus::Exited(0))];
    let stops = [signal(Signal::TERM)];
    for options in ["--health-listen :1", "--ready-when notify"] {
        assert_eq!(told(options, &stops), ["1 not ready: a stop was asked for"]);
        assert_eq!(told(options, &exits), ["1 not ready: the child has exited"]);
    }
    assert_eq!(told("", &stops), [""; 0]);
    assert_eq!(told("", &exits), [""; 0]);
}

#[test]
fn balancers_learn_of_the_stop_before_anything_but_the_signal_of_the_first_step() {
    for options in ["", "--pre-stop a", "--drain-checks 2"] {
        let options = format!("--health-listen :1 {options}");
        let mut machine = Machine::new(Rc::new(plan(&options)));
        machine.handle(ms(0), Event::Started { pid: 2 });
        while machine.poll().is_some() {}
        machine.handle(ms(1), signal(Signal::TERM));
        let actions: Vec<Action> = std::iter::from_fn(|| machine.poll()).collect();
        let checks = options.contains("checks").then_some(2);
        let why = NotReady::StopAsked;
        let told = Action::Record(Record::NotReady { why, checks });
        let place = actions.iter().position(|action| *action == told).unwrap();
        for action in &actions[..place] {
            let is_early = match action {
                Action::NotReady | Action::Record(Record::StopAsked { .. }) => true,
                Action::Send { .. } => options.ends_with(' '),
                _ => false,
            };
            assert!(is_early, "{options}: {actions:?}");
        }
        assert!(actions.len() > place + 1, "{actions:?}");
    }
}
