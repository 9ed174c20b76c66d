//! What happened, as facts: everything the user sees is a fold over these records.

mod drain;
pub(crate) mod held;
mod outcome;
mod reason;
pub(crate) mod waited;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::plan::{HookPhase, Target};
use crate::record::held::HeldConnection;
use crate::record::waited::Waited;
use crate::words::signal::Signal;

pub(crate) use drain::{DrainEnd, DrainWait};
pub(crate) use outcome::Outcome;
pub(crate) use reason::{Reason, RestartReason};

/// The sender of a signal (sigaction(2), `si_code` and `si_pid`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Sender {
    /// The kernel itself: a terminal, a timer, a hangup.
    Kernel,
    /// A process outside our PID namespace: its number is hidden from us.
    Outside,
    /// The process with this pid.
    Pid(i32),
}

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ExitStatus {
    Exited(u8),
    Killed { signal: Signal, core: bool },
}

impl ExitStatus {
    /// The status as a shell reports it: 128+n for death by signal n.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Exited(code) => code,
            Self::Killed { signal, .. } => killed_by(signal),
        }
    }
}

/// 128+n.
pub(crate) fn killed_by(signal: Signal) -> u8 {
    u8::try_from(128 + signal.number()).unwrap_or(u8::MAX)
}

/// A process of the tree, as it is named in the log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) command: String,
    /// It was put into our PID namespace from outside (`docker exec`, nsenter(1)).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) from_outside: bool,
}

impl Process {
    pub(crate) fn new(pid: i32, command: impl Into<String>) -> Self {
        Self {
            pid,
            command: command.into(),
            from_outside: false,
        }
    }
}

/// How a hook, or the stop command of a step, ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum HookResult {
    Ended(ExitStatus),
    /// It could not be started, or is a call that was not answered as it was to be, and why.
    Failed(String),
    /// Its timeout passed; its process group was killed.
    TimedOut,
    /// A second request ended it; its process group was killed.
    CutShort,
    /// The deadline left no time to start it.
    Skipped,
}

impl HookResult {
    pub(crate) fn is_success(&self) -> bool {
        *self == Self::Ended(ExitStatus::Exited(0))
    }
}

/// Why the child could not be started.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct StartFailure {
    /// 125, 126 or 127.
    pub(crate) code: u8,
    pub(crate) message: String,
}

/// Since when kills for lack of memory are counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CountedFrom {
    /// Our own start.
    Start,
    /// The start of the cgroup: some may have been before us.
    Cgroup,
}

/// Why the child is not ready any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum NotReady {
    /// A stop was asked for.
    StopAsked,
    /// The child says that it is stopping on its own account (sd_notify(3), `STOPPING=1`).
    ChildStopping,
    ChildExited,
}

/// What became of a further request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Again {
    /// The child had not had it, or may hurry in the last step, which is none of KILL: it was sent to it.
    PassedOn,
    /// The child had not had it: it is sent to it once the ladder begins.
    Waits,
    /// The child had not had it: it is sent to it after the signal that asked (`SAME`), or once the next main process
    /// is there (`--main-pid`).
    WaitsLonger,
    /// The child got it once more, so that it hurries; the next one takes the next step.
    Hurried,
    /// The terminal has given it to the child; the next one takes the next step.
    ByTerminal,
    /// The child has had, or gets, the signal that stands for every request (`--stop-signal`).
    StoodFor,
    /// Nothing yet; the next one is faster.
    Noted,
}

/// One fact. Durations are counted from where the field's name says, in whole milliseconds as JSON.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(crate) enum Record {
    /// A socket of `--listen` is open.
    Listening {
        name: String,
        address: String,
        /// The kernel has chosen the port.
        #[serde(skip)]
        chosen: bool,
    },
    /// The socket of `--health-listen` is open.
    EndpointListening {
        address: String,
        /// The kernel has chosen the port.
        #[serde(skip)]
        chosen: bool,
    },
    Started {
        pid: i32,
        /// It is ready from its start on: nothing was asked for with `--ready-when`.
        ready: bool,
    },
    StartFailed(StartFailure),
    /// A `--wait-for` does not hold yet, and is waited for.
    WaitStarted {
        condition: String,
        why: String,
        #[serde(rename = "left_ms", serialize_with = "millis")]
        left: Duration,
    },
    /// It does not hold yet, for another reason than before.
    WaitGoesOn {
        condition: String,
        why: String,
    },
    /// It holds now.
    WaitEnded {
        condition: String,
        #[serde(rename = "took_ms", serialize_with = "millis")]
        took: Duration,
    },
    /// A stop was asked for before the start: the pre-start hook that is running ends, and nothing follows.
    WillNotStart,
    /// What was asked for with `--ready-when` holds; counted from the child's start.
    Ready {
        #[serde(rename = "after_ms", serialize_with = "millis")]
        after: Duration,
    },
    /// The command is not ready after a while, and nobody has said when it is or by when it must be.
    StillNotReady {
        #[serde(rename = "after_ms", serialize_with = "millis")]
        after: Duration,
        /// The option that is waited for, and its value.
        condition: String,
        why: Option<String>,
    },
    /// What was asked for with `--ready-when` does not hold yet, for another reason than before.
    NotYetReady {
        why: String,
    },
    /// What was asked for with `--live-when` does not hold, at so many checks in a row.
    NotAlive {
        why: String,
        failures: u32,
        /// With so many the child is stopped.
        of: u32,
    },
    /// It holds again, after so many checks at which it did not.
    AliveAgain {
        failures: u32,
    },
    /// Before the ladder a child that has missed its watchdog gets ABRT, so that it leaves a core.
    Aborted {
        #[serde(rename = "wait_ms", serialize_with = "optional_millis")]
        wait: Option<Duration>,
    },
    /// From now on load balancers should send no requests.
    NotReady {
        why: NotReady,
        /// How many answers of "not ready" make a balancer know (`--drain-checks`); they count from now on.
        #[serde(skip_serializing_if = "Option::is_none")]
        checks: Option<u32>,
    },
    /// The child has said that it is ready after all; counted from when it was not ready any more.
    ReadyAgain {
        #[serde(rename = "after_ms", serialize_with = "millis")]
        after: Duration,
    },
    /// What the child says of itself (sd_notify(3), `STATUS=`); empty where it takes that back.
    ChildSays {
        status: String,
    },
    /// The child asks for more time (sd_notify(3), `EXTEND_TIMEOUT_USEC`).
    Extended {
        #[serde(rename = "by_ms", serialize_with = "millis")]
        by: Duration,
        /// How long what is under way may last from now on; the deadline may grant less.
        #[serde(rename = "left_ms", serialize_with = "millis")]
        left: Duration,
    },
    StopAsked {
        reason: Reason,
        signal: Option<Signal>,
        sender: Option<Sender>,
        /// In how much time all must be over (`--deadline`).
        #[serde(rename = "deadline_ms", serialize_with = "optional_millis")]
        deadline: Option<Duration>,
    },
    HookStarted {
        phase: HookPhase,
        name: String,
    },
    HookEnded {
        phase: HookPhase,
        name: String,
        result: HookResult,
        #[serde(rename = "took_ms", serialize_with = "millis")]
        took: Duration,
    },
    DrainStarted(DrainWait),
    /// The drain goes on, for another reason than before.
    DrainWaits(DrainWait),
    InFlight {
        requests: u32,
        #[serde(rename = "left_ms", serialize_with = "millis")]
        left: Duration,
    },
    /// What holds up the drain: how many connections, and those of them that have waited longest.
    HeldUp {
        connections: u32,
        oldest: Vec<HeldConnection>,
    },
    /// The time for the checks is over, and not every balancer was told as often as it needs (`--drain-checks`).
    DrainUntold {
        times: u32,
        #[serde(rename = "within_ms", serialize_with = "millis")]
        within: Duration,
    },
    /// The drain has ended although this `--drain-until` did not hold, and why.
    DrainUnmet {
        until: String,
        why: String,
    },
    DrainEnded {
        end: DrainEnd,
        interrupted: u32,
        #[serde(rename = "took_ms", serialize_with = "millis")]
        took: Duration,
    },
    /// A step of the ladder was taken.
    Step {
        step: usize,
        of: usize,
        #[serde(serialize_with = "shared_text")]
        text: Arc<str>,
        signal: Option<Signal>,
        target: Target,
        /// The terminal had sent the signal to the child's group already, so it was not sent again.
        by_terminal: bool,
        /// It had been passed on to the child before, when it came, so it was not sent again.
        passed_on: bool,
        #[serde(rename = "wait_ms", serialize_with = "optional_millis")]
        wait: Option<Duration>,
    },
    /// The deadline leaves time for KILL only.
    StepSkipped {
        step: usize,
        of: usize,
        #[serde(serialize_with = "shared_text")]
        text: Arc<str>,
        signal: Option<Signal>,
    },
    StopCommandEnded {
        result: HookResult,
    },
    /// A signal that asks for the stop, or for more speed, came while the run was on its way down.
    AskedAgain {
        signal: Signal,
        sender: Sender,
        again: Again,
        /// What the child gets for it (`--rewrite`).
        sent_as: Signal,
        target: Target,
    },
    /// A second request ended the current wait.
    Escalated {
        signal: Signal,
        sender: Sender,
    },
    ChildExited {
        status: ExitStatus,
        #[serde(rename = "after_ms", serialize_with = "millis")]
        after: Duration,
        /// The step of the ladder that worked, counted from one.
        step: Option<usize>,
    },
    /// The main process has ended, and this descendant is the child from now on (`--main-pid`).
    HandedOver {
        from: i32,
        /// How that one ended.
        status: ExitStatus,
        pid: i32,
        command: String,
    },
    /// The child has exited with 0, and what it has left listens on this port.
    LeftListening {
        port: u16,
    },
    /// The main process has ended well, and it is not known yet who takes its place, and why not.
    HeirAwaited {
        pid: i32,
        why: String,
        #[serde(rename = "left_ms", serialize_with = "millis")]
        left: Duration,
    },
    /// The ladder has lasted so long; the processes that are still there, the child first, and why.
    StillThere {
        #[serde(rename = "after_ms", serialize_with = "millis")]
        after: Duration,
        processes: Vec<Waited>,
    },
    /// The child has ended because of a signal that does not ask for the stop.
    NotAStop {
        signal: Signal,
        #[serde(rename = "after_ms", serialize_with = "millis")]
        after: Duration,
        /// The value of `--stop-on` with which it would.
        stop_on: String,
    },
    /// The kernel has killed processes of our cgroup for lack of memory.
    OomKilled {
        /// How many, in all.
        kills: u64,
        /// How many of these were known when this life of the command began.
        before_this_life: u64,
        counted_from: CountedFrom,
        /// What the cgroup may have.
        #[serde(rename = "limit_bytes")]
        limit: Option<u64>,
    },
    /// The child did not end, not even by KILL.
    ChildLeft {
        pid: i32,
    },
    Forwarded {
        signal: Signal,
        received: Signal,
        target: Target,
    },
    Dropped {
        signal: Signal,
        why: &'static str,
    },
    /// The signal asks for something that is not done, and the child does not get it either.
    NotObeyed {
        signal: Signal,
        /// What makes it such a request.
        option: &'static str,
        why: &'static str,
    },
    /// A generation ends, and the next one has what is in the file by then.
    ReloadPutOff {
        signal: Signal,
    },
    Reaped {
        pid: i32,
        status: ExitStatus,
    },
    /// Processes that the child left behind were signalled.
    Swept {
        signal: Signal,
        processes: Vec<Process>,
        /// With KILL: the option whose time is over.
        #[serde(skip_serializing_if = "Option::is_none")]
        decided_by: Option<&'static str>,
    },
    /// Processes that the child left behind have had the signal before, and are only waited for.
    Awaited {
        processes: Vec<Process>,
        #[serde(rename = "wait_ms", serialize_with = "millis")]
        wait: Duration,
        decided_by: Option<&'static str>,
    },
    SweepEnded {
        left: bool,
        #[serde(rename = "took_ms", serialize_with = "millis")]
        took: Duration,
    },
    /// The child was stopped on the terminal, and we stop with it.
    Suspended,
    /// Ctrl-Z was typed while there was no child, and we stop.
    SuspendedAlone,
    /// The child was stopped where nothing would ever continue it, so it was continued at once.
    NotSuspended {
        signal: Signal,
    },
    /// The configuration file was read again.
    Reloaded {
        /// Options that count from now on.
        changed: Vec<&'static str>,
        /// Options that were changed, too, but only count after a restart.
        needs_restart: Vec<&'static str>,
    },
    /// It was read again, but everything stays as it was.
    ReloadRefused {
        message: String,
    },
    /// Something that was asked for could not be done, or not in the best way.
    Trouble {
        message: String,
    },
    /// A life of the command has ended, and another one follows after the delay.
    GenerationEnded {
        generation: u32,
        #[serde(flatten)]
        outcome: Outcome,
        restart: RestartReason,
        #[serde(rename = "delay_ms", serialize_with = "millis")]
        delay: Duration,
    },
    /// The next one begins; counted from one, so this is never the first.
    GenerationBegan {
        generation: u32,
    },
    /// There were so many restarts that no other follows (`--restart-limit`).
    GaveUp {
        restarts: u32,
        #[serde(rename = "within_ms", serialize_with = "optional_millis")]
        within: Option<Duration>,
    },
    /// A signal of `--replace-on` came: the next generation is started beside the one that serves.
    ReplaceBegan {
        generation: u32,
        signal: Signal,
        sender: Option<Sender>,
    },
    /// It serves now: new connections go to it alone, and the one before it is stopped.
    Replaced {
        generation: u32,
        before: u32,
        pid: Option<i32>,
        ready: bool,
    },
    /// It has ended before it served; the one before it goes on.
    ReplaceFailed {
        generation: u32,
        serving: u32,
    },
    /// What it needs could not be had: it was not begun.
    ReplaceRefused {
        why: String,
        serving: u32,
    },
    Ended(Outcome),
    /// What happens to the generation beside the one that serves; in JSON that record, with its generation.
    #[serde(skip)]
    OfGeneration {
        generation: u32,
        record: Box<Self>,
    },
}

impl Record {
    /// The generation that it is addressed to, if it is, and the record itself.
    pub(crate) fn addressed(&self) -> (Option<u32>, &Self) {
        match self {
            Self::OfGeneration { generation, record } => (Some(*generation), record),
            record => (None, record),
        }
    }
}

fn shared_text<S: serde::Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

pub(crate) fn millis<S: serde::Serializer>(
    duration: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

pub(crate) fn optional_millis<S: serde::Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => millis(duration, serializer),
        None => serializer.serialize_none(),
    }
}
