//! Judges one run by all rules: what it starts with, its signals, its grace period, its balancer.

mod front;
mod grace;
mod signals;

use std::cell::RefCell;
use std::path::PathBuf;

use super::command::Chain;
use super::copies::Found;
use super::finding::Findings;
use super::own::{Line, Own, ReadLine, Reading};
use super::place::Spot;
use super::rules;
use super::run::{Platform, Run, Word};
use super::shell::Fate;
use super::source::{Kind, Sources};

/// A run with all that its command is known to be.
pub(super) struct Case<'a> {
    pub(super) run: &'a Run,
    pub(super) words: Vec<Word>,
    pub(super) chain: Chain,
    pub(super) own: Option<Own>,
    /// The program at the end, behind shells and scripts that replace themselves, too.
    pub(super) program: Vec<Word>,
    /// Nothing stands between the first process and the program.
    pub(super) is_first: bool,
}

/// Judges a run.
pub(crate) fn judge(
    run: &Run,
    read_line: ReadLine,
    sources: &RefCell<Sources>,
    findings: &mut Findings,
) {
    let words = run.command();
    let command_of = |words: &[Word]| {
        let texts = words.iter().map(|word| (&word.text).into());
        match read_line(texts.collect()) {
            Line::Run(_, length) => Some(length),
            Line::Other | Line::Wrong(_) => None,
        }
    };
    let chain = Chain::of(run, &words, command_of);
    let own = own(run, &words, &chain, read_line, sources);
    let (program, is_first) = program(run, &words, &chain);
    let case = Case {
        run,
        words,
        chain,
        own,
        program,
        is_first,
    };
    front::judge(&case, findings);
    signals::judge(&case, findings);
    grace::judge(&case, findings);
    if let Some(own) = &case.own {
        judge_own(&case, own, findings);
    }
}

fn own(
    run: &Run,
    words: &[Word],
    chain: &Chain,
    read_line: ReadLine,
    sources: &RefCell<Sources>,
) -> Option<Own> {
    let find_config = |path: &str| config(run, path, sources);
    let reading = Reading {
        read_line,
        environment: &run.environment,
        find_config: &find_config,
        is_pid1: run.is_pid1 && run.init.is_none() && chain.inits.is_empty(),
    };
    match chain.stepdown {
        Some(at) => Own::of(words.get(at..)?, &reading),
        None if !run.is_whole && chain.inits.is_empty() => Own::by_variables(&reading),
        None => None,
    }
}

/// The file that `--config` names: copied into the image, or one of those that were named.
fn config(run: &Run, path: &str, sources: &RefCell<Sources>) -> Option<(PathBuf, usize)> {
    let mut sources = sources.borrow_mut();
    let copied = run
        .copies
        .as_ref()
        .and_then(|copies| copies.find(path, "/"));
    if let Some(Found::File(file)) = copied {
        let index = sources.beside(&file)?;
        return Some((file, index));
    }
    let name = path.rsplit('/').next()?;
    let mut known = sources.all.iter().enumerate();
    let (index, source) = known.find(|(_, source)| {
        let is_config = matches!(source.kind, Kind::Config);
        is_config && source.path.file_name().is_some_and(|file| file == name)
    })?;
    Some((source.path.clone(), index))
}

fn program(run: &Run, words: &[Word], chain: &Chain) -> (Vec<Word>, bool) {
    let starts = run.is_whole && chain.inits.is_empty() && chain.stepdown.is_none();
    let of_shell = |found: &[super::shell::Word], at: Spot| -> Vec<Word> {
        let words = found.iter().map(|word| Word {
            text: word.text.clone(),
            is_known: !word.text.contains(['$', '`']),
            at,
        });
        words.collect()
    };
    if let Some(at) = chain.program {
        return (
            words.get(at..).unwrap_or_default().to_vec(),
            starts && is_plain(words, at, run),
        );
    }
    if let Some(shell) = &chain.shell {
        let Some(line) = words.get(shell.line) else {
            return (Vec::new(), false);
        };
        let text = super::shell::Text::read(&line.text);
        return match text.as_ref().map(super::shell::Text::fate) {
            Some(Fate::Execs(Some(found))) => (of_shell(found, line.at), starts),
            Some(Fate::Last(found)) => (of_shell(found, line.at), false),
            _ => (Vec::new(), false),
        };
    }
    (Vec::new(), false)
}

/// What stands before the program replaces itself by it.
fn is_plain(words: &[Word], at: usize, run: &Run) -> bool {
    at == 0 || run.is_whole && words.iter().take(at).all(|word| word.is_known)
}

/// What stepdown itself would say.
fn judge_own(case: &Case<'_>, own: &Own, findings: &mut Findings) {
    if let Some((at, message)) = &own.fault {
        findings.add(&rules::STEPDOWN_OPTIONS, *at, message.clone());
    }
    if !own.is_by_variables {
        for (at, message) in &own.idle {
            findings.add(&rules::WITHOUT_EFFECT, *at, message.clone());
        }
    }
    let Some(plan) = &own.plan else { return };
    let run = case.run;
    let restarts = plan.supervision.as_ref();
    let restarts = restarts.is_some_and(|restarts| !restarts.restart_on.is_empty());
    // A Pod that is deleted is taken out of its Services before preStop, which is the delay then. Nothing runs preStop
    // where the command alone starts again.
    let has_waited = run.may_wait && !restarts;
    if let Some(drain) = &plan.drain
        && !has_waited
        && drain.delay.is_zero()
        && drain.checks.is_none()
        && let Some(balancer) = &run.balancer
    {
        let message = format!("{}: {balancer} is in front of it", run.name);
        findings.add(&rules::DRAIN_WITHOUT_DELAY, own.at, message);
    }
    if let (Some(drain), Some((key, time))) = (&plan.drain, &run.finds_out)
        && drain.checks.is_none()
        && drain.delay < time.value
        && !drain.delay.is_zero()
    {
        // A Pod that is deleted is taken out of its Services whatever its probes say; one whose command starts
        // again is not.
        let counts = match run.platform {
            Platform::Kubernetes => restarts,
            _ => run.balancer.is_some(),
        };
        if counts {
            let message = format!(
                "{key} needs {} to find out, and --drain-delay is {}",
                grace::shown(time.value),
                grace::shown(drain.delay)
            );
            findings.add(&rules::READINESS_TOO_SLOW, time.at, message);
        }
    }
    if let (Some(_), Some(restart)) = (restart_of(plan), &run.restart) {
        let message = format!(
            "the restart policy of the platform is {:?}, and stepdown has --restart",
            restart.value
        );
        findings.add(&rules::RESTART_TWICE, restart.at, message);
    }
    if run.platform == Platform::Systemd {
        let mode = run.kill_mode.as_ref();
        let is_bad = mode.is_none_or(|mode| mode.value == "control-group");
        if is_bad {
            let at = mode.map_or(run.at, |mode| mode.at);
            let said = if mode.is_some() {
                "is"
            } else {
                "is not set, so it is"
            };
            let message = format!(
                "KillMode= {said} control-group: systemd signals stepdown and its program at the same time"
            );
            findings.add(&rules::KILL_MODE, at, message);
        }
    }
}

/// Whether it starts the command again by itself.
fn restart_of(plan: &crate::plan::Plan) -> Option<()> {
    use crate::plan::supervision::Restart;
    let policy = plan.supervision.as_ref()?.restart;
    (policy != Restart::No).then_some(())
}
