//! A slice of `scripts/faults`: system calls of stepdown fail, and the promises hold.

use nix::unistd::geteuid;

use crate::support::{binary, need, script};

/// Plays these calls of one run, as the script is told to: the table.
#[track_caller]
fn played(mode: &[&str], run: &str, calls: &[&str]) -> String {
    let calls = calls.iter().map(|call| format!("--call={call}"));
    let told = script::told(
        script::command("faults")
            .arg(format!("--run={run}"))
            .arg("--quick")
            .args(mode)
            .args(calls)
            .arg("--stepdown")
            .arg(binary::under_test()),
    );
    assert_eq!(told.code, Some(0), "{}{}", told.error, told.text);
    told.text
}

/// What only root can: strace(1) beside a process of another namespace, or of another user.
fn as_root() -> Result<(), String> {
    programs()?;
    if geteuid().is_root() {
        Ok(())
    } else {
        Err("only root can trace a process of another user or namespace".to_owned())
    }
}

fn programs() -> Result<(), String> {
    let programs = ["/usr/bin/strace", "/usr/bin/python3"];
    programs.into_iter().try_for_each(binary::installed)
}

#[test]
fn a_stop_survives_each_call_that_fails_once() {
    need!(programs());
    let calls = ["kill", "prctl", "wait4", "rt_sigtimedwait", "getdents64"];
    let table = played(&[], "left", &calls);
    for call in ["kill", "prctl", "wait4"] {
        assert!(table.contains(&format!("| {call} |")), "{table}");
    }
}

#[test]
fn the_end_of_a_command_is_noticed_whatever_the_kernel_says_at_first() {
    need!(programs());
    played(&[], "exit", &["wait4", "clone"]);
}

#[test]
fn no_signal_is_lost_beside_an_endpoint_whatever_the_kernel_says_at_first() {
    need!(programs());
    let calls = ["rt_sigtimedwait", "epoll_wait", "accept4"];
    let table = played(&[], "served", &calls);
    for call in calls {
        assert!(table.contains(&format!("| {call} |")), "{table}");
    }
}

#[test]
fn one_generation_serves_whatever_fails_at_a_replacement() {
    need!(programs());
    let table = played(&[], "replace", &["clone", "bind"]);
    assert!(table.contains("| bind | EACCES, EADDRINUSE |"), "{table}");
}

#[test]
fn a_hand_over_survives_each_call_that_fails_once() {
    need!(programs());
    played(&[], "handover", &["kill", "waitid", "read"]);
}

#[test]
fn no_generation_ends_the_listening_of_the_other_one() {
    need!(programs());
    let table = played(&[], "replace", &["getsockname"]);
    assert!(table.contains("| getsockname | ENOBUFS |"), "{table}");
}

#[test]
fn what_the_child_says_is_heard_whatever_the_kernel_says_at_first() {
    need!(programs());
    played(&[], "mainpid", &["recvmsg"]);
    let table = played(&["--for-good"], "mainpid", &["recvmsg"]);
    assert!(table.contains("| recvmsg | ENOMEM |"), "{table}");
}

#[test]
fn a_stop_survives_a_call_that_is_refused_for_good() {
    need!(programs());
    let table = played(&["--for-good"], "left", &["getdents64", "prctl", "poll"]);
    assert!(table.contains("| getdents64 | EIO, ENOENT |"), "{table}");
}

#[test]
fn as_pid_1_a_stop_survives_each_call_that_fails_once() {
    need!(as_root());
    let table = played(&["--pid1"], "left", &["wait4", "getdents64"]);
    assert!(table.contains("| wait4 | EINTR, EINVAL |"), "{table}");
}

#[test]
fn what_fails_between_fork_and_exec_is_refused() {
    need!(as_root());
    for (run, call) in [("command", "setresuid"), ("sockets", "dup2")] {
        let table = played(&["--child"], run, &[call]);
        let line = table.lines().find(|line| line.contains(call));
        let refused = line.and_then(|line| line.split(" | ").nth(4));
        assert!(refused.is_some_and(|runs| runs != "0"), "{table}");
    }
}
