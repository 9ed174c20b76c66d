//! How much is logged, and in which format.

use serde::Serialize;

/// How much is logged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    Error,
    Warn,
    Info,
    Debug,
}

impl Level {
    pub(crate) const ALL: [(&'static str, Self); 4] = [
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
    ];
}

/// The format of the lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    Text,
    Json,
}

impl Format {
    pub(crate) const ALL: [(&'static str, Self); 2] = [("text", Self::Text), ("json", Self::Json)];
}

/// What was asked for with `--log-level` and `--log-format`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Voice {
    pub(crate) level: Level,
    pub(crate) format: Format,
    /// Reaped orphans are told at any level (`--log-level LEVEL,reaped`).
    pub(crate) reaped: bool,
}

/// Which diagnostics are written: a level for all parts, or for one of them. The longest name that fits counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Diagnostics(pub(crate) Vec<(Option<String>, Detail)>);

/// How much of the diagnostics is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Detail {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl Detail {
    pub(crate) const ALL: [(&'static str, Self); 6] = [
        ("off", Self::Off),
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
    ];
}
