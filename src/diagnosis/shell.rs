//! Whether a shell runs its trap at once, or only once its child has ended.

use super::finding::Finding;
use super::process::ProcessLook;
use super::snapshot::Seen;
use crate::words::signal::Signal;

/// Whether a shell runs its trap only once one of `waited` has ended, which are some of its `children`. One that
/// was started with `&` is not waited for, or in a way that a signal interrupts. `is_told` is whether a child gets
/// the signal as well.
pub(super) fn trap_waits(
    shell: &Seen,
    children: &[&Seen],
    waited: &[&Seen],
    signal: Signal,
    is_told: &dyn Fn(&Seen) -> bool,
) -> Option<Finding> {
    let mut unclear = None;
    for child in waited.iter().filter(|child| !child.is_short_sleep()) {
        let finding = |known| Finding::TrapWaits {
            signal,
            child: child.named(),
            known,
            reached: is_told(child),
        };
        // The whole pipeline is in the background, or none of it.
        let before = writer(shell, child, children);
        let is_background = before.and_then(|before| is_background(shell, before));
        match is_background.or_else(|| self::is_background(shell, child)) {
            Some(true) => {}
            Some(false) => return Some(finding(true)),
            None => unclear = Some(finding(false)),
        }
    }
    unclear
}

/// The command before this one in its pipeline.
fn writer<'a>(shell: &Seen, child: &Seen, children: &[&'a Seen]) -> Option<&'a Seen> {
    let read = child.input_pipe().filter(|_| child.input != shell.input)?;
    let mut others = children.iter().filter(|other| other.pid() != child.pid());
    others.find(|other| other.writes.contains(&read)).copied()
}

/// A shell without job control starts a background job with INT ignored and /dev/null as its standard input
/// (POSIX, 2.9.3.1 and 2.11); with job control, in a group of its own.
fn is_background(shell: &Seen, child: &Seen) -> Option<bool> {
    let ignores = |seen: &Seen| ProcessLook::has(seen.look.ignored, Signal::INT);
    // dash and ash wait so where a signal may interrupt it.
    if ignores(child) && !ignores(shell) || shell.look.waits_in.contains("sigsuspend") {
        return Some(true);
    }
    if is_substitution(shell, child) {
        return Some(true);
    }
    if child.look.group != shell.look.group {
        return None;
    }
    // Who does not ignore INT and has no handler was not started with it ignored.
    let catches = ProcessLook::has(child.look.caught, Signal::INT);
    if !ignores(child) && !catches && !ignores(shell) {
        return Some(false);
    }
    let (own, its) = (shell.input.as_ref()?, child.input.as_ref()?);
    match (own == its, its.starts_with("/dev/null ")) {
        (false, true) => Some(true),
        (true, false) => Some(false),
        // The first was redirected, or reads a pipe.
        (false, false) | (true, true) => None,
    }
}

/// A process substitution or a coprocess, which bash does not wait for: the shell keeps its end of the pipe between
/// them. It has closed those of a pipeline, and reads what a command substitution writes by another descriptor than
/// its standard input.
fn is_substitution(shell: &Seen, child: &Seen) -> bool {
    let writes = |from: &Seen, to: &Seen| {
        to.input_pipe()
            .is_some_and(|read| from.writes.contains(&read))
    };
    writes(shell, child) || writes(child, shell)
}
