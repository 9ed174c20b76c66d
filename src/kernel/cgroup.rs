//! The child's own cgroup (`--cgroup`): made before the start, part of the tree while it lives, removed at the end.
//!
//! Where there can be none the run goes on without it, and one line says why.

use std::collections::HashSet;
use std::os::fd::RawFd;
use std::sync::atomic::AtomicI32;
use std::time::Duration;

use super::Kernel;
use crate::sys::cgroup::Cgroup;
use crate::sys::error_text;
use crate::sys::spawn::CgroupEntry;
use crate::sys::tree::{self, Member};
use crate::words::signal::Signal;

/// wait(2) reports our own children only. Whether other members of the cgroup have ended has to be
/// looked up: soon after they were signalled, and less and less often as long as they live.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// The cgroup, if there is one, and when to look whether a process is left in it.
#[derive(Default)]
pub(super) struct ChildCgroup {
    cgroup: Option<Cgroup>,
    next_look: Option<Duration>,
    pause: Duration,
    told_refused: bool,
}

impl ChildCgroup {
    /// How a new process enters; `refused` is for why it could not.
    pub(super) fn entry<'a>(&self, refused: &'a AtomicI32) -> Option<CgroupEntry<'a>> {
        let procs = self.cgroup.as_ref()?.procs()?;
        Some(CgroupEntry { procs, refused })
    }

    pub(super) fn descriptor(&self) -> Option<RawFd> {
        self.cgroup.as_ref().map(Cgroup::descriptor)
    }

    pub(super) fn holds(&self, pid: i32) -> bool {
        self.cgroup.as_ref().is_some_and(|cgroup| cgroup.holds(pid))
    }

    pub(super) fn next_look(&self) -> Option<Duration> {
        self.next_look
    }

    pub(super) fn is_look_due(&mut self, now: Duration) -> bool {
        self.next_look.take_if(|at| *at <= now).is_some()
    }

    /// Who is left in it, as `--left leave` has it, keeps it.
    pub(super) fn remove(&mut self) {
        if let Some(cgroup) = self.cgroup.take() {
            cgroup.remove();
        }
    }

    fn look_soon(&mut self) {
        self.pause = SHORTEST_PAUSE;
        self.next_look = None;
    }
}

impl Kernel {
    pub(super) fn make_cgroup(&mut self) {
        if !self.plan.cgroup {
            return;
        }
        match Cgroup::make() {
            Ok(cgroup) => self.life.child.cgroup.cgroup = Some(cgroup),
            Err(why) => self.go_on_without_cgroup(&why),
        }
    }

    /// The start is over; `errno` is why the child could not enter, or 0.
    pub(super) fn entered_cgroup(&mut self, errno: i32) {
        if let Some(cgroup) = &mut self.life.child.cgroup.cgroup {
            cgroup.close_procs();
            if errno != 0 {
                self.life.child.cgroup.remove();
                let why = format!("the child could not enter: {}", error_text(errno));
                self.go_on_without_cgroup(&why);
            }
        }
    }

    fn go_on_without_cgroup(&mut self, why: &str) {
        self.trouble(format!(
            "--cgroup: {why}: what is left is found by the process tree alone"
        ));
    }

    /// To be called once we have no children: whether a process lives in it that is no descendant of
    /// ours. If so, it is looked up again later.
    pub(super) fn is_cgroup_populated(&mut self) -> bool {
        let cgroup = self.life.child.cgroup.cgroup.as_ref();
        if !cgroup.is_some_and(Cgroup::is_populated) {
            return false;
        }
        let held = &mut self.life.child.cgroup;
        held.pause = (held.pause * 2).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        let now = self.began.elapsed();
        self.life.child.cgroup.next_look = Some(now.saturating_add(self.life.child.cgroup.pause));
        true
    }

    /// Kills all members by one write, and returns them.
    ///
    /// Their names are read before, as there are none afterwards. A process that was forked between the
    /// two is killed and not named.
    pub(super) fn kill_cgroup(&mut self) -> Vec<Member> {
        let Some(cgroup) = &self.life.child.cgroup.cgroup else {
            return Vec::new();
        };
        let named = tree::living(&cgroup.pids());
        let killed = cgroup.kill();
        self.life.child.cgroup.look_soon();
        match killed {
            Ok(()) => named,
            Err(errno) => {
                if !std::mem::replace(&mut self.life.child.cgroup.told_refused, true) {
                    self.go_on_without_cgroup(&format!("cgroup.kill: {}", error_text(errno)));
                }
                Vec::new()
            }
        }
    }

    /// The members that are not in the tree: without a subreaper orphans leave the tree, but not
    /// the cgroup.
    pub(super) fn others_in_cgroup(&mut self, known: &[Member]) -> Vec<Member> {
        let Some(cgroup) = &self.life.child.cgroup.cgroup else {
            return Vec::new();
        };
        let known: HashSet<i32> = known.iter().map(|member| member.pid).collect();
        let mut others = cgroup.pids();
        // The main child has its own rules, so that it gets a signal once.
        others.retain(|pid| !known.contains(pid) && self.life.child.pid != Some(*pid));
        self.life.child.cgroup.look_soon();
        tree::living(&others)
    }

    /// Signals one of those, if it is still in it; true when it got all of them.
    pub(super) fn send_in_cgroup(&self, member: &Member, signals: &[Signal]) -> bool {
        let cgroup = self.life.child.cgroup.cgroup.as_ref();
        cgroup
            .is_some_and(|cgroup| tree::signal_pinned(member.pid, signals, |pid| cgroup.holds(pid)))
    }
}
