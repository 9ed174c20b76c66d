//! The phases of whole runs, and what the endpoint and the metrics make of one and the same progress.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::*;
use crate::drive::drive;
use crate::machine::{Event, Machine};
use crate::options::Settings;
use crate::record::NotReady;
use crate::record::{DrainEnd, ExitStatus, Reason};
use crate::sim::{Script, Sim};
use crate::tell::endpoint::status;
use crate::tell::metrics;
use crate::tell::metrics::totals::Totals;
use crate::words::signal::Signal;

/// The phases of a run in the simulated world, each once.
fn phases(
    options: &[(&'static str, &str)],
    script: Script,
    ends_at: Option<u64>,
) -> Vec<&'static str> {
    let mut settings = Settings::default();
    for (name, value) in options {
        settings.set(name, value);
    }
    let mut machine = Machine::new(Rc::new(settings.plan().unwrap()));
    let mut world = Sim::new(script);
    if let Some(at) = ends_at {
        let end = Event::ChildExited(ExitStatus::Exited(0));
        world.happens(Duration::from_millis(at), end);
    }
    let seen = RefCell::new((Progress::default(), vec!["starting"]));
    drive(
        &mut machine,
        &mut world,
        &mut |at: Duration, record: &Record| {
            let (progress, names) = &mut *seen.borrow_mut();
            progress.tell(at, record);
            all_say_the_same(progress, at);
            if names.last() != Some(&progress.phase()) {
                names.push(progress.phase());
            }
        },
    );
    seen.into_inner().1
}

/// `/status` and the metrics, at each moment.
fn all_say_the_same(progress: &Progress, now: Duration) {
    let status: Value = serde_json::from_str(&status::json(progress, now)).unwrap();
    let totals = Totals::default();
    let metrics = metrics::render(progress, &totals, SystemTime::UNIX_EPOCH, now);
    let lines = metrics.lines().filter(|line| line.ends_with(" 1.0"));
    let phases: Vec<&str> = lines
        .filter_map(|line| {
            line.strip_prefix("stepdown_phase{phase=\"")?
                .split('"')
                .next()
        })
        .collect();
    assert_eq!(phases, [status["phase"].as_str().unwrap()]);
    let has = |line: String| assert!(metrics.contains(&line), "{line} not in\n{metrics}");
    let in_flight = status["in_flight"].as_u64().unwrap_or(0);
    has(format!("\nstepdown_in_flight_requests {in_flight}.0\n"));
    if let Some(uptime) = status["uptime_ms"].as_u64() {
        let uptime = Duration::from_millis(uptime).as_secs_f64();
        has(format!("\nstepdown_child_uptime_seconds {uptime:?}\n"));
    }
}

fn script() -> Script {
    Script {
        asked: [Signal::TERM].into(),
        hooks_take: Some(Duration::from_secs(1)),
        ..Script::default()
    }
}

const HOOKS: [(&str, &str); 4] = [
    ("pre-start", "a"),
    ("pre-stop", "b"),
    ("pre-stop", "c"),
    ("post-stop", "d"),
];

#[test]
fn every_phase_is_told_in_its_order() {
    assert_eq!(
        phases(
            &[&HOOKS[..], &[("drain-delay", "1s")]].concat(),
            script(),
            None
        ),
        [
            "starting",
            "pre-start",
            "starting",
            "running",
            "stopping",
            "pre-stop",
            "stopping",
            "pre-stop",
            "stopping",
            "drain",
            "ladder",
            "sweep",
            "post-stop",
            "ended"
        ]
    );
}

#[test]
fn the_childs_end_ends_no_pre_stop_hook() {
    assert_eq!(
        phases(&HOOKS, script(), Some(500)),
        [
            "starting",
            "pre-start",
            "starting",
            "running",
            "stopping",
            "pre-stop",
            "sweep",
            "pre-stop",
            "sweep",
            "post-stop",
            "ended"
        ]
    );
}

#[test]
fn a_start_that_fails_has_nothing_but_its_end() {
    let failure = crate::record::StartFailure {
        code: 127,
        message: String::new(),
    };
    let script = Script {
        start_fails: Some(failure),
        ..script()
    };
    let told = phases(&HOOKS, script, None);
    assert_eq!(told[2..], ["starting", "sweep", "post-stop", "ended"]);
}

#[test]
fn a_child_that_is_not_ready_in_time_is_stopped_and_not_swept() {
    let options = [("ready-when", "notify"), ("ready-timeout", "1s")];
    let told = phases(&options, Script::default(), None);
    assert_eq!(
        told,
        [
            "starting", "running", "stopping", "ladder", "sweep", "ended"
        ]
    );
}

#[test]
fn what_is_in_flight_is_none_after_a_drain_that_was_not_cut_short() {
    let mut progress = Progress::default();
    let left = Duration::ZERO;
    progress.tell(left, &Record::InFlight { requests: 3, left });
    assert_eq!(progress.in_flight(), Some(3));
    all_say_the_same(&progress, left);
    let drained = Record::DrainEnded {
        end: DrainEnd::Drained,
        interrupted: 0,
        took: left,
    };
    progress.tell(left, &drained);
    assert_eq!(progress.in_flight(), Some(0));
}

#[test]
fn it_is_not_ready_since_it_was_said_first() {
    let mut progress = Progress::default();
    let seconds = Duration::from_secs;
    let not_ready = |why| Record::NotReady { why, checks: None };
    assert_eq!(*progress.ready_state(), ReadyState::NotYet(None));
    progress.tell(
        seconds(1),
        &Record::Started {
            pid: 2,
            ready: true,
        },
    );
    assert_eq!(*progress.ready_state(), ReadyState::Ready);
    progress.tell(seconds(2), &not_ready(NotReady::ChildStopping));
    progress.tell(seconds(3), &not_ready(NotReady::StopAsked));
    assert_eq!(progress.not_ready_since(), Some(seconds(2)));
    let after = seconds(2);
    progress.tell(seconds(4), &Record::ReadyAgain { after });
    assert_eq!(progress.not_ready_since(), None);
}

#[test]
fn what_is_waited_for_before_the_start_is_a_phase_and_why_it_is_not_ready() {
    let mut progress = Progress::default();
    let (condition, at) = ("tcp:db:1".to_owned(), Duration::ZERO);
    progress.tell(
        at,
        &Record::WaitStarted {
            condition: condition.clone(),
            why: "refused".to_owned(),
            left: at,
        },
    );
    assert_eq!(progress.phase(), "wait-for");
    all_say_the_same(&progress, at);
    let why = "waiting for tcp:db:1: refused".to_owned();
    assert_eq!(*progress.ready_state(), ReadyState::NotYet(Some(why)));
    let took = at;
    progress.tell(at, &Record::WaitEnded { condition, took });
    assert_eq!(progress.phase(), "starting");
    assert_eq!(*progress.ready_state(), ReadyState::NotYet(None));
}

#[test]
fn with_the_child_what_was_in_flight_is_gone() {
    let mut progress = Progress::default();
    let at = Duration::ZERO;
    progress.tell(
        at,
        &Record::InFlight {
            requests: 3,
            left: at,
        },
    );
    let status = ExitStatus::Exited(1);
    progress.tell(
        at,
        &Record::ChildExited {
            status,
            after: at,
            step: None,
        },
    );
    let cut_short = Record::DrainEnded {
        end: DrainEnd::ChildExited,
        interrupted: 3,
        took: at,
    };
    progress.tell(at, &cut_short);
    assert_eq!(progress.in_flight(), None);
    all_say_the_same(&progress, at);
}

/// Two generations, of which the second one is started after 10 s and serves after 20 s.
fn replaced(ready: bool, of_next: &[Record]) -> (Progress, Totals) {
    let mut told = (Progress::default(), Totals::default());
    let started = |pid| Record::Started { pid, ready: false };
    tell(&mut told, 0, started(2));
    tell(&mut told, 1, Record::Ready { after: seconds(1) });
    let began = Record::ReplaceBegan {
        generation: 2,
        signal: Signal::HUP,
        sender: None,
    };
    tell(&mut told, 10, began);
    tell(&mut told, 10, of(2, started(3)));
    for record in of_next {
        tell(&mut told, 15, of(2, record.clone()));
    }
    let serves = Record::Replaced {
        generation: 2,
        before: 1,
        pid: Some(3),
        ready,
    };
    tell(&mut told, 20, serves);
    told
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn of(generation: u32, record: Record) -> Record {
    let record = Box::new(record);
    Record::OfGeneration { generation, record }
}

fn tell((progress, totals): &mut (Progress, Totals), at: u64, record: Record) {
    progress.tell(seconds(at), &record);
    totals.tell(&record, progress);
}

fn ended(reason: Reason, status: ExitStatus) -> Record {
    Record::Ended(Outcome {
        code: status.code(),
        reason,
        status: Some(status),
        escalated: false,
        took: Duration::ZERO,
    })
}

#[test]
fn the_next_one_serves_with_all_that_was_told_of_it() {
    let status = "warm".to_owned();
    let ready = Record::Ready { after: seconds(5) };
    let (progress, _) = replaced(true, &[Record::ChildSays { status }, ready]);
    assert_eq!(progress.uptime(seconds(25)), Some(seconds(15)));
    assert_eq!(progress.says(), Some("warm"));
    assert_eq!(*progress.ready_state(), ReadyState::Ready);
    assert_eq!((progress.generation(), progress.child()), (2, Some(3)));
    assert_eq!(progress.phase(), "running");
    let why = "no".to_owned();
    let (progress, _) = replaced(false, &[Record::NotYetReady { why: why.clone() }]);
    assert_eq!(*progress.ready_state(), ReadyState::NotYet(Some(why)));
}

#[test]
fn who_was_replaced_ended_cleanly_by_the_stop_alone() {
    use crate::record::Reason;
    let asked = Record::StopAsked {
        reason: Reason::Replaced,
        signal: None,
        sender: None,
        deadline: None,
    };
    let step = Record::Step {
        step: 1,
        of: 2,
        text: "SAME".into(),
        signal: Some(Signal::TERM),
        target: crate::plan::Target::Child,
        by_terminal: false,
        passed_on: false,
        wait: None,
    };
    let killed = |signal| ExitStatus::Killed {
        signal,
        core: false,
    };
    for (status, clean) in [
        (killed(Signal::TERM), true),
        (ExitStatus::Exited(0), true),
        (ExitStatus::Exited(1), false),
    ] {
        let mut told = replaced(true, &[]);
        tell(&mut told, 20, of(1, asked.clone()));
        tell(&mut told, 20, of(1, step.clone()));
        tell(&mut told, 21, of(1, ended(Reason::Replaced, status)));
        let (progress, totals) = told;
        assert_eq!(progress.last_exit().map(|last| last.clean), Some(clean));
        assert_eq!(totals.stops.get("graceful"), Some(&1));
        assert_eq!(totals.restarts.get("replaced"), Some(&1));
    }
    // It has crashed, and nobody has asked it to stop.
    let mut told = replaced(false, &[]);
    tell(
        &mut told,
        20,
        of(1, ended(Reason::Exit, killed(Signal::SEGV))),
    );
    let (progress, totals) = told;
    assert_eq!(progress.last_exit().map(|last| last.clean), Some(false));
    assert_eq!((totals.stops.len(), totals.stop_duration.count), (0, 0));
    assert_eq!(totals.restarts.get("replaced"), Some(&1));
}

#[test]
fn one_that_never_served_was_not_replaced_though_another_life_has_begun() {
    let mut progress = Progress::default();
    let at = Duration::ZERO;
    let outcome = Outcome {
        code: 143,
        reason: Reason::Replaced,
        status: None,
        escalated: false,
        took: at,
    };
    let began = Record::ReplaceBegan {
        generation: 2,
        signal: crate::words::signal::Signal::TERM,
        sender: None,
    };
    progress.tell(at, &began);
    progress.tell(at, &Record::GenerationBegan { generation: 3 });
    let ended = Record::Ended(outcome);
    progress.tell(
        at,
        &Record::OfGeneration {
            generation: 2,
            record: Box::new(ended),
        },
    );
    let last = progress.last_exit().expect("its end was told");
    assert_eq!((last.generation, last.restart), (2, None));
}
