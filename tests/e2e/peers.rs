//! The README's table of peers: what a cell says about behaviour is seen here, on the peer as well.

use std::path::Path;
use std::process::{Command, Stdio};

use nix::libc;
use nix::sys::signal::{SigSet, Signal};

use crate::identity::is_root;
use crate::support::binary::{self, installed};
use crate::support::pages::root;
use crate::support::running::Running;
use crate::support::stepdown::can_be_pid1;
use crate::support::{Mode, Stepdown, need, proc, wait_until};

const README: &str = include_str!("../../README.md");

/// In the order of the columns.
const PEERS: [&str; 3] = ["/usr/bin/tini", "/usr/bin/dumb-init", "/usr/bin/catatonit"];

/// `seen` says yes or no of a run, and is told whether that is a peer's.
fn column(mode: Mode, row: &str, stepdown: &[&str], seen: impl Fn(Stepdown, bool) -> bool) {
    need!(can_be_pid1());
    let line = README
        .lines()
        .find(|line| line.starts_with(&format!("| {row}")));
    let line = line.unwrap_or_else(|| panic!("the README has no row {row:?}"));
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    let ours = Stepdown::in_mode(mode).args(stepdown.to_vec());
    assert!(cells[1].starts_with("yes") && seen(ours, false), "{line}");
    for (peer, cell) in PEERS.iter().zip(&cells[2..]) {
        need!(installed(peer));
        let run = Stepdown::in_mode(mode).program(Path::new(peer));
        assert_eq!(seen(run, true), cell.starts_with("yes"), "{peer}: {line}");
    }
}

#[test]
fn who_forwards_every_signal() {
    let all: Vec<i32> = (1..=64)
        // KILL and STOP cannot be caught, CHLD is the init's own, CONT and TERM come at the end.
        .filter(|signal| ![9, 15, 17, 18, 19].contains(signal))
        // Without a handler the kernel drops these two, or libc keeps them.
        .filter(|signal| ![32, 33].contains(signal))
        .collect();
    let options = ["--stop-on", "TERM"];
    column(Mode::Pid1, "forwards every signal", &options, |run, _| {
        let mut run = run.witness(["listen", "15:0"]).start();
        run.says("ready");
        let init = run.pid();
        let is_idle = |pid| {
            let pending = proc::status(pid, "ShdPnd").unwrap_or_default();
            let state = proc::process(pid).map(|process| process.state);
            pending.trim_start_matches('0').is_empty() && state == Some('S')
        };
        // One at a time: of two that are pending the kernel gives out the smaller one first.
        let all_wait = |run: &mut Running| {
            let child = run.children().first().map(|child| child.pid);
            wait_until("all wait for signals", || {
                is_idle(init)
                    && child.is_none_or(|child| {
                        is_idle(child) || proc::process(child).is_some_and(|p| p.state == 'T')
                    })
            });
        };
        for signal in &all {
            all_wait(&mut run);
            run.signal_number(*signal);
        }
        all_wait(&mut run);
        run.signal(Signal::SIGCONT).signal(Signal::SIGTERM);
        let ended = run.wait();
        all.iter()
            .all(|signal| ended.stdout.contains(&format!("got {signal}\n")))
    });
}

#[test]
fn whose_child_starts_as_without_an_init() {
    column(
        Mode::Pid1,
        "the child starts as without an init",
        &[],
        |run, _| {
            let started = |run: Stepdown| {
                let mut blocked = SigSet::empty();
                blocked.add(Signal::SIGUSR2);
                let run = run.ignoring(libc::SIGHUP).ignoring(libc::SIGTTOU);
                run.prepared(move || blocked.thread_block().map_err(Into::into))
                    .child(["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"])
                    .run()
                    .stdout
            };
            started(run) == started(Stepdown::as_pid1().program("/usr/bin/env"))
        },
    );
}

#[test]
fn who_escalates_to_kill() {
    let options = ["--grace", "50ms"];
    column(Mode::Pid1, "escalates to KILL", &options, |run, is_peer| {
        let mut run = run.witness(["listen", "10:3"]).start();
        run.says("ready").signal(Signal::SIGTERM);
        if is_peer {
            // Nobody else would end this.
            run.says("got 15").signal(Signal::SIGUSR1);
        }
        run.wait().status.code() == Some(137)
    });
}

#[test]
fn who_lets_nothing_survive() {
    let row = "nothing survives the end, as an ordinary process too";
    column(Mode::Ordinary, row, &[], |run, _| {
        let child = "trap 'exit 0' TERM; setsid sh -c 'echo ready; while :; do sleep 1; done' & while :; do sleep 0.02; done";
        let mut run = run.shell(child).start();
        run.says("ready").signal(Signal::SIGTERM);
        run.wait().still_there().is_empty()
    });
}

/// Its longer groups are played by hand: the table in docs/conformance.md has all of them.
#[test]
fn by_the_name_of_a_peer_it_does_what_that_does() {
    need!(can_be_pid1());
    need!(is_root());
    need!(installed("/usr/bin/python3"));
    for peer in PEERS {
        need!(installed(peer));
    }
    let played = Command::new(root().join("scripts/conformance"))
        .args(["--only", "status,usage,options", "--bin"])
        .arg(binary::under_test())
        .stdin(Stdio::null())
        .output()
        .expect("a script of ours");
    let told = String::from_utf8_lossy(&played.stderr);
    assert!(played.status.success(), "{told}");
    let table = String::from_utf8_lossy(&played.stdout);
    assert!(table.contains("status: exits with 7 | 7 | 7 |"), "{table}");
    assert!(table.contains(", 0 differences."), "{table}");
}
