//! `scripts/build-static --init`, the build for images: all that PID 1 needs, and no other subcommand than `health`.

use std::fs;

use nix::sys::signal::Signal;

use crate::support::net::free_port;
use crate::support::{Stepdown, binary, both, need};

#[test]
fn it_is_small() {
    // Without Python scripts/layout cannot link each string function once: 2.1 MB.
    need!(binary::installed("/usr/bin/python3"));
    let size = fs::metadata(binary::for_images())
        .expect("just built")
        .len();
    assert!(size <= LARGEST, "the binary for images has {size} bytes");
}

const LARGEST: u64 = 2_000_000;

#[test]
fn it_runs_hooks_drain_and_endpoint() {
    both(|mode| {
        let port = free_port();
        let mut run = Stepdown::in_mode(mode)
            .program(binary::for_images())
            .args(["--health-listen", &format!("127.0.0.1:{port}")])
            .args(["--drain-delay=50ms", "--pre-stop=true", "--post-stop=true"])
            .shell("trap 'exit 3' TERM; echo ready; while :; do sleep 0.02; done")
            .start();
        run.says("ready");
        let asked = Stepdown::new()
            .program(binary::for_images())
            .args(["health", &format!("http://127.0.0.1:{port}/readyz")])
            .run();
        asked.code(0);
        run.signal(Signal::SIGTERM);
        let ended = run.wait();
        ended.code(3).nothing_left();
        ended.logged(&["pre-stop hook", "done"]);
        ended.logged(&["post-stop hook", "done"]);
        ended.logged(&["step 1 of 2"]);
    });
}

#[test]
fn a_subcommand_that_it_leaves_out_says_which_build_has_it() {
    for name in ["check", "doctor", "explain", "lint", "completions", "man"] {
        let ended = Stepdown::new()
            .program(binary::for_images())
            .args([name, "--", "true"])
            .run();
        ended.code(125);
        ended.logged(&[
            name,
            "this build is for images",
            "scripts/build-static or cargo build",
        ]);
    }
    // After -- it is a command.
    let ended = Stepdown::new()
        .program(binary::for_images())
        .args(["--", "check"])
        .run();
    ended.code(127);
}
