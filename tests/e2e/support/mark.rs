//! What everything a story starts inherits, so that leftovers are found: a variable in the environment
//! and the session. Servers write their titles over their environment, daemons leave the session; it
//! takes one that does both to hide.

use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::libc;
use nix::unistd::Pid;

use super::machine;
use super::proc::{self, Process};
use super::{BOUND, holds_within};

/// The variable that carries the mark. It must not look like an option of stepdown.
pub(crate) const VARIABLE: &str = "E2E_MARK";

static NEXT: AtomicU32 = AtomicU32::new(1);

/// A text that no other story, and no other run of the tests, uses.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    text: String,
    session: Option<Pid>,
    /// Who was there before cannot bear it, and need not be asked: there may be thousands.
    since: u64,
}

impl Mark {
    pub(crate) fn new() -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            text: format!("{}-{number}", machine::name()),
            session: None,
            since: proc::now().saturating_sub(10),
        }
    }

    /// The mark of what runs in this session too, which has to be the story's own.
    pub(super) fn with_session(self, session: Pid) -> Self {
        Self {
            session: Some(session),
            ..self
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The living processes that were started with this mark; zombies are not among them, nor what is
    /// just being reaped (`X`).
    pub(crate) fn processes(&self) -> Vec<Process> {
        self.look().0
    }

    /// Those of [`Self::processes`], and whether there was one whose environment could not be told: during
    /// exec it reads as empty.
    fn look(&self) -> (Vec<Process>, bool) {
        let wanted = format!("{VARIABLE}={}", self.text).into_bytes();
        let mut is_unclear = false;
        let mut is_told = |process: &Process| {
            let environ = fs::read(format!("/proc/{}/environ", process.pid));
            let is_kernel_thread = process.parent == Pid::from_raw(2);
            is_unclear |= environ.as_ref().is_ok_and(Vec::is_empty) && !is_kernel_thread;
            environ.is_ok_and(|environ| {
                environ
                    .split(|&byte| byte == 0)
                    .any(|entry| entry == wanted)
            })
        };
        let is_ours = |process: &Process| {
            !matches!(process.state, 'Z' | 'X')
                && process.started >= self.since
                && (self.session == Some(process.session) || is_told(process))
        };
        let ours = proc::all().into_iter().filter(is_ours).collect();
        (ours, is_unclear)
    }

    /// Waits until no process carries the mark.
    #[track_caller]
    pub(crate) fn wait_until_gone(&self) {
        let mut left = Vec::new();
        let gone = holds_within(BOUND, || {
            left = self.processes();
            left.is_empty()
        });
        assert!(gone, "still there after {BOUND:?}: {left:#?}");
    }

    /// Asserts that no process carries the mark now, which is what "stepdown has swept" means:
    /// nothing may be left at the moment stepdown itself is gone.
    #[track_caller]
    pub(crate) fn nothing_left(&self) {
        let left = self.processes();
        assert!(left.is_empty(), "left behind: {left:#?}");
    }

    /// Kills what carries the mark, and nothing else. What was forked while one look was taken, or was in exec,
    /// is found by the next one.
    pub(crate) fn kill_leftovers(&self) {
        let mut unclear_looks = 0;
        holds_within(BOUND, || {
            let (ours, is_unclear) = self.look();
            for process in &ours {
                let _ = proc::kill(process.pid, libc::SIGKILL);
            }
            unclear_looks += u32::from(is_unclear);
            // A program that was started without any environment stays as it is.
            ours.is_empty() && (!is_unclear || unclear_looks > 5)
        });
    }
}
