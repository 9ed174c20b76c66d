//! What the plan allows, added up here once more and not by the code under test.

use super::super::*;

/// See the module's first sentence.
pub(in crate::machine::tests) struct Allowed {
    pub(in crate::machine::tests) may_kill: bool,
    pub(in crate::machine::tests) kill_after: Duration,
    pub(in crate::machine::tests) deadline: Option<Duration>,
    pub(in crate::machine::tests) post_stop: usize,
    /// How many conditions are waited for before the start.
    pub(in crate::machine::tests) conditions: usize,
    /// With so many failed checks in a row the child is stopped; none with a watchdog.
    pub(in crate::machine::tests) failures: Option<u32>,
    pub(in crate::machine::tests) watchdog: Option<Duration>,
    /// The drain looks at ports; it asks the program; it lasts at least so long.
    pub(in crate::machine::tests) counts: bool,
    pub(in crate::machine::tests) asks: bool,
    pub(in crate::machine::tests) delay: Duration,
    pub(in crate::machine::tests) drain_timeout: Duration,
    /// The step, counted from one, that tells the child that a stop was asked for; and whether by the
    /// signal that asked.
    pub(in crate::machine::tests) told_in: usize,
    pub(in crate::machine::tests) by_same: bool,
    /// How long each step lasts, where somebody has said so.
    pub(in crate::machine::tests) waits: Vec<Option<Duration>>,
    pub(in crate::machine::tests) int_steps: u32,
    pub(in crate::machine::tests) sweep_grace: Duration,
}

impl Allowed {
    pub(in crate::machine::tests) fn by(plan: &Plan) -> Self {
        let hooks: Duration = plan.pre_stop.iter().map(|hook| hook.timeout).sum();
        let drain = plan.drain.as_ref();
        let drain = drain.map(|drain| {
            let checks = drain.checks.map(|checks| checks.timeout);
            drain
                .timeout
                .max(drain.delay)
                .max(checks.unwrap_or_default())
        });
        let waits = plan.ladder.iter().filter(|step| !step.is_kill());
        let forever = Duration::from_secs(1_000_000);
        let unsaid = if plan.deadline.is_some() {
            forever
        } else {
            ms(30_000)
        };
        let ladder: Duration = waits.map(|step| step.wait.unwrap_or(unsaid)).sum();
        let is_same = |step: &Step| step.action == StepAction::Same;
        let same = plan.ladder.iter().position(is_same);
        let live = plan.liveness.as_ref();
        let watchdog = live.and_then(|live| live.watchdog());
        let abort = plan.ladder.first().and_then(|step| step.wait);
        let abort = watchdog.map(|_| abort.unwrap_or(ms(30_000)));
        let total = abort.unwrap_or_default() + hooks + drain.unwrap_or_default() + ladder;
        // The ladder waits for the heir.
        let heir = plan.main_pid.as_ref().map(|_| ms(2_000));
        let total = total + heir.unwrap_or_default();
        Self {
            may_kill: plan.ladder.last().unwrap().is_kill(),
            kill_after: total.min(plan.deadline.unwrap_or(total)),
            deadline: plan.deadline,
            post_stop: plan.post_stop.len(),
            failures: live
                .filter(|_| watchdog.is_none())
                .map(|live| live.failures),
            watchdog,
            conditions: plan.wait.as_ref().map_or(0, |wait| wait.conditions.len()),
            counts: plan
                .drain
                .as_ref()
                .is_some_and(|d| d.ports != DrainPorts::None),
            asks: plan.drain.as_ref().is_some_and(|d| !d.until.is_empty()),
            delay: plan.drain.as_ref().map(|d| d.delay).unwrap_or_default(),
            drain_timeout: plan.drain.as_ref().map(|d| d.timeout).unwrap_or_default(),
            told_in: same.map_or(1, |index| index + 1),
            by_same: same.is_some(),
            waits: plan
                .ladder
                .iter()
                .map(|step| step.wait.filter(|_| !step.is_kill()))
                .collect(),
            int_steps: plan
                .ladder
                .iter()
                .map(|step| u32::from(step.action == StepAction::Signal(Signal::INT)))
                .sum(),
            sweep_grace: plan.sweep_grace,
        }
    }
}
