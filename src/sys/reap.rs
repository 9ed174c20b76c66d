//! The only waitpid in the program.

use std::mem::MaybeUninit;

use nix::errno::Errno;

use crate::record::ExitStatus;
use crate::words::signal::Signal;

/// What waitpid(2) said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reaped {
    Ended {
        pid: i32,
        status: ExitStatus,
    },
    /// A child was stopped by a signal (like the next one only told when asked for).
    Stopped {
        pid: i32,
        signal: Signal,
    },
    /// A child that was stopped goes on.
    Continued {
        pid: i32,
    },
    /// There are children, and the state of none has changed.
    Nothing,
    /// There is no child left.
    NoChild,
}

/// Takes one child that has ended or, with `stops`, was stopped or goes on. Never waits.
pub(crate) fn next(stops: bool) -> Reaped {
    let mut status = 0;
    let stops = if stops {
        libc::WUNTRACED | libc::WCONTINUED
    } else {
        0
    };
    let flags = libc::WNOHANG | stops;
    // Only ECHILD says that there is none. Anything else comes from a filter, and is not asked about for ever.
    let mut tries = 8;
    let pid = loop {
        // SAFETY: the status lives through the call.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, flags) };
        tries -= 1;
        if pid != -1 || tries == 0 || Errno::last() == Errno::ECHILD {
            break pid;
        }
    };
    match pid {
        0 => Reaped::Nothing,
        -1 => Reaped::NoChild,
        pid if libc::WIFSTOPPED(status) => Reaped::Stopped {
            pid,
            signal: Signal::from_number(libc::WSTOPSIG(status)).unwrap_or(Signal::STOP),
        },
        pid if libc::WIFCONTINUED(status) => Reaped::Continued { pid },
        pid => Reaped::Ended {
            pid,
            status: exit_status(status),
        },
    }
}

/// Waits until a child that is about to end has ended, and leaves it for `next` to take.
pub(crate) fn wait_for_end(pid: i32) {
    wait_for(pid, libc::WEXITED | libc::WNOWAIT);
}

/// Waits until a child that is about to end has ended, and reaps it without reporting it.
pub(crate) fn take_ending(pid: i32) {
    wait_for(pid, libc::WEXITED);
}

fn wait_for(pid: i32, flags: libc::c_int) {
    let Ok(id) = libc::id_t::try_from(pid) else {
        return;
    };
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: the info lives through the call, and nobody reads it.
    unsafe { libc::waitid(libc::P_PID, id, info.as_mut_ptr(), flags) };
}

/// Whether this is a child of ours that was not reaped: it may have ended.
pub(crate) fn is_child(pid: i32) -> bool {
    let Ok(id) = libc::id_t::try_from(pid) else {
        return false;
    };
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: the info lives through the call, and nobody reads it.
    unsafe { libc::waitid(libc::P_PID, id, info.as_mut_ptr(), flags) == 0 }
}

/// Whether a child that was stopped has been continued; told once. Its end is left for `next`.
pub(crate) fn was_continued(pid: i32) -> bool {
    let Ok(id) = libc::id_t::try_from(pid) else {
        return false;
    };
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let flags = libc::WCONTINUED | libc::WNOHANG;
    // SAFETY: the info lives through the call, which fills in the pid or leaves it zero.
    unsafe {
        libc::waitid(libc::P_PID, id, info.as_mut_ptr(), flags);
        info.assume_init().si_pid() == pid
    }
}

/// The signal of which a child has died, if it has; its end is left for `next`.
pub(crate) fn died_of(pid: i32) -> Option<Signal> {
    let id = libc::id_t::try_from(pid).ok()?;
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: the info lives through the call, which fills it in as waitid(2) says or leaves it zero.
    let (died, number) = unsafe {
        libc::waitid(libc::P_PID, id, info.as_mut_ptr(), flags);
        let info = info.assume_init();
        (
            info.si_pid() == pid && info.si_code != libc::CLD_EXITED,
            info.si_status(),
        )
    };
    Signal::from_number(number).filter(|_| died)
}

fn exit_status(status: i32) -> ExitStatus {
    match Signal::from_number(libc::WTERMSIG(status)).filter(|_| libc::WIFSIGNALED(status)) {
        Some(signal) => ExitStatus::Killed {
            signal,
            core: libc::WCOREDUMP(status),
        },
        // The kernel keeps eight bits of an exit code.
        None => ExitStatus::Exited(libc::WEXITSTATUS(status).to_le_bytes()[0]),
    }
}
