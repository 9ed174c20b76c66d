//! Carries out an HTTP request, within a time.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::brief;
use crate::plan::call::{Payload, Request};
use crate::sys::steering;

/// Sends an HTTP request; success is any 2xx.
///
/// # Errors
/// As for [`super::carry_out`].
pub(crate) fn ask(request: &Request, patience: Duration) -> Result<(), String> {
    ask_one_of(request, patience, Listener::Serving)
}

/// Which of those that listen on an address is asked, where there are two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Listener {
    Serving,
    /// That of the generation beside the one that serves (`sys::steering`).
    Beside,
}

/// As [`ask`].
///
/// # Errors
/// As for [`super::carry_out`].
pub(crate) fn ask_one_of(
    request: &Request,
    patience: Duration,
    which: Listener,
) -> Result<(), String> {
    success(match which {
        Listener::Serving => brief::status(request, patience)?,
        Listener::Beside => answer(request, patience, 0, which)?.status,
    })
}

/// As [`ask`], with a body.
///
/// # Errors
/// As for [`super::carry_out`].
pub(super) fn send(request: &Request, payload: &Payload, patience: Duration) -> Result<(), String> {
    let message = message_with(request, Some(payload))?;
    success(answer_to(request, message, patience, 0, Listener::Serving)?.status)
}

fn success(status: StatusCode) -> Result<(), String> {
    if status.is_success() {
        Ok(())
    } else {
        Err(format!("the answer is {status}"))
    }
}

/// What a server has answered.
pub(crate) struct HttpResponse {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

/// Sends an HTTP request, and reads the answer with up to so many bytes of its body; with 0 no body
/// is read.
///
/// # Errors
/// There is no answer in time, or it cannot be read.
pub(crate) fn answer(
    request: &Request,
    patience: Duration,
    most: usize,
    which: Listener,
) -> Result<HttpResponse, String> {
    answer_to(request, message(request)?, patience, most, which)
}

type Message = hyper::Request<Full<Bytes>>;

fn answer_to(
    request: &Request,
    message: Message,
    patience: Duration,
    most: usize,
    which: Listener,
) -> Result<HttpResponse, String> {
    let addresses = request.server.addresses()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(async {
        timeout(patience, async {
            let stream = connect(&addresses, patience, which).await?;
            exchange(message, stream, most).await
        })
        .await
        .map_err(|_| "no answer in time".to_owned())?
    })
}

/// A connection to the first address that takes one; one that does not answer leaves time for the
/// others.
pub(crate) async fn connect(
    addresses: &[SocketAddr],
    patience: Duration,
    which: Listener,
) -> Result<TcpStream, String> {
    let share = patience / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    let mut why = "the name has no address".to_owned();
    for address in addresses {
        match timeout(share, open(*address, which)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => why = crate::sys::error_text(error.raw_os_error().unwrap_or(0)),
            Err(_) => why = "no connection in time".to_owned(),
        }
    }
    Err(why)
}

async fn open(address: SocketAddr, which: Listener) -> std::io::Result<TcpStream> {
    if which == Listener::Serving {
        return TcpStream::connect(address).await;
    }
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    steering::mark(&socket, address)?;
    socket.connect(address).await
}

/// The request as hyper sends it.
///
/// # Errors
/// It cannot be written as HTTP.
pub(crate) fn message(request: &Request) -> Result<Message, String> {
    message_with(request, None)
}

fn message_with(request: &Request, payload: Option<&Payload>) -> Result<Message, String> {
    let no_request = |error: hyper::http::Error| error.to_string();
    let host = HeaderValue::try_from(request.server.authority()).map_err(|e| e.to_string())?;
    let mut message = hyper::Request::builder()
        .method(request.method.as_str())
        .uri(request.target.as_str())
        .header(HOST, host)
        .header(USER_AGENT, AGENT)
        .body(Full::new(payload.map_or_else(Bytes::new, |payload| {
            Bytes::copy_from_slice(&payload.bytes)
        })))
        .map_err(no_request)?;
    if let Some(payload) = payload {
        let kind = HeaderValue::from_static(payload.content_type);
        message.headers_mut().insert(CONTENT_TYPE, kind);
        return Ok(message);
    }
    // Servers may refuse these without a length (RFC 9110, section 8.6).
    if [Method::PUT, Method::POST, Method::PATCH].contains(message.method()) {
        let nothing = HeaderValue::from_static("0");
        message.headers_mut().insert(CONTENT_LENGTH, nothing);
    }
    Ok(message)
}

async fn exchange(
    message: Message,
    stream: TcpStream,
    most: usize,
) -> Result<HttpResponse, String> {
    // One plain write: writev(2) would raise SIGPIPE where the server has gone.
    let (mut sender, connection) = http1::Builder::new()
        .writev(false)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    let answer = sender.send_request(message).await;
    let answer = answer.map_err(|error| error.to_string())?;
    let status = answer.status();
    let body = if most == 0 {
        Bytes::new()
    } else {
        let body = Limited::new(answer.into_body(), most).collect();
        body.await.map_err(|error| error.to_string())?.to_bytes()
    };
    Ok(HttpResponse { status, body })
}

/// Names us to servers; our own health endpoint does not count such a client as a balancer.
pub(crate) const AGENT: &str = concat!("stepdown/", env!("CARGO_PKG_VERSION"));
