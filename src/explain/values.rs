//! Every option with the value that counts and where it came from: a table for people, lines for machines.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use crate::drain::judge::{QUIET, QUIET_UNSEEN};
use crate::options::table::{Kind, OPTIONS, Opt};
use crate::options::to_plan::DEFAULT_HOOK_TIMEOUT;
use crate::options::{Settings, Source, Value};
use crate::plan::drain::{DrainPorts, Protocol};
use crate::plan::{OWN_GRACE, Plan, Stdin, Stragglers, Target};
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
                    match option.name {
                        "ladder" => row.value = ladder(plan),
                        "stdin" => row.value = stdin(plan),
                        _ => {}
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

/// What counts where nothing was written, as the plan has it; `None` where it would mean nothing.
fn default(option: &Opt, settings: &Settings, plan: &Plan) -> Option<String> {
    let drain = plan.drain.as_ref();
    let text = match option.name {
        "ladder" => ladder(plan),
        // Each step says it itself.
        "grace" if plan.first_without_wait().is_none() => return None,
        "grace" => match plan.deadline {
            Some(_) => "what is left of the deadline".to_owned(),
            None if plan.as_pid1 => "as long as the platform lets it".to_owned(),
            None => written(OWN_GRACE),
        },
        "stop-on" => plan.stop_on.to_string(),
        "escalate-on" => plan.escalate_on.to_string(),
        "target" => match plan.target {
            Target::Child => "child",
            Target::Group => "group",
            Target::Tree => "tree",
        }
        .to_owned(),
        "drain-delay" => written(drain?.delay),
        "drain-checks-timeout" => written(drain?.checks?.timeout),
        "drain-quiet" => quiet(&drain?.ports)?,
        "drain-timeout" => {
            let drain =
                drain.filter(|drain| drain.ports != DrainPorts::None || !drain.until.is_empty());
            written(drain?.timeout)
        }
        "hook-timeout" => {
            let hooks = [&plan.pre_start, &plan.pre_stop, &plan.post_stop];
            let has_some = hooks.into_iter().any(|hooks| !hooks.is_empty());
            has_some.then(|| written(DEFAULT_HOOK_TIMEOUT))?
        }
        "ready-when" => plan.readiness.as_ref()?.text.clone(),
        "not-ready-status" => plan.health.as_ref()?.not_ready_status.to_string(),
        "stdin" => stdin(plan),
        "subreaper" => on_or_off(plan.subreaper),
        "cgroup" => on_or_off(plan.cgroup),
        "stragglers" => match plan.stragglers {
            Stragglers::Stop => "stop",
            Stragglers::Wait => "wait",
            Stragglers::Leave => "leave",
        }
        .to_owned(),
        "sweep-grace" if plan.stragglers == Stragglers::Leave => return None,
        "sweep-grace" => written(plan.sweep_grace),
        // They are other words for a level.
        "log-level" if settings.has("verbose") || settings.has("quiet") => return None,
        // How it is told is no part of the plan.
        "log-level" | "log-format" => option.default()?.to_owned(),
        _ => return None,
    };
    Some(text)
}

/// As it would be typed.
fn written(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

fn on_or_off(is_on: bool) -> String {
    if is_on { "on" } else { "off" }.to_owned()
}

fn stdin(plan: &Plan) -> String {
    match plan.stdin {
        Stdin::Inherit => "inherit",
        Stdin::Relay => "relay",
    }
    .to_owned()
}

/// Each protocol has its own.
fn quiet(ports: &DrainPorts) -> Option<String> {
    let ports = match ports {
        DrainPorts::None => return None,
        DrainPorts::Auto => return Some(written(QUIET)),
        DrainPorts::List(ports) => ports,
    };
    let mut others = Vec::new();
    for (port, protocol) in ports {
        let name = Protocol::ALL.iter().find(|(_, known)| known == protocol);
        let (name, _) = name?;
        match protocol {
            Protocol::Http => {}
            Protocol::Tls => others.push(format!("first requests of {port}/{name}")),
            Protocol::H2 | Protocol::Ws | Protocol::Opaque => {
                others.push(format!("{port}/{name}"));
            }
        }
    }
    let (short, long) = (written(QUIET), written(QUIET_UNSEEN));
    let has_short = |(_, protocol): &(u16, Protocol)| !protocol.multiplexes();
    Some(match (others.is_empty(), ports.iter().any(has_short)) {
        (true, _) => short,
        (false, false) => long,
        (false, true) => format!("{short}, {long} for {}", others.join(", ")),
    })
}

#[cfg(test)]
mod tests;
