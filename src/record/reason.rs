//! Why a life of the command, or the run, came to its end, and why another one follows.

use serde::Serialize;

/// Why the run came to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reason {
    Signal,
    Exit,
    MaxRuntime,
    ParentDied,
    StartFailed,
    /// A signal of `--restart-on`.
    Restart,
    /// Another generation serves in its place (`--replace-on`).
    Replaced,
    /// The child hangs (`--live-when`).
    Unhealthy,
}

impl Reason {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::Exit => "exit",
            Self::MaxRuntime => "max-runtime",
            Self::ParentDied => "parent-died",
            Self::StartFailed => "start-failed",
            Self::Restart => "restart",
            Self::Replaced => "replaced",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// Why the command is started again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RestartReason {
    /// A signal of `--restart-on`.
    Asked,
    Failure,
    /// It ended well, and `--restart always` does not ask for more.
    Success,
    MaxRuntime,
    StartFailed,
    /// `--live-when` did not hold.
    Unhealthy,
    /// A signal of `--replace-on`: the next one began beside it.
    Replaced,
}

impl RestartReason {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Failure => "failure",
            Self::Success => "success",
            Self::MaxRuntime => "max-runtime",
            Self::StartFailed => "start-failed",
            Self::Unhealthy => "unhealthy",
            Self::Replaced => "replaced",
        }
    }
}
