//! Requests that come steadily while the command is replaced, made by a forked copy of this process: each second one on
//! a connection that is kept, the others on one of their own.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONNECTION, HeaderValue};
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::in_flight::{is_until_closed, told};
use super::request::{self, Message};
use crate::check::history::{Failed, LoadRequest};
use crate::plan::call::Request;
use crate::sys::watch;

/// From one request to the next.
const EACH: Duration = Duration::from_millis(20);
/// A client that never lets go of its connection would hold the one that is to leave until `--drain-timeout`.
const OLDEST: Duration = Duration::from_secs(1);
/// How many may be under way: a server that answers none gets no more.
const MOST: usize = 500;
const CONNECTING: Duration = Duration::from_secs(5);
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

struct Connection {
    opened: Instant,
    sender: SendRequest<Full<Bytes>>,
}

/// Connections on which nothing is under way.
#[derive(Default)]
struct Kept(Mutex<Vec<Connection>>);

impl Kept {
    fn take(&self) -> Option<Connection> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // One that the server has closed meanwhile is no longer ready.
        kept.retain(|one| one.opened.elapsed() < OLDEST && one.sender.is_ready());
        kept.pop()
    }

    fn put(&self, connection: Connection) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(connection);
    }

    fn close_all(&self) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clear();
    }
}

/// Sends requests until the other end of `over` is closed, and reports how each ended; returns after the last one.
/// `began` is where their times count from.
pub(crate) fn client(request: &Request, began: Instant, over: OwnedFd, to: &OwnedFd) -> u8 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let (Ok(addresses), Ok(runtime)) = (request.addresses(), runtime) else {
        return crate::check::CANNOT_CHECK;
    };
    let sent = runtime.block_on(async {
        let over = watch::readable(over)?;
        let (sender, mut ends) = mpsc::unbounded_channel();
        let kept = Arc::new(Kept::default());
        let mut ticks = interval(EACH);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut keeps = false;
        loop {
            tokio::select! {
                _ = over.readable() => break,
                Some(end) = ends.recv() => tell(to, &end),
                _ = ticks.tick() => {
                    if sender.strong_count() > MOST {
                        continue;
                    }
                    keeps = !keeps;
                    let kept = keeps.then(|| Arc::clone(&kept));
                    let (sender, request, addresses) =
                        (sender.clone(), request.clone(), addresses.clone());
                    tokio::spawn(async move {
                        let start = Instant::now();
                        let end = timeout(PATIENCE, one(&request, &addresses, kept.as_deref()));
                        let late = |_| Err(Failed::Lost("no answer in 30 s".to_owned()));
                        let (unclear, failed) = match end.await.unwrap_or_else(late) {
                            Ok(unclear) => (unclear, None),
                            Err(failed) => (false, Some(failed)),
                        };
                        let _ = sender.send(LoadRequest {
                            began: micros(start.saturating_duration_since(began)),
                            took: micros(start.elapsed()),
                            failed,
                            unclear,
                        });
                    });
                }
            }
        }
        drop(sender);
        kept.close_all();
        while let Some(end) = ends.recv().await {
            tell(to, &end);
        }
        std::io::Result::Ok(())
    });
    sent.map_or(crate::check::CANNOT_CHECK, |()| 0)
}

/// An answer that takes less time from its first byte to its last is sent in one go, and hardly cut off in between.
const AT_ONCE: Duration = Duration::from_millis(100);

/// One request, its response read to the end; says whether only the end of the connection has ended it.
async fn one(
    request: &Request,
    addresses: &[SocketAddr],
    kept: Option<&Kept>,
) -> Result<bool, Failed> {
    let mut message = request::message(request).map_err(Failed::Lost)?;
    if kept.is_none() {
        let close = HeaderValue::from_static("close");
        message.headers_mut().insert(CONNECTION, close);
    }
    loop {
        let known = kept.and_then(Kept::take);
        let is_new = known.is_none();
        let mut connection = match known {
            Some(connection) => connection,
            None => open(addresses).await?,
        };
        match exchange(&mut connection, message).await {
            Ok(unclear) => {
                if let Some(kept) = kept {
                    kept.put(connection);
                }
                return Ok(unclear);
            }
            // It was closed before anything of the request was sent: no server has it.
            Err((_, Some(unsent))) if !is_new => message = unsent,
            Err((why, _)) => return Err(Failed::Lost(why)),
        }
    }
}

async fn open(addresses: &[SocketAddr]) -> Result<Connection, Failed> {
    let stream = request::connect(addresses, CONNECTING).await;
    let stream = stream.map_err(Failed::Refused)?;
    let shaken = http1::Builder::new().handshake(TokioIo::new(stream)).await;
    let (sender, connection) = shaken.map_err(|error| Failed::Lost(told(&error)))?;
    tokio::spawn(connection);
    let opened = Instant::now();
    Ok(Connection { opened, sender })
}

/// As [`one`]; why there is no answer, and the request if nothing of it was sent.
async fn exchange(
    connection: &mut Connection,
    message: Message,
) -> Result<bool, (String, Option<Message>)> {
    let answer = connection.sender.try_send_request(message).await;
    let mut answer = answer.map_err(|mut error| {
        let unsent = error.take_message();
        (told(error.error()), unsent)
    })?;
    let (until_closed, begun) = (is_until_closed(&answer), Instant::now());
    while let Some(frame) = answer.frame().await {
        frame.map_err(|error| (told(&error), None))?;
    }
    let unclear = until_closed && begun.elapsed() >= AT_ONCE;
    let status = answer.status();
    if status.is_server_error() {
        return Err((format!("the answer is {status}"), None));
    }
    Ok(unclear)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn tell(to: &OwnedFd, told: &LoadRequest) {
    let mut line = serde_json::to_vec(told).unwrap_or_default();
    line.push(b'\n');
    // Far below PIPE_BUF.
    let _ = nix::unistd::write(to.as_fd(), &line);
}
