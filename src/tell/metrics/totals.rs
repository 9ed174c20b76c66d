//! Counts what happened, over this run and those before it: a fold over the records.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::record::{CountedFrom, Outcome, Record, RestartReason};
use crate::tell::progress::Progress;

/// Sums since the state file was begun; without one, of this run.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Totals {
    /// Runs that have ended, by reason; `lost` where stepdown itself was killed.
    pub(crate) runs: BTreeMap<String, u64>,
    /// Restarts by reason.
    pub(crate) restarts: BTreeMap<String, u64>,
    /// Stops that were asked for, by how they ended: `graceful`, `killed` (KILL was needed), `abandoned`
    /// (not even KILL helped).
    pub(crate) stops: BTreeMap<String, u64>,
    /// From the request to stop to our own exit.
    pub(crate) stop_duration: Histogram,
    pub(crate) drain_duration: Histogram,
    pub(crate) requests_interrupted: u64,
    pub(crate) orphans_reaped: u64,
    /// Processes of the cgroup that the kernel killed for lack of memory.
    pub(crate) oom_kills: u64,
    /// Failed hooks by phase.
    pub(crate) hook_failures: BTreeMap<String, u64>,
    /// Readings of the configuration file while running: `success`, `failure`.
    pub(crate) reloads: BTreeMap<String, u64>,
    /// Of these, the ones of this run.
    #[serde(skip)]
    oom_kills_of_run: u64,
}

fn count(map: &mut BTreeMap<String, u64>, key: &str) {
    let counter = map.entry(key.to_owned()).or_default();
    *counter = counter.saturating_add(1);
}

impl Totals {
    /// `progress` is that of the run, this record included.
    pub(crate) fn tell(&mut self, record: &Record, progress: &Progress) {
        match record {
            Record::Reaped { .. } => self.orphans_reaped = self.orphans_reaped.saturating_add(1),
            // Those that may be from before this run were counted then, or not at all.
            Record::OomKilled {
                kills,
                counted_from: CountedFrom::Start,
                ..
            } => {
                let new = kills.saturating_sub(self.oom_kills_of_run);
                self.oom_kills_of_run = *kills;
                self.oom_kills = self.oom_kills.saturating_add(new);
            }
            Record::HookEnded { phase, result, .. } if !result.is_success() => {
                count(&mut self.hook_failures, phase.name());
            }
            Record::DrainEnded {
                interrupted, took, ..
            } => {
                let interrupted = u64::from(*interrupted);
                self.requests_interrupted = self.requests_interrupted.saturating_add(interrupted);
                self.drain_duration.observe(*took);
            }
            Record::Reloaded { .. } => count(&mut self.reloads, "success"),
            Record::ReloadRefused { .. } => count(&mut self.reloads, "failure"),
            Record::GenerationEnded {
                outcome, restart, ..
            } => {
                count(&mut self.restarts, restart.name());
                if progress.was_asked() {
                    self.stopped(outcome, progress.was_left());
                }
            }
            Record::OfGeneration { record, .. } => match &**record {
                Record::Ended(outcome) => {
                    let replaced = Some(RestartReason::Replaced);
                    let last = progress.last_exit();
                    let Some(last) = last.filter(|last| last.restart == replaced) else {
                        return;
                    };
                    count(&mut self.restarts, RestartReason::Replaced.name());
                    // It may have ended by itself.
                    if last.asked {
                        self.stopped(outcome, last.left);
                    }
                }
                Record::HookEnded { .. } | Record::DrainEnded { .. } => self.tell(record, progress),
                _ => {}
            },
            Record::Ended(outcome) => {
                count(&mut self.runs, outcome.reason.name());
                if progress.was_asked() {
                    self.stopped(outcome, progress.was_left());
                }
            }
            _ => {}
        }
    }

    /// A life of the command is over, as was asked for; perhaps its child was `left`.
    fn stopped(&mut self, outcome: &Outcome, left: bool) {
        let how = match () {
            () if left => "abandoned",
            () if outcome.escalated => "killed",
            () => "graceful",
        };
        count(&mut self.stops, how);
        self.stop_duration.observe(outcome.took);
    }

    /// A run was found that never came to its end.
    pub(crate) fn lost(&mut self) {
        count(&mut self.runs, LOST);
    }
}

/// The reason of a run that stepdown did not live to tell.
pub(crate) const LOST: &str = "lost";

/// Durations, counted by size.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(from = "Stored")]
pub(crate) struct Histogram {
    /// Not cumulative; the last one takes what is above all bounds.
    pub(crate) buckets: Vec<Bucket>,
    pub(crate) sum_ms: u64,
    pub(crate) count: u64,
}

/// How many were at most this long, and longer than the bound before.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Bucket {
    /// `None` has no bound.
    pub(crate) le_ms: Option<u64>,
    pub(crate) count: u64,
}

/// The bounds that tell stops apart: 10 s is Docker's grace, 30 s that of Kubernetes and our own, 90 s
/// that of systemd.
const BOUNDS_MS: [u64; 14] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 8_000, 10_000, 20_000, 30_000, 60_000, 90_000, 300_000,
];

impl Default for Histogram {
    fn default() -> Self {
        let bounds = BOUNDS_MS.into_iter().map(Some).chain([None]);
        Self {
            buckets: bounds.map(|le_ms| Bucket { le_ms, count: 0 }).collect(),
            sum_ms: 0,
            count: 0,
        }
    }
}

impl Histogram {
    pub(crate) fn observe(&mut self, duration: Duration) {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        // A duration that is a little above a bound is not below it.
        let above = u64::from(!duration.subsec_nanos().is_multiple_of(1_000_000));
        self.add(Some(millis.saturating_add(above)), 1);
        self.sum_ms = self.sum_ms.saturating_add(millis);
        self.count = self.count.saturating_add(1);
    }

    fn add(&mut self, millis: Option<u64>, count: u64) {
        let holds = |bucket: &&mut Bucket| match (bucket.le_ms, millis) {
            (None, _) => true,
            (Some(bound), Some(millis)) => millis <= bound,
            (Some(_), None) => false,
        };
        if let Some(bucket) = self.buckets.iter_mut().find(holds) {
            bucket.count = bucket.count.saturating_add(count);
        }
    }
}

/// A histogram as it stands in a file, whose bounds may be those of another version.
#[derive(Deserialize)]
struct Stored {
    buckets: Vec<Bucket>,
    sum_ms: u64,
}

impl From<Stored> for Histogram {
    fn from(stored: Stored) -> Self {
        let mut histogram = Self {
            sum_ms: stored.sum_ms,
            ..Self::default()
        };
        for bucket in stored.buckets {
            histogram.add(bucket.le_ms, bucket.count);
            // So the count is the sum of the buckets, whatever the file says.
            histogram.count = histogram.count.saturating_add(bucket.count);
        }
        histogram
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(histogram: &Histogram) -> Vec<(Option<u64>, u64)> {
        let filled = histogram.buckets.iter().filter(|bucket| bucket.count > 0);
        filled.map(|bucket| (bucket.le_ms, bucket.count)).collect()
    }

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_holds_it() {
        let mut histogram = Histogram::default();
        for millis in [0, 50, 51, 10_000, 10_001, 400_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        histogram.observe(Duration::from_nanos(50_000_001));
        assert_eq!(
            counts(&histogram),
            [
                (Some(50), 2),
                (Some(100), 2),
                (Some(10_000), 1),
                (Some(20_000), 1),
                (None, 1)
            ]
        );
        assert_eq!((histogram.count, histogram.sum_ms), (7, 420_152));
    }

    #[test]
    fn buckets_of_another_version_are_taken_over() {
        let text = r#"{"buckets": [{"le_ms": 7000, "count": 3}, {"le_ms": 50, "count": 1},
                       {"le_ms": null, "count": 2}], "sum_ms": 9, "count": 77}"#;
        let histogram: Histogram = serde_json::from_str(text).unwrap();
        assert_eq!(
            counts(&histogram),
            [(Some(50), 1), (Some(8_000), 3), (None, 2)]
        );
        assert_eq!(histogram.count, 6);
    }
}
