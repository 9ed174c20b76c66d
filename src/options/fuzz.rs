//! The file of `--config`, /etc/passwd and /etc/group, and the ladder.

use std::time::Duration;

use super::identity::{Entries, group_in, user_in};
use super::ladder::{self, Defaults};
use super::settings::{Settings, Source};
use super::toml_file::Reader;
use crate::fuzz::{parts, show, text};
use crate::plan::{Step, Target};
use crate::words::fault::Error;

/// A whole ladder: written as its steps it is the same ladder.
pub(crate) fn ladder(bytes: &[u8]) {
    let text = text(bytes);
    let defaults = Defaults {
        target: Target::Child,
        grace: Some(Duration::from_secs(8)),
        kill: true,
    };
    match ladder::parse(&text, defaults) {
        Ok(steps) => {
            assert!(steps.last().is_some_and(Step::is_kill));
            let written: Vec<&str> = steps.iter().map(|step| &*step.text).collect();
            let written = written.join(",");
            assert_eq!(ladder::parse(&written, defaults), Ok(steps), "{written}");
        }
        Err(fault) => show(&fault),
    }
}

/// The place that an error begins with lies in the text.
fn in_the_file(error: &Error, text: &str) {
    let shown = error.to_string();
    let mut place = shown.strip_prefix("a.toml:").unwrap().splitn(3, ':');
    let mut number = || -> usize {
        let word = place.next().unwrap();
        word.trim_end_matches(|c: char| !c.is_ascii_digit())
            .parse()
            .unwrap()
    };
    let (line, column) = (number(), number());
    let lines: Vec<&str> = text.split('\n').collect();
    assert!((1..=lines.len()).contains(&line), "{shown}");
    let width = lines[line - 1].chars().count();
    assert!((1..=width + 1).contains(&column), "{shown}");
}

pub(crate) fn toml(bytes: &[u8]) {
    let text = text(bytes);
    let reader = Reader {
        path: "a.toml".into(),
        text: &text,
    };
    let values = match reader.values() {
        Ok(values) => values,
        Err(error) => return in_the_file(&error, &text),
    };
    let mut settings = Settings::default();
    for (option, value) in values {
        assert!(matches!(value.source, Source::File(_)));
        settings.add_value(option, value);
    }
    match settings.plan() {
        Ok(plan) => {
            let shown = crate::explain::values::json(&settings, &plan);
            for line in shown.lines() {
                let row: serde_json::Value = serde_json::from_str(line).unwrap();
                assert_eq!(row["event"], "setting");
            }
        }
        Err(error) => in_the_file(&error, &text),
    }
}

/// /etc/passwd, /etc/group and what `--user` says.
pub(crate) fn identity(bytes: &[u8]) {
    let [passwd, group, wanted] = parts(bytes);
    let entries = |path, text: &[u8]| Entries {
        path,
        text: text.to_vec(),
        unreadable: None,
    };
    let (passwd, group) = (entries("/etc/passwd", passwd), entries("/etc/group", group));
    let wanted = text(wanted);
    if let Err(fault) = user_in(&passwd, &group, &wanted) {
        show(&fault);
    }
    match group_in(&group, &wanted) {
        Ok(id) => assert_eq!(group_in(&group, &id.to_string()), Ok(id)),
        Err(fault) => show(&fault),
    }
}
