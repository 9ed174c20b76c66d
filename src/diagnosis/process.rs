//! One process as /proc shows it, as data.

use serde::{Deserialize, Serialize};

use crate::words::signal::Signal;

/// One process as /proc shows it (proc_pid_status(5), proc_pid_stat(5)).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ProcessLook {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    pub(crate) session: i32,
    pub(crate) command: String,
    /// The words it was started with, or what it has written over them.
    pub(crate) argv: Vec<String>,
    /// R, S, D, T, Z and the like.
    pub(crate) state: String,
    pub(crate) threads: u32,
    /// Signals as bits, the lowest being signal 1. Blocked are those that every thread blocks.
    pub(crate) blocked: u64,
    /// Pending for the main thread or for the process.
    pub(crate) pending: u64,
    pub(crate) ignored: u64,
    pub(crate) caught: u64,
    /// The kernel function that it sleeps in, where the kernel shows it.
    pub(crate) waits_in: String,
    /// PID 1 of its namespace.
    pub(crate) is_init: bool,
    /// Who traces it; 0 is nobody.
    pub(crate) tracer: i32,
}

/// What a living process does with a signal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SignalAction {
    /// It is in the kernel and takes no signal, not even KILL (D).
    InKernel,
    /// Job control holds it (T), or a debugger does (t).
    Stopped,
    Traced,
    Ignores,
    /// It blocks it, and it is pending: nothing has taken it.
    Pending,
    /// It blocks it, and it is not pending: either it was not sent yet, or sigwait(3) or a signalfd(2) has
    /// taken it.
    Blocks,
    Handles,
    /// It has no handler, and the default action is none.
    NoAction,
    /// It has no handler, and the kernel drops what PID 1 of a namespace has no handler for.
    Dropped,
    /// It has no handler: the default action.
    Default,
}

/// The names of shells.
const SHELLS: [&str; 7] = ["sh", "bash", "dash", "ash", "ksh", "zsh", "busybox"];

/// Those that a stop may begin with, the usual one first.
const STOPS: [Signal; 4] = [Signal::TERM, Signal::INT, Signal::QUIT, Signal::HUP];

impl ProcessLook {
    pub(crate) fn has(set: u64, signal: Signal) -> bool {
        let bit = u32::try_from(signal.number() - 1).unwrap_or(0);
        set.checked_shr(bit).is_some_and(|set| set & 1 == 1)
    }

    pub(crate) fn is_shell(&self) -> bool {
        // A script that is executed has its own name, and its shell is the first word.
        let name = |at: usize| {
            let word = self.argv.get(at).map_or("", String::as_str);
            let name = word.rsplit('/').next().unwrap_or_default();
            name.trim_start_matches('-')
        };
        if name(0) == "busybox" && !SHELLS.contains(&name(1)) {
            return false;
        }
        [&*self.command, name(0)]
            .iter()
            .any(|name| SHELLS.contains(name))
    }

    /// It has ended. One of which only the first thread has ended is in state Z, too, and is none.
    pub(crate) fn is_zombie(&self) -> bool {
        matches!(&*self.state, "Z" | "X" | "x") && self.threads <= 1
    }

    pub(crate) fn action(&self, signal: Signal) -> SignalAction {
        match &*self.state {
            "D" => SignalAction::InKernel,
            "T" => SignalAction::Stopped,
            "t" => SignalAction::Traced,
            _ => self.disposition(signal),
        }
    }

    /// What it does with a signal once it takes one, whatever keeps it from that now.
    pub(crate) fn disposition(&self, signal: Signal) -> SignalAction {
        if Self::has(self.ignored, signal) {
            SignalAction::Ignores
        } else if Self::has(self.blocked & self.pending, signal) {
            SignalAction::Pending
        } else if Self::has(self.blocked, signal) {
            SignalAction::Blocks
        } else if Self::has(self.caught, signal) {
            SignalAction::Handles
        } else if signal.is_ignored_by_default() {
            SignalAction::NoAction
        } else if self.is_init {
            SignalAction::Dropped
        } else {
            SignalAction::Default
        }
    }

    /// It waits for its child by vfork(2) to begin another program: in state D for a moment, and KILL ends it
    /// (kernel/fork.c, `wait_for_vfork_done`; what the kernel shows is the name of its caller).
    pub(crate) fn is_in_vfork(&self) -> bool {
        let functions = ["kernel_clone", "_do_fork", "wait_for_vfork_done"];
        self.state == "D" && functions.contains(&&*self.waits_in)
    }

    /// Another signal than this one that it has a handler for, and that a stop may begin with.
    pub(crate) fn other_stop(&self, than: Signal) -> Option<Signal> {
        // A shell catches signals for itself as well.
        let handles = |signal: &Signal| *signal != than && Self::has(self.caught, *signal);
        STOPS.into_iter().find(handles).filter(|_| !self.is_shell())
    }
}
