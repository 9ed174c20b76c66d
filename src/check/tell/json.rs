//! The whole result as one JSON document, whose layout has a version.
//!
//! `verdict`, of the whole and of each run, is `held`, `broken` or `unknown` (exit status 0, 1, 125). What
//! `held` of a promise and `fate` of a run may be is said at `judge::Held` and `judge::Fate`. A key without
//! a value is `null`, except `variant`, which only the runs of `--compare` have.

use std::time::Duration;

use serde::Serialize;

use crate::check::CheckResult;
use crate::check::fact::LeftProcess;
use crate::check::judge::replacement::LoadTotals;
use crate::check::judge::statistics::{PHASES, PhaseTimes};
use crate::check::judge::window::Window;
use crate::check::judge::{Fate, Finding, Held};

/// Raised with every change that a program that reads it could fail on; new fields do not count.
const SCHEMA: &str = "stepdown-check/1";

#[derive(Serialize)]
struct CheckDocument<'a> {
    schema: &'static str,
    stepdown: &'static str,
    /// UTC, as RFC 3339 writes it.
    began: String,
    command: Vec<String>,
    verdict: &'static str,
    sentence: String,
    signal: String,
    /// What brings it down before KILL.
    steps: &'a [String],
    within_ms: u64,
    as_pid1: bool,
    planned_runs: usize,
    runs: Vec<RunLine<'a>>,
    phases: &'a [PhaseTimes],
    windows: &'a [Window],
}

#[derive(Serialize)]
struct RunLine<'a> {
    number: usize,
    #[serde(skip_serializing_if = "str::is_empty")]
    variant: &'static str,
    offset_ms: Option<u64>,
    verdict: &'static str,
    fate: Fate,
    summary: &'a str,
    phases_us: serde_json::Map<String, serde_json::Value>,
    exit: Option<Exit>,
    promises: &'a [Finding],
    requests: Option<RequestsLine<'a>>,
    /// With `--replace`.
    load: Option<LoadTotals>,
    remained: &'a [LeftProcess],
    records: Vec<RecordLine<'a>>,
    output: &'a [String],
}

#[derive(Serialize)]
struct Exit {
    code: u8,
    signal: Option<String>,
}

#[derive(Serialize)]
struct RequestsLine<'a> {
    open: u32,
    complete: u32,
    broken: &'a [String],
}

#[derive(Serialize)]
struct RecordLine<'a> {
    at_us: u64,
    text: &'a str,
}

pub(crate) fn verdict(held: Held) -> &'static str {
    match held {
        Held::Yes | Held::NotJudged => "held",
        Held::Unknown => "unknown",
        Held::No => "broken",
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The document, with a newline at its end.
///
/// # Errors
/// It cannot be written as JSON.
pub(crate) fn document(result: &CheckResult) -> Result<String, String> {
    let check = &result.check;
    let promise = check.variants.first().map(|variant| &variant.promise);
    let runs = result.runs.iter().map(|run| {
        let history = &run.history;
        let phases = PHASES.iter().filter_map(|(name, of)| {
            let micros = u64::try_from(of(history)?.as_micros()).ok()?;
            Some(((*name).to_owned(), micros.into()))
        });
        let told = history.facts.iter().filter(|fact| !fact.text.is_empty());
        RunLine {
            number: run.number,
            variant: check
                .variants
                .get(run.variant)
                .map_or("", |variant| variant.name),
            offset_ms: run.offset.map(millis),
            verdict: verdict(run.verdict.held()),
            fate: run.verdict.fate,
            summary: &run.verdict.summary,
            phases_us: phases.collect(),
            exit: history.exited().map(|(_, (code, signal))| Exit {
                code,
                signal: signal
                    .and_then(crate::words::signal::Signal::from_number)
                    .map(|signal| signal.to_string()),
            }),
            promises: &run.verdict.findings,
            requests: history.requests.as_ref().map(|requests| RequestsLine {
                open: requests.open,
                complete: requests.complete,
                broken: &requests.broken,
            }),
            load: history.load_totals(),
            remained: &history.remained,
            records: told
                .map(|fact| RecordLine {
                    at_us: fact.at,
                    text: &fact.text,
                })
                .collect(),
            output: &history.output,
        }
    });
    let document = CheckDocument {
        schema: SCHEMA,
        stepdown: env!("CARGO_PKG_VERSION"),
        began: humantime::format_rfc3339_millis(result.began).to_string(),
        command: check
            .command
            .iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect(),
        verdict: verdict(result.held()),
        sentence: super::text::sentence(result),
        signal: promise
            .map(|promise| promise.signal.to_string())
            .unwrap_or_default(),
        steps: promise.map_or(&[], |promise| &promise.steps),
        within_ms: promise.map_or(0, |promise| millis(promise.within)),
        as_pid1: promise.is_some_and(|promise| promise.as_pid1),
        planned_runs: result.planned,
        runs: runs.collect(),
        phases: &result.rows,
        windows: &result.windows,
    };
    let text = serde_json::to_string(&document).map_err(|error| error.to_string())?;
    Ok(text + "\n")
}
