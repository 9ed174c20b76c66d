//! The terminal that we share with the child: which signals the child has got already, and what continues
//! after a stop.

use std::time::Duration;

use super::Kernel;
use crate::drive::World;
use crate::machine::Event;
use crate::plan::Target;
use crate::record::Sender;
use crate::sys::reap;
use crate::sys::signals::{self, Taken};
use crate::sys::terminal;
use crate::sys::tree;
use crate::words::signal::Signal;

/// Whether the main child is stopped, as wait(2) has reported.
#[derive(Default)]
pub(super) struct Halt {
    stopped: bool,
    /// It was continued, which was not reported yet.
    continued: bool,
    /// It got a signal that is to end it while no stop of it was known. If a stop is reported now, it
    /// began before or keeps the child from acting on the signal.
    owed: bool,
    /// INT or QUIT from the terminal has come, or has been waited for.
    pub(super) terminal_came: bool,
}

/// How long a signal from the terminal that has reached the child may take to reach us. The kernel sends it
/// to the whole group at once, so this is long enough.
const SOON: Duration = Duration::from_millis(20);

impl Halt {
    /// It was stopped; true if it is to be continued at once.
    pub(super) fn stops(&mut self) -> bool {
        self.stopped = true;
        self.continued = false;
        std::mem::take(&mut self.owed)
    }

    /// wait(2) has reported that it was continued, possibly without having reported the stop.
    pub(super) fn was_continued(&mut self) {
        self.stopped = false;
        self.continued = true;
    }

    /// It got a stop signal; true where it must be continued to act on it.
    fn asked_to_end(&mut self) -> bool {
        self.owed = !self.stopped;
        self.stopped
    }

    /// It got a stop signal of job control.
    pub(super) fn asked_to_stop(&mut self) {
        self.owed = false;
    }

    /// Whether it was continued since it was stopped; true once.
    fn takes_continued(&mut self, child: i32) -> bool {
        let told = std::mem::take(&mut self.continued);
        let untold = reap::was_continued(child);
        self.stopped &= !untold;
        told || untold
    }
}

/// A wait that is so much longer than it was to be is one in which nothing of us ran.
const HELD_UP: Duration = Duration::from_millis(250);

impl Kernel {
    /// Continues the stopped processes of the target, so that they can act on the signal. Running
    /// processes get no CONT: programs have handlers for it.
    pub(super) fn continue_stopped(&mut self, target: Target) {
        let Some(main) = self.life.child.pid else {
            return;
        };
        let main_is_stopped = self.life.child.halt.asked_to_end();
        let group = self.life.heir.group.unwrap_or(main);
        let looked = match target {
            Target::Child => {
                if main_is_stopped {
                    signals::send_if_there(main, Signal::CONT);
                }
                return;
            }
            Target::Group if self.shares_terminal() => {
                let ours = nix::unistd::getpgrp().as_raw();
                tree::signal_among(Signal::CONT, |member, all| {
                    member.stopped && member.group == ours && self.is_of_this(member, all)
                })
            }
            Target::Group => tree::signal(Signal::CONT, |member| {
                member.stopped && member.group == group
            }),
            Target::Tree => tree::signal_among(Signal::CONT, |member, all| {
                member.stopped && self.is_of_this(member, all)
            }),
        };
        if looked.is_none() {
            // It is not known which are stopped, and one that stays stopped would be killed.
            self.send(target, Signal::CONT);
        }
    }

    /// Whether the child has got a signal that we got, too, so that it must not get it a second time.
    pub(super) fn reached_child(&mut self, taken: Taken) -> bool {
        let Taken { signal, sender } = taken;
        let Some(main) = self.life.child.pid.filter(|_| self.shares_terminal()) else {
            return false;
        };
        match sender {
            // The signal of a timer that was set before our exec (alarm(2)) is for us alone.
            Sender::Kernel if !signal.comes_from_a_terminal() => false,
            // A hangup and the CONT that comes with it go to the leader of the session alone.
            Sender::Kernel => {
                let for_leader = [Signal::HUP, Signal::CONT].contains(&signal);
                !(for_leader && terminal::is_session_leader())
            }
            // `fg` after the whole job was stopped by a STOP, which cannot be seen.
            Sender::Pid(_) if signal == Signal::CONT => self.life.child.halt.takes_continued(main),
            // A program that suspends itself stops its whole job, to which we belong. Sent back to
            // it, its own TSTP would suspend it again and again where nothing can stop it (an
            // orphaned group, as in a container).
            Sender::Pid(pid) => {
                signal.stops_a_process()
                    && ![self.parent, self.own_pid].contains(&pid)
                    && terminal::is_in_our_group(pid)
            }
            Sender::Outside => false,
        }
    }

    /// What the terminal sends goes to the processes of a group one after the other: a child may have died
    /// of it before it is pending for us. It counts first, while the child can still be seen to have had it
    /// as well; otherwise what the child leaves behind would be asked twice.
    pub(super) fn terminal_comes_first(&mut self) -> Option<Taken> {
        let main = self
            .life
            .child
            .pid
            .filter(|_| !self.life.child.halt.terminal_came)?;
        let signal = reap::died_of(main)?;
        let typed = [Signal::INT, Signal::QUIT].contains(&signal) && self.shares_terminal();
        self.life.child.halt.terminal_came = true;
        typed.then(|| signals::take_only(signal, SOON))?
    }

    pub(super) fn shares_terminal(&self) -> bool {
        self.terminal.is_some() && self.life.child.pid.is_some_and(terminal::is_in_our_group)
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
            shell_waits: terminal::a_shell_waits(),
        })
    }

    /// Whether it is a Ctrl-Z that no child gets, so that a shell would wait in vain for its job to stop.
    pub(super) fn stops_no_child(&self, taken: Taken) -> bool {
        let Taken { signal, sender } = taken;
        let is_typed = signal == Signal::TSTP && sender == Sender::Kernel;
        is_typed
            && self.terminal.is_some()
            && self.life.child.pid.is_none()
            && !self.plan.stop_on.contains(signal)
            && self.plan.rewritten(signal) == Some(signal)
            && terminal::a_shell_waits()
    }

    pub(super) fn suspend(&mut self, signal: Signal) {
        let Some(terminal) = &self.terminal else {
            return;
        };
        let began = self.now();
        match self.life.child.pid {
            None => terminal.suspend_alone(signal),
            Some(main) => {
                let resumed = terminal.suspend(main, signal);
                if resumed.is_some() {
                    self.life.child.halt.stopped = false;
                }
                if resumed == Some(true) {
                    self.send(Target::Group, Signal::CONT);
                }
            }
        }
        let after = self.now().saturating_sub(began);
        self.queue.push_back(Event::Resumed(after));
    }

    /// What ran out while nothing ran (a frozen container, as docker pause and docker commit have it) is no fault of the
    /// child: it has the time of that wait once more. Not twice in a row: on a machine that is always late, time has to
    /// run out, too.
    pub(super) fn notice_halt(&mut self, began: Duration, until: Option<Duration>) {
        let now = self.now();
        let is_late = |until: Duration| now.saturating_sub(until.max(began)) > HELD_UP;
        let is_held_up = until.is_some_and(is_late);
        let was_held_up = std::mem::replace(&mut self.was_held_up, is_held_up);
        if is_held_up && !was_held_up {
            self.queue
                .push_back(Event::Resumed(now.saturating_sub(began)));
        }
    }

    /// Takes what was sent to us until now, before there is a child in our group that gets it as well.
    pub(super) fn take_what_came_before_the_child(&mut self) {
        if self.terminal.is_none() {
            return;
        }
        // The one that serves may have got it.
        let is_aside = self.is_aside && self.swap().is_some();
        for taken in signals::take_pending() {
            if let Some(event) = self.received(taken) {
                self.queue.push_back(event);
            }
        }
        if is_aside {
            self.swap();
        }
    }
}
