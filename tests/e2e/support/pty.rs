//! A pseudoterminal with somebody in front of it: types, looks, closes the window.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};

use nix::fcntl::OFlag;
use nix::libc;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::{Pid, tcgetpgrp};

use super::mark::{Mark, VARIABLE};
use super::output::Output;
use super::{BOUND, holds_within, proc, wait_until};

pub(crate) const CTRL_C: &str = "\x03";
pub(crate) const CTRL_D: &str = "\x04";
pub(crate) const CTRL_Z: &str = "\x1a";
pub(crate) const CTRL_BACKSLASH: &str = "\x1c";

/// What the shell of [`Pty::shell`] prompts with: the status of what ran before stands in it.
pub(crate) fn prompt(status: i32) -> String {
    format!("[status {status}]")
}

/// A terminal window with a program in it, leader of the window's session; dropping it closes the
/// window and kills what is left.
///
/// The keyboard is not echoed, so that all there is to see comes from programs.
pub(crate) struct Pty {
    keyboard: Option<File>,
    screen: Output,
    /// How much of the screen has been waited for already.
    seen: usize,
    process: Child,
    mark: Mark,
}

impl Pty {
    /// A shell with job control, as people use it.
    #[track_caller]
    pub(crate) fn shell() -> Self {
        // Without line editing the terminal's settings are the same at the prompt and in a program.
        Self::shell_of(&["bash", "--norc", "--noprofile", "--noediting", "-i"])
    }

    /// One that never changes the settings of the terminal, so it puts nothing back either.
    #[track_caller]
    pub(crate) fn plain_shell() -> Self {
        Self::shell_of(&["dash", "-i"])
    }

    #[track_caller]
    fn shell_of(words: &[&str]) -> Self {
        let mut shell = Command::new(words[0]);
        let mut pty = Self::running(shell.args(&words[1..]).env("PS1", "[status $?]\n"));
        pty.shows(&prompt(0));
        pty
    }

    /// A program that has the window for itself.
    pub(crate) fn running(command: &mut Command) -> Self {
        let (master, slave) = pair();
        let mut settings = tcgetattr(&slave).expect("a terminal");
        settings.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(&slave, SetArg::TCSANOW, &settings).expect("a terminal");
        super::stepdown::without_options_of_ours(command);
        let mark = Mark::new();
        let copy = || slave.try_clone().expect("a descriptor");
        command.stdin(copy()).stdout(copy()).stderr(copy());
        command.env(VARIABLE, mark.as_str());
        command.env("TERM", "dumb");
        let session = || {
            super::stepdown::fresh_session()?;
            // SAFETY: a request without an argument that would be touched.
            match unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) } {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        };
        // SAFETY: plain system calls.
        unsafe { command.pre_exec(session) };
        let process = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let keyboard = File::from(master);
        let session = Pid::from_raw(process.id().cast_signed());
        Self {
            screen: Output::of(Some(keyboard.try_clone().expect("a descriptor"))),
            keyboard: Some(keyboard),
            seen: 0,
            process,
            mark: mark.with_session(session),
        }
    }

    fn master(&self) -> &File {
        self.keyboard.as_ref().expect("a window that is open")
    }

    /// Presses keys.
    #[track_caller]
    pub(crate) fn types(&mut self, keys: &str) -> &mut Self {
        self.master()
            .write_all(keys.as_bytes())
            .expect("a window that is open");
        self
    }

    /// Types a line.
    #[track_caller]
    pub(crate) fn enters(&mut self, line: &str) -> &mut Self {
        self.types(&format!("{line}\n"))
    }

    /// Waits for this text after what was waited for before.
    #[track_caller]
    pub(crate) fn shows(&mut self, text: &str) -> &mut Self {
        self.shows_one_of(&[text]);
        self
    }

    /// Waits for the first of these texts, and returns it.
    #[track_caller]
    pub(crate) fn shows_one_of<'a>(&mut self, texts: &[&'a str]) -> &'a str {
        let mut found = None;
        let shown = holds_within(BOUND, || {
            let screen = String::from_utf8_lossy(self.screen.look()).into_owned();
            let new = screen.get(self.seen..).unwrap_or_default();
            let places = texts
                .iter()
                .filter_map(|text| Some((new.find(text)?, *text)));
            found = places.min();
            found.is_some()
        });
        assert!(shown, "not within {BOUND:?}: {texts:?}\n{}", self.told());
        let (place, text) = found.expect("just waited for");
        self.seen += place + text.len();
        text
    }

    /// Waits for all of these texts, in whatever order.
    #[track_caller]
    pub(crate) fn shows_all(&mut self, texts: &[&str]) -> &mut Self {
        let before = self.seen;
        let mut furthest = before;
        for text in texts {
            self.seen = before;
            self.shows(text);
            furthest = furthest.max(self.seen);
        }
        self.seen = furthest;
        self
    }

    /// Everything that has been on the screen until now.
    pub(crate) fn screen(&mut self) -> String {
        self.screen.text().replace('\r', "")
    }

    /// Asserts how many of the lines until now are this one, or end with it: what is written at the same time
    /// by two may share a line.
    #[track_caller]
    pub(crate) fn showed_times(&mut self, line: &str, times: usize) -> &mut Self {
        let screen = self.screen();
        let count = screen.lines().filter(|seen| seen.ends_with(line)).count();
        assert_eq!(count, times, "{line:?} in\n{}", self.told());
        self
    }

    /// Asserts that this text has not been on the screen until now.
    #[track_caller]
    pub(crate) fn never_showed(&mut self, text: &str) -> &mut Self {
        assert!(
            !self.screen().contains(text),
            "{text:?} in\n{}",
            self.told()
        );
        self
    }

    /// How the terminal is set.
    pub(crate) fn settings(&self) -> Termios {
        tcgetattr(self.master()).expect("a window that is open")
    }

    /// The process group in the foreground.
    pub(crate) fn foreground(&self) -> Pid {
        tcgetpgrp(self.master()).expect("a window that is open")
    }

    /// The process that the window was opened for.
    pub(crate) fn leader(&self) -> Pid {
        Pid::from_raw(self.process.id().cast_signed())
    }

    /// The living processes of this name in the window.
    pub(crate) fn named(&self, name: &str) -> Vec<proc::Process> {
        let all = self.mark.processes().into_iter();
        all.filter(|process| process.name == name).collect()
    }

    /// Waits until the only process of this name is in this state.
    #[track_caller]
    pub(crate) fn waits_for_state(&self, name: &str, state: char) -> Pid {
        let mut pid = None;
        wait_until(&format!("{name} is in state {state}"), || {
            let processes = self.named(name);
            pid = processes.first().map(|process| process.pid);
            processes.len() == 1 && processes[0].state == state
        });
        pid.expect("just waited for")
    }

    /// Pulls at the window's corner.
    pub(crate) fn resizes(&mut self, rows: u16) -> &mut Self {
        let size = libc::winsize {
            ws_row: rows,
            ws_col: 80,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        // SAFETY: the request reads one winsize, which lives through the call.
        let set =
            unsafe { libc::ioctl(self.master().as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
        assert_eq!(set, 0, "{}", io::Error::last_os_error());
        self
    }

    /// Closes the window.
    pub(crate) fn closes(&mut self) -> &mut Self {
        self.screen = Output::of(None::<File>);
        self.keyboard = None;
        self
    }

    /// Waits for the end of the program that the window was opened for.
    #[track_caller]
    pub(crate) fn ends(&mut self) -> ExitStatus {
        let mut status = None;
        let ended = holds_within(BOUND, || {
            self.screen.look();
            status = self.process.try_wait().expect("our own child");
            status.is_some()
        });
        assert!(ended, "still running after {BOUND:?}\n{}", self.told());
        status.expect("just waited for")
    }

    /// Waits until nothing is left of what was started in the window.
    #[track_caller]
    pub(crate) fn wait_until_empty(&self) {
        self.mark.wait_until_gone();
    }

    fn told(&mut self) -> String {
        format!(
            "--- screen\n{}\n---\n{:#?}",
            self.screen(),
            self.mark.processes()
        )
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        self.closes();
        let _ = self.process.kill();
        let _ = self.process.wait();
        self.mark.kill_leftovers();
    }
}

/// Both ends of a new pseudoterminal, the master first.
///
/// openpty(3) leaves them open over exec: what another story starts would keep them, would find a descriptor
/// that it did not expect, and the terminal would not hang up.
pub(crate) fn pair() -> (OwnedFd, OwnedFd) {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let master = posix_openpt(flags).expect("a pseudoterminal");
    grantpt(&master).expect("a master");
    unlockpt(&master).expect("a master");
    let name = ptsname_r(&master).expect("a master");
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    let slave = options.custom_flags(OFlag::O_NOCTTY.bits()).open(name);
    (master.into(), slave.expect("a slave").into())
}
