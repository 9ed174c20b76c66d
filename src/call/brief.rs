//! Asks for the status of an HTTP answer, and for nothing else, without an event loop: a process that is forked for
//! one question, again and again, spends most of its time on starting one.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use hyper::StatusCode;

use super::http::message;
use super::{Request, first_that_connects};
use crate::sys::error_text;

/// The longest head of an answer, and the number of its fields.
const LONGEST: usize = 64 * 1024;
const FIELDS: usize = 100;

/// # Errors
/// There is no answer in time, or it cannot be read.
pub(super) fn status(request: &Request, patience: Duration) -> Result<StatusCode, String> {
    let question = text(request)?;
    let addresses = request.server.addresses()?;
    let limit = Limit {
        began: Instant::now(),
        patience,
    };
    let mut stream = first_that_connects(&addresses, patience)?;
    let sent = stream.set_write_timeout(Some(limit.left()?));
    sent.and_then(|()| stream.write_all(&question))
        .map_err(|error| why(&error))?;
    let mut head = Vec::new();
    loop {
        read(&mut stream, &mut head, &limit)?;
        if let Some(status) = parsed(&mut head)? {
            return Ok(status);
        }
    }
}

/// When the answer must be there.
struct Limit {
    began: Instant,
    patience: Duration,
}

const TOO_LATE: &str = "no answer in time";

impl Limit {
    fn left(&self) -> Result<Duration, String> {
        let left = self.patience.saturating_sub(self.began.elapsed());
        let some = Some(left).filter(|left| !left.is_zero());
        some.ok_or_else(|| TOO_LATE.to_owned())
    }
}

fn why(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => TOO_LATE.to_owned(),
        _ => error_text(error.raw_os_error().unwrap_or(0)),
    }
}

fn text(request: &Request) -> Result<Vec<u8>, String> {
    let message = message(request)?;
    let mut text = format!("{} {} HTTP/1.1\r\n", message.method(), message.uri()).into_bytes();
    for (name, value) in message.headers() {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"\r\n");
    Ok(text)
}

fn read(stream: &mut TcpStream, head: &mut Vec<u8>, limit: &Limit) -> Result<(), String> {
    let mut chunk = [0; 4096];
    loop {
        let set = stream.set_read_timeout(Some(limit.left()?));
        match set.and_then(|()| stream.read(&mut chunk)) {
            Ok(0) => return Err("the connection was closed before the answer".to_owned()),
            Ok(count) => {
                head.extend_from_slice(chunk.get(..count).unwrap_or_default());
                return Ok(());
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(why(&error)),
        }
    }
}

/// The status, once the head is complete; what only announces the answer (1xx) is left out.
pub(super) fn parsed(head: &mut Vec<u8>) -> Result<Option<StatusCode>, String> {
    loop {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS];
        let mut answer = httparse::Response::new(&mut fields);
        let end = match answer.parse(head).map_err(|error| error.to_string())? {
            httparse::Status::Complete(end) => end,
            httparse::Status::Partial if head.len() < LONGEST => return Ok(None),
            httparse::Status::Partial => return Err("the answer has no end".to_owned()),
        };
        let code = answer.code.unwrap_or_default();
        let status = StatusCode::from_u16(code).map_err(|error| error.to_string())?;
        if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Some(status));
        }
        head.drain(..end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_to_its_end_and_announcements_are_not_the_answer() {
        let status = |text: &str| parsed(&mut text.as_bytes().to_vec());
        let code = |code| Ok(Some(StatusCode::from_u16(code).unwrap()));
        assert_eq!(status("HTTP/1.1 204 No Content\r\nA: b\r\n\r\n"), code(204));
        assert_eq!(status("HTTP/1.0 503 \r\n\r\nbody"), code(503));
        assert_eq!(status("HTTP/1.1 200\r\n\r\n"), code(200));
        assert_eq!(status(""), Ok(None));
        assert_eq!(status("HTTP/1.1 200 OK\r\nA: b\r\n"), Ok(None));
        let early = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
        assert_eq!(status(early), Ok(None));
        assert_eq!(
            status(&format!("{early}HTTP/1.1 200 OK\r\n\r\n")),
            code(200)
        );
        assert_eq!(status("HTTP/1.1 101 Other\r\n\r\n"), code(101));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let refused = |text: &str| parsed(&mut text.as_bytes().to_vec()).is_err();
        assert!(refused("SSH-2.0-OpenSSH_9.2\r\n"));
        assert!(refused("HTTP/1.1 abc OK\r\n\r\n"));
        assert!(refused(&format!(
            "HTTP/1.1 200 OK\r\nA: {}",
            "b".repeat(LONGEST)
        )));
    }
}
