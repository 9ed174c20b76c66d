//! Decides: (phase, event) to actions and records. No clock, no syscall, no printing.
//!
//! Time is a `Duration` since stepdown began. Every deadline is data in the machine and can be asked
//! for; late, early and repeated `Deadline` events are harmless. The phases are those of the stop
//! sequence that users read about, in the same order; a phase that has nothing to do is passed in the
//! same moment.

use std::rc::Rc;
use std::time::Duration;

use crate::plan::{Plan, Target};
use crate::record::{CountedFrom, HookResult, NotReady, Reason, Record, StartFailure};
use crate::words::signal::Signal;

mod answer;
mod child;
mod drain;
mod event;
mod heir;
mod hooks;
pub(crate) mod jobs;
mod kept;
mod ladder;
mod liveness;
mod outbox;
mod outcome;
pub(crate) mod roots;
mod signals;
mod start;
mod stop;
mod sweep;
mod wait;

#[cfg(test)]
mod tests;

use child::{Child, Life};
use drain::Draining;
use ladder::Ladder;
use outbox::Outbox;
use start::UntilReady;
use stop::Stop;
use sweep::{Kill, Sweep, SweepStage};
use wait::Waiting;

pub(crate) use answer::Answer;
pub(crate) use event::{Action, Event, Facts, Generation, HookId, Received, Unopened, Whom};

/// Where in the run we are, with what is known only there.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Phase {
    WaitFor(Waiting),
    PreStart {
        hook: usize,
        /// What came before the child existed: signals, and the parent's death.
        kept: Vec<Event>,
    },
    Starting {
        kept: Vec<Event>,
    },
    Running(UntilReady),
    PreStop {
        hook: usize,
    },
    Drain(Draining),
    /// The ladder is to begin, and the heir of the main process is not known yet.
    AwaitHeir,
    /// A child that has missed its watchdog has got ABRT.
    Abort,
    Ladder(Ladder),
    Sweep(Sweep),
    PostStop {
        hook: usize,
    },
    /// What the post-stop hooks left is killed, if they left a process.
    LastSweep(Option<Kill>),
    /// Answers that are still in the kernel's send queues get their chance: with PID 1 the network
    /// namespace may go, and they with it.
    Flush,
    Ended,
}

/// See the module's first sentence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Machine {
    plan: Rc<Plan>,
    generation: Option<Generation>,
    phase: Phase,
    /// When the current phase began, and when it ends at the latest.
    since: Duration,
    until: Option<Duration>,
    child: Child,
    stop: Stop,
    /// The kernel says that we have no child left.
    none_left: bool,
    /// The balancers know that we are not ready any more (`--drain-checks`).
    balancers_told: bool,
    /// Connections come to it, or have come: there may be something to drain.
    serves: bool,
    outbox: Outbox,
}

/// After this long even KILL is given up: the process hangs in the kernel, and an init that hangs with
/// it helps nobody.
pub(crate) const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// After so long a stop is told about while it lasts: before Docker's ten seconds are over, after which there
/// may be nobody to tell anything.
pub(crate) const TELLING_AFTER: Duration = Duration::from_secs(8);

impl Machine {
    /// A machine at time 0, its first actions waiting in the outbox.
    pub(crate) fn new(plan: Rc<Plan>) -> Self {
        Self::of_generation(plan, Duration::ZERO, None)
    }

    /// As `new`, where this is one of several lives of the command, and begins now.
    pub(crate) fn of_generation(
        plan: Rc<Plan>,
        now: Duration,
        generation: Option<Generation>,
    ) -> Self {
        let mut machine = Self::unborn(plan);
        machine.generation = generation;
        machine.enter_wait(now);
        machine
    }

    /// As `of_generation`, beside the one that serves.
    pub(crate) fn beside(plan: Rc<Plan>, now: Duration, generation: Generation) -> Self {
        let mut machine = Self::of_generation(plan, now, Some(generation));
        machine.serves = false;
        machine
    }

    /// From now on connections come to it.
    pub(crate) fn serve(&mut self) {
        self.serves = true;
    }

    /// The plan that counts: the one it began with, or the last one that was read again.
    pub(crate) fn plan(&self) -> &Rc<Plan> {
        &self.plan
    }

    /// The child's pid, once it has been started.
    pub(crate) fn child_pid(&self) -> Option<i32> {
        self.child.pid()
    }

    /// The child has ended, and no other process takes its place.
    pub(crate) fn has_lost_its_child(&self) -> bool {
        matches!(self.child.life, Life::Ended(..)) && self.child.search.is_none()
    }

    /// A stop was asked for, or the child has ended by itself, or could not be started.
    pub(crate) fn comes_down(&self) -> bool {
        self.stop.begun.is_some()
    }

    /// Why a request to restart cannot be obeyed now; `None` where it can.
    pub(crate) fn why_no_restart(&self) -> Option<&'static str> {
        match self.phase {
            Phase::Running(_) => None,
            Phase::WaitFor(_) | Phase::PreStart { .. } | Phase::Starting { .. } => {
                Some("the child is only being started")
            }
            _ if self.was_asked() => Some("a stop is under way"),
            _ => Some("the child has ended"),
        }
    }

    /// One whose child cannot be started, which is known before anything has begun: what follows is what
    /// follows on any start that fails.
    pub(crate) fn refused(plan: Rc<Plan>, failure: StartFailure) -> Self {
        let mut machine = Self::unborn(plan);
        machine.start_failed(Duration::ZERO, failure);
        machine
    }

    fn unborn(plan: Rc<Plan>) -> Self {
        Self {
            plan,
            generation: None,
            phase: Phase::PreStart {
                hook: 0,
                kept: Vec::new(),
            },
            since: Duration::ZERO,
            until: None,
            child: Child::default(),
            stop: Stop::default(),
            none_left: true,
            balancers_told: false,
            serves: true,
            outbox: Outbox::new(),
        }
    }

    /// When to call `handle` with `Event::Deadline` if nothing else happens before.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        let of_phase = match &self.phase {
            Phase::Running(readiness) => readiness.next(),
            Phase::Ladder(ladder) => ladder.tell_waits_at,
            _ => None,
        };
        let times = [
            self.until,
            self.max_runtime_until(),
            of_phase,
            self.heir_by(),
        ];
        times.into_iter().flatten().min()
    }

    /// When `--max-runtime` is over, while it counts: until a stop is asked for.
    fn max_runtime_until(&self) -> Option<Duration> {
        let counts = matches!(self.phase, Phase::Running(_)) || self.only_waits();
        let max = self.plan.max_runtime.filter(|_| counts)?;
        Some(self.child.started_at.saturating_add(max))
    }

    /// The next thing to do; ask again after each `handle` until there is none.
    pub(crate) fn poll(&mut self) -> Option<Action> {
        self.outbox.poll()
    }

    pub(crate) fn handle(&mut self, now: Duration, event: Event) {
        match (&mut self.phase, event) {
            (Phase::Ended, _) => {}
            (Phase::Starting { .. }, Event::Started { pid }) => self.started(now, pid),
            (Phase::Starting { .. }, Event::StartFailed(failure)) => {
                self.start_failed(now, failure);
            }
            (_, Event::Started { .. } | Event::StartFailed(_)) => {}
            (Phase::Starting { kept }, Event::Signal(mut received)) => {
                // It came before this child, if another one has got it as well.
                received.reached_child = false;
                kept.push(Event::Signal(received));
            }
            (Phase::Starting { kept }, Event::ParentDied) => kept.push(Event::ParentDied),
            (_, Event::Signal(received)) => self.signal(now, received),
            (_, Event::PassedOn(signal)) => {
                self.child.forwarded = Some((signal, signal, now));
                let (received, target) = (signal, Target::Child);
                self.tell(Record::Forwarded {
                    signal,
                    received,
                    target,
                });
            }
            (_, Event::RestartAsked(received)) => {
                self.ask_to_stop(now, Reason::Restart, Signal::TERM, Some(received));
            }
            (_, Event::Replaced(received)) => {
                self.ask_to_stop(now, Reason::Replaced, Signal::TERM, Some(received));
            }
            (_, Event::ParentDied) => {
                let signal = self.plan.parent_death_signal.unwrap_or(Signal::TERM);
                self.ask_to_stop(now, Reason::ParentDied, signal, None);
            }
            (Phase::Running(_), Event::Ready) => self.is_ready(now),
            (Phase::Running(_), Event::NotYetReady(why)) => self.not_yet_ready(why),
            (Phase::Running(readiness), Event::ChildStopping) => {
                // It takes its time, and answers nobody any more.
                (readiness.live, readiness.told_at) = (None, None);
                self.act(Action::NotReady);
                self.tell_not_ready(now, NotReady::ChildStopping);
            }
            (_, Event::Ready | Event::NotYetReady(_) | Event::ChildStopping) => {}
            (_, Event::Alive) => self.alive(),
            (_, Event::NotAlive(why)) => self.not_alive(now, why),
            (_, Event::KeepsAlive) => self.keeps_alive(now),
            (_, Event::WatchdogIs(within)) => self.watchdog_is(now, within),
            (_, Event::SaysItHangs) => {
                self.missed_watchdog(now, Some("the child says WATCHDOG=trigger"));
            }
            (_, Event::Holds(condition)) => self.holds(now, condition),
            (_, Event::HoldsNot { condition, why }) => self.holds_not(now, condition, why),
            (_, Event::ChildExited(status)) => self.child_exited(now, status),
            (_, Event::HeirFound { heir, had }) => self.heir_found(now, heir, had),
            (_, Event::NoHeir(why)) => self.no_heir(now, why),
            (_, Event::LeftListening(port)) => self.tell(Record::LeftListening { port }),
            (
                _,
                Event::ChildStopped {
                    signal,
                    shell_waits,
                },
            ) => {
                self.child_stopped(signal, shell_waits);
            }
            (_, Event::StopTyped) => self.stop_typed(),
            (_, Event::Resumed(after)) => self.resumed(after),
            (
                _,
                Event::OomKilled {
                    kills,
                    before_this_life,
                    counted_from,
                    limit,
                },
            ) => {
                self.child.out_of_memory |= counted_from == CountedFrom::Start;
                self.tell(Record::OomKilled {
                    kills,
                    before_this_life,
                    counted_from,
                    limit,
                });
            }
            (_, Event::Reaped { pid, status }) => {
                self.tell(Record::Reaped { pid, status });
                self.parent_may_be_gone(now);
            }
            (_, Event::HookEnded { hook, result }) => {
                if self.current_hook() == Some(hook) {
                    self.hook_ended(now, result);
                }
            }
            (_, Event::StopCommandEnded { step, result }) => {
                if self.stop_command() == Some(step) {
                    self.stop_command_ended(now, result);
                }
            }
            (_, Event::Swept { signal, processes }) => self.swept(now, signal, processes),
            (Phase::Ladder(ladder), Event::StillThere(processes)) => {
                let after = now.saturating_sub(ladder.began);
                self.tell(Record::StillThere { after, processes });
            }
            (_, Event::StillThere(_)) => {}
            (_, Event::NotTold { before, held_back }) => self.not_told(now, before, held_back),
            (_, Event::NoneLeft) => {
                self.none_left = true;
                self.no_heir_comes(now);
                match &self.phase {
                    Phase::Sweep(_) => self.sweep_ended(now, false),
                    Phase::LastSweep(_) => self.enter_flush(now),
                    _ => {}
                }
            }
            (Phase::Drain(draining), Event::InFlight { requests, settled }) => {
                draining.in_flight(now, requests, settled);
                self.look_at_drain(now);
            }
            (
                Phase::Drain(draining),
                Event::HeldUp {
                    connections,
                    oldest,
                },
            ) => {
                draining.held_up(now, connections, oldest);
                self.look_at_drain(now);
            }
            (_, Event::InFlight { .. } | Event::HeldUp { .. }) => {}
            (_, Event::Answered { condition, answer }) => self.answered(now, condition, answer),
            (_, Event::SaysInFlight(number)) => self.says_in_flight(now, number),
            (_, Event::BalancersTold) => self.balancers_told(now),
            (Phase::Flush, Event::Flushed) => self.finish(now),
            (Phase::Flush, Event::Flushing) => self.until = self.flush_until(now),
            (_, Event::Flushing | Event::Flushed) => {}
            (_, Event::ChildSays(status)) => self.tell(Record::ChildSays { status }),
            (_, Event::Extend(by)) => self.extend(now, by),
            (Phase::Running(_), Event::Reloaded(reload)) => self.reloaded(*reload),
            // Nothing changes under what is under way, and the child begins with what counts then.
            (
                Phase::WaitFor(Waiting { kept, .. })
                | Phase::PreStart { kept, .. }
                | Phase::Starting { kept },
                event @ Event::Reloaded(_),
            ) if self.stop.begun.is_none() => kept.push(event),
            (_, Event::Reloaded(_)) => self.tell(Record::ReloadRefused {
                message: "a stop is under way".to_owned(),
            }),
            (_, Event::ReloadRefused(message)) => self.tell(Record::ReloadRefused { message }),
            // The supervisor takes these.
            (_, Event::OpenedBeside | Event::CannotOpenBeside(_) | Event::Of { .. }) => {}
            (_, Event::Trouble(message)) => self.tell(Record::Trouble { message }),
            (_, Event::Deadline) => self.time_passed(now),
        }
    }

    fn time_passed(&mut self, now: Duration) {
        if self.max_runtime_until().is_some_and(|until| now >= until) {
            return self.ask_to_stop(now, Reason::MaxRuntime, Signal::TERM, None);
        }
        // Early and repeated wake-ups are harmless.
        let is_due = |time: Option<Duration>| time.is_some_and(|time| now >= time);
        match &self.phase {
            Phase::Running(readiness) if is_due(readiness.by) => self.ready_too_late(now),
            Phase::Running(readiness) if is_due(readiness.told_at) => self.still_not_ready(now),
            Phase::Running(readiness) if is_due(readiness.speaks_by()) => {
                self.missed_watchdog(now, None);
            }
            Phase::Ladder(ladder) if !is_due(self.until) && is_due(ladder.tell_waits_at) => {
                self.ask_who_is_there();
            }
            _ if is_due(self.heir_by()) => self.no_heir_comes(now),
            _ if !is_due(self.until) => {}
            Phase::WaitFor(_) => self.waited_too_long(now),
            Phase::PreStart { .. } | Phase::PreStop { .. } | Phase::PostStop { .. } => {
                self.end_hook(now, HookResult::TimedOut);
            }
            Phase::Drain(_) => self.look_at_drain(now),
            Phase::AwaitHeir => self.no_heir_comes(now),
            Phase::Abort => self.take_step(now, 0),
            Phase::Ladder(ladder) => self.take_step(now, ladder.step + 1),
            Phase::Sweep(_) => self.sweep(now),
            Phase::LastSweep(_) => self.last_sweep(now),
            Phase::Flush => self.finish(now),
            Phase::Starting { .. } | Phase::Running(_) | Phase::Ended => {}
        }
    }

    fn act(&mut self, action: Action) {
        self.outbox.act(action);
    }

    fn tell(&mut self, record: Record) {
        self.outbox.tell(record);
    }

    fn enter(&mut self, now: Duration, phase: Phase, until: Option<Duration>) {
        self.phase = phase;
        self.since = now;
        self.until = until;
    }
}
