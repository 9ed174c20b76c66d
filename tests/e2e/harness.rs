//! The harness itself, so that the other stories can be believed.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::support::cgroup::Group;
use crate::support::dead_runs;
use crate::support::docker::{self, Image};
use crate::support::mark::Mark;
use crate::support::stepdown::can_be_pid1;
use crate::support::{Stepdown, binary, both, machine, need, proc, wait_until};

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
fn what_is_being_started_when_the_story_is_over_is_killed_as_well() {
    let script = "(for i in $(seq 100); do sleep 1000 & done; wait) & echo ready; wait";
    for _ in 0..5 {
        let mut run = Stepdown::new()
            .program("/bin/sh")
            .args(["-c", script])
            .start();
        run.says("ready");
        let mark = run.mark().clone();
        drop(run);
        mark.nothing_left();
    }
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

/// A run of its own removes the images of runs that are over as well, also while another story builds one.
fn no_other_run() -> MutexGuard<'static, ()> {
    static RUNS: Mutex<()> = Mutex::new(());
    RUNS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A run of its own of one of the stories below, which nobody else tells; started by these words.
fn run_by(words: &[&str], story: &str, variables: &[(&str, &str)]) -> (Output, String) {
    let _alone = no_other_run();
    let ran = Command::new("env")
        .args(words)
        .arg(std::env::current_exe().expect("the tests"))
        .args([
            "--ignored",
            "--nocapture",
            "--exact",
            &format!("harness::{story}"),
        ])
        .env_remove("NO_SKIPS")
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("the tests");
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    (ran, said)
}

fn run_of(story: &str, variables: &[(&str, &str)]) -> (Output, String) {
    run_by(&[], story, variables)
}

#[test]
#[ignore = "leaves behind what it can: a story looks at what is said then"]
fn leaves_things_behind() {
    let tell = |what: &str| eprintln!("left: {what}");
    let sleeper = Command::new("sleep").arg("1000").process_group(0).spawn();
    tell(&format!("process {}", sleeper.expect("sleep").id()));
    let place = tempfile::tempdir().expect("a temporary directory").keep();
    tell(&format!("file {}", place.display()));
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "none"])
        .arg(&place)
        .output();
    if mounted.is_ok_and(|mounted| mounted.status.success()) {
        tell(&format!("mount {}", place.display()));
    }
    if let Ok(group) = Group::new() {
        tell(&format!("cgroup {}", group.path().display()));
        std::mem::forget(group);
    }
    if docker::available().is_ok() {
        let image = Image::from_scratch("left").file("/actor", binary::actor());
        let made = |args: &[&str]| {
            let made = Command::new("docker").args(args).output().expect("docker");
            assert!(made.status.success(), "{args:?}");
            String::from_utf8_lossy(&made.stdout).trim().to_owned()
        };
        let container = made(&["create", "--network=none", &image.build(), "/actor"]);
        tell(&format!("container {container}"));
        let name = Mark::new();
        let network = made(&["network", "create", "--internal", name.as_str()]);
        tell(&format!("network {network}"));
    }
}

#[test]
fn what_stories_leave_behind_is_told_and_removed_and_the_run_fails() {
    let (ran, said) = run_of("leaves_things_behind", &[]);
    let error = String::from_utf8_lossy(&ran.stderr);
    let left: Vec<&str> = error
        .lines()
        .filter_map(|line| line.strip_prefix("left: "))
        .collect();
    assert_eq!(ran.status.code(), Some(101), "{said}{error}");
    assert!(left.len() >= 2, "{said}{error}");
    for one in &left {
        let (kind, name) = one.split_once(' ').expect("two words");
        assert!(said.contains(&format!("  {one}")), "{one} in\n{said}");
        let list = |list: &[&str]| {
            let listed = Command::new("docker").args(list).output().expect("docker");
            String::from_utf8_lossy(&listed.stdout).into_owned()
        };
        let is_gone = || match kind {
            "process" => !proc::is_alive(Pid::from_raw(name.parse().expect("a pid"))),
            "mount" => !fs::read_to_string("/proc/self/mounts").is_ok_and(|all| all.contains(name)),
            "container" => !list(&["ps", "--all", "--quiet", "--no-trunc"]).contains(name),
            "network" => !list(&["network", "ls", "--quiet", "--no-trunc"]).contains(name),
            _ => !fs::exists(name).expect("a path that can be looked at"),
        };
        wait_until(one, is_gone);
    }
    // The image went when the container was gone.
    assert!(!said.contains("image "), "{said}");
}

#[test]
#[ignore = "deletes docker0: a story tells it in a network namespace"]
fn deletes_docker0() {
    let deleted = Command::new(binary::deeds())
        .args(["no-bridge", "docker0"])
        .status();
    assert!(deleted.expect("just compiled").success());
}

#[test]
fn a_run_that_deletes_the_bridge_of_docker_fails() {
    need!(can_be_pid1());
    let deeds = binary::deeds().to_str().expect("a plain path");
    let words = ["unshare", "--net", deeds, "bridge", "docker0", "exec"];
    let (ran, said) = run_by(&words, "deletes_docker0", &[]);
    assert!(said.contains("test result: ok"), "{said}");
    assert_eq!(ran.status.code(), Some(101), "{said}");
    assert!(said.contains("\n  no network interface docker0 any more\n"));
}

#[test]
#[ignore = "is skipped: a story looks at what is said then"]
fn is_skipped() {
    need!(Err::<(), _>("there is no such machine".to_owned()));
}

#[test]
fn the_number_of_skipped_stories_is_said_last() {
    let (ran, said) = run_of("is_skipped", &[]);
    assert_eq!(ran.status.code(), Some(0), "{said}");
    assert!(said.contains("1 because: there is no such machine"));
    assert!(said.ends_with("\nstories skipped: 1, and 0 in part\n"));
    let (ran, said) = run_of("is_skipped", &[("NO_SKIPS", "1")]);
    assert_eq!(ran.status.code(), Some(101), "{said}");
}

#[test]
fn images_are_gone_after_the_run_and_the_next_one_has_its_own() {
    need!(docker::available());
    assert!(docker::scratch().contains(machine::name()));
}

/// They were killed, so they removed nothing themselves.
#[test]
fn images_of_runs_that_are_over_go_and_no_others() {
    need!(docker::available());
    let _alone = no_other_run();
    let labelled = |name, run: &str| {
        let line = format!("LABEL {}={run}", machine::LABEL);
        Image::from_scratch(name)
            .link("/nothing", "nowhere")
            .line(line)
            .build()
    };
    // No run has a process that was started at the boot; the place of the second one is not ours.
    let over = format!("{}-1", machine::name().rsplit_once('-').expect("numbers").0);
    let gone = labelled("over", &over);
    let stays = [
        labelled("elsewhere", "e2e-0-4194304-1"),
        labelled("ours", machine::name()),
    ];
    dead_runs::remove();
    let is_there = |tag: &str| {
        let inspected = Command::new("docker")
            .args(["image", "inspect", tag])
            .output();
        inspected.expect("docker").status.success()
    };
    assert!(!is_there(&gone), "{gone}");
    for tag in stays {
        assert!(is_there(&tag), "{tag}");
    }
}
