//! Reads standard input without waiting, and without O_NONBLOCK, which everybody who shares the
//! stream would see.

use std::io;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{getpgrp, tcgetpgrp};

/// What a look at standard input has found.
pub(crate) enum Input {
    /// So many bytes were read; none is the end.
    Read(usize),
    /// There is nothing to read now.
    Nothing,
    /// There is something, which is not for us: the input of a terminal belongs to its foreground process group.
    OfOthers,
}

/// Reads what is there.
///
/// # Errors
/// The errno of read(2).
pub(crate) fn read_now(buffer: &mut [u8]) -> io::Result<Input> {
    // SAFETY: a closed descriptor 0 makes the calls fail, and nothing opened by this program ever gets
    // the number 0.
    let stdin = unsafe { BorrowedFd::borrow_raw(0) };
    let mut tries = 2;
    loop {
        let mut fds = [PollFd::new(stdin, PollFlags::POLLIN)];
        // Another reader of the same stream could still be faster; the kernel has no read that never waits
        // for terminals.
        if poll(&mut fds, PollTimeout::ZERO)? == 0 {
            return Ok(Input::Nothing);
        }
        tries -= 1;
        match nix::unistd::read(stdin, buffer) {
            // A read from the background: as TTIN is blocked, the kernel answers EIO.
            Err(Errno::EIO) => match tcgetpgrp(stdin) {
                Ok(group) if group != getpgrp() => return Ok(Input::OfOthers),
                // We have come to the foreground meanwhile.
                Ok(_) if tries > 0 => {}
                _ => return Err(Errno::EIO.into()),
            },
            result => return Ok(Input::Read(result?)),
        }
    }
}
