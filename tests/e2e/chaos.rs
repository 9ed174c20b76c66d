//! A slice of `scripts/chaos`: real processes are stopped at random moments, and what is not kept is noticed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::unistd::geteuid;

use crate::support::{binary, need, script};

/// An init that gives a status of its own, leaves all that it has started, and writes no report.
const BAD_INIT: &str = "#!/bin/sh
while [ \"$1\" != -- ]; do shift; done
shift
trap 'exit 99' TERM
setsid \"$@\" &
wait
";

/// An init that says something a moment after its end.
const LATE_INIT: &str = "#!/bin/sh
trap \"env -i sh -c 'sleep 0.1; echo late >&2' & exit 3\" TERM
while :; do sleep 0.02; done
";

/// Plays so many stops: whether every promise was kept, and what the script has told.
#[track_caller]
fn played(stepdown: &Path, stops: u32) -> (bool, String) {
    let script::Told { code, text, error } = script::told(
        script::command("chaos")
            .args(["--seed=1", "--jobs=4", &format!("--stops={stops}")])
            .arg("--stepdown")
            .arg(stepdown),
    );
    let judged = code.is_some_and(|code| code < 2);
    assert!(error.is_empty() && judged, "{error}{text}");
    (code == Some(0), text)
}

/// What the script tells of this init, which keeps no promise.
#[track_caller]
fn broken_by(init: &str, stops: u32) -> String {
    let directory = tempfile::tempdir().expect("a temporary directory");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let bad = directory.path().join("bad-init");
    fs::write(&bad, init).expect("it is ours");
    fs::set_permissions(&bad, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let (kept, told) = played(&bad, stops);
    assert!(!kept, "{told}");
    told
}

/// As root the script makes namespaces and mounts.
fn can_play() -> Result<(), String> {
    binary::installed("/usr/bin/python3")?;
    let tried = ["-fpm", "sh", "-c", "mount -t proc proc /proc"];
    if geteuid().is_root() {
        binary::runs("unshare", &tried, "no PID and mount namespaces here")?;
    }
    Ok(())
}

#[test]
fn every_promise_is_kept_at_random_stops() {
    need!(can_play());
    let (kept, told) = played(&binary::under_test(), 60);
    assert!(kept && told.contains("60 stops"), "{told}");
    for some in ["replaces ", "hands-over "] {
        assert!(told.contains(some), "{told}");
    }
}

#[test]
fn an_init_that_keeps_no_promise_is_noticed() {
    need!(can_play());
    let told = broken_by(BAD_INIT, 12);
    for noticed in [
        "exit status 99, and due is one of",
        "there is no report",
        " left",
    ] {
        assert!(told.contains(noticed), "{noticed}: {told}");
    }
}

#[test]
fn what_is_written_after_the_end_is_noticed() {
    need!(can_play());
    let told = broken_by(LATE_INIT, 20);
    let noticed = "something was written after the end";
    assert!(told.contains(noticed), "{told}");
}
