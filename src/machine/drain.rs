//! Waits until no request is in flight, and at the very end until the answers have left the kernel.

use std::rc::Rc;
use std::time::Duration;

use super::{Action, Asked, Child, DrainState, HeldUp, Machine, Phase, Waits};
use crate::machine::Answer;
use crate::plan::drain::DrainPorts;
use crate::plan::until::IN_FLIGHT;
use crate::plan::until::{Until, UntilWhen};
use crate::record::held::Held;
use crate::record::{DrainEnd, DrainWait, Record};

/// How long bytes that a dead child left in the kernel are waited for: a client that takes nothing in
/// this time is gone.
const FLUSH_PATIENCE: Duration = Duration::from_secs(2);

/// Between two lines about the progress of the drain.
const TELLING_PAUSE: Duration = Duration::from_secs(1);

/// So many different reasons why an answer is not known are told, each once.
const MOST_TOLD: usize = 8;

impl Asked {
    fn nothing_yet(until: &Until) -> Self {
        let why = match until.when {
            UntilWhen::Notify => format!("the child has not said {IN_FLIGHT}"),
            _ => "there was no answer yet".to_owned(),
        };
        Self {
            answer: Answer::NotYet {
                in_flight: None,
                why,
            },
            at: Duration::ZERO,
            told: Vec::new(),
        }
    }
}

impl Machine {
    pub(super) fn enter_drain(&mut self, now: Duration) {
        let alive = matches!(self.child, Child::Alive(_));
        let Some(drain) = self.plan.drain.as_ref().filter(|_| alive) else {
            return self.take_step(now, 0);
        };
        let counts = drain.ports != DrainPorts::None;
        let conditions = drain.until.len();
        let checks = drain.checks.filter(|_| !self.balancers_told);
        let checks = checks.map_or(Duration::ZERO, |checks| checks.timeout);
        let delay_until = now.saturating_add(drain.delay);
        self.act(Action::StartDrain);
        self.enter(now, Phase::Drain, None);
        self.drain = DrainState {
            delay_until,
            checks_until: now.saturating_add(checks),
            waits: Waits::Requests,
            extended_until: now,
            requests: 0,
            settled: !counts,
            looked_at: now,
            asked_again: false,
            told: 0,
            told_at: None,
        };
        self.held_up = HeldUp::default();
        let asked = self.until().iter().map(Asked::nothing_yet);
        self.asked = asked.collect();
        self.drain.waits = self.waits(now);
        let wait = self.drain_wait(now);
        self.tell(Record::DrainStarted(wait));
        if conditions > 0 {
            let facts = self.facts(now, "drain");
            self.act(Action::AskProgram { facts, conditions });
        }
        if let Some(number) = self.says_in_flight {
            self.count_said(now, number);
        }
        self.look_at_drain(now);
    }

    /// Until when balancers are given time.
    fn told_by(&self) -> Duration {
        self.drain.delay_until.max(self.drain.checks_until)
    }

    fn waits(&self, now: Duration) -> Waits {
        if now < self.drain.delay_until {
            Waits::Delay
        } else if now < self.drain.checks_until {
            Waits::Checks
        } else {
            Waits::Requests
        }
    }

    fn drain_wait(&self, now: Duration) -> DrainWait {
        let end = self.drain_until();
        let left = |until: Duration| until.min(end).saturating_sub(now);
        let checks = self.plan.drain.as_ref().and_then(|drain| drain.checks);
        match self.drain.waits {
            Waits::Delay => DrainWait::Delay {
                left: left(self.drain.delay_until),
            },
            Waits::Checks => DrainWait::Checks {
                times: checks.map_or(0, |checks| checks.times),
                left: left(self.drain.checks_until),
            },
            Waits::Requests => DrainWait::Requests {
                ports: self.counts(),
                until: self
                    .until()
                    .iter()
                    .map(|until| until.text.clone())
                    .collect(),
            },
        }
    }

    /// Whether connections are looked at.
    fn counts(&self) -> bool {
        let drain = self.plan.drain.as_ref();
        drain.is_some_and(|drain| drain.ports != DrainPorts::None)
    }

    fn until(&self) -> &[Until] {
        let drain = self.plan.drain.as_ref();
        drain.map_or(&[], |drain| &drain.until)
    }

    pub(super) fn answered(&mut self, now: Duration, condition: usize, answer: Answer) {
        let text = self.until().get(condition).map(|until| until.text.clone());
        let (Some(asked), Some(text)) = (self.asked.get_mut(condition), text) else {
            return;
        };
        let mut news = None;
        if let Answer::NotKnown(why) = &answer
            && asked.told.len() < MOST_TOLD
            && !asked.told.contains(why)
        {
            asked.told.push(why.clone());
            news = Some(format!("--drain-until {text}: {why}"));
        }
        asked.answer = answer;
        asked.at = now;
        if let Some(message) = news {
            self.tell(Record::Trouble { message });
        }
        self.look_at_drain(now);
    }

    /// The child may say it long before the drain: its last word counts.
    pub(super) fn says_in_flight(&mut self, now: Duration, number: u32) {
        self.says_in_flight = Some(number);
        if self.phase == Phase::Drain {
            self.count_said(now, number);
            self.look_at_drain(now);
        }
    }

    fn count_said(&mut self, now: Duration, number: u32) {
        let plan = Rc::clone(&self.plan);
        let until = plan.drain.iter().flat_map(|drain| &drain.until);
        for (asked, until) in self.asked.iter_mut().zip(until) {
            if until.when == UntilWhen::Notify {
                asked.answer = Answer::of_number(number);
                asked.at = now;
            }
        }
    }

    /// Whether every `--drain-until` holds, by an answer that is no older than this. What the child
    /// says by itself stays true until it says something else.
    fn all_hold(&self, since: Duration) -> bool {
        let mut known = self.asked.iter().zip(self.until());
        known.all(|(asked, until)| {
            let is_fresh = asked.at >= since || until.when == UntilWhen::Notify;
            asked.answer == Answer::Holds && is_fresh
        })
    }

    /// How many are in flight, seen from whichever side sees most.
    fn most_in_flight(&self) -> u32 {
        let said = self.asked.iter().filter_map(|asked| match asked.answer {
            Answer::NotYet { in_flight, .. } => in_flight,
            Answer::Holds | Answer::NotKnown(_) => None,
        });
        said.max().unwrap_or(0).max(self.drain.requests)
    }

    pub(super) fn held_up(&mut self, now: Duration, connections: u32, oldest: Vec<Held>) {
        let told_at = self.held_up.told_at;
        self.held_up = HeldUp {
            connections,
            oldest,
            at: now,
            // That nothing does is news only where something did.
            is_news: connections > 0 || told_at.is_some(),
            told_at,
        };
        self.look_at_drain(now);
    }

    /// Tells what holds up the drain, when that has changed, but no more often than once a second.
    fn tell_held_up(&mut self, now: Duration) -> Option<Duration> {
        if !self.held_up.is_news {
            return None;
        }
        let told_at = self.held_up.told_at;
        let due = told_at.map(|at| at.saturating_add(TELLING_PAUSE));
        if due.is_some_and(|due| now < due) {
            return due;
        }
        self.held_up.is_news = false;
        self.held_up.told_at = Some(now);
        let since = now.saturating_sub(self.held_up.at);
        let mut oldest = self.held_up.oldest.clone();
        for held in &mut oldest {
            held.waited = held.waited.saturating_add(since);
        }
        let connections = self.held_up.connections;
        self.tell(Record::HeldUp {
            connections,
            oldest,
        });
        None
    }

    pub(super) fn in_flight(&mut self, now: Duration, requests: u32, settled: bool) {
        self.drain.requests = requests;
        self.drain.settled = settled;
        self.drain.looked_at = now;
        self.look_at_drain(now);
    }

    /// They need no more time, but the delay is kept.
    pub(super) fn balancers_told(&mut self, now: Duration) {
        self.balancers_told = true;
        if self.phase == Phase::Drain {
            self.drain.checks_until = self.drain.checks_until.min(now);
            self.look_at_drain(now);
        }
    }

    /// When the drain ends at the latest: its timeout, but never before its delay or while the checks may
    /// still come, nor before the child wants it to.
    pub(super) fn drain_until(&self) -> Duration {
        let timeout = self
            .plan
            .drain
            .as_ref()
            .map_or(Duration::ZERO, |drain| drain.timeout);
        let until = self.since.saturating_add(timeout);
        let until = until.max(self.told_by()).max(self.drain.extended_until);
        self.before(Some(until), |limits| limits.ladder_by)
            .unwrap_or(until)
    }

    pub(super) fn look_at_drain(&mut self, now: Duration) {
        let end = self.drain_until();
        let told_by = self.told_by();
        let told = now >= told_by;
        let counts = self.counts();
        let is_idle = told && self.drain.settled && self.all_hold(Duration::ZERO);
        // What came in the last moment of the delay came from a balancer that did not know.
        let looked = !counts || self.drain.asked_again || self.drain.looked_at >= told_by;
        let is_fresh = looked && self.all_hold(told_by);
        if is_idle && (is_fresh || now >= end) {
            self.end_drain(now, DrainEnd::Drained);
        } else if now >= end {
            self.end_drain(now, DrainEnd::TimedOut);
        } else {
            if is_idle && !self.drain.asked_again {
                self.drain.asked_again = true;
                self.drain.settled = !counts;
                self.act(Action::LookAgain);
            } else if !is_idle && self.waits(now) != self.drain.waits {
                self.drain.waits = self.waits(now);
                let wait = self.drain_wait(now);
                self.tell(Record::DrainWaits(wait));
            }
            let waits = [self.drain.delay_until, self.drain.checks_until];
            let next = waits.into_iter().filter(|until| now < *until).min();
            let tell = self.tell_in_flight(now, end);
            let held = self.tell_held_up(now);
            self.until = [next, tell, held, Some(end)].into_iter().flatten().min();
        }
    }

    /// Tells how many requests are in flight, when that has changed; or when it is to be told. Under load
    /// the number changes with every look, and once a second is enough to follow it.
    fn tell_in_flight(&mut self, now: Duration, end: Duration) -> Option<Duration> {
        let requests = self.most_in_flight();
        if requests == self.drain.told {
            return None;
        }
        let due = self
            .drain
            .told_at
            .map(|at| at.saturating_add(TELLING_PAUSE));
        if due.is_some_and(|due| now < due) {
            return due;
        }
        self.drain.told = requests;
        self.drain.told_at = Some(now);
        let left = end.saturating_sub(now);
        self.tell(Record::InFlight { requests, left });
        None
    }

    pub(super) fn end_drain(&mut self, now: Duration, end: DrainEnd) {
        self.act(Action::EndDrain);
        let interrupted = if end == DrainEnd::Drained {
            0
        } else {
            self.most_in_flight()
        };
        if interrupted > 0 {
            self.held_up.told_at = None;
            self.tell_held_up(now);
        }
        if end == DrainEnd::TimedOut {
            self.tell_unmet();
        }
        let took = now.saturating_sub(self.since);
        self.tell(Record::DrainEnded {
            end,
            interrupted,
            took,
        });
        self.take_step(now, 0);
    }

    fn tell_unmet(&mut self) {
        let plan = Rc::clone(&self.plan);
        let until = plan.drain.iter().flat_map(|drain| &drain.until);
        for (asked, until) in std::mem::take(&mut self.asked).into_iter().zip(until) {
            let why = match asked.answer {
                Answer::Holds => continue,
                Answer::NotYet { why, .. } | Answer::NotKnown(why) => why,
            };
            let until = until.text.clone();
            self.tell(Record::DrainUnmet { until, why });
        }
    }

    pub(super) fn enter_flush(&mut self, now: Duration) {
        if !self.counts() {
            return self.finish(now);
        }
        self.enter(now, Phase::Flush, None);
        self.until = self.flush_until(now);
        self.act(Action::Flush);
    }

    pub(super) fn flush_until(&self, now: Duration) -> Option<Duration> {
        let drain = self.plan.drain.as_ref();
        let longest = drain.map_or(Duration::ZERO, |drain| drain.timeout);
        let longest = self.since.saturating_add(longest);
        let until = now.saturating_add(FLUSH_PATIENCE).min(longest);
        self.before(Some(until), |limits| limits.gone_by)
    }
}
