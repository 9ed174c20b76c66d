//! `--help`, "Restart": when the command is started again, and how often.

use std::time::Duration;

use super::definition::{Because, Idle, Kind, Opt, Preset, on_or_off, word, words, written};
use super::drain;
use super::parse::{parse_choice, parse_switch};
use super::readiness::READY_WHEN;
use super::settings::{Given, Settings};
use super::signals::{self, STOP_ON};
use super::sockets::LISTEN;
use super::status::parse_success;
use crate::plan::sockets;
use crate::plan::supervision::{Limit, Restart, Supervision};
use crate::plan::{Plan, SuccessExit};
use crate::words::duration;
use crate::words::fault::{Error, Fault};
use crate::words::signal::SignalSet;

const NOT_IN_CHECK: &str = "leave it out: a run is one life of the command";

const SECTION: Opt = Opt {
    section: "Restart",
    not_in_check: Some(NOT_IN_CHECK),
    put,
    ..Opt::BASE
};

const DEFAULT_DELAY: Duration = Duration::from_millis(500);
const DEFAULT_LONGEST_DELAY: Duration = Duration::from_secs(30);
const DEFAULT_LIMIT: Limit = Limit {
    times: 5,
    within: Some(Duration::from_secs(60)),
};
const DEFAULT_LIMIT_TEXT: &str = "5/1m";

/// No restart unless one is asked for.
const NO_RESTART: Idle = Idle {
    when: |_, plan| restart(plan) == Restart::No,
    why: "nothing is restarted",
    because: Because::Missing(&[&RESTART]),
    is_missed: false,
};

pub(crate) static RESTART: Opt = Opt {
    name: "restart",
    elsewhere: &["restart-policy", "respawn"],
    kind: Kind::One("WHEN"),
    help: "Start the command again when it has ended and no stop was asked for: no, on-failure or always",
    default: Some(Preset::Word(Restart::ALL[0].0)),
    words: &words(&Restart::ALL),
    shown: |plan| word(&Restart::ALL, &restart(plan)),
    ..SECTION
};

pub(crate) static RESTART_DELAY: Opt = Opt {
    name: "restart-delay",
    elsewhere: &["restart-sec", "backoff"],
    kind: Kind::One("DUR"),
    help: "How long to wait before a restart; it doubles from one to the next",
    default: Some(Preset::Time(DEFAULT_DELAY)),
    shown: |plan| Some(written(restarts(plan)?.delay)),
    idle: Some(NO_RESTART),
    ..SECTION
};

pub(crate) static RESTART_MAX_DELAY: Opt = Opt {
    name: "restart-max-delay",
    elsewhere: &["restart-max-delay-sec", "max-backoff"],
    kind: Kind::One("DUR"),
    help: "The longest of these delays",
    default: Some(Preset::Time(DEFAULT_LONGEST_DELAY)),
    shown: |plan| Some(written(restarts(plan)?.longest_delay)),
    idle: Some(NO_RESTART),
    ..SECTION
};

pub(crate) static RESTART_LIMIT: Opt = Opt {
    name: "restart-limit",
    elsewhere: &["start-limit-burst", "max-restarts", "max-retries"],
    kind: Kind::One("N[/DUR]"),
    help: "Give up after so many restarts, within DUR or in all; none is no limit",
    default: Some(Preset::Word(DEFAULT_LIMIT_TEXT)),
    shown: |plan| Some(shown_limit(restarts(plan)?.limit)),
    idle: Some(NO_RESTART),
    ..SECTION
};

pub(crate) static RESTART_NEVER_ON: Opt = Opt {
    name: "restart-never-on",
    elsewhere: &["restart-prevent-exit-status"],
    kind: Kind::Many("LIST"),
    help: "Exit codes and signals after which there is no restart, as in 78,ABRT",
    shown: |plan| shown_list(&restarts(plan)?.never_on),
    idle: Some(NO_RESTART),
    ..SECTION
};

pub(crate) static RESTART_START_FAILURES: Opt = Opt {
    name: "restart-start-failures",
    kind: Kind::Switch,
    help: "Restart, too, when the command cannot be started or is not ready in time",
    shown: |plan| Some(on_or_off(restarts(plan)?.start_failures).to_owned()),
    idle: Some(NO_RESTART),
    ..SECTION
};

pub(crate) static RESTART_ON: Opt = Opt {
    name: "restart-on",
    elsewhere: &["restart-signal"],
    kind: Kind::One("SIGNALS"),
    help: "Stop the command and start it again on these signals, which are not forwarded then",
    is_list: true,
    shapes_stop: true,
    shown: |plan| {
        let signals = plan.supervision.as_ref()?.restart_on;
        (!signals.is_empty()).then(|| signals.to_string())
    },
    ..SECTION
};

pub(crate) static REPLACE_ON: Opt = Opt {
    name: "replace-on",
    elsewhere: &["reexec-signal", "replace-signal"],
    kind: Kind::One("SIGNALS"),
    help: "Start the next one beside the child on these signals, and stop the child once the next one is ready",
    is_list: true,
    shapes_stop: true,
    shown: |plan| {
        let signals = plan.supervision.as_ref()?.replace_on;
        (!signals.is_empty()).then(|| signals.to_string())
    },
    not_in_check: None,
    ..SECTION
};

fn restart(plan: &Plan) -> Restart {
    let supervision = plan.supervision.as_ref();
    supervision.map_or(Restart::No, |supervision| supervision.restart)
}

/// Where something is restarted that nobody has asked for.
fn restarts(plan: &Plan) -> Option<&Supervision> {
    let supervision = plan.supervision.as_ref();
    supervision.filter(|supervision| supervision.restart != Restart::No)
}

fn put(given: &Given<'_>, plan: &mut Plan) -> Result<(), Error> {
    let settings = given.settings;
    let restart = settings.one(&RESTART, |text| parse_choice(text, &Restart::ALL))?;
    let delay = settings.duration(&RESTART_DELAY)?.unwrap_or(DEFAULT_DELAY);
    let longest_delay = settings.duration(&RESTART_MAX_DELAY)?;
    let mut never_on = SuccessExit::default();
    settings.many(&RESTART_NEVER_ON, |text| parse_success(text, &mut never_on))?;
    let supervision = Supervision {
        restart: restart.unwrap_or_default(),
        delay,
        // Who sets a long delay means it.
        longest_delay: longest_delay.unwrap_or(DEFAULT_LONGEST_DELAY.max(delay)),
        limit: settings
            .one(&RESTART_LIMIT, parse_limit)?
            .unwrap_or(Some(DEFAULT_LIMIT)),
        never_on,
        start_failures: settings
            .one(&RESTART_START_FAILURES, parse_switch)?
            .unwrap_or(false),
        restart_on: restart_on(settings, &RESTART_ON, &[])?,
        replace_on: replace_on(settings)?,
    };
    if longest_delay.is_some_and(|longest| longest < delay) {
        let fault = Fault::new(format!(
            "it is shorter than --restart-delay {}",
            written(delay)
        ));
        let way_out = "make it as long at least";
        return Err(settings.error(&RESTART_MAX_DELAY, fault.way_out(way_out)));
    }
    let is_asked_for = supervision.restart != Restart::No
        || !supervision.restart_on.is_empty()
        || !supervision.replace_on.is_empty();
    let replaces = !supervision.replace_on.is_empty();
    plan.supervision = is_asked_for.then_some(supervision);
    if replaces {
        // Whoever is replaced is drained, also where no option of the drain is written.
        drain::put(given, plan)?;
    }
    Ok(())
}

/// The signals of an option that asks for the next generation; none of them may ask for anything else.
fn restart_on(
    settings: &Settings,
    option: &'static Opt,
    others: &[&'static Opt],
) -> Result<SignalSet, Error> {
    let signals = settings.signals(option)?.unwrap_or_default();
    if signals.is_empty() {
        return Ok(signals);
    }
    let stop_on = settings.signals(&STOP_ON)?;
    let stop_on = stop_on.unwrap_or_else(signals::default_stop_on);
    let mut taken = vec![(stop_on, "asks for the stop", "--stop-on")];
    let reload_on = settings.signals(&super::config::RELOAD_ON)?;
    taken.push((
        reload_on.unwrap_or_default(),
        "asks for the file to be read again",
        "--reload-on",
    ));
    for other in others {
        let signals = settings.signals(other)?.unwrap_or_default();
        taken.push((signals, "asks for a restart", "--restart-on"));
    }
    for signal in signals.iter() {
        let taken = taken.iter().find(|(set, ..)| set.contains(signal));
        if let Some((_, what, other)) = taken {
            let fault = Fault::new(format!("{signal} {what} already"));
            let way_out = format!("use another signal, or take it out of {other}");
            return Err(settings.error(option, fault.way_out(way_out)));
        }
    }
    Ok(signals)
}

/// The next one must have sockets of its own to take over, and it must be known when it can.
fn replace_on(settings: &Settings) -> Result<SignalSet, Error> {
    let signals = restart_on(settings, &REPLACE_ON, &[&RESTART_ON])?;
    if signals.is_empty() {
        return Ok(signals);
    }
    let refused = |what: &str, way_out: &str| {
        let fault = Fault::new(what.to_owned()).way_out(way_out.to_owned());
        Err(settings.error(&REPLACE_ON, fault))
    };
    let listens = settings.many(&LISTEN, sockets::parse)?;
    if listens.is_empty() {
        return refused(
            "the child has no socket that the next one could take over",
            "add --listen ADDR:PORT, or use --restart-on, which stops the child first",
        );
    }
    if !settings.has(&READY_WHEN) {
        return refused(
            "nothing tells when the next one can serve",
            "add --ready-when notify, http:URL, file:PATH or exec:COMMAND",
        );
    }
    Ok(signals)
}

/// `N`, `N/DUR` or `none`.
fn parse_limit(text: &str) -> Result<Option<Limit>, Fault> {
    if text == "none" {
        return Ok(None);
    }
    let (times, within) = match text.split_once('/') {
        Some((times, within)) => (times, Some(within)),
        None => (text, None),
    };
    let fault = |what: &str| {
        Fault::new(what.to_owned())
            .way_out("write as 5/1m: five restarts within a minute, or none for no limit")
    };
    let count: u32 = times
        .parse()
        .map_err(|_| fault(&format!("{times:?} is no number")).at(text, 0, times.len()))?;
    if count == 0 {
        return Err(fault("0 restarts are none").at(text, 0, times.len()));
    }
    let within = within
        .map(|within| {
            duration::parse(within).map_err(|bad| {
                let fault = Fault::new(bad.to_string()).way_out(bad.way_out());
                fault.at(text, times.len() + 1, text.len())
            })
        })
        .transpose()?;
    if within.is_some_and(|within| within.is_zero()) {
        return Err(fault("no restart is within 0 s").at(text, times.len() + 1, text.len()));
    }
    Ok(Some(Limit {
        times: count,
        within,
    }))
}

fn shown_limit(limit: Option<Limit>) -> String {
    match limit {
        None => "none".to_owned(),
        Some(Limit {
            times,
            within: None,
        }) => times.to_string(),
        Some(Limit {
            times,
            within: Some(within),
        }) => format!("{times}/{}", written(within)),
    }
}

fn shown_list(list: &SuccessExit) -> Option<String> {
    let codes = list.codes.iter().map(u8::to_string);
    let all: Vec<String> = codes
        .chain(list.signals.iter().map(|signal| signal.to_string()))
        .collect();
    (!all.is_empty()).then(|| all.join(","))
}
