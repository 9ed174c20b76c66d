//! What a drain waits for, and how it ends.

use std::time::Duration;

use serde::Serialize;

use super::millis;

/// How the drain ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum DrainEnd {
    /// No request was in flight any more.
    Drained,
    TimedOut,
    /// The deadline has left it less time than its own.
    Deadline,
    CutShort,
    ChildExited,
}

/// What the drain waits for, from now on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "waits_for", rename_all = "kebab-case")]
pub(crate) enum DrainWait {
    /// `--drain-delay`.
    Delay {
        #[serde(rename = "left_ms", serialize_with = "millis")]
        left: Duration,
    },
    /// `--drain-checks`.
    Checks {
        times: u32,
        #[serde(rename = "left_ms", serialize_with = "millis")]
        left: Duration,
    },
    /// No request in flight, and what else must hold (`--drain-until`).
    Requests { ports: bool, until: Vec<String> },
}
