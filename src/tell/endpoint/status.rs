//! The answer of `/status`: the progress of the run as JSON.

use std::time::Duration;

use serde::Serialize;

use crate::record::waited::Waited;
use crate::record::{ExitStatus, Reason, RestartReason, millis, optional_millis};
use crate::tell::progress::{Beside, HeldUp, Listening, Progress, ReadyState};

#[derive(Serialize)]
struct StatusJson<'a> {
    phase: &'a str,
    /// Which life of the command this is, counted from one.
    generation: u32,
    /// Those that nobody asked for.
    restarts: u32,
    /// How often another process took the place of the child.
    hand_overs: u32,
    ready: bool,
    not_ready: Option<String>,
    child: Option<i32>,
    /// The child's, not ours.
    #[serde(rename = "uptime_ms", serialize_with = "optional_millis")]
    uptime: Option<Duration>,
    not_alive: Option<&'a str>,
    step: Option<usize>,
    in_flight: Option<u32>,
    held_up: Option<HeldUp>,
    /// After 8 s of the ladder: who is still there, and why.
    still_there: &'a [Waited],
    #[serde(rename = "deadline_left_ms", serialize_with = "optional_millis")]
    deadline_left: Option<Duration>,
    status: Option<&'a str>,
    listening: &'a [Listening],
    last_exit: Option<Exit>,
    /// The other generation, while two are alive.
    #[serde(skip_serializing_if = "Option::is_none")]
    beside: Option<&'a Beside>,
    #[serde(rename = "next_start_in_ms", serialize_with = "optional_millis")]
    next_start: Option<Duration>,
}

/// How the generation before ended.
#[derive(Serialize)]
struct Exit {
    generation: u32,
    code: u8,
    status: Option<ExitStatus>,
    reason: Reason,
    restart: Option<RestartReason>,
    #[serde(rename = "ago_ms", serialize_with = "millis")]
    ago: Duration,
}

pub(crate) fn json(progress: &Progress, now: Duration) -> String {
    let not_ready = match progress.ready_state() {
        ReadyState::Ready => None,
        ReadyState::NotYet(why) => Some(why.as_deref().unwrap_or("starting").to_owned()),
        ReadyState::NotReady(why, _) => Some(why.to_string()),
        ReadyState::Restarting => Some("restarting".to_owned()),
    };
    let last_exit = progress.last_exit().map(|last| Exit {
        generation: last.generation,
        code: last.outcome.code,
        status: last.outcome.status,
        reason: last.outcome.reason,
        restart: last.restart,
        ago: now.saturating_sub(last.at),
    });
    let json = StatusJson {
        phase: progress.phase(),
        generation: progress.generation(),
        restarts: progress.restarts(),
        hand_overs: progress.hand_overs(),
        ready: not_ready.is_none(),
        not_ready,
        child: progress.child(),
        uptime: progress.child().and_then(|_| progress.uptime(now)),
        not_alive: progress.not_alive(),
        step: progress.step(),
        in_flight: progress.in_flight(),
        held_up: progress.held_up(now),
        still_there: progress.still_there(),
        deadline_left: progress.left(now),
        status: progress.says(),
        listening: progress.listening(),
        last_exit,
        beside: progress.beside(),
        next_start: progress.next_start(now),
    };
    serde_json::to_string(&json).unwrap_or_default() + "\n"
}
