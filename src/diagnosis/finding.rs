//! What keeps a process from stopping, in words, and the way out.

use std::fmt;

#[cfg(feature = "doctor")]
use super::before_finding::Before;
use super::process::ProcessLook;
use crate::words::signal::Signal;

/// A process as it is named in a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Named {
    pub(crate) pid: i32,
    pub(crate) command: String,
}

impl Named {
    pub(crate) fn of(look: &ProcessLook) -> Self {
        Self {
            pid: look.pid,
            command: look.command.clone(),
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pid, self.command.escape_debug())
    }
}

/// What is found about a process. Shown, it is what is said of the process: the text follows its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Finding {
    /// By the cgroup's freezer, as docker pause does it.
    Frozen,
    /// Not even KILL ends it.
    InKernel {
        function: String,
    },
    Stopped {
        pid: i32,
    },
    Traced {
        by: Option<Named>,
    },
    Ignores {
        signal: Signal,
        /// A signal that it handles.
        acts_on: Option<Signal>,
        /// Its parent, where that ignores the signal as well.
        like: Option<Named>,
    },
    /// It was sent, and is pending.
    NotTaken {
        signal: Signal,
    },
    /// It was sent, and is not pending any more.
    HasTaken {
        signal: Signal,
        threads: u32,
        function: String,
    },
    /// The kernel drops what PID 1 has no handler for.
    Dropped {
        signal: Signal,
        acts_on: Option<Signal>,
    },
    ShellAsInit {
        signal: Signal,
        child: Named,
    },
    /// A shell runs a trap only once its child in the foreground has ended.
    TrapWaits {
        signal: Signal,
        child: Named,
        /// It is known that the child was not started with `&`.
        known: bool,
    },
    /// It was sent, and is handled.
    NotDone {
        signal: Signal,
        threads: u32,
        function: String,
    },
    /// It was sent, and the default action is death.
    Dying {
        signal: Signal,
    },
    OwnSession,
    /// Its parent dies of the signal by default, and so can tell nobody.
    Alone {
        signal: Signal,
        by: Named,
        shell: bool,
        /// Whether it is killed with its namespace then; `None` where it has happened.
        contained: Option<bool>,
    },
    #[cfg(feature = "doctor")]
    Before(Before),
}

/// The way out where a shell is PID 1.
pub(crate) const INIT: &str = "start the program with exec (exec PROGRAM, ENTRYPOINT [\"PROGRAM\"]), or put an init in front \
                    (docker run --init, ENTRYPOINT [\"stepdown\", \"--\"])";

const LOOK_AT: &str = "look at what it waits for: a lock that is held, a thread that is not told, a connection without \
                       a timeout";

impl Finding {
    /// Its name in JSON.
    #[cfg(feature = "doctor")]
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Frozen => "frozen",
            Self::InKernel { .. } => "in-kernel",
            Self::Stopped { .. } => "stopped",
            Self::Traced { .. } => "traced",
            Self::Ignores { .. } => "ignored",
            Self::NotTaken { .. } => "not-taken",
            Self::HasTaken { .. } => "taken",
            Self::Dropped { .. } => "dropped",
            Self::ShellAsInit { .. } => "shell-as-pid1",
            Self::TrapWaits { .. } => "trap-waits",
            Self::NotDone { .. } => "not-done",
            Self::Dying { .. } => "dying",
            Self::OwnSession => "own-session",
            Self::Alone { .. } => "left-alone",
            Self::Before(before) => before.kind(),
        }
    }

    /// It may well stop: that cannot be told.
    #[cfg(feature = "doctor")]
    pub(crate) fn is_unclear(&self) -> bool {
        match self {
            Self::TrapWaits { known, .. } => !known,
            Self::Before(before) => before.is_unclear(),
            _ => false,
        }
    }

    pub(crate) fn way_out(&self) -> String {
        let other = |acts_on: &Option<Signal>| match acts_on {
            Some(other) => format!(
                "stop it with {other}, which it handles (STOPSIGNAL SIG{other}, --stop-signal {other})"
            ),
            None => "stop it with a signal that it acts on (--stop-signal)".to_owned(),
        };
        match self {
            Self::Frozen => {
                "let it go on (docker unpause, or 0 in cgroup.freeze)".to_owned()
            }
            Self::InKernel { .. } => {
                "see what it waits for (a disk, NFS, FUSE): no signal reaches it, not even KILL".to_owned()
            }
            Self::Stopped { pid } => format!(
                "let it go on: kill -CONT {pid} (stepdown sends CONT with each stop signal)"
            ),
            Self::Traced { .. } => "let the debugger go on or detach".to_owned(),
            Self::Ignores {
                signal,
                acts_on,
                like,
            } => {
                let inherited = match like {
                    Some(like) => format!(
                        "an ignored signal is inherited: remove the trap '' or nohup in {like}, "
                    ),
                    None => String::new(),
                };
                format!("{inherited}let it handle {signal}, or {}", other(acts_on))
            }
            Self::NotTaken { signal } => {
                format!("unblock {signal}, or wait for it with sigwait or a signalfd")
            }
            Self::HasTaken { .. } | Self::NotDone { .. } => LOOK_AT.to_owned(),
            Self::Dropped { signal, acts_on } => {
                let other = match acts_on {
                    Some(_) => format!(", {}", other(acts_on)),
                    None => String::new(),
                };
                format!(
                    "let it handle {signal}{other}, or put an init in front: stepdown -- COMMAND, docker run --init"
                )
            }
            Self::ShellAsInit { .. } => INIT.to_owned(),
            Self::TrapWaits { .. } => {
                "start the program with exec (exec PROGRAM), or with & and wait for it, or signal all of them \
                 (--target group)"
                    .to_owned()
            }
            Self::Dying { .. } => "give it a moment".to_owned(),
            #[cfg(feature = "doctor")]
            Self::Before(before) => before.way_out(),
            Self::Alone { shell, .. } => {
                let exec = if *shell {
                    "start the program with exec (exec PROGRAM)"
                } else {
                    "let its parent handle the signal and pass it on"
                };
                format!("{exec}, or signal all of them (--target group)")
            }
            Self::OwnSession => {
                "let the command stop it, start it in the foreground, or signal the whole tree (--target tree)"
                    .to_owned()
            }
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frozen => f.write_str("is frozen by its cgroup (docker pause)"),
            Self::InKernel { function } => {
                write!(f, "hangs in the kernel{}: state D", In(function))
            }
            Self::Stopped { .. } => f.write_str("is stopped by job control: state T"),
            Self::Traced { by: None } => f.write_str("is held by a debugger: state t"),
            Self::Traced { by: Some(by) } => write!(f, "is held by a debugger, {by}: state t"),
            Self::Ignores { signal, like, .. } => {
                write!(f, "ignores {signal}")?;
                match like {
                    Some(like) => write!(f, ", as {like} does, which has started it"),
                    None => Ok(()),
                }
            }
            Self::NotTaken { signal } => write!(f, "blocks {signal} and has not taken it"),
            Self::HasTaken {
                signal,
                threads,
                function,
            } => write!(
                f,
                "has taken {signal}, by sigwait or a signalfd, and is not done{}{}{}",
                Threads(*threads),
                In(function),
                Meaning(function)
            ),
            Self::Dropped { signal, .. } => write!(
                f,
                "is PID 1 and has no handler for {signal}: the kernel drops it"
            ),
            Self::ShellAsInit { signal, child } => write!(
                f,
                "is a shell as PID 1, without a trap for {signal}: the kernel drops it, and {child} never gets it"
            ),
            Self::TrapWaits {
                signal,
                child,
                known,
            } => {
                write!(
                    f,
                    "is a shell, whose trap for {signal} runs only once {child} has ended"
                )?;
                match known {
                    true => Ok(()),
                    false => f.write_str(
                        ", unless that was started with &, which does not show from here",
                    ),
                }
            }
            Self::NotDone {
                signal,
                threads,
                function,
            } => write!(
                f,
                "handles {signal} and is not done{}{}{}",
                Threads(*threads),
                In(function),
                Meaning(function)
            ),
            Self::Dying { signal } => write!(
                f,
                "has no handler for {signal}: it takes it by sigwait, or is just dying"
            ),
            Self::Alone {
                signal,
                by,
                shell,
                contained,
            } => {
                let shell = if *shell { ", a shell," } else { "" };
                write!(
                    f,
                    "is left alone: {by}{shell} ends on {signal} and passes it on to nobody"
                )?;
                f.write_str(match contained {
                    Some(true) => "; it is killed when PID 1 has ended",
                    Some(false) => "; it runs on",
                    None => "",
                })
            }
            #[cfg(feature = "doctor")]
            Self::Before(before) => before.fmt(f),
            Self::OwnSession => f.write_str(
                "is in a session of its own (setsid, a daemon): neither its parent's end nor a signal to the group \
                 reaches it",
            ),
        }
    }
}

/// The kernel's function that a process sleeps in, where it is known.
struct In<'a>(&'a str);

impl fmt::Display for In<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            "" => Ok(()),
            function => write!(f, ", in {function}"),
        }
    }
}

/// What such a function means.
struct Meaning<'a>(&'a str);

impl fmt::Display for Meaning<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.contains("futex") {
            f.write_str(": waits for a lock or a thread")?;
        }
        Ok(())
    }
}

/// How many threads are there, if it is more than one.
struct Threads(u32);

impl fmt::Display for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 | 1 => Ok(()),
            threads => write!(f, ", {threads} threads"),
        }
    }
}
