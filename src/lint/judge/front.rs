//! What the container starts with: shells, scripts, runners, inits.

use std::time::Duration;

use super::Case;
use crate::lint::command::{self, is_init};
use crate::lint::compose::DEFAULT_GRACE;
use crate::lint::dockerfile::is_broken;
use crate::lint::finding::Findings;
use crate::lint::place::Spot;
use crate::lint::programs::{Sh, base_name, has_no_handler};
use crate::lint::rules;
use crate::lint::run::{Platform, Word, Words};
use crate::lint::runners::runner;
use crate::lint::shell::{self, Fate, Text};
use crate::words::signal::Signal;

pub(super) fn judge(case: &Case<'_>, findings: &mut Findings) {
    shell(case, findings);
    script(case, findings);
    program(case, findings);
    inits(case, findings);
    nothing(case, findings);
}

impl Case<'_> {
    /// Nothing is in front of it that would signal others, or wait for them.
    fn is_alone(&self) -> bool {
        self.has_time() && !self.may_have_init() && self.chain.stepdown.is_none()
    }

    /// The same, or there are only inits in front of it that signal their own child alone, and end with it.
    fn is_alone_or_behind_init(&self) -> bool {
        let is_behind = self.may_have_init() && self.run.is_service && !self.tells_all();
        self.is_alone() || self.has_time() && is_behind
    }

    /// What it starts with is PID 1, and gets a signal that is not KILL. Whoever wants KILL at once has been told so, and
    /// loses nothing by it.
    fn has_time(&self) -> bool {
        let grace = self.run.grace.as_ref().map(|grace| grace.time);
        self.run.is_whole && self.run.is_pid1 && grace != Some(Some(Duration::ZERO))
    }

    /// An init other than stepdown is there, or it is not known whether one is.
    fn may_have_init(&self) -> bool {
        let run = self.run;
        run.init.is_some() || run.may_have_init || !self.chain.inits.is_empty()
    }

    /// Whether a first process that ignores TERM does not stop.
    fn ignores_stop(&self) -> bool {
        let said = self.run.stop_signal.as_ref();
        let is_term = said.is_none_or(|said| Signal::parse(said.value.trim()) == Ok(Signal::TERM));
        self.is_alone() && self.run.is_service && is_term
    }

    /// The stop signal, where this program does not act on it as the first process, nor a shell in front of it.
    fn unhandled(&self, words: &[&str]) -> Option<Signal> {
        let said = self.run.stop_signal.as_ref();
        let signal = said.map_or(Ok(Signal::TERM), |said| Signal::parse(said.value.trim()));
        let grace = self.run.grace.as_ref().and_then(|grace| grace.time);
        let grace = grace.unwrap_or(DEFAULT_GRACE);
        let signal = signal.ok().filter(|signal| *signal != Signal::KILL)?;
        let is_first = self.is_alone() && self.run.is_service;
        let is_it = is_first && self.run.platform != Platform::Systemd;
        (is_it && has_no_handler(&command::of_server(words), signal, grace)).then_some(signal)
    }

    /// What is left when a shell ends on the signal gets it as well: stepdown asks it, and these inits signal the group,
    /// or all that is left.
    fn tells_all(&self) -> bool {
        let signals_group = |at: &usize| command::tells_group(self.words.get(*at..));
        // That of tini's -g.
        let mut variables = self.run.environment.variables.iter();
        self.own.is_some()
            || self.chain.stepdown.is_some()
            || self.chain.inits.iter().any(signals_group)
            || variables.any(|variable| variable.name == "TINI_KILL_PROCESS_GROUP")
    }

    fn words_of(&self, at: usize) -> Option<&Words> {
        let mut before = 0;
        self.run.words.iter().find(|words| {
            before += words.words.len();
            at < before
        })
    }
}

fn shell(case: &Case<'_>, findings: &mut Findings) {
    let Some(shell) = &case.chain.shell else {
        return;
    };
    let (Some(name), Some(line)) = (case.words.get(shell.name), case.words.get(shell.line)) else {
        return;
    };
    let Some(words) = case.words_of(shell.line) else {
        return;
    };
    let Some(text) = Text::read(&line.text) else {
        return;
    };
    let known = case.run.known.map_or(Sh::Unknown, |known| known.sh);
    let sh = match base_name(&name.text) {
        "sh" => known,
        "dash" => Sh::Dash,
        "bash" | "ash" | "zsh" => Sh::Replaces,
        _ => Sh::Unknown,
    };
    let fate = text.fate();
    if case.is_alone_or_behind_init()
        && case.run.is_service
        && let Some((what, _)) = waits_for(&fate)
    {
        let message = format!("{}: {what}", words.key);
        findings.add(&rules::SHELL_STAYS, line.at, message);
    }
    if let Fate::Last(program) = &fate
        && let Some(signal) = case.unhandled(&shell_texts(program))
    {
        let message = format!("{}: {}", words.key, no_handler(program, signal));
        findings.add(&rules::NO_HANDLER, line.at, message);
        return;
    }
    match fate {
        Fate::Ignores(_) if case.ignores_stop() => {
            let message = format!("{}: the shell ignores TERM (trap '' TERM)", words.key);
            findings.add(&rules::SIGNAL_NOT_TAKEN, line.at, message);
        }
        Fate::Last(program) if sh != Sh::Replaces => {
            // It loses nothing where it is killed.
            let dies = has_no_handler(&shell_texts(program), Signal::TERM, Duration::ZERO);
            let program = program.first().map_or("", |word| word.text.as_str());
            let program = base_name(program);
            if is_broken(&line.text) || case.tells_all() {
                // The one has a rule of its own, the other one stops all of them.
            } else if words.is_shell_form {
                let message = format!(
                    "{} is in the shell form: sh stands in front of {program}",
                    words.key
                );
                findings.add(&rules::SHELL_FORM, words.at, message);
            } else if sh == Sh::Dash
                && case.is_alone_or_behind_init()
                && case.run.is_service
                && !(dies && case.may_have_init())
            {
                let message = format!(
                    "{}: the sh of this image stays in front of {program}",
                    words.key
                );
                findings.add(&rules::SHELL_FORM, line.at, message);
            }
        }
        _ => {}
    }
}

/// What keeps a shell from replacing itself by the program, and the byte at which that begins.
fn waits_for(fate: &Fate<'_>) -> Option<(String, usize)> {
    let named = |words: &[shell::Word]| {
        let first = words.first()?;
        Some((base_name(&first.text).to_owned(), first.start))
    };
    match fate {
        Fate::Stays(what, start) => Some((format!("the shell waits for {what}"), *start)),
        Fate::InFront(program) => {
            let (name, start) = named(program)?;
            Some((format!("the shell stays in front of {name}"), start))
        }
        Fate::Behind(program) => {
            let (name, start) = named(program)?;
            let what = format!("{name} is in the background, and gets no signal");
            Some((what, start))
        }
        Fate::Execs(_) | Fate::Last(_) | Fate::Ignores(_) | Fate::Unknown => None,
    }
}

fn script(case: &Case<'_>, findings: &mut Findings) {
    let Some(word) = case.chain.script.and_then(|at| case.words.get(at)) else {
        return;
    };
    let Some(script) = case
        .run
        .scripts
        .iter()
        .find(|script| script.path == word.text)
    else {
        return;
    };
    let Some(commands) = &script.commands else {
        return;
    };
    let place = |start: usize| {
        let before = script.text.get(..start).unwrap_or_default();
        let line = before.rsplit('\n').next().unwrap_or_default();
        Spot {
            file: script.at.file,
            line: script.at.line + before.matches('\n').count(),
            column: line.chars().count() + 1,
        }
    };
    let fate = commands.fate();
    if case.is_alone_or_behind_init()
        && let Some((what, start)) = waits_for(&fate)
    {
        let message = format!("{}: {what}", script.path);
        findings.add(&rules::SHELL_STAYS, place(start), message);
    }
    match fate {
        Fate::Last(words) => {
            let Some(first) = words.first() else { return };
            if let Some(signal) = case.unhandled(&shell_texts(words)) {
                let message = format!("{}: {}", script.path, no_handler(words, signal));
                findings.add(&rules::NO_HANDLER, place(first.start), message);
            } else if !case.tells_all() {
                let message = format!("{} ends with {} without exec", script.path, first.text);
                findings.add(&rules::SCRIPT_WITHOUT_EXEC, place(first.start), message);
            }
        }
        Fate::Ignores(start) if case.ignores_stop() => {
            let message = format!("{}: the shell ignores TERM (trap '' TERM)", script.path);
            findings.add(&rules::SIGNAL_NOT_TAKEN, place(start), message);
        }
        _ => {}
    }
}

fn shell_texts(words: &[shell::Word]) -> Vec<&str> {
    words.iter().map(|word| word.text.as_str()).collect()
}

/// The shell becomes this program, or waits for it.
fn no_handler(program: &[shell::Word], signal: Signal) -> String {
    let name = program.first().map_or("", |word| base_name(&word.text));
    format!("neither the shell nor {name}, one of which is PID 1, has a handler for {signal}")
}

fn texts(words: &[Word]) -> Vec<&str> {
    words.iter().map(|word| word.text.as_str()).collect()
}

fn program(case: &Case<'_>, findings: &mut Findings) {
    let Some(first) = case.program.first().filter(|first| first.is_known) else {
        return;
    };
    let words = texts(&case.program);
    if let Some(name) = runner(&words).filter(|_| case.own.is_none() && case.run.is_service) {
        let message = format!("{name} stands in front of the program");
        findings.add(&rules::RUNNER_IN_FRONT, first.at, message);
    }
    if let Some(signal) = case.unhandled(&words).filter(|_| case.is_first) {
        let name = base_name(&first.text);
        let message = format!(
            "{}: {name} is PID 1 and has no handler for {signal}",
            case.run.name
        );
        findings.add(&rules::NO_HANDLER, first.at, message);
    }
}

/// An init, or a script that does nothing but `exec "$@"` at its end, and nothing behind it.
fn nothing(case: &Case<'_>, findings: &mut Findings) {
    let at = case.chain.without_command;
    if let Some(word) = at
        .and_then(|at| case.words.get(at))
        .filter(|_| case.run.is_whole)
    {
        let message = format!(
            "{}: {} has nothing to start",
            case.run.name,
            base_name(&word.text)
        );
        findings.add(&rules::NO_COMMAND, word.at, message);
    }
}

fn inits(case: &Case<'_>, findings: &mut Findings) {
    let run = case.run;
    let mut inits = case.chain.inits.clone();
    inits.extend(case.chain.stepdown);
    inits.sort_unstable();
    let name = |at: &usize| case.words.get(*at).map(|word| base_name(&word.text));
    if let [first, second, ..] = inits.as_slice()
        && let (Some(first), Some(word)) = (name(first), case.words.get(*second))
    {
        let message = format!("{} runs behind {first}", base_name(&word.text));
        findings.add(&rules::TWO_INITS, word.at, message);
    } else if let (Some(at), Some(first)) = (run.init, inits.first().filter(|_| run.is_whole)) {
        let second = name(first).unwrap_or_default();
        findings.add(
            &rules::TWO_INITS,
            at,
            format!("{second} runs behind the init that init: true adds"),
        );
    }
    if let Some(at) = run.init
        && run.known.is_some_and(|known| known.is_s6)
        && run.words.iter().all(|words| words.key != "entrypoint")
    {
        findings.add(
            &rules::INIT_NOT_PID1,
            at,
            "the image starts s6-overlay as PID 1",
        );
    }
    if let Some((theirs, at)) = &run.replaced
        && let Some(init) = theirs.words.first().filter(|word| is_init(word))
        && inits.is_empty()
        && run.init.is_none()
        && !run.may_have_init
    {
        let init = base_name(&init.text);
        let message = format!(
            "{} runs another command in place of the ENTRYPOINT with {init}",
            run.name
        );
        findings.add(&rules::ENTRYPOINT_REPLACED, *at, message);
    }
    kill_mode(case, findings);
}

/// A mode of systemd by which the program goes on running, unless a command stops it.
fn kill_mode(case: &Case<'_>, findings: &mut Findings) {
    let run = case.run;
    let is_mode = |name: &str| {
        let mode = run.kill_mode.as_ref().filter(|mode| mode.value == name);
        let is_stopped = run.is_service && !run.has_stop_command;
        mode.filter(|_| run.platform == Platform::Systemd && is_stopped)
    };
    if let Some(mode) = is_mode("process")
        && let Some(shell) = &case.chain.shell
        && let Some(text) = case
            .words
            .get(shell.line)
            .and_then(|line| Text::read(&line.text))
        && let Some(name) = case.words.get(shell.name).map(|name| base_name(&name.text))
    {
        // Of the shells, dash alone does not replace itself by a single command, and sh may be dash.
        let stays = match text.fate() {
            Fate::Stays(..) | Fate::InFront(_) | Fate::Behind(_) | Fate::Ignores(_) => true,
            Fate::Last(_) => ["sh", "dash"].contains(&name),
            Fate::Execs(_) | Fate::Unknown => false,
        };
        if stays {
            let message = format!(
                "KillMode= is process: systemd signals only {name}, and the program goes on running"
            );
            findings.add(&rules::KILL_MODE, mode.at, message);
        }
    }
    if let Some(mode) = is_mode("none") {
        findings.add(
            &rules::KILL_MODE,
            mode.at,
            "KillMode= is none: systemd signals nobody",
        );
    }
}
