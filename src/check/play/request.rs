//! The requests of `check` as hyper sends them, and the connections for them.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::Full;
use hyper::Method;
use hyper::body::Bytes;
use hyper::header::{CONTENT_LENGTH, HOST, HeaderValue, USER_AGENT};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::call::AGENT;
use crate::plan::call::Request;

pub(super) type Message = hyper::Request<Full<Bytes>>;

/// A connection to the first address that takes one; one that does not answer leaves time for the
/// others.
pub(super) async fn connect(
    addresses: &[SocketAddr],
    patience: Duration,
) -> Result<TcpStream, String> {
    let share = patience / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    let mut why = "the name has no address".to_owned();
    for address in addresses {
        match timeout(share, TcpStream::connect(*address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => why = crate::sys::error_text(error.raw_os_error().unwrap_or(0)),
            Err(_) => why = "no connection in time".to_owned(),
        }
    }
    Err(why)
}

/// The request as hyper sends it.
///
/// # Errors
/// It cannot be written as HTTP.
pub(super) fn message(request: &Request) -> Result<Message, String> {
    let no_request = |error: http::Error| error.to_string();
    let host = HeaderValue::try_from(request.server.authority()).map_err(|e| e.to_string())?;
    let mut message = hyper::Request::builder()
        .method(request.method.as_str())
        .uri(request.target.as_str())
        .header(HOST, host)
        .header(USER_AGENT, AGENT)
        .body(Full::new(Bytes::new()))
        .map_err(no_request)?;
    // Servers may refuse these without a length (RFC 9110, section 8.6).
    if [Method::PUT, Method::POST, Method::PATCH].contains(message.method()) {
        let nothing = HeaderValue::from_static("0");
        message.headers_mut().insert(CONTENT_LENGTH, nothing);
    }
    Ok(message)
}
