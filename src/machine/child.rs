//! What is known of the main child.

use std::time::Duration;

use super::heir::Search;
use crate::record::{ExitStatus, StartFailure};
use crate::words::signal::Signal;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Life {
    #[default]
    NotStarted,
    Alive(i32),
    Ended(i32, ExitStatus),
    /// It outlived even KILL.
    Left(i32),
}

/// See the module's first sentence.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Child {
    pub(super) life: Life,
    pub(super) started_at: Duration,
    /// Why it could not be started, or was not ready in time.
    pub(super) failure: Option<StartFailure>,
    /// The kernel has killed for lack of memory.
    pub(super) out_of_memory: bool,
    /// The last signal that was only forwarded: by the name it came by, as it was sent, and when.
    pub(super) forwarded: Option<(Signal, Signal, Duration)>,
    /// How often it wants to say that it is alive, where it says so itself: it may be not at all.
    pub(super) watchdog: Option<Option<Duration>>,
    /// How many it says that it has in flight.
    pub(super) says_in_flight: Option<u32>,
    /// There once the main process has ended, as long as another one may take its place (`--main-pid`).
    pub(super) search: Option<Search>,
}

impl Child {
    pub(super) fn is_alive(&self) -> bool {
        matches!(self.life, Life::Alive(_))
    }

    /// It lives, or its heir may.
    pub(super) fn may_live(&self) -> bool {
        self.is_alive() || self.search.is_some()
    }

    pub(super) fn pid(&self) -> Option<i32> {
        match self.life {
            Life::NotStarted => None,
            Life::Alive(pid) | Life::Ended(pid, _) | Life::Left(pid) => Some(pid),
        }
    }

    pub(super) fn status(&self) -> Option<ExitStatus> {
        match self.life {
            Life::Ended(_, status) => Some(status),
            _ => None,
        }
    }
}
