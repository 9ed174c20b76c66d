//! What the progress of a run consists of besides numbers.

use std::time::Duration;

use serde::Serialize;

use crate::record::held::HeldConnection;
use crate::record::{NotReady, Outcome, RestartReason};
use crate::tell::progress::Progress;

/// Whether requests shall come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum ReadyState {
    /// Not yet, and why, once it was looked.
    NotYet(Option<String>),
    Ready,
    /// Not any more, why, and since when.
    NotReady(NotReady, Duration),
    /// It will be started again.
    Restarting,
}

/// How the last life of the command that is over ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LastExit {
    pub(crate) generation: u32,
    pub(crate) outcome: Outcome,
    /// `None` where nothing follows.
    pub(crate) restart: Option<RestartReason>,
    /// A stop was asked for.
    pub(crate) asked: bool,
    /// The child outlived everything.
    pub(crate) left: bool,
    pub(crate) clean: bool,
    pub(crate) at: Duration,
}

/// The generation beside the one that serves.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Beside {
    pub(super) generation: u32,
    /// `coming` until it serves, `leaving` once it has served.
    pub(super) stage: &'static str,
    /// How far it has come; what is said to be of the whole run is not known there.
    #[serde(skip)]
    pub(super) progress: Box<Progress>,
}

/// The connections that hold up the drain, as they were at that time.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct HeldUp {
    pub(super) connections: u32,
    pub(super) oldest: Vec<HeldConnection>,
    #[serde(skip)]
    pub(super) at: Duration,
}

impl HeldUp {
    /// As they are now, if they are still the same.
    pub(super) fn now(mut self, now: Duration) -> Self {
        let since = now.saturating_sub(self.at);
        for held in &mut self.oldest {
            held.waited = held.waited.saturating_add(since);
        }
        self
    }
}

/// A socket of `--listen`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Listening {
    pub(crate) name: String,
    pub(crate) address: String,
}
