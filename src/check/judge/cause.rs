//! The most probable reason of a broken promise, and a way out.
//!
//! Probable, not proven: it is concluded from what /proc showed of the processes just before they
//! were killed.

mod replaced;

use serde::Serialize;

use super::Promise;
use crate::check::fact::{LeftProcess, What};
use crate::check::history::{History, Part};
use crate::diagnosis::after::after;
use crate::diagnosis::finding::{INIT, add_handler};
use crate::diagnosis::{Finding, Named, ProcessLook};
use crate::plan::Target;
use crate::words::duration::Shown;
use crate::words::signal::Signal;

pub(crate) use replaced::{
    ended_while_replaced, lost_requests, not_gone_when_replaced, not_replaced,
};

/// Why it most probably happened, and what to do about it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Cause {
    pub(crate) why: String,
    pub(crate) way_out: String,
}

fn cause(why: impl Into<String>, way_out: impl Into<String>) -> Cause {
    Cause {
        why: why.into(),
        way_out: way_out.into(),
    }
}

impl History {
    /// The processes in the last look that was taken until this moment.
    fn looks(&self, last: bool) -> &[ProcessLook] {
        let looks = |fact: &crate::check::fact::Fact| matches!(fact.what, What::Looked(_));
        let found = if last {
            self.facts.iter().rfind(|fact| looks(fact))
        } else {
            self.facts.iter().find(|fact| looks(fact))
        };
        match found.map(|fact| &fact.what) {
            Some(What::Looked(looks)) => looks,
            _ => &[],
        }
    }

    /// The look that was taken last before KILL: facts stand in the order in which they came about.
    fn before_kill(&self) -> &[ProcessLook] {
        let until = self
            .facts
            .iter()
            .take_while(|fact| fact.what != What::Step { kill: true });
        let found = until
            .filter(|fact| matches!(fact.what, What::Looked(_)))
            .last();
        match found.map(|fact| &fact.what) {
            Some(What::Looked(looks)) => looks,
            _ => &[],
        }
    }
}

/// Words that stop a container, after the client of an engine.
const STOPS: [&str; 3] = ["stop", "down", "restart"];
const CLIENTS: [&str; 5] = [
    "docker",
    "podman",
    "nerdctl",
    "docker-compose",
    "podman-compose",
];

/// The stop command as text, if it is an engine's, which sends KILL itself after a time of its own.
fn engine_stop(promise: &Promise) -> Option<&str> {
    let command = promise.steps.first().filter(|_| promise.by_command())?;
    let mut words = command.trim_matches('`').split_whitespace();
    let client = words.next()?.rsplit('/').next()?;
    (CLIENTS.contains(&client) && words.any(|word| STOPS.contains(&word))).then_some(command)
}

/// The cause where an engine has sent KILL: in most cases a shell is PID 1.
fn killed_by_engine(promise: &Promise) -> Option<Cause> {
    let command = engine_stop(promise)?;
    Some(cause(
        format!(
            "PID 1 of the container has not ended on its stop signal (TERM), and {command} sends KILL after 10 s unless \
             it is told otherwise: a shell as PID 1 ignores TERM where it has no trap for it, and passes nothing on to \
             the program"
        ),
        INIT,
    ))
}

/// The signal did not end it.
pub(crate) fn not_stopped(history: &History, promise: &Promise) -> Cause {
    let signal = promise.first_signal();
    if let Some(container) = history.remained.iter().find(|left| left.pid == 0) {
        return cause(
            format!(
                "what runs in {} has not ended on {}, and its client waits for it",
                container.command,
                promise.asks()
            ),
            format!(
                "PID 1 of a container gets only the signals that it handles, and a shell there passes none on: {INIT}; \
                 add a handler for the stop signal to the program, or give it more time (--within)"
            ),
        );
    }
    if promise.by_command() {
        return stop_command(history, promise);
    }
    let main_pid = history.main_pid();
    let looks = history.before_kill();
    let Some(main) = looks.iter().find(|look| look.pid == main_pid) else {
        return cause(
            format!("it did not end on {signal}"),
            format!(
                "{}, or stop it with another signal (--stop-signal)",
                add_handler(signal)
            ),
        );
    };
    let name = &main.command;
    let first = history
        .looks(false)
        .iter()
        .find(|look| look.pid == main_pid);
    if let Some(first) = first
        && !ProcessLook::has(first.caught, signal)
        && ProcessLook::has(main.caught, signal)
        && !ProcessLook::has(main.ignored, signal)
    {
        let dropped = if promise.as_pid1 {
            ", and the kernel drops what PID 1 does not handle"
        } else {
            ""
        };
        return cause(
            format!(
                "{name} had no handler for {signal} yet when it came{dropped}: the handler is installed late"
            ),
            format!(
                "install the handler first of all, before anything slow; or block {signal} until then"
            ),
        );
    }
    let mut others = looks.iter().filter(|look| !look.is_zombie());
    let child = others.find(|look| look.parent == main_pid);
    match after(main, Some(signal), child, promise.target) {
        None | Some(Finding::Dying { .. }) => cause(
            format!(
                "{name} has not ended, and nothing shows why (state {})",
                main.state
            ),
            format!("{}, or give it more time (--within)", add_handler(signal)),
        ),
        Some(finding) => cause(format!("{name} {finding}"), finding.way_out()),
    }
}

/// The stop command did not end it.
fn stop_command(history: &History, promise: &Promise) -> Cause {
    let command = promise.steps.first().cloned().unwrap_or_default();
    let ended = history.facts.iter().find_map(|fact| match fact.what {
        What::StopCommand { failed, .. } => Some((failed, &fact.text)),
        _ => None,
    });
    match ended {
        Some((true, text)) => cause(
            format!("{command} has failed ({text})"),
            "try it by hand while the program runs: a name that is wrong, a variable that is not set",
        ),
        Some((false, _)) => cause(
            format!("{command} has done its part, and the program runs on"),
            "let the program act on it, or let the command do more; --signal sends a signal in its place",
        ),
        None => killed_by_engine(promise).unwrap_or_else(|| {
            cause(
                format!("{command} itself has not come to its end"),
                "see what it waits for, or give both more time (--within)",
            )
        }),
    }
}

/// The way out for what it left: that has until both times are over.
const LET_LEFT_END: &str =
    "let it stop its children before it ends, or give them less time (--grace and --sweep-grace)";
/// The exit code for an end by KILL.
const KILLED: u8 = 137;

/// It came down too late.
pub(crate) fn slow(history: &History, promise: &Promise) -> Option<Cause> {
    let exit_took = history.exit_took()?;
    let by_kill = history
        .exited()
        .is_some_and(|(_, status)| status == (KILLED, None));
    if let Some(reason) = killed_by_engine(promise).filter(|_| by_kill) {
        return Some(reason);
    }
    let took = history.took().unwrap_or_default();
    let was_in_time = exit_took <= promise.within;
    let mut parts = history.parts();
    parts.retain(|(part, _)| !was_in_time || matches!(part, Part::Left | Part::After));
    match parts.into_iter().max_by_key(|(_, took)| *took) {
        Some((Part::After, _)) => {
            let (hook, longest) = history.longest_post_stop()?;
            return Some(cause(
                format!(
                    "the post-stop hook {hook:?} took {} of {}",
                    Shown(longest),
                    Shown(took)
                ),
                "let it do less, give it less time (--hook-timeout), or promise more (--within)",
            ));
        }
        Some((Part::Left, _)) if was_in_time => {
            return Some(cause(
                "the command itself was in time; processes that it left were not",
                LET_LEFT_END,
            ));
        }
        None if was_in_time => {
            return Some(late_stop_command(history, promise).unwrap_or_else(|| cause(
                "the command itself was in time; a client that does not take its answer was waited for",
                "promise more (--within)",
            )));
        }
        Some((Part::Before, before)) => {
            return Some(cause(
                format!("hooks and drain took {} of {}", Shown(before), Shown(took)),
                "give them less time (--drain-delay, --drain-timeout, --hook-timeout), or promise more \
                 (--within)",
            ));
        }
        Some((Part::Left, left)) => {
            return Some(cause(
                format!(
                    "processes that it left took {} of {}",
                    Shown(left),
                    Shown(took)
                ),
                LET_LEFT_END,
            ));
        }
        _ => {}
    }
    if history
        .facts
        .iter()
        .any(|fact| fact.what == What::Step { kill: true })
    {
        return Some(not_stopped(history, promise));
    }
    Some(cause(
        format!(
            "it acts on {}, and its way down takes longer than was promised",
            promise.asks()
        ),
        "close idle connections and cancel background work when the stop begins, or promise more (--within)",
    ))
}

/// The cause where the stop command was waited for until it was too late.
fn late_stop_command(history: &History, promise: &Promise) -> Option<Cause> {
    let ended = history.find(|what| match what {
        What::StopCommandCut => Some("and ended by KILL"),
        What::StopCommand { .. } => Some("which took its time"),
        _ => None,
    });
    let asked = history.asked()?;
    let (_, how) = ended.filter(|(at, _)| at.saturating_sub(asked) >= promise.within)?;
    let command = promise.steps.first()?;
    Some(cause(
        format!("the program itself was in time; {command} was waited for, {how}"),
        "see what the command waits for, or promise more (--within)",
    ))
}

/// The status is not one of those expected.
pub(crate) fn wrong_exit(status: (u8, Option<i32>), promise: &Promise) -> Option<Cause> {
    let (code, signal) = status;
    let signal = signal.and_then(Signal::from_number);
    let found = match (signal, code) {
        (Some(signal), _) if signal == promise.first_signal() => cause(
            format!("it has no handler for {signal}: the default action ended it on the spot"),
            format!(
                "{} and exit with 0 there, or expect {code}",
                add_handler(signal)
            ),
        ),
        (Some(signal), _) => cause(
            format!("it crashed while stopping ({signal})"),
            "look at the last lines of its output and at its core dump",
        ),
        (None, 0) => cause(
            "an exit code was expected and is lost on the way: a handler, a shell or a wrapper ends with 0",
            "pass the code on (in a shell: code=$?; ...; exit $code)",
        ),
        (None, KILLED) if engine_stop(promise).is_some() => return killed_by_engine(promise),
        (None, KILLED) => cause(
            "something below it was ended by KILL, and it reports that",
            "look at who sends KILL: a wrapper's own timeout, or the kernel's memory killer",
        ),
        (None, 143) => cause(
            "a process below it died of TERM, and it reports that as 128+15",
            format!(
                "{} and exit with 0 there, or expect 143",
                add_handler(Signal::TERM)
            ),
        ),
        (None, code) => cause(
            format!("its way down ends in an error ({code})"),
            "look at the last lines of its output",
        ),
    };
    Some(found)
}

/// Processes were left.
pub(crate) fn left(history: &History, left: &[LeftProcess], promise: &Promise) -> Cause {
    if let Some(container) = left.iter().find(|left| left.pid == 0) {
        return cause(
            format!(
                "{} runs on without its client: a signal that the client does not pass on, and KILL above all, \
                 never reaches it",
                container.command
            ),
            "stop it through the engine: --stop-command 'docker stop NAME'",
        );
    }
    let looks = history.looks(true);
    let session = |pid: i32| looks.iter().find(|look| look.pid == pid).map(|l| l.session);
    let main_pid = history.main_pid();
    let main = history
        .looks(false)
        .iter()
        .find(|look| look.pid == main_pid);
    let first = left
        .first()
        .map_or("a process", |left| left.command.as_str());
    // Such a target reaches it there, too.
    let may_be_away = promise.target != Target::Tree;
    let away = left.iter().filter(|_| may_be_away).find(|left| {
        let session = session(left.pid);
        main.zip(session)
            .is_some_and(|(main, session)| session != main.session)
    });
    if let Some(away) = away {
        return cause(
            format!("{} {}", away.command, Finding::OwnSession),
            Finding::OwnSession.way_out(),
        );
    }
    match main {
        Some(main) if main.is_shell() && promise.target == Target::Child => {
            let alone = Finding::Alone {
                signal: promise.first_signal(),
                by: Named::of(main),
                shell: true,
                contained: None,
            };
            cause(format!("{first} {alone}"), alone.way_out())
        }
        _ => cause(
            format!("the command ended without waiting for {first}, which it had started"),
            match promise.target {
                Target::Child => {
                    "let it stop its children and wait for them, or signal all of them (--target group or tree)"
                }
                Target::Group | Target::Tree => "let it stop its children and wait for them",
            },
        ),
    }
}

/// A port is still listened on.
pub(crate) fn port_kept(port: u16) -> Cause {
    cause(
        "a child has inherited the listening socket, or another process serves the port",
        format!(
            "close the socket in children (SOCK_CLOEXEC), and see who has it: ss -ltnp 'sport = :{port}'"
        ),
    )
}

/// A container that was named did not run when the stop was asked for.
pub(crate) fn not_there() -> Cause {
    cause(
        "the container has another name, or it takes longer to start",
        "compare the name with `docker ps`, and let the stop wait until it serves: --ready-when, --ready-line or --after",
    )
}

/// Requests were cut off.
pub(crate) fn interrupted_requests(history: &History, promise: &Promise) -> Cause {
    if history.killed().is_some() {
        return cause(
            "KILL came while they were still being answered",
            "give the program more time (--within, and the grace period of the platform), or bound how long a request \
             takes",
        );
    }
    cause(
        format!(
            "it ends on {} without finishing what it has begun",
            promise.asks()
        ),
        "stop accepting first and end once the last response is out; give it time to do so (--drain-port, \
         --within)",
    )
}

/// Answers whose end is that of their connection.
pub(crate) fn unclear_answers() -> Cause {
    cause(
        "the server gives no length of its answers, so that only the end of the connection ends them",
        "let the server send Content-Length, or Transfer-Encoding: chunked (HTTP/1.1)",
    )
}

/// It ended before the stop was asked for.
pub(crate) fn died_early((code, signal): (u8, Option<i32>)) -> Option<Cause> {
    let why = match signal.and_then(Signal::from_number) {
        Some(signal) => format!("it was ended by {signal}, which check has not sent"),
        None if code == 0 => "it is done, or it has gone into the background (a daemon)".to_owned(),
        None if code == 125 => {
            "what was to start the program has failed itself (docker run, an init: 125)".to_owned()
        }
        None if code == 126 => {
            "a program cannot be executed (126, said by a shell or docker run)".to_owned()
        }
        None if code == 127 => {
            "a program was not found (127, said by a shell or docker run)".to_owned()
        }
        None => "it failed at its start".to_owned(),
    };
    let way_out = if code == 0 {
        "start it in the foreground, or send the signal earlier (--after)"
    } else if (125..=127).contains(&code) {
        "look at the last lines of its output: a name that is wrong, an image or a network that is missing"
    } else {
        "look at the last lines of its output: a port that is taken, a file that is missing"
    };
    Some(cause(why, way_out))
}

/// It never became ready.
pub(crate) fn never_ready(history: &History) -> Option<Cause> {
    history.exited()?;
    Some(cause(
        "it runs, and what was waited for does not come",
        "look at the last lines of its output; allow more time (--ready-timeout), or wait for something else",
    ))
}
