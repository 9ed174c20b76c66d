//! Without luxuries: no /proc, hardly a descriptor, nothing writable, no rights, nobody's user.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::support::running::Running;
use crate::support::skipped::skip;
use crate::support::{Mode, Stepdown, binary, both, need, proc, wait_until};

/// May we make mount namespaces here?
fn can_mount() -> Result<(), String> {
    let tried = Command::new("unshare")
        .args(["--mount", "--", "sh", "-c", "mount -t tmpfs none /proc"])
        .output()
        .map_err(|error| format!("cannot run unshare: {error}"))?;
    if tried.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&tried.stderr).trim().to_owned())
    }
}

fn is_root() -> Result<(), String> {
    if nix::unistd::geteuid().is_root() {
        Ok(())
    } else {
        Err("only root can give up rights".to_owned())
    }
}

/// stepdown where everybody may execute it, for stories in which it runs as somebody else.
struct ForEverybody {
    dir: tempfile::TempDir,
}

impl ForEverybody {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        for (name, from) in [
            ("stepdown", binary::under_test()),
            ("witness", binary::witness().to_owned()),
            ("actor", binary::actor().to_owned()),
        ] {
            binary::install(&from, &dir.path().join(name), 0o755);
        }
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("our own");
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// What a run does in every story: starts, forwards, sweeps an orphan, returns the status.
#[track_caller]
fn does_its_job(start: Stepdown, witness: &str) {
    let mut run = start.args(["--", witness, "family", "15:7"]).start();
    run.says("ready")
        .signal(Signal::SIGUSR1)
        .says("main got 10");
    run.signal(Signal::SIGTERM);
    run.wait().code(7).nothing_left();
}

/// Signals that differ, so that the kernel does not merge two of one kind: real-time ones are queued.
const EACH_ONCE: &str = "RTMIN+1@tree:1h,RTMIN+2@tree:1h";

/// Without /proc nobody can be found one by one; the child still gets each signal, and once.
#[track_caller]
fn reached_once(start: Stepdown, send: impl Fn(&mut Running, i32)) {
    let mut run = start.witness(["listen", "36:7"]).start();
    run.says("ready");
    send(&mut run, libc::SIGTERM);
    run.says("got 35");
    send(&mut run, libc::SIGINT);
    run.says("got 2");
    send(&mut run, libc::SIGINT);
    run.logs("takes the next step");
    send(&mut run, libc::SIGINT);
    let ended = run.wait();
    ended.code(7).nothing_left();
    let got = |line: &&str| line.starts_with("got 3");
    let got: Vec<_> = ended.stdout.lines().filter(got).collect();
    assert_eq!(got, ["got 35", "got 36"]);
}

#[test]
fn as_an_ordinary_process_without_proc() {
    need!(can_mount());
    let start = |options: &[&str]| {
        Stepdown::new()
            .program("unshare")
            .args([
                "--mount",
                "--",
                "sh",
                "-c",
                "mount -t tmpfs none /proc && exec \"$@\"",
                "sh",
            ])
            .args([binary::under_test()])
            .args(options)
    };
    start(&[]).witness(["exit", "3"]).run().code(3).was_silent();
    start(&[])
        .child(["/no/such/command"])
        .run()
        .code(127)
        .logged(&["not found"]);
    for options in [
        &[][..],
        &["--ladder", "stdin=stop:20ms,TERM:1h"],
        &["--pre-start", "true", "--post-stop=true"],
    ] {
        let mut run = start(options).witness(["listen", "15:7"]).start();
        run.says("ready").signal(Signal::SIGUSR1).says("got 10");
        run.signal(Signal::SIGTERM);
        run.wait().code(7).nothing_left();
    }
    reached_once(start(&["--ladder", EACH_ONCE]), |run, signal| {
        proc::kill(run.pid(), signal).expect("it lives");
    });
    // What it cannot do, it says: the group is all it finds of the tree.
    let mut run = start(&["--grace=50ms", "--target", "tree"])
        .shell("trap '' TERM; sleep 1000 & echo ready; while :; do sleep 1; done")
        .start();
    run.says("ready").signal(Signal::SIGTERM);
    run.wait()
        .code(137)
        .logged(&["no usable /proc"])
        .nothing_left();
}

#[test]
fn as_pid_1_without_proc() {
    need!(can_mount());
    let start = |options: &[&str]| {
        Stepdown::new()
            .program("unshare")
            .args([
                "--mount",
                "--pid",
                "--fork",
                "--kill-child",
                "--",
                "sh",
                "-c",
            ])
            .args(["mount -t tmpfs none /proc && exec setsid \"$@\"", "sh"])
            .args([binary::under_test()])
            .args(options)
    };
    start(&[]).witness(["exit", "3"]).run().code(3).was_silent();
    reached_once(start(&["--ladder", EACH_ONCE]), |run, signal| {
        proc::kill(run.children()[0].pid, signal).expect("it lives");
    });
    for options in [
        &[][..],
        &[
            "--sweep-grace",
            "100ms",
            "--ladder",
            "stdin=stop:20ms,TERM:1h",
        ],
    ] {
        let mut run = start(options).witness(["family", "15:7"]).start();
        run.says("ready");
        let init = run.children()[0].pid;
        proc::kill(init, libc::SIGUSR1).expect("it lives");
        run.says("main got 10");
        proc::kill(init, libc::SIGTERM).expect("it lives");
        // The orphan and the outsider obey TERM, which reaches all in the namespace.
        run.wait()
            .code(7)
            .logged(&["no usable /proc"])
            .nothing_left();
    }
}

/// Starts with so few descriptors that the highest number is `limit - 1`.
fn with_descriptors(start: Stepdown, limit: u64) -> Stepdown {
    start.prepared(move || {
        let limit = libc::rlimit {
            rlim_cur: limit,
            rlim_max: limit,
        };
        // SAFETY: the limit lives through the call.
        match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    })
}

#[test]
fn with_few_descriptors() {
    let witness = binary::witness().to_str().expect("a plain path");
    for limit in [16, 8, 6, 5, 4] {
        let start = || with_descriptors(Stepdown::new(), limit);
        start().witness(["exit", "3"]).run().code(3).was_silent();
        start().child(["/no/such/command"]).run().code(127);
        start()
            .args(["--post-stop", "true", "--pre-start", "true"])
            .witness(["exit", "3"])
            .run()
            .code(3);
        if limit == 4 {
            continue;
        }
        // An orphan in a session of its own is found with two descriptors to spare.
        let actor = binary::actor().to_str().expect("a plain path");
        let mut run = start()
            .args(["--sweep-grace", "1h", "--", actor, "keep-an-orphan"])
            .start();
        run.says("ready").signal(Signal::SIGTERM);
        run.wait().code(143).nothing_left();
    }
    both(|mode| {
        // As PID 1 the programs that make the namespace need some themselves.
        let start = || with_descriptors(Stepdown::in_mode(mode), 16);
        does_its_job(start(), witness);
        does_its_job(
            start().args(["--ladder", "stdin=stop:20ms,TERM:1h"]),
            witness,
        );
        let mut run = start()
            .args(["--ladder", "stdin=stop:1h"])
            .with_stdin()
            .child([binary::child("console-obeys-stop.sh")])
            .start();
        run.says("ready").type_line("hello").says("unknown: hello");
        run.signal(Signal::SIGTERM);
        run.wait().code(0).said("saved");
    });
}

/// Who has left its group is found by /proc alone. What is started later has the limit that was set.
#[test]
fn without_a_free_descriptor_who_is_left_is_found_all_the_same() {
    both(|mode| {
        let stays = "trap '' TERM; echo ready; while :; do sleep 0.02; done";
        let mut run = Stepdown::in_mode(mode)
            .args(["--sweep-grace", "1h"])
            .shell(&format!("setsid sh -c \"{stays}\" & exec sleep 1000"))
            .start();
        run.says("ready");
        let pid = run.pid();
        proc::limit_descriptors(pid, 3);
        run.signal(Signal::SIGTERM);
        run.logs("TERM to 1 process left: ");
        assert_eq!(proc::limit_descriptors(pid, 3), 3);
        run.asks_again().asks_again();
        run.wait()
            .code(143)
            .logged(&["KILL to "])
            .never_logged("/proc")
            .nothing_left();
    });
    // The hard limit leaves one descriptor, and two are needed.
    let mut run = with_descriptors(Stepdown::new(), 4)
        .args(["--target", "tree"])
        .witness(["listen", "15:7"])
        .start();
    run.says("ready").signal(Signal::SIGTERM);
    run.wait()
        .code(7)
        .logged(&["/proc cannot be read (Too many open files): only the child's process group"])
        .never_logged("no usable")
        .nothing_left();
}

#[test]
fn without_descriptors_for_the_relay() {
    // The relay needs some. Where they are missing that is told, and nothing hangs.
    for limit in [4, 5, 6, 7, 8, 9, 10] {
        let ended = with_descriptors(Stepdown::new(), limit)
            .args(["--ladder", "stdin=stop:20ms,TERM:1h"])
            .shell("echo started; exit 3")
            .run();
        let code = ended.status.code();
        assert!(
            [Some(3), Some(125)].contains(&code),
            "{limit}: {}",
            ended.told()
        );
        if code == Some(125) {
            ended.never_said("started").logged(&["stdin"]);
        }
    }
}

#[test]
fn on_a_read_only_root() {
    need!(can_mount());
    let probe = "! touch /probe 2> /dev/null || echo writable";
    let start = |options: &[&str]| {
        Stepdown::new()
            .program("unshare")
            .args(["--mount", "--", "sh", "-c"])
            .args([
                "mount -o remount,ro,bind / && mount -o remount,ro,bind /proc && exec \"$@\"",
                "sh",
            ])
            .args([binary::under_test()])
            .args(options)
    };
    let tried = start(&[]).shell("exit 3").run();
    if tried.stderr.contains("mount:") {
        skip(tried.stderr);
        return;
    }
    tried.code(3).was_silent();
    let mut run = start(&["--pre-start", "true", "--ladder", "stdin=stop:10ms,TERM:1h"])
        .shell(&format!(
            "trap 'exit 7' TERM; {probe}; echo ready; while :; do sleep 0.02; done"
        ))
        .start();
    run.says("ready").signal(Signal::SIGTERM);
    run.wait().code(7).never_said("writable").nothing_left();
}

#[test]
fn without_capabilities() {
    need!(is_root());
    need!(binary::installed("/usr/bin/setpriv"));
    let here = ForEverybody::new();
    let witness = here.path("witness");
    let start = Stepdown::new()
        .program("setpriv")
        .args(["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"])
        .args([here.path("stepdown")]);
    does_its_job(start, witness.to_str().expect("a plain path"));
}

#[test]
fn as_another_user() {
    need!(is_root());
    need!(binary::installed("/usr/bin/setpriv"));
    let here = ForEverybody::new();
    let witness = here.path("witness");
    let witness = witness.to_str().expect("a plain path");
    let start = |program: &str| {
        Stepdown::new()
            .program("setpriv")
            .args(["--reuid=54321", "--regid=54321", "--clear-groups"])
            .args([here.path(program)])
    };
    does_its_job(start("stepdown"), witness);
    does_its_job(
        start("stepdown").args(["--ladder=stdin=stop:10ms,TERM:1h"]),
        witness,
    );
    // As PID 1 in a namespace in which it is nobody.
    need!(crate::support::stepdown::can_be_pid1());
    let mut run = Stepdown::new()
        .program("unshare")
        .args(["--fork", "--pid", "--mount-proc", "--", "setsid", "setpriv"])
        .args(["--reuid=54321", "--regid=54321", "--clear-groups"])
        .args([here.path("stepdown").as_os_str()])
        .args(["--", witness, "family", "15:7"])
        .start();
    run.says("ready");
    let init: Pid = run.children()[0].pid;
    wait_until("it is nobody's", || {
        proc::status(init, "Uid").is_some_and(|uid| uid.starts_with("54321"))
    });
    proc::kill(init, libc::SIGTERM).expect("it lives");
    run.wait().code(7).nothing_left();
}

#[test]
fn a_child_that_may_not_be_signalled_is_told_of() {
    need!(is_root());
    need!(binary::installed("/usr/bin/setpriv"));
    // stepdown without rights, a child with them, as a setuid program is.
    let here = ForEverybody::new();
    let witness = here.path("witness");
    fs::set_permissions(&witness, fs::Permissions::from_mode(0o4755)).expect("our own");
    let mut run = Stepdown::new()
        .program("setpriv")
        .args(["--reuid=54321", "--regid=54321", "--clear-groups"])
        .args([here.path("stepdown").as_os_str()])
        .args(["--grace=20ms".as_ref(), "--".as_ref(), witness.as_os_str()])
        .args(["listen", "10:7"])
        .start();
    run.says("ready");
    let child = run.children()[0].pid;
    run.signal(Signal::SIGHUP);
    let told = run.logs("HUP could not be sent");
    assert!(told.contains("Operation not permitted"), "{told}");
    proc::kill(child, libc::SIGUSR1).expect("it lives");
    run.wait().code(7);
}

/// As in a container with `cap_drop: ALL` whose image becomes another user.
#[test]
fn root_without_cap_kill_stops_a_child_of_another_user() {
    need!(is_root());
    need!(binary::installed("/usr/bin/setpriv"));
    let here = ForEverybody::new();
    let start = |options: &[&str], words: &[&str]| {
        Stepdown::new()
            .program("setpriv")
            .args(["--bounding-set=-all,+setuid,+setgid", "--inh-caps=-all"])
            .args([here.path("stepdown").as_os_str()])
            .args(["--user=54321:54321"])
            .args(options.iter().copied())
            .child([here.path("witness").as_os_str()])
            .args(words.iter().copied())
            .start()
    };
    for target in ["TERM", "TERM@group", "TERM@tree"] {
        let ladder = format!("--ladder={target}:1h");
        let mut run = start(&[&ladder], &["listen", "15:7"]);
        run.says("ready").signal(Signal::SIGTERM);
        run.wait().code(7).nothing_left();
    }
    let mut run = start(&["--grace=20ms"], &["family"]);
    run.says("ready").signal(Signal::SIGTERM);
    let ended = run.wait();
    ended.code(137).nothing_left().logged(&["stopped by KILL"]);
    ended.never_logged("still there");
    ended.never_logged("could not be sent");
}

#[test]
fn with_no_environment_and_no_name() {
    for mode in [Mode::Ordinary] {
        let mut start = Stepdown::in_mode(mode);
        for (key, _) in std::env::vars_os() {
            start = start.without_env(key);
        }
        // PATH is /bin:/usr/bin where there is none, as for execvp(3).
        start
            .without_env("E2E_MARK")
            .child(["sh", "-c", "exit 3"])
            .run()
            .code(3)
            .was_silent();
    }
}
