//! Reads the process tree from /proc.

use std::collections::{HashMap, HashSet};
use std::ffi::{CStr, OsString};
use std::fs::File;
use std::io::{Cursor, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use crate::record::Process;
use crate::sys::descriptors::Room;
use crate::sys::file::reason;
use crate::sys::stat::Stat;
use crate::words::signal::SignalSet;

/// A process, as /proc/PID/stat has it (proc_pid_stat(5)).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Member {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    pub(crate) command: String,
    /// When it was started, in hundredths of a second since boot.
    pub(crate) started: u64,
    /// Stopped by a signal: it acts on others only once it continues.
    pub(crate) stopped: bool,
    /// It was put into our PID namespace from outside, and is no descendant of ours.
    pub(crate) from_outside: bool,
    /// A zombie, which waits to be reaped by its parent. A process of which only the first thread has
    /// ended is in state Z, too, and is none.
    pub(super) ended: bool,
    /// A thread of the kernel itself.
    in_kernel: bool,
}

impl Member {
    pub(super) fn new(pid: i32, stat: Stat) -> Self {
        let has_ended = matches!(stat.state, 'Z' | 'X' | 'x') && stat.threads <= 1;
        Self {
            pid,
            parent: stat.parent,
            group: stat.group,
            started: stat.started,
            stopped: stat.state == 'T',
            from_outside: false,
            ended: has_ended,
            in_kernel: stat.flags & PF_KTHREAD != 0,
            command: stat.command,
        }
    }
}

impl From<Member> for Process {
    fn from(member: Member) -> Self {
        Self {
            pid: member.pid,
            command: member.command,
            from_outside: member.from_outside,
        }
    }
}

/// Where processes are read from: /proc, or what a test puts in its place.
pub(super) struct Proc {
    path: PathBuf,
    directory: OwnedFd,
    /// Where no descriptor was free.
    room: Option<Room>,
}

/// The kernel's mark for its own threads (include/linux/sched.h).
const PF_KTHREAD: u32 = 0x0020_0000;

/// From this many descendants on a scan is taken for cheaper than the `children` files.
const LARGE: usize = 256;

impl Proc {
    /// /proc, if it can be trusted: it is there, and it is that of our own PID namespace.
    pub(super) fn open() -> Option<Self> {
        Self::is_ours().then(|| Self::at(Path::new("/proc")))?
    }

    /// /proc, and what is found in it; `None` where it cannot be trusted, or nothing can be read.
    ///
    /// Where that is for want of descriptors there is room for some as long as this lives.
    pub(super) fn look<T>(find: impl Fn(&Self) -> Option<T>) -> Option<(Self, T)> {
        let look = |room| {
            let mut proc = Self::open()?;
            proc.room = room;
            let found = find(&proc)?;
            Some((proc, found))
        };
        look(None).or_else(|| {
            if !Self::is_ours() {
                return None;
            }
            look(Some(Room::make()?))
        })
    }

    /// Why there is nothing to be found, as it is to be told.
    pub(super) fn why_none() -> String {
        if !Self::is_ours() {
            return "no usable /proc".to_owned();
        }
        // As many at a time as a look needs.
        let opened = File::open("/proc").and_then(|_first| File::open("/proc/self/stat"));
        match opened {
            Ok(_) => "/proc cannot be read".to_owned(),
            Err(error) => format!("/proc cannot be read ({})", reason(&error)),
        }
    }

    pub(super) fn is_ours() -> bool {
        let link = std::fs::read_link("/proc/self");
        let pid = link.as_ref().ok().and_then(|link| link.to_str());
        pid.and_then(|pid| pid.parse().ok()) == Some(std::process::id())
    }

    pub(super) fn at(path: &Path) -> Option<Self> {
        let directory = File::open(path).ok()?.into();
        let path = path.to_owned();
        let room = None;
        Some(Self {
            path,
            directory,
            room,
        })
    }

    pub(super) fn descendants(&self, root: i32) -> Option<Vec<Member>> {
        // If not even this can be read (no descriptor is left), an empty list would be wrong.
        self.stat(root)?;
        let members = match self.by_children_files(root) {
            Some(members) => {
                say(Way::ChildrenFiles, members.len());
                members
            }
            None => {
                let members = self.by_scan(root)?;
                say(Way::Scan, members.len());
                members
            }
        };
        Some(members.into_iter().filter(|member| !member.ended).collect())
    }

    /// From the `children` files: each descendant costs twice as much as in a scan, other processes
    /// cost nothing; `None` where the kernel has no such files, when the tree turns out to be large, and
    /// when threads end while it is read.
    pub(super) fn by_children_files(&self, root: i32) -> Option<Vec<Member>> {
        let mut found = Vec::new();
        let mut seen = HashSet::new();
        loop {
            // Who has lost its parent meanwhile is a child of the root since, whose list is read once more.
            let mut pids = self.children_of(root)?;
            pids.retain(|pid| !seen.contains(pid));
            if pids.is_empty() {
                return Some(found);
            }
            while let Some(pid) = pids.pop() {
                if seen.len() == LARGE {
                    return None;
                }
                if !seen.insert(pid) {
                    continue;
                }
                let children = self.children_of(pid);
                // One that has gone meanwhile has no stat any more.
                let Some(member) = self.stat(pid) else {
                    continue;
                };
                // A thread has ended, and what it had started is in the list of another one.
                if children.is_none() && !member.ended {
                    return None;
                }
                found.push(member);
                pids.extend(children.unwrap_or_default());
            }
        }
    }

    /// The children of all threads of a process; `None` where the kernel has no such files, or a thread has
    /// ended.
    fn children_of(&self, pid: i32) -> Option<Vec<i32>> {
        let mut children = Vec::new();
        let tasks = self.path.join(format!("{pid}/task"));
        // All names first: a thread that has ended before it is listed has left its children to one whose list
        // must not have been read yet.
        let threads: Vec<_> = std::fs::read_dir(tasks).ok()?.flatten().collect();
        for thread in threads {
            let text = std::fs::read_to_string(thread.path().join("children")).ok()?;
            let pids = text.split_ascii_whitespace();
            children.extend(pids.filter_map(|pid| pid.parse::<i32>().ok()));
        }
        Some(children)
    }

    /// From all `stat` files: as many reads as there are processes in the namespace.
    pub(super) fn by_scan(&self, root: i32) -> Option<Vec<Member>> {
        Some(descend(&mut self.by_parent()?, root))
    }

    fn by_parent(&self) -> Option<HashMap<i32, Vec<Member>>> {
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
        Some(children)
    }

    /// Every process in our PID namespace but ourselves and the kernel's threads. The parent of one
    /// that was put there from outside is 0 here.
    pub(super) fn namespace(&self, root: i32) -> Option<Vec<Member>> {
        self.stat(root)?;
        let mut children = self.by_parent()?;
        let mut found = descend(&mut children, root);
        let mut entered = descend(&mut children, 0);
        entered.retain(|member| member.pid != root);
        for member in &mut entered {
            member.from_outside = true;
        }
        found.append(&mut entered);
        found.retain(|member| !member.ended && !member.in_kernel);
        Some(found)
    }

    /// The signals that a process ignores (proc_pid_status(5), `SigIgn`).
    pub(super) fn ignored(&self, pid: i32) -> SignalSet {
        let text = std::fs::read_to_string(self.path.join(format!("{pid}/status")));
        let text = text.unwrap_or_default();
        let mask = text.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        SignalSet::from_mask(mask.unwrap_or(0))
    }

    /// The parent of a process, 0 outside our PID namespace; `None` once it is gone. A process that is
    /// reaped while its file is read has the parent 0, too, as if it came from outside.
    pub(super) fn parent(&self, pid: i32) -> Option<i32> {
        let member = self.stat(pid)?;
        (member.parent != 0 || !member.ended).then_some(member.parent)
    }

    pub(super) fn stat(&self, pid: i32) -> Option<Member> {
        let mut name = [0_u8; 32];
        write!(Cursor::new(&mut name[..]), "{pid}/stat\0").ok()?;
        let name = CStr::from_bytes_until_nul(&name).ok()?;
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let file = openat(self.directory.as_fd(), name, flags, Mode::empty()).ok()?;
        let mut text = [0_u8; 1024];
        let length = File::from(file).read(&mut text).ok()?;
        let stat = Stat::parse(text.get(..length)?)?;
        Some(Member::new(pid, stat))
    }
}

/// How descendants were found.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Way {
    ChildrenFiles = 1,
    Scan,
}

/// Diagnostics: which way was taken. The same as before is told at level trace only.
fn say(way: Way, found: usize) {
    static BEFORE: AtomicU8 = AtomicU8::new(0);
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    let read = match way {
        Way::ChildrenFiles => "/proc/PID/task/*/children",
        Way::Scan => "a scan of all /proc/PID/stat",
    };
    if BEFORE.swap(way as u8, Ordering::Relaxed) == way as u8 {
        tracing::trace!("descendants: {found}, from {read}");
    } else {
        tracing::debug!("descendants: {found}, from {read}");
    }
}

/// Takes out the descendants of this process, parents before their children.
fn descend(children: &mut HashMap<i32, Vec<Member>>, root: i32) -> Vec<Member> {
    let mut found = children.remove(&root).unwrap_or_default();
    let mut next = 0;
    while let Some(member) = found.get(next) {
        let below = children.remove(&member.pid).unwrap_or_default();
        found.extend(below);
        next += 1;
    }
    found
}
