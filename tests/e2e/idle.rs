//! What an idle stepdown holds: little memory, one thread, no descriptor, and nothing of what was not asked for.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::support::{Stepdown, binary, need, proc, wait_until};

/// Its own thread sleeps: it has done all that the start needs.
fn waits(pid: Pid) -> bool {
    proc::process(pid).is_some_and(|process| process.state == 'S')
}

#[test]
fn one_small_file_and_one_thread_are_all() {
    let program = binary::under_test_static();
    let size = fs::metadata(program).expect("just built").len();
    // With every feature; a build for images can leave out `lint` and `doctor`. Without Python scripts/layout cannot link
    // each string function once.
    let most = match binary::installed("/usr/bin/python3") {
        Ok(()) => 3_600_000,
        Err(_) => 3_700_000,
    };
    assert!(size <= most, "the static binary has {size} bytes");
    let mut run = Stepdown::new()
        .program(program)
        .shell("echo ready; exec sleep 1000")
        .start();
    run.says("ready");
    let pid = run.pid();
    wait_until("it waits", || waits(pid));
    assert_eq!(proc::status(pid, "Threads").as_deref(), Some("1"));
    run.signal(Signal::SIGTERM);
    run.wait().code(143).nothing_left();
}

/// What an init holds in memory while idle: all, and what it has written to and shares with nobody.
#[derive(Debug)]
struct Memory {
    resident: u64,
    private_dirty: u64,
}

impl Memory {
    /// The least of three runs: how deep a stack was by chance does not count.
    fn of(init: impl Fn() -> Stepdown) -> Self {
        let all: Vec<Self> = (0..3).map(|_| Self::once(init())).collect();
        let least = |of: fn(&Self) -> u64| all.iter().map(of).min().expect("three");
        Self {
            resident: least(|memory| memory.resident),
            private_dirty: least(|memory| memory.private_dirty),
        }
    }

    fn once(init: Stepdown) -> Self {
        let mut run = init.shell("echo ready; exec sleep 1000").start();
        run.says("ready");
        let pid = run.pid();
        wait_until("it waits", || waits(pid));
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("it is ours");
        run.signal(Signal::SIGTERM);
        run.wait().code(143);
        let field = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            let value = line.and_then(|line| line.split_whitespace().nth(1));
            value.and_then(|value| value.parse().ok()).expect(&text)
        };
        Self {
            resident: field("Rss:"),
            private_dirty: field("Private_Dirty:"),
        }
    }
}

/// `scripts/layout` puts together what a plain run uses. Without it resident are twice as much as tini's.
#[test]
fn less_memory_than_tini() {
    const TINI: &str = "/usr/bin/tini";
    need!(binary::installed(TINI));
    // The build orders by a run that Python traces.
    need!(binary::installed("/usr/bin/python3"));
    let program = binary::under_test_static();
    // What was just linked and is not yet on the disk would count as written by the process.
    let file = fs::File::open(program).expect("just built");
    file.sync_all().expect("a disk");
    let ours = Memory::of(|| Stepdown::new().program(program));
    let theirs = Memory::of(|| Stepdown::new().program(TINI).args(["-s"]));
    assert!(
        ours.resident * 100 <= theirs.resident * 75
            && ours.private_dirty * 100 <= theirs.private_dirty * 85,
        "{ours:?}, and tini {theirs:?}; does scripts/build-static say why?"
    );
}

/// The names of the syscalls of one run, and the files it opened.
fn traced(args: &[&str]) -> (BTreeSet<String>, String) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let trace = dir.path().join("trace");
    // The child shares our memory until exec and is not followed: these are stepdown's own calls.
    let traced = Command::new("strace")
        .args(["-o".as_ref(), trace.as_os_str()])
        .arg(binary::under_test_static())
        .args(args)
        .args(["--", "true"])
        .output()
        .expect("strace");
    assert!(traced.status.success(), "{traced:?}");
    let text = fs::read_to_string(trace).expect("just written");
    let names = text
        .lines()
        .filter_map(|line| line.split_once('('))
        .map(|(name, _)| name.to_owned());
    (names.collect(), text)
}

#[test]
fn what_was_not_asked_for_makes_no_syscall_and_has_no_descriptor() {
    need!(binary::installed("/usr/bin/strace"));
    let (plain, told) = traced(&[]);
    // The runtime's, the endpoint's, the drain's and those of the files that can be asked for.
    let others = [
        "epoll_create1",
        "epoll_ctl",
        "eventfd2",
        "signalfd4",
        "timerfd_create",
        "pipe2",
        "socket",
        "socketpair",
        "bind",
        "listen",
        "accept4",
        "connect",
        "fork",
        "rename",
        "write",
        "getdents64",
    ];
    for name in others {
        assert!(!plain.contains(name), "{name} in\n{told}");
    }
    // The directory of the start is remembered and nothing is read.
    assert!(!plain.contains("read"), "{told}");
    assert!(!told.contains("/proc/self/cgroup"), "{told}");
    // The test itself: asked for, they are seen.
    let (_, told) = traced(&["--cgroup", "on"]);
    assert!(told.contains("/proc/self/cgroup"), "{told}");
    let (with_endpoint, told) = traced(&["--health-listen", "127.0.0.1:0"]);
    for name in ["epoll_create1", "signalfd4", "socket", "bind", "listen"] {
        assert!(with_endpoint.contains(name), "{name} in\n{told}");
    }

    let mut run = Stepdown::new()
        .program(binary::under_test_static())
        .shell("echo ready; exec sleep 1000")
        .start();
    run.says("ready");
    let pid = run.pid();
    wait_until("nothing is open above 2", || {
        proc::descriptors(pid).iter().all(|fd| *fd <= 2)
    });
    run.signal(Signal::SIGTERM);
    run.wait().code(143);
}
