//! `--help`, "Signals": which ones ask for the stop, and what becomes of the others.

use super::definition::{Because, Idle, Kind, Opt, Preset, word, words};
use super::ladder;
use super::parse::parse_signal;
use super::restart::RESTART;
use super::settings::Settings;
use super::stop;
use crate::plan::supervision::Restart;
use crate::plan::{Plan, SuccessExit, Target};
use crate::words::fault::{Error, Fault};
use crate::words::list::list;
use crate::words::signal::{Signal, SignalSet};

const SECTION: Opt = Opt {
    section: "Signals",
    ..Opt::BASE
};

const DEFAULT_STOP_ON: &[Signal] = &[Signal::TERM, Signal::INT];
const DEFAULT_ESCALATE_ON: &[Signal] = &[Signal::INT];
pub(super) const DEFAULT_TARGET: Target = Target::ALL[0].1;

pub(crate) static STOP_ON: Opt = Opt {
    name: "stop-on",
    kind: Kind::One("SIGNALS"),
    help: "Signals that ask for the stop; all others are forwarded",
    default: Some(Preset::Signals(DEFAULT_STOP_ON)),
    is_list: true,
    shapes_stop: true,
    not_in_check: Some("name the signal that is sent by --signal"),
    put: |given, plan| {
        plan.stop_on = given.signals()?;
        put_named(given.settings, plan)
    },
    shown: |plan| Some(plan.stop_on.to_string()),
    idle: Some(Idle {
        when: |_, plan| plan.stop_on.is_empty() && cannot_be_stopped(plan),
        why: "it names no signal, and with --restart always nothing but KILL stops the run",
        because: Because::Beside(&RESTART, "name one, as TERM"),
        is_missed: true,
    }),
    reload: Some(|plan, fresh| {
        plan.stop_on = fresh.stop_on;
        plan.named = fresh.named;
        Ok(())
    }),
    ..SECTION
};

pub(crate) static ESCALATE_ON: Opt = Opt {
    name: "escalate-on",
    kind: Kind::One("SIGNALS"),
    help: "Signals that make the stop faster when they come again",
    default: Some(Preset::Signals(DEFAULT_ESCALATE_ON)),
    is_list: true,
    shapes_stop: true,
    not_in_check: Some("say by --ladder how the stop goes on"),
    put: |given, plan| {
        plan.escalate_on = given.signals()?;
        put_named(given.settings, plan)
    },
    shown: |plan| Some(plan.escalate_on.to_string()),
    reload: Some(|plan, fresh| {
        plan.escalate_on = fresh.escalate_on;
        plan.named = fresh.named;
        Ok(())
    }),
    ..SECTION
};

pub(crate) static REWRITE: Opt = Opt {
    name: "rewrite",
    letter: Some('r'),
    kind: Kind::Many("FROM:TO"),
    help: "Forward FROM as TO; drop it if TO is 0",
    put: |given, plan| {
        plan.rewrite = given.each(parse_rewrite)?.concat();
        Ok(())
    },
    idle: Some(Idle {
        when: |_, plan| !plan.stop_on.is_empty() && cannot_be_stopped(plan),
        why: "it drops every signal of --stop-on, and with --restart always nothing but KILL stops the run",
        because: Because::Beside(
            &RESTART,
            "leave one of them out of --rewrite, or name one more in --stop-on",
        ),
        is_missed: true,
    }),
    reload: Some(|plan, fresh| {
        plan.rewrite.clone_from(&fresh.rewrite);
        Ok(())
    }),
    ..SECTION
};

pub(crate) static TARGET: Opt = Opt {
    name: "target",
    kind: Kind::One("TARGET"),
    help: "Who gets signals: child, group (its process group) or tree (all its descendants)",
    default: Some(Preset::Word(Target::ALL[0].0)),
    words: &words(&Target::ALL),
    put: |given, plan| {
        plan.target = given.one(ladder::parse_target)?;
        stop::set_up(given.settings, plan)
    },
    shown: |plan| word(&Target::ALL, &plan.target),
    reload: Some(|plan, fresh| {
        plan.target = fresh.target;
        stop::reload_ladder(plan, fresh)
    }),
    ..SECTION
};

pub(crate) static PARENT_DEATH_SIGNAL: Opt = Opt {
    name: "parent-death-signal",
    letter: Some('p'),
    kind: Kind::One("SIGNAL"),
    help: "Stop with this signal when the parent of stepdown dies",
    not_in_check: Some("leave it out: the end of check always ends the run"),
    put: |given, plan| {
        plan.parent_death_signal = Some(given.one(parse_signal)?);
        Ok(())
    },
    shown: |plan| Some(plan.parent_death_signal?.to_string()),
    ..SECTION
};

fn put_named(settings: &Settings, plan: &mut Plan) -> Result<(), Error> {
    let sets = [settings.signals(&STOP_ON)?, settings.signals(&ESCALATE_ON)?];
    let sets = sets.into_iter().flatten();
    plan.named = sets.flat_map(SignalSet::iter).collect();
    Ok(())
}

pub(super) fn default_stop_on() -> SignalSet {
    DEFAULT_STOP_ON.iter().copied().collect()
}

pub(super) fn default_escalate_on() -> SignalSet {
    DEFAULT_ESCALATE_ON.iter().copied().collect()
}

/// Whether no signal begins the stop, and the command is always started again.
fn cannot_be_stopped(plan: &Plan) -> bool {
    let supervision = plan.supervision.as_ref();
    let is_endless = supervision.is_some_and(|supervision| {
        supervision.restart == Restart::Always && supervision.never_on == SuccessExit::default()
    });
    is_endless && plan.parent_death_signal.is_none() && !plan.can_be_asked_to_stop()
}

/// Whom signals go to where a step does not say it.
pub(super) fn target(settings: &Settings) -> Result<Target, Error> {
    let target = settings.one(&TARGET, ladder::parse_target)?;
    Ok(target.unwrap_or(DEFAULT_TARGET))
}

fn parse_rewrite(text: &str) -> Result<Vec<(Signal, Option<Signal>)>, Fault> {
    list(text)
        .map(|(start, rule)| {
            let Some((from, to)) = rule.split_once(':') else {
                return Err(Fault::new("a rule is FROM:TO")
                    .at(text, start, start + rule.len())
                    .way_out("write TERM:QUIT, or TERM:0 to drop TERM"));
            };
            let place = |fault: Fault, from: usize, len: usize| fault.at(text, from, from + len);
            let to_start = start + from.len() + 1;
            let parsed = parse_signal(from).map_err(|f| place(f, start, from.len()))?;
            let to = match to.trim() {
                "0" => None,
                name => Some(parse_signal(name).map_err(|f| place(f, to_start, to.len()))?),
            };
            Ok((parsed, to))
        })
        .collect()
}
