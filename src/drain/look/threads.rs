//! What each thread of a process sleeps in, as far as the kernel lets us see it, and from
//! that whether the process serves its connections by blocking reads or by an event loop.
//!
//! Source: proc(5), /proc/PID/syscall. Reading it needs the same rights as ptrace(2) (same user,
//! dumpable, no more capabilities than ours); where that is refused the answer is `Unreadable`,
//! never a guess.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use libc::c_long;
use nix::unistd::Pid;

use crate::drain::look::descriptors::ReadBudget;

/// What a look at a thread costs, compared to one at a descriptor.
const COST: u32 = 8;
/// A poll(2) of more descriptors than this is not looked into: nobody waits for a single one that
/// way.
pub(in crate::drain) const POLL_MAX: u64 = 16;
/// The size of an `fd_set`.
pub(in crate::drain) const SELECT_MAX: u64 = 1024;
/// The events that a reader asks poll(2) for: POLLIN, POLLPRI, POLLRDNORM, POLLRDHUP.
const POLL_READ: i16 = libc::POLLIN | libc::POLLPRI | libc::POLLRDNORM | libc::POLLRDHUP;

/// What one thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asleep {
    /// It waits for data on this descriptor and no other.
    Reading(i32),
    /// It waits for any of many descriptors: epoll, io_uring, select or poll on several.
    Many,
    /// It sleeps, but does not wait for data.
    Elsewhere,
    /// It runs.
    Running,
    /// It is not there any more.
    Gone,
    /// The kernel does not say.
    Unreadable,
}

/// How a process serves its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerKind {
    /// No thread waits for many descriptors.
    Blocking {
        running: bool,
    },
    EventLoop,
    /// At least one thread could not be read, or the budget was used up.
    Unreadable,
}

/// The threads of one process at one look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProcessThreads {
    pub(crate) kind: ServerKind,
    /// Thread and descriptor of each that waits for data on one; an event loop may have such too.
    pub(crate) readers: Vec<(Pid, i32)>,
}

/// Looks at all threads of `pid` except those in `known`, which the caller knows to be still
/// asleep. Returns what could be read within the budget, as `Unreadable` if there was more.
pub(crate) fn process(pid: Pid, known: &HashSet<Pid>, budget: &mut ReadBudget) -> ProcessThreads {
    let mut seen = ProcessThreads {
        kind: ServerKind::Unreadable,
        readers: Vec::new(),
    };
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return seen;
    };
    let mut memory = ProcessMemory { pid, file: None };
    let (mut many, mut running) = (false, false);
    for task in tasks {
        let Some(tid) = task.ok().and_then(|t| t.file_name().to_str()?.parse().ok()) else {
            return seen;
        };
        let tid = Pid::from_raw(tid);
        if known.contains(&tid) {
            continue;
        }
        if !budget.take(COST) {
            return seen;
        }
        match thread(pid, tid, &mut memory) {
            Asleep::Reading(fd) => seen.readers.push((tid, fd)),
            Asleep::Many => many = true,
            Asleep::Running => running = true,
            Asleep::Elsewhere | Asleep::Gone => {}
            Asleep::Unreadable => return seen,
        }
    }
    seen.kind = if many {
        ServerKind::EventLoop
    } else {
        ServerKind::Blocking { running }
    };
    seen
}

/// The memory of a process, opened when the first thread of it is found in poll or select.
struct ProcessMemory {
    pid: Pid,
    file: Option<File>,
}

impl ProcessMemory {
    fn read(&mut self, at: u64, into: &mut [u8]) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            place => place.insert(File::open(format!("/proc/{}/mem", self.pid))?),
        };
        file.read_exact_at(into, at)
    }
}

fn thread(pid: Pid, tid: Pid, memory: &mut ProcessMemory) -> Asleep {
    let mut bytes = [0; 256];
    let read = File::open(format!("/proc/{pid}/task/{tid}/syscall"))
        .and_then(|mut file| file.read(&mut bytes));
    let length = match read {
        Ok(length) => length,
        Err(e) => {
            // ENOENT is also what a kernel without this file answers.
            let gone = matches!(e.raw_os_error(), Some(libc::ESRCH | libc::ENOENT))
                && !fs::exists(format!("/proc/{pid}/task/{tid}")).unwrap_or(false);
            return if gone {
                Asleep::Gone
            } else {
                Asleep::Unreadable
            };
        }
    };
    let text = bytes
        .get(..length)
        .and_then(|text| str::from_utf8(text).ok())
        .unwrap_or_default();
    match call(text) {
        Syscall::Is(asleep) => asleep,
        Syscall::Poll { at, count } => {
            let mut fds = [0; POLL_MAX as usize * 8];
            let Some(fds) = fds.get_mut(..count as usize * 8) else {
                return Asleep::Many;
            };
            memory
                .read(at, fds)
                .map_or(Asleep::Unreadable, |()| polled(fds))
        }
        Syscall::Select { count, sets } => {
            let mut words = [[0u8; SELECT_MAX as usize / 8]; 3];
            for (set, at) in words.iter_mut().zip(sets) {
                // The kernel reads the sets in words of 64 bits.
                let length = (count.div_ceil(64) * 8) as usize;
                let Some(part) = set.get_mut(..length) else {
                    return Asleep::Many;
                };
                if at != 0 && memory.read(at, part).is_err() {
                    return Asleep::Unreadable;
                }
            }
            selected(&words, count)
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::drain) enum Syscall {
    Is(Asleep),
    Poll { at: u64, count: u64 },
    Select { count: u64, sets: [u64; 3] },
}

/// Reads one line of /proc/PID/syscall: `running`, or the number of the call, six arguments, the
/// stack pointer and the program counter; the number is -1 outside of a call.
pub(in crate::drain) fn call(text: &str) -> Syscall {
    let mut fields = text.split_ascii_whitespace();
    let first = fields.next();
    if first == Some("running") {
        return Syscall::Is(Asleep::Running);
    }
    let Some(number) = first.and_then(|n| n.parse::<c_long>().ok()) else {
        return Syscall::Is(Asleep::Unreadable);
    };
    if number < 0 {
        return Syscall::Is(Asleep::Elsewhere);
    }
    let mut values = [0u64; 7];
    for value in &mut values {
        let field = fields.next().and_then(|f| f.strip_prefix("0x"));
        let Some(read) = field.and_then(|f| u64::from_str_radix(f, 16).ok()) else {
            return Syscall::Is(Asleep::Unreadable);
        };
        *value = read;
    }
    let [a, b, c, d, _, _, stack] = values;
    // A 32-bit process has other numbers for its calls. Its stack lies below 4 GiB.
    if stack <= u64::from(u32::MAX) {
        return Syscall::Is(Asleep::Unreadable);
    }
    match kind_of(number) {
        Some(Number::Read) => Syscall::Is(Asleep::Reading(a as i32)),
        Some(Number::Many) => Syscall::Is(Asleep::Many),
        Some(Number::Poll) if b == 0 => Syscall::Is(Asleep::Elsewhere),
        Some(Number::Poll) if b > POLL_MAX => Syscall::Is(Asleep::Many),
        Some(Number::Poll) => Syscall::Poll { at: a, count: b },
        Some(Number::Select) if a as i32 <= 0 => Syscall::Is(Asleep::Elsewhere),
        Some(Number::Select) if a > SELECT_MAX => Syscall::Is(Asleep::Many),
        Some(Number::Select) => Syscall::Select {
            count: a,
            sets: [b, c, d],
        },
        None => Syscall::Is(Asleep::Elsewhere),
    }
}

enum Number {
    Read,
    Many,
    Poll,
    Select,
}

/// What a system call waits for, by its number on this machine. accept(2) is not among them: it
/// does not wait for data of an established connection.
fn kind_of(number: c_long) -> Option<Number> {
    #[cfg(target_arch = "x86_64")]
    match number {
        libc::SYS_poll => return Some(Number::Poll),
        libc::SYS_select => return Some(Number::Select),
        libc::SYS_epoll_wait => return Some(Number::Many),
        _ => {}
    }
    // Newer than some of the headers that libc is built from, and the same on every machine.
    const SYS_EPOLL_PWAIT2: c_long = 441;
    match number {
        libc::SYS_read
        | libc::SYS_readv
        | libc::SYS_recvfrom
        | libc::SYS_recvmsg
        | libc::SYS_recvmmsg => Some(Number::Read),
        libc::SYS_ppoll => Some(Number::Poll),
        libc::SYS_pselect6 => Some(Number::Select),
        libc::SYS_epoll_pwait
        | SYS_EPOLL_PWAIT2
        | libc::SYS_io_uring_enter
        | libc::SYS_io_getevents => Some(Number::Many),
        _ => None,
    }
}

/// Reads an array of `struct pollfd`: `{ int fd; short events; short revents; }`.
pub(in crate::drain) fn polled(fds: &[u8]) -> Asleep {
    let mut one = None;
    for entry in fds.chunks_exact(8) {
        let [f0, f1, f2, f3, e0, e1, ..] = *entry else {
            continue;
        };
        let fd = i32::from_ne_bytes([f0, f1, f2, f3]);
        if fd < 0 {
            continue;
        }
        if one.is_some() {
            return Asleep::Many;
        }
        one = Some((fd, i16::from_ne_bytes([e0, e1])));
    }
    match one {
        Some((fd, events)) if events & POLL_READ != 0 => Asleep::Reading(fd),
        _ => Asleep::Elsewhere,
    }
}

/// Reads the three sets of select(2), of which the first is for reading.
pub(in crate::drain) fn selected(sets: &[[u8; SELECT_MAX as usize / 8]; 3], count: u64) -> Asleep {
    let has = |set: &[u8], fd: u64| -> bool {
        // Words of 64 bits in the order of the machine; both machines are little-endian.
        set.get((fd / 8) as usize)
            .is_some_and(|byte| byte & (1 << (fd % 8)) != 0)
    };
    let mut wanted = (0..count).filter(|&fd| sets.iter().any(|set| has(set, fd)));
    match (wanted.next(), wanted.next()) {
        (Some(_), Some(_)) => Asleep::Many,
        (Some(fd), None) if has(&sets[0], fd) => Asleep::Reading(fd as i32),
        _ => Asleep::Elsewhere,
    }
}

#[cfg(test)]
mod tests;
