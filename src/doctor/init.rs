//! What an init will do with the stop signal: its own command line, read as it reads it itself.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::rc::Rc;

use super::ReadLine;
use crate::diagnosis::snapshot::{GoesOn, Init, InitStep, InitTimes, Next, Seen};
use crate::dropin::Tool;
use crate::explain;
use crate::options::Elsewhere;
use crate::plan::{Left, Plan, Step, StepAction, Target};
use crate::words::signal::Signal;

/// The init that a process is; `None` for anything else.
///
/// # Errors
/// It is one, and its command line does not show what it will do.
pub(super) fn of(
    seen: &Seen,
    child: Option<i32>,
    signal: Signal,
    read: ReadLine,
) -> Result<Option<Init>, String> {
    let pid = seen.pid();
    let Some(program) = seen.look.argv.first() else {
        return Ok(None);
    };
    let name = Path::new(program).file_name().and_then(OsStr::to_str);
    let name = name.unwrap_or_default().to_owned();
    let file = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    let is_stepdown = |path: &Path| path.file_name() == Some(OsStr::new("stepdown"));
    let is_ours = is_stepdown(Path::new(program)) || is_stepdown(&file);
    if !is_ours && Tool::named(Some(&program.into())).is_none() {
        return Ok(None);
    }
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let arguments = pieces(&words).map(|word| OsString::from_vec(word.to_vec()));
    // Our own name is that of the link by which we were called.
    let environment = fs::read(format!("/proc/{pid}/environ"));
    let unknown = environment.is_err();
    let environment = environment.unwrap_or_default();
    let environment = pieces(&environment).filter_map(|entry| {
        let at = entry.iter().position(|byte| *byte == b'=')?;
        let (key, value) = (entry.get(..at)?, entry.get(at + 1..)?);
        Some((
            OsStr::from_bytes(key).to_owned(),
            OsStr::from_bytes(value).to_owned(),
        ))
    });
    let elsewhere = Elsewhere {
        root: pid,
        directory: child.unwrap_or(pid),
    };
    let settings = read(arguments.collect(), environment.collect(), elsewhere)
        .map_err(|why| format!("its command line cannot be read: {why}"))?;
    let Some(mut settings) = settings else {
        return Ok(None);
    };
    settings.as_pid1 = seen.look.is_init;
    let plan = settings
        .plan()
        .map_err(|error| format!("its plan cannot be read: {error}"))?;
    if unknown && is_ours {
        return Err("its environment does not show, which may hold options".to_owned());
    }
    Ok(Some(init(name, Rc::new(plan), signal, is_ours)))
}

/// Words that end with a zero byte.
fn pieces(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let text = text.strip_suffix(b"\0").unwrap_or(text);
    let is_empty = text.is_empty();
    text.split(|byte| *byte == 0).filter(move |_| !is_empty)
}

fn init(name: String, plan: Rc<Plan>, signal: Signal, is_ours: bool) -> Init {
    let begins = plan.stop_on.contains(signal);
    let reloads = plan.reload_on.contains(signal);
    let sent = plan.rewritten(signal).filter(|_| begins || !reloads);
    let steps = match sent {
        None => Vec::new(),
        Some(sent) if begins => plan
            .ladder
            .iter()
            .filter(|step| !step.is_kill())
            .map(|step| step_of(step, sent))
            .collect(),
        Some(sent) => vec![InitStep {
            signal: Some(sent),
            target: plan.target,
            text: sent.to_string(),
        }],
    };
    let next = if begins {
        None
    } else {
        plan.supervision
            .as_ref()
            .and_then(|supervision| match signal {
                _ if supervision.restart_on.contains(signal) => Some(Next::Restarted),
                _ if supervision.replace_on.contains(signal) => Some(Next::Replaced),
                _ => None,
            })
    };
    let not_begun = plan.has_stop_sequence() && !begins;
    // tini, dumb-init and catatonit end with their child.
    let sweeps = is_ours && plan.left == Left::Stop && (plan.as_pid1 || plan.subreaper);
    Init {
        name,
        steps,
        sweeps,
        not_begun: not_begun.then(|| plan.stop_on.to_string()),
        goes_on: next.map(|how| GoesOn {
            how,
            stop_on: plan.stop_on.to_string(),
        }),
        times: (is_ours && begins).then(|| times(&plan)),
    }
}

fn step_of(step: &Step, same: Signal) -> InitStep {
    let signal = match step.action {
        StepAction::Signal(signal) => Some(signal),
        StepAction::Same => Some(same),
        StepAction::Stdin(_) | StepAction::Eof | StepAction::Exec(_) => None,
    };
    InitStep {
        signal,
        target: if signal.is_some() {
            step.target
        } else {
            Target::Child
        },
        text: signal.map_or_else(|| step.text.to_string(), |signal| signal.to_string()),
    }
}

fn times(plan: &Rc<Plan>) -> InitTimes {
    let (worst, least) = explain::times::times(plan);
    InitTimes {
        worst,
        before: explain::times::before_ladder(plan),
        least,
        has_post_stop: !plan.post_stop.is_empty() || plan.keeps_files,
    }
}
