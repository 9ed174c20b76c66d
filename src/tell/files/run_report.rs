//! The report: one JSON document about the whole run.
//!
//! # Schema 1
//! | key | meaning |
//! | --- | --- |
//! | `schema` | 1; a key may be added under the same number, never changed or taken away |
//! | `stepdown` | the version that wrote it |
//! | `command` | the command and its arguments |
//! | `started_at`, `ended_at` | UTC, RFC 3339 with milliseconds |
//! | `plan` | what was asked for: `ladder` (each step's `step`, `target`, `wait_ms`), `stop_on`, `deadline_ms`, `max_runtime_ms`, `hooks` (each with `phase`, `name`, `timeout_ms`), `drain` (whether), `sweep_grace_ms`; null where it was not asked for: `restart` (`after`, `delay_ms`, `max_delay_ms`, `limit` with `times` and `within_ms`, `never_on`, `start_failures`, `on` and `replace_on`, the signals), `wait_for` (`conditions`, `timeout_ms`), `live_when` (`condition`, `every_ms`, `timeout_ms`, `failures`); `listen` (each with `name`, `address`), `fd_store_max` |
//! | `records` | what happened, in order: `time_ms` since the start, `event`, and the fields of the event, as `--log-format json` has them |
//! | `records_omitted` | how many records were left out: from the middle of a long run, and `child-says` with another one right behind |
//! | `generations` | how each life of the command ended, in order: `generation`, `began_ms` and `ended_ms` since the start, what `outcome` has, and where another one followed why and after how long (`restart`, `delay_ms`) |
//! | `generations_omitted` | how many were left out, from the beginning |
//! | `outcome` | of the run: `code` (the exit status), `reason`, `status` (of the child), `escalated`, `took_ms` (of the stop), `clean`; null in the body of a hook, where the run has not ended yet |
//!
//! Neither the child's environment nor that of hooks is in it: they hold secrets.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::plan::sockets::Socket;
use crate::plan::supervision::{Restart, Supervision};
use crate::plan::{HookPhase, Plan, Target};
use crate::record::{Outcome, Record, RestartReason};
use crate::tell::progress::{LastExit, Progress};
use crate::words::signal::Signal;

const SCHEMA: u32 = 1;

/// A long run may reap orphans for years: so many records are kept from its beginning and its end.
const FIRST: usize = 200;
const LAST: usize = 2_000;

/// Of a command that crashes all the time so many lives are kept, from the end.
const LIVES: usize = 500;

/// The fold over the records that the report is written from.
pub(crate) struct RunReport {
    command: Vec<String>,
    plan: PlanSummary,
    first: Vec<Told>,
    last: VecDeque<Told>,
    omitted: u64,
    lives: VecDeque<Life>,
    lives_omitted: u64,
    /// When each generation that is alive began, unless at the start.
    began_ms: Vec<(u32, u64)>,
    /// The record before was what the child says of itself.
    said: bool,
}

/// A record as it stands in the document. In JSON from the beginning: the code that makes it is that of the
/// JSON log, where a second serializer of all records would take 11 KB of the binary.
type Told = Box<RawValue>;

#[derive(Serialize)]
struct Timed<'a> {
    time_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<u32>,
    #[serde(flatten)]
    record: &'a Record,
}

#[derive(Serialize)]
struct ReportDocument<'a> {
    schema: u32,
    stepdown: &'static str,
    command: &'a [String],
    started_at: String,
    ended_at: String,
    plan: &'a PlanSummary,
    records: Vec<&'a Told>,
    records_omitted: u64,
    generations: &'a VecDeque<Life>,
    generations_omitted: u64,
    outcome: Option<Ending>,
}

#[derive(Serialize)]
struct Ending {
    #[serde(flatten)]
    outcome: Outcome,
    clean: bool,
}

/// One life of the command.
#[derive(Serialize)]
struct Life {
    generation: u32,
    began_ms: u64,
    ended_ms: u64,
    #[serde(flatten)]
    ending: Ending,
    restart: Option<RestartReason>,
    delay_ms: Option<u64>,
}

#[derive(Serialize)]
struct PlanSummary {
    ladder: Vec<StepSummary>,
    stop_on: Vec<Signal>,
    deadline_ms: Option<u64>,
    max_runtime_ms: Option<u64>,
    hooks: Vec<HookSummary>,
    drain: bool,
    sweep_grace_ms: u64,
    restart: Option<RestartSummary>,
    wait_for: Option<WaitSummary>,
    live_when: Option<LivenessSummary>,
    listen: Vec<SocketSummary>,
    fd_store_max: usize,
}

#[derive(Serialize)]
struct RestartSummary {
    after: &'static str,
    delay_ms: u64,
    max_delay_ms: u64,
    limit: Option<LimitSummary>,
    never_on: Vec<String>,
    start_failures: bool,
    on: Vec<Signal>,
    replace_on: Vec<Signal>,
}

#[derive(Serialize)]
struct LimitSummary {
    times: u32,
    within_ms: Option<u64>,
}

#[derive(Serialize)]
struct WaitSummary {
    conditions: Vec<String>,
    timeout_ms: u64,
}

#[derive(Serialize)]
struct LivenessSummary {
    condition: String,
    every_ms: u64,
    timeout_ms: u64,
    failures: u32,
}

#[derive(Serialize)]
struct SocketSummary {
    name: String,
    address: String,
}

#[derive(Serialize)]
struct StepSummary {
    step: String,
    target: Target,
    wait_ms: Option<u64>,
}

#[derive(Serialize)]
struct HookSummary {
    phase: HookPhase,
    name: String,
    timeout_ms: u64,
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl PlanSummary {
    fn of(plan: &Plan) -> Self {
        let phases = [HookPhase::PreStart, HookPhase::PreStop, HookPhase::PostStop];
        let hooks = phases.into_iter().flat_map(|phase| {
            plan.hooks(phase).iter().map(move |hook| HookSummary {
                phase,
                name: hook.name.clone(),
                timeout_ms: millis(hook.timeout),
            })
        });
        let steps = plan.ladder.iter().map(|step| StepSummary {
            step: step.text.to_string(),
            target: step.target,
            wait_ms: step.wait.map(millis),
        });
        Self {
            ladder: steps.collect(),
            stop_on: plan.stop_on.iter().collect(),
            deadline_ms: plan.deadline.map(millis),
            max_runtime_ms: plan.max_runtime.map(millis),
            hooks: hooks.collect(),
            drain: plan.drain.is_some(),
            sweep_grace_ms: millis(plan.sweep_grace),
            restart: plan.supervision.as_ref().map(RestartSummary::of),
            wait_for: plan.wait.as_ref().map(|wait| WaitSummary {
                conditions: wait.conditions.iter().map(|c| c.text.clone()).collect(),
                timeout_ms: millis(wait.timeout),
            }),
            live_when: plan.liveness.as_ref().map(|liveness| LivenessSummary {
                condition: liveness.text.clone(),
                every_ms: millis(liveness.every),
                timeout_ms: millis(liveness.timeout),
                failures: liveness.failures,
            }),
            listen: plan.sockets.iter().map(SocketSummary::of).collect(),
            fd_store_max: plan.fd_store_max,
        }
    }
}

impl RestartSummary {
    fn of(asked: &Supervision) -> Self {
        let mut words = Restart::ALL.iter();
        let word = words.find(|(_, restart)| *restart == asked.restart);
        let codes = asked.never_on.codes.iter().map(u8::to_string);
        let signals = asked.never_on.signals.iter();
        Self {
            after: word.map_or("", |(word, _)| word),
            delay_ms: millis(asked.delay),
            max_delay_ms: millis(asked.longest_delay),
            limit: asked.limit.map(|limit| LimitSummary {
                times: limit.times,
                within_ms: limit.within.map(millis),
            }),
            never_on: codes
                .chain(signals.map(|signal| signal.to_string()))
                .collect(),
            start_failures: asked.start_failures,
            on: asked.restart_on.iter().collect(),
            replace_on: asked.replace_on.iter().collect(),
        }
    }
}

impl SocketSummary {
    fn of(socket: &Socket) -> Self {
        Self {
            name: socket.name.clone(),
            address: socket.text.clone(),
        }
    }
}

impl RunReport {
    pub(crate) fn new(command: &[OsString], plan: &Plan) -> Self {
        let words = command.iter().map(|word| word.to_string_lossy().into());
        Self {
            command: words.collect(),
            plan: PlanSummary::of(plan),
            first: Vec::new(),
            last: VecDeque::new(),
            omitted: 0,
            lives: VecDeque::new(),
            lives_omitted: 0,
            began_ms: Vec::new(),
            said: false,
        }
    }

    pub(crate) fn tell(&mut self, at: Duration, record: &Record) {
        let time_ms = millis(at);
        let (generation, record) = record.addressed();
        let timed = Timed {
            time_ms,
            generation,
            record,
        };
        let Ok(told) = to_raw_value(&timed) else {
            return;
        };
        // Some programs say every few seconds how they are: the last word of those in a row is kept.
        let says = matches!(record, Record::ChildSays { .. });
        let said = std::mem::replace(&mut self.said, says);
        let before = self.last.back_mut().or(self.first.last_mut());
        if let (true, Some(before)) = (said && says, before) {
            *before = told;
            self.omitted += 1;
            return;
        }
        if self.first.len() < FIRST {
            return self.first.push(told);
        }
        if self.last.len() == LAST {
            self.last.pop_front();
            self.omitted += 1;
        }
        self.last.push_back(told);
    }

    /// How a life has ended, if this record tells it; `progress` includes the record.
    pub(crate) fn count_life(&mut self, at: Duration, record: &Record, progress: &Progress) {
        let delay_ms = match record {
            Record::GenerationBegan { generation } | Record::ReplaceBegan { generation, .. } => {
                self.began_ms.push((*generation, millis(at)));
                return;
            }
            Record::OfGeneration { record, .. } if matches!(**record, Record::Ended(_)) => {
                if let Some(last) = progress.last_exit().cloned() {
                    self.add_life(at, last, None);
                }
                return;
            }
            Record::GenerationEnded { delay, .. } => Some(millis(*delay)),
            Record::Ended(_) => None,
            _ => return,
        };
        // The end of a run between two lives is none of a life: the one before was told then.
        let Some(last) = progress
            .last_exit()
            .filter(|last| last.restart.is_some() == delay_ms.is_some())
        else {
            return;
        };
        self.add_life(at, last.clone(), delay_ms);
    }

    fn add_life(&mut self, at: Duration, last: LastExit, delay_ms: Option<u64>) {
        if self.lives.len() == LIVES {
            self.lives.pop_front();
            self.lives_omitted += 1;
        }
        let began = self
            .began_ms
            .iter()
            .position(|(number, _)| *number == last.generation);
        let began_ms = began.map_or(0, |index| self.began_ms.swap_remove(index).1);
        self.lives.push_back(Life {
            generation: last.generation,
            began_ms,
            ended_ms: millis(at),
            ending: Ending {
                outcome: last.outcome,
                clean: last.clean,
            },
            restart: last.restart,
            delay_ms,
        });
    }

    /// The document; without an outcome the run has not ended yet.
    pub(crate) fn text(
        &self,
        began: SystemTime,
        ended: SystemTime,
        outcome: Option<(&Outcome, bool)>,
    ) -> String {
        let shown = |time| humantime::format_rfc3339_millis(time).to_string();
        let document = ReportDocument {
            schema: SCHEMA,
            stepdown: env!("CARGO_PKG_VERSION"),
            command: &self.command,
            started_at: shown(began),
            ended_at: shown(ended),
            plan: &self.plan,
            records: self.first.iter().chain(&self.last).collect(),
            records_omitted: self.omitted,
            generations: &self.lives,
            generations_omitted: self.lives_omitted,
            outcome: outcome.map(|(outcome, clean)| Ending {
                outcome: outcome.clone(),
                clean,
            }),
        };
        serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Settings;

    #[test]
    fn of_what_the_child_says_in_a_row_the_last_is_kept() {
        let plan = Settings::default().plan().unwrap();
        let mut report = RunReport::new(&[], &plan);
        let says = |number: usize| {
            let status = number.to_string();
            Record::ChildSays { status }
        };
        for number in 0..FIRST + LAST {
            report.tell(Duration::ZERO, &says(number));
        }
        assert_eq!((report.first.len(), report.last.len()), (1, 0));
        let last = format!("\"status\":\"{}\"}}", FIRST + LAST - 1);
        assert!(report.first[0].get().ends_with(&last));
        report.tell(Duration::ZERO, &Record::WillNotStart);
        report.tell(Duration::ZERO, &says(1));
        assert_eq!(report.first.len(), 3);
        assert_eq!(report.omitted, (FIRST + LAST - 1) as u64);
    }

    #[test]
    fn a_long_run_keeps_its_beginning_and_its_end() {
        let plan = Settings::default().plan().unwrap();
        let mut report = RunReport::new(&[], &plan);
        let total = FIRST + LAST + 5;
        for number in 0..total {
            let message = number.to_string();
            report.tell(Duration::ZERO, &Record::Trouble { message });
        }
        let text = |told: Option<&Told>| {
            let told: serde_json::Value = serde_json::from_str(told.unwrap().get()).unwrap();
            told["message"].as_str().unwrap().to_owned()
        };
        assert_eq!(report.omitted, 5);
        assert_eq!(text(report.first.last()), (FIRST - 1).to_string());
        assert_eq!(text(report.last.front()), (FIRST + 5).to_string());
        assert_eq!(text(report.last.back()), (total - 1).to_string());
    }
}
