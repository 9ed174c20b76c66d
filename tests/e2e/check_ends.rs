//! `stepdown check` that is interrupted or killed in the middle: it ends soon, and leaves nothing.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::iter;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};

use crate::support::net::free_port;
use crate::support::skipped::skip;
use crate::support::{Stepdown, binary, wait_until};

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

/// A client whose engine does not answer any more, once the file `asked` is there. It has children, and one of them
/// has left its group.
fn hanging_client(dir: &Path) -> OsString {
    let client = dir.join("docker");
    let dir = dir.display();
    let script = format!(
        "#!/bin/sh\n\
         test -e {dir}/asked || {{ : > {dir}/asked; exit; }}\n\
         setsid sleep 1000 & sleep 1000 & : > {dir}/hangs; wait\n"
    );
    fs::write(&client, script).expect("our own file");
    fs::set_permissions(&client, Permissions::from_mode(0o755)).expect("our own file");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let paths = iter::once(dir_of(&client)).chain(std::env::split_paths(&path));
    std::env::join_paths(paths).expect("plain paths")
}

fn dir_of(file: &Path) -> PathBuf {
    file.parent().expect("a directory").to_owned()
}

#[test]
fn an_interrupt_is_heard_while_an_engine_does_not_answer() {
    // Before the start nothing is to be brought down.
    let dir = tempfile::tempdir().expect("a directory");
    let path = hanging_client(dir.path());
    fs::write(dir.path().join("asked"), "").expect("our own file");
    let hangs = dir.path().join("hangs");
    let start = || check(&["--container=web", "--after=1ms"]).env("PATH", &path);
    let mut run = start().shell("echo started").start();
    wait_until("the engine is asked", || hangs.exists());
    run.signal(Signal::SIGINT);
    run.wait()
        .code(125)
        .never_said("started")
        .said("  happened: interrupted before it was over")
        .nothing_left();
    // Afterwards it is told that something is still to be done, and the second time it is left.
    for file in ["asked", "hangs"] {
        fs::remove_file(dir.path().join(file)).expect("our own file");
    }
    let mut run = start().shell("exec sleep 1000").start();
    wait_until("the engine is asked", || hangs.exists());
    run.signal(Signal::SIGINT)
        .says_about("another signal leaves them");
    run.signal(Signal::SIGINT);
    let ended = run.wait();
    ended.code(125).nothing_left();
    let why = "containers cannot be looked at: docker: its answer was not waited for";
    assert!(ended.stdout.contains(why), "{}", ended.told());
}

/// Nothing was looked at before it, and no request was open.
#[test]
fn a_stop_that_somebody_else_asks_for_proves_nothing() {
    let asked = format!("--in-flight=http://127.0.0.1:{}/", free_port());
    let ended = check(&["--after=100s", &asked])
        .shell("trap 'exit 0' TERM; kill $PPID; while :; do sleep 0.1; done")
        .run();
    ended.code(125).said("check: could not be checked");
    let why = "the stop began before check asked for it (stopping: TERM from ";
    assert!(ended.stdout.contains(why), "{}", ended.told());
    ended.nothing_left();
}
