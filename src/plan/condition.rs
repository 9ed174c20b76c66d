//! Conditions that several options take, and how they are written.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::plan::call::{self, Request};
use crate::words::fault::Fault;
use crate::words::{command_line, suggest};

/// What means the same wherever it is asked for, but for what becomes of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Condition {
    /// The request is answered with 2xx.
    Http(Request),
    /// The command exits with 0.
    Exec(Vec<OsString>),
    File(PathBuf),
}

/// The kind of a condition, and what stands behind it.
pub(crate) fn split(text: &str) -> (&str, &str) {
    match text.split_once(':') {
        // The scheme of a URL is kind enough.
        Some(("http", url)) if url.starts_with("//") => ("http", text),
        Some(split) => split,
        None => (text, ""),
    }
}

/// Parses a condition of one of the kinds that all have; `kinds` are those of the option, and `written` how
/// they are written.
///
/// # Errors
/// What is wrong, where, and the way out.
pub(crate) fn parse(text: &str, kinds: &[&str], written: &str) -> Result<Condition, Fault> {
    let (kind, value) = split(text);
    match kind {
        "http" => call::http(value).map(Condition::Http),
        "exec" if value.trim().is_empty() => Err(missing("command", "exec:COMMAND")),
        "exec" => command_line::words(value.as_bytes()).map(Condition::Exec),
        // The directory of the start is left before anybody looks.
        "file" => match std::path::absolute(value) {
            Ok(path) => Ok(Condition::File(path)),
            Err(_) => Err(missing("path", "file:/run/ready")),
        },
        "https" => {
            let fault = Fault::new("https is not supported here").at(text, 0, kind.len());
            Err(fault.way_out("use http://, or a client: exec:curl -fsS URL"))
        }
        _ => {
            let fault = Fault::new(format!("unknown condition {text:?}"));
            Err(match suggest::nearest(kind, kinds.iter().copied()) {
                Some(near) => fault.way_out(format!("did you mean {near}?")),
                None => fault.way_out(format!("write {written}")),
            })
        }
    }
}

pub(crate) fn missing(what: &str, example: &str) -> Fault {
    Fault::new(format!("the {what} is missing")).way_out(format!("write {example}"))
}
