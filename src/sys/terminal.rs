//! The controlling terminal: whether there is one, who is in its foreground, and its settings at
//! the start.
//!
//! With a terminal the child stays in our process group. So the terminal treats both as the one job
//! that the calling shell started: Ctrl-C, Ctrl-Z, `fg`, hangup and background start work as without
//! us, and an interactive shell finds the job control it expects. We see what the terminal sends and
//! know that the child has got it, too.
//!
//! A shell as the child makes a group of its own and takes the foreground, as it does everywhere. From
//! then on Ctrl-C and Ctrl-Z are between the terminal and the shell, and nothing of them reaches us.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::signal::kill;
use nix::sys::stat::Mode;
use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::{Pid, getpgid, getpgrp, getpid, getsid, tcgetpgrp, tcsetpgrp};

use super::{descriptors, reap, signals, tree};
use crate::words::signal::Signal;

/// How wide the terminal at this descriptor is; `None` where it is none, or does not know.
pub(crate) fn columns(descriptor: RawFd) -> Option<usize> {
    let mut size = std::mem::MaybeUninit::<libc::winsize>::zeroed();
    // SAFETY: the kernel writes a winsize or nothing, and all zeroes are one, too.
    let size = unsafe {
        libc::ioctl(descriptor, libc::TIOCGWINSZ, size.as_mut_ptr());
        size.assume_init()
    };
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// Our controlling terminal.
pub(crate) struct Terminal {
    tty: OwnedFd,
    /// Its settings, if we were started in its foreground. In the background they are those of another
    /// job, and once a shell brings us to the foreground a child may change them before we read them.
    settings: Option<Termios>,
}

impl Terminal {
    /// The controlling terminal, if there is one.
    pub(crate) fn open() -> Option<Self> {
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let tty = open(c"/dev/tty", flags, Mode::empty()).or_else(|error| match error {
            // ENXIO is the kernel's word that there is none. Without /dev/tty our stdio may be it.
            Errno::ENXIO => Err(error),
            _ => stdio_terminal().ok_or(error),
        });
        let tty = descriptors::above_stderr(tty.ok()?).ok()?;
        let settings = if tcgetpgrp(&tty) == Ok(getpgrp()) {
            tcgetattr(&tty).ok()
        } else {
            None
        };
        Some(Self { tty, settings })
    }

    pub(crate) fn descriptor(&self) -> RawFd {
        self.tty.as_raw_fd()
    }

    /// Gives the terminal back as it was: settings and foreground group, if they were ours to change.
    pub(crate) fn restore(&self) {
        let (Some(settings), Ok(foreground)) = (&self.settings, tcgetpgrp(&self.tty)) else {
            return;
        };
        if foreground != getpgrp() {
            // Nothing that we started is left, so a group that still has members is not ours: the
            // calling shell has taken the terminal back (Ctrl-Z, `bg`) and set it as it needs it.
            if kill(Pid::from_raw(-foreground.as_raw()), None) != Err(Errno::ESRCH) {
                return;
            }
            // TTOU is blocked, so this works from the background.
            if let Err(errno) = tcsetpgrp(&self.tty, getpgrp()) {
                tracing::warn!("the terminal's foreground is not given back: {errno}");
            }
        }
        // At once: a terminal that takes no output (Ctrl-S) must not hold us up.
        if let Err(errno) = tcsetattr(&self.tty, SetArg::TCSANOW, settings) {
            tracing::warn!("the terminal's settings are not given back: {errno}");
        }
    }

    /// Stops ourselves as the child was stopped; returns when somebody continues us, and says whether
    /// the child has still to be continued. `None` where we were never stopped.
    pub(crate) fn suspend(&self, child: i32, signal: Signal) -> Option<bool> {
        let apart = group_apart(child);
        let in_front = apart.filter(|group| tcgetpgrp(&self.tty) == Ok(*group));
        // A child that has the foreground for itself is stopped alone. The shell waits for the whole job,
        // in which others may be (a pipeline): as long as one of them runs, nobody gets a prompt.
        signals::stop_by(signal, in_front.is_some());
        // This CONT has ended our stop, and is not forwarded. If there is none, we were never stopped:
        // PID 1 cannot stop itself. It may still be part of a job outside its namespace, and whoever
        // continues that job continues the child.
        if !signals::drop_pending(Signal::CONT) {
            return None;
        }
        // `fg` puts our group into the foreground, and not the one that was there before.
        if let Some(group) = in_front {
            self.hand_over(group);
        }
        // A job is continued as a whole. But a child in a group of its own is not part of it, and
        // we may have been continued alone.
        Some(apart.is_some() || !reap::was_continued(child))
    }

    /// As `suspend`, where there is no child.
    pub(crate) fn suspend_alone(&self, signal: Signal) {
        signals::stop_by(signal, false);
        signals::drop_pending(Signal::CONT);
    }

    /// Gives the foreground to a child that left our group without taking it along, and was stopped
    /// because it needs it. Without us it would have the foreground: the shell gave it to our group.
    pub(crate) fn lend(&self, child: i32) -> bool {
        group_apart(child).is_some_and(|group| self.hand_over(group))
    }

    fn hand_over(&self, group: Pid) -> bool {
        tcgetpgrp(&self.tty) == Ok(getpgrp()) && tcsetpgrp(&self.tty, group).is_ok()
    }
}

/// The group of a process that is not in ours.
fn group_apart(pid: i32) -> Option<Pid> {
    let group = getpgid(Some(Pid::from_raw(pid))).ok()?;
    (group != getpgrp()).then_some(group)
}

/// The process group of a process.
pub(crate) fn group_of(pid: i32) -> Option<i32> {
    getpgid(Some(Pid::from_raw(pid))).ok().map(Pid::as_raw)
}

/// Whether a signal that the terminal, or anybody, sends to our process group reaches this process.
pub(crate) fn is_in_our_group(pid: i32) -> bool {
    getpgid(Some(Pid::from_raw(pid))).is_ok_and(|group| group == getpgrp())
}

/// Whether we are the leader of our session, as PID 1 of a container is. Then no shell of the session
/// has started us, and none would continue us.
pub(crate) fn is_session_leader() -> bool {
    getsid(None) == Ok(getpid())
}

/// Whether a shell may have started us as its job, so that it sees that we stop, and can continue us: our process
/// group has a parent outside, in our session. Of an orphaned group (setpgid(2)), as where a script has started us,
/// nobody does. What cannot be looked up, as outside our PID namespace, may be a shell.
pub(crate) fn a_shell_waits() -> bool {
    let session = getsid(None).map_or(0, Pid::as_raw);
    let mut member = getpid().as_raw();
    // The chain may change while it is followed.
    for _ in 0..4096 {
        if member == session {
            return false;
        }
        let Some(parent) = tree::parent_of(member).filter(|parent| *parent > 0) else {
            return true;
        };
        if !is_in_our_group(parent) {
            return getsid(Some(Pid::from_raw(parent)))
                .is_ok_and(|other| other.as_raw() == session);
        }
        member = parent;
    }
    true
}

fn stdio_terminal() -> Option<OwnedFd> {
    (0..=2).find_map(|number| {
        // SAFETY: only duplicated; a closed number makes the calls fail.
        let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
        tcgetpgrp(fd).ok()?;
        fd.try_clone_to_owned().ok()
    })
}
