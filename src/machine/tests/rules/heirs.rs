//! Rules of single moments, of a hand-over.

use super::*;

#[test]
fn who_takes_over_is_looked_at_as_the_one_before_was() {
    let heir = || Event::HeirFound {
        heir: Process::new(7, "heir"),
        had: SignalSet::default(),
    };
    let looks = |actions: &[Action]| {
        let names = actions.iter().filter_map(|action| match action {
            Action::StopLooking => Some("stop"),
            Action::AwaitReady(_) => Some("ready"),
            Action::Watch(_) => Some("alive"),
            _ => None,
        });
        names.collect::<Vec<_>>()
    };
    let mut run = Run::of("--main-pid notify --ready-when exec:ready --live-when exec:alive");
    run.hears(0, exits(0));
    assert_eq!(looks(&run.hears(0, heir())), ["stop", "ready"]);
    run.hears(0, Event::Ready);
    run.hears(0, exits(0));
    assert_eq!(looks(&run.hears(0, heir())), ["stop", "alive"]);
    let mut run = Run::of("--main-pid notify --live-when watchdog:10s");
    run.hears(0, exits(0));
    assert_eq!(looks(&run.hears(0, heir())), [""; 0]);
}

#[test]
fn what_the_whole_group_was_sent_has_reached_the_one_that_takes_over() {
    let heir = |had: &[Signal]| Event::HeirFound {
        heir: Process::new(7, "heir"),
        had: had.iter().copied().collect(),
    };
    for (had, code) in [(&[Signal::TERM][..], 0), (&[], 0)] {
        let mut run = Run::of("--main-pid notify --target group --ladder TERM:5s --clean-stop");
        run.hears(0, signal(Signal::TERM));
        run.hears(0, exits(0));
        let again = sends(&run.hears(0, heir(had)));
        assert_eq!(again.is_empty(), !had.is_empty(), "nobody gets it twice");
        run.hears(0, dies_of(Signal::TERM));
        run.hears(0, Event::NoHeir("nobody".to_owned()));
        let actions = run.hears(0, Event::NoneLeft);
        let Some(Action::Finish(outcome)) = actions.last() else {
            panic!("{actions:?}");
        };
        assert_eq!(outcome.code, code, "it died of the ladder's signal");
    }
}

#[test]
fn who_listens_is_looked_up_where_the_child_ended_well_by_itself_and_nothing_takes_over() {
    let looks = |options: &str, asked: bool, code: u8| {
        let mut run = Run::of(options);
        if asked {
            run.hears(0, signal(Signal::TERM));
        }
        run.hears(0, exits(code));
        run.hears(0, Event::NoHeir("nobody".to_owned()));
        run.hears(0, Event::Deadline)
            .contains(&Action::LookWhoListens)
    };
    assert!(looks("", false, 0));
    assert!(!looks("", true, 0));
    assert!(!looks("", false, 1));
    assert!(!looks("--main-pid notify", false, 0));
}

#[test]
fn who_listens_is_looked_up_in_the_first_life_alone() {
    for (number, looks) in [(1, true), (2, false)] {
        let generation = Generation {
            number,
            restarts: 0,
        };
        let machine = Machine::of_generation(Rc::new(plan("")), ms(0), Some(generation));
        let now = ms(0);
        let mut run = Run { machine, now };
        run.hears(0, Event::Started { pid: 2 });
        run.hears(0, exits(0));
        let actions = run.hears(0, Event::Deadline);
        assert_eq!(actions.contains(&Action::LookWhoListens), looks);
    }
}

#[test]
fn an_heir_is_waited_for_while_the_stop_can_go_on_without_it() {
    let mut run = Run::of("--main-pid notify --pre-stop p");
    run.hears(0, signal(Signal::TERM));
    run.hears(0, exits(0));
    let actions = run.hears(0, Event::NoHeir("unnamed".to_owned()));
    assert!(tells(&actions, "waiting up to 10.0 s"), "{actions:?}");
}
