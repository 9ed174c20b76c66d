//! The exit status by the table, worked out here once more.

use super::{Judge, Promise};
use crate::plan::{Plan, StepAction};
use crate::record::{ExitStatus, Outcome, Reason};
use crate::words::signal::Signal;

/// 128+n.
fn died_of(signal: Signal) -> u8 {
    u8::try_from(128 + signal.number()).unwrap_or(u8::MAX)
}

fn is_success(plan: &Plan, status: ExitStatus) -> bool {
    let (code, by_signal) = match status {
        ExitStatus::Exited(code) => (code, false),
        ExitStatus::Killed { signal, .. } => {
            (died_of(signal), plan.success_exit.signals.contains(signal))
        }
    };
    by_signal || plan.success_exit.codes.contains(&code)
}

impl Judge {
    pub(super) fn check_status(&mut self, generation: Option<u32>, outcome: &Outcome) {
        let plan = self.plan_of(generation);
        let life = self.life_mut(generation);
        let code_of = |status: ExitStatus| match status {
            ExitStatus::Exited(code) => code,
            ExitStatus::Killed { signal, .. } => died_of(signal),
        };
        let asked = life.reason.is_some_and(|reason| reason != Reason::Exit);
        let expected = match (life.failure, life.reason, life.status) {
            (Some(code), ..) => vec![code],
            (_, Some(Reason::MaxRuntime), _) => vec![124],
            (_, Some(Reason::Unhealthy), _) => vec![125],
            // It ended after it had been given up.
            (_, _, Some(_)) if life.left && outcome.status.is_none() => {
                vec![died_of(Signal::KILL)]
            }
            (_, _, Some(status)) if is_success(&plan, status) => vec![0],
            (_, _, Some(status)) => {
                let code = code_of(status);
                let mut sent = life.sent.iter().filter(|signal| *signal != Signal::KILL);
                let clean = plan.clean_stop && asked && sent.any(|signal| code == died_of(signal));
                // One that was typed before its step counts if it was a request.
                let mut steps = plan.ladder.iter();
                let typed = plan.clean_stop
                    && asked
                    && steps.any(|step| {
                        let signal = match step.action {
                            StepAction::Signal(signal) => Some(signal),
                            StepAction::Same => life.signal,
                            _ => None,
                        };
                        let signal = signal.filter(|signal| life.typed.contains(*signal));
                        signal.is_some_and(|signal| code == died_of(signal))
                    });
                if clean && !life.handed_over {
                    vec![0]
                } else if clean || typed {
                    vec![0, code]
                } else {
                    vec![code]
                }
            }
            (_, _, None) if !life.started && life.asked => {
                let signal = life.signal.unwrap_or(Signal::TERM);
                let status = ExitStatus::Killed {
                    signal,
                    core: false,
                };
                let is_zero = plan.clean_stop || is_success(&plan, status);
                vec![if is_zero { 0 } else { died_of(signal) }]
            }
            (_, _, None) => vec![died_of(Signal::KILL)],
        };
        let code = outcome.code;
        let why = format!("{code} is not {expected:?}: {outcome:?}");
        self.holds(
            Promise::TheStatusIsThatOfTheTable,
            expected.contains(&code),
            || why,
        );
    }
}
