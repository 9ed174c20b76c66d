//! A run of stepdown while it lives: signals, lines, conditions, its end.

use std::io::Write;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::ended::Ended;
use super::mark::Mark;
use super::output::Output;
use super::stepdown::Mode;
use super::{BOUND, emulator, holds_within, proc, wait_until};

/// A run of stepdown; dropping it kills what is left of it.
pub(crate) struct Running {
    process: Child,
    mode: Mode,
    program: PathBuf,
    mark: Mark,
    pid1: Option<Pid>,
    started: Instant,
    asked: Option<Instant>,
    stdout: Output,
    stderr: Output,
}

impl Running {
    /// Takes over what [`super::Stepdown::start`] has just started.
    pub(super) fn of(
        started: Instant,
        mut process: Child,
        mode: Mode,
        program: PathBuf,
        mark: Mark,
    ) -> Self {
        Self {
            stdout: Output::of(process.stdout.take()),
            stderr: Output::of(process.stderr.take()),
            started,
            asked: None,
            pid1: None,
            process,
            mode,
            program,
            mark,
        }
    }

    /// stepdown's own pid as seen from outside, also when it is PID 1 inside.
    #[track_caller]
    pub(crate) fn pid(&mut self) -> Pid {
        let outer = Pid::from_raw(self.process.id().cast_signed());
        if self.mode == Mode::Ordinary {
            return outer;
        }
        if let Some(pid) = self.pid1 {
            return pid;
        }
        let mut found = None;
        self.wait_for("PID 1 runs the program", |run| {
            found = proc::children(outer)
                .first()
                .map(|process| process.pid)
                // unshare(1) and setsid(1) come first in the same process.
                .filter(|pid| emulator::runs(&run.program, &format!("/proc/{pid}/exe")));
            found.is_some()
        });
        self.pid1 = found;
        found.expect("just waited for")
    }

    /// The pids of stepdown's children, seen from outside.
    #[track_caller]
    pub(crate) fn children(&mut self) -> Vec<proc::Process> {
        proc::children(self.pid())
    }

    /// What was started by this run, stepdown and (as PID 1) unshare(1) included.
    pub(crate) fn mark(&self) -> &Mark {
        &self.mark
    }

    /// Sends a signal to stepdown.
    #[track_caller]
    pub(crate) fn signal(&mut self, signal: Signal) -> &mut Self {
        self.signal_number(signal as i32)
    }

    /// Sends a signal to stepdown by number; [`proc::rtmin`] counts the real-time ones.
    #[track_caller]
    pub(crate) fn signal_number(&mut self, signal: i32) -> &mut Self {
        let pid = self.pid();
        self.asked.get_or_insert_with(Instant::now);
        proc::kill(pid, signal).unwrap_or_else(|error| panic!("kill {signal} {pid}: {error}"));
        self
    }

    /// Asks by INT, and waits until that was taken: of those that are pending together one is left.
    #[track_caller]
    pub(crate) fn asks_again(&mut self) -> &mut Self {
        const TAKEN: &str = "INT from ";
        let count = |run: &mut Self| run.stderr.text().matches(TAKEN).count();
        self.stderr.look();
        let before = count(self);
        self.signal(Signal::SIGINT);
        self.wait_for("the INT was taken", |run| count(run) > before);
        self
    }

    /// Queues a signal with a value for stepdown.
    #[track_caller]
    pub(crate) fn sigqueue(&mut self, signal: i32, value: usize) -> &mut Self {
        let pid = self.pid();
        self.asked.get_or_insert_with(Instant::now);
        proc::sigqueue(pid, signal, value).unwrap_or_else(|error| panic!("{signal}: {error}"));
        self
    }

    /// Waits for this line on standard output.
    #[track_caller]
    pub(crate) fn says(&mut self, line: &str) -> &mut Self {
        self.stdout_line(line, |seen| seen == line);
        self
    }

    /// Waits for a line on standard output that contains `part`, and returns it.
    #[track_caller]
    pub(crate) fn says_about(&mut self, part: &str) -> String {
        self.stdout_line(part, |seen| seen.contains(part))
    }

    /// Waits for a line on standard error that contains `part`, and returns it.
    #[track_caller]
    pub(crate) fn logs(&mut self, part: &str) -> String {
        let mut found = None;
        self.wait_for(&format!("a line with {part:?} on stderr"), |run| {
            found = run.stderr.line(|seen| seen.contains(part));
            found.is_some()
        });
        found.expect("just waited for")
    }

    /// Waits until this line stands on standard output so many times.
    #[track_caller]
    pub(crate) fn says_times(&mut self, line: &str, times: usize) -> &mut Self {
        self.wait_for(&format!("{times} lines {line:?} on stdout"), |run| {
            run.stdout
                .text()
                .lines()
                .filter(|seen| *seen == line)
                .count()
                >= times
        });
        self
    }

    /// Waits until so many lines of standard error contain `part`.
    #[track_caller]
    pub(crate) fn logs_times(&mut self, part: &str, times: usize) -> &mut Self {
        self.wait_for(&format!("{times} lines with {part:?} on stderr"), |run| {
            let text = run.stderr.text();
            text.lines().filter(|seen| seen.contains(part)).count() >= times
        });
        self
    }

    /// Is there a line on standard error that contains `part`, now?
    pub(crate) fn stderr_has(&mut self, part: &str) -> bool {
        self.stderr.line(|seen| seen.contains(part)).is_some()
    }

    #[track_caller]
    fn stdout_line(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let mut found = None;
        self.wait_for(&format!("the line {what:?} on stdout"), |run| {
            found = run.stdout.line(&wanted);
            found.is_some()
        });
        found.expect("just waited for")
    }

    /// Everything on standard error until now.
    pub(crate) fn stderr_text(&mut self) -> String {
        self.stderr.text()
    }

    /// Waits for anything, collecting output meanwhile; a failure shows all of it, and a run that
    /// has ended fails at once.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let mut ended = None;
        let held = holds_within(BOUND, || {
            // Looked at first: what was written before the end is still found after it.
            ended = self.process.try_wait().expect("our own child");
            self.stdout.look();
            self.stderr.look();
            holds(self) || ended.is_some()
        });
        if !held || (ended.is_some() && !holds(self)) {
            let why = ended.map_or(format!("not within {BOUND:?}"), |status| {
                format!("{status}")
            });
            panic!("{why}: {what}\n{}", self.told());
        }
    }

    /// Types a line into stepdown's standard input.
    #[track_caller]
    pub(crate) fn type_line(&mut self, line: &str) -> &mut Self {
        let stdin = self
            .process
            .stdin
            .as_mut()
            .expect("a run that was started with_stdin()");
        stdin
            .write_all(format!("{line}\n").as_bytes())
            .expect("stdin is read");
        self
    }

    /// Closes stepdown's standard input.
    pub(crate) fn close_stdin(&mut self) -> &mut Self {
        self.process.stdin = None;
        self
    }

    /// Has it not ended yet?
    pub(crate) fn is_running(&mut self) -> bool {
        self.process.try_wait().expect("our own child").is_none()
    }

    /// Waits for its end and collects what it wrote.
    #[track_caller]
    pub(crate) fn wait(self) -> Ended {
        self.wait_within(BOUND)
    }

    /// As [`Running::wait`], for what takes longer because there is more of it.
    #[track_caller]
    pub(crate) fn wait_within(mut self, bound: Duration) -> Ended {
        let mut status = None;
        let ended = holds_within(bound, || {
            self.stdout.look();
            self.stderr.look();
            status = self.process.try_wait().expect("our own child");
            status.is_some()
        });
        assert!(ended, "still running after {bound:?}\n{}", self.told());
        let (stdout, stderr) = (self.stdout.text(), self.stderr.text());
        let ended = Ended::new(status.expect("just waited for"), stdout, stderr);
        let ended = ended.ran(
            self.started.elapsed(),
            self.asked.map(|asked| asked.elapsed()),
        );
        ended.left(self.mark.clone(), self)
    }

    fn told(&mut self) -> String {
        format!(
            "--- stdout\n{}--- stderr\n{}---",
            self.stdout.text(),
            self.stderr.text()
        )
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.is_running() {
            if self.mode == Mode::Pid1 {
                let unshare = Pid::from_raw(self.process.id().cast_signed());
                for init in proc::children(unshare) {
                    let _ = proc::kill(init.pid, libc::SIGKILL);
                }
            }
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
        self.mark.kill_leftovers();
    }
}
