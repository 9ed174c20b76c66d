//! Reads from the descriptor tables of processes which sockets they hold, as their user where only that may look.

use std::fs;
use std::io;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::sys::fork::{self, Looked};
use crate::sys::{credentials, signals};
use crate::words::signal::Signal;

/// How much of /proc may be read at one look, in descriptors, each about a microsecond.
///
/// A count and not a time: on a busy machine time may pass in which nothing is read, and what is
/// seen of the tree must not depend on that.
#[derive(Debug)]
pub(crate) struct ReadBudget(u32);

impl ReadBudget {
    /// What the dump of 20,000 connections leaves of 50 ms, half of it for the listeners' owners.
    pub(crate) const LISTENERS: u32 = 10_000;
    pub(crate) const LOOK: u32 = 16_000;

    pub(crate) fn new(descriptors: u32) -> Self {
        Self(descriptors)
    }

    /// Takes that much; false if it is used up.
    pub(crate) fn take(&mut self, descriptors: u32) -> bool {
        match self.0.checked_sub(descriptors) {
            Some(left) => self.0 = left,
            None => self.0 = 0,
        }
        self.0 > 0
    }
}

/// The inode behind a link of /proc/PID/fd, if that is a socket.
fn inode(link: &[u8]) -> Option<u32> {
    let number = link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    str::from_utf8(number).ok()?.parse().ok()
}

/// The inode of the socket that is descriptor `fd` of `pid`.
pub(crate) fn inode_of(pid: Pid, fd: i32) -> Option<u32> {
    let link = fs::read_link(format!("/proc/{pid}/fd/{fd}")).ok()?;
    inode(link.as_os_str().as_encoded_bytes())
}

/// How far descriptor tables could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coverage {
    /// To their end, or as far as was asked.
    Whole,
    /// One is not ours to read, or the budget was used up.
    Part,
}

/// Calls `each` with the inode of every socket of every process of `pids` until it says `false`. A
/// process that has ended holds none. Without any process the answer is `Coverage::Part`.
pub(crate) fn sockets(
    pids: &[Pid],
    budget: &mut ReadBudget,
    mut each: impl FnMut(u32) -> bool,
) -> Coverage {
    first_sockets(pids, usize::MAX, budget, &mut each)
}

/// As [`sockets`], but of each process only among its first `depth` descriptors.
pub(super) fn first_sockets(
    pids: &[Pid],
    depth: usize,
    budget: &mut ReadBudget,
    each: &mut dyn FnMut(u32) -> bool,
) -> Coverage {
    let Reading {
        coverage,
        refused,
        is_over,
    } = read(pids, depth, budget, each);
    if is_over || refused.is_empty() {
        return coverage;
    }
    let (inodes, of_others) = read_as_others(&refused, depth, budget);
    if !inodes.into_iter().all(each) {
        return Coverage::Whole;
    }
    if of_others == Coverage::Whole {
        coverage
    } else {
        Coverage::Part
    }
}

/// What this process itself may read.
struct Reading {
    coverage: Coverage,
    /// Those of another user into which we may not look.
    refused: Vec<Pid>,
    /// Nothing more is wanted, or may be read.
    is_over: bool,
}

fn read(
    pids: &[Pid],
    depth: usize,
    budget: &mut ReadBudget,
    each: &mut dyn FnMut(u32) -> bool,
) -> Reading {
    let mut reading = Reading {
        coverage: if pids.is_empty() {
            Coverage::Part
        } else {
            Coverage::Whole
        },
        refused: Vec::new(),
        is_over: false,
    };
    let over = |coverage, reading| Reading {
        coverage,
        is_over: true,
        ..reading
    };
    for pid in pids {
        // An error does not mean that it has ended: hidepid hides processes, /proc may be missing,
        // and a link cannot be read if its process ends at that moment.
        let is_gone = || kill(*pid, None) == Err(Errno::ESRCH);
        let is_refused =
            |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied && !is_gone();
        let entries = match fs::read_dir(format!("/proc/{pid}/fd")) {
            Ok(entries) => entries,
            Err(error) if is_refused(&error) => {
                reading.refused.push(*pid);
                continue;
            }
            Err(_) if is_gone() => continue,
            Err(_) => {
                reading.coverage = Coverage::Part;
                continue;
            }
        };
        for entry in entries.take(depth) {
            if !budget.take(1) {
                return over(Coverage::Part, reading);
            }
            let link = match entry.and_then(|entry| fs::read_link(entry.path())) {
                Ok(link) => link,
                Err(error) if is_refused(&error) => {
                    reading.refused.push(*pid);
                    break;
                }
                // The descriptor was closed meanwhile.
                Err(_) => continue,
            };
            if let Some(inode) = inode(link.as_os_str().as_encoded_bytes())
                && !each(inode)
            {
                return over(Coverage::Whole, reading);
            }
        }
    }
    reading
}

/// So long a copy of this process may read.
const PATIENCE: Duration = Duration::from_millis(50);

/// The sockets of processes into which only their own user may look: root without CAP_SYS_PTRACE, which Docker does not
/// give, where the command has another user. A copy of this process becomes that user.
fn read_as_others(pids: &[Pid], depth: usize, budget: &mut ReadBudget) -> (Vec<u32>, Coverage) {
    let left = budget.0;
    let look = || {
        let mut found = Vec::new();
        let mut budget = ReadBudget::new(left);
        let whole = pids.iter().all(|pid| {
            let mut each = |inode: u32| {
                found.extend(inode.to_ne_bytes());
                true
            };
            credentials::look_as_user_of(pid.as_raw()) && {
                let reading = read(&[*pid], depth, &mut budget, &mut each);
                reading.coverage == Coverage::Whole && reading.refused.is_empty()
            }
        });
        if whole {
            found.push(WHOLE);
        }
        found
    };
    let found = match fork::look(PATIENCE, &look) {
        Ok(Looked::Said(found)) => found,
        Ok(Looked::Late(pid)) => {
            signals::send_if_there(pid, Signal::KILL);
            Vec::new()
        }
        Err(_) => Vec::new(),
    };
    let (inodes, rest) = found.as_chunks();
    let inodes: Vec<u32> = inodes
        .iter()
        .map(|inode| u32::from_ne_bytes(*inode))
        .collect();
    budget.take(inodes.len().try_into().unwrap_or(u32::MAX));
    let coverage = if rest == [WHOLE] {
        Coverage::Whole
    } else {
        Coverage::Part
    };
    (inodes, coverage)
}

/// What follows the inodes where all were read.
const WHOLE: u8 = 1;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;

    use super::*;

    fn much() -> ReadBudget {
        ReadBudget::new(ReadBudget::LOOK)
    }

    #[test]
    fn only_links_to_sockets_have_an_inode() {
        assert_eq!(inode(b"socket:[4711]"), Some(4711));
        for link in [
            "/dev/null",
            "socket:[",
            "socket:[]",
            "socket:[x]",
            "pipe:[4711]",
        ] {
            assert_eq!(inode(link.as_bytes()), None, "{link}");
        }
    }

    #[test]
    fn the_sockets_of_a_process_are_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let wanted = inode_of(Pid::this(), listener.as_raw_fd()).unwrap();
        let mut seen = HashSet::new();
        let read = sockets(&[Pid::this()], &mut much(), |inode| {
            seen.insert(inode);
            true
        });
        assert_eq!((read, seen.contains(&wanted)), (Coverage::Whole, true));
        assert_eq!(
            sockets(&[Pid::this()], &mut much(), |inode| inode != wanted),
            Coverage::Whole
        );
        // More descriptors than may be read, and a process that is gone.
        assert_eq!(
            sockets(&[Pid::this()], &mut ReadBudget::new(2), |_| true),
            Coverage::Part
        );
        assert_eq!(
            sockets(&[Pid::from_raw(i32::MAX)], &mut much(), |_| panic!()),
            Coverage::Whole
        );
    }
}
