//! Descriptors for the reactor to watch: the one place that vouches for their lifetime.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Watches a descriptor for input.
///
/// # Errors
/// epoll refuses it, or there is no room for one more.
pub(crate) fn readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the AsyncFd owns the descriptor, so it stays open as long as it is watched.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?)
}

/// Watches a descriptor for its end alone: what can be read or written wakes nobody (epoll_ctl(2), EPOLLHUP).
///
/// # Errors
/// EPERM for a file, which has none.
pub(crate) fn end(fd: Arc<OwnedFd>) -> io::Result<AsyncFd<Arc<OwnedFd>>> {
    // SAFETY: the AsyncFd owns its share of the descriptor, so it stays open as long as it is watched.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::PRIORITY) }?)
}

/// Our standard input, which is not ours to close.
pub(crate) struct Stdio;

impl AsRawFd for Stdio {
    fn as_raw_fd(&self) -> RawFd {
        libc::STDIN_FILENO
    }
}

/// Watches standard input.
///
/// # Errors
/// EPERM for a file, which is always readable; EBADF where it is closed.
pub(crate) fn stdin() -> io::Result<AsyncFd<Stdio>> {
    // SAFETY: this program never closes descriptor 0.
    Ok(unsafe { AsyncFd::register_with_interest(Stdio, Interest::READABLE) }?)
}
