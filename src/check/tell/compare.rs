//! The variants of `--compare` side by side: whether each promise was kept, and how long each phase
//! took.

use std::time::Duration;

use crate::check::judge::Held;
use crate::check::{CheckResult, JudgedRun};
use crate::words::duration::Shown;

/// A line of the table: what it is about, and a cell for each variant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ComparisonRow {
    pub(crate) about: &'static str,
    pub(crate) cells: Vec<Cell>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Cell {
    pub(crate) text: String,
    /// `None` for times.
    pub(crate) held: Option<Held>,
}

/// The table; empty where there is nothing to compare.
pub(crate) fn lines(result: &CheckResult) -> Vec<ComparisonRow> {
    let variants = result.check.variants.len();
    if variants < 2 {
        return Vec::new();
    }
    let mut promises: Vec<&'static str> = Vec::new();
    for finding in result.runs.iter().flat_map(|run| &run.verdict.findings) {
        if !promises.contains(&finding.promise) {
            promises.push(finding.promise);
        }
    }
    let mut lines: Vec<ComparisonRow> = promises
        .into_iter()
        .map(|about| ComparisonRow {
            about,
            cells: (0..variants)
                .map(|variant| cell(&result.runs, variant, about))
                .collect(),
        })
        .collect();
    for about in ["ready", "stop", "total"] {
        let times = result.check.variants.iter().map(|variant| {
            let mut rows = result.rows.iter();
            rows.find(|row| row.phase == about && row.variant == variant.name)
                .map(|row| Shown(Duration::from_micros(row.p50_us)).to_string())
        });
        let times: Vec<Option<String>> = times.collect();
        if times.iter().any(Option::is_some) {
            let cells = times.into_iter().map(|time| Cell {
                text: time.unwrap_or_else(|| "-".to_owned()),
                held: None,
            });
            lines.push(ComparisonRow {
                about: match about {
                    "ready" => "ready p50",
                    "stop" => "stop p50",
                    _ => "total p50",
                },
                cells: cells.collect(),
            });
        }
    }
    lines
}

/// One promise in all runs of one variant.
fn cell(runs: &[JudgedRun], variant: usize, promise: &str) -> Cell {
    let of_variant = runs.iter().filter(|run| run.variant == variant);
    let mut held: Vec<Held> = Vec::new();
    for finding in of_variant.flat_map(|run| &run.verdict.findings) {
        if finding.promise == promise {
            held.push(finding.held);
        }
    }
    let worst = held.iter().max().copied();
    let times = held.iter().filter(|one| Some(**one) == worst).count();
    let word = match worst {
        None => "-",
        Some(Held::Yes) => "held",
        Some(Held::NotJudged) => "not judged",
        Some(Held::Unknown) => "unknown",
        Some(Held::No) => "broken",
    };
    let text = if times < held.len() {
        format!("{word} {times} of {}", held.len())
    } else {
        word.to_owned()
    };
    Cell { text, held: worst }
}
