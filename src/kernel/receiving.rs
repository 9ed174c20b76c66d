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
        signals::ask_for_parent_death(self.death_notice(signal));
        // It may have died before the kernel knew that we want to be told.
        if getppid().as_raw() != self.parent {
            self.queue.push_back(Event::ParentDied);
        }
    }

    /// The signal that the kernel sends us when the thread ends that has started us, and with the last one our
    /// parent: one that nobody else sends, for nothing else about it tells what it is. But where KILL or STOP is
    /// wanted, and we are PID 1, it is that: our end is the end of the child, too.
    fn death_notice(&self, wanted: Signal) -> Signal {
        if [Signal::KILL, Signal::STOP].contains(&wanted) && self.own_pid == 1 {
            wanted
        } else {
            Signal::RESERVED
        }
    }

    /// Whether our parent has sent it; one outside our PID namespace has no pid here.
    fn is_from_parent(&self, sender: Sender) -> bool {
        sender == Sender::Pid(self.parent) || sender == Sender::Outside && self.parent == 0
    }

    /// Sends a signal on at once, if nothing about it is to be decided. What a terminal has to do with is
    /// not among them: the child may have got it already.
    pub(super) fn pass_on(&self, taken: Taken) -> bool {
        self.passed_on.contains(taken.signal)
            && taken.sender != Sender::Kernel
            && !(self.terminal.is_some() && taken.signal.is_job_control())
            && !(self.plan.parent_death_signal.is_some() && self.is_from_parent(taken.sender))
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
        if self.plan.parent_death_signal.is_some()
            && signal == Signal::RESERVED
            && self.is_from_parent(sender)
        {
            // Otherwise another thread of our parent is there. Of one outside that is not known.
            let is_gone = self.parent == 0 || getppid().as_raw() != self.parent;
            return is_gone.then_some(Event::ParentDied);
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
