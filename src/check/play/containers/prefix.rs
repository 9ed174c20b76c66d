//! Programs in front of an engine's client that become it or run it: how many words they take, and which of these the other calls
//! of the client need as well.

use std::ffi::{OsStr, OsString};
use std::path::Path;

struct Prefix {
    name: &'static str,
    /// Options that take a value as a word of its own.
    with_value: &'static [&'static str],
    /// Words of its own after the options.
    words: usize,
    /// It takes VAR=value, and decides as what or where the client runs: its engine may be another one without it.
    changes_client: bool,
}

const PREFIXES: [Prefix; 6] = [
    Prefix {
        name: "env",
        with_value: &["-u", "--unset", "-C", "--chdir"],
        words: 0,
        changes_client: true,
    },
    Prefix {
        name: "sudo",
        with_value: &[
            "-u",
            "--user",
            "-g",
            "--group",
            "-h",
            "--host",
            "-p",
            "--prompt",
            "-C",
            "--close-from",
            "-D",
            "--chdir",
            "-R",
            "--chroot",
            "-r",
            "--role",
            "-t",
            "--type",
            "-T",
            "--command-timeout",
        ],
        words: 0,
        changes_client: true,
    },
    Prefix {
        name: "nice",
        with_value: &["-n", "--adjustment"],
        words: 0,
        changes_client: false,
    },
    Prefix {
        name: "timeout",
        with_value: &["-s", "--signal", "-k", "--kill-after"],
        words: 1,
        changes_client: false,
    },
    Prefix {
        name: "nohup",
        with_value: &[],
        words: 0,
        changes_client: false,
    },
    Prefix {
        name: "setsid",
        with_value: &[],
        words: 0,
        changes_client: false,
    },
];

/// How many words stand in front of the program that is run in the end, and those of them that every call of it needs.
pub(super) fn in_front(command: &[OsString]) -> (usize, Vec<OsString>) {
    let word = |at: usize| command.get(at).and_then(|word| word.to_str()).unwrap_or("");
    let (mut at, mut kept) = (0, Vec::new());
    while let Some(prefix) = named(word(at)) {
        let from = at;
        at += 1;
        while word(at).starts_with('-') && word(at) != "--" {
            at += if prefix.with_value.contains(&word(at)) {
                2
            } else {
                1
            };
        }
        at += usize::from(word(at) == "--") + prefix.words;
        while prefix.changes_client && word(at).contains('=') {
            at += 1;
        }
        if prefix.changes_client {
            kept.extend(command.get(from..at).unwrap_or_default().iter().cloned());
        }
    }
    (at.min(command.len()), kept)
}

fn named(word: &str) -> Option<&'static Prefix> {
    let name = Path::new(word).file_name().and_then(OsStr::to_str)?;
    PREFIXES.iter().find(|prefix| prefix.name == name)
}
