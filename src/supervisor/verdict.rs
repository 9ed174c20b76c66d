//! Decides what follows a generation that has ended so, and says it as soon as it is known.

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
    /// As soon as the child is over it is known whether another one follows. If none does, nobody takes the
    /// connections that come while what is left is swept and hooks run: they are not to wait for it.
    pub(super) fn foresee(&mut self, now: Duration) {
        if self.verdict.is_some() || self.restart_asked || self.is_coming() {
            return;
        }
        let Some(outcome) = self.machine.foreseen(now) else {
            return;
        };
        let verdict = self.judge(now, &outcome);
        self.verdict = Some(verdict);
        if !matches!(verdict, Verdict::Restart(_)) {
            self.close_sockets();
        }
    }

    /// Whether the generation that ends was to be followed by another one.
    pub(super) fn was_to_go_on(&self, now: Duration) -> bool {
        let foreseen = || self.judge(now, &self.machine.outcome(now));
        let verdict = || self.verdict.unwrap_or_else(foreseen);
        let ends = self.machine.comes_down();
        ends && (self.restart_asked || matches!(verdict(), Verdict::Restart(_)))
    }

    /// Whether another one follows the generation that serves, whose child is over.
    pub(super) fn is_followed(&self) -> bool {
        let follows = matches!(self.verdict, Some(Verdict::Restart(_)));
        !self.stop_asked && (self.restart_asked || follows)
    }

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
