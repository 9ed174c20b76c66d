//! The words for processes: their number, their names, what they wait for.

use std::fmt;

use crate::record::Process;
use crate::record::waited::Waited;
use crate::words::duration::Shown;

pub(super) fn noun(count: usize) -> &'static str {
    if count == 1 { "process" } else { "processes" }
}

/// As many names as a person reads; the count stands before them.
pub(super) fn names(f: &mut fmt::Formatter<'_>, processes: &[Process]) -> fmt::Result {
    const SHOWN: usize = 12;
    for (index, process) in processes.iter().take(SHOWN).enumerate() {
        let comma = if index > 0 { ", " } else { "" };
        let (pid, command) = (process.pid, process.command.escape_debug());
        write!(f, "{comma}{pid} {command}")?;
        if process.from_outside {
            f.write_str(" (from outside)")?;
        }
    }
    match processes.len().checked_sub(SHOWN) {
        None | Some(0) => Ok(()),
        Some(more) => write!(f, " and {more} more"),
    }
}

pub(super) fn still_there(
    f: &mut fmt::Formatter<'_>,
    after: Shown,
    processes: &[Waited],
) -> fmt::Result {
    const SHOWN: usize = 8;
    let Some((first, others)) = processes.split_first() else {
        return write!(
            f,
            "the child is still there after {after} (no usable /proc shows why)"
        );
    };
    write!(f, "still there after {after}: {first}")?;
    for process in others.iter().take(SHOWN) {
        write!(f, ", {process}")?;
    }
    match others.len().checked_sub(SHOWN) {
        None | Some(0) => Ok(()),
        Some(more) => write!(f, " and {more} more"),
    }
}
