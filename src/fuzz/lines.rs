//! Command lines and environments: ours, and those of the tools whose place stepdown takes.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::text;
use crate::cli::{self, Invocation};
use crate::dropin::{self, Meaning, Tool};
use crate::explain::fits::Fits;
use crate::explain::values::tests::each_row_changes_nothing;
use crate::explain::{self, values};
use crate::options::{OPTIONS, Opt, Settings, Source};

fn owned(bytes: &[u8]) -> OsString {
    OsStr::from_bytes(bytes).to_owned()
}

/// Words that end with a zero byte, as in /proc/PID/cmdline.
fn words(bytes: &[u8]) -> impl Iterator<Item = OsString> {
    bytes.split(|byte| *byte == 0).map(owned)
}

fn variables(bytes: &[u8]) -> Vec<(OsString, OsString)> {
    let entry = |entry: &[u8]| {
        let end = entry.iter().position(|byte| *byte == b'=')?;
        Some((owned(&entry[..end]), owned(&entry[end + 1..])))
    };
    bytes.split(|byte| *byte == 0).filter_map(entry).collect()
}

/// A plan or an error that says which option it is about.
fn planned(settings: &Settings) {
    match settings.plan() {
        Ok(plan) => {
            let _ = settings
                .refuse_idle(&plan)
                .map_err(|error| error.to_string());
            let table = values::table(settings, &plan);
            assert!(table.ends_with('\n'));
        }
        Err(error) => names_an_option(&error.to_string(), settings),
    }
}

fn names_an_option(message: &str, settings: &Settings) {
    let is_named = |option: &&Opt| {
        let mut names = option.spellings();
        let variable = |name: &str| format!("STEPDOWN_{}", name.replace('-', "_").to_uppercase());
        names.any(|name| message.contains(name) || message.contains(&variable(name)))
            || option
                .letter
                .is_some_and(|letter| message.contains(&format!("-{letter}")))
    };
    let mut options = settings.options();
    assert!(options.any(|option| is_named(&option)), "{message}");
}

/// Options, one a line as `NAME=VALUE`; `assume=` and `fits=` are those of `explain`.
fn options(bytes: &[u8]) -> (Settings, Vec<OsString>, Option<String>) {
    let (mut settings, mut assume, mut fits) = (Settings::default(), Vec::new(), None);
    for line in bytes.split(|byte| *byte == b'\n') {
        let end = line.iter().position(|byte| *byte == b'=');
        let (name, value) = line.split_at(end.unwrap_or(line.len()));
        let value = owned(value.get(1..).unwrap_or_default());
        match &*text(name) {
            "assume" => assume.push(value),
            "fits" => fits = Some(value.to_string_lossy().into_owned()),
            // It would be read from the disk.
            "config" => {}
            name => {
                let found = OPTIONS.iter().find(|option| option.name == name);
                if let Some(option) = found {
                    settings.add(option, value, Source::Flag);
                }
            }
        }
    }
    (settings, assume, fits)
}

/// A value that `explain` shows, typed as it stands, changes nothing.
pub(super) fn plan(bytes: &[u8]) {
    let (settings, ..) = options(bytes);
    planned(&settings);
    // A table shows no bytes that are no text.
    if str::from_utf8(bytes).is_ok() && settings.plan().is_ok() {
        each_row_changes_nothing(&settings);
    }
}

/// `explain` ends, and its JSON is JSON.
pub(super) fn explain(bytes: &[u8]) {
    let (settings, assume, fits) = options(bytes);
    let Ok(plan) = settings.plan() else {
        return;
    };
    let fits = match Fits::parse(fits.as_deref(), None) {
        Ok(fits) => fits,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    for json in [false, true] {
        let prepared = explain::script(&assume, &plan).and_then(|mut script| {
            explain::prepare(&mut script, &plan)?;
            Ok(script)
        });
        match prepared {
            Ok(script) => {
                let verdict = explain::explain(plan.clone(), script, fits, json);
                for line in verdict.text.lines().filter(|_| json) {
                    let _: serde_json::Value = serde_json::from_str(line).unwrap();
                }
            }
            Err(error) => assert!(error.to_string().starts_with("--assume")),
        }
    }
}

/// The words of a command line, each after a zero byte.
pub(super) fn command_line(bytes: &[u8]) {
    let line = [OsString::from("stepdown")].into_iter().chain(words(bytes));
    match cli::parse(line.collect()) {
        Ok(Invocation::Run { settings, command }) => {
            assert!(!command.is_empty());
            planned(&settings);
        }
        Ok(Invocation::Explain { settings, .. }) => planned(&settings),
        Ok(Invocation::Print(text)) => assert!(!text.is_empty()),
        Ok(_) => {}
        Err(message) => assert!(!message.is_empty()),
    }
}

/// Variables, each after a zero byte.
pub(super) fn environment(bytes: &[u8]) {
    let (ours, theirs): (Vec<_>, Vec<_>) = variables(bytes)
        .into_iter()
        .partition(|(key, _)| key.as_bytes().starts_with(b"STEPDOWN_"));
    let ours = ours.into_iter().filter(|(key, _)| key != "STEPDOWN_CONFIG");
    let mut settings = Settings::default();
    if let Err(error) = settings.add_environment(ours) {
        return assert!(error.to_string().contains("STEPDOWN_"), "{error}");
    }
    dropin::add_environment(&mut settings, theirs);
    planned(&settings);
}

/// The first byte is the tool; then words, an empty one, and variables.
pub(super) fn foreign(bytes: &[u8]) {
    let Some((tool, rest)) = bytes.split_first() else {
        return;
    };
    let names = ["tini", "dumb-init", "catatonit", "docker-init"];
    let name = OsString::from(names[usize::from(*tool) % names.len()]);
    let tool = Tool::named(Some(&name)).unwrap();
    let end = rest.windows(2).position(|two| two == [0, 0]);
    let (line, environment) = rest.split_at(end.unwrap_or(rest.len()));
    let line: Vec<OsString> = [name].into_iter().chain(words(line)).collect();
    let theirs = variables(environment);
    match dropin::parse(tool, line.clone(), std::iter::empty(), theirs) {
        Ok(Meaning::Run { settings, command }) => {
            assert!(!command.is_empty());
            assert!(command.iter().all(|word| line.contains(word)));
            // What the tool takes, stepdown takes.
            assert!(settings.plan().is_ok(), "{:?}", settings.plan());
        }
        Ok(Meaning::Print(text) | Meaning::PrintError(text)) => assert!(!text.is_empty()),
        Ok(Meaning::Pause) => {}
        Err(message) => assert!(!message.is_empty()),
    }
}
