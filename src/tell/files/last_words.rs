//! The termination log: how the run ended, in words. Kubernetes shows them as the message of the terminated container
//! (`terminationMessagePath`), and cuts what is longer than 4096 bytes.
//!
//! The first sentence says who asked, which step worked, what was left, whether memory ran out, and the exit status.
//! Behind it stand the lines of the log, of which the oldest are left out where they do not fit. From the request to
//! stop on there is an unfinished one, so that a KILL from outside leaves the evidence.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::Duration;

use crate::plan::voice::{Format, Level, Voice};
use crate::record::{Reason, Record};
use crate::tell::lines::{cut, keep_on_one_line};
use crate::tell::log::{self, Log};
use crate::words::signal::Signal;

/// What Kubernetes takes of a container (`terminationMessagePath`).
const LARGEST: usize = 4096;

/// The end of the first sentence until the exit status is known.
const UNFINISHED: &str = "not ended yet";

/// The fold over the records that the message is written from.
pub(super) struct LastWords {
    log: Log,
    /// The newest lines, as many as may fit.
    lines: VecDeque<String>,
    bytes: usize,
    omitted: bool,
    asked: Option<String>,
    child: Option<String>,
    killed: usize,
    left: bool,
    memory: Option<String>,
    /// An unfinished one was written, and tells of a stop.
    unfinished: bool,
}

impl LastWords {
    pub(super) fn new() -> Self {
        Self {
            log: Log::new(Voice {
                level: Level::Info,
                format: Format::Text,
                reaped: false,
            }),
            lines: VecDeque::new(),
            bytes: 0,
            omitted: false,
            asked: None,
            child: None,
            killed: 0,
            left: false,
            memory: None,
            unfinished: false,
        }
    }

    /// Takes in a record; the message, where it is worth writing now.
    pub(super) fn tell(&mut self, at: Duration, record: &Record) -> Option<String> {
        if let Some(line) = self.log.line(at, record) {
            self.keep(line.strip_prefix("stepdown: ").unwrap_or(&line));
        }
        match record {
            Record::GenerationBegan { .. } => {
                self.asked = None;
                self.child = None;
                self.killed = 0;
                self.left = false;
                self.memory = None;
                // That stop is over, and what comes now may end without one.
                if std::mem::take(&mut self.unfinished) {
                    return Some(self.message(&format!("{}; {UNFINISHED}", log::text(record))));
                }
            }
            Record::StopAsked { reason, signal, .. } => {
                let asked = log::text(record);
                let asked = asked.split_once(": ").map_or(&asked[..], |(_, who)| who);
                self.asked = Some(match (reason, signal) {
                    (Reason::Signal | Reason::Restart, Some(_)) => {
                        format!("{asked} asked for the stop")
                    }
                    _ => asked.to_owned(),
                });
            }
            Record::ChildExited { .. } | Record::ChildLeft { .. } => {
                self.child = Some(log::text(record));
            }
            Record::StartFailed(failure) => self.child = Some(failure.message.clone()),
            Record::Swept {
                signal, processes, ..
            } if *signal == Signal::KILL => self.killed += processes.len(),
            Record::SweepEnded { left, .. } => self.left = *left,
            Record::OomKilled { .. } => self.memory = Some(log::text(record)),
            Record::Ended(outcome) => {
                let end = format!("exit status {}", outcome.code);
                return Some(self.message(&end));
            }
            _ => {}
        }
        let worth_it = matches!(
            record,
            Record::StopAsked { .. }
                | Record::Step { .. }
                | Record::StillThere { .. }
                | Record::ChildExited { .. }
                | Record::Swept { .. }
        );
        let worth_it = worth_it && self.asked.is_some();
        self.unfinished |= worth_it;
        worth_it.then(|| self.message(UNFINISHED))
    }

    fn keep(&mut self, line: &str) {
        let line = cut(line, LARGEST / 2).to_owned();
        self.bytes += line.len() + 1;
        self.lines.push_back(line);
        while self.bytes > LARGEST {
            let oldest = self.lines.pop_front().unwrap_or_default();
            self.bytes -= oldest.len() + 1;
            self.omitted = true;
        }
    }

    fn message(&self, end: &str) -> String {
        let killed = match self.killed {
            0 => None,
            1 => Some("1 process that was left got KILL".to_owned()),
            count => Some(format!("{count} processes that were left got KILL")),
        };
        let left = self
            .left
            .then(|| "some processes are still there".to_owned());
        let parts = [&self.asked, &self.child, &killed, &left, &self.memory];
        let mut first = String::new();
        for part in parts.into_iter().flatten() {
            let _ = write!(first, "{part}; ");
        }
        first.push_str(end);
        keep_on_one_line(&mut first, 0);
        let mut message = cut(&first, LARGEST / 2).to_owned() + ".\n";
        const OMITTED: &str = "(earlier lines are left out)\n";
        let room = LARGEST - message.len() - OMITTED.len();
        let mut used = 0;
        let fit = self.lines.iter().rev().take_while(|line| {
            used += line.len() + 1;
            used <= room
        });
        let count = fit.count();
        if self.omitted || count < self.lines.len() {
            message.push_str(OMITTED);
        }
        for line in self.lines.iter().skip(self.lines.len() - count) {
            message.push_str(line);
            message.push('\n');
        }
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{CountedFrom, ExitStatus, Outcome, Process, Sender};

    fn ended(code: u8) -> Record {
        Record::Ended(Outcome {
            code,
            reason: Reason::Signal,
            status: Some(ExitStatus::Exited(code)),
            escalated: false,
            took: Duration::from_millis(315),
        })
    }

    #[test]
    fn the_first_sentence_says_it_all() {
        let mut words = LastWords::new();
        let at = Duration::from_secs(1);
        let asked = Record::StopAsked {
            reason: Reason::Signal,
            signal: Some(Signal::TERM),
            sender: Some(Sender::Outside),
            deadline: None,
        };
        let first = |message: Option<String>| {
            let message = message.expect("it is worth it");
            message.lines().next().unwrap_or_default().to_owned()
        };
        assert_eq!(
            first(words.tell(at, &asked)),
            "TERM from outside the container asked for the stop; not ended yet."
        );
        let exited = Record::ChildExited {
            status: ExitStatus::Exited(3),
            after: Duration::from_millis(312),
            step: Some(1),
        };
        words.tell(at, &exited);
        let swept = Record::Swept {
            signal: Signal::KILL,
            processes: vec![Process::new(7, "a"), Process::new(8, "b")],
            decided_by: None,
        };
        words.tell(at, &swept);
        assert_eq!(
            first(words.tell(at, &ended(3))),
            "TERM from outside the container asked for the stop; child exited with 3 on step 1 after 312 ms; 2 \
             processes that were left got KILL; exit status 3."
        );
    }

    #[test]
    fn after_a_restart_nothing_is_told_of_the_stop_before() {
        let mut words = LastWords::new();
        let at = Duration::ZERO;
        let begins = |generation| Record::GenerationBegan { generation };
        assert_eq!(words.tell(at, &begins(2)), None, "nothing was written");
        let asked = Record::StopAsked {
            reason: Reason::Restart,
            signal: Some(Signal::HUP),
            sender: Some(Sender::Outside),
            deadline: None,
        };
        assert!(words.tell(at, &asked).is_some());
        let killed = Record::OomKilled {
            kills: 1,
            before_this_life: 0,
            counted_from: CountedFrom::Start,
            limit: None,
        };
        assert_eq!(words.tell(at, &killed), None);
        let message = words.tell(at, &begins(3)).expect("it is not true any more");
        assert!(message.starts_with("generation 3 begins; not ended yet.\n"));
        assert_eq!(words.tell(at, &begins(4)), None);
    }

    #[test]
    fn the_first_sentence_is_one_line() {
        let mut words = LastWords::new();
        let failure = crate::record::StartFailure {
            code: 127,
            message: "sh -c 'a\nb\u{1b}[m': not found".to_owned(),
        };
        words.tell(Duration::ZERO, &Record::StartFailed(failure));
        let message = words.tell(Duration::ZERO, &ended(127)).expect("the end");
        let first = message.lines().next();
        let escaped = r"sh -c 'a\nb\u{1b}[m': not found; exit status 127.";
        assert_eq!(first, Some(escaped));
    }

    #[test]
    fn it_is_cut_between_lines_and_characters() {
        let mut words = LastWords::new();
        for number in 0..200 {
            let message = format!("{number} {}", "\u{20ac}".repeat(40));
            words.tell(Duration::ZERO, &Record::Trouble { message });
        }
        let message = words.tell(Duration::ZERO, &ended(0)).expect("the end");
        assert!(
            (3_900..=LARGEST).contains(&message.len()),
            "{}",
            message.len()
        );
        assert!(message.starts_with("exit status 0.\n(earlier lines"));
        assert!(message.contains("\n199 ") && !message.contains("\n0 "));
        // One line that is longer than all of it.
        let message = "\u{20ac}".repeat(LARGEST);
        words.tell(Duration::ZERO, &Record::Trouble { message });
        let failure = crate::record::StartFailure {
            code: 127,
            message: "\u{20ac}".repeat(LARGEST),
        };
        words.tell(Duration::ZERO, &Record::StartFailed(failure));
        let message = words.tell(Duration::ZERO, &ended(127)).expect("the end");
        assert!(message.len() <= LARGEST);
    }
}
