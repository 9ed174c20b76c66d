//! A cgroup for the child and its descendants: the kernel knows its members, and one write kills them
//! all.
//!
//! A process starts in the cgroup of its parent, and stays in it when it forks, starts a session or
//! loses its parent. One write to cgroup.kill kills every member of the cgroup and of those below
//! it, with those that are being forked at this moment (the kernel's
//! Documentation/admin-guide/cgroup-v2.rst, "Processes" and "cgroup.kill"; Linux 5.14).
//!
//! Only where it was asked for (`--cgroup`), because the child can tell: its /proc/self/cgroup names
//! another path than without us, and a runtime that looks there for its memory limit (older JVMs do)
//! finds none, as the limit is that of the cgroup above. A child shall start as it would without us.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use super::descriptors::{self, with_room};
use super::error_text;

/// See the module's first sentence.
pub(crate) struct Cgroup {
    directory: PathBuf,
    /// As /proc/PID/cgroup names it.
    path: OsString,
    /// Its cgroup.procs, until the child has entered through it.
    procs: Option<OwnedFd>,
    /// Its cgroup.kill: held, so that KILL needs neither a free descriptor nor the mount.
    kill: OwnedFd,
}

/// How many names are tried: the one with our pid may be in use in another PID namespace, or left by
/// a process that was killed before it could remove it.
const NAMES: u32 = 100;

/// How many cgroups below ours are found at most: a child may make any number.
const MOST: usize = 4096;

impl Cgroup {
    /// Makes one below that of this process.
    ///
    /// # Errors
    /// Why there can be none, as text for the user.
    pub(crate) fn make() -> Result<Self, String> {
        let path = own_path(&read("/proc/self/cgroup")?)
            .ok_or("this process is in no cgroup v2")?
            .to_owned();
        let mounts = read("/proc/self/mountinfo")?;
        let mut why = format!("no mount of cgroup v2 shows {}", Path::new(&path).display());
        // The last mount on a directory hides those before it.
        let found = directories(&mounts, &path, Hierarchy::Unified);
        for own in found.into_iter().rev() {
            match Self::below(&own.directory, Path::new(&path)) {
                Ok(cgroup) => return Ok(cgroup),
                Err(failed) => why = failed,
            }
        }
        Err(why)
    }

    fn below(own: &Path, path: &Path) -> Result<Self, String> {
        let name = new_directory(own).map_err(|error| shown(own, &error))?;
        let directory = own.join(&name);
        let open = |file: &str| {
            let path = directory.join(file);
            let opened = with_room(|| File::options().write(true).open(&path));
            let opened = opened.map_err(|error| match error.raw_os_error() {
                Some(libc::ENOENT) if file == "cgroup.kill" => {
                    format!("{}: no cgroup.kill (Linux 5.14)", own.display())
                }
                _ => shown(&path, &error),
            })?;
            descriptors::above_stderr(opened.into()).map_err(|errno| error_text(errno as i32))
        };
        let opened = open("cgroup.procs").and_then(|procs| Ok((procs, open("cgroup.kill")?)));
        match opened {
            Ok((procs, kill)) => Ok(Self {
                path: path.join(&name).into_os_string(),
                directory,
                procs: Some(procs),
                kill,
            }),
            Err(why) => {
                let _ = fs::remove_dir(&directory);
                Err(why)
            }
        }
    }

    /// The descriptor of cgroup.procs, until `close_procs`: a process that writes `0` to it enters.
    pub(crate) fn procs(&self) -> Option<RawFd> {
        self.procs.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// The child has entered, and nothing else has to.
    pub(crate) fn close_procs(&mut self) {
        self.procs = None;
    }

    /// The descriptors that stay open as long as the cgroup exists.
    pub(crate) fn descriptor(&self) -> RawFd {
        self.kill.as_raw_fd()
    }

    /// Whether a living process is in it, or in one below; zombies do not count (cgroup.events).
    pub(crate) fn is_populated(&self) -> bool {
        let events = with_room(|| fs::read(self.directory.join("cgroup.events")));
        events
            .unwrap_or_default()
            .split(|byte| *byte == b'\n')
            .any(|line| line == b"populated 1")
    }

    /// Who is in it, or in one below, as far as our PID namespace has a number for them.
    pub(crate) fn pids(&self) -> Vec<i32> {
        let mut pids = Vec::new();
        for directory in self.directories() {
            // The threads of one process may be in several threaded cgroups; the process is listed
            // in one above them.
            let members = with_room(|| fs::read_to_string(directory.join("cgroup.procs")));
            let members = members.unwrap_or_default();
            pids.extend(members.lines().filter_map(|pid| pid.parse::<i32>().ok()));
        }
        pids.retain(|pid| *pid > 0);
        pids
    }

    /// Whether this process is in it, or in one below.
    pub(crate) fn holds(&self, pid: i32) -> bool {
        let cgroups = with_room(|| fs::read(format!("/proc/{pid}/cgroup")));
        own_path(&cgroups.unwrap_or_default())
            .is_some_and(|path| Path::new(path).starts_with(&self.path))
    }

    /// Kills all that are in it, or in one below.
    ///
    /// # Errors
    /// The errno of write(2).
    pub(crate) fn kill(&self) -> Result<(), i32> {
        nix::unistd::write(&self.kill, b"1")
            .map(drop)
            .map_err(|errno| errno as i32)
    }

    /// Removes it and those that its members have made below it, except where a process still
    /// lives.
    pub(crate) fn remove(self) {
        for directory in self.directories().iter().rev() {
            if let Err(error) = fs::remove_dir(directory) {
                tracing::warn!("{}: not removed: {error}", directory.display());
            }
        }
    }

    /// It and all below it, each before those below.
    fn directories(&self) -> Vec<PathBuf> {
        let mut found = vec![self.directory.clone()];
        let mut next = 0;
        while let Some(directory) = found.get(next).filter(|_| found.len() < MOST) {
            let entries = with_room(|| fs::read_dir(directory));
            let entries = entries.into_iter().flatten().flatten();
            let below: Vec<PathBuf> = entries
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|entry| entry.path())
                .collect();
            found.extend(below);
            next += 1;
        }
        found
    }
}

/// Makes a directory with a name of our own; returns the name.
fn new_directory(own: &Path) -> io::Result<String> {
    let pid = std::process::id();
    let name = |number| match number {
        1 => format!("stepdown-{pid}"),
        _ => format!("stepdown-{pid}-{number}"),
    };
    let make = || {
        let mut made = Err(io::ErrorKind::AlreadyExists.into());
        for number in 1..=NAMES {
            made = fs::create_dir(own.join(name(number))).map(|()| name(number));
            if !made.as_ref().is_err_and(is_there) {
                break;
            }
        }
        made
    };
    match make() {
        Err(error) if is_there(&error) => {
            // Lives before may have left processes there (`--left leave`) that have ended since.
            for number in 1..=NAMES {
                let _ = fs::remove_dir(own.join(name(number)));
            }
            make()
        }
        made => made,
    }
}

fn is_there(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AlreadyExists
}

fn read(path: &str) -> Result<Vec<u8>, String> {
    with_room(|| fs::read(path)).map_err(|error| shown(Path::new(path), &error))
}

fn shown(path: &Path, error: &io::Error) -> String {
    let why = error_text(error.raw_os_error().unwrap_or(0));
    format!("{}: {why}", path.display())
}

/// The path in the hierarchy of version 2, the one without controllers' names (cgroups(7),
/// /proc/PID/cgroup).
pub(super) fn own_path(cgroups: &[u8]) -> Option<&OsStr> {
    let mut lines = cgroups.split(|byte| *byte == b'\n');
    lines
        .find_map(|line| line.strip_prefix(b"0::"))
        .filter(|path| path.starts_with(b"/"))
        .map(OsStr::from_bytes)
}

/// Which tree of cgroups.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Hierarchy {
    /// Version 2.
    Unified,
    /// That of version 1 with the memory controller.
    Memory,
}

/// Where a cgroup is to be found.
pub(super) struct Found {
    pub(super) directory: PathBuf,
    /// The mount shows nothing above it.
    pub(super) is_root: bool,
}

/// Where a path of the hierarchy is to be found: below each mount of it whose root is above the path
/// (proc_pid_mountinfo(5)). Next to version 1 the mount is not /sys/fs/cgroup itself.
pub(super) fn directories(mounts: &[u8], path: &OsStr, hierarchy: Hierarchy) -> Vec<Found> {
    let directory = |line: &[u8]| {
        let mut fields = line.split(|byte| *byte == b' ');
        let root = unescaped(fields.nth(3)?);
        let place = unescaped(fields.next()?);
        let mut fields = fields.skip_while(|field| *field != b"-").skip(1);
        let kind = fields.next()?;
        let mut options = fields
            .nth(1)
            .unwrap_or_default()
            .split(|byte| *byte == b',');
        let is_wanted = match hierarchy {
            Hierarchy::Unified => kind == b"cgroup2",
            Hierarchy::Memory => kind == b"cgroup" && options.any(|option| option == b"memory"),
        };
        let below = Path::new(path)
            .strip_prefix(&root)
            .ok()
            .filter(|_| is_wanted)?;
        // What lies outside the root of our cgroup namespace has no path here.
        let is_inside =
            root.is_absolute() && below.components().all(|part| part != Component::ParentDir);
        is_inside.then(|| Found {
            directory: place.join(below),
            is_root: below.as_os_str().is_empty(),
        })
    };
    mounts
        .split(|byte| *byte == b'\n')
        .filter_map(directory)
        .collect()
}

/// Spaces, tabs, newlines and backslashes are written as three octal digits there.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let digits = after
            .get(..3)
            .and_then(|digits| str::from_utf8(digits).ok());
        let octal = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        (rest, _) = match (first, octal) {
            (b'\\', Some(byte)) => (after.get(3..).unwrap_or_default(), bytes.push(byte)),
            _ => (after, bytes.push(*first)),
        };
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(mounts: &str, path: &str) -> Vec<PathBuf> {
        let found = directories(mounts.as_bytes(), OsStr::new(path), Hierarchy::Unified);
        found.into_iter().map(|found| found.directory).collect()
    }

    #[test]
    fn a_name_whose_processes_have_ended_is_free_again() {
        let own = tempfile::tempdir().unwrap();
        for _ in 0..NAMES {
            let name = new_directory(own.path()).unwrap();
            fs::write(own.path().join(name).join("process"), "").unwrap();
        }
        assert!(new_directory(own.path()).is_err());
        let ended = format!("stepdown-{}-40", std::process::id());
        fs::remove_file(own.path().join(&ended).join("process")).unwrap();
        assert_eq!(new_directory(own.path()).unwrap(), ended);
    }

    #[test]
    fn the_line_of_version_2_is_found_among_the_others() {
        let hybrid = b"9:name=systemd:/a\n4:memory:/b\n0::/c/d e\n";
        assert_eq!(own_path(hybrid), Some(OsStr::new("/c/d e")));
        assert_eq!(own_path(b"0::/\n"), Some(OsStr::new("/")));
        assert_eq!(own_path(b"4:memory:/b\n"), None);
        assert_eq!(own_path(b""), None);
        assert_eq!(own_path(b"0::.\n"), None);
    }

    #[test]
    fn our_directory_is_below_the_mount_that_shows_it() {
        let pure =
            "31 24 0:27 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(found(pure, "/"), [Path::new("/sys/fs/cgroup/")]);
        assert_eq!(found(pure, "/a/b"), [Path::new("/sys/fs/cgroup/a/b")]);
        let hybrid = "30 24 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n\
                      31 30 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      32 30 0:28 / /sys/fs/cgroup/unified rw - cgroup2 none rw\n";
        assert_eq!(found(hybrid, "/a"), [Path::new("/sys/fs/cgroup/unified/a")]);
        // A container without a cgroup namespace: only its own part of the hierarchy is mounted.
        let part = "31 24 0:27 /docker/0123 /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
        assert_eq!(found(part, "/docker/0123"), [Path::new("/sys/fs/cgroup/")]);
        assert_eq!(
            found(part, "/docker/0123/x"),
            [Path::new("/sys/fs/cgroup/x")]
        );
        assert!(found(part, "/docker/01234").is_empty());
        assert!(found(part, "/").is_empty());
    }

    #[test]
    fn what_no_mount_shows_is_nowhere() {
        let above = "31 24 0:27 /.. /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
        assert!(found(above, "/").is_empty());
        let own = "31 24 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
        assert!(found(own, "/../other").is_empty());
        let no_root = "31 24 0:27  /sys/fs/cgroup rw - cgroup2 cgroup rw";
        let no_kind = "31 24 0:27 / /sys/fs/cgroup rw cgroup2";
        for text in ["", "\n", "31 24", no_root, no_kind] {
            assert!(found(text, "/").is_empty(), "{text:?}");
        }
    }

    #[test]
    fn odd_characters_of_a_mount_are_put_back() {
        let odd = r"31 24 0:27 /a\040b /mnt/c\134d\ rw - cgroup2 cgroup rw";
        assert_eq!(found(odd, "/a b/e"), [Path::new(r"/mnt/c\d\/e")]);
    }
}
