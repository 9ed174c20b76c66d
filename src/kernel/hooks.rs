//! What hooks and stop commands are told, as variables (`STEPDOWN_*` and systemd's names), and the
//! hooks that we carry out ourselves.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::{Duration, Instant};

use super::Teller;
use crate::call::{self, Listener};
use crate::machine::Facts;
use crate::plan::call::{Call, Payload};
use crate::plan::{Hook, HookPhase};
use crate::record::{ExitStatus, Record, Sender};
use crate::sys::{self, signals};
use crate::words::duration::Shown;
use crate::words::signal::Signal;

/// Carries out a hook that is a call, in the hook's own process; returns its exit code and why it has failed.
///
/// Before the start it is asked again until its time is over: what it asks for is as likely as not just
/// being started, too, and so is the name server. After TERM there is no other attempt, but the one that
/// is under way is not cut.
pub(crate) fn call(
    hook: &Hook,
    call: &Call,
    payload: Option<&Payload>,
    phase: HookPhase,
    which: Listener,
    teller: Option<&Teller>,
) -> (u8, String) {
    let (name, timeout) = (&hook.name, hook.timeout);
    let tell = |why: &str| {
        let message = format!("hook {name:?}: {why}");
        match teller {
            Some(tell) => tell(Record::Trouble { message }),
            None => {
                sys::stderr::write(format!("stepdown: {message}\n").as_bytes());
            }
        }
    };
    let done = (0, String::new());
    if phase != HookPhase::PreStart {
        let carried_out = call::carry_out(call, payload, timeout, which);
        return carried_out.map_or_else(|why| (1, why), |()| done);
    }
    signals::block_only(&[Signal::PIPE, Signal::TERM]);
    // At the end of its time it is killed, and could not say any more why.
    let time = timeout.saturating_sub((timeout / 10).min(LAST_WORDS));
    // A time that is too long for the clock is never over.
    let until = Instant::now().checked_add(time);
    let left = || {
        until.map_or(time, |until| {
            until.saturating_duration_since(Instant::now())
        })
    };
    let mut pause = SHORTEST_PAUSE;
    let mut told: Option<String> = None;
    loop {
        let Err(why) = call::carry_out(call, payload, left(), which) else {
            return done;
        };
        let left = left();
        if left.is_zero() {
            // An attempt that only had too little time says nothing new.
            return (1, told.unwrap_or(why));
        }
        if told.as_ref() != Some(&why) {
            tell(&format!("{why}; asked again for {}", Shown(left)));
        }
        if signals::await_only(Signal::TERM, pause.min(left)) {
            return (1, why);
        }
        told = Some(why);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Between two attempts; it doubles up to the longest.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What is kept of the time for telling why it failed.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Our own environment with the facts laid over it, and over both what the hook itself sets.
pub(crate) fn environment(facts: &Facts, own: &[(OsString, OsString)]) -> Vec<CString> {
    let mut laid_over: Vec<(OsString, OsString)> = variables(facts)
        .into_iter()
        .map(|(key, value)| (key.into(), value.into()))
        .collect();
    laid_over.extend(own.iter().cloned());
    merged(std::env::vars_os(), &laid_over)
}

/// An environment in which the later of two equal keys counts.
pub(crate) fn merged(
    base: impl Iterator<Item = (OsString, OsString)>,
    laid_over: &[(OsString, OsString)],
) -> Vec<CString> {
    let is_replaced = |key: &OsString| laid_over.iter().any(|(other, _)| other == key);
    let last = |index: usize, key: &OsString| {
        !laid_over
            .iter()
            .skip(index + 1)
            .any(|(other, _)| other == key)
    };
    let kept = base.filter(|(key, _)| !is_replaced(key));
    let added = laid_over
        .iter()
        .enumerate()
        .filter(|(index, (key, _))| last(*index, key));
    kept.chain(added.map(|(_, pair)| pair.clone()))
        .filter_map(entry)
        .collect()
}

fn entry((key, value): (OsString, OsString)) -> Option<CString> {
    let mut bytes = key.into_vec();
    bytes.push(b'=');
    bytes.extend_from_slice(value.as_bytes());
    CString::new(bytes).ok()
}

fn variables(facts: &Facts) -> Vec<(&'static str, String)> {
    let mut list = vec![("STEPDOWN_PHASE", facts.phase.to_owned())];
    let mut tell = |key, value: Option<String>| list.extend(value.map(|value| (key, value)));
    tell(
        "STEPDOWN_REASON",
        facts.reason.map(|reason| reason.name().to_owned()),
    );
    tell(
        "STEPDOWN_SIGNAL",
        facts.signal.map(|signal| signal.to_string()),
    );
    tell(
        "STEPDOWN_SENDER_PID",
        facts.sender.map(|sender| match sender {
            Sender::Pid(pid) => pid.to_string(),
            // As siginfo has it: 0 is the kernel or a process outside the namespace.
            Sender::Kernel | Sender::Outside => "0".to_owned(),
        }),
    );
    tell("STEPDOWN_CHILD_PID", facts.child.map(|pid| pid.to_string()));
    match facts.status {
        Some(ExitStatus::Exited(code)) => tell("STEPDOWN_EXIT_CODE", Some(code.to_string())),
        Some(ExitStatus::Killed { signal, .. }) => {
            tell("STEPDOWN_EXIT_SIGNAL", Some(signal.to_string()));
        }
        None => {}
    }
    tell(
        "STEPDOWN_ESCALATED",
        Some(u8::from(facts.escalated).to_string()),
    );
    tell(
        "STEPDOWN_REMAINING_MS",
        facts.remaining.map(|left| left.as_millis().to_string()),
    );
    if let Some(generation) = facts.generation {
        tell("STEPDOWN_GENERATION", Some(generation.number.to_string()));
        tell("STEPDOWN_RESTARTS", Some(generation.restarts.to_string()));
    }
    if let Some(result) = facts.result {
        tell("SERVICE_RESULT", Some(result.to_owned()));
        let (code, status) = match facts.status {
            Some(ExitStatus::Exited(code)) => (Some("exited"), Some(code.to_string())),
            Some(ExitStatus::Killed { signal, core }) => (
                Some(if core { "dumped" } else { "killed" }),
                Some(signal.to_string()),
            ),
            None => (None, None),
        };
        tell("EXIT_CODE", code.map(str::to_owned));
        tell("EXIT_STATUS", status);
    }
    list
}
