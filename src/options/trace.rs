//! `--trace`: which diagnostics are written, part by part.

use super::parse_choice;
use super::settings::Value;
use crate::plan::voice::{Detail, Diagnostics};
use crate::words::fault::Fault;
use crate::words::list::list;
use crate::words::suggest;

/// The parts of stepdown that have diagnostics: modules of this name. The machine and what is pure beside it have
/// none, because all of what they do is told as records.
pub(crate) const PARTS: [&str; 4] = ["drain", "kernel", "sys", "tell"];

/// What `-vv` (debug) or `-vvv` (trace) asks for; `None` where nothing is to be written.
pub(super) fn of_verbosity<'a>(values: impl Iterator<Item = &'a Value>) -> Option<Diagnostics> {
    // Each flag is one; a variable may be a number.
    let times = values.map(|value| value.text.to_str().and_then(|text| text.parse().ok()));
    let level = match times.map(|times| times.unwrap_or(1_u32)).sum() {
        0 | 1 => return None,
        2 => Detail::Debug,
        _ => Detail::Trace,
    };
    Some(Diagnostics(vec![(None, level)]))
}

/// Reads `LEVEL` or `PART=LEVEL`, divided by commas, as RUST_LOG has them.
pub(super) fn parse(text: &str) -> Result<Diagnostics, Fault> {
    let mut directives = Vec::new();
    for (start, word) in list(text) {
        let point = |fault: Fault, from: usize, part: &str| {
            let from = start + from;
            fault.at(text, from, from + part.len())
        };
        let directive = match word.split_once('=') {
            None => {
                let level = Detail::ALL
                    .iter()
                    .find(|(name, _)| word.eq_ignore_ascii_case(name));
                match level {
                    Some((_, level)) => (None, *level),
                    // As RUST_LOG has it.
                    None => (
                        Some(part(word).map_err(|fault| point(fault, 0, word))?),
                        Detail::Trace,
                    ),
                }
            }
            Some((name, level)) => {
                let part = part(name).map_err(|fault| point(fault, 0, name))?;
                let at = name.len() + 1;
                let level =
                    parse_choice(level, &Detail::ALL).map_err(|fault| point(fault, at, level))?;
                (Some(part), level)
            }
        };
        directives.push(directive);
    }
    if directives.is_empty() {
        return Err(Fault::new("no level").way_out("write debug, or drain=debug,kernel=trace"));
    }
    Ok(Diagnostics(directives))
}

/// A part, or what is below it, as `drain::look`.
fn part(name: &str) -> Result<String, Fault> {
    let first = name.split("::").next().unwrap_or_default();
    if PARTS.contains(&first) {
        return Ok(name.to_owned());
    }
    let fault = Fault::new(format!(
        "{name:?} is neither a level nor a part of stepdown with diagnostics"
    ));
    let known = Detail::ALL.iter().map(|(name, _)| *name).chain(PARTS);
    Err(match suggest::nearest(first, known) {
        Some(near) => fault.way_out(format!("did you mean {near}?")),
        None => fault.way_out(format!("use {}, or a level for all", PARTS.join(", "))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Source;

    #[test]
    fn a_level_is_for_all_or_for_a_part() {
        let named = |name: &str| Some(name.to_owned());
        for (text, expected) in [
            ("debug", vec![(None, Detail::Debug)]),
            (
                "drain=debug, kernel::jobs=TRACE,off",
                vec![
                    (named("drain"), Detail::Debug),
                    (named("kernel::jobs"), Detail::Trace),
                    (None, Detail::Off),
                ],
            ),
            ("sys", vec![(named("sys"), Detail::Trace)]),
        ] {
            assert_eq!(parse(text), Ok(Diagnostics(expected)), "{text}");
        }
    }

    #[test]
    fn what_there_is_not_is_refused_with_its_place() {
        for (text, message) in [
            (
                "drain=debug,kernl=trace",
                "\"kernl\" is neither a level nor a part of stepdown with diagnostics at column 13: did you \
                 mean kernel?\n  drain=debug,kernl=trace\n              ^^^^^",
            ),
            (
                "drain=debgu",
                "unknown value \"debgu\" at column 7: did you mean debug?\n  drain=debgu\n        ^^^^^",
            ),
            (
                "machine=debug",
                "\"machine\" is neither a level nor a part of stepdown with diagnostics at column 1: use drain, \
                 kernel, sys, tell, or a level for all\n  machine=debug\n  ^^^^^^^",
            ),
            (",", "no level: write debug, or drain=debug,kernel=trace"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn what_is_asked_for_twice_is_traced() {
        let level = |values: &[&str]| {
            let values = values.iter().map(|text| Value::new(*text, Source::Flag));
            let values: Vec<Value> = values.collect();
            let asked = of_verbosity(values.iter());
            asked
                .map(|Diagnostics(all)| all.into_iter().map(|(_, level)| level).collect::<Vec<_>>())
        };
        for none in [&[][..], &["on"], &["0"], &["off"]] {
            assert_eq!(level(none), None, "{none:?}");
        }
        assert_eq!(level(&["on", "on"]), Some(vec![Detail::Debug]));
        assert_eq!(level(&["3"]), Some(vec![Detail::Trace]));
    }
}
