//! Lines on standard error: each is written or lost, never waited for, and the next one says how many were lost.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::Value;

use crate::plan::voice::{Format, Level};
use crate::sys;
pub(super) use crate::sys::stderr::WHOLE;

/// Lines that standard error did not take, whoever wrote them: there is one standard error.
static LOST: AtomicU32 = AtomicU32::new(0);

#[derive(Serialize)]
struct LostLine {
    time_ms: u64,
    timestamp: String,
    level: Level,
    event: &'static str,
    lines: u32,
}

/// Writes so many whole lines, or none of them; `at` is the time of the last one.
pub(crate) fn write(text: &str, lines: u32, format: Format, at: Duration) {
    let lost = LOST.load(Ordering::Relaxed);
    if lost > 0 && sys::stderr::write(lost_line(lost, format, at).as_bytes()) {
        LOST.store(0, Ordering::Relaxed);
    }
    if !sys::stderr::write(text.as_bytes()) {
        let lost = LOST.load(Ordering::Relaxed);
        LOST.store(lost.saturating_add(lines), Ordering::Relaxed);
    }
}

pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The present, as a line of JSON has it (RFC 3339).
pub(crate) fn timestamp() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}

/// One line of what may hold newlines, cut to what a pipe takes whole; without its newline.
pub(crate) fn one_line(mut text: String) -> String {
    keep_on_one_line(&mut text, 0);
    text.truncate(cut(&text, WHOLE - 1).len());
    text
}

/// The same as JSON.
pub(crate) fn json_line(value: &impl Serialize) -> String {
    fitted(serde_json::to_string(value).unwrap_or_default())
}

fn lost_line(lines: u32, format: Format, at: Duration) -> String {
    match format {
        Format::Text => format!("stepdown: {lines} lines before this one could not be written\n"),
        Format::Json => {
            let line = LostLine {
                time_ms: millis(at),
                timestamp: timestamp(),
                level: Level::Warn,
                event: "lost",
                lines,
            };
            serde_json::to_string(&line).unwrap_or_default() + "\n"
        }
    }
}

/// As many whole characters as fit into so many bytes.
pub(super) fn cut(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rfind(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or(text)
}

/// What users wrote may hold newlines; a line of the log, which begins at `start`, may not, or it could
/// pass for two.
pub(super) fn keep_on_one_line(text: &mut String, start: usize) {
    let is_plain = |bytes: &[u8]| bytes.iter().all(|byte| (b' '..0x7f).contains(byte));
    if text.as_bytes().get(start..).is_some_and(is_plain) {
        return;
    }
    for character in text.split_off(start).chars() {
        if character.is_control() {
            text.extend(character.escape_default());
        } else {
            text.push(character);
        }
    }
}

/// A line that is too long, with its long texts and lists cut and marked so: JSON that ends somewhere
/// is none.
pub(super) fn fitted(line: String) -> String {
    if line.len() < WHOLE {
        return line;
    }
    let Ok(mut value) = serde_json::from_str::<Value>(&line) else {
        return line;
    };
    for limit in [1_000, 400, 80, 8] {
        shorten(&mut value, limit);
        if let Value::Object(fields) = &mut value {
            fields.insert("cut".to_owned(), Value::Bool(true));
        }
        let line = value.to_string();
        if line.len() < WHOLE {
            return line;
        }
    }
    line
}

fn shorten(value: &mut Value, limit: usize) {
    match value {
        Value::String(text) => text.truncate(cut(text, limit).len()),
        Value::Array(list) => {
            list.truncate(limit / 8);
            list.iter_mut().for_each(|value| shorten(value, limit));
        }
        Value::Object(fields) => fields.values_mut().for_each(|value| shorten(value, limit)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
