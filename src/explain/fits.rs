//! Whether the stop of a plan fits into a grace period: that of a platform, or any other.

use std::fmt::Write as _;
use std::rc::Rc;
use std::time::Duration;

use serde::Serialize;

use super::platform::{self, Platform};
use super::worst_case::{needed_seconds, worst};
use crate::plan::Plan;
use crate::record::{millis, optional_millis};
use crate::words::duration::{self, Shown};
use crate::words::fault::{Error, Fault};

/// The grace that is asked about.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Fits {
    pub(crate) platform: Option<&'static Platform>,
    /// Instead of the platform's own.
    grace: Option<Duration>,
}

impl Fits {
    /// Reads the values of `--platform` and `--fits`.
    ///
    /// # Errors
    /// There is no such platform, or it is no duration.
    pub(crate) fn parse(platform: Option<&str>, grace: Option<&str>) -> Result<Self, Error> {
        let grace = grace.map(duration::parse).transpose().map_err(|bad| {
            let fault = Fault::new(bad.to_string()).way_out(bad.way_out());
            Error::new("--fits", fault)
        })?;
        let platform = platform.map(platform::named).transpose()?;
        Ok(Self { platform, grace })
    }

    fn grace(self) -> Option<Duration> {
        self.grace.or(self.platform.map(|platform| platform.grace))
    }
}

/// The answer.
pub(crate) struct Verdict {
    /// As text, or the last line of the JSON.
    pub(crate) text: String,
    /// False where the worst case is longer than the grace that was asked about.
    pub(crate) fits: bool,
}

/// The last of the JSON lines.
#[derive(Serialize)]
struct Line {
    event: &'static str,
    /// `null` where the stop may last without end, or until the platform sends KILL.
    #[serde(rename = "worst_case_ms", serialize_with = "optional_millis")]
    worst_case: Option<Duration>,
    /// What goes wrong in that case.
    #[serde(skip_serializing_if = "Option::is_none")]
    when: Option<&'static str>,
    /// The least grace, in seconds, that is safe.
    needed_s: Option<u64>,
    #[serde(rename = "grace_ms", serialize_with = "optional_millis")]
    #[serde(skip_serializing_if = "Option::is_none")]
    grace: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<Row>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fits: Option<bool>,
}

#[derive(Serialize)]
struct Row {
    name: &'static str,
    signal: String,
    #[serde(rename = "grace_ms", serialize_with = "millis")]
    grace: Duration,
    setting: Option<&'static str>,
    source: &'static str,
    date: &'static str,
}

/// Compares the worst case of the plan with the grace.
pub(crate) fn judge(plan: &Rc<Plan>, asked: Fits, json: bool) -> Verdict {
    let worst = worst(plan);
    let took = worst.as_ref().map(|worst| worst.took);
    let grace = asked.grace();
    let begins = |platform: &Platform| plan.begins_stop(platform.signal);
    let begins = asked.platform.is_none_or(begins);
    let fits = grace.map(|grace| begins && took.is_some_and(|took| took <= grace));
    let needed = took.map(|took| needed_seconds(plan, took));
    let text = if json {
        let line = Line {
            event: "worst-case",
            worst_case: took,
            when: worst.as_ref().map(|worst| worst.when),
            needed_s: needed,
            grace,
            platform: asked.platform.map(|platform| Row {
                name: platform.name,
                signal: platform.signal.to_string(),
                grace: platform.grace,
                setting: platform.setting,
                source: platform.source,
                date: platform.date,
            }),
            fits,
        };
        serde_json::to_string(&line).unwrap_or_default() + "\n"
    } else {
        grace.map_or_else(String::new, |grace| {
            told(plan, asked, grace, took, needed.unwrap_or_default())
        })
    };
    Verdict {
        text,
        fits: fits != Some(false),
    }
}

fn told(plan: &Plan, asked: Fits, grace: Duration, took: Option<Duration>, needed: u64) -> String {
    let mut text = String::from("\n");
    if let Some(platform) = asked.platform {
        let _ = writeln!(
            text,
            "{} sends {} and, {} later, KILL ({} {}).\n{}",
            platform.name,
            platform.signal,
            Shown(platform.grace),
            match platform.setting {
                Some(setting) => format!("set by {setting}; the default of"),
                None => "fixed; as of".to_owned(),
            },
            platform.date,
            platform.source,
        );
        if let Some(note) = platform.note {
            let _ = writeln!(text, "There {note}.");
        }
        if plan.rewritten(platform.signal).is_none() {
            let _ = writeln!(
                text,
                "It does not fit: --rewrite drops that signal, so nothing happens until KILL."
            );
            return text;
        }
        if !plan.begins_stop(platform.signal) {
            let _ = writeln!(
                text,
                "It does not fit: that signal begins no stop, because --stop-on does not list it.\n\
                 Add {} to --stop-on, or let the platform send another signal.",
                platform.signal
            );
            return text;
        }
    }
    let shown = Shown(grace);
    let _ = match took {
        _ if grace.is_zero() => writeln!(
            text,
            "It does not fit: with a grace period of 0 s the platform sends KILL at once."
        ),
        None if plan.waits_for_platform() => writeln!(
            text,
            "It does not fit: without --grace and --deadline the command alone may take {shown} and longer, and what\n\
             follows it is lost. A --deadline of less than {shown} fits."
        ),
        None => writeln!(
            text,
            "It does not fit: the stop may last without end, the grace period is {shown}."
        ),
        Some(took) if took > grace => writeln!(
            text,
            "It does not fit: the worst case is {}, the grace period is {shown}.\n\
             Give the platform {needed} s, or stepdown a --deadline of less than {shown}.",
            Shown(took)
        ),
        Some(took) if Duration::from_secs(needed) > grace => writeln!(
            text,
            "It fits, with nothing to spare: the worst case is {}, the grace period is {shown}.\n\
             {needed} s would be safe, because the platform begins to count a moment earlier.",
            Shown(took)
        ),
        Some(took) => writeln!(
            text,
            "It fits: the worst case is {}, the grace period is {shown}.",
            Shown(took)
        ),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Settings;

    fn judged(options: &[(&'static str, &str)], asked: Fits) -> Verdict {
        let mut settings = Settings::default();
        for (name, text) in options {
            settings.set(name, text);
        }
        judge(&Rc::new(settings.plan().unwrap()), asked, false)
    }

    #[test]
    fn the_worst_case_decides_and_the_margin_is_told() {
        let asked = |grace: &str| Fits::parse(None, Some(grace)).unwrap();
        // 8 s of grace, and 2 s for what is left.
        let plan = [("grace", "8s")];
        let fits = |grace| judged(&plan, asked(grace)).fits;
        assert!(!fits("9.9s") && fits("10s") && fits("11s"));
        let tight = judged(&plan, asked("10s")).text;
        assert!(tight.contains("11 s would be safe"), "{tight}");
        let at_once = judged(&plan, asked("0"));
        assert!(!at_once.fits && at_once.text.ends_with("the platform sends KILL at once.\n"));
        let never = judged(&[("no-kill", "on")], asked("1h"));
        assert!(!never.fits && never.text.contains("without end"));
        // Within its deadline it is with a margin.
        let within = judged(&[("deadline", "10s")], asked("10s"));
        assert!(within.fits && within.text.contains("It fits: "));
    }

    #[test]
    fn a_grace_of_one_s_own_replaces_the_platform_s() {
        let asked = |grace| Fits::parse(Some("fly"), grace).unwrap();
        let plan = [("grace", "8s")];
        assert!(!judged(&plan, asked(None)).fits);
        let set = judged(&plan, asked(Some("15s")));
        assert!(set.fits);
        assert!(set.text.contains("https://fly.io/"), "{}", set.text);
    }

    #[test]
    fn a_signal_that_begins_no_stop_fits_nowhere() {
        let fly = Fits::parse(Some("fly"), Some("1h")).unwrap();
        for (option, why) in [
            (("stop-on", "TERM"), "--stop-on does not list it"),
            (("rewrite", "INT:0"), "--rewrite drops that signal"),
        ] {
            let judged = judged(&[("grace", "8s"), option], fly);
            assert!(!judged.fits && judged.text.contains(why), "{}", judged.text);
            assert!(!judged.text.contains("It fits"), "{}", judged.text);
        }
    }
}
