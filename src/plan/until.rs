//! `--drain-until`: conditions that the program itself answers, and how they are written.

use std::ffi::OsString;

use crate::plan::call::{self, Request};
use crate::plan::condition::missing;
use crate::words::command_line;
use crate::words::fault::Fault;
use crate::words::suggest;

/// The field of the message for `notify`: a number, of which 0 means drained.
pub(crate) const IN_FLIGHT: &str = "X_STEPDOWN_IN_FLIGHT";

/// One `--drain-until`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Until {
    pub(crate) when: UntilWhen,
    /// The condition as the user would write it.
    pub(crate) text: String,
}

/// What tells that the program has nothing in flight any more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum UntilWhen {
    /// The request is answered with 2xx.
    Http(Request),
    /// The series in the answer add up to 0.
    Metric(Request, Selector),
    /// The command exits with 0.
    Exec(Vec<OsString>),
    /// The program says so (sd_notify(3)).
    Notify,
}

// From text.

const METRIC_EXAMPLE: &str = "write metric:http://HOST[:PORT]/PATH#NAME, as \
                              metric:http://127.0.0.1:9100/metrics#jobs_running{queue=\"mail\"}";

/// Parses a condition.
///
/// # Errors
/// What is wrong, where, and the way out.
pub(crate) fn parse(text: &str) -> Result<Until, Fault> {
    let text = text.trim();
    let (kind, value) = match text.split_once(':') {
        // A URL needs no kind in front of it: its scheme tells.
        Some(("http" | "https", url)) if url.starts_with("//") => ("http", text),
        Some(split) => split,
        None => (text, ""),
    };
    let when = match kind {
        "notify" if text == kind => UntilWhen::Notify,
        "http" => UntilWhen::Http(call::http(value)?),
        "metric" => metric(text, value)?,
        "exec" => UntilWhen::Exec(command(value)?),
        _ => {
            let fault = Fault::new(format!("unknown condition {text:?}"));
            let kinds = ["http", "metric", "exec", "notify"];
            return Err(match suggest::nearest(kind, kinds) {
                Some(near) => fault.way_out(format!("did you mean {near}?")),
                None => fault.way_out("write http:URL, metric:URL#NAME, exec:COMMAND or notify"),
            });
        }
    };
    Ok(Until {
        when,
        text: text.into(),
    })
}

fn command(value: &str) -> Result<Vec<OsString>, Fault> {
    if value.trim().is_empty() {
        return Err(missing("command", "exec:COMMAND"));
    }
    command_line::words(value.as_bytes())
}

fn metric(text: &str, value: &str) -> Result<UntilWhen, Fault> {
    let Some((url, selector)) = value.split_once('#') else {
        let fault = Fault::new("the name of the metric is missing");
        return Err(fault.way_out(METRIC_EXAMPLE));
    };
    let request = call::http(url)?;
    let at = text.len() - selector.len();
    let selector = Selector::parse(selector).map_err(|message| {
        let fault = Fault::new(message).at(text, at, text.len());
        fault.way_out(METRIC_EXAMPLE)
    })?;
    Ok(UntilWhen::Metric(request, selector))
}

/// Which series of a metrics page are added up: those with this name and at least these labels.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Selector {
    name: String,
    labels: Vec<(String, String)>,
}

impl Selector {
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let (name, rest) = name(text).ok_or("this is no name of a metric")?;
        let (labels, rest) = labels(rest).ok_or("these are no labels")?;
        if !rest.trim().is_empty() {
            return Err("something follows the metric");
        }
        Ok(Self {
            name: name.to_owned(),
            labels,
        })
    }

    /// The sum of all series that match.
    ///
    /// # Errors
    /// There is none, or its value cannot be a number in flight. Where the metric is declared and has no
    /// series at all, nothing has been counted yet, and the sum is 0; with labels a series was expected.
    pub(crate) fn sum(&self, page: &str) -> Result<f64, String> {
        let (mut sum, mut found, mut declared, mut others) = (0.0, false, false, false);
        for line in page.lines() {
            if let Some(comment) = line.strip_prefix('#') {
                let mut words = comment.split_whitespace();
                declared |= words.next() == Some("TYPE") && words.next() == Some(&self.name);
                continue;
            }
            let Some((name, rest)) = name(line).filter(|(name, _)| *name == self.name) else {
                continue;
            };
            let Some((labels, rest)) = labels(rest) else {
                return Err(format!("{name} cannot be read: {line}"));
            };
            let value = rest.split_whitespace().next().unwrap_or_default();
            if !self.labels.iter().all(|label| labels.contains(label)) {
                others = true;
                continue;
            }
            match value.parse::<f64>() {
                Ok(value) if value.is_finite() && value >= 0.0 => sum += value,
                _ => return Err(format!("{name} is {value}, which is no number in flight")),
            }
            found = true;
        }
        let name = &self.name;
        match (found, others) {
            (true, _) => Ok(sum),
            (false, true) => Err(format!("no series of {name} has these labels")),
            (false, false) if declared && self.labels.is_empty() => Ok(0.0),
            (false, false) => Err(format!("there is no series {name}")),
        }
    }
}

/// The name of a metric or label, and what follows it.
fn name(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let known = |character: char| character.is_ascii_alphanumeric() || "_:".contains(character);
    let end = text.find(|character| !known(character));
    let (name, rest) = text.split_at(end.unwrap_or(text.len()));
    let first = name.chars().next()?;
    (!first.is_ascii_digit()).then_some((name, rest))
}

type Labels = Vec<(String, String)>;

/// `{name="value",…}`, if it is there, and what follows it.
fn labels(text: &str) -> Option<(Labels, &str)> {
    let mut labels = Vec::new();
    let Some(mut rest) = text.trim_start().strip_prefix('{') else {
        return Some((labels, text));
    };
    loop {
        rest = rest.trim_start();
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (label, after) = name(rest)?;
        let after = after.trim_start().strip_prefix('=')?;
        let (value, after) = quoted(after.trim_start().strip_prefix('"')?)?;
        labels.push((label.to_owned(), value));
        let after = after.trim_start();
        rest = match after.strip_prefix(',') {
            Some(more) => more,
            None if after.starts_with('}') => after,
            None => return None,
        };
    }
}

/// A label's value up to its closing quote, and what follows that.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_known() {
        let when = |text: &str| parse(text).unwrap().when;
        assert_eq!(when(" notify "), UntilWhen::Notify);
        let words = vec!["a".into(), "b c".into()];
        assert_eq!(when("exec:a 'b c'"), UntilWhen::Exec(words));
        assert_eq!(when("http:http://a/b"), when("http://a/b"));
        let selector = |text: &str| match when(text) {
            UntilWhen::Metric(_, selector) => selector,
            other => panic!("{other:?}"),
        };
        let plain = selector("metric:http://a/metrics#jobs");
        assert_eq!((plain.name.as_str(), plain.labels.len()), ("jobs", 0));
        let labelled = selector(r#"metric:http://a/metrics#jobs{a="}", b="\"\\"}"#);
        let expected = [("a", "}"), ("b", "\"\\")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(labelled.labels, expected);
    }

    #[test]
    fn a_mistake_shows_the_way_out() {
        for (text, way_out) in [
            ("https://a/", "use http://"),
            ("http:b", "write [METHOD ]http://"),
            ("metric:http://a/metrics", "#NAME"),
            ("metric:http://a/#1", "column 18: write metric:"),
            ("metric:http://a/#a{b}", "these are no labels"),
            ("metric:http://a/#a{b=\"c\"} > 1", "something follows"),
            ("exec:", "write exec:COMMAND"),
            ("exec:'", "close it"),
            ("notfy", "did you mean notify?"),
            ("metrics:http://a/#a", "did you mean metric?"),
            ("tcp:80", "write http:URL"),
        ] {
            let fault = parse(text).unwrap_err().to_string();
            assert!(fault.contains(way_out), "{text}: {fault}");
        }
    }

    fn sum(selector: &str, page: &str) -> Result<f64, String> {
        Selector::parse(selector).unwrap().sum(page)
    }

    const PAGE: &str = "\
# HELP jobs Jobs {that=\"run\"}.
# TYPE jobs gauge
jobs{queue=\"mail\",host=\"a\"} 2
jobs{queue=\"mail\",host=\"b\"} 1.5 1395066363000
jobs { queue = \"x}\\\"\", } 0
jobs_total 7
# TYPE idle gauge
idle 0.0
# TYPE never gauge
odd NaN
below -1
broken{queue=\"mail 3
";

    #[test]
    fn series_that_match_are_added_up() {
        assert_eq!(sum("jobs", PAGE), Ok(3.5));
        assert_eq!(sum("jobs{queue=\"mail\"}", PAGE), Ok(3.5));
        assert_eq!(sum("jobs{host=\"b\",queue=\"mail\"}", PAGE), Ok(1.5));
        assert_eq!(sum("jobs{queue=\"x}\\\"\"}", PAGE), Ok(0.0));
        assert_eq!(sum("jobs_total", PAGE), Ok(7.0));
        assert_eq!(sum("idle", PAGE), Ok(0.0));
    }

    #[test]
    fn what_is_not_known_is_never_drained() {
        // Declared, and nothing has been counted yet.
        assert_eq!(sum("never", PAGE), Ok(0.0));
        for (selector, why) in [
            ("never{a=\"b\"}", "no series never"),
            ("job", "no series job"),
            ("jobs{queue=\"male\"}", "no series of jobs has these labels"),
            ("odd", "odd is NaN"),
            ("below", "below is -1"),
            ("broken", "cannot be read"),
        ] {
            let error = sum(selector, PAGE).unwrap_err();
            assert!(error.contains(why), "{selector}: {error}");
        }
        assert!(sum("jobs", "").is_err());
        assert!(sum("jobs", "<html>404</html>").is_err());
    }
}
