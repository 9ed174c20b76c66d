//! `--ready-when`: when the child is ready, and how it is written.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::plan::call::Request;
use crate::plan::condition::{self, Condition, missing};
use crate::words::fault::Fault;
use crate::words::list::list;

/// When the child is ready (`--ready-when`, or else the ports of `--drain-port`); without it, it is ready from its start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Readiness {
    pub(crate) when: ReadyWhen,
    /// A child that is not ready by then has failed to start.
    pub(crate) timeout: Option<Duration>,
    /// The condition as the user would write it.
    pub(crate) text: String,
    /// Nobody has written it: these are the ports of `--drain-port`.
    pub(crate) of_drain_ports: bool,
}

impl Readiness {
    /// The option and its value, as the user has written them.
    pub(crate) fn written(&self) -> String {
        match self.text.strip_prefix("tcp:") {
            Some(ports) if self.of_drain_ports => format!("--drain-port {ports}"),
            _ => format!("--ready-when {}", self.text),
        }
    }
}

/// What tells that the child is ready.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum ReadyWhen {
    /// All these TCP ports are listened on. No connection is made to them.
    Tcp(Vec<u16>),
    /// The request is answered with 2xx.
    Http(Request),
    /// The command exits with 0.
    Exec(Vec<OsString>),
    /// The file exists; one that existed before the start counts once it has changed.
    File(PathBuf),
    /// The child says so (sd_notify(3)).
    Notify,
}

/// Parses a condition.
///
/// # Errors
/// What is wrong, where, and the way out.
pub(crate) fn parse(text: &str) -> Result<ReadyWhen, Fault> {
    let text = text.trim();
    let (kind, value) = condition::split(text);
    match kind {
        "notify" if text == kind => Ok(ReadyWhen::Notify),
        "tcp" if list(value).next().is_none() => Err(missing("port", "tcp:8080")),
        "tcp" => ports(text, value).map(ReadyWhen::Tcp),
        _ => {
            let kinds = ["tcp", "http", "exec", "file", "notify"];
            let written = "tcp:PORT, http:URL, exec:COMMAND, file:PATH or notify";
            Ok(match condition::parse(text, &kinds, written)? {
                Condition::Http(request) => ReadyWhen::Http(request),
                Condition::Exec(words) => ReadyWhen::Exec(words),
                Condition::File(path) => ReadyWhen::File(path),
            })
        }
    }
}

/// Ports of TCP, which stand at the end of the text.
///
/// # Errors
/// What is wrong, where, and the way out.
pub(super) fn ports(text: &str, value: &str) -> Result<Vec<u16>, Fault> {
    let start = text.len() - value.len();
    list(value)
        .map(|(at, port)| {
            let way_out = || match port.trim_start_matches('/').rsplit_once(':') {
                // It is only looked up whether the child listens; no connection is made.
                Some((_, own)) if own.parse::<u16>().is_ok() => format!(
                    "write tcp:{own}, which is a port of the child's; for another host, a client: exec:nc -z HOST PORT"
                ),
                _ => "ports go from 1 to 65535".to_owned(),
            };
            port.parse().ok().filter(|port| *port > 0).ok_or_else(|| {
                Fault::new(format!("{port:?} is no port"))
                    .at(text, start + at, start + at + port.len())
                    .way_out(way_out())
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_known() {
        assert_eq!(parse("tcp:80, 443"), Ok(ReadyWhen::Tcp(vec![80, 443])));
        assert_eq!(parse("notify"), Ok(ReadyWhen::Notify));
        assert_eq!(parse("file:/a"), Ok(ReadyWhen::File("/a".into())));
        let words = vec!["a".into(), "b c".into()];
        assert_eq!(parse("exec:a 'b c'"), Ok(ReadyWhen::Exec(words)));
        assert_eq!(parse("http:http://a/b"), parse("http://a/b"));
        assert!(parse("http://a/b").is_ok());
    }

    #[test]
    fn a_mistake_shows_the_way_out() {
        for (text, way_out) in [
            ("tcp:", "write tcp:8080"),
            ("tcp:80,x", "column 8: ports go"),
            ("tcp:0", "column 5: ports go"),
            ("exec:", "write exec:COMMAND"),
            ("exec:'", "close it"),
            ("file:", "write file:/run/ready"),
            ("notfy", "did you mean notify?"),
            ("tpc:80", "did you mean tcp?"),
            ("8080", "write tcp:PORT"),
            ("http:b", "write [METHOD ]http://"),
            ("https:", "column 1: use http://"),
            ("https://a/b", "column 1: use http://"),
            ("tcp:localhost:8080", "column 5: write tcp:8080,"),
            ("tcp://a:80", "column 5: write tcp:80,"),
            ("tcp::80", "column 5: write tcp:80,"),
        ] {
            let fault = parse(text).unwrap_err().to_string();
            assert!(fault.contains(way_out), "{text}: {fault}");
        }
    }
}
