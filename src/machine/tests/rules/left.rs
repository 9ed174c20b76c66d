//! Rules of single moments, of what the child has left behind.

use super::*;

#[test]
fn who_is_there_after_kill_went_to_the_tree_is_stopped_before_the_next_kill() {
    let mut run = Run::of("--ladder TERM:1s,KILL@tree");
    run.hears(0, signal(Signal::TERM));
    run.hears(1000, Event::Deadline);
    run.hears(0, dies_of(Signal::KILL));
    let actions = run.hears(0, Event::Deadline);
    assert!(actions.contains(&Action::Sweep(Signal::KILL)));
    let actions = run.hears(0, swept(Signal::KILL, 9..10));
    let stops = actions.contains(&Action::Sweep(Signal::STOP));
    assert!(stops, "it forks: {actions:?}");
}

#[test]
fn the_more_get_kill_the_longer_it_is_waited_before_the_next_look() {
    for (count, pause) in [(1, 5_030), (1000, 35_000), (100_000, 160_000)] {
        let mut run = Run::of("--sweep-grace 0");
        run.hears(0, exits(0));
        run.hears(0, Event::Deadline);
        run.hears(0, Event::Deadline);
        run.hears(0, swept(Signal::KILL, 3..3 + count));
        assert_eq!(run.waits(), Some(Duration::from_micros(pause)), "{count}");
    }
}

#[test]
fn that_somebody_is_waited_for_is_told_once_and_of_nobody_never() {
    let not_told = |pids: &[i32]| Event::NotTold {
        before: pids.iter().map(|pid| Process::new(*pid, "left")).collect(),
        held_back: false,
    };
    let mut run = Run::of("");
    run.hears(0, exits(0));
    run.hears(0, Event::Deadline);
    assert_eq!(run.hears(0, not_told(&[])), []);
    let actions = run.hears(0, not_told(&[3]));
    let [Action::Record(Record::Awaited { processes, .. })] = &actions[..] else {
        panic!("{actions:?}");
    };
    assert_eq!(processes.len(), 1);
    assert_eq!(run.hears(0, not_told(&[3, 4])), []);
}

#[test]
fn kill_by_hand_of_what_is_left_is_the_third_request() {
    let mut run = Run::of("--sweep-grace 1m");
    run.hears(0, signal(Signal::INT));
    run.hears(0, exits(0));
    run.hears(0, Event::Deadline);
    let actions = run.hears(0, signal(Signal::INT));
    assert_eq!(says_again(&actions), Some(Again::Noted));
    let actions = run.hears(0, signal(Signal::INT));
    assert!(actions.contains(&Action::Sweep(Signal::KILL)));
}

#[test]
fn what_the_hooks_have_left_gets_kill_until_the_deadline() {
    let mut run = Run::of("--deadline 10s --post-stop z");
    run.hears(0, signal(Signal::TERM));
    run.hears(0, exits(0));
    run.hears(0, Event::NoneLeft);
    let (phase, index) = (HookPhase::PostStop, 0);
    let hook = HookId { phase, index };
    let result = done();
    run.hears(4900, Event::HookEnded { hook, result });
    // Half of the hooks' time, which a process that was killed before them may take, is over after 7.25 s.
    for after in [0, 3000, 1500] {
        let actions = run.hears(after, Event::Deadline);
        assert_eq!(actions, [Action::Sweep(Signal::KILL)], "{after}");
    }
}

#[test]
fn what_has_ended_the_child_counts_as_a_request_to_those_that_had_it_too() {
    let hup = named("HUP");
    let mut run = Run::of("--ladder HUP@tree:5s");
    run.hears(0, signal(Signal::TERM));
    run.hears(0, exits(0));
    assert!(had(&run.hears(0, Event::Deadline)).contains(hup));
    let mut run = Run::of("");
    run.hears(0, signal(hup));
    run.hears(0, exits(0));
    assert!(!had(&run.hears(0, Event::Deadline)).contains(hup));
}

/// What is left forks faster than KILL ends it.
fn forks() -> Run {
    let mut run = Run::of("--sweep-grace 0");
    run.hears(0, exits(0));
    run.hears(0, Event::Deadline);
    run.hears(0, Event::Deadline);
    run.hears(0, swept(Signal::KILL, 3..4));
    run.hears(6, Event::Deadline);
    let actions = run.hears(0, swept(Signal::KILL, 4..5));
    assert_eq!(actions.first(), Some(&Action::Sweep(Signal::STOP)));
    run
}

const NEXT: Action = Action::Sweep(Signal::STOP);
const LAST: Action = Action::Sweep(Signal::KILL);

#[test]
fn what_forks_is_stopped_until_nobody_new_is_found_and_is_told_once() {
    let mut run = forks();
    let actions = run.hears(0, swept(Signal::STOP, 5..6));
    assert!(tells(&actions, "STOP to 1 process"), "{actions:?}");
    assert!(actions.contains(&NEXT), "{actions:?}");
    assert_eq!(run.hears(0, swept(Signal::STOP, 6..7)), [NEXT]);
    assert_eq!(run.hears(0, swept(Signal::STOP, 7..7)), [LAST]);
    // Where nobody was found there is nothing to tell.
    assert_eq!(forks().hears(0, swept(Signal::STOP, 5..5)), [LAST]);
}

#[test]
fn what_forks_is_stopped_no_more_than_64_times_and_no_longer_than_kill_may_take() {
    let mut run = forks();
    for pid in 5..69 {
        let actions = run.hears(0, swept(Signal::STOP, pid..pid + 1));
        assert!(actions.contains(&NEXT), "{pid}: {actions:?}");
    }
    assert_eq!(run.hears(0, swept(Signal::STOP, 69..70)), [LAST]);
    for (after, next) in [(9_993, NEXT), (9_994, LAST)] {
        let actions = forks().hears(after, swept(Signal::STOP, 5..6));
        assert!(actions.contains(&next), "{after}: {actions:?}");
    }
}

#[test]
fn a_stop_command_that_outlives_the_child_gets_no_more_time() {
    let mut run = Run::of("--ladder exec=stop:1m --sweep-grace 2s");
    run.hears(0, signal(Signal::TERM));
    run.hears(0, exits(0));
    assert_eq!(run.waits(), Some(ms(2000)));
    assert_eq!(run.hears(0, Event::Extend(ms(30_000))), []);
    assert_eq!(run.waits(), Some(ms(2000)));
}

#[test]
fn whoever_has_lost_its_parent_is_looked_for_at_once() {
    let mut run = Run::of("--sweep-grace 10s");
    run.hears(0, exits(0));
    run.hears(0, Event::Deadline);
    let (before, held_back) = (Vec::new(), true);
    run.hears(0, Event::NotTold { before, held_back });
    assert_eq!(run.waits(), Some(ms(5000)), "half of its time");
    let (pid, status) = (3, ExitStatus::Exited(0));
    run.hears(100, Event::Reaped { pid, status });
    assert_eq!(run.waits(), Some(ms(0)));
}

#[test]
fn while_what_is_left_may_take_its_time_only_a_request_to_stop_ends_that() {
    let mut run = Run::of("--left wait --escalate-on USR1");
    run.hears(0, exits(0));
    run.hears(0, Event::Deadline);
    for _ in 0..3 {
        let actions = run.hears(0, signal(named("USR1")));
        assert!(tells(&actions, "the child has ended"), "{actions:?}");
    }
}

#[test]
fn what_is_dying_of_the_kill_of_the_ladder_gets_a_moment_before_the_next_one() {
    let mut run = Run::of("--ladder TERM:1s,KILL@tree");
    run.hears(0, signal(Signal::TERM));
    run.hears(1000, Event::Deadline);
    run.hears(0, swept(Signal::KILL, 3..13));
    run.hears(0, dies_of(Signal::KILL));
    assert_eq!(run.hears(0, Event::Deadline), []);
    assert_eq!(run.waits(), Some(Duration::from_micros(5_300)));
    assert_eq!(run.hears(6, Event::Deadline), [LAST]);
}

#[test]
fn what_is_left_has_the_rest_of_the_grace_that_was_given() {
    for (grace, waits, by) in [("10s", 9000, "--grace"), ("3s", 2000, "--sweep-grace")] {
        let mut run = Run::of(&format!("--grace {grace}"));
        run.hears(0, signal(Signal::TERM));
        run.hears(1000, exits(0));
        run.hears(0, Event::Deadline);
        assert_eq!(run.waits(), Some(ms(waits)));
        run.hears(waits, Event::Deadline);
        let actions = run.hears(0, swept(Signal::KILL, 3..4));
        assert!(tells(&actions, by), "{actions:?}");
    }
}

#[test]
fn kill_has_ten_seconds_before_it_is_given_up() {
    let mut run = Run::of("--sweep-grace 0");
    run.hears(0, exits(0));
    run.hears(0, Event::Deadline);
    run.hears(0, Event::Deadline);
    assert_eq!(run.hears(9_999, Event::Deadline), [LAST]);
    let actions = run.hears(1, Event::Deadline);
    assert!(tells(&actions, "still there"), "{actions:?}");
}

/// How often KILL is sent once all the time is over, while each time somebody new is found.
#[test]
fn however_late_it_is_there_are_three_looks_for_who_was_just_started() {
    let mut run = Run::of("--deadline 1s");
    run.hears(0, signal(Signal::TERM));
    run.hears(0, exits(0));
    run.hears(0, Event::Deadline);
    run.hears(5000, Event::Deadline);
    let actions = run.hears(0, Event::Deadline);
    assert!(tells(&actions, "still there"), "{actions:?}");
    let mut looks = 0;
    for pid in 10..20 {
        let actions = run.hears(0, Event::Deadline);
        looks += usize::from(actions.contains(&LAST));
        run.hears(0, swept(Signal::KILL, pid..pid + 1));
    }
    assert_eq!(looks, 3);
}

/// Whether those with a parent among them are asked, too.
fn asks_all(actions: &[Action]) -> Vec<bool> {
    let asked = actions.iter().filter_map(|action| match action {
        Action::TellLeft(whom) => Some(whom.rest),
        _ => None,
    });
    asked.collect()
}

#[test]
fn children_are_left_to_their_parents_for_half_of_the_time() {
    let mut run = Run::of("--sweep-grace 2s");
    run.hears(0, exits(0));
    assert_eq!(asks_all(&run.hears(0, Event::Deadline)), [false]);
    let held_back = || Event::NotTold {
        before: Vec::new(),
        held_back: true,
    };
    run.hears(0, held_back());
    let (pid, status) = (9, ExitStatus::Exited(0));
    run.hears(0, Event::Reaped { pid, status });
    let wait = run.waits().unwrap();
    assert!(wait < ms(1000), "{wait:?}");
    run.now += wait;
    assert_eq!(asks_all(&run.hears(0, Event::Deadline)), [false]);
    run.hears(0, held_back());
    let wait = run.waits().unwrap();
    run.now += wait;
    assert_eq!(run.now, ms(1000));
    assert_eq!(asks_all(&run.hears(0, Event::Deadline)), [true]);
}

#[test]
fn what_the_hooks_have_left_is_looked_for_once_however_late_it_is() {
    let mut run = Run::of("--deadline 1s --post-stop z");
    run.hears(0, signal(Signal::TERM));
    run.hears(0, exits(0));
    run.hears(0, Event::NoneLeft);
    let (phase, index) = (HookPhase::PostStop, 0);
    let (hook, result) = (HookId { phase, index }, done());
    run.hears(5000, Event::HookEnded { hook, result });
    let actions = run.hears(0, Event::Deadline);
    assert!(actions.contains(&LAST), "{actions:?}");
    // Nobody was found.
    let actions = run.hears(5, Event::Deadline);
    assert!(!actions.contains(&LAST), "{actions:?}");
}

#[test]
fn where_each_look_finds_somebody_new_it_is_looked_again_for_a_while() {
    let mut run = Run::of("--post-stop z");
    run.hears(0, exits(0));
    run.hears(0, Event::NoneLeft);
    let (phase, index) = (HookPhase::PostStop, 0);
    let (hook, result) = (HookId { phase, index }, done());
    run.hears(0, Event::HookEnded { hook, result });
    for (pid, after) in [(3, 0), (4, 10_000), (5, 60), (6, 60), (7, 60), (8, 60)] {
        let actions = run.hears(after, Event::Deadline);
        assert!(actions.contains(&LAST), "{pid}: {actions:?}");
        run.hears(0, swept(Signal::KILL, pid..pid + 1));
    }
    let actions = run.hears(60, Event::Deadline);
    assert!(!actions.contains(&LAST), "{actions:?}");
}
