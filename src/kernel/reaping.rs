//! Takes the children that have ended from the kernel, and says what each end means.

use super::Kernel;
use super::jobs::Job;
use crate::machine::Event;
use crate::record::{ExitStatus, HookResult};
use crate::sys::fork::Said;
use crate::sys::last_resort;
use crate::sys::reap::{self, Reaped};
use crate::sys::signals;
use crate::words::signal::Signal;

/// Which children are to be taken from the kernel.
#[derive(Default)]
pub(super) struct Reaping {
    /// SIGCHLD came, or may have: reap before waiting.
    pub(super) is_due: bool,
    /// Children taken since anything else had its turn.
    pub(super) in_a_row: u32,
}

impl Kernel {
    /// `None` where the machine has nothing to know, or `reap` says that there is nothing more.
    pub(super) fn reap_one(&mut self) -> Option<Event> {
        if self.terminal.is_some()
            && let Some(taken) = self.terminal_comes_first()
        {
            return self.received(taken);
        }
        match reap::next(true) {
            reaped @ (Reaped::Ended { pid, .. }
            | Reaped::Stopped { pid, .. }
            | Reaped::Continued { pid })
                if self.is_beside(pid) =>
            {
                self.reaped_beside(reaped)
            }
            reaped => self.reaped(reaped),
        }
    }

    /// What the end, or the stop, of a child means for the generation whose turn it is.
    pub(super) fn reaped(&mut self, reaped: Reaped) -> Option<Event> {
        match reaped {
            Reaped::Ended { pid, status } => self.ended(pid, status),
            Reaped::Stopped { pid, signal } if self.life.child.pid == Some(pid) => {
                if self.life.child.halt.stops() {
                    signals::send_if_there(pid, Signal::CONT);
                }
                self.child_stopped(pid, signal)
            }
            Reaped::Continued { pid } if self.life.child.pid == Some(pid) => {
                self.life.child.halt.was_continued();
                None
            }
            Reaped::Stopped { .. } | Reaped::Continued { .. } => None,
            Reaped::Nothing => {
                self.reaping.is_due = false;
                self.tell_who_has_none();
                self.queue.pop_front()
            }
            Reaped::NoChild => {
                self.reaping.is_due = false;
                if self.life.told_none || self.is_cgroup_populated() {
                    // The one beside may have had some until now.
                    self.for_beside(Self::tell_that_none_is_left);
                    return self.queue.pop_front();
                }
                self.life.told_none = true;
                if let Some(beside) = &mut self.beside {
                    beside.told_none = true;
                }
                Some(Event::NoneLeft)
            }
        }
    }

    fn tell_that_none_is_left(&mut self) {
        if !self.life.told_none && !self.is_cgroup_populated() {
            self.life.told_none = true;
            self.queue.push_back(Event::NoneLeft);
        }
    }

    pub(super) fn ended(&mut self, pid: i32, status: ExitStatus) -> Option<Event> {
        // From now on another process may get this pid.
        let killed = &mut self.life.child.killed;
        if let Ok(index) = killed.binary_search(&pid) {
            killed.remove(index);
        }
        self.life.jobs.forget_empty(signals::is_empty);
        self.suspect_lack_of_memory(pid, status);
        if self.life.child.pid == Some(pid) {
            self.life.child.pid = None;
            if !self.is_aside {
                last_resort::child_ended(status);
            }
            self.life.heir.main_ended(pid);
            return self.after_what_is_queued(Event::ChildExited(status));
        }
        let job = self.life.jobs.take(pid);
        if let Some(job) = job {
            tracing::debug!("{job}: pid {pid} {status}");
        }
        let event = match job {
            Some(Job::Hook(hook)) => {
                // Only a call says something; a program has its own output.
                let said = self.life.hook_said.take().and_then(Said::read);
                let said = said.filter(|_| status != ExitStatus::Exited(0));
                let result = said.map_or(HookResult::Ended(status), HookResult::Failed);
                Event::HookEnded { hook, result }
            }
            Some(Job::StopCommand { step }) => Event::StopCommandEnded {
                step,
                result: HookResult::Ended(status),
            },
            Some(Job::Wait { condition, look }) => {
                self.wait_look_ended(condition, look, status);
                return self.queue.pop_front();
            }
            Some(Job::Probe { look }) => {
                self.look_ended(look, status);
                return self.queue.pop_front();
            }
            Some(Job::Watch { look }) => {
                self.watch_look_ended(look, status);
                return self.queue.pop_front();
            }
            Some(Job::Ask { index, look }) => {
                self.ask_ended(index, look, status);
                return self.queue.pop_front();
            }
            Some(Job::Late) => return self.queue.pop_front(),
            None => {
                self.orphan_ended(pid, status);
                Event::Reaped { pid, status }
            }
        };
        self.after_what_is_queued(event)
    }

    pub(super) fn after_what_is_queued(&mut self, event: Event) -> Option<Event> {
        if self.queue.is_empty() {
            return Some(event);
        }
        self.queue.push_back(event);
        self.queue.pop_front()
    }
}
