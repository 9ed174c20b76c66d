//! Input and output of the machine: events, actions, and the facts that hooks get.

use std::rc::Rc;
use std::time::Duration;

use crate::machine::Answer;
use crate::plan::reload::Reload;
use crate::plan::{HookPhase, Plan, Target};
use crate::record::held::HeldConnection;
use crate::record::waited::Waited;
use crate::record::{
    CountedFrom, ExitStatus, HookResult, Outcome, Process, Reason, Record, Sender, StartFailure,
};
use crate::words::signal::{Signal, SignalSet};

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    /// exec of the main child is confirmed.
    Started {
        pid: i32,
    },
    StartFailed(StartFailure),
    Signal(Received),
    /// A signal went to the child as it came (`Plan::passed_on`).
    PassedOn(Signal),
    /// A signal asks for the stop sequence and the next start (`--restart-on`); for the supervisor to give.
    RestartAsked(Received),
    /// Another generation serves in the place of this one (`--replace-on`); for the supervisor to give, with
    /// the signal that asked for it.
    Replaced(Received),
    /// `Action::OpenBeside` has opened what the next generation needs, or could not.
    OpenedBeside,
    CannotOpenBeside(Unopened),
    /// What has happened to this generation, where two are alive.
    Of {
        generation: u32,
        event: Box<Self>,
    },
    /// The process that started us is gone (`--parent-death-signal`).
    ParentDied,
    /// What `--ready-when` asks for holds.
    Ready,
    /// It does not hold yet, and why.
    NotYetReady(String),
    /// The child says that it stops by itself (`STOPPING=1`).
    ChildStopping,
    /// The child says something else of itself than before (`STATUS=`).
    ChildSays(String),
    /// A look has found that `--live-when` holds, or does not, and why.
    Alive,
    NotAlive(String),
    /// The child says that it is alive (`WATCHDOG=1`), or that it hangs (`WATCHDOG=trigger`).
    KeepsAlive,
    SaysItHangs,
    /// From now on it says so at least that often (`WATCHDOG_USEC`), or not at all.
    WatchdogIs(Option<Duration>),
    /// This `--wait-for` holds, or does not yet, and why.
    Holds(usize),
    HoldsNot {
        condition: usize,
        why: String,
    },
    ChildExited(ExitStatus),
    /// This process takes the place of the main process that has ended; what it has had of the signals that went to
    /// others besides the child.
    HeirFound {
        heir: Process,
        had: SignalSet,
    },
    /// There is nobody to take its place yet, and why.
    NoHeir(String),
    /// What the child has left listens on this port.
    LeftListening(u16),
    /// The main child was stopped, and we have a terminal.
    ChildStopped {
        signal: Signal,
        /// A shell may have started us as its job: it waits for our stop, and can continue us.
        shell_waits: bool,
    },
    /// Ctrl-Z was typed while there is no child that it would stop, and a shell waits for our stop.
    StopTyped,
    /// So long we have been stopped (`Action::Suspend`), or nothing of us ran.
    Resumed(Duration),
    /// The kernel has killed for lack of memory; told before the death that it explains.
    OomKilled {
        kills: u64,
        before_this_life: u64,
        counted_from: CountedFrom,
        limit: Option<u64>,
    },
    Reaped {
        pid: i32,
        status: ExitStatus,
    },
    HookEnded {
        hook: HookId,
        result: HookResult,
    },
    StopCommandEnded {
        step: usize,
        result: HookResult,
    },
    /// What a sweep, or KILL sent to the tree, has signalled.
    Swept {
        signal: Signal,
        processes: Vec<Process>,
    },
    /// Which processes are still there, the child first, and why (`Action::LookWhoIsThere`).
    StillThere(Vec<Waited>),
    /// Which processes `Action::TellLeft` has not signalled: those that had been asked before, and
    /// whether some are left to their parents for now.
    NotTold {
        before: Vec<Process>,
        held_back: bool,
    },
    /// The kernel says that we have no child left (ECHILD).
    NoneLeft,
    /// How many requests are in flight; `settled` once that was none for long enough.
    InFlight {
        requests: u32,
        settled: bool,
    },
    /// Which connections these are: how many, and those that have waited longest.
    HeldUp {
        connections: u32,
        oldest: Vec<HeldConnection>,
    },
    /// What came of asking about a `--drain-until`.
    Answered {
        condition: usize,
        answer: Answer,
    },
    /// The child says how many it has in flight (`X_STEPDOWN_IN_FLIGHT`).
    SaysInFlight(u32),
    /// The load balancers have had enough answers (`--drain-checks`).
    BalancersTold,
    /// Of the bytes left to be sent from the drained ports some have been taken.
    Flushing,
    /// No byte is left to be sent from the drained ports.
    Flushed,
    /// The configuration file was read again.
    Reloaded(Box<Reload>),
    /// It was read again, but cannot be used.
    ReloadRefused(String),
    /// The child asks for more time in the current step (`EXTEND_TIMEOUT_USEC`).
    Extend(Duration),
    Trouble(String),
    Deadline,
}

/// A signal that reached us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Received {
    pub(crate) signal: Signal,
    pub(crate) sender: Sender,
    /// It went to the whole group that we share with the child: from the terminal, most often.
    pub(crate) reached_child: bool,
    /// It was ignored when we were started, so the child ignores it, too.
    pub(crate) ignored: bool,
}

/// What to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Action {
    /// Looks until this `--wait-for` holds, and tells what each look found.
    WaitFor {
        condition: usize,
        facts: Facts,
    },
    /// Looks no more, and kills the process group of a look.
    EndWait,
    RunHook {
        hook: HookId,
        facts: Facts,
    },
    /// Lets a hook that is tried again until its time is over come to its end.
    TryNoMore(HookId),
    /// Kills the process group of a hook.
    EndHook(HookId),
    Start,
    Send {
        target: Target,
        signal: Signal,
    },
    /// Continues the stopped processes of the target, so that they can act on the signal.
    Continue(Target),
    /// Writes the text of this step and a newline to the child's standard input.
    WriteStdin {
        step: usize,
    },
    CloseStdin,
    RunStopCommand {
        step: usize,
        facts: Facts,
    },
    EndStopCommand {
        step: usize,
    },
    /// Looks until what `--ready-when` asks for holds.
    AwaitReady(Facts),
    /// Looks again and again whether `--live-when` holds, until it is not ready any more.
    Watch(Facts),
    /// The child is ready: the service manager is told.
    Ready,
    /// It is not ready, or no longer: the check ends, and the service manager is told.
    NotReady,
    StartDrain,
    /// Asks the program about each `--drain-until`, again and again until the drain ends.
    AskProgram {
        facts: Facts,
        conditions: usize,
    },
    /// Looks and asks at once, and tells what it found also where that is no news.
    LookAgain,
    EndDrain,
    /// Tells `Event::Flushed` once nothing that would be lost is left to send.
    Flush,
    /// Signals every process that is left, and reports those that it had not signalled before as
    /// `Event::Swept`: KILL ends them, STOP keeps them from forking.
    Sweep(Signal),
    /// Looks up which processes have not ended since the signal was sent to the target, and reports them as
    /// `Event::StillThere`.
    LookWhoIsThere {
        signal: Option<Signal>,
        target: Target,
    },
    /// Asks those that are left to end, by TERM, if they were not asked before; reports these as
    /// `Event::Swept`, and the others as `Event::NotTold`.
    TellLeft(Whom),
    /// Reads the configuration file again, and reports the result as `Event::Reloaded`.
    Reload,
    /// This plan counts from now on.
    Adopt(Rc<Plan>),
    /// Sends to those of the tree that a signal for the group of the child has not reached.
    SendBeyondGroup(Signal),
    /// Stops this process by this signal, as the child was stopped, until it is continued; reports
    /// `Event::Resumed` then.
    Suspend(Signal),
    /// It is not ready for now: nobody looks at it any longer.
    StopLooking,
    /// Looks who takes the place of the main process that has ended, until it is found or the search ends.
    FindHeir,
    EndSearch,
    /// Looks whether what is left listens on a port, and reports it as `Event::LeftListening`.
    LookWhoListens,
    /// No child uses the terminal any more: it is set as it was at the start, for whoever types until the next life of
    /// the command, and for that.
    RestoreTerminal,
    /// Another life of the command begins: what belongs to the last one is forgotten.
    NextGeneration {
        number: u32,
    },
    /// Opens what a generation beside the one that serves needs; reports `Event::OpenedBeside`, or why not.
    OpenBeside {
        generation: u32,
    },
    /// This is for the generation beside the one that serves.
    Beside(Box<Self>),
    /// The generation beside the other one serves from now on: new connections go to it alone, and the other one
    /// is the one beside it.
    Switch,
    /// The generation beside the one that serves is over, and its sockets are closed.
    CloseBeside,
    /// No other life of the command follows: who connects to a socket of `--listen` that the child has closed is
    /// to be refused.
    CloseSockets,
    Record(Record),
    Finish(Outcome),
}

impl Event {
    /// Says to which generation it has happened, unless it is no matter of one alone.
    pub(crate) fn of(self, generation: u32) -> Self {
        match self {
            shared if shared.outlives_a_generation() => shared,
            addressed @ Self::Of { .. } => addressed,
            event => Self::Of {
                generation,
                event: Box::new(event),
            },
        }
    }

    /// As it is told where nobody is there to do something about it.
    pub(crate) fn record(self) -> Option<Record> {
        Some(match self {
            Self::ReloadRefused(message) => Record::ReloadRefused { message },
            Self::Trouble(message) => Record::Trouble { message },
            Self::Reaped { pid, status } => Record::Reaped { pid, status },
            Self::OomKilled {
                kills,
                before_this_life,
                counted_from,
                limit,
            } => Record::OomKilled {
                kills,
                before_this_life,
                counted_from,
                limit,
            },
            _ => return None,
        })
    }

    /// Without the word to whom it has happened.
    pub(crate) fn itself(&self) -> &Self {
        match self {
            Self::Of { event, .. } => event,
            event => event,
        }
    }

    /// Whether another life of the command, which begins now, must know it, or the one beside.
    pub(crate) fn is_for_next(&self, beside: Option<u32>) -> bool {
        match self {
            Self::Of { generation, .. } => Some(*generation) == beside,
            event => event.outlives_a_generation(),
        }
    }

    /// Whether it still counts when another life of the command begins: what is asked of stepdown and what is
    /// to be told does; what the last child did or said does not.
    pub(crate) fn outlives_a_generation(&self) -> bool {
        matches!(
            self,
            Self::Signal(_)
                | Self::StopTyped
                | Self::Resumed(_)
                | Self::ParentDied
                | Self::Reaped { .. }
                | Self::OomKilled { .. }
                | Self::Reloaded(_)
                | Self::ReloadRefused(_)
                | Self::Trouble(_)
        )
    }
}

/// Why nothing could be opened for the next generation, as it is to be told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Unopened {
    /// Descriptors or memory are short. A restart would need them, too.
    NotNow(String),
    /// The kernel has no way to two generations at a time, or forbids it.
    Never(String),
}

/// Which of the processes that are left `Action::TellLeft` is for, and which signals they may have
/// had already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Whom {
    /// Those with a parent in the tree, too.
    pub(crate) rest: bool,
    /// A process that has had one of these and does not ignore it has been asked to end.
    pub(crate) had: SignalSet,
    /// What asked for the stop, and when: it may have signalled every process.
    pub(crate) asked: Option<(Sender, Duration)>,
}

/// One hook of the plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct HookId {
    pub(crate) phase: HookPhase,
    pub(crate) index: usize,
}

/// Which life of the command this is, where there may be several.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Generation {
    /// Counted from one.
    pub(crate) number: u32,
    /// Those before it that nobody had asked for.
    pub(crate) restarts: u32,
}

/// What hooks get in their environment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Facts {
    pub(crate) phase: &'static str,
    pub(crate) reason: Option<Reason>,
    pub(crate) signal: Option<Signal>,
    pub(crate) sender: Option<Sender>,
    pub(crate) child: Option<i32>,
    pub(crate) status: Option<ExitStatus>,
    pub(crate) escalated: bool,
    pub(crate) remaining: Option<Duration>,
    /// systemd's `SERVICE_RESULT`, once the child has ended.
    pub(crate) result: Option<&'static str>,
    pub(crate) generation: Option<Generation>,
}
