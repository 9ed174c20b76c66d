//! One HTTP request and its answer without an event loop: a process that is forked for one question, again and again,
//! spends most of its time on starting one.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use http::StatusCode;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::TcpSocket;
use tokio::time::timeout;

use super::http::{AGENT, HttpResponse, Listener};
use super::{Request, first_that_connects};
use crate::plan::call::Payload;
use crate::sys::{error_text, steering};

/// The longest head of an answer, and the number of its fields.
const LONGEST: usize = 64 * 1024;
const FIELDS: usize = 100;
/// What may stand between the parts of a body.
const MARGIN: usize = 16 * 1024;
/// So much of a body that nobody wants is read, for so long: a server that is left within its answer logs an error. (The
/// kubelet reads 10 KB.)
const REST: usize = 16 * 1024;
const FOR_THE_REST: Duration = Duration::from_millis(200);

/// What is sent, and what is to be read of the answer.
pub(super) struct Question {
    pub(super) text: Vec<u8>,
    pub(super) is_head: bool,
    /// So many bytes of the body at most; with 0 none is read.
    pub(super) most: usize,
}

/// # Errors
/// There is no answer in time, or it cannot be read.
pub(super) fn ask(
    question: &Question,
    addresses: &[SocketAddr],
    patience: Duration,
    which: Listener,
) -> Result<HttpResponse, String> {
    let limit = Limit {
        began: Instant::now(),
        patience,
    };
    let mut stream = match which {
        Listener::Serving => first_that_connects(addresses, patience)?,
        Listener::Beside => marked(addresses, patience)?,
    };
    reset_at_close(&stream, true);
    let answered = answered(&mut stream, question, &limit);
    reset_at_close(&stream, answered.is_err());
    answered
}

/// Given up, or killed, we end the connection by a reset: otherwise it would stay with the server with a request that
/// nobody waits for, and count as one that is in flight. (socket(7), SO_LINGER.)
fn reset_at_close(stream: &TcpStream, resets: bool) {
    let linger = libc::linger {
        l_onoff: i32::from(resets),
        l_linger: 0,
    };
    let _ = setsockopt(stream, sockopt::Linger, &linger);
}

fn answered(
    stream: &mut TcpStream,
    question: &Question,
    limit: &Limit,
) -> Result<HttpResponse, String> {
    let sent = stream.set_write_timeout(Some(limit.left()?));
    sent.and_then(|()| stream.write_all(&question.text))
        .map_err(|error| why(&error))?;
    let mut bytes = Vec::new();
    let (status, framing) = loop {
        if read(stream, &mut bytes, limit)? == 0 {
            return Err("the connection was closed before the answer".to_owned());
        }
        if let Some(found) = parsed(&mut bytes)? {
            break found;
        }
    };
    let mut body = Vec::new();
    if question.is_head || [204, 304].contains(&status.as_u16()) {
        return Ok(HttpResponse { status, body });
    }
    if question.most == 0 {
        read_rest(stream, bytes, framing, limit);
        return Ok(HttpResponse { status, body });
    }
    while !framing.is_whole(&mut bytes, &mut body)? {
        if bytes.len().saturating_add(body.len()) > question.most.saturating_add(MARGIN) {
            return Err("the answer is too long".to_owned());
        }
        if read(stream, &mut bytes, limit)? == 0 {
            if framing != Framing::ToTheEnd {
                return Err("the connection was closed within the answer".to_owned());
            }
            body = std::mem::take(&mut bytes);
            break;
        }
    }
    if body.len() > question.most {
        return Err("the answer is too long".to_owned());
    }
    Ok(HttpResponse { status, body })
}

/// Reads what nobody wants, as far as it comes soon.
fn read_rest(stream: &mut TcpStream, mut bytes: Vec<u8>, framing: Framing, limit: &Limit) {
    let Ok(left) = limit.left() else {
        return;
    };
    let limit = Limit {
        began: Instant::now(),
        // The answer is known: whoever asks is still to hear it in time.
        patience: (left / 2).min(FOR_THE_REST),
    };
    let mut body = Vec::new();
    while bytes.len().saturating_add(body.len()) < REST
        && matches!(framing.is_whole(&mut bytes, &mut body), Ok(false))
        && read(stream, &mut bytes, &limit).is_ok_and(|count| count > 0)
    {}
}

/// A connection to the one beside that which serves.
fn marked(addresses: &[SocketAddr], patience: Duration) -> Result<TcpStream, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let connected = runtime.block_on(async {
        let share = patience / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
        let mut last = "the name has no address".to_owned();
        for address in addresses {
            let socket = match address {
                SocketAddr::V4(_) => TcpSocket::new_v4(),
                SocketAddr::V6(_) => TcpSocket::new_v6(),
            };
            let open = async {
                let socket = socket?;
                steering::mark(&socket, *address)?;
                socket.connect(*address).await?.into_std()
            };
            match timeout(share, open).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = error_text(error.raw_os_error().unwrap_or(0)),
                Err(_) => last = "no connection in time".to_owned(),
            }
        }
        Err(last)
    })?;
    connected
        .set_nonblocking(false)
        .map_err(|error| why(&error))?;
    Ok(connected)
}

/// How the body of an answer ends (RFC 9112, section 6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Framing {
    Length(usize),
    Chunked,
    /// With the connection.
    ToTheEnd,
}

impl Framing {
    fn of(fields: &[httparse::Header<'_>]) -> Result<Self, String> {
        let value = |name: &str| {
            let mut named = fields
                .iter()
                .filter(|field| field.name.eq_ignore_ascii_case(name));
            named.next().map(|field| {
                String::from_utf8_lossy(field.value)
                    .trim()
                    .to_ascii_lowercase()
            })
        };
        if let Some(coding) = value("transfer-encoding") {
            return Ok(match coding.ends_with("chunked") {
                true => Self::Chunked,
                false => Self::ToTheEnd,
            });
        }
        match value("content-length") {
            Some(length) => length
                .parse()
                .map(Self::Length)
                .map_err(|_| "the answer has no valid length".to_owned()),
            None => Ok(Self::ToTheEnd),
        }
    }

    /// Takes what has come of the body out of `bytes`, and tells whether that is all.
    fn is_whole(self, bytes: &mut Vec<u8>, body: &mut Vec<u8>) -> Result<bool, String> {
        match self {
            Self::Length(length) if bytes.len() < length => Ok(false),
            Self::Length(length) => {
                body.extend(bytes.drain(..length));
                Ok(true)
            }
            Self::Chunked => take_chunks(bytes, body),
            Self::ToTheEnd => Ok(false),
        }
    }
}

/// Takes the chunks that are there as a whole.
fn take_chunks(bytes: &mut Vec<u8>, body: &mut Vec<u8>) -> Result<bool, String> {
    loop {
        let size = httparse::parse_chunk_size(bytes);
        let size = size.map_err(|_| "the answer has no valid chunks".to_owned())?;
        let httparse::Status::Complete((begins, size)) = size else {
            return Ok(false);
        };
        if size == 0 {
            return Ok(true);
        }
        let ends = begins.saturating_add(usize::try_from(size).unwrap_or(usize::MAX));
        // A line ends behind it.
        let next = ends.saturating_add(2);
        let Some(chunk) = bytes.get(begins..ends).filter(|_| bytes.len() >= next) else {
            return Ok(false);
        };
        body.extend_from_slice(chunk);
        bytes.drain(..next);
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

/// The request as it is sent.
pub(super) fn text(request: &Request, payload: Option<&Payload>) -> Vec<u8> {
    let (method, target, host) = (&request.method, &request.target, request.server.authority());
    let mut text = format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\nuser-agent: {AGENT}\r\n");
    // Servers may refuse these without a length (RFC 9110, section 8.6).
    let wants_length = ["PUT", "POST", "PATCH"].contains(&&**method);
    let body = payload.map_or(&[][..], |payload| &payload.bytes);
    if let Some(payload) = payload {
        text.push_str(&format!("content-type: {}\r\n", payload.content_type));
    }
    if payload.is_some() || wants_length {
        text.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    [text.as_bytes(), body].concat()
}

fn read(stream: &mut TcpStream, head: &mut Vec<u8>, limit: &Limit) -> Result<usize, String> {
    let mut chunk = [0; 4096];
    loop {
        let set = stream.set_read_timeout(Some(limit.left()?));
        match set.and_then(|()| stream.read(&mut chunk)) {
            Ok(count) => {
                head.extend_from_slice(chunk.get(..count).unwrap_or_default());
                return Ok(count);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(why(&error)),
        }
    }
}

/// The status, once the head is complete; what only announces the answer (1xx) is left out.
pub(super) fn parsed(head: &mut Vec<u8>) -> Result<Option<(StatusCode, Framing)>, String> {
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
            let framing = Framing::of(answer.headers)?;
            head.drain(..end);
            return Ok(Some((status, framing)));
        }
        head.drain(..end);
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_head_is_read_to_its_end_and_announcements_are_not_the_answer() {
        let status = |text: &str| {
            let parsed = parsed(&mut text.as_bytes().to_vec())?;
            Ok::<_, String>(parsed.map(|(status, _)| status))
        };
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

    fn asked(server: &TcpListener, patience: u64) -> Result<StatusCode, String> {
        let question = Question {
            text: b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            is_head: false,
            most: 0,
        };
        let addresses = [server.local_addr().unwrap()];
        let patience = Duration::from_millis(patience);
        let answer = ask(&question, &addresses, patience, Listener::Serving)?;
        Ok(answer.status)
    }

    #[test]
    fn an_answer_is_not_cut_off_within_its_body() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let (answer, end) = std::thread::scope(|scope| {
            let serves = scope.spawn(|| {
                let (mut stream, _) = server.accept().unwrap();
                let _ = stream.read(&mut [0; 64]).unwrap();
                let head = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc";
                stream.write_all(head).unwrap();
                std::thread::sleep(Duration::from_millis(20));
                stream.write_all(b"def").unwrap();
                stream.read(&mut [0; 64])
            });
            (asked(&server, 10_000), serves.join().unwrap())
        });
        assert_eq!(answer, Ok(StatusCode::OK));
        assert_eq!(end.unwrap(), 0);
    }

    #[test]
    fn a_question_that_is_given_up_leaves_no_request_behind() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(asked(&server, 50), Err(TOO_LATE.to_owned()));
        let (mut stream, _) = server.accept().unwrap();
        let end = stream.read_to_end(&mut Vec::new());
        assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }

    #[test]
    fn a_body_ends_as_its_head_says() {
        let body = |text: &str| {
            let mut bytes = text.as_bytes().to_vec();
            let (_, framing) = parsed(&mut bytes)?.unwrap();
            let mut body = Vec::new();
            let is_whole = framing.is_whole(&mut bytes, &mut body)?;
            let body = String::from_utf8(body).unwrap();
            Ok::<_, String>(Some(body).filter(|_| is_whole))
        };
        let whole = |text: &str| Ok(Some(text.to_owned()));
        let head = "HTTP/1.1 200 OK\r\n";
        assert_eq!(
            body(&format!("{head}Content-Length: 3\r\n\r\nabcd")),
            whole("abc")
        );
        assert_eq!(
            body(&format!("{head}Content-Length: 3\r\n\r\nab")),
            Ok(None)
        );
        assert_eq!(body(&format!("{head}\r\nab")), Ok(None));
        let chunked = format!("{head}transfer-encoding: chunked\r\nContent-Length: 1\r\n\r\n");
        assert_eq!(
            body(&format!("{chunked}3;x=y\r\nabc\r\n1\r\nd\r\n0\r\n\r\n")),
            whole("abcd")
        );
        assert_eq!(body(&format!("{chunked}3\r\nabc\r\n")), Ok(None));
        assert_eq!(body(&format!("{chunked}3\r\nab")), Ok(None));
        assert!(body(&format!("{chunked}x\r\nab")).is_err());
        assert!(body(&format!("{head}Content-Length: x\r\n\r\nabc")).is_err());
        assert_eq!(body(&format!("{chunked}ffffffffffffffff\r\nab")), Ok(None));
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
