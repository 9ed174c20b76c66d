//! What the world was like: diagnostics of what was looked at, of which way was taken, and of what was refused
//! and survived, for whoever asks with `--trace` or `-vv`.
//!
//! Records are what happened, and all that users need; these lines are why, and no program should read a meaning
//! into them. They are events of `tracing`. Without a subscriber, as nearly always, an event costs one comparison,
//! and nothing is allocated or written. There is none between clone and exec, nor in a forked copy.
//!
//! A line is written at once. Records that wait for their turn (see `drive`) are written before the next line where
//! diagnostics were asked for, so the order is that of the events.

use std::fmt::{self, Write as _};
use std::time::Instant;

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::plan::voice::{Detail, Diagnostics, Format};
use crate::sys::last_resort;
use crate::tell::lines;

/// Our modules, in front of what users write.
const OURS: &str = concat!(env!("CARGO_CRATE_NAME"), "::");

/// From now on the events that pass the filter are written to standard error.
pub(crate) fn begin(Diagnostics(wanted): &Diagnostics, format: Format) {
    let mut targets = Targets::new();
    for (part, level) in wanted {
        let level = filter(*level);
        targets = match part {
            Some(part) => targets.with_target(format!("{OURS}{part}"), level),
            None => targets.with_default(level),
        };
    }
    let began = Instant::now();
    let lines = LineLayer { format, began };
    let subscriber = tracing_subscriber::registry().with(targets).with(lines);
    // It is the first one, as nobody else sets any.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// Events to lines.
struct LineLayer {
    format: Format,
    began: Instant,
}

impl<S: Subscriber> Layer<S> for LineLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if last_resort::is_in_copy() {
            return;
        }
        let target = event.metadata().target();
        let target = target.strip_prefix(OURS).unwrap_or(target);
        let level = name(*event.metadata().level());
        let at = self.began.elapsed();
        let mut line = match self.format {
            Format::Text => {
                let mut line = Text(format!("stepdown: {level} {target}:"));
                event.record(&mut line);
                lines::one_line(line.0)
            }
            Format::Json => {
                let mut fields = Fields::default();
                event.record(&mut fields);
                lines::json_line(&JsonEvent {
                    time_ms: lines::millis(at),
                    timestamp: lines::timestamp(),
                    level,
                    event: "trace",
                    target,
                    message: fields.message,
                    fields: fields.others,
                })
            }
        };
        line.push('\n');
        lines::write(&line, 1, self.format, at);
    }
}

fn filter(level: Detail) -> LevelFilter {
    match level {
        Detail::Off => LevelFilter::OFF,
        Detail::Error => LevelFilter::ERROR,
        Detail::Warn => LevelFilter::WARN,
        Detail::Info => LevelFilter::INFO,
        Detail::Debug => LevelFilter::DEBUG,
        Detail::Trace => LevelFilter::TRACE,
    }
}

fn name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// `stepdown: debug drain::look: the message, name=value`
struct Text(String);

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.0, " {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}

#[derive(Serialize)]
struct JsonEvent<'a> {
    time_ms: u64,
    timestamp: String,
    level: &'static str,
    event: &'static str,
    target: &'a str,
    message: String,
    #[serde(skip_serializing_if = "Map::is_empty")]
    fields: Map<String, Value>,
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Visit for Fields {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.others.insert(field.name().to_owned(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.others.insert(field.name().to_owned(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.others.insert(field.name().to_owned(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            name => drop(self.others.insert(name.to_owned(), value.into())),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}
