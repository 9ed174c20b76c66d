//! What a terminal that we share with the child means: who has got a signal already, who goes on after a stop.

use std::time::Duration;

use super::Kernel;
use crate::machine::Event;
use crate::plan::Target;
use crate::record::Sender;
use crate::signal::Signal;
use crate::sys::reap;
use crate::sys::signals::{self, Taken};
use crate::sys::terminal;

impl Kernel {
    /// Whether the child has got a signal that we got, too, so that it must not get it a second time.
    pub(super) fn reached_child(&self, taken: Taken) -> bool {
        let Taken { signal, sender } = taken;
        let Some(main) = self.main.filter(|_| self.shares_terminal()) else {
            return false;
        };
        match sender {
            // What a timer raises that was set before we were (alarm(2) lasts through exec) is ours alone.
            Sender::Kernel if !signal.comes_from_a_terminal() => false,
            // A hangup, and the CONT that comes with it, goes to the session's leader alone.
            Sender::Kernel => {
                let for_leader = [Signal::HUP, Signal::CONT].contains(&signal);
                !(for_leader && terminal::is_session_leader())
            }
            // `fg` after the whole job was stopped, by a STOP that nobody can see coming.
            Sender::Pid(_) if signal == Signal::CONT => reap::was_continued(main),
            // A program that suspends itself stops its whole job, and takes us for a part of it. Sent
            // back to it, its own TSTP would suspend it again and again where nothing can stop it (an
            // orphaned group, as in a container).
            Sender::Pid(pid) => {
                signal.stops_a_process()
                    && ![self.parent, self.own_pid].contains(&pid)
                    && terminal::is_in_our_group(pid)
            }
            Sender::Outside => false,
        }
    }

    pub(super) fn shares_terminal(&self) -> bool {
        self.terminal.is_some() && self.main.is_some_and(terminal::is_in_our_group)
    }

    /// The main child was stopped; `None` where that is settled already.
    pub(super) fn child_stopped(&mut self, child: i32, signal: Signal) -> Option<Event> {
        let terminal = self.terminal.as_ref()?;
        let needs_terminal = [Signal::TTIN, Signal::TTOU].contains(&signal);
        if needs_terminal && terminal.lend(child) {
            self.send(Target::Group, Signal::CONT);
            return None;
        }
        Some(Event::ChildStopped {
            signal,
            shell_waits: !terminal::is_session_leader(),
        })
    }

    #[inline(never)]
    pub(super) fn suspend(&mut self, signal: Signal) {
        if let (Some(terminal), Some(main)) = (&self.terminal, self.main)
            && terminal.suspend(main, signal)
        {
            self.send(Target::Group, Signal::CONT);
        }
    }

    /// Takes what was sent to us until now, before there is a child in our group that gets it as well.
    pub(super) fn take_what_came_before_the_child(&mut self) {
        if self.terminal.is_none() {
            return;
        }
        while let Some(taken) = signals::take(Some(Duration::ZERO)) {
            if let Some(event) = self.received(taken) {
                self.queue.push_back(event);
            }
        }
    }
}
