//! Hands over: who is the child, what is kept for it, and what a stop makes of the search.

use super::run::{Run, exits};
use super::*;

fn heir(pid: i32) -> Event {
    Event::HeirFound {
        heir: Process::new(pid, "heir"),
        had: SignalSet::default(),
    }
}

impl Run {
    /// What comes of an event, so long after the one before, as text.
    fn told(&mut self, after: u64, event: Event) -> String {
        let actions = self.hears(after, event);
        let told = actions.into_iter().filter_map(|action| match action {
            Action::Record(record) => Some(log::text(&record)),
            Action::Send { target, signal } => Some(format!("-> {signal} to the {target:?}")),
            Action::FindHeir => Some("-> find".to_owned()),
            Action::EndSearch => Some("-> end".to_owned()),
            Action::Finish(outcome) => Some(format!("-> exit {}", outcome.code)),
            _ => None,
        });
        told.collect::<Vec<_>>().join("\n")
    }

    #[track_caller]
    fn tells(&mut self, after: u64, event: Event, expected: &[&str]) -> &mut Self {
        assert_eq!(self.told(after, event), expected.join("\n"));
        self
    }
}

const HANDS_OVER: &str = "--main-pid notify --grace 5s";

fn none() -> Event {
    Event::NoHeir("unnamed".to_owned())
}

#[test]
fn the_heir_is_the_child_from_then_on() {
    Run::of(HANDS_OVER)
        .tells(100, exits(0), &["-> find"])
        .tells(
            0,
            heir(7),
            &["child 2 exited with 0: handed over to pid 7 (heir)"],
        )
        .tells(10, exits(0), &["-> find"])
        .tells(
            0,
            heir(8),
            &["child 7 exited with 0: handed over to pid 8 (heir)"],
        )
        .tells(10, exits(3), &["-> find"])
        .tells(0, none(), &["-> end", "child exited with 3 after 120 ms"]);
}

#[test]
fn who_fails_is_not_waited_for_and_who_is_the_last_one_neither() {
    Run::of(HANDS_OVER).tells(0, exits(1), &["-> find"]).tells(
        0,
        none(),
        &["-> end", "child exited with 1 after 0 s"],
    );
    Run::of(HANDS_OVER).tells(0, exits(0), &["-> find"]).tells(
        0,
        Event::NoneLeft,
        &[
            "-> end",
            "child exited with 0 after 0 s",
            "exit status 0",
            "-> exit 0",
        ],
    );
}

const AWAITED: &str =
    "child 2 exited with 0: waiting up to 10.0 s for the one that takes over: unnamed (--main-pid)";

fn awaited(options: &str) -> Run {
    let mut run = Run::of(options);
    run.tells(0, exits(0), &["-> find"])
        .tells(0, none(), &[AWAITED]);
    run
}

#[test]
fn it_is_waited_for_only_so_long() {
    let mut run = awaited(HANDS_OVER);
    assert_eq!(run.machine.deadline(), Some(ms(10_000)));
    run.tells(9_999, Event::Deadline, &[]).tells(
        1,
        Event::Deadline,
        &[
            "-> end",
            "nobody has taken over (--main-pid notify): unnamed",
            "child exited with 0 after 10.0 s",
        ],
    );
}

#[test]
fn where_the_last_one_ends_meanwhile_nobody_has_taken_over() {
    awaited(HANDS_OVER).tells(
        300,
        Event::NoneLeft,
        &[
            "-> end",
            "nobody has taken over (--main-pid notify): unnamed",
            "child exited with 0 after 300 ms",
            "exit status 0",
            "-> exit 0",
        ],
    );
}

#[test]
fn what_was_kept_for_it_is_told_where_it_does_not_come() {
    let mut run = awaited(HANDS_OVER);
    run.tells(5, signal(named("USR1")), &[]).tells(
        9_995,
        Event::Deadline,
        &[
            "-> end",
            "USR1 not forwarded: the child has ended",
            "nobody has taken over (--main-pid notify): unnamed",
            "child exited with 0 after 10.0 s",
        ],
    );
}

#[test]
fn while_it_is_not_ready_the_ready_timeout_says_how_long() {
    let options = "--main-pid notify --ready-when notify --ready-timeout 30s";
    let mut run = Run::of(options);
    run.tells(1_000, exits(0), &["-> find"]);
    let told = run.told(0, none());
    assert!(told.contains("waiting up to 29.0 s"), "{told}");
    assert_eq!(run.machine.deadline(), Some(ms(30_000)));
}

#[test]
fn what_comes_meanwhile_is_kept_in_its_order() {
    awaited(HANDS_OVER)
        .tells(10, signal(named("USR1")), &[])
        .tells(10, signal(named("HUP")), &[])
        .tells(
            10,
            heir(7),
            &[
                "-> USR1 to the Child",
                "-> HUP to the Child",
                "child 2 exited with 0: handed over to pid 7 (heir)",
                "USR1 forwarded to the child",
                "HUP forwarded to the child",
            ],
        );
}

#[test]
fn a_stop_waits_for_it_before_the_ladder() {
    awaited(HANDS_OVER)
        .tells(10, signal(Signal::TERM), &["stopping: TERM from pid 9"])
        .tells(
            100,
            heir(7),
            &[
                "-> TERM to the Child",
                "child 2 exited with 0: handed over to pid 7 (heir)",
                "step 1 of 2: TERM to the child, waiting up to 5.0 s",
            ],
        )
        .tells(5, Event::ChildExited(ExitStatus::Exited(4)), &["-> find"])
        .tells(
            0,
            none(),
            &["-> end", "child exited with 4 on step 1 after 105 ms"],
        );
}

#[test]
fn but_not_for_long() {
    let mut run = awaited(HANDS_OVER);
    run.tells(10, signal(Signal::TERM), &["stopping: TERM from pid 9"]);
    assert_eq!(run.machine.deadline(), Some(ms(2_010)));
    run.tells(
        2_000,
        Event::Deadline,
        &[
            "-> end",
            "nobody has taken over (--main-pid notify): unnamed",
            "child exited with 0 after 2.0 s",
        ],
    );
}

#[test]
fn a_second_kind_of_request_ends_that_wait_and_the_first_does_not() {
    let mut run = awaited(HANDS_OVER);
    run.tells(10, signal(Signal::TERM), &["stopping: TERM from pid 9"]);
    let told = run.told(10, signal(Signal::INT));
    assert!(!told.contains("nobody"), "{told}");
    let told = run.told(10, signal(Signal::INT));
    assert!(told.contains("nobody has taken over"), "{told}");
}

#[test]
fn in_the_ladder_it_gets_the_signal_and_the_rest_of_the_time() {
    let mut run = Run::of(HANDS_OVER);
    run.hears(0, signal(Signal::TERM));
    run.tells(1_000, exits(0), &["-> find"]).tells(
        0,
        heir(7),
        &[
            "-> TERM to the Child",
            "child 2 exited with 0: handed over to pid 7 (heir)",
        ],
    );
    assert_eq!(run.machine.deadline(), Some(ms(5_000)));
    // It had it with its group.
    let mut run = Run::of(HANDS_OVER);
    run.hears(0, signal(Signal::TERM));
    let had = [Signal::TERM].into_iter().collect();
    let heir = Process::new(7, "heir");
    run.tells(0, exits(0), &["-> find"]).tells(
        0,
        Event::HeirFound { heir, had },
        &["child 2 exited with 0: handed over to pid 7 (heir)"],
    );
}

#[test]
fn what_was_only_forwarded_to_it_is_no_signal_of_the_ladder() {
    let mut run = Run::of("--main-pid notify --grace 5s --clean-stop");
    run.hears(0, signal(Signal::TERM));
    run.hears(0, exits(0));
    let had = [Signal::TERM, named("HUP")].into_iter().collect();
    let heir = Process::new(7, "heir");
    run.hears(0, Event::HeirFound { heir, had });
    let dies = ExitStatus::Killed {
        signal: named("HUP"),
        core: false,
    };
    run.hears(0, Event::ChildExited(dies));
    run.hears(0, none());
    let told = run.told(0, Event::NoneLeft);
    assert!(told.contains("-> exit 129"), "{told}");
}

#[test]
fn what_the_terminal_has_sent_to_the_one_before_it_gets_itself() {
    let mut run = Run::of("--main-pid notify --grace 5s --pre-stop a");
    run.hears(0, typed(Signal::INT));
    run.tells(0, exits(0), &["-> find"]);
    run.hears(0, heir(7));
    let hook = HookId {
        phase: HookPhase::PreStop,
        index: 0,
    };
    let told = run.told(
        0,
        Event::HookEnded {
            hook,
            result: done(),
        },
    );
    assert!(told.contains("-> INT to the Child"), "{told}");
}

#[test]
fn after_kill_there_is_no_heir() {
    let mut run = Run::of("--main-pid notify --grace 1s --ladder TERM:1s,KILL@child");
    run.hears(0, signal(Signal::TERM));
    run.hears(1_000, Event::Deadline);
    let told = run.told(0, exits(0));
    assert!(!told.contains("find"), "{told}");
}

#[test]
fn a_server_that_is_left_is_told_about_where_nothing_is_kept_quiet() {
    let looks = |options: &str, code| {
        let mut run = Run::of(options);
        let actions = [run.hears(0, exits(code)), run.hears(0, Event::Deadline)];
        actions.concat().contains(&Action::LookWhoListens)
    };
    assert!(looks("", 0));
    assert!(!looks("", 1));
    assert!(!looks("--stop-on ''", 0));
    assert!(!looks("--left leave", 0));
    assert!(!looks(HANDS_OVER, 0));
}
