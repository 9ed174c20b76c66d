//! Waits for the runs, on tokio: for their output, for timers, and for signals that ask `check` to end.

use std::future::pending;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tokio::io::unix::AsyncFd;
use tokio::runtime::{Builder, Runtime};

use super::containers::Unread;
use crate::interrupts::Interrupts;
use crate::sys::signals::Inherited;
use crate::sys::{descriptors, watch};

/// The state of `check` while it carries out the runs, one after the other.
pub(crate) struct Conductor {
    pub(super) inherited: Inherited,
    /// Entered only to wait: nothing is forked inside it, because a copy makes a runtime of its own.
    runtime: Runtime,
    interrupts: Interrupts,
    /// How many signals have asked us to end.
    pub(super) interrupted: u32,
}

impl Conductor {
    /// # Errors
    /// No descriptors for the event loop.
    pub(crate) fn new(mut inherited: Inherited) -> Result<Self, String> {
        inherited.make_children_waitable();
        // The processes of a stage that dies become our children, and are killed.
        let _ = nix::sys::prctl::set_child_subreaper(true);
        descriptors::occupy_closed_streams();
        let no_loop = |error: io::Error| format!("no event loop: {error}");
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(no_loop)?;
        let interrupts = {
            let _inside = runtime.enter();
            Interrupts::catch().map_err(no_loop)?
        };
        inherited.let_handlers_run();
        Ok(Self {
            inherited,
            runtime,
            interrupts,
            interrupted: 0,
        })
    }

    /// Whether a signal has asked us to end.
    pub(crate) fn is_interrupted(&mut self) -> bool {
        self.wait([None; 3], Some(Instant::now()));
        self.interrupted > 0
    }

    /// Waits until one of the pipes can be read, a signal asks us to end, or this time is reached.
    pub(super) fn wait(
        &mut self,
        [facts, output, client]: [Option<&Pipe>; 3],
        until: Option<Instant>,
    ) {
        let Self {
            runtime,
            interrupts,
            interrupted,
            ..
        } = self;
        runtime.block_on(async {
            tokio::select! {
                biased;
                _ = interrupts.next() => *interrupted += 1,
                () = readable(facts) => {}
                () = readable(output) => {}
                () = readable(client) => {}
                () = time_is_up(until) => {}
            }
        });
    }
}

impl Conductor {
    /// Reads a pipe to its end. When a signal asks us to end, `leave` gets the number of such signals, and
    /// says whether to give up the rest.
    pub(super) fn read_all(
        &mut self,
        from: OwnedFd,
        until: Instant,
        leave: &mut dyn FnMut(u32) -> bool,
    ) -> Result<String, Unread> {
        let mut lines = Lines::new(from, self).map_err(|_| Unread::Late)?;
        let mut text = Vec::new();
        loop {
            self.wait([lines.from.as_ref(), None, None], Some(until));
            lines.read(|line| {
                text.extend(line);
                text.push(b'\n');
            });
            if lines.from.is_none() {
                text.append(&mut lines.rest);
                return Ok(String::from_utf8_lossy(&text).into_owned());
            }
            if leave(self.interrupted) {
                return Err(Unread::Interrupted);
            }
            if Instant::now() >= until {
                return Err(Unread::Late);
            }
        }
    }
}

pub(super) type Pipe = AsyncFd<OwnedFd>;

/// Something has come since the pipe was last waited for; a reader must read all that there is.
async fn readable(pipe: Option<&Pipe>) {
    match pipe {
        Some(pipe) => {
            if let Ok(mut ready) = pipe.readable().await {
                ready.clear_ready();
            }
        }
        None => pending().await,
    }
}

/// A hundred years.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// So much later. What is longer than any check lasts is cut: no clock goes so far.
pub(super) fn later(at: Instant, by: Duration) -> Instant {
    at + by.min(LONGEST)
}

async fn time_is_up(until: Option<Instant>) {
    // A sleep of no length would end before anything else is looked at.
    tokio::task::yield_now().await;
    match until {
        Some(until) => tokio::time::sleep_until(until.into()).await,
        None => pending().await,
    }
}

/// Lines of a pipe, read without waiting.
pub(super) struct Lines {
    pub(super) from: Option<Pipe>,
    pub(super) rest: Vec<u8>,
}

impl Lines {
    /// # Errors
    /// The event loop cannot watch one more.
    pub(super) fn new(from: OwnedFd, conductor: &Conductor) -> io::Result<Self> {
        let _inside = conductor.runtime.enter();
        let _ = fcntl(&from, FcntlArg::F_SETFL(OFlag::O_NONBLOCK));
        Ok(Self {
            from: Some(watch::readable(from)?),
            rest: Vec::new(),
        })
    }

    pub(super) fn read(&mut self, mut line: impl FnMut(&[u8])) {
        let mut buffer = [0; 16 * 1024];
        while let Some(from) = &self.from {
            match nix::unistd::read(from.get_ref(), &mut buffer) {
                Ok(0) | Err(Errno::EIO) => self.from = None,
                Ok(count) => self.rest.extend(buffer.iter().take(count)),
                Err(Errno::EINTR) => {}
                Err(_) => break,
            }
            while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let whole: Vec<u8> = self.rest.drain(..=end).collect();
                line(whole.strip_suffix(b"\n").unwrap_or(&whole));
            }
            // A line that does not end is cut, so that memory is bounded.
            if self.rest.len() > 1 << 20 {
                line(&std::mem::take(&mut self.rest));
            }
        }
    }
}
