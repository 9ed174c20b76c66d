//! What is waited for before the start: in order, in its time, and no longer than until a stop.

use super::*;

/// What a machine does and tells when these events happen, one a second; `-` is the clock alone.
fn told(options: &str, events: &[Option<Event>]) -> Vec<String> {
    let mut machine = Machine::new(Rc::new(plan(options)));
    let mut told = Vec::new();
    let mut look = |machine: &mut Machine, at: u64| {
        while let Some(action) = machine.poll() {
            told.push(match action {
                Action::Record(record) => format!("{at} {}", log::text(&record)),
                Action::WaitFor { condition, facts } => {
                    assert_eq!(facts.phase, "wait-for");
                    format!("{at} -> look at {condition}")
                }
                Action::RunHook { hook, .. } => format!("{at} -> {} hook", hook.phase.name()),
                Action::Finish(outcome) => format!("{at} -> exit {}", outcome.code),
                other => format!("{at} -> {other:?}").to_lowercase(),
            });
        }
    };
    look(&mut machine, 0);
    for (at, event) in (1..).zip(events) {
        let event = event.clone().unwrap_or(Event::Deadline);
        machine.handle(Duration::from_secs(at), event);
        look(&mut machine, at);
    }
    told
}

fn not(condition: usize, why: &str) -> Option<Event> {
    let why = why.to_owned();
    Some(Event::HoldsNot { condition, why })
}

fn holds(condition: usize) -> Option<Event> {
    Some(Event::Holds(condition))
}

#[test]
fn each_is_waited_for_in_order_and_told_where_it_does_not_hold_at_once() {
    let options = "--wait-for tcp:db:1 --wait-for file:/a --wait-timeout 1m --pre-start a";
    let events = [
        not(0, "unknown"),
        not(0, "unknown"),
        not(0, "refused"),
        // The late word of a look that was given up.
        holds(1),
        holds(0),
        holds(1),
    ];
    assert_eq!(
        told(options, &events),
        [
            "0 -> look at 0",
            "1 waiting up to 59.0 s for tcp:db:1: unknown (--wait-for)",
            "3 still waiting for tcp:db:1: refused",
            "5 tcp:db:1 holds after 5.0 s",
            "5 -> look at 1",
            "6 pre-start hook \"a\" started",
            "6 -> pre-start hook",
        ]
    );
}

#[test]
fn the_time_is_that_of_all_together_and_what_came_last_is_told() {
    let options = "--wait-for file:/a --wait-for tcp:db:1 --wait-timeout 4s --post-stop p";
    let events = [
        holds(0),
        not(1, "unknown"),
        not(1, "refused"),
        None,
        Some(Event::NoneLeft),
    ];
    assert_eq!(
        told(options, &events)[3..],
        [
            "3 still waiting for tcp:db:1: refused",
            "4 -> endwait",
            "4 --wait-for tcp:db:1 does not hold after 4.0 s: refused",
            "5 post-stop hook \"p\" started",
            "5 -> post-stop hook",
        ]
    );
}

#[test]
fn a_stop_ends_it_at_once_and_other_signals_are_kept_for_the_child() {
    let events = [
        not(0, "no"),
        // Between two looks.
        Some(Event::NoneLeft),
        Some(signal(named("USR1"))),
        Some(signal(Signal::TERM)),
        Some(Event::NoneLeft),
    ];
    let told = |events| told("--wait-for file:/a", events);
    assert_eq!(
        told(&events)[2..],
        [
            "4 stopping: TERM from pid 9",
            "4 -> endwait",
            "5 stopped in 1.0 s, exit status 143",
            "5 -> exit 143",
        ]
    );
    let events = [
        Some(signal(named("USR1"))),
        holds(0),
        Some(Event::Started { pid: 2 }),
    ];
    let forwarded = "3 USR1 forwarded to the child".to_owned();
    assert!(told(&events).contains(&forwarded));
}

#[test]
fn its_time_is_no_runtime_and_the_child_has_all_of_its_own() {
    let mut machine = Machine::new(Rc::new(plan("--wait-for file:/a --max-runtime 10s")));
    assert_eq!(machine.deadline(), Some(ms(60_000)));
    machine.handle(ms(30_000), Event::Holds(0));
    machine.handle(ms(30_000), Event::Started { pid: 2 });
    assert_eq!(machine.deadline(), Some(ms(40_000)));
}
