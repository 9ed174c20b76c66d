//! Sends signals to the child, its group or its whole tree, and names the processes that got them.

use std::iter;
use std::time::Instant;

use super::Kernel;
use crate::diagnosis::after;
use crate::look;
use crate::machine::Event;
use crate::plan::Target;
use crate::record::Process;
use crate::sys::terminal::group_of;
use crate::sys::tree::{self, Member};
use crate::sys::{credentials, error_text, signals};
use crate::words::signal::Signal;

/// Which processes got a signal that was for the whole tree.
pub(super) struct Reached {
    /// Those that got KILL for the first time and whose names are known.
    named: Vec<Process>,
    /// Whether the main child got it.
    child: bool,
}

impl Kernel {
    pub(super) fn send(&mut self, target: Target, signal: Signal) {
        let Some(main) = self.life.child.pid else {
            return;
        };
        if signal.stops_a_process() {
            self.life.child.halt.asked_to_stop();
        }
        let sent = match target {
            Target::Child => signals::send(main, signal),
            Target::Group => self.send_to_group(main, signal),
            Target::Tree => self.send_to_tree(main, signal),
        };
        self.life.child.sent_kill |= signal == Signal::KILL;
        if let Err(errno) = sent
            && errno != libc::ESRCH
        {
            self.trouble(format!("{signal} could not be sent: {}", error_text(errno)));
        }
    }

    fn send_to_group(&mut self, main: i32, signal: Signal) -> Result<(), i32> {
        if !self.shares_terminal() {
            // An heir may lead none.
            let group = self.life.heir.group.unwrap_or(main);
            self.life.child.told.group(group, signal, Instant::now());
            return signals::send(-group, signal);
        }
        // On a terminal the child's group is ours and the calling shell's job: others in it, the rest
        // of a pipeline, are not the child's business. So its members below us are signalled one by one.
        let ours = nix::unistd::getpgrp().as_raw();
        match tree::signal_among(signal, |member, all| {
            member.group == ours && self.is_of_this(member, all)
        }) {
            Some(reached) => {
                self.life.child.told.members(&reached, signal);
                Ok(())
            }
            None => {
                self.tell_no_proc("signals for the group go to the child alone");
                signals::send(main, signal)
            }
        }
    }

    fn send_to_tree(&mut self, main: i32, signal: Signal) -> Result<(), i32> {
        let Reached { named, child } = self.signal_all(signal);
        // Whatever can be seen in /proc, the child itself always gets it, and once.
        let sent = if child {
            Ok(())
        } else {
            signals::send(main, signal)
        };
        if signal == Signal::KILL {
            let processes = named
                .into_iter()
                .filter(|process| process.pid != main)
                .collect();
            self.queue.push_back(Event::Swept { signal, processes });
        }
        sent
    }

    /// Sends to every descendant that the terminal has not signalled: those outside our group.
    pub(super) fn send_beyond_group(&mut self, signal: Signal) {
        let ours = nix::unistd::getpgrp().as_raw();
        match tree::signal_among(signal, |member, all| {
            member.group != ours && self.is_of_this(member, all)
        }) {
            Some(reached) => self.life.child.told.members(&reached, signal),
            None => self.tell_no_proc("only the child's process group can be found"),
        }
    }

    /// Whether the child has left this process behind, of all that there are; a running hook is not one.
    pub(super) fn is_left(&self, member: &Member, all: &[Member]) -> bool {
        let jobs = &self.life.jobs;
        let is_job = jobs.has(member.group) || jobs.has_given_up(member.group);
        !is_job && self.is_of_this(member, all)
    }

    /// Signals every descendant, and returns those that got KILL for the first time.
    fn signal_all(&mut self, signal: Signal) -> Reached {
        if signal == Signal::KILL {
            return self.kill_all();
        }
        let reached = tree::signal_among(signal, |member, all| self.is_left(member, all));
        let Some(mut reached) = reached else {
            return self.signal_without_proc(signal);
        };
        let child = reached
            .iter()
            .any(|member| self.life.child.pid == Some(member.pid));
        let mut others = self.others_in_cgroup(&reached);
        others.retain(|member| self.send_in_cgroup(member, &[signal]));
        reached.append(&mut others);
        self.life.child.told.members(&reached, signal);
        let named = Vec::new();
        Reached { named, child }
    }

    /// Hooks and stop commands were not started by the child.
    pub(super) fn look_who_is_there(&mut self, signal: Option<Signal>, target: Target) {
        // Enough to see why; thousands of processes are not read for one line of the log.
        const ENOUGH: usize = 256;
        // Two command lines.
        const BETWEEN: &str = "\u{1}";
        let Some(main) = self.life.child.pid else {
            return;
        };
        let members = tree::descendants().unwrap_or_default();
        let others = members.iter().filter(|member| {
            !self.life.jobs.has(member.group) && self.is_of_this(member, &members)
        });
        let others = others.map(|member| member.pid).filter(|pid| *pid != main);
        let pids: Vec<i32> = iter::once(main).chain(others.take(ENOUGH)).collect();
        let argvs = self.look_apart(&|| {
            let texts = pids.iter().map(|pid| look::command_line(*pid));
            let texts = texts.map(|text| text.replace(BETWEEN, " ") + BETWEEN);
            Ok(texts.collect())
        });
        // Without them less is known of the reason.
        let argvs = argvs.unwrap_or_default();
        let argvs = argvs.split(BETWEEN).map(look::words);
        let looks = pids.iter().zip(argvs.chain(iter::repeat(Vec::new())));
        let looks = looks.filter_map(|(pid, argv)| look::with_argv(*pid, argv));
        let looks: Vec<_> = looks.collect();
        let waited = after::waited(&looks, main, signal, target);
        self.queue.push_back(Event::StillThere(waited));
    }

    /// Every process that we may signal is to get it: we are PID 1, and one generation is alive.
    fn has_all(&self) -> bool {
        self.own_pid == 1 && self.beside.is_none() && !self.leaves_some()
    }

    fn kill_all(&mut self) -> Reached {
        let signal = Signal::KILL;
        let in_cgroup = self.kill_cgroup();
        let (reached, child) = if self.has_all() {
            // One call signals all at once, so that not even a fork bomb is faster (kill(2), pid -1).
            let mut named = tree::namespace().unwrap_or_default();
            named.retain(|member| !self.life.jobs.has_given_up(member.group));
            let _ = signals::send(-1, signal);
            // Whom it may not signal the kernel leaves out, and says nothing.
            if credentials::may_be_refused() {
                for member in &named {
                    signals::send_if_there(member.pid, signal);
                }
            }
            (named, false)
        } else {
            match tree::signal_among(signal, |member, all| self.is_left(member, all)) {
                Some(reached) => {
                    let child = reached
                        .iter()
                        .any(|member| self.life.child.pid == Some(member.pid));
                    (reached, child)
                }
                None => (Vec::new(), self.signal_without_proc(signal).child),
            }
        };
        let killed = &mut self.life.child.killed;
        let is_new = |member: &Member| {
            let found = killed.binary_search(&member.pid);
            found
                .map_err(|index| killed.insert(index, member.pid))
                .is_err()
        };
        let all = in_cgroup.into_iter().chain(reached);
        let named = all.filter(is_new).map(Process::from).collect();
        Reached { named, child }
    }

    pub(super) fn signal_without_proc(&mut self, signal: Signal) -> Reached {
        let child = if self.has_all() {
            self.tell_no_proc("what is left is signalled without being named");
            signals::send(-1, signal).is_ok() && !credentials::may_be_refused()
        } else {
            self.tell_no_proc("only the child's process group can be found");
            let is_childs = self.life.child.group.is_some()
                && self.life.child.group == self.life.child.pid.and_then(group_of);
            let sent = self
                .life
                .child
                .group
                .map(|group| signals::send(-group, signal));
            // Once it is empty its number may become that of another group.
            if sent == Some(Err(libc::ESRCH)) {
                self.life.child.group = None;
            }
            is_childs && sent == Some(Ok(()))
        };
        self.life.child.told.all(signal);
        let named = Vec::new();
        Reached { named, child }
    }

    pub(super) fn tell_no_proc(&mut self, consequence: &str) {
        if !std::mem::replace(&mut self.told_no_proc, true) {
            self.trouble(format!("{}: {consequence}", tree::why_none()));
        }
    }

    pub(super) fn sweep(&mut self, signal: Signal) {
        let processes = match signal {
            Signal::STOP => self.stop_everybody(),
            signal => self.signal_all(signal).named,
        };
        self.life.child.sent_kill |= signal == Signal::KILL;
        self.reaping.is_due = true;
        self.queue.push_back(Event::Swept { signal, processes });
    }

    /// Stops all that were not stopped before: a stopped process does not fork. PID 1 does not need
    /// this.
    fn stop_everybody(&mut self) -> Vec<Process> {
        if self.has_all() {
            return Vec::new();
        }
        let reached = tree::signal_among(Signal::STOP, |member, all| {
            self.is_left(member, all) && !self.life.child.told.has_stopped(member)
        });
        let reached = reached.unwrap_or_default();
        self.life.child.told.members(&reached, Signal::STOP);
        reached.into_iter().map(Process::from).collect()
    }
}
