//! `--ready-when`: from text to a condition, and when to look at it next.
//!
//! Looking is the kernel's business; what is here has no clock of its own.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use crate::call;
use crate::options::list;
use crate::plan::ReadyWhen;
use crate::words::fault::Fault;
use crate::words::{command_line, suggest};

/// Parses a condition.
///
/// # Errors
/// What is wrong, where, and the way out.
pub(crate) fn parse(text: &str) -> Result<ReadyWhen, Fault> {
    let text = text.trim();
    let (kind, value) = match text.split_once(':') {
        // The scheme of a URL is kind enough.
        Some(("http", url)) if url.starts_with("//") => ("http", text),
        Some(split) => split,
        None => (text, ""),
    };
    let missing = |what: &str, example: &str| {
        let fault = Fault::new(format!("the {what} is missing"));
        Err(fault.way_out(format!("write {example}")))
    };
    match kind {
        "notify" if text == kind => Ok(ReadyWhen::Notify),
        "tcp" if list(value).next().is_none() => missing("port", "tcp:8080"),
        "tcp" => ports(text, value).map(ReadyWhen::Tcp),
        "http" => call::http(value).map(ReadyWhen::Http),
        "exec" if value.trim().is_empty() => missing("command", "exec:COMMAND"),
        "exec" => command_line::words(value.as_bytes()).map(ReadyWhen::Exec),
        // The directory of the start is left before anybody looks.
        "file" => match std::path::absolute(value) {
            Ok(path) => Ok(ReadyWhen::File(path)),
            Err(_) => missing("path", "file:/run/ready"),
        },
        "https" => {
            let fault = Fault::new("https is not spoken here").at(text, 0, kind.len());
            Err(fault.way_out("use http://, or a client: exec:curl -fsS URL"))
        }
        _ => {
            let fault = Fault::new(format!("unknown condition {text:?}"));
            let kinds = ["tcp", "http", "exec", "file", "notify"];
            Err(match suggest::nearest(kind, kinds) {
                Some(near) => fault.way_out(format!("did you mean {near}?")),
                None => {
                    fault.way_out("write tcp:PORT, http:URL, exec:COMMAND, file:PATH or notify")
                }
            })
        }
    }
}

fn ports(text: &str, value: &str) -> Result<Vec<u16>, Fault> {
    let start = text.len() - value.len();
    list(value)
        .map(|(at, port)| {
            let way_out = || match port.trim_start_matches('/').rsplit_once(':') {
                // It is looked whether the child listens; nobody is connected to.
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

/// How the looking goes on: when the next look is due, and the one that is under way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Probe {
    since: Duration,
    due: Duration,
    /// How many looks have taken a process, and whether the last of them still runs: it is given up when
    /// it is due.
    looks: u32,
    running: bool,
    /// The file as it was before the start.
    before: Option<Identity>,
}

/// A look that takes longer has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

impl Probe {
    pub(crate) fn new(now: Duration, before: Option<Identity>) -> Self {
        Self {
            since: now,
            due: now,
            looks: 0,
            running: false,
            before,
        }
    }

    pub(crate) fn due(&self) -> Duration {
        self.due
    }

    /// The look that is under way in a process.
    pub(crate) fn running(&self) -> Option<u32> {
        self.running.then_some(self.looks)
    }

    /// The number of the next look that takes a process.
    pub(crate) fn next_look(&self) -> u32 {
        self.looks.wrapping_add(1)
    }

    /// A process has begun to look.
    pub(crate) fn looking(&mut self, now: Duration) {
        self.looks = self.next_look();
        self.running = true;
        self.due = now.saturating_add(PATIENCE);
    }

    /// The look is over, and it does not hold yet: the longer it lasts the rarer the looks, so that the
    /// start is noticed soon and a slow one costs little.
    pub(crate) fn again(&mut self, now: Duration) {
        let (shortest, longest) = if self.running {
            (Duration::from_millis(100), Duration::from_secs(1))
        } else {
            (Duration::from_millis(25), Duration::from_millis(250))
        };
        self.running = false;
        let lasted = now.saturating_sub(self.since);
        self.due = now.saturating_add((lasted / 8).clamp(shortest, longest));
    }

    /// Whether the file is there and not simply what an earlier run left.
    pub(crate) fn file_holds(&self, path: &Path) -> Result<(), String> {
        match Identity::of(path) {
            None => Err("there is no such file".to_owned()),
            now if now == self.before => Err("the file is older than this run".to_owned()),
            Some(_) => Ok(()),
        }
    }
}

/// Which file, and in which state: it changes when the file is touched, written or replaced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
    changed: (i64, i64),
}

impl Identity {
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let of = |file: Metadata| Self {
            device: file.dev(),
            inode: file.ino(),
            changed: (file.ctime(), file.ctime_nsec()),
        };
        std::fs::metadata(path).ok().map(of)
    }
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

    #[test]
    fn looks_get_rarer() {
        let at = Duration::from_millis;
        let mut probe = Probe::new(at(0), None);
        probe.again(at(0));
        assert_eq!(probe.due(), at(25));
        probe.again(at(800));
        assert_eq!(probe.due(), at(900));
        probe.again(at(60_000));
        assert_eq!(probe.due(), at(60_250));
        probe.looking(at(70_000));
        assert_eq!(probe.due(), at(75_000));
        probe.again(at(70_100));
        assert_eq!(probe.due(), at(71_100));
    }
}
