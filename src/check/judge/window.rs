//! The windows of `--offsets`: neighbouring offsets at which the same thing went wrong.

use std::time::Duration;

use serde::Serialize;

use super::Fate;
use crate::check::JudgedRun;
use crate::check::options::Check;
use crate::words::duration::Shown;

/// From the first to the last offset at which it went wrong.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Window {
    pub(crate) variant: &'static str,
    pub(crate) from_ms: u64,
    pub(crate) to_ms: u64,
    pub(crate) fate: Fate,
    pub(crate) text: String,
}

/// The windows, by variant and offset.
pub(crate) fn windows(check: &Check, runs: &[JudgedRun]) -> Vec<Window> {
    let mut windows = Vec::new();
    for (index, variant) in check.variants.iter().enumerate() {
        let signal = variant.promise.asks();
        // The worst of the runs at each offset.
        let mut fates: Vec<(Duration, Fate, Option<String>)> = Vec::new();
        for run in runs.iter().filter(|run| run.variant == index) {
            let Some(offset) = run.offset else { continue };
            let fate = run.verdict.fate;
            let what = run
                .verdict
                .broken()
                .next()
                .map(|broken| broken.happened.clone());
            match fates.last_mut() {
                Some((at, known, known_what)) if *at == offset => {
                    if rank(fate) > rank(*known) {
                        (*known, *known_what) = (fate, what);
                    }
                }
                _ => fates.push((offset, fate, what)),
            }
        }
        let last = fates.len().saturating_sub(1);
        let mut at = 0;
        while let Some((from, fate, what)) = fates.get(at) {
            let alike = fates
                .iter()
                .skip(at)
                .take_while(|(_, other, _)| other == fate);
            let end = at + alike.count();
            let to = fates.get(end - 1).map_or(*from, |(to, _, _)| *to);
            if !matches!(fate, Fate::Fine | Fate::Impossible) {
                let ends = (at == 0, end > last);
                windows.push(Window {
                    variant: variant.name,
                    from_ms: millis(*from),
                    to_ms: millis(to),
                    fate: *fate,
                    text: text(&signal, (*from, to), *fate, ends, what.as_deref()),
                });
            }
            at = end;
        }
    }
    windows
}

fn rank(fate: Fate) -> u8 {
    match fate {
        Fate::Fine => 0,
        Fate::Impossible => 1,
        Fate::Broken => 2,
        Fate::Slow => 3,
        Fate::Lost => 4,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// `ends`: whether the window holds the first offset of the sweep, and the last.
fn text(
    signal: &str,
    (from, to): (Duration, Duration),
    fate: Fate,
    ends: (bool, bool),
    what: Option<&str>,
) -> String {
    let when = if from == to {
        format!("{signal} {} after the start", Shown(from))
    } else {
        format!(
            "{signal} between {} and {} after the start",
            Shown(from),
            Shown(to)
        )
    };
    match (fate, ends) {
        (Fate::Lost, (_, false)) => {
            format!("{when} is lost: the handler is installed late")
        }
        (Fate::Lost, (_, true)) => {
            format!("{when} is lost: no handler acts on it, or one that is installed later still")
        }
        (Fate::Slow, (_, false)) => {
            format!("{when} is slow: it is acted on only once the start is over")
        }
        (Fate::Slow, (_, true)) => format!("{when} is slow"),
        (_, (_, false)) => format!(
            "{when} breaks a promise: {}; while it starts it stops in another way than later",
            what.unwrap_or("see the runs")
        ),
        _ => format!(
            "{when} breaks a promise: {}",
            what.unwrap_or("see the runs")
        ),
    }
}
