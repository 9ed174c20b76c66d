//! `--help`, "Configuration": the file, and when it is read again.

use super::definition::{Because, Idle, Kind, Opt};
use super::settings::Given;
use super::signals::{self, STOP_ON};
use crate::plan::Plan;
use crate::words::fault::{Error, Fault};
use crate::words::signal::SignalSet;

const SECTION: Opt = Opt {
    section: "Configuration",
    ..Opt::BASE
};

pub(crate) static CONFIG: Opt = Opt {
    name: "config",
    elsewhere: &["config-file"],
    kind: Kind::One("FILE"),
    help: "Read options from a TOML file, whose keys are the names of the options",
    ..SECTION
};

pub(crate) static RELOAD_ON: Opt = Opt {
    name: "reload-on",
    kind: Kind::One("SIGNALS"),
    help: "Read the file again on these signals, which are not forwarded then",
    is_list: true,
    not_in_check: Some("leave it out: nothing is reloaded in a run"),
    put: reload_on,
    shown: |plan| Some(plan.reload_on.to_string()).filter(|_| !plan.reload_on.is_empty()),
    idle: Some(Idle {
        when: |settings, _| !settings.has(&CONFIG),
        why: "there is no file to read again",
        because: Because::Missing(&[&CONFIG]),
        is_missed: true,
    }),
    ..SECTION
};

fn reload_on(given: &Given<'_>, plan: &mut Plan) -> Result<(), Error> {
    let signals = given.signals()?;
    if !given.settings.has(&CONFIG) {
        plan.reload_on = SignalSet::default();
        return Ok(());
    }
    let stop_on = given.settings.signals(&STOP_ON)?;
    let stop_on = stop_on.unwrap_or_else(signals::default_stop_on);
    if let Some(signal) = signals.iter().find(|signal| stop_on.contains(*signal)) {
        let fault = Fault::new(format!("{signal} asks for the stop already"));
        return Err(given.error(fault.way_out("use another signal, or take it out of --stop-on")));
    }
    plan.reload_on = signals;
    Ok(())
}
