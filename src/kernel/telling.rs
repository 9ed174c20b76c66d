//! Remembers which process has had which signal, and sends TERM to those that are left, to each of
//! them once.

use std::time::{Duration, Instant};

use super::Kernel;
use crate::machine::roots::{Had, LeftBehind, Treatment, judge};
use crate::machine::{Event, Whom};
use crate::record::{Process, Sender};
use crate::sys::tree::{self, Member, Tree};
use crate::sys::{clock, signals};
use crate::words::signal::{Signal, SignalSet};

/// Which processes have had a signal that was not for the main child alone.
#[derive(Default)]
pub(super) struct Delivered {
    /// Process groups that were signalled, and when: processes that were started before were in
    /// them.
    groups: Vec<(i32, Signal, Instant)>,
    /// One by one, by pid and start, in this order.
    members: Vec<((i32, u64), SignalSet)>,
    /// When there are so many of them, those that are gone are forgotten.
    room: usize,
    /// All there were, without a /proc to see them in.
    all: SignalSet,
}

/// For so many processes it is not asked who of them is there.
const LEAST_ROOM: usize = 64;

impl Delivered {
    pub(super) fn group(&mut self, group: i32, signal: Signal, at: Instant) {
        // The last time counts: a process that was there before has had the signal, then or now.
        self.groups
            .retain(|(known, sent, _)| (*known, *sent) != (group, signal));
        self.groups.push((group, signal, at));
    }

    pub(super) fn members(&mut self, reached: &[Member], signal: Signal) {
        for member in reached {
            let index = self.place_of(member).unwrap_or_else(|index| {
                let key = (member.pid, member.started);
                self.members.insert(index, (key, SignalSet::default()));
                index
            });
            if let Some((_, had)) = self.members.get_mut(index) {
                had.insert(signal);
            }
        }
        // Signals may be sent to the tree for years, and each time to others.
        if self.members.len() > self.room {
            self.members.retain(|((pid, _), _)| signals::is_there(*pid));
            self.room = (self.members.len() * 2).max(LEAST_ROOM);
        }
    }

    pub(super) fn all(&mut self, signal: Signal) {
        self.all.insert(signal);
    }

    /// Whether it got a STOP from us.
    pub(super) fn has_stopped(&self, member: &Member) -> bool {
        self.had_itself(member).contains(Signal::STOP)
    }

    fn had_itself(&self, member: &Member) -> SignalSet {
        let found = self.place_of(member).ok();
        let found = found.and_then(|index| self.members.get(index));
        found.map(|(_, had)| *had).unwrap_or_default()
    }

    /// Where it stands, or would stand.
    fn place_of(&self, member: &Member) -> Result<usize, usize> {
        let key = (member.pid, member.started);
        self.members.binary_search_by_key(&key, |(key, _)| *key)
    }

    /// Which signals it has certainly had.
    pub(super) fn has_had(&self, member: &Member) -> SignalSet {
        self.had(member).0
    }

    /// Which signals it has certainly had, and which it may have had.
    fn had(&self, member: &Member) -> (SignalSet, SignalSet) {
        let (mut sure, mut perhaps) = (self.had_itself(member), SignalSet::default());
        for (group, signal, at) in &self.groups {
            let sent = clock::ticks_since_boot(*at);
            if *group == member.group && member.started < sent {
                sure.insert(*signal);
            } else if *group == member.group && member.started == sent {
                perhaps.insert(*signal);
            }
        }
        (sure, perhaps)
    }
}

impl Kernel {
    pub(super) fn tell_left(&mut self, whom: Whom) {
        self.reaping.is_due = true;
        let signal = Signal::TERM;
        let processes = match Tree::look() {
            Some(tree) => self.tell_left_in(&tree, whom),
            None => self.tell_left_without_proc(whom),
        };
        self.queue.push_back(Event::Swept { signal, processes });
    }

    fn tell_left_in(&mut self, tree: &Tree, whom: Whom) -> Vec<Process> {
        let in_tree = tree.members().iter();
        let mut members: Vec<Member> = in_tree
            .filter(|left| self.is_left(left, tree.members()))
            .cloned()
            .collect();
        let others = self.others_in_cgroup(tree.members());
        let first_other = members.len();
        members.extend(others);
        let platform = self.asked_by_platform(whom);
        let left: Vec<LeftBehind> = members
            .iter()
            .map(|member| LeftBehind {
                pid: member.pid,
                parent: member.parent,
                had: self.has_had(tree, member, whom.had, platform),
            })
            .collect();
        let (mut told, mut before) = (Vec::new(), Vec::new());
        let mut held_back = false;
        for (index, (member, verdict)) in members.iter().zip(judge(&left, whom.rest)).enumerate() {
            held_back |= verdict == Treatment::HoldBack;
            if verdict == Treatment::Wait {
                before.push(Process::from(member.clone()));
            }
            let signals: &[Signal] = match verdict {
                Treatment::Ask if member.stopped => &[Signal::TERM, Signal::CONT],
                Treatment::Ask => &[Signal::TERM],
                Treatment::Wait if member.stopped => &[Signal::CONT],
                Treatment::Wait | Treatment::HoldBack => continue,
            };
            let sent = if index < first_other {
                tree.send(member, signals)
            } else {
                self.send_in_cgroup(member, signals)
            };
            if sent && verdict == Treatment::Ask {
                told.push(member.clone());
            }
        }
        self.life.child.told.members(&told, Signal::TERM);
        self.queue.push_back(Event::NotTold { before, held_back });
        told.into_iter().map(Process::from).collect()
    }

    /// Whether it has been asked to end. A signal that it ignores does not count; but if it ignores
    /// TERM, another one is of no use, either.
    fn has_had(
        &self,
        tree: &Tree,
        member: &Member,
        wanted: SignalSet,
        platform: Option<u64>,
    ) -> Had {
        let (sure, perhaps) = self.life.child.told.had(member);
        let asks = |had: SignalSet| {
            let mut had = had.iter().filter(|signal| wanted.contains(*signal));
            let mut ignored = None;
            had.any(|signal| {
                let ignored = ignored.get_or_insert_with(|| tree.ignored_by(member.pid));
                signal == Signal::TERM || !ignored.contains(signal)
            })
        };
        if asks(sure) {
            Had::Yes
        } else if asks(perhaps) || platform.is_some_and(|asked| member.started <= asked) {
            Had::Perhaps
        } else {
            Had::No
        }
    }

    /// When the platform asked for the stop, if it may have signalled every process and not only us:
    /// systemd with its default `KillMode=control-group`, which cannot be told from `mixed` here;
    /// Heroku.
    fn asked_by_platform(&self, whom: Whom) -> Option<u64> {
        let (sender, at) = whom.asked?;
        let is = |name: &str, wanted: &str| std::env::var_os(name).is_some_and(|is| is == wanted);
        let systemd =
            is("SYSTEMD_EXEC_PID", &self.own_pid.to_string()) && sender == Sender::Pid(self.parent);
        let heroku = std::env::var_os("DYNO").is_some()
            && match sender {
                Sender::Outside => true,
                Sender::Pid(pid) => tree::kin(pid) != tree::Kin::Below,
                Sender::Kernel => false,
            };
        // It takes some time until it has signalled all of them.
        let at = self.began + at + Duration::from_millis(10);
        (systemd || heroku).then(|| clock::ticks_since_boot(at))
    }

    /// Without /proc no process can be left out, so those that may have been asked have half of the
    /// time first.
    fn tell_left_without_proc(&mut self, whom: Whom) -> Vec<Process> {
        let has_had = |told: SignalSet| told.iter().any(|signal| whom.had.contains(signal));
        let of_group = |(_, signal, _): &(i32, Signal, Instant)| whom.had.contains(*signal);
        if has_had(self.life.child.told.all) {
            return Vec::new();
        }
        if self.life.child.told.groups.iter().any(of_group) && !whom.rest {
            let (before, held_back) = (Vec::new(), true);
            self.queue.push_back(Event::NotTold { before, held_back });
            return Vec::new();
        }
        self.signal_without_proc(Signal::TERM);
        self.signal_without_proc(Signal::CONT);
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    fn sleeper() -> (Child, Vec<Member>) {
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        let members = tree::living(&[i32::try_from(child.id()).unwrap()]);
        assert_eq!(members.len(), 1);
        (child, members)
    }

    #[test]
    fn only_who_is_gone_is_forgotten() {
        let usr1 = Signal::parse("USR1").unwrap();
        let mut told = Delivered::default();
        let (mut stays, there) = sleeper();
        told.members(&there, usr1);
        for _ in 0..3 * LEAST_ROOM {
            let (mut goes, members) = sleeper();
            told.members(&members, usr1);
            goes.kill().unwrap();
            goes.wait().unwrap();
        }
        assert!(told.members.len() <= LEAST_ROOM);
        assert!(told.has_had(&there[0]).contains(usr1));
        stays.kill().unwrap();
        stays.wait().unwrap();
    }
}
