//! The records as a state: what `/status` and `/metrics` show is a fold over them.

use std::time::Duration;

use serde::Serialize;

use crate::record::Record;
use crate::record::held::Held;
use crate::tell::phase::Phase;

/// The connections that hold up the drain, as they were at that time.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct HeldUp {
    connections: u32,
    oldest: Vec<Held>,
    #[serde(skip)]
    at: Duration,
}

/// How things stand. Times count from the start of stepdown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Status {
    phase: Phase,
    pub(crate) ready: bool,
    /// Since when nobody shall send to us any more.
    pub(crate) stopping: Option<Duration>,
    pub(crate) child: Option<i32>,
    pub(crate) started: Option<Duration>,
    /// How many requests are in flight; known while they are drained.
    pub(crate) in_flight: Option<u32>,
    /// What holds up the drain.
    held_up: Option<HeldUp>,
    /// When we are gone at the latest.
    pub(crate) gone_by: Option<Duration>,
    /// What the child says of itself (sd_notify(3), `STATUS=`).
    says: Option<String>,
}

impl Status {
    pub(crate) fn new() -> Self {
        Self {
            phase: Phase::new(),
            ready: false,
            stopping: None,
            child: None,
            started: None,
            in_flight: None,
            held_up: None,
            gone_by: None,
            says: None,
        }
    }

    pub(crate) fn tell(&mut self, at: Duration, record: &Record) {
        self.phase.tell(record);
        match record {
            Record::Started { pid, ready } => {
                self.child = Some(*pid);
                self.started = Some(at);
                self.ready = *ready;
            }
            Record::Ready { .. } | Record::ReadyAgain { .. } => {
                self.ready = true;
                self.stopping = None;
            }
            Record::NotReady { .. } => {
                self.ready = false;
                self.stopping.get_or_insert(at);
            }
            Record::ChildSays { status } => {
                self.says = Some(status.clone()).filter(|status| !status.is_empty());
            }
            Record::StopAsked { deadline, .. } => {
                self.gone_by = deadline.map(|deadline| at.saturating_add(deadline));
            }
            Record::InFlight { requests, .. } => self.in_flight = Some(*requests),
            Record::HeldUp {
                connections,
                oldest,
            } => {
                self.held_up = Some(HeldUp {
                    connections: *connections,
                    oldest: oldest.clone(),
                    at,
                });
            }
            Record::DrainEnded { interrupted, .. } => {
                self.in_flight = Some(*interrupted);
                self.held_up = None;
            }
            Record::ChildExited { .. } | Record::ChildLeft { .. } => {
                self.child = None;
                self.in_flight = None;
            }
            _ => {}
        }
    }

    /// The answer of `/status`.
    pub(crate) fn json(&self, now: Duration) -> String {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let since = |then: Duration| millis(now.saturating_sub(then));
        let held_up = self.held_up.clone().map(|mut held_up| {
            let since = now.saturating_sub(held_up.at);
            for held in &mut held_up.oldest {
                held.waited = held.waited.saturating_add(since);
            }
            held_up
        });
        let json = Json {
            phase: self.phase.name(),
            ready: self.ready,
            child: self.child,
            uptime_ms: self.started.filter(|_| self.child.is_some()).map(since),
            in_flight: self.in_flight,
            held_up,
            deadline_left_ms: self.gone_by.map(|by| millis(by.saturating_sub(now))),
            status: self.says.as_deref(),
        };
        serde_json::to_string(&json).unwrap_or_default() + "\n"
    }
}

#[derive(Serialize)]
struct Json<'a> {
    phase: &'a str,
    ready: bool,
    child: Option<i32>,
    /// The child's, not ours.
    uptime_ms: Option<u64>,
    in_flight: Option<u32>,
    held_up: Option<HeldUp>,
    deadline_left_ms: Option<u64>,
    status: Option<&'a str>,
}
