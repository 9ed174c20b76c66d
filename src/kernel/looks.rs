//! The looks of the generation whose turn it is: which one is due, and when the next one is.

use std::mem;
use std::time::Duration;

use super::Kernel;

impl Kernel {
    pub(super) fn look_at_connections(&mut self, now: Duration) {
        if self.life.connections.next_look().is_none_or(|at| now < at) {
            return;
        }
        let mut connections = mem::take(&mut self.life.connections);
        let mut queue = mem::take(&mut self.queue);
        connections.look(now, || self.pids_of_tree(), &mut queue);
        (self.life.connections, self.queue) = (connections, queue);
    }

    /// Does the next one that is due; whether there was one.
    pub(super) fn look(&mut self, now: Duration) -> bool {
        let is_due = |at: Option<Duration>| at.is_some_and(|at| at <= now);
        if is_due(self.wait_look_at()) {
            self.look_at_wait();
        } else if is_due(self.probe_at()) {
            self.probe();
        } else if is_due(self.watch_look_at()) {
            self.look_at_watch();
        } else if is_due(self.ask_at()) {
            self.ask();
        } else if is_due(self.life.heir.next_look()) {
            self.look_for_heir();
        } else if self.life.child.cgroup.is_look_due(now) {
            self.reaping.is_due = true;
        } else {
            return false;
        }
        true
    }

    /// When the next one is due.
    pub(super) fn next_look(&self) -> Option<Duration> {
        let looks = [
            self.wait_look_at(),
            self.probe_at(),
            self.watch_look_at(),
            self.ask_at(),
            self.life.connections.next_look(),
            self.life.child.cgroup.next_look(),
            self.life.heir.next_look(),
        ];
        looks.into_iter().flatten().min()
    }
}
