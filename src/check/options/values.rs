//! The values of `check`'s options: parsed, or a fault that shows the way out.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Output;
use crate::check::judge::Expected;
use crate::options::check::{HTML, JSON, JUNIT};
use crate::options::{Opt, Settings, parse_signal};
use crate::sys::error_text;
use crate::words::command_line;
use crate::words::duration;
use crate::words::fault::{Error, Fault};
use crate::words::list::list;

static OUTPUTS: [&Opt; 3] = [&JSON, &JUNIT, &HTML];

const MOST_OFFSETS: u128 = 10_000;

/// Where the reports go: `--json`, `--junit`, `--html`. A report that cannot be written is an error before
/// anything is started, as far as that can be known.
pub(super) fn outputs(settings: &Settings) -> Result<[Option<Output>; 3], Error> {
    // A file has more than one name.
    let place = |output: &Option<Output>| -> Option<PathBuf> {
        let path = output.as_ref()?.as_ref()?;
        Some(std::path::absolute(path).unwrap_or_else(|_| path.clone()))
    };
    let mut outputs: [Option<Output>; 3] = [None, None, None];
    for (at, option) in OUTPUTS.into_iter().enumerate() {
        let found = settings.one(option, parse_output)?;
        if let Some(taken) = outputs
            .iter()
            .position(|other| other.is_some() && found.is_some() && place(other) == place(&found))
        {
            let to = match &found {
                Some(Some(path)) => path.display().to_string(),
                _ => "standard output".to_owned(),
            };
            let taken = OUTPUTS.get(taken).unwrap_or(&option).name;
            let fault = Fault::new(format!("--{taken} goes to {to} already"));
            return Err(settings.error(option, fault.way_out("name another file")));
        }
        if let Some(output) = outputs.get_mut(at) {
            *output = found;
        }
    }
    Ok(outputs)
}

fn parse_output(text: &str) -> Result<Output, Fault> {
    if text == "-" {
        return Ok(None);
    }
    let path = PathBuf::from(text);
    let fault = |path: &Path, why: i32| {
        let fault = Fault::new(format!("{}: {}", path.display(), error_text(why)));
        fault.way_out("name a file in a directory that is there, or - for standard output")
    };
    if text.is_empty() {
        let fault = Fault::new("the file has no name");
        return Err(fault.way_out("write a path, or - for standard output"));
    }
    if text.ends_with('/') || path.is_dir() {
        return Err(fault(&path, libc::EISDIR));
    }
    match path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        Some(parent) if !parent.exists() => Err(fault(parent, libc::ENOENT)),
        Some(parent) if !parent.is_dir() => Err(fault(parent, libc::ENOTDIR)),
        _ => Ok(Some(path)),
    }
}

pub(super) fn number(text: &str, least: u32, most: u32) -> Result<u32, Fault> {
    let number = text.trim().parse().ok();
    number
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| {
            let fault = Fault::new(format!("{text:?} is no number that fits"));
            fault.way_out(format!("write one from {least} to {most}"))
        })
}

pub(super) fn parse_command(text: &str) -> Result<(Vec<OsString>, String), Fault> {
    Ok((command_line::words(text.as_bytes())?, text.to_owned()))
}

pub(super) fn parse_ports(text: &str) -> Result<Vec<u16>, Fault> {
    let port = |(start, word): (usize, &str)| {
        let port = word.parse().ok().filter(|port| *port > 0);
        port.ok_or_else(|| {
            Fault::new(format!("{word:?} is no port"))
                .at(text, start, start + word.len())
                .way_out("ports go from 1 to 65535")
        })
    };
    list(text).map(port).collect()
}

pub(super) fn parse_expected(text: &str) -> Result<Expected, Fault> {
    let mut expected = Expected {
        codes: Vec::new(),
        text: text.trim().to_owned(),
    };
    for (start, word) in list(text) {
        let place = |fault: Fault| fault.at(text, start, start + word.len());
        let code = if word.bytes().all(|byte| byte.is_ascii_digit()) {
            word.parse().map_err(|_| {
                place(Fault::new(format!("{word} is no exit code")))
                    .way_out("codes go from 0 to 255")
            })?
        } else {
            let signal = parse_signal(word).map_err(place)?;
            u8::try_from(128 + signal.number()).unwrap_or(u8::MAX)
        };
        expected.codes.push(code);
    }
    if expected.codes.is_empty() {
        return Err(Fault::new("there is no code").way_out("write codes or signals, as 0,143"));
    }
    Ok(expected)
}

pub(super) fn parse_offsets(text: &str) -> Result<Vec<Duration>, Fault> {
    const EXAMPLE: &str = "write FROM..TO/STEP, as 0ms..2s/50ms";
    let part = |word: &str| {
        let start = text.find(word).unwrap_or(0);
        duration::parse(word.trim()).map_err(|bad| {
            let fault = Fault::new(bad.to_string()).at(text, start, start + word.len());
            fault.way_out(EXAMPLE)
        })
    };
    let halves = text.split_once('/');
    let Some(((from, to), step)) =
        halves.and_then(|(range, step)| Some((range.split_once("..")?, step)))
    else {
        return Err(Fault::new(format!("{text:?} is no range")).way_out(EXAMPLE));
    };
    let (from, to, step) = (part(from)?, part(to)?, part(step)?);
    if step.is_zero() || to < from {
        return Err(Fault::new("the range has no end or no step").way_out(EXAMPLE));
    }
    let count = (to - from).as_nanos() / step.as_nanos() + 1;
    if count > MOST_OFFSETS {
        let fault = Fault::new(format!("these are {count} offsets"));
        return Err(fault.way_out(format!("take a longer step: at most {MOST_OFFSETS} fit")));
    }
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    Ok((0..count).map(|index| from + step * index).collect())
}
