//! Starts the main child: its environment, its standard input, and what is told when it cannot start.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::AtomicI32;

use super::Kernel;
use super::cannot_start::{Attempt, Typed};
use super::jobs::path_of;
use crate::kernel::hooks;
use crate::kernel::relay;
use crate::kernel::relay::Order;
use crate::machine::Event;
use crate::options::identity;
use crate::plan::{Plan, Stdin, StepAction};
use crate::record::StartFailure;
use crate::sys::spawn::{Directory, Failure, Null, Stage};
use crate::sys::terminal::Terminal;
use crate::sys::{descriptors, error_text, last_resort, spawn};

impl Kernel {
    pub(super) fn start(&mut self) {
        self.remember_ready_file();
        self.take_what_came_before_the_child();
        match self.spawn_child() {
            Ok(pid) => {
                self.main = Some(pid);
                self.group = Some(pid).filter(|_| self.terminal.is_none());
                last_resort::prepare(pid);
                self.queue.push_back(Event::Started { pid });
                self.begin_to_watch_memory();
            }
            Err(failure) => self.queue.push_back(Event::StartFailed(failure)),
        }
        self.told_none = false;
        self.reap = true;
    }

    fn spawn_child(&mut self) -> Result<i32, StartFailure> {
        let failed = |message| StartFailure { code: 125, message };
        let argv = spawn::words(&self.command)
            .map_err(|_| failed("an argument holds a NUL byte".to_owned()))?;
        let pipe = match self.plan.stdin {
            Stdin::Inherit => None,
            Stdin::Relay => Some(descriptors::pipe().map_err(|errno| {
                failed(format!(
                    "no pipe for the child's stdin: {}",
                    error_text(errno as i32)
                ))
            })?),
        };
        self.make_cgroup();
        let refused = AtomicI32::new(0);
        let settings = &self.plan.child;
        let notify_socket = self.notify_socket.as_deref();
        let environment = child_environment(&self.plan, &self.last, self.own_pid, notify_socket);
        let workdir = settings.workdir.as_deref().map(descriptors::path);
        let options = spawn::Options {
            environment: environment.as_deref(),
            own_group: self.terminal.is_none(),
            on_terminal: self.terminal.is_some(),
            stdin: pipe.as_ref().map(|(read, _)| read.as_raw_fd()),
            stdout: None,
            null: Null::None,
            close_above_stderr: false,
            directory: match &workdir {
                None => Directory::Inherited,
                Some(Some(path)) => Directory::Path(path),
                Some(None) => return Err(failed("--workdir holds a NUL byte".to_owned())),
            },
            identity: settings.user.as_ref(),
            no_new_privs: settings.no_new_privs,
            own_namespaces: settings.own_namespaces,
            cgroup: self.cgroup.entry(&refused),
        };
        let path = path_of(environment.as_deref());
        let started = spawn::spawn(&argv, path.as_deref(), &self.inherited, &options)
            .map_err(|failure| start_failure(&failure, &self.command, path.as_deref(), &self.plan));
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
        if let Some(reactor) = self.reactor() {
            self.relay = Some(relay::start(reactor, write, keep_open));
        }
    }

    /// Lets go of what was only inherited for the child.
    fn let_go(&mut self, pipe: Option<&OwnedFd>) {
        match &self.inherited_descriptors {
            Some(inherited) => inherited.close(),
            None => {
                let terminal = self.terminal.iter().map(Terminal::descriptor);
                let held = self.directory.iter().chain(pipe).map(AsRawFd::as_raw_fd);
                let held = held.chain(self.cgroup.descriptor());
                descriptors::close_all_but(terminal.chain(held).collect());
            }
        }
        descriptors::occupy_closed_streams();
        descriptors::leave_directory();
    }

    pub(super) fn order(&mut self, order: Order) {
        if !self.relay.as_ref().is_some_and(|relay| relay.order(order)) {
            self.trouble("the child's standard input is closed already".to_owned());
        }
    }
}

/// Whose keep-alive messages count (sd_watchdog_enabled(3)); without it those of anybody do.
const WATCHDOG_PID: &str = "WATCHDOG_PID";

/// The child's environment, or `None` where it is ours unchanged.
fn child_environment(
    plan: &Plan,
    last: &[(OsString, OsString)],
    own_pid: i32,
    notify_socket: Option<&str>,
) -> Option<Vec<CString>> {
    let mut laid_over: Vec<(OsString, OsString)> = Vec::new();
    if let Some(user) = &plan.child.user {
        laid_over.extend(identity::variables(user));
    }
    // Us, until now.
    let names_us = |name: &str| {
        let value = std::env::var_os(name);
        value.is_some_and(|pid| pid.to_str().is_some_and(|pid| pid.parse() == Ok(own_pid)))
    };
    // To our own socket anybody may say it: the child may be a shell in front of the one who does.
    let is_moot = |name: &str| name == WATCHDOG_PID && notify_socket.is_some();
    let is_given = |name: &str| plan.child.env.iter().any(|(key, _)| key == name);
    let named = spawn::NAMES_US.iter().filter(|name| names_us(name));
    let named = named.filter(|name| !is_moot(name) && !is_given(name));
    laid_over.extend(named.map(|name| ((*name).into(), spawn::PID_PLACE.into())));
    laid_over.extend(last.iter().cloned());
    laid_over.extend(plan.child.env.iter().cloned());
    laid_over.extend(notify_socket.map(|name| ("NOTIFY_SOCKET".into(), name.into())));
    // The same process once more, by the inode of its pidfd (systemd 259): it would not fit the child,
    // and a receiver that finds it refuses the sockets.
    let listens = names_us("LISTEN_PID");
    let outdated = |key: &OsString| {
        listens && key == "LISTEN_PIDFDID" || key == WATCHDOG_PID && notify_socket.is_some()
    };
    let inherited = || std::env::vars_os().filter(|(key, _)| !outdated(key));
    (!laid_over.is_empty()).then(|| hooks::merged(inherited(), &laid_over))
}

/// The failure as users are told it, with the code of 2.6.
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
        Stage::Exec => {
            let code = match failure.errno {
                libc::ENOENT => codes.not_found,
                libc::EACCES => codes.not_permitted,
                _ => codes.not_executable,
            };
            let attempt = Attempt {
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
        Stage::Clone => (codes.own, format!("no process for {program}: {why}")),
        Stage::Namespaces => (codes.own, format!("no /proc for {program} as PID 1: {why}")),
        Stage::Stdin => (codes.own, format!("the child's standard input: {why}")),
        Stage::Directory => (
            codes.own,
            format!("--workdir {}: {why}", workdir.to_string_lossy()),
        ),
        Stage::NoNewPrivs => (codes.own, format!("--no-new-privs: {why}")),
        Stage::Groups | Stage::Group => (codes.own, format!("--group {}: {why}", user.1)),
        // Ids that a user namespace does not map are invalid (setresuid(2)).
        Stage::User => (codes.own, format!("--user {}: {why}", user.0)),
    };
    StartFailure { code, message }
}
