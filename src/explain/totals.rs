//! What follows the timeline: the phases within the deadline, the worst case, and the grace period that the
//! platform needs.

use std::fmt::Write as _;
use std::rc::Rc;
use std::time::Duration;

use super::worst_case::{Worst, needed_seconds, worst};
use crate::machine::{KILL_PATIENCE, TELLING_AFTER};
use crate::plan::budget::Budget;
use crate::plan::{OWN_GRACE, Plan, Stdin, Step};
use crate::words::duration::Shown;

pub(super) fn budget(text: &mut String, plan: &Plan) {
    let (Some(budget), Some(deadline)) = (plan.budget(), plan.deadline) else {
        return;
    };
    let Budget {
        ladder_by,
        kill_by,
        give_up_by,
        gone_by,
        look_by: _,
    } = budget;
    let _ = writeln!(
        text,
        "\nThe deadline of {} sets the latest time of each phase:\n",
        Shown(deadline)
    );
    let mut line = |at: Duration, what: &str| {
        let _ = writeln!(text, "{:>12}  {what}", Shown(at).to_string());
    };
    match (plan.pre_stop.is_empty(), plan.drain.is_some()) {
        (true, false) => {}
        (true, true) => line(ladder_by, "the drain ends, the ladder begins"),
        (false, false) => line(ladder_by, "the pre-stop hooks end, the ladder begins"),
        (false, true) => line(ladder_by, "pre-stop hooks and drain end, the ladder begins"),
    }
    if plan.ladder.last().is_some_and(Step::is_kill) {
        line(kill_by, "KILL is sent");
        line(
            give_up_by,
            "what not even KILL has ended is no longer waited for",
        );
    } else {
        line(kill_by, "the child is no longer waited for (--no-kill)");
    }
    if !plan.post_stop.is_empty() {
        line(gone_by, "the post-stop hooks end");
    }
    line(deadline, "stepdown exits");
}

pub(super) fn totals(text: &mut String, plan: &Rc<Plan>) {
    let Some(Worst { took, when }) = worst(plan) else {
        return without_end(text, plan);
    };
    let _ = writeln!(
        text,
        "\nWorst case: {} from the request to stop, if\n{when}.",
        Shown(took)
    );
    if plan.replaces() {
        text.push_str(
            "A stop during a replacement ends both at the same time, and takes no longer.\n",
        );
    }
    let may_hang = plan.deadline.is_none() && plan.ladder.last().is_some_and(Step::is_kill);
    if may_hang {
        let _ = writeln!(
            text,
            "A process that not even KILL ends, because it hangs in the kernel, is waited for {} longer.",
            Shown(KILL_PATIENCE)
        );
    }
    let seconds = needed_seconds(plan, took);
    let _ = writeln!(
        text,
        "Give the container at least {seconds} s: docker stop -t {seconds}, \
         stop_grace_period: {seconds}s,\nterminationGracePeriodSeconds: {seconds}, \
         TimeoutStopSec={seconds}."
    );
    if plan.deadline.is_none() && plan.first_without_wait().is_some() {
        let _ = writeln!(
            text,
            "Without --grace a step waits {} here, and as PID 1 until the platform sends KILL (--as pid1).\n\
             After {} the log says which processes are still there, and why.",
            Shown(OWN_GRACE),
            Shown(TELLING_AFTER)
        );
    }
    relay(text, plan);
}

/// What to know if nothing of ours ends the wait.
fn without_end(text: &mut String, plan: &Plan) {
    text.push('\n');
    if !plan.waits_for_platform() {
        let may_begin = plan.can_be_asked_to_stop() || plan.max_runtime.is_some();
        text.push_str(if may_begin {
            "Worst case: without end. The ladder has no KILL, and there is no --deadline.\n"
        } else {
            "Worst case: without end. No signal begins the stop (--stop-on, --rewrite).\n"
        });
        return relay(text, plan);
    }
    text.push_str(
        "Worst case: the grace period of the platform, which then sends KILL (docker stop -t, stop_grace_period,\n\
         terminationGracePeriodSeconds, TimeoutStopSec). As PID 1 stepdown sends KILL only after a --grace or\n\
         --deadline.\n",
    );
    let _ = writeln!(
        text,
        "After {} the log says which processes are still there, and why.",
        Shown(TELLING_AFTER)
    );
    let first = plan.first_without_wait().unwrap_or_default();
    let is_missed = |step: &Step| !step.is_kill();
    if let Some(step) = plan.ladder.get(first)
        && plan.ladder.iter().skip(first + 1).any(is_missed)
    {
        let _ = writeln!(
            text,
            "Step {} has no wait, so the steps after it are not taken: give it one, as {}:10s.",
            first + 1,
            step.text
        );
    }
    let mut lost = Vec::new();
    if !plan.post_stop.is_empty() {
        lost.push("the post-stop hooks do not run");
    }
    if plan.keeps_files {
        lost.push("report, state and metrics files do not tell of this stop");
    }
    if !lost.is_empty() {
        let _ = writeln!(
            text,
            "When that KILL comes, {}.\nA --grace or --deadline that is shorter than the grace period prevents that.",
            lost.join(",\nand ")
        );
    }
    let _ = writeln!(
        text,
        "As an ordinary process stepdown waits {} in a step without a wait, then sends KILL (--as process).",
        Shown(OWN_GRACE)
    );
    relay(text, plan);
}

fn relay(text: &mut String, plan: &Plan) {
    if plan.stdin == Stdin::Relay {
        text.push_str("Standard input is relayed to the child.\n");
    }
}

/// What comes before the timeline, and no stop makes longer.
pub(super) fn wait(text: &mut String, plan: &Plan) {
    let Some(wait) = &plan.wait else {
        return;
    };
    let texts: Vec<&str> = wait.conditions.iter().map(|c| &c.text[..]).collect();
    let _ = writeln!(
        text,
        "\nBefore the start stepdown waits up to {} for {}.\n\
         If one does not hold by then, it exits with 125; a request to stop ends the wait at once.",
        Shown(wait.timeout),
        texts.join(", then ")
    );
}

/// How long a child that hangs may be taken for alive.
pub(super) fn liveness(text: &mut String, plan: &Plan) {
    let Some(liveness) = &plan.liveness else {
        return;
    };
    // The next one begins when its time has come and the one before has ended.
    let between = liveness.every.max(liveness.timeout);
    let others = between.saturating_mul(liveness.failures.saturating_sub(1));
    let looks = liveness.every.saturating_add(others);
    let noticed = liveness
        .watchdog()
        .unwrap_or(looks.saturating_add(liveness.timeout));
    let _ = writeln!(
        text,
        "\nA child that hangs is noticed after at most {} ({}), and stopped by this plan, with exit status 125{}.",
        Shown(noticed),
        liveness.text,
        if liveness.watchdog().is_some() {
            ", ABRT first"
        } else {
            ""
        }
    );
}
