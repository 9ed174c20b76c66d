//! What /proc shows of a process, and what the process does with a signal: for messages only, no stop depends
//! on it.

use std::fs;

use serde::{Deserialize, Serialize};

use crate::plan::Target;
use crate::record::waited::Waited;
use crate::sys::stat::Stat;
use crate::sys::tree;
use crate::words::signal::Signal;

/// One process as /proc shows it (proc_pid_status(5), proc_pid_stat(5)).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ProcessLook {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) session: i32,
    pub(crate) command: String,
    /// R, S, D, T, Z and the like.
    pub(crate) state: String,
    pub(crate) threads: u32,
    /// Signals as bits, the lowest being signal 1.
    pub(crate) blocked: u64,
    /// Pending for the main thread or for the process.
    pub(crate) pending: u64,
    pub(crate) ignored: u64,
    pub(crate) caught: u64,
    /// The kernel function that it sleeps in, where the kernel shows it.
    pub(crate) waits_in: String,
    /// PID 1 of a namespace below ours.
    pub(crate) is_init: bool,
}

/// What a living process does with a signal that was sent to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SignalAction {
    /// It is in the kernel and takes no signal, not even KILL (D).
    InKernel,
    /// Job control holds it (T), or a debugger does (t).
    Stopped,
    Traced,
    Ignores,
    /// It blocks it, and has not taken it.
    Blocks,
    /// It blocks it, and it is not pending: it was taken by sigwait(3), by a signalfd(2) or in another
    /// thread.
    HasTaken,
    Handles,
    /// It has no handler, and the kernel drops what PID 1 of a namespace has no handler for.
    Dropped,
    /// It has no handler: the default action.
    Default,
}

/// The names of shells.
const SHELLS: [&str; 7] = ["sh", "bash", "dash", "ash", "ksh", "zsh", "busybox"];

impl ProcessLook {
    pub(crate) fn has(set: u64, signal: Signal) -> bool {
        let bit = u32::try_from(signal.number() - 1).unwrap_or(0);
        set.checked_shr(bit).is_some_and(|set| set & 1 == 1)
    }

    pub(crate) fn is_shell(&self) -> bool {
        SHELLS.contains(&&*self.command)
    }

    pub(crate) fn is_zombie(&self) -> bool {
        self.state == "Z"
    }

    pub(crate) fn action(&self, signal: Signal) -> SignalAction {
        match &*self.state {
            "D" => SignalAction::InKernel,
            "T" => SignalAction::Stopped,
            "t" => SignalAction::Traced,
            _ if Self::has(self.ignored, signal) => SignalAction::Ignores,
            _ if Self::has(self.blocked & self.pending, signal) => SignalAction::Blocks,
            _ if Self::has(self.blocked, signal) => SignalAction::HasTaken,
            _ if Self::has(self.caught, signal) => SignalAction::Handles,
            _ if self.is_init => SignalAction::Dropped,
            _ => SignalAction::Default,
        }
    }
}

/// Who is still there, `main` first, after `signal` was sent to `target`.
pub(crate) fn waited(
    looks: &[ProcessLook],
    main: i32,
    signal: Option<Signal>,
    target: Target,
) -> Vec<Waited> {
    let (first, others): (Vec<&ProcessLook>, Vec<&ProcessLook>) = looks
        .iter()
        .filter(|look| !look.is_zombie())
        .partition(|look| look.pid == main);
    let waited = |look: &&ProcessLook| {
        let is_main = look.pid == main;
        let had = signal.filter(|_| is_main || target != Target::Child);
        let child = others.iter().find(|child| child.parent == look.pid);
        Waited {
            pid: look.pid,
            command: look.command.clone(),
            why: why(look, had, child.copied(), is_main, target),
        }
    };
    first.iter().chain(&others).map(waited).collect()
}

/// `had` is the signal that it was sent, `child` one of its own children.
fn why(
    look: &ProcessLook,
    had: Option<Signal>,
    child: Option<&ProcessLook>,
    is_main: bool,
    target: Target,
) -> Option<String> {
    let function = match &*look.waits_in {
        "" => String::new(),
        function => format!(", in {function}"),
    };
    let state = match look.action(had.unwrap_or(Signal::KILL)) {
        SignalAction::InKernel => Some(format!("hangs in the kernel{function}: state D")),
        SignalAction::Stopped => Some("stopped by job control: state T".to_owned()),
        SignalAction::Traced => Some("held by a debugger: state t".to_owned()),
        _ => None,
    };
    if state.is_some() {
        return state;
    }
    let signal = had?;
    let threads = match look.threads {
        0 | 1 => String::new(),
        threads => format!(", {threads} threads"),
    };
    let why = match (look.action(signal), child) {
        (SignalAction::Ignores, _) => format!("ignores {signal}"),
        (SignalAction::Blocks, _) => format!("blocks {signal} and has not taken it"),
        (SignalAction::HasTaken, _) => format!(
            "has taken {signal}, by sigwait, a signalfd or another thread, and is not done{threads}{function}"
        ),
        (SignalAction::Dropped, _) => format!(
            "PID 1 of a namespace of its own, without a handler for {signal}: the kernel drops it"
        ),
        (SignalAction::Handles, Some(child)) if is_main && look.is_shell() => {
            let way_out = match target {
                Target::Child => ": --target group reaches both",
                Target::Group | Target::Tree => "",
            };
            format!(
                "a shell, whose trap for {signal} runs only once {} {} has ended{way_out}",
                child.pid,
                child.command.escape_debug()
            )
        }
        (SignalAction::Handles, _) => {
            format!("handles {signal} and is not done{threads}{function}")
        }
        _ => format!("no handler for {signal}: it takes it by sigwait, or is just dying"),
    };
    Some(why)
}

/// One process; `None` when it is gone or there is no /proc.
pub(crate) fn at(pid: i32) -> Option<ProcessLook> {
    let stat = Stat::parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let waits_in = fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
    Some(ProcessLook {
        pid,
        waits_in: waits_in.trim_matches(['\0', '0', '\n']).to_owned(),
        ..of(stat, &status)
    })
}

/// Every living process below this one.
pub(crate) fn descendants() -> Vec<ProcessLook> {
    let members = tree::descendants().unwrap_or_default();
    members.iter().filter_map(|member| at(member.pid)).collect()
}

/// All but the pid and what it waits in.
fn of(stat: Stat, status: &str) -> ProcessLook {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.map_or("", str::trim)
    };
    let set = |name| u64::from_str_radix(field(name), 16).unwrap_or(0);
    ProcessLook {
        pid: 0,
        parent: stat.parent,
        session: stat.session,
        command: stat.command,
        state: stat.state.to_string(),
        threads: field("Threads:").parse().unwrap_or(1),
        blocked: set("SigBlk:"),
        pending: set("SigPnd:") | set("ShdPnd:"),
        ignored: set("SigIgn:"),
        caught: set("SigCgt:"),
        waits_in: String::new(),
        is_init: is_init(field("NSpid:")),
    }
}

/// The pids are those in each namespace from ours inwards; the last one is its own.
fn is_init(pids: &str) -> bool {
    pids.split_ascii_whitespace().skip(1).last() == Some("1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_the_kernel_are_understood() {
        let status = "Name:\ta b\nThreads:\t3\nSigPnd:\t1\nShdPnd:\t0000000000004000\n\
                      SigBlk:\t0000000000004000\nSigIgn:\t0\nSigCgt:\tff\n";
        let look = of(Stat::parse(b"7 (a) b) S 3 5 6 0 -1").unwrap(), status);
        assert_eq!((look.command.as_str(), look.parent), ("a) b", 3));
        assert_eq!((look.session, look.threads), (6, 3));
        assert!(ProcessLook::has(look.blocked, Signal::TERM));
        assert!(ProcessLook::has(look.pending, Signal::TERM));
        assert!(ProcessLook::has(look.pending, Signal::HUP));
        assert!(!ProcessLook::has(look.caught, Signal::TERM));
        assert!(!look.is_init);
    }

    #[test]
    fn pid_1_of_a_namespace_below_is_known() {
        for (pids, expected) in [
            ("7", false),
            ("1", false),
            ("7\t1", true),
            ("9\t1\t4", false),
            ("", false),
        ] {
            assert_eq!(is_init(pids), expected, "{pids:?}");
        }
    }

    fn look(pid: i32, command: &str) -> ProcessLook {
        ProcessLook {
            pid,
            command: command.to_owned(),
            state: "S".to_owned(),
            threads: 1,
            ..ProcessLook::default()
        }
    }

    #[test]
    fn who_is_still_there_is_told_with_the_reason() {
        const TERM: u64 = 1 << 14;
        let told = |change: &dyn Fn(&mut ProcessLook), command: &str, target| {
            let mut main = look(7, command);
            change(&mut main);
            let mut child = look(8, "sleep");
            child.parent = 7;
            let waited = waited(&[child, main], 7, Some(Signal::TERM), target);
            waited
                .iter()
                .map(Waited::to_string)
                .collect::<Vec<_>>()
                .join("; ")
        };
        let server = |change: &dyn Fn(&mut ProcessLook)| told(change, "server", Target::Child);
        for (change, why) in [
            (
                &(|look: &mut ProcessLook| look.ignored = TERM) as &dyn Fn(&mut ProcessLook),
                "ignores TERM",
            ),
            (
                &|look: &mut ProcessLook| (look.blocked, look.pending) = (TERM, TERM),
                "blocks TERM and has not taken it",
            ),
            (
                // Another signal is pending.
                &|look: &mut ProcessLook| (look.blocked, look.pending, look.threads) = (TERM, 1, 2),
                "has taken TERM, by sigwait, a signalfd or another thread, and is not done, 2 threads",
            ),
            (
                &|look: &mut ProcessLook| {
                    (look.caught, look.threads, look.waits_in) = (TERM, 3, "futex".to_owned())
                },
                "handles TERM and is not done, 3 threads, in futex",
            ),
            (
                &|look: &mut ProcessLook| look.is_init = true,
                "PID 1 of a namespace of its own, without a handler for TERM: the kernel drops it",
            ),
            (
                &|look: &mut ProcessLook| (look.ignored, look.state) = (TERM, "D".to_owned()),
                "hangs in the kernel: state D",
            ),
            (
                &|look: &mut ProcessLook| look.state = "T".to_owned(),
                "stopped by job control: state T",
            ),
            (
                &|_: &mut ProcessLook| (),
                "no handler for TERM: it takes it by sigwait, or is just dying",
            ),
        ] {
            assert_eq!(server(change), format!("7 server ({why}); 8 sleep"));
        }
        let traps = |look: &mut ProcessLook| look.caught = TERM;
        assert_eq!(
            told(&traps, "sh", Target::Child),
            "7 sh (a shell, whose trap for TERM runs only once 8 sleep has ended: --target group reaches both); \
             8 sleep"
        );
        assert!(told(&traps, "sh", Target::Group).contains("8 sleep (no handler for TERM"));
    }

    #[test]
    fn we_are_seen() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert_eq!(at(pid).unwrap().pid, pid);
    }
}
