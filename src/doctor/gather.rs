//! Sees processes closely, as far as /proc shows them, and says what it does not show.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::target::Target;
use super::{ReadLine, USUAL, init};
use crate::diagnosis::before_finding::who_sees;
use crate::diagnosis::snapshot::{Grace, Seen, Snapshot, pipe};
use crate::diagnosis::{Named, go};
use crate::drain::look::listening;
use crate::look;
use crate::sys::stat::Stat;

/// Of so many descriptors of one process it is asked what they are.
const DESCRIPTORS: usize = 16_000;
/// Of so many threads it is asked what they wait in.
const THREADS: usize = 512;
/// What is in the kernel or unreaped for a moment is neither stuck nor forgotten.
const MOMENT: Duration = Duration::from_millis(300);

/// Whether /proc shows our PID namespace.
///
/// # Errors
/// It does not.
pub(super) fn has_proc() -> Result<(), String> {
    let link = fs::read_link("/proc/self").ok();
    let is_ours =
        link.and_then(|link| link.to_str()?.parse::<u32>().ok()) == Some(std::process::id());
    is_ours.then_some(()).ok_or_else(|| {
        "doctor: no usable /proc: mount it (mount -t proc proc /proc), or look from the host"
            .to_owned()
    })
}

/// An ending for "not found" where /proc hides other users' processes.
pub(super) fn hidden() -> &'static str {
    match hides_from_us() {
        true => ", or /proc hides it (hidepid): ask as root",
        false => "",
    }
}

fn hides_from_us() -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    hides_others(&mounts) && !nix::unistd::geteuid().is_root()
}

/// Whether /proc is mounted with `hidepid` (proc(5)); `mounts` is mountinfo.
pub(super) fn hides_others(mounts: &str) -> bool {
    const HOW: [&str; 6] = ["1", "2", "4", "noaccess", "invisible", "ptraceable"];
    let hides = |option: &str| {
        let how = option.strip_prefix("hidepid=");
        how.is_some_and(|how| HOW.contains(&how))
    };
    let mut lines = mounts.lines().filter(|line| line.contains(" /proc "));
    lines.any(|line| line.split([' ', ',']).any(hides))
}

/// All processes that show, by pid.
fn all() -> BTreeMap<i32, Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| {
        let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
        Some((pid, Stat::parse(&stat)?))
    })
    .collect()
}

fn below(all: &BTreeMap<i32, Stat>, root: i32) -> BTreeSet<i32> {
    let mut found = BTreeSet::from([root]);
    loop {
        let before = found.len();
        let children = all.iter().filter(|(_, stat)| found.contains(&stat.parent));
        let children: Vec<i32> = children.map(|(pid, _)| *pid).collect();
        found.extend(children);
        if found.len() == before {
            return found;
        }
    }
}

/// Processes of this program that are not below another one of them.
pub(super) fn named(name: &str) -> Vec<i32> {
    let all = all();
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let is_named = |pid: i32, stat: &Stat| {
        if stat.command == name {
            return true;
        }
        let argv = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let first = argv.split(|byte| *byte == 0).next().unwrap_or_default();
        let first = String::from_utf8_lossy(first);
        first.rsplit('/').next() == Some(name)
    };
    let named: BTreeSet<i32> = all
        .iter()
        .filter(|(pid, stat)| **pid != own && is_named(**pid, stat))
        .map(|(pid, _)| *pid)
        .collect();
    let has_above = |pid: i32| {
        let mut above = all.get(&pid).map(|stat| stat.parent);
        // A chain of parents has no loop, but it can change while it is read.
        for _ in 0..4096 {
            match above {
                Some(pid) if named.contains(&pid) => return true,
                Some(pid) if pid > 0 => above = all.get(&pid).map(|stat| stat.parent),
                _ => break,
            }
        }
        false
    };
    named
        .iter()
        .copied()
        .filter(|pid| !has_above(*pid))
        .collect()
}

/// PID 1 of the container with this id.
pub(super) fn init_in_cgroup(id: &str) -> Option<i32> {
    let is_in = |pid: &i32| {
        let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup"));
        cgroup.is_ok_and(|cgroup| cgroup.contains(id))
            && look::at(*pid).is_some_and(|look| look.is_init)
    };
    all().into_keys().find(is_in)
}

/// The processes of a target, and what did not show of them.
///
/// # Errors
/// The root has gone meanwhile.
pub(super) fn snapshot(target: &Target, read: ReadLine) -> Result<(Snapshot, Vec<String>), String> {
    let all = all();
    let root = target.root;
    let gone = || format!("it is gone, or does not show{}", hidden());
    let first = look::at(root).ok_or_else(gone)?;
    let signal = target.signal.as_ref().map_or(USUAL, |(signal, _)| *signal);
    let mut pids = below(&all, root);
    let mut outside = BTreeSet::new();
    if first.is_init {
        outside = inhabitants(&all, root);
        outside.retain(|pid| !pids.contains(pid));
        pids.extend(&outside);
    }
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    pids.remove(&own);
    let ports = ports(root);
    let mut unseen = BTreeMap::new();
    let mut processes: Vec<Seen> = Vec::new();
    for pid in pids {
        // Who has gone meanwhile has stopped.
        if let Some(mut seen) = seen(pid, &all, &ports, &mut unseen) {
            seen.from_outside = outside.contains(&pid);
            processes.push(seen);
        }
    }
    settle(&mut processes);
    let by_root = nix::unistd::geteuid().is_root();
    let mut notes = told(&unseen, by_root);
    let parents = processes.iter().map(|seen| (seen.look.parent, seen.pid()));
    let children: BTreeMap<i32, i32> = parents.rev().collect();
    for seen in &mut processes {
        let child = children.get(&seen.pid()).copied();
        match init::of(seen, child, signal, read) {
            Ok(init) => seen.init = init,
            Err(why) => seen.init_unseen = Some(why),
        }
    }
    if hides_from_us() {
        notes.push("processes of other users, which /proc hides (hidepid): ask as root".to_owned());
    }
    if target.paused {
        notes.push(
            "the engine has paused it: it acts on a signal only once it goes on (docker unpause)"
                .to_owned(),
        );
    }
    let grace = target.grace.as_ref().map(|(time, by, _)| Grace {
        time: *time,
        by: by.clone(),
    });
    let snapshot = Snapshot {
        root,
        signal,
        contained: first.is_init,
        by_root,
        grace,
        processes,
    };
    Ok((snapshot, notes))
}

/// All in the PID namespace of this PID 1, as far as it shows.
fn inhabitants(all: &BTreeMap<i32, Stat>, init: i32) -> BTreeSet<i32> {
    let namespace = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let is_in = |pid: i32| match init {
        // Those that we see are in ours, or below it.
        1 => look::at(pid).is_some() && namespace(pid).is_none_or(|its| Some(its) == namespace(1)),
        _ => namespace(pid).is_some_and(|its| Some(its) == namespace(init)),
    };
    let outsiders = all.iter().filter(|(pid, stat)| {
        let is_kernel = **pid == 2 || stat.parent == 2 && init == 1;
        **pid != init && !is_kernel && is_in(**pid)
    });
    outsiders.map(|(pid, _)| *pid).collect()
}

/// A second look at those whose state may last a moment only.
fn settle(processes: &mut Vec<Seen>) {
    let is_passing = |seen: &Seen| seen.look.state == "D" || seen.look.is_zombie();
    if !processes.iter().any(is_passing) {
        return;
    }
    thread::sleep(MOMENT);
    processes.retain_mut(|seen| {
        if !is_passing(seen) {
            return true;
        }
        match look::again(&seen.look) {
            Some(look) => {
                seen.look = look;
                true
            }
            None => false,
        }
    });
}

/// What could not be seen, and of whom.
type Unseen = BTreeMap<&'static str, Vec<i32>>;

fn told(unseen: &Unseen, by_root: bool) -> Vec<String> {
    let told = unseen.iter().map(|(what, pids)| {
        let some = pids.iter().take(5).map(i32::to_string);
        let more = if pids.len() > 5 { ", ..." } else { "" };
        let pids = some.collect::<Vec<_>>().join(", ");
        format!("{what} of {pids}{more}: ask {}", who_sees(by_root))
    });
    told.collect()
}

fn seen(
    pid: i32,
    all: &BTreeMap<i32, Stat>,
    ports: &BTreeMap<u64, u16>,
    unseen: &mut Unseen,
) -> Option<Seen> {
    let mut seen = Seen {
        look: look::at(pid)?,
        own_pid: pid,
        started: all.get(&pid).map_or(0, |stat| stat.started),
        ..Seen::default()
    };
    if seen.look.is_zombie() {
        return Some(seen);
    }
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let pids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    let last = pids.and_then(|pids| pids.split_ascii_whitespace().last()?.parse().ok());
    seen.own_pid = last.unwrap_or(pid);
    if seen.look.tracer > 0 {
        seen.traced_by = look::at(seen.look.tracer).map(|tracer| Named::of(&tracer));
    }
    if go::is_go(&seen.look) {
        seen.thread_blocks = look::thread_blocks(pid);
    }
    descriptors(&mut seen, ports);
    seen.sigwaits = sigwaits(pid);
    if seen.signalfds.is_none() || seen.sigwaits.is_none() {
        let what = "descriptors, ports and what threads wait for";
        unseen.entry(what).or_default().push(pid);
    }
    Some(seen)
}

/// Its signalfds, its standard input, its pipes, and the ports that it listens on.
fn descriptors(seen: &mut Seen, ports: &BTreeMap<u64, u16>) {
    let pid = seen.look.pid;
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return;
    };
    let mut taken = 0;
    for entry in entries.flatten().take(DESCRIPTORS) {
        let link = match fs::read_link(entry.path()) {
            Ok(link) => link,
            // Root may list them without the right to look at them.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return,
            Err(_) => continue,
        };
        let link = link.to_string_lossy();
        let info = || {
            let name = entry.file_name();
            let path = Path::new("/proc")
                .join(pid.to_string())
                .join("fdinfo")
                .join(name);
            fs::read_to_string(path).unwrap_or_default()
        };
        if link == "anon_inode:[signalfd]" {
            taken |= field(&info(), "sigmask:")
                .and_then(|mask| u64::from_str_radix(&mask, 16).ok())
                .unwrap_or(0);
        } else if let Some(inode) = link.strip_prefix("socket:[") {
            let inode = inode.trim_end_matches(']').parse().ok();
            let port = inode.and_then(|inode: u64| ports.get(&inode));
            seen.listens.extend(port);
        } else if let Some(inode) = pipe(&link) {
            // How it was opened is the mode of the link (proc(5)).
            let mode = entry.metadata().map_or(0, |link| link.mode());
            seen.writes.extend((mode & 0o200 != 0).then_some(inode));
        }
        if entry.file_name() == "0" {
            let info = info();
            let inode = fs::metadata(entry.path()).map_or(0, |file| file.ino());
            let of = |name| field(&info, name).unwrap_or_default();
            // Whether it is passed on is the descriptor's own; the rest is the file's, as it was opened.
            let flags = i32::from_str_radix(&of("flags:"), 8).unwrap_or(0) & !libc::O_CLOEXEC;
            seen.input = Some(format!("{link} {inode} {flags:o} {}", of("mnt_id:")));
        }
    }
    seen.listens.sort_unstable();
    seen.listens.dedup();
    seen.signalfds = Some(taken);
}

fn field(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().to_owned())
}

/// The signals that its threads wait for: the first argument of that call points at them (rt_sigtimedwait(2)).
fn sigwaits(pid: i32) -> Option<u64> {
    let memory = File::open(format!("/proc/{pid}/mem"));
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let mut waited = 0;
    for thread in threads.flatten().take(THREADS) {
        let call = match fs::read_to_string(thread.path().join("syscall")) {
            Ok(call) => call,
            // The thread has ended meanwhile, or the kernel has no such file.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return None,
            Err(_) => continue,
        };
        let mut words = call.split_ascii_whitespace();
        if words.next().and_then(|number| number.parse().ok()) != Some(libc::SYS_rt_sigtimedwait) {
            continue;
        }
        let address = words.next()?.trim_start_matches("0x");
        let address = u64::from_str_radix(address, 16).ok()?;
        let mut set = [0; 8];
        memory
            .as_ref()
            .ok()?
            .read_exact_at(&mut set, address)
            .ok()?;
        waited |= u64::from_ne_bytes(set);
    }
    Some(waited)
}

/// The ports that are listened on in the network namespace of this process, by the inode of their socket.
fn ports(pid: i32) -> BTreeMap<u64, u16> {
    listening(&format!("/proc/{pid}/net")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::hides_others;

    #[test]
    fn a_proc_that_hides_is_known() {
        let mount = |at: &str, options: &str| {
            hides_others(&format!(
                "24 1 0:22 / {at} rw,relatime - proc proc rw{options}\n"
            ))
        };
        assert!(mount("/proc", ",hidepid=2"));
        assert!(mount("/proc", ",gid=5,hidepid=invisible"));
        assert!(!mount("/proc", ",hidepid=0"));
        assert!(!mount("/proc", ""));
        assert!(!mount("/other", ",hidepid=2"));
    }
}
