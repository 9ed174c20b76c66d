//! The simulated world: its own time, and a child, hooks and leftovers that follow a script; two children at a time
//! where one replaces the other.

mod beside;
mod hang;

use std::collections::VecDeque;
use std::time::Duration;

use crate::drive::World;
use crate::machine::Answer;
use crate::machine::{Action, Event, HookId, Received, Unopened};
use crate::plan::liveness::Liveness;
use crate::plan::{HookPhase, Target};
use crate::record::{ExitStatus, HookResult, Process, Sender, StartFailure};
use crate::words::signal::{Signal, SignalSet};
use beside::{Living, own};

/// What makes the imaginary child end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cue {
    /// Its own start: it ends by itself.
    Start,
    Signal(Signal),
    /// A line on its standard input.
    Stdin,
    /// The end of its standard input.
    Eof,
    /// A stop command.
    Exec,
}

/// What ends the processes that the child leaves behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Leftover {
    /// There are none.
    #[default]
    Nobody,
    #[cfg(test)]
    Term,
    Kill,
    /// Nothing: they hang in the kernel.
    Nothing,
}

/// How a life of the imaginary child goes that is not ended by what `Script::exits_on` has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Life {
    /// It ends by itself so long after its start.
    Ends(Duration, ExitStatus),
    /// From then on it answers nothing; signals do to it what they do to the others.
    Hangs(Duration),
}

/// How the imaginary world behaves.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Script {
    /// The child exits with 0 this long after the cue; it ignores everything that is not named,
    /// except KILL.
    pub(crate) exits_on: Vec<(Cue, Duration)>,
    /// The first lives; the later ones follow `exits_on`.
    pub(crate) lives: VecDeque<Life>,
    /// How it is found out that one hangs.
    pub(crate) liveness: Option<Liveness>,
    pub(crate) start_fails: Option<StartFailure>,
    /// Not even KILL ends it.
    pub(crate) immortal: bool,
    /// How long hooks and stop commands take; `None` is until they are killed. Pre-start hooks end at
    /// once: without them there would be nothing to stop.
    pub(crate) hooks_take: Option<Duration>,
    /// Hooks that behave differently.
    pub(crate) hooks: Vec<(HookId, Option<Duration>, HookResult)>,
    pub(crate) leftover: Leftover,
    /// No request is in flight; otherwise the drain lasts until its timeout.
    pub(crate) requests_end: bool,
    /// A client does not take the last bytes of its answer.
    pub(crate) clients_hang: bool,
    /// The signals that ask for something: the first as soon as the child runs, in the first life that is not one of
    /// `lives`, or as soon as it is ready; each other one when a replacement is over.
    pub(crate) asked: VecDeque<Signal>,
    /// The child says that it hangs, just before the first of `asked`.
    pub(crate) misses_watchdog: bool,
    /// How long after its start each life is ready, if ever; those that are not listed never are.
    pub(crate) ready: VecDeque<Option<Duration>>,
    /// Why the kernel lets no generation begin beside another one.
    pub(crate) beside_refused: Option<Unopened>,
    /// The child exits with 0 as soon as it is ready, and only then the stop is asked for.
    pub(crate) ends_first: bool,
    /// When its heir is there, if ever.
    pub(crate) heir_at: Option<Duration>,
}

/// See the module's first sentence.
pub(crate) struct Sim {
    script: Script,
    now: Duration,
    /// What will happen, in the order of time.
    to_come: VecDeque<(Duration, Event)>,
    /// The generation whose turn it is: the one that serves, unless an action is for the one beside it.
    life: Living,
    beside: Option<Living>,
    /// Nothing could happen any more, so the world ended the child.
    pub(crate) endless: bool,
}

/// The imaginary pids.
pub(crate) const CHILD: i32 = 2;
const LEFTOVER: i32 = 3;
const HEIR: i32 = 4;

const KILLED: ExitStatus = ExitStatus::Killed {
    signal: Signal::KILL,
    core: false,
};

/// A signal of somebody else.
pub(crate) fn outside(signal: Signal) -> Received {
    Received {
        signal,
        sender: Sender::Outside,
        reached_child: false,
        ignored: false,
    }
}

impl Sim {
    pub(crate) fn new(script: Script) -> Self {
        Self {
            script,
            now: Duration::ZERO,
            to_come: VecDeque::new(),
            life: Living::new(1, CHILD),
            beside: None,
            endless: false,
        }
    }

    /// Adds something that happens at this time, after what is already set to happen then; to the generation whose
    /// turn it is, where there are two.
    pub(crate) fn happens(&mut self, at: Duration, event: Event) {
        let event = match self.beside {
            Some(_) => event.of(self.life.number),
            None => event,
        };
        self.add(at, event);
    }

    fn add(&mut self, at: Duration, event: Event) {
        let index = self.to_come.iter().position(|(other, _)| *other > at);
        self.to_come
            .insert(index.unwrap_or(self.to_come.len()), (at, event));
    }

    fn happens_after(&mut self, by: Duration, event: Event) {
        self.happens(self.now.saturating_add(by), event);
    }

    fn start(&mut self) {
        if let Some(failure) = self.script.start_fails.clone() {
            self.life.told_none = false;
            return self.happens_after(Duration::ZERO, Event::StartFailed(failure));
        }
        self.life.child = true;
        self.life.leftover = self.script.leftover != Leftover::Nobody;
        self.life.told_none = false;
        let pid = self.life.pid;
        self.happens_after(Duration::ZERO, Event::Started { pid });
        self.life.hangs_at = None;
        self.life.ready = self.script.ready.pop_front().flatten();
        match self.script.lives.pop_front() {
            Some(Life::Ends(after, status)) => return self.child_ends(after, status),
            Some(Life::Hangs(after)) => return self.will_hang(after),
            None => {}
        }
        if self.script.ends_first {
            return;
        }
        if self.life.ready.is_none() {
            self.ask();
        }
        self.cue(Cue::Start);
    }

    fn cue(&mut self, cue: Cue) {
        let ends = self.script.exits_on.iter().find(|(known, _)| *known == cue);
        if let Some((_, after)) = ends.copied() {
            self.child_ends(after, ExitStatus::Exited(0));
        }
    }

    /// The child ends after this time, unless it ends earlier.
    fn child_ends(&mut self, after: Duration, status: ExitStatus) {
        let at = self.now.saturating_add(after);
        let is_end = |event: &Event| matches!(event, Event::ChildExited(_));
        let number = self.life.number;
        let is_own = |event: &Event| own(number, event).is_some_and(is_end);
        let mut ends = self.to_come.iter().filter(|(_, event)| is_own(event));
        if self.life.child && !ends.any(|(earlier, _)| *earlier <= at) {
            self.to_come.retain(|(_, event)| !is_own(event));
            self.happens(at, Event::ChildExited(status));
        }
    }

    fn send(&mut self, target: Target, signal: Signal) {
        if signal != Signal::KILL {
            return self.cue(Cue::Signal(signal));
        }
        if !self.script.immortal {
            self.child_ends(Duration::ZERO, KILLED);
        }
        if target == Target::Tree {
            self.sweep(signal);
        }
    }

    fn sweep(&mut self, signal: Signal) {
        let kills = signal == Signal::KILL;
        if kills && !self.script.immortal {
            self.child_ends(Duration::ZERO, KILLED);
        }
        if !self.life.leftover {
            return;
        }
        let dies = match self.script.leftover {
            Leftover::Nobody | Leftover::Nothing => false,
            #[cfg(test)]
            Leftover::Term => true,
            Leftover::Kill => kills,
        };
        self.life.leftover = !dies;
        if dies || !kills {
            let processes = vec![Process::new(LEFTOVER, "left behind")];
            self.happens_after(Duration::ZERO, Event::Swept { signal, processes });
        }
    }

    fn run_hook(&mut self, hook: HookId) {
        if hook.phase == HookPhase::PreStart {
            self.life.leftover = self.script.leftover != Leftover::Nobody;
        }
        let scripted = self.script.hooks.iter().find(|(known, ..)| *known == hook);
        let done = HookResult::Ended(ExitStatus::Exited(0));
        let (takes, result) = match (scripted, hook.phase) {
            (Some((_, takes, result)), _) => (*takes, result.clone()),
            (None, HookPhase::PreStart) => (Some(Duration::ZERO), done),
            (None, _) => (self.script.hooks_take, done),
        };
        self.run_job(takes, Event::HookEnded { hook, result });
    }

    fn run_job(&mut self, takes: Option<Duration>, end: Event) {
        self.life.jobs += 1;
        self.life.told_none = false;
        if let Some(takes) = takes {
            self.happens_after(takes, end);
        }
    }

    /// A killed job reports its end, too; the machine no longer waits for it.
    fn end_job(&mut self, is_end: impl Fn(&Event) -> bool, end: Event) {
        let number = self.life.number;
        self.to_come
            .retain(|(_, event)| !own(number, event).is_some_and(&is_end));
        self.happens_after(Duration::ZERO, end);
    }

    /// The program says that nothing is in flight.
    fn answers(&mut self) {
        for condition in 0..self.life.conditions {
            let answer = Answer::Holds;
            self.happens(Duration::ZERO, Event::Answered { condition, answer });
        }
    }

    fn deliver(&mut self, event: Event) -> Event {
        let of = match event {
            Event::Of { generation, .. } => generation,
            _ => self.life.number,
        };
        let is_aside = self.beside.as_ref().is_some_and(|life| life.number == of);
        if !is_aside && of != self.life.number {
            return event;
        }
        if is_aside {
            self.swap();
        }
        match event.itself() {
            Event::ChildExited(_) => self.life.child = false,
            Event::HeirFound { .. } => self.life.child = true,
            Event::HookEnded { .. } | Event::StopCommandEnded { .. } => {
                self.life.jobs = self.life.jobs.saturating_sub(1);
            }
            Event::KeepsAlive => self.keeps_alive(),
            Event::NotAlive(_) => self.looks_again(),
            _ => {}
        }
        if is_aside {
            self.swap();
        }
        event
    }
}

impl World for Sim {
    fn now(&self) -> Duration {
        self.now
    }

    /// In the order of the real world: what has happened, then that no process is left, then the
    /// clock.
    fn next(&mut self, deadline: Option<Duration>) -> Event {
        let next = self.to_come.front().map(|(at, _)| *at);
        let happened = next.is_some_and(|at| at <= self.now);
        if !happened && let Some(none_left) = self.tell_none() {
            return none_left;
        }
        match (next, deadline) {
            (Some(at), deadline) if deadline.is_none_or(|deadline| at <= deadline) => {
                self.now = self.now.max(at);
                let event = self.to_come.pop_front();
                event.map_or(Event::Deadline, |(_, event)| self.deliver(event))
            }
            (_, Some(deadline)) => {
                self.now = self.now.max(deadline);
                Event::Deadline
            }
            // Nothing can happen any more: the child is ended, so that the run ends.
            (_, None) => {
                self.endless = true;
                let beside = self.beside.as_mut().filter(|_| self.life.is_empty());
                let life = beside.unwrap_or(&mut self.life);
                life.leftover = false;
                let (number, ended) = (life.number, Event::ChildExited(KILLED));
                let alone = self.beside.is_none();
                self.deliver(if alone { ended } else { ended.of(number) })
            }
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::NextGeneration { number } => self.life = Living::new(number, self.life.pid),
            Action::OpenBeside { generation } => self.open_beside(generation),
            Action::Beside(action) => {
                self.swap();
                self.act(*action);
                self.swap();
            }
            Action::Switch => self.swap(),
            Action::CloseBeside => self.close_beside(),
            Action::AwaitReady(_) if self.life.hangs_at.is_some() || self.script.ends_first => {
                self.happens(self.now, Event::Ready);
            }
            Action::AwaitReady(_) => {
                if let Some(after) = self.life.ready {
                    self.happens_after(after, Event::Ready);
                    self.ask();
                }
            }
            // What it is waited for is there.
            Action::WaitFor { condition, .. } => {
                self.happens_after(Duration::ZERO, Event::Holds(condition));
            }
            Action::FindHeir => {
                let why = "nobody is named".to_owned();
                self.happens(self.now, Event::NoHeir(why));
                if self.script.ends_first {
                    self.ask();
                }
                if let Some(at) = self.script.heir_at.take() {
                    let heir = Process::new(HEIR, "heir");
                    let had = SignalSet::default();
                    self.happens(at, Event::HeirFound { heir, had });
                }
            }
            Action::Start => self.start(),
            Action::Watch(_) => self.watch(),
            Action::Ready if self.script.ends_first => {
                self.happens(self.now, Event::ChildExited(ExitStatus::Exited(0)));
            }
            Action::StopLooking => self.life.watched = false,
            Action::NotReady => {
                self.life.watched = false;
                if self.script.ends_first {
                    self.ask();
                }
            }
            Action::Send { target, signal } => self.send(target, signal),
            Action::WriteStdin { .. } => self.cue(Cue::Stdin),
            Action::CloseStdin => self.cue(Cue::Eof),
            Action::RunHook { hook, .. } => self.run_hook(hook),
            Action::EndHook(hook) => {
                let result = HookResult::Ended(KILLED);
                let is_end =
                    |event: &Event| matches!(event, Event::HookEnded { hook: h, .. } if *h == hook);
                self.end_job(is_end, Event::HookEnded { hook, result });
            }
            Action::RunStopCommand { step, .. } => {
                self.cue(Cue::Exec);
                let result = HookResult::Ended(ExitStatus::Exited(0));
                let takes = self.script.hooks_take;
                self.run_job(takes, Event::StopCommandEnded { step, result });
            }
            Action::EndStopCommand { step } => {
                let result = HookResult::Ended(KILLED);
                let is_end = |event: &Event| matches!(event, Event::StopCommandEnded { step: s, .. } if *s == step);
                self.end_job(is_end, Event::StopCommandEnded { step, result });
            }
            // There they have nobody to fork.
            Action::Sweep(Signal::STOP) => {
                let (signal, processes) = (Signal::STOP, Vec::new());
                self.happens(self.now, Event::Swept { signal, processes });
            }
            Action::Sweep(signal) => self.sweep(signal),
            Action::TellLeft(_) if !std::mem::replace(&mut self.life.told_left, true) => {
                self.sweep(Signal::TERM);
            }
            Action::StartDrain if self.script.requests_end => {
                let (requests, settled) = (0, true);
                self.happens(Duration::ZERO, Event::InFlight { requests, settled });
            }
            Action::AskProgram { conditions, .. } if self.script.requests_end => {
                self.life.conditions = conditions;
                self.answers();
            }
            // It is asked only where nothing was in flight before.
            Action::LookAgain => {
                let (requests, settled) = (0, true);
                self.happens(Duration::ZERO, Event::InFlight { requests, settled });
                self.answers();
            }
            Action::Flush if !self.script.clients_hang => {
                self.happens(Duration::ZERO, Event::Flushed)
            }
            _ => {}
        }
    }
}
