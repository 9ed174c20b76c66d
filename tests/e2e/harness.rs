//! The harness itself, so that the other stories can be believed.

use nix::sys::signal::Signal;

use crate::support::stepdown::can_be_pid1;
use crate::support::{Stepdown, both, need, proc, wait_until};

#[test]
fn a_process_is_signalled_and_its_end_is_seen_in_both_modes() {
    both(|mode| {
        let mut run = Stepdown::in_mode(mode)
            .shell("trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.05; done")
            .start();
        run.says("ready").signal(Signal::SIGTERM);
        run.wait().code(7).said("bye").nothing_left();
    });
}

#[test]
fn pid_1_is_pid_1() {
    need!(can_be_pid1());
    let mut run = Stepdown::as_pid1()
        .shell("echo parent $PPID; echo ready; exec sleep 1000")
        .start();
    run.says("parent 1").says("ready");
    let pid = run.pid();
    let inner = proc::status(pid, "NSpid").expect("a kernel with PID namespaces");
    assert!(inner.ends_with("\t1"), "{inner}");
    assert_eq!(run.children().len(), 1);
    run.signal(Signal::SIGTERM);
    run.wait().code(143).nothing_left();
}

#[test]
fn a_leftover_is_seen_and_killed_when_the_story_is_over() {
    let mark = {
        let program = "/bin/sh";
        let script = "setsid sleep 1000 & echo ready";
        let mut run = Stepdown::new()
            .program(program)
            .args(["-c", script])
            .start();
        run.says("ready");
        wait_until("the shell leaves sleep alone", || {
            let left = run.mark().processes();
            left.len() == 1 && left[0].name == "sleep"
        });
        run.mark().clone()
    };
    mark.wait_until_gone();
}

#[test]
fn a_leftover_that_hides_its_environment_is_seen_by_its_session() {
    let mut run = Stepdown::new()
        .program("/bin/sh")
        .args(["-c", "env -i sleep 1000 & echo ready"])
        .start();
    run.says("ready");
    wait_until("the shell leaves sleep alone", || {
        let left = run.mark().processes();
        left.len() == 1 && left[0].name == "sleep"
    });
    let mark = run.mark().clone();
    drop(run);
    mark.wait_until_gone();
}
