//! Judges one run: what was promised, what happened, and whether the promise was kept. No clock, no
//! syscall.

pub(crate) mod cause;
mod in_flight;
mod promise;
pub(crate) mod replacement;
pub(crate) mod statistics;
pub(crate) mod window;

use std::fmt::Write as _;

use serde::Serialize;

use super::history::{History, Part};
use crate::check::fact::{Fact, LeftProcess, What};
use crate::check::judge::cause::Cause;
use crate::words::duration::Shown;
use crate::words::signal::Signal;
pub(crate) use promise::{Expected, InFlight, Promise};

/// Whether a promise was kept: `held` in the JSON document. The worst of all is the verdict, so their order
/// is from the best to the worst.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Held {
    /// `yes`: what was promised has happened.
    Yes,
    /// `not-judged`: it cannot be judged after what happened before (KILL was needed), or breaking it was
    /// allowed.
    NotJudged,
    /// `unknown`: it could not be found out; exit status 125.
    Unknown,
    /// `no`: it was broken; exit status 1.
    No,
}

/// One promise and whether it was kept.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Finding {
    /// Its option, without hyphens; a stable name for machines.
    pub(crate) promise: &'static str,
    pub(crate) held: Held,
    pub(crate) promised: String,
    pub(crate) happened: String,
    pub(crate) reason: Option<Cause>,
}

/// How the stop itself ended, `fate` in the JSON document; the windows of `--offsets` are made of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Fate {
    /// `fine`: it came down in time, and no promise was broken.
    Fine,
    /// `lost`: the signal had no effect, KILL was needed; also where that is allowed.
    Lost,
    /// `slow`: it came down, and too late.
    Slow,
    /// `broken`: it came down in time, and another promise was broken; or it never got that far.
    Broken,
    /// `impossible`: nothing can be said about the run.
    Impossible,
}

/// The judgement of one run.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Verdict {
    pub(crate) findings: Vec<Finding>,
    pub(crate) fate: Fate,
    /// The run in a few words.
    pub(crate) summary: String,
}

impl Verdict {
    pub(crate) fn held(&self) -> Held {
        let worst = self.findings.iter().map(|finding| finding.held).max();
        match worst {
            Some(Held::NotJudged) | None => Held::Yes,
            Some(held) => held,
        }
    }

    pub(crate) fn broken(&self) -> impl Iterator<Item = &Finding> {
        self.findings
            .iter()
            .filter(|finding| matches!(finding.held, Held::No | Held::Unknown))
    }
}

/// See the module's first sentence.
pub(crate) fn judge(history: &History, promise: &Promise) -> Verdict {
    if let Some(why) = impossible(history) {
        let finding = Finding {
            promise: "check",
            held: Held::Unknown,
            promised: "the command can be checked".to_owned(),
            happened: why.clone(),
            reason: None,
        };
        return Verdict {
            findings: vec![finding],
            fate: Fate::Impossible,
            summary: why,
        };
    }
    let mut judge = Judge {
        history,
        promise,
        findings: Vec::new(),
    };
    judge.ready();
    judge.stays_up();
    if judge
        .findings
        .iter()
        .any(|finding| finding.held == Held::No)
    {
        let summary = judge.findings.last().map(|last| last.happened.clone());
        return Verdict {
            findings: judge.findings,
            fate: Fate::Broken,
            summary: summary.unwrap_or_default(),
        };
    }
    judge.replacement();
    judge.no_kill();
    judge.within();
    judge.exit();
    judge.nothing_left();
    judge.containers();
    judge.ports();
    judge.in_flight();
    let broken = |name: &str| {
        let no = |finding: &&Finding| finding.held == Held::No;
        judge.findings.iter().filter(no).any(|f| f.promise == name)
    };
    let fate = match () {
        () if history.killed().is_some() => Fate::Lost,
        () if broken("within") => Fate::Slow,
        () if judge.findings.iter().any(|f| f.held == Held::No) => Fate::Broken,
        () => Fate::Fine,
    };
    Verdict {
        summary: summary(history),
        findings: judge.findings,
        fate,
    }
}

fn impossible(history: &History) -> Option<String> {
    if history.interrupted {
        let rest = history.impossible.iter().map(|why| format!("; {why}"));
        let rest: String = rest.collect();
        return Some(format!("interrupted before it was over{rest}"));
    }
    if let Some(why) = &history.impossible {
        return Some(why.clone());
    }
    let not_started = |fact: &&Fact| matches!(fact.what, What::StartFailed { .. });
    if history.started().is_none() {
        let failed = history.facts.iter().find(not_started);
        return Some(failed.map_or_else(
            || "the run ended before the command was started".to_owned(),
            |fact| fact.text.clone(),
        ));
    }
    if history.ended().is_none() {
        return Some("the run was cut off before its end".to_owned());
    }
    if let Some(asked) = foreign_stop(history) {
        return Some(format!(
            "the stop began before check asked for it ({asked})"
        ));
    }
    // Nobody has asked for a stop then, however the command has ended.
    let has_no_command = |fact: &&Fact| matches!(fact.what, What::StopCommand { ran: false, .. });
    let mut facts = history.facts.iter();
    facts.find(has_no_command).map(|fact| fact.text.clone())
}

/// A stop that check has not asked for, as it was told: nothing was looked at before it, and no request was open. One that
/// is never ready is stopped by us.
fn foreign_stop(history: &History) -> Option<&str> {
    let never_ready = |fact: &Fact| matches!(fact.what, What::StartFailed { .. });
    let is_ours = history.sent.is_some()
        || history.never_ready.is_some()
        || history.facts.iter().any(never_ready);
    history.asked().filter(|_| !is_ours)?;
    let is_asked = |fact: &&Fact| fact.what == What::StopAsked;
    let asked = history.facts.iter().find(is_asked)?;
    Some(asked.text.as_str())
}

fn summary(history: &History) -> String {
    let took = history.exit_took().unwrap_or_default();
    let replaced = replacement::summary(history);
    let mut text = match history.exited() {
        Some((_, status)) if history.killed().is_some() => {
            format!("KILL after {} ({})", Shown(took), status_text(status))
        }
        Some((_, status)) => format!("stopped in {}, {}", Shown(took), status_text(status)),
        None => "not stopped, not even by KILL".to_owned(),
    };
    text.insert_str(0, &replaced.unwrap_or_default());
    let left = history.left();
    if !left.is_empty() {
        let _ = write!(text, ", {} left behind: {}", left.len(), names(&left));
    }
    text
}

fn status_text((code, signal): (u8, Option<i32>)) -> String {
    match signal.and_then(Signal::from_number) {
        Some(signal) => format!("died of {signal}"),
        None => format!("exit status {code}"),
    }
}

fn names(left: &[LeftProcess]) -> String {
    const SHOWN: usize = 5;
    let mut names: Vec<String> = left
        .iter()
        .take(SHOWN)
        .map(|left| match left.pid {
            0 => left.command.clone(),
            pid => format!("{pid} {}", left.command.escape_debug()),
        })
        .collect();
    if left.len() > SHOWN {
        names.push(format!("{} more", left.len() - SHOWN));
    }
    names.join(", ")
}

struct Judge<'a> {
    history: &'a History,
    promise: &'a Promise,
    findings: Vec<Finding>,
}

impl Judge<'_> {
    fn find(&mut self, promise: &'static str, held: bool, promised: String, happened: String) {
        let held = if held { Held::Yes } else { Held::No };
        self.findings.push(Finding {
            promise,
            held,
            promised,
            happened,
            reason: None,
        });
    }

    fn because(&mut self, reason: Option<Cause>) {
        if let Some(last) = self.findings.last_mut().filter(|f| f.held == Held::No) {
            last.reason = reason;
        }
    }

    fn not_judged(&mut self, promise: &'static str, promised: String, happened: &str) {
        self.findings.push(Finding {
            promise,
            held: Held::NotJudged,
            promised,
            happened: happened.to_owned(),
            reason: None,
        });
    }

    fn ready(&mut self) {
        let failed = self.history.facts.iter().find_map(|fact| match fact.what {
            What::StartFailed { .. } => Some(fact.text.clone()),
            _ => None,
        });
        let promised = "becomes ready".to_owned();
        if let Some((waited, what)) = &self.history.never_ready {
            let happened = format!("not ready after {}: {what}", Shown(*waited));
            self.find("ready", false, promised, happened);
        } else if let Some(text) = failed {
            self.find("ready", false, promised, text);
        } else if let Some((ready, ())) = self
            .history
            .find(|what| (*what == What::Ready).then_some(()))
        {
            let started = self.history.started().map(|(at, _)| at).unwrap_or_default();
            let took = ready.saturating_sub(started);
            self.find(
                "ready",
                true,
                promised,
                format!("ready after {}", Shown(took)),
            );
        }
        self.because(cause::never_ready(self.history));
    }

    fn stays_up(&mut self) {
        if self.findings.iter().any(|finding| finding.held == Held::No) {
            return;
        }
        let promised = "runs until it is told to stop".to_owned();
        let Some((exited, status)) = self.history.exited() else {
            return self.find("runs", true, promised, "it ran".to_owned());
        };
        if self.history.asked().is_some() {
            return self.find("runs", true, promised, "it ran".to_owned());
        }
        let started = self.history.started().map(|(at, _)| at).unwrap_or_default();
        let lived = Shown(exited.saturating_sub(started));
        let happened = format!(
            "ended by itself {lived} after its start, before the stop was asked for ({})",
            status_text(status)
        );
        self.find("runs", false, promised, happened);
        self.because(cause::died_early(status));
    }

    fn no_kill(&mut self) {
        let promised = match self.promise.steps.len() {
            0 | 1 => format!("{} is enough, KILL is not needed", self.promise.asks()),
            _ => format!("{} are enough, KILL is not needed", self.promise.asks()),
        };
        let asked = self.history.asked().unwrap_or_default();
        let by = match self.promise.steps.len() {
            0 | 1 => self.promise.asks(),
            _ => self.promise.signal.to_string(),
        };
        match self.history.killed() {
            None => {
                let failed =
                    |fact: &&Fact| matches!(fact.what, What::StopCommand { failed, .. } if failed);
                let failed = self.history.facts.iter().find(failed);
                let failed = failed.map_or_else(String::new, |fact| format!("; {}", fact.text));
                self.find("no-kill", true, promised, format!("no KILL{failed}"));
            }
            Some(_) if self.promise.allow_kill => {
                self.not_judged("no-kill", promised, "KILL was needed, and is allowed");
            }
            Some(at) => {
                let waited = Shown(at.saturating_sub(asked));
                let happened = format!("still running {waited} after {by}; KILL ended it");
                self.find("no-kill", false, promised, happened);
                self.because(Some(cause::not_stopped(self.history, self.promise)));
            }
        }
    }

    fn within(&mut self) {
        let within = self.promise.within;
        let promised = format!("gone within {}", Shown(within));
        let (Some(took), Some(exit_took)) = (self.history.took(), self.history.exit_took()) else {
            return self.find("within", false, promised, "it is not gone".to_owned());
        };
        if self.history.killed().is_some() && !self.promise.allow_kill {
            return self.not_judged("within", promised, "KILL was needed");
        }
        let held = took <= within;
        let last = self.history.parts().last().map(|(part, _)| *part);
        let last = match last {
            Some(Part::Left) => "what it left",
            Some(Part::After) => "the post-stop hooks",
            _ => "all",
        };
        let happened = if exit_took <= within && !held {
            format!(
                "the command ended after {}, {last} after {}",
                Shown(exit_took),
                Shown(took)
            )
        } else {
            format!("gone after {}", Shown(took))
        };
        self.find("within", held, promised, happened);
        self.because(cause::slow(self.history, self.promise));
    }

    fn exit(&mut self) {
        let (codes, text) = self.promise.expected();
        let promised = format!("exit status {text}");
        let Some((_, status)) = self.history.exited() else {
            return;
        };
        if self.history.killed().is_some() {
            return self.not_judged("expect-exit", promised, "KILL was needed");
        }
        let held = codes.contains(&status.0);
        self.find("expect-exit", held, promised, status_text(status));
        self.because(cause::wrong_exit(status, self.promise));
    }

    fn nothing_left(&mut self) {
        let promised = "no process is left".to_owned();
        let left = self.history.left();
        if self.history.killed().is_some() && self.history.remained.is_empty() {
            // KILL went to the whole tree at once.
            return self.not_judged("nothing-left", promised, "KILL was needed");
        }
        if left.is_empty() {
            return self.find("nothing-left", true, promised, "nothing is left".to_owned());
        }
        let happened = format!("{} left behind: {}", left.len(), names(&left));
        if self.promise.allow_left {
            return self.not_judged("nothing-left", promised, &format!("{happened}; allowed"));
        }
        self.find("nothing-left", false, promised, happened);
        self.because(Some(cause::left(self.history, &left, self.promise)));
    }

    fn containers(&mut self) {
        for name in &self.history.absent {
            self.findings.push(Finding {
                promise: "container",
                held: Held::Unknown,
                promised: format!("container {name} is gone when the command has ended"),
                happened: format!("container {name} did not run before the stop either"),
                reason: Some(cause::not_there()),
            });
        }
    }

    fn ports(&mut self) {
        for port in &self.promise.ports {
            let promised = format!("port {port} is free when it has ended");
            let taken = self.history.time_of(&What::PortTaken(*port)).is_some();
            if !taken && self.history.idle_ports.contains(port) {
                let happened = format!("nobody listened on port {port} before the stop either");
                self.not_judged("port-free", promised, &happened);
                continue;
            }
            let happened = if taken {
                format!("somebody still listens on port {port}")
            } else {
                format!("port {port} is free")
            };
            self.find("port-free", !taken, promised, happened);
            self.because(Some(cause::port_kept(*port)));
        }
    }
}

#[cfg(test)]
mod tests;
