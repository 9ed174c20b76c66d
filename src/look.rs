//! What /proc shows of a process: for messages only, no stop depends on it.

use std::fs;
use std::thread;
use std::time::Duration;

use crate::diagnosis::ProcessLook;
use crate::sys::stat::Stat;
use crate::sys::tree;

/// Of so many threads it is asked which signals they block.
const THREADS: usize = 512;

/// One process; `None` when it is gone or there is no /proc. Without a command line where one of its threads hangs: to
/// read it might hang as well.
pub(crate) fn at(pid: i32) -> Option<ProcessLook> {
    // A wait for a disk, or for the exec of a child (vfork(2)), is soon over.
    let hangs = (0..LOOKS).all(|look| {
        if look > 0 {
            thread::sleep(PAUSE);
        }
        hangs(pid)
    });
    let text = if hangs {
        String::new()
    } else {
        command_line(pid)
    };
    with_argv(pid, words(&text))
}

/// So often, and with such a pause, it is looked whether a process still hangs.
const LOOKS: usize = 5;
const PAUSE: Duration = Duration::from_millis(2);

/// Its command line, for [`words`]. The kernel reads it in the memory of the process, and waits where that is being
/// changed: for ever, if mmap(2) or a page fault of the process hangs with its file system.
pub(crate) fn command_line(pid: i32) -> String {
    let text = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&text).into_owned()
}

/// One process whose command line is known, or is not asked for: this does not hang.
pub(crate) fn with_argv(pid: i32, argv: Vec<String>) -> Option<ProcessLook> {
    let stat = Stat::parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let waits_in = fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
    let mut look = of(pid, stat, &status);
    look.waits_in = waits_in.trim_matches(['\0', '0', '\n']).to_owned();
    look.argv = argv;
    if look.threads > 1 && look.blocked != 0 {
        look.blocked &= blocked_by_all(pid);
    }
    if UNNAMED.contains(&&*look.command)
        && let Some(name) = look.argv.first().and_then(|word| word.rsplit('/').next())
    {
        name.clone_into(&mut look.command);
    }
    Some(look)
}

/// Whether one of its threads cannot be interrupted (state D).
pub(crate) fn hangs(pid: i32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    let mut threads = threads.into_iter().flatten().flatten().take(THREADS);
    threads.any(|thread| {
        let stat = fs::read(thread.path().join("stat")).ok();
        stat.and_then(|stat| Stat::parse(&stat))
            .is_some_and(|stat| stat.state == 'D')
    })
}

/// The same one now, unless it has ended or has another parent.
pub(crate) fn again(look: &ProcessLook) -> Option<ProcessLook> {
    at(look.pid).filter(|now| now.parent == look.parent)
}

/// The name that runtimes give to their first thread, which is that of the process (comm).
const UNNAMED: [&str; 2] = ["MainThread", "node-MainThread"];

/// The signals that all threads block: one thread that does not block it suffices to take a signal.
fn blocked_by_all(pid: i32) -> u64 {
    let blocked = thread_blocks(pid).into_iter();
    blocked.fold(u64::MAX, |all, blocked| all & blocked)
}

/// The signals that each thread blocks, without those that have ended meanwhile.
pub(crate) fn thread_blocks(pid: i32) -> Vec<u64> {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    let threads = threads.into_iter().flatten().flatten().take(THREADS);
    let blocked = threads.filter_map(|thread| {
        let status = fs::read_to_string(thread.path().join("status")).ok()?;
        Some(mask(&status, "SigBlk:"))
    });
    blocked.collect()
}

/// Every living process below this one.
pub(crate) fn descendants() -> Vec<ProcessLook> {
    let members = tree::descendants().unwrap_or_default();
    members.iter().filter_map(|member| at(member.pid)).collect()
}

/// What a command line holds: words that end with a zero byte. What a program has written over them may be one text.
pub(crate) fn words(command_line: &str) -> Vec<String> {
    let text = command_line.trim_end_matches('\0');
    let words = (!text.is_empty()).then(|| text.split('\0').map(str::to_owned));
    words.into_iter().flatten().collect()
}

fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.map_or("", str::trim)
}

fn mask(status: &str, name: &str) -> u64 {
    u64::from_str_radix(field(status, name), 16).unwrap_or(0)
}

/// What the two files say.
pub(crate) fn of(pid: i32, stat: Stat, status: &str) -> ProcessLook {
    let set = |name| mask(status, name);
    ProcessLook {
        pid,
        parent: stat.parent,
        group: stat.group,
        session: stat.session,
        command: stat.command,
        argv: Vec::new(),
        state: stat.state.to_string(),
        threads: field(status, "Threads:").parse().unwrap_or(1),
        blocked: set("SigBlk:"),
        pending: set("SigPnd:") | set("ShdPnd:"),
        ignored: set("SigIgn:"),
        caught: set("SigCgt:"),
        waits_in: String::new(),
        is_init: is_init(pid, field(status, "NSpid:")),
        tracer: field(status, "TracerPid:").parse().unwrap_or(0),
    }
}

/// The pids are those in each namespace from ours inwards; the last one is its own. Old kernels do not tell.
fn is_init(pid: i32, pids: &str) -> bool {
    match pids.split_ascii_whitespace().last() {
        Some(last) => last == "1",
        None => pid == 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::signal::Signal;

    #[test]
    fn the_files_of_the_kernel_are_understood() {
        let status = "Name:\ta b\nThreads:\t3\nSigPnd:\t1\nShdPnd:\t0000000000004000\n\
                      SigBlk:\t0000000000004000\nSigIgn:\t0\nSigCgt:\tff\nTracerPid:\t12\n";
        let look = of(7, Stat::parse(b"7 (a) b) S 3 5 6 0 -1").unwrap(), status);
        assert_eq!((look.command.as_str(), look.parent), ("a) b", 3));
        assert_eq!((look.group, look.session, look.threads), (5, 6, 3));
        assert!(ProcessLook::has(look.blocked, Signal::TERM));
        assert!(ProcessLook::has(look.pending, Signal::TERM));
        assert!(ProcessLook::has(look.pending, Signal::HUP));
        assert!(!ProcessLook::has(look.caught, Signal::TERM));
        assert!(!look.is_init);
        assert_eq!(look.tracer, 12);
    }

    #[test]
    fn pid_1_of_a_namespace_is_known() {
        for (pid, pids, expected) in [
            (7, "7", false),
            (1, "1", true),
            (7, "7\t1", true),
            (9, "9\t1\t4", false),
            (7, "", false),
            (1, "", true),
        ] {
            assert_eq!(is_init(pid, pids), expected, "{pids:?}");
        }
    }

    #[test]
    fn words_end_with_a_zero_byte() {
        assert_eq!(words("a\0b c\0\0d\0"), ["a", "b c", "", "d"]);
        assert_eq!(words("npm start\0\0\0"), ["npm start"]);
        assert_eq!(words(""), [""; 0]);
    }

    #[test]
    fn we_are_seen() {
        let pid = i32::try_from(std::process::id()).unwrap();
        // Other tests wait in vfork(2), one after the other.
        let mut looks = (0..1000).map(|_| at(pid).unwrap());
        let look = looks.find(|look| !look.argv.is_empty());
        assert_eq!(look.map(|look| look.pid), Some(pid));
    }
}
