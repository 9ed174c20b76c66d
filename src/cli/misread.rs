//! Command lines that the parser would misread, or refuse with an unhelpful message.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};

#[cfg(feature = "check")]
use crate::check::options::foreign;
use crate::dropin;
#[cfg(feature = "check")]
use crate::options::check::CHECK;
use crate::options::{Kind, OPTIONS, Opt, names, parse_switch};
use crate::words::fault::{Error, Fault};
use crate::words::suggest;

/// The options of a command line.
#[derive(Clone, Copy)]
pub(super) struct Known {
    /// Those of `check`, or none.
    own: &'static [&'static Opt],
    /// What is said about an option that is not for this command line.
    foreign: fn(&str) -> Option<Error>,
}

/// What stands at one place before the COMMAND.
enum Word<'a> {
    /// An option with its value, which may be missing.
    Takes(&'static Opt, Option<&'a str>),
    /// A switch, and its value as the next word.
    Joins,
    /// One hyphen, and more than one letter.
    Letters(&'a str),
    Other,
}

impl Known {
    pub(super) fn of_run() -> Self {
        Self {
            own: &[],
            foreign: |_| None,
        }
    }

    #[cfg(feature = "check")]
    pub(super) fn of_check() -> Self {
        Self {
            own: CHECK,
            foreign: foreign::refusal,
        }
    }

    fn all(self) -> impl Iterator<Item = &'static Opt> + Clone {
        OPTIONS.iter().chain(self.own).copied()
    }

    /// Those that are taken.
    fn taken(self) -> impl Iterator<Item = &'static Opt> + Clone {
        self.all()
            .filter(move |option| !self.is_foreign(option.name))
    }

    fn is_foreign(self, name: &str) -> bool {
        (self.foreign)(&format!("--{name}")).is_some()
    }

    /// The words before the COMMAND, each with its place.
    fn words(self, arguments: &[OsString]) -> impl Iterator<Item = (usize, Word<'_>)> {
        let mut at = 1;
        std::iter::from_fn(move || {
            let text = arguments.get(at)?.to_str().unwrap_or_default();
            let here = at;
            // Where the options end.
            if text == "--" || !text.starts_with('-') {
                return None;
            }
            let named = |name: &str| {
                self.all()
                    .find(|option| option.spellings().any(|spelling| spelling == name))
            };
            let split = text
                .strip_prefix("--")
                .and_then(|text| text.split_once('='));
            if let Some((name, value)) = split {
                at += 1;
                let word = named(name).map(|option| Word::Takes(option, Some(value)));
                return Some((here, word.unwrap_or(Word::Other)));
            }
            let option = match text.strip_prefix("--") {
                Some(name) => named(name),
                // The last letter takes the next word.
                None => self.all().find(|option| {
                    let letter = option.letter;
                    letter.is_some_and(|letter| text.ends_with(letter)) && text.len() == 2
                }),
            };
            let word = match option.filter(|option| option.takes_value()) {
                Some(option) => {
                    at += 1;
                    let value = arguments
                        .get(at)
                        .map(|value| value.to_str().unwrap_or_default());
                    Word::Takes(option, value)
                }
                None if option.is_some_and(|option| option.took_next_word)
                    && arguments.get(at + 1).is_some_and(is_on_or_off) =>
                {
                    at += 1;
                    Word::Joins
                }
                None if !text.starts_with("--") && text.len() > 2 => Word::Letters(text),
                None => Word::Other,
            };
            at += 1;
            Some((here, word))
        })
    }

    /// What the parser accepts silently, or refuses in another form than ours.
    pub(super) fn misread(self, arguments: &[OsString]) -> Option<Error> {
        self.words(arguments).find_map(|(_, word)| match word {
            Word::Letters(text) => self.one_hyphen(text),
            Word::Takes(option, _) if self.is_foreign(option.name) => None,
            Word::Takes(option, value) => misplaced(option, value),
            Word::Joins | Word::Other => None,
        })
    }

    /// The words with `--cgroup on` as `--cgroup=on`, which is the only form that the parser knows.
    pub(super) fn with_joined_values(self, arguments: &[OsString]) -> Vec<OsString> {
        let mut joined = arguments.to_vec();
        let is_joined = |(at, word)| matches!(word, Word::Joins).then_some(at);
        let places: Vec<usize> = self.words(arguments).filter_map(is_joined).collect();
        for at in places.into_iter().rev() {
            let value = joined.remove(at + 1);
            if let Some(word) = joined.get_mut(at) {
                word.push("=");
                word.push(value);
            }
        }
        joined
    }

    /// `-grace 5s`, which would be a group of letters.
    fn one_hyphen(self, text: &str) -> Option<Error> {
        let (name, value) = match text.trim_start_matches('-').split_once('=') {
            Some((name, value)) => (name, format!("={value}")),
            None => (text.trim_start_matches('-'), String::new()),
        };
        let mut own = self.taken().filter(|option| option.name == name);
        let meant: Vec<&str> = match own.next() {
            Some(option) => vec![option.shown_name()],
            None => names::elsewhere(name, self.taken())
                .iter()
                .map(|option| option.name)
                .collect(),
        };
        let question = suggest::question(&meant, |name| format!("--{name}{value}"))?;
        Some(Error::new(
            text,
            Fault::new("unknown option").way_out(question),
        ))
    }

    /// The error for an unknown option.
    pub(super) fn unknown(self, error: &clap::Error, arguments: &[OsString]) -> Option<Error> {
        let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else {
            return None;
        };
        (error.kind() == ErrorKind::UnknownArgument).then_some(())?;
        if let Some(error) = (self.foreign)(argument) {
            return Some(error);
        }
        let fault = Fault::new("unknown option");
        let name = argument.strip_prefix("--").unwrap_or_default();
        let name = name.split('=').next().unwrap_or_default();
        let flags = dropin::FLAGS.iter().filter_map(|flag| flag.long);
        let others = ["help", "version"].into_iter().chain(flags);
        let mut meant = names::meant(name, self.taken());
        if meant.is_empty() {
            meant.extend(suggest::nearest(name, others.clone()));
        }
        let all = self.taken().map(Opt::shown_name).chain(others);
        let shown = |name: &str| format!("--{name}");
        let way_out = suggest::question(&meant, shown)
            .or_else(|| suggest::question(&suggest::longer(name, all), shown))
            .or_else(|| self.unquoted(argument, arguments))
            .or_else(|| of_subcommand(name))
            .unwrap_or_else(|| {
                "see --help; write -- before a command that begins with -".to_owned()
            });
        Some(Error::new(argument, fault.way_out(way_out)))
    }

    /// It follows a value that is a command line, and may be part of that.
    fn unquoted(self, argument: &str, arguments: &[OsString]) -> Option<String> {
        let before = self.words(arguments).take_while(|(at, _)| {
            arguments.get(*at).is_some_and(|word| {
                let word = word.to_str().unwrap_or_default();
                word != argument && word.split('=').next() != Some(argument)
            })
        });
        match before.last()?.1 {
            Word::Takes(option, Some(value)) if takes_a_line(option) => Some(format!(
                "if it belongs to --{name}, quote all of that: --{name} '{value} {argument} ...'",
                name = option.name
            )),
            _ => None,
        }
    }
}

/// It is an option of a subcommand.
#[cfg(any(feature = "doctor", feature = "lint", feature = "manual"))]
fn of_subcommand(name: &str) -> Option<String> {
    let commands = super::subcommands();
    let takes_it = |command: &&clap::Command| {
        let mut arguments = command.get_arguments();
        arguments.any(|argument| argument.get_long() == Some(name))
    };
    let takers: Vec<String> = commands
        .iter()
        .filter(takes_it)
        .map(|command| format!("stepdown {}", command.get_name()))
        .collect();
    (!takers.is_empty()).then(|| format!("it is an option of {}", takers.join(" and of ")))
}

#[cfg(not(any(feature = "doctor", feature = "lint", feature = "manual")))]
fn of_subcommand(_name: &str) -> Option<String> {
    None
}

fn misplaced(option: &Opt, value: Option<&str>) -> Option<Error> {
    let name = option.name;
    if let (Some((other, value)), Some(_)) = (option.short_for, value) {
        let fault = Fault::new("it takes no value");
        let way_out = format!("write --{} {value}", other.name);
        return Some(Error::new(format!("--{name}"), fault.way_out(way_out)));
    }
    let (message, way_out) = match (option.kind, value) {
        (Kind::One(of) | Kind::Many(of), None | Some("--")) => (
            "the value is missing".to_owned(),
            format!("write --{name} {of}"),
        ),
        // The parser would take it for a group of letters, unless all of it is a number.
        (Kind::One("DUR"), Some(value)) if is_negative(value) => (
            format!("{value:?} is not a duration"),
            "write it as 1500ms, 10s or 1m30s; a bare number is seconds".to_owned(),
        ),
        _ => return None,
    };
    Some(Error::new(
        format!("--{name}"),
        Fault::new(message).way_out(way_out),
    ))
}

fn is_on_or_off(word: &OsString) -> bool {
    word.to_str()
        .is_some_and(|word| !word.is_empty() && parse_switch(word).is_ok())
}

fn is_negative(value: &str) -> bool {
    let digits = value.strip_prefix('-').unwrap_or_default();
    digits.starts_with(|c: char| c.is_ascii_digit())
}

fn takes_a_line(option: &Opt) -> bool {
    let (Kind::One(value) | Kind::Many(value)) = option.kind else {
        return false;
    };
    ["HOOK", "STEPS", "COMMAND", "CONDITION"].contains(&value)
}
