//! The words of every record, as a line for people.

use std::fmt::Write as _;
use std::time::Duration;

use crate::duration::Shown;
use crate::record::{DrainEnd, ExitStatus, HookResult, Outcome, Process, Reason, Record, Sender};
use crate::signal::Signal;

/// One record as a line for people, without prefix and newline.
pub(crate) fn text(record: &Record) -> String {
    match record {
        Record::Started { pid } => format!("started, pid {pid}"),
        Record::StartFailed(failure) => failure.message.clone(),
        Record::Ready { after } => format!("ready after {}", Shown(*after)),
        Record::StopAsked {
            reason,
            signal,
            sender,
        } => stop_asked(*reason, *signal, *sender),
        Record::HookEnded {
            phase,
            name,
            result,
            took,
        } => {
            let (phase, took) = (phase.name(), Shown(*took));
            format!("{phase} hook {name:?} {} ({took})", hook_result(result))
        }
        Record::DrainStarted => "drain: waiting until no request is in flight".to_owned(),
        Record::InFlight { requests, left } => {
            format!("drain: {requests} in flight, {} left", Shown(*left))
        }
        Record::DrainEnded {
            end,
            interrupted,
            took,
        } => drain_end(*end, *interrupted, *took),
        Record::Step {
            step,
            of,
            text,
            signal,
            target,
            by_terminal,
            wait,
        } => {
            let mut line = format!("step {step} of {of}: {text}");
            if let Some(signal) = signal.filter(|signal| !text.starts_with(&signal.to_string())) {
                let _ = write!(line, " = {signal}");
            }
            if signal.is_some() {
                let _ = write!(line, " to the {}", target_name(*target));
            }
            if *by_terminal {
                line.push_str(", sent by the terminal already");
            }
            if let Some(wait) = wait {
                let _ = write!(line, ", waiting up to {}", Shown(*wait));
            }
            line
        }
        Record::StopCommandEnded { result } => format!("stop command {}", hook_result(result)),
        Record::Escalated { signal, sender } => {
            format!("{signal} {}: going on at once", sender_text(*sender))
        }
        Record::ChildExited {
            status,
            after,
            step,
        } => {
            let step = step
                .map(|step| format!(" on step {step}"))
                .unwrap_or_default();
            format!(
                "child {}{step} after {}",
                status_text(*status),
                Shown(*after)
            )
        }
        Record::ChildLeft { pid } => format!("child {pid} is still there, going without it"),
        Record::Forwarded {
            signal,
            received,
            target,
        } => {
            let as_what = if signal == received {
                String::new()
            } else {
                format!(" as {signal}")
            };
            format!(
                "{received} forwarded{as_what} to the {}",
                target_name(*target)
            )
        }
        Record::Dropped { signal, why } => format!("{signal} not forwarded: {why}"),
        Record::Reaped { pid, status } => format!("orphan {pid} reaped, {}", status_text(*status)),
        Record::Swept { signal, processes } => {
            format!("{signal} to {} left: {}", processes.len(), names(processes))
        }
        Record::SweepEnded { left: false, took } => {
            format!("nothing is left ({})", Shown(*took))
        }
        Record::SweepEnded { left: true, took } => {
            format!("some processes are still there after {}", Shown(*took))
        }
        Record::Reloaded {
            changed,
            needs_restart,
        } => reloaded(changed, needs_restart),
        Record::ReloadRefused { message } => format!("configuration not reloaded: {message}"),
        Record::Suspended => "stopped on the terminal, together with the child".to_owned(),
        Record::NotSuspended { signal } => {
            format!("child stopped by {signal}: continued, as nobody else would")
        }
        Record::Trouble { message } => message.clone(),
        Record::Ended(outcome) => ended(outcome),
    }
}

fn reloaded(changed: &[&str], needs_restart: &[&str]) -> String {
    let mut line = "configuration reloaded: ".to_owned();
    match changed {
        [] => line.push_str("nothing changed"),
        _ => {
            let _ = write!(line, "{} changed", changed.join(", "));
        }
    }
    if !needs_restart.is_empty() {
        let _ = write!(
            line,
            "; only a restart changes {}",
            needs_restart.join(", ")
        );
    }
    line
}

fn stop_asked(reason: Reason, signal: Option<Signal>, sender: Option<Sender>) -> String {
    let signal = signal.map(|signal| signal.to_string()).unwrap_or_default();
    match (reason, sender) {
        (Reason::MaxRuntime, _) => "stopping: --max-runtime is over".to_owned(),
        (Reason::StartFailed, _) => "stopping: the start has failed".to_owned(),
        (Reason::ParentDied, _) => format!("stopping with {signal}: the parent process died"),
        (_, Some(sender)) => format!("stopping: {signal} {}", sender_text(sender)),
        (_, None) => format!("stopping: {signal}"),
    }
}

fn sender_text(sender: Sender) -> String {
    match sender {
        Sender::Kernel => "from the terminal or the kernel".to_owned(),
        Sender::Outside => "from outside the container".to_owned(),
        Sender::Pid(pid) => format!("from pid {pid}"),
    }
}

pub(crate) fn status_text(status: ExitStatus) -> String {
    match status {
        ExitStatus::Exited(code) => format!("exited with {code}"),
        ExitStatus::Killed {
            signal,
            core: false,
        } => format!("died of {signal}"),
        ExitStatus::Killed { signal, core: true } => format!("died of {signal} (core dumped)"),
    }
}

fn hook_result(result: &HookResult) -> String {
    match result {
        HookResult::Ended(ExitStatus::Exited(0)) => "done".to_owned(),
        HookResult::Ended(status) => format!("failed: {}", status_text(*status)),
        HookResult::Failed(why) => format!("failed: {why}"),
        HookResult::TimedOut => "killed: its time was over".to_owned(),
        HookResult::CutShort => "killed: going on without it".to_owned(),
        HookResult::Skipped => "skipped: the deadline leaves no time for it".to_owned(),
    }
}

fn drain_end(end: DrainEnd, interrupted: u32, took: Duration) -> String {
    let took = Shown(took);
    let left = match interrupted {
        0 => String::new(),
        1 => ", 1 request interrupted".to_owned(),
        count => format!(", {count} requests interrupted"),
    };
    match end {
        DrainEnd::Drained => format!("drained in {took}"),
        DrainEnd::TimedOut => format!("drain ended by its timeout after {took}{left}"),
        DrainEnd::CutShort => format!("drain cut short after {took}{left}"),
        DrainEnd::ChildExited => format!("drain ended after {took}: the child has exited{left}"),
    }
}

fn target_name(target: crate::plan::Target) -> &'static str {
    match target {
        crate::plan::Target::Child => "child",
        crate::plan::Target::Group => "group",
        crate::plan::Target::Tree => "tree",
    }
}

/// As many names as a person reads; the count stands before them.
fn names(processes: &[Process]) -> String {
    const SHOWN: usize = 12;
    let mut text = processes
        .iter()
        .take(SHOWN)
        .map(|process| format!("{} {}", process.pid, process.command.escape_debug()))
        .collect::<Vec<_>>()
        .join(", ");
    if processes.len() > SHOWN {
        let _ = write!(text, " and {} more", processes.len() - SHOWN);
    }
    text
}

fn ended(outcome: &Outcome) -> String {
    let forced = if outcome.escalated { " by KILL" } else { "" };
    match outcome.reason {
        Reason::Exit | Reason::StartFailed => format!("exit status {}", outcome.code),
        _ => format!(
            "stopped{forced} in {}, exit status {}",
            Shown(outcome.took),
            outcome.code
        ),
    }
}
