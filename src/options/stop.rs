//! `--help`, "Stop": the ladder, and how long the stop may take.

use super::definition::{Because, Idle, Kind, Opt, Preset, on_or_off, written};
use super::ladder::{self, Defaults};
use super::parse::parse_limit;
use super::settings::{Given, Settings};
use super::signals;
use crate::plan::{OWN_GRACE, Plan, Stdin, Step, StepAction};
use crate::words::fault::{Error, Fault};
use crate::words::signal::Signal;

const SECTION: Opt = Opt {
    section: "Stop",
    shapes_stop: true,
    ..Opt::BASE
};

/// The steps where nobody writes any.
const DEFAULT_LADDER: &str = "SAME,KILL";

pub(crate) static LADDER: Opt = Opt {
    name: "ladder",
    elsewhere: &["exec-stop", "stop-command"],
    kind: Kind::One("STEPS"),
    help: "Steps of the stop, as in TERM:8s,QUIT:2s,KILL; SAME is the signal that has asked for it",
    default: Some(Preset::Word(DEFAULT_LADDER)),
    is_list: true,
    put: put_ladder,
    // With the KILL that was added, and with what stands in place of SAME.
    shown: |plan| {
        let texts: Vec<&str> = plan.ladder.iter().map(|step| &*step.text).collect();
        Some(texts.join(","))
    },
    reload: Some(reload_ladder),
    ..SECTION
};

pub(crate) static STOP_SIGNAL: Opt = Opt {
    name: "stop-signal",
    elsewhere: &["signal", "kill-signal"],
    kind: Kind::One("SIGNAL"),
    help: "Stop with this signal, whichever has asked for the stop",
    put: put_ladder,
    shown: |plan| Some(plan.stop_signal?.to_string()),
    reload: Some(reload_ladder),
    idle: Some(Idle {
        when: |settings, _| {
            let ladder = steps(settings);
            ladder.is_ok_and(|ladder| !ladder.iter().any(is_same))
        },
        why: "the ladder has no SAME, which it would stand in for",
        because: Because::Beside(&LADDER, "name it in --ladder, or leave out one of the two"),
        is_missed: true,
    }),
    ..SECTION
};

pub(crate) static GRACE: Opt = Opt {
    name: "grace",
    elsewhere: &[
        "timeout",
        "timeout-sec",
        "timeout-stop",
        "timeout-stop-sec",
        "stop-timeout",
        "stop-grace",
        "stop-grace-period",
        "kill-after",
        "kill-timeout",
        "shutdown-timeout",
        "shutdown-grace",
        "grace-period",
        "grace-time",
        "termination-grace-period",
        "termination-grace-period-seconds",
        "graceful-timeout",
        "term-timeout",
        "wait",
    ],
    kind: Kind::One("DUR"),
    help: "How long a step without a WAIT of its own waits",
    default: Some(Preset::Time(OWN_GRACE)),
    default_depends: "; as PID 1 until the platform sends KILL; with --deadline what is left of that",
    put: put_ladder,
    shown: shown_grace,
    reload: Some(reload_ladder),
    idle: Some(Idle {
        when: |_, plan| {
            let mut steps = plan.ladder.iter().filter(|step| !step.is_kill());
            steps.all(|step| step.says_wait)
        },
        why: "each step of the ladder says itself how long it waits",
        because: Because::Beside(&LADDER, "leave it out, or leave out the wait of a step"),
        is_missed: false,
    }),
    ..SECTION
};

pub(crate) static DEADLINE: Opt = Opt {
    name: "deadline",
    kind: Kind::One("DUR"),
    help: "How long the whole stop may take, hooks included",
    put: |given, plan| {
        plan.deadline = Some(given.duration()?);
        Ok(())
    },
    shown: |plan| plan.deadline.map(written),
    reload: Some(|plan, fresh| {
        plan.deadline = fresh.deadline;
        Ok(())
    }),
    ..SECTION
};

pub(crate) static NO_KILL: Opt = Opt {
    name: "no-kill",
    kind: Kind::Switch,
    help: "Do not end the ladder with KILL",
    not_in_check: Some(
        "leave it out: a stop that needs KILL breaks a promise, and a run has to end",
    ),
    put: put_ladder,
    shown: |plan| {
        let kills = plan.ladder.last().is_some_and(Step::is_kill);
        Some(on_or_off(!kills).to_owned())
    },
    reload: Some(reload_ladder),
    idle: Some(Idle {
        when: |settings, plan| {
            let kills = plan.ladder.last().is_some_and(Step::is_kill);
            kills && settings.switch(&NO_KILL) == Ok(true)
        },
        why: "the ladder ends with KILL",
        because: Because::Beside(&LADDER, "leave it out, or leave out that step"),
        is_missed: false,
    }),
    ..SECTION
};

pub(crate) static MAX_RUNTIME: Opt = Opt {
    name: "max-runtime",
    elsewhere: &[
        "timeout",
        "timeout-sec",
        "max-time",
        "runtime-max",
        "runtime-max-sec",
    ],
    kind: Kind::One("DUR"),
    help: "Stop after this time, with exit status 124",
    not_in_check: Some("say by --after when the signal is sent"),
    put: |given, plan| {
        // timeout(1) takes 0 for no limit; whoever writes it may mean that, or an end at once.
        plan.max_runtime = Some(given.one(parse_limit)?);
        Ok(())
    },
    shown: |plan| plan.max_runtime.map(written),
    reload: Some(|plan, fresh| {
        plan.max_runtime = fresh.max_runtime;
        Ok(())
    }),
    ..SECTION
};

/// The ladder where nothing is written.
pub(super) fn default_ladder() -> Vec<Step> {
    let defaults = Defaults {
        target: signals::DEFAULT_TARGET,
        grace: None,
        kill: true,
    };
    ladder::parse(DEFAULT_LADDER, defaults).unwrap_or_default()
}

fn put_ladder(given: &Given<'_>, plan: &mut Plan) -> Result<(), Error> {
    set_up(given.settings, plan)
}

/// The steps, and what follows from them for standard input.
pub(super) fn set_up(settings: &Settings, plan: &mut Plan) -> Result<(), Error> {
    plan.ladder = steps(settings)?;
    let stop_signal = settings.signal(&STOP_SIGNAL)?;
    plan.stop_signal = stop_signal.filter(|_| plan.ladder.iter().any(is_same));
    if let Some(signal) = plan.stop_signal {
        for step in plan.ladder.iter_mut().filter(|step| is_same(step)) {
            step.action = StepAction::Signal(signal);
            // The word is the first of the step, however it is written.
            let rest = step.text.get("SAME".len()..).unwrap_or_default();
            step.text = format!("{signal}{rest}").into();
        }
        if signal == Signal::KILL {
            end_with_kill(settings, &mut plan.ladder)?;
        }
    }
    plan.says_grace = settings.has(&GRACE);
    plan.stdin = if plan.ladder.iter().any(writes) {
        Stdin::Relay
    } else {
        Stdin::Inherit
    };
    Ok(())
}

/// Nothing can follow KILL, which SAME has become: a KILL after it is left out, and whatever else is refused.
fn end_with_kill(settings: &Settings, ladder: &mut Vec<Step>) -> Result<(), Error> {
    if settings.switch(&NO_KILL)? {
        let fault = Fault::new("SAME would be KILL, but --no-kill was given");
        return Err(settings.error(&STOP_SIGNAL, fault.way_out("drop one of the two")));
    }
    let first = ladder.iter().position(Step::is_kill).unwrap_or_default();
    if !ladder.iter().skip(first).all(Step::is_kill) {
        let fault = Fault::new("SAME would be KILL, and nothing can follow KILL");
        return Err(settings.error(&STOP_SIGNAL, fault.way_out("end the ladder with SAME")));
    }
    ladder.truncate(first + 1);
    // KILL has defaults of its own.
    if let Some(last) = ladder.pop() {
        let read = ladder::parse(&last.text, defaults(settings)?);
        ladder.extend(read.map_err(|fault| settings.error(&STOP_SIGNAL, fault))?);
    }
    Ok(())
}

fn is_same(step: &Step) -> bool {
    step.action == StepAction::Same
}

/// Whether the step needs the child's standard input to be a pipe of ours.
pub(super) fn writes(step: &Step) -> bool {
    matches!(step.action, StepAction::Stdin(_) | StepAction::Eof)
}

/// What a step has that does not say it itself.
fn defaults(settings: &Settings) -> Result<Defaults, Error> {
    Ok(Defaults {
        target: signals::target(settings)?,
        grace: settings.duration(&GRACE)?,
        kill: !settings.switch(&NO_KILL)?,
    })
}

/// The steps, with SAME where it was written.
fn steps(settings: &Settings) -> Result<Vec<Step>, Error> {
    let no_kill = settings.switch(&NO_KILL)?;
    let defaults = defaults(settings)?;
    let Some(value) = settings.last(&LADDER) else {
        let steps = ladder::parse(DEFAULT_LADDER, defaults);
        let mut steps = steps.map_err(|fault| settings.error(&LADDER, fault))?;
        if no_kill {
            steps.pop();
        }
        return Ok(steps);
    };
    let mut steps = value.parse(&LADDER, |text| match value.ranges() {
        Some(ranges) => ladder::parse_steps(text, ranges, defaults),
        None => ladder::parse(text, defaults),
    })?;
    // Whose word counts more decides; said in the same place they contradict each other.
    let ends_with_kill = steps.last().is_some_and(Step::is_kill);
    if no_kill && ends_with_kill && !settings.is_stronger(&LADDER, &NO_KILL) {
        if steps.len() == 1 || !settings.is_stronger(&NO_KILL, &LADDER) {
            let fault = Fault::new("the ladder ends with KILL, but --no-kill was given");
            return Err(settings.error(&LADDER, fault.way_out("drop one of the two")));
        }
        steps.pop();
    }
    Ok(steps)
}

fn shown_grace(plan: &Plan) -> Option<String> {
    let counts = |step: &&Step| !step.says_wait && !step.is_kill();
    // Each step may say it itself.
    let step = plan.ladder.iter().find(counts)?;
    Some(match (step.wait, plan.deadline) {
        (Some(wait), _) => written(wait),
        (None, Some(_)) => "what is left of the deadline".to_owned(),
        (None, None) if plan.as_pid1 => "until the platform sends KILL".to_owned(),
        (None, None) => written(OWN_GRACE),
    })
}

pub(super) fn reload_ladder(plan: &mut Plan, fresh: &Plan) -> Result<(), &'static str> {
    if plan.stdin == Stdin::Inherit && fresh.ladder.iter().any(writes) {
        return Err(
            "ladder: a stdin= or eof step needs the relay, which only a restart of stepdown sets up",
        );
    }
    plan.ladder.clone_from(&fresh.ladder);
    plan.stop_signal = fresh.stop_signal;
    plan.says_grace = fresh.says_grace;
    Ok(())
}
