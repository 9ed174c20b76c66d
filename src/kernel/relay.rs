//! Relays our standard input into the child's, with room for the lines of `stdin=` steps.

use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc};

use crate::machine::Event;
use crate::reactor::Reactor;
use crate::sys::file::reason;
use crate::sys::stdin::{self, Input as Found};
use crate::sys::watch::{self, Stdio};

/// What is to be done with the child's standard input.
#[derive(Debug)]
pub(crate) enum Order {
    /// Writes this and a newline, after what was relayed before.
    Line(Vec<u8>),
    Close,
    /// Leaves our own input to the next relay, with what was read of it and not written. The child's stays open.
    LetGo,
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

/// Our standard input, which one relay reads at a time: the next one once that has let go of it, or has ended.
#[derive(Clone, Default)]
pub(crate) struct Input(Arc<Mutex<Vec<u8>>>);

/// Starts relaying into `write`, the end of the child's pipe that is ours alone.
///
/// With `keep_open` an input that is empty from the start (`docker run -d`: /dev/null) does not close
/// the child's: it is held open for the lines to come.
pub(crate) fn start(
    reactor: &Reactor,
    input: &Input,
    write: OwnedFd,
    keep_open: bool,
) -> OrderSender {
    let (sender, orders) = mpsc::unbounded_channel();
    let events = reactor.sender();
    let source = Source::Awaited(Box::pin(Turn::begin(input.clone())));
    reactor.runtime().spawn(async move {
        if let Err(error) = relay(write, source, orders, keep_open).await {
            let message = format!("the child's standard input: {}", reason(&error));
            // The machine is gone only when we are.
            let _ = events.send(Event::Trouble(message));
        }
    });
    OrderSender(sender)
}

/// How long input is left alone that is there for the foreground of the terminal.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Our standard input, as something to wait for.
struct WatchedStdin {
    /// `None` for what epoll refuses because it is always ready: a file.
    watched: Option<AsyncFd<Stdio>>,
}

impl WatchedStdin {
    fn open() -> Option<Self> {
        let watched = match watch::stdin() {
            Ok(watched) => Some(watched),
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => None,
            Err(_) => return None,
        };
        Some(Self { watched })
    }

    async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let ready = match &self.watched {
                Some(watched) => Some(watched.readable().await?),
                None => None,
            };
            match (stdin::read_now(buffer)?, ready) {
                (Found::Read(count), _) => return Ok(count),
                (Found::Nothing, Some(mut ready)) => ready.clear_ready(),
                // Nobody tells us when we come to the foreground.
                (Found::OfOthers | Found::Nothing, _) => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
    }
}

/// Our standard input while it is this relay's turn. epoll knows a descriptor once: it is no longer watched when the
/// turn of the next one begins.
struct Turn {
    stdin: Option<WatchedStdin>,
    /// What the relays before this one have read and could not write.
    left: OwnedMutexGuard<Vec<u8>>,
}

impl Turn {
    async fn begin(input: Input) -> Self {
        let left = input.0.lock_owned().await;
        let stdin = WatchedStdin::open();
        Self { stdin, left }
    }

    async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.left.is_empty() {
            let count = self.left.len().min(buffer.len());
            let taken = self.left.drain(..count);
            buffer
                .iter_mut()
                .zip(taken)
                .for_each(|(to, byte)| *to = byte);
            return Ok(count);
        }
        match &self.stdin {
            Some(stdin) => stdin.read(buffer).await,
            None => Ok(0),
        }
    }
}

/// Where a relay has its input from.
enum Source {
    /// It is the turn of another relay.
    Awaited(Pin<Box<dyn Future<Output = Turn> + Send>>),
    Here(Turn),
    Gone,
}

impl Source {
    async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self {
                Self::Awaited(turn) => *self = Self::Here(turn.await),
                Self::Here(turn) => return turn.read(buffer).await,
                Self::Gone => return std::future::pending().await,
            }
        }
    }

    /// Ends our turn; the next relay begins with what is still to be written.
    fn hand_on(&mut self, waiting: &mut Vec<u8>) {
        if let Self::Here(turn) = self {
            turn.left.splice(..0, waiting.drain(..));
        }
        *self = Self::Gone;
    }
}

async fn relay(
    write: OwnedFd,
    mut source: Source,
    mut orders: mpsc::UnboundedReceiver<Order>,
    keep_open: bool,
) -> io::Result<()> {
    // This sets O_NONBLOCK, which is seen by no other process: this end is ours alone.
    let mut sink = pipe::Sender::from_owned_fd(write)?;
    let mut waiting: Vec<u8> = Vec::new();
    let mut buffer = vec![0; 16 * 1024];
    let mut relayed = false;
    // A line of a step is among what waits: that is for this child, and so is all that stands before it.
    let mut has_line = false;
    let mut ended = false;
    let mut closing = false;
    loop {
        if closing && waiting.is_empty() {
            return Ok(());
        }
        // Not before: what this child does not take is for the next one.
        if ended && waiting.is_empty() {
            source = Source::Gone;
        }
        let readable = waiting.len() < BUFFER && !ended;
        tokio::select! {
            biased;
            order = orders.recv() => match order {
                Some(Order::Line(line)) => {
                    waiting.extend_from_slice(&line);
                    waiting.push(b'\n');
                    has_line = true;
                }
                Some(Order::Close) => {
                    ended = true;
                    closing = true;
                }
                Some(Order::LetGo) if has_line => source = Source::Gone,
                Some(Order::LetGo) => source.hand_on(&mut waiting),
                // This life of the command is over. Whoever is left of it and holds the pipe gets no more.
                None if has_line => return Ok(()),
                None => {
                    source.hand_on(&mut waiting);
                    return Ok(());
                }
            },
            written = sink.write(&waiting), if !waiting.is_empty() => {
                match written {
                    Ok(count) => drop(waiting.drain(..count)),
                    // As without us: a program that does not need all of its input closes it, or
                    // ends.
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe && !has_line => {
                        source.hand_on(&mut waiting);
                        return Ok(());
                    }
                    Err(error) => return Err(error),
                }
                has_line &= !waiting.is_empty();
            }
            read = source.read(&mut buffer), if readable => match read {
                Ok(0) | Err(_) => {
                    tracing::debug!("standard input has ended: {read:?}");
                    ended = true;
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
