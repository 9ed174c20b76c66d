//! Finds the process that the child has handed over to, once the child has ended.
//!
//! It must be a child of ours by then: only for those is there an exit status, and nobody else can get their pid before
//! we have taken it. What a main process leaves behind becomes one when it ends, for we are PID 1 or a subreaper.

use std::collections::VecDeque;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use super::Kernel;
use super::job_control::Halt;
use super::notify::Socket;
use super::probe::file_holds;
use crate::drain::look;
use crate::drive::World;
use crate::machine::Event;
use crate::plan::main_pid::NamedBy;
use crate::record::{ExitStatus, Process};
use crate::sys::descriptors::with_room;
use crate::sys::terminal::group_of;
use crate::sys::tree::{self, Kin};
use crate::sys::{error_text, last_resort, reap};

/// What is known for a hand-over.
#[derive(Default)]
pub(super) struct Heir {
    /// The file as it was before the start: what an earlier run has left names nobody.
    file_before: Option<String>,
    /// The main process that has ended.
    ended: Option<i32>,
    /// Since when its heir is looked for, and when to look again.
    search: Option<(Duration, Duration)>,
    /// Why it was not found at the last look.
    why: Option<String>,
    /// Orphans that were reaped last: the heir may have ended before it was known.
    orphans: VecDeque<(i32, ExitStatus)>,
    /// The process group of one that has taken over.
    pub(super) group: Option<i32>,
}

/// How many orphans are remembered.
const ORPHANS: usize = 32;

/// Looks get rarer.
const SHORTEST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// A file without a newline at its end may be half written, unless it is so old.
const SETTLED: Duration = Duration::from_millis(100);

/// What a look has found.
enum Found {
    /// A child of ours; it may have ended, and was not reaped.
    Child(i32),
    /// It was reaped before.
    Ended(i32, ExitStatus),
}

impl Heir {
    pub(super) fn next_look(&self) -> Option<Duration> {
        self.search.map(|(_, next)| next)
    }

    pub(super) fn main_ended(&mut self, pid: i32) {
        self.ended = Some(pid);
    }

    fn orphan_ended(&mut self, pid: i32, status: ExitStatus) {
        self.orphans.retain(|(known, _)| *known != pid);
        if self.orphans.len() == ORPHANS {
            self.orphans.pop_front();
        }
        self.orphans.push_back((pid, status));
    }
}

impl Kernel {
    pub(super) fn remember_pid_file(&mut self) {
        let plan = Rc::clone(&self.plan);
        if let Some(NamedBy::File(path)) = plan.main_pid.as_ref().map(|main| &main.from) {
            self.life.heir.file_before = self.state_before(path);
        }
    }

    pub(super) fn orphan_ended(&mut self, pid: i32, status: ExitStatus) {
        if self.plan.main_pid.is_some() {
            self.life.heir.orphan_ended(pid, status);
        }
    }

    pub(super) fn find_heir(&mut self) {
        let now = self.now();
        self.life.heir.search = Some((now, now));
        self.life.heir.why = None;
        // Where there is none yet, another look tells why; before it, that nothing is left may be known.
        if let Ok(found) = self.heir() {
            self.found_heir(found);
        }
    }

    pub(super) fn end_search(&mut self) {
        self.life.heir.search = None;
    }

    pub(super) fn look_for_heir(&mut self) {
        match self.heir() {
            Ok(found) => self.found_heir(found),
            Err(why) => {
                let now = self.now();
                if let Some((since, next)) = &mut self.life.heir.search {
                    let pause = now.saturating_sub(*since) / 8;
                    *next = now.saturating_add(pause.clamp(SHORTEST_PAUSE, LONGEST_PAUSE));
                }
                if self.life.heir.why.as_ref() != Some(&why) {
                    self.life.heir.why = Some(why.clone());
                    self.queue.push_back(Event::NoHeir(why));
                }
            }
        }
    }

    pub(super) fn look_who_listens(&mut self) {
        let port = look::listened_on(|| self.pids_of_tree());
        self.queue.extend(port.map(Event::LeftListening));
    }

    fn found_heir(&mut self, found: Found) {
        self.end_search();
        match found {
            Found::Child(pid) => self.hand_over_to(pid),
            Found::Ended(pid, status) => {
                self.life.heir.main_ended(pid);
                if !self.is_aside {
                    last_resort::child_ended(status);
                }
                self.tell_heir(pid, None);
                self.queue.push_back(Event::ChildExited(status));
            }
        }
    }

    fn heir(&mut self) -> Result<Found, String> {
        let pid = self.named_heir()?;
        let known = &self.life.heir;
        if pid == self.own_pid {
            return Err(format!("pid {pid} is stepdown itself"));
        }
        if known.ended == Some(pid) {
            return Err(format!("pid {pid} is the one that has ended"));
        }
        if reap::is_child(pid) {
            // A hook, or a look at the child.
            let is_job = group_of(pid).is_some_and(|group| self.life.jobs.has(group));
            return if is_job || !self.is_of_this_life(pid) {
                Err(format!("pid {pid} was not started by the child"))
            } else {
                Ok(Found::Child(pid))
            };
        }
        let name = name_of(pid);
        match tree::living(&[pid]).first() {
            Some(member) if tree::kin(pid) == Kin::Below => Err(format!(
                "pid {pid} ({name}) is a child of pid {} ({}), which has not ended",
                member.parent,
                name_of(member.parent)
            )),
            Some(_) => Err(format!("pid {pid} ({name}) is no descendant of stepdown's")),
            None => match known.orphans.iter().find(|(orphan, _)| *orphan == pid) {
                Some((_, status)) => Ok(Found::Ended(pid, *status)),
                None => Err(format!("there is no process with pid {pid}")),
            },
        }
    }

    /// With two generations both may write the same file.
    fn is_of_this_life(&self, pid: i32) -> bool {
        self.beside.is_none()
            || tree::living(&[pid])
                .first()
                .is_some_and(|member| self.is_of_this(member, &[]))
    }

    fn named_heir(&mut self) -> Result<i32, String> {
        let plan = Rc::clone(&self.plan);
        let main_pid = plan.main_pid.as_ref().map(|main| &main.from);
        match main_pid {
            Some(NamedBy::File(path)) => {
                let before = self.life.heir.file_before.clone();
                let named = self.look_apart(&|| {
                    file_holds(path, before.as_deref())?;
                    pid_in(path).map(|pid| pid.to_string())
                })?;
                named
                    .parse()
                    .map_err(|_| "the look was cut short".to_owned())
            }
            Some(NamedBy::Notify) | None => {
                let socket = self.life.notify_socket.as_ref();
                let said = socket.and_then(Socket::main_pid);
                said.ok_or_else(|| "nobody has said MAINPID=".to_owned())
            }
        }
    }

    fn hand_over_to(&mut self, pid: i32) {
        let child = &mut self.life.child;
        child.pid = Some(pid);
        child.halt = Halt::default();
        let ours = nix::unistd::getpgrp().as_raw();
        let group = group_of(pid).filter(|group| *group != ours);
        child.group = group.filter(|_| self.terminal.is_none());
        self.life.heir.group = group;
        if !self.is_aside {
            last_resort::prepare(pid);
        }
        self.tell_heir(pid, tree::living(&[pid]).first());
        // It may have ended already.
        self.reaping.is_due = true;
    }

    fn tell_heir(&mut self, pid: i32, member: Option<&tree::Member>) {
        let had = member.map(|member| self.life.child.told.has_had(member));
        let heir = Process::new(pid, name_of(pid));
        let had = had.unwrap_or_default();
        self.queue.push_back(Event::HeirFound { heir, had });
    }
}

/// As `ps` names it; "?" where that cannot be read.
fn name_of(pid: i32) -> String {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
    name.map_or_else(|_| "?".to_owned(), |name| name.trim_end().to_owned())
}

/// The pid in a file.
fn pid_in(path: &Path) -> Result<i32, String> {
    let mut options = std::fs::OpenOptions::new();
    // A FIFO must not hold us up.
    options.read(true).custom_flags(libc::O_NONBLOCK);
    let file = with_room(|| options.open(path)).map_err(|error| match error.raw_os_error() {
        Some(libc::ENOENT) => "there is no such file".to_owned(),
        Some(errno) => error_text(errno),
        None => error.to_string(),
    })?;
    let changed = file.metadata().and_then(|file| file.modified());
    let mut text = String::new();
    let read = file.take(64).read_to_string(&mut text);
    read.map_err(|error| error.to_string())?;
    let is_fresh = changed.is_ok_and(|at| is_younger(at, SETTLED));
    pid_in_text(&text, is_fresh)
}

/// Without a newline a text that was just written may not be all of it.
pub(super) fn pid_in_text(text: &str, is_fresh: bool) -> Result<i32, String> {
    if is_fresh && !text.contains('\n') {
        return Err("the file is being written".to_owned());
    }
    let line = text.lines().next().unwrap_or_default().trim();
    if line.is_empty() {
        return Err("the file is empty".to_owned());
    }
    let pid = line.parse().ok().filter(|pid| *pid > 0);
    pid.ok_or_else(|| format!("the file holds {line:?}, which is no pid"))
}

fn is_younger(at: SystemTime, than: Duration) -> bool {
    SystemTime::now()
        .duration_since(at)
        .is_ok_and(|age| age < than)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pid in a file with this text, written long ago.
    fn pid_of(text: &str) -> Result<i32, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        std::fs::write(&path, text).unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        let long_ago = SystemTime::now() - Duration::from_secs(9);
        file.set_modified(long_ago).unwrap();
        pid_in(&path)
    }

    #[test]
    fn a_file_holds_a_pid_or_not() {
        assert_eq!(pid_of("12\n"), Ok(12));
        assert_eq!(pid_of(" 12 \nmore\n"), Ok(12));
        assert_eq!(pid_of("12"), Ok(12));
        let why = |text| pid_of(text).unwrap_err();
        assert_eq!(why(""), "the file is empty");
        assert_eq!(why("\n"), "the file is empty");
        for text in ["a\n", "-1\n", "0\n", "99999999999\n"] {
            assert!(why(text).contains("no pid"), "{text}");
        }
    }

    #[test]
    fn a_file_that_was_just_written_may_be_half_written() {
        assert!(is_younger(SystemTime::now(), Duration::from_secs(3_600)));
        let old = SystemTime::now() - Duration::from_secs(5);
        assert!(!is_younger(old, SETTLED));
    }

    #[test]
    fn the_last_orphans_are_remembered() {
        let mut heir = Heir::default();
        for pid in 0..40 {
            heir.orphan_ended(pid, ExitStatus::Exited(0));
        }
        heir.orphan_ended(39, ExitStatus::Exited(3));
        assert_eq!(heir.orphans.len(), ORPHANS);
        assert_eq!(heir.orphans.back(), Some(&(39, ExitStatus::Exited(3))));
    }
}
