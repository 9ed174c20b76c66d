//! Rules of single moments: what is done between two lives, and as one of them ends.

use super::*;
use crate::machine::{HookId, Unopened};
use crate::plan::reload::Reload;
use crate::plan::{HookPhase, Plan};
use crate::record::{CountedFrom, DrainWait, HookResult};

/// A supervisor by itself, with what it does and tells at each event.
struct Run {
    supervisor: Supervisor,
    now: Duration,
}

fn plan(options: &[(&'static str, &str)]) -> Plan {
    let mut settings = Settings::default();
    for (name, value) in options {
        settings.set(name, value);
    }
    settings.plan().unwrap()
}

impl Run {
    /// The first child runs.
    fn of(supervision: Supervision, options: &[(&'static str, &str)]) -> Self {
        let supervisor = Supervisor::steady(Rc::new(plan(options)), supervision);
        let now = ms(0);
        let mut run = Self { supervisor, now };
        run.actions();
        run.hears(0, Event::Started { pid: 2 });
        run
    }

    fn actions(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.supervisor.poll()).collect()
    }

    /// What comes of an event, so long after the one before.
    fn hears(&mut self, after: u64, event: Event) -> Vec<Action> {
        self.now += ms(after);
        self.supervisor.handle(self.now, event);
        self.actions()
    }
}

fn always() -> Supervision {
    Supervision {
        restart: Restart::Always,
        ..on_failure()
    }
}

fn never() -> Supervision {
    Supervision {
        restart: Restart::No,
        ..on_failure()
    }
}

fn exits(code: u8) -> Event {
    Event::ChildExited(ExitStatus::Exited(code))
}

fn done() -> HookResult {
    HookResult::Ended(ExitStatus::Exited(0))
}

fn outcome(actions: &[Action]) -> &Outcome {
    let Some(Action::Finish(outcome)) = actions.last() else {
        panic!("{actions:?}");
    };
    outcome
}

#[test]
fn clients_are_given_time_for_their_last_bytes_only_where_nothing_follows() {
    let options = [("drain-port", "80")];
    for (supervision, asked, waits) in [
        (always(), false, false),
        (always(), true, true),
        (never(), false, true),
    ] {
        let mut run = Run::of(supervision, &options);
        if asked {
            run.hears(10, TERM);
        }
        run.hears(10, exits(1));
        let actions = run.hears(0, Event::NoneLeft);
        assert_eq!(actions.contains(&Action::Flush), waits, "{actions:?}");
        let begins = run.hears(500, Event::Deadline);
        let begins = begins.contains(&Action::NextGeneration { number: 2 });
        assert_eq!(begins, !waits);
    }
}

#[test]
fn sockets_stay_open_only_where_another_life_follows() {
    let options = [("max-runtime", "1s")];
    for (supervision, closes) in [(always(), false), (never(), true)] {
        let mut run = Run::of(supervision, &options);
        let actions = run.hears(1000, Event::Deadline);
        assert_eq!(actions.contains(&Action::CloseSockets), closes);
    }
}

#[test]
fn sockets_are_closed_before_the_hooks_of_the_last_life_have_run() {
    let options = [("left", "leave"), ("post-stop", "z")];
    for (supervision, closes) in [(on_failure(), true), (always(), false)] {
        let mut run = Run::of(supervision, &options);
        let actions = run.hears(0, exits(0));
        let runs = |action: &Action| matches!(action, Action::RunHook { .. });
        assert!(actions.iter().any(runs), "{actions:?}");
        assert_eq!(actions.contains(&Action::CloseSockets), closes);
    }
}

#[test]
fn the_service_manager_hears_of_the_end_of_the_run_alone() {
    let mut run = Run::of(always(), &[]);
    let actions = run.hears(0, exits(1));
    assert!(actions.contains(&Action::StopLooking), "{actions:?}");
    assert!(!actions.contains(&Action::NotReady), "{actions:?}");
    let mut run = Run::of(always(), &[]);
    let actions = run.hears(0, TERM);
    assert!(actions.contains(&Action::NotReady), "{actions:?}");
}

/// The last life took KILL and three seconds to end.
fn between() -> Run {
    let mut run = Run::of(always(), &[("max-runtime", "1s"), ("grace", "2s")]);
    run.hears(1000, Event::Deadline);
    run.hears(2000, Event::Deadline);
    let (signal, core) = (Signal::KILL, false);
    run.hears(
        1000,
        Event::ChildExited(ExitStatus::Killed { signal, core }),
    );
    let actions = run.hears(0, Event::NoneLeft);
    let ended = |action: &Action| matches!(action, Action::Record(Record::GenerationEnded { .. }));
    assert!(actions.iter().any(ended), "{actions:?}");
    run
}

#[test]
fn of_a_stop_between_two_lives_nothing_is_told_that_was_true_of_the_last_one() {
    for (event, reason) in [
        (TERM, Reason::Signal),
        (Event::ParentDied, Reason::ParentDied),
    ] {
        let actions = between().hears(10, event);
        let outcome = outcome(&actions);
        assert_eq!((outcome.code, outcome.reason), (124, reason));
        assert!(!outcome.escalated);
        assert_eq!(outcome.took, Duration::ZERO);
    }
}

#[test]
fn a_file_that_is_read_again_between_two_lives_counts_for_the_next_one() {
    let mut run = between();
    let reload = Reload {
        plan: plan(&[("grace", "7s")]),
        changed: vec!["grace"],
        needs_restart: Vec::new(),
    };
    let actions = run.hears(10, Event::Reloaded(Box::new(reload)));
    let adopts = |action: &Action| matches!(action, Action::Adopt(_));
    assert!(actions.iter().any(adopts), "{actions:?}");
    run.hears(500, Event::Deadline);
    run.hears(0, Event::Started { pid: 3 });
    let actions = run.hears(0, TERM);
    let waits = actions.iter().find_map(|action| match action {
        Action::Record(Record::Step { wait, .. }) => *wait,
        _ => None,
    });
    assert_eq!(waits, Some(secs(7)));
}

#[test]
fn where_the_one_that_serves_hangs_for_ever_the_one_that_comes_takes_its_place() {
    let mut supervision = never();
    supervision.replace_on.insert(named("USR2"));
    let options = [
        ("live-when", "watchdog:1m"),
        ("ready-when", "notify"),
        ("grace", "1s"),
    ];
    let mut run = Run::of(supervision, &options);
    run.hears(0, Event::Ready);
    run.hears(0, received(named("USR2")));
    run.hears(0, Event::OpenedBeside);
    run.hears(0, Event::Started { pid: 3 }.of(2));
    // ABRT, TERM, KILL, and nothing helps.
    run.hears(0, Event::SaysItHangs);
    let after = [1000, 1000, 10_000, 0, 0];
    let actions: Vec<Action> = after
        .into_iter()
        .flat_map(|after| run.hears(after, Event::Deadline))
        .collect();
    assert!(actions.contains(&Action::Switch), "{actions:?}");
    assert!(actions.contains(&Action::CloseBeside), "{actions:?}");
    assert_eq!(run.hears(0, exits(0).of(1)), [], "nobody waits for it");
}

#[test]
fn the_end_of_the_parent_is_the_end_of_the_run() {
    let mut run = Run::of(always(), &[]);
    let actions = run.hears(0, Event::ParentDied);
    assert!(actions.contains(&Action::CloseSockets), "{actions:?}");
    assert!(actions.contains(&Action::NotReady), "{actions:?}");
    run.hears(0, exits(1));
    let actions = run.hears(0, Event::NoneLeft);
    assert_eq!(outcome(&actions).reason, Reason::ParentDied);
}

/// The lives before this one that nobody had asked for, as its hooks are told.
fn restarts(actions: &[Action]) -> Option<u32> {
    actions.iter().find_map(|action| match action {
        Action::RunHook { facts, .. } => Some(facts.generation?.restarts),
        _ => None,
    })
}

#[test]
fn a_restart_that_was_asked_for_is_none_of_those_that_nobody_asked_for() {
    let mut supervision = always();
    supervision.restart_on.insert(named("HUP"));
    supervision.delay = Duration::ZERO;
    for (event, counts) in [(exits(1), 1), (received(named("HUP")), 0)] {
        let mut run = Run::of(
            supervision.clone(),
            &[("post-stop", "z"), ("left", "leave")],
        );
        let first = run.hears(0, event.clone());
        if counts == 0 {
            run.hears(0, exits(0));
        } else {
            assert_eq!(restarts(&first), Some(0));
        }
        let (phase, index) = (HookPhase::PostStop, 0);
        let (hook, result) = (HookId { phase, index }, done());
        run.hears(0, Event::HookEnded { hook, result });
        run.hears(0, Event::Started { pid: 3 });
        assert_eq!(restarts(&run.hears(0, exits(1))), Some(counts), "{event:?}");
    }
}

#[test]
fn what_was_restarted_as_long_ago_as_the_limit_looks_back_counts_no_more() {
    for (after, goes_on) in [(59_499, false), (59_500, true)] {
        let supervision = Supervision {
            limit: Some(Limit {
                times: 1,
                within: Some(secs(60)),
            }),
            ..on_failure()
        };
        let mut run = Run::of(supervision, &[("left", "leave")]);
        run.hears(0, exits(1));
        run.hears(500, Event::Deadline);
        run.hears(0, Event::Started { pid: 3 });
        let actions = run.hears(after, exits(1));
        let ends = matches!(actions.last(), Some(Action::Finish(_)));
        assert_eq!(ends, !goes_on, "{actions:?}");
    }
}

#[test]
fn a_stop_takes_the_place_of_a_restart_that_is_under_way() {
    let mut supervision = always();
    supervision.restart_on.insert(named("HUP"));
    let mut run = Run::of(supervision, &[]);
    run.hears(0, received(named("HUP")));
    let actions = run.hears(10, TERM);
    let asked = |action: &Action| matches!(action, Action::Record(Record::StopAsked { .. }));
    assert!(actions.iter().any(asked), "{actions:?}");
    assert!(actions.contains(&Action::NotReady), "{actions:?}");
    run.hears(0, exits(0));
    let actions = run.hears(0, Event::NoneLeft);
    assert_eq!(outcome(&actions).reason, Reason::Signal);
}

#[test]
fn an_orphan_that_ends_between_two_lives_is_told() {
    let (pid, status) = (9, ExitStatus::Exited(0));
    let actions = between().hears(10, Event::Reaped { pid, status });
    assert_eq!(actions, [Action::Record(Record::Reaped { pid, status })]);
}

const OUT_OF_MEMORY: Event = Event::OomKilled {
    kills: 1,
    before_this_life: 0,
    counted_from: CountedFrom::Start,
    limit: None,
};

const TOLD_OUT_OF_MEMORY: Action = Action::Record(Record::OomKilled {
    kills: 1,
    before_this_life: 0,
    counted_from: CountedFrom::Start,
    limit: None,
});

#[test]
fn lack_of_memory_between_two_lives_is_told() {
    assert_eq!(between().hears(10, OUT_OF_MEMORY), [TOLD_OUT_OF_MEMORY]);
}

#[test]
fn the_next_one_that_the_kernel_has_killed_says_so_to_its_hooks() {
    let mut supervision = never();
    supervision.replace_on.insert(named("USR2"));
    let mut run = Run::of(supervision, &[("ready-when", "notify"), ("post-stop", "z")]);
    run.hears(0, Event::Ready);
    run.hears(0, received(named("USR2")));
    run.hears(0, Event::OpenedBeside);
    run.hears(0, Event::Started { pid: 3 }.of(2));
    assert_eq!(run.hears(0, OUT_OF_MEMORY), [TOLD_OUT_OF_MEMORY], "once");
    let killed = ExitStatus::Killed {
        signal: Signal::KILL,
        core: false,
    };
    run.hears(0, Event::ChildExited(killed).of(2));
    let actions = run.hears(0, Event::NoneLeft.of(2));
    let result = actions.iter().find_map(|action| match action {
        Action::Beside(action) => match &**action {
            Action::RunHook { facts, .. } => facts.result,
            _ => None,
        },
        _ => None,
    });
    assert_eq!(result, Some("oom-kill"), "{actions:?}");
}

#[test]
fn trouble_between_two_lives_is_told() {
    let message = "no space".to_owned();
    let actions = between().hears(10, Event::Trouble(message.clone()));
    assert_eq!(actions, [Action::Record(Record::Trouble { message })]);
}

#[test]
fn the_one_that_comes_does_not_get_what_would_hurry_a_stop() {
    let mut supervision = never();
    supervision.replace_on.insert(named("USR2"));
    let options = [("ready-when", "notify"), ("escalate-on", "QUIT")];
    let mut run = Run::of(supervision, &options);
    run.hears(0, Event::Ready);
    run.hears(0, received(named("USR2")));
    run.hears(0, Event::OpenedBeside);
    run.hears(0, Event::Started { pid: 3 }.of(2));
    let actions = run.hears(0, received(named("QUIT")));
    let target = crate::plan::Target::Child;
    let signal = named("QUIT");
    assert!(actions.contains(&Action::Send { target, signal }));
    let beside = |action: &Action| matches!(action, Action::Beside(_));
    assert!(!actions.iter().any(beside), "{actions:?}");
}

#[test]
fn the_drain_of_the_one_that_leaves_does_not_wait_for_checks() {
    let mut supervision = never();
    supervision.replace_on.insert(named("USR2"));
    let options = [
        ("ready-when", "notify"),
        ("health-listen", ":1"),
        ("drain-checks", "1"),
        ("drain-port", "80"),
    ];
    let mut run = Run::of(supervision, &options);
    run.hears(0, Event::Ready);
    run.hears(0, received(named("USR2")));
    run.hears(0, Event::OpenedBeside);
    run.hears(0, Event::Started { pid: 3 }.of(2));
    let actions = run.hears(0, Event::Ready.of(2));
    let wait = actions.iter().find_map(|action| match action {
        Action::Record(Record::OfGeneration { record, .. }) => match &**record {
            Record::DrainStarted(wait) => Some(wait),
            _ => None,
        },
        _ => None,
    });
    let waits = matches!(wait, Some(DrainWait::Requests { .. }));
    assert!(waits, "{actions:?}");
}

#[test]
fn the_one_that_leaves_is_hurried_too_unless_the_signal_was_ignored_and_nobody_names_it() {
    let mut supervision = never();
    supervision.replace_on.insert(named("USR2"));
    let by_default = [("ready-when", "notify"), ("grace", "1m")];
    let named_in = [("escalate-on", "QUIT"), by_default[0], by_default[1]];
    for (options, signal, ignored, hurries) in [
        (&named_in[..], named("QUIT"), false, true),
        (&named_in, named("QUIT"), true, true),
        (&by_default, Signal::INT, true, false),
    ] {
        let mut run = Run::of(supervision.clone(), options);
        run.hears(0, Event::Ready);
        run.hears(0, received(named("USR2")));
        run.hears(0, Event::OpenedBeside);
        run.hears(0, Event::Started { pid: 3 }.of(2));
        let actions = run.hears(0, Event::Ready.of(2));
        assert!(actions.contains(&Action::Switch), "{actions:?}");
        let asked = Received {
            ignored,
            ..outside(signal)
        };
        let actions = run.hears(0, Event::Signal(asked));
        let target = crate::plan::Target::Child;
        let send = Action::Beside(Box::new(Action::Send { target, signal }));
        assert_eq!(actions.contains(&send), hurries, "{actions:?}");
    }
}

#[test]
fn sockets_stay_open_for_the_life_that_was_asked_for() {
    let mut supervision = on_failure();
    supervision.restart_on.insert(named("HUP"));
    let mut run = Run::of(supervision, &[]);
    run.hears(0, received(named("HUP")));
    let actions = run.hears(0, exits(0));
    assert!(!actions.contains(&Action::CloseSockets), "{actions:?}");
}

#[test]
fn trouble_is_told_while_only_the_one_that_leaves_is_left() {
    let mut supervision = never();
    supervision.replace_on.insert(named("USR2"));
    let mut run = Run::of(supervision, &[("ready-when", "notify"), ("grace", "1m")]);
    run.hears(0, Event::Ready);
    run.hears(0, received(named("USR2")));
    run.hears(0, Event::OpenedBeside);
    run.hears(0, Event::Started { pid: 3 }.of(2));
    run.hears(0, Event::Ready.of(2));
    run.hears(0, TERM);
    run.hears(0, exits(0).of(2));
    run.hears(0, Event::NoneLeft.of(2));
    let message = "no space".to_owned();
    let actions = run.hears(0, Event::Trouble(message.clone()));
    assert_eq!(actions, [Action::Record(Record::Trouble { message })]);
    let (pid, status) = (9, ExitStatus::Exited(0));
    let actions = run.hears(0, Event::Reaped { pid, status });
    let reaped = Action::Record(Record::Reaped { pid, status });
    assert_eq!(actions, [reaped], "once");
    assert_eq!(run.hears(0, OUT_OF_MEMORY), [TOLD_OUT_OF_MEMORY], "once");
    let actions = run.hears(0, received(Signal::INT));
    let drops = |action: &Action| matches!(action, Action::Record(Record::Dropped { .. }));
    assert!(
        !actions.iter().any(drops),
        "it is the other one's: {actions:?}"
    );
    let signal = named("USR1");
    let actions = run.hears(0, received(signal));
    let why = "the child has ended";
    assert_eq!(actions, [Action::Record(Record::Dropped { signal, why })]);
}

#[test]
fn nothing_is_begun_beside_one_that_has_ended_while_the_sockets_were_opened() {
    let mut supervision = always();
    supervision.replace_on.insert(named("USR2"));
    for event in [exits(3), TERM] {
        let mut run = Run::of(supervision.clone(), &[("ready-when", "notify")]);
        run.hears(0, Event::Ready);
        run.hears(0, received(named("USR2")));
        run.hears(0, event);
        assert_eq!(run.hears(0, Event::OpenedBeside), [Action::CloseBeside]);
        let mut run = Run::of(supervision.clone(), &[("ready-when", "notify")]);
        run.hears(0, Event::Ready);
        run.hears(0, received(named("USR2")));
        run.hears(0, TERM);
        let refused = Event::CannotOpenBeside(Unopened::Never("no BPF".to_owned()));
        assert_eq!(run.hears(0, refused), []);
    }
}

#[test]
fn sockets_are_closed_as_soon_as_it_is_known_that_nothing_follows() {
    for (left, closes) in [("stop", true), ("wait", false)] {
        let mut run = Run::of(on_failure(), &[("left", left)]);
        let actions = run.hears(0, exits(0));
        assert_eq!(actions.contains(&Action::CloseSockets), closes, "{left}");
    }
}

#[test]
fn the_file_can_be_read_again_between_two_lives() {
    let options = [
        ("config", "a.toml"),
        ("reload-on", "USR1"),
        ("left", "leave"),
    ];
    let mut run = Run::of(always(), &options);
    run.hears(0, exits(1));
    let actions = run.hears(0, received(named("USR1")));
    assert_eq!(actions, [Action::Reload]);
    let message = "it is no TOML".to_owned();
    let actions = run.hears(0, Event::ReloadRefused(message.clone()));
    assert_eq!(actions, [Action::Record(Record::ReloadRefused { message })]);
}

/// The number of the life that begins.
fn begun(actions: &[Action]) -> Option<u32> {
    actions.iter().find_map(|action| match action {
        Action::OpenBeside { generation } => Some(*generation),
        Action::NextGeneration { number } => Some(*number),
        _ => None,
    })
}

#[test]
fn no_two_lives_have_one_number_and_none_is_left_out() {
    let mut supervision = always();
    supervision.replace_on.insert(named("USR2"));
    supervision.delay = Duration::ZERO;
    let refused = || Event::CannotOpenBeside(Unopened::Never("no BPF".to_owned()));
    let short = || Event::CannotOpenBeside(Unopened::NotNow("no memory".to_owned()));
    let usr2 = || received(named("USR2"));
    let options = [("ready-when", "notify"), ("left", "leave")];
    // The second one fails, and the third one cannot be started beside.
    let mut run = Run::of(supervision.clone(), &options);
    run.hears(0, Event::Ready);
    assert_eq!(begun(&run.hears(0, usr2())), Some(2));
    run.hears(0, Event::OpenedBeside);
    run.hears(0, Event::Started { pid: 3 }.of(2));
    run.hears(0, exits(1).of(2));
    assert_eq!(begun(&run.hears(0, usr2())), Some(3));
    run.hears(0, short());
    assert_eq!(begun(&run.hears(0, usr2())), Some(3));
    run.hears(0, refused());
    assert_eq!(begun(&run.hears(0, exits(0))), Some(3));
    // The next one has begun while the sockets of another one were opened.
    for answer in [Event::OpenedBeside, refused(), short()] {
        let mut run = Run::of(supervision.clone(), &options);
        run.hears(0, Event::Ready);
        assert_eq!(begun(&run.hears(0, usr2())), Some(2));
        assert_eq!(begun(&run.hears(0, exits(0))), Some(3));
        run.hears(0, answer);
        run.hears(0, Event::Started { pid: 3 });
        assert_eq!(begun(&run.hears(0, exits(0))), Some(4));
    }
    // The one that was to be replaced ends while the sockets are opened.
    supervision.delay = secs(1);
    for answer in [Event::OpenedBeside, refused(), short()] {
        let mut run = Run::of(supervision.clone(), &options);
        run.hears(0, Event::Ready);
        assert_eq!(begun(&run.hears(0, usr2())), Some(2));
        run.hears(0, exits(0));
        run.hears(0, answer);
        assert_eq!(begun(&run.hears(1000, Event::Deadline)), Some(2));
    }
}

#[test]
fn that_no_process_is_left_is_told_to_both_where_one_takes_over_because_of_it() {
    let mut supervision = always();
    supervision.replace_on.insert(named("USR2"));
    let options = [("ready-when", "notify"), ("main-pid", "notify")];
    let mut run = Run::of(supervision, &options);
    run.hears(0, Event::Ready);
    run.hears(0, received(named("USR2")));
    run.hears(0, Event::OpenedBeside);
    run.hears(0, Event::Started { pid: 3 }.of(2));
    // Both have ended, and for both an heir is looked for.
    run.hears(0, exits(7));
    run.hears(0, exits(7).of(2));
    let actions = run.hears(0, Event::NoneLeft);
    assert!(actions.contains(&Action::Switch), "{actions:?}");
    let ended = |action: &Action| {
        matches!(
            action,
            Action::Record(Record::GenerationEnded { generation: 2, .. })
        )
    };
    assert!(actions.iter().any(ended), "{actions:?}");
}
