//! Gives back the attribute that a child takes from us when it changes its ids.

use std::ffi::c_int;

/// Whether this process may be looked into: core dumps, ptrace(2), the owner of /proc/PID.
pub(super) struct Dumpable(c_int);

impl Dumpable {
    pub(super) fn now() -> Self {
        // SAFETY: the call touches no memory of ours.
        Self(unsafe { libc::prctl(libc::PR_GET_DUMPABLE) })
    }

    /// The attribute belongs to the memory (PR_SET_DUMPABLE(2const)), which the child shares until
    /// exec: when the child changes its ids, we lose it as well.
    pub(super) fn restore(&self) {
        // SAFETY: the call touches no memory of ours. 2 can only be had from the kernel, which then refuses.
        unsafe { libc::prctl(libc::PR_SET_DUMPABLE, self.0) };
    }
}
