//! Every option with the value that counts and where it came from: a table for people, lines for machines.

use std::fmt::Write as _;

use serde::Serialize;

use crate::options::table::{Kind, OPTIONS, Opt};
use crate::options::{Settings, Source, Value};
use crate::plan::{Plan, Stdin};
use crate::words::duration::Shown;

/// One value of one option.
#[derive(Debug, Serialize)]
struct Row {
    event: &'static str,
    name: &'static str,
    value: String,
    source: &'static str,
    /// The flag, the variable, or file and line; none for a default.
    place: Option<String>,
    /// Why it changes nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    without_effect: Option<String>,
}

/// The values in the order of the help, a line each.
pub(crate) fn table(settings: &Settings, plan: &Plan) -> String {
    let rows = rows(settings, plan);
    let width = |of: fn(&Row) -> &str| rows.iter().map(|row| of(row).chars().count()).max();
    let name = width(|row| row.name).unwrap_or(0);
    // One long hook must not push all the sources out of sight.
    let value = width(|row| &row.value).unwrap_or(0).min(48);
    let mut text = format!("{:name$}  {:value$}  FROM\n", "OPTION", "VALUE");
    for row in &rows {
        let place = row.place.as_deref().unwrap_or(row.source);
        let _ = writeln!(text, "{:name$}  {:value$}  {place}", row.name, row.value);
    }
    let is_shown = |option: &&Opt| !rows.iter().any(|row| row.name == option.name);
    let unset: Vec<&str> = OPTIONS
        .iter()
        .filter(is_shown)
        .map(|option| option.name)
        .collect();
    let _ = writeln!(text, "Not set: {}.", unset.join(", "));
    for why in rows.iter().filter_map(|row| row.without_effect.as_ref()) {
        let _ = writeln!(text, "Without effect: {why}.");
    }
    text.push('\n');
    text
}

/// The same as JSON, one object a line.
pub(crate) fn json(settings: &Settings, plan: &Plan) -> String {
    let rows = rows(settings, plan);
    let line = |row: &Row| serde_json::to_string(row).unwrap_or_default() + "\n";
    rows.iter().map(line).collect()
}

fn rows(settings: &Settings, plan: &Plan) -> Vec<Row> {
    let mut rows = Vec::new();
    for option in OPTIONS {
        let mut written = settings.values(option.name).peekable();
        let is_written = written.peek().is_some();
        match option.kind {
            Kind::Many(_) => rows.extend(written.map(|value| row(option, value))),
            Kind::One(_) | Kind::Switch | Kind::Count => {
                rows.extend(written.last().map(|value| {
                    let mut row = row(option, value);
                    if option.name == "ladder" {
                        row.value = ladder(plan);
                    }
                    row
                }));
            }
        }
        if !is_written {
            rows.extend(default(option, settings, plan).map(|value| Row {
                event: "setting",
                name: option.name,
                value,
                source: "default",
                place: None,
                without_effect: None,
            }));
        }
    }
    for (name, why) in settings.without_effect(plan) {
        let row = rows.iter_mut().rfind(|row| row.name == name);
        if let Some(row) = row {
            row.without_effect = Some(why);
        }
    }
    rows
}

fn row(option: &'static Opt, value: &Value) -> Row {
    let (source, place) = match &value.source {
        Source::Flag => ("flag", format!("--{}", option.name)),
        Source::Environment => ("variable", option.variable()),
        Source::File(place) => ("file", format!("{}:{}", place.path, place.line)),
    };
    Row {
        event: "setting",
        name: option.name,
        value: shown(value),
        source,
        place: Some(place),
        without_effect: None,
    }
}

fn shown(value: &Value) -> String {
    let text = value.text.to_string_lossy();
    let Some(hook) = &value.hook else {
        return text.into_owned();
    };
    let mut shown = match &hook.name {
        Some(name) => format!("{name}: {text}"),
        None => text.into_owned(),
    };
    if hook.priority != 0 {
        let _ = write!(shown, " (priority {})", hook.priority);
    }
    if let Some(timeout) = hook.timeout {
        let _ = write!(shown, " (timeout {})", Shown(timeout));
    }
    shown
}

/// With the KILL that was added, and with what stands in place of SAME.
fn ladder(plan: &Plan) -> String {
    let texts: Vec<&str> = plan.ladder.iter().map(|step| &*step.text).collect();
    texts.join(",")
}

/// What counts where nothing was written. Some defaults follow from other options; the others are
/// taken from the help, so that there is one place for them.
fn default(option: &Opt, settings: &Settings, plan: &Plan) -> Option<String> {
    match option.name {
        "ladder" => Some(ladder(plan)),
        // Each step says it itself.
        "grace" if plan.first_without_wait().is_none() => None,
        "grace" => {
            let default = match plan.deadline {
                Some(_) => "what is left of the deadline",
                None if plan.as_pid1 => "as long as the platform lets it",
                None => "30s",
            };
            Some(default.to_owned())
        }
        "ready-when" => plan.readiness.as_ref().map(|ready| ready.text.clone()),
        // They are other words for a level.
        "log-level" if settings.has("verbose") || settings.has("quiet") => None,
        "stdin" => Some(
            match plan.stdin {
                Stdin::Inherit => "inherit",
                Stdin::Relay => "relay",
            }
            .to_owned(),
        ),
        _ => option.default().map(str::to_owned),
    }
}
