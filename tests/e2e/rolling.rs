//! A slice of `scripts/rolling`: rolling restarts behind HAProxy under load, as an ordinary process and as PID 1,
//! with kept and with closed connections, and with HTTP/2 between HAProxy and the server.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::stepdown::can_be_pid1;
use crate::support::{BOUND, binary, holds_within, need};

fn programs() -> Result<(), String> {
    can_be_pid1()?;
    let programs = [
        "/usr/bin/python3",
        "/usr/sbin/haproxy",
        "/usr/sbin/nginx",
        "/usr/bin/tini",
        "/usr/bin/dumb-init",
        "/usr/bin/node",
        "/usr/bin/openssl",
    ];
    programs.into_iter().try_for_each(binary::installed)
}

/// Plays the slice: the table, and what else was told.
#[track_caller]
fn played() -> (String, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/rolling");
    let mut rolling = Command::new(script)
        .args(["--quick", "--jobs=5"])
        .env("STEPDOWN_BIN", binary::under_test())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a script of ours");
    // About half a minute on a machine that has nothing else to do. What it tells fits its pipes.
    let ended = holds_within(BOUND * 12, || {
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
    let error = String::from_utf8_lossy(&told.stderr).into_owned();
    let table = String::from_utf8_lossy(&told.stdout).into_owned();
    // 1: a request was lost.
    let is_told = matches!(told.status.code(), Some(0 | 1)) && !table.is_empty();
    assert!(ended && is_told, "{error}{table}");
    (table, error)
}

#[test]
fn no_request_is_lost_while_replicas_are_restarted() {
    need!(programs());
    // A balancer that the machine holds up for longer than the drain's quiet time sends to a replica that is gone:
    // what holds once could not hold at all under this load if requests were lost by stepdown.
    let mut all = String::new();
    let is_lossless = (0..3).any(|_| {
        let (table, error) = played();
        let rows: Vec<Vec<&str>> = table
            .lines()
            .map(|line| line.split('|').map(str::trim).collect())
            .collect();
        let failed = |row: &Vec<&str>| row[10].parse::<u32>().expect("a number");
        let by = |init: &str| -> Vec<u32> {
            let rows = rows.iter().filter(|row| row.get(7) == Some(&init));
            rows.map(failed).collect()
        };
        // The load is one in which requests can be lost.
        assert!(by("tini").iter().sum::<u32>() > 0, "{error}{table}");
        all.extend([error.as_str(), &table]);
        by("stepdown") == [0; 5]
    });
    assert!(is_lossless, "{all}");
}
