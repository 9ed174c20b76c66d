//! The answer of `/status`: the progress of the run as JSON.

use std::time::Duration;

use serde::Serialize;

use crate::record::optional_millis;
use crate::tell::progress::{HeldUp, Progress, ReadyState};

#[derive(Serialize)]
struct Json<'a> {
    phase: &'a str,
    ready: bool,
    not_ready: Option<String>,
    child: Option<i32>,
    /// The child's, not ours.
    #[serde(rename = "uptime_ms", serialize_with = "optional_millis")]
    uptime: Option<Duration>,
    step: Option<usize>,
    in_flight: Option<u32>,
    held_up: Option<HeldUp>,
    #[serde(rename = "deadline_left_ms", serialize_with = "optional_millis")]
    deadline_left: Option<Duration>,
    status: Option<&'a str>,
}

pub(in crate::tell) fn json(progress: &Progress, now: Duration) -> String {
    let not_ready = match progress.ready_state() {
        ReadyState::Ready => None,
        ReadyState::NotYet(why) => Some(why.as_deref().unwrap_or("starting").to_owned()),
        ReadyState::NotReady(why, _) => Some(why.to_string()),
    };
    let json = Json {
        phase: progress.phase(),
        ready: not_ready.is_none(),
        not_ready,
        child: progress.child(),
        uptime: progress.child().and_then(|_| progress.uptime(now)),
        step: progress.step(),
        in_flight: progress.in_flight(),
        held_up: progress.held_up(now),
        deadline_left: progress.left(now),
        status: progress.says(),
    };
    serde_json::to_string(&json).unwrap_or_default() + "\n"
}
