//! A slice of `scripts/rolling`: rolling restarts behind HAProxy under load, as an ordinary process and as PID 1,
//! with kept and with closed connections.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::stepdown::can_be_pid1;
use crate::support::{BOUND, binary, holds_within, need};

fn programs() -> Result<(), String> {
    can_be_pid1()?;
    let programs = [
        "/usr/sbin/haproxy",
        "/usr/sbin/nginx",
        "/usr/bin/tini",
        "/usr/bin/dumb-init",
    ];
    programs.into_iter().try_for_each(binary::installed)
}

#[test]
fn no_request_is_lost_while_replicas_are_restarted() {
    need!(programs());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/rolling");
    let mut rolling = Command::new(script)
        .args(["--quick", "--jobs=5"])
        .env("STEPDOWN_BIN", binary::under_test())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a script of ours");
    // About 20 seconds on a machine that has nothing else to do. What it tells fits its pipes.
    let ended = holds_within(BOUND * 6, || {
        rolling.try_wait().expect("our own child").is_some()
    });
    if !ended {
        // It ends its scenarios, and they what they have started.
        let pid = rolling.id().cast_signed();
        let _ = nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(pid),
            nix::sys::signal::Signal::SIGTERM,
        );
    }
    let told = rolling.wait_with_output().expect("our own child");
    let error = String::from_utf8_lossy(&told.stderr);
    let table = String::from_utf8_lossy(&told.stdout);
    assert!(ended && told.status.success(), "{error}{table}");
    // The load is one in which requests can be lost.
    let rows: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    let failed = |row: &Vec<&str>| row[10].parse::<u32>().expect("a number");
    let by = |init: &str| -> Vec<u32> {
        let rows = rows.iter().filter(|row| row.get(7) == Some(&init));
        rows.map(failed).collect()
    };
    assert_eq!(by("stepdown"), [0; 4], "{error}{table}");
    assert!(by("tini").iter().sum::<u32>() > 0, "{error}{table}");
}
