//! What becomes of a signal: a request to stop, a request for more speed, the child's, or nobody's.

use std::rc::Rc;
use std::time::Duration;

use super::{Action, Child, Event, Machine, Phase, Received, Stage};
use crate::plan::Target;
use crate::record::{DrainEnd, HookResult, Reason, Record};
use crate::settings::reload::Reload;
use crate::signal::{Signal, SignalSet};

impl Machine {
    pub(super) fn signal(&mut self, now: Duration, received: Received) {
        let Some(signal) = self.plan.rewritten(received.signal) else {
            let why = "rewritten to 0";
            return self.tell(Record::Dropped {
                signal: received.signal,
                why,
            });
        };
        // A shell starts background jobs with INT and QUIT ignored, so that a Ctrl-C meant for another
        // program does not end them (POSIX, "Asynchronous Lists").
        let counts = |set: SignalSet| set.contains(received.signal) && !received.ignored;
        let (stops, hurries) = (counts(self.plan.stop_on), counts(self.plan.escalate_on));
        let reloads = self.plan.reload_on.contains(received.signal);
        match self.phase {
            _ if self.can_be_asked() && stops => {
                self.ask_to_stop(now, Reason::Signal, signal, Some(received));
            }
            Phase::PreStart { .. } => self.kept.push(Event::Signal(received)),
            Phase::Running if reloads => self.act(Action::Reload),
            Phase::Running => self.forward(received, signal),
            // That wait was asked for; only a request to stop ends it.
            Phase::Sweep(Stage::Wait) if !reloads => self.forward(received, signal),
            _ if hurries => self.faster(now, received),
            // A repeated request changes nothing, and the plan of a stop stands.
            _ if stops || reloads => {
                let why = "a stop is under way";
                self.tell(Record::Dropped {
                    signal: received.signal,
                    why,
                });
            }
            _ => self.forward(received, signal),
        }
    }

    fn forward(&mut self, received: Received, signal: Signal) {
        let dropped = |why| Record::Dropped {
            signal: received.signal,
            why,
        };
        if !matches!(self.child, Child::Alive(_)) {
            return self.tell(dropped("the child has ended"));
        }
        let target = self.plan.target;
        if !received.reached_child || signal != received.signal {
            self.act(Action::Send { target, signal });
        } else if target == Target::Tree {
            self.act(Action::SendBeyondGroup(signal));
        } else if signal == Signal::TSTP && self.phase != Phase::Running {
            // Others of the job may stop where the child does not, and hold it up (vfork(2)).
            return self.continue_job(signal);
        } else {
            return self.tell(dropped("the child has got it as well"));
        }
        self.tell(Record::Forwarded {
            signal,
            received: received.signal,
            target,
        });
    }

    /// A job of a shell stops as one: the shell sees that we stop, and takes the terminal back. Where
    /// nobody could ever continue us, or a stop is under way, stopping would be the end of all that is
    /// to come. So the child goes on then, as a PID 1 does, for which the kernel ignores such signals.
    pub(super) fn child_stopped(&mut self, signal: Signal, shell_waits: bool) {
        if self.phase == Phase::Running && shell_waits {
            self.tell(Record::Suspended);
            return self.act(Action::Suspend(signal));
        }
        // Who was stopped because it needs the terminal (TTIN, TTOU) would only be stopped again.
        if [Signal::STOP, Signal::TSTP].contains(&signal) {
            self.continue_job(signal);
        }
    }

    /// All of it: the terminal stops every process of the job.
    fn continue_job(&mut self, signal: Signal) {
        // A ladder may stop the child on purpose.
        let by_ladder = self.sent.iter().any(|sent| sent.stops_a_process());
        if !by_ladder && matches!(self.child, Child::Alive(_)) {
            self.tell(Record::NotSuspended { signal });
            self.act(Action::Send {
                target: Target::Group,
                signal: Signal::CONT,
            });
        }
    }

    /// A second request means faster, never again: the current wait ends, the next step is taken.
    fn faster(&mut self, now: Duration, received: Received) {
        let waits_for = match self.phase {
            Phase::PreStop { .. } | Phase::PostStop { .. } | Phase::Drain | Phase::Flush => true,
            Phase::Ladder { step } => step + 1 < self.plan.ladder.len(),
            Phase::Sweep(stage) => matches!(stage, Stage::Look | Stage::Term),
            _ => false,
        };
        if !waits_for {
            let why = "there is no next step to take";
            return self.tell(Record::Dropped {
                signal: received.signal,
                why,
            });
        }
        self.tell(Record::Escalated {
            signal: received.signal,
            sender: received.sender,
        });
        match self.phase {
            Phase::PreStop { .. } | Phase::PostStop { .. } => {
                self.end_hook(now, HookResult::CutShort);
            }
            Phase::Drain => self.end_drain(now, DrainEnd::CutShort),
            Phase::Ladder { step } => self.take_step(now, step + 1),
            Phase::Flush => self.finish(now),
            _ => self.sweep_kill(now),
        }
    }

    pub(super) fn reloaded(&mut self, reload: Reload) {
        let Reload {
            plan,
            changed,
            needs_restart,
        } = reload;
        self.plan = Rc::new(plan);
        self.act(Action::Adopt(Rc::clone(&self.plan)));
        self.tell(Record::Reloaded {
            changed,
            needs_restart,
        });
    }
}
