//! `--help`, "Hand-over": which process is the child once the one that was started has ended.

use super::definition::{Kind, Opt};
use super::left::SUBREAPER;
use super::parse::parse_switch;
use super::settings::Given;
use crate::plan::Plan;
use crate::plan::main_pid;
use crate::words::fault::{Error, Fault};

pub(crate) static MAIN_PID: Opt = Opt {
    name: "main-pid",
    elsewhere: &["pid-file", "pidfile", "main-pid-file"],
    kind: Kind::One("file:PATH|notify"),
    section: "Hand-over",
    help: "Which process is the child once the one that was started has ended: a daemon, or the \
           next one after an upgrade",
    shapes_stop: true,
    shown: |plan| Some(plan.main_pid.as_ref()?.text.clone()),
    put,
    ..Opt::BASE
};

fn put(given: &Given<'_>, plan: &mut Plan) -> Result<(), Error> {
    let settings = given.settings;
    plan.main_pid = settings.one(&MAIN_PID, main_pid::parse)?;
    let subreaper = settings.one(&SUBREAPER, parse_switch)?;
    if plan.main_pid.is_some() && subreaper == Some(false) && !settings.as_pid1 {
        let fault = Fault::new("what has lost its parent is not ours with --subreaper=off");
        let way_out = "leave --subreaper=off out: it can only be waited for where it is adopted";
        return Err(settings.error(&MAIN_PID, fault.way_out(way_out)));
    }
    Ok(())
}
