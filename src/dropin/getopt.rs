//! Finds options where getopt(3) finds them: in clusters, abbreviated, with or without POSIXLY_CORRECT.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::Tool;

/// The options that a tool knows, in the terms of getopt_long(3).
pub(super) struct Grammar {
    /// Letters; a colon follows those that take a value.
    pub(super) letters: &'static str,
    /// Long options, each with the letter it stands for.
    pub(super) words: &'static [(&'static str, char)],
    /// Whether options are also looked for behind the command, up to `--`.
    pub(super) permutes: bool,
}

/// A parsed command line, up to the first thing that was refused.
#[derive(Default)]
pub(super) struct ParsedOptions {
    pub(super) options: Vec<(char, Option<OsString>)>,
    pub(super) rest: Vec<OsString>,
    pub(super) refused: Option<String>,
}

pub(super) fn read(tool: Tool, arguments: Vec<OsString>, posix: bool) -> ParsedOptions {
    let grammar = tool.grammar();
    let in_order = Grammar {
        permutes: false,
        ..tool.grammar()
    };
    if posix {
        return in_order.read(arguments);
    }
    let read = grammar.read(arguments.clone());
    // tini linked with musl stops at the command, with glibc it goes on. A command line that only
    // one of them accepts (`tini sh -c ...`) means what it means there.
    if tool == Tool::Tini && read.refused.is_some() && !read.rest.is_empty() {
        return in_order.read(arguments);
    }
    read
}

impl Grammar {
    fn read(&self, arguments: Vec<OsString>) -> ParsedOptions {
        let mut read = ParsedOptions::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let bytes = argument.as_bytes();
            let result = match bytes {
                b"--" => break,
                [b'-', b'-', word @ ..] if !self.words.is_empty() => {
                    self.long(word, &mut arguments, &mut read.options)
                }
                [b'-', letters @ ..] if !letters.is_empty() => {
                    self.short(letters, &mut arguments, &mut read.options)
                }
                _ => {
                    read.rest.push(argument);
                    if self.permutes {
                        continue;
                    }
                    break;
                }
            };
            if let Err(refused) = result {
                read.refused = Some(refused);
                return read;
            }
        }
        read.rest.extend(arguments);
        read
    }

    /// Whether there is such a letter, and whether it takes a value.
    fn takes_value(&self, letter: char) -> Option<bool> {
        let at = self.letters.find(letter).filter(|_| letter != ':')?;
        Some(self.letters.get(at + 1..)?.starts_with(':'))
    }

    fn short(
        &self,
        mut letters: &[u8],
        more: &mut impl Iterator<Item = OsString>,
        options: &mut Vec<(char, Option<OsString>)>,
    ) -> Result<(), String> {
        while let [first, rest @ ..] = letters {
            let letter = char::from(*first);
            let value = match self.takes_value(letter) {
                None => return Err(format!("unknown option -{letter}")),
                Some(false) => None,
                Some(true) => {
                    let value = Some(rest).filter(|rest| !rest.is_empty());
                    let value = value.map(|rest| OsStr::from_bytes(rest).to_owned());
                    let missing = || format!("-{letter} needs a value");
                    Some(value.or_else(|| more.next()).ok_or_else(missing)?)
                }
            };
            letters = if value.is_some() { &[] } else { rest };
            options.push((letter, value));
        }
        Ok(())
    }

    /// A long option may be abbreviated as long as it is unambiguous.
    fn long(
        &self,
        word: &[u8],
        more: &mut impl Iterator<Item = OsString>,
        options: &mut Vec<(char, Option<OsString>)>,
    ) -> Result<(), String> {
        let mut parts = word.splitn(2, |byte| *byte == b'=');
        let name = parts.next().unwrap_or_default();
        let given = parts.next().map(|value| OsString::from_vec(value.to_vec()));
        let shown = String::from_utf8_lossy(name);
        let exact = self.words.iter().find(|(word, _)| word.as_bytes() == name);
        let mut near = self
            .words
            .iter()
            .filter(|(word, _)| word.as_bytes().starts_with(name));
        let letter = match (exact, near.next(), near.next()) {
            (Some((_, letter)), ..) | (None, Some((_, letter)), None) => *letter,
            (None, Some(_), Some(_)) => return Err(format!("--{shown} is ambiguous")),
            _ => return Err(format!("unknown option --{shown}")),
        };
        let value = match (self.takes_value(letter), given) {
            (Some(true), Some(value)) => Some(value),
            (Some(true), None) => Some(
                more.next()
                    .ok_or_else(|| format!("--{shown} needs a value"))?,
            ),
            (_, Some(_)) => return Err(format!("--{shown} takes no value")),
            (_, None) => None,
        };
        options.push((letter, value));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(tool: Tool, line: &str) -> (String, String, bool) {
        let words = line.split(' ').map(OsString::from).collect();
        let read = read(tool, words, false);
        let options: String = read
            .options
            .into_iter()
            .map(|(letter, value)| format!("{letter}{} ", value.unwrap_or_default().display()))
            .collect();
        let rest: Vec<_> = read
            .rest
            .iter()
            .map(|word| word.to_string_lossy())
            .collect();
        (options, rest.join(" "), read.refused.is_some())
    }

    #[test]
    fn options_are_found_where_getopt_finds_them() {
        for (tool, line, options, rest, refused) in [
            (
                Tool::Tini,
                "-gve1 a -e 2 -- -s b",
                "g v e1 e2 ",
                "a -s b",
                false,
            ),
            (Tool::Tini, "a - -s", "s ", "a -", false),
            (Tool::Tini, "sh -c -g", "", "sh -c -g", false),
            (Tool::Tini, "-s -x a", "s ", "", true),
            (Tool::Tini, "--verbose a", "", "", true),
            (Tool::DumbInit, "-cr1:2 a -v", "c r1:2 ", "a -v", false),
            (
                Tool::DumbInit,
                "--rew 1:2 --s -- -v",
                "r1:2 c ",
                "-v",
                false,
            ),
            (
                Tool::DumbInit,
                "--rewrite=1:2 --verbose=1 a",
                "r1:2 ",
                "",
                true,
            ),
            (Tool::DumbInit, "-r", "", "", true),
            (Tool::Catatonit, "a -g --ver", "g V ", "a", false),
        ] {
            let expected = (options.to_owned(), rest.to_owned(), refused);
            assert_eq!(taken(tool, line), expected, "{tool:?} {line}");
        }
    }
}
