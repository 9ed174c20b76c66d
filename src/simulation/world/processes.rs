//! The processes of the world: who lives, whose child each is, and what signals do to them.

use std::time::Duration;

use super::{Coming, World};
use crate::record::ExitStatus;
use crate::words::signal::{Signal, SignalSet};

/// stepdown itself, as a parent and as a process group.
pub(in crate::simulation) const US: i32 = 1;

/// Another reaper (`--subreaper=off`).
const ELSEWHERE: i32 = -1;

/// What keeps KILL from ending it: it hangs in the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stuck {
    No,
    Until(Duration),
    ForEver,
}

#[derive(Clone, Debug)]
pub(in crate::simulation) struct Process {
    pub(in crate::simulation) pid: i32,
    pub(super) parent: i32,
    pub(in crate::simulation) generation: u32,
    pub(super) group: i32,
    /// It works for stepdown, and is none of what the child has started.
    pub(super) works: bool,
    /// It has ended, and its parent has not been told yet.
    pub(super) status: Option<ExitStatus>,
    pub(super) stopped: bool,
    /// What came while it was stopped, and how it was to end by itself.
    held: Vec<Signal>,
    ends_later: Option<ExitStatus>,
    pub(super) stuck: Stuck,
    /// KILL was sent to it.
    pub(in crate::simulation) killed: bool,
    /// That was told.
    pub(super) named: bool,
    /// What it has had that was not for the main child alone.
    pub(super) told: SignalSet,
    /// TERM, sent by stepdown to what is left.
    pub(super) asked: bool,
    pub(super) ignores: SignalSet,
    pub(in crate::simulation) born: Duration,
}

impl Process {
    pub(in crate::simulation) fn lives(&self) -> bool {
        self.status.is_none()
    }

    /// KILL does not end it now.
    pub(in crate::simulation) fn hangs(&self) -> bool {
        self.stuck != Stuck::No
    }
}

pub(super) const KILLED: ExitStatus = ExitStatus::Killed {
    signal: Signal::KILL,
    core: false,
};

impl World {
    pub(super) fn process(&mut self, pid: i32) -> Option<&mut Process> {
        self.processes.iter_mut().find(|one| one.pid == pid)
    }

    pub(super) fn living(&mut self, pid: i32) -> Option<&mut Process> {
        self.process(pid).filter(|one| one.lives())
    }

    /// A new process of the generation whose turn it is; where no group is given it leads one of its own.
    pub(super) fn spawn(&mut self, parent: i32, group: Option<i32>) -> i32 {
        self.last_pid += 1;
        let pid = self.last_pid;
        let inherited = self.process(parent);
        let told = SignalSet::default();
        let ignores = inherited.map_or(SignalSet::default(), |one| one.ignores);
        let generation = self.life.number;
        self.processes.push(Process {
            pid,
            parent,
            generation,
            group: group.unwrap_or(pid),
            works: false,
            status: None,
            stopped: false,
            held: Vec::new(),
            ends_later: None,
            stuck: Stuck::No,
            killed: false,
            named: false,
            told,
            asked: false,
            ignores,
            born: self.now,
        });
        pid
    }

    /// Where it lives: it ends like this.
    pub(super) fn ends(&mut self, pid: i32, status: ExitStatus) {
        let Some(index) = self.processes.iter().position(|one| one.pid == pid) else {
            return;
        };
        let one = &mut self.processes[index];
        if !one.lives() {
            return;
        }
        let by_kill = status == KILLED;
        if one.stopped && !by_kill {
            one.ends_later = Some(status);
            return;
        }
        if one.hangs() {
            // It ends once the kernel lets it.
            one.killed |= by_kill;
            one.ends_later = Some(status);
            return;
        }
        one.status = Some(status);
        let parent = one.parent;
        let adopts = self.plan.as_pid1 || self.plan.subreaper;
        for child in self.processes.iter_mut().filter(|one| one.parent == pid) {
            child.parent = if adopts { US } else { ELSEWHERE };
        }
        if !adopts {
            self.lets_go();
        }
        if parent == US {
            self.child_signal = true;
        } else {
            // Its parent takes note of it.
            self.processes.retain(|one| one.pid != pid);
        }
    }

    /// Those that another reaper has adopted are none of ours, nor are their children.
    fn lets_go(&mut self) {
        while let Some(index) = self
            .processes
            .iter()
            .position(|one| one.parent == ELSEWHERE)
        {
            let pid = self.processes.swap_remove(index).pid;
            self.escaped = true;
            for child in self.processes.iter_mut().filter(|one| one.parent == pid) {
                child.parent = ELSEWHERE;
            }
        }
    }

    pub(super) fn unstick(&mut self, pid: i32) {
        let Some(one) = self.living(pid) else {
            return;
        };
        one.stuck = Stuck::No;
        let status = if one.killed {
            Some(KILLED)
        } else {
            one.ends_later.take()
        };
        if let Some(status) = status {
            self.ends(pid, status);
        }
    }

    /// What a signal does to it.
    pub(super) fn deliver(&mut self, pid: i32, signal: Signal) {
        let now = self.now;
        let Some(one) = self.living(pid) else {
            return;
        };
        if signal == Signal::KILL {
            one.killed = true;
            return self.ends(pid, KILLED);
        }
        if signal == Signal::CONT {
            return self.continues(pid);
        }
        if signal.stops_a_process() {
            if signal == Signal::STOP || !one.ignores.contains(signal) {
                one.stopped = true;
                let reports = self.life_of(pid).is_some();
                if reports {
                    self.stops.push((pid, signal));
                    self.child_signal = true;
                }
            }
            return;
        }
        if one.stopped {
            one.held.push(signal);
            return;
        }
        let harmless = [Signal::CHLD, Signal::WINCH].contains(&signal);
        if harmless || one.ignores.contains(signal) {
            return;
        }
        let ends_most = [Signal::TERM, Signal::INT, Signal::QUIT, Signal::ABRT].contains(&signal);
        let works = one.works;
        let by_signal = ExitStatus::Killed {
            signal,
            core: signal == Signal::QUIT || signal == Signal::ABRT,
        };
        let code = u8::try_from(128 + signal.number()).unwrap_or(u8::MAX);
        let choices = &mut self.reactions;
        let cases = if ends_most { 8 } else { 24 };
        let (after, status) = match choices.below(cases) {
            // Whatever works for stepdown has no handler.
            0 | 1 if works => (Duration::ZERO, by_signal),
            1 => (choices.short_time(), ExitStatus::Exited(0)),
            2 => (choices.time(), ExitStatus::Exited(0)),
            3 => (Duration::ZERO, by_signal),
            4 => (
                choices.time(),
                ExitStatus::Exited(choices.of(&[code, 1, 3])),
            ),
            _ => return,
        };
        self.comes(now + after, Coming::Ends(pid, status));
    }

    fn continues(&mut self, pid: i32) {
        let Some(one) = self.living(pid) else {
            return;
        };
        one.stopped = false;
        let held = std::mem::take(&mut one.held);
        let hangs = one.hangs();
        let status = one.ends_later.filter(|_| !hangs);
        self.stops.retain(|(stopped, _)| *stopped != pid);
        for signal in held {
            self.deliver(pid, signal);
        }
        if let Some(status) = status {
            self.ends(pid, status);
        }
    }

    /// A signal that was not for the main child alone.
    pub(super) fn deliver_to(&mut self, pids: &[i32], signal: Signal) {
        for pid in pids {
            if let Some(one) = self.living(*pid) {
                one.told.insert(signal);
            }
            self.deliver(*pid, signal);
        }
    }

    pub(super) fn pids(&self, chosen: impl Fn(&Process) -> bool) -> Vec<i32> {
        let chosen = self
            .processes
            .iter()
            .filter(|one| one.lives() && chosen(one));
        chosen.map(|one| one.pid).collect()
    }

    /// Whether it belongs to the generation whose turn it is.
    pub(super) fn is_of_this(&self, one: &Process) -> bool {
        if self.beside.is_some() || self.leaves_some() {
            one.generation == self.life.number
        } else {
            true
        }
    }

    pub(super) fn leaves_some(&self) -> bool {
        self.plan.left == crate::plan::Left::Leave && self.life.number > 1
    }

    /// Whether the child has left it behind, or is it; nothing that works for stepdown.
    pub(super) fn is_left(&self, one: &Process) -> bool {
        let jobs = &self.life.jobs;
        let is_job = jobs.has(one.group) || jobs.has_given_up(one.group);
        !is_job && self.is_of_this(one)
    }
}
