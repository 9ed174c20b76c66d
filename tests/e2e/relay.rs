//! Where input goes that is relayed (`--stdin relay`) when the command lives more than once: to the one that serves.

use std::fs;
use std::io::Write;

use nix::libc;
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::ladder::bytes;
use crate::support::{Mode, Stepdown, both, proc, wait_until};

/// Says which line came to which generation, and stays after `stop` until there is a file `go`.
const TELLS: &str = "echo ready; \
     while read -r line; do echo $STEPDOWN_GENERATION got $line; test $line != stop || break; done; \
     until test -e go; do sleep 0.02; done";

fn relaying(mode: Mode, dir: &TempDir) -> Stepdown {
    Stepdown::in_mode(mode)
        .dir(dir.path())
        .args(["--stdin=relay"])
}

fn replacing(mode: Mode, dir: &TempDir) -> Stepdown {
    relaying(mode, dir)
        .args(["--listen=127.0.0.1:0", "--replace-on=USR2"])
        .args(["--ready-when=exec:sh -c 'test -e ready$STEPDOWN_GENERATION'"])
        .args(["--ladder=stdin=stop:1h"])
        .with_stdin()
}

fn dir() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn make(dir: &TempDir, name: &str) {
    fs::write(dir.path().join(name), "").expect("a directory of ours");
}

#[test]
fn at_a_replacement_input_goes_to_the_one_that_serves() {
    both(|mode| {
        let dir = dir();
        make(&dir, "ready1");
        let mut run = replacing(mode, &dir).shell(TELLS).start();
        run.says("ready").logs("ready after");
        run.type_line("one").says("1 got one");
        run.signal(Signal::SIGUSR2).says_times("ready", 2);
        // Both are there, and nothing is typed.
        let pid = run.pid();
        let sleeps = || proc::process(pid).is_some_and(|process| process.state == 'S');
        wait_until("it waits", sleeps);
        run.type_line("two").says("1 got two");
        make(&dir, "ready2");
        run.logs("generation 2 serves");
        // A step of the ladder still reaches the one that leaves.
        run.says("1 got stop");
        run.type_line("three").says("2 got three");
        wait_until("it waits", sleeps);
        make(&dir, "go");
        run.logs("generation 1: stopped in");
        run.type_line("four").says("2 got four");
        run.signal(Signal::SIGTERM).says("2 got stop");
        run.wait().code(0).nothing_left();
    });
}

#[test]
fn a_replacement_that_fails_takes_no_input_away() {
    both(|mode| {
        let dir = dir();
        make(&dir, "ready1");
        make(&dir, "go");
        let mut run = replacing(mode, &dir)
            .args(["--ready-timeout=300ms"])
            .shell(TELLS)
            .start();
        run.says("ready").logs("ready after");
        run.signal(Signal::SIGUSR2).says_times("ready", 2);
        run.type_line("one").says("1 got one");
        // The line of the step, which is all that it has got.
        run.says("2 got stop");
        run.logs("not replaced: generation 2");
        run.type_line("two").says("1 got two");
        run.signal(Signal::SIGTERM);
        run.wait().code(0).nothing_left();
    });
}

#[test]
fn what_is_typed_between_two_lives_is_for_the_next_one() {
    both(|mode| {
        let dir = dir();
        let mut run = relaying(mode, &dir)
            .args(["--restart=on-failure", "--restart-delay=1s"])
            .with_stdin()
            .shell("test -e once || { : >once; exit 3; }; read -r line; echo got $line")
            .start();
        run.logs("exited with 3: restarted in");
        run.type_line("early").says("got early");
        run.wait().code(0).nothing_left();
    });
}

/// What was told to stay may hold the pipe of its generation for as long as it likes, and read nothing.
#[test]
fn who_is_left_and_reads_nothing_does_not_hold_up_the_input_of_the_next_one() {
    both(|mode| {
        let dir = dir();
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        let held = pipe_size(&writer);
        let mut run = relaying(mode, &dir)
            .args([
                "--restart=on-failure",
                "--restart-delay=1ms",
                "--left=leave",
            ])
            .stdin_from(reader)
            .shell(
                "if test $STEPDOWN_GENERATION = 1; then exec 3<&0; sleep 1000 <&3 & \
                 until test -e go; do sleep 0.02; done; exit 1; fi; cat >got; echo done",
            )
            .start();
        // As much as fits into two pipes and what is read ahead.
        let sent = bytes(2 * held + 20_000);
        writer.write_all(&sent).expect("it is read");
        make(&dir, "go");
        run.logs("generation 1 exited with 1: restarted in");
        drop(writer);
        run.says("done");
        run.wait().code(0);
        let got = fs::read(dir.path().join("got")).expect("just written");
        assert!(sent.ends_with(&got), "{} bytes", got.len());
        assert!(
            got.len() + held >= sent.len(),
            "{} of {}: more is gone than the pipe holds",
            got.len(),
            sent.len()
        );
    });
}

fn pipe_size(pipe: &impl std::os::fd::AsRawFd) -> usize {
    // SAFETY: a plain syscall on values.
    let size = unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_GETPIPE_SZ) };
    usize::try_from(size).expect("a pipe")
}
