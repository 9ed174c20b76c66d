//! Calls to the outside as data, and how they are written: an HTTP request, one UDP datagram, or a goodbye by multicast DNS.

use std::net::{IpAddr, SocketAddr};

use http::{Method, Uri};

use super::mdns::{self, MDNS, Service};
use crate::words::fault::Fault;
use crate::words::suggest;

/// What is called, and with what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Call {
    Http(Request),
    Udp(Datagram),
    Goodbye(Service),
}

/// An HTTP request; any 2xx is success, and redirects are not followed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) server: Server,
    /// Path and query, as they go over the wire.
    pub(crate) target: String,
    pub(crate) body: Option<Body>,
}

/// What a request carries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Body {
    /// The run so far, as `--report` writes it.
    Report,
    /// As `/metrics` serves them.
    Metrics,
    /// The stop as a trace of OpenTelemetry.
    Otlp,
    Text(String),
}

/// A body as it goes over the wire.
pub(crate) struct Payload {
    pub(crate) content_type: &'static str,
    pub(crate) bytes: Vec<u8>,
}

/// One UDP datagram. Success is that it was sent: nobody confirms it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Datagram {
    pub(crate) server: Server,
    pub(crate) payload: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Server {
    /// A name or an address, without the brackets that IPv6 has in a URL.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Request {
    /// A GET of `target` from an address.
    pub(crate) fn get(address: SocketAddr, target: &str) -> Self {
        let host = match address {
            // On another interface it is another one (RFC 4007, section 11).
            SocketAddr::V6(v6) if v6.scope_id() > 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
            _ => address.ip().to_string(),
        };
        Self {
            method: Method::GET.to_string(),
            server: Server {
                host,
                port: address.port(),
            },
            target: target.to_owned(),
            body: None,
        }
    }

    /// As it is logged.
    pub(crate) fn url(&self) -> String {
        format!("{HTTP}{}{}", self.server.authority(), self.target)
    }
}

impl Server {
    /// Whether it is this machine, or this network namespace, by an address of loopback.
    pub(crate) fn is_loopback(&self) -> bool {
        let address = self.host.parse::<IpAddr>();
        address.map_or(self.host == "localhost", |address| address.is_loopback())
    }

    /// As the Host header has it (RFC 9110, section 7.2).
    pub(crate) fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        match self.port {
            80 => host,
            port => format!("{host}:{port}"),
        }
    }
}

// From text.

const HTTP: &str = "http://";
const HTTPS: &str = "https://";
const UDP: &str = "udp://";
const HTTP_EXAMPLE: &str = "write [METHOD ]http://HOST[:PORT]/PATH";
const UDP_EXAMPLE: &str = "write udp://HOST:PORT/TEXT";

/// Parses a hook that is a request, a datagram or a goodbye; `None` for a command line.
pub(crate) fn parse(text: &str) -> Option<Result<Call, Fault>> {
    let trimmed = text.trim();
    let (first, rest) = trimmed.split_once(' ').unwrap_or((trimmed, ""));
    let is_method = !first.is_empty() && first.bytes().all(|byte| byte.is_ascii_uppercase());
    let url = if is_method { rest.trim_start() } else { first };
    match scheme(url)? {
        HTTP | HTTPS => Some(http(text).map(Call::Http)),
        UDP if !is_method => Some(udp(text).map(Call::Udp)),
        MDNS if !is_method => Some(mdns::parse(text).map(Call::Goodbye)),
        _ => None,
    }
}

fn scheme(url: &str) -> Option<&'static str> {
    [HTTP, HTTPS, UDP, MDNS].into_iter().find(|scheme| {
        url.get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    })
}

/// Parses `[METHOD ]http://HOST[:PORT][/PATH][?QUERY]`.
///
/// # Errors
/// What is wrong, where, and the way out.
pub(crate) fn http(text: &str) -> Result<Request, Fault> {
    let url_at = text.trim_end().rfind(' ').map_or(0, |space| space + 1);
    let (method, url) = (text[..url_at].trim(), text[url_at..].trim_end());
    let method_at = text.len() - text.trim_start().len();
    if !method.is_empty() && !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
        let fault = Fault::new(format!("{method:?} is no HTTP method"));
        let fault = fault.at(text, method_at, method_at + method.len());
        return Err(fault.way_out("write one in capitals, as PUT, before the URL"));
    }
    let whole = |message: &str| Fault::new(message).at(text, url_at, url_at + url.len());
    match scheme(url) {
        Some(HTTP) => {}
        Some(HTTPS) => {
            return Err(whole("https is not supported here")
                .way_out("use http://, or run a client as a command"));
        }
        _ => return Err(whole("this is no URL").way_out(HTTP_EXAMPLE)),
    }
    let server_at = url_at + HTTP.len();
    let rest = url.get(HTTP.len()..).unwrap_or_default();
    let rest = rest.split('#').next().unwrap_or_default();
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (server, path) = rest.split_at(end);
    let server = parse_server(text, server_at, server, Some(80))?;
    let target = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    };
    // What a server could not read, or some would refuse, is refused now.
    let is_plain = target.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_plain || target.parse::<Uri>().is_err() {
        let path_at = server_at + end;
        return Err(Fault::new("the path holds what no URL can")
            .at(text, path_at, path_at + path.len())
            .way_out("write such characters as %20"));
    }
    let method = if method.is_empty() { "GET" } else { method };
    Ok(Request {
        method: method.to_owned(),
        server,
        target,
        body: None,
    })
}

/// Parses the `body` of a hook: `report`, `metrics`, `otlp` or `text:TEXT`.
///
/// # Errors
/// It is none of these.
pub(crate) fn body(text: &str) -> Result<Body, Fault> {
    const WORDS: [(&str, Body); 3] = [
        ("report", Body::Report),
        ("metrics", Body::Metrics),
        ("otlp", Body::Otlp),
    ];
    if let Some(text) = text.strip_prefix("text:") {
        return Ok(Body::Text(text.to_owned()));
    }
    if let Some((_, body)) = WORDS.iter().find(|(word, _)| *word == text) {
        return Ok(body.clone());
    }
    let fault = Fault::new(format!("{text:?} is no body"));
    let words = WORDS.iter().map(|(word, _)| *word);
    Err(match suggest::nearest(text, words) {
        Some(near) => fault.way_out(format!("did you mean {near}?")),
        None => fault.way_out("write report, metrics, otlp or text:TEXT"),
    })
}

/// Parses `udp://HOST:PORT/TEXT`, in which `%41` is the byte 0x41.
///
/// # Errors
/// What is wrong, where, and the way out.
pub(crate) fn udp(text: &str) -> Result<Datagram, Fault> {
    let start = text.len() - text.trim_start().len();
    if scheme(&text[start..]) != Some(UDP) {
        let fault = Fault::new("this is no URL").at(text, start, text.len());
        return Err(fault.way_out(UDP_EXAMPLE));
    }
    let server_at = start + UDP.len();
    let rest = text.get(server_at..).unwrap_or_default();
    let Some((server, content)) = rest.split_once('/') else {
        return Err(Fault::new("there is nothing to send")
            .at(text, start, text.len())
            .way_out(UDP_EXAMPLE));
    };
    let content_at = server_at + server.len() + 1;
    Ok(Datagram {
        server: parse_server(text, server_at, server, None)?,
        payload: decoded(content).map_err(|at| {
            let at = content_at + at;
            Fault::new("% is not followed by two hexadecimal digits")
                .at(text, at, at + 1)
                .way_out("write %25 for the sign itself")
        })?,
    })
}

/// Parses `HOST[:PORT]`, which stands at this place of the text.
///
/// # Errors
/// What is wrong, where, and the way out.
pub(crate) fn parse_server(
    text: &str,
    at: usize,
    server: &str,
    default_port: Option<u16>,
) -> Result<Server, Fault> {
    let fault = |message: &str| Fault::new(message).at(text, at, at + server.len());
    if server.contains('@') {
        return Err(fault("a user and a password are not sent from here")
            .way_out("run a client as a command"));
    }
    let (host, port) = match server
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
    {
        Some((host, "")) => (host, None),
        // Without the colon it is no port.
        Some((host, port)) => (host, Some(port.strip_prefix(':').unwrap_or_default())),
        None => match server.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (server, None),
        },
    };
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:%".contains(&byte);
    if host.is_empty() || !host.bytes().all(known) {
        return Err(fault("this is no host").way_out("write a name or an address"));
    }
    let port = match (port, default_port) {
        (Some(port), _) => port.parse().ok().filter(|port| *port > 0),
        (None, default) => default,
    };
    let port = port.ok_or_else(|| {
        fault("the port is missing or no number from 1 to 65535").way_out("write HOST:PORT")
    })?;
    Ok(Server {
        host: host.to_owned(),
        port,
    })
}

/// The bytes that a percent-encoded text stands for; the error is the place that is not encoded
/// correctly.
pub(super) fn decoded(text: &str) -> Result<Vec<u8>, usize> {
    let bytes = text.as_bytes();
    let digit = |at: usize| {
        bytes
            .get(at)
            .and_then(|byte| char::from(*byte).to_digit(16))
    };
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        if *byte == b'%' {
            let (Some(high), Some(low)) = (digit(at + 1), digit(at + 2)) else {
                return Err(at);
            };
            decoded.extend(u8::try_from(high * 16 + low));
            at += 3;
        } else {
            decoded.push(*byte);
            at += 1;
        }
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::listen::Listen;

    fn server(host: &str, port: u16) -> Server {
        Server {
            host: host.to_owned(),
            port,
        }
    }

    #[test]
    fn a_request_has_a_method_a_server_and_a_target() {
        for (text, method, host, port, target) in [
            ("http://a", "GET", "a", 80, "/"),
            ("http://a?b=c", "GET", "a", 80, "/?b=c"),
            ("PUT http://a.b:81/c%20d?e#f", "PUT", "a.b", 81, "/c%20d?e"),
            (" DELETE  HTTP://[::1]:82/ ", "DELETE", "::1", 82, "/"),
        ] {
            let expected = Request {
                method: method.to_owned(),
                server: server(host, port),
                target: target.to_owned(),
                body: None,
            };
            assert_eq!(parse(text), Some(Ok(Call::Http(expected))), "{text}");
        }
    }

    #[test]
    fn a_datagram_carries_any_byte() {
        let expected = Datagram {
            server: server("::1", 53),
            payload: b"a b/\0\xff%".to_vec(),
        };
        let text = "udp://[::1]:53/a b/%00%fF%25";
        assert_eq!(parse(text), Some(Ok(Call::Udp(expected))));
        let empty = udp("udp://a:1/").unwrap();
        assert!(empty.payload.is_empty());
    }

    #[test]
    fn a_command_is_no_call() {
        for text in [
            "curl http://a",
            "GET",
            "GET x http://a",
            "",
            "httpd",
            "POST udp://a:1/b",
            "POST mdns://a._http._tcp.local",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_mistake_is_pointed_at() {
        for (text, message) in [
            ("https://a/", "column 1: use http://"),
            ("PUT https://a/", "column 5: use http://"),
            ("http://", "column 8: write a name"),
            ("http://a:b/", "column 8: write HOST:PORT"),
            ("http://a:0/", "column 8: write HOST:PORT"),
            ("http://[::1]81/", "column 8: write HOST:PORT"),
            ("http://u@a/", "column 8: run a client"),
            ("http://a/\u{e9}{", "column 9: write such characters"),
            ("udp://a/b", "column 7: write HOST:PORT"),
            ("udp://a:1", "column 1: write udp://"),
            ("udp://a:1/b%2", "column 12: write %25"),
        ] {
            let fault = parse(text).unwrap().unwrap_err().to_string();
            assert!(fault.contains(message), "{text}: {fault}");
        }
    }

    #[test]
    fn an_endpoint_is_asked_where_it_listens() {
        for (listen, host) in [
            ("[fe80::1%7]:9000", "fe80::1%7"),
            ("[::1]:9000", "::1"),
            ("[::]:9000", "::1"),
            ("10.0.0.1:9000", "10.0.0.1"),
        ] {
            let listen = Listen::parse(listen).unwrap();
            let request = Request::get(listen.reachable().next().unwrap(), "/readyz");
            assert_eq!((&*request.server.host, request.server.port), (host, 9000));
        }
    }

    #[test]
    fn the_host_header_names_an_unusual_port_only() {
        assert_eq!(server("a", 80).authority(), "a");
        assert_eq!(server("::1", 81).authority(), "[::1]:81");
    }
}
