//! `--termination-log`: how the run ended, in words, as Kubernetes shows them of a terminated container.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;

use crate::files::{directory, names};
use crate::support::stepdown::can_be_pid1;
use crate::support::{Stepdown, binary, both, need, wait_until};

/// What is in the file; nothing is more than Kubernetes takes.
fn message(path: &Path) -> String {
    let bytes = fs::read(path).expect("it was written");
    assert!(bytes.len() <= 4096, "{} bytes", bytes.len());
    String::from_utf8(bytes).expect("whole characters")
}

#[test]
fn the_first_sentence_tells_the_end_in_both_modes() {
    both(|mode| {
        let dir = directory();
        let path = dir.path().join("termination-log");
        // kubelet has made it, empty.
        fs::write(&path, "").expect("a directory of ours");
        let mut run = Stepdown::in_mode(mode)
            .dir(dir.path())
            .args(["--termination-log", "termination-log", "-q"])
            .shell("trap 'exit 3' TERM; echo ready; while :; do sleep 0.02; done")
            .start();
        run.says("ready").signal(Signal::SIGTERM);
        run.wait().code(3);
        let message = message(&path);
        let (first, lines) = message.split_once('\n').expect("a line");
        assert!(first.starts_with("TERM from "), "{message}");
        let child = "asked for the stop; child exited with 3 on step 1 after ";
        assert!(
            first.contains(child) && first.ends_with("; exit status 3."),
            "{message}"
        );
        // The log is in it, whatever the log's level is.
        assert!(
            lines.contains("step 1 of 2: TERM to the child"),
            "{message}"
        );
        assert_eq!(names(&dir), ["termination-log"]);
    });
}

#[test]
fn a_failure_to_start_and_what_was_killed_are_told() {
    let dir = directory();
    let path = dir.path().join("t");
    let option = format!("--termination-log={}", path.display());
    let run = |args: &[&str]| Stepdown::new().args([&option[..], "-q"]).args(args).run();
    run(&["--", "/no/such/program"]).code(127);
    let told = message(&path);
    assert!(
        told.starts_with("/no/such/program: ") && told.contains("; exit status 127.\n"),
        "{told}"
    );
    let left = "trap '' TERM; (trap '' TERM; exec sleep 1000) & exit 4";
    run(&["--sweep-grace=50ms", "--", "sh", "-c", left]).code(4);
    let told = message(&path);
    let first = told.lines().next().unwrap_or_default();
    assert!(first.contains("child exited with 4"), "{told}");
    assert!(
        first.contains("1 process that was left got KILL; exit status 4."),
        "{told}"
    );
}

/// The platform's KILL leaves the evidence.
#[test]
fn it_is_unfinished_from_the_request_to_stop_on() {
    let dir = directory();
    let path = dir.path().join("t");
    let script = "trap '' TERM; echo ready; while ! test -e go; do sleep 0.02; done";
    let mut run = Stepdown::new()
        .dir(dir.path())
        .args(["--termination-log=t", "--grace=60s"])
        .shell(script)
        .start();
    run.says("ready");
    assert!(!path.exists(), "not before");
    run.signal(Signal::SIGTERM);
    wait_until("it tells the step", || {
        fs::read_to_string(&path).is_ok_and(|text| text.contains("step 1 of 2"))
    });
    assert!(
        message(&path)
            .lines()
            .next()
            .is_some_and(|first| first.ends_with("; not ended yet."))
    );
    fs::write(dir.path().join("go"), "").expect("a directory of ours");
    run.wait().code(0);
    assert!(message(&path).contains("; exit status 0.\n"));
}

/// As in a Pod, where the file is a mount of its own and cannot be replaced.
#[test]
fn a_mounted_file_is_written_in_place() {
    need!(can_be_pid1());
    let dir = directory();
    let (outside, inside) = (dir.path().join("outside"), dir.path().join("inside"));
    for file in [&outside, &inside] {
        fs::write(file, "old").expect("a directory of ours");
    }
    let script = "mount --bind \"$1\" \"$2\" && file=$2 && shift 2 && \
                  exec \"$@\" --termination-log \"$file\" -- sh -c 'exit 5'";
    let ended = Stepdown::new()
        .program("/usr/bin/unshare")
        .args(["--mount", "--", "sh", "-c", script, "sh"])
        .args([outside.as_os_str(), inside.as_os_str()])
        .args([binary::under_test()])
        .run();
    ended.code(5);
    assert!(message(&outside).starts_with("child exited with 5"));
}

#[test]
fn twelve_hooks_and_long_lines_fit() {
    let dir = directory();
    let name = "\u{fc}".repeat(300);
    let hooks = (0..12).flat_map(|_| ["--post-stop".to_owned(), format!("false {name}")]);
    let run = Stepdown::new()
        .dir(dir.path())
        .args(["--termination-log=t", "-q"])
        .args(hooks.collect::<Vec<_>>())
        .args(["--", "true"])
        .run();
    run.code(0);
    let message = message(&dir.path().join("t"));
    assert!(message.len() > 3_500 && message.contains("(earlier lines are left out)"));
    assert!(message.starts_with("child exited with 0"));
}

#[test]
fn where_it_cannot_be_written_one_line_says_so() {
    let run = Stepdown::new()
        .args(["--termination-log", "/no/such/directory/t"])
        .shell("exit 6")
        .run();
    run.code(6);
    run.logged(&["--termination-log: /no/such/directory/t: No such file or directory"]);
}
