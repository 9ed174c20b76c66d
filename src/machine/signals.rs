//! What a signal means: a request to stop, a request to be faster, a signal for the child, or
//! nothing.

use std::rc::Rc;
use std::time::Duration;

use super::kept::keep;
use super::{Action, Life, Machine, Phase, Received, SweepStage, Waiting};
use crate::plan::reload::Reload;
use crate::plan::{Step, StepAction, Target};
use crate::record::{Again, DrainEnd, HookResult, Reason, Record};
use crate::words::signal::{Signal, SignalSet};

/// How many requests lead to KILL: it is the third Ctrl-C, never the second.
const KILL_BY_HAND: u32 = 3;

/// The requests that came as signals so far, and which of them the child has got.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct SignalRequests {
    /// Each signal that has come once, by the name it came by.
    pub(super) came: SignalSet,
    /// How many there were that could change anything.
    pub(super) count: u32,
    /// Those that the child has not had yet and gets once the ladder has told it the first one.
    pub(super) owed: SignalSet,
    /// Those that it has had besides the steps.
    pub(super) passed_on: SignalSet,
    /// Requests to stop that the whole group of the child has got as well.
    pub(super) by_terminal: SignalSet,
}

impl Machine {
    pub(super) fn signal(&mut self, now: Duration, received: Received) {
        let Some(signal) = self.plan.rewritten(received.signal) else {
            let why = "rewritten to 0";
            return self.tell(Record::Dropped {
                signal: received.signal,
                why,
            });
        };
        let is_heeded = self.plan.heeds(received.signal, received.ignored);
        let counts = |set: SignalSet| set.contains(received.signal) && is_heeded;
        let (stops, hurries) = (counts(self.plan.stop_on), counts(self.plan.escalate_on));
        let reloads = self.plan.reload_on.contains(received.signal);
        let can_be_asked = self.can_be_asked();
        let only_waits = self.only_waits();
        match &mut self.phase {
            _ if can_be_asked && stops => {
                self.note_who_has_it(received);
                self.ask_to_stop(now, Reason::Signal, signal, Some(received));
            }
            Phase::WaitFor(Waiting { kept, .. }) | Phase::PreStart { kept, .. } if can_be_asked => {
                if let Err(why) = keep(kept, received) {
                    self.drop_signal(received, why);
                }
            }
            Phase::Running(_) if reloads => self.act(Action::Reload),
            Phase::Running(_) => self.forward(now, received, signal),
            // That wait was asked for; only a request to stop ends it.
            _ if only_waits && !reloads => self.forward(now, received, signal),
            _ if stops || hurries => self.asked_again(now, received, signal, (stops, hurries)),
            // The plan of a stop that is under way does not change.
            _ if reloads => self.tell(Record::NotObeyed {
                signal: received.signal,
                option: "--reload-on",
                why: "a stop is under way",
            }),
            _ => self.forward(now, received, signal),
        }
    }

    fn drop_signal(&mut self, received: Received, why: &'static str) {
        let signal = received.signal;
        self.tell(Record::Dropped { signal, why });
    }

    fn note_who_has_it(&mut self, received: Received) {
        if received.reached_child {
            self.stop.requests.by_terminal.insert(received.signal);
        }
    }

    /// A request during the stop. The first of each kind makes nothing faster: platforms, hooks and
    /// users that do not know of each other send one each.
    fn asked_again(
        &mut self,
        now: Duration,
        received: Received,
        signal: Signal,
        (stops, hurries): (bool, bool),
    ) {
        let is_first = !self.stop.requests.came.contains(received.signal);
        if !is_first && !hurries {
            return self.drop_signal(received, "a stop is under way");
        }
        self.stop.requests.came.insert(received.signal);
        self.stop.requests.count = self.stop.requests.count.saturating_add(1);
        match (is_first, stops) {
            (true, true) => self.pass_on(received, signal, hurries),
            (true, false) => self.forward(now, received, signal),
            (false, _) => self.faster(now, received, signal),
        }
    }

    /// A stop signal that the child may not have had yet. `--stop-signal` stands for each of them: QUIT lets
    /// nginx finish, and a TERM or INT that came besides would cut it.
    fn pass_on(&mut self, received: Received, signal: Signal, hurries: bool) {
        self.note_who_has_it(received);
        let has_it = received.reached_child && signal == received.signal;
        if has_it && self.plan.target == Target::Tree {
            self.act(Action::SendBeyondGroup(signal));
        }
        let step = match &self.phase {
            Phase::Ladder(ladder) => Some(ladder.step),
            _ => None,
        };
        let no_need = if has_it {
            Some("the child has got it as well")
        } else if !self.child.may_live() {
            Some(self.why_no_child())
        } else if self.stop.sent.contains(signal) {
            Some("the child has had it")
        } else if step.is_some_and(|step| self.is_kill(step)) {
            Some("the child has got KILL")
        } else {
            None
        };
        match (no_need, step, self.plan.stop_signal) {
            (Some(_), ..) if hurries => self.tell_asked_again(received, signal, Again::Noted),
            (Some(why), ..) => self.drop_signal(received, why),
            (None, _, Some(_)) if hurries => {
                self.tell_asked_again(received, signal, Again::Noted);
            }
            (None, _, Some(stands_for_it)) => {
                self.tell_asked_again(received, stands_for_it, Again::StoodFor);
            }
            // An heir gets it once it is there.
            (None, Some(step), None) if step >= self.told_in() && self.child.is_alive() => {
                self.send_besides(signal);
                self.tell_asked_again(received, signal, Again::PassedOn);
            }
            (None, ..) => {
                self.stop.requests.owed.insert(signal);
                let with_first_step = step.is_none() && self.told_in() == 0;
                let again = if with_first_step {
                    Again::Waits
                } else {
                    Again::WaitsLonger
                };
                self.tell_asked_again(received, signal, again);
            }
        }
    }

    /// The first step whose signal tells the child of the stop: from then on it gets further requests,
    /// too.
    pub(super) fn told_in(&self) -> usize {
        let is_same = |step: &Step| step.action == StepAction::Same;
        self.plan.ladder.iter().position(is_same).unwrap_or(0)
    }

    /// The child has got the signal that asked: now it gets those that came after it.
    pub(super) fn pass_on_what_is_owed(&mut self) {
        let owed = std::mem::take(&mut self.stop.requests.owed);
        let had = self.stop.sent;
        for signal in owed.iter().filter(|signal| !had.contains(*signal)) {
            self.send_besides(signal);
            let (received, target) = (signal, self.plan.target);
            self.tell(Record::Forwarded {
                signal,
                received,
                target,
            });
        }
    }

    /// Sends a stop signal besides the steps: one that comes to it later need not send it again.
    fn send_besides(&mut self, signal: Signal) {
        self.stop.requests.passed_on.insert(signal);
        self.send_to_stop(self.plan.target, signal);
    }

    fn tell_asked_again(&mut self, received: Received, sent_as: Signal, again: Again) {
        self.tell(Record::AskedAgain {
            signal: received.signal,
            sender: received.sender,
            again,
            sent_as,
            target: self.plan.target,
        });
    }

    fn why_no_child(&self) -> &'static str {
        match self.child.life {
            Life::NotStarted => "nothing will be started",
            _ => "the child has ended",
        }
    }

    fn forward(&mut self, now: Duration, received: Received, signal: Signal) {
        let dropped = |why| Record::Dropped {
            signal: received.signal,
            why,
        };
        if !self.child.is_alive() {
            let why = match &mut self.child.search {
                Some(search) => keep(&mut search.kept, received).err(),
                None => Some(self.why_no_child()),
            };
            return why.into_iter().for_each(|why| self.tell(dropped(why)));
        }
        let target = self.plan.target;
        if !received.reached_child || signal != received.signal {
            self.act(Action::Send { target, signal });
        } else if target == Target::Tree {
            self.act(Action::SendBeyondGroup(signal));
        } else if signal == Signal::TSTP && !matches!(self.phase, Phase::Running(_)) {
            // Others of the job may stop where the child does not, and hold it up (vfork(2)).
            return self.continue_job(signal);
        } else {
            return self.tell(dropped("the child has got it as well"));
        }
        self.child.forwarded = Some((received.signal, signal, now));
        self.tell(Record::Forwarded {
            signal,
            received: received.signal,
            target,
        });
    }

    /// A job of a shell stops as one: the shell sees that we stop, and takes the terminal back. If
    /// nothing could ever continue us, or a stop is under way, to be stopped would prevent all that is
    /// to follow. So the child is continued then; for a PID 1 the kernel ignores such signals, too.
    pub(super) fn child_stopped(&mut self, signal: Signal, shell_waits: bool) {
        if matches!(self.phase, Phase::Running(_)) && shell_waits {
            self.tell(Record::Suspended);
            // Its time goes on with its next word.
            if let Phase::Running(readiness) = &mut self.phase
                && let Some(live) = &mut readiness.live
            {
                live.speaks_by = None;
            }
            return self.act(Action::Suspend(signal));
        }
        // A child that was stopped because it needs the terminal (TTIN, TTOU) would only be stopped
        // again.
        if [Signal::STOP, Signal::TSTP].contains(&signal) {
            self.continue_job(signal);
        }
    }

    /// The job stops all the same, unless its end is under way.
    pub(super) fn stop_typed(&mut self) {
        if self.can_be_asked() {
            self.tell(Record::SuspendedAlone);
            return self.act(Action::Suspend(Signal::TSTP));
        }
        let (signal, why) = (Signal::TSTP, self.why_no_child());
        self.tell(Record::Dropped { signal, why });
    }

    /// Neither we nor the command could do anything in that time.
    pub(super) fn resumed(&mut self, after: Duration) {
        let later = |time: Option<Duration>| time.map(|time| time.saturating_add(after));
        match &mut self.phase {
            Phase::Running(readiness) => {
                readiness.by = later(readiness.by);
                readiness.told_at = later(readiness.told_at);
                if let Some(live) = &mut readiness.live {
                    live.speaks_by = later(live.speaks_by);
                }
            }
            Phase::WaitFor(_) => self.until = later(self.until),
            // A stop that is under way has its own end.
            Phase::PreStart { .. } if self.stop.begun.is_none() => self.until = later(self.until),
            _ => {}
        }
        self.put_off_heir(after);
    }

    /// All of it: the terminal stops every process of the job.
    fn continue_job(&mut self, signal: Signal) {
        // A ladder may stop the child on purpose.
        let by_ladder = self.stop.sent.iter().any(|sent| sent.stops_a_process());
        if !by_ladder && self.child.is_alive() {
            self.tell(Record::NotSuspended { signal });
            self.act(Action::Send {
                target: Target::Group,
                signal: Signal::CONT,
            });
        }
    }

    /// Faster: ends what is waited for. On the ladder the child gets the signal first, once in a step,
    /// as most programs then stop at once themselves. KILL by hand takes three requests, whatever came
    /// between.
    fn faster(&mut self, now: Duration, received: Received, signal: Signal) {
        let waits_for = match &self.phase {
            Phase::PreStart { .. } | Phase::PreStop { .. } | Phase::PostStop { .. } => true,
            Phase::Drain(_) | Phase::AwaitHeir | Phase::Abort | Phase::Flush => true,
            Phase::Ladder(ladder) => {
                let (step, hurried) = (ladder.step, ladder.hurried);
                if !hurried && self.child.is_alive() && !self.is_kill(step) {
                    return self.hurry_child(received, signal);
                }
                step + 1 < self.plan.ladder.len()
            }
            Phase::Sweep(sweep) => {
                let waits = matches!(sweep.stage, SweepStage::Look | SweepStage::Term(_));
                if waits && self.stop.requests.count < KILL_BY_HAND {
                    return self.tell_asked_again(received, signal, Again::Noted);
                }
                waits
            }
            _ => false,
        };
        if !waits_for {
            return self.drop_signal(received, "there is no next step to take");
        }
        self.tell(Record::Escalated {
            signal: received.signal,
            sender: received.sender,
        });
        match &self.phase {
            Phase::PreStart { .. } | Phase::PreStop { .. } | Phase::PostStop { .. } => {
                self.end_hook(now, HookResult::CutShort);
            }
            Phase::Drain(_) => self.end_drain(now, DrainEnd::CutShort),
            Phase::AwaitHeir | Phase::Abort => self.take_step(now, 0),
            Phase::Ladder(ladder) => self.take_step(now, ladder.step + 1),
            Phase::Flush => self.finish(now),
            _ => self.sweep_kill(now),
        }
    }

    fn hurry_child(&mut self, received: Received, signal: Signal) {
        let steps = self.plan.ladder.len();
        let mut is_last_step = false;
        if let Phase::Ladder(ladder) = &mut self.phase {
            ladder.hurried = true;
            is_last_step = ladder.step + 1 >= steps;
        }
        let target = self.plan.target;
        let has_it = received.reached_child && signal == received.signal;
        if !has_it {
            self.send_to_stop(target, signal);
        } else if target == Target::Tree {
            self.act(Action::SendBeyondGroup(signal));
        }
        let again = if has_it {
            Again::ByTerminal
        } else if is_last_step {
            Again::PassedOn
        } else {
            Again::Hurried
        };
        self.tell_asked_again(received, signal, again);
    }

    /// A plan that was read again counts from now on.
    pub(crate) fn reloaded(&mut self, reload: Reload) {
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
