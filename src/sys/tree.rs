//! The process tree: every living descendant, and signals that cannot hit a recycled pid.
//!
//! As PID 1 or as a subreaper we are the ancestor of every process that was started below us, however
//! often it forked or changed its session (prctl(2), PR_SET_CHILD_SUBREAPER). Who they are is read from
//! /proc: from the `children` files where the kernel has them (CONFIG_PROC_CHILDREN), else from a scan
//! of all `stat` files.
//!
//! A child that we have not reaped keeps its pid, so kill(2) is safe for it. A deeper descendant can
//! end and be replaced at any moment: it is pinned by a pidfd first and must then still be what it was
//! found to be.

use std::collections::HashSet;

use super::{credentials, reap, signals};
use crate::words::signal::{Signal, SignalSet};

mod pinned;
mod proc;

#[cfg(test)]
mod tests;

use pinned::Pinned;
pub(crate) use proc::Member;
use proc::Proc;

/// All living descendants of this process, or `None` without a /proc to read them from.
pub(crate) fn descendants() -> Option<Vec<Member>> {
    let (_, found) = Proc::look(|proc| proc.descendants(own_pid()))?;
    Some(found)
}

/// Whether there is a /proc of our own PID namespace, even if no descriptor is left to read it with.
pub(crate) fn has_proc() -> bool {
    Proc::is_ours()
}

/// Why no descendants can be found, as it is to be told.
pub(crate) fn why_none() -> String {
    Proc::why_none()
}

fn own_pid() -> i32 {
    i32::try_from(std::process::id()).unwrap_or(0)
}

/// Whether a process is a descendant of ours, as far as that can be found out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kin {
    /// It is a descendant of ours.
    Below,
    Elsewhere,
    /// It has ended and was reaped.
    Ended,
    /// It is there, and cannot be looked up: there is no /proc, or no descriptor is left to read it with.
    Unseen,
}

/// Finds out whether this process is a descendant of ours.
///
/// For PID 1 every process in its namespace is one, except those that were put there from outside.
/// Without /proc, or once the process has been reaped, only the namespace is known, and our own children.
pub(crate) fn kin(pid: i32) -> Kin {
    if pid <= 0 {
        return Kin::Elsewhere;
    }
    if reap::is_child(pid) {
        return Kin::Below;
    }
    let ours = own_pid();
    let found = Proc::look(|proc| kin_in(proc, pid, ours));
    match found {
        Some((_, kin)) => kin,
        None => not_found(pid, ours),
    }
}

/// What is known of a process that is not in /proc, or of which there is none.
fn not_found(pid: i32, ours: i32) -> Kin {
    match ours {
        1 => Kin::Below,
        _ if signals::is_there(pid) => Kin::Unseen,
        _ => Kin::Ended,
    }
}

/// `None` where it cannot be read.
fn kin_in(proc: &Proc, pid: i32, ours: i32) -> Option<Kin> {
    let mut ancestor = pid;
    // A chain of parents has no loop, but it can change while it is followed.
    for _ in 0..4096 {
        match proc.parent(ancestor) {
            Some(parent) if parent == ours => return Some(Kin::Below),
            Some(parent) if parent > 0 => ancestor = parent,
            Some(_) => return Some(Kin::Elsewhere),
            // An ancestor has ended: the process has another parent now.
            None if ancestor != pid => ancestor = pid,
            None => {
                proc.stat(ours)?;
                return Some(not_found(pid, ours));
            }
        }
    }
    Some(Kin::Elsewhere)
}

/// The parent of a process, 0 outside our PID namespace; `None` where it cannot be found out.
pub(crate) fn parent_of(pid: i32) -> Option<i32> {
    Proc::look(|proc| proc.parent(pid)).map(|(_, parent)| parent)
}

/// Whether this is our user, root, or the user of a process of the tree.
pub(crate) fn has_user(uid: u32) -> bool {
    // SAFETY: a plain syscall that cannot fail.
    let own = unsafe { libc::geteuid() };
    let runs_so = |member: &Member| {
        // Not the owner of the directory: that is root once a process has changed its user (proc(5)).
        let status = std::fs::read_to_string(format!("/proc/{}/status", member.pid));
        status.is_ok_and(|status| credentials::ids(&status, "Uid:").any(|id| id == uid))
    };
    [0, own].contains(&uid) || descendants().unwrap_or_default().iter().any(runs_so)
}

/// All living descendants as they were at one moment, and the means to signal each.
pub(crate) struct Tree {
    proc: Proc,
    ours: i32,
    members: Vec<Member>,
    family: HashSet<i32>,
}

impl Tree {
    /// `None` without a /proc to find them in. Nothing may be started while it lives: it may have raised our limit.
    pub(crate) fn look() -> Option<Self> {
        let ours = own_pid();
        let (proc, members) = Proc::look(|proc| proc.descendants(ours))?;
        let mut family: HashSet<i32> = members.iter().map(|member| member.pid).collect();
        family.insert(ours);
        Some(Self {
            proc,
            ours,
            members,
            family,
        })
    }

    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    /// Sends these signals to one of the members; true when all were sent.
    pub(crate) fn send(&self, member: &Member, signals: &[Signal]) -> bool {
        if member.parent == self.ours {
            return send_all(signals, |signal| signals::send(member.pid, signal).is_ok());
        }
        let is_ours = |parent: i32| self.family.contains(&parent);
        send_pinned(&self.proc, member, signals, is_ours)
    }

    /// The signals that a process ignores.
    pub(crate) fn ignored_by(&self, pid: i32) -> SignalSet {
        self.proc.ignored(pid)
    }
}

/// Signals every living descendant for which `chosen` holds; returns those that got it, or `None`
/// without a /proc to find them in.
pub(crate) fn signal(signal: Signal, chosen: impl Fn(&Member) -> bool) -> Option<Vec<Member>> {
    signal_among(signal, |member, _| chosen(member))
}

/// As [`signal`]; `chosen` is given all that there are, too.
pub(crate) fn signal_among(
    signal: Signal,
    chosen: impl Fn(&Member, &[Member]) -> bool,
) -> Option<Vec<Member>> {
    let mut tree = Tree::look()?;
    let all = &tree.members;
    let chosen: Vec<bool> = all.iter().map(|member| chosen(member, all)).collect();
    let mut chosen = chosen.into_iter();
    let mut members = std::mem::take(&mut tree.members);
    members.retain(|member| chosen.next() == Some(true) && tree.send(member, &[signal]));
    Some(members)
}

/// Every other process in our PID namespace, those that were put there from outside as well.
pub(crate) fn namespace() -> Option<Vec<Member>> {
    let (_, found) = Proc::look(|proc| proc.namespace(own_pid()))?;
    Some(found)
}

/// Sends all of them, even if the first one fails; true when all were sent.
fn send_all(signals: &[Signal], send: impl Fn(Signal) -> bool) -> bool {
    let refused = signals.iter().filter(|signal| !send(**signal)).count();
    refused == 0
}

/// Those of these processes that live.
pub(crate) fn living(pids: &[i32]) -> Vec<Member> {
    let stat = |proc: &Proc, pid: &i32| proc.stat(*pid).filter(|member| !member.ended);
    let found = Proc::look(|proc| {
        let found: Vec<_> = pids.iter().filter_map(|pid| stat(proc, pid)).collect();
        // That nobody lives has to be seen.
        (!found.is_empty() || proc.stat(own_pid()).is_some()).then_some(found)
    });
    found.map(|(_, found)| found).unwrap_or_default()
}

/// Pins a process and signals it if it is still `chosen`; true when all were sent.
pub(crate) fn signal_pinned(pid: i32, signals: &[Signal], chosen: impl Fn(i32) -> bool) -> bool {
    Pinned::find(pid)
        .is_some_and(|pinned| chosen(pid) && send_all(signals, |signal| pinned.send(signal)))
}

/// Pins the process, makes sure that it is still below us or still the one that was, then signals what was pinned.
fn send_pinned(
    proc: &Proc,
    found: &Member,
    signals: &[Signal],
    is_ours: impl Fn(i32) -> bool,
) -> bool {
    let Some(pinned) = Pinned::find(found.pid) else {
        return false;
    };
    // Its parent is one of ours: then so is it, even if it is not the process that had this pid before.
    // If the pinned process ended before a read of /proc, signalling it fails, whoever has the pid now.
    let now = || proc.stat(found.pid);
    let parent = pinned.parent().or_else(|| now().map(|now| now.parent));
    // Without a subreaper the first signal of a round gives the children of whom it ends to a process outside.
    let is_chosen =
        parent.is_some_and(is_ours) || now().is_some_and(|now| now.started == found.started);
    is_chosen && send_all(signals, |signal| pinned.send(signal))
}
