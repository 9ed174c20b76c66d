//! When the command lives once more, and how often.

use std::time::Duration;

use crate::plan::SuccessExit;
use crate::words::signal::SignalSet;

/// After which ends the command is started again (`--restart`; systemd.service(5), `Restart=`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Restart {
    #[default]
    No,
    /// After an end whose exit status is not 0 once `--success-exit` has been applied.
    OnFailure,
    Always,
}

impl Restart {
    /// The words for each, the default first.
    pub(crate) const ALL: [(&str, Self); 3] = [
        ("no", Self::No),
        ("on-failure", Self::OnFailure),
        ("always", Self::Always),
    ];
}

/// How many restarts there may be after ends that nobody asked for (`--restart-limit`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Limit {
    pub(crate) times: u32,
    /// Only those of so long ago count; `None` counts all of the run.
    pub(crate) within: Option<Duration>,
}

/// Everything that was asked of the supervisor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Supervision {
    pub(crate) restart: Restart,
    /// Between an end and the next start; it doubles with each restart, up to the longest.
    pub(crate) delay: Duration,
    pub(crate) longest_delay: Duration,
    /// `None` never gives up.
    pub(crate) limit: Option<Limit>,
    /// Exit codes and signals after which there is no restart.
    pub(crate) never_on: SuccessExit,
    /// A command that cannot be started is tried again, too.
    pub(crate) start_failures: bool,
    /// Signals that ask for the stop sequence and the next start.
    pub(crate) restart_on: SignalSet,
    /// Signals that ask for the next generation beside the one that serves, and in its place once it is ready.
    pub(crate) replace_on: SignalSet,
}

/// After so long in the state "ready" a command is healthy: its next restart has the first delay again.
pub(crate) const HEALTHY_AFTER: Duration = Duration::from_secs(60);
