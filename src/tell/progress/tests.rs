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
use crate::record::{DrainEnd, ExitStatus};
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
    assert_eq!((progress.in_flight(), progress.interrupted()), (None, 3));
    all_say_the_same(&progress, at);
}
