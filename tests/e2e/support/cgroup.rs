//! A cgroup v2 of the story's own, wherever the machine has it mounted.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use nix::unistd::Pid;

use super::mark::Mark;
use super::{BOUND, Mode, Stepdown, holds_within};

/// The mounts of cgroup v2.
pub(crate) fn mounts() -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let place = |line: &str| {
        let (place, kind) = line.split_once(" - ")?;
        let place = kind
            .starts_with("cgroup2 ")
            .then(|| place.split(' ').nth(4))?;
        place.map(PathBuf::from)
    };
    text.lines().filter_map(place).collect()
}

/// The path of a process in the hierarchy of version 2.
pub(crate) fn path_of(pid: Pid) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::"));
    path.map(str::to_owned)
}

/// A cgroup of the story's own, in which it starts stepdown; dropping it removes it and all below.
pub(crate) struct Group(PathBuf);

impl Group {
    /// # Errors
    /// Why there can be none on this machine.
    pub(crate) fn new() -> Result<Self, String> {
        let mount = mounts()
            .into_iter()
            .next()
            .ok_or("no cgroup v2 is mounted")?;
        let own = path_of(Pid::this()).ok_or("no process is in a cgroup v2")?;
        let mark = Mark::new();
        let path = mount.join(own.trim_start_matches('/')).join(mark.as_str());
        let told = |error: io::Error| format!("no cgroup in {}: {error}", mount.display());
        fs::create_dir(&path).map_err(told)?;
        let group = Self(path);
        if group.0.join("cgroup.kill").exists() {
            Ok(group)
        } else {
            Err("no cgroup.kill (Linux 5.14)".to_owned())
        }
    }

    /// The run is started in this cgroup.
    pub(crate) fn with(&self, stepdown: Stepdown) -> Stepdown {
        let path = self.0.join("cgroup.procs");
        let procs = File::options().write(true).open(path).expect("our own");
        stepdown.prepared(move || (&procs).write_all(b"0"))
    }

    /// stepdown in this cgroup, with `--cgroup on`.
    pub(crate) fn stepdown(&self, mode: Mode) -> Stepdown {
        self.with(Stepdown::in_mode(mode)).args(["--cgroup", "on"])
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The cgroups in it.
    pub(crate) fn below(&self) -> Vec<PathBuf> {
        below(&self.0)
    }

    /// Asserts that no cgroup is left in it.
    #[track_caller]
    pub(crate) fn is_empty(&self) {
        let left = self.below();
        assert!(left.is_empty(), "{left:?}");
    }
}

fn below(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}

fn remove(path: &Path) -> io::Result<()> {
    for path in below(path) {
        remove(&path)?;
    }
    fs::remove_dir(path)
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::write(self.0.join("cgroup.kill"), "1");
        let gone = holds_within(BOUND, || remove(&self.0).is_ok());
        assert!(gone || std::thread::panicking(), "{}", self.0.display());
    }
}
