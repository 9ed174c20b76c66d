//! `stepdown check` that is interrupted or killed in the middle: it ends soon, and leaves nothing.

use nix::sys::signal::{Signal, kill};

use crate::support::skipped::skip;
use crate::support::{Stepdown, binary};

fn check(options: &[&str]) -> Stepdown {
    Stepdown::new().args(["check"]).args(options)
}

/// Each that dies makes room for another one.
#[test]
fn a_storm_of_forks_is_gone_with_check_and_with_its_init() {
    if !nix::unistd::geteuid().is_root() {
        return skip("only root can give somebody a limit of its own");
    }
    // Nobody else is this user, so the limit is that of the storm.
    let user = 48_000 + std::process::id() % 1000;
    let storm = [
        binary::tree_maker().as_os_str(),
        "patient-storm".as_ref(),
        "800".as_ref(),
    ];
    for kills_check in [true, false] {
        let mut run = check(&["--after=100s", &format!("--user={user}:{user}")])
            .child(storm)
            .start();
        run.wait_for("the limit is reached", |run| {
            run.mark().processes().len() > 600
        });
        let mark = run.mark().clone();
        if kills_check {
            run.signal(Signal::SIGKILL);
            mark.wait_until_gone();
            run.wait().died_of(Signal::SIGKILL);
        } else {
            let check = run.pid();
            let all = mark.processes();
            let init = all.iter().find(|process| process.parent == check);
            let init = init.expect("it plays the run").pid;
            kill(init, Signal::SIGKILL).expect("it is ours");
            run.wait().code(125).nothing_left();
        }
    }
}
