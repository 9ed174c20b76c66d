//! The grace period of the platform, against the plan of stepdown, preStop and the server's own time.

use std::time::Duration;

use super::Case;
use crate::diagnosis::patience::Patience;
use crate::lint::command;
use crate::lint::finding::Findings;
use crate::lint::own::Own;
use crate::lint::rules;
use crate::lint::run::{Grace, Platform};

/// A time in a message.
pub(super) fn shown(time: Duration) -> String {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    humantime::format_duration(Duration::from_millis(millis)).to_string()
}

pub(super) fn judge(case: &Case<'_>, findings: &mut Findings) {
    let run = case.run;
    if let Some(own) = &case.own {
        deadline(own, findings);
    }
    let Some(grace) = &run.grace else { return };
    let Some(time) = grace.time else { return };
    if time.is_zero() {
        let message = format!("{} is 0: KILL comes at once", grace.key);
        findings.add(&rules::NO_GRACE, grace.at, message);
        return;
    }
    let pre_stop = run.pre_stop.as_ref();
    if let Some(pre_stop) = pre_stop.filter(|pre_stop| pre_stop.value >= time) {
        let message = format!(
            "preStop takes {}, and {} is {}{}",
            shown(pre_stop.value),
            grace.key,
            shown(time),
            by_default(grace)
        );
        findings.add(&rules::PRE_STOP_EATS_GRACE, pre_stop.at, message);
        return;
    }
    let left = time - pre_stop.map_or(Duration::ZERO, |pre_stop| pre_stop.value);
    match &case.own {
        Some(own) => of_plan(case, own, grace, time, left, findings),
        None => of_server(case, grace, left, findings),
    }
}

fn by_default(grace: &Grace) -> &'static str {
    if grace.is_default { ", by default" } else { "" }
}

fn of_plan(
    case: &Case<'_>,
    own: &Own,
    grace: &Grace,
    time: Duration,
    left: Duration,
    findings: &mut Findings,
) {
    let Some(plan) = &own.plan else { return };
    let run = case.run;
    // Where a flag of the image may say something else, only what its variables do say counts.
    if own.is_by_variables && !plan.says_grace && plan.deadline.is_none() {
        return;
    }
    if plan.waits_for_platform() && run.platform != Platform::Systemd {
        let has_files = plan.keeps_files || !plan.post_stop.is_empty();
        if has_files && !own.is_by_variables {
            let message = "there are post-stop hooks or files, and neither --grace nor --deadline";
            findings.add(&rules::LOST_AFTER_KILL, own.at, message);
        }
    }
    let Some(worst) = own.worst else { return };
    // The grace period of a Pod stands outside its containers.
    let whose = match run.platform {
        Platform::Kubernetes => format!(" in {}", run.name),
        _ => String::new(),
    };
    let plans = format!("the plan of stepdown{whose} takes up to {}", shown(worst));
    if worst > time {
        let message = format!(
            "{} is {}{}, and {plans}",
            grace.key,
            shown(time),
            by_default(grace)
        );
        findings.add(&rules::GRACE_TOO_SHORT, grace.at, message);
    } else if worst > left
        && let Some(pre_stop) = &run.pre_stop
    {
        let message = format!(
            "preStop takes {} of {}, and {plans}",
            shown(pre_stop.value),
            shown(time)
        );
        findings.add(&rules::PRE_STOP_EATS_GRACE, pre_stop.at, message);
    }
    for (probe, grace) in run
        .probe_graces
        .iter()
        .filter(|(_, grace)| grace.value < worst)
    {
        let message = format!("the {probe} gives {}, and {plans}", shown(grace.value));
        findings.add(&rules::PROBE_GRACE_TOO_SHORT, grace.at, message);
    }
}

fn of_server(case: &Case<'_>, grace: &Grace, left: Duration, findings: &mut Findings) {
    let words: Vec<&str> = case.program.iter().map(|word| word.text.as_str()).collect();
    let server = command::of_server(&words);
    let Some(patience) = Patience::of(&server) else {
        return;
    };
    let skipped = words.len() - server.len();
    let word = case.program.get(skipped + patience.at);
    if patience.time > left
        && let Some(word) = word
    {
        let (name, option) = (patience.server, patience.option);
        let patience = shown(patience.time);
        let by_default = by_default(grace);
        let (key, left) = (grace.key, shown(left));
        let message = match &case.run.pre_stop {
            Some(_) => format!(
                "{option} of {name} is {patience}, and preStop leaves {left} of {key}{by_default}"
            ),
            None => format!("{option} of {name} is {patience}, and {key} is {left}{by_default}"),
        };
        findings.add(&rules::SERVER_OUTLASTS_GRACE, word.at, message);
    }
}

fn deadline(own: &Own, findings: &mut Findings) {
    let Some(deadline) = own.plan.as_ref().and_then(|plan| plan.deadline) else {
        return;
    };
    if let Some(asked_for) = own.asked_for().filter(|asked_for| *asked_for > deadline) {
        let message = format!(
            "--deadline is {}, and the phases that were asked for take up to {}",
            shown(deadline),
            shown(asked_for)
        );
        findings.add(&rules::DEADLINE_CUTS, own.at, message);
    }
}
