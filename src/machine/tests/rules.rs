//! Rules of single moments: what is done, told or known then, and what is not.

use super::run::{Run, exits};
use super::*;
use crate::plan::reload::Reload;
use crate::record::Again;

mod drain;
mod heirs;
mod left;

fn dies_of(signal: Signal) -> Event {
    let core = false;
    Event::ChildExited(ExitStatus::Killed { signal, core })
}

fn swept(signal: Signal, pids: std::ops::Range<i32>) -> Event {
    let processes = pids.map(|pid| Process::new(pid, "left")).collect();
    Event::Swept { signal, processes }
}

fn sends(actions: &[Action]) -> Vec<Signal> {
    let sent = actions.iter().filter_map(|action| match action {
        Action::Send { signal, .. } => Some(*signal),
        _ => None,
    });
    sent.collect()
}

/// What those that are left are taken to have had, where they are asked to end.
fn had(actions: &[Action]) -> SignalSet {
    let mut had = actions.iter().filter_map(|action| match action {
        Action::TellLeft(whom) => Some(whom.had),
        _ => None,
    });
    had.next().unwrap()
}

fn tells(actions: &[Action], text: &str) -> bool {
    actions.iter().any(|action| match action {
        Action::Record(record) => log::text(record).contains(text),
        _ => false,
    })
}

fn says_again(actions: &[Action]) -> Option<Again> {
    actions.iter().find_map(|action| match action {
        Action::Record(Record::AskedAgain { again, .. }) => Some(*again),
        _ => None,
    })
}

/// What the post-stop hooks are told of an end, as `SERVICE_RESULT`.
fn result_of(counted_from: CountedFrom, end: Event) -> &'static str {
    let mut run = Run::of("--post-stop z");
    run.hears(
        0,
        Event::OomKilled {
            kills: 1,
            before_this_life: 0,
            counted_from,
            limit: None,
        },
    );
    run.hears(0, end);
    let actions = run.hears(0, Event::NoneLeft);
    let mut results = actions.iter().filter_map(|action| match action {
        Action::RunHook { facts, .. } => facts.result,
        _ => None,
    });
    results.next().unwrap()
}

#[test]
fn lack_of_memory_is_a_result_only_of_a_kill_that_the_kernel_is_known_to_have_sent() {
    let kill = || dies_of(Signal::KILL);
    assert_eq!(result_of(CountedFrom::Start, kill()), "oom-kill");
    assert_eq!(result_of(CountedFrom::Cgroup, kill()), "signal");
    let abrt = dies_of(Signal::ABRT);
    assert_eq!(result_of(CountedFrom::Start, abrt), "signal");
}

#[test]
fn a_file_that_is_read_again_counts_no_more_once_a_stop_is_asked_for() {
    let reloaded = || {
        Event::Reloaded(Box::new(Reload {
            plan: plan("--grace 3s"),
            changed: vec!["grace"],
            needs_restart: Vec::new(),
        }))
    };
    let mut run = Run::begins("--pre-start a");
    assert_eq!(run.hears(0, reloaded()), [], "kept until the child runs");
    run.hears(0, signal(Signal::TERM));
    let actions = run.hears(0, reloaded());
    assert!(tells(&actions, "a stop is under way"), "{actions:?}");
}

#[test]
fn what_is_only_being_started_is_not_restarted() {
    for options in ["--pre-start a", "--wait-for file:/a", ""] {
        let why = Run::begins(options).machine.why_no_restart();
        assert_eq!(why, Some("the child is only being started"), "{options}");
    }
}

#[test]
fn a_deadline_that_comes_from_outside_leaves_kill_the_time_to_work() {
    let mut run = Run::of("--grace 1s");
    run.hears(0, signal(Signal::TERM));
    assert_eq!(sends(&run.hears(1000, Event::Deadline)), [Signal::KILL]);
    assert_eq!(run.waits(), Some(ms(10_000)));
    run.machine.ends_with(run.now, &plan("--deadline 4s"));
    assert_eq!(run.waits(), Some(ms(3900)));
    let mut run = Run::of("--grace 1m");
    run.hears(0, signal(Signal::TERM));
    run.machine.ends_with(run.now, &plan("--deadline 4s"));
    assert_eq!(run.waits(), Some(ms(3800)), "then KILL is due");
}

#[test]
fn whose_time_is_over_is_told_where_a_deadline_comes_from_outside() {
    for (sweep_grace, by) in [("1900ms", "--sweep-grace"), ("1901ms", "--deadline")] {
        let mut run = Run::of(&format!("--sweep-grace {sweep_grace}"));
        run.hears(0, signal(Signal::TERM));
        run.hears(0, exits(0));
        run.hears(0, Event::Deadline);
        // KILL is due for it after 1.9 s.
        run.machine.ends_with(run.now, &plan("--deadline 2s"));
        run.hears(1900, Event::Deadline);
        let actions = run.hears(0, swept(Signal::KILL, 3..4));
        assert!(tells(&actions, by), "{actions:?}");
    }
}

#[test]
fn a_ctrl_c_after_a_term_is_not_sent_to_a_child_that_the_terminal_has_told() {
    let mut run = Run::of("--grace 10s");
    run.hears(0, signal(Signal::TERM));
    let actions = run.hears(0, typed(Signal::INT));
    assert_eq!(sends(&actions), []);
    assert_eq!(says_again(&actions), Some(Again::Noted));
    let beyond = Action::SendBeyondGroup(Signal::INT);
    assert!(!actions.contains(&beyond), "{actions:?}");
    let mut run = Run::of("--grace 10s --target tree");
    run.hears(0, signal(Signal::TERM));
    let actions = run.hears(0, typed(Signal::INT));
    assert!(actions.contains(&beyond), "{actions:?}");
    // `--stop-signal` stands for it.
    let mut run = Run::of("--grace 10s --stop-signal QUIT");
    run.hears(0, signal(Signal::TERM));
    let actions = run.hears(0, signal(Signal::INT));
    assert_eq!(sends(&actions), []);
    assert_eq!(says_again(&actions), Some(Again::Noted));
    // From a process it is the first that the child hears of.
    let mut run = Run::of("--grace 10s");
    run.hears(0, signal(Signal::TERM));
    assert_eq!(sends(&run.hears(0, signal(Signal::INT))), [Signal::INT]);
}

#[test]
fn a_signal_of_escalate_on_hurries_nothing_before_it_has_come_in_the_stop() {
    let usr1 = named("USR1");
    let mut run = Run::of("--escalate-on USR1 --grace 10s");
    assert_eq!(sends(&run.hears(0, signal(usr1))), [usr1]);
    run.hears(0, signal(Signal::TERM));
    let actions = run.hears(0, signal(usr1));
    assert!(tells(&actions, "USR1 forwarded"), "{actions:?}");
    let actions = run.hears(0, signal(usr1));
    assert_eq!(says_again(&actions), Some(Again::Hurried));
}

#[test]
fn an_int_that_was_only_forwarded_counts_where_the_child_ended_by_it() {
    for (code, counts) in [(130, true), (0, false)] {
        let mut run = Run::of("--stop-on TERM --target group");
        run.hears(0, signal(Signal::INT));
        run.hears(0, exits(code));
        let had = had(&run.hears(0, Event::Deadline));
        assert_eq!(had.contains(Signal::INT), counts, "{code}");
    }
}

#[test]
fn with_no_kill_the_last_signal_is_sent_however_late_it_is() {
    let mut run = Run::of("--no-kill --ladder TERM:10s,HUP:10s,QUIT --deadline 5s");
    assert_eq!(sends(&run.hears(0, signal(Signal::TERM))), [Signal::TERM]);
    assert_eq!(sends(&run.hears(4750, Event::Deadline)), [Signal::QUIT]);
}

#[test]
fn the_start_counts_as_a_step_that_the_child_can_make_longer() {
    let mut run = Run::of("--ready-when notify --ready-timeout 5s");
    let actions = run.hears(0, Event::Extend(ms(30_000)));
    assert!(tells(&actions, "30.0 s"), "{actions:?}");
    assert_eq!(run.waits(), Some(ms(30_000)));
    // Without a time for it there is none to be longer.
    let mut run = Run::of("--ready-when notify");
    assert_eq!(run.hears(0, Event::Extend(ms(30_000))), []);
}

#[test]
fn what_the_terminal_has_sent_to_the_child_is_not_sent_again() {
    for (stopping, name) in [(false, "TSTP"), (false, "QUIT"), (true, "QUIT")] {
        let mut run = Run::of("--grace 1m");
        if stopping {
            run.hears(0, signal(Signal::TERM));
        }
        let actions = run.hears(0, typed(named(name)));
        assert_eq!(sends(&actions), [], "{name}");
        assert!(
            tells(&actions, "the child has got it as well"),
            "{actions:?}"
        );
    }
}

#[test]
fn of_what_is_queued_the_next_life_hears_what_is_asked_of_stepdown() {
    assert!(signal(Signal::TERM).is_for_next(None));
    assert!(!Event::Ready.is_for_next(None));
    assert!(Event::Ready.of(2).is_for_next(Some(2)));
    assert!(!Event::Ready.of(2).is_for_next(Some(3)));
    assert!(!Event::Ready.of(2).is_for_next(None));
}

#[test]
fn what_comes_down_is_not_restarted_and_says_why() {
    let mut run = Run::of("");
    assert_eq!(run.machine.why_no_restart(), None);
    run.hears(0, exits(0));
    let why = run.machine.why_no_restart();
    assert_eq!(why, Some("the child has ended"));
    let mut run = Run::of("");
    run.hears(0, signal(Signal::TERM));
    let why = run.machine.why_no_restart();
    assert_eq!(why, Some("a stop is under way"));
}

#[test]
fn that_it_is_alive_is_told_only_after_it_was_not() {
    let mut run = Run::of("--live-when exec:alive");
    assert_eq!(run.hears(0, Event::Alive), []);
    run.hears(0, Event::NotAlive("refused".to_owned()));
    let actions = run.hears(0, Event::Alive);
    assert!(tells(&actions, "alive again"), "{actions:?}");
    assert_eq!(run.hears(0, Event::Alive), []);
}

#[test]
fn who_is_not_ready_in_time_is_told_with_the_last_reason() {
    let mut run = Run::of("--ready-when exec:ready --ready-timeout 5s");
    run.hears(0, Event::NotYetReady("it exited with 7".to_owned()));
    let actions = run.hears(5000, Event::Deadline);
    assert!(tells(&actions, "it exited with 7"), "{actions:?}");
}
