//! Ends what is left of the tree: after the child, and once more after the post-stop hooks.

use std::time::Duration;

use super::{Action, KILL_PATIENCE, Limits, Machine, Phase, Stage};
use crate::plan::Stragglers;
use crate::record::{Process, Record};
use crate::signal::Signal;

/// Pauses between the rounds of KILL while processes are left: they double up to the longest.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);

const LONGEST_PAUSE: Duration = Duration::from_millis(160);

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
        self.enter(now, Phase::Sweep(Stage::Look), Some(now));
    }

    pub(super) fn sweep(&mut self, now: Duration, stage: Stage) {
        match stage {
            // KILL went to the whole tree: what is left is dying, or was born meanwhile.
            Stage::Look if self.tree_killed && now < self.dying_until => {
                let pause = SHORTEST_PAUSE;
                self.enter(now, Phase::Sweep(Stage::Kill { pause }), None);
                self.until = Some(self.dying_until.min(self.give_up_at()));
            }
            Stage::Look if self.tree_killed => self.sweep_kill(now),
            // Nobody has asked for a stop, so no deadline runs: it counts from the end of the wait.
            Stage::Look if self.plan.stragglers == Stragglers::Wait && !self.was_asked() => {
                self.enter(now, Phase::Sweep(Stage::Wait), None);
            }
            Stage::Look => self.sweep_term(now),
            Stage::Term | Stage::Wait => self.sweep_kill(now),
            Stage::Kill { pause } => {
                if now >= self.give_up_at() {
                    return self.sweep_ended(now, true);
                }
                self.act(Action::Sweep(Signal::KILL));
                self.pause(now, pause);
            }
        }
    }

    pub(super) fn sweep_term(&mut self, now: Duration) {
        self.act(Action::Sweep(Signal::TERM));
        let grace = now.saturating_add(self.plan.sweep_grace);
        let until = self.before(Some(grace), |limits| limits.kill_by);
        self.enter(now, Phase::Sweep(Stage::Term), until);
    }

    pub(super) fn sweep_kill(&mut self, now: Duration) {
        self.act(Action::Sweep(Signal::KILL));
        self.enter(
            now,
            Phase::Sweep(Stage::Kill {
                pause: SHORTEST_PAUSE,
            }),
            None,
        );
        self.pause(now, SHORTEST_PAUSE);
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
            }
        }
        self.tell(Record::Swept { signal, processes });
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
            _ => (true, SHORTEST_PAUSE),
        };
        if first {
            self.since = now;
        }
        let over = now >= self.give_up_at();
        // However late it is, who was left by the hooks gets KILL.
        if first || !over {
            self.act(Action::Sweep(Signal::KILL));
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
