//! `mdns://`: the neighbours are told that a service ends, and avahi believes it.

use std::path::Path;

use nix::sys::signal::Signal;

use crate::support::stepdown::can_be_pid1;
use crate::support::{Stepdown, binary, need, net};

/// The program dies of TERM and tells nobody. Without the hook avahi would keep the service for more than an hour.
#[test]
fn avahi_sees_the_service_leave() {
    need!(can_be_pid1());
    for program in [
        "/usr/sbin/avahi-daemon",
        "/usr/bin/avahi-browse",
        "/usr/bin/dbus-daemon",
    ] {
        need!(binary::installed(program));
    }
    need!(binary::installed("/usr/bin/python3"));
    need!(binary::installed("/usr/sbin/ip"));
    let parts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/mdns");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let six = if net::ipv6().is_ok() { "yes" } else { "no" };
    let ended = Stepdown::new()
        .program("/usr/bin/unshare")
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--"])
        .args(["sh".as_ref(), parts.join("avahi.sh").as_os_str()])
        .args([dir.path().as_os_str(), six.as_ref()])
        .args([binary::under_test()])
        .args([
            "--post-stop",
            "mdns://web._http._tcp.local:8080",
            "-v",
            "--",
        ])
        .args(["python3".as_ref(), parts.join("announce.py").as_os_str()])
        .args(["10.9.0.2", "there"])
        .run();
    ended.code(0).logged(&["post-stop hook", "done"]);
    assert!(
        ended.stdout.contains("seen\nstepdown: 143\nleft\n"),
        "{}",
        ended.stdout
    );
}

/// A container without a network has nobody to tell; the stop goes on.
#[test]
fn without_neighbours_it_fails_and_the_stop_goes_on() {
    need!(can_be_pid1());
    let mut run = Stepdown::new()
        .program("/usr/bin/unshare")
        .args(["--net", "--"])
        .args([binary::deeds()])
        .args(["loopback", "exec"])
        .args([binary::under_test()])
        .args(["--pre-stop", "mdns://web._http._tcp.local", "--"])
        .args(["sh", "-c", "echo ready; exec sleep 1000"])
        .start();
    run.says("ready").signal(Signal::SIGTERM);
    let ended = run.wait();
    ended.code(143);
    ended.logged(&["no network interface has multicast"]);
}

#[test]
fn a_name_that_is_none_is_refused_before_the_start() {
    let ended = Stepdown::new()
        .args(["--post-stop", "mdns://web._http._tcp.example"])
        .shell("echo started")
        .run();
    ended.code(125).never_said("started");
    ended.logged(&[
        "--post-stop",
        "only names that end with .local",
        "write mdns://INSTANCE",
    ]);
}
