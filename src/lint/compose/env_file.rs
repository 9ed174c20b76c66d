//! A file of variables (`env_file`, `.env`), read as compose reads it.

use crate::lint::interpolate::{Lookup, interpolate};

/// `NAME=VALUE` lines; no value where it is not known.
pub(super) fn assignments(text: &str) -> Vec<(String, Option<String>)> {
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'));
    let mut all: Vec<(String, Option<String>)> = Vec::new();
    for line in lines {
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((name, value)) = line.split_once('=') else {
            continue;
        };
        let lookup = |name: &str| {
            let before = all.iter().rfind(|(known, _)| known == name);
            let value = before.and_then(|(_, value)| value.clone());
            value.map_or(Lookup::Unknown, Lookup::Value)
        };
        let value = assigned(value.trim(), &lookup);
        all.push((name.trim().to_owned(), value));
    }
    all
}

/// The value as compose reads it: without its quotes and a comment behind it, and with variables put in except between
/// single quotes.
fn assigned(text: &str, lookup: &dyn Fn(&str) -> Lookup) -> Option<String> {
    if let Some((inner, _)) = text
        .strip_prefix('\'')
        .and_then(|rest| rest.split_once('\''))
    {
        return Some(inner.to_owned());
    }
    let quoted = text.strip_prefix('"').and_then(|rest| rest.split_once('"'));
    let value = match quoted {
        Some((inner, _)) => inner,
        None => {
            let is_blank = |at: usize| text[..at].ends_with([' ', '\t']);
            let mut signs = text.match_indices('#');
            let comment = signs.find(|(at, _)| is_blank(*at));
            text[..comment.map_or(text.len(), |(at, _)| at)].trim_end()
        }
    };
    let (value, is_known) = interpolate(value, lookup);
    (is_known && !value.contains('\\')).then_some(value)
}
