//! Waits until no request is in flight, and at the very end until the answers have left the kernel.

use std::time::Duration;

use super::{Action, Child, DrainState, Machine, Phase, Waits};
use crate::plan::DrainPorts;
use crate::record::{DrainEnd, DrainWait, Record};

/// How long bytes that a dead child left in the kernel are waited for: a client that takes nothing in
/// this time is gone.
const FLUSH_PATIENCE: Duration = Duration::from_secs(2);

/// Between two lines about the progress of the drain.
const TELLING_PAUSE: Duration = Duration::from_secs(1);

impl Machine {
    pub(super) fn enter_drain(&mut self, now: Duration) {
        let alive = matches!(self.child, Child::Alive(_));
        let Some(drain) = self.plan.drain.as_ref().filter(|_| alive) else {
            return self.take_step(now, 0);
        };
        let counts = drain.ports != DrainPorts::None;
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
            // Without ports there is nothing to look at.
            asked_again: !counts,
            told: 0,
            told_at: None,
        };
        self.drain.waits = self.waits(now);
        let wait = self.drain_wait(now);
        self.tell(Record::DrainStarted(wait));
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
            Waits::Requests => DrainWait::Requests,
        }
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
    fn drain_until(&self) -> Duration {
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
        // What came in the last moment of the delay came from a balancer that did not know.
        let is_fresh = self.drain.asked_again || self.drain.looked_at >= told_by;
        if told && self.drain.settled && (is_fresh || now >= end) {
            self.end_drain(now, DrainEnd::Drained);
        } else if now >= end {
            self.end_drain(now, DrainEnd::TimedOut);
        } else {
            if told && self.drain.settled {
                self.drain.asked_again = true;
                self.drain.settled = false;
                self.act(Action::LookAgain);
            } else if self.waits(now) != self.drain.waits {
                self.drain.waits = self.waits(now);
                let wait = self.drain_wait(now);
                self.tell(Record::DrainWaits(wait));
            }
            let waits = [self.drain.delay_until, self.drain.checks_until];
            let next = waits.into_iter().filter(|until| now < *until).min();
            let tell = self.tell_in_flight(now, end);
            self.until = [next, tell, Some(end)].into_iter().flatten().min();
        }
    }

    /// Tells how many requests are in flight, when that has changed; or when it is to be told. Under load
    /// the number changes with every look, and once a second is enough to follow it.
    fn tell_in_flight(&mut self, now: Duration, end: Duration) -> Option<Duration> {
        let requests = self.drain.requests;
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
            self.drain.requests
        };
        let took = now.saturating_sub(self.since);
        self.tell(Record::DrainEnded {
            end,
            interrupted,
            took,
        });
        self.take_step(now, 0);
    }

    pub(super) fn enter_flush(&mut self, now: Duration) {
        let drains = self
            .plan
            .drain
            .as_ref()
            .is_some_and(|drain| drain.ports != DrainPorts::None);
        if !drains {
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
