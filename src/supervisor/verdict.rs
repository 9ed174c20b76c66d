//! Decides what follows a generation that has ended so.

use std::time::Duration;

use super::Supervisor;
use crate::plan::supervision::Restart;
use crate::record::{ExitStatus, Outcome, Reason, RestartReason};

/// What follows a generation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Restart(RestartReason),
    /// There were so many restarts already.
    GiveUp(u32),
    End,
}

impl Supervisor {
    pub(super) fn judge(&self, now: Duration, outcome: &Outcome) -> Verdict {
        let Some(reason) = self.reason_to_restart(outcome) else {
            return Verdict::End;
        };
        let Some(limit) = self.supervision.limit else {
            return Verdict::Restart(reason);
        };
        let counts = |at: &&Duration| {
            let within = limit.within;
            within.is_none_or(|within| now.saturating_sub(**at) < within)
        };
        let counted = self.restarts.iter().filter(counts).count();
        let times = u32::try_from(counted).unwrap_or(u32::MAX);
        if times >= limit.times {
            Verdict::GiveUp(times)
        } else {
            Verdict::Restart(reason)
        }
    }

    fn reason_to_restart(&self, outcome: &Outcome) -> Option<RestartReason> {
        let reason = match outcome.reason {
            Reason::Signal | Reason::ParentDied | Reason::Restart | Reason::Replaced => {
                return None;
            }
            Reason::StartFailed if self.supervision.start_failures => RestartReason::StartFailed,
            Reason::StartFailed => return None,
            Reason::MaxRuntime => RestartReason::MaxRuntime,
            Reason::Unhealthy => RestartReason::Unhealthy,
            Reason::Exit if outcome.code == 0 => RestartReason::Success,
            Reason::Exit => RestartReason::Failure,
        };
        let wanted = match self.supervision.restart {
            Restart::No => false,
            Restart::OnFailure => reason != RestartReason::Success,
            Restart::Always => true,
        };
        let never = &self.supervision.never_on;
        let by_signal = match outcome.status {
            Some(ExitStatus::Killed { signal, .. }) => never.signals.contains(signal),
            _ => false,
        };
        // 137 and KILL are the same, as for `--success-exit`.
        let code = outcome.status.map_or(outcome.code, ExitStatus::code);
        let is_final = by_signal || never.codes.contains(&code);
        (wanted && !is_final).then_some(reason)
    }
}
