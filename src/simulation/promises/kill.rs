//! Where KILL may be sent.

use std::time::Duration;

use super::{Judge, Promise};
use crate::plan::{Left, OWN_GRACE, Plan, Step, Target};

/// When KILL is due for the deadline, counted from the request: added up here once more.
fn kill_by(plan: &Plan, deadline: Duration) -> Duration {
    let deadline = plan.deadline.map_or(deadline, |own| own.min(deadline));
    let hooks: Duration = plan.post_stop.iter().map(|hook| hook.timeout).sum();
    let leaving = deadline / 20;
    let leaving = leaving.clamp(Duration::from_millis(20), Duration::from_millis(500));
    deadline.saturating_sub(hooks.min(deadline / 2) + leaving)
}

impl Judge {
    fn is_kill_due(&mut self, generation: Option<u32>) -> bool {
        let (now, plan) = (self.now, self.plan_of(generation));
        let life = self.life_mut(generation);
        let own = life.t0.zip(plan.deadline);
        let mut due = [own, life.bound].into_iter().flatten();
        due.any(|(t0, deadline)| now >= t0 + kill_by(&plan, deadline))
    }

    /// KILL is sent: to a target, as a step has it, or to what is left.
    pub(super) fn sends_kill(&mut self, generation: Option<u32>, target: Option<Target>) {
        let plan = self.plan_of(generation);
        let kills = plan.ladder.iter().any(Step::is_kill);
        let is_forwarded = self.batch.forwards_kill(&plan);
        let now = self.now;
        self.life_mut(generation).killed_from.get_or_insert(now);
        if target.is_none_or(|target| target == Target::Tree) {
            self.killed_at = self.now;
        }
        if let Some(target) = target {
            self.holds(
                Promise::NoKillSparesTheCommand,
                kills || is_forwarded,
                || format!("KILL to {target:?}"),
            );
            self.life_mut(generation).tree_killed |= target == Target::Tree;
            return;
        }
        let due = self.is_kill_due(generation);
        let by_hand = self.batch.by_hand();
        let life = self.life_mut(generation);
        // The child that lives on is meant as well.
        let spares = life.child.is_none() || life.left || kills;
        let leaves = plan.left == Left::Leave;
        let graced = life
            .told_left_at
            .is_some_and(|at| now >= at + plan.sweep_grace);
        let is_first = !std::mem::replace(&mut life.sweep_killed, true);
        let is_last_sweep = life.place_is_after_hooks();
        let waits_only = plan.left == Left::Wait && life.told_left_at.is_none();
        let may = !is_first || due || by_hand || graced || life.tree_killed || life.left;
        let promise = Promise::KillOnlyWhereThePlanSays;
        self.holds(promise, may || is_last_sweep || waits_only, || {
            format!("{now:?} to what is left")
        });
        self.holds(Promise::NoKillSparesTheCommand, spares && !leaves, || {
            "KILL to what is left".to_owned()
        });
    }

    /// A KILL step is taken; `before` is the step that was under way until now.
    pub(super) fn check_kill_step(
        &mut self,
        generation: Option<u32>,
        step: usize,
        before: Option<(usize, Duration, bool)>,
    ) {
        let now = self.now;
        let plan = self.plan_of(generation);
        let due = self.is_kill_due(generation);
        let by_hand = self.batch.by_hand();
        let over = match before {
            // No other step comes before it.
            None => step == 1,
            Some((last, at, by_signal)) => {
                let wait = plan.ladder.get(last - 1).and_then(|step| step.wait);
                let own =
                    (!(plan.as_pid1 && by_signal) && plan.deadline.is_none()).then_some(OWN_GRACE);
                let last_kill = plan.ladder.get(last - 1).is_some_and(Step::is_kill);
                let wait = wait.or(own).filter(|_| !last_kill);
                step == last + 1 && (last_kill || wait.is_some_and(|wait| now >= at + wait))
            }
        };
        self.holds(
            Promise::KillOnlyWhereThePlanSays,
            over || due || by_hand,
            || format!("{now:?} step {step}, after {before:?}"),
        );
    }
}
