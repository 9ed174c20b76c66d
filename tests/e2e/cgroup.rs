//! `--cgroup on`: the child has a cgroup of its own, and nobody in it survives, whoever became its parent.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::time::Duration;

use nix::libc;
use nix::sys::signal::Signal;

use crate::support::cgroup::{Group, mounts, path_of};
use crate::support::docker::{self, Image, container};
use crate::support::stepdown::can_be_pid1;
use crate::support::{BOUND, Mode, Stepdown, binary, both, need, proc, wait_until};

/// Long enough to fail the story if it were ever slept out.
const LONG: &str = "1h";

/// A daemon that nobody but the cgroup knows: its parent is gone, and TERM it ignores.
const DEAF_DAEMON: &str =
    "(setsid sh -c 'trap \"\" TERM; echo ready; while :; do sleep 0.05; done' &)";

#[test]
fn the_child_is_in_a_cgroup_of_its_own_and_stepdown_is_not() {
    need!(Group::new());
    both(|mode| {
        let group = Group::new().expect("as before");
        let mut run = group
            .stepdown(mode)
            .shell("ls /proc/self/fd | tail -1; echo ready; exec sleep 1000")
            .start();
        // ls itself has its directory open.
        run.says("3").says("ready");
        let stepdown = run.pid();
        let child = run.children()[0].pid;
        let ours = path_of(stepdown).expect("cgroup v2");
        assert!(group.path().ends_with(&ours[1..]), "{ours}");
        let inner = group.below();
        assert_eq!(inner.len(), 1, "{inner:?}");
        let name = inner[0].file_name().expect("a name").to_str();
        let name = name.expect("a plain name");
        assert!(name.starts_with("stepdown-"), "{name}");
        assert_eq!(path_of(child), Some(format!("{ours}/{name}")));
        // Its cgroup.kill is all that stepdown holds.
        wait_until("it holds nothing else", || {
            let held = proc::descriptors(stepdown);
            held.iter().filter(|fd| **fd > 2).count() == 1
        });
        run.signal(Signal::SIGTERM);
        run.wait().code(143).never_logged("cgroup").nothing_left();
        group.is_empty();
    });
}

#[test]
fn without_being_asked_for_there_is_none() {
    need!(Group::new());
    both(|mode| {
        let group = Group::new().expect("as before");
        for asked in [&[][..], &["--cgroup", "off"]] {
            let mut run = group
                .with(Stepdown::in_mode(mode))
                .args(asked)
                .shell("echo ready; exec sleep 1000")
                .start();
            run.says("ready");
            let child = run.children()[0].pid;
            assert_eq!(path_of(child), path_of(run.pid()));
            group.is_empty();
            run.signal(Signal::SIGTERM);
            run.wait().code(143).nothing_left();
        }
    });
}

#[test]
fn explain_shows_whether_there_will_be_one() {
    for (args, row) in [
        (&[][..], ["cgroup", "off", "default"]),
        (&["--cgroup", "on"], ["cgroup", "on", "--cgroup"]),
    ] {
        let ended = Stepdown::new()
            .args(["explain"])
            .args(args)
            .args(["--", "true"])
            .run();
        let rows = ended.stdout.lines();
        let mut rows = rows.map(|line| line.split_whitespace().collect::<Vec<_>>());
        assert!(rows.any(|seen| seen == row), "{}", ended.told());
    }
}

#[test]
fn a_tree_of_thousands_that_ignore_term_is_named_and_gone() {
    need!(Group::new());
    both(|mode| {
        let group = Group::new().expect("as before");
        let mut run = group
            .stepdown(mode)
            .args(["--ladder", "TERM:300ms,KILL"])
            .child([binary::tree_maker().as_os_str(), "tree".as_ref()])
            .args(["1000"])
            .start();
        run.says("ready").signal(Signal::SIGTERM);
        run.wait()
            .code(137)
            .logged(&["KILL to 1000 processes left: ", " tree-maker"])
            .nothing_left();
        group.is_empty();
    });
}

#[test]
fn daemons_that_were_never_adopted_are_named_and_gone() {
    need!(Group::new());
    // Without it they stay: that is what makes the second run a proof.
    for (switch, gone) in [("off", false), ("on", true)] {
        let group = Group::new().expect("as before");
        let mut run = group
            .with(Stepdown::new())
            .args(["--subreaper", "off", "--sweep-grace", "100ms"])
            .args(["--cgroup", switch])
            .shell(&format!("{DEAF_DAEMON}; exec sleep 1000"))
            .start();
        run.says("ready").signal(Signal::SIGTERM);
        let ended = run.wait();
        ended.code(143);
        assert_eq!(ended.still_there().is_empty(), gone, "{}", ended.told());
        if gone {
            ended
                .logged(&["TERM to ", " left: ", " sh"])
                .logged(&["KILL to ", " left: ", " sh"])
                .logged(&["nothing is left"])
                .stopped_no_sooner_than(Duration::from_millis(100));
        }
        group.is_empty();
    }
}

#[test]
fn a_daemon_that_was_never_adopted_gets_its_chance_first() {
    need!(Group::new());
    // Its cgroup is read also where no descriptor is free.
    for is_short in [false, true] {
        let group = Group::new().expect("as before");
        let daemon = "trap \"echo bye; exit\" TERM; echo ready; while :; do sleep 0.01; done";
        let mut run = group
            .stepdown(Mode::Ordinary)
            .args(["--subreaper", "off", "--sweep-grace", LONG])
            .shell(&format!("(setsid sh -c '{daemon}' &); exec sleep 1000"))
            .start();
        run.says("ready");
        if is_short {
            proc::limit_descriptors(run.pid(), 3);
        }
        run.signal(Signal::SIGTERM);
        run.wait()
            .code(143)
            .said("bye")
            .never_logged("KILL to")
            .nothing_left();
        group.is_empty();
    }
}

#[test]
fn a_daemon_that_was_never_adopted_is_waited_for_or_left_on_request() {
    need!(Group::new());
    let start = |group: &Group, mode, script: &str| {
        group
            .stepdown(Mode::Ordinary)
            .args(["-v", "--subreaper", "off", "--left", mode])
            .with_stdin()
            .shell(script)
            .start()
    };
    let group = Group::new().expect("as before");
    let script = "exec 3<&0; (setsid sh -c 'read line <&3; echo done' &); exit 3";
    let mut run = start(&group, "wait", script);
    run.logs("child exited with 3");
    assert!(run.is_running());
    run.type_line("finish");
    run.wait().code(3).said("done").never_logged("TERM to");
    group.is_empty();

    let script = "(setsid sh -c 'echo ready; exec sleep 1000' &); read line; exit 3";
    let mut run = start(&group, "leave", script);
    run.says("ready").type_line("leave");
    let ended = run.wait();
    ended.code(3).never_logged("TERM to");
    // It keeps its cgroup. In the middle of its exec it has no environment to be known by.
    wait_until("it is still there", || ended.still_there().len() == 1);
    assert_eq!(group.below().len(), 1);
}

#[test]
fn stragglers_that_replace_each_other_are_outrun() {
    need!(Group::new());
    both(|mode| {
        for kind in ["hydra", "run-away", "bomb"] {
            // Without a subreaper a run-away is never ours for longer than a moment. PID 1 is one always.
            let adopts: &[&str] = match mode {
                Mode::Ordinary => &["on", "off"],
                Mode::Pid1 => &["on"],
            };
            for subreaper in adopts {
                let group = Group::new().expect("as before");
                let forks = if kind == "bomb" { "1000" } else { "1000000" };
                let mut run = group
                    .stepdown(mode)
                    .args(["--sweep-grace", "50ms", "--subreaper", *subreaper])
                    .child([binary::tree_maker().as_os_str(), kind.as_ref()])
                    .args([forks])
                    .start();
                run.says("ready").signal(Signal::SIGTERM);
                // Thousands of forks are ended, on a machine that may be busy otherwise.
                run.wait_within(3 * BOUND).code(143).nothing_left();
                group.is_empty();
            }
        }
    });
}

#[test]
fn one_write_comes_before_any_other_kill() {
    need!(Group::new());
    need!(binary::installed("/usr/bin/strace"));
    let group = Group::new().expect("as before");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let trace = directory.path().join("trace");
    // -D: stepdown is the process that was started, and strace one beside it.
    let mut run = group
        .with(Stepdown::new())
        .program("strace")
        .args(["-D", "-o"])
        .args([trace.as_os_str()])
        .args(["-e", "trace=openat,write,kill,pidfd_send_signal"])
        .args([binary::under_test()])
        .args(["--cgroup", "on", "--ladder", "KILL"])
        .child([binary::tree_maker().as_os_str(), "tree".as_ref()])
        .args(["50"])
        .start();
    run.says("ready").signal(Signal::SIGTERM);
    let ended = run.wait();
    ended.code(137);
    // strace has more to write, and ends after what it traces.
    wait_until("strace has ended", || ended.still_there().is_empty());
    let text = fs::read_to_string(&trace).expect("just read");
    let opened = text.lines().find(|line| line.contains("/cgroup.kill\""));
    let opened = opened.expect("cgroup.kill is opened");
    assert!(opened.contains("O_WRONLY|O_CLOEXEC"), "{opened}");
    let (_, number) = opened.rsplit_once(' ').expect("its result");
    let write = format!("write({number}, \"1\", 1)");
    let first = text.lines().find(|line| {
        line.starts_with(&write) || line.contains("SIGKILL") && !line.starts_with("---")
    });
    assert!(first.is_some_and(|line| line.starts_with(&write)), "{text}");
}

#[test]
fn cgroups_that_the_child_made_are_removed_with_it() {
    need!(Group::new());
    both(|mode| {
        let group = Group::new().expect("as before");
        let made = "d=$(echo $G/stepdown-*); mkdir -p $d/a/b $d/c";
        let daemon = "echo 0 > $D/a/b/cgroup.procs; trap \"\" TERM; echo ready; while :; do sleep 0.05; done";
        let mut run = group
            .stepdown(mode)
            .env("G", group.path())
            .args(["--sweep-grace", "50ms"])
            .shell(&format!(
                "{made}; D=$d setsid sh -c '{daemon}' & exec sleep 1000"
            ))
            .start();
        run.says("ready").signal(Signal::SIGTERM);
        run.wait().code(143).logged(&["KILL to "]).nothing_left();
        group.is_empty();
    });
}

#[test]
fn hooks_and_stop_commands_are_not_in_it() {
    need!(Group::new());
    both(|mode| {
        let group = Group::new().expect("as before");
        let look =
            |name: &str| format!("sh -c 'echo {name} $(sed -n s/^0:://p /proc/self/cgroup)'");
        let mut run = group
            .stepdown(mode)
            .args([
                "--pre-start",
                &look("pre-start"),
                "--pre-stop",
                &look("pre-stop"),
            ])
            .args(["--post-stop", &look("post-stop")])
            .args([
                "--ladder",
                &format!("exec=\"{}\":1h,TERM:50ms,KILL", look("exec")),
            ])
            .shell("trap '' TERM INT; echo ready; while :; do sleep 0.05; done")
            .start();
        run.says("ready");
        let ours = path_of(run.pid()).expect("cgroup v2");
        run.signal(Signal::SIGTERM).says_about("exec /");
        run.asks_again().asks_again().asks_again();
        let ended = run.wait();
        ended.code(137).nothing_left();
        for name in ["pre-start", "pre-stop", "post-stop", "exec"] {
            ended.said(&format!("{name} {ours}"));
        }
        group.is_empty();
    });
}

#[test]
fn it_is_removed_when_the_child_cannot_start() {
    need!(Group::new());
    both(|mode| {
        let group = Group::new().expect("as before");
        group
            .stepdown(mode)
            .child(["/nowhere/at/all"])
            .run()
            .code(127)
            .never_logged("cgroup");
        group.is_empty();
    });
}

#[test]
fn a_name_that_is_taken_is_left_alone() {
    need!(Group::new());
    need!(can_be_pid1());
    let group = Group::new().expect("as before");
    let taken = group.path().join("stepdown-1");
    fs::create_dir(&taken).expect("our own");
    let mut run = group
        .stepdown(Mode::Pid1)
        .shell("echo ready; exec sleep 1000")
        .start();
    run.says("ready");
    let child = run.children()[0].pid;
    let path = path_of(child).expect("cgroup v2");
    assert!(path.ends_with("/stepdown-1-2"), "{path}");
    run.signal(Signal::SIGTERM);
    run.wait().code(143).nothing_left();
    assert_eq!(group.below(), [taken]);
}

#[test]
fn check_removes_it_after_every_run() {
    need!(Group::new());
    let group = Group::new().expect("as before");
    let ended = group
        .with(Stepdown::new())
        .args(["check", "--cgroup", "on", "--runs", "2", "--after", "50ms"])
        .child(["sleep", "1000"])
        .run();
    ended.nothing_left();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.told());
    group.is_empty();
}

/// Asserts that the run says once why it has no cgroup, and goes on without one.
fn goes_on_without(run: Stepdown, why: &str) {
    let mut run = run
        .args(["--sweep-grace", "50ms"])
        .shell(&format!(
            "trap 'exit 5' TERM; {DEAF_DAEMON}; while :; do sleep 0.05; done"
        ))
        .start();
    run.says("ready").signal(Signal::SIGTERM);
    let ended = run.wait();
    ended
        .code(5)
        .logged(&["--cgroup: ", why, "by the process tree alone"])
        .logged(&["KILL to ", " left: "])
        .nothing_left();
    let lines = ended.stderr.matches("cgroup:").count();
    assert_eq!(lines, 1, "{}", ended.told());
}

/// Runs stepdown after `script` in a mount namespace of its own.
fn in_mounts(group: &Group, script: &str) -> Stepdown {
    let all = mounts();
    let all = all.iter().map(|path| path.clone().into_os_string());
    let all = all.collect::<Vec<_>>().join(&OsString::from(" "));
    let script = format!("for m in $MOUNTS; do {script}; done; exec \"$@\"");
    group
        .with(Stepdown::new())
        .env("MOUNTS", all)
        .program("unshare")
        .args(["--mount", "--", "sh", "-ec", &script, "sh"])
        .args([binary::under_test()])
        .args(["--cgroup", "on"])
}

#[test]
fn where_there_can_be_none_one_line_says_why_and_the_run_goes_on() {
    need!(Group::new());
    need!(can_be_pid1());
    let group = Group::new().expect("as before");
    let absent = in_mounts(&group, "umount -l $m");
    goes_on_without(absent, "no mount of cgroup v2 shows ");
    let read_only = in_mounts(&group, "mount -o remount,bind,ro $m");
    goes_on_without(read_only, "Read-only file system");
    let everybody = binary::for_everybody();
    let somebody_else = group.stepdown(Mode::Ordinary).program(everybody);
    let somebody_else = somebody_else.prepared(|| {
        // SAFETY: a number; in the forked child.
        match unsafe { libc::setuid(65534) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    });
    goes_on_without(somebody_else, "Permission denied");
    group.is_empty();
}

#[test]
fn a_child_that_may_not_enter_is_started_all_the_same() {
    need!(Group::new());
    let group = Group::new().expect("as before");
    // What is made in a threaded cgroup takes no process until it is made threaded, too.
    let threaded = fs::write(group.path().join("cgroup.type"), "threaded");
    need!(threaded.map_err(|error| format!("no threaded cgroup can be had here: {error}")));
    goes_on_without(
        group.stepdown(Mode::Ordinary),
        "the child could not enter: Operation not supported",
    );
    group.is_empty();
}

#[test]
fn in_a_container_with_a_writable_cgroup_it_works_as_well() {
    need!(docker::available());
    need!(Group::new());
    let mount = mounts().into_iter().next().expect("just found");
    let image = Image::from_scratch("cgroup")
        .file("/stepdown", binary::under_test_static())
        .file("/tree-maker", binary::tree_maker())
        .line(r#"ENTRYPOINT ["/stepdown", "--"]"#)
        .build();
    let volume = format!("{}:/sys/fs/cgroup", mount.display());
    let mut container = container(&image)
        .options(["--cgroupns=host", "-v", &volume])
        .stepdown([
            "--cgroup",
            "on",
            "--ladder",
            "KILL",
            "--",
            "/tree-maker",
            "tree",
            "200",
        ])
        .start();
    container.says("ready");
    let init = container.pid();
    let child = proc::children(init)[0].pid;
    let ours = path_of(init).expect("cgroup v2");
    assert_eq!(path_of(child), Some(format!("{ours}/stepdown-1")));
    container.stop(&["-t", "15"]);
    container
        .wait()
        .code(137)
        .logged(&["KILL to 200 processes left: "])
        .never_logged("cgroup");
}
