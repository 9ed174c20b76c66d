//! What the end of a child means, and what a signal means that has come: as `kernel::reaping` and
//! `kernel::receiving` have it.

use std::mem;

use super::life::Life;
use super::processes::{KILLED, Process, US};
use super::{Job, PARENT, Pending, World};
use crate::machine::{Event, Received};
use crate::record::{CountedFrom, ExitStatus, HookResult, Sender};
use crate::words::signal::Signal;

impl World {
    pub(super) fn reap_one(&mut self) -> Option<Event> {
        if self.terminal
            && let Some(taken) = self.terminal_comes_first()
        {
            return self.received(taken);
        }
        if let Some((pid, signal)) = self.stops.pop() {
            let is_beside = self
                .beside
                .as_ref()
                .is_some_and(|life| life.child == Some(pid));
            if !is_beside && self.life.child == Some(pid) {
                return self.child_stopped(signal);
            }
            if is_beside {
                let event = self
                    .for_beside(|world| world.child_stopped(signal))
                    .flatten();
                let generation = self.beside.as_ref().map_or(0, |life| life.number);
                return event.map(|event| event.of(generation));
            }
            return None;
        }
        let dead = |one: &Process| one.parent == US && !one.lives();
        let Some(index) = self.processes.iter().position(dead) else {
            return self.nothing_to_reap();
        };
        let one = self.processes.remove(index);
        let beside = self.beside.as_deref();
        let is_its = |life: &&Life| life.child == Some(one.pid) || life.jobs.has(one.pid);
        if let Some(number) = beside.filter(is_its).map(|life| life.number) {
            let event = self.for_beside(|world| world.ended(&one)).flatten();
            let event = event.map(|event| event.of(number));
            return event.and_then(|event| self.after_what_is_queued(event));
        }
        self.ended(&one)
    }

    fn nothing_to_reap(&mut self) -> Option<Event> {
        self.reaping = false;
        if self.processes.iter().any(|one| one.parent == US) {
            self.tell_who_has_none();
            return self.queue.pop_front();
        }
        if self.life.told_none {
            // The one beside may have had some until now.
            self.for_beside(Self::tell_if_none);
            return self.queue.pop_front();
        }
        self.life.told_none = true;
        if let Some(beside) = &mut self.beside {
            beside.told_none = true;
        }
        Some(Event::NoneLeft)
    }

    fn tell_who_has_none(&mut self) {
        if self.beside.is_none() {
            return;
        }
        let generation = self.life.number;
        let earlier = mem::take(&mut self.queue);
        self.tell_if_none();
        let told = mem::replace(&mut self.queue, earlier);
        self.queue
            .extend(told.into_iter().map(|event| event.of(generation)));
        self.for_beside(Self::tell_if_none);
    }

    fn tell_if_none(&mut self) {
        let number = self.life.number;
        let has_some = self.processes.iter().any(|one| one.generation == number);
        if !self.life.told_none && self.life.child.is_none() && !has_some {
            self.life.told_none = true;
            self.queue.push_back(Event::NoneLeft);
        }
    }

    fn ended(&mut self, one: &Process) -> Option<Event> {
        let (pid, status) = (one.pid, one.status.unwrap_or(KILLED));
        let groups: Vec<i32> = self.processes.iter().map(|one| one.group).collect();
        self.life
            .jobs
            .forget_empty(|group| !groups.contains(&group));
        if status == KILLED && !self.life.sent_kill && self.answers.one_in(2) {
            self.kills += 1;
            let kills = u64::from(self.kills);
            let counted_from = if self.plan.as_pid1 {
                CountedFrom::Start
            } else {
                CountedFrom::Cgroup
            };
            let limit = Some(32 << 20);
            self.queue.push_back(Event::OomKilled {
                kills,
                before_this_life: 0,
                counted_from,
                limit,
            });
        }
        if self.life.child == Some(pid) {
            self.life.child = None;
            self.life.relay = false;
            self.life.heir.ended = Some(pid);
            return self.after_what_is_queued(Event::ChildExited(status));
        }
        let event = match self.life.jobs.take(pid) {
            Some(Job::Hook(hook)) => Event::HookEnded {
                hook,
                result: HookResult::Ended(status),
            },
            Some(Job::StopCommand { step }) => Event::StopCommandEnded {
                step,
                result: HookResult::Ended(status),
            },
            Some(Job::Look { at, number }) => {
                self.look_ended(at, number, status);
                return self.queue.pop_front();
            }
            None => {
                self.orphan_ended(pid, status);
                Event::Reaped { pid, status }
            }
        };
        self.after_what_is_queued(event)
    }

    fn orphan_ended(&mut self, pid: i32, status: ExitStatus) {
        if self.plan.main_pid.is_some() {
            self.life.heir.orphans.push((pid, status));
        }
    }

    fn after_what_is_queued(&mut self, event: Event) -> Option<Event> {
        if self.queue.is_empty() {
            return Some(event);
        }
        self.queue.push_back(event);
        self.queue.pop_front()
    }

    fn child_stopped(&mut self, signal: Signal) -> Option<Event> {
        if !self.terminal {
            return None;
        }
        let shell_waits = self.answers.one_in(2);
        Some(Event::ChildStopped {
            signal,
            shell_waits,
        })
    }

    /// The child may have died of what the terminal sends before that is pending for us.
    fn terminal_comes_first(&mut self) -> Option<Pending> {
        let child = self.life.child.filter(|_| !self.life.terminal_came)?;
        let status = self.process(child)?.status?;
        let ExitStatus::Killed { signal, .. } = status else {
            return None;
        };
        if ![Signal::INT, Signal::QUIT].contains(&signal) {
            return None;
        }
        self.life.terminal_came = true;
        let index = self.pending.iter().position(|one| one.signal == signal)?;
        Some(self.pending.remove(index))
    }

    pub(super) fn shares_terminal(&self) -> bool {
        self.terminal && self.life.child.is_some()
    }

    /// A Ctrl-Z that no child gets, under a shell that waits for its job to stop.
    fn stops_no_child(&mut self, taken: Pending) -> bool {
        let Pending { signal, sender } = taken;
        self.terminal
            && (signal, sender) == (Signal::TSTP, Sender::Kernel)
            && self.life.child.is_none()
            && !self.plan.stop_on.contains(signal)
            && self.plan.rewritten(signal) == Some(signal)
            && self.answers.one_in(2)
    }

    /// What a signal means; `None` is nothing that the machine must know.
    pub(super) fn received(&mut self, taken: Pending) -> Option<Event> {
        let Pending { signal, sender } = taken;
        let child = self.life.child;
        let passes = self.passed_on.contains(signal)
            && sender != Sender::Kernel
            && !(self.terminal && signal.is_job_control())
            && !(self.plan.parent_death_signal.is_some() && sender == Sender::Pid(PARENT));
        if let (true, Some(child)) = (passes, child) {
            self.deliver(child, signal);
            return Some(Event::PassedOn(signal));
        }
        if self.stops_no_child(taken) {
            return Some(Event::StopTyped);
        }
        let by_terminal = sender == Sender::Kernel && signal.comes_from_a_terminal();
        let reached_child = self.shares_terminal() && by_terminal;
        if reached_child {
            self.life.terminal_came |= [Signal::INT, Signal::QUIT].contains(&signal);
        }
        let ignored = self.ignores.contains(signal);
        Some(Event::Signal(Received {
            signal,
            sender,
            reached_child,
            ignored,
        }))
    }
}
