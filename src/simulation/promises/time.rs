//! Whether a stop keeps its time: the deadline, what the plan gives it, and what `explain` says.

use std::time::Duration;

use super::{Judge, Promise};
use crate::explain::worst_case;
use crate::plan::{Left, OWN_GRACE, Plan, Step};
use crate::record::Reason;

impl Judge {
    /// It is still in time.
    pub(super) fn check_deadline(&mut self, generation: Option<u32>) {
        let (now, lost_at) = (self.now, self.lost_at);
        let plan = self.plan_of(generation);
        let life = self.life_mut(generation);
        let waits = plan.left == Left::Wait && !life.asked || life.over || life.waits_for_other;
        let own = life.t0.zip(plan.deadline);
        for (t0, deadline) in [own, life.bound].into_iter().flatten() {
            if waits {
                continue;
            }
            let by = (t0 + deadline).max(lost_at);
            // Each action takes its moment in a slow world.
            self.holds(Promise::TheDeadlineHolds, now <= by, || {
                format!("{:?} after the request", now - t0)
            });
        }
    }

    /// What must hold of a life whenever the machine waits.
    pub(super) fn check_rest(&mut self, generation: Option<u32>, deadline: Option<Duration>) {
        let has_other = self.beside.is_some();
        let life = self.life_mut(generation);
        let has_ended = life.child.is_none() && (life.exited || life.failure.is_some());
        let is_over = has_ended || life.left;
        let serves = generation.is_none_or(|number| Some(number) != self.beside());
        if serves && has_other && is_over {
            self.serving.waits_for_other = true;
        }
        self.check_deadline(generation);
        let (now, lost) = (self.now, self.lost);
        let plan = self.plan_of(generation);
        let between = self.not_before.is_some() || self.ended.is_some();
        let life = self.life_mut(generation);
        let by_signal = matches!(life.reason, Some(Reason::Signal));
        let unhealthy = matches!(life.reason, Some(Reason::Unhealthy));
        let Some(t0) = life
            .t0
            .filter(|_| life.asked && !between && !life.over && !life.waits_for_other)
        else {
            return;
        };
        let Some(most) = longest(&plan, by_signal) else {
            return;
        };
        let by = t0 + most + life.extended + lost;
        let number = life.number;
        self.holds(Promise::AStopEnds, deadline.is_some(), || {
            format!("life {number} waits for nothing")
        });
        self.holds(Promise::AStopEnds, now <= by, || {
            format!("life {number}: {:?}", now - t0)
        });
        // A signal may come just after a watchdog was missed.
        if by_signal || unhealthy {
            self.check_explained(generation, t0);
        }
    }

    /// A stop that a signal has asked for, or may ask for while it is under way, is as long as `explain` has said, at most.
    fn check_explained(&mut self, generation: Option<u32>, t0: Duration) {
        let (now, lost) = (self.now, self.lost);
        let plan = self.plan_of(generation);
        let life = self.life_mut(generation);
        let worst = || worst_case::worst(&plan).map(|worst| worst.took);
        let Some(worst) = *life.explained.get_or_insert_with(worst) else {
            return;
        };
        // What hangs in the kernel: the child, and after it what it has left.
        let last = plan.ladder.last().and_then(|step| step.wait);
        let hung = life.killed_from.map(|at| now.saturating_sub(at));
        let hung = hung
            .unwrap_or_default()
            .min(HUNG + HUNG.max(last.unwrap_or_default()));
        // Each action takes its moment in a slow world.
        let moments = Duration::from_millis(100);
        let besides = [life.extended, lost, hung, moments];
        let most = worst + besides.into_iter().sum::<Duration>();
        let number = life.number;
        self.holds(Promise::NoLongerThanExplained, now <= t0 + most, || {
            format!(
                "life {number}: {:?}, where explain says {worst:?}",
                now - t0
            )
        });
    }
}

/// What not even KILL ends is waited for so long.
const HUNG: Duration = Duration::from_secs(10);

/// How long a stop may take at most, added up here once more; `None` is without end.
fn longest(plan: &Plan, by_signal: bool) -> Option<Duration> {
    if let Some(deadline) = plan.deadline {
        return Some(deadline);
    }
    let kills = plan.ladder.last().is_some_and(Step::is_kill);
    let by_platform = plan.as_pid1 && by_signal;
    let mut most = Duration::ZERO;
    for step in &plan.ladder {
        most += match step.wait {
            Some(wait) => wait,
            None if step.is_kill() => HUNG,
            None if by_platform => return None,
            None => OWN_GRACE,
        };
    }
    if !kills {
        return None;
    }
    let all = [&plan.pre_start, &plan.pre_stop, &plan.post_stop];
    most += all.into_iter().flatten().map(|hook| hook.timeout).sum();
    if let Some(drain) = &plan.drain {
        let checks = drain
            .checks
            .map(|checks| checks.timeout)
            .unwrap_or_default();
        most += drain.timeout.max(drain.delay).max(checks) + drain.timeout;
    }
    // The watchdog's ABRT, the heir, what is left: asked, killed, and once more after the hooks.
    most += plan
        .ladder
        .first()
        .and_then(|step| step.wait)
        .unwrap_or(OWN_GRACE);
    most += Duration::from_secs(2) + plan.sweep_grace + HUNG * 2;
    Some(most + Duration::from_secs(1))
}
