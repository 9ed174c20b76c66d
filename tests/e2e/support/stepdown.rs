//! Starts stepdown as an ordinary process or as PID 1, the way a story wants it.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Instant;

use nix::libc;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::binary;
use super::emulator;
use super::ended::Ended;
use super::mark::{Mark, VARIABLE};
use super::running::Running;
use super::skipped::skip_part;

/// In which of its two lives stepdown runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A process among others, in a session of its own without a terminal.
    Ordinary,
    /// PID 1 of a new PID namespace with its own /proc, leader of session 1 as in a container.
    Pid1,
}

/// Tells a story twice, once in each mode; a failure says in which one it happened.
pub(crate) fn both(story: impl Fn(Mode)) {
    struct Told(Mode);
    impl Drop for Told {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("this happened in mode {:?}", self.0);
            }
        }
    }
    for mode in [Mode::Ordinary, Mode::Pid1] {
        if let (Mode::Pid1, Err(why)) = (mode, can_be_pid1()) {
            skip_part(format!("as PID 1: {why}"));
            continue;
        }
        let _told = Told(mode);
        story(mode);
    }
}

/// May we make PID namespaces here?
pub(crate) fn can_be_pid1() -> Result<(), String> {
    static TRIED: OnceLock<Result<(), String>> = OnceLock::new();
    TRIED
        .get_or_init(|| {
            let tried = Command::new("unshare")
                .args(NAMESPACE)
                .args(["--", "true"])
                .output();
            match tried {
                Ok(tried) if tried.status.success() => Ok(()),
                Ok(tried) => Err(String::from_utf8_lossy(&tried.stderr).trim().to_owned()),
                Err(error) => Err(format!("cannot run unshare: {error}")),
            }
        })
        .clone()
}

/// In a forked child: a session of its own, and no signal ignored that whoever started the tests ignores
/// (`nohup`, a shell's background job).
pub(super) fn fresh_session() -> io::Result<()> {
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT] {
        // SAFETY: no handler is installed, only SIG_DFL.
        unsafe { libc::signal(signal as i32, libc::SIG_DFL) };
    }
    nix::unistd::setsid().map(drop).map_err(io::Error::from)
}

/// Options of stepdown have variables too: only those of the story shall count.
pub(super) fn without_options_of_ours(command: &mut Command) {
    for (key, _) in std::env::vars_os() {
        let name = key.to_string_lossy();
        if name.starts_with("STEPDOWN_") || name.starts_with("TINI_") || name == "NOTIFY_SOCKET" {
            command.env_remove(&key);
        }
    }
}

/// `--kill-child`: when unshare(1) dies, PID 1 and with it the whole namespace is killed.
const NAMESPACE: [&str; 4] = ["--fork", "--pid", "--mount-proc", "--kill-child"];

/// A run of stepdown that is being prepared.
pub(crate) struct Stepdown {
    mode: Mode,
    program: PathBuf,
    args: Vec<OsString>,
    mark: Mark,
    env: Vec<(OsString, Option<OsString>)>,
    dir: Option<PathBuf>,
    stdin: Stdin,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    prepare: Vec<Box<dyn FnMut() -> io::Result<()> + Send + Sync>>,
}

enum Stdin {
    Null,
    Piped,
    From(OwnedFd),
}

impl Stepdown {
    /// As an ordinary process.
    pub(crate) fn new() -> Self {
        Self::in_mode(Mode::Ordinary)
    }

    /// As PID 1 of a PID namespace of its own.
    pub(crate) fn as_pid1() -> Self {
        Self::in_mode(Mode::Pid1)
    }

    pub(crate) fn in_mode(mode: Mode) -> Self {
        Self {
            mode,
            program: binary::under_test(),
            args: Vec::new(),
            mark: Mark::new(),
            env: Vec::new(),
            dir: None,
            stdin: Stdin::Null,
            stdout: None,
            stderr: None,
            prepare: Vec::new(),
        }
    }

    /// Another program instead of stepdown: a peer, or the static build.
    pub(crate) fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = program.into();
        self
    }

    /// Options and whatever else stands on the command line, as it is.
    pub(crate) fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// `-- COMMAND ARGS...`.
    pub(crate) fn child<A: Into<OsString>>(self, command: impl IntoIterator<Item = A>) -> Self {
        self.args(["--"]).args(command)
    }

    /// `-- sh -c SCRIPT`.
    pub(crate) fn shell(self, script: &str) -> Self {
        self.child(["sh", "-c", script])
    }

    /// `-- witness WORDS...`: the child that says what reached it.
    pub(crate) fn witness<A: Into<OsString>>(self, words: impl IntoIterator<Item = A>) -> Self {
        self.child([binary::witness()]).args(words)
    }

    pub(crate) fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env
            .push((key.as_ref().to_owned(), Some(value.as_ref().to_owned())));
        self
    }

    pub(crate) fn without_env(mut self, key: impl AsRef<OsStr>) -> Self {
        self.env.push((key.as_ref().to_owned(), None));
        self
    }

    pub(crate) fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// A pipe as standard input, for [`Running::type_line`].
    pub(crate) fn with_stdin(mut self) -> Self {
        self.stdin = Stdin::Piped;
        self
    }

    pub(crate) fn stdin_from(mut self, file: impl Into<OwnedFd>) -> Self {
        self.stdin = Stdin::From(file.into());
        self
    }

    /// Standard output goes elsewhere and is not collected.
    pub(crate) fn stdout_to(mut self, file: impl Into<OwnedFd>) -> Self {
        self.stdout = Some(file.into());
        self
    }

    /// Standard error goes elsewhere and is not collected.
    pub(crate) fn stderr_to(mut self, file: impl Into<OwnedFd>) -> Self {
        self.stderr = Some(file.into());
        self
    }

    /// Starts with a standard descriptor closed, as `stepdown 2>&-` does.
    pub(crate) fn closing(self, fd: i32) -> Self {
        // SAFETY: close(2) of a number; in the forked child nobody else owns it.
        self.prepared(move || match unsafe { libc::close(fd) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        })
    }

    /// Starts with a signal ignored, as `nohup` does.
    pub(crate) fn ignoring(self, signal: i32) -> Self {
        // SAFETY: no handler is installed, only SIG_IGN.
        self.prepared(
            move || match unsafe { libc::signal(signal, libc::SIG_IGN) } {
                libc::SIG_ERR => Err(io::Error::last_os_error()),
                _ => Ok(()),
            },
        )
    }

    /// Starts with a signal blocked.
    pub(crate) fn blocking(self, signal: Signal) -> Self {
        self.prepared(move || {
            let mut set = nix::sys::signal::SigSet::empty();
            set.add(signal);
            set.thread_block().map_err(Into::into)
        })
    }

    /// Starts with these signals blocked, by number (libc hides 32 and 33).
    pub(crate) fn blocking_mask(self, mask: u64) -> Self {
        self.prepared(move || {
            let null = std::ptr::null_mut::<u64>();
            // SAFETY: the mask is eight bytes that live through the call.
            let set = unsafe {
                libc::syscall(
                    libc::SYS_rt_sigprocmask,
                    libc::SIG_SETMASK,
                    &raw const mask,
                    null,
                    8,
                )
            };
            if set == 0 {
                Ok(())
            } else {
                Err(io::Error::last_os_error())
            }
        })
    }

    /// Does something between fork and exec; it must be async-signal-safe.
    pub(crate) fn prepared(
        mut self,
        act: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.prepare.push(Box::new(act));
        self
    }

    /// Starts it. Panics when it cannot be started at all, which is never part of a story.
    pub(crate) fn start(self) -> Running {
        let mut command = match self.mode {
            Mode::Ordinary => Command::new(&self.program),
            Mode::Pid1 => {
                let mut unshare = Command::new("unshare");
                unshare
                    .args(NAMESPACE)
                    .args(["--", "setsid"])
                    .arg(&self.program);
                unshare
            }
        };
        command.args(&self.args);
        without_options_of_ours(&mut command);
        command.env(VARIABLE, self.mark.as_str());
        for (key, value) in &self.env {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        command.stdin(match self.stdin {
            Stdin::Null => Stdio::null(),
            Stdin::Piped => Stdio::piped(),
            Stdin::From(file) => file.into(),
        });
        command.stdout(self.stdout.map_or_else(Stdio::piped, Stdio::from));
        command.stderr(self.stderr.map_or_else(Stdio::piped, Stdio::from));
        // A session of its own, so that a terminal on which the tests run plays no part.
        // SAFETY: each closure makes plain system calls only.
        unsafe { command.pre_exec(fresh_session) };
        if emulator::is_needed(&self.program) {
            // SAFETY: as above.
            unsafe { command.pre_exec(emulator::make_subreaper) };
        }
        for act in self.prepare {
            // SAFETY: as above; what a story adds promises the same.
            unsafe { command.pre_exec(act) };
        }
        // Before it runs: what must have lasted at least so long is measured from here.
        let started = Instant::now();
        let process = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mark = self
            .mark
            .with_session(Pid::from_raw(process.id().cast_signed()));
        Running::of(started, process, self.mode, self.program, mark)
    }

    /// Starts it and waits for its end.
    pub(crate) fn run(self) -> Ended {
        self.start().wait()
    }
}
