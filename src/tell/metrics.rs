//! Metrics in the text format of Prometheus: how things stand, and what happened so far.
//!
//! | metric | meaning |
//! | --- | --- |
//! | `stepdown_build_info{version}` | always 1 |
//! | `stepdown_phase{phase}` | 1 for the phase that the run is in, 0 for all others |
//! | `stepdown_in_flight_requests` | requests in flight; counted while they are drained |
//! | `stepdown_child_start_time_seconds` | when the child was started, since 1970 |
//! | `stepdown_child_uptime_seconds` | how long it has been running, or ran |
//! | `stepdown_generation` | which life of the command this is, counted from 1 |
//! | `stepdown_last_exit_code` | exit status of the last life that is over, once one is |
//! | `stepdown_listening_info{name,address}` | always 1, for each socket of `--listen` |
//! | `stepdown_restarts_total{reason}` | restarts; `asked` are those of `--restart-on` |
//! | `stepdown_runs_total{reason}` | runs that have ended |
//! | `stepdown_stops_total{outcome}` | stops that were asked for: `graceful`, `killed`, `abandoned` |
//! | `stepdown_stop_duration_seconds` | histogram: from the request to stop to the end |
//! | `stepdown_drain_duration_seconds` | histogram: how long drains took |
//! | `stepdown_requests_interrupted_total` | requests in flight when a drain ended early |
//! | `stepdown_orphans_reaped_total` | processes reaped that were not ours |
//! | `stepdown_oom_kills_total` | processes of the cgroup that the kernel killed for lack of memory |
//! | `stepdown_hook_failures_total{phase}` | failed hooks |
//! | `stepdown_config_reloads_total{result}` | readings of the configuration file while running |
//!
//! Counters and histograms go on from one run to the next with `--state-file`; without it they begin
//! with each run, which Prometheus takes as a counter reset.

pub(crate) mod totals;

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::tell::progress::{Listening, PHASES, Progress};
use totals::{Histogram, Totals};

/// What the format is called in a Content-Type header.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All values of the label, so that each of them is there from the beginning.
const REASONS: [&str; 7] = [
    "signal",
    "exit",
    "max-runtime",
    "parent-died",
    "start-failed",
    "unhealthy",
    "lost",
];
const RESTARTS: [&str; 7] = [
    "asked",
    "failure",
    "success",
    "max-runtime",
    "start-failed",
    "unhealthy",
    "replaced",
];
const OUTCOMES: [&str; 3] = ["graceful", "killed", "abandoned"];
const HOOK_PHASES: [&str; 3] = ["pre-start", "pre-stop", "post-stop"];
const RESULTS: [&str; 2] = ["success", "failure"];

/// The text at this time, for node_exporter's textfile collector and for `/metrics`. `began` is time 0 of the
/// records.
pub(crate) fn render(
    progress: &Progress,
    totals: &Totals,
    began: SystemTime,
    now: Duration,
) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Snapshot {
        progress: progress.clone(),
        totals: totals.clone(),
        began,
        now,
    }));
    let mut text = String::new();
    // Writing into memory cannot fail.
    let _ = text::encode_registry(&mut text, &registry);
    classic(&text)
}

/// OpenMetrics names the family of a counter without `_total`, the older text format, which node_exporter
/// reads and every scraper understands, with it.
fn classic(text: &str) -> String {
    let of = |line: &'_ str, head: &str| -> Option<String> {
        let name = line.strip_prefix(head)?.split(' ').next()?;
        Some(name.to_owned())
    };
    let is_counter = |line: &&str| line.starts_with("# TYPE ") && line.ends_with(" counter");
    let counters: Vec<String> = text
        .lines()
        .filter(is_counter)
        .filter_map(|line| of(line, "# TYPE "))
        .collect();
    let mut classic = String::with_capacity(text.len() + counters.len() * 16);
    for line in text.lines() {
        let name = of(line, "# HELP ").or_else(|| of(line, "# TYPE "));
        match name.filter(|name| counters.contains(name)) {
            Some(name) => classic.push_str(&line.replacen(&name, &format!("{name}_total"), 1)),
            None => classic.push_str(line),
        }
        classic.push('\n');
    }
    classic
}

/// What the metrics say at one moment.
struct Snapshot {
    progress: Progress,
    totals: Totals,
    began: SystemTime,
    now: Duration,
}

/// A collector must have it, and nobody looks: all that it holds would be 3 KB of the program.
impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Snapshot")
    }
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let Self {
            progress,
            totals,
            began,
            now,
        } = self;
        let encoder = &mut encoder;
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        gauges(
            encoder,
            "stepdown_build_info",
            "The version of stepdown.",
            [(version, 1.0)],
        )?;
        gauges(
            encoder,
            "stepdown_phase",
            "The phase that the run is in.",
            PHASES.map(|known| {
                let value = if known == progress.phase() { 1.0 } else { 0.0 };
                ([("phase", known)], value)
            }),
        )?;
        gauge(
            encoder,
            "stepdown_in_flight_requests",
            "Requests in flight, counted while they are drained.",
            f64::from(progress.in_flight().unwrap_or(0)),
        )?;
        if let Some(started) = progress.started() {
            let since = (*began + started).duration_since(SystemTime::UNIX_EPOCH);
            gauge(
                encoder,
                "stepdown_child_start_time_seconds",
                "When the child was started, since 1970.",
                since.unwrap_or_default().as_secs_f64(),
            )?;
        }
        if let Some(uptime) = progress.uptime(*now) {
            gauge(
                encoder,
                "stepdown_child_uptime_seconds",
                "How long the child has been running, or ran.",
                uptime.as_secs_f64(),
            )?;
        }
        gauge(
            encoder,
            "stepdown_generation",
            "Which life of the command this is.",
            f64::from(progress.generation()),
        )?;
        if let Some(last) = progress.last_exit() {
            gauge(
                encoder,
                "stepdown_last_exit_code",
                "Exit status of the last life of the command that is over.",
                f64::from(last.outcome.code),
            )?;
        }
        if !progress.listening().is_empty() {
            let of = |socket: &Listening| {
                let (name, address) = (socket.name.clone(), socket.address.clone());
                ([("name", name), ("address", address)], 1.0)
            };
            gauges(
                encoder,
                "stepdown_listening_info",
                "The sockets that are passed on to the command.",
                progress.listening().iter().map(of),
            )?;
        }
        counters(
            encoder,
            "stepdown_restarts",
            "Restarts of the command, by reason.",
            ("reason", &RESTARTS),
            &totals.restarts,
        )?;
        counters(
            encoder,
            "stepdown_runs",
            "Runs that have ended, by reason.",
            ("reason", &REASONS),
            &totals.runs,
        )?;
        counters(
            encoder,
            "stepdown_stops",
            "Stops that were asked for, by how they ended.",
            ("outcome", &OUTCOMES),
            &totals.stops,
        )?;
        histogram(
            encoder,
            "stepdown_stop_duration_seconds",
            "From the request to stop to the end.",
            &totals.stop_duration,
        )?;
        histogram(
            encoder,
            "stepdown_drain_duration_seconds",
            "How long drains took.",
            &totals.drain_duration,
        )?;
        counter(
            encoder,
            "stepdown_requests_interrupted",
            "Requests that were in flight when a drain ended early.",
            totals.requests_interrupted,
        )?;
        counter(
            encoder,
            "stepdown_orphans_reaped",
            "Processes reaped that were neither the child nor hooks.",
            totals.orphans_reaped,
        )?;
        counter(
            encoder,
            "stepdown_oom_kills",
            "Processes of the cgroup that the kernel killed for lack of memory.",
            totals.oom_kills,
        )?;
        counters(
            encoder,
            "stepdown_hook_failures",
            "Hooks that failed, by phase.",
            ("phase", &HOOK_PHASES),
            &totals.hook_failures,
        )?;
        counters(
            encoder,
            "stepdown_config_reloads",
            "Readings of the configuration file while running.",
            ("result", &RESULTS),
            &totals.reloads,
        )
    }
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: f64) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    metric.encode_gauge(&value)
}

fn gauges<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (L, f64)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in values {
        metric.encode_family(&labels)?.encode_gauge(&value)?;
    }
    Ok(())
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    metric.encode_counter::<NoLabelSet, _, f64>(&value, None)
}

/// A counter with a label; values that the state file made up are left out.
fn counters(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    (label, known): (&str, &[&str]),
    counts: &BTreeMap<String, u64>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for value in known {
        let count = counts.get(*value).copied().unwrap_or(0);
        metric
            .encode_family(&[(label, *value)])?
            .encode_counter::<NoLabelSet, _, f64>(&count, None)?;
    }
    Ok(())
}

fn histogram(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    histogram: &Histogram,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    let seconds = |millis: u64| Duration::from_millis(millis).as_secs_f64();
    let buckets: Vec<(f64, u64)> = histogram
        .buckets
        .iter()
        .map(|bucket| (bucket.le_ms.map_or(f64::INFINITY, seconds), bucket.count))
        .collect();
    metric.encode_histogram::<NoLabelSet>(
        seconds(histogram.sum_ms),
        histogram.count,
        &buckets,
        None,
    )
}
