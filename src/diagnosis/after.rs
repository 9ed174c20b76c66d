//! Why a process is still there after a signal was sent to it.

use super::finding::{Finding, Named};
use super::process::{ProcessLook, SignalAction};
use crate::plan::Target;
use crate::record::waited::Waited;
use crate::words::signal::Signal;

/// What shows of a process after this signal was sent to it, or to nobody; `child` is one of its own children, and `target`
/// whom the signal was sent to.
pub(crate) fn after(
    look: &ProcessLook,
    signal: Option<Signal>,
    child: Option<&ProcessLook>,
    target: Target,
) -> Option<Finding> {
    // A shell that starts one program after the other is there whenever one looks.
    let does = signal.map(|signal| look.disposition(signal));
    let is_passing = look.is_in_vfork() && does.is_some_and(|does| does != SignalAction::Default);
    if !is_passing && let Some(state) = state(look, None) {
        return Some(state);
    }
    let signal = signal?;
    let reached = child.is_some_and(|child| reaches(target, look, child));
    let child = child.filter(|_| look.is_shell()).map(Named::of);
    let acts_on = look.other_stop(signal);
    let (threads, function) = (look.threads, look.waits_in.clone());
    Some(match (look.disposition(signal), child) {
        (SignalAction::Ignores, _) => Finding::Ignores {
            signal,
            acts_on,
            like: None,
        },
        (SignalAction::NoAction, _) => Finding::NoAction { signal, acts_on },
        (SignalAction::Pending, _) => Finding::NotTaken { signal },
        (SignalAction::Blocks, _) => Finding::HasTaken {
            signal,
            threads,
            function,
        },
        (SignalAction::Dropped, Some(child)) => Finding::ShellAsInit {
            signal,
            child,
            others: 0,
        },
        (SignalAction::Dropped, None) => Finding::Dropped { signal, acts_on },
        (SignalAction::Handles, Some(child)) => Finding::TrapWaits {
            signal,
            child,
            known: true,
            reached,
        },
        (SignalAction::Handles, None) => Finding::NotDone {
            signal,
            threads,
            function,
        },
        _ => Finding::Dying { signal },
    })
}

/// Whether what is sent to this target, of which this process is, is sent to its child as well.
pub(super) fn reaches(target: Target, look: &ProcessLook, child: &ProcessLook) -> bool {
    match target {
        Target::Child => false,
        Target::Group => child.group == look.group,
        Target::Tree => true,
    }
}

/// What no signal changes.
pub(super) fn state(look: &ProcessLook, by: Option<Named>) -> Option<Finding> {
    let is_frozen = |function: &&str| look.waits_in.contains(*function);
    if ["refrigerator", "freezer_trap"].iter().any(is_frozen) {
        return Some(Finding::Frozen);
    }
    match look.action(Signal::KILL) {
        SignalAction::InKernel => Some(Finding::InKernel {
            function: look.waits_in.clone(),
        }),
        SignalAction::Stopped => Some(Finding::Stopped { pid: look.pid }),
        SignalAction::Traced => Some(Finding::Traced { by }),
        _ => None,
    }
}

/// Who is still there, `main` first, after `signal` was sent to `target`.
pub(crate) fn waited(
    looks: &[ProcessLook],
    main: i32,
    signal: Option<Signal>,
    target: Target,
) -> Vec<Waited> {
    let (first, others): (Vec<&ProcessLook>, Vec<&ProcessLook>) = looks
        .iter()
        .filter(|look| !look.is_zombie())
        .partition(|look| look.pid == main);
    let waited = |look: &&ProcessLook| {
        let had = signal.filter(|_| look.pid == main || target != Target::Child);
        let child = others.iter().find(|child| child.parent == look.pid);
        let why =
            after(look, had, child.copied(), target).map(|finding| match (&finding, target) {
                (Finding::TrapWaits { .. }, Target::Child) => {
                    format!("{finding}; --target group reaches both")
                }
                _ => finding.to_string(),
            });
        Waited {
            pid: look.pid,
            command: look.command.clone(),
            why,
        }
    };
    first.iter().chain(&others).map(waited).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(pid: i32, command: &str) -> ProcessLook {
        ProcessLook {
            pid,
            command: command.to_owned(),
            state: "S".to_owned(),
            threads: 1,
            ..ProcessLook::default()
        }
    }

    #[test]
    fn a_signal_without_a_default_action_is_no_trap() {
        let finding = after(&look(7, "server"), Some(Signal::WINCH), None, Target::Child);
        let finding = finding.unwrap();
        assert_eq!(
            finding.to_string(),
            "has no handler for WINCH, which does nothing by default"
        );
        let way_out = finding.way_out();
        assert!(way_out.contains("(STOPSIGNAL SIGTERM"), "{way_out}");
        assert!(!way_out.contains("trap"), "{way_out}");
    }

    #[test]
    fn who_is_still_there_is_told_with_the_reason() {
        const TERM: u64 = 1 << 14;
        let told = |change: &dyn Fn(&mut ProcessLook), command: &str, target| {
            let mut main = look(7, command);
            change(&mut main);
            let mut child = look(8, "sleep");
            child.parent = 7;
            let waited = waited(&[child, main], 7, Some(Signal::TERM), target);
            waited
                .iter()
                .map(Waited::to_string)
                .collect::<Vec<_>>()
                .join("; ")
        };
        let server = |change: &dyn Fn(&mut ProcessLook)| told(change, "server", Target::Child);
        for (change, why) in [
            (
                &(|look: &mut ProcessLook| look.ignored = TERM) as &dyn Fn(&mut ProcessLook),
                "ignores TERM",
            ),
            (
                &|look: &mut ProcessLook| (look.blocked, look.pending) = (TERM, TERM),
                "blocks TERM and has not taken it",
            ),
            (
                // Another signal is pending.
                &|look: &mut ProcessLook| (look.blocked, look.pending, look.threads) = (TERM, 1, 2),
                "has taken TERM, by sigwait or a signalfd, and is not done, 2 threads",
            ),
            (
                &|look: &mut ProcessLook| {
                    (look.caught, look.threads, look.waits_in) = (TERM, 3, "futex".to_owned())
                },
                "handles TERM and is not done, 3 threads, in futex: waits for a lock or a thread",
            ),
            (
                &|look: &mut ProcessLook| look.is_init = true,
                "is PID 1 and has no handler for TERM: the kernel discards TERM",
            ),
            (
                &|look: &mut ProcessLook| (look.ignored, look.state) = (TERM, "D".to_owned()),
                "hangs in the kernel: state D",
            ),
            (
                &|look: &mut ProcessLook| {
                    look.ignored = TERM;
                    (look.state, look.waits_in) = ("D".to_owned(), "kernel_clone".to_owned());
                },
                "ignores TERM",
            ),
            (
                &|look: &mut ProcessLook| {
                    (look.state, look.waits_in) = ("D".to_owned(), "kernel_clone".to_owned());
                },
                "hangs in the kernel, in kernel_clone: state D",
            ),
            (
                &|look: &mut ProcessLook| look.state = "T".to_owned(),
                "is stopped by job control: state T",
            ),
            (
                &|_: &mut ProcessLook| (),
                "has no handler for TERM: it takes it by sigwait, or is just dying",
            ),
        ] {
            assert_eq!(server(change), format!("7 server ({why}); 8 sleep"));
        }
        let traps = |look: &mut ProcessLook| look.caught = TERM;
        assert_eq!(
            told(&traps, "sh", Target::Child),
            "7 sh (is a shell, whose trap for TERM runs only once 8 sleep has ended; --target group reaches both); \
             8 sleep"
        );
        assert!(told(&traps, "sh", Target::Group).contains("8 sleep (has no handler for TERM"));
        let no_trap = |look: &mut ProcessLook| look.is_init = true;
        assert_eq!(
            told(&no_trap, "sh", Target::Child),
            "7 sh (is PID 1 and a shell without a trap for TERM: the kernel discards TERM, and 8 sleep never gets it); \
             8 sleep"
        );
    }
}
