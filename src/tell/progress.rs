//! How far a run has come: the one fold over the records that `/status`, the metrics and the files are made from.

use std::time::Duration;

use crate::plan::HookPhase;
use crate::record::waited::Waited;
use crate::record::{Again, Outcome, Record, RestartReason, killed_by};
use crate::words::signal::{Signal, SignalSet};

mod parts;
#[cfg(test)]
mod tests;

pub(crate) use parts::{Beside, HeldUp, LastExit, Listening, ReadyState};

/// All phases that there are, in the order of a run.
pub(crate) const PHASES: [&str; 12] = [
    "starting",
    "wait-for",
    "pre-start",
    "running",
    "stopping",
    "pre-stop",
    "drain",
    "ladder",
    "sweep",
    "post-stop",
    RESTART_DELAY,
    "ended",
];

/// Between two generations.
const RESTART_DELAY: &str = "restart-delay";

/// See the module's first sentence. Times count from the start of stepdown. What is not said to be of the whole
/// run belongs to the generation, and begins anew with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Progress {
    /// Of the run: which generation this is, counted from one.
    generation: u32,
    /// Of the run: restarts that nobody asked for.
    restarts: u32,
    /// Of the run, in the order in which they are passed on.
    listening: Vec<Listening>,
    /// Of the run: they were so many that no other followed.
    gave_up: bool,
    /// Of the run: how often another process took the place of the child.
    hand_overs: u32,
    /// Of the run.
    last_exit: Option<LastExit>,
    /// Of the run: the other one, while two are alive.
    beside: Option<Beside>,
    /// When the next generation begins, while it is waited for.
    next_start: Option<Duration>,
    phase: &'static str,
    ready_state: ReadyState,
    /// While it lives, as far as we know.
    child: Option<i32>,
    /// When the child was started, and when it ended or was left.
    started: Option<Duration>,
    ended: Option<Duration>,
    /// What the child says of itself.
    says: Option<String>,
    /// Why it was not alive at the last look.
    not_alive: Option<String>,
    /// A stop was asked for; by this signal, if it was one.
    asked: bool,
    signal: Option<Signal>,
    /// When we are gone at the latest.
    gone_by: Option<Duration>,
    /// How many requests are in flight; known while they are drained.
    in_flight: Option<u32>,
    held_up: Option<HeldUp>,
    /// Who was still there after a while of the ladder, and why.
    still_there: Vec<Waited>,
    /// The step of the ladder that was taken last, counted from one.
    step: Option<usize>,
    /// What the child was sent to stop.
    sent: SignalSet,
    /// The child outlived everything.
    left: bool,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            generation: 1,
            restarts: 0,
            listening: Vec::new(),
            gave_up: false,
            hand_overs: 0,
            last_exit: None,
            beside: None,
            next_start: None,
            phase: "starting",
            ready_state: ReadyState::NotYet(None),
            child: None,
            started: None,
            ended: None,
            says: None,
            not_alive: None,
            asked: false,
            signal: None,
            gone_by: None,
            in_flight: None,
            held_up: None,
            still_there: Vec::new(),
            step: None,
            sent: SignalSet::default(),
            left: false,
        }
    }
}

impl Progress {
    /// One of [`PHASES`].
    pub(crate) fn phase(&self) -> &'static str {
        self.phase
    }

    pub(crate) fn ready_state(&self) -> &ReadyState {
        &self.ready_state
    }

    /// Since when nobody shall send to us any more.
    pub(crate) fn not_ready_since(&self) -> Option<Duration> {
        match self.ready_state {
            ReadyState::NotReady(_, since) => Some(since),
            _ => None,
        }
    }

    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// Those that nobody asked for.
    pub(crate) fn restarts(&self) -> u32 {
        self.restarts
    }

    /// What was opened for the child.
    pub(crate) fn listening(&self) -> &[Listening] {
        &self.listening
    }

    /// Whether `--restart-limit` ended the run.
    pub(crate) fn gave_up(&self) -> bool {
        self.gave_up
    }

    /// How often another process took the place of the child (`--main-pid`).
    pub(crate) fn hand_overs(&self) -> u32 {
        self.hand_overs
    }

    pub(crate) fn last_exit(&self) -> Option<&LastExit> {
        self.last_exit.as_ref()
    }

    pub(crate) fn beside(&self) -> Option<&Beside> {
        self.beside.as_ref()
    }

    /// In how much time the next generation begins, while it is waited for.
    pub(crate) fn next_start(&self, now: Duration) -> Option<Duration> {
        self.next_start.map(|at| at.saturating_sub(now))
    }

    /// The child's pid, while it lives.
    pub(crate) fn child(&self) -> Option<i32> {
        self.child
    }

    /// When the child was started.
    pub(crate) fn started(&self) -> Option<Duration> {
        self.started
    }

    /// How long the child has been running, or ran.
    pub(crate) fn uptime(&self, now: Duration) -> Option<Duration> {
        let until = self.ended.unwrap_or(now);
        Some(until.saturating_sub(self.started?))
    }

    pub(crate) fn says(&self) -> Option<&str> {
        self.says.as_deref()
    }

    pub(crate) fn not_alive(&self) -> Option<&str> {
        self.not_alive.as_deref()
    }

    pub(crate) fn was_asked(&self) -> bool {
        self.asked
    }

    /// The signal that asked for the stop.
    pub(crate) fn signal(&self) -> Option<Signal> {
        self.signal
    }

    /// What is left of the deadline.
    pub(crate) fn left(&self, now: Duration) -> Option<Duration> {
        self.gone_by.map(|by| by.saturating_sub(now))
    }

    pub(crate) fn in_flight(&self) -> Option<u32> {
        self.in_flight
    }

    pub(crate) fn held_up(&self, now: Duration) -> Option<HeldUp> {
        self.held_up.clone().map(|held_up| held_up.now(now))
    }

    pub(crate) fn still_there(&self) -> &[Waited] {
        &self.still_there
    }

    pub(crate) fn step(&self) -> Option<usize> {
        self.step
    }

    pub(crate) fn was_left(&self) -> bool {
        self.left
    }

    /// Whether the run ended as one hopes for: with status 0, or, when a stop was asked for, by a signal of
    /// the ladder other than KILL.
    pub(crate) fn is_clean(&self, outcome: &Outcome) -> bool {
        let by_ladder = outcome.status.map_or(self.asked, |status| {
            let mut sent = self.sent.iter();
            sent.any(|signal| signal != Signal::KILL && status.code() == killed_by(signal))
        });
        let ended = !outcome.escalated && !self.left;
        ended && (outcome.code == 0 || self.asked && by_ladder)
    }

    fn has_ended(&mut self, at: Duration, outcome: &Outcome, restart: Option<RestartReason>) {
        self.last_exit = Some(LastExit {
            generation: self.generation,
            outcome: outcome.clone(),
            restart,
            asked: self.asked,
            left: self.left,
            clean: self.is_clean(outcome),
            at,
        });
    }

    /// The generation beside serves from now on, and has come as far as was told of it.
    fn replaced(&mut self, generation: u32, before: u32, ready: bool) {
        let next = self.beside.take().map(|beside| *beside.progress);
        let mut last = std::mem::replace(self, next.unwrap_or_default());
        self.generation = generation;
        self.restarts = last.restarts;
        self.hand_overs = last.hand_overs;
        self.last_exit = last.last_exit.take();
        self.listening = std::mem::take(&mut last.listening);
        if ready {
            self.ready_state = ReadyState::Ready;
        }
        self.beside = Some(Beside {
            generation: before,
            stage: "leaving",
            progress: Box::new(last),
        });
    }

    fn tell_beside(&mut self, at: Duration, generation: u32, record: &Record) {
        let handed_over = matches!(record, Record::HandedOver { .. });
        self.hand_overs = self.hand_overs.saturating_add(u32::from(handed_over));
        if let Record::Ended(outcome) = record {
            let beside = self.beside.take();
            // One that has never served may be older than the one that does.
            let replaced = beside.as_ref().is_some_and(|one| one.stage == "leaving");
            let ended = beside.map(|beside| *beside.progress);
            let mut ended = ended.unwrap_or_default();
            ended.generation = generation;
            let restart = replaced.then_some(RestartReason::Replaced);
            ended.has_ended(at, outcome, restart);
            self.last_exit = ended.last_exit;
        } else if let Some(beside) = &mut self.beside {
            beside.progress.tell(at, record);
        }
    }

    pub(crate) fn tell(&mut self, at: Duration, record: &Record) {
        self.phase = self.phase_after(record);
        match record {
            Record::Listening { name, address, .. } => self.listening.push(Listening {
                name: name.clone(),
                address: address.clone(),
            }),
            Record::Started { pid, ready } => {
                self.not_alive = None;
                self.child = Some(*pid);
                self.started = Some(at);
                if *ready {
                    self.ready_state = ReadyState::Ready;
                }
            }
            Record::HandedOver { pid, .. } => {
                self.child = Some(*pid);
                self.hand_overs = self.hand_overs.saturating_add(1);
            }
            // It has ended, and there may be another one.
            Record::HeirAwaited { .. } => self.child = None,
            Record::WaitStarted { condition, why, .. } | Record::WaitGoesOn { condition, why } => {
                let why = format!("waiting for {condition}: {why}");
                self.ready_state = ReadyState::NotYet(Some(why));
            }
            Record::WaitEnded { .. } => self.ready_state = ReadyState::NotYet(None),
            Record::NotAlive { why, .. } => self.not_alive = Some(why.clone()),
            Record::AliveAgain { .. } => self.not_alive = None,
            Record::NotYetReady { why } => self.ready_state = ReadyState::NotYet(Some(why.clone())),
            Record::Ready { .. } | Record::ReadyAgain { .. } => {
                self.ready_state = ReadyState::Ready
            }
            Record::NotReady { why, .. } => {
                let since = self.not_ready_since().unwrap_or(at);
                self.ready_state = ReadyState::NotReady(*why, since);
            }
            Record::ChildSays { status } => {
                self.says = Some(status.clone()).filter(|status| !status.is_empty());
            }
            Record::StopAsked {
                signal, deadline, ..
            } => {
                self.asked = true;
                self.signal = *signal;
                self.gone_by = deadline.map(|deadline| at.saturating_add(deadline));
                self.next_start = None;
            }
            Record::InFlight { requests, .. } => self.in_flight = Some(*requests),
            Record::HeldUp {
                connections,
                oldest,
            } => {
                self.held_up = Some(HeldUp {
                    connections: *connections,
                    oldest: oldest.clone(),
                    at,
                });
            }
            // The last change of the number may not have been told.
            Record::DrainEnded { interrupted, .. } => {
                // With the child its connections have ended.
                self.in_flight = Some(*interrupted).filter(|_| self.ended.is_none());
                self.held_up = None;
            }
            Record::StillThere { processes, .. } => self.still_there.clone_from(processes),
            Record::Step { step, signal, .. } => {
                // What was seen was seen after another signal.
                self.still_there.clear();
                self.step = Some(*step);
                if let Some(signal) = signal {
                    self.sent.insert(*signal);
                }
            }
            Record::AskedAgain { again, sent_as, .. }
                if ![Again::Noted, Again::StoodFor].contains(again) =>
            {
                self.sent.insert(*sent_as);
            }
            Record::ChildExited { .. } | Record::ChildLeft { .. } => {
                self.left |= matches!(record, Record::ChildLeft { .. });
                self.child = None;
                self.ended = Some(at);
                self.still_there.clear();
                self.in_flight = None;
            }
            Record::GenerationEnded {
                outcome,
                restart,
                delay,
                ..
            } => {
                let unasked = u32::from(*restart != RestartReason::Asked);
                self.restarts = self.restarts.saturating_add(unasked);
                self.ready_state = ReadyState::Restarting;
                self.next_start = Some(at.saturating_add(*delay));
                self.has_ended(at, outcome, Some(*restart));
            }
            Record::GenerationBegan { generation } => {
                *self = Self {
                    generation: *generation,
                    restarts: self.restarts,
                    listening: std::mem::take(&mut self.listening),
                    hand_overs: self.hand_overs,
                    last_exit: self.last_exit.take(),
                    beside: self.beside.take(),
                    ..Self::default()
                };
            }
            Record::ReplaceBegan { generation, .. } => {
                self.beside = Some(Beside {
                    generation: *generation,
                    stage: "coming",
                    progress: Box::default(),
                });
            }
            Record::Replaced {
                generation,
                before,
                ready,
                ..
            } => self.replaced(*generation, *before, *ready),
            Record::OfGeneration { generation, record } => {
                self.tell_beside(at, *generation, record);
            }
            Record::GaveUp { .. } => self.gave_up = true,
            Record::Ended(outcome) => {
                self.next_start = None;
                // Between two generations nobody was there to end.
                if self.ready_state != ReadyState::Restarting {
                    self.has_ended(at, outcome, None);
                }
            }
            _ => {}
        }
    }

    fn phase_after(&self, record: &Record) -> &'static str {
        match record {
            Record::HookStarted { phase, .. } => phase.name(),
            Record::WaitStarted { .. } => "wait-for",
            Record::WaitEnded { .. } => "starting",
            // What follows the last one tells of itself, or there is nothing else to do.
            Record::HookEnded { phase, .. } if phase.name() == self.phase => match phase {
                HookPhase::PreStart => "starting",
                HookPhase::PreStop if self.ended.is_some() => "sweep",
                HookPhase::PreStop => "stopping",
                HookPhase::PostStop => "post-stop",
            },
            Record::Started { .. } => "running",
            // One that was not ready in time is there, and stopped.
            Record::StartFailed(_) if self.child.is_none() => "sweep",
            // Also while the process that takes over is waited for.
            Record::StopAsked { .. }
                if !self.asked && (self.child.is_some() || self.phase == "running") =>
            {
                "stopping"
            }
            Record::DrainStarted(_) => "drain",
            Record::Step { .. } | Record::Aborted { .. } => "ladder",
            Record::ChildExited { .. } | Record::ChildLeft { .. } => {
                // The hooks of a stop that was asked for run to their end.
                if self.phase == HookPhase::PreStop.name() {
                    self.phase
                } else {
                    "sweep"
                }
            }
            Record::GenerationEnded { .. } => RESTART_DELAY,
            Record::Ended(_) => "ended",
            _ => self.phase,
        }
    }
}
