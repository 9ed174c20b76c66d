//! The stop as one trace with a span for each phase, in the JSON of OTLP/HTTP (opentelemetry-proto,
//! `ExportTraceServiceRequest`): what a collector takes at `/v1/traces`.

use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::plan::HookPhase;
use crate::record::{ExitStatus, Record, killed_by};
use crate::tell::log;
use crate::words::signal::Signal;

/// The fold over the records that the trace is made from.
pub(super) struct Spans {
    service: String,
    /// What the numbers of trace and spans are made from.
    seed: u64,
    stop: Option<Part>,
    /// Somebody has asked for it.
    asked: bool,
    /// The phases in order, and what happened in each.
    phases: Vec<Part>,
    /// The stop of the generation beside the one that serves is a trace of its own.
    beside: Option<(u32, Box<Self>)>,
}

/// A stretch of time.
struct Part {
    name: String,
    start: Duration,
    /// Until it has ended, it lasts.
    end: Option<Duration>,
    attributes: Vec<Attribute>,
    events: Vec<(Duration, String)>,
    /// Why it is no success.
    failed: Option<String>,
    /// The hooks of a phase.
    within: Vec<Self>,
}

impl Part {
    fn new(name: impl Into<String>, start: Duration) -> Self {
        Self {
            name: name.into(),
            start,
            end: None,
            attributes: Vec::new(),
            events: Vec::new(),
            failed: None,
            within: Vec::new(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    resource_spans: [ResourceSpans; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans {
    resource: Resource,
    scope_spans: [ScopeSpans; 1],
}

#[derive(Serialize)]
struct Resource {
    attributes: Vec<Attribute>,
}

#[derive(Serialize)]
struct ScopeSpans {
    scope: Scope,
    spans: Vec<Span>,
}

#[derive(Serialize)]
struct Scope {
    name: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Span {
    /// Hexadecimal, unlike other bytes in the JSON of protobuf.
    trace_id: String,
    span_id: String,
    parent_span_id: String,
    name: String,
    /// SPAN_KIND_INTERNAL.
    kind: u8,
    /// 64 bits are a string in the JSON of protobuf.
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    attributes: Vec<Attribute>,
    events: Vec<Event>,
    status: Status,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    time_unix_nano: String,
    name: String,
}

#[derive(Serialize)]
struct Status {
    /// 1 is STATUS_CODE_OK, 2 STATUS_CODE_ERROR.
    code: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

#[derive(Clone, Serialize)]
struct Attribute {
    key: &'static str,
    value: Value,
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
enum Value {
    StringValue(String),
    /// 64 bits, too.
    IntValue(String),
}

fn text(key: &'static str, value: impl Into<String>) -> Attribute {
    let value = Value::StringValue(value.into());
    Attribute { key, value }
}

fn number(key: &'static str, value: impl ToString) -> Attribute {
    let value = Value::IntValue(value.to_string());
    Attribute { key, value }
}

impl Spans {
    /// `OTEL_SERVICE_NAME` names the service, as for every program with OpenTelemetry; else the command does.
    pub(super) fn new(command: &[OsString], seed: u64) -> Self {
        let named = std::env::var("OTEL_SERVICE_NAME").ok();
        let service = named.filter(|name| !name.is_empty()).unwrap_or_else(|| {
            let program = command.first().and_then(|word| Path::new(word).file_name());
            program.unwrap_or_default().to_string_lossy().into_owned()
        });
        Self {
            service,
            seed,
            stop: None,
            asked: false,
            phases: Vec::new(),
            beside: None,
        }
    }

    fn take_beside(&mut self, generation: u32) -> Box<Self> {
        let known = self.beside.take();
        let known = known.filter(|(number, _)| *number == generation);
        known.map_or_else(
            || {
                Box::new(Self {
                    service: self.service.clone(),
                    seed: mixed(self.seed, u64::from(generation)),
                    stop: None,
                    asked: false,
                    phases: Vec::new(),
                    beside: None,
                })
            },
            |(_, spans)| spans,
        )
    }

    pub(super) fn tell(&mut self, at: Duration, record: &Record) {
        match record {
            Record::GenerationBegan { generation } => {
                self.stop = None;
                self.asked = false;
                self.phases.clear();
                self.seed = mixed(self.seed, u64::from(*generation));
            }
            Record::Replaced {
                generation, before, ..
            } => {
                let mut other = self.take_beside(*generation);
                std::mem::swap(&mut self.seed, &mut other.seed);
                std::mem::swap(&mut self.stop, &mut other.stop);
                std::mem::swap(&mut self.asked, &mut other.asked);
                std::mem::swap(&mut self.phases, &mut other.phases);
                self.beside = Some((*before, other));
            }
            Record::OfGeneration { generation, record } => {
                let mut beside = self.take_beside(*generation);
                beside.tell(at, record);
                if !matches!(**record, Record::Ended(_)) {
                    self.beside = Some((*generation, beside));
                }
            }
            Record::StopAsked { reason, signal, .. } => {
                let mut stop = Part::new("stop", at);
                stop.attributes.push(text("stepdown.reason", reason.name()));
                if let Some(signal) = signal {
                    stop.attributes
                        .push(text("stepdown.signal", signal.to_string()));
                }
                stop.events.push((at, log::text(record)));
                self.stop = Some(stop);
                self.asked = true;
            }
            Record::StartFailed(failure) => {
                let stop = self.begun(at);
                stop.failed = Some(failure.message.clone());
            }
            Record::ChildExited { status, .. } => {
                self.end_phase("ladder", at);
                if status.code() != killed_by(Signal::KILL) {
                    self.kill_was_late();
                }
                let asked = self.asked;
                let stop = self.begun(at);
                if !asked {
                    // Lack of memory may have been told long before.
                    stop.start = at;
                }
                stop.events.push((at, log::text(record)));
                match status {
                    ExitStatus::Exited(code) => {
                        stop.attributes.push(number("process.exit.code", code))
                    }
                    ExitStatus::Killed { signal, .. } => stop
                        .attributes
                        .push(text("stepdown.exit_signal", signal.to_string())),
                }
            }
            Record::OomKilled {
                kills,
                before_this_life,
                ..
            } => {
                let kills = kills.saturating_sub(*before_this_life);
                let stop = self.begun(at);
                stop.events.push((at, log::text(record)));
                stop.attributes.push(number("stepdown.oom_kills", kills));
                stop.failed = Some(log::text(record));
            }
            _ if self.stop.is_none() => {}
            Record::HookStarted { phase, name } if *phase != HookPhase::PreStart => {
                let phase = self.phase(phase.name(), at);
                phase.within.push(Part::new(name.clone(), at));
            }
            Record::HookEnded {
                phase,
                name,
                result,
                took,
            } if *phase != HookPhase::PreStart => {
                let phase = self.phase(phase.name(), at.saturating_sub(*took));
                phase.end = Some(at);
                let hook = phase
                    .within
                    .iter_mut()
                    .find(|hook| hook.end.is_none() && hook.name == *name);
                if let Some(hook) = hook {
                    hook.end = Some(at);
                    hook.failed = (!result.is_success()).then(|| result.to_string());
                }
            }
            Record::DrainStarted(_) => {
                self.phase("drain", at);
            }
            Record::DrainEnded { interrupted, .. } => {
                let drain = self.phase("drain", at);
                drain.end = Some(at);
                drain
                    .attributes
                    .push(number("stepdown.requests_interrupted", interrupted));
                if *interrupted > 0 {
                    drain.failed = Some(log::text(record));
                }
            }
            Record::Step { signal, .. } => {
                let is_kill = *signal == Some(Signal::KILL);
                let told = log::text(record);
                let ladder = self.phase("ladder", at);
                if is_kill {
                    ladder.failed = Some(told.clone());
                }
                ladder.events.push((at, told));
            }
            Record::ChildLeft { .. } => {
                let told = log::text(record);
                self.end_phase("ladder", at);
                self.phase("ladder", at).failed = Some(told);
            }
            Record::Swept { .. } | Record::Awaited { .. } => {
                let told = log::text(record);
                self.phase("sweep", at).events.push((at, told));
            }
            Record::SweepEnded { left, .. } => {
                let told = log::text(record);
                let sweep = self.phase("sweep", at);
                sweep.end = Some(at);
                sweep.failed = left.then_some(told);
            }
            _ => {}
        }
    }

    /// The stop, which begins with the end of the child where nobody has asked for it.
    fn begun(&mut self, at: Duration) -> &mut Part {
        self.stop.get_or_insert_with(|| {
            let mut stop = Part::new("stop", at);
            stop.attributes.push(text("stepdown.reason", "exit"));
            stop
        })
    }

    fn phase(&mut self, name: &str, start: Duration) -> &mut Part {
        let known = self.phases.iter().position(|phase| phase.name == name);
        let index = known.unwrap_or_else(|| {
            self.phases.push(Part::new(name, start));
            self.phases.len() - 1
        });
        &mut self.phases[index]
    }

    /// The child was ending when it got KILL: the ladder has not failed.
    fn kill_was_late(&mut self) {
        let ladder = self.phases.iter_mut().find(|phase| phase.name == "ladder");
        if let Some(ladder) = ladder {
            ladder.failed = None;
        }
    }

    fn end_phase(&mut self, name: &str, at: Duration) {
        let phase = self.phases.iter_mut().find(|phase| phase.name == name);
        if let Some(phase) = phase {
            phase.end = Some(at);
        }
    }

    /// The trace of this generation as it is at this time; `began` is time 0 of the records. What has not ended ends now.
    pub(super) fn json(&self, generation: Option<u32>, began: SystemTime, now: Duration) -> String {
        if let Some((number, beside)) = &self.beside
            && generation == Some(*number)
        {
            return beside.json(None, began, now);
        }
        let mut spans = Vec::new();
        if let Some(stop) = &self.stop {
            let root = self.add(&mut spans, stop, "", began, now);
            for phase in &self.phases {
                let id = self.add(&mut spans, phase, &root, began, now);
                for part in &phase.within {
                    self.add(&mut spans, part, &id, began, now);
                }
            }
        }
        let host = nix::unistd::gethostname().unwrap_or_default();
        let attributes = vec![
            text("service.name", &self.service[..]),
            text("host.name", host.to_string_lossy()),
        ];
        let request = Request {
            resource_spans: [ResourceSpans {
                resource: Resource { attributes },
                scope_spans: [ScopeSpans {
                    scope: Scope {
                        name: "stepdown",
                        version: env!("CARGO_PKG_VERSION"),
                    },
                    spans,
                }],
            }],
        };
        serde_json::to_string(&request).unwrap_or_default()
    }

    /// Adds a span; returns its number.
    fn add(
        &self,
        spans: &mut Vec<Span>,
        part: &Part,
        parent: &str,
        began: SystemTime,
        now: Duration,
    ) -> String {
        let nanos = |at: Duration| {
            let since = (began + at).duration_since(UNIX_EPOCH);
            since.unwrap_or_default().as_nanos().to_string()
        };
        // The same each time, so that a collector that gets the trace twice has each span once.
        let id = format!("{:016x}", mixed(self.seed, spans.len() as u64 + 3));
        let event = |(at, name): &(Duration, String)| Event {
            time_unix_nano: nanos(*at),
            name: name.clone(),
        };
        spans.push(Span {
            trace_id: format!("{:016x}{:016x}", mixed(self.seed, 1), mixed(self.seed, 2)),
            span_id: id.clone(),
            parent_span_id: parent.to_owned(),
            name: part.name.clone(),
            kind: 1,
            start_time_unix_nano: nanos(part.start),
            end_time_unix_nano: nanos(part.end.unwrap_or(now)),
            attributes: part.attributes.clone(),
            events: part.events.iter().map(event).collect(),
            status: Status {
                code: if part.failed.is_some() { 2 } else { 1 },
                message: part.failed.clone(),
            },
        });
        id
    }
}

/// A number that looks like chance, and is never 0, which would be none (splitmix64).
fn mixed(seed: u64, index: u64) -> u64 {
    let mut z = seed.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)).max(1)
}

#[cfg(test)]
mod tests;
