//! Sends signals to the child, its group or its whole tree, and names whom it has reached.

use std::iter;

use super::Kernel;
use crate::look;
use crate::machine::Event;
use crate::plan::Target;
use crate::record::Process;
use crate::signal::Signal;
use crate::sys::{error_text, signals, terminal, tree};

/// Who got a signal that was for everybody.
struct Reached {
    /// Those whose names are known.
    named: Vec<Process>,
    /// Whether the main child is among them, named or not.
    child: bool,
}

impl Kernel {
    pub(super) fn send(&mut self, target: Target, signal: Signal) {
        let Some(main) = self.main else { return };
        let sent = match target {
            Target::Child => signals::send(main, signal),
            Target::Group => self.send_to_group(main, signal),
            Target::Tree => {
                self.send_to_tree(main, signal);
                Ok(())
            }
        };
        self.sent_kill |= signal == Signal::KILL;
        if let Err(errno) = sent
            && errno != libc::ESRCH
        {
            self.trouble(format!("{signal} could not be sent: {}", error_text(errno)));
        }
    }

    fn send_to_group(&mut self, main: i32, signal: Signal) -> Result<(), i32> {
        if !self.shares_terminal() {
            return signals::send(-main, signal);
        }
        // On a terminal the child's group is ours and the calling shell's job: others in it, the rest
        // of a pipeline, are not the child's business. So its members below us are signalled one by one.
        let ours = nix::unistd::getpgrp().as_raw();
        match tree::signal(&[signal], |member| member.group == ours) {
            Some(_) => Ok(()),
            None => {
                self.tell_no_proc("signals for the group go to the child alone");
                signals::send(main, signal)
            }
        }
    }

    fn send_to_tree(&mut self, main: i32, signal: Signal) {
        let Reached { named, child } = self.signal_everybody(&[signal]);
        // Whatever can be seen in /proc, the child itself always gets it, and once.
        if !child {
            let _ = signals::send(main, signal);
        }
        if signal == Signal::KILL {
            let processes = named
                .into_iter()
                .filter(|process| process.pid != main)
                .collect();
            self.queue.push_back(Event::Swept { signal, processes });
        }
    }

    /// Sends to every descendant whom the terminal has not reached: those outside our group.
    pub(super) fn send_beyond_group(&mut self, signal: Signal) {
        let ours = nix::unistd::getpgrp().as_raw();
        if tree::signal(&[signal], |member| member.group != ours).is_none() {
            self.tell_no_proc("only the child's process group can be found");
        }
    }

    /// Signals every descendant, and tells whom it has reached for the first time.
    fn signal_everybody(&mut self, signals_to_send: &[Signal]) -> Reached {
        let kills = signals_to_send.contains(&Signal::KILL);
        let in_cgroup = if kills {
            self.kill_cgroup()
        } else {
            Vec::new()
        };
        let mut reached = if kills && self.own_pid == 1 {
            // One call hits all at once, so that not even a fork bomb can outrun it (kill(2), pid -1).
            let mut named = tree::descendants().unwrap_or_default();
            named.retain(|member| !self.given_up.contains(&member.group));
            let child = signals::send(-1, Signal::KILL).is_ok();
            let named = named.into_iter().map(Process::from).collect();
            Reached { named, child }
        } else {
            let is_ours = |group| self.jobs.iter().any(|(job, _)| *job == group);
            // A hook that is at work is no part of what the child has started.
            let is_left = |member: &tree::Member| {
                !self.given_up.contains(&member.group) && !is_ours(member.group)
            };
            match tree::signal(signals_to_send, is_left) {
                Some(named) => {
                    let child = named.iter().any(|process| self.main == Some(process.pid));
                    Reached { named, child }
                }
                None => self.signal_without_proc(signals_to_send),
            }
        };
        if !kills {
            let others = self.signal_cgroup(signals_to_send, &reached.named);
            reached.named.extend(others);
            return reached;
        }
        let is_new = |process: &Process| self.killed.insert(process.pid);
        let everybody = in_cgroup.into_iter().chain(reached.named);
        let named = everybody.filter(is_new).collect();
        Reached { named, ..reached }
    }

    fn signal_without_proc(&mut self, signals_to_send: &[Signal]) -> Reached {
        let mut child = true;
        if self.own_pid == 1 {
            self.tell_no_proc("what is left is signalled without being named");
            for signal in signals_to_send {
                child &= signals::send(-1, *signal).is_ok();
            }
        } else {
            self.tell_no_proc("only the child's process group can be found");
            child = self.group.is_some() && self.group == self.main.and_then(terminal::group_of);
            for signal in signals_to_send {
                let sent = self.group.map(|group| signals::send(-group, *signal));
                // Once it is empty its number may become that of another group.
                if sent == Some(Err(libc::ESRCH)) {
                    self.group = None;
                }
                child &= sent == Some(Ok(()));
            }
        }
        let named = Vec::new();
        Reached { named, child }
    }

    /// Hooks and stop commands are no part of what the child has started.
    #[inline(never)]
    pub(super) fn look_who_is_there(&mut self, signal: Option<Signal>, target: Target) {
        // Enough to see why; a tree of thousands is not read for a line.
        const ENOUGH: usize = 256;
        let Some(main) = self.main else { return };
        let is_job = |group| self.jobs.iter().any(|(job, _)| *job == group);
        let members = tree::descendants().unwrap_or_default();
        let others = members.iter().filter(|member| !is_job(member.group));
        let others = others.map(|member| member.pid).filter(|pid| *pid != main);
        let pids = iter::once(main).chain(others.take(ENOUGH));
        let looks: Vec<_> = pids.filter_map(look::at).collect();
        let waited = look::waited(&looks, main, signal, target);
        self.queue.push_back(Event::StillThere(waited));
    }

    fn tell_no_proc(&mut self, consequence: &str) {
        if !std::mem::replace(&mut self.told_no_proc, true) {
            self.trouble(format!("no usable /proc: {consequence}"));
        }
    }

    #[inline(never)]
    pub(super) fn sweep(&mut self, signal: Signal) {
        let signals_to_send: &[Signal] = if signal == Signal::KILL {
            &[Signal::KILL]
        } else {
            &[signal, Signal::CONT]
        };
        let processes = self.signal_everybody(signals_to_send).named;
        self.sent_kill |= signal == Signal::KILL;
        self.reap = true;
        self.queue.push_back(Event::Swept { signal, processes });
    }
}
