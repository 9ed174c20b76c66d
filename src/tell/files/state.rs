//! The state file: what the last runs were, and the sums over all of them, kept from one run to the next.
//!
//! It is written at the start, at the end of each life of the command, and at the end. A run that is still
//! marked as running when the next one starts was lost: stepdown itself was killed (the runtime's own timeout,
//! out of memory), the machine went down, or the end could not be written (a full disk). Which of them it was,
//! nobody knows any more. One file belongs to one container at a time; replicas must not share it.

use std::ffi::OsString;
use std::io;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::options::NamedFile;
use crate::record::{Outcome, Record};
use crate::sys::file;
use crate::tell::metrics::totals::{LOST, Totals};
use crate::tell::progress::Progress;

/// The version of the file; one that says another number is not read.
const SCHEMA: u32 = 1;

/// How many runs are remembered.
const RUNS: usize = 10;

/// The file's content.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct StateFile {
    schema: u32,
    /// The run that is under way.
    running: Option<Running>,
    /// The last runs, the newest first.
    #[serde(default)]
    last_runs: Vec<PastRun>,
    #[serde(default)]
    totals: Totals,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Running {
    /// Seconds since 1970, UTC.
    started_at: u64,
    pid: u32,
}

/// One run that is over.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct PastRun {
    /// Seconds since 1970, UTC.
    started_at: u64,
    /// None where the run was lost.
    ended_at: Option<u64>,
    ran_ms: Option<u64>,
    /// `signal`, `exit`, `max-runtime`, `parent-died`, `start-failed`, `unhealthy` or `lost`.
    reason: String,
    /// The signal that asked for the stop.
    signal: Option<String>,
    /// What stepdown exited with.
    exit_code: Option<u8>,
    clean: bool,
    /// Whether KILL was needed.
    escalated: bool,
    /// From the request to stop to the end.
    stop_ms: Option<u64>,
    /// By all lives of the command.
    requests_interrupted: u64,
    /// How often the command was started.
    #[serde(default)]
    generations: u32,
    /// How many restarts nobody asked for.
    #[serde(default)]
    restarts: u32,
    /// Whether they were so many that no other followed (`--restart-limit`).
    #[serde(default)]
    gave_up: bool,
}

/// The fold over the records that keeps the file.
pub(crate) struct Keeper {
    file: NamedFile,
    /// Not where writing would destroy what is not ours.
    writes: bool,
    state: StateFile,
    began: SystemTime,
    /// Requests that were interrupted by the runs before this one.
    interrupted_before: u64,
}

impl Keeper {
    /// Reads the file. What is worth a line is added to `troubles`.
    pub(crate) fn open(file: NamedFile, began: SystemTime, troubles: &mut Vec<String>) -> Self {
        let mut writes = true;
        let mut state = read(&file, troubles).unwrap_or_else(|Unusable| {
            writes = false;
            StateFile::new()
        });
        if let Some(lost) = state.running.take() {
            troubles.push(format!(
                "the run before this one (pid {}) was lost: it was killed before its end, or could not write how it ended",
                lost.pid
            ));
            state.totals.lost();
            state.remember(PastRun::lost(lost.started_at));
        }
        let interrupted_before = state.totals.requests_interrupted;
        Self {
            file,
            writes,
            state,
            began,
            interrupted_before,
        }
    }

    /// The sums over the runs before this one.
    pub(crate) fn totals(&self) -> &Totals {
        &self.state.totals
    }

    /// Marks this run as running.
    ///
    /// # Errors
    /// Why the file could not be written.
    pub(crate) fn begin(&mut self) -> Result<(), String> {
        self.state.running = Some(Running {
            started_at: seconds(self.began),
            pid: std::process::id(),
        });
        self.write()
    }

    /// Takes in a record. The file is written at the end of the run, and of each life before, so that a run that is lost
    /// has counted what it has told.
    ///
    /// # Errors
    /// As for `begin`.
    pub(crate) fn tell(
        &mut self,
        at: Duration,
        record: &Record,
        progress: &Progress,
        totals: &Totals,
    ) -> Result<(), String> {
        match record {
            Record::Ended(outcome) => {
                let run = self.run(at, outcome, progress, totals);
                self.state.running = None;
                self.state.remember(run);
            }
            Record::GenerationEnded { .. } | Record::Replaced { .. } => {}
            _ => return Ok(()),
        }
        self.state.totals = totals.clone();
        self.write()
    }

    fn run(
        &self,
        at: Duration,
        outcome: &Outcome,
        progress: &Progress,
        totals: &Totals,
    ) -> PastRun {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        PastRun {
            started_at: seconds(self.began),
            // Of `at` and the time of the start it would not follow where the clock was set, or the machine slept.
            ended_at: Some(seconds(SystemTime::now())),
            ran_ms: Some(millis(at)),
            reason: outcome.reason.name().to_owned(),
            signal: progress.signal().map(|signal| signal.to_string()),
            exit_code: Some(outcome.code),
            clean: progress.is_clean(outcome),
            escalated: outcome.escalated,
            stop_ms: progress.was_asked().then(|| millis(outcome.took)),
            requests_interrupted: totals
                .requests_interrupted
                .saturating_sub(self.interrupted_before),
            generations: progress.generation(),
            restarts: progress.restarts(),
            gave_up: progress.gave_up(),
        }
    }

    fn write(&self) -> Result<(), String> {
        if !self.writes {
            return Ok(());
        }
        let text = serde_json::to_string_pretty(&self.state).unwrap_or_default() + "\n";
        file::replace(&self.file.path, &text)
            .map_err(|error| format!("{}: {}", self.file, file::reason(&error)))
    }

    /// What the child and the hooks are told of the run before this one, as variables. All of them are
    /// always set; what is not known, or never was, is empty.
    ///
    /// | variable | meaning |
    /// | --- | --- |
    /// | `STEPDOWN_LAST_RUNS` | how many runs there were before this one |
    /// | `STEPDOWN_LAST_REASON` | why the last one ended: `signal`, `exit`, `max-runtime`, `parent-died`, `start-failed`, `unhealthy`, `lost` |
    /// | `STEPDOWN_LAST_SIGNAL` | the signal that asked for its stop |
    /// | `STEPDOWN_LAST_EXIT_CODE` | what stepdown exited with |
    /// | `STEPDOWN_LAST_CLEAN` | 1 for status 0 or an end by the ladder's signal, 0 for anything else |
    /// | `STEPDOWN_LAST_ESCALATED` | 1 if the command needed KILL |
    /// | `STEPDOWN_LAST_STOP_MS` | how long the stop took, in milliseconds |
    /// | `STEPDOWN_LAST_ENDED_AT` | when it ended, in seconds since 1970 |
    /// | `STEPDOWN_LAST_RESTARTS` | how many restarts nobody had asked for |
    /// | `STEPDOWN_LAST_GAVE_UP` | 1 if they were so many that no other followed |
    pub(crate) fn variables(&self) -> Vec<(OsString, OsString)> {
        let last = self.state.last_runs.first();
        let ended = last.filter(|run| run.reason != LOST);
        let runs = self.state.totals.runs.values();
        let runs = runs.fold(0, |sum: u64, more| sum.saturating_add(*more));
        let flag = |flag: bool| u8::from(flag).to_string();
        let signal = last.and_then(|run| run.signal.clone());
        let number = |of: fn(&PastRun) -> Option<u64>| last.and_then(of).map(|n| n.to_string());
        [
            ("STEPDOWN_LAST_RUNS", Some(runs.to_string())),
            ("STEPDOWN_LAST_REASON", last.map(|run| run.reason.clone())),
            ("STEPDOWN_LAST_SIGNAL", signal),
            (
                "STEPDOWN_LAST_EXIT_CODE",
                number(|run| run.exit_code.map(u64::from)),
            ),
            ("STEPDOWN_LAST_CLEAN", last.map(|run| flag(run.clean))),
            (
                "STEPDOWN_LAST_ESCALATED",
                ended.map(|run| flag(run.escalated)),
            ),
            ("STEPDOWN_LAST_STOP_MS", number(|run| run.stop_ms)),
            ("STEPDOWN_LAST_ENDED_AT", number(|run| run.ended_at)),
            (
                "STEPDOWN_LAST_RESTARTS",
                ended.map(|run| run.restarts.to_string()),
            ),
            ("STEPDOWN_LAST_GAVE_UP", ended.map(|run| flag(run.gave_up))),
        ]
        .into_iter()
        // A file that another program has written may hold anything; an environment may not.
        .map(|(key, value)| {
            (
                key.into(),
                value.unwrap_or_default().replace('\0', "").into(),
            )
        })
        .collect()
    }
}

impl StateFile {
    fn new() -> Self {
        Self {
            schema: SCHEMA,
            running: None,
            last_runs: Vec::new(),
            totals: Totals::default(),
        }
    }

    fn remember(&mut self, run: PastRun) {
        self.last_runs.insert(0, run);
        self.last_runs.truncate(RUNS);
    }
}

impl PastRun {
    fn lost(started_at: u64) -> Self {
        Self {
            started_at,
            ended_at: None,
            ran_ms: None,
            reason: LOST.to_owned(),
            signal: None,
            exit_code: None,
            clean: false,
            escalated: false,
            stop_ms: None,
            requests_interrupted: 0,
            generations: 0,
            restarts: 0,
            gave_up: false,
        }
    }
}

/// There is a file that cannot be read, and that must not be overwritten either.
struct Unusable;

/// The state that is there, or a fresh one. A file that makes no sense is put aside.
fn read(named: &NamedFile, troubles: &mut Vec<String>) -> Result<StateFile, Unusable> {
    let why = match file::read(&named.path) {
        // One that was made to be mounted.
        Ok(text) if text.is_empty() => return Ok(StateFile::new()),
        Ok(text) => match serde_json::from_str::<StateFile>(&text) {
            Ok(state) if state.schema == SCHEMA => return Ok(state),
            Ok(state) => format!("schema {} is not known here", state.schema),
            Err(error) => error.to_string(),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(StateFile::new()),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => file::reason(&error),
        Err(error) => {
            let why = file::reason(&error);
            troubles.push(format!("{named}: {why}; no state is kept"));
            return Err(Unusable);
        }
    };
    match file::put_aside(&named.path) {
        Ok(aside) => {
            let aside = aside.display();
            troubles.push(format!("{named}: {why}; kept as {aside}, starting afresh"));
            Ok(StateFile::new())
        }
        Err(error) => {
            let aside = file::reason(&error);
            troubles.push(format!(
                "{named}: {why}; it cannot be put aside ({aside}), no state is kept"
            ));
            Err(Unusable)
        }
    }
}

fn seconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
pub(in crate::tell) mod fuzz;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::options::Settings;
    use crate::options::told::STATE_FILE;
    use crate::record::{DrainEnd, Reason};

    fn file(directory: &Path) -> NamedFile {
        let mut settings = Settings::default();
        settings.set("state-file", directory.join("state").to_str().unwrap());
        settings.file(&STATE_FILE).unwrap()
    }

    fn ended() -> Record {
        Record::Ended(Outcome {
            code: 0,
            reason: Reason::Exit,
            status: None,
            escalated: false,
            took: Duration::ZERO,
        })
    }

    #[test]
    fn the_end_is_told_by_the_clock_as_it_is_then() {
        let directory = tempfile::tempdir().unwrap();
        // Since then the machine has slept.
        let present = SystemTime::now();
        let began = present - Duration::from_secs(7_200);
        let mut keeper = Keeper::open(file(directory.path()), began, &mut Vec::new());
        let (progress, totals) = (Progress::default(), Totals::default());
        let at = Duration::from_secs(3);
        keeper.tell(at, &ended(), &progress, &totals).unwrap();
        let last = &keeper.state.last_runs[0];
        assert_eq!(last.ran_ms, Some(3_000));
        assert!(last.ended_at >= Some(seconds(present)), "{last:?}");
    }

    #[test]
    fn a_run_whose_end_could_not_be_written_may_not_have_been_killed() {
        let directory = tempfile::tempdir().unwrap();
        let (there, away) = (
            directory.path().join("there"),
            directory.path().join("away"),
        );
        std::fs::create_dir(&there).unwrap();
        let mut troubles = Vec::new();
        let mut keeper = Keeper::open(file(&there), SystemTime::now(), &mut troubles);
        keeper.begin().unwrap();
        std::fs::rename(&there, &away).unwrap();
        let (progress, totals) = (Progress::default(), Totals::default());
        let told = keeper.tell(Duration::ZERO, &ended(), &progress, &totals);
        assert!(told.is_err() && troubles.is_empty(), "{troubles:?}");
        std::fs::rename(&away, &there).unwrap();
        let next = Keeper::open(file(&there), SystemTime::now(), &mut troubles);
        assert_eq!(next.state.last_runs[0].reason, LOST);
        let pid = std::process::id();
        assert_eq!(
            troubles,
            [format!(
                "the run before this one (pid {pid}) was lost: it was killed before its end, or could not write how it \
                 ended"
            )]
        );
    }

    #[test]
    fn requests_that_any_life_has_interrupted_count() {
        let directory = tempfile::tempdir().unwrap();
        let present = SystemTime::now();
        let mut keeper = Keeper::open(file(directory.path()), present, &mut Vec::new());
        keeper.interrupted_before = 10;
        let (mut progress, mut totals) = (Progress::default(), keeper.totals().clone());
        totals.requests_interrupted = 10;
        let drain_ended = |interrupted| Record::DrainEnded {
            end: DrainEnd::TimedOut,
            interrupted,
            took: Duration::ZERO,
        };
        for record in [
            drain_ended(1),
            Record::GenerationBegan { generation: 2 },
            Record::OfGeneration {
                generation: 1,
                record: Box::new(drain_ended(2)),
            },
            drain_ended(4),
        ] {
            progress.tell(Duration::ZERO, &record);
            totals.tell(&record, &progress);
        }
        let told = keeper.tell(Duration::ZERO, &ended(), &progress, &totals);
        told.unwrap();
        assert_eq!(keeper.state.last_runs[0].requests_interrupted, 7);
    }
}
