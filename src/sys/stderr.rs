//! Writes lines to standard error without ever waiting for its reader.
//!
//! O_NONBLOCK would be seen by everybody who shares the stream, the child first of all. So each write
//! asks for itself: RWF_NOWAIT for pipes, MSG_DONTWAIT for sockets. Where the kernel knows neither for
//! the stream (terminals; pipes before Linux 6.5), poll(2) is asked first. A file has no reader. Only a
//! terminal, which looks full while somebody else writes to it, is given a moment.

use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};

/// A write of at most this much to a pipe is done whole or not at all (pipe(7), PIPE_BUF).
pub(crate) const WHOLE: usize = 4096;

/// Writes one line, or none: true when all of it went out.
pub(crate) fn write(line: &[u8]) -> bool {
    let line = line.get(..WHOLE).unwrap_or(line);
    // SAFETY: a closed descriptor 2 makes the calls below fail with EBADF, and nothing opened by this
    // program ever gets the number 2.
    let stderr = unsafe { BorrowedFd::borrow_raw(2) };
    write_part(stderr, line).is_ok_and(|count| count == line.len())
}

/// Writes a text that may be longer than a line, as much of it as standard error takes now.
pub(crate) fn write_text(text: &[u8]) {
    let _ = text.chunks(WHOLE).all(write);
}

/// Writes to a stream that we have inherited, of at most `WHOLE` bytes as much as it takes now.
///
/// # Errors
/// EAGAIN where it takes nothing; any other errno of write(2).
pub(super) fn write_part(stderr: BorrowedFd<'_>, line: &[u8]) -> Result<usize, Errno> {
    match write_now(stderr, line) {
        Err(Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EINVAL) => write_when_ready(stderr, line),
        // XFS and btrfs do not write without waiting where the times of the file change with it, which
        // is nearly always, and may stop at the end of a page.
        Err(Errno::EAGAIN) if is_file(stderr) => nix::unistd::write(stderr, line),
        Ok(count) if count < line.len() && is_file(stderr) => {
            let rest = line.get(count..).unwrap_or_default();
            nix::unistd::write(stderr, rest).map(|more| count + more)
        }
        result => result,
    }
}

pub(super) fn is_file(stderr: BorrowedFd<'_>) -> bool {
    let kind = nix::sys::stat::fstat(stderr).map(|stat| stat.st_mode & libc::S_IFMT);
    kind == Ok(libc::S_IFREG)
}

fn write_now(stderr: BorrowedFd<'_>, line: &[u8]) -> Result<usize, Errno> {
    let slices = [IoSlice::new(line)];
    let fd = std::os::fd::AsRawFd::as_raw_fd(&stderr);
    // SAFETY: IoSlice has the layout of iovec; an offset of -1 means the stream's own position.
    let count = unsafe { libc::pwritev2(fd, slices.as_ptr().cast(), 1, -1, libc::RWF_NOWAIT) };
    Errno::result(count).map(|count| usize::try_from(count).unwrap_or(0))
}

fn write_when_ready(stderr: BorrowedFd<'_>, line: &[u8]) -> Result<usize, Errno> {
    let fd = std::os::fd::AsRawFd::as_raw_fd(&stderr);
    match send(fd, line, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
        Err(Errno::ENOTSOCK) => {}
        result => return result,
    }
    if nix::unistd::isatty(stderr).unwrap_or(false) {
        return write_to_terminal(stderr, line);
    }
    if !is_ready(stderr)? {
        return Err(Errno::EAGAIN);
    }
    nix::unistd::write(stderr, line)
}

/// What a terminal that is ready takes without waiting. The kernel hands out room for its output in
/// pieces of 256 bytes (tty_buffer.c), and a newline may need two of them: half of that is safe.
const PIECE: usize = 128;

/// The last line ended in the middle, for want of room.
static TORN: AtomicBool = AtomicBool::new(false);

/// In pieces, each when there is room for it: a write of the whole line would wait for the rest of it.
fn write_to_terminal(stderr: BorrowedFd<'_>, line: &[u8]) -> Result<usize, Errno> {
    if TORN.load(Ordering::Relaxed) && is_ready(stderr)? {
        nix::unistd::write(stderr, b"\n")?;
        TORN.store(false, Ordering::Relaxed);
    }
    let mut written = 0;
    for piece in line.chunks(PIECE) {
        if !is_ready_soon(stderr)? {
            TORN.fetch_or(written > 0, Ordering::Relaxed);
            return Err(Errno::EAGAIN);
        }
        written += nix::unistd::write(stderr, piece)?;
    }
    Ok(written)
}

/// A terminal takes no output while another write to it is under way: usually for a moment, but
/// without end while nobody reads it. So we wait for a moment once, and not again before it has
/// taken something.
const MOMENT_MILLIS: u8 = 10;

static STUCK: AtomicBool = AtomicBool::new(false);

fn is_ready_soon(stderr: BorrowedFd<'_>) -> Result<bool, Errno> {
    let patience = if STUCK.load(Ordering::Relaxed) {
        PollTimeout::ZERO
    } else {
        PollTimeout::from(MOMENT_MILLIS)
    };
    let ready = is_ready_within(stderr, patience)?;
    STUCK.store(!ready, Ordering::Relaxed);
    Ok(ready)
}

fn is_ready(stderr: BorrowedFd<'_>) -> Result<bool, Errno> {
    is_ready_within(stderr, PollTimeout::ZERO)
}

fn is_ready_within(stderr: BorrowedFd<'_>, patience: PollTimeout) -> Result<bool, Errno> {
    let mut fds = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    Ok(poll(&mut fds, patience)? != 0)
}
