//! `stepdown check`: how a command shuts down, tried and judged.
//!
//! Each run is played by a process of its own (`stage`) with the same machine and kernel as `stepdown
//! COMMAND`. `play` reads its records and sends it a real signal, `judge` folds the records into a
//! verdict, and `tell` reports: `text` as it happens, `json`, `junit`, `html` and `github` at the end.

mod fact;
mod history;
mod judge;
pub(crate) mod options;
pub(crate) mod play;
mod tell;

use std::time::{Duration, SystemTime};

use crate::check::judge::statistics;
use crate::check::judge::window;
use crate::check::tell::github;
use crate::check::tell::html;
use crate::check::tell::json;
use crate::check::tell::junit;
use crate::sys::signals::Inherited;
use history::History;
use judge::statistics::PhaseTimes;
use judge::window::Window;
use judge::{Held, Verdict, judge};
use options::{Check, Output};
use play::conductor::Conductor;
use tell::text::TextReport;

/// stepdown's own failure; nothing is said about the command.
const CANNOT_CHECK: u8 = 125;

/// One run, played and judged.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct JudgedRun {
    /// Counted from one.
    pub(crate) number: usize,
    pub(crate) variant: usize,
    pub(crate) offset: Option<Duration>,
    pub(crate) history: History,
    pub(crate) verdict: Verdict,
}

/// All that is reported at the end.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct CheckResult {
    pub(crate) began: SystemTime,
    pub(crate) check: Check,
    pub(crate) runs: Vec<JudgedRun>,
    pub(crate) planned: usize,
    pub(crate) windows: Vec<Window>,
    pub(crate) rows: Vec<PhaseTimes>,
}

impl CheckResult {
    /// The worst of all runs; unknown if the check was cut short.
    pub(crate) fn held(&self) -> Held {
        let worst = self.runs.iter().map(|run| run.verdict.held()).max();
        match worst {
            Some(Held::Yes | Held::NotJudged) if self.runs.len() < self.planned => Held::Unknown,
            Some(held) => held,
            None => Held::Unknown,
        }
    }
}

/// Plays and judges all runs; the exit code is 0 when all held, 1 for a broken promise, 125 when it
/// could not be found out.
pub(crate) fn check(check: Check, inherited: Inherited) -> Result<u8, String> {
    let mut conductor = Conductor::new(inherited)?;
    let planned = check.offsets.len().max(1) * check.variants.len() * check.runs as usize;
    let began = SystemTime::now();
    let mut report = TextReport::new(&check, planned);
    let mut runs: Vec<JudgedRun> = Vec::new();
    for (variant, how) in check.variants.iter().enumerate() {
        let offsets: Vec<Option<Duration>> = match check.offsets.as_slice() {
            [] => vec![None],
            offsets => offsets.iter().copied().map(Some).collect(),
        };
        report.variant(how.name);
        for offset in offsets {
            for _ in 0..check.runs {
                if conductor.is_interrupted() {
                    break;
                }
                report.begins(runs.len() + 1);
                let history = conductor.play(&check, how, offset, &mut |fact| report.fact(fact));
                let verdict = judge(&history, &how.promise);
                let run = JudgedRun {
                    number: runs.len() + 1,
                    variant,
                    offset,
                    history,
                    verdict,
                };
                report.run(&run);
                let stop = run.verdict.held() == Held::Unknown && run.history.started().is_none();
                runs.push(run);
                // A command that cannot be started once need not be tried a hundred times.
                if stop {
                    return finish(&mut report, began, check, runs, planned);
                }
            }
        }
    }
    finish(&mut report, began, check, runs, planned)
}

fn finish(
    report: &mut TextReport,
    began: SystemTime,
    check: Check,
    runs: Vec<JudgedRun>,
    planned: usize,
) -> Result<u8, String> {
    let result = CheckResult {
        began,
        windows: window::windows(&check, &runs),
        rows: statistics::rows(&check, &runs),
        check,
        runs,
        planned,
    };
    report.end(&result);
    let check = &result.check;
    let written = [
        write(check.json.as_ref(), "json", || json::document(&result)),
        write(check.junit.as_ref(), "junit", || junit::document(&result)),
        write(check.html.as_ref(), "html", || html::page(&result)),
    ];
    if let Some(annotations) = github::annotations(&result) {
        report.print(&annotations);
    }
    // If one cannot be written, the others are written all the same.
    written.into_iter().collect::<Result<(), _>>()?;
    Ok(match result.held() {
        Held::Yes | Held::NotJudged => 0,
        Held::No => 1,
        Held::Unknown => CANNOT_CHECK,
    })
}

fn write(
    to: Option<&Output>,
    option: &str,
    document: impl FnOnce() -> Result<String, String>,
) -> Result<(), String> {
    let Some(to) = to else { return Ok(()) };
    let text = document().map_err(|why| format!("--{option}: {why}"))?;
    match to {
        None => match crate::sys::stdout::print(&text) {
            0 => Ok(()),
            _ => Err(format!("--{option}: it could not be written")),
        },
        Some(path) => std::fs::write(path, text).map_err(|error| {
            let why = crate::sys::file::reason(&error);
            format!("--{option} {}: {why}", path.display())
        }),
    }
}
