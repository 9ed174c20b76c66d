//! `--live-when`: when a child that is ready counts as alive, and how it is written.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::plan::call::Request;
use crate::plan::condition::{self, Condition, missing};
use crate::plan::readiness;
use crate::words::duration;
use crate::words::fault::Fault;
use crate::words::list::list;

/// How it is found out that a child hangs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Liveness {
    pub(crate) when: LiveWhen,
    /// From one look to the next.
    pub(crate) every: Duration,
    /// A look that takes longer has failed.
    pub(crate) timeout: Duration,
    /// So many looks in a row must fail.
    pub(crate) failures: u32,
    /// The condition as the user has written it.
    pub(crate) text: String,
}

/// What tells that the child is alive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum LiveWhen {
    /// All these TCP ports are listened on. Nobody connects to them.
    Tcp(Vec<u16>),
    /// The request is answered with 2xx.
    Http(Request),
    /// The command exits with 0.
    Exec(Vec<OsString>),
    /// The file has changed since the last look.
    File(PathBuf),
    /// The child says so at least that often (sd_notify(3), `WATCHDOG=1`).
    Watchdog(Duration),
}

impl Liveness {
    /// How often the child must say that it is alive.
    pub(crate) fn watchdog(&self) -> Option<Duration> {
        match self.when {
            LiveWhen::Watchdog(within) => Some(within),
            _ => None,
        }
    }
}

const WATCHDOG_EXAMPLE: &str = "watchdog:30s";

/// Parses a condition.
///
/// # Errors
/// What is wrong, where, and the way out.
pub(crate) fn parse(text: &str) -> Result<LiveWhen, Fault> {
    let text = text.trim();
    let (kind, value) = condition::split(text);
    match kind {
        "tcp" if list(value).next().is_none() => Err(missing("port", "tcp:8080")),
        "tcp" => readiness::ports(text, value).map(LiveWhen::Tcp),
        "watchdog" if value.trim().is_empty() => Err(missing("time", WATCHDOG_EXAMPLE)),
        "watchdog" => {
            let at = text.len() - value.len();
            let within = duration::parse(value).map_err(|bad| {
                let fault = Fault::new(bad.to_string()).at(text, at, text.len());
                fault.way_out(bad.way_out())
            })?;
            if within.is_zero() {
                let fault = Fault::new("0 leaves the child no time at all");
                let fault = fault.at(text, at, text.len());
                return Err(fault.way_out(format!("write {WATCHDOG_EXAMPLE}")));
            }
            Ok(LiveWhen::Watchdog(within))
        }
        _ => {
            let kinds = ["tcp", "http", "exec", "file", "watchdog"];
            let written = "tcp:PORT, http:URL, exec:COMMAND, file:PATH or watchdog:DUR";
            Ok(match condition::parse(text, &kinds, written)? {
                Condition::Http(request) => LiveWhen::Http(request),
                Condition::Exec(words) => LiveWhen::Exec(words),
                Condition::File(path) => LiveWhen::File(path),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_known() {
        assert_eq!(parse("tcp:80, 443"), Ok(LiveWhen::Tcp(vec![80, 443])));
        assert_eq!(parse("file:/a"), Ok(LiveWhen::File("/a".into())));
        let words = vec!["a".into(), "b c".into()];
        assert_eq!(parse("exec:a 'b c'"), Ok(LiveWhen::Exec(words)));
        assert_eq!(parse("http:http://a/b"), parse("http://a/b"));
        let watchdog = |millis| Ok(LiveWhen::Watchdog(Duration::from_millis(millis)));
        assert_eq!(parse("watchdog:30s"), watchdog(30_000));
        assert_eq!(parse(" watchdog:1500ms"), watchdog(1500));
    }

    #[test]
    fn a_mistake_shows_the_way_out() {
        for (text, way_out) in [
            ("tcp:", "write tcp:8080"),
            ("tcp:80,x", "column 8: ports go"),
            ("watchdog", "write watchdog:30s"),
            ("watchdog:", "write watchdog:30s"),
            ("watchdog:0", "column 10: write watchdog:30s"),
            ("watchdog:soon", "column 10: write it as"),
            ("watchdg:3s", "did you mean watchdog?"),
            ("notify", "or watchdog:DUR"),
            ("exec:", "write exec:COMMAND"),
            ("https://a/b", "column 1: use http://"),
        ] {
            let fault = parse(text).unwrap_err().to_string();
            assert!(fault.contains(way_out), "{text}: {fault}");
        }
    }
}
