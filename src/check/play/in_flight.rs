//! Requests that are open when the signal is sent, made by a forked copy of this process.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper::header::TRANSFER_ENCODING;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::request::{connect, message};
use crate::check::history::RequestTotals;
use crate::plan::call::Request;

/// What the copy reports, one line each.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum ClientEvent {
    /// All requests have been sent, as far as possible.
    Open {
        refused: Option<String>,
    },
    Complete,
    /// The end of the answer was that of the connection.
    Unclear,
    Broken {
        why: String,
    },
}

/// How long the server has to accept what was sent, after the last request. It is waited for in small pieces,
/// so that this process, if it is delayed itself, reads what has come before it reports that there was no
/// answer.
const SETTLE: [Duration; 10] = [Duration::from_millis(10); 10];
const PATIENCE: Duration = Duration::from_secs(5);

/// Sends the requests and reports how each ends; returns after the last one.
pub(crate) fn client(request: &Request, count: u32, to: &OwnedFd) -> u8 {
    let addresses = match request.addresses() {
        Ok(addresses) => addresses,
        Err(why) => return tell(to, &ClientEvent::Open { refused: Some(why) }),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        return crate::check::CANNOT_CHECK;
    };
    runtime.block_on(async {
        let (sender, mut ends) = mpsc::unbounded_channel();
        let opened = Arc::new(AtomicBool::new(false));
        let mut refused = None;
        for _ in 0..count {
            match connect(&addresses, PATIENCE).await {
                Ok(stream) => {
                    let (sender, request) = (sender.clone(), request.clone());
                    let opened = Arc::clone(&opened);
                    tokio::spawn(async move {
                        let end = match exchange(&request, stream, &opened).await {
                            Ok(Answered::Whole) => ClientEvent::Complete,
                            Ok(Answered::UntilClosed) => ClientEvent::Unclear,
                            Err(why) => ClientEvent::Broken { why },
                        };
                        let _ = sender.send(end);
                    });
                }
                Err(why) => {
                    refused = Some(why);
                    break;
                }
            }
        }
        drop(sender);
        for piece in SETTLE {
            tokio::time::sleep(piece).await;
        }
        while let Ok(end) = ends.try_recv() {
            tell(to, &end);
        }
        opened.store(true, Ordering::Relaxed);
        tell(to, &ClientEvent::Open { refused });
        while let Some(end) = ends.recv().await {
            tell(to, &end);
        }
    });
    0
}

/// How the end of an answer is known.
enum Answered {
    Whole,
    /// By the end of the connection alone: one that was cut off looks the same (RFC 9112, section 8).
    UntilClosed,
}

/// One request, its response read to the end. `opened` is set before the signal is sent: whoever begins an answer after
/// it is at work still, and most servers send one in one go.
async fn exchange(
    request: &Request,
    stream: tokio::net::TcpStream,
    opened: &AtomicBool,
) -> Result<Answered, String> {
    let message = message(request)?;
    let text = |error: hyper::Error| told(&error);
    let (mut sender, connection) = http1::Builder::new()
        .handshake(TokioIo::new(stream))
        .await
        .map_err(text)?;
    tokio::spawn(connection);
    let mut answer = sender.send_request(message).await.map_err(text)?;
    let answered = if is_until_closed(&answer) && !opened.load(Ordering::Relaxed) {
        Answered::UntilClosed
    } else {
        Answered::Whole
    };
    while let Some(frame) = answer.frame().await {
        frame.map_err(text)?;
    }
    let status = answer.status();
    if status.is_server_error() {
        return Err(format!("the answer is {status}"));
    }
    Ok(answered)
}

/// Whether nothing but the end of the connection ends the body (RFC 9112, section 6.3).
pub(super) fn is_until_closed(answer: &hyper::Response<Incoming>) -> bool {
    let codings = answer.headers().get_all(TRANSFER_ENCODING).iter();
    let last = codings.filter_map(|value| value.to_str().ok()).next_back();
    let last = last.and_then(|value| value.rsplit(',').next());
    let is_chunked = last.is_some_and(|coding| coding.trim().eq_ignore_ascii_case("chunked"));
    !answer.body().is_end_stream() && answer.body().size_hint().exact().is_none() && !is_chunked
}

/// hyper's own message, and that of the kernel if there is one.
pub(super) fn told(error: &hyper::Error) -> String {
    let source = std::error::Error::source(error).map(|source| format!(": {source}"));
    format!("{error}{}", source.unwrap_or_default())
}

fn tell(to: &OwnedFd, told: &ClientEvent) -> u8 {
    let mut line = serde_json::to_vec(told).unwrap_or_default();
    line.push(b'\n');
    // Far below PIPE_BUF.
    let _ = nix::unistd::write(to.as_fd(), &line);
    0
}

/// What was reported so far.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Tally {
    count: u32,
    opened: bool,
    ended_before: u32,
    requests: RequestTotals,
}

impl Tally {
    pub(crate) fn new(count: u32) -> Self {
        Self {
            count,
            ..Self::default()
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.opened
    }

    pub(crate) fn add(&mut self, told: ClientEvent, sent: bool) {
        match told {
            ClientEvent::Open { refused } => {
                self.opened = true;
                self.requests.refused = refused;
            }
            ClientEvent::Complete if sent => self.requests.complete += 1,
            ClientEvent::Broken { why } if sent => self.requests.broken.push(why),
            ClientEvent::Unclear if sent => self.requests.unclear += 1,
            ClientEvent::Complete | ClientEvent::Unclear => self.ended_before += 1,
            ClientEvent::Broken { why } => {
                self.ended_before += 1;
                self.requests.refused = Some(why);
            }
        }
    }

    /// How the requests ended, once nothing more can come.
    pub(crate) fn requests(mut self) -> RequestTotals {
        let broken = u32::try_from(self.requests.broken.len()).unwrap_or(0);
        let known = self.requests.complete + self.requests.unclear + broken;
        self.requests.open = if self.requests.refused.is_some() {
            known
        } else {
            self.count.saturating_sub(self.ended_before)
        };
        self.requests
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ended_before_the_signal_was_not_in_flight() {
        let mut tally = Tally::new(4);
        tally.add(ClientEvent::Complete, false);
        tally.add(ClientEvent::Open { refused: None }, false);
        assert!(tally.is_open());
        tally.add(ClientEvent::Complete, true);
        let why = "reset".to_owned();
        tally.add(ClientEvent::Broken { why: why.clone() }, true);
        let requests = tally.requests();
        assert_eq!((requests.open, requests.complete), (3, 1));
        assert_eq!(requests.broken, [why]);
    }
}
