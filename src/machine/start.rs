//! Brings the child up: pre-start hooks, the start itself, and until it is ready.

use std::time::Duration;

use super::liveness::Live;
use super::{Action, Event, Life, Machine, Phase, Waiting};
use crate::plan::HookPhase;
use crate::record::{NotReady, Reason, Record, StartFailure};
use crate::words::duration::Shown;
use crate::words::signal::Signal;

/// A child of whose readiness nobody has said anything has so long until it is listened on its drain ports: one of them may
/// never be.
const PATIENCE: Duration = Duration::from_secs(30);

/// How far the child is on its way to be ready.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct UntilReady {
    /// It has been, if only once.
    was: bool,
    /// When it must be at the latest.
    pub(super) by: Option<Duration>,
    /// When it is told that it is not, where nobody has said when it is, nor by when; from then on it must be alive.
    pub(super) told_at: Option<Duration>,
    /// What is waited for, as it is written: what is read again is for the next child.
    condition: String,
    /// Why it was not at the last look.
    not_yet: Option<String>,
    /// Since when it says that it is stopping on its own account.
    stopping_since: Option<Duration>,
    /// There while the child must be alive.
    pub(super) live: Option<Live>,
}

impl UntilReady {
    pub(super) fn was_ready(&self) -> bool {
        self.was
    }

    pub(super) fn speaks_by(&self) -> Option<Duration> {
        self.live.and_then(|live| live.speaks_by)
    }

    /// The next moment at which something must have happened.
    pub(super) fn next(&self) -> Option<Duration> {
        let times = [self.by, self.told_at, self.speaks_by()];
        times.into_iter().flatten().min()
    }
}

impl Machine {
    pub(super) fn enter_pre_start(&mut self, now: Duration, hook: usize) {
        if hook < self.plan.pre_start.len() {
            self.run_hook(now, HookPhase::PreStart, hook, None);
        } else {
            let kept = self.take_kept();
            self.enter(now, Phase::Starting { kept }, None);
            self.none_left = false;
            self.act(Action::Start);
        }
    }

    pub(super) fn started(&mut self, now: Duration, pid: i32) {
        self.child.life = Life::Alive(pid);
        self.child.started_at = now;
        let kept = self.take_kept();
        let mut until_ready = UntilReady::default();
        if let Some(readiness) = &self.plan.readiness {
            let is_unsaid = readiness.of_drain_ports && readiness.timeout.is_none();
            until_ready.by = readiness.timeout.map(|timeout| now.saturating_add(timeout));
            until_ready.told_at = is_unsaid.then(|| now.saturating_add(PATIENCE));
            until_ready.condition = readiness.written();
        }
        self.enter(now, Phase::Running(until_ready), None);
        let ready = self.plan.readiness.is_none();
        self.tell(Record::Started { pid, ready });
        if ready {
            // It is from its start on.
            self.act(Action::Ready);
            self.watch(now);
        } else {
            let facts = self.facts(now, "ready");
            self.act(Action::AwaitReady(facts));
        }
        for event in kept {
            self.handle(now, event);
        }
    }

    pub(super) fn take_kept(&mut self) -> Vec<Event> {
        match &mut self.phase {
            Phase::WaitFor(Waiting { kept, .. })
            | Phase::PreStart { kept, .. }
            | Phase::Starting { kept } => std::mem::take(kept),
            _ => Vec::new(),
        }
    }

    pub(super) fn is_ready(&mut self, now: Duration) {
        let Phase::Running(readiness) = &mut self.phase else {
            return;
        };
        (readiness.by, readiness.told_at) = (None, None);
        let stopping_since = readiness.stopping_since.take();
        if !std::mem::replace(&mut readiness.was, true) {
            let after = now.saturating_sub(self.child.started_at);
            self.tell(Record::Ready { after });
        } else if let Some(since) = stopping_since {
            let after = now.saturating_sub(since);
            self.tell(Record::ReadyAgain { after });
        }
        // A stop that the child announced (`STOPPING=1`) and that did not come no longer counts.
        self.balancers_told = false;
        self.act(Action::Ready);
        self.watch(now);
    }

    pub(super) fn not_yet_ready(&mut self, why: String) {
        if let Phase::Running(readiness) = &mut self.phase
            && readiness.not_yet.as_ref() != Some(&why)
        {
            readiness.not_yet = Some(why.clone());
            self.tell(Record::NotYetReady { why });
        }
    }

    /// Nobody knows of it otherwise, and a child that hangs would never be found.
    pub(super) fn still_not_ready(&mut self, now: Duration) {
        let Phase::Running(readiness) = &mut self.phase else {
            return;
        };
        readiness.told_at = None;
        let condition = readiness.condition.clone();
        let why = readiness.not_yet.clone();
        let after = now.saturating_sub(self.child.started_at);
        self.tell(Record::StillNotReady {
            after,
            condition,
            why,
        });
        self.watch(now);
    }

    /// Reported before anything of the stop begins: the answers to load balancers count from here.
    pub(super) fn tell_not_ready(&mut self, now: Duration, why: NotReady) {
        let Phase::Running(readiness) = &mut self.phase else {
            return;
        };
        let is_first = readiness.stopping_since.is_none();
        readiness.stopping_since.get_or_insert(now);
        let is_news = match why {
            NotReady::ChildStopping => is_first,
            // In a plain run nothing was told that it is ready.
            _ => self.plan.readiness.is_some() || self.plan.health.is_some(),
        };
        if is_news {
            let drain = self.plan.drain.as_ref();
            let checks = drain.and_then(|drain| drain.checks);
            let checks = checks.map(|checks| checks.times);
            self.tell(Record::NotReady { why, checks });
        }
    }

    /// As systemd takes it (systemd.service(5), `TimeoutStartSec=`): the start has failed, and what was
    /// started is stopped.
    pub(super) fn ready_too_late(&mut self, now: Duration) {
        let Phase::Running(readiness) = &mut self.phase else {
            return;
        };
        let condition = std::mem::take(&mut readiness.condition);
        let not_yet = readiness.not_yet.take();
        let took = Shown(now.saturating_sub(self.child.started_at));
        let why = not_yet.map(|why| format!(": {why}"));
        let why = why.unwrap_or_default();
        let message = format!("not ready after {took}, {condition} does not hold{why}");
        let failure = StartFailure { code: 125, message };
        self.tell(Record::StartFailed(failure.clone()));
        self.child.failure = Some(failure);
        self.ask_to_stop(now, Reason::StartFailed, Signal::TERM, None);
    }

    pub(super) fn start_failed(&mut self, now: Duration, failure: StartFailure) {
        self.tell(Record::StartFailed(failure.clone()));
        self.child.failure = Some(failure);
        self.begin_end(now, Reason::StartFailed);
        self.enter_sweep(now);
    }
}
