//! Ends what is left of the tree: after the child, and once more after the post-stop hooks.

use std::time::Duration;

use super::{Action, Child, KILL_PATIENCE, Limits, Machine, Phase, Stage, Whom};
use crate::plan::{StepAction, Stragglers};
use crate::record::{Process, Record, killed_by};
use crate::words::signal::{Signal, SignalSet};

/// Pauses between the rounds of KILL while processes are left: they double up to the longest.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);

const LONGEST_PAUSE: Duration = Duration::from_millis(160);

/// So often all are stopped before they are killed all the same.
const STOP_ROUNDS: u32 = 64;

/// About the time that the kernel needs to end a process: who looks earlier finds it dying, and only
/// delays it.
const DYING: Duration = Duration::from_micros(30);

impl Machine {
    /// Is anybody left? The answer is `NoneLeft`, or a deadline that has passed already: the world
    /// reaps before it looks at the clock.
    pub(super) fn enter_sweep(&mut self, now: Duration) {
        if self.none_left || self.plan.stragglers == Stragglers::Leave {
            return self.enter_post_stop(now, 0);
        }
        self.grace.of_step = self.explicit_grace();
        self.grace.worked = self.signal_of_step();
        self.enter(now, Phase::Sweep(Stage::Look), Some(now));
    }

    /// How long the step on which the child has ended might still have lasted, where somebody has said so:
    /// what a wrapper leaves behind when it ends at once is the program that was meant.
    fn explicit_grace(&self) -> Option<(Duration, &'static str)> {
        let Phase::Ladder { step } = self.phase else {
            return None;
        };
        let step = self.plan.ladder.get(step).filter(|step| !step.is_kill())?;
        let wait = step.wait?;
        let by = if step.says_wait {
            "--ladder"
        } else {
            "--grace"
        };
        let until = self.since.saturating_add(wait);
        // The child may have asked for more (`EXTEND_TIMEOUT_USEC`).
        Some((self.until.map_or(until, |extended| extended.max(until)), by))
    }

    fn signal_of_step(&self) -> Option<Signal> {
        let Phase::Ladder { step } = self.phase else {
            return None;
        };
        match self.plan.ladder.get(step)?.action {
            StepAction::Signal(signal) => Some(signal),
            StepAction::Same => self.stop.map(|stop| stop.signal),
            _ => None,
        }
    }

    pub(super) fn sweep(&mut self, now: Duration, stage: Stage) {
        match stage {
            // KILL went to the whole tree: what is left is dying, or was born meanwhile.
            Stage::Look if self.tree_killed && now < self.dying_until => {
                let pause = SHORTEST_PAUSE;
                self.enter(now, Phase::Sweep(Stage::Kill { pause }), None);
                self.until = Some(self.dying_until.min(self.give_up_at()));
            }
            Stage::Look if self.tree_killed => {
                self.kill_rounds += 1;
                self.sweep_kill(now);
            }
            // Nobody has asked for a stop, so no deadline runs: it counts from the end of the wait.
            Stage::Look if self.plan.stragglers == Stragglers::Wait && !self.was_asked() => {
                self.enter(now, Phase::Sweep(Stage::Wait), None);
            }
            Stage::Look => self.sweep_term(now),
            Stage::Term if self.grace.until.is_some_and(|until| now < until) => {
                let is_half = now >= self.grace.half;
                self.tell_left(now, is_half);
            }
            Stage::Term | Stage::Wait => self.sweep_kill(now),
            Stage::Kill { .. } | Stage::Stop { .. } => {
                let pause = match stage {
                    Stage::Kill { pause } => pause,
                    _ => SHORTEST_PAUSE,
                };
                if now >= self.give_up_at() {
                    return self.sweep_ended(now, true);
                }
                self.kill_round();
                self.pause(now, pause);
            }
        }
    }

    pub(super) fn sweep_term(&mut self, now: Duration) {
        let own = now.saturating_add(self.plan.sweep_grace);
        let of_step = self.grace.of_step.take().filter(|(until, _)| *until > own);
        let (wanted, by) = of_step.unwrap_or((own, "--sweep-grace"));
        let until = self.before(Some(wanted), |limits| limits.kill_by);
        let until = until.unwrap_or(wanted);
        let by = if until < wanted { "--deadline" } else { by };
        self.enter(now, Phase::Sweep(Stage::Term), None);
        self.grace.until = Some(until);
        self.grace.half = now + until.saturating_sub(now) / 2;
        self.grace.decided_by = Some(by);
        self.tell_left(now, false);
    }

    /// Asks those to end who are left and were not asked before; `rest`: also who has a parent among them.
    fn tell_left(&mut self, now: Duration, rest: bool) {
        // TERM reaches nobody twice, whatever it was sent for. Other signals have asked to end where that
        // is what they mean everywhere, or what has worked with the child.
        let ends = [Signal::INT, Signal::QUIT].into_iter();
        let ends = ends.filter(|signal| self.sent.contains(*signal));
        let by_terminal = self.requests.by_terminal.iter();
        let mut had: SignalSet = ends.chain(self.grace.worked).chain(by_terminal).collect();
        had.insert(Signal::TERM);
        // A terminal, or `--target group`, may have sent an INT that was forwarded and asked for no stop.
        let by_int = matches!(self.child, Child::Ended(_, status) if status.code() == killed_by(Signal::INT));
        if by_int {
            had.insert(Signal::INT);
        }
        let asked = self.stop.and_then(|stop| {
            let received = stop.received?;
            Some((received.sender, stop.at))
        });
        self.act(Action::TellLeft(Whom { rest, had, asked }));
        self.grace.held_back = false;
        self.grace.look_at = None;
        self.grace.looked_at = now;
        self.until = self.grace.until;
    }

    /// These had been told before, or some were left to their parents.
    pub(super) fn not_told(&mut self, now: Duration, before: Vec<Process>, held_back: bool) {
        if self.phase != Phase::Sweep(Stage::Term) {
            return;
        }
        // Once: those who are told later are told of then.
        if let (false, Some(until)) = (before.is_empty() || self.grace.waits, self.grace.until) {
            self.grace.waits = true;
            self.swept.get_or_insert(now);
            self.tell(Record::Awaited {
                processes: before,
                wait: until.saturating_sub(now),
                decided_by: self.grace.decided_by,
            });
        }
        if held_back {
            self.grace.held_back = true;
            // Many may end at once, and each look takes its time: no more than half of all.
            let took = now.saturating_sub(self.grace.looked_at);
            self.grace.look_after = now.saturating_add(took + SHORTEST_PAUSE);
            self.set_next_look();
        }
    }

    /// Who has lost its parent is nobody's business but ours.
    pub(super) fn parent_may_be_gone(&mut self, now: Duration) {
        if self.phase == Phase::Sweep(Stage::Term) && self.grace.held_back {
            self.grace.look_at = Some(now.max(self.grace.look_after));
            self.set_next_look();
        }
    }

    fn set_next_look(&mut self) {
        // Once: whatever is answered then, asking again at once would help nobody.
        let half = Some(self.grace.half).filter(|half| self.grace.looked_at < *half);
        let times = [self.grace.until, self.grace.look_at, half];
        self.until = times.into_iter().flatten().min();
    }

    pub(super) fn sweep_kill(&mut self, now: Duration) {
        if self.grace.until.is_none_or(|until| now < until) {
            self.grace.decided_by = None;
        }
        self.kill_round();
        self.enter(
            now,
            Phase::Sweep(Stage::Kill {
                pause: SHORTEST_PAUSE,
            }),
            None,
        );
        self.pause(now, SHORTEST_PAUSE);
    }

    fn kill_round(&mut self) {
        self.kill_rounds += 1;
        self.act(Action::Sweep(Signal::KILL));
    }

    /// The next round of KILL: processes that were being forked meanwhile were not hit by this one.
    fn pause(&mut self, now: Duration, pause: Duration) {
        let stage = Stage::Kill {
            pause: (pause * 2).min(LONGEST_PAUSE),
        };
        self.phase = match self.phase {
            Phase::LastSweep(_) => Phase::LastSweep(stage),
            _ => Phase::Sweep(stage),
        };
        self.until = Some(now.saturating_add(pause).min(self.give_up_at()));
    }

    fn give_up_at(&self) -> Duration {
        let patience = self.since.saturating_add(KILL_PATIENCE);
        let limit = |limits: &Limits| limits.give_up_by;
        match self.phase {
            Phase::LastSweep(_) if self.hopeless => Some(Duration::ZERO),
            Phase::LastSweep(_) => self.before(Some(patience), |limits| limits.gone_by),
            _ => self.before(Some(patience), limit),
        }
        .unwrap_or(patience)
    }

    pub(super) fn swept(&mut self, now: Duration, signal: Signal, processes: Vec<Process>) {
        if signal == Signal::STOP {
            return self.stopped(now, processes);
        }
        if processes.is_empty() {
            return;
        }
        self.swept.get_or_insert(now);
        if signal == Signal::KILL {
            let dying = u32::try_from(processes.len()).map_or(LONGEST_PAUSE, |count| DYING * count);
            let pause = (SHORTEST_PAUSE + dying).min(LONGEST_PAUSE);
            self.dying_until = now.saturating_add(pause);
            // Somebody new was found: others may have been born, too, so the next round comes soon.
            if let Phase::Sweep(Stage::Kill { .. }) | Phase::LastSweep(Stage::Kill { .. }) =
                self.phase
            {
                self.pause(now, SHORTEST_PAUSE);
                self.until = Some(self.dying_until.min(self.give_up_at()));
                if self.kill_rounds > 1 {
                    self.stop_round(0);
                }
            }
        }
        let decided_by = self.grace.decided_by.take_if(|_| signal == Signal::KILL);
        self.tell(Record::Swept {
            signal,
            processes,
            decided_by,
        });
    }

    /// Somebody was born between two rounds of KILL. Each that dies makes room for another one, so that
    /// could go on for ever; who is stopped forks no more, and leaves no room.
    fn stop_round(&mut self, rounds: u32) {
        let stage = Stage::Stop { rounds };
        self.phase = match self.phase {
            Phase::LastSweep(_) => Phase::LastSweep(stage),
            _ => Phase::Sweep(stage),
        };
        self.act(Action::Sweep(Signal::STOP));
    }

    /// A round of STOP is over, and has found these.
    fn stopped(&mut self, now: Duration, processes: Vec<Process>) {
        let (Phase::Sweep(Stage::Stop { rounds }) | Phase::LastSweep(Stage::Stop { rounds })) =
            self.phase
        else {
            return;
        };
        let found = !processes.is_empty();
        if found && rounds == 0 {
            self.tell(Record::Swept {
                signal: Signal::STOP,
                processes,
                decided_by: None,
            });
        }
        if found && rounds < STOP_ROUNDS && now < self.give_up_at() {
            return self.stop_round(rounds + 1);
        }
        self.kill_round();
        self.pause(now, SHORTEST_PAUSE);
    }

    pub(super) fn sweep_ended(&mut self, now: Duration, left: bool) {
        if self.swept.is_some() || left {
            let took = now.saturating_sub(self.swept.unwrap_or(self.since));
            self.tell(Record::SweepEnded { left, took });
        }
        self.hopeless = left;
        if self.phase == Phase::Sweep(Stage::Wait) {
            self.set_limits(now);
        }
        self.enter_post_stop(now, 0);
    }

    pub(super) fn last_sweep(&mut self, now: Duration, stage: Stage) {
        let (first, pause) = match stage {
            Stage::Kill { pause } => (false, pause),
            Stage::Stop { .. } => (false, SHORTEST_PAUSE),
            _ => (true, SHORTEST_PAUSE),
        };
        if first {
            self.since = now;
            self.kill_rounds = 0;
        }
        let over = now >= self.give_up_at();
        // However late it is, who was left by the hooks gets KILL.
        if first || !over {
            self.kill_round();
        }
        if !over {
            return self.pause(now, pause);
        }
        if !first {
            let took = now.saturating_sub(self.since);
            self.tell(Record::SweepEnded { left: true, took });
        }
        self.enter_flush(now);
    }
}
