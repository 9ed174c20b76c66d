//! The words of every record, as a line for people.

use std::fmt;
use std::time::Duration;

use crate::plan::HookPhase;
use crate::plan::sockets::UNNAMED;
use crate::record::{
    Again, CountedFrom, HookResult, Outcome, Reason, Record, RestartReason, Sender,
};
use crate::words::duration::Shown;
use crate::words::signal::Signal;

mod drain;
mod processes;
mod step;
mod values;

use drain::{Times, drain_ended, drain_waits, held_up};
use processes::{names, noun, still_there};
use step::StepText;

/// One record as a line for people, without prefix and newline.
pub(crate) fn text(record: &Record) -> String {
    Words(record).to_string()
}

/// As [`text`], written to where it is wanted: what the main job tells while the child goes down costs
/// no allocation.
pub(super) struct Words<'a>(pub(super) &'a Record);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Record::Listening { name, address, .. } if name == UNNAMED => {
                write!(f, "listening on {address}")
            }
            Record::Listening { name, address, .. } => {
                write!(f, "listening on {address} ({name})")
            }
            Record::EndpointListening { address, .. } => {
                write!(f, "listening on {address} (--health-listen)")
            }
            Record::Started { pid, .. } => write!(f, "started, pid {pid}"),
            Record::StartFailed(failure) => f.write_str(&failure.message),
            Record::WaitStarted {
                condition,
                why,
                left,
            } => write!(
                f,
                "waiting up to {} for {condition}: {why} (--wait-for)",
                Shown(*left)
            ),
            Record::WaitGoesOn { condition, why } => {
                write!(f, "still waiting for {condition}: {why}")
            }
            Record::WaitEnded { condition, took } => {
                write!(f, "{condition} holds after {}", Shown(*took))
            }
            Record::Ready { after } => write!(f, "ready after {}", Shown(*after)),
            Record::StillNotReady {
                after,
                condition,
                why,
            } => {
                write!(
                    f,
                    "not ready after {}, {condition} does not hold",
                    Shown(*after)
                )?;
                if let Some(why) = why {
                    write!(f, ": {why}")?;
                }
                f.write_str("; --ready-when says otherwise when it is ready")
            }
            Record::NotYetReady { why } => write!(f, "not ready yet: {why}"),
            Record::NotAlive { why, failures, of } => {
                f.write_str("not alive")?;
                if *of > 1 {
                    write!(f, ", {failures} of {of}")?;
                }
                write!(f, ": {why} (--live-when)")
            }
            Record::AliveAgain { failures: 1 } => f.write_str("alive again after 1 failure"),
            Record::AliveAgain { failures } => write!(f, "alive again after {failures} failures"),
            Record::Aborted { wait } => {
                f.write_str("before the ladder: ABRT to the child")?;
                match wait {
                    Some(wait) => write!(f, ", waiting up to {}", Shown(*wait)),
                    None => Ok(()),
                }
            }
            Record::NotReady { why, .. } => write!(f, "not ready: {why}"),
            Record::ReadyAgain { after } => write!(f, "ready again after {}", Shown(*after)),
            Record::ChildSays { status } => write!(f, "the child says {status:?}"),
            Record::Extended { left, .. } => {
                write!(f, "the child asks for more time: it has {}", Shown(*left))
            }
            Record::StopAsked {
                reason,
                signal,
                sender,
                ..
            } => stop_asked(f, *reason, *signal, *sender),
            Record::HookStarted { phase, name } => {
                write!(f, "{} hook {name:?} started", phase.name())
            }
            Record::WillNotStart => f.write_str(
                "nothing will be started; the pre-start hook that is running ends first",
            ),
            Record::HookEnded {
                phase,
                name,
                result,
                took,
            } => {
                let is_before_nothing =
                    *phase == HookPhase::PreStart && *result == HookResult::CutShort;
                let (phase, took) = (phase.name(), Shown(*took));
                if is_before_nothing {
                    return write!(f, "{phase} hook {name:?} killed ({took})");
                }
                write!(f, "{phase} hook {name:?} {result} ({took})")
            }
            Record::DrainStarted(wait) | Record::DrainWaits(wait) => drain_waits(f, wait),
            Record::InFlight { requests, left } => {
                write!(f, "drain: {requests} in flight, {} left", Shown(*left))
            }
            Record::HeldUp {
                connections,
                oldest,
            } => held_up(f, *connections, oldest),
            Record::DrainUntold { times, within } => write!(
                f,
                "drain: not every checker was told \"not ready\" {} within {} (--drain-checks-timeout)",
                Times(*times),
                Shown(*within)
            ),
            Record::DrainUnmet { until, why } => {
                write!(f, "--drain-until {until} does not hold: {why}")
            }
            Record::DrainEnded {
                end,
                interrupted,
                took,
            } => drain_ended(f, *end, *interrupted, Shown(*took)),
            Record::StepSkipped {
                step,
                of,
                text,
                signal,
            } => {
                let text = StepText(text, *signal);
                write!(f, "step {step} of {of}: {text} {}", HookResult::Skipped)
            }
            Record::Step {
                step,
                of,
                text,
                signal,
                target,
                by_terminal,
                passed_on,
                wait,
            } => {
                write!(f, "step {step} of {of}: {}", StepText(text, *signal))?;
                if signal.is_some() {
                    write!(f, " to the {target}")?;
                }
                if *by_terminal {
                    f.write_str(", sent by the terminal already")?;
                }
                if *passed_on {
                    f.write_str(", passed on already")?;
                }
                match wait {
                    Some(wait) => write!(f, ", waiting up to {}", Shown(*wait)),
                    None if *signal == Some(Signal::KILL) => Ok(()),
                    None => f.write_str(", waiting until it has ended"),
                }
            }
            Record::StopCommandEnded { result } => write!(f, "stop command {result}"),
            Record::AskedAgain {
                signal,
                sender,
                again,
                sent_as,
                target,
            } => {
                write!(f, "{signal} {sender}: ")?;
                let passed_on = |f: &mut fmt::Formatter<'_>| {
                    f.write_str("passed on")?;
                    if sent_as != signal {
                        write!(f, " as {sent_as}")?;
                    }
                    write!(f, " to the {target}")
                };
                match again {
                    Again::PassedOn => passed_on(f),
                    Again::Waits => {
                        passed_on(f)?;
                        f.write_str(" once the ladder begins")
                    }
                    Again::WaitsLonger => {
                        passed_on(f)?;
                        f.write_str(" later in the stop")
                    }
                    Again::Hurried => {
                        passed_on(f)?;
                        write!(f, "; another {signal} takes the next step")
                    }
                    Again::ByTerminal => f.write_str("another one takes the next step"),
                    Again::StoodFor => {
                        write!(
                            f,
                            "not passed on, {sent_as} is sent in its place (--stop-signal)"
                        )
                    }
                    Again::Noted => f.write_str("another one makes the stop faster"),
                }
            }
            Record::Escalated { signal, sender } => {
                write!(f, "{signal} {sender}: not waiting any longer")
            }
            Record::ChildExited {
                status,
                after,
                step,
            } => {
                write!(f, "child {status}")?;
                if let Some(step) = step {
                    write!(f, " on step {step}")?;
                }
                write!(f, " after {}", Shown(*after))
            }
            Record::HandedOver {
                from,
                status,
                pid,
                command,
            } => write!(
                f,
                "child {from} {status}: handed over to pid {pid} ({command})"
            ),
            Record::LeftListening { port } => write!(
                f,
                "the child has exited with 0, and what it has left listens on port {port}: if that is the program, \
                 --main-pid file:PATH, with its pid file, makes it the child"
            ),
            Record::HeirAwaited { pid, why, left } => write!(
                f,
                "child {pid} exited with 0: waiting up to {} for the one that takes over: {why} (--main-pid)",
                Shown(*left)
            ),
            Record::NotAStop {
                signal,
                after,
                stop_on,
            } => {
                let after = Shown(*after);
                write!(
                    f,
                    "{signal} was only forwarded, and the child ended {after} later: the stop sequence did not \
                     run. If {signal} is to ask for the stop: --stop-on {stop_on}"
                )
            }
            Record::StillThere { after, processes } => still_there(f, Shown(*after), processes),
            Record::OomKilled {
                kills,
                before_this_life,
                counted_from,
                limit,
            } => out_of_memory(f, *kills, *before_this_life, *counted_from, *limit),
            Record::ChildLeft { pid } => {
                write!(f, "child {pid} is still there, ending without it")
            }
            Record::Forwarded {
                signal,
                received,
                target,
            } => {
                write!(f, "{received} forwarded")?;
                if signal != received {
                    write!(f, " as {signal}")?;
                }
                write!(f, " to the {target}")
            }
            Record::Dropped { signal, why } => write!(f, "{signal} not forwarded: {why}"),
            Record::NotObeyed {
                signal,
                option,
                why,
            } => write!(f, "{signal} ({option}) not obeyed: {why}"),
            Record::ReloadPutOff { signal } => write!(
                f,
                "{signal} (--reload-on): the configuration is read again before the next start"
            ),
            Record::Reaped { pid, status } => write!(f, "orphan {pid} reaped, {status}"),
            Record::Swept {
                signal,
                processes,
                decided_by,
            } => {
                let count = processes.len();
                write!(f, "{signal} to {count} {} left: ", noun(count))?;
                names(f, processes)?;
                match decided_by {
                    Some("--deadline") => f.write_str(" (--deadline leaves no more time)"),
                    Some(option) => write!(f, " ({option} is over)"),
                    None => Ok(()),
                }
            }
            Record::Awaited {
                processes,
                wait,
                decided_by,
            } => {
                let count = processes.len();
                let have = if count == 1 { "has" } else { "have" };
                let noun = noun(count);
                write!(
                    f,
                    "waiting for {count} {noun} left, which {have} had the signal: "
                )?;
                names(f, processes)?;
                write!(f, "; up to {}", Shown(*wait))?;
                match decided_by {
                    Some(option) => write!(f, " ({option})"),
                    None => Ok(()),
                }
            }
            Record::SweepEnded { left: false, took } => {
                write!(f, "nothing is left ({})", Shown(*took))
            }
            Record::SweepEnded { left: true, took } => {
                write!(f, "some processes are still there after {}", Shown(*took))
            }
            Record::Reloaded {
                changed,
                needs_restart,
            } => reloaded(f, changed, needs_restart),
            Record::ReloadRefused { message } => {
                write!(f, "configuration not reloaded: {message}")
            }
            Record::Suspended => f.write_str("stopped on the terminal, together with the child"),
            Record::SuspendedAlone => f.write_str("stopped on the terminal"),
            Record::NotSuspended { signal } => {
                write!(
                    f,
                    "child stopped by {signal}: continued, as nobody else would"
                )
            }
            Record::Trouble { message } => f.write_str(message),
            Record::GenerationEnded {
                generation,
                outcome,
                restart,
                delay,
            } => generation_ended(f, *generation, outcome, *restart, *delay),
            Record::GenerationBegan { generation } => {
                write!(f, "generation {generation} begins")
            }
            Record::GaveUp { restarts, within } => {
                let times = if *restarts == 1 {
                    "restart"
                } else {
                    "restarts"
                };
                write!(f, "not restarted again: {restarts} {times}")?;
                if let Some(within) = within {
                    write!(f, " within {}", Shown(*within))?;
                }
                f.write_str(" (--restart-limit)")
            }
            Record::ReplaceBegan {
                generation,
                signal,
                sender,
            } => {
                write!(f, "replacing: {signal}")?;
                if let Some(sender) = sender {
                    write!(f, " {sender}")?;
                }
                write!(f, ": generation {generation} begins")
            }
            Record::Replaced {
                generation,
                before,
                pid,
                ready,
            } => {
                write!(f, "generation {generation} serves")?;
                if let Some(pid) = pid {
                    write!(f, ", pid {pid}")?;
                }
                if !ready {
                    write!(f, ", not ready yet: generation {before} has ended")?;
                }
                Ok(())
            }
            Record::ReplaceFailed {
                generation,
                serving,
            } => write!(
                f,
                "not replaced: generation {generation} has ended and was not ready; generation {serving} goes on"
            ),
            Record::ReplaceRefused { why, serving } => {
                write!(f, "not replaced: {why}; generation {serving} goes on")
            }
            Record::Ended(outcome) => ended(f, outcome),
            Record::OfGeneration { generation, record } => {
                write!(f, "generation {generation}: {}", Words(record))
            }
        }
    }
}

fn generation_ended(
    f: &mut fmt::Formatter<'_>,
    generation: u32,
    outcome: &Outcome,
    restart: RestartReason,
    delay: Duration,
) -> fmt::Result {
    write!(f, "generation {generation} ")?;
    match (restart, outcome.status) {
        (RestartReason::StartFailed, _) => f.write_str("could not be started")?,
        (RestartReason::Unhealthy, _) => f.write_str("was unhealthy")?,
        (RestartReason::Replaced, _) => f.write_str("was replaced")?,
        (RestartReason::MaxRuntime, _) => f.write_str("ended by --max-runtime")?,
        (_, Some(status)) => write!(f, "{status}")?,
        (_, None) => f.write_str("is gone")?,
    }
    match (restart, delay.is_zero()) {
        (RestartReason::Asked, _) => f.write_str(": restarted, as asked"),
        (_, true) => f.write_str(": restarted (--restart)"),
        (_, false) => write!(f, ": restarted in {} (--restart)", Shown(delay)),
    }
}

fn reloaded(f: &mut fmt::Formatter<'_>, changed: &[&str], needs_restart: &[&str]) -> fmt::Result {
    f.write_str("configuration reloaded: ")?;
    match changed {
        [] => f.write_str("nothing changed")?,
        _ => write!(f, "{} changed", changed.join(", "))?,
    }
    match needs_restart {
        [] => Ok(()),
        _ => write!(
            f,
            "; only a restart of stepdown changes {}",
            needs_restart.join(", ")
        ),
    }
}

fn stop_asked(
    f: &mut fmt::Formatter<'_>,
    reason: Reason,
    signal: Option<Signal>,
    sender: Option<Sender>,
) -> fmt::Result {
    match reason {
        Reason::MaxRuntime => return f.write_str("stopping: --max-runtime is over"),
        Reason::StartFailed => return f.write_str("stopping: the start has failed"),
        Reason::Unhealthy => return f.write_str("stopping: the child is unhealthy"),
        Reason::ParentDied => f.write_str("stopping with ")?,
        Reason::Restart => f.write_str("restarting: ")?,
        Reason::Replaced => return f.write_str("stopping: the next one serves"),
        Reason::Signal | Reason::Exit => f.write_str("stopping: ")?,
    }
    if let Some(signal) = signal {
        write!(f, "{signal}")?;
    }
    match (reason, sender) {
        (Reason::ParentDied, _) => f.write_str(": the parent process died"),
        (_, Some(sender)) => write!(f, " {sender}"),
        (_, None) => Ok(()),
    }
}

fn out_of_memory(
    f: &mut fmt::Formatter<'_>,
    kills: u64,
    before: u64,
    counted_from: CountedFrom,
    limit: Option<u64>,
) -> fmt::Result {
    let perhaps = match counted_from {
        CountedFrom::Start => "",
        CountedFrom::Cgroup => ", perhaps",
    };
    let since_made = counted_from == CountedFrom::Cgroup && before == 0;
    let kills = kills.saturating_sub(before);
    let processes = if kills == 1 { "process" } else { "processes" };
    write!(
        f,
        "out of memory{perhaps}: the kernel has killed {kills} {processes} of this cgroup"
    )?;
    if since_made {
        f.write_str(" since it was made")?;
    }
    match limit {
        Some(bytes) => write!(f, ", whose limit is {} MiB", bytes.div_ceil(1 << 20)),
        None => Ok(()),
    }
}

fn ended(f: &mut fmt::Formatter<'_>, outcome: &Outcome) -> fmt::Result {
    let code = outcome.code;
    if !matches!(outcome.reason, Reason::Exit | Reason::StartFailed) {
        let forced = if outcome.escalated { " by KILL" } else { "" };
        write!(f, "stopped{forced} in {}, ", Shown(outcome.took))?;
    }
    write!(f, "exit status {code}")
}
