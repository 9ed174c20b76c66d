//! Waits until no request is in flight, and at the very end until the answers have left the kernel.

use std::time::Duration;

use super::{Action, Child, DrainState, Machine, Phase};
use crate::plan::DrainPorts;
use crate::record::{DrainEnd, Record};

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
        let delay_until = now.saturating_add(drain.delay);
        self.act(Action::StartDrain);
        self.tell(Record::DrainStarted);
        self.enter(now, Phase::Drain, None);
        self.drain = DrainState {
            delay_until: if self.balancers_told {
                now
            } else {
                delay_until
            },
            extended_until: now,
            requests: 0,
            settled: !counts,
            looked_at: now,
            // Without ports there is nothing to look at.
            asked_again: !counts,
            told: 0,
            told_at: None,
        };
        self.look_at_drain(now);
    }

    pub(super) fn in_flight(&mut self, now: Duration, requests: u32, settled: bool) {
        self.drain.requests = requests;
        self.drain.settled = settled;
        self.drain.looked_at = now;
        self.look_at_drain(now);
    }

    /// They need no more of the delay.
    pub(super) fn balancers_told(&mut self, now: Duration) {
        self.balancers_told = true;
        if self.phase == Phase::Drain {
            self.drain.delay_until = self.drain.delay_until.min(now);
            self.look_at_drain(now);
        }
    }

    /// When the drain ends at the latest: its timeout, but never before its delay, nor before the child
    /// wants it to.
    fn drain_until(&self) -> Duration {
        let timeout = self
            .plan
            .drain
            .as_ref()
            .map_or(Duration::ZERO, |drain| drain.timeout);
        let until = self.since.saturating_add(timeout);
        let until = until
            .max(self.drain.delay_until)
            .max(self.drain.extended_until);
        self.before(Some(until), |limits| limits.ladder_by)
            .unwrap_or(until)
    }

    pub(super) fn look_at_drain(&mut self, now: Duration) {
        let end = self.drain_until();
        let delayed = now >= self.drain.delay_until;
        // What came in the last moment of the delay came from a balancer that did not know.
        let is_fresh = self.drain.asked_again || self.drain.looked_at >= self.drain.delay_until;
        if delayed && self.drain.settled && (is_fresh || now >= end) {
            self.end_drain(now, DrainEnd::Drained);
        } else if now >= end {
            self.end_drain(now, DrainEnd::TimedOut);
        } else {
            if delayed && self.drain.settled {
                self.drain.asked_again = true;
                self.drain.settled = false;
                self.act(Action::LookAgain);
            }
            let tell = self.tell_in_flight(now, end);
            let delay = Some(self.drain.delay_until).filter(|_| !delayed);
            self.until = [delay, tell, Some(end)].into_iter().flatten().min();
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
