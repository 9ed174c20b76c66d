//! The plan: everything a run was asked to do, parsed and resolved, and how its time is shared out.
//!
//! A `Plan` is plain data. It is built by `options` before anything is started, read by the machine,
//! and printed by `explain`.

pub(crate) mod budget;
pub(crate) mod call;
pub(crate) mod condition;
pub(crate) mod drain;
pub(crate) mod listen;
pub(crate) mod liveness;
pub(crate) mod main_pid;
pub(crate) mod mdns;
pub(crate) mod readiness;
pub(crate) mod reload;
pub(crate) mod sockets;
pub(crate) mod supervision;
pub(crate) mod until;
pub(crate) mod voice;
pub(crate) mod wait;

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use crate::plan::call::{Body, Call};
use crate::plan::drain::Drain;
use crate::plan::listen::Listen;
use crate::plan::liveness::{LiveWhen, Liveness};
use crate::plan::main_pid::{MainPid, NamedBy};
use crate::plan::readiness::{Readiness, ReadyWhen};
use crate::plan::sockets::Socket;
use crate::plan::supervision::Supervision;
use crate::plan::until::UntilWhen;
use crate::plan::voice::{Diagnostics, Voice};
use crate::plan::wait::{Wait, WaitWhen};
use crate::words::signal::{Signal, SignalSet};

/// Whom a signal is sent to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Target {
    /// The main child alone.
    Child,
    /// The main child's process group.
    Group,
    /// Every living descendant, whatever its session.
    Tree,
}

/// The default is the first.
impl Target {
    pub(crate) const ALL: [(&'static str, Self); 3] = [
        ("child", Self::Child),
        ("group", Self::Group),
        ("tree", Self::Tree),
    ];
}

/// What one step of the ladder does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum StepAction {
    Signal(Signal),
    /// The signal that asked for the stop; TERM when no signal did.
    Same,
    /// A line for the child's standard input.
    Stdin(OsString),
    /// The end of the child's standard input.
    Eof,
    /// A stop command, as systemd's `ExecStop=`.
    Exec(Vec<OsString>),
}

/// How long a step waits if no time was given and nobody else would send KILL.
pub(crate) const OWN_GRACE: Duration = Duration::from_secs(30);

/// One step of the ladder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Step {
    pub(crate) action: StepAction,
    pub(crate) target: Target,
    /// How long to wait for the child's exit, if a time was given: see `Plan::first_without_wait`.
    pub(crate) wait: Option<Duration>,
    /// The time was given in the step itself.
    pub(crate) says_wait: bool,
    /// The step as the user would write it.
    pub(crate) text: Arc<str>,
}

impl Step {
    pub(crate) fn is_kill(&self) -> bool {
        self.action == StepAction::Signal(Signal::KILL)
    }
}

/// When a hook runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum HookPhase {
    PreStart,
    PreStop,
    PostStop,
}

impl HookPhase {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::PreStart => "pre-start",
            Self::PreStop => "pre-stop",
            Self::PostStop => "post-stop",
        }
    }
}

/// What a hook does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum HookKind {
    /// A command line, executed without a shell.
    Command(Vec<OsString>),
    /// A request, a datagram or a goodbye that we send ourselves.
    Call(Call),
}

/// Whether a failed hook matters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OnFailure {
    Ignore,
    /// A pre-start hook prevents the start; the others only log it.
    Fail,
}

/// One hook.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Hook {
    pub(crate) name: String,
    pub(crate) kind: HookKind,
    pub(crate) timeout: Duration,
    pub(crate) on_failure: OnFailure,
    pub(crate) env: Vec<(OsString, OsString)>,
}

/// What happens to the processes that the main child leaves behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Left {
    /// They get TERM and CONT, the sweep grace, then KILL.
    Stop,
    /// They are waited for.
    Wait,
    /// They are left alone.
    Leave,
}

/// The default is the first.
impl Left {
    pub(crate) const ALL: [(&'static str, Self); 3] = [
        ("stop", Self::Stop),
        ("wait", Self::Wait),
        ("leave", Self::Leave),
    ];
}

/// Where the child's standard input comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stdin {
    /// Ours, as it is.
    Inherit,
    /// A pipe into which ours is relayed, so that steps can write to it.
    Relay,
}

impl Stdin {
    pub(crate) const ALL: [(&'static str, Self); 2] =
        [("inherit", Self::Inherit), ("relay", Self::Relay)];
}

/// Codes and signals that become exit status 0 (`--success-exit`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct SuccessExit {
    pub(crate) codes: Vec<u8>,
    pub(crate) signals: SignalSet,
}

/// What stepdown exits with when the child cannot be started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FailureCodes {
    /// A failure of stepdown's own, and usage errors.
    pub(crate) own: u8,
    pub(crate) not_found: u8,
    /// The kernel says EACCES.
    pub(crate) not_permitted: u8,
    /// Anything else that exec says.
    pub(crate) not_executable: u8,
    /// `--success-exit` counts for what exec says, too: tini's child has exited so.
    pub(crate) can_be_success: bool,
}

impl Default for FailureCodes {
    /// As docker run, timeout(1) and env(1) exit.
    fn default() -> Self {
        Self {
            own: 125,
            not_found: 127,
            not_permitted: 126,
            not_executable: 126,
            can_be_success: false,
        }
    }
}

/// How the child is started; see `sys::spawn` for the order in which it is done.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct ChildSettings {
    pub(crate) user: Option<Identity>,
    pub(crate) workdir: Option<OsString>,
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) no_new_privs: bool,
    /// PID 1 of a PID namespace of its own (`check --as-pid1`).
    pub(crate) own_namespaces: bool,
}

/// The user that the child runs as; all names are resolved to numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// All supplementary groups, the primary one included; `None` leaves them as they are.
    pub(crate) groups: Option<Vec<u32>>,
    /// `HOME` and `USER`, where the user is known by name.
    pub(crate) home: Option<OsString>,
    pub(crate) name: Option<OsString>,
}

/// The health endpoint (`--health-listen`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Health {
    pub(crate) listen: Listen,
    /// The HTTP status of `/readyz` while not ready.
    pub(crate) not_ready_status: u16,
}

/// Everything that was asked for, resolved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Plan {
    pub(crate) ladder: Vec<Step>,
    /// What the child gets in place of each signal that asks for a stop (`--stop-signal`).
    pub(crate) stop_signal: Option<Signal>,
    pub(crate) stop_on: SignalSet,
    pub(crate) escalate_on: SignalSet,
    /// Those of `stop_on` and `escalate_on` that are written, and no default.
    pub(crate) named: SignalSet,
    /// Signals that ask for the configuration file to be read again.
    pub(crate) reload_on: SignalSet,
    /// From, to; `None` drops.
    pub(crate) rewrite: Vec<(Signal, Option<Signal>)>,
    /// Which processes get forwarded signals.
    pub(crate) target: Target,
    pub(crate) deadline: Option<Duration>,
    pub(crate) max_runtime: Option<Duration>,
    /// What must hold before anything is started.
    pub(crate) wait: Option<Wait>,
    pub(crate) pre_start: Vec<Hook>,
    pub(crate) pre_stop: Vec<Hook>,
    pub(crate) post_stop: Vec<Hook>,
    /// How long a hook may take that does not say it itself.
    pub(crate) hook_timeout: Duration,
    pub(crate) readiness: Option<Readiness>,
    /// Without it nobody looks whether the child hangs.
    pub(crate) liveness: Option<Liveness>,
    /// Who names the process that the child hands over to.
    pub(crate) main_pid: Option<MainPid>,
    pub(crate) health: Option<Health>,
    pub(crate) drain: Option<Drain>,
    pub(crate) sweep_grace: Duration,
    pub(crate) left: Left,
    pub(crate) success_exit: SuccessExit,
    pub(crate) clean_stop: bool,
    pub(crate) stdin: Stdin,
    pub(crate) subreaper: bool,
    /// The child gets a cgroup of its own, where that is possible.
    pub(crate) cgroup: bool,
    pub(crate) parent_death_signal: Option<Signal>,
    pub(crate) child: ChildSettings,
    /// What is listened on for the child, before it is started.
    pub(crate) sockets: Vec<Socket>,
    /// How many descriptors are kept for the next start (`--fd-store-max`).
    pub(crate) fd_store_max: usize,
    /// There only where the command may be started again.
    pub(crate) supervision: Option<Supervision>,
    /// How it is told what happens.
    pub(crate) voice: Voice,
    /// What is told besides the records, if anything.
    pub(crate) diagnostics: Option<Diagnostics>,
    pub(crate) failure_codes: FailureCodes,
    /// It was given how long a step waits (`--grace`).
    pub(crate) says_grace: bool,
    /// Files about the run are written (`--report`, `--state-file`, `--metrics-file`).
    pub(crate) keeps_files: bool,
    /// We are PID 1: the platform that asks us to stop sends KILL itself after its grace period.
    pub(crate) as_pid1: bool,
}

impl Plan {
    /// The first step without a time to wait. It waits as long as the deadline allows. Without a deadline
    /// PID 1 leaves KILL to the platform, which has a grace period; an ordinary process sends it after a
    /// default time.
    pub(crate) fn first_without_wait(&self) -> Option<usize> {
        let says_none = |step: &Step| step.wait.is_none() && !step.is_kill();
        self.ladder.iter().position(says_none)
    }

    /// Whether a stop that the platform asks for may last until the platform sends KILL.
    pub(crate) fn waits_for_platform(&self) -> bool {
        let kills = self.ladder.last().is_some_and(Step::is_kill);
        kills && self.as_pid1 && self.deadline.is_none() && self.first_without_wait().is_some()
    }

    /// Whether a stop can be asked for that consists of more than signals.
    pub(crate) fn has_stop_sequence(&self) -> bool {
        if self.stop_on.is_empty() {
            return false;
        }
        let has_hooks = !(self.pre_stop.is_empty() && self.post_stop.is_empty());
        let tells = self.readiness.is_some() || self.health.is_some() || self.keeps_files;
        has_hooks || tells || self.drain.is_some()
    }

    pub(crate) fn hooks(&self, phase: HookPhase) -> &[Hook] {
        match phase {
            HookPhase::PreStart => &self.pre_start,
            HookPhase::PreStop => &self.pre_stop,
            HookPhase::PostStop => &self.post_stop,
        }
    }

    /// What its hooks send.
    pub(crate) fn bodies(&self) -> impl Iterator<Item = &Body> {
        let hooks = [&self.pre_start, &self.pre_stop, &self.post_stop];
        hooks
            .into_iter()
            .flatten()
            .filter_map(|hook| match &hook.kind {
                HookKind::Call(Call::Http(request)) => request.body.as_ref(),
                _ => None,
            })
    }

    /// The command lines of hooks, steps and conditions.
    pub(crate) fn commands(&self) -> impl Iterator<Item = &[OsString]> {
        let hooks = [&self.pre_start, &self.pre_stop, &self.post_stop];
        let hooks = hooks.into_iter().flatten().map(|hook| match &hook.kind {
            HookKind::Command(words) => &words[..],
            HookKind::Call(_) => &[],
        });
        let steps = self.ladder.iter().map(|step| match &step.action {
            StepAction::Exec(words) => &words[..],
            _ => &[],
        });
        let ready = self.readiness.iter().map(|ready| match &ready.when {
            ReadyWhen::Exec(words) => &words[..],
            _ => &[],
        });
        let waits = self.wait.iter().flat_map(|wait| &wait.conditions);
        let waits = waits.map(|condition| match &condition.when {
            WaitWhen::Exec(words) => &words[..],
            _ => &[],
        });
        let live = self.liveness.iter().map(|live| match &live.when {
            LiveWhen::Exec(words) => &words[..],
            _ => &[],
        });
        let until = self.drain.iter().flat_map(|drain| &drain.until);
        let until = until.map(|until| match &until.when {
            UntilWhen::Exec(words) => &words[..],
            _ => &[],
        });
        let conditions = ready.chain(waits).chain(live).chain(until);
        let all = hooks.chain(steps).chain(conditions);
        all.filter(|words| !words.is_empty())
    }

    /// Whether anything besides the child is started, or may be after a reload: hooks, stop
    /// commands.
    pub(crate) fn runs_commands(&self) -> bool {
        let hooks = [&self.pre_start, &self.pre_stop, &self.post_stop];
        let is_command = |step: &Step| matches!(step.action, StepAction::Exec(_));
        let when = self.readiness.as_ref().map(|readiness| &readiness.when);
        hooks.into_iter().any(|hooks| !hooks.is_empty())
            || self.ladder.iter().any(is_command)
            || matches!(when, Some(ReadyWhen::Exec(_)))
            || self.wait.as_ref().is_some_and(Wait::runs_commands)
            || matches!(self.live_when(), Some(LiveWhen::Exec(_)))
            || self.drains_until(|when| matches!(when, UntilWhen::Exec(_)))
            || !self.reload_on.is_empty()
    }

    /// Signals that go to the child as they come, whatever the phase: the decision is made beforehand,
    /// so that nothing has to be decided between their arrival and kill(2).
    pub(crate) fn passed_on(&self) -> SignalSet {
        let decided = |signal: &Signal| {
            self.stop_on.contains(*signal)
                || self.escalate_on.contains(*signal)
                || self.rewrite.iter().any(|(from, _)| from == signal)
                || self.parent_death_signal == Some(*signal)
                || self.reload_on.contains(*signal)
                || self.restarts_on(*signal)
        };
        // Not those that the kernel also sends because of what we do ourselves: their sender has to
        // be looked at.
        let own = |signal: &Signal| [Signal::CHLD, Signal::PIPE, Signal::XFSZ].contains(signal);
        let all = SignalSet::all()
            .iter()
            .filter(|_| self.target == Target::Child);
        all.filter(|signal| !decided(signal) && !own(signal))
            .collect()
    }

    /// Whether this signal asks for the next generation (`--restart-on`, `--replace-on`).
    fn restarts_on(&self, signal: Signal) -> bool {
        let supervision = self.supervision.as_ref();
        supervision.is_some_and(|supervision| {
            supervision.restart_on.contains(signal) || supervision.replace_on.contains(signal)
        })
    }

    /// Whether two generations may be alive at a time (`--replace-on`).
    pub(crate) fn replaces(&self) -> bool {
        let supervision = self.supervision.as_ref();
        supervision.is_some_and(|supervision| !supervision.replace_on.is_empty())
    }

    /// Whether we open descriptors before the start that stay open: then the inherited ones must be
    /// known, so that only those are closed.
    pub(crate) fn opens_before_start(&self) -> bool {
        self.health.is_some() || self.awaits_notification()
    }

    /// Whether the child gets a socket of ours as NOTIFY_SOCKET (sd_notify(3)).
    pub(crate) fn awaits_notification(&self) -> bool {
        let when = self.readiness.as_ref().map(|readiness| &readiness.when);
        self.keeps_descriptors()
            || self.hears_main_pid()
            || when == Some(&ReadyWhen::Notify)
            || matches!(self.live_when(), Some(LiveWhen::Watchdog(_)))
            || self.drains_until(|when| *when == UntilWhen::Notify)
    }

    /// Whether `MAINPID=` names the one that the child hands over to.
    pub(crate) fn hears_main_pid(&self) -> bool {
        let main_pid = self.main_pid.as_ref();
        main_pid.is_some_and(|main_pid| main_pid.from == NamedBy::Notify)
    }

    /// Whether descriptors are kept that a child gives us for the next one (sd_pid_notify_with_fds(3)).
    pub(crate) fn keeps_descriptors(&self) -> bool {
        self.fd_store_max > 0 && self.supervision.is_some()
    }

    fn live_when(&self) -> Option<&LiveWhen> {
        self.liveness.as_ref().map(|liveness| &liveness.when)
    }

    /// Whether the child's own message makes it ready; not where another condition was written.
    pub(crate) fn takes_ready_from_child(&self) -> bool {
        let readiness = self.readiness.as_ref();
        readiness.is_none_or(|r| r.of_drain_ports || r.when == ReadyWhen::Notify)
    }

    pub(crate) fn drains_until(&self, is_wanted: impl Fn(&UntilWhen) -> bool) -> bool {
        let until = self.drain.iter().flat_map(|drain| &drain.until);
        until.into_iter().any(|until| is_wanted(&until.when))
    }

    /// Whether any signal begins the stop.
    pub(crate) fn can_be_asked_to_stop(&self) -> bool {
        let mut signals = self.stop_on.iter();
        signals.any(|signal| self.begins_stop(signal))
    }

    /// Whether this signal begins the stop: one of `--stop-on` that `--rewrite` does not drop.
    pub(crate) fn begins_stop(&self, signal: Signal) -> bool {
        self.stop_on.contains(signal) && self.rewritten(signal).is_some()
    }

    /// Whether this signal can be a request. A shell starts background jobs with INT and QUIT ignored, so that a Ctrl-C
    /// meant for another program does not end them (POSIX, "Asynchronous Lists"): these count only where they are written.
    pub(crate) fn heeds(&self, signal: Signal, was_ignored: bool) -> bool {
        !was_ignored || self.named.contains(signal)
    }

    /// The signal after `--rewrite`; `None` where it is dropped.
    pub(crate) fn rewritten(&self, signal: Signal) -> Option<Signal> {
        let rule = self.rewrite.iter().rfind(|(from, _)| *from == signal);
        rule.map_or(Some(signal), |(_, to)| *to)
    }
}
