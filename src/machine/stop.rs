//! Begins the stop, and bounds it: t0, the limits of each phase, and the child's end.

use std::rc::Rc;
use std::time::Duration;

use super::signals::SignalRequests;
use super::{Action, Life, Machine, Phase, Received};
use crate::plan::{Plan, Step};
use crate::record::{DrainEnd, ExitStatus, NotReady, Reason, Record, killed_by};
use crate::words::signal::{Signal, SignalSet};

/// A child that ends so soon after a signal has most probably ended because of it (the grace period
/// of Docker).
const SHORTLY: Duration = Duration::from_secs(10);

/// What belongs to the stop as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Stop {
    pub(super) begun: Option<Begun>,
    pub(super) limits: Option<Limits>,
    pub(super) requests: SignalRequests,
    /// Stop signals that the child was sent: by the ladder, and those that were passed on.
    pub(super) sent: SignalSet,
    /// The child got KILL by a step.
    pub(super) got_kill: bool,
    /// The child gets ABRT before the ladder, and has not got it yet.
    pub(super) aborts: bool,
    /// KILL went to the whole tree by a step.
    pub(super) tree_killed: bool,
    /// When the first process that was left got a signal.
    pub(super) swept: Option<Duration>,
    /// Until then those that got KILL are waited for.
    pub(super) dying_until: Duration,
    /// KILL did not help: what is left hangs in the kernel.
    pub(super) hopeless: bool,
}

/// t0 and what asked for the stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Begun {
    pub(super) at: Duration,
    pub(super) reason: Reason,
    /// What `SAME` means.
    pub(super) signal: Signal,
    pub(super) received: Option<Received>,
}

/// Moments that no phase may overrun (`Plan::budget` counted from t0).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Limits {
    pub(super) ladder_by: Duration,
    pub(super) kill_by: Duration,
    pub(super) give_up_by: Duration,
    pub(super) gone_by: Duration,
    pub(super) look_by: Duration,
}

impl Machine {
    pub(super) fn ask_to_stop(
        &mut self,
        now: Duration,
        reason: Reason,
        signal: Signal,
        received: Option<Received>,
    ) {
        if !self.can_be_asked() {
            return;
        }
        if matches!(self.phase, Phase::Running(_)) {
            self.act(Action::NotReady);
        }
        self.begin(now, reason, signal, received);
        if let Some(received) = received {
            self.stop.requests.came.insert(received.signal);
            self.stop.requests.count += 1;
        }
        let told = received.map_or(signal, |received| received.signal);
        let by_itself = [Reason::MaxRuntime, Reason::Unhealthy, Reason::StartFailed];
        self.tell(Record::StopAsked {
            reason,
            signal: Some(told).filter(|_| !by_itself.contains(&reason)),
            sender: received.map(|received| received.sender),
            deadline: self.plan.deadline,
        });
        match self.phase {
            // Nothing has been started that would have to end.
            Phase::WaitFor(_) => {
                self.end_wait();
                self.enter_sweep(now);
            }
            // An interrupted pre-start hook (a migration) is worse than a finished one: it has its time,
            // and nothing follows.
            Phase::PreStart { .. } => {
                self.until = self.before(self.until, |limits| limits.kill_by);
                self.tell(Record::WillNotStart);
                if let Some(hook) = self.current_hook() {
                    self.act(Action::TryNoMore(hook));
                }
            }
            Phase::Running(_) => {
                self.tell_not_ready(now, NotReady::StopAsked);
                self.enter_pre_stop(now, 0);
            }
            Phase::Sweep(_) => self.sweep_term(now),
            _ => {}
        }
    }

    /// The end that is under way was to be followed by another start, and is not any more. How it came stays as it
    /// was, except that nobody has asked for a restart.
    pub(crate) fn ends_for_good(
        &mut self,
        now: Duration,
        reason: Reason,
        received: Option<Received>,
    ) {
        // Else the request itself is told.
        if self.can_be_asked() {
            return;
        }
        let Some(begun) = &mut self.stop.begun else {
            return;
        };
        if begun.reason == Reason::Restart {
            (begun.reason, begun.received) = (reason, received);
        }
        // The service manager has not heard of this one.
        self.act(Action::NotReady);
        let limits = self.stop.limits.as_ref();
        self.tell(Record::StopAsked {
            reason,
            signal: received.map(|received| received.signal),
            sender: received.map(|received| received.sender),
            deadline: limits.map(|limits| limits.gone_by.saturating_sub(now)),
        });
    }

    /// Whether a request to stop is news: nothing has begun yet to come down, or the child's own end
    /// has begun a sweep that only waits.
    pub(super) fn can_be_asked(&self) -> bool {
        match self.phase {
            Phase::WaitFor(_) | Phase::PreStart { .. } => self.stop.begun.is_none(),
            Phase::Running(_) => true,
            _ => self.only_waits(),
        }
    }

    pub(super) fn was_asked(&self) -> bool {
        let begun = self.stop.begun;
        begun.is_some_and(|begun| begun.reason != Reason::Exit)
    }

    fn begin(&mut self, now: Duration, reason: Reason, signal: Signal, received: Option<Received>) {
        self.stop.begun = Some(Begun {
            at: now,
            reason,
            signal,
            received,
        });
        self.set_limits(now);
    }

    pub(super) fn set_limits(&mut self, now: Duration) {
        self.stop.limits = self.plan.budget().map(|budget| Limits {
            ladder_by: now.saturating_add(budget.ladder_by),
            kill_by: now.saturating_add(budget.kill_by),
            give_up_by: now.saturating_add(budget.give_up_by),
            gone_by: now.saturating_add(budget.gone_by),
            look_by: now.saturating_add(budget.look_by),
        });
    }

    /// The run ends by the plan of the one that serves, and this generation beside it, whose own plan may be older:
    /// what asks for the stop, what makes it faster, and the deadline are the same for both.
    pub(crate) fn ends_with(&mut self, now: Duration, serving: &Plan) {
        let mut plan = (*self.plan).clone();
        plan.stop_on = serving.stop_on;
        plan.escalate_on = serving.escalate_on;
        plan.named = serving.named;
        plan.rewrite.clone_from(&serving.rewrite);
        plan.deadline = [plan.deadline, serving.deadline]
            .into_iter()
            .flatten()
            .min();
        self.plan = Rc::new(plan);
        if self.stop.begun.is_none() || serving.deadline.is_none() {
            return;
        }
        let own = self.stop.limits;
        self.set_limits(now);
        let Some(limits) = self.stop.limits.as_mut() else {
            return;
        };
        if let Some(own) = own {
            limits.ladder_by = limits.ladder_by.min(own.ladder_by);
            limits.kill_by = limits.kill_by.min(own.kill_by);
            limits.give_up_by = limits.give_up_by.min(own.give_up_by);
            limits.gone_by = limits.gone_by.min(own.gone_by);
            limits.look_by = limits.look_by.min(own.look_by);
        }
        let limits = *limits;
        let is_kill = matches!(&self.phase, Phase::Ladder(ladder) if self.is_kill(ladder.step));
        let limit = match &mut self.phase {
            Phase::Drain(draining) => {
                draining.ends_by(limits.ladder_by);
                return self.look_at_drain(now);
            }
            Phase::PreStop { .. } | Phase::AwaitHeir | Phase::Abort => limits.ladder_by,
            Phase::Ladder(_) if is_kill => limits.give_up_by,
            Phase::PreStart { .. } | Phase::Ladder(_) => limits.kill_by,
            Phase::Sweep(sweep) => sweep.stage.ends_by(&limits),
            Phase::PostStop { .. } | Phase::LastSweep(_) | Phase::Flush => limits.gone_by,
            Phase::WaitFor(_) | Phase::Starting { .. } | Phase::Running(_) | Phase::Ended => return,
        };
        self.until = Some(self.until.map_or(limit, |until| until.min(limit)));
    }

    pub(super) fn before(
        &self,
        until: Option<Duration>,
        limit: fn(&Limits) -> Duration,
    ) -> Option<Duration> {
        [until, self.stop.limits.as_ref().map(limit)]
            .into_iter()
            .flatten()
            .min()
    }

    /// The run ends without a request to stop: its time is bounded all the same.
    pub(super) fn begin_end(&mut self, now: Duration, reason: Reason) {
        if self.stop.begun.is_none() {
            self.begin(now, reason, Signal::TERM, None);
        }
    }

    pub(super) fn child_exited(&mut self, now: Duration, status: ExitStatus) {
        let (Life::Alive(pid) | Life::Left(pid)) = self.child.life else {
            return;
        };
        self.child.life = Life::Ended(pid, status);
        if !self.looks_for_heir() {
            self.child_has_ended(now, status);
        }
    }

    /// No other process takes its place.
    pub(super) fn child_has_ended(&mut self, now: Duration, status: ExitStatus) {
        if matches!(self.phase, Phase::Running(_)) {
            self.act(Action::NotReady);
        }
        let step = match &self.phase {
            Phase::Ladder(ladder) => Some((ladder.step + 1).min(self.plan.ladder.len())),
            _ => None,
        };
        let begun = self.stop.begun;
        let after = now.saturating_sub(begun.map_or(self.child.started_at, |begun| begun.at));
        self.tell(Record::ChildExited {
            status,
            after,
            step,
        });
        match &mut self.phase {
            Phase::Running(_) => {
                self.tell_what_was_no_stop(now, status);
                self.begin_end(now, Reason::Exit);
                self.tell_not_ready(now, NotReady::ChildExited);
                self.enter_sweep(now);
            }
            // The hooks of a stop that was asked for run to their end: what they take down
            // elsewhere (a registration, a lock) is there whether the child lives or not.
            Phase::PreStop { .. } => {}
            Phase::Drain(_) => self.end_drain(now, DrainEnd::ChildExited),
            // Its stop command is about to end, too; it has the time that everything left behind has.
            Phase::Ladder(ladder) if ladder.runs_command => {
                ladder.tell_waits_at = None;
                let grace = now.saturating_add(self.plan.sweep_grace);
                self.until = [self.until, Some(grace)].into_iter().flatten().min();
            }
            Phase::Ladder(_) | Phase::Abort | Phase::AwaitHeir => self.enter_sweep(now),
            _ => {}
        }
    }

    /// An image with STOPSIGNAL SIGQUIT or SIGWINCH: the child ends by it, and the stop sequence does not
    /// begin.
    fn tell_what_was_no_stop(&mut self, now: Duration, status: ExitStatus) {
        let Some((signal, sent, at)) = self.child.forwarded else {
            return;
        };
        let after = now.saturating_sub(at);
        let obeyed = match status {
            ExitStatus::Exited(code) => code == 0 || code == killed_by(sent),
            ExitStatus::Killed { signal: by, .. } => by == sent,
        };
        // One that asks for the stop was ignored when we were started, so that it does not end what is in the background.
        let can_be_asked_for = !self.plan.stop_on.contains(signal);
        if obeyed && after <= SHORTLY && can_be_asked_for && self.plan.has_stop_sequence() {
            let mut stop_on = self.plan.stop_on;
            stop_on.insert(signal);
            let stop_on = stop_on.to_string();
            self.tell(Record::NotAStop {
                signal,
                after,
                stop_on,
            });
        }
    }

    /// systemd's `EXTEND_TIMEOUT_USEC` (sd_notify(3)): the current step may last that much longer from now,
    /// never past the deadline; the start counts as a step. KILL is not delayed, and hooks have timeouts of
    /// their own.
    pub(super) fn extend(&mut self, now: Duration, by: Duration) {
        let wanted = now.saturating_add(by);
        let until = match &mut self.phase {
            Phase::Running(readiness) => {
                readiness.by = readiness.by.map(|until| until.max(wanted));
                readiness.by
            }
            Phase::Drain(draining) => Some(draining.extend(wanted)),
            Phase::Ladder(ladder) if self.child.is_alive() => {
                let is_kill = self.plan.ladder.get(ladder.step).is_some_and(Step::is_kill);
                let until = self.until.filter(|_| !is_kill);
                if let Some(until) = until {
                    self.until = self.before(Some(until.max(wanted)), |limits| limits.kill_by);
                }
                until.and(self.until)
            }
            _ => None,
        };
        if let Some(until) = until {
            let left = until.saturating_sub(now);
            self.tell(Record::Extended { by, left });
        }
        self.look_at_drain(now);
    }
}
