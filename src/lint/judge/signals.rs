//! The stop signal: whether it is one, and whether stepdown or the server takes it.

use super::Case;
use crate::lint::command;
use crate::lint::finding::Findings;
use crate::lint::own::Own;
use crate::lint::programs::{Effect, Server, base_name, is_uwsgi_variable};
use crate::lint::rules;
use crate::lint::run::Platform;
use crate::lint::shell::{Fate, Text};
use crate::plan::{Plan, Step, StepAction};
use crate::words::signal::Signal;

pub(super) fn judge(case: &Case<'_>, findings: &mut Findings) {
    let run = case.run;
    let said = run.stop_signal.as_ref();
    let signal = match said.map(|said| Signal::parse(said.value.trim())) {
        None => Signal::TERM,
        Some(Ok(signal)) if signal != Signal::KILL && signal != Signal::STOP => signal,
        // It is meant for what ExecStop= leaves.
        Some(Ok(Signal::KILL)) if run.has_stop_command => return,
        Some(other) => {
            if let Some(said) = said.filter(|said| !said.value.contains('$')) {
                let message = match other {
                    Ok(signal) => format!("{signal} reaches no program"),
                    Err(error) => error.to_string(),
                };
                findings.add(&rules::SIGNAL_UNKNOWN, said.at, message);
            }
            return;
        }
    };
    // What the command does is not known.
    if run.has_stop_command {
        return;
    }
    if let Some(own) = &case.own {
        of_stepdown(case, own, signal, findings);
    } else {
        of_server(case, signal, findings);
    }
}

fn of_stepdown(case: &Case<'_>, own: &Own, signal: Signal, findings: &mut Findings) {
    let Some(plan) = &own.plan else { return };
    let run = case.run;
    let at = run.stop_signal.as_ref().map_or(own.at, |said| said.at);
    let Some(same) = plan.rewritten(signal) else {
        let message = format!("--rewrite of stepdown drops {signal}, so nothing is stopped");
        findings.add(&rules::SIGNAL_NOT_TAKEN, at, message);
        return;
    };
    let plans = plan.has_stop_sequence() || plan.says_grace || plan.deadline.is_some();
    if plans && !plan.stop_on.contains(signal) {
        let whose = match (
            run.is_inherited_signal && run.stop_signal.is_some(),
            run.dockerfile,
        ) {
            (true, Some(_)) => "the stop signal of the image that this one is built on is",
            (true, None) => "the stop signal of the image is",
            (false, _) => "the stop signal is",
        };
        let message = format!(
            "{whose} {signal}, and --stop-on of stepdown is {}: stepdown only forwards {signal}, and does not run its \
             stop sequence",
            plan.stop_on
        );
        findings.add(&rules::SIGNAL_NOT_TAKEN, at, message);
        return;
    }
    let Some((server, first)) = server(case) else {
        return;
    };
    let begins = plan.begins_stop(signal);
    let sent = |step: &Step| match step.action {
        StepAction::Signal(signal) => Some(signal),
        StepAction::Same => Some(same),
        StepAction::Stdin(_) | StepAction::Eof | StepAction::Exec(_) => None,
    };
    let step = plan.ladder.first().filter(|_| begins);
    let first_sent = step.map_or(Some(same).filter(|_| !begins), sent);
    if let Some(sent) = first_sent.filter(|_| plan.drain.is_none())
        && server.effect(sent) == Effect::Cuts
    {
        findings.add(&rules::SIGNAL_CUTS, first, cuts(server, sent));
    }
    let steps = plan.ladder.iter().filter(|step| !step.is_kill());
    let all: Option<Vec<Signal>> = match begins {
        true => steps.map(sent).collect(),
        false => Some(vec![same]),
    };
    // A hook before the ladder may be what stops it; and flags of an image may say something else than its variables.
    let is_known = !own.is_by_variables
        && run.is_service
        && plan.pre_stop.is_empty()
        && (knows_signal(case) || begins && !depends_on_signal(plan))
        && is_child(case);
    if let Some(all) = all.filter(|all| is_known && !all.is_empty())
        && all
            .iter()
            .all(|signal| server.effect(*signal) == Effect::Other)
    {
        let names: Vec<String> = all.iter().map(Signal::to_string).collect();
        let (does, it) = match (begins, names.len()) {
            (true, 1) => ("sends", "it"),
            (true, _) => ("sends", "them"),
            (false, _) => ("forwards", "it"),
        };
        let message = format!(
            "stepdown {does} {}, and {} does not stop on {it}",
            names.join(", then "),
            server.name
        );
        findings.add(&rules::SIGNAL_NOT_TAKEN, at, message);
    }
}

/// Whether the ladder depends on the signal that asks for the stop.
fn depends_on_signal(plan: &Plan) -> bool {
    plan.ladder
        .iter()
        .any(|step| step.action == StepAction::Same)
}

/// Whether the program itself is the child, or what a shell replaces itself by.
fn is_child(case: &Case<'_>) -> bool {
    let Some(shell) = &case.chain.shell else {
        return true;
    };
    let line = case.words.get(shell.line);
    let text = line.and_then(|line| Text::read(&line.text));
    text.is_some_and(|text| matches!(text.fate(), Fate::Execs(Some(_))))
}

/// Whether the stop signal is known: an image that is not known may have a STOPSIGNAL.
fn knows_signal(case: &Case<'_>) -> bool {
    let run = case.run;
    match run.platform {
        Platform::Systemd => true,
        _ => run.stop_signal.is_some() || run.known.is_some_and(|known| known.runs_command),
    }
}

fn of_server(case: &Case<'_>, signal: Signal, findings: &mut Findings) {
    let run = case.run;
    let Some(signal) = behind_inits(case, signal) else {
        return;
    };
    let is_judged = run.is_service && knows_signal(case);
    let Some((server, first)) = server(case).filter(|_| is_judged) else {
        return;
    };
    let at = run.stop_signal.as_ref().map_or(first, |said| said.at);
    match server.effect(signal) {
        Effect::Other => {
            let message = format!("{} does not stop on {signal}", server.name);
            findings.add(&rules::SIGNAL_NOT_TAKEN, at, message);
        }
        // The reload of another tool, or its own ExecStop=, may be what is meant.
        Effect::Cuts if run.platform != Platform::Systemd => {
            findings.add(&rules::SIGNAL_CUTS, at, cuts(server, signal));
        }
        _ => {}
    }
}

/// What the inits in front of the server make of the signal: dumb-init has `--rewrite FROM:TO`. `None` where it drops
/// the signal, or the rule is not known.
fn behind_inits(case: &Case<'_>, signal: Signal) -> Option<Signal> {
    let mut inits = case.chain.inits.iter();
    inits.try_fold(signal, |received, at| {
        let mut sent = Some(received);
        let words = case.words.get(*at..).unwrap_or_default();
        let mut texts = words.iter().map(|word| word.text.as_str());
        if texts.next().map(base_name) != Some("dumb-init") {
            return sent;
        }
        while let Some(word) = texts.next().filter(|word| word.starts_with('-')) {
            let rule = match word {
                "--" => break,
                "-r" | "--rewrite" => texts.next(),
                _ => word
                    .strip_prefix("--rewrite=")
                    .or_else(|| word.strip_prefix("-r")),
            };
            if let Some((from, to)) = rule.and_then(|rule| rule.split_once(':'))
                && Signal::parse(from) == Ok(received)
            {
                sent = Signal::parse(to).ok();
            }
        }
        sent
    })
}

fn cuts(server: &Server, signal: Signal) -> String {
    let name = server.name;
    match server.graceful {
        "" => format!("{name} ends at once on {signal}"),
        graceful => {
            format!("{name} ends at once on {signal}; on {graceful} it finishes its requests first")
        }
    }
}

fn server(case: &Case<'_>) -> Option<(&'static Server, crate::lint::place::Spot)> {
    let first = case.program.first()?;
    let words: Vec<&str> = case.program.iter().map(|word| word.text.as_str()).collect();
    let server = Server::of(&command::of_server(&words))?;
    // Its options may be variables, too.
    let mut variables = case.run.environment.variables.iter();
    let is_said = server.name == "uWSGI" && variables.any(|v| is_uwsgi_variable(&v.name));
    (!is_said).then_some((server, first.at))
}
