//! How long a server waits for its requests at a stop, where its command line says so.

use std::time::Duration;

use crate::words::signal::Signal;

/// A server's own time, as it is given to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Patience {
    pub(crate) server: &'static str,
    pub(crate) option: &'static str,
    pub(crate) time: Duration,
    /// The index of the word that says so.
    pub(crate) at: usize,
}

/// The option takes seconds.
const OPTIONS: [(&str, &str); 4] = [
    ("gunicorn", "--graceful-timeout"),
    ("hypercorn", "--graceful-timeout"),
    ("uvicorn", "--timeout-graceful-shutdown"),
    ("daphne", "--application-close-timeout"),
];

/// On which signal they wait.
pub(crate) const GRACEFUL: Signal = Signal::TERM;

impl Patience {
    /// That of the server which these words run.
    pub(crate) fn of(words: &[&str]) -> Option<Self> {
        let skipped = interpreter(words);
        let words_of_server = words.get(skipped..)?;
        let name = base_name(words_of_server.first()?);
        let (server, option) = *OPTIONS.iter().find(|(server, _)| *server == name)?;
        let mut said = words_of_server.iter().enumerate();
        said.find_map(|(at, word)| {
            let value = match word.strip_prefix(option)? {
                "" => words_of_server.get(at + 1)?,
                rest => rest.strip_prefix('=')?,
            };
            Some(Self {
                server,
                option,
                time: Duration::from_secs(value.parse().ok()?),
                at: skipped + at,
            })
        })
    }
}

/// How many words are those of Python: `python -m SERVER`, or `python /usr/bin/SERVER`.
fn interpreter(words: &[&str]) -> usize {
    let is_python = |word: &&str| base_name(word).starts_with("python");
    match words {
        [first, "-m", ..] if is_python(first) => 2,
        [first, script, ..] if is_python(first) && !script.starts_with('-') => 1,
        _ => 0,
    }
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_from_the_command_line() {
        let of = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            Patience::of(&words).map(|patience| (patience.time.as_secs(), patience.at))
        };
        assert_eq!(of("gunicorn --graceful-timeout 60 a:b"), Some((60, 1)));
        assert_eq!(
            of("/usr/bin/uvicorn a:b --timeout-graceful-shutdown=5"),
            Some((5, 2))
        );
        assert_eq!(
            of("/usr/bin/python3 /usr/bin/gunicorn --graceful-timeout 60 a:b"),
            Some((60, 2))
        );
        assert_eq!(
            of("python3.11 -m hypercorn --graceful-timeout=7"),
            Some((7, 3))
        );
        for line in [
            "gunicorn a:b",
            "gunicorn --graceful-timeout",
            "gunicorn --graceful-timeout soon",
            "server --graceful-timeout 60",
            "python3 -c gunicorn",
            "",
        ] {
            assert_eq!(of(line), None, "{line}");
        }
    }
}
