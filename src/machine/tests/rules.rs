//! Rules of single moments: what is done, told or known then, and what is not.

use super::*;
use crate::plan::reload::Reload;
use crate::record::Again;

/// A machine by itself, with what it does and tells at each event.
struct Run {
    machine: Machine,
    now: Duration,
}

impl Run {
    /// Nothing has happened yet.
    fn begins(options: &str) -> Self {
        let mut machine = Machine::new(Rc::new(plan(options)));
        while machine.poll().is_some() {}
        let now = ms(0);
        Self { machine, now }
    }

    /// The child runs.
    fn of(options: &str) -> Self {
        let mut run = Self::begins(options);
        run.hears(0, Event::Started { pid: 2 });
        run
    }

    /// What comes of an event, so long after the one before.
    fn hears(&mut self, after: u64, event: Event) -> Vec<Action> {
        self.now += ms(after);
        self.machine.handle(self.now, event);
        std::iter::from_fn(|| self.machine.poll()).collect()
    }

    /// So long after the last event the machine wants to be asked again.
    fn waits(&self) -> Option<Duration> {
        let deadline = self.machine.deadline();
        deadline.map(|deadline| deadline.saturating_sub(self.now))
    }
}

fn exits(code: u8) -> Event {
    Event::ChildExited(ExitStatus::Exited(code))
}

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
    run.machine.bound_by(run.now, ms(4000));
    assert_eq!(run.waits(), Some(ms(3900)));
    let mut run = Run::of("--grace 1m");
    run.hears(0, signal(Signal::TERM));
    run.machine.bound_by(run.now, ms(4000));
    assert_eq!(run.waits(), Some(ms(3800)), "then KILL is due");
}

#[test]
fn a_deadline_that_comes_from_outside_ends_a_drain_in_time_for_the_ladder() {
    let mut run = Run::of("--drain-port 80 --drain-timeout 30s --grace 5s");
    run.hears(0, signal(Signal::TERM));
    run.hears(0, in_flight(1, false));
    run.machine.bound_by(run.now, ms(10_000));
    assert_eq!(run.waits(), Some(ms(4750)));
}

#[test]
fn whose_time_is_over_is_told_where_a_deadline_comes_from_outside() {
    for (sweep_grace, by) in [("1900ms", "--sweep-grace"), ("1901ms", "--deadline")] {
        let mut run = Run::of(&format!("--sweep-grace {sweep_grace}"));
        run.hears(0, signal(Signal::TERM));
        run.hears(0, exits(0));
        run.hears(0, Event::Deadline);
        // KILL is due for it after 1.9 s.
        run.machine.bound_by(run.now, ms(2000));
        run.hears(1900, Event::Deadline);
        let actions = run.hears(0, swept(Signal::KILL, 3..4));
        assert!(tells(&actions, by), "{actions:?}");
    }
}

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
fn with_no_kill_the_last_signal_is_sent_however_late_it_is() {
    let mut run = Run::of("--no-kill --ladder TERM:10s,HUP:10s,QUIT --deadline 5s");
    assert_eq!(sends(&run.hears(0, signal(Signal::TERM))), [Signal::TERM]);
    assert_eq!(sends(&run.hears(4750, Event::Deadline)), [Signal::QUIT]);
}

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

#[test]
fn an_heir_is_waited_for_while_the_stop_can_go_on_without_it() {
    let mut run = Run::of("--main-pid notify --pre-stop p");
    run.hears(0, signal(Signal::TERM));
    run.hears(0, exits(0));
    let actions = run.hears(0, Event::NoHeir("unnamed".to_owned()));
    assert!(tells(&actions, "waiting up to 10.0 s"), "{actions:?}");
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

#[test]
fn who_is_not_ready_in_time_is_told_with_the_last_reason() {
    let mut run = Run::of("--ready-when exec:ready --ready-timeout 5s");
    run.hears(0, Event::NotYetReady("it exited with 7".to_owned()));
    let actions = run.hears(5000, Event::Deadline);
    assert!(tells(&actions, "it exited with 7"), "{actions:?}");
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
