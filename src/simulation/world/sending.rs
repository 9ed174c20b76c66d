//! Sends signals to the child, its group or all that is left, as `kernel::sending` and `kernel::telling` do.

use std::mem;

use super::World;
use super::processes::{Process, US};
use crate::machine::roots::{Had, LeftBehind, Treatment, judge};
use crate::machine::{Event, Whom};
use crate::plan::Target;
use crate::record;
use crate::record::waited::Waited;
use crate::words::signal::Signal;

impl World {
    pub(super) fn send(&mut self, target: Target, signal: Signal) {
        let Some(main) = self.life.child else {
            return;
        };
        self.life.sent_kill |= signal == Signal::KILL;
        match target {
            Target::Child => self.deliver(main, signal),
            Target::Group => {
                let group = self.process(main).map_or(main, |one| one.group);
                let pids = self.pids(|one| one.group == group && self.is_of_this(one));
                self.deliver_to(&pids, signal);
            }
            Target::Tree => {
                let named = self.signal_all(signal);
                if signal == Signal::KILL {
                    let processes = named.into_iter().filter(|one| one.pid != main).collect();
                    self.queue.push_back(Event::Swept { signal, processes });
                }
            }
        }
    }

    /// Signals every process that is left; those that get KILL, or are stopped, for the first time.
    pub(super) fn signal_all(&mut self, signal: Signal) -> Vec<record::Process> {
        let is_kill = signal == Signal::KILL;
        let has_all = self.plan.as_pid1 && self.beside.is_none() && !self.leaves_some();
        if signal == Signal::STOP && has_all {
            return Vec::new();
        }
        let all = is_kill && has_all;
        let mut pids = self.pids(|one| all || self.is_left(one));
        if signal == Signal::STOP {
            let had = |pid: &i32| {
                let one = self.processes.iter().find(|one| one.pid == *pid);
                one.is_some_and(|one| one.told.contains(Signal::STOP))
            };
            let new: Vec<i32> = pids.iter().copied().filter(|pid| !had(pid)).collect();
            pids = new;
        }
        // One was just being started, and was not hit.
        if is_kill && self.answers.one_in(16) {
            let parent = pids.first().copied();
            let alive = parent.and_then(|pid| self.living(pid));
            let alive = alive.filter(|one| !one.stopped && !one.hangs() && !one.works);
            if let Some(generation) = alive.map(|one| one.generation)
                && generation == self.life.number
            {
                self.spawn(US, None);
            }
        }
        let mut named = Vec::new();
        for pid in &pids {
            if let Some(one) = self.processes.iter_mut().find(|one| one.pid == *pid) {
                let is_new = !one.named;
                one.named |= is_kill;
                if signal == Signal::STOP || is_new && !self.life.jobs.has_given_up(one.group) {
                    named.push(record::Process::new(*pid, "left"));
                }
            }
        }
        self.deliver_to(&pids, signal);
        named
    }

    pub(super) fn continue_stopped(&mut self, target: Target) {
        let Some(main) = self.life.child else {
            return;
        };
        let group = self.process(main).map_or(main, |one| one.group);
        let is_meant = |one: &Process| match target {
            Target::Child => one.pid == main,
            Target::Group => one.group == group,
            Target::Tree => self.is_of_this(one),
        };
        for pid in self.pids(|one| one.stopped && is_meant(one)) {
            self.deliver(pid, Signal::CONT);
        }
    }

    pub(super) fn look_who_is_there(&mut self) {
        let Some(main) = self.life.child else {
            return;
        };
        let waited = |pid: i32| Waited {
            pid,
            command: "left".to_owned(),
            why: None,
        };
        let others = self.pids(|one| one.pid != main && self.is_left(one));
        let all = [main].into_iter().chain(others).map(waited).collect();
        self.queue.push_back(Event::StillThere(all));
    }

    pub(super) fn tell_left(&mut self, whom: Whom) {
        self.reaping = true;
        let by_platform = self.answers.one_in(8);
        let had = |one: &Process| {
            let asks = |signal: &Signal| *signal == Signal::TERM || !one.ignores.contains(*signal);
            let mut told = one.told.iter().filter(|signal| whom.had.contains(*signal));
            match whom.asked {
                _ if told.any(|signal| asks(&signal)) => Had::Yes,
                Some((_, at)) if by_platform && one.born <= at => Had::Perhaps,
                _ => Had::No,
            }
        };
        let members = self.processes.iter();
        let members = members.filter(|one| one.lives() && self.is_left(one));
        let left: Vec<(LeftBehind, bool)> = members
            .map(|one| {
                let (pid, parent, had) = (one.pid, one.parent, had(one));
                (LeftBehind { pid, parent, had }, one.stopped)
            })
            .collect();
        let all: Vec<LeftBehind> = left.iter().map(|(left, _)| *left).collect();
        let verdicts = judge(&all, whom.rest);
        let held_back = verdicts.contains(&Treatment::HoldBack);
        let (mut processes, mut before) = (Vec::new(), Vec::new());
        for ((left, stopped), verdict) in left.into_iter().zip(verdicts) {
            let process = record::Process::new(left.pid, "left");
            match verdict {
                Treatment::HoldBack => continue,
                Treatment::Wait => before.push(process),
                Treatment::Ask => {
                    if let Some(one) = self.process(left.pid) {
                        self.asked_twice |= mem::replace(&mut one.asked, true);
                    }
                    self.deliver_to(&[left.pid], Signal::TERM);
                    processes.push(process);
                }
            }
            if stopped {
                self.deliver(left.pid, Signal::CONT);
            }
        }
        self.queue.push_back(Event::NotTold { before, held_back });
        let signal = Signal::TERM;
        self.queue.push_back(Event::Swept { signal, processes });
    }
}
