//! Brings the child up: pre-start hooks, the start itself, and until it is ready.

use std::time::Duration;

use super::{Action, Child, Machine, Phase};
use crate::plan::HookPhase;
use crate::record::{NotReady, Reason, Record, StartFailure};
use crate::words::duration::Shown;
use crate::words::signal::Signal;

impl Machine {
    pub(super) fn enter_pre_start(&mut self, now: Duration, hook: usize) {
        if hook < self.plan.pre_start.len() {
            self.run_hook(now, HookPhase::PreStart, hook, None);
        } else {
            self.enter(now, Phase::Starting, None);
            self.none_left = false;
            self.act(Action::Start);
        }
    }

    pub(super) fn started(&mut self, now: Duration, pid: i32) {
        self.child = Child::Alive(pid);
        self.started_at = now;
        self.enter(now, Phase::Running, None);
        let ready = self.plan.readiness.is_none();
        self.tell(Record::Started { pid, ready });
        self.await_ready(now);
        for event in std::mem::take(&mut self.kept) {
            self.handle(now, event);
        }
    }

    fn await_ready(&mut self, now: Duration) {
        let Some(readiness) = &self.plan.readiness else {
            // It is from its start on.
            return self.act(Action::Ready);
        };
        self.ready_by = readiness.timeout.map(|timeout| now.saturating_add(timeout));
        let facts = self.facts(now, "ready");
        self.act(Action::AwaitReady(facts));
    }

    pub(super) fn is_ready(&mut self, now: Duration) {
        let stopping_since = self.stopping_since.take();
        if !std::mem::replace(&mut self.was_ready, true) {
            let after = now.saturating_sub(self.started_at);
            self.tell(Record::Ready { after });
        } else if let Some(since) = stopping_since {
            let after = now.saturating_sub(since);
            self.tell(Record::ReadyAgain { after });
        }
        self.ready_by = None;
        // What they were told of a stop that did not come (`STOPPING=1`) counts no more.
        self.balancers_told = false;
        self.act(Action::Ready);
    }

    pub(super) fn not_yet_ready(&mut self, why: String) {
        if self.not_yet.as_ref() != Some(&why) {
            self.not_yet = Some(why.clone());
            self.tell(Record::NotYetReady { why });
        }
    }

    /// Told before anything of the stop begins: it is what the time of balancers counts from.
    pub(super) fn not_ready(&mut self, now: Duration, why: NotReady) {
        let is_news = match why {
            NotReady::ChildStopping => self.stopping_since.is_none(),
            // In a plain run nobody was told that it is ready.
            _ => self.plan.readiness.is_some() || self.plan.health.is_some(),
        };
        if is_news {
            let drain = self.plan.drain.as_ref();
            let checks = drain.and_then(|drain| drain.checks);
            let checks = checks.map(|checks| checks.times);
            self.tell(Record::NotReady { why, checks });
        }
        self.stopping_since.get_or_insert(now);
        self.act(Action::NotReady);
    }

    /// As systemd takes it (systemd.service(5), `TimeoutStartSec=`): the start has failed, and what was
    /// started is stopped.
    pub(super) fn ready_too_late(&mut self, now: Duration) {
        self.ready_by = None;
        let readiness = self.plan.readiness.as_ref();
        let text = readiness.map_or_else(String::new, |readiness| readiness.text.clone());
        let took = Shown(now.saturating_sub(self.started_at));
        let why = self.not_yet.take().map(|why| format!(": {why}"));
        let why = why.unwrap_or_default();
        let message = format!("not ready after {took}, --ready-when {text} does not hold{why}");
        let failure = StartFailure { code: 125, message };
        self.tell(Record::StartFailed(failure.clone()));
        self.failure = Some(failure);
        self.ask_to_stop(now, Reason::StartFailed, Signal::TERM, None);
    }

    pub(super) fn start_failed(&mut self, now: Duration, failure: StartFailure) {
        self.tell(Record::StartFailed(failure.clone()));
        self.failure = Some(failure);
        self.begin_end(now, Reason::StartFailed);
        self.enter_sweep(now);
    }
}
