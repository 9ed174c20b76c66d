//! `stepdown check` and ports: who listens on one is seen before the start, before the stop and at the end, whoever
//! asks.

use std::net::TcpListener;

use crate::check::reachable;
use crate::support::skipped::skip;
use crate::support::{Stepdown, binary};

/// Such a user may not have the port, whether it is free or not.
#[test]
fn a_port_below_1024_is_seen_by_an_ordinary_user() {
    let taken = (700..1024).find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok());
    let Some(taken) = taken else {
        return skip("only root can listen on a port below 1024");
    };
    let port = taken.local_addr().expect("it is bound").port();
    let dir = reachable();
    let program = dir.path().join("stepdown");
    binary::install(&binary::under_test(), &program, 0o755);
    let ended = Stepdown::new()
        .program("setpriv")
        .args(["--reuid=1234", "--regid=1234", "--clear-groups"])
        .args([program.as_os_str()])
        .args([
            "check",
            "--ready-line=ready",
            &format!("--port-free={port}"),
        ])
        .args(["--", "sh", "-c", "echo ready; exec sleep 1000"])
        .run();
    ended.code(125).nothing_left();
    let why = format!("port {port} is taken before the start");
    assert!(ended.stdout.contains(&why), "{}", ended.told());
}
