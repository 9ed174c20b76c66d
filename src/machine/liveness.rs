//! Finds out that a child that was ready hangs, and stops it.

use std::time::Duration;

use super::{Action, Machine, Phase};
use crate::plan::OWN_GRACE;
use crate::plan::Target;
use crate::plan::liveness::{LiveWhen, Liveness};
use crate::record::{Reason, Record};
use crate::words::duration::Shown;
use crate::words::signal::Signal;

/// What is known of a child that has been ready.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Live {
    /// The looks at which it was not alive, in a row.
    failures: u32,
    /// When it must have said the next `WATCHDOG=1`.
    pub(super) speaks_by: Option<Duration>,
}

impl Machine {
    /// From now on it must be alive. It is ready, for the first time or again.
    pub(super) fn watch(&mut self, now: Duration) {
        let plan = std::rc::Rc::clone(&self.plan);
        let (Some(liveness), Phase::Running(readiness)) = (&plan.liveness, &mut self.phase) else {
            return;
        };
        if readiness.live.is_some() {
            return;
        }
        let asked = liveness.watchdog();
        let within = asked.and_then(|asked| self.child.watchdog.unwrap_or(Some(asked)));
        readiness.live = Some(Live {
            failures: 0,
            speaks_by: within.map(|within| now.saturating_add(within)),
        });
        if asked.is_none() {
            let facts = self.facts(now, "live");
            self.act(Action::Watch(facts));
        }
    }

    fn live(&mut self) -> Option<&mut Live> {
        match &mut self.phase {
            Phase::Running(readiness) => readiness.live.as_mut(),
            _ => None,
        }
    }

    /// A look has found it alive.
    pub(super) fn alive(&mut self) {
        let failures = self.live().map(|live| std::mem::take(&mut live.failures));
        if let Some(failures) = failures.filter(|failures| *failures > 0) {
            self.tell(Record::AliveAgain { failures });
        }
    }

    pub(super) fn not_alive(&mut self, now: Duration, why: String) {
        let of = self.plan.liveness.as_ref().map_or(1, |live| live.failures);
        let Some(live) = self.live() else {
            return;
        };
        live.failures = live.failures.saturating_add(1);
        let failures = live.failures;
        self.tell(Record::NotAlive { why, failures, of });
        if failures >= of {
            self.ask_to_stop(now, Reason::Unhealthy, Signal::TERM, None);
        }
    }

    /// How often it must say that it is alive: as it says itself, or as it was told.
    fn watchdog(&self) -> Option<Duration> {
        let asked = self.plan.liveness.as_ref().and_then(Liveness::watchdog)?;
        self.child.watchdog.unwrap_or(Some(asked))
    }

    /// It says that it is alive.
    pub(super) fn keeps_alive(&mut self, now: Duration) {
        let within = self.watchdog();
        if let Some(live) = self.live() {
            live.speaks_by = within.map(|within| now.saturating_add(within));
        }
    }

    /// It counts from the message on.
    pub(super) fn watchdog_is(&mut self, now: Duration, within: Option<Duration>) {
        self.child.watchdog = Some(within);
        self.keeps_alive(now);
    }

    /// It has not said so in time, or it says itself that it hangs (`WATCHDOG=trigger`).
    pub(super) fn missed_watchdog(&mut self, now: Duration, why: Option<&str>) {
        let liveness = self.plan.liveness.as_ref();
        let Some(LiveWhen::Watchdog(asked)) = liveness.map(|live| &live.when) else {
            return;
        };
        let within = self.watchdog().unwrap_or(*asked);
        let late = || format!("the child has not said WATCHDOG=1 for {}", Shown(within));
        let why = why.map_or_else(late, str::to_owned);
        if self.live().is_none() {
            return;
        }
        let (failures, of) = (1, 1);
        self.tell(Record::NotAlive { why, failures, of });
        self.stop.aborts = true;
        self.ask_to_stop(now, Reason::Unhealthy, Signal::TERM, None);
    }

    /// Before the ladder, as systemd does it (systemd.service(5), `WatchdogSec=`): the child gets the time
    /// of the first step, for a core is written while it dies.
    pub(super) fn abort(&mut self, now: Duration) {
        let first = self.plan.ladder.first();
        let wait = first.and_then(|step| step.wait).unwrap_or(OWN_GRACE);
        let until = self.before(Some(now.saturating_add(wait)), |limits| limits.kill_by);
        self.enter(now, Phase::Abort, until);
        self.tell(Record::Aborted {
            wait: until.map(|until| until.saturating_sub(now)),
        });
        self.send_to_stop(Target::Child, Signal::ABRT);
    }
}
