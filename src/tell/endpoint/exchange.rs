//! One request and its answer, as HTTP/1 has them on a connection that ends with it (RFC 9112).

use std::io::Result;
use std::time::SystemTime;

use http::StatusCode;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::{HEADERS, REQUEST};

/// What of a request decides the answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Request {
    pub(super) method: String,
    /// Without the query.
    pub(super) path: String,
    pub(super) agent: Option<Vec<u8>>,
    /// The client speaks HTTP/1.0, as HAProxy does by default.
    is_old: bool,
}

/// An answer that is complete.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Response {
    status: StatusCode,
    kind: &'static str,
    more: Option<(&'static str, &'static str)>,
    body: Vec<u8>,
}

/// Reads the head of a request, or says what is wrong with it; `None` where the client has gone. What it sends as a
/// body is not read.
pub(super) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Option<std::result::Result<Request, StatusCode>>> {
    let mut bytes = Vec::new();
    loop {
        match parsed(&bytes) {
            Ok(None) if bytes.len() >= REQUEST => {
                return Ok(Some(Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)));
            }
            Ok(None) => {}
            Ok(Some(request)) => return Ok(Some(Ok(request))),
            Err(status) => return Ok(Some(Err(status))),
        }
        let mut chunk = [0; 1024];
        let left = REQUEST.saturating_sub(bytes.len()).min(chunk.len());
        let room = chunk.get_mut(..left).unwrap_or_default();
        match stream.read(room).await? {
            0 => return Ok(None),
            count => bytes.extend_from_slice(room.get(..count).unwrap_or_default()),
        }
    }
}

/// `None` while it is not complete.
fn parsed(bytes: &[u8]) -> std::result::Result<Option<Request>, StatusCode> {
    let mut fields = [httparse::EMPTY_HEADER; HEADERS];
    let mut head = httparse::Request::new(&mut fields);
    let whole = head.parse(bytes).map_err(|error| match error {
        httparse::Error::TooManyHeaders => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        _ => StatusCode::BAD_REQUEST,
    })?;
    if whole.is_partial() {
        return Ok(None);
    }
    let agent = head.headers.iter();
    let mut agent = agent.filter(|field| field.name.eq_ignore_ascii_case("user-agent"));
    let target = head.path.unwrap_or_default();
    // It may be given in full (RFC 9112, section 3.2.2).
    let target = match target.strip_prefix("http://") {
        Some(rest) => rest
            .find('/')
            .map_or("/", |at| rest.get(at..).unwrap_or_default()),
        None => target,
    };
    Ok(Some(Request {
        method: head.method.unwrap_or_default().to_owned(),
        path: target.split('?').next().unwrap_or_default().to_owned(),
        agent: agent.next().map(|field| field.value.to_vec()),
        is_old: head.version == Some(0),
    }))
}

impl Response {
    pub(super) fn new(status: StatusCode, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            kind: "text/plain; charset=utf-8",
            more: None,
            body: body.into(),
        }
    }

    pub(super) fn of_type(self, kind: &'static str) -> Self {
        Self { kind, ..self }
    }

    pub(super) fn with(self, name: &'static str, value: &'static str) -> Self {
        let more = Some((name, value));
        Self { more, ..self }
    }

    /// As it is sent; without its body where only the head was asked for.
    pub(super) fn bytes(&self, request: Option<&Request>) -> Vec<u8> {
        let is_head = request.is_some_and(|request| request.method == "HEAD");
        let minor = u8::from(!request.is_some_and(|request| request.is_old));
        let (code, length) = (self.status.as_u16(), self.body.len());
        let reason = self.status.canonical_reason().unwrap_or_default();
        let (kind, date) = (self.kind, httpdate::fmt_http_date(SystemTime::now()));
        let mut text = format!(
            "HTTP/1.{minor} {code} {reason}\r\ncontent-type: {kind}\r\ncache-control: no-store\r\nconnection: close\r\n"
        );
        if let Some((name, value)) = self.more {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("content-length: {length}\r\ndate: {date}\r\n\r\n"));
        let mut bytes = text.into_bytes();
        if !is_head {
            bytes.extend_from_slice(&self.body);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_once_it_is_complete() {
        let read = |text: &str| parsed(text.as_bytes());
        let request = |method: &str, path: &str, agent: Option<&str>, is_old| {
            Ok(Some(Request {
                method: method.to_owned(),
                path: path.to_owned(),
                agent: agent.map(|agent| agent.as_bytes().to_vec()),
                is_old,
            }))
        };
        assert_eq!(read(""), Ok(None));
        assert_eq!(read("GET /readyz HTTP/1.1\r\nHost: a\r\n"), Ok(None));
        let get = "GET /readyz?full=1 HTTP/1.1\r\nuser-AGENT: b/1\r\n\r\nrest";
        assert_eq!(read(get), request("GET", "/readyz", Some("b/1"), false));
        let old = "OPTIONS / HTTP/1.0\r\n\r\n";
        assert_eq!(read(old), request("OPTIONS", "/", None, true));
        for (target, path) in [
            ("http://a/livez?x", "/livez"),
            ("http://a", "/"),
            ("*", "*"),
        ] {
            let text = format!("GET {target} HTTP/1.1\r\n\r\n");
            assert_eq!(read(&text), request("GET", path, None, false));
        }
        assert_eq!(read("\0\0\r\n\r\n"), Err(StatusCode::BAD_REQUEST));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(HEADERS + 1));
        assert_eq!(
            read(&many),
            Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
        );
    }
}
