//! `stepdown check` and containers: they are stopped through their client or by a stop command, and one that
//! is left is found, told and removed.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::docker::{self, Image};
use crate::support::ended::Ended;
use crate::support::mark::Mark;
use crate::support::{BOUND, Stepdown, binary, holds_within, need, wait_until};

fn gallery() -> String {
    Image::from_scratch("gallery")
        .file("/gallery", binary::gallery())
        .build()
}

/// A name of the story's own; what still has it at the end is removed.
struct Name(String);

impl Name {
    fn new() -> Self {
        Self(format!("stepdown-test-check-{}", Mark::new().as_str()))
    }

    /// Ids of the containers of this name, or of the project of this name, as `ps` lists them with these
    /// options. The filter is a regular expression: the name of one story may begin as that of another does.
    fn listed(&self, options: &[&str]) -> Vec<String> {
        let filter = format!("name=^/?{}(_|$)", self.0);
        let list = ["ps", "--quiet", "--filter", &filter];
        let listed = Command::new("docker").args(list).args(options).output();
        let listed = listed.expect("docker").stdout;
        let ids = String::from_utf8_lossy(&listed);
        ids.lines().map(str::to_owned).collect()
    }

    /// Whether a container is there at all.
    fn is_there(&self) -> bool {
        !self.listed(&["--all"]).is_empty()
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        for id in self.listed(&["--all"]) {
            let _ = Command::new("docker").args(["rm", "--force", &id]).output();
        }
    }
}

/// As [`BOUND`], for what an engine has to do: it makes and removes containers for other stories as well.
const ENGINE_BOUND: Duration = Duration::from_secs(3 * BOUND.as_secs());

/// Checks a command whose containers come and go.
fn checked(options: &[&str], command: &[OsString]) -> Ended {
    check(options)
        .child(command)
        .start()
        .wait_within(ENGINE_BOUND)
}

fn check(options: &[&str]) -> Stepdown {
    Stepdown::new()
        .args(["check", "--ready-line=ready"])
        .args(options)
}

/// `docker run` of a program of the gallery.
fn run(name: &Name, more: &[&str], program: [&str; 2]) -> Vec<OsString> {
    let image = gallery();
    let client = ["docker", "run", "--network=none", "--name", &name.0];
    let inside = [image.as_str(), "/gallery"];
    let words = client.iter().chain(more).chain(&inside).chain(&program);
    words.map(OsString::from).collect()
}

#[test]
fn the_client_passes_the_signal_on() {
    need!(docker::available());
    let name = Name::new();
    let command = run(&name, &["--rm"], ["hanging-handler", "clean"]);
    let ended = checked(&["--within=50s", "--expect-exit=0"], &command);
    ended.code(0).said("All promises held.").nothing_left();
    assert!(!name.is_there());
}

#[test]
fn docker_stop_in_place_of_the_signal() {
    need!(docker::available());
    let name = Name::new();
    let stop = format!("--stop-command=docker stop {}", name.0);
    let command = run(
        &name,
        &["--rm", "--sig-proxy=false"],
        ["hanging-handler", "clean"],
    );
    let ended = checked(&["--within=50s", "--expect-exit=0", &stop], &command);
    ended.code(0).said("All promises held.").nothing_left();
    assert!(!name.is_there());
    // No stop is proven by a command that stops something else.
    let stop = format!("--stop-command=docker stop {}-other", name.0);
    let ended = checked(&["--within=3s", &stop], &command);
    ended.code(1).said("no-kill: broken").nothing_left();
    assert!(!name.is_there(), "it has been removed");
}

/// The classic case: what is PID 1 there does not act on TERM, and the engine kills it.
#[test]
fn the_kill_of_docker_stop_is_no_riddle() {
    need!(docker::available());
    let name = Name::new();
    let stop = format!("docker stop --time 1 {}", name.0);
    let command = run(&name, &["--rm"], ["hanging-handler", "broken"]);
    let option = format!("--stop-command={stop}");
    let ended = checked(&["--within=50s", "--expect-exit=0", &option], &command);
    ended.code(1).said("expect-exit: broken").nothing_left();
    for part in [
        format!("`{stop}` sends KILL after 10 s unless it is told otherwise"),
        "a shell as PID 1 ignores TERM where it has no trap for it".to_owned(),
        "put stepdown in front".to_owned(),
    ] {
        assert!(ended.stdout.contains(&part), "{part:?} in {}", ended.told());
    }
    assert!(!ended.stdout.contains("memory killer"), "{}", ended.told());
    assert!(!name.is_there());
}

/// Nobody has said which container that is: it was asked to write its id.
#[test]
fn a_container_without_its_client_is_found_and_removed() {
    need!(docker::available());
    let name = Name::new();
    let command = run(&name, &["--rm"], ["hanging-handler", "broken"]);
    // Something that runs the client may stand in front of it.
    let in_front = ["env", "A=b", "timeout", "1000"].map(OsString::from);
    let ended = checked(&["--within=2s"], &[&in_front[..], &command].concat());
    ended.code(1).nothing_left();
    ended.said(&format!("  happened: 1 left behind: container {}", name.0));
    assert!(!name.is_there(), "it has been removed");
    let ended = checked(&["--within=2s"], &command);
    ended.code(1).said("no-kill: broken").nothing_left();
    ended.said(&format!("  happened: 1 left behind: container {}", name.0));
    for reason in [
        format!("what runs in container {} has not ended on TERM", name.0),
        format!("container {} runs on without its client", name.0),
        "a shell there passes none on: start the program without the shell".to_owned(),
    ] {
        assert!(ended.stdout.contains(&reason), "{}", ended.told());
    }
    assert!(!name.is_there(), "it has been removed");
}

/// The client of an engine as this script; `$@` are its words, and `docker` is the real one.
fn client(dir: &Path, script: &str, options: &[&str], command: &[OsString]) -> Ended {
    let client = dir.join("docker");
    let script = format!("#!/bin/sh\nPATH=${{PATH#*:}}\n{script}\n");
    fs::write(&client, script).expect("a file of our own");
    fs::set_permissions(&client, fs::Permissions::from_mode(0o755)).expect("as before");
    let path = std::env::var("PATH").expect("it is set");
    check(options)
        .env("PATH", format!("{}:{path}", dir.display()))
        .child(command)
        .start()
        .wait_within(ENGINE_BOUND)
}

/// As one that is being removed already, or an engine that is too busy.
#[test]
fn a_removal_that_fails_is_tried_again() {
    need!(docker::available());
    let dir = tempfile::tempdir().expect("a directory");
    let script =
        "case $1 in rm) mkdir \"$0.failed\" 2>/dev/null && exit 1;; esac; exec docker \"$@\"";
    let name = Name::new();
    let command = run(&name, &["--rm"], ["hanging-handler", "broken"]);
    let ended = client(dir.path(), script, &["--within=2s"], &command);
    ended.code(1).nothing_left();
    ended.said(&format!("  happened: 1 left behind: container {}", name.0));
    assert!(dir.path().join("docker.failed").exists());
    assert!(!name.is_there(), "it has been removed");
}

/// The client ended before it had it started, or the engine has not noted the start yet.
#[test]
fn a_container_that_does_not_run_yet_is_removed() {
    need!(docker::available());
    let dir = tempfile::tempdir().expect("a directory");
    let script = "[ \"$1\" = run ] || exec docker \"$@\"; shift; docker create \"$@\"; echo ready; exec sleep 1000";
    let name = Name::new();
    let command = run(&name, &["--rm"], ["hanging-handler", "broken"]);
    let ended = client(dir.path(), script, &["--expect-exit=TERM"], &command);
    ended.code(0).said("All promises held.").nothing_left();
    assert!(!name.is_there(), "it has been removed");
}

/// The command is a script: which container it starts is said by its name.
#[test]
fn a_named_container_counts_whoever_has_started_it() {
    need!(docker::available());
    let name = Name::new();
    let mut command = run(&name, &["--rm", "--detach"], ["hanging-handler", "clean"]);
    let script = "\"$@\"; echo ready; exec sleep 1000";
    command.splice(0..0, ["sh", "-c", script, "sh"].map(OsString::from));
    let named = format!("--container=other,{}", name.0);
    let ended = checked(&[&named], &command);
    ended.code(1).said("nothing-left: broken").nothing_left();
    ended.said(&format!("  happened: 1 left behind: container {}", name.0));
    assert!(!name.is_there(), "it has been removed");
}

/// A wrong name would be gone in each run.
#[test]
fn a_container_that_never_ran_proves_nothing() {
    need!(docker::available());
    let name = Name::new();
    let named = format!("--container={}", name.0);
    let script = "echo ready; exec sleep 1000";
    let ended = check(&[&named]).shell(script).run();
    ended
        .code(125)
        .said("container: could not be checked")
        .nothing_left();
    let why = format!("container {} did not run before the stop either", name.0);
    ended.said(&format!("  happened: {why}"));
    // In a sweep the first signals come before there is any.
    let swept = [
        "check",
        &named,
        "--offsets=1ms..2ms/1ms",
        "--expect-exit=TERM",
    ];
    Stepdown::new()
        .args(swept)
        .shell(script)
        .run()
        .code(0)
        .nothing_left();
    let mut command = run(&name, &["--rm", "--detach"], ["hanging-handler", "clean"]);
    let script = format!(
        "trap 'docker stop {0}; exit 0' TERM; \"$@\"; echo ready; while :; do sleep 0.1; done",
        name.0
    );
    let script = ["sh", "-c", &script, "sh"];
    command.splice(0..0, script.map(OsString::from));
    let ended = checked(&[&named, "--within=50s", "--expect-exit=0"], &command);
    ended.code(0).said("All promises held.").nothing_left();
}

/// A program writes its line before its engine calls the container running.
#[test]
fn a_container_that_is_not_called_running_at_once_is_waited_for() {
    need!(docker::available());
    let dir = tempfile::tempdir().expect("a directory");
    let (here, name) = (dir.path().display(), Name::new());
    let late = format!(
        "[ \"$1\" = ps ] && [ -e {here}/ready ] && mkdir {here}/late 2>/dev/null && exit; exec docker \"$@\""
    );
    let mut command = run(&name, &["--rm", "--detach"], ["hanging-handler", "clean"]);
    let script = format!(
        "trap 'docker stop {0}; exit 0' TERM; \"$@\"; : > {here}/ready; echo ready; while :; do sleep 0.1; done",
        name.0
    );
    command.splice(0..0, ["sh", "-c", &script, "sh"].map(OsString::from));
    let named = format!("--container={}", name.0);
    let options = [&named, "--within=50s", "--expect-exit=0"];
    let ended = client(dir.path(), &late, &options, &command);
    ended.code(0).said("All promises held.").nothing_left();
    assert!(dir.path().join("late").exists());
}

#[test]
fn a_container_that_was_there_before_is_nobody_s_to_remove() {
    need!(docker::available());
    let name = Name::new();
    let command = run(&name, &["--detach"], ["hanging-handler", "clean"]);
    let started = Command::new("docker").args(&command[1..]).output();
    assert!(started.expect("docker").status.success());
    let named = format!("--container={}", name.0);
    let ended = check(&[&named]).shell("echo ready; exec sleep 1000").run();
    ended.code(125).nothing_left();
    let why = format!("before the start there is container {}", name.0);
    assert!(ended.stdout.contains(&why), "{}", ended.told());
    assert!(name.is_there());
}

#[test]
fn without_an_engine_nothing_is_promised_about_containers() {
    let ended = check(&["--container=web"])
        .env("DOCKER_HOST", "unix:///does/not/exist")
        .shell("echo ready; exec sleep 1000")
        .run();
    ended.code(125).nothing_left();
    let why = "containers cannot be looked at: docker";
    assert!(ended.stdout.contains(why), "{}", ended.told());
}

#[test]
fn killed_it_leaves_no_container() {
    need!(docker::available());
    let name = Name::new();
    let command = run(&name, &["--rm"], ["hanging-handler", "broken"]);
    let mut checking = check(&["--after=100s", "-v"]).child(&command).start();
    wait_until("the container runs", || name.is_there());
    checking.says_about("ready after");
    checking.signal(Signal::SIGKILL);
    // Its end would end the story's other processes, too: first they have the time that they need.
    checking.mark().wait_until_gone();
    checking.wait().died_of(Signal::SIGKILL);
    // The engine takes it away by itself once it has ended (--rm).
    let gone = holds_within(ENGINE_BOUND, || !name.is_there());
    assert!(gone, "the container is still there");
}

/// `docker-compose up` of two programs in this state, described by a file in `dir`.
fn compose(name: &Name, dir: &Path, state: &str) -> Vec<OsString> {
    let file = dir.join("docker-compose.yml");
    let image = gallery();
    let service = |program: &str| {
        format!(
            "    image: {image}\n    network_mode: none\n    command: [/gallery, {program}, {state}]\n"
        )
    };
    let text = format!(
        "version: '2.4'\nservices:\n  web:\n{}  worker:\n{}",
        service("hanging-handler"),
        service("slow-drain")
    );
    fs::write(&file, text).expect("a file of our own");
    vec![
        "docker-compose".into(),
        "--project-name".into(),
        name.0.clone().into(),
        "--file".into(),
        file.into(),
        "up".into(),
    ]
}

#[test]
fn cut_short_it_leaves_no_container_of_a_project() {
    need!(docker::available());
    need!(binary::installed("/usr/bin/docker-compose"));
    let dir = tempfile::tempdir().expect("a directory");
    for end in [Signal::SIGKILL, Signal::SIGINT] {
        let name = Name::new();
        let command = compose(&name, dir.path(), "broken");
        let mut checking = check(&["--after=100s", "--within=3s", "-v"])
            .child(&command)
            .start();
        wait_until("both containers run", || name.listed(&[]).len() == 2);
        checking.says_about("ready after");
        checking.signal(end);
        if end == Signal::SIGKILL {
            checking.mark().wait_until_gone();
            checking.wait().died_of(end);
        } else {
            let ended = checking.wait_within(ENGINE_BOUND);
            ended.code(125).nothing_left();
            ended.said("  happened: interrupted before it was over");
        }
        // Compose keeps what has stopped.
        assert!(name.listed(&[]).is_empty(), "{end}");
    }
}

#[test]
fn ctrl_c_leaves_no_container() {
    need!(docker::available());
    let name = Name::new();
    let command = run(&name, &["--rm"], ["hanging-handler", "broken"]);
    let mut checking = check(&["--after=100s", "--within=2s", "-v"])
        .child(&command)
        .start();
    checking.says_about("ready after");
    checking.signal(Signal::SIGINT);
    let ended = checking.wait_within(ENGINE_BOUND);
    ended.code(125).nothing_left();
    ended.said("  happened: interrupted before it was over");
    assert!(!name.is_there());
}

#[test]
fn compose_up_is_checked_as_a_whole() {
    need!(docker::available());
    need!(binary::installed("/usr/bin/docker-compose"));
    let name = Name::new();
    let dir = tempfile::tempdir().expect("a directory");
    let command = compose(&name, dir.path(), "clean");
    let ended = checked(&["--within=50s", "--expect-exit=0"], &command);
    ended.code(0).said("All promises held.").nothing_left();
    let command = compose(&name, dir.path(), "broken");
    let left = format!("container {}_web_1", name.0);
    // On a machine that is held up the engine may have stopped it before check looks.
    let is_told = (0..4).any(|_| {
        let ended = checked(&["--within=3s"], &command);
        ended.code(1).said("no-kill: broken").nothing_left();
        // The other one takes its time as well, and may be found first.
        let mut found = ended.stdout.lines().filter_map(|line| {
            let happened = line.strip_prefix("  happened: ");
            happened.filter(|happened| happened.contains(" left behind: "))
        });
        found.any(|happened| happened.contains(&left))
    });
    assert!(is_told);
    // And it was removed; compose itself keeps what has stopped.
    assert!(!Name(format!("{}_web_1", name.0)).is_there());
}
