//! Waits until no request is in flight, and at the very end until the answers have left the kernel.

use std::ops::ControlFlow::{self, Break, Continue};
use std::rc::Rc;
use std::time::Duration;

use super::{Action, Machine, Outbox, Phase};
use crate::machine::Answer;
use crate::plan::drain::{Drain, DrainPorts};
use crate::plan::until::{IN_FLIGHT, Until, UntilWhen};
use crate::record::held::HeldConnection;
use crate::record::{DrainEnd, DrainWait, Reason, Record};

/// How long bytes that a dead child left in the kernel are waited for: a client that takes nothing in
/// this time is gone.
const FLUSH_PATIENCE: Duration = Duration::from_secs(2);

/// Between two lines about the progress of the drain.
const TELLING_PAUSE: Duration = Duration::from_secs(1);

/// So many different reasons why an answer is not known are told, each once.
const MOST_TOLD: usize = 8;

/// The drain that is under way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Draining {
    /// When its timeout is over, and when it ends whatever is still to be waited for.
    timeout_at: Duration,
    limit: Option<Duration>,
    /// Until then balancers are given time to learn of the stop: the delay, and their checks.
    delay_until: Duration,
    checks_until: Duration,
    /// They are waited for, and not all balancers know yet.
    awaits_checks: bool,
    /// What was said to be waited for.
    waits: DrainPart,
    /// The child has asked for time until then (`EXTEND_TIMEOUT_USEC`).
    extended_until: Duration,
    requests: u32,
    settled: bool,
    /// When the last look was told, and whether another one was asked for at the end of the delay.
    looked_at: Duration,
    asked_again: bool,
    /// The last number that was reported, and when.
    told: u32,
    told_at: Option<Duration>,
    /// What is known of each `--drain-until`.
    asked: Vec<Asked>,
    held_up: HeldUp,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum DrainPart {
    Delay,
    Checks,
    Requests,
}

/// The connections that hold up the drain.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct HeldUp {
    connections: u32,
    oldest: Vec<HeldConnection>,
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
    /// Why it was not known; each reason is reported once.
    told: Vec<String>,
}

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

/// Whether connections are looked at.
fn counts(plan: &Drain) -> bool {
    plan.ports != DrainPorts::None
}

impl Draining {
    /// `delay` is for the balancers to learn of the stop, and `checks` is how long their checks are waited for.
    fn begin(
        now: Duration,
        plan: &Drain,
        (delay, checks): (Duration, Duration),
        limit: Option<Duration>,
    ) -> Self {
        let mut draining = Self {
            timeout_at: now.saturating_add(plan.timeout),
            limit,
            delay_until: now.saturating_add(delay),
            checks_until: now.saturating_add(checks),
            awaits_checks: !checks.is_zero(),
            waits: DrainPart::Requests,
            extended_until: now,
            requests: 0,
            settled: !counts(plan),
            looked_at: now,
            asked_again: false,
            told: 0,
            told_at: None,
            asked: plan.until.iter().map(Asked::nothing_yet).collect(),
            held_up: HeldUp::default(),
        };
        draining.waits = draining.waits(now);
        draining
    }

    /// Until when balancers are given time.
    fn told_by(&self) -> Duration {
        self.delay_until.max(self.checks_until)
    }

    /// When it ends at the latest: after its timeout, but never before its delay or while the checks may
    /// still come, nor before the child wants it to.
    fn end(&self) -> Duration {
        let own = self.own_end();
        self.limit.map_or(own, |limit| limit.min(own))
    }

    /// Without what the deadline leaves.
    fn own_end(&self) -> Duration {
        self.timeout_at.max(self.told_by()).max(self.extended_until)
    }

    fn waits(&self, now: Duration) -> DrainPart {
        if now < self.delay_until {
            DrainPart::Delay
        } else if now < self.checks_until {
            DrainPart::Checks
        } else {
            DrainPart::Requests
        }
    }

    fn wait(&self, now: Duration, plan: &Drain) -> DrainWait {
        let end = self.end();
        let left = |until: Duration| until.min(end).saturating_sub(now);
        match self.waits {
            DrainPart::Delay => DrainWait::Delay {
                left: left(self.delay_until),
            },
            DrainPart::Checks => DrainWait::Checks {
                times: plan.checks.map_or(0, |checks| checks.times),
                left: left(self.checks_until),
            },
            DrainPart::Requests => DrainWait::Requests {
                ports: counts(plan),
                until: plan.until.iter().map(|until| until.text.clone()).collect(),
            },
        }
    }

    /// The deadline has come nearer.
    pub(super) fn ends_by(&mut self, limit: Duration) {
        self.limit = Some(self.limit.map_or(limit, |own| own.min(limit)));
    }

    /// The child wants it to last until then; when it ends now.
    pub(super) fn extend(&mut self, until: Duration) -> Duration {
        self.extended_until = self.extended_until.max(until);
        self.end()
    }

    pub(super) fn in_flight(&mut self, now: Duration, requests: u32, settled: bool) {
        self.requests = requests;
        self.settled = settled;
        self.looked_at = now;
    }

    pub(super) fn held_up(&mut self, now: Duration, connections: u32, oldest: Vec<HeldConnection>) {
        let told_at = self.held_up.told_at;
        self.held_up = HeldUp {
            connections,
            oldest,
            at: now,
            // That nothing does is news only where something did.
            is_news: connections > 0 || told_at.is_some(),
            told_at,
        };
    }

    fn answered(
        &mut self,
        now: Duration,
        until: &Until,
        (condition, answer): (usize, Answer),
        outbox: &mut Outbox,
    ) {
        let Some(asked) = self.asked.get_mut(condition) else {
            return;
        };
        if let Answer::NotKnown(why) = &answer
            && asked.told.len() < MOST_TOLD
            && !asked.told.contains(why)
        {
            asked.told.push(why.clone());
            let message = format!("--drain-until {}: {why}", until.text);
            outbox.tell(Record::Trouble { message });
        }
        asked.answer = answer;
        asked.at = now;
    }

    fn count_said(&mut self, now: Duration, plan: &Drain, number: u32) {
        for (asked, until) in self.asked.iter_mut().zip(&plan.until) {
            if until.when == UntilWhen::Notify {
                asked.answer = Answer::of_number(number);
                asked.at = now;
            }
        }
    }

    /// Whether every `--drain-until` holds, by an answer that is no older than this. What the child
    /// says by itself stays true until it says something else.
    fn all_hold(&self, plan: &Drain, since: Duration) -> bool {
        let mut known = self.asked.iter().zip(&plan.until);
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
        said.max().unwrap_or(0).max(self.requests)
    }

    /// How it ends, or when to look again.
    fn look(
        &mut self,
        now: Duration,
        plan: &Drain,
        outbox: &mut Outbox,
    ) -> ControlFlow<DrainEnd, Duration> {
        self.tell_untold(now, plan, outbox);
        let end = self.end();
        let told_by = self.told_by();
        let is_idle = now >= told_by && self.settled && self.all_hold(plan, Duration::ZERO);
        // What came in the last moment of the delay came from a balancer that did not know.
        let looked = !counts(plan) || self.asked_again || self.looked_at >= told_by;
        let is_fresh = looked && self.all_hold(plan, told_by);
        if is_idle && (is_fresh || now >= end) {
            return Break(DrainEnd::Drained);
        }
        if now >= end {
            let is_cut = end < self.own_end();
            return Break(if is_cut {
                DrainEnd::Deadline
            } else {
                DrainEnd::TimedOut
            });
        }
        if is_idle && !self.asked_again {
            self.asked_again = true;
            self.settled = !counts(plan);
            outbox.act(Action::LookAgain);
        } else if !is_idle && self.waits(now) != self.waits {
            self.waits = self.waits(now);
            outbox.tell(Record::DrainWaits(self.wait(now, plan)));
        }
        let waits = [self.delay_until, self.checks_until];
        let next = waits.into_iter().filter(|until| now < *until).min();
        let tell = self.tell_in_flight(now, end, outbox);
        let held = self.tell_held_up(now, outbox);
        let times = [next, tell, held].into_iter().flatten();
        Continue(times.fold(end, Duration::min))
    }

    /// Tells that the time for the checks is over before all balancers know. The drain goes on: what came from them is
    /// still answered.
    fn tell_untold(&mut self, now: Duration, plan: &Drain, outbox: &mut Outbox) {
        let is_over = self.awaits_checks && now >= self.checks_until;
        if let Some(checks) = plan.checks.filter(|_| is_over) {
            self.awaits_checks = false;
            outbox.tell(Record::DrainUntold {
                times: checks.times,
                within: checks.timeout,
            });
        }
    }

    /// Tells how many requests are in flight, when that has changed; or when it is to be told. Under load
    /// the number changes with every look, and once a second is enough to follow it.
    fn tell_in_flight(
        &mut self,
        now: Duration,
        end: Duration,
        outbox: &mut Outbox,
    ) -> Option<Duration> {
        let requests = self.most_in_flight();
        if requests == self.told {
            return None;
        }
        let due = self.told_at.map(|at| at.saturating_add(TELLING_PAUSE));
        if due.is_some_and(|due| now < due) {
            return due;
        }
        self.told = requests;
        self.told_at = Some(now);
        let left = end.saturating_sub(now);
        outbox.tell(Record::InFlight { requests, left });
        None
    }

    /// Tells what holds it up, when that has changed, but no more often than once a second.
    fn tell_held_up(&mut self, now: Duration, outbox: &mut Outbox) -> Option<Duration> {
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
        outbox.tell(Record::HeldUp {
            connections,
            oldest,
        });
        None
    }

    /// Tells what it could not wait for; how many are interrupted.
    fn tell_end(&mut self, now: Duration, plan: &Drain, end: DrainEnd, outbox: &mut Outbox) -> u32 {
        let interrupted = match end {
            DrainEnd::Drained => 0,
            _ => self.most_in_flight(),
        };
        if interrupted > 0 {
            self.held_up.told_at = None;
            self.tell_held_up(now, outbox);
        }
        if matches!(end, DrainEnd::TimedOut | DrainEnd::Deadline) {
            self.tell_unmet(plan, outbox);
        }
        interrupted
    }

    fn tell_unmet(&mut self, plan: &Drain, outbox: &mut Outbox) {
        for (asked, until) in std::mem::take(&mut self.asked).into_iter().zip(&plan.until) {
            let why = match asked.answer {
                Answer::Holds => continue,
                Answer::NotYet { why, .. } | Answer::NotKnown(why) => why,
            };
            let until = until.text.clone();
            outbox.tell(Record::DrainUnmet { until, why });
        }
    }
}

impl Machine {
    pub(super) fn enter_drain(&mut self, now: Duration) {
        let plan = Rc::clone(&self.plan);
        let serves = self.child.may_live() && self.serves;
        let Some(plan) = plan.drain.as_ref().filter(|_| serves) else {
            return self.take_step(now, 0);
        };
        let begun = self.stop.begun;
        // New connections do not come to it any more, and nobody has to learn of that.
        let is_replaced = begun.is_some_and(|begun| begun.reason == Reason::Replaced);
        let checks = plan.checks.filter(|_| !self.balancers_told && !is_replaced);
        let checks = checks.map_or(Duration::ZERO, |checks| checks.timeout);
        let delay = if is_replaced {
            Duration::ZERO
        } else {
            plan.delay
        };
        let limit = self.stop.limits.map(|limits| limits.ladder_by);
        let mut draining = Draining::begin(now, plan, (delay, checks), limit);
        self.act(Action::StartDrain);
        self.tell(Record::DrainStarted(draining.wait(now, plan)));
        let conditions = plan.until.len();
        if conditions > 0 {
            let facts = self.facts(now, "drain");
            self.act(Action::AskProgram { facts, conditions });
        }
        if let Some(number) = self.child.says_in_flight {
            draining.count_said(now, plan, number);
        }
        self.enter(now, Phase::Drain(draining), None);
        self.look_at_drain(now);
    }

    /// What the drain that is under way works with.
    fn draining(&mut self) -> Option<(&mut Draining, &Drain, &mut Outbox)> {
        match (&mut self.phase, &self.plan.drain) {
            (Phase::Drain(draining), Some(plan)) => Some((draining, plan, &mut self.outbox)),
            _ => None,
        }
    }

    pub(super) fn answered(&mut self, now: Duration, condition: usize, answer: Answer) {
        if let Some((draining, plan, outbox)) = self.draining()
            && let Some(until) = plan.until.get(condition)
        {
            draining.answered(now, until, (condition, answer), outbox);
            self.look_at_drain(now);
        }
    }

    /// The child may say it long before the drain: its last word counts.
    pub(super) fn says_in_flight(&mut self, now: Duration, number: u32) {
        self.child.says_in_flight = Some(number);
        if let Some((draining, plan, _)) = self.draining() {
            draining.count_said(now, plan, number);
            self.look_at_drain(now);
        }
    }

    /// They need no more time, but the delay is kept.
    pub(super) fn balancers_told(&mut self, now: Duration) {
        self.balancers_told = true;
        if let Phase::Drain(draining) = &mut self.phase {
            draining.awaits_checks = false;
            draining.checks_until = draining.checks_until.min(now);
            self.look_at_drain(now);
        }
    }

    pub(super) fn look_at_drain(&mut self, now: Duration) {
        let Some((draining, plan, outbox)) = self.draining() else {
            return;
        };
        match draining.look(now, plan, outbox) {
            Continue(next) => self.until = Some(next),
            Break(end) => self.end_drain(now, end),
        }
    }

    pub(super) fn end_drain(&mut self, now: Duration, end: DrainEnd) {
        self.act(Action::EndDrain);
        let Some((draining, plan, outbox)) = self.draining() else {
            return;
        };
        let interrupted = draining.tell_end(now, plan, end, outbox);
        let took = now.saturating_sub(self.since);
        self.tell(Record::DrainEnded {
            end,
            interrupted,
            took,
        });
        self.take_step(now, 0);
    }

    pub(super) fn enter_flush(&mut self, now: Duration) {
        if !self.plan.drain.as_ref().is_some_and(counts) {
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
