//! Decides: (phase, event) to actions and records. No clock, no syscall, no printing.
//!
//! Time is a `Duration` since stepdown began. Every deadline is data in the machine and can be asked
//! for; late, early and repeated `Deadline` events are harmless. The phases are those of the stop
//! sequence that users read about, in the same order; a phase that has nothing to do is passed in the
//! same moment.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use crate::plan::{Plan, Target};
use crate::record::held::Held;
use crate::record::{CountedFrom, ExitStatus, HookResult, NotReady, Reason, Record, StartFailure};
use crate::words::signal::{Signal, SignalSet};

mod answer;
mod drain;
mod event;
mod hooks;
mod ladder;
mod outcome;
pub(crate) mod roots;
mod signals;
mod start;
mod stop;
mod sweep;

#[cfg(test)]
mod tests;

pub(crate) use answer::Answer;
use signals::Requests;

pub(crate) use event::{Action, Event, Facts, HookId, Received, Whom};

/// Where in the run we are. The hook, step or stage that is under way is part of the phase.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    PreStart {
        hook: usize,
    },
    Starting,
    Running,
    PreStop {
        hook: usize,
    },
    Drain,
    Ladder {
        step: usize,
    },
    Sweep(Stage),
    PostStop {
        hook: usize,
    },
    /// What the post-stop hooks left is killed.
    LastSweep(Stage),
    /// Answers that are still in the kernel's send queues get their chance: with PID 1 the network
    /// namespace may go, and they with it.
    Flush,
    Ended,
}

/// How far a sweep has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Is anybody there at all? The world reaps before it answers.
    Look,
    Term,
    Kill {
        pause: Duration,
    },
    /// They multiply faster than they can be killed, so they are stopped first.
    Stop {
        rounds: u32,
    },
    Wait,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Child {
    NotStarted,
    Alive(i32),
    Ended(i32, ExitStatus),
    /// It outlived even KILL.
    Left(i32),
}

/// The stop that is under way: t0 and who asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stop {
    at: Duration,
    reason: Reason,
    /// What `SAME` means.
    signal: Signal,
    received: Option<Received>,
}

/// Moments that no phase may overrun (`Plan::budget` counted from t0).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Limits {
    ladder_by: Duration,
    kill_by: Duration,
    give_up_by: Duration,
    gone_by: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Waits {
    Delay,
    Checks,
    Requests,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct DrainState {
    /// Until then balancers are given time to learn of the stop: the delay, and their checks.
    delay_until: Duration,
    checks_until: Duration,
    /// What was said to be waited for.
    waits: Waits,
    /// The child has asked for time until then (`EXTEND_TIMEOUT_USEC`).
    extended_until: Duration,
    requests: u32,
    settled: bool,
    /// When the last look was told, and whether another one was asked for at the end of the delay.
    looked_at: Duration,
    asked_again: bool,
    /// Which number was told last, and when.
    told: u32,
    told_at: Option<Duration>,
}

/// The connections that hold up the drain.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct HeldUp {
    connections: u32,
    oldest: Vec<Held>,
    /// When they were looked at.
    at: Duration,
    is_news: bool,
    told_at: Option<Duration>,
}

/// What is known of one `--drain-until`.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Asked {
    answer: Answer,
    /// When that was answered.
    at: Duration,
    /// Why it was not known; each was told once.
    told: Vec<String>,
}

/// What is left has so much time to end by itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Grace {
    /// What is left of an explicit grace of the step on which the child ended, and who gave it.
    of_step: Option<(Duration, &'static str)>,
    /// The signal of that step.
    worked: Option<Signal>,
    until: Option<Duration>,
    /// From then on those are asked, too, who were left to their parents.
    half: Duration,
    /// There are such.
    held_back: bool,
    /// It was told that somebody is waited for who was told before.
    waits: bool,
    /// A process has ended, so its children may have no other parent than us: when to look.
    look_at: Option<Duration>,
    looked_at: Duration,
    look_after: Duration,
    /// Which option has decided, once it is over and until it is told.
    decided_by: Option<&'static str>,
}

/// See the module's first sentence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Machine {
    plan: Rc<Plan>,
    phase: Phase,
    /// When the current phase began, and when it ends at the latest.
    since: Duration,
    until: Option<Duration>,
    stop: Option<Stop>,
    limits: Option<Limits>,
    child: Child,
    started_at: Duration,
    /// Whether the child has ever been ready; when it must be at the latest; and why it was not
    /// at the last look.
    was_ready: bool,
    ready_by: Option<Duration>,
    not_yet: Option<String>,
    /// Since when it says that it is stopping on its own account.
    stopping_since: Option<Duration>,
    /// The balancers know that we are not ready any more (`--drain-checks`).
    balancers_told: bool,
    failure: Option<StartFailure>,
    /// The kernel has killed for lack of memory.
    out_of_memory: bool,
    /// What came before the child existed: signals, and the parent's death.
    kept: Vec<Event>,
    requests: Requests,
    /// The last signal that was only forwarded, by the name it came by, and when.
    forwarded: Option<(Signal, Duration)>,
    /// Stop signals that the child was sent: by the ladder, and those that were passed on.
    sent: SignalSet,
    escalated: bool,
    /// KILL went to the whole tree.
    tree_killed: bool,
    /// When the ladder began, and when it is told who is still there: where nobody has said how long that may take.
    ladder_since: Duration,
    tell_waits_at: Option<Duration>,
    /// The step whose stop command is running.
    stop_command: Option<usize>,
    none_left: bool,
    /// KILL did not help: what is left hangs in the kernel.
    hopeless: bool,
    /// When the first process that was left got a signal.
    swept: Option<Duration>,
    grace: Grace,
    /// The whole tree has got KILL so many times.
    kill_rounds: u32,
    /// Until then those that got KILL are busy dying.
    dying_until: Duration,
    drain: DrainState,
    /// What is known of each `--drain-until`.
    asked: Vec<Asked>,
    held_up: HeldUp,
    /// How many the child says that it has in flight.
    says_in_flight: Option<u32>,
    outbox: VecDeque<Action>,
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
        let mut machine = Self::unborn(plan);
        machine.enter_pre_start(Duration::ZERO, 0);
        machine
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
            phase: Phase::PreStart { hook: 0 },
            since: Duration::ZERO,
            until: None,
            stop: None,
            limits: None,
            child: Child::NotStarted,
            started_at: Duration::ZERO,
            was_ready: false,
            ready_by: None,
            not_yet: None,
            stopping_since: None,
            balancers_told: false,
            failure: None,
            out_of_memory: false,
            kept: Vec::new(),
            requests: Requests::default(),
            forwarded: None,
            sent: SignalSet::default(),
            escalated: false,
            tree_killed: false,
            ladder_since: Duration::ZERO,
            tell_waits_at: None,
            stop_command: None,
            none_left: true,
            hopeless: false,
            swept: None,
            grace: Grace::default(),
            kill_rounds: 0,
            dying_until: Duration::ZERO,
            drain: DrainState {
                delay_until: Duration::ZERO,
                checks_until: Duration::ZERO,
                waits: Waits::Requests,
                extended_until: Duration::ZERO,
                requests: 0,
                settled: false,
                looked_at: Duration::ZERO,
                asked_again: false,
                told: 0,
                told_at: None,
            },
            asked: Vec::new(),
            held_up: HeldUp::default(),
            says_in_flight: None,
            // A stop needs no more: it is the wrong moment to go to the allocator.
            outbox: VecDeque::with_capacity(16),
        }
    }

    /// When to call `handle` with `Event::Deadline` if nothing else happens before.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        let ready_by = self.ready_by.filter(|_| self.phase == Phase::Running);
        [
            self.until,
            self.max_runtime_until(),
            ready_by,
            self.tell_waits_at,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// When `--max-runtime` is over, while it counts: until a stop is asked for.
    fn max_runtime_until(&self) -> Option<Duration> {
        match self.phase {
            Phase::Running | Phase::Sweep(Stage::Wait) => {
                let max = self.plan.max_runtime?;
                Some(self.started_at.saturating_add(max))
            }
            _ => None,
        }
    }

    /// The next thing to do; ask again after each `handle` until there is none.
    pub(crate) fn poll(&mut self) -> Option<Action> {
        self.outbox.pop_front()
    }

    pub(crate) fn handle(&mut self, now: Duration, event: Event) {
        match (self.phase, event) {
            (Phase::Ended, _) => {}
            (Phase::Starting, Event::Started { pid }) => self.started(now, pid),
            (Phase::Starting, Event::StartFailed(failure)) => self.start_failed(now, failure),
            (_, Event::Started { .. } | Event::StartFailed(_)) => {}
            (Phase::Starting, event @ (Event::Signal(_) | Event::ParentDied)) => {
                self.kept.push(event);
            }
            (_, Event::Signal(received)) => self.signal(now, received),
            (_, Event::PassedOn(signal)) => {
                self.forwarded = Some((signal, now));
                let (received, target) = (signal, Target::Child);
                self.tell(Record::Forwarded {
                    signal,
                    received,
                    target,
                });
            }
            (_, Event::ParentDied) => {
                let signal = self.plan.parent_death_signal.unwrap_or(Signal::TERM);
                self.ask_to_stop(now, Reason::ParentDied, signal, None);
            }
            (Phase::Running, Event::Ready) => self.is_ready(now),
            (Phase::Running, Event::NotYetReady(why)) => self.not_yet_ready(why),
            (Phase::Running, Event::ChildStopping) => self.not_ready(now, NotReady::ChildStopping),
            (_, Event::Ready | Event::NotYetReady(_) | Event::ChildStopping) => {}
            (_, Event::ChildExited(status)) => self.child_exited(now, status),
            (
                _,
                Event::ChildStopped {
                    signal,
                    shell_waits,
                },
            ) => {
                self.child_stopped(signal, shell_waits);
            }
            (
                _,
                Event::OomKilled {
                    kills,
                    counted_from,
                    limit,
                },
            ) => {
                self.out_of_memory |= counted_from == CountedFrom::Start;
                self.tell(Record::OomKilled {
                    kills,
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
                if self.stop_command == Some(step) {
                    self.stop_command_ended(now, result);
                }
            }
            (_, Event::Swept { signal, processes }) => self.swept(now, signal, processes),
            (Phase::Ladder { .. }, Event::StillThere(processes)) => {
                let after = now.saturating_sub(self.ladder_since);
                self.tell(Record::StillThere { after, processes });
            }
            (_, Event::StillThere(_)) => {}
            (_, Event::NotTold { before, held_back }) => self.not_told(now, before, held_back),
            (_, Event::NoneLeft) => {
                self.none_left = true;
                match self.phase {
                    Phase::Sweep(_) => self.sweep_ended(now, false),
                    Phase::LastSweep(_) => self.enter_flush(now),
                    _ => {}
                }
            }
            (Phase::Drain, Event::InFlight { requests, settled }) => {
                self.in_flight(now, requests, settled);
            }
            (
                Phase::Drain,
                Event::HeldUp {
                    connections,
                    oldest,
                },
            ) => self.held_up(now, connections, oldest),
            (_, Event::InFlight { .. } | Event::HeldUp { .. }) => {}
            (Phase::Drain, Event::Answered { condition, answer }) => {
                self.answered(now, condition, answer);
            }
            (_, Event::Answered { .. }) => {}
            (_, Event::SaysInFlight(number)) => self.says_in_flight(now, number),
            (_, Event::BalancersTold) => self.balancers_told(now),
            (Phase::Flush, Event::Flushed) => self.finish(now),
            (Phase::Flush, Event::Flushing) => self.until = self.flush_until(now),
            (_, Event::Flushing | Event::Flushed) => {}
            (_, Event::ChildSays(status)) => self.tell(Record::ChildSays { status }),
            (_, Event::Extend(by)) => self.extend(now, by),
            (Phase::Running, Event::Reloaded(reload)) => self.reloaded(*reload),
            (_, Event::Reloaded(_)) => self.tell(Record::ReloadRefused {
                message: "a stop is under way".to_owned(),
            }),
            (_, Event::ReloadRefused(message)) => self.tell(Record::ReloadRefused { message }),
            (_, Event::Trouble(message)) => self.tell(Record::Trouble { message }),
            (_, Event::Deadline) => self.time_passed(now),
        }
    }

    fn time_passed(&mut self, now: Duration) {
        if self.max_runtime_until().is_some_and(|until| now >= until) {
            return self.ask_to_stop(now, Reason::MaxRuntime, Signal::TERM, None);
        }
        if self.phase == Phase::Running && self.ready_by.is_some_and(|by| now >= by) {
            return self.ready_too_late(now);
        }
        // Early and repeated wake-ups are harmless.
        if self.until.is_none_or(|until| now < until) {
            if self.tell_waits_at.is_some_and(|at| now >= at) {
                self.ask_who_is_there();
            }
            return;
        }
        match self.phase {
            Phase::PreStart { .. } | Phase::PreStop { .. } | Phase::PostStop { .. } => {
                self.end_hook(now, HookResult::TimedOut);
            }
            Phase::Drain => self.look_at_drain(now),
            Phase::Ladder { step } => self.take_step(now, step + 1),
            Phase::Sweep(stage) => self.sweep(now, stage),
            Phase::LastSweep(stage) => self.last_sweep(now, stage),
            Phase::Flush => self.finish(now),
            Phase::Starting | Phase::Running | Phase::Ended => {}
        }
    }

    fn act(&mut self, action: Action) {
        self.outbox.push_back(action);
    }

    fn tell(&mut self, record: Record) {
        self.act(Action::Record(record));
    }

    fn enter(&mut self, now: Duration, phase: Phase, until: Option<Duration>) {
        self.phase = phase;
        self.since = now;
        self.until = until;
    }
}
