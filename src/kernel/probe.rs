//! Holds or not: when to look at a condition next.
//!
//! Looking is the kernel's business; what is here has no clock of its own.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use crate::sys::error_text;

/// How the looking goes on: when the next look is due, and the one that is under way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Probe {
    since: Duration,
    due: Duration,
    /// How many looks have taken a process, and whether the last of them still runs: it is given up when
    /// it is due.
    looks: u32,
    running: bool,
}

/// A look that takes longer has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Who looks has so much more time than what it looks at: it is to say why the answer is no.
pub(crate) const LAST_WORDS: Duration = Duration::from_millis(250);

impl Probe {
    pub(crate) fn new(now: Duration) -> Self {
        Self {
            since: now,
            due: now,
            looks: 0,
            running: false,
        }
    }

    pub(crate) fn due(&self) -> Duration {
        self.due
    }

    /// The look that is under way in a process.
    pub(crate) fn running(&self) -> Option<u32> {
        self.running.then_some(self.looks)
    }

    /// The number of the next look that takes a process.
    pub(crate) fn next_look(&self) -> u32 {
        self.looks.wrapping_add(1)
    }

    /// A process has begun to look, and has so long.
    pub(crate) fn looking(&mut self, now: Duration, patience: Duration) {
        self.looks = self.next_look();
        self.running = true;
        self.due = now.saturating_add(patience);
    }

    /// The look is over, and it does not hold yet: the longer it lasts the rarer the looks, so that the
    /// start is noticed soon and a slow one costs little.
    pub(crate) fn again(&mut self, now: Duration) {
        let (shortest, longest) = if self.running {
            (Duration::from_millis(100), Duration::from_secs(1))
        } else {
            (Duration::from_millis(25), Duration::from_millis(250))
        };
        self.running = false;
        let lasted = now.saturating_sub(self.since);
        self.due = now.saturating_add((lasted / 8).clamp(shortest, longest));
    }
}

/// Whether the file is there and not simply what was there before the start.
pub(crate) fn file_holds(path: &Path, before: Option<&str>) -> Result<(), String> {
    match state_of(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err("there is no such file".to_owned())
        }
        Err(error) => Err(error_text(error.raw_os_error().unwrap_or(0))),
        Ok(now) if Some(&*now) == before => {
            Err("the file has not changed since the start".to_owned())
        }
        Ok(_) => Ok(()),
    }
}

/// Which file, and in which state: what changes when the file is touched, written or replaced.
///
/// # Errors
/// Those of stat(2).
pub(crate) fn state_of(path: &Path) -> io::Result<String> {
    let file = std::fs::metadata(path)?;
    let (seconds, nanoseconds) = (file.ctime(), file.ctime_nsec());
    let (device, inode) = (file.dev(), file.ino());
    Ok(format!("{device} {inode} {seconds} {nanoseconds}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_get_rarer() {
        let at = Duration::from_millis;
        let mut probe = Probe::new(at(0));
        probe.again(at(0));
        assert_eq!(probe.due(), at(25));
        probe.again(at(800));
        assert_eq!(probe.due(), at(900));
        probe.again(at(60_000));
        assert_eq!(probe.due(), at(60_250));
        probe.looking(at(70_000), PATIENCE);
        assert_eq!(probe.due(), at(75_000));
        probe.again(at(70_100));
        assert_eq!(probe.due(), at(71_100));
    }
}
