//! Signals that ask to end, awaited on tokio: for `check` and `health`, which never run as an init.
//!
//! signal-hook's handler sets a flag and writes to a pipe: that merges signals and loses their order and
//! their sender. An init must not receive its signals that way (see `sys::signals`); here it only matters
//! that one came.

use std::future::{pending, poll_fn};
use std::io;
use std::pin::Pin;

use futures_core::Stream;
use signal_hook_tokio::Signals;

use crate::record::killed_by;
use crate::sys::signals;
use crate::words::signal::Signal;

/// The signals that ask a program to end, as far as they were not ignored when we were started.
pub(crate) struct Interrupts {
    signals: Signals,
}

impl Interrupts {
    /// Installs the handlers; to be called inside a runtime, and with the signals still blocked, so that
    /// none is lost.
    ///
    /// # Errors
    /// No descriptors for the pipe.
    pub(crate) fn catch() -> io::Result<Self> {
        let caught = signals::ENDING
            .into_iter()
            .filter(|signal| !signals::is_ignored(*signal));
        Ok(Self {
            signals: Signals::new(caught.map(Signal::number))?,
        })
    }

    /// The next signal. Several of one number may count as one.
    pub(crate) async fn next(&mut self) -> Signal {
        let next = poll_fn(|context| Pin::new(&mut self.signals).poll_next(context));
        match next.await.and_then(Signal::from_number) {
            Some(signal) => signal,
            // The stream ends only when it is closed, which nothing does.
            None => pending().await,
        }
    }
}

/// Ends this process as the signal would without a handler. Where the signal does not end it, because we are
/// PID 1, the exit code that a shell has for such an end is returned.
pub(crate) fn end_by(signal: Signal) -> u8 {
    // For PID 1 the kernel drops what has no handler, and the emulation would then abort.
    if std::process::id() != 1 {
        let _ = signal_hook::low_level::emulate_default_handler(signal.number());
    }
    killed_by(signal)
}
