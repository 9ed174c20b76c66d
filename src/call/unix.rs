//! An HTTP request over a unix socket, as container engines take them.

use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::http::AGENT;

/// The status of the answer, and its body of at most so many bytes.
///
/// # Errors
/// There is no answer in time, or it cannot be read.
pub(crate) fn get(
    socket: &Path,
    target: &str,
    patience: Duration,
    most: usize,
) -> Result<(u16, Bytes), String> {
    let text = |error: std::io::Error| crate::sys::error_text(error.raw_os_error().unwrap_or(0));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(text)?;
    let asked = async {
        let stream = UnixStream::connect(socket).await.map_err(text)?;
        let message = hyper::Request::get(target)
            .header(HOST, "localhost")
            .header(USER_AGENT, AGENT)
            .body(Empty::<Bytes>::new())
            .map_err(|error| error.to_string())?;
        let connected = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = connected.map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        let answer = sender.send_request(message).await;
        let answer = answer.map_err(|error| error.to_string())?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), most).collect().await;
        Ok((status, body.map_err(|error| error.to_string())?.to_bytes()))
    };
    runtime.block_on(async {
        let answer = timeout(patience, asked).await;
        answer.unwrap_or_else(|_| Err("no answer in time".to_owned()))
    })
}
