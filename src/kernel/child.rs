//! Starts the main child: its environment, its standard input, and what is told when it cannot start.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::AtomicI32;

use super::cannot_start::{FailedExec, Typed};
use super::job_control::Halt;
use super::jobs::path_of;
use super::life::Life;
use super::sockets::Sockets;
use super::telling::Delivered;
use super::{Kernel, cgroup};
use crate::kernel::hooks;
use crate::kernel::notify;
use crate::kernel::relay;
use crate::kernel::relay::Order;
use crate::machine::Event;
use crate::options::identity;
use crate::plan::Left;
use crate::plan::liveness::Liveness;
use crate::plan::{Plan, Stdin, StepAction};
use crate::record::StartFailure;
use crate::sys::signals::Inherited;
use crate::sys::spawn::{Directory, Failure, Null, Passed, SetupStep};
use crate::sys::terminal::Terminal;
use crate::sys::{descriptors, error_text, last_resort, spawn, stderr};

/// What every start of the command needs.
pub(super) struct Start {
    pub(super) command: Vec<OsString>,
    pub(super) inherited: Inherited,
    /// What was inherited above 2, where the reactor was needed before the start; else it is not asked.
    pub(super) descriptors: Option<descriptors::InheritedDescriptors>,
    /// What child and hooks are told of the last run (`--state-file`).
    pub(super) last: Vec<(OsString, OsString)>,
    /// Where we were started, held only for hooks and stop commands.
    pub(super) directory: Option<OwnedFd>,
    pub(super) sockets: Sockets,
    /// Ours, which is relayed.
    pub(super) input: relay::Input,
}

/// The main child, and what is known of its tree.
#[derive(Default)]
pub(super) struct Child {
    /// `None` before its start and once it has been reaped.
    pub(super) pid: Option<i32>,
    /// Its process group, if it has one of its own, as long as a process is in it.
    pub(super) group: Option<i32>,
    pub(super) halt: Halt,
    /// Where its standard input is relayed.
    pub(super) relay: Option<relay::OrderSender>,
    /// Its own, with `--cgroup`.
    pub(super) cgroup: cgroup::ChildCgroup,
    /// Which processes have had a signal that was not for the child alone.
    pub(super) told: Delivered,
    /// Which processes have got KILL from us, ascending: the next round names and counts only others.
    pub(super) killed: Vec<i32>,
    /// Whether we have sent KILL to any process but a job.
    pub(super) sent_kill: bool,
    /// Whether a job was killed, which may have had processes of its own.
    pub(super) killed_job: bool,
}

impl Kernel {
    pub(super) fn start(&mut self) {
        self.remember_ready_file();
        self.remember_pid_file();
        self.make_cgroup();
        // Last of all: a Ctrl-C that comes between this and the start reaches nobody.
        self.take_what_came_before_the_child();
        match self.spawn_child() {
            Ok(pid) => {
                self.life.child.pid = Some(pid);
                self.life.child.group = Some(pid).filter(|_| self.terminal.is_none());
                // The one beside does not serve yet.
                if !self.is_aside {
                    last_resort::prepare(pid);
                }
                self.queue.push_back(Event::Started { pid });
                self.begin_to_watch_memory();
            }
            Err(failure) => self.queue.push_back(Event::StartFailed(failure)),
        }
        self.life.told_none = false;
        self.reaping.is_due = true;
    }

    fn spawn_child(&mut self) -> Result<i32, StartFailure> {
        let failed = |message| StartFailure { code: 125, message };
        let argv = spawn::words(&self.start.command)
            .map_err(|_| failed("an argument holds a NUL byte".to_owned()))?;
        let pipe = match self.plan.stdin {
            Stdin::Inherit => None,
            Stdin::Relay => Some(descriptors::pipe_in_any_case().map_err(|error| {
                failed(format!(
                    "no pipe for the child's stdin: {}",
                    error_text(error.raw_os_error().unwrap_or(0))
                ))
            })?),
        };
        let refused = AtomicI32::new(0);
        let settings = &self.plan.child;
        let environment = child_environment(&self.plan, &self.start, &self.life, self.own_pid);
        let workdir = settings.workdir.as_deref().map(descriptors::path);
        let (from, passed) = self.start.sockets.passed(&self.life.listeners);
        let path = path_of(environment.as_deref());
        let failure = |failure: &Failure| {
            start_failure(failure, &self.start.command, path.as_deref(), &self.plan)
        };
        let tell_in_copy = |why: &Failure| {
            let failure = failure(why);
            // The log is written by this process alone.
            stderr::write(format!("stepdown: {}\n", failure.message).as_bytes());
            failure.code
        };
        let options = spawn::Options {
            environment: environment.as_deref(),
            own_group: self.terminal.is_none(),
            on_terminal: self.terminal.is_some(),
            stdin: pipe.as_ref().map(|(read, _)| read.as_raw_fd()),
            stdout: None,
            null: Null::None,
            close_above_stderr: false,
            passed: Passed {
                from,
                descriptors: &passed,
            },
            directory: match &workdir {
                None => Directory::Inherited,
                Some(Some(path)) => Directory::Path(path),
                Some(None) => return Err(failed("--workdir holds a NUL byte".to_owned())),
            },
            identity: settings.user.as_ref(),
            no_new_privs: settings.no_new_privs,
            own_namespaces: settings.own_namespaces,
            cgroup: self.life.child.cgroup.entry(&refused),
            // However long it takes: why it could not be started decides the exit status.
            patience: None,
            tell_in_copy: Some(&tell_in_copy),
        };
        let started = spawn::spawn(&argv, path.as_deref(), &self.start.inherited, &options)
            .map_err(|why| failure(&why));
        self.entered_cgroup(refused.into_inner());
        let pid = started?;
        let write = pipe.map(|(_, write)| write);
        self.let_go(write.as_ref());
        if let Some(write) = write {
            self.relay_into(write);
        }
        Ok(pid)
    }

    fn relay_into(&mut self, write: OwnedFd) {
        let keep_open = |step: &crate::plan::Step| matches!(step.action, StepAction::Stdin(_));
        let keep_open = self.plan.ladder.iter().any(keep_open);
        let input = self.start.input.clone();
        if let Some(reactor) = self.reactor() {
            self.life.child.relay = Some(relay::start(reactor, &input, write, keep_open));
        }
    }

    /// Lets go of what was only inherited for the child.
    fn let_go(&mut self, pipe: Option<&OwnedFd>) {
        if self.plan.supervision.is_some() {
            // The next start needs it as well.
            return descriptors::occupy_closed_streams();
        }
        self.close_sockets();
        match &self.start.descriptors {
            Some(inherited) => inherited.close(),
            None => {
                let terminal = self.terminal.iter().map(Terminal::descriptor);
                let held = self
                    .start
                    .directory
                    .iter()
                    .chain(pipe)
                    .map(AsRawFd::as_raw_fd);
                let held = held.chain(self.life.child.cgroup.descriptor());
                descriptors::close_all_but(terminal.chain(held).collect());
            }
        }
        descriptors::occupy_closed_streams();
        descriptors::leave_directory();
    }

    pub(super) fn order(&mut self, order: Order) {
        if !self
            .life
            .child
            .relay
            .as_ref()
            .is_some_and(|relay| relay.order(order))
        {
            self.trouble("the child's standard input is closed already".to_owned());
        }
    }
}

/// The process whose keep-alive messages count (sd_watchdog_enabled(3)); without it those of any
/// process do.
const WATCHDOG_PID: &str = "WATCHDOG_PID";

/// By which a process is known to belong to a generation, whoever its parent is, where two may be alive.
pub(super) const GENERATION: &str = "STEPDOWN_GENERATION";

/// Whom the sockets are meant for (sd_listen_fds(3)).
const LISTEN_PID: &str = "LISTEN_PID";

/// How often it must say that it is alive (sd_watchdog_enabled(3)).
const WATCHDOG_USEC: &str = "WATCHDOG_USEC";

/// The child's environment, or `None` where it is ours unchanged.
fn child_environment(
    plan: &Plan,
    start: &Start,
    life: &Life,
    own_pid: i32,
) -> Option<Vec<CString>> {
    let notify_socket = life.notify_socket.as_ref().map(notify::Socket::name);
    let gets_sockets = start.sockets.has_some(&life.listeners);
    let mut laid_over: Vec<(OsString, OsString)> = Vec::new();
    if let Some(user) = &plan.child.user {
        laid_over.extend(identity::variables(user));
    }
    // Us, until now.
    let names_us = |name: &str| {
        let value = std::env::var_os(name);
        value.is_some_and(|pid| pid.to_str().is_some_and(|pid| pid.parse() == Ok(own_pid)))
    };
    // To our own socket any process of the tree may send it: the child may be a shell in front of
    // the program that does.
    let is_moot = |name: &str| name == WATCHDOG_PID && notify_socket.is_some();
    let is_given = |name: &str| plan.child.env.iter().any(|(key, _)| key == name);
    let is_asked = |name: &str| name == LISTEN_PID && gets_sockets || names_us(name);
    let named = spawn::NAMES_US.iter().filter(|name| is_asked(name));
    let named = named.filter(|name| !is_moot(name) && !is_given(name));
    laid_over.extend(named.map(|name| ((*name).into(), spawn::PID_PLACE.into())));
    laid_over.extend(start.sockets.variables(&life.listeners));
    laid_over.extend(start.last.iter().cloned());
    laid_over.extend(plan.child.env.iter().cloned());
    if plan.replaces() || plan.supervision.is_some() && plan.left == Left::Leave {
        laid_over.push((GENERATION.into(), life.number.to_string().into()));
    }
    let liveness = plan.liveness.as_ref();
    laid_over.extend(liveness.and_then(Liveness::watchdog).map(|within| {
        let micros = within.as_micros().to_string();
        (WATCHDOG_USEC.into(), micros.into())
    }));
    laid_over.extend(notify_socket.map(|name| ("NOTIFY_SOCKET".into(), name.into())));
    // The same process once more, by the inode of its pidfd (systemd 259): it would not fit the child,
    // and a receiver that finds it refuses the sockets.
    let listens = gets_sockets || names_us(LISTEN_PID);
    let outdated = |key: &OsString| {
        listens && key == "LISTEN_PIDFDID" || key == WATCHDOG_PID && notify_socket.is_some()
    };
    let inherited = || std::env::vars_os().filter(|(key, _)| !outdated(key));
    (!laid_over.is_empty()).then(|| hooks::merged(inherited(), &laid_over))
}

/// The failure as a record, with the exit status that `FailureCodes` has for it.
fn start_failure(
    failure: &Failure,
    command: &[OsString],
    path: Option<&OsStr>,
    plan: &Plan,
) -> StartFailure {
    let program = command.first().cloned().unwrap_or_default();
    let program = program.to_string_lossy();
    let why = error_text(failure.errno);
    let workdir = plan.child.workdir.clone().unwrap_or_default();
    let user = plan
        .child
        .user
        .as_ref()
        .map_or((0, 0), |user| (user.uid, user.gid));
    let codes = plan.failure_codes;
    let (code, message) = match failure.stage {
        SetupStep::Exec => {
            let code = match failure.errno {
                libc::ENOENT => codes.not_found,
                libc::EACCES => codes.not_permitted,
                _ => codes.not_executable,
            };
            let is_success = codes.can_be_success && plan.success_exit.codes.contains(&code);
            let code = if is_success { 0 } else { code };
            let attempt = FailedExec {
                command,
                errno: failure.errno,
                path,
                directory: plan.child.workdir.as_deref().map(Path::new),
                typed: Some(Typed {
                    single_word: plan.commands().any(|words| words.len() == 1),
                }),
            };
            (code, attempt.told())
        }
        SetupStep::Clone => (codes.own, format!("no process for {program}: {why}")),
        SetupStep::Namespaces => (codes.own, format!("no /proc for {program} as PID 1: {why}")),
        SetupStep::Stdin => (codes.own, format!("the child's standard input: {why}")),
        SetupStep::Directory => (
            codes.own,
            format!("--workdir {}: {why}", workdir.to_string_lossy()),
        ),
        SetupStep::Sockets => (codes.own, format!("no descriptor for --listen: {why}")),
        SetupStep::NoNewPrivs => (codes.own, format!("--no-new-privs: {why}")),
        SetupStep::Groups | SetupStep::Group => (codes.own, format!("--group {}: {why}", user.1)),
        // Ids that a user namespace does not map are invalid (setresuid(2)).
        SetupStep::User => (codes.own, format!("--user {}: {why}", user.0)),
    };
    StartFailure { code, message }
}
