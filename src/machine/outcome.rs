//! Ends the run: the exit status, and the last records.

use std::time::Duration;

use super::{Action, Life, Machine, Phase};
use crate::record::{ExitStatus, Outcome, Reason, Record, killed_by};
use crate::words::signal::Signal;

/// `--max-runtime` ran out, as timeout(1) says it.
const TIMED_OUT: u8 = 124;

/// Whatever it made of the stop: it was not asked for, and it hung.
const UNHEALTHY: u8 = 125;

impl Machine {
    pub(super) fn finish(&mut self, now: Duration) {
        let outcome = self.outcome(now);
        self.enter(now, Phase::Ended, None);
        self.tell(Record::Ended(outcome.clone()));
        self.act(Action::Finish(outcome));
    }

    /// How the run ends, once the child is over and only the rest is to be done; whatever comes meanwhile changes
    /// neither the status nor the reason.
    pub(crate) fn foreseen(&self, now: Duration) -> Option<Outcome> {
        let is_over = match self.phase {
            Phase::Sweep(_) => !self.only_waits(),
            Phase::PostStop { .. } | Phase::LastSweep(_) | Phase::Flush => true,
            _ => false,
        };
        let is_known = self.child.failure.is_some() || self.child.status().is_some();
        (is_over && is_known).then(|| self.outcome(now))
    }

    /// How it ends, as far as that is known by now.
    pub(crate) fn outcome(&self, now: Duration) -> Outcome {
        let begun = self.stop.begun;
        let reason = begun.map_or(Reason::Exit, |begun| begun.reason);
        let status = self.child.status();
        let took = now.saturating_sub(begun.map_or(now, |begun| begun.at));
        let code = self.exit_code(reason, status);
        Outcome {
            code,
            reason,
            status,
            escalated: self.needed_kill(),
            took,
        }
    }

    /// Whether the child got KILL, and has not ended of something else in the same moment.
    pub(super) fn needed_kill(&self) -> bool {
        let by_kill = |status: ExitStatus| status.code() == killed_by(Signal::KILL);
        self.stop.got_kill && self.child.status().is_none_or(by_kill)
    }

    fn exit_code(&self, reason: Reason, status: Option<ExitStatus>) -> u8 {
        if let Some(failure) = &self.child.failure {
            return failure.code;
        }
        if reason == Reason::MaxRuntime {
            return TIMED_OUT;
        }
        if reason == Reason::Unhealthy {
            return UNHEALTHY;
        }
        let listed = &self.plan.success_exit;
        let Some(status) = status else {
            return match (self.child.life, self.stop.begun) {
                // The stop came before the start: nothing ran that could have failed, and the
                // status is what it would be had the signal ended the child a moment later.
                (Life::NotStarted, Some(begun)) => {
                    let code = killed_by(begun.signal);
                    let is_listed =
                        listed.signals.contains(begun.signal) || listed.codes.contains(&code);
                    let is_success = self.plan.clean_stop || is_listed;
                    if is_success { 0 } else { code }
                }
                _ => killed_by(Signal::KILL),
            };
        };
        let by_signal = match status {
            ExitStatus::Killed { signal, .. } => listed.signals.contains(signal),
            ExitStatus::Exited(_) => false,
        };
        // A shell, or a runtime that ends itself after TERM, exits with 128+n instead of dying of n.
        let of_ladder =
            |signal: Signal| signal != Signal::KILL && status.code() == killed_by(signal);
        let asked = reason != Reason::Exit;
        // The terminal may have given it to the child before its step was taken.
        let steps = self.plan.ladder.iter();
        let by_terminal = steps
            .filter_map(|step| self.signal_of(step))
            .filter(|signal| self.stop.requests.by_terminal.contains(*signal));
        let had_it = self.stop.sent.iter().chain(by_terminal).any(of_ladder);
        let clean = self.plan.clean_stop && asked && had_it;
        if by_signal || clean || listed.codes.contains(&status.code()) {
            0
        } else {
            status.code()
        }
    }
}
