//! The only syscalls in the program, and the only `unsafe` code but for `main`'s signature.

#![allow(
    unsafe_code,
    reason = "no safe wrapper exists; each block says why it is sound"
)]

pub(crate) mod cgroup;
pub(crate) mod clock;
pub(crate) mod credentials;
pub(crate) mod descriptors;
pub(crate) mod entry;
pub(crate) mod environment;
pub(crate) mod file;
pub(crate) mod fork;
#[cfg(test)]
pub(crate) mod fuzz;
pub(crate) mod last_resort;
pub(crate) mod listening;
pub(crate) mod namespaces;
pub(crate) mod notify;
pub(crate) mod oom;
pub(crate) mod reap;
pub(crate) mod signals;
pub(crate) mod spawn;
pub(crate) mod stat;
pub(crate) mod stderr;
pub(crate) mod stdin;
pub(crate) mod stdout;
pub(crate) mod steering;
pub(crate) mod terminal;
pub(crate) mod tree;
#[cfg(all(panic = "abort", not(debug_assertions), not(test)))]
mod unwind;
pub(crate) mod watch;

use crate::words::signal::Signal;

/// The errno of the syscall that just failed.
pub(crate) fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// The text of an errno, as strerror(3) has it.
pub(crate) fn error_text(errno: i32) -> String {
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    // std appends the number, which says nothing to an operator.
    match text.split_once(" (os error") {
        Some((text, _)) => text.to_owned(),
        None => text,
    }
}

/// Ends this process at once: nothing is buffered that would have to be flushed, and the kernel takes
/// back everything else faster than we could.
pub(crate) fn exit(code: u8) -> ! {
    // SAFETY: _exit does not return and touches no memory.
    unsafe { libc::_exit(i32::from(code)) }
}

/// Waits for INT or TERM, and reaps orphans meanwhile.
pub(crate) fn pause() {
    descriptors::close_from(3);
    descriptors::leave_directory();
    let _ = nix::sys::prctl::set_child_subreaper(true);
    loop {
        match signals::take(None).map(|taken| taken.signal) {
            Some(Signal::INT | Signal::TERM) => return,
            Some(Signal::CHLD) => while let reap::Reaped::Ended { .. } = reap::next(false) {},
            _ => {}
        }
    }
}
