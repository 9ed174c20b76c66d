//! Reads standard input without waiting, and without O_NONBLOCK, which everybody who shares the
//! stream would see.

use std::io;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{getpgrp, tcgetpgrp};

/// What is there to read; `WouldBlock` when there is nothing, or nothing for us: the input of a
/// terminal belongs to its foreground process group.
///
/// # Errors
/// The errno of read(2).
pub(crate) fn read_now(buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: a closed descriptor 0 makes the calls fail, and nothing opened by this program ever gets
    // the number 0.
    let stdin = unsafe { BorrowedFd::borrow_raw(0) };
    let mut fds = [PollFd::new(stdin, PollFlags::POLLIN)];
    // Another reader of the same stream could still be faster; the kernel has no read that never waits
    // for terminals.
    if poll(&mut fds, PollTimeout::ZERO)? == 0 {
        return Err(Errno::EAGAIN.into());
    }
    match nix::unistd::read(stdin, buffer) {
        // A read from the background: as TTIN is blocked, the kernel answers EIO.
        Err(Errno::EIO) if tcgetpgrp(stdin).is_ok_and(|group| group != getpgrp()) => {
            Err(Errno::EAGAIN.into())
        }
        result => Ok(result?),
    }
}
