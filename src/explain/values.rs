//! Every option with its effective value and where it came from, as a table or as JSON lines.

use std::fmt::Write as _;

use serde::Serialize;

use crate::options::{Kind, OPTIONS, Opt, Settings, Source, Value};
use crate::plan::Plan;
use crate::words::duration::Shown;

/// One value of one option.
#[derive(Debug, Serialize)]
struct Row {
    event: &'static str,
    name: &'static str,
    value: String,
    source: &'static str,
    /// The flag, the variable, or file and line; nothing for a default.
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
    // One long hook must not push the column of sources off the screen.
    let value = width(|row| &row.value).unwrap_or(0).min(48);
    let mut text = format!("{:name$}  {:value$}  FROM\n", "OPTION", "VALUE");
    for row in &rows {
        let place = row.place.as_deref().unwrap_or(row.source);
        let _ = writeln!(text, "{:name$}  {:value$}  {place}", row.name, row.value);
    }
    text.push_str("No other option is set; stepdown --help has all of them.\n");
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
    for option in OPTIONS.iter().filter(|option| option.short_for.is_none()) {
        let written = settings.values(option);
        match option.kind {
            Kind::Many(_) => rows.extend(written.map(|value| row(option, shown(value), value))),
            Kind::One(_) | Kind::Switch | Kind::Count => match settings.what_counts(option) {
                Some((written_as, value)) => {
                    // What means nothing is not in the plan.
                    let text = (option.shown)(plan).unwrap_or_else(|| shown(value));
                    rows.push(Row {
                        name: option.name,
                        ..row(written_as, text, value)
                    });
                }
                None => rows.extend(default(option, plan)),
            },
        }
    }
    for (option, why) in settings.without_effect(plan) {
        let row = rows.iter_mut().rfind(|row| row.name == option.name);
        if let Some(row) = row {
            row.without_effect = Some(why);
        }
    }
    rows
}

fn row(option: &'static Opt, text: String, value: &Value) -> Row {
    let source = match &value.source {
        Source::Flag => "flag",
        Source::Environment => "variable",
        Source::File(_) => "file",
    };
    Row {
        event: "setting",
        name: option.name,
        value: text,
        source,
        place: Some(value.short_place(option)),
        without_effect: None,
    }
}

/// The value without an option, as the plan has it; `None` where it has no effect.
fn default(option: &'static Opt, plan: &Plan) -> Option<Row> {
    // A switch that nobody has touched is off, unless its help says something else.
    if option.kind == Kind::Switch && option.default.is_none() {
        return None;
    }
    Some(Row {
        event: "setting",
        name: option.name,
        value: (option.shown)(plan)?,
        source: "default",
        place: None,
        without_effect: None,
    })
}

/// As it was written.
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

#[cfg(test)]
pub(crate) mod tests;
