//! How often the kernel has killed in our cgroup for lack of memory: the counter `oom_kill`.
//!
//! Version 2 has it in memory.events, version 1 in memory.oom_control (the kernel's
//! Documentation/admin-guide/cgroup-v2.rst, "Memory Interface Files", and cgroup-v1/memory.rst; Linux
//! 4.13). The kernel counts before it kills, so the new number is there when the death is noticed.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::cgroup::{Hierarchy, directories, own_path};

/// Where the counter of this process's cgroup is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Counter {
    directory: PathBuf,
    hierarchy: Hierarchy,
    /// The mount shows no cgroup above ours, as in a container: ours was made for it.
    pub(crate) is_containers: bool,
}

impl fmt::Display for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.directory.display().fmt(f)
    }
}

impl Counter {
    /// `None` where the kernel does not count for us: no cgroup that limits memory, or nothing that shows it.
    pub(crate) fn find() -> Option<Self> {
        let cgroups = fs::read("/proc/self/cgroup").ok()?;
        let mounts = fs::read("/proc/self/mountinfo").ok()?;
        candidates(&cgroups, &mounts)
            .into_iter()
            .find(|counter| counter.read().is_some())
    }

    pub(crate) fn read(&self) -> Option<u64> {
        let file = match self.hierarchy {
            Hierarchy::Unified => "memory.events",
            Hierarchy::Memory => "memory.oom_control",
        };
        kills(&fs::read(self.directory.join(file)).ok()?)
    }

    /// The memory limit of the cgroup in bytes, if there is one.
    pub(crate) fn limit(&self) -> Option<u64> {
        let file = match self.hierarchy {
            Hierarchy::Unified => "memory.max",
            Hierarchy::Memory => "memory.limit_in_bytes",
        };
        limit(&fs::read_to_string(self.directory.join(file)).ok()?)
    }
}

/// The controller is in one hierarchy at a time: where version 1 has it, that of version 2 counts nothing.
pub(super) fn candidates(cgroups: &[u8], mounts: &[u8]) -> Vec<Counter> {
    let of = |hierarchy: Hierarchy| {
        let path = match hierarchy {
            Hierarchy::Unified => own_path(cgroups),
            Hierarchy::Memory => memory_path(cgroups),
        };
        let found = path.map(|path| directories(mounts, path, hierarchy));
        found
            .unwrap_or_default()
            .into_iter()
            .map(move |found| Counter {
                directory: found.directory,
                hierarchy,
                // At the root of version 1 we are in no container; the root of version 2 has no
                // counter.
                is_containers: found.is_root
                    && (hierarchy == Hierarchy::Unified || path != Some(OsStr::new("/"))),
            })
    };
    // The last mount on a directory hides those before it.
    let memory = of(Hierarchy::Memory).rev();
    memory.chain(of(Hierarchy::Unified).rev()).collect()
}

/// The path in the hierarchy of version 1 that has the memory controller (cgroups(7)).
fn memory_path(cgroups: &[u8]) -> Option<&OsStr> {
    cgroups.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.splitn(3, |byte| *byte == b':').skip(1);
        let mut controllers = fields.next()?.split(|byte| *byte == b',');
        let path = fields.next()?;
        controllers
            .any(|name| name == b"memory")
            .then(|| OsStr::from_bytes(path))
    })
}

/// The same line in both versions.
pub(super) fn kills(text: &[u8]) -> Option<u64> {
    let mut lines = text.split(|byte| *byte == b'\n');
    let number = lines.find_map(|line| line.strip_prefix(b"oom_kill "))?;
    str::from_utf8(number).ok()?.trim().parse().ok()
}

/// Without a limit version 2 says `max`, and version 1 a number larger than any memory.
pub(super) fn limit(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|bytes| *bytes < 1 << 60)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn both_versions_are_read() {
        let unified = b"low 0\nhigh 0\nmax 412\noom 2\noom_kill 3\noom_group_kill 0\n";
        assert_eq!(kills(unified), Some(3));
        assert_eq!(
            kills(b"oom_kill_disable 0\nunder_oom 0\noom_kill 17\n"),
            Some(17)
        );
        // Before Linux 4.13.
        assert_eq!(kills(b"oom_kill_disable 0\nunder_oom 0\n"), None);
        assert_eq!(kills(b"oom_kill x\n"), None);
        assert_eq!(limit("33554432\n"), Some(32 << 20));
        assert_eq!(limit("max\n"), None);
        assert_eq!(limit("9223372036854771712\n"), None);
    }

    fn found(cgroups: &str, mounts: &str) -> Vec<(String, Hierarchy, bool)> {
        let found = candidates(cgroups.as_bytes(), mounts.as_bytes());
        let shown = |counter: Counter| {
            let directory = counter.directory.display().to_string();
            (directory, counter.hierarchy, counter.is_containers)
        };
        found.into_iter().map(shown).collect()
    }

    #[test]
    fn a_container_is_told_from_a_machine_in_both_versions() {
        let unified = "31 24 0:27 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw,nsdelegate\n";
        assert_eq!(
            found("0::/\n", unified),
            [("/sys/fs/cgroup/".to_owned(), Hierarchy::Unified, true)]
        );
        let service = (
            "/sys/fs/cgroup/a.slice/b".to_owned(),
            Hierarchy::Unified,
            false,
        );
        assert_eq!(found("0::/a.slice/b\n", unified), [service]);
        let docker = "35 30 0:31 /docker/7f /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n\
                      36 30 0:32 /docker/7f /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu,cpuacct\n";
        let cgroups = "9:cpu,cpuacct:/docker/7f\n4:memory:/docker/7f\n0::/\n";
        assert_eq!(
            found(cgroups, docker),
            [("/sys/fs/cgroup/memory/".to_owned(), Hierarchy::Memory, true)]
        );
        // Version 1 in a hierarchy with others, and version 2 beside it, which counts nothing.
        let host = "35 30 0:31 / /sys/fs/cgroup/mem ro - cgroup cgroup rw,hugetlb,memory\n\
                    37 30 0:33 / /sys/fs/cgroup/unified ro - cgroup2 cgroup rw\n";
        let cgroups = "4:hugetlb,memory:/a b\n0::/\n";
        let [first, second] = &found(cgroups, host)[..] else {
            panic!("{:?}", found(cgroups, host));
        };
        let at = Path::new("/sys/fs/cgroup/mem/a b").display().to_string();
        assert_eq!(*first, (at, Hierarchy::Memory, false));
        assert_eq!(second.1, Hierarchy::Unified);
        assert!(found("", host).is_empty());
        assert!(found(cgroups, "").is_empty());
    }

    #[test]
    fn what_this_machine_has_is_found_or_nothing_is_said() {
        if let Some(counter) = Counter::find() {
            assert!(counter.read().is_some(), "{counter:?}");
        }
    }
}
