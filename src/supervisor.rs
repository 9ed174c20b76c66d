//! Decides whether the command lives once more: a series of machines, one after the other, seen from outside as
//! one. No clock, no syscall, no printing.
//!
//! A *generation* is one life of the command, from its pre-start hooks to its post-stop hooks, and belongs to one
//! `Machine`. Whatever happens is given to the machine of the generation that serves, or of the one beside it while
//! there are two (`replacement`); its last words, `Ended` and `Finish`, are held back until it is decided what
//! follows.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use crate::drive::Decider;
use crate::machine::{Action, Event, Generation, Machine, Received};
use crate::plan::Plan;
use crate::plan::supervision::{HEALTHY_AFTER, Restart, Supervision};
use crate::record::{Outcome, Reason, Record, RestartReason};
use crate::words::signal::Signal;

mod jitter;
mod reload;
mod replacement;
#[cfg(test)]
mod tests;
mod verdict;

use jitter::Jitter;
use replacement::Beside;
use verdict::Verdict;

/// Where in the series we are.
#[derive(Clone, PartialEq, Eq, Debug)]
enum State {
    /// A generation is alive, from its first hook to its last.
    Alive,
    /// The last one has ended so, and the next one begins then.
    Between {
        until: Duration,
        last: Outcome,
    },
    /// Nothing follows since then, but the generation beside is still being stopped.
    Ending {
        since: Duration,
        last: Outcome,
    },
    Ended,
}

/// See the module's first sentence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Supervisor {
    supervision: Supervision,
    machine: Machine,
    state: State,
    generation: Generation,
    /// The highest number that a generation has had.
    newest: u32,
    /// What has asked for a replacement whose sockets are being opened.
    opening: Option<Received>,
    /// There only while two are alive.
    beside: Option<Box<Beside>>,
    /// When the restarts that nobody asked for were decided, as far as the limit still counts them.
    restarts: VecDeque<Duration>,
    /// Before jitter.
    next_delay: Duration,
    jitter: Jitter,
    /// Since when the generation that is alive has been ready.
    ready_since: Option<Duration>,
    /// A request to stop: nothing follows the generation that is alive.
    stop_asked: bool,
    sockets_closed: bool,
    /// What follows the generation that serves, once its child is over.
    verdict: Option<Verdict>,
    /// A request to restart was obeyed: another generation follows whatever its end.
    restart_asked: bool,
    /// The configuration file is to be read again before the next one.
    reload_asked: bool,
    /// The time of the event that is being handled.
    now: Duration,
    outbox: VecDeque<Action>,
}

impl Supervisor {
    /// The first generation begins at time 0. `seed` decides how the delays are spread.
    pub(crate) fn new(plan: Rc<Plan>, supervision: Supervision, seed: u64) -> Self {
        Self::with_jitter(plan, supervision, Jitter::new(seed))
    }

    /// As `new`, but the delays are as they were asked for.
    pub(crate) fn steady(plan: Rc<Plan>, supervision: Supervision) -> Self {
        Self::with_jitter(plan, supervision, Jitter::none())
    }

    fn with_jitter(plan: Rc<Plan>, supervision: Supervision, jitter: Jitter) -> Self {
        let first = Generation {
            number: 1,
            restarts: 0,
        };
        Self {
            machine: Machine::of_generation(plan, Duration::ZERO, Some(first)),
            generation: first,
            newest: first.number,
            opening: None,
            beside: None,
            state: State::Alive,
            restarts: VecDeque::new(),
            next_delay: supervision.delay,
            supervision,
            jitter,
            ready_since: None,
            stop_asked: false,
            sockets_closed: false,
            verdict: None,
            restart_asked: false,
            reload_asked: false,
            now: Duration::ZERO,
            outbox: VecDeque::new(),
        }
    }

    fn plan(&self) -> &Rc<Plan> {
        self.machine.plan()
    }

    /// Once.
    fn close_sockets(&mut self) {
        if !std::mem::replace(&mut self.sockets_closed, true) {
            self.act(Action::CloseSockets);
        }
    }

    fn act(&mut self, action: Action) {
        self.outbox.push_back(action);
    }

    fn tell(&mut self, record: Record) {
        self.act(Action::Record(record));
    }

    fn drop_signal(&mut self, signal: Signal, why: &'static str) {
        let requests = [
            (self.supervision.restart_on, "--restart-on"),
            (self.supervision.replace_on, "--replace-on"),
            (self.plan().reload_on, "--reload-on"),
        ];
        let asked = requests.iter().find(|(on, _)| on.contains(signal));
        self.tell(match asked {
            Some((_, option)) => Record::NotObeyed {
                signal,
                option,
                why,
            },
            None => Record::Dropped { signal, why },
        });
    }

    fn counts_as_stop(&self, received: Received) -> bool {
        let plan = self.plan();
        plan.stop_on.contains(received.signal)
            && plan.heeds(received.signal, received.ignored)
            && plan.rewritten(received.signal).is_some()
    }

    /// While a generation is alive.
    fn alive(&mut self, now: Duration, event: Event) {
        match event {
            Event::Signal(received) if self.counts_as_stop(received) => {
                self.stop_by(now, Reason::Signal, Some(received));
            }
            Event::ParentDied => self.stop_by(now, Reason::ParentDied, None),
            Event::Signal(received) if self.supervision.restart_on.contains(received.signal) => {
                return self.restart_by(now, received);
            }
            Event::Signal(received) if self.supervision.replace_on.contains(received.signal) => {
                return self.replace_by(received);
            }
            Event::Signal(received) if self.puts_off_reload(now, received) => return,
            _ => {}
        }
        self.machine.handle(now, event);
        // It can serve no more, so the next one does, ready or not.
        if self.is_coming() && !self.stop_asked && self.machine.has_lost_its_child() {
            return self.switch(false);
        }
        self.foresee(now);
    }

    /// Nothing follows the generation that is alive, even where it was to be followed by one: connections that the
    /// child does not take any more must not wait for another one.
    fn stop_by(&mut self, now: Duration, reason: Reason, received: Option<Received>) {
        let is_first = !std::mem::replace(&mut self.stop_asked, true);
        self.close_sockets();
        self.beside_ends_too(now);
        if is_first && self.was_to_go_on(now) {
            self.machine.ends_for_good(now, reason, received);
        }
    }

    /// The whole stop sequence, and then the next generation. Nothing is lost where a request is not obeyed: what
    /// is being started has the newest of everything, and what is being stopped is followed by the next one
    /// already or must not be followed by any.
    fn restart_by(&mut self, now: Duration, received: Received) {
        let alone = self.beside.is_none() && self.opening.is_none();
        // A mere wait for what the child has left may last for ever.
        let ends_wait = alone && self.machine.only_waits();
        match self.why_no_other().filter(|_| !ends_wait) {
            None => {
                self.restart_asked = true;
                self.machine.handle(now, Event::RestartAsked(received));
            }
            Some(why) => self.drop_signal(received.signal, why),
        }
    }

    /// Between two generations.
    fn between(&mut self, now: Duration, until: Duration, last: Outcome, event: Event) {
        match event {
            Event::Signal(received) if self.counts_as_stop(received) => {
                self.end(last, Some(received), Reason::Signal);
            }
            Event::ParentDied => self.end(last, None, Reason::ParentDied),
            Event::Signal(received) if self.asks_for_next(received.signal) => {
                self.next_generation(now);
            }
            Event::Signal(received) if self.plan().reload_on.contains(received.signal) => {
                self.act(Action::Reload);
            }
            Event::Signal(received) => {
                let why = "the child has ended, and the next one is not started yet";
                self.drop_signal(received.signal, why);
            }
            Event::StopTyped => {
                self.tell(Record::SuspendedAlone);
                self.act(Action::Suspend(Signal::TSTP));
            }
            Event::Deadline if now >= until => self.next_generation(now),
            // The next generation has the new plan.
            Event::Reloaded(reload) => self.machine.reloaded(*reload),
            // Not a deadline that came early, or the late word of a process that belonged to the last generation.
            event => self.tell_itself(event),
        }
    }

    /// While no machine is there to tell it.
    fn tell_itself(&mut self, event: Event) {
        if let Some(record) = event.record() {
            self.tell(record);
        }
    }

    /// A request came between two generations: the run ends with the status of the last one.
    fn end(&mut self, last: Outcome, received: Option<Received>, reason: Reason) {
        self.beside_ends_too(self.now);
        self.tell(Record::StopAsked {
            reason,
            signal: received.map(|received| received.signal),
            sender: received.map(|received| received.sender),
            deadline: None,
        });
        // Of the stop of the last generation, which was told then, nothing is true of this one.
        self.finish(Outcome {
            reason,
            escalated: false,
            took: Duration::ZERO,
            ..last
        });
    }

    /// Whether it asks for another generation, in whatever way.
    fn asks_for_next(&self, signal: Signal) -> bool {
        let wanted = &self.supervision;
        wanted.restart_on.contains(signal) || wanted.replace_on.contains(signal)
    }

    fn finish(&mut self, outcome: Outcome) {
        if self.beside.is_some() {
            self.state = State::Ending {
                since: self.now,
                last: outcome,
            };
            return self.close_sockets();
        }
        self.state = State::Ended;
        self.tell(Record::Ended(outcome.clone()));
        self.act(Action::Finish(outcome));
    }

    fn next_generation(&mut self, now: Duration) {
        self.state = State::Alive;
        self.newest = self.newest.saturating_add(1);
        self.generation.number = self.newest;
        self.ready_since = None;
        self.restart_asked = false;
        self.verdict = None;
        let plan = Rc::clone(self.plan());
        self.act(Action::NextGeneration {
            number: self.newest,
        });
        self.tell(Record::GenerationBegan {
            generation: self.generation.number,
        });
        self.machine = Machine::of_generation(plan, now, Some(self.generation));
    }

    /// A generation has ended like this. What follows?
    fn ended(&mut self, outcome: Outcome) {
        let now = self.now;
        if self.is_coming() && !self.stop_asked {
            return self.left_to_next(outcome);
        }
        if self.stop_asked {
            return self.finish(outcome);
        }
        if self.restart_asked {
            return self.follow(now, outcome, RestartReason::Asked, Duration::ZERO);
        }
        let verdict = self.verdict.take();
        let limit = self.supervision.limit;
        let reason = match verdict.unwrap_or_else(|| self.judge(now, &outcome)) {
            Verdict::Restart(reason) => reason,
            Verdict::End => return self.finish(outcome),
            Verdict::GiveUp(restarts) => {
                let within = limit.and_then(|limit| limit.within);
                self.tell(Record::GaveUp { restarts, within });
                return self.finish(outcome);
            }
        };
        let healthy = self
            .ready_since
            .is_some_and(|since| now.saturating_sub(since) >= HEALTHY_AFTER);
        if healthy {
            self.next_delay = self.supervision.delay;
        }
        if let Some(limit) = limit {
            if let Some(within) = limit.within {
                self.restarts.retain(|at| now.saturating_sub(*at) < within);
            }
            self.restarts.push_back(now);
        }
        let delay = self.jitter.spread(self.next_delay);
        self.next_delay = self
            .next_delay
            .saturating_mul(2)
            .min(self.supervision.longest_delay);
        self.follow(now, outcome, reason, delay);
    }

    fn follow(&mut self, now: Duration, last: Outcome, reason: RestartReason, delay: Duration) {
        let unasked = u32::from(reason != RestartReason::Asked);
        self.generation.restarts = self.generation.restarts.saturating_add(unasked);
        self.tell(Record::GenerationEnded {
            generation: self.generation.number,
            outcome: last.clone(),
            restart: reason,
            delay,
        });
        // The one beside may use it.
        if self.beside.is_none() {
            self.act(Action::RestoreTerminal);
        }
        let until = now.saturating_add(delay);
        self.state = State::Between { until, last };
        // What has been read comes as an event, before what is due.
        let is_read_first = self.reload_if_asked();
        if delay.is_zero() && !is_read_first {
            self.next_generation(now);
        }
    }

    /// What the machine says, as it goes on to the world.
    fn heard(&mut self, action: Action) -> Option<Action> {
        match action {
            Action::Record(Record::Ended(_)) => None,
            Action::Finish(outcome) => {
                self.ended(outcome);
                None
            }
            Action::Record(
                record @ Record::StopAsked {
                    reason: Reason::MaxRuntime,
                    ..
                },
            ) if self.supervision.restart == Restart::No && !self.is_coming() => {
                self.close_sockets();
                Some(Action::Record(record))
            }
            // The network does not end with this one, and the next one is not to wait for slow clients.
            Action::Flush if self.is_followed() => {
                self.machine.handle(self.now, Event::Flushed);
                None
            }
            // The service manager would take it for the end of the run.
            Action::NotReady if !self.stop_asked => Some(Action::StopLooking),
            Action::Ready => {
                self.ready_since.get_or_insert(self.now);
                Some(Action::Ready)
            }
            action => Some(action),
        }
    }
}

impl Supervisor {
    /// What has happened to the generation that serves, or to none.
    fn own(&mut self, now: Duration, event: Event) {
        match self.state.clone() {
            State::Alive => self.alive(now, event),
            State::Between { until, last } => self.between(now, until, last, event),
            // A request still makes the other one faster.
            State::Ending { .. } => match event {
                Event::Signal(received) if !self.concerns_beside(&event) => {
                    self.drop_signal(received.signal, "the child has ended");
                }
                event => self.tell_itself(event),
            },
            State::Ended => {}
        }
    }

    /// Whether the generation beside the one that serves must know it, too.
    fn concerns_beside(&self, event: &Event) -> bool {
        let coming = self.is_coming();
        match event {
            Event::Signal(received) => {
                // Its plan may be older, and says what makes its own stop faster.
                let hurries = !coming && self.hurries_beside(*received);
                self.counts_as_stop(*received) || hurries
            }
            Event::Reloaded(_) => coming,
            Event::ParentDied
            | Event::Reaped { .. }
            | Event::OomKilled { .. }
            | Event::NoneLeft
            | Event::Resumed(_)
            | Event::Deadline => true,
            _ => false,
        }
    }
}

impl Decider for Supervisor {
    fn deadline(&self) -> Option<Duration> {
        let own = match &self.state {
            State::Alive => self.machine.deadline(),
            State::Between { until, .. } => Some(*until),
            State::Ending { .. } | State::Ended => None,
        };
        let beside = self
            .beside
            .as_ref()
            .and_then(|beside| beside.machine.deadline());
        [own, beside].into_iter().flatten().min()
    }

    fn poll(&mut self) -> Option<Action> {
        loop {
            if let Some(action) = self.outbox.pop_front() {
                return Some(action);
            }
            let heard = match self.machine.poll() {
                Some(action) => self.heard(action),
                None => {
                    let action = self.beside.as_mut()?.machine.poll()?;
                    self.heard_beside(action)
                }
            };
            if heard.is_some() {
                return heard;
            }
        }
    }

    fn handle(&mut self, now: Duration, event: Event) {
        self.now = now;
        let beside = self.beside.as_ref().map(|beside| beside.number);
        match event {
            Event::OpenedBeside => self.opened(now),
            Event::CannotOpenBeside(why) => self.cannot_open(now, why),
            Event::Of { generation, event } if Some(generation) == beside => {
                self.tell_beside(now, *event);
            }
            Event::Of { generation, event } if generation == self.generation.number => {
                self.own(now, *event);
            }
            // It has ended since.
            Event::Of { .. } => {}
            event if beside.is_some() && self.concerns_beside(&event) => {
                self.own(now, event.clone());
                // It may have taken over.
                if beside == Some(self.generation.number) {
                    self.own(now, event);
                } else {
                    self.tell_beside(now, event);
                }
            }
            event => self.own(now, event),
        }
    }
}
