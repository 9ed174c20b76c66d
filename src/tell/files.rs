//! What outlives the run: the files (report, state, metrics, termination log), and the bodies of hooks. If a file cannot be written, one line says so,
//! and the exit status stays the same.

mod last_words;
pub(crate) mod run_report;
mod spans;
pub(super) mod state;

use std::ffi::OsString;
use std::time::{Duration, SystemTime};

use serde::de::IgnoredAny;

use crate::options::told::{METRICS_FILE, REPORT, STATE_FILE, TERMINATION_LOG};
use crate::options::{NamedFile, Settings};
use crate::plan::Plan;
use crate::plan::call::{Body, Payload};
use crate::record::Record;
use crate::sys::{clock, file};
use crate::tell::metrics;
use crate::tell::metrics::totals::Totals;
use crate::tell::progress::Progress;
use last_words::LastWords;
use run_report::RunReport;
use spans::Spans;
use state::Keeper;

/// The number of requests in a drain, and that of orphans, may change often; the file follows this much later.
const PAUSE: Duration = Duration::from_secs(1);

const JSON: &str = "application/json";

/// The fold over the records that writes what was asked for.
pub(crate) struct Files {
    began: SystemTime,
    progress: Progress,
    totals: Totals,
    metrics_file: Option<NamedFile>,
    /// When metrics were written last.
    measured: Option<Duration>,
    report_file: Option<NamedFile>,
    /// For the file, or for the body of a hook.
    report: Option<RunReport>,
    spans: Option<Spans>,
    last_words: Option<(NamedFile, LastWords)>,
    state: Option<Keeper>,
    /// Failures that were logged already.
    told: Vec<String>,
}

impl Files {
    /// Begins with what was asked for; what is worth a line is added to `troubles`. To be called before the
    /// directory is left.
    pub(crate) fn open(
        settings: &Settings,
        plan: &Plan,
        command: &[OsString],
        troubles: &mut Vec<String>,
    ) -> Option<Self> {
        let (report, state) = (settings.file(&REPORT), settings.file(&STATE_FILE));
        let metrics_file = settings.file(&METRICS_FILE);
        let last_words = settings.file(&TERMINATION_LOG);
        let files = [&report, &state, &metrics_file, &last_words];
        let bodies = |wanted: fn(&Body) -> bool| {
            // A file that is read again may bring others.
            !plan.reload_on.is_empty() || plan.bodies().any(wanted)
        };
        if files.into_iter().all(Option::is_none) && !bodies(|_| true) {
            return None;
        }
        let has_report = report.is_some() || bodies(|body| *body == Body::Report);
        let began = SystemTime::now();
        let state = state.map(|file| Keeper::open(file, began, troubles));
        let totals = state.as_ref().map(Keeper::totals).cloned();
        let mut files = Self {
            began,
            progress: Progress::default(),
            totals: totals.unwrap_or_default(),
            metrics_file,
            measured: None,
            report_file: report,
            report: has_report.then(|| RunReport::new(command, plan)),
            spans: bodies(|body| *body == Body::Otlp).then(|| Spans::new(command, clock::seed())),
            last_words: last_words.map(|file| (file, LastWords::new())),
            state,
            told: Vec::new(),
        };
        if let Some(state) = &mut files.state {
            let begun = state.begin();
            troubles.extend(files.news(begun));
        }
        Some(files)
    }

    /// The variables for the child and the hooks.
    pub(crate) fn variables(&self) -> Vec<(OsString, OsString)> {
        let variables = self.state.as_ref().map(Keeper::variables);
        variables.unwrap_or_default()
    }

    /// The sums over the runs before this one, and of this one so far.
    pub(crate) fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Takes in a record, and writes what is due. What could not be written comes back, once.
    pub(crate) fn tell(&mut self, at: Duration, record: &Record) -> Vec<String> {
        let before = self.metrics_file.is_some().then(|| self.measures());
        self.progress.tell(at, record);
        self.totals.tell(record, &self.progress);
        let changed = before.is_some_and(|before| before != self.measures());
        let mut troubles = Vec::new();
        if let Some(state) = &mut self.state {
            let told = state.tell(at, record, &self.progress, &self.totals);
            troubles.extend(self.news(told));
        }
        let written = self.write_metrics(at, record, changed);
        troubles.extend(self.news(written));
        // The report comes last: it can tell what happened to the others.
        if let Some(spans) = &mut self.spans {
            spans.tell(at, record);
        }
        if let Some(report) = &mut self.report {
            report.tell(at, record);
            report.count_life(at, record, &self.progress);
            for message in troubles.iter().cloned() {
                report.tell(at, &Record::Trouble { message });
            }
        }
        let written = self.write_report(record);
        troubles.extend(self.news(written));
        let written = self.write_last_words(at, record);
        troubles.extend(self.news(written));
        troubles
    }

    /// What is in the file besides the number of requests and what follows from the time.
    fn measures(&self) -> (&'static str, u32, Totals) {
        let progress = &self.progress;
        (progress.phase(), progress.generation(), self.totals.clone())
    }

    fn write_metrics(
        &mut self,
        at: Duration,
        record: &Record,
        changed: bool,
    ) -> Result<(), String> {
        let Some(file) = &self.metrics_file else {
            return Ok(());
        };
        let due = match record {
            Record::InFlight { .. } | Record::Reaped { .. } => {
                self.measured.is_none_or(|then| at >= then + PAUSE)
            }
            _ => changed,
        };
        if !due {
            return Ok(());
        }
        self.measured = Some(at);
        write(
            file,
            &metrics::render(&self.progress, &self.totals, self.began, at),
        )
    }

    fn write_report(&self, record: &Record) -> Result<(), String> {
        let (Some(file), Some(report), Record::Ended(outcome)) =
            (&self.report_file, &self.report, record)
        else {
            return Ok(());
        };
        let clean = self.progress.is_clean(outcome);
        write(
            file,
            &report.text(self.began, SystemTime::now(), Some((outcome, clean))),
        )
    }

    fn write_last_words(&mut self, at: Duration, record: &Record) -> Result<(), String> {
        let Some((file, words)) = &mut self.last_words else {
            return Ok(());
        };
        match words.tell(at, record) {
            Some(text) => write(file, &text),
            None => Ok(()),
        }
    }

    /// What a hook of this generation sends at this time.
    pub(crate) fn body(&self, body: &Body, generation: Option<u32>, now: Duration) -> Payload {
        let (content_type, text) = match body {
            Body::Report => {
                let report = self.report.as_ref();
                let text = report.map(|report| report.text(self.began, SystemTime::now(), None));
                (JSON, text.unwrap_or_default())
            }
            Body::Metrics => {
                let text = metrics::render(&self.progress, &self.totals, self.began, now);
                (metrics::CONTENT_TYPE, text)
            }
            Body::Otlp => {
                let spans = self.spans.as_ref();
                let text = spans.map(|spans| spans.json(generation, zero(now), now));
                (JSON, text.unwrap_or_default())
            }
            // Webhooks take JSON, and only under its name.
            Body::Text(text) if serde_json::from_str::<IgnoredAny>(text).is_ok() => {
                (JSON, text.clone())
            }
            Body::Text(text) => ("text/plain; charset=utf-8", text.clone()),
        };
        Payload {
            content_type,
            bytes: text.into_bytes(),
        }
    }

    /// The same trouble with the same file is news once.
    fn news(&mut self, result: Result<(), String>) -> Option<String> {
        let message = result.err()?;
        if self.told.contains(&message) {
            return None;
        }
        self.told.push(message.clone());
        Some(message)
    }
}

/// The moment of time 0 by the clock as it is at this time. It may have been set meanwhile, and a machine may have slept,
/// which is not counted.
fn zero(now: Duration) -> SystemTime {
    let present = SystemTime::now();
    present.checked_sub(now).unwrap_or(present)
}

fn write(file: &NamedFile, text: &str) -> Result<(), String> {
    file::replace(&file.path, text).map_err(|error| format!("{file}: {}", file::reason(&error)))
}
