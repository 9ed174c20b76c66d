//! What /proc says about processes, and signals for them, real-time ones included.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

/// A line of /proc/PID/stat, as far as stories need it (proc(5)).
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) pid: Pid,
    pub(crate) name: String,
    /// `Z` is a zombie, `T` a stopped process.
    pub(crate) state: char,
    pub(crate) parent: Pid,
    pub(crate) group: Pid,
    pub(crate) session: Pid,
    /// When it was started, as [`now`] counts.
    pub(crate) started: u64,
}

/// Every process that can be seen, zombies included.
pub(crate) fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").expect("/proc of the machine that runs the tests");
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| process(Pid::from_raw(pid)))
        .collect()
}

/// What is known about one process, if it exists.
pub(crate) fn process(pid: Pid) -> Option<Process> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    // The name stands in parentheses and may hold any character, parentheses too.
    let (open, close) = (stat.find('(')?, stat.rfind(')')?);
    let mut fields = stat.get(close + 2..)?.split(' ');
    let state = fields.next()?.chars().next()?;
    let mut number = || Some(Pid::from_raw(fields.next()?.parse().ok()?));
    let (parent, group, session) = (number()?, number()?, number()?);
    let started = fields.nth(15)?.parse().ok()?;
    Some(Process {
        pid,
        name: stat[open + 1..close].to_owned(),
        state,
        parent,
        group,
        session,
        started,
    })
}

/// The time since boot, in the hundredths of a second that the kernel counts in.
pub(crate) fn now() -> u64 {
    let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds = uptime.split(' ').next().unwrap_or_default();
    seconds.replace('.', "").parse().unwrap_or(0)
}

/// The living and the dead children of a process.
pub(crate) fn children(parent: Pid) -> Vec<Process> {
    listed_children(parent)
        .unwrap_or_else(all)
        .into_iter()
        .filter(|process| process.parent == parent)
        .collect()
}

/// From the `children` files, where the kernel has them: a look at everybody takes much longer.
fn listed_children(parent: Pid) -> Option<Vec<Process>> {
    let mut found = Vec::new();
    for thread in fs::read_dir(format!("/proc/{parent}/task")).ok()?.flatten() {
        let text = fs::read_to_string(thread.path().join("children")).ok()?;
        let pids = text.split_whitespace().filter_map(|pid| pid.parse().ok());
        found.extend(pids.map(Pid::from_raw).filter_map(process));
    }
    Some(found)
}

/// The numbers of its open descriptors; none for one that has ended.
pub(crate) fn descriptors(pid: Pid) -> Vec<i32> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd"));
    let entries = entries.into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// From now on no descriptor gets this number or a higher one. Returns what was allowed before.
pub(crate) fn limit_descriptors(pid: Pid, limit: libc::rlim_t) -> libc::rlim_t {
    let before = descriptor_limits(pid, None);
    let limits = libc::rlimit {
        rlim_cur: limit,
        ..before
    };
    descriptor_limits(pid, Some(limits)).rlim_cur
}

/// As [`limit_descriptors`], for good.
pub(crate) fn limit_descriptors_hard(pid: Pid, limit: libc::rlim_t) {
    let limits = libc::rlimit {
        rlim_cur: limit,
        rlim_max: limit,
    };
    descriptor_limits(pid, Some(limits));
}

fn descriptor_limits(pid: Pid, new: Option<libc::rlimit>) -> libc::rlimit {
    let mut before = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    let new = new
        .as_ref()
        .map_or(std::ptr::null(), std::ptr::from_ref::<libc::rlimit>);
    // SAFETY: the kernel reads the third argument, if there is one, and writes the fourth; both live through the call.
    let done = unsafe { libc::prlimit(pid.as_raw(), libc::RLIMIT_NOFILE, new, &raw mut before) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    before
}

/// From now on it gets no descriptor but those that it has; it must be at rest. Returns what was allowed before.
#[track_caller]
pub(crate) fn leave_no_descriptor(pid: Pid) -> libc::rlim_t {
    let open = descriptors(pid);
    let free = (0..).find(|number| !open.contains(number));
    limit_descriptors(pid, free.unwrap_or_default().cast_unsigned().into())
}

/// Does the process exist and is it more than a zombie?
pub(crate) fn is_alive(pid: Pid) -> bool {
    process(pid).is_some_and(|process| !matches!(process.state, 'Z' | 'X'))
}

/// The program that a process runs.
pub(crate) fn program(pid: Pid) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe")).ok()
}

/// Which file it is: what names the program of a process (`/proc/PID/exe`) in another mount namespace may have another
/// path.
pub(crate) fn file(path: impl AsRef<Path>) -> Option<(u64, u64)> {
    let file = fs::metadata(path).ok()?;
    Some((file.dev(), file.ino()))
}

/// The value of a line of /proc/PID/status, such as `NSpid` or `SigIgn`.
pub(crate) fn status(pid: Pid, key: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text
        .lines()
        .find(|line| line.split(':').next() == Some(key))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Whether it has a handler for the signal (proc_pid_status(5), `SigCgt`).
pub(crate) fn catches(pid: Pid, signal: Signal) -> bool {
    let mask = status(pid, "SigCgt").and_then(|mask| u64::from_str_radix(&mask, 16).ok());
    mask.is_some_and(|mask| mask & (1 << (signal as i32 - 1)) != 0)
}

/// Sends a signal by number: nix's names end before the real-time signals.
pub(crate) fn kill(pid: Pid, signal: i32) -> nix::Result<()> {
    // SAFETY: kill(2) takes two numbers and touches no memory of ours.
    Errno::result(unsafe { libc::kill(pid.as_raw(), signal) }).map(drop)
}

/// Queues a signal together with a value (sigqueue(3)).
pub(crate) fn sigqueue(pid: Pid, signal: i32, value: usize) -> nix::Result<()> {
    let value = libc::sigval {
        sival_ptr: value as *mut libc::c_void,
    };
    // SAFETY: the value is carried as a number and never dereferenced.
    Errno::result(unsafe { libc::sigqueue(pid.as_raw(), signal, value) }).map(drop)
}

/// The number of `SIGRTMIN+n` as programs and Docker count it.
pub(crate) fn rtmin(n: i32) -> i32 {
    libc::SIGRTMIN() + n
}
