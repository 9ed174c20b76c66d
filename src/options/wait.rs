//! `--help`, "Before the start": what is waited for.

use std::time::Duration;

use super::definition::{Because, Idle, Kind, Opt, Preset, written};
use super::parse::parse_limit;
use super::settings::Given;
use crate::plan::Plan;
use crate::plan::wait::{self, Wait};
use crate::words::fault::Error;

const SECTION: Opt = Opt {
    section: "Before the start",
    shapes_stop: true,
    put,
    ..Opt::BASE
};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) static WAIT_FOR: Opt = Opt {
    name: "wait-for",
    elsewhere: &["wait", "wait-on", "depends-on"],
    kind: Kind::Many("CONDITION"),
    help: "Start nothing before this holds: tcp:HOST:PORT, http:URL, exec:COMMAND or file:PATH",
    ..SECTION
};

pub(crate) static WAIT_TIMEOUT: Opt = Opt {
    name: "wait-timeout",
    kind: Kind::One("DUR"),
    help: "How long to wait for these conditions at most; then the exit status is 125",
    default: Some(Preset::Time(DEFAULT_TIMEOUT)),
    shown: |plan| Some(written(plan.wait.as_ref()?.timeout)),
    idle: Some(Idle {
        when: |_, plan| plan.wait.is_none(),
        why: "there is nothing to wait for",
        because: Because::Missing(&[&WAIT_FOR]),
        is_missed: false,
    }),
    ..SECTION
};

fn put(given: &Given<'_>, plan: &mut Plan) -> Result<(), Error> {
    let timeout = given.settings.one(&WAIT_TIMEOUT, parse_limit)?;
    let conditions = given.settings.many(&WAIT_FOR, wait::parse)?;
    plan.wait = (!conditions.is_empty()).then(|| Wait {
        conditions,
        timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
    });
    Ok(())
}
