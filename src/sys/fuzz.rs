//! /proc/PID/stat and status, /proc/PID/cgroup with mountinfo, and the files of a cgroup.

use std::path::Path;

use super::cgroup::{Hierarchy, directories, own_path};
use super::oom::{candidates, kills, limit};
use super::stat::Stat;
use crate::fuzz::{parts, text};
use crate::look;

/// The files stat, status and cmdline.
pub(crate) fn process(bytes: &[u8]) {
    let [stat, status, cmdline] = parts(bytes);
    let words = look::words(&String::from_utf8_lossy(cmdline));
    assert!(words.iter().all(|word| !word.contains('\0')));
    let Some(stat) = Stat::parse(stat) else {
        return;
    };
    let look = look::of(7, stat.clone(), &text(status));
    assert_eq!((look.parent, look.group), (stat.parent, stat.group));
    // A line more changes nothing: the first of a name counts.
    let again = look::of(7, stat, &format!("{}\nThreads:\t99\n", text(status)));
    assert!(look.threads == again.threads || look.threads == 1);
    assert_eq!((again.blocked, again.ignored), (look.blocked, look.ignored));
}

/// The files cgroup, mountinfo, memory.events and memory.max.
pub(crate) fn cgroup(bytes: &[u8]) {
    let [cgroups, mounts, events, most] = parts(bytes);
    let _ = kills(events);
    assert!(limit(&text(most)).is_none_or(|bytes| bytes < 1 << 60));
    let lines = mounts.split(|byte| *byte == b'\n').count();
    assert!(candidates(cgroups, mounts).len() <= 2 * lines);
    let Some(path) = own_path(cgroups) else {
        return;
    };
    for found in directories(mounts, path, Hierarchy::Unified) {
        // It ends as the path does: nothing above the mount is reached.
        let last = found.directory.file_name();
        let is_below = last == Path::new(path).file_name() || found.is_root;
        assert!(is_below, "{}", found.directory.display());
    }
}
