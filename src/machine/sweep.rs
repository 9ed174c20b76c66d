//! Ends what is left of the tree: after the child, and once more after the post-stop hooks.

use std::time::Duration;

use super::stop::Limits;
use super::{Action, KILL_PATIENCE, Machine, Phase, Whom};
use crate::plan::Left;
use crate::record::{ExitStatus, Process, Record, killed_by};
use crate::words::signal::{Signal, SignalSet};

mod last;

use last::LastLooks;

/// Pauses between the rounds of KILL while processes are left: they double up to the longest.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);

const LONGEST_PAUSE: Duration = Duration::from_millis(160);

/// How many rounds of STOP there are at most before KILL.
const STOP_ROUNDS: u32 = 64;

/// About the time that the kernel needs to end a process: an earlier look finds it still dying, and
/// delays it.
const DYING: Duration = Duration::from_micros(30);

/// The sweep after the child.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sweep {
    pub(super) stage: SweepStage,
    /// What is left of an explicit grace of the step on which the child ended, and who gave it.
    pub(super) of_step: Option<(Duration, &'static str)>,
    /// The signal of that step.
    worked: Option<Signal>,
}

/// How far it has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SweepStage {
    /// Asks whether a process is left at all. The world reaps before it answers.
    Look,
    /// They may take their time (`--left wait`).
    Wait,
    Term(Grace),
    Kill(Kill),
}

/// The time that the processes have to end by themselves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Grace {
    until: Duration,
    /// From then on processes that were left to their parents are asked, too.
    half: Duration,
    /// Some are left to their parents.
    held_back: bool,
    /// It was logged that processes are only waited for that had been asked before.
    waits: bool,
    /// A process has ended, so its children may have no other parent than us: when to look.
    look_at: Option<Duration>,
    looked_at: Duration,
    look_after: Duration,
    /// Which option has decided how long it is.
    decided_by: &'static str,
}

/// KILL goes to all, again and again until none is left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Kill {
    /// How many times it was sent.
    rounds: u32,
    /// The next pause between two rounds.
    pause: Duration,
    /// How many rounds of STOP there were, if they fork faster than they can be killed and are stopped
    /// first.
    stops: Option<u32>,
    /// Which option has ended the grace, until it is told.
    decided_by: Option<&'static str>,
    /// The last round has found somebody new.
    found: bool,
    last: Option<LastLooks>,
}

impl SweepStage {
    /// The limits have changed: when it ends at the latest.
    pub(super) fn ends_by(&mut self, limits: &Limits) -> Duration {
        match self {
            Self::Term(grace) if limits.kill_by < grace.until => {
                (grace.until, grace.decided_by) = (limits.kill_by, "--deadline");
                limits.kill_by
            }
            Self::Look | Self::Wait | Self::Term(_) => limits.kill_by,
            Self::Kill(_) => limits.give_up_by,
        }
    }
}

impl Kill {
    const FIRST: Self = Self {
        rounds: 0,
        pause: SHORTEST_PAUSE,
        stops: None,
        decided_by: None,
        found: false,
        last: None,
    };

    fn next_pause(self) -> Duration {
        if self.stops.is_some() {
            SHORTEST_PAUSE
        } else {
            self.pause
        }
    }
}

impl Grace {
    fn next_look(&self) -> Duration {
        // Once: whatever the answer is, it makes no sense to ask again at once.
        let half = Some(self.half).filter(|half| self.looked_at < *half);
        let times = [self.look_at, half].into_iter().flatten();
        times.fold(self.until, Duration::min)
    }
}

impl Machine {
    /// Asks whether a process is left. The answer is `NoneLeft`, or a deadline that has passed
    /// already: the world reaps before it looks at the clock.
    pub(super) fn enter_sweep(&mut self, now: Duration) {
        if self.none_left || self.plan.left == Left::Leave {
            return self.enter_post_stop(now, 0);
        }
        let sweep = Sweep {
            stage: SweepStage::Look,
            of_step: self.explicit_grace(),
            worked: self.signal_of_step(),
        };
        self.enter(now, Phase::Sweep(sweep), Some(now));
    }

    fn enter_stage(&mut self, now: Duration, stage: SweepStage) {
        if let Phase::Sweep(sweep) = &mut self.phase {
            sweep.stage = stage;
            self.since = now;
            self.until = None;
        }
    }

    /// No stop was asked for, and what the child has left may take its time.
    pub(crate) fn only_waits(&self) -> bool {
        let Phase::Sweep(sweep) = &self.phase else {
            return false;
        };
        match sweep.stage {
            SweepStage::Look => self.plan.left == Left::Wait && !self.was_asked(),
            SweepStage::Wait => true,
            SweepStage::Term(_) | SweepStage::Kill(_) => false,
        }
    }

    /// The rest of the wait of the step on which the child has ended, if it was given: if a wrapper ends
    /// at once, the process that it leaves behind is the program that the time is for.
    fn explicit_grace(&self) -> Option<(Duration, &'static str)> {
        let Phase::Ladder(ladder) = &self.phase else {
            return None;
        };
        let step = self.plan.ladder.get(ladder.step);
        let step = step.filter(|step| !step.is_kill())?;
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
        let Phase::Ladder(ladder) = &self.phase else {
            return None;
        };
        self.signal_of(self.plan.ladder.get(ladder.step)?)
    }

    pub(super) fn sweep(&mut self, now: Duration) {
        let Phase::Sweep(sweep) = &self.phase else {
            return;
        };
        match sweep.stage {
            // KILL went to the whole tree: what is left is dying, or was started meanwhile.
            SweepStage::Look if self.stop.tree_killed && now < self.stop.dying_until => {
                self.enter_stage(now, SweepStage::Kill(Kill::FIRST));
                self.until = Some(self.stop.dying_until.min(self.give_up_at()));
            }
            SweepStage::Look if self.stop.tree_killed => self.sweep_kill(now),
            // No stop was asked for, so no deadline runs: it counts from the end of the wait.
            SweepStage::Look if self.only_waits() => self.enter_stage(now, SweepStage::Wait),
            SweepStage::Look => {
                self.look_who_listens();
                self.sweep_term(now);
            }
            SweepStage::Term(grace) if now < grace.until => {
                let is_half = now >= grace.half;
                self.tell_left(now, is_half);
            }
            SweepStage::Term(_) | SweepStage::Wait => self.sweep_kill(now),
            SweepStage::Kill(_) if now >= self.give_up_at() => {
                // Time may have gone by without us: what was started since the last round gets KILL, too.
                self.kill_round();
                self.sweep_ended(now, true);
            }
            SweepStage::Kill(kill) => {
                self.kill_round();
                self.pause(now, kill.next_pause());
            }
        }
    }

    pub(super) fn sweep_term(&mut self, now: Duration) {
        let Phase::Sweep(sweep) = &mut self.phase else {
            return;
        };
        let own = now.saturating_add(self.plan.sweep_grace);
        let of_step = sweep.of_step.take().filter(|(until, _)| *until > own);
        let (wanted, by) = of_step.unwrap_or((own, "--sweep-grace"));
        let until = self.before(Some(wanted), |limits| limits.kill_by);
        let until = until.unwrap_or(wanted);
        let grace = Grace {
            until,
            half: now + until.saturating_sub(now) / 2,
            decided_by: if until < wanted { "--deadline" } else { by },
            held_back: false,
            waits: false,
            look_at: None,
            looked_at: now,
            look_after: now,
        };
        self.enter_stage(now, SweepStage::Term(grace));
        self.tell_left(now, false);
    }

    fn grace(&mut self) -> Option<&mut Grace> {
        match &mut self.phase {
            Phase::Sweep(Sweep {
                stage: SweepStage::Term(grace),
                ..
            }) => Some(grace),
            _ => None,
        }
    }

    /// Asks those to end that are left and were not asked before; `rest`: also those with a parent among
    /// them.
    fn tell_left(&mut self, now: Duration, rest: bool) {
        let Phase::Sweep(Sweep { worked, .. }) = self.phase else {
            return;
        };
        // No process gets TERM twice, whatever it was sent for. Other signals count as a request to end
        // if they have that meaning everywhere, or have ended the child.
        let ends = [Signal::INT, Signal::QUIT].into_iter();
        let ends = ends.filter(|signal| self.stop.sent.contains(*signal));
        let by_terminal = self.stop.requests.by_terminal.iter();
        let mut had: SignalSet = ends.chain(worked).chain(by_terminal).collect();
        had.insert(Signal::TERM);
        // A terminal, or `--target group`, may have sent an INT that was forwarded and asked for no stop.
        let by_int = |status: ExitStatus| status.code() == killed_by(Signal::INT);
        if self.child.status().is_some_and(by_int) {
            had.insert(Signal::INT);
        }
        let asked = self.stop.begun.and_then(|begun| {
            let received = begun.received?;
            Some((received.sender, begun.at))
        });
        self.act(Action::TellLeft(Whom { rest, had, asked }));
        if let Some(grace) = self.grace() {
            grace.held_back = false;
            grace.look_at = None;
            grace.looked_at = now;
            self.until = Some(grace.until);
        }
    }

    /// These had been asked before, or were left to their parents.
    pub(super) fn not_told(&mut self, now: Duration, before: Vec<Process>, held_back: bool) {
        let Some(grace) = self.grace() else {
            return;
        };
        // Once: those that are asked later are logged then.
        let is_news = !before.is_empty() && !std::mem::replace(&mut grace.waits, true);
        if held_back {
            grace.held_back = true;
            // Many may end at once, and each look takes time: looks may take no more than half of
            // all the time.
            let took = now.saturating_sub(grace.looked_at);
            grace.look_after = now.saturating_add(took + SHORTEST_PAUSE);
        }
        let grace = *grace;
        if is_news {
            self.stop.swept.get_or_insert(now);
            self.tell(Record::Awaited {
                processes: before,
                wait: grace.until.saturating_sub(now),
                decided_by: Some(grace.decided_by),
            });
        }
        if held_back {
            self.until = Some(grace.next_look());
        }
    }

    /// A process that has lost its parent is left to us.
    pub(super) fn parent_may_be_gone(&mut self, now: Duration) {
        if let Some(grace) = self.grace().filter(|grace| grace.held_back) {
            grace.look_at = Some(now.max(grace.look_after));
            self.until = Some(grace.next_look());
        }
    }

    pub(super) fn sweep_kill(&mut self, now: Duration) {
        let Phase::Sweep(sweep) = &self.phase else {
            return;
        };
        let kill = match sweep.stage {
            // The KILL of the ladder counts as a round.
            SweepStage::Look => Kill {
                rounds: u32::from(self.stop.tree_killed),
                ..Kill::FIRST
            },
            SweepStage::Term(grace) => Kill {
                decided_by: Some(grace.decided_by).filter(|_| now >= grace.until),
                ..Kill::FIRST
            },
            SweepStage::Wait => Kill::FIRST,
            SweepStage::Kill(kill) => kill,
        };
        self.enter_stage(now, SweepStage::Kill(kill));
        self.kill_round();
        self.pause(now, SHORTEST_PAUSE);
    }

    fn kill(&mut self) -> Option<&mut Kill> {
        match &mut self.phase {
            Phase::LastSweep(kill) => kill.as_mut(),
            Phase::Sweep(Sweep {
                stage: SweepStage::Kill(kill),
                ..
            }) => Some(kill),
            _ => None,
        }
    }

    fn kill_round(&mut self) {
        if let Some(kill) = self.kill() {
            kill.rounds += 1;
            kill.found = false;
        }
        self.act(Action::Sweep(Signal::KILL));
    }

    /// The next round of KILL: processes that were being forked meanwhile were not hit by this one.
    fn pause(&mut self, now: Duration, pause: Duration) {
        if let Some(kill) = self.kill() {
            kill.pause = (pause * 2).min(LONGEST_PAUSE);
            kill.stops = None;
        }
        self.until = Some(now.saturating_add(pause).min(self.kill_until()));
    }

    /// When the next round of KILL is due at the latest.
    fn kill_until(&mut self) -> Duration {
        let last = self.kill().and_then(|kill| kill.last);
        last.map_or_else(|| self.give_up_at(), |last| last.until)
    }

    fn give_up_at(&self) -> Duration {
        let patience = self.since.saturating_add(KILL_PATIENCE);
        let limit = |limits: &Limits| limits.give_up_by;
        match self.phase {
            Phase::LastSweep(_) if self.stop.hopeless => Some(Duration::ZERO),
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
        self.stop.swept.get_or_insert(now);
        let mut decided_by = None;
        if signal == Signal::KILL {
            let dying = u32::try_from(processes.len()).map_or(LONGEST_PAUSE, |count| DYING * count);
            let pause = (SHORTEST_PAUSE + dying).min(LONGEST_PAUSE);
            self.stop.dying_until = now.saturating_add(pause);
            if let Some(kill) = self.kill() {
                decided_by = kill.decided_by.take();
                kill.found = true;
                if kill.stops.is_none() {
                    self.found_more(now);
                }
            }
        }
        self.tell(Record::Swept {
            signal,
            processes,
            decided_by,
        });
    }

    /// A new process got KILL: others may have been started, too, so the next round comes soon.
    fn found_more(&mut self, now: Duration) {
        self.pause(now, SHORTEST_PAUSE);
        let until = self.kill_until();
        self.until = Some(self.stop.dying_until.min(until));
        if now < until && self.kill().is_some_and(|kill| kill.rounds > 1) {
            self.stop_round(0);
        }
    }

    /// A process was started between two rounds of KILL. Each that dies makes room for another one, so
    /// that could go on for ever; a stopped process neither forks nor makes room.
    fn stop_round(&mut self, rounds: u32) {
        if let Some(kill) = self.kill() {
            kill.stops = Some(rounds);
        }
        self.act(Action::Sweep(Signal::STOP));
    }

    /// A round of STOP is over, and has found these.
    fn stopped(&mut self, now: Duration, processes: Vec<Process>) {
        let Some(rounds) = self.kill().and_then(|kill| kill.stops) else {
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
        let swept = self.stop.swept;
        if swept.is_some() || left {
            let took = now.saturating_sub(swept.unwrap_or(self.since));
            self.tell(Record::SweepEnded { left, took });
        }
        self.stop.hopeless = left;
        if self.only_waits() {
            self.set_limits(now);
        }
        self.enter_post_stop(now, 0);
    }
}
