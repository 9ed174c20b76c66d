//! `--drain-until`: from text to a condition, and from what was answered to whether it holds.
//!
//! The program itself knows best what it has in hand. An error, and a series that is not there, is
//! "not known" and never "drained": waiting too long ends by the timeout, cutting is a lost request.

use std::ffi::OsString;
use std::time::Duration;

use crate::call;
use crate::plan::{Until, UntilWhen};
use crate::record::ExitStatus;
use crate::words::fault::Fault;
use crate::words::suggest;

/// A look that takes longer has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// What the program says for `notify`: a number, 0 is drained.
pub(crate) const IN_FLIGHT: &str = "X_STEPDOWN_IN_FLIGHT";

/// A page of metrics that is larger is none.
const LARGEST_PAGE: usize = 32 << 20;

/// What came of asking.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    Holds,
    NotYet {
        /// Where the program counts.
        in_flight: Option<u32>,
        why: String,
    },
    /// Nothing may be concluded, and why.
    NotKnown(String),
}

impl Answer {
    /// What a number in flight means.
    pub(crate) fn of_number(number: u32) -> Self {
        match number {
            0 => Self::Holds,
            number => Self::NotYet {
                in_flight: Some(number),
                why: format!("{number} in flight"),
            },
        }
    }

    /// What the end of a process that has asked means, and what it has left on its slate.
    pub(crate) fn of_ending(when: &UntilWhen, status: ExitStatus, said: Option<String>) -> Self {
        let said_or = |other: String| said.clone().unwrap_or(other);
        match (when, status) {
            (_, ExitStatus::Exited(0)) => Self::Holds,
            // A command that is not there, or dies, has not said no (as a shell reports it).
            (UntilWhen::Exec(_), ExitStatus::Exited(code)) if code != 126 && code != 127 => {
                Self::NotYet {
                    in_flight: None,
                    why: format!("it {status}"),
                }
            }
            (UntilWhen::Http(_), ExitStatus::Exited(NOT_YET)) => Self::NotYet {
                in_flight: None,
                why: said_or(format!("it {status}")),
            },
            (UntilWhen::Metric(..), ExitStatus::Exited(NOT_YET)) => {
                let why = said_or(format!("it {status}"));
                let number = why.parse::<f64>().ok().map(|value| value.ceil() as u32);
                Self::NotYet {
                    in_flight: number,
                    why: format!("it is {why}"),
                }
            }
            _ => Self::NotKnown(said_or(format!("it {status}"))),
        }
    }
}

/// Exit codes of a process that asks by HTTP.
const NOT_YET: u8 = 1;
const NOT_KNOWN: u8 = 2;

/// Asks by HTTP, in a process of its own; the exit code, and what is to be left on the slate.
pub(crate) fn ask(when: &UntilWhen) -> (u8, String) {
    let told = match when {
        UntilWhen::Http(request) => call::answer(request, PATIENCE, 0).map(|answer| {
            let is_success = answer.status.is_success();
            (is_success, format!("the answer is {}", answer.status))
        }),
        UntilWhen::Metric(request, selector) => call::answer(request, PATIENCE, LARGEST_PAGE)
            .and_then(|answer| match answer.status {
                status if status.is_success() => {
                    selector.sum(&String::from_utf8_lossy(&answer.body))
                }
                status => Err(format!("the answer is {status}")),
            })
            .map(|sum| (sum == 0.0, sum.to_string())),
        UntilWhen::Exec(_) | UntilWhen::Notify => Err("it is not asked by HTTP".to_owned()),
    };
    match told {
        Ok((true, why)) => (0, why),
        Ok((false, why)) => (NOT_YET, why),
        Err(why) => (NOT_KNOWN, why),
    }
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
        // The scheme of a URL is kind enough.
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
    match shlex::split(value) {
        None => Err(Fault::new("a quote is never closed").way_out("close it, or escape it")),
        Some(words) if words.is_empty() => {
            Err(Fault::new("the command is missing").way_out("write exec:COMMAND"))
        }
        Some(words) => Ok(words.into_iter().map(OsString::from).collect()),
    }
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

/// Which series of a page of metrics are added up: those of a name that have at least these labels.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Selector {
    name: String,
    labels: Vec<(String, String)>,
}

impl Selector {
    fn parse(text: &str) -> Result<Self, &'static str> {
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
    /// There is none, or its value cannot be a number in flight. Where the family is declared and has no
    /// series at all, nobody has ever counted anything, and the sum is 0; with labels one was expected.
    fn sum(&self, page: &str) -> Result<f64, String> {
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
        // Declared, and nobody has counted yet.
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

    #[test]
    fn an_end_is_an_answer() {
        let exec = parse("exec:a").unwrap().when;
        let of = |when: &UntilWhen, status, said: &str| {
            Answer::of_ending(
                when,
                status,
                Some(said.to_owned()).filter(|s| !s.is_empty()),
            )
        };
        let exited = ExitStatus::Exited;
        assert_eq!(of(&exec, exited(0), ""), Answer::Holds);
        assert!(matches!(of(&exec, exited(1), ""), Answer::NotYet { .. }));
        assert!(matches!(of(&exec, exited(127), ""), Answer::NotKnown(_)));
        let killed = ExitStatus::Killed {
            signal: crate::words::signal::Signal::TERM,
            core: false,
        };
        assert!(matches!(of(&exec, killed, ""), Answer::NotKnown(_)));
        let metric = parse("metric:http://a/#b").unwrap().when;
        let not_yet = Answer::NotYet {
            in_flight: Some(3),
            why: "it is 2.5".to_owned(),
        };
        assert_eq!(of(&metric, exited(NOT_YET), "2.5"), not_yet);
        let refused = Answer::NotKnown("refused".to_owned());
        assert_eq!(of(&metric, exited(NOT_KNOWN), "refused"), refused);
    }
}
