//! What is reported of a run: the machine's records, reduced to what is judged, as lines of JSON.
//!
//! The machine runs in a process of its own (`stage`), so its records come through a pipe.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::diagnosis::ProcessLook;
use crate::plan::HookPhase;
use crate::record::{ExitStatus, HookResult, Process, Reason, Record};
use crate::tell::log;
use crate::words::signal::Signal;

/// One record and its time.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Fact {
    /// Since the run began, in microseconds.
    pub(crate) at: u64,
    pub(crate) what: What,
    /// The record as `report` tells it.
    pub(crate) text: String,
}

impl Fact {
    pub(crate) fn new(at: Duration, what: What, text: impl Into<String>) -> Self {
        Self {
            at: u64::try_from(at.as_micros()).unwrap_or(u64::MAX),
            what,
            text: text.into(),
        }
    }

    pub(crate) fn at(&self) -> Duration {
        Duration::from_micros(self.at)
    }
}

/// The number of the generation that is replaced.
pub(crate) const FIRST: u32 = 1;

/// What is judged; everything else is only shown.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) enum What {
    Started {
        pid: i32,
    },
    StartFailed {
        code: u8,
    },
    Ready,
    StopAsked,
    /// A step of the ladder; `kill` is the last resort.
    Step {
        kill: bool,
    },
    /// A stop command has ended by itself; the text says how.
    StopCommand {
        failed: bool,
        /// There was such a command, and it could be executed.
        ran: bool,
    },
    /// A stop command was ended by us: it had used up its time.
    StopCommandCut,
    Exited {
        code: u8,
        /// The signal that ended it.
        signal: Option<i32>,
    },
    /// Processes that were left got a signal.
    Left {
        kill: bool,
        processes: Vec<LeftProcess>,
    },
    /// Not even KILL ended the child.
    Undead,
    /// A post-stop hook has begun.
    PostStop {
        hook: String,
    },
    Ended,
    /// The next one serves; `ready` is whether it was ready by then.
    Replaced {
        pid: Option<i32>,
        ready: bool,
    },
    ReplaceFailed,
    /// The kernel does not let another one begin beside it.
    Restarted,
    /// What has happened to a generation that does not serve.
    Of {
        generation: u32,
        what: Box<Self>,
    },
    /// Processes as they were at this moment.
    Looked(Vec<ProcessLook>),
    /// Somebody listened on this port when the child had ended.
    PortTaken(u16),
    /// The run was not possible.
    Impossible,
    /// A signal asked `check` to end.
    Interrupted,
    Other,
}

/// A process that was left.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct LeftProcess {
    pub(crate) pid: i32,
    pub(crate) command: String,
}

/// What a record means to the judge.
pub(crate) fn what(record: &Record) -> What {
    match record {
        Record::Started { pid, .. } => What::Started { pid: *pid },
        Record::StartFailed(failure) => What::StartFailed { code: failure.code },
        Record::Ready { .. } => What::Ready,
        Record::StopAsked {
            reason: Reason::Restart,
            ..
        } => What::Restarted,
        Record::StopAsked { .. } => What::StopAsked,
        Record::Step { signal, .. } => What::Step {
            kill: *signal == Some(Signal::KILL),
        },
        Record::StopCommandEnded {
            result: result @ (HookResult::Ended(_) | HookResult::Failed(_)),
        } => What::StopCommand {
            failed: !result.is_success(),
            ran: matches!(result, HookResult::Ended(_)),
        },
        Record::StopCommandEnded {
            result: HookResult::TimedOut | HookResult::CutShort,
        } => What::StopCommandCut,
        Record::ChildExited { status, .. } => What::Exited {
            code: status.code(),
            signal: match status {
                ExitStatus::Exited(_) => None,
                ExitStatus::Killed { signal, .. } => Some(signal.number()),
            },
        },
        Record::Swept {
            signal, processes, ..
        } => left(*signal == Signal::KILL, processes),
        Record::Awaited { processes, .. } => left(false, processes),
        Record::ChildLeft { .. } => What::Undead,
        Record::HookStarted {
            phase: HookPhase::PostStop,
            name,
        } => What::PostStop { hook: name.clone() },
        Record::Ended(_) => What::Ended,
        Record::Replaced { pid, ready, .. } => What::Replaced {
            pid: *pid,
            ready: *ready,
        },
        Record::ReplaceFailed { .. } | Record::ReplaceRefused { .. } => What::ReplaceFailed,
        Record::OfGeneration { generation, record } => What::Of {
            generation: *generation,
            what: Box::new(what(record)),
        },
        _ => What::Other,
    }
}

fn left(kill: bool, processes: &[Process]) -> What {
    let left = |process: &Process| LeftProcess {
        pid: process.pid,
        command: process.command.clone(),
    };
    let processes = processes.iter().map(left).collect();
    What::Left { kill, processes }
}

/// A record as a fact.
pub(crate) fn fact(at: Duration, record: &Record) -> Fact {
    Fact::new(at, what(record), log::text(record))
}
