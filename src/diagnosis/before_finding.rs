//! What only a look before the stop finds, in words, and the way out.

use std::fmt;
use std::time::Duration;

use super::finding::{Finding, Named};
use super::patience::Patience;
use super::snapshot::{GoesOn, Next};
use crate::words::duration::Shown;
use crate::words::signal::Signal;

/// As whom to ask to see what did not show, if it was root, or not, that has asked.
pub(crate) fn who_sees(by_root: bool) -> &'static str {
    if by_root {
        "with the capability SYS_PTRACE (docker run --cap-add SYS_PTRACE), or as their user"
    } else {
        "as root, or as their user"
    }
}

/// As [`Finding`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Before {
    /// In every thread, and nothing waits for it.
    Blocks {
        signal: Signal,
    },
    /// It has no handler for it, or blocks it in every thread; whether a signalfd or sigwait takes it needs a right
    /// that we have not.
    TakerUnseen {
        signal: Signal,
        blocked: bool,
        by_root: bool,
    },
    /// Node.js catches it itself, to die of it by the default action, which PID 1 has not.
    NodeAsInit {
        signal: Signal,
    },
    /// Go's runtime takes it, and the program has not asked for it.
    GoUnasked {
        signal: Signal,
    },
    /// An init of which nothing shows what it will do.
    InitUnseen {
        why: String,
        by_root: bool,
    },
    /// A debugger gets each signal first.
    Watched {
        signal: Signal,
        by: Named,
    },
    /// The init sends the signal to others alone.
    PassedOver {
        signal: Signal,
        by: Named,
    },
    Unreaped {
        zombies: Vec<Named>,
        init: bool,
    },
    TwoInits {
        outer: Named,
    },
    /// The init has a stop sequence, which other signals begin.
    NotBegun {
        signal: Signal,
        stop_on: String,
    },
    /// The init goes on with another child.
    GoesOn {
        signal: Signal,
        with: GoesOn,
    },
    /// The init passes the signal on to nobody.
    Drops {
        signal: Signal,
    },
    /// The stop signal is KILL.
    Killed,
    /// Even if everything ends at once.
    TooLong {
        least: Duration,
        grace: Duration,
        by: String,
    },
    MayTakeLonger {
        worst: Duration,
        when: &'static str,
        grace: Duration,
        by: String,
    },
    /// A server that waits for its requests.
    Outlasts {
        patience: Patience,
        grace: Duration,
        by: String,
    },
    /// The plan leaves KILL to the platform, and has something to do afterwards.
    NoTimeLeft {
        grace: Duration,
        by: String,
    },
    /// The platform sends KILL together with the signal.
    NoGrace {
        by: String,
    },
}

impl From<Before> for Finding {
    fn from(before: Before) -> Self {
        Self::Before(before)
    }
}

impl Before {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Blocks { .. } => "blocked",
            Self::TakerUnseen { .. } => "taker-unseen",
            Self::NodeAsInit { .. } => "node-as-pid1",
            Self::GoUnasked { .. } => "go-unasked",
            Self::InitUnseen { .. } => "init-unseen",
            Self::Watched { .. } => "watched",
            Self::PassedOver { .. } => "passed-over",
            Self::Unreaped { .. } => "unreaped",
            Self::TwoInits { .. } => "two-inits",
            Self::NotBegun { .. } => "not-begun",
            Self::GoesOn { .. } => "goes-on",
            Self::Drops { .. } => "drops-signal",
            Self::Killed => "killed",
            Self::TooLong { .. } => "too-long",
            Self::MayTakeLonger { .. } => "may-take-longer",
            Self::Outlasts { .. } => "outlasts-grace",
            Self::NoTimeLeft { .. } => "no-time-left",
            Self::NoGrace { .. } => "no-grace",
        }
    }

    pub(super) fn is_unclear(&self) -> bool {
        matches!(
            self,
            Self::TakerUnseen { .. } | Self::NodeAsInit { .. } | Self::InitUnseen { .. }
        )
    }

    pub(super) fn way_out(&self) -> String {
        let more_time = |time: &Duration| {
            // A second for what the machine itself takes.
            let seconds = time.as_secs() + 1;
            format!(
                "give it more time (docker run --stop-timeout {seconds}, stop_grace_period: {seconds}s, \
                 terminationGracePeriodSeconds: {seconds})"
            )
        };
        let longer = |time: &Duration| {
            let more_time = more_time(time);
            format!(
                "{more_time}; or make the plan shorter (--deadline; stepdown explain shows what takes how long)"
            )
        };
        match self {
            Self::Blocks { signal } => {
                format!("unblock {signal} in the program; or wait for it there with sigwait or a signalfd")
            }
            Self::TakerUnseen { by_root, .. } => format!("ask again {}", who_sees(*by_root)),
            Self::NodeAsInit { signal } => format!(
                "make sure that the program has process.on('SIG{signal}', ...); or put an init in front (ENTRYPOINT \
                 [\"stepdown\", \"--\"], docker run --init)"
            ),
            Self::GoUnasked { signal } => format!(
                "ask for it in the program (signal.Notify with syscall.SIG{signal}); or stop it with TERM (STOPSIGNAL \
                 SIGTERM), on which it ends"
            ),
            Self::InitUnseen { by_root, .. } => format!(
                "ask again {}; or correct its command line (stepdown explain checks it)",
                who_sees(*by_root)
            ),
            Self::Watched { .. } => "detach the debugger before the stop".to_owned(),
            Self::PassedOver { .. } => {
                "let the init signal the whole group (tini -g), or all below it (stepdown --target tree); or let stepdown stop \
                 what is left over (without --left leave)".to_owned()
            }
            Self::Unreaped { init: true, .. } => {
                "put an init in front, which reaps them (ENTRYPOINT [\"stepdown\", \"--\"], docker run --init)".to_owned()
            }
            Self::Unreaped { init: false, .. } => "let the program wait for its children (waitpid); or ignore SIGCHLD in it".to_owned(),
            Self::TwoInits { .. } => {
                "leave one of them out: an image with an init of its own needs no docker run --init and no init: true".to_owned()
            }
            Self::NotBegun { signal, stop_on } => {
                format!(
                    "start stepdown with --stop-on {stop_on},{signal}; or choose one of {stop_on} as the stop signal \
                     (STOPSIGNAL, stop_signal)"
                )
            }
            Self::GoesOn { signal, with } => {
                let (stop_on, option) = (&with.stop_on, with.how.option());
                format!(
                    "choose {stop_on} as the stop signal (STOPSIGNAL, stop_signal); or take {signal} out of {option}"
                )
            }
            Self::Drops { signal } => format!("take {signal} out of --rewrite and --reload-on"),
            Self::Killed => {
                "choose a signal that a program can act on (STOPSIGNAL SIGTERM, docker run --stop-signal TERM)".to_owned()
            }
            Self::TooLong { least, .. } => longer(least),
            Self::MayTakeLonger { worst, .. } => longer(worst),
            Self::Outlasts { patience, .. } => {
                format!("{}; or lower {}", more_time(&patience.time), patience.option)
            }
            Self::NoGrace { .. } => more_time(&Duration::from_secs(9)),
            Self::NoTimeLeft { grace, .. } => format!(
                "start stepdown with --deadline, shorter than {}: then there is time left for them",
                Shown(*grace)
            ),
        }
    }
}

impl fmt::Display for Before {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blocks { signal } => {
                write!(
                    f,
                    "blocks {signal} in every thread, and nothing waits for it"
                )
            }
            Self::TakerUnseen {
                signal, blocked, ..
            } => {
                let but = match blocked {
                    true => format!("blocks {signal} in every thread"),
                    false => format!("is PID 1 and has no handler for {signal}"),
                };
                write!(
                    f,
                    "{but}; whether it takes it by sigwait or a signalfd does not show without more rights"
                )
            }
            Self::NodeAsInit { signal } => write!(
                f,
                "is Node.js as PID 1: it catches {signal}, and ends on it only if the program has a handler of its own, \
                 which does not show from outside"
            ),
            Self::GoUnasked { signal } => write!(
                f,
                "is a Go program that has not asked for {signal} (signal.Notify): Go's runtime takes {signal}, and \
                 nothing follows"
            ),
            Self::InitUnseen { why, .. } => {
                write!(f, "is an init, and what it will do does not show: {why}")
            }
            Self::Watched { signal, by } => write!(
                f,
                "is traced by {by}, which gets {signal} first and passes it on or not"
            ),
            Self::PassedOver { signal, by } => write!(
                f,
                "never gets {signal}: {by} sends {signal} only to others, and ends as soon as its own child has ended"
            ),
            Self::Unreaped { zombies, .. } => {
                let number = zombies.len();
                let plural = if number == 1 { "zombie" } else { "zombies" };
                write!(f, "does not reap its children: {number} {plural}")?;
                for (index, zombie) in zombies.iter().take(3).enumerate() {
                    write!(f, "{}{zombie}", if index == 0 { " (" } else { ", " })?;
                }
                f.write_str(if number > 3 { ", ...)" } else { ")" })
            }
            Self::TwoInits { outer } => write!(f, "is an init behind another init, {outer}"),
            Self::NotBegun { signal, stop_on } => write!(
                f,
                "only forwards {signal}, and does not run its stop sequence, which {stop_on} begins (--stop-on)"
            ),
            Self::GoesOn { signal, with } => {
                let option = with.how.option();
                match with.how {
                    Next::Restarted => write!(
                        f,
                        "stops its child on {signal} and starts it again ({option})"
                    ),
                    Next::Replaced => write!(f, "replaces its child on {signal} ({option})"),
                }?;
                f.write_str(", and does not stop itself")
            }
            Self::Drops { signal } => {
                write!(f, "passes {signal} on to nobody (--rewrite, --reload-on)")
            }
            Self::Killed => f.write_str(
                "is killed at once: KILL reaches no program, so nothing is stopped in order",
            ),
            Self::TooLong { least, grace, by } => write!(
                f,
                "needs {} to stop even if its child ends at once, and {by} sends KILL after {}",
                Shown(*least),
                Shown(*grace)
            ),
            Self::MayTakeLonger {
                worst,
                when,
                grace,
                by,
            } => write!(
                f,
                "may take {} to stop (when {when}), and {by} sends KILL after {}",
                Shown(*worst),
                Shown(*grace)
            ),
            Self::Outlasts {
                patience,
                grace,
                by,
            } => write!(
                f,
                "waits for its requests for up to {} ({}), and {by} sends KILL after {}",
                Shown(patience.time),
                patience.option,
                Shown(*grace)
            ),
            Self::NoGrace { by } => write!(f, "has no time to stop: {by} sends KILL at once"),
            Self::NoTimeLeft { grace, by } => write!(
                f,
                "waits for its child without a limit of its own: if {by} sends KILL after {}, its post-stop hooks do not run and \
                 its files are not written",
                Shown(*grace)
            ),
        }
    }
}
