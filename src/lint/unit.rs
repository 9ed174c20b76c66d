//! A unit of systemd with its drop-ins: its service, and how it is stopped.

use std::time::Duration;

use super::place::{Placed, Spot};
use super::run::{Grace, Platform, Run, Variable, Word, Words};
use crate::words::duration;

/// What systemd waits where nobody says it (DefaultTimeoutStopSec=).
const DEFAULT_GRACE: Duration = Duration::from_secs(90);

/// The lines of `[Service]`: key, value, and where the value begins.
type Lines = Vec<(String, Placed<String>)>;

/// The service of a unit, if it has one: the texts of its files by their index, the stronger last.
pub(crate) fn run<'a>(
    texts: impl IntoIterator<Item = (usize, &'a str)>,
    name: &str,
) -> Option<Run> {
    let mut lines = Lines::new();
    for (file, text) in texts {
        read(text, file, &mut lines);
    }
    let last = |key: &str| {
        let found = lines.iter().rfind(|(known, _)| known == key);
        found.map(|(_, value)| value)
    };
    let start = last("ExecStart")?;
    let mut run = Run::new(Platform::Systemd, format!("unit {name}"), start.at);
    run.is_pid1 = false;
    if let Some(words) = words(start) {
        run.words.push(words);
        run.is_whole = true;
    }
    for (key, value) in &lines {
        match key.as_str() {
            "Environment" => {
                for entry in shlex::split(&value.value).unwrap_or_default() {
                    if let Some((name, text)) = entry.split_once('=') {
                        run.environment.set(Variable {
                            name: name.to_owned(),
                            value: Some(text.to_owned()).filter(|text| !text.contains('%')),
                            at: value.at,
                        });
                    }
                }
            }
            "EnvironmentFile" | "PassEnvironment" => run.environment.has_others = true,
            _ => {}
        }
    }
    run.stop_signal = last("KillSignal").cloned();
    // The shorthand and the key itself set the same value.
    let is_time = |key: &str| ["TimeoutStopSec", "TimeoutSec"].contains(&key);
    let time = lines.iter().rfind(|(key, _)| is_time(key));
    let time = time.map(|(_, value)| value);
    run.grace = match time {
        Some(said) => {
            let time = match said.value.as_str() {
                "infinity" | "0" => Some(None),
                text => duration::parse(text).ok().map(Some),
            };
            time.map(|time| Grace {
                time,
                at: said.at,
                key: "TimeoutStopSec",
                is_default: false,
            })
        }
        None => Some(Grace {
            time: Some(DEFAULT_GRACE),
            at: start.at,
            key: "TimeoutStopSec",
            is_default: true,
        }),
    };
    run.restart = last("Restart").filter(|value| value.value != "no").cloned();
    run.kill_mode = last("KillMode").cloned();
    run.has_stop_command = last("ExecStop").is_some_and(|stop| !program(&stop.value).is_empty());
    run.is_service = last("Type").is_none_or(|kind| kind.value != "oneshot");
    Some(run)
}

/// Adds the lines of a file to those of the files before it.
fn read(text: &str, file: usize, lines: &mut Lines) {
    let mut section = "";
    let mut goes_on = false;
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            // A comment among the lines of a value is left out.
            goes_on &= !trimmed.is_empty();
            continue;
        }
        let (part, more) = match trimmed.strip_suffix('\\') {
            Some(part) => (part.trim_end(), true),
            None => (trimmed, false),
        };
        if goes_on {
            if let Some((_, value)) = lines.last_mut().filter(|_| section == "Service") {
                value.value.push(' ');
                value.value.push_str(part);
            }
        } else if let Some(name) = trimmed.strip_prefix('[') {
            section = name.trim_end_matches(']');
        } else if let Some((key, value)) = part.split_once('=').filter(|_| section == "Service") {
            let before = line.len() - line.trim_start().len();
            let start = before + key.len() + 1 + (value.len() - value.trim_start().len());
            let column = line.get(..start).unwrap_or_default().chars().count() + 1;
            let at = Spot {
                file,
                line: index + 1,
                column,
            };
            let key = key.trim().to_owned();
            if value.trim().is_empty() && !more {
                // Takes back what was said before.
                lines.retain(|(known, _)| *known != key);
            } else {
                lines.push((key, Placed::new(value.trim().to_owned(), at)));
            }
        }
        goes_on = more;
    }
}

/// A command without the signs in front of it.
fn program(command: &str) -> &str {
    command.trim_start_matches(['@', '-', ':', '+', '!', '|'])
}

fn words(start: &Placed<String>) -> Option<Words> {
    let text = program(&start.value);
    let names_itself = start.value.len() > text.len()
        && start.value[..start.value.len() - text.len()].contains('@');
    let mut words: Vec<Word> = shlex::split(text)?
        .into_iter()
        .map(|text| Word {
            is_known: !text.replace("%%", "").contains('%')
                && !text.replace("$$", "").contains('$'),
            text,
            at: start.at,
        })
        .collect();
    if names_itself && words.len() > 1 {
        words.remove(1);
    }
    (!words.is_empty()).then_some(Words {
        words,
        at: start.at,
        key: "ExecStart",
        is_shell_form: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_on_and_are_taken_back() {
        let text = "[Unit]\nKillMode=x\n[Service]\nExecStart=/bin/a \\\n# no\n  --b 'c d'\nKillMode=none\nKillMode=\n\
                    TimeoutStopSec=1min 30s\n";
        let run = run([(0, text)], "a").unwrap();
        let words: Vec<String> = run.command().into_iter().map(|word| word.text).collect();
        assert_eq!(words, ["/bin/a", "--b", "c d"]);
        assert_eq!(run.kill_mode, None);
        let grace = run.grace.unwrap();
        assert_eq!(grace.time, Some(Duration::from_secs(90)));
        assert_eq!((grace.at.line, grace.at.column), (9, 16));
    }

    #[test]
    fn a_command_that_stops_it_is_taken_back() {
        for (lines, has_one) in [
            ("", false),
            ("ExecStop=/bin/stop\n", true),
            ("ExecStop=-/bin/stop x\n", true),
            ("ExecStop=@-/bin/stop stop\n", true),
            ("ExecStop=/bin/stop\nExecStop=\n", false),
            ("ExecStop=\nExecStop=+/bin/stop\n", true),
            ("ExecStop=-\n", false),
            ("ExecStopPost=/bin/stop\n", false),
        ] {
            let text = format!("[Service]\nExecStart=/bin/a\n{lines}");
            let run = run([(0, &*text)], "a");
            assert_eq!(run.unwrap().has_stop_command, has_one, "{lines}");
        }
    }

    #[test]
    fn what_a_drop_in_says_counts_and_has_its_place() {
        let unit = "[Service]\nExecStart=/bin/a\nKillMode=none\nTimeoutStopSec=5\\\n";
        let first = "KillMode=x\n[Service]\nKillMode=\nTimeoutStopSec=7\n";
        let second = "[Service]\nExecStart=\nExecStart=/bin/b\n[Install]\nTimeoutStopSec=9\n";
        let run = run([(0, unit), (1, first), (2, second)], "a").unwrap();
        assert_eq!(run.command().first().unwrap().text, "/bin/b");
        assert_eq!((run.at.file, run.at.line), (2, 3));
        assert_eq!(run.kill_mode, None);
        let grace = run.grace.unwrap();
        assert_eq!(grace.time, Some(Duration::from_secs(7)));
        assert_eq!((grace.at.file, grace.at.line), (1, 4));
    }

    #[test]
    fn the_shorthand_of_a_time_counts_where_it_comes_last() {
        for (lines, seconds) in [
            ("TimeoutStopSec=60\nTimeoutSec=5\n", 5),
            ("TimeoutSec=5\nTimeoutStopSec=60\n", 60),
        ] {
            let text = format!("[Service]\nExecStart=/bin/a\n{lines}");
            let run = run([(0, &*text)], "a");
            let grace = run.and_then(|run| run.grace).unwrap();
            assert_eq!(grace.time, Some(Duration::from_secs(seconds)), "{lines}");
        }
    }
}
