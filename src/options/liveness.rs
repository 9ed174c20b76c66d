//! `--help`, "Liveness": how it is found out that the child hangs.

use std::time::Duration;

use super::definition::{Because, Idle, Kind, Opt, Preset, written};
use super::parse::parse_limit;
use super::settings::Given;
use crate::plan::Plan;
use crate::plan::liveness::{self, Liveness};
use crate::words::fault::{Error, Fault};

const SECTION: Opt = Opt {
    section: "Liveness",
    shapes_stop: true,
    not_in_check: Some("leave it out: a run of check is about the stop that it asks for"),
    put,
    ..Opt::BASE
};

const DEFAULT_EVERY: Duration = Duration::from_secs(10);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);
const DEFAULT_FAILURES: u32 = 3;

/// The child says itself how it is, or nobody looks at all.
const NO_LOOKS: Idle = Idle {
    when: |_, plan| looks(plan).is_none(),
    why: "stepdown makes no checks",
    because: Because::Missing(&[&LIVE_WHEN]),
    is_missed: false,
};

pub(crate) static LIVE_WHEN: Opt = Opt {
    name: "live-when",
    elsewhere: &["liveness", "watchdog", "watchdog-sec", "health-cmd"],
    kind: Kind::One("CONDITION"),
    help: "Stop a child that hangs; it is alive while this holds: tcp:PORT, http:URL, \
           exec:COMMAND, file:PATH or watchdog:DUR",
    shown: |plan| Some(plan.liveness.as_ref()?.text.clone()),
    ..SECTION
};

pub(crate) static LIVE_EVERY: Opt = Opt {
    name: "live-every",
    elsewhere: &["health-interval", "period-seconds"],
    kind: Kind::One("DUR"),
    help: "How often to check",
    default: Some(Preset::Time(DEFAULT_EVERY)),
    shown: |plan| Some(written(looks(plan)?.every)),
    idle: Some(NO_LOOKS),
    ..SECTION
};

pub(crate) static LIVE_TIMEOUT: Opt = Opt {
    name: "live-timeout",
    elsewhere: &["health-timeout", "timeout-seconds"],
    kind: Kind::One("DUR"),
    help: "How long a check may take",
    default: Some(Preset::Time(DEFAULT_TIMEOUT)),
    shown: |plan| Some(written(looks(plan)?.timeout)),
    idle: Some(NO_LOOKS),
    ..SECTION
};

pub(crate) static LIVE_FAILURES: Opt = Opt {
    name: "live-failures",
    elsewhere: &["health-retries", "failure-threshold"],
    kind: Kind::One("N"),
    help: "How many checks in a row must fail",
    default: Some(Preset::Number(DEFAULT_FAILURES)),
    shown: |plan| Some(looks(plan)?.failures.to_string()),
    idle: Some(NO_LOOKS),
    ..SECTION
};

/// Where the child is looked at; to a watchdog it speaks.
fn looks(plan: &Plan) -> Option<&Liveness> {
    let liveness = plan.liveness.as_ref();
    liveness.filter(|liveness| liveness.watchdog().is_none())
}

fn put(given: &Given<'_>, plan: &mut Plan) -> Result<(), Error> {
    let settings = given.settings;
    let when = settings.one(&LIVE_WHEN, |text| {
        Ok((liveness::parse(text)?, text.to_owned()))
    })?;
    let every = settings.one(&LIVE_EVERY, parse_limit)?;
    let timeout = settings.one(&LIVE_TIMEOUT, parse_limit)?;
    let failures = settings.one(&LIVE_FAILURES, parse_failures)?;
    plan.liveness = when.map(|(when, text)| Liveness {
        when,
        every: every.unwrap_or(DEFAULT_EVERY),
        timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
        failures: failures.unwrap_or(DEFAULT_FAILURES),
        text,
    });
    Ok(())
}

fn parse_failures(text: &str) -> Result<u32, Fault> {
    let failures = text.trim().parse().ok();
    failures.filter(|failures| *failures > 0).ok_or_else(|| {
        Fault::new(format!("{text:?} is no number of checks")).way_out("write one from 1 on, as 3")
    })
}
