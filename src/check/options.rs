//! The options of `check`, and what they ask for.

pub(crate) mod foreign;
mod replace;
mod values;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::judge::{InFlight, Promise};
use super::play::containers::Containers;
use crate::options::check::{
    AFTER, ALLOW_KILL, ALLOW_LEFT, AS_PID1, COMPARE, CONTAINER, DEFAULT_AFTER,
    DEFAULT_IN_FLIGHT_COUNT, DEFAULT_MIN_COMPLETE, DEFAULT_RUNS, DEFAULT_SIGNAL, DEFAULT_WITHIN,
    EXPECT_EXIT, IN_FLIGHT, IN_FLIGHT_COUNT, MIN_COMPLETE, OFFSETS, PORT_FREE, READY_LINE, RUNS,
    SIGNAL, STOP_COMMAND, WITHIN,
};
use crate::options::definition::written;
use crate::options::readiness::{READY_TIMEOUT, READY_WHEN};
use crate::options::signals::REWRITE;
use crate::options::stop::{DEADLINE, GRACE, LADDER, STOP_SIGNAL};
use crate::options::told::LOG_LEVEL;
use crate::options::{Settings, Source, parse_limit};
use crate::plan::budget::total;
use crate::plan::call;
use crate::plan::drain::Drain;
use crate::plan::voice::Level;
use crate::plan::{Plan, StepAction, Target};
use crate::words::fault::{Error, Fault};
use crate::words::list::list;
use crate::words::signal::Signal;
use values::{number, outputs, parse_command, parse_expected, parse_offsets, parse_ports};

/// When the signal is sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Moment {
    /// Whether the command must be ready first.
    pub(crate) ready: bool,
    pub(crate) line: Option<String>,
    pub(crate) after: Duration,
    pub(crate) patience: Duration,
}

/// `--replace`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Replace {
    pub(crate) signal: Signal,
    /// What is asked under load.
    pub(crate) request: call::Request,
}

/// Where to write a report; `None` is standard output.
pub(crate) type Output = Option<PathBuf>;

/// One way to run the command.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Variant {
    /// Empty if there is only one.
    pub(crate) name: &'static str,
    pub(crate) plan: Plan,
    pub(crate) command: Vec<OsString>,
    pub(crate) promise: Promise,
}

/// Everything that was asked for.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Check {
    pub(crate) command: Vec<OsString>,
    pub(crate) variants: Vec<Variant>,
    pub(crate) moment: Moment,
    pub(crate) request: Option<call::Request>,
    pub(crate) replace: Option<Replace>,
    pub(crate) runs: u32,
    /// Offsets from the start; empty without `--offsets`.
    pub(crate) offsets: Vec<Duration>,
    pub(crate) containers: Containers,
    /// From the signal until a run is given up.
    pub(crate) limit: Duration,
    pub(crate) json: Option<Output>,
    pub(crate) junit: Option<Output>,
    pub(crate) html: Option<Output>,
    /// The records are shown as they come.
    pub(crate) verbose: bool,
    /// Nothing is printed if all promises held.
    pub(crate) quiet: bool,
}

const DEFAULT_READY: Duration = Duration::from_secs(30);

/// Makes a check of what was typed.
///
/// # Errors
/// The first value that is not valid, with the way out.
pub(crate) fn parse(mut settings: Settings, command: Vec<OsString>) -> Result<Check, Error> {
    foreign::pass_over(&mut settings);
    let replaces = replace::prepare(&mut settings)?;
    let signal = settings.signal(&SIGNAL)?.unwrap_or(DEFAULT_SIGNAL);
    if signal == Signal::KILL || signal == Signal::STOP {
        let fault = Fault::new("no program can act on it");
        return Err(settings.error(&SIGNAL, fault.way_out("use TERM, INT, QUIT, HUP or USR1")));
    }
    let within = settings
        .one(&WITHIN, parse_limit)?
        .unwrap_or(DEFAULT_WITHIN);
    let offsets = settings.one(&OFFSETS, parse_offsets)?.unwrap_or_default();
    let moment = moment(&mut settings, &offsets)?;
    let request = settings.one(&IN_FLIGHT, call::http)?;
    let in_flight = in_flight(&settings, request.is_some(), &offsets)?;
    let mut ports = Vec::new();
    for some in settings.many(&PORT_FREE, parse_ports)? {
        ports.extend(some);
    }
    let compare = settings.switch(&COMPARE)?;
    let as_pid1 = settings.switch(&AS_PID1)? || compare;
    let stop_command = settings.one(&STOP_COMMAND, parse_command)?;
    let mut promise = Promise {
        signal,
        steps: Vec::new(),
        signals: Vec::new(),
        target: Target::Child,
        within,
        expect: settings.one(&EXPECT_EXIT, parse_expected)?,
        allow_kill: settings.switch(&ALLOW_KILL)?,
        allow_left: settings.switch(&ALLOW_LEFT)?,
        ports,
        in_flight,
        replace: replaces,
        as_pid1,
    };
    if stop_command.is_some() {
        if settings.has(&LADDER) {
            let fault = Fault::new("there is a ladder already");
            let way_out = "write it as a step, --ladder 'exec=COMMAND'";
            return Err(settings.error(&STOP_COMMAND, fault.way_out(way_out)));
        }
        if settings.has(&STOP_SIGNAL) {
            let fault = Fault::new("the stop command takes its place");
            return Err(settings.error(&STOP_SIGNAL, fault.way_out("leave out one of them")));
        }
    }
    settings.refuse_idle(&settings.plan()?)?;
    let mut typed = settings.typed();
    if !settings.has(&GRACE) && !settings.has(&DEADLINE) {
        settings.add(&GRACE, written(until_kill(&promise)), Source::Flag);
        // The stepdown in front of the command sends it earlier, so that the promise can be kept.
        typed.push(format!("--grace={}", written(in_time(within))).into());
    }
    let mut plan = settings.plan()?;
    let level = plan.voice.level;
    if plan.voice.reaped {
        let fault = Fault::new("check has no use for reaped");
        return Err(settings.error(&LOG_LEVEL, fault.way_out("use --log-level debug, or -v")));
    }
    settings.check(&mut plan)?;
    if plan.rewritten(signal).is_none() {
        let fault = Fault::new(format!("{signal} is dropped, and the stop never begins"));
        return Err(settings.error(&REWRITE, fault.way_out("leave this rule out")));
    }
    let replace = replace::of(&settings, &plan, signal)?;
    plan.stop_on.insert(signal);
    plan.child.own_namespaces = as_pid1;
    if let (Some((words, text)), Some(step)) = (stop_command, plan.ladder.first_mut()) {
        step.action = StepAction::Exec(words);
        step.text = format!("exec={text}").into();
    }
    let limit = longest(&plan).max(within);
    let limit = limit.saturating_add(Duration::from_secs(20));
    (promise.steps, promise.signals, promise.target) = steps(&plan, signal);
    let variants = if compare {
        both(&plan, &promise, &command, typed, &settings)?
    } else {
        vec![Variant {
            name: "",
            plan,
            command: command.clone(),
            promise,
        }]
    };
    let names = settings.one(&CONTAINER, |text| {
        Ok(list(text).map(|(_, name)| name.to_owned()).collect())
    })?;
    let containers = Containers::of(&command, names.unwrap_or_default());
    let [json, junit, html] = outputs(&settings)?;
    Ok(Check {
        command,
        variants,
        moment,
        request,
        replace,
        runs: settings
            .one(&RUNS, |text| number(text, 1, 100_000))?
            .unwrap_or(DEFAULT_RUNS),
        offsets,
        containers,
        limit,
        json,
        junit,
        html,
        verbose: level == Level::Debug,
        quiet: level == Level::Error,
    })
}

/// KILL comes when the promise is broken: waiting longer would show nothing more. Where it is allowed it comes early enough
/// for what is promised.
fn until_kill(promise: &Promise) -> Duration {
    if promise.allow_kill {
        in_time(promise.within)
    } else {
        promise.within
    }
}

/// When KILL has to come for all to be gone within this time.
fn in_time(within: Duration) -> Duration {
    within / 4 * 3
}

/// The steps of the stop before KILL, and the signals among them.
fn steps(plan: &Plan, signal: Signal) -> (Vec<String>, Vec<Signal>, Target) {
    let (mut steps, mut signals, mut target) = (Vec::new(), Vec::new(), None);
    for step in plan.ladder.iter().filter(|step| !step.is_kill()) {
        let sent = match &step.action {
            StepAction::Same => plan.rewritten(signal),
            StepAction::Signal(signal) => Some(*signal),
            StepAction::Exec(_) => {
                let command = step.text.strip_prefix("exec=").unwrap_or(&step.text);
                steps.push(format!("`{command}`"));
                continue;
            }
            StepAction::Stdin(_) | StepAction::Eof => {
                steps.push(step.text.to_string());
                continue;
            }
        };
        steps.extend(sent.map(|sent| sent.to_string()));
        signals.extend(sent);
        target = target.or(sent.map(|_| step.target));
    }
    (steps, signals, target.unwrap_or(Target::Child))
}

/// The command alone, and with stepdown as its init. In both the outer machine only starts it, sends the
/// signal and watches; the options of the stop go to the inner stepdown.
fn both(
    plan: &Plan,
    promise: &Promise,
    command: &[OsString],
    mut typed: Vec<OsString>,
    settings: &Settings,
) -> Result<Vec<Variant>, Error> {
    let program = std::env::current_exe().map_err(|error| {
        let fault = Fault::new(format!("our own program cannot be found: {error}"));
        Error::new("--compare", fault.way_out("mount /proc"))
    })?;
    let signal = promise.signal;
    let mut watching = Settings::default();
    for option in [&READY_WHEN, &READY_TIMEOUT] {
        if let Some(text) = settings.one(option, |text| Ok(text.to_owned()))? {
            watching.add(option, text, Source::Flag);
        }
        // With `notify` the message of the command comes to us through the inner stepdown, which
        // keeps the option.
        let prefix = format!("--{}=", option.name);
        let notify = "--ready-when=notify";
        typed.retain(|word| word == notify || !word.to_string_lossy().starts_with(&prefix));
    }
    watching.add(&GRACE, written(until_kill(promise)), Source::Flag);
    let mut watching = watching.plan()?;
    if settings.has(&STOP_COMMAND) {
        watching.ladder.clone_from(&plan.ladder);
    }
    watching.stop_on.insert(signal);
    watching.child.own_namespaces = true;
    let mut alone = watching.clone();
    alone.child = plan.child.clone();
    let (before_kill, signals, target) = steps(&alone, signal);
    let mut words = vec![program.into_os_string()];
    words.extend(typed);
    words.push(format!("--stop-on=TERM,INT,QUIT,{signal}").into());
    words.push("--".into());
    words.extend_from_slice(command);
    Ok(vec![
        Variant {
            name: "without stepdown",
            plan: alone,
            command: command.to_vec(),
            promise: Promise {
                steps: before_kill,
                signals,
                target,
                ..promise.clone()
            },
        },
        Variant {
            name: "with stepdown",
            plan: watching,
            command: words,
            promise: promise.clone(),
        },
    ])
}

fn moment(settings: &mut Settings, offsets: &[Duration]) -> Result<Moment, Error> {
    let line = settings.one(&READY_LINE, |text| Ok(text.to_owned()))?;
    let ready = line.is_some() || settings.has(&READY_WHEN);
    let after = settings.duration(&AFTER)?;
    for option in [&AFTER, &READY_LINE, &READY_WHEN] {
        if !offsets.is_empty() && settings.has(option) {
            let name = option.name;
            let fault = Fault::new(format!(
                "the offsets count from the start, and --{name} is given"
            ));
            return Err(settings.error(&OFFSETS, fault.way_out(format!("leave out --{name}"))));
        }
    }
    let patience = settings.one(&READY_TIMEOUT, parse_limit)?;
    if line.is_some() {
        if settings.has(&READY_WHEN) {
            let fault = Fault::new("--ready-when says already what is waited for");
            return Err(settings.error(&READY_LINE, fault.way_out("leave out one of them")));
        }
        // The machine knows nothing of output lines, so that time limit is kept here.
        settings.remove(&READY_TIMEOUT);
    }
    Ok(Moment {
        ready,
        line,
        after: after.unwrap_or(if ready { Duration::ZERO } else { DEFAULT_AFTER }),
        patience: patience.unwrap_or(DEFAULT_READY),
    })
}

fn in_flight(
    settings: &Settings,
    asked: bool,
    offsets: &[Duration],
) -> Result<Option<InFlight>, Error> {
    let count = settings.one(&IN_FLIGHT_COUNT, |text| number(text, 1, 10_000))?;
    let min_complete = settings.one(&MIN_COMPLETE, |text| {
        let percent = text.trim().trim_end_matches('%').parse::<f64>();
        let percent = percent.ok().filter(|p| (0.0..=100.0).contains(p));
        percent.ok_or_else(|| {
            Fault::new(format!("{text:?} is no percentage")).way_out("write a number from 0 to 100")
        })
    })?;
    for (option, given) in [
        (&IN_FLIGHT_COUNT, count.is_some()),
        (&MIN_COMPLETE, min_complete.is_some()),
    ] {
        if given && !asked {
            let fault = Fault::new("there are no requests");
            return Err(settings.error(option, fault.way_out("add --in-flight URL")));
        }
    }
    if asked && !offsets.is_empty() {
        let fault =
            Fault::new("requests need a server that is ready, and --offsets does not wait for it");
        return Err(settings.error(&IN_FLIGHT, fault.way_out("leave out one of them")));
    }
    Ok(asked.then_some(InFlight {
        count: count.unwrap_or(DEFAULT_IN_FLIGHT_COUNT),
        min_complete: min_complete.unwrap_or_else(|| DEFAULT_MIN_COMPLETE.into()),
    }))
}

/// How long the stop lasts at most, if everything uses up its time.
fn longest(plan: &Plan) -> Duration {
    if let Some(deadline) = plan.deadline {
        return deadline;
    }
    let hooks = plan.pre_stop.iter().chain(&plan.post_stop);
    let hooks = total(hooks.map(|hook| hook.timeout));
    let steps = total(plan.ladder.iter().filter_map(|step| step.wait));
    let drain = plan.drain.as_ref().map_or(Duration::ZERO, Drain::longest);
    total([hooks, steps, drain, plan.sweep_grace])
}

#[cfg(test)]
mod tests;
