//! How a plain copy tells its parent that exec has failed: a pipe that exec closes.

use std::os::fd::{OwnedFd, RawFd};
use std::time::{Duration, Instant};

use crate::sys::descriptors;

/// The step that failed, and the errno.
type Message = [u8; 5];

/// Tells the failure. Async-signal-safe.
pub(super) fn tell_failure(to: RawFd, stage: u8, errno: i32) {
    let [a, b, c, d] = errno.to_ne_bytes();
    let message: Message = [stage, a, b, c, d];
    // SAFETY: the message lives through the call. Nobody can be told that it failed.
    unsafe { libc::write(to, message.as_ptr().cast(), message.len()) };
}

/// The failure; `None` once exec has worked, or where it has not come to an end in this time.
pub(super) fn failure(from: &OwnedFd, patience: Duration) -> Option<Message> {
    let text = descriptors::read_within(from, Instant::now() + patience);
    text.bytes.try_into().ok()
}
