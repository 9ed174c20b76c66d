//! Whom of those that are left a sweep asks to end: roots first, and nobody twice.
//!
//! A master tells its workers what to do: asked themselves, many of them drop what they are working on.
//! So who has a parent among those that are left is its parent's business, until that has had its time.

/// A process that is left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Left {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) had: Had,
}

/// Whether a process has been asked to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Had {
    No,
    /// Nobody can know: it was born at that moment, or the platform may have asked everybody.
    Perhaps,
    Yes,
}

/// What becomes of a process in one round of a sweep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Ask,
    /// Its parent has been asked, or will be; or it may have been asked itself.
    HoldBack,
    /// It was asked, and has only to be waited for.
    Wait,
}

/// One verdict for each of them, in their order; `rest` once the parents have had their time.
pub(crate) fn judge(left: &[Left], rest: bool) -> Vec<Verdict> {
    let pids: std::collections::HashSet<i32> = left.iter().map(|left| left.pid).collect();
    let verdict = |process: &Left| match process.had {
        Had::Yes => Verdict::Wait,
        _ if rest => Verdict::Ask,
        Had::No if !pids.contains(&process.parent) => Verdict::Ask,
        Had::No | Had::Perhaps => Verdict::HoldBack,
    };
    left.iter().map(verdict).collect()
}
