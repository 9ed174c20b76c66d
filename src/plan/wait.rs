//! `--wait-for`: what must hold before anything is started, and how it is written.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::plan::call::{self, Request, Server};
use crate::plan::condition::{self, Condition, missing};
use crate::words::fault::Fault;

/// What is waited for before the start, in this order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Wait {
    pub(crate) conditions: Vec<WaitFor>,
    /// For all of them together.
    pub(crate) timeout: Duration,
}

/// One `--wait-for`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct WaitFor {
    pub(crate) when: WaitWhen,
    /// The condition as the user has written it.
    pub(crate) text: String,
}

/// What tells that it holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum WaitWhen {
    /// The server takes a connection.
    Tcp(Server),
    /// The request is answered with 2xx.
    Http(Request),
    /// The command exits with 0.
    Exec(Vec<OsString>),
    /// There is such a file, or directory.
    File(PathBuf),
}

impl Wait {
    pub(crate) fn runs_commands(&self) -> bool {
        let mut conditions = self.conditions.iter();
        conditions.any(|condition| matches!(condition.when, WaitWhen::Exec(_)))
    }
}

/// Parses a condition.
///
/// # Errors
/// What is wrong, where, and the way out.
pub(crate) fn parse(text: &str) -> Result<WaitFor, Fault> {
    let text = text.trim();
    let when = match condition::split(text) {
        ("tcp", "") => return Err(missing("server", "tcp:HOST:PORT")),
        ("tcp", server) => {
            let server = server.strip_prefix("//").unwrap_or(server);
            let at = text.len() - server.len();
            if server.parse::<u16>().is_ok() {
                let fault = Fault::new("the host is missing").at(text, at, text.len());
                return Err(fault.way_out(format!("write tcp:127.0.0.1:{server}")));
            }
            WaitWhen::Tcp(call::parse_server(text, at, server, None)?)
        }
        _ => {
            let kinds = ["tcp", "http", "exec", "file"];
            let written = "tcp:HOST:PORT, http:URL, exec:COMMAND or file:PATH";
            match condition::parse(text, &kinds, written)? {
                Condition::Http(request) => WaitWhen::Http(request),
                Condition::Exec(words) => WaitWhen::Exec(words),
                Condition::File(path) => WaitWhen::File(path),
            }
        }
    };
    let text = text.to_owned();
    Ok(WaitFor { when, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_known() {
        let when = |text: &str| parse(text).unwrap().when;
        let tcp = |host: &str, port| {
            let host = host.to_owned();
            WaitWhen::Tcp(Server { host, port })
        };
        assert_eq!(when("tcp:db:5432"), tcp("db", 5432));
        assert_eq!(when(" tcp://db:5432 "), tcp("db", 5432));
        assert_eq!(when("tcp:[::1]:80"), tcp("::1", 80));
        assert_eq!(when("file:/a"), WaitWhen::File("/a".into()));
        let words = vec!["a".into(), "b c".into()];
        assert_eq!(when("exec:a 'b c'"), WaitWhen::Exec(words));
        assert_eq!(when("http:http://a/b"), when("http://a/b"));
        assert_eq!(parse(" file:/a ").unwrap().text, "file:/a");
    }

    #[test]
    fn a_mistake_shows_the_way_out() {
        for (text, way_out) in [
            ("tcp:", "write tcp:HOST:PORT"),
            ("tcp:5432", "column 5: write tcp:127.0.0.1:5432"),
            ("tcp:db", "column 5: write HOST:PORT"),
            ("tcp:db:x", "column 5: write HOST:PORT"),
            ("tcp:db:0", "column 5: write HOST:PORT"),
            ("tcp::80", "column 5: write a name"),
            ("db:5432", "write tcp:HOST:PORT,"),
            ("tpc:db:5432", "did you mean tcp?"),
            ("notify", "write tcp:HOST:PORT,"),
            ("exec:", "write exec:COMMAND"),
            ("exec:'", "close it"),
            ("file:", "write file:/run/ready"),
            ("http:b", "write [METHOD ]http://"),
            ("https://a/b", "column 1: use http://"),
        ] {
            let fault = parse(text).unwrap_err().to_string();
            assert!(fault.contains(way_out), "{text}: {fault}");
        }
    }
}
