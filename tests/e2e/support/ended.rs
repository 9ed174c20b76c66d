//! What became of a run, and the assertions about it.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::mark::Mark;
use super::proc::Process;
use super::running::Running;

/// How a run ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// From start to end.
    pub(crate) ran: Duration,
    /// From the first signal that the story sent to the end.
    pub(crate) stopped_in: Option<Duration>,
    /// The mark of what was started, and the run itself: what it left behind is killed when the
    /// story is over, not before it was looked at. A container's run has none: its end took all.
    left: Option<(Mark, Running)>,
}

impl Ended {
    pub(super) fn new(status: ExitStatus, stdout: String, stderr: String) -> Self {
        Self {
            status,
            stdout,
            stderr,
            ran: Duration::ZERO,
            stopped_in: None,
            left: None,
        }
    }

    pub(super) fn ran(mut self, ran: Duration, stopped_in: Option<Duration>) -> Self {
        (self.ran, self.stopped_in) = (ran, stopped_in);
        self
    }

    pub(super) fn left(mut self, mark: Mark, run: Running) -> Self {
        self.left = Some((mark, run));
        self
    }

    /// Asserts the exit code.
    #[track_caller]
    pub(crate) fn code(&self, code: i32) -> &Self {
        assert_eq!(
            self.status.code(),
            Some(code),
            "{}\n{}",
            self.status,
            self.told()
        );
        self
    }

    /// Asserts that stepdown itself died of a signal.
    #[track_caller]
    pub(crate) fn died_of(&self, signal: Signal) -> &Self {
        assert_eq!(
            self.status.signal(),
            Some(signal as i32),
            "{}\n{}",
            self.status,
            self.told()
        );
        self
    }

    /// Asserts that standard output has this line.
    #[track_caller]
    pub(crate) fn said(&self, line: &str) -> &Self {
        assert!(
            self.stdout.lines().any(|seen| seen == line),
            "{line:?} in\n{}",
            self.told()
        );
        self
    }

    /// Asserts that standard output does not have this line.
    #[track_caller]
    pub(crate) fn never_said(&self, line: &str) -> &Self {
        assert!(
            !self.stdout.lines().any(|seen| seen == line),
            "{line:?} in\n{}",
            self.told()
        );
        self
    }

    /// Asserts that a line of standard error contains all these parts.
    #[track_caller]
    pub(crate) fn logged(&self, parts: &[&str]) -> &Self {
        let has_all = |line: &str| parts.iter().all(|part| line.contains(part));
        assert!(
            self.stderr.lines().any(has_all),
            "{parts:?} in\n{}",
            self.told()
        );
        self
    }

    /// Asserts that no line of standard error contains this part.
    #[track_caller]
    pub(crate) fn never_logged(&self, part: &str) -> &Self {
        assert!(!self.stderr.contains(part), "{part:?} in\n{}", self.told());
        self
    }

    /// Asserts that standard error is empty.
    #[track_caller]
    pub(crate) fn was_silent(&self) -> &Self {
        assert!(self.stderr.is_empty(), "{}", self.told());
        self
    }

    /// Asserts that the stop took less than `bound` from the first signal on. Only for bounds that
    /// tell two designs apart (a wait that was slept out, say), never for small ones: those are for
    /// [`super::once_within`].
    #[track_caller]
    pub(crate) fn stopped_within(&self, bound: Duration) -> &Self {
        let took = self.stop_took();
        assert!(took < bound, "took {took:?}\n{}", self.told());
        self
    }

    /// From the first signal to the end.
    #[track_caller]
    pub(crate) fn stop_took(&self) -> Duration {
        self.stopped_in.expect("a run to which a signal was sent")
    }

    /// Asserts that the stop took at least `bound`: a wait was granted.
    #[track_caller]
    pub(crate) fn stopped_no_sooner_than(&self, bound: Duration) -> &Self {
        let took = self.stop_took();
        assert!(took >= bound, "took {took:?}\n{}", self.told());
        self
    }

    /// Asserts that nothing that was started by this run still lives.
    #[track_caller]
    pub(crate) fn nothing_left(&self) -> &Self {
        if let Some((mark, _)) = &self.left {
            mark.nothing_left();
        }
        self
    }

    /// What was started by this run and still lives; it is killed when the story is over.
    pub(crate) fn still_there(&self) -> Vec<Process> {
        let mark = self.left.as_ref().map(|(mark, _)| mark);
        mark.map(Mark::processes).unwrap_or_default()
    }

    /// The output, for messages.
    pub(crate) fn told(&self) -> String {
        format!("--- stdout\n{}--- stderr\n{}---", self.stdout, self.stderr)
    }
}
