//! What a signal does to `stepdown check` itself, and that the command under check sees nothing of that.

use std::io::{Read, Seek};
use std::os::fd::AsRawFd;

use nix::libc;
use nix::sys::signal::Signal;

use crate::child::given;
use crate::support::stepdown::can_be_pid1;
use crate::support::{Stepdown, binary, need, wait_until};

const ENDING: [Signal; 4] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
];

/// Is ready only when it is told to.
struct Gated {
    dir: tempfile::TempDir,
}

impl Gated {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        Self { dir }
    }

    fn script(&self) -> String {
        let dir = self.dir.path().display();
        format!(
            "trap 'exit 0' TERM USR1; : > {dir}/trapped; until [ -e {dir}/gate ]; do sleep 0.02; done; echo ready; \
             while :; do sleep 0.02; done"
        )
    }

    fn await_trap(&self) {
        wait_until("the program has its trap", || {
            self.dir.path().join("trapped").exists()
        });
    }

    fn open(&self) {
        std::fs::write(self.dir.path().join("gate"), "").expect("our own directory");
    }
}

fn check(options: &[&str]) -> Stepdown {
    Stepdown::new().args(["check"]).args(options)
}

#[test]
fn each_signal_that_asks_for_the_end_stops_the_program_and_reports() {
    for signal in ENDING {
        let program = Gated::new();
        let mut run = check(&["--ready-line=ready", "--runs=3", "--json=-"])
            .shell(&program.script())
            .start();
        program.await_trap();
        run.signal(signal);
        let ended = run.wait();
        ended.code(125).nothing_left();
        let json: serde_json::Value = serde_json::from_str(&ended.stdout).expect("a document");
        let runs = json["runs"].as_array().expect("runs");
        assert_eq!(runs.len(), 1, "{signal}: {json}");
    }
}

#[test]
fn a_signal_that_was_ignored_at_the_start_asks_for_nothing() {
    for signal in ENDING {
        let program = Gated::new();
        // A shell traps nothing that was ignored when it was started: it is stopped by another one.
        let mut run = check(&["--ready-line=ready", "--signal=USR1", "--expect-exit=0"])
            .ignoring(signal as i32)
            .shell(&program.script())
            .start();
        program.await_trap();
        run.signal(signal);
        program.open();
        run.wait().code(0).said("All promises held.").nothing_left();
    }
}

/// What the kernel tells of signals in /proc/PID/status, by name.
fn status_of(status: &str, name: &str) -> u64 {
    let line = status.lines().find(|line| line.starts_with(name));
    let set = line.and_then(|line| line.split_whitespace().nth(1));
    let set = set.unwrap_or_else(|| panic!("{name} in {status}"));
    u64::from_str_radix(set, 16).expect("a set of signals")
}

#[test]
fn handlers_are_installed_by_check_alone() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let init = dir.path().join("init");
    let script = format!(
        "cat /proc/$PPID/status > {0}.new; mv {0}.new {0}; while :; do sleep 0.02; done",
        init.display()
    );
    let mut run = check(&["--after=100s"]).shell(&script).start();
    wait_until("it has looked", || init.exists());
    let init = std::fs::read_to_string(&init).expect("just made");
    assert_eq!(status_of(&init, "SigCgt:"), 0, "{init}");

    let check = std::fs::read_to_string(format!("/proc/{}/status", run.pid())).expect("it runs");
    let ending = ENDING
        .iter()
        .fold(0, |all, signal| all | 1 << (*signal as u64 - 1));
    assert_eq!(status_of(&check, "SigCgt:"), ending, "{check}");
    // All that can be blocked: KILL and STOP cannot.
    assert_eq!(status_of(&check, "SigBlk:"), !0x4_0100 & !ending, "{check}");
    run.signal(Signal::SIGTERM);
    run.wait().code(125).nothing_left();
}

/// What the witness says about signals when it is started so.
fn dumped(start: impl FnOnce(Stepdown) -> Stepdown) -> Vec<String> {
    let mut answer = tempfile::tempfile().expect("a file");
    let fd = answer.as_raw_fd();
    // 1, 32 and RTMIN+6 blocked; some ignored, one of which asks for the end.
    let prepared = [libc::SIGINT, libc::SIGUSR2, libc::SIGPIPE, libc::SIGCHLD]
        .into_iter()
        .fold(Stepdown::new(), Stepdown::ignoring)
        .blocking_mask(1 | 1 << 31 | 1 << 39)
        .env("WITNESS_FD", "9")
        .prepared(move || given(fd, 9));
    start(prepared).run().nothing_left();
    answer.rewind().expect("a file");
    let mut text = String::new();
    answer.read_to_string(&mut text).expect("text");
    let about = ["blocked ", "signal ", "pending "];
    let lines = text
        .lines()
        .filter(|line| about.iter().any(|about| line.starts_with(about)));
    lines.map(str::to_owned).collect()
}

#[test]
fn the_command_starts_with_the_signals_as_they_were() {
    let alone = dumped(|start| start.program(binary::witness()).args(["dump"]));
    // Whoever started the tests may ignore others, too.
    for line in ["signal 2 ignored 0", "signal 17 ignored 0"] {
        assert!(alone.iter().any(|said| said == line), "{line} in {alone:?}");
    }
    for option in ["--after=100s", "--as-pid1"] {
        if option == "--as-pid1" {
            need!(can_be_pid1());
        }
        let under = dumped(|start| start.args(["check", option]).witness(["dump"]));
        assert_eq!(alone, under, "alone, and under check {option}");
    }
}
