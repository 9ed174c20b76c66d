//! Takes the steps of the ladder until the child has exited.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::{Action, KILL_PATIENCE, Life, Machine, Phase, TELLING_AFTER};
use crate::plan::{Left, OWN_GRACE, Step, StepAction, Target};
use crate::record::{HookResult, Reason, Record};
use crate::words::signal::Signal;

/// Which step is under way, and how far it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ladder {
    /// Past the last one where all are taken and the child may not be killed.
    pub(super) step: usize,
    /// When the first step was taken.
    pub(super) began: Duration,
    /// When it is logged which processes are still there, if no time was given.
    pub(super) tell_waits_at: Option<Duration>,
    /// The stop command of this step is running.
    pub(super) runs_command: bool,
    /// The child has got a request to be faster in this step.
    pub(super) hurried: bool,
}

impl Machine {
    /// Takes a step of the ladder, or what comes after the last one.
    pub(super) fn take_step(&mut self, now: Duration, index: usize) {
        self.end_stop_command(HookResult::CutShort);
        let Life::Alive(pid) = self.child.life else {
            return self.without_child(now);
        };
        if std::mem::take(&mut self.stop.aborts) {
            return self.abort(now);
        }
        let late = self.stop.limits.is_some_and(|limits| now >= limits.kill_by);
        let plan = Rc::clone(&self.plan);
        let is_last = index + 1 == plan.ladder.len();
        let Some(step) = plan.ladder.get(index) else {
            return self.ladder_is_over(now, pid);
        };
        // Past `kill_by` there is time for KILL only.
        if late && !step.is_kill() && !is_last {
            self.tell(Record::StepSkipped {
                step: index + 1,
                of: plan.ladder.len(),
                text: Arc::clone(&step.text),
                signal: self.signal_of(step),
            });
            return self.take_step(now, index + 1);
        }
        let wait = self.step_ends(now, step);
        let mut ladder = self.ladder_at(now, index);
        if step.is_kill() {
            ladder.tell_waits_at = None;
        }
        self.enter(now, Phase::Ladder(ladder), wait);
        self.carry_out(now, index, step);
    }

    /// When a step that is taken now ends at the latest.
    fn step_ends(&self, now: Duration, step: &Step) -> Option<Duration> {
        if step.is_kill() {
            let patience = step.wait.unwrap_or(KILL_PATIENCE);
            self.before(Some(now.saturating_add(patience)), |limits| {
                limits.give_up_by
            })
        } else {
            let wait = step.wait.or(self.own_grace());
            let wait = wait.map(|wait| now.saturating_add(wait));
            self.before(wait, |limits| limits.kill_by)
        }
    }

    /// The ladder at this step, whether it begins there or goes on.
    fn ladder_at(&self, now: Duration, step: usize) -> Ladder {
        let (began, tell_waits_at) = match &self.phase {
            Phase::Ladder(ladder) => (ladder.began, ladder.tell_waits_at),
            _ => {
                let tells = !self.plan.says_grace;
                (now, tells.then(|| now.saturating_add(TELLING_AFTER)))
            }
        };
        Ladder {
            step,
            began,
            tell_waits_at,
            runs_command: false,
            hurried: false,
        }
    }

    /// If the platform's KILL cuts the stop off, the log shows why it took so long.
    pub(super) fn ask_who_is_there(&mut self) {
        let Phase::Ladder(ladder) = &mut self.phase else {
            return;
        };
        ladder.tell_waits_at = None;
        let steps = &self.plan.ladder;
        let step = steps.get(ladder.step).or(steps.last());
        let target = step.map_or(self.plan.target, |step| step.target);
        let signal = step.and_then(|step| self.signal_of(step));
        let signal = signal.or(self.stop.sent.iter().last());
        self.act(Action::LookWhoIsThere { signal, target });
    }

    pub(super) fn signal_of(&self, step: &Step) -> Option<Signal> {
        match step.action {
            StepAction::Signal(signal) => Some(signal),
            StepAction::Same => {
                let begun = self.stop.begun;
                Some(begun.map_or(Signal::TERM, |begun| begun.signal))
            }
            _ => None,
        }
    }

    fn carry_out(&mut self, now: Duration, index: usize, step: &Step) {
        let signal = self.signal_of(step);
        let received = self.stop.begun.and_then(|begun| begun.received);
        let by_terminal = self.stop.sent.is_empty()
            && received.is_some_and(|r| r.reached_child && Some(r.signal) == signal);
        // If it was passed on to the child before, it is not sent again.
        let passed_on = step.target == self.plan.target
            && signal.is_some_and(|signal| self.stop.requests.passed_on.contains(signal));
        // Where no KILL follows, the child is waited for when the time of the last step is over, too.
        let is_last = index + 1 == self.plan.ladder.len();
        let until = if is_last {
            self.stop.limits.map(|limits| limits.kill_by)
        } else {
            self.until
        };
        self.tell(Record::Step {
            step: index + 1,
            of: self.plan.ladder.len(),
            text: Arc::clone(&step.text),
            signal,
            target: step.target,
            by_terminal,
            passed_on,
            wait: until
                .filter(|_| !step.is_kill())
                .map(|until| until.saturating_sub(now)),
        });
        match &step.action {
            StepAction::Stdin(_) => self.act(Action::WriteStdin { step: index }),
            StepAction::Eof => self.act(Action::CloseStdin),
            StepAction::Exec(_) => {
                if let Phase::Ladder(ladder) = &mut self.phase {
                    ladder.runs_command = true;
                }
                let facts = self.facts(now, "stop");
                self.act(Action::RunStopCommand { step: index, facts });
            }
            StepAction::Signal(_) | StepAction::Same => {}
        }
        if let Some(signal) = signal {
            self.carry_out_signal(step.target, signal, by_terminal, passed_on);
        }
        if index == self.told_in() && !step.is_kill() {
            self.pass_on_what_is_owed();
        }
    }

    fn carry_out_signal(
        &mut self,
        target: Target,
        signal: Signal,
        by_terminal: bool,
        passed_on: bool,
    ) {
        if signal == Signal::KILL {
            self.stop.got_kill = true;
            self.stop.tree_killed |= target == Target::Tree;
        }
        if by_terminal {
            self.stop.sent.insert(signal);
            if target == Target::Tree {
                self.act(Action::SendBeyondGroup(signal));
            }
            self.continue_who_is_stopped(target, signal);
        } else if !passed_on {
            self.send_to_stop(target, signal);
        }
    }

    /// How long a step without a time waits: until the deadline; as PID 1 until the platform sends KILL,
    /// because a shorter timer of ours would lose data; otherwise for our own default, because nothing else
    /// would ever send KILL.
    fn own_grace(&self) -> Option<Duration> {
        let begun = self.stop.begun;
        let by_signal = begun.is_some_and(|begun| begun.reason == Reason::Signal);
        let by_platform = self.plan.as_pid1 && by_signal;
        (!by_platform && self.stop.limits.is_none()).then_some(OWN_GRACE)
    }

    /// Sends a signal that is to end the child, and continues the child if it is stopped.
    pub(super) fn send_to_stop(&mut self, target: Target, signal: Signal) {
        self.stop.sent.insert(signal);
        self.act(Action::Send { target, signal });
        self.continue_who_is_stopped(target, signal);
    }

    /// A stopped process acts on the signal only once it continues. KILL needs no help, and after a stop
    /// signal CONT would undo what was asked for.
    fn continue_who_is_stopped(&mut self, target: Target, signal: Signal) {
        if signal != Signal::KILL && !signal.stops_a_process() {
            self.act(Action::Continue(target));
        }
    }

    /// All steps are taken and the child lives: it hangs in the kernel, or KILL was forbidden.
    fn ladder_is_over(&mut self, now: Duration, pid: i32) {
        let kill_by = self.stop.limits.map(|limits| limits.kill_by);
        let out_of_time = kill_by.is_some_and(|kill_by| now >= kill_by);
        if !self.may_kill() && !out_of_time {
            let ladder = self.ladder_at(now, self.plan.ladder.len());
            return self.enter(now, Phase::Ladder(ladder), kill_by);
        }
        self.child.life = Life::Left(pid);
        self.stop.hopeless = true;
        self.tell(Record::ChildLeft { pid });
        // A tree that cannot become empty is not waited for, but all that can be killed are, before the hooks.
        let sweeps = self.may_kill() && self.plan.left != Left::Leave;
        if sweeps && !self.plan.post_stop.is_empty() {
            self.act(Action::Sweep(Signal::KILL));
        }
        self.enter_post_stop(now, 0);
    }

    pub(super) fn is_kill(&self, step: usize) -> bool {
        self.plan.ladder.get(step).is_some_and(Step::is_kill)
    }

    /// False with `--no-kill`.
    pub(super) fn may_kill(&self) -> bool {
        self.plan.ladder.last().is_some_and(Step::is_kill)
    }

    /// The step whose stop command is running.
    pub(super) fn stop_command(&self) -> Option<usize> {
        match &self.phase {
            Phase::Ladder(ladder) => ladder.runs_command.then_some(ladder.step),
            _ => None,
        }
    }

    fn end_stop_command(&mut self, result: HookResult) {
        if let Some(step) = self.stop_command() {
            self.act(Action::EndStopCommand { step });
            self.command_ended(result);
        }
    }

    pub(super) fn stop_command_ended(&mut self, now: Duration, result: HookResult) {
        self.command_ended(result);
        // The child had ended before, and only its stop command was waited for.
        if !self.child.is_alive() {
            self.enter_sweep(now);
        }
    }

    fn command_ended(&mut self, result: HookResult) {
        if let Phase::Ladder(ladder) = &mut self.phase {
            ladder.runs_command = false;
        }
        self.tell(Record::StopCommandEnded { result });
    }
}
