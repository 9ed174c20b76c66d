//! Who is told: the log, `/status`, the metrics and the report, side by side, and whether they say the same.

use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::promises::{Broken, Promise};
use crate::plan::Plan;
use crate::plan::voice::{Format, Level, Voice};
use crate::record::Record;
use crate::tell::endpoint::status;
use crate::tell::files::run_report::RunReport;
use crate::tell::log::{self, Log};
use crate::tell::metrics;
use crate::tell::metrics::totals::Totals;
use crate::tell::progress::Progress;

/// See the module's first sentence.
pub(super) struct Teller {
    progress: Progress,
    totals: Totals,
    log: Log,
    report: RunReport,
    read: ReadLog,
    records: u32,
}

/// A line of the JSON log, or a record of the report, as far as anybody reads it here.
#[derive(Deserialize)]
struct Line<'a> {
    event: &'a str,
    generation: Option<u64>,
    phase: Option<&'a str>,
    pid: Option<i64>,
    step: Option<RawNumber>,
    restart: Option<&'a str>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    interrupted: Option<u64>,
}

/// In a report `step` is a word, too.
#[derive(Deserialize)]
#[serde(untagged)]
enum RawNumber {
    Number(u64),
    #[allow(dead_code, reason = "read, and of no use here")]
    Word(String),
}

/// What `/status` answers.
#[derive(Deserialize)]
struct Status<'a> {
    phase: &'a str,
    generation: u64,
    step: Option<u64>,
    child: Option<i64>,
    restarts: u64,
}

#[derive(Deserialize)]
struct Report<'a> {
    #[serde(borrow)]
    records: Vec<Line<'a>>,
    #[serde(borrow)]
    generations: Vec<Generation<'a>>,
}

#[derive(Deserialize)]
struct Generation<'a> {
    restart: Option<&'a str>,
}

/// What somebody knows who has read nothing but the log.
#[derive(Clone, PartialEq, Eq, Debug)]
struct ReadLog {
    phase: String,
    generation: u64,
    step: Option<u64>,
    child: Option<i64>,
    restarts: u64,
    asked: bool,
    exited: bool,
    /// The generation beside the one that serves.
    beside: Option<Box<Self>>,
}

impl ReadLog {
    fn of_generation(generation: u64, restarts: u64) -> Self {
        Self {
            phase: "starting".to_owned(),
            generation,
            step: None,
            child: None,
            restarts,
            asked: false,
            exited: false,
            beside: None,
        }
    }

    /// Reads a line of the JSON log.
    fn read(&mut self, line: &Line<'_>) {
        if !line.is_of_beside() {
            self.read_own(line);
        } else if let Some(beside) = &mut self.beside {
            beside.read_own(line);
        }
    }

    fn read_own(&mut self, line: &Line<'_>) {
        let generation = line.generation.unwrap_or_default();
        match line.event {
            "replace-began" => {
                self.beside = Some(Box::new(Self::of_generation(generation, 0)));
                return;
            }
            "replaced" => {
                let next = self.beside.take().map(|beside| *beside);
                let next = next.unwrap_or_else(|| Self::of_generation(generation, 0));
                let last = std::mem::replace(self, next);
                self.restarts = last.restarts;
                self.beside = Some(Box::new(last));
                return;
            }
            _ => {}
        }
        let phase = match line.event {
            "wait-started" => "wait-for",
            "wait-ended" | "generation-began" => "starting",
            "hook-started" => line.phase.unwrap_or_default(),
            "hook-ended" if line.phase == Some(&self.phase[..]) => match &self.phase[..] {
                "pre-start" => "starting",
                "pre-stop" if self.exited => "sweep",
                "pre-stop" => "stopping",
                _ => return,
            },
            "started" => "running",
            "start-failed" if self.child.is_none() => "sweep",
            // Also while nobody has taken over from it yet.
            "stop-asked" if !self.asked && (self.child.is_some() || self.phase == "running") => {
                "stopping"
            }
            "drain-started" => "drain",
            "aborted" | "step" => "ladder",
            "child-exited" | "child-left" if self.phase != "pre-stop" => "sweep",
            "generation-ended" => "restart-delay",
            "ended" => "ended",
            _ => &self.phase[..],
        };
        let phase = phase.to_owned();
        match line.event {
            "started" | "handed-over" => self.child = line.pid,
            "heir-awaited" => self.child = None,
            "stop-asked" => self.asked = true,
            "step" => self.step = line.number(),
            "child-exited" | "child-left" => (self.child, self.exited) = (None, true),
            "generation-ended" => self.restarts += u64::from(line.restart != Some("asked")),
            "generation-began" => {
                let beside = self.beside.take();
                *self = Self::of_generation(generation, self.restarts);
                self.beside = beside;
            }
            _ => {}
        }
        self.phase = phase;
    }

    /// Whether it is what `/status` says.
    fn is(&self, status: &Status<'_>) -> bool {
        let read = (
            &self.phase[..],
            self.generation,
            self.step,
            self.child,
            self.restarts,
        );
        let Status {
            phase,
            generation,
            step,
            child,
            restarts,
        } = status;
        read == (*phase, *generation, *step, *child, *restarts)
    }
}

impl Line<'_> {
    /// Those about a generation have its number themselves; others only where it is that of the one beside.
    fn is_of_beside(&self) -> bool {
        const OWN: [&str; 5] = [
            "generation-ended",
            "generation-began",
            "replace-began",
            "replaced",
            "replace-failed",
        ];
        self.generation.is_some() && !OWN.contains(&self.event)
    }

    fn number(&self) -> Option<u64> {
        match self.step {
            Some(RawNumber::Number(number)) => Some(number),
            _ => None,
        }
    }
}

/// What the records of the report come to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Counted {
    runs: u64,
    restarts: u64,
    stops: u64,
    hook_failures: u64,
    orphans: u64,
    drains: u64,
    interrupted: u64,
    reloads: u64,
}

impl Counted {
    fn of_report(report: &Report<'_>) -> Self {
        let mut counted = Self::default();
        // Whether a stop was asked for: of the one that serves, and of the one beside.
        let mut asked = [false, false];
        // Whether that one has served.
        let mut leaves = false;
        for record in &report.records {
            let beside = usize::from(record.is_of_beside());
            match record.event {
                "stop-asked" => asked[beside] = true,
                "generation-began" => asked[0] = false,
                "replace-began" => (asked[1], leaves) = (false, false),
                "replaced" => {
                    asked.swap(0, 1);
                    leaves = true;
                }
                "ended" if beside == 1 => counted.stops += u64::from(asked[1] && leaves),
                "generation-ended" => {
                    counted.restarts += 1;
                    counted.stops += u64::from(asked[0]);
                }
                "ended" if beside == 0 => {
                    counted.runs += 1;
                    counted.stops += u64::from(asked[0]);
                }
                "hook-ended" => {
                    let result = record.result.map_or("", RawValue::get);
                    counted.hook_failures += u64::from(!result.ends_with("{\"exited\":0}}"));
                }
                "reaped" => counted.orphans += 1,
                "drain-ended" => {
                    counted.drains += 1;
                    counted.interrupted += record.interrupted.unwrap_or_default();
                }
                "reloaded" | "reload-refused" => counted.reloads += 1,
                _ => {}
            }
        }
        let mut lives = report.generations.iter();
        let replaced = lives
            .by_ref()
            .filter(|life| life.restart == Some("replaced"));
        let replaced = u64::try_from(replaced.count()).unwrap_or_default();
        counted.restarts += replaced;
        counted
    }

    fn of_totals(totals: &Totals) -> Self {
        Self {
            runs: totals.runs.values().sum(),
            restarts: totals.restarts.values().sum(),
            stops: totals.stops.values().sum(),
            hook_failures: totals.hook_failures.values().sum(),
            orphans: totals.orphans_reaped,
            drains: totals.drain_duration.count,
            interrupted: totals.requests_interrupted,
            reloads: totals.reloads.values().sum(),
        }
    }
}

const ALL: Voice = Voice {
    level: Level::Debug,
    format: Format::Json,
    reaped: true,
};

/// The report keeps no more.
const MOST_RECORDS: u32 = 2_000;

impl Teller {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            progress: Progress::default(),
            totals: Totals::default(),
            log: Log::new(ALL),
            report: RunReport::new(&["command".into()], plan),
            read: ReadLog::of_generation(1, 0),
            records: 0,
        }
    }

    pub(super) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Takes in a record; `misses` is what is planted: who is not told.
    pub(super) fn tell(
        &mut self,
        at: Duration,
        record: &Record,
        misses: Misses,
    ) -> Result<(), Broken> {
        self.records += 1;
        if misses != Misses::Status {
            self.progress.tell(at, record);
        }
        if misses != Misses::Metrics {
            self.totals.tell(record, &self.progress);
        }
        let line = self.log.line(at, record).unwrap_or_default();
        match serde_json::from_str(&line) {
            Ok(line) => self.read.read(&line),
            Err(error) => return Err(unreadable(&line, &error)),
        }
        self.report.tell(at, record);
        self.report.count_life(at, record, &self.progress);
        let _ = log::text(record);
        self.check_status(at)
    }

    fn check_status(&self, at: Duration) -> Result<(), Broken> {
        let text = status::json(&self.progress, at);
        let status = serde_json::from_str(&text).map_err(|error| unreadable(&text, &error))?;
        if self.read.is(&status) {
            return Ok(());
        }
        let why = format!("/status says {text}the log {:?}", self.read);
        let promise = Promise::StatusIsTheLog;
        Err(Broken { promise, why })
    }

    /// The run is over.
    pub(super) fn ends(&self, at: Duration, with_text: bool) -> Result<(), Broken> {
        let began = SystemTime::UNIX_EPOCH;
        let promise = Promise::MetricsAreTheReport;
        if with_text {
            let text = metrics::render(&self.progress, &self.totals, began, at);
            let orphans = format!(
                "stepdown_orphans_reaped_total {}",
                self.totals.orphans_reaped
            );
            if !text.lines().any(|line| line == orphans) {
                let why = format!("no line {orphans:?}");
                return Err(Broken { promise, why });
            }
        }
        if self.records > MOST_RECORDS {
            return Ok(());
        }
        let report = self.report.text(began, began + at, None);
        let report = serde_json::from_str(&report).map_err(|error| unreadable(&report, &error))?;
        let (listed, counts) = (
            Counted::of_report(&report),
            Counted::of_totals(&self.totals),
        );
        if listed == counts {
            return Ok(());
        }
        let why = format!("the metrics count {counts:?}, the report lists {listed:?}");
        Err(Broken { promise, why })
    }
}

fn unreadable(text: &str, error: &serde_json::Error) -> Broken {
    let why = format!("{error}: {text}");
    let promise = Promise::StatusIsTheLog;
    Broken { promise, why }
}

/// Who is not told of a record, where a bug is planted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Misses {
    Nobody,
    Status,
    Metrics,
}
