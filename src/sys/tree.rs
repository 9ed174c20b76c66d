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

use std::collections::{HashMap, HashSet};
use std::ffi::{CStr, OsString};
use std::fs::File;
use std::io::{Cursor, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::signals;
use crate::record::Process;
use crate::signal::Signal;

/// A process, as /proc/PID/stat has it (proc_pid_stat(5)).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Member {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    pub(crate) command: String,
    /// A zombie: ended, and waiting to be reaped by its parent. (With threads left it is none, though
    /// its first thread has ended and lends it its state.)
    ended: bool,
}

impl From<Member> for Process {
    fn from(member: Member) -> Self {
        Self {
            pid: member.pid,
            command: member.command,
        }
    }
}

/// All living descendants of this process, or `None` without a /proc to read them from.
pub(crate) fn descendants() -> Option<Vec<Member>> {
    Proc::open()?.descendants(own_pid())
}

fn own_pid() -> i32 {
    i32::try_from(std::process::id()).unwrap_or(0)
}

/// Where processes are read from: /proc, or what a test puts in its place.
struct Proc {
    path: PathBuf,
    directory: OwnedFd,
}

/// From this many descendants on a scan is taken for cheaper than the `children` files.
const LARGE: usize = 256;

impl Proc {
    /// /proc, if it can be believed: it is there, and it is that of our own PID namespace.
    fn open() -> Option<Self> {
        let link = std::fs::read_link("/proc/self").ok()?;
        let is_ours = link.to_str()?.parse() == Ok(std::process::id());
        is_ours.then(|| Self::at(Path::new("/proc")))?
    }

    fn at(path: &Path) -> Option<Self> {
        let directory = File::open(path).ok()?.into();
        let path = path.to_owned();
        Some(Self { path, directory })
    }

    fn descendants(&self, root: i32) -> Option<Vec<Member>> {
        // Where not even this can be read (no descriptor is left), an empty answer would be a lie.
        self.stat(root)?;
        let members = self
            .by_children_files(root)
            .or_else(|| self.by_scan(root))?;
        Some(members.into_iter().filter(|member| !member.ended).collect())
    }

    /// From the `children` files, at twice the cost of a scan for each descendant and none for anybody
    /// else; `None` where the kernel has no such files, and when the tree turns out to be large.
    fn by_children_files(&self, root: i32) -> Option<Vec<Member>> {
        let mut found = Vec::new();
        let mut seen = HashSet::new();
        let mut pids = self.children_of(root)?;
        while let Some(pid) = pids.pop() {
            if found.len() == LARGE {
                return None;
            }
            // A process that lost its parent between two reads is in both lists. One that has gone
            // meanwhile has no stat any more, and its children are ours now.
            if let Some(member) = seen.insert(pid).then(|| self.stat(pid)).flatten() {
                found.push(member);
                pids.extend(self.children_of(pid).unwrap_or_default());
            }
        }
        Some(found)
    }

    /// The children of all threads of a process; `None` where the kernel has no such files.
    fn children_of(&self, pid: i32) -> Option<Vec<i32>> {
        let mut children = Vec::new();
        let tasks = self.path.join(format!("{pid}/task"));
        for thread in std::fs::read_dir(tasks).ok()?.flatten() {
            let text = std::fs::read_to_string(thread.path().join("children")).ok()?;
            let pids = text.split_ascii_whitespace();
            children.extend(pids.filter_map(|pid| pid.parse::<i32>().ok()));
        }
        Some(children)
    }

    /// From all `stat` files: as many reads as there are processes in the namespace.
    fn by_scan(&self, root: i32) -> Option<Vec<Member>> {
        let entries = std::fs::read_dir(&self.path).ok()?.flatten();
        let number = |name: OsString| name.to_str().and_then(|name| name.parse::<i32>().ok());
        // All names first: the list and a file need not be open at once.
        let pids: Vec<i32> = entries
            .filter_map(|entry| number(entry.file_name()))
            .collect();
        let mut children: HashMap<i32, Vec<Member>> = HashMap::new();
        for member in pids.into_iter().filter_map(|pid| self.stat(pid)) {
            children.entry(member.parent).or_default().push(member);
        }
        let mut found = children.remove(&root).unwrap_or_default();
        let mut next = 0;
        while let Some(member) = found.get(next) {
            let below = children.remove(&member.pid).unwrap_or_default();
            found.extend(below);
            next += 1;
        }
        Some(found)
    }

    fn stat(&self, pid: i32) -> Option<Member> {
        let mut name = [0_u8; 32];
        write!(Cursor::new(&mut name[..]), "{pid}/stat\0").ok()?;
        let name = CStr::from_bytes_until_nul(&name).ok()?;
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let file = openat(self.directory.as_fd(), name, flags, Mode::empty()).ok()?;
        let mut text = [0_u8; 1024];
        let length = File::from(file).read(&mut text).ok()?;
        parse_stat(pid, text.get(..length)?)
    }
}

/// The command stands in parentheses and may hold parentheses itself: the last one closes it.
fn parse_stat(pid: i32, stat: &[u8]) -> Option<Member> {
    let stat = String::from_utf8_lossy(stat);
    let open = stat.find('(')?;
    let close = stat.rfind(')')?;
    let command = stat.get(open + 1..close)?.to_owned();
    let mut fields = stat.get(close + 1..)?.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    let threads = fields.nth(14).and_then(|threads| threads.parse().ok());
    let ended = matches!(state, "Z" | "X" | "x") && threads.unwrap_or(1) <= 1;
    Some(Member {
        pid,
        parent,
        group,
        command,
        ended,
    })
}

/// Whether this process, dead or alive, is a descendant of ours as far as anybody can tell.
///
/// As PID 1 everybody in our namespace is, except whom somebody put there from outside; without /proc,
/// or once the process has been reaped, the namespace is all there is to go by.
pub(crate) fn is_below_us(pid: i32) -> bool {
    let ours = own_pid();
    let proc = Proc::open();
    let parent_of = |pid| Some(proc.as_ref()?.stat(pid)?.parent);
    let mut ancestor = pid;
    // A chain of parents has no loop, but it can change while it is followed.
    for _ in 0..4096 {
        match parent_of(ancestor) {
            Some(parent) if parent == ours => return true,
            Some(parent) if parent > 0 => ancestor = parent,
            Some(_) => return false,
            None => return pid > 0 && ours == 1,
        }
    }
    false
}

/// Signals every living descendant for which `chosen` holds; returns those that got it, or `None`
/// without a /proc to find them in.
pub(crate) fn signal(signals: &[Signal], chosen: impl Fn(&Member) -> bool) -> Option<Vec<Process>> {
    let ours = own_pid();
    let proc = Proc::open()?;
    let members = proc.descendants(ours)?;
    let mut family: HashSet<i32> = members.iter().map(|member| member.pid).collect();
    family.insert(ours);
    let is_ours = |parent: i32| family.contains(&parent);
    let reach = |member: &Member| {
        if member.parent == ours {
            send_all(signals, |signal| signals::send(member.pid, signal).is_ok())
        } else {
            send_pinned(&proc, member.pid, signals, is_ours)
        }
    };
    let chosen = members.into_iter().filter(|member| chosen(member));
    Some(chosen.filter(reach).map(Process::from).collect())
}

/// Sends all of them, whatever becomes of the first; true when each was taken.
fn send_all(signals: &[Signal], send: impl Fn(Signal) -> bool) -> bool {
    let refused = signals.iter().filter(|signal| !send(**signal)).count();
    refused == 0
}

/// Those of these processes that live, by their names.
pub(crate) fn named(pids: &[i32]) -> Vec<Process> {
    let stat = |proc: &Proc, pid: &i32| proc.stat(*pid).filter(|member| !member.ended);
    let name = |proc: Proc| {
        pids.iter()
            .filter_map(|pid| stat(&proc, pid))
            .map(Process::from)
            .collect()
    };
    Proc::open().map(name).unwrap_or_default()
}

/// Signals those of these processes that live and, once they are pinned, are still `chosen`; returns
/// those that got it.
pub(crate) fn signal_chosen(
    signals: &[Signal],
    pids: &[i32],
    chosen: impl Fn(i32) -> bool,
) -> Vec<Process> {
    let reach = |process: &Process| {
        Pinned::find(process.pid).is_some_and(|pinned| {
            chosen(process.pid) && send_all(signals, |signal| pinned.send(signal))
        })
    };
    named(pids).into_iter().filter(reach).collect()
}

/// Pins the process, makes sure that it is still below us, then signals what was pinned.
fn send_pinned(proc: &Proc, pid: i32, signals: &[Signal], is_ours: impl Fn(i32) -> bool) -> bool {
    let Some(pinned) = Pinned::find(pid) else {
        return false;
    };
    // Its parent is one of ours: then so is it, even if the pid has changed hands since we looked.
    // If the pinned process ended before a read of /proc, signalling it fails, whoever has the pid now.
    let parent = pinned
        .parent()
        .or_else(|| proc.stat(pid).map(|member| member.parent));
    parent.is_some_and(is_ours) && send_all(signals, |signal| pinned.send(signal))
}

/// A process that cannot be mistaken for another (pidfd_open(2), Linux 5.3).
enum Pinned {
    ByDescriptor(OwnedFd),
    ByPid(i32),
}

impl Pinned {
    /// `None` where there is no such process.
    fn find(pid: i32) -> Option<Self> {
        match Self::open(pid) {
            Ok(pinned) => Some(pinned),
            Err(libc::ESRCH) => None,
            // No pidfd here (Linux before 5.3, an old seccomp profile): the pid itself has to do.
            Err(_) => Some(Self::ByPid(pid)),
        }
    }

    fn open(pid: i32) -> Result<Self, i32> {
        // SAFETY: a plain syscall on values.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        match i32::try_from(fd) {
            // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
            Ok(fd) if fd >= 0 => Ok(Self::ByDescriptor(unsafe { OwnedFd::from_raw_fd(fd) })),
            _ => Err(super::errno()),
        }
    }

    /// Its parent, asked of the descriptor itself (`PIDFD_GET_INFO`, Linux 6.13): a tenth of the time
    /// that reading /proc takes. `None` where the kernel is older, or once the process has gone.
    fn parent(&self) -> Option<i32> {
        let Self::ByDescriptor(fd) = self else {
            return None;
        };
        // SAFETY: all numbers, for which zero is a value.
        let mut info: libc::pidfd_info = unsafe { MaybeUninit::zeroed().assume_init() };
        info.mask = u64::from(libc::PIDFD_INFO_PID);
        // SAFETY: the kernel writes at most the size that is part of the request's number.
        let asked = unsafe { libc::ioctl(fd.as_raw_fd(), libc::PIDFD_GET_INFO, &raw mut info) };
        i32::try_from(info.ppid).ok().filter(|_| asked == 0)
    }

    fn send(&self, signal: Signal) -> bool {
        let fd = match self {
            Self::ByDescriptor(fd) => fd.as_raw_fd(),
            Self::ByPid(pid) => return signals::send(*pid, signal).is_ok(),
        };
        let info = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: a null siginfo asks for that of kill(2).
        let sent =
            unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal.number(), info, 0) };
        sent == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_may_hold_parentheses_and_spaces() {
        let member = parse_stat(7, b"7 (a) (b c) S 3 5 7 0 -1").unwrap();
        assert_eq!(
            (member.command.as_str(), member.parent, member.group),
            ("a) (b c", 3, 5)
        );
    }

    #[test]
    fn a_process_whose_first_thread_has_ended_lives_as_long_as_another_does() {
        let stat =
            |threads: i32| format!("7 (a) Z 3 5 7 0 -1 4 0 0 0 0 0 0 0 0 20 0 {threads} 0 9");
        assert!(parse_stat(7, stat(1).as_bytes()).unwrap().ended);
        assert!(!parse_stat(7, stat(2).as_bytes()).unwrap().ended);
    }

    #[test]
    fn what_is_no_stat_is_nobody() {
        for stat in [
            &b""[..],
            b"7",
            b"7 (a",
            b"7 (a) S",
            b"7 (a) S x 1",
            b"7 )a( S 1 1",
        ] {
            assert_eq!(parse_stat(7, stat), None);
        }
    }

    /// A directory like /proc: pid, parent, group, state and children of each process.
    fn fake_proc(processes: &[(i32, i32, i32, char, &str)]) -> (tempfile::TempDir, Proc) {
        let root = tempfile::tempdir().unwrap();
        for (pid, parent, group, state, children) in processes {
            let task = root.path().join(format!("{pid}/task/{pid}"));
            std::fs::create_dir_all(&task).unwrap();
            let stat = format!("{pid} (p{pid}) {state} {parent} {group} 0 0 -1");
            std::fs::write(root.path().join(format!("{pid}/stat")), stat).unwrap();
            if *children != "-" {
                std::fs::write(task.join("children"), children).unwrap();
            }
        }
        let proc = Proc::at(root.path()).unwrap();
        (root, proc)
    }

    fn pids(members: Option<Vec<Member>>) -> Vec<i32> {
        let mut pids: Vec<i32> = members.unwrap().iter().map(|member| member.pid).collect();
        pids.sort_unstable();
        pids
    }

    #[test]
    fn the_children_files_are_followed_where_the_kernel_has_them() {
        // 40 stands in no list: only a scan would find it. 31 has just lost its parent 30 and is
        // in two lists. 99 has ended between the reads.
        let (_root, proc) = fake_proc(&[
            (10, 1, 10, 'S', "20 30 31 99 "),
            (20, 10, 20, 'S', "21 "),
            (21, 20, 20, 'T', ""),
            (30, 10, 30, 'Z', "31 "),
            (31, 10, 30, 'S', ""),
            (40, 10, 40, 'S', ""),
        ]);
        assert_eq!(pids(proc.descendants(10)), [20, 21, 31]);
        assert_eq!(pids(proc.descendants(20)), [21]);
    }

    #[test]
    fn children_of_every_thread_count() {
        let (root, proc) = fake_proc(&[
            (10, 1, 10, 'S', "20 "),
            (20, 10, 20, 'S', ""),
            (21, 10, 21, 'S', ""),
        ]);
        let thread = root.path().join("10/task/11");
        std::fs::create_dir(&thread).unwrap();
        std::fs::write(thread.join("children"), "21 ").unwrap();
        assert_eq!(pids(proc.descendants(10)), [20, 21]);
    }

    #[test]
    fn without_children_files_everybody_is_looked_at() {
        let (_root, proc) = fake_proc(&[
            (1, 0, 1, 'S', "-"),
            (10, 1, 10, 'S', "-"),
            (22, 21, 21, 'S', "-"),
            (21, 20, 21, 'Z', "-"),
            (20, 10, 20, 'S', "-"),
            (50, 1, 50, 'S', "-"),
        ]);
        assert_eq!(pids(proc.descendants(10)), [20, 22]);
    }

    #[test]
    fn both_ways_to_look_agree() {
        let mut child = sleeper();
        let pid = pid_of(&child);
        let proc = Proc::open().unwrap();
        assert!(pids(proc.by_scan(own_pid())).contains(&pid));
        if let Some(listed) = proc.by_children_files(own_pid()) {
            assert!(pids(Some(listed)).contains(&pid));
        }
        end(&mut child);
    }

    fn sleeper() -> std::process::Child {
        std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap()
    }

    fn pid_of(child: &std::process::Child) -> i32 {
        i32::try_from(child.id()).unwrap()
    }

    fn end(child: &mut std::process::Child) {
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn the_descriptor_and_proc_name_the_same_parent() {
        let mut child = sleeper();
        let pid = pid_of(&child);
        let told = Pinned::open(pid).unwrap().parent();
        assert!(told.is_none_or(|parent| parent == own_pid()), "{told:?}");
        assert_eq!(Proc::open().unwrap().stat(pid).unwrap().parent, own_pid());
        assert_eq!(Pinned::ByPid(pid).parent(), None);
        end(&mut child);
    }

    #[test]
    fn a_pid_that_changed_hands_is_not_signalled() {
        // It was found below a process of the tree, and now belongs to somebody else's child.
        let mut stranger = sleeper();
        let proc = Proc::open().unwrap();
        let parents_of_the_tree = |parent: i32| parent == own_pid() + 1;
        let pid = pid_of(&stranger);
        assert!(!send_pinned(
            &proc,
            pid,
            &[Signal::KILL],
            parents_of_the_tree
        ));
        assert!(stranger.try_wait().unwrap().is_none());
        assert!(send_pinned(&proc, pid, &[Signal::KILL], |parent| parent == own_pid()));
        stranger.wait().unwrap();
    }

    #[test]
    fn a_pinned_process_that_ended_is_not_mistaken_for_its_successor() {
        let mut child = sleeper();
        let pinned = Pinned::open(pid_of(&child));
        end(&mut child);
        if let Ok(pinned) = pinned {
            assert_eq!(pinned.parent(), None);
            assert!(!pinned.send(Signal::KILL));
        }
    }
}
