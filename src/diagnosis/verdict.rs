//! What is said of processes before they are stopped, as data.

use super::finding::{Finding, Named};

/// What will become of a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Fate {
    /// It gets the signal and acts on it.
    Stops,
    /// It gets the signal, or would, and does not end.
    StopsNot,
    /// It is its parent's to stop it, which handles the signal.
    Left,
    /// It never gets the signal.
    Untold,
    /// It cannot be told from outside.
    Unclear,
    /// It has ended and waits to be reaped.
    Zombie,
    /// It came from outside, and ends with PID 1.
    Outside,
}

/// How much a finding weighs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Level {
    /// It will not stop, or not in order.
    Error,
    /// Whether it will cannot be told.
    Unclear,
    /// It stops, and this is worth knowing.
    Warning,
}

/// What becomes of a process, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Judged {
    pub(crate) pid: i32,
    pub(crate) fate: Fate,
    pub(crate) why: String,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Found {
    pub(crate) process: Named,
    pub(crate) level: Level,
    pub(crate) finding: Finding,
}

/// Whether all of it will stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    Stops,
    StopsNot,
    Unclear,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Diagnosis {
    pub(crate) verdict: Verdict,
    /// Parents before their children.
    pub(crate) processes: Vec<Judged>,
    /// The gravest first.
    pub(crate) findings: Vec<Found>,
}
