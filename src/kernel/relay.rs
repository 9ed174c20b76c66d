//! Relays our standard input into the child's, with room for the lines of `stdin=` steps.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::AsyncWriteExt;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

use crate::machine::Event;
use crate::reactor::Reactor;
use crate::sys::file::reason;
use crate::sys::stdin;
use crate::sys::watch::{self, Stdio};

/// What a step wants done with the child's standard input.
#[derive(Debug)]
pub(crate) enum Order {
    /// Writes this and a newline, after what was relayed before.
    Line(Vec<u8>),
    Close,
}

/// Where orders go.
pub(crate) struct OrderSender(mpsc::UnboundedSender<Order>);

impl OrderSender {
    /// False when the relay has ended.
    pub(crate) fn order(&self, order: Order) -> bool {
        self.0.send(order).is_ok()
    }
}

/// A child that does not read holds us up no further than this: our own input waits then.
const BUFFER: usize = 64 * 1024;

/// Starts relaying into `write`, the end of the child's pipe that is ours alone.
///
/// With `keep_open` an input that is empty from the start (`docker run -d`: /dev/null) does not close
/// the child's: it is held open for the lines to come.
pub(crate) fn start(reactor: &Reactor, write: OwnedFd, keep_open: bool) -> OrderSender {
    let (sender, orders) = mpsc::unbounded_channel();
    let events = reactor.sender();
    reactor.runtime().spawn(async move {
        if let Err(error) = relay(write, orders, keep_open).await {
            let message = format!("the child's standard input: {}", reason(&error));
            // The machine is gone only when we are.
            let _ = events.send(Event::Trouble(message));
        }
    });
    OrderSender(sender)
}

/// Our standard input, as something to wait for.
struct WatchedStdin {
    /// `None` for what epoll refuses because it is always ready: a file.
    watched: Option<AsyncFd<Stdio>>,
}

impl WatchedStdin {
    async fn open() -> Option<Self> {
        loop {
            let watched = match watch::stdin() {
                Ok(watched) => Some(watched),
                Err(error) if error.raw_os_error() == Some(libc::EPERM) => None,
                // The relay of the last life of the command is about to let go of it.
                Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
                    tokio::task::yield_now().await;
                    continue;
                }
                Err(_) => return None,
            };
            return Some(Self { watched });
        }
    }

    async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(watched) = &self.watched else {
            return stdin::read_now(buffer);
        };
        loop {
            let mut ready = watched.readable().await?;
            match stdin::read_now(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                result => return result,
            }
        }
    }
}

async fn relay(
    write: OwnedFd,
    mut orders: mpsc::UnboundedReceiver<Order>,
    keep_open: bool,
) -> io::Result<()> {
    // This sets O_NONBLOCK, which is seen by no other process: this end is ours alone.
    let mut sink = pipe::Sender::from_owned_fd(write)?;
    let mut source = WatchedStdin::open().await;
    let mut waiting: Vec<u8> = Vec::new();
    let mut buffer = vec![0; 16 * 1024];
    let mut relayed = false;
    // A line of a step is among what waits.
    let mut has_line = false;
    let mut closing = source.is_none() && !keep_open;
    loop {
        if closing && waiting.is_empty() {
            return Ok(());
        }
        let readable = source.is_some() && waiting.len() < BUFFER && !closing;
        tokio::select! {
            biased;
            order = orders.recv() => match order {
                Some(Order::Line(line)) => {
                    waiting.extend_from_slice(&line);
                    waiting.push(b'\n');
                    has_line = true;
                }
                Some(Order::Close) | None => closing = true,
            },
            written = sink.write(&waiting), if !waiting.is_empty() => {
                match written {
                    Ok(count) => drop(waiting.drain(..count)),
                    // As without us: a program that does not need all of its input closes it, or
                    // ends.
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe && !has_line => {
                        return Ok(());
                    }
                    Err(error) => return Err(error),
                }
                has_line &= !waiting.is_empty();
            }
            read = read_some(source.as_ref(), &mut buffer), if readable => match read {
                Ok(0) | Err(_) => {
                    tracing::debug!("standard input has ended: {read:?}");
                    source = None;
                    closing = relayed || !keep_open;
                }
                Ok(count) => {
                    relayed = true;
                    waiting.extend_from_slice(buffer.get(..count).unwrap_or_default());
                }
            },
        }
    }
}

async fn read_some(source: Option<&WatchedStdin>, buffer: &mut [u8]) -> io::Result<usize> {
    match source {
        Some(source) => source.read(buffer).await,
        None => std::future::pending().await,
    }
}
