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
    /// It has no handler for it, and nothing happens by default.
    NoAction {
        signal: Signal,
        /// A signal that it handles.
        acts_on: Option<Signal>,
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
        /// How many more children it has, which are known only where all of them are looked at.
        others: usize,
    },
    /// A shell runs a trap only once its child in the foreground has ended.
    TrapWaits {
        signal: Signal,
        child: Named,
        /// It is known that the child was not started with `&`.
        known: bool,
        /// The child gets the signal as well.
        reached: bool,
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
pub(crate) const INIT: &str = "start the program without the shell (ENTRYPOINT [\"PROGRAM\"], or exec PROGRAM at the end of the \
                    script); or put stepdown in front, which also stops what the shell leaves behind (ENTRYPOINT \
                    [\"stepdown\", \"--\"])";

/// The way out where a program does not handle a signal.
pub(crate) fn add_handler(signal: Signal) -> String {
    format!("add a handler for {signal} to the program")
}

/// Where every process of a group has to get the signal.
const GROUP: &str =
    "put stepdown in front and let it signal the whole group (stepdown --target group -- COMMAND)";

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
            Self::NoAction { .. } => "no-action",
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
                "; or stop it with {other}, which it handles (STOPSIGNAL SIG{other}, docker run --stop-signal {other})"
            ),
            None => String::new(),
        };
        match self {
            Self::Frozen => {
                "thaw it (docker unpause, or write 0 to its cgroup.freeze)".to_owned()
            }
            Self::InKernel { .. } => {
                "find out what it waits for (a disk, NFS, FUSE): no signal reaches it, not even KILL".to_owned()
            }
            Self::Stopped { pid } => format!(
                "continue it: kill -CONT {pid} (stepdown sends CONT with each stop signal)"
            ),
            Self::Traced { .. } => "continue it in the debugger, or detach the debugger".to_owned(),
            Self::Ignores {
                signal,
                acts_on,
                like,
            } => {
                let whose = match like {
                    Some(like) => format!(" in {like}, from which it inherits that"),
                    None => String::new(),
                };
                format!(
                    "remove what makes it ignore {signal}{whose} (trap '' {signal} in a script, SIG_IGN in a program){}",
                    other(acts_on)
                )
            }
            Self::NoAction { signal, acts_on } => {
                let other = acts_on.unwrap_or(Signal::TERM);
                format!(
                    "choose another stop signal (STOPSIGNAL SIG{other}, docker run --stop-signal {other}); or {}",
                    add_handler(*signal)
                )
            }
            Self::NotTaken { signal } => {
                format!("unblock {signal}, or wait for it with sigwait or a signalfd")
            }
            Self::HasTaken { .. } | Self::NotDone { .. } => LOOK_AT.to_owned(),
            Self::Dropped { signal, acts_on } => {
                format!(
                    "{}{}; or put an init in front (ENTRYPOINT [\"stepdown\", \
                     \"--\"], docker run --init)",
                    add_handler(*signal),
                    other(acts_on)
                )
            }
            Self::ShellAsInit { others: 0, .. } => INIT.to_owned(),
            Self::ShellAsInit { .. } => "put stepdown in front, which stops what the shell leaves behind (ENTRYPOINT \
                 [\"stepdown\", \"--\"]); or run each of the programs in a container of its own"
                .to_owned(),
            Self::TrapWaits {
                signal,
                child,
                reached,
                ..
            } => {
                let with_child = if *reached {
                    format!("let {child} end on {signal}, which it gets as well")
                } else {
                    GROUP.to_owned()
                };
                format!(
                    "start the program with exec (exec PROGRAM) if nothing has to follow it; or start it in the \
                     background, and wait for it (PROGRAM & wait $!); or {with_child}"
                )
            }
            Self::Dying { .. } => "ask again in a moment".to_owned(),
            #[cfg(feature = "doctor")]
            Self::Before(before) => before.way_out(),
            Self::Alone { shell, .. } => {
                let exec = if *shell {
                    "write exec before the program (exec PROGRAM, in a script of package.json as well)"
                } else {
                    "add a handler to its parent that passes the signal on"
                };
                format!("{exec}; or {GROUP}")
            }
            Self::OwnSession => {
                "start it in the foreground; or let who started it stop it; or put stepdown in front and let it signal \
                 all below it (stepdown --target tree -- COMMAND)"
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
                    Some(like) => write!(f, ", as {like} does, which started it"),
                    None => Ok(()),
                }
            }
            Self::NoAction { signal, .. } => write!(
                f,
                "has no handler for {signal}, which does nothing by default"
            ),
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
                "is PID 1 and has no handler for {signal}: the kernel discards {signal}"
            ),
            Self::ShellAsInit {
                signal,
                child,
                others,
            } => {
                write!(
                    f,
                    "is PID 1 and a shell without a trap for {signal}: the kernel discards {signal}, and {child}"
                )?;
                match others {
                    0 => f.write_str(" never gets it"),
                    others => write!(f, " and {others} more never get it"),
                }
            }
            Self::TrapWaits {
                signal,
                child,
                known,
                ..
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
                let shell = if *shell { ", a shell above it," } else { "" };
                write!(
                    f,
                    "never gets {signal}: {by}{shell} ends on {signal} and does not pass it on"
                )?;
                f.write_str(match contained {
                    Some(true) => "; the kernel kills it when PID 1 has ended",
                    Some(false) => "; it goes on running",
                    None => "",
                })
            }
            #[cfg(feature = "doctor")]
            Self::Before(before) => before.fmt(f),
            Self::OwnSession => f.write_str(
                "is in a session of its own (setsid, a daemon): it notices neither its parent's end nor a signal to the \
                 group",
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
