//! Records to lines on standard error, for people or as JSON: written or lost, never waited for.

mod words;

use std::fmt::{self, Write as _};
use std::mem;
use std::time::Duration;

use serde::Serialize;

use crate::plan::voice::{Format, Level, Voice};
use crate::record::{ExitStatus, NotReady, Record, RestartReason};
use crate::tell::lines::{self, cut, fitted, keep_on_one_line};
use crate::words::signal::SignalSet;
use words::Words;
pub(crate) use words::text;

/// The fold over the records that writes the log.
#[derive(Debug)]
pub(crate) struct Log {
    voice: Voice,
    /// Whether a stop was asked for: then the child's end is news, otherwise it is the normal thing.
    asked: bool,
    /// What came for the child and was no stop: when it dies of that, nothing went wrong.
    came: SignalSet,
    /// What is to be written at the next `flush`, and how many lines that is.
    unwritten: String,
    lines: u32,
    /// When the last of them was told.
    at: Duration,
}

/// Where words are written to. Of our own, so that its table of functions lies among our constants, which
/// are in memory when a stop is told about; that of `String` is not.
struct LineBuffer<'a>(&'a mut String);

impl fmt::Write for LineBuffer<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.push_str(text);
        Ok(())
    }
}

#[derive(Serialize)]
struct JsonLine<'a> {
    time_ms: u64,
    /// None where nothing really happens.
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<String>,
    level: Level,
    /// The one beside the generation that serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<u32>,
    #[serde(flatten)]
    record: &'a Record,
    /// How many processes the record had besides those that it names.
    #[serde(skip_serializing_if = "Option::is_none")]
    more: Option<usize>,
}

impl Log {
    pub(crate) fn new(voice: Voice) -> Self {
        Self {
            voice,
            asked: false,
            came: SignalSet::default(),
            // The lines of a plain stop fit.
            unwritten: String::with_capacity(512),
            lines: 0,
            at: Duration::ZERO,
        }
    }

    /// Puts the line together; `flush` writes it. So lines that belong together cost one write.
    pub(crate) fn tell(&mut self, at: Duration, record: &Record) {
        self.at = at;
        let mut unwritten = mem::take(&mut self.unwritten);
        let before = unwritten.len();
        let told = self.put(&mut unwritten, at, record, true);
        self.unwritten = unwritten;
        if !told {
            return;
        }
        if before > 0 && self.unwritten.len() >= lines::WHOLE {
            let line = self.unwritten.split_off(before);
            self.flush();
            self.unwritten = line;
        }
        // One that is longer than what a pipe takes whole is cut.
        let whole = cut(&self.unwritten, lines::WHOLE - 1).len();
        self.unwritten.truncate(whole);
        self.unwritten.push('\n');
        self.lines += 1;
    }

    /// Writes what was told since the last time.
    pub(crate) fn flush(&mut self) {
        if self.lines == 0 {
            return;
        }
        lines::write(&self.unwritten, self.lines, self.voice.format, self.at);
        self.unwritten.clear();
        self.lines = 0;
    }

    /// The line without its newline; `None` where so much is not told.
    pub(crate) fn line(&mut self, at: Duration, record: &Record) -> Option<String> {
        let mut line = String::new();
        self.put(&mut line, at, record, false).then_some(line)
    }

    /// Appends the line without its newline, if so much is told; where it `happens` now, JSON has the time of day.
    fn put(&mut self, out: &mut String, at: Duration, record: &Record, happens: bool) -> bool {
        match record {
            Record::StopAsked { .. } => self.asked = true,
            Record::GenerationBegan { .. } => {
                self.asked = false;
                self.came = SignalSet::default();
            }
            _ => {}
        }
        // Dropped is also what the terminal has sent to the child already.
        if let Record::Forwarded { signal, .. }
        | Record::Dropped { signal, .. }
        | Record::NotObeyed { signal, .. } = record
        {
            self.came.insert(*signal);
        }
        let level = self.level(record);
        if level > self.voice.level {
            return false;
        }
        match self.voice.format {
            Format::Text => {
                let start = out.len();
                let _ = write!(LineBuffer(out), "stepdown: {}", Words(record));
                keep_on_one_line(out, start);
            }
            Format::Json => {
                let timestamp = happens.then(lines::timestamp);
                out.push_str(&fitted(json(at, timestamp, level, record)));
            }
        }
        true
    }

    fn level(&self, record: &Record) -> Level {
        match record {
            Record::StartFailed(_) | Record::ReloadRefused { .. } => Level::Error,
            Record::ChildLeft { .. }
            | Record::StillThere { .. }
            | Record::StillNotReady { .. }
            | Record::NotAlive { .. }
            | Record::NotAStop { .. }
            | Record::LeftListening { .. }
            | Record::OomKilled { .. }
            | Record::Trouble { .. }
            | Record::DrainUntold { .. }
            | Record::DrainUnmet { .. }
            | Record::ReplaceFailed { .. }
            | Record::ReplaceRefused { .. }
            | Record::NotObeyed { .. }
            | Record::GaveUp { .. } => Level::Warn,
            Record::OfGeneration { record, .. } => match &**record {
                // Another one serves, or was meant to.
                Record::ChildExited { .. } | Record::Ended(_) => Level::Info,
                record => self.level(record),
            },
            Record::GenerationEnded { restart, .. } => match restart {
                RestartReason::Asked | RestartReason::Success => Level::Info,
                _ => Level::Warn,
            },
            Record::SweepEnded { left, .. } => {
                if *left {
                    Level::Warn
                } else {
                    Level::Info
                }
            }
            Record::HookEnded { result, .. } | Record::StopCommandEnded { result } => {
                if result.is_success() {
                    Level::Info
                } else {
                    Level::Warn
                }
            }
            Record::DrainEnded { interrupted, .. } => {
                if *interrupted == 0 {
                    Level::Info
                } else {
                    Level::Warn
                }
            }
            // A child that simply exits is not worth a line; one that is killed is.
            Record::ChildExited {
                status: ExitStatus::Killed { signal, .. },
                ..
            } if !self.asked && !self.came.contains(*signal) => Level::Warn,
            Record::ChildExited {
                status: ExitStatus::Killed { .. },
                ..
            } => Level::Info,
            Record::ChildExited { .. } | Record::Ended(_) if !self.asked => Level::Debug,
            // Nobody else knows the port.
            Record::Listening { chosen: true, .. }
            | Record::EndpointListening { chosen: true, .. } => Level::Info,
            // Its end, and nothing new, is told in a moment.
            Record::InFlight { requests: 0, .. } => Level::Debug,
            // What it stops for is told beside it.
            Record::NotReady {
                why: NotReady::StopAsked | NotReady::ChildExited,
                ..
            } => Level::Debug,
            Record::NotReady { .. }
            | Record::ReadyAgain { .. }
            | Record::StopAsked { .. }
            | Record::WillNotStart
            | Record::AliveAgain { .. }
            | Record::Aborted { .. }
            | Record::WaitStarted { .. }
            | Record::WaitEnded { .. }
            | Record::Ready { .. }
            | Record::DrainStarted(_)
            | Record::DrainWaits(_)
            | Record::InFlight { .. }
            | Record::Step { .. }
            | Record::StepSkipped { .. }
            | Record::AskedAgain { .. }
            | Record::Escalated { .. }
            | Record::ChildExited { .. }
            | Record::HandedOver { .. }
            | Record::HeirAwaited { .. }
            | Record::Swept { .. }
            | Record::Awaited { .. }
            | Record::Reloaded { .. }
            | Record::ReloadPutOff { .. }
            | Record::ReplaceBegan { .. }
            | Record::Replaced { .. }
            | Record::Ended(_) => Level::Info,
            Record::Reaped { .. } if self.voice.reaped => Level::Error,
            Record::Reaped { .. }
            | Record::HeldUp { .. }
            | Record::NotYetReady { .. }
            | Record::WaitGoesOn { .. }
            | Record::ChildSays { .. }
            | Record::Extended { .. }
            | Record::Started { .. }
            | Record::GenerationBegan { .. }
            | Record::Listening { .. }
            | Record::EndpointListening { .. }
            | Record::HookStarted { .. }
            | Record::Forwarded { .. }
            | Record::Dropped { .. }
            | Record::Suspended
            | Record::SuspendedAlone
            | Record::NotSuspended { .. } => Level::Debug,
        }
    }
}

/// How many processes one line names: each takes at most 130 bytes, six for each of its command's 16.
const JSON_NAMES: usize = 30;

fn json(at: Duration, timestamp: Option<String>, level: Level, record: &Record) -> String {
    let time_ms = lines::millis(at);
    let (generation, record) = record.addressed();
    // A line is cut to what a pipe takes whole, and a cut one would not be JSON any more.
    let more = match record {
        Record::Swept { processes, .. } | Record::Awaited { processes, .. } => processes
            .len()
            .checked_sub(JSON_NAMES)
            .filter(|more| *more > 0),
        _ => None,
    };
    let mut shortened = more.map(|_| record.clone());
    if let Some(Record::Swept { processes, .. } | Record::Awaited { processes, .. }) =
        &mut shortened
    {
        processes.truncate(JSON_NAMES);
    }
    let record = shortened.as_ref().unwrap_or(record);
    let line = JsonLine {
        time_ms,
        timestamp,
        level,
        generation,
        record,
        more,
    };
    serde_json::to_string(&line).unwrap_or_default()
}
