//! How a run, or one life of the command, ended.

use std::time::Duration;

use serde::Serialize;

use super::{ExitStatus, Reason, killed_by, millis};
use crate::words::signal::Signal;

/// How the run ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Outcome {
    /// What stepdown exits with.
    pub(crate) code: u8,
    pub(crate) reason: Reason,
    pub(crate) status: Option<ExitStatus>,
    /// Whether the child needed KILL.
    pub(crate) escalated: bool,
    /// From t0, or from the child's own exit.
    #[serde(rename = "took_ms", serialize_with = "millis")]
    pub(crate) took: Duration,
}

impl Outcome {
    /// Whether this signal ended the child, or what came before its start, and the exit status says so.
    pub(crate) fn died_of(&self, signal: Signal) -> bool {
        let killed = self.status.is_none_or(
            |status| matches!(status, ExitStatus::Killed { signal: by, .. } if by == signal),
        );
        killed && self.code == killed_by(signal)
    }
}
