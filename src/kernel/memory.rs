//! Finds out whether the kernel has killed for lack of memory, and reports that before the end of
//! the process itself.
//!
//! A plain run reads nothing at its start: the counter is read when a process was ended by a KILL that was
//! not ours, or when the child of PID 1 has failed. In a container it counts from the container's start;
//! elsewhere it may count kills before this run, and the message says "perhaps". With hooks, files or an
//! endpoint it is read at the start, too, and again at the end, so that kills of processes that are not our
//! children count as well.

use std::ffi::OsString;

use super::Kernel;
use crate::machine::Event;
use crate::record::{CountedFrom, ExitStatus, killed_by};
use crate::sys::oom::Counter;
use crate::words::signal::Signal;

/// The counter, once it was looked for, and what is known of it.
#[derive(Default)]
pub(super) struct OomKills {
    counter: Option<Option<Counter>>,
    /// Hooks, files or the endpoint need it, not only the log.
    watched: bool,
    /// The counter at the start.
    before: Option<u64>,
    pub(super) told: u64,
}

impl OomKills {
    fn counter(&mut self) -> Option<&Counter> {
        let find = || {
            let found = Counter::find();
            match &found {
                Some(counter) => {
                    tracing::debug!("kills for lack of memory are counted in {counter}")
                }
                None => tracing::debug!("no cgroup counts kills for lack of memory"),
            }
            found
        };
        self.counter.get_or_insert_with(find).as_ref()
    }

    /// The kills, and whether they are certainly of this run.
    fn kills(&mut self, is_first: bool) -> Option<(u64, CountedFrom)> {
        let before = self.before;
        let counter = self.counter()?;
        let now = counter.read()?;
        Some(match before {
            Some(before) => (now.saturating_sub(before), CountedFrom::Start),
            None if counter.is_containers && is_first => (now, CountedFrom::Start),
            None => (now, CountedFrom::Cgroup),
        })
    }
}

impl Kernel {
    /// With files, an endpoint or hooks every kill counts.
    pub(crate) fn watch_memory(&mut self) {
        self.memory.watched = true;
    }

    /// Reads the counter at the start, if its value then is needed.
    pub(super) fn begin_to_watch_memory(&mut self) {
        if self.memory.watched && self.memory.before.is_none() {
            let counter = self.memory.counter();
            self.memory.before = counter.and_then(Counter::read);
        }
    }

    /// A process has ended.
    pub(super) fn suspect_lack_of_memory(&mut self, pid: i32, status: ExitStatus) {
        let is_main = self.life.child.pid == Some(pid);
        // A shell in front of the program exits with 128+n.
        let is_kill = status.code() == killed_by(Signal::KILL);
        // A master reaps its workers itself and then exits with a status of its own. Where the counter is
        // that of the container, there is no doubt.
        let gave_up = self.own_pid == 1 && matches!(status, ExitStatus::Exited(1..=125));
        let child = &self.life.child;
        let is_not_ours = !child.sent_kill && (is_main || !child.killed_job);
        if is_kill && is_not_ours || is_main && (self.memory.watched || gave_up) {
            self.look_at_memory();
        }
    }

    fn look_at_memory(&mut self) {
        let is_first = self.own_pid == 1;
        let Some((kills, counted_from)) = self.memory.kills(is_first) else {
            return;
        };
        if kills > self.memory.told {
            self.memory.told = kills;
            let limit = self.memory.counter().and_then(Counter::limit);
            self.queue.push_back(Event::OomKilled {
                kills,
                before_this_life: self.life.oom_kills_before,
                counted_from,
                limit,
            });
        }
    }

    /// What hooks and stop commands are told besides the facts. A number only where it is one of this run.
    pub(super) fn told(&mut self) -> Vec<(OsString, OsString)> {
        self.begin_to_watch_memory();
        self.look_at_memory();
        let known = self.memory.before.is_some();
        let kills = known.then(|| self.memory.told.to_string());
        let kills = (
            "STEPDOWN_OOM_KILLS".into(),
            kills.unwrap_or_default().into(),
        );
        self.start.last.iter().cloned().chain([kills]).collect()
    }
}
