//! Waits for input and output besides signals; made only when something needs it.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

use crate::machine::Event;
use crate::sys::{
    self,
    signals::{self, Taken},
};

/// Why a wait ended.
pub(crate) enum Wake {
    Signal(Taken),
    Event(Event),
    TimeOut,
}

/// A tokio runtime on this thread; its tasks run while the loop waits.
pub(crate) struct Reactor {
    runtime: Runtime,
    /// Readable while a signal is pending; the signals themselves are taken from the queue.
    pending: AsyncFd<OwnedFd>,
    events: mpsc::UnboundedReceiver<Event>,
    sender: mpsc::UnboundedSender<Event>,
}

impl Reactor {
    /// # Errors
    /// The kernel has no epoll, eventfd or signalfd for us (RLIMIT_NOFILE).
    pub(crate) fn new() -> io::Result<Self> {
        sys::descriptors::occupy_closed_streams();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let pending = {
            let _inside = runtime.enter();
            sys::watch::readable(signals::pending_descriptor()?)?
        };
        let (sender, events) = mpsc::unbounded_channel();
        Ok(Self {
            runtime,
            pending,
            events,
            sender,
        })
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Where tasks send what the machine must know.
    pub(crate) fn sender(&self) -> mpsc::UnboundedSender<Event> {
        self.sender.clone()
    }

    /// Takes all that tasks have sent.
    pub(crate) fn take_events(&mut self) -> impl Iterator<Item = Event> {
        std::iter::from_fn(|| self.events.try_recv().ok())
    }

    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> Wake {
        let Self {
            runtime,
            pending,
            events,
            ..
        } = self;
        runtime.block_on(async {
            let time_is_up = async {
                match timeout {
                    // A sleep of no length would end before the tasks have run: the first turn hears of what has come,
                    // and in the second one the tasks take it.
                    Some(Duration::ZERO) => {
                        tokio::task::yield_now().await;
                        tokio::task::yield_now().await;
                    }
                    Some(timeout) => tokio::time::sleep(timeout).await,
                    None => std::future::pending().await,
                }
            };
            tokio::pin!(time_is_up);
            loop {
                tokio::select! {
                    biased;
                    ready = pending.readable() => {
                        // Once the queue is empty the next signal makes it ready again. It is asked twice: of one
                        // that stayed there after EINTR we would never hear again.
                        match (take_pending().or_else(take_pending), ready) {
                            (Some(taken), _) => return Wake::Signal(taken),
                            (None, Ok(mut ready)) => ready.clear_ready(),
                            (None, Err(_)) => return Wake::TimeOut,
                        }
                    }
                    Some(event) = events.recv() => return Wake::Event(event),
                    () = &mut time_is_up => return Wake::TimeOut,
                }
            }
        })
    }
}

fn take_pending() -> Option<Taken> {
    signals::take(Some(Duration::ZERO))
}
