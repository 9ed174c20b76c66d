//! How long each phase took in all runs: minimum, median, 95th percentile, maximum.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::check::JudgedRun;
use crate::check::fact::What;
use crate::check::history::History;
use crate::check::options::Check;

/// One phase in all runs of one variant, in microseconds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct PhaseTimes {
    pub(crate) variant: &'static str,
    pub(crate) phase: &'static str,
    pub(crate) runs: u64,
    pub(crate) min_us: u64,
    pub(crate) p50_us: u64,
    pub(crate) p95_us: u64,
    pub(crate) max_us: u64,
}

type Measure = (&'static str, fn(&History) -> Option<Duration>);

/// The phases of a run, in order.
pub(crate) const PHASES: [Measure; 5] = [
    ("ready", ready),
    ("replace", History::replaced_in),
    ("stop", History::exit_took),
    ("sweep", swept),
    ("total", History::took),
];

fn ready(history: &History) -> Option<Duration> {
    let (ready, ()) = history.find(|what| matches!(what, What::Ready).then_some(()))?;
    Some(ready.saturating_sub(history.started()?.0))
}

/// From the child's end to the end of the last process; `None` if nothing was left.
fn swept(history: &History) -> Option<Duration> {
    let (from, to) = history.swept()?;
    Some(to.saturating_sub(from))
}

/// The table, without phases that never happened.
pub(crate) fn rows(check: &Check, runs: &[JudgedRun]) -> Vec<PhaseTimes> {
    let mut rows = Vec::new();
    for (index, variant) in check.variants.iter().enumerate() {
        for (phase, of) in PHASES {
            let of_variant = runs.iter().filter(|run| run.variant == index);
            let times = of_variant.filter_map(|run| of(&run.history));
            rows.extend(row(variant.name, phase, times));
        }
    }
    rows
}

fn row(
    variant: &'static str,
    phase: &'static str,
    times: impl Iterator<Item = Duration>,
) -> Option<PhaseTimes> {
    // Three significant figures, and no bound above.
    let mut histogram = Histogram::<u64>::new(3).ok()?;
    for time in times {
        let _ = histogram.record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }
    let least_of = |value: u64| value.min(histogram.max());
    (!histogram.is_empty()).then(|| PhaseTimes {
        variant,
        phase,
        runs: histogram.len(),
        min_us: histogram.min(),
        p50_us: least_of(histogram.value_at_quantile(0.5)),
        p95_us: least_of(histogram.value_at_quantile(0.95)),
        max_us: least_of(histogram.max()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_holds_what_happened() {
        let times = (1..=100).map(Duration::from_millis);
        let row = row("", "stop", times).unwrap();
        assert_eq!(row.runs, 100);
        for (value, millis) in [
            (row.min_us, 1),
            (row.p50_us, 50),
            (row.p95_us, 95),
            (row.max_us, 100),
        ] {
            let off = value.abs_diff(millis * 1000);
            assert!(off <= millis * 2, "{value} for {millis} ms");
        }
        assert_eq!(super::row("", "stop", [].into_iter()), None);
    }
}
