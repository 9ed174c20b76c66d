//! Options of `run` that mean nothing to `check`: refused, with the way out, where they are typed; passed
//! over where a variable or a file says them, because there they are meant for the program's own stepdown.

use crate::options::check_table::CHECK;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::dropin;
use crate::dropin::Tool;
use crate::options::Settings;
use crate::options::table::{OPTIONS, Opt, TOLD};
use crate::words::fault::{Error, Fault};

/// The options, and what to do without them.
const FOREIGN: [(&str, &str); 14] = [
    ("reload-on", "leave it out: nothing is reloaded in a run"),
    (
        "no-kill",
        "leave it out: a stop that needs KILL breaks a promise, and a run has to end",
    ),
    ("max-runtime", "say by --after when the signal is sent"),
    ("stop-on", "name the signal that is sent by --signal"),
    ("escalate-on", "say by --ladder how the stop goes on"),
    (
        "parent-death-signal",
        "leave it out: the end of check always ends the run",
    ),
    ("success-exit", "name the codes by --expect-exit"),
    (
        "clean-stop",
        "leave it out: the end by a signal of the stop is expected, or name the codes by --expect-exit",
    ),
    ("log-level", "use -v or -q"),
    ("log-format", "write --json FILE"),
    ("log-reaped", "use -v"),
    ("report", "write all runs with --json FILE"),
    (
        "state-file",
        "leave it out: runs that are tried are not counted; --json FILE writes all of them",
    ),
    (
        "metrics-file",
        "leave it out: runs that are tried are not counted; --json FILE writes all of them",
    ),
];

/// The options of `run` that `check` has, too.
pub(crate) fn shared() -> impl Iterator<Item = &'static Opt> {
    OPTIONS
        .iter()
        .filter(|option| way_out(option.name).is_none())
}

fn way_out(name: &str) -> Option<&'static str> {
    let found = FOREIGN.iter().find(|(known, _)| *known == name);
    found.map(|(_, way_out)| *way_out)
}

/// The error for an argument that `run` knows and `check` does not.
pub(crate) fn refusal(argument: &str) -> Option<Error> {
    let letter = argument
        .strip_prefix('-')
        .and_then(|rest| rest.chars().next());
    let word = argument.strip_prefix("--");
    let word = word.map(|word| word.split_once('=').map_or(word, |(name, _)| name));
    let is_named = |option: &&Opt| match word {
        Some(word) => option.name == word,
        None => option.short.is_some() && option.short == letter,
    };
    if let Some(option) = OPTIONS.iter().find(is_named) {
        let fault = Fault::new("check has no use for it").way_out(way_out(option.name)?);
        return Some(Error::new(format!("--{}", option.name), fault));
    }
    let flag = dropin::FLAGS.iter().find(|flag| match word {
        Some(word) => flag.long == Some(word),
        None => Some(flag.letter) == letter,
    })?;
    let fault = Fault::new("check does not take the place of another tool");
    let way_out = format!("write --{} {}", flag.option, flag.value);
    Some(Error::new(argument, fault.way_out(way_out)))
}

/// The error for a variable that somebody has set in the belief that our own options are variables, too.
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

/// Forgets what variables and the file say about options that mean nothing here.
pub(super) fn pass_over(settings: &mut Settings) {
    for (name, _) in FOREIGN {
        settings.remove(name);
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
    fn each_is_an_option_of_run_and_none_of_ours() {
        for (name, _) in FOREIGN {
            assert!(OPTIONS.iter().any(|option| option.name == name), "{name}");
            assert!(shared().all(|option| option.name != name), "{name}");
            assert!(crate::options::check_table::find(name).is_none(), "{name}");
            assert!(refusal(&format!("--{name}")).is_some(), "{name}");
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
