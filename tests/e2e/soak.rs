//! A slice of `scripts/soak`: all that repeats does so, and the end is as clean as after one life.

use std::path::Path;
use std::process::{Command, Stdio};

use nix::libc;
use nix::unistd::Pid;

use crate::support::{BOUND, binary, holds_within, need, proc};

#[test]
fn what_repeats_leaves_no_zombie_and_every_request_is_answered() {
    need!(binary::installed("/usr/bin/python3"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/soak");
    let mut soak = Command::new(script)
        .args(["--minutes=0.1", "--stepdown"])
        .arg(binary::under_test())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a script of ours");
    let mut gone = || soak.try_wait().expect("our own child").is_some();
    let ended = holds_within(BOUND * 6, &mut gone);
    if !ended {
        // It stops what it has started.
        let _ = proc::kill(Pid::from_raw(soak.id().cast_signed()), libc::SIGTERM);
    }
    let told = soak.wait_with_output().expect("our own child");
    let text = String::from_utf8_lossy(&told.stdout);
    let error = String::from_utf8_lossy(&told.stderr);
    assert!(ended && error.is_empty(), "{error}{text}");
    assert!(text.contains(" requests answered, 0 not;"), "{text}");
    assert!(!text.starts_with("0 restarts"), "{text}");
    // So short a time is for what fills itself up to a bound: only a long run can say that nothing grows.
    let wrong = ["zombie", "does not end", "it has ended with"];
    assert!(!wrong.iter().any(|wrong| text.contains(wrong)), "{text}");
}
