//! What a signal means that has come: the child's at once, an event for the machine, or nothing.

use std::time::Instant;

use nix::unistd::getppid;

use super::Kernel;
use crate::machine::{Event, Received};
use crate::record::Sender;
use crate::sys::signals::{self, Taken};
use crate::words::signal::Signal;

impl Kernel {
    pub(super) fn watch_parent(&mut self) {
        let Some(signal) = self.plan.parent_death_signal else {
            return;
        };
        signals::ask_for_parent_death(self.parent_death_notice(signal));
        // It may have died before the kernel knew that we want to be told.
        if getppid().as_raw() != self.parent {
            self.queue.push_back(Event::ParentDied);
        }
    }

    /// The signal that our parent's death sends us. KILL and STOP would do to us what they are meant
    /// to do to the child; but the end of PID 1 is the end of the child, too.
    fn parent_death_notice(&self, signal: Signal) -> Signal {
        if [Signal::KILL, Signal::STOP].contains(&signal) && self.own_pid != 1 {
            Signal::TERM
        } else {
            signal
        }
    }

    /// Sends a signal on at once, if nothing about it is to be decided. What a terminal has to do with is
    /// not among them: the child may have got it already.
    pub(super) fn pass_on(&self, taken: Taken) -> bool {
        self.passed_on.contains(taken.signal)
            && taken.sender != Sender::Kernel
            && !(self.terminal.is_some() && taken.signal.is_job_control())
            && !(self.plan.parent_death_signal.is_some()
                && taken.sender == Sender::Pid(self.parent))
            && self
                .life
                .child
                .pid
                .is_some_and(|main| signals::send(main, taken.signal).is_ok())
    }

    /// What a signal means; `None` is nothing that the machine must know.
    pub(super) fn received(&mut self, taken: Taken) -> Option<Event> {
        let Taken { signal, sender } = taken;
        if signal == Signal::CHLD {
            // A hint only: several children may stand behind one, and none behind a forged one.
            self.reaping.is_due = true;
            return None;
        }
        // A signal that our own write raised (PIPE, XFSZ) is not forwarded. Anything else that bears
        // our pid was pending when we were started: the program before us in this process sent it.
        if [Signal::PIPE, Signal::XFSZ].contains(&signal) && sender == Sender::Pid(self.own_pid) {
            return None;
        }
        let notice = self.plan.parent_death_signal;
        if notice.map(|asked| self.parent_death_notice(asked)) == Some(signal)
            && sender == Sender::Pid(self.parent)
            && getppid().as_raw() != self.parent
        {
            return Some(Event::ParentDied);
        }
        let reached_child = self.reached_child(taken);
        if reached_child {
            self.life.child.halt.terminal_came |= [Signal::INT, Signal::QUIT].contains(&signal);
            let group = nix::unistd::getpgrp().as_raw();
            self.life.child.told.group(group, signal, Instant::now());
        }
        let ignored = [Signal::INT, Signal::QUIT].contains(&signal) && signals::is_ignored(signal);
        Some(Event::Signal(Received {
            signal,
            sender,
            reached_child,
            ignored,
        }))
    }
}
