//! Options of `run` that mean nothing to `check`: refused, with the way out, if they are typed; ignored in
//! variables and in the file, where they are meant for the stepdown in front of the program.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::dropin;
use crate::dropin::Tool;
use crate::options::check::CHECK;
use crate::options::told::{LOG_LEVEL, QUIET, VERBOSE};
use crate::options::{Kind, OPTIONS, Opt, Settings, TOLD};
use crate::words::fault::{Error, Fault};

/// The options of `run` that `check` has, too.
pub(crate) fn shared() -> impl Iterator<Item = &'static Opt> {
    let options = OPTIONS.iter().copied();
    options.filter(|option| option.not_in_check.is_none())
}

/// The error for an argument that `run` knows and `check` does not.
pub(crate) fn refusal(argument: &str) -> Option<Error> {
    let letter = argument
        .strip_prefix('-')
        .and_then(|rest| rest.chars().next());
    let word = argument.strip_prefix("--");
    let word = word.map(|word| word.split_once('=').map_or(word, |(name, _)| name));
    let is_named = |option: &&&Opt| match word {
        Some(word) => option.spellings().any(|spelling| spelling == word),
        None => option.letter.is_some() && option.letter == letter,
    };
    if let Some(option) = OPTIONS.iter().find(is_named) {
        let fault = Fault::new("check has no use for it").way_out(option.not_in_check?);
        let letter = || option.flag(option.name);
        let place = word.map_or_else(letter, |word| format!("--{word}"));
        return Some(Error::new(place, fault));
    }
    let flag = dropin::FLAGS.iter().find(|flag| match word {
        Some(word) => flag.long == Some(word),
        None => Some(flag.letter) == letter,
    })?;
    let fault = Fault::new("check does not take the place of another tool");
    let way_out = match flag.option.kind {
        Kind::Switch => format!("write --{}", flag.option.name),
        _ => format!("write --{} {}", flag.option.name, flag.value),
    };
    Some(Error::new(argument, fault.way_out(way_out)))
}

/// The error for a variable with the name of one of `check`'s own options, which have no variables.
pub(crate) fn misplaced<'a>(mut names: impl Iterator<Item = &'a OsString>) -> Option<Error> {
    names.find_map(|name| {
        let name = name.to_str().filter(|name| !TOLD.contains(name))?;
        let option = CHECK.iter().find(|option| option.variable() == name)?;
        let fault = Fault::new("the options of check are no variables");
        Some(Error::new(
            name,
            fault.way_out(format!("write --{}", option.name)),
        ))
    })
}

/// Removes the values that variables and the file give to options that mean nothing here.
pub(super) fn pass_over(settings: &mut Settings) {
    let foreign = OPTIONS
        .iter()
        .filter(|option| option.not_in_check.is_some());
    for option in foreign {
        settings.remove(option);
    }
    for option in [&LOG_LEVEL, &QUIET, &VERBOSE] {
        settings.remove_untyped(option);
    }
}

/// Whether the command is an init itself: the variables of the environment are its own then.
pub(crate) fn is_stepdown(command: &[OsString]) -> bool {
    let Some(program) = command.first() else {
        return false;
    };
    let name = Path::new(program).file_name();
    name == Some(OsStr::new("stepdown")) || Tool::named(Some(program)).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        let shared: Vec<&Opt> = shared().collect();
        for option in OPTIONS {
            let is_refused = refusal(&format!("--{}", option.name)).is_some();
            assert_eq!(is_refused, !shared.contains(option), "{option:?}");
        }
    }

    #[test]
    fn letters_are_refused_as_words_are() {
        for argument in [
            "-e",
            "-w",
            "-p",
            "-g",
            "-c",
            "-s",
            "--single-child",
            "--report=x",
        ] {
            assert!(refusal(argument).is_some(), "{argument}");
        }
        for argument in ["-v", "-q", "-r", "--grace", "-x", "--runz"] {
            assert_eq!(refusal(argument), None, "{argument}");
        }
    }
}
