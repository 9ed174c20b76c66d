//! `--help`, "What it tells": the log, and the files that outlive the run.

use std::os::unix::ffi::OsStrExt;

use super::definition::{Kind, Opt, Preset, word, words};
use super::parse::{no_name, parse_choice};
use super::settings::{Given, NamedFile, Settings};
use super::trace;
use crate::plan::Plan;
use crate::plan::voice::{Format, Level};
use crate::sys::error_text;
use crate::words::fault::{Error, Fault};
use crate::words::list::list;

const SECTION: Opt = Opt {
    section: "What it tells",
    ..Opt::BASE
};

pub(super) const DEFAULT_LEVEL: (&str, Level) = Level::ALL[2];
pub(super) const DEFAULT_FORMAT: (&str, Format) = Format::ALL[0];

pub(crate) static LOG_LEVEL: Opt = Opt {
    name: "log-level",
    elsewhere: &["log", "debug", "silent"],
    kind: Kind::One("LEVEL[,reaped]"),
    help: "error, warn, info or debug; with reaped, as in warn,reaped, also each orphan",
    default: Some(Preset::Word(DEFAULT_LEVEL.0)),
    words: &words(&Level::ALL),
    is_list: true,
    put: put_level,
    shown: |plan| {
        let level = word(&Level::ALL, &plan.voice.level)?;
        let reaped = if plan.voice.reaped { ",reaped" } else { "" };
        Some(level + reaped)
    },
    ..SECTION
};

pub(crate) static QUIET: Opt = Opt {
    name: "quiet",
    letter: Some('q'),
    short_for: Some((&LOG_LEVEL, "error")),
    kind: Kind::Switch,
    help: "The same as --log-level error",
    put: put_level,
    ..SECTION
};

pub(crate) static VERBOSE: Opt = Opt {
    name: "verbose",
    letter: Some('v'),
    short_for: Some((&LOG_LEVEL, "debug")),
    kind: Kind::Count,
    help: "The same as --log-level debug; -vv and -vvv add diagnostics",
    put: |given, plan| {
        put_level(given, plan)?;
        if !given.settings.has(&TRACE) {
            plan.diagnostics = trace::of_verbosity(given.settings.values(&VERBOSE));
        }
        Ok(())
    },
    ..SECTION
};

pub(crate) static LOG_REAPED: Opt = Opt {
    name: "log-reaped",
    letter: Some('w'),
    short_for: Some((&LOG_LEVEL, "info,reaped")),
    kind: Kind::Switch,
    help: "Add reaped to the --log-level, as tini has it",
    not_in_check: Some("use -v"),
    put: put_level,
    ..SECTION
};

pub(crate) static LOG_FORMAT: Opt = Opt {
    name: "log-format",
    elsewhere: &["log"],
    kind: Kind::One("FORMAT"),
    help: "text or json",
    default: Some(Preset::Word(DEFAULT_FORMAT.0)),
    words: &words(&Format::ALL),
    not_in_check: Some("write --json FILE"),
    put: |given, plan| {
        plan.voice.format = given.choice(&Format::ALL)?;
        Ok(())
    },
    shown: |plan| word(&Format::ALL, &plan.voice.format),
    ..SECTION
};

pub(crate) static TRACE: Opt = Opt {
    name: "trace",
    kind: Kind::One("FILTER"),
    help: "Add diagnostics: a level (error to trace) for all, or PART=LEVEL[,...] with the parts \
           drain, kernel, sys, tell",
    not_in_check: Some("run the command with it, without check"),
    put: |given, plan| {
        plan.diagnostics = given.one(trace::parse).map(Some)?;
        Ok(())
    },
    ..SECTION
};

pub(crate) static REPORT: Opt = Opt {
    name: "report",
    kind: Kind::One("FILE"),
    help: "Write one JSON document about the run at the end",
    not_in_check: Some("write all runs with --json FILE"),
    put: put_file,
    ..SECTION
};

pub(crate) static TERMINATION_LOG: Opt = Opt {
    name: "termination-log",
    elsewhere: &["termination-message-path"],
    kind: Kind::One("FILE"),
    help: "Write there in words how the run ended, for /dev/termination-log",
    not_in_check: Some("write all runs with --json FILE"),
    put: put_file,
    ..SECTION
};

pub(crate) static STATE_FILE: Opt = Opt {
    name: "state-file",
    kind: Kind::One("FILE"),
    help: "Keep there how the last runs went; the child and hooks get it as STEPDOWN_LAST_*",
    not_in_check: Some(NOT_COUNTED),
    put: put_file,
    ..SECTION
};

pub(crate) static METRICS_FILE: Opt = Opt {
    name: "metrics-file",
    kind: Kind::One("FILE"),
    help: "Keep metrics there, in a *.prom of the textfile collector of node_exporter",
    not_in_check: Some(NOT_COUNTED),
    put: |given, plan| {
        put_file(given, plan)?;
        if given.last.text.as_bytes().ends_with(b".prom") {
            return Ok(());
        }
        let shown = given.last.text.to_string_lossy();
        let fault = Fault::new(format!("{shown}: node_exporter reads *.prom only"));
        Err(given.error(fault.way_out("name a file so, as DIRECTORY/stepdown.prom")))
    },
    ..SECTION
};

const NOT_COUNTED: &str =
    "leave it out: runs that are tried are not counted; --json FILE writes all of them";

/// The options that name a file to be written, and what such a file may be called.
static FILES: [(&Opt, &str); 4] = [
    (&REPORT, "run.json"),
    (&TERMINATION_LOG, "termination-log"),
    (&STATE_FILE, "state.json"),
    (&METRICS_FILE, "stepdown.prom"),
];

/// The strongest place wins, whichever of the three stands there; in the same place a letter wins.
fn put_level(given: &Given<'_>, plan: &mut Plan) -> Result<(), Error> {
    let settings = given.settings;
    let written = settings.one(&LOG_LEVEL, parse_level)?;
    let (level, with_reaped) = written.unwrap_or((DEFAULT_LEVEL.1, false));
    let (quiet, verbose) = (settings.switch(&QUIET)?, settings.switch(&VERBOSE)?);
    let rank = |option| settings.last(option).map(|value| value.source.rank());
    let strongest = [&LOG_LEVEL, &QUIET, &VERBOSE]
        .into_iter()
        .filter_map(rank)
        .min();
    let (level, with_reaped) = match () {
        () if verbose && rank(&VERBOSE) == strongest => (Level::Debug, false),
        () if quiet && rank(&QUIET) == strongest => (Level::Error, false),
        () => (level, with_reaped),
    };
    plan.voice.level = level;
    plan.voice.reaped = with_reaped || settings.switch(&LOG_REAPED)?;
    Ok(())
}

/// `LEVEL[,reaped]`; without a level it is the default.
fn parse_level(text: &str) -> Result<(Level, bool), Fault> {
    let words = Level::ALL.map(|(word, level)| (word, Some(level)));
    let words: Vec<_> = words.into_iter().chain([("reaped", None)]).collect();
    let (mut level, mut reaped) = (None, false);
    for (start, word) in list(text) {
        let place = |fault: Fault| fault.at(text, start, start + word.len());
        match parse_choice(word, &words).map_err(place)? {
            None => reaped = true,
            Some(one) if level.is_none() => level = Some(one),
            Some(_) => {
                let fault = place(Fault::new("there is a level already"));
                return Err(fault.way_out("write one, as warn,reaped"));
            }
        }
    }
    if level.is_none() && !reaped {
        return Err(Fault::new("there is no level").way_out("write error, warn, info or debug"));
    }
    Ok((level.unwrap_or(DEFAULT_LEVEL.1), reaped))
}

/// The name is looked at here, the file by whoever writes it.
fn put_file(given: &Given<'_>, plan: &mut Plan) -> Result<(), Error> {
    if given.last.text.is_empty() {
        return Err(given.error(no_name()));
    }
    plan.keeps_files = true;
    Ok(())
}

/// Whether the files can be written, as far as that can be known before anything starts.
///
/// # Errors
/// A directory is named, or one file twice.
pub(super) fn check(settings: &Settings) -> Result<(), Error> {
    let mut named: Vec<(&Opt, NamedFile)> = Vec::new();
    for (option, example) in FILES {
        let Some(file) = settings.file(option) else {
            continue;
        };
        // One would replace the other. On a stream (/dev/stdout) they stand one after the other.
        let is_stream = ["/dev", "/proc"].iter().any(|at| file.path.starts_with(at));
        let taken = named.iter().find(|(_, other)| other.path == file.path);
        if let Some((other, _)) = taken.filter(|_| !is_stream) {
            let shown = file.path.display();
            let fault = Fault::new(format!("--{} goes to {shown} already", other.name));
            return Err(settings.error(option, fault.way_out("name another file")));
        }
        // One that is missing may be made by then; a directory will not become a file.
        let bytes = file.path.as_os_str().as_bytes();
        if bytes.ends_with(b"/") || file.path.is_dir() {
            let shown = file.path.display();
            let fault = Fault::new(format!("{shown}: {}", error_text(libc::EISDIR)));
            let inside = file.path.join(example);
            let way_out = format!("name a file in it, as {}", inside.display());
            return Err(settings.error(option, fault.way_out(way_out)));
        }
        named.push((option, file));
    }
    Ok(())
}
