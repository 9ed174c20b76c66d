//! Pins processes, so that a signal cannot hit another process that has got the same pid.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::sys::signals;
use crate::words::signal::Signal;

/// A process that cannot be mistaken for another (pidfd_open(2), Linux 5.3).
pub(super) enum Pinned {
    ByDescriptor(OwnedFd, i32),
    ByPid(i32),
}

impl Pinned {
    /// `None` where there is no such process.
    pub(super) fn find(pid: i32) -> Option<Self> {
        match Self::open(pid) {
            Ok(pinned) => Some(pinned),
            Err(libc::ESRCH) => None,
            // No pidfd here (Linux before 5.3, an old seccomp profile): the pid itself has to do.
            Err(_) => Some(Self::ByPid(pid)),
        }
    }

    pub(super) fn open(pid: i32) -> Result<Self, i32> {
        // SAFETY: a plain syscall on values.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        match i32::try_from(fd) {
            // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
            Ok(fd) if fd >= 0 => Ok(Self::ByDescriptor(unsafe { OwnedFd::from_raw_fd(fd) }, pid)),
            _ => Err(crate::sys::errno()),
        }
    }

    /// Its parent, asked of the descriptor itself (`PIDFD_GET_INFO`, Linux 6.13): a tenth of the time
    /// that reading /proc takes. `None` where the kernel is older, or once the process has gone.
    pub(super) fn parent(&self) -> Option<i32> {
        let Self::ByDescriptor(fd, _) = self else {
            return None;
        };
        // SAFETY: all numbers, for which zero is a value.
        let mut info: libc::pidfd_info = unsafe { MaybeUninit::zeroed().assume_init() };
        info.mask = u64::from(libc::PIDFD_INFO_PID);
        // SAFETY: the kernel writes at most the size that is part of the request's number.
        let asked = unsafe { libc::ioctl(fd.as_raw_fd(), libc::PIDFD_GET_INFO, &raw mut info) };
        i32::try_from(info.ppid).ok().filter(|_| asked == 0)
    }

    pub(super) fn send(&self, signal: Signal) -> bool {
        let (fd, pid) = match self {
            Self::ByDescriptor(fd, pid) => (fd.as_raw_fd(), *pid),
            Self::ByPid(pid) => return signals::send(*pid, signal).is_ok(),
        };
        let info = std::ptr::null::<libc::siginfo_t>();
        let send = || {
            // SAFETY: a null siginfo asks for that of kill(2).
            let sent =
                unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal.number(), info, 0) };
            if sent == 0 {
                Ok(())
            } else {
                Err(crate::sys::errno())
            }
        };
        // If it has ended and its pid is another's, the descriptor says so, whoever asks.
        signals::as_its_user(pid, &send).is_ok()
    }
}
