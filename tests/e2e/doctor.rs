//! `stepdown doctor` before processes with a known defect each, and before their clean twins.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::libc;
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::ended::Ended;
use crate::support::net::free_port;
use crate::support::pty::Pty;
use crate::support::running::Running;
use crate::support::skipped::skip_part;
use crate::support::stepdown::can_be_pid1;
use crate::support::{BOUND, Mode, Stepdown, binary, both, holds_within, need};

pub(crate) fn doctor<A: AsRef<str>>(words: &[A]) -> Ended {
    let words = words.iter().map(|word| word.as_ref().to_owned());
    Stepdown::new().args(["doctor"]).args(words).run()
}

/// Asks until the answer is this one: what is looked at may still be about to start.
#[track_caller]
pub(crate) fn answers<A: AsRef<str>>(words: &[A], code: i32, parts: &[&str]) -> Ended {
    let mut last = None;
    let is_so = holds_within(BOUND, || {
        let ended = doctor(words);
        let is_so = ended.status.code() == Some(code)
            && parts.iter().all(|part| ended.stdout.contains(part));
        last = Some(ended);
        is_so
    });
    let last = last.expect("it was asked");
    assert!(is_so, "not {code} with {parts:?}\n{}", last.told());
    last
}

/// What runs as PID 1 of its own namespace, or as an ordinary process.
pub(crate) fn runs<'a>(
    mode: Mode,
    program: impl AsRef<Path>,
    args: impl IntoIterator<Item = &'a str>,
) -> Running {
    let args: Vec<&str> = args.into_iter().collect();
    Stepdown::in_mode(mode)
        .program(program.as_ref())
        .args(args)
        .start()
}

pub(crate) fn judged(run: &mut Running, code: i32, parts: &[&str]) -> Ended {
    let pid = run.pid().to_string();
    answers(&[pid], code, parts)
}

fn stuck(mode: Mode, what: &str) -> Running {
    let mut run = runs(mode, binary::stuck(), [what]);
    run.says("ready");
    run
}

#[test]
fn each_defect_is_named_and_its_twin_is_clean() {
    both(|mode| {
        let as_pid1 = mode == Mode::Pid1;
        for (what, code, words) in [
            (
                "blocks",
                1,
                "blocks TERM in every thread, and nothing waits for it",
            ),
            ("signalfd", 0, "takes TERM by a signalfd"),
            ("sigwait", 0, "takes TERM by sigwait"),
            ("handler", 0, "handles TERM"),
            ("kernel", 1, "hangs in the kernel"),
            ("traced", 0, "is held by a debugger"),
            ("zombies", 0, "does not reap its children: 2 zombies"),
            ("reaps", 0, "handles TERM"),
            ("master", 0, "has to stop it"),
        ] {
            judged(&mut stuck(mode, what), code, &[words]);
        }
        let clean = judged(&mut stuck(mode, "reaps"), 0, &["will stop"]);
        assert!(!clean.stdout.contains("zombie"), "{}", clean.told());
        for what in ["plain", "blocks-one"] {
            let (code, words) = match as_pid1 {
                true => (
                    1,
                    "is PID 1 and has no handler for TERM: the kernel discards TERM",
                ),
                false => (0, "ends on TERM, for which it has no handler"),
            };
            judged(&mut stuck(mode, what), code, &[words]);
        }
        // As PID 1 it adopts the daemon; elsewhere an init above does, and the daemon is not seen below it.
        if as_pid1 {
            let words = "is in a session of its own";
            judged(&mut stuck(mode, "daemon"), 1, &[words, "--target tree"]);
        }
        let (code, words) = match as_pid1 {
            true => (1, "is PID 1 and has no handler"),
            false => (1, "is in a session of its own"),
        };
        judged(&mut stuck(mode, "setsid"), code, &[words]);
    });
}

#[test]
fn shells_with_and_without_exec_and_trap() {
    need!(can_be_pid1());
    let stuck = binary::stuck().display();
    for (script, code, words) in [
        (
            format!("{stuck} handler; true"),
            1,
            "sh is PID 1 and a shell without a trap for TERM: the kernel discards TERM, and ",
        ),
        (format!("exec {stuck} handler"), 0, "handles TERM"),
        (
            format!("trap 'exit 3' TERM; {stuck} handler; true"),
            1,
            "sh is a shell, whose trap for TERM runs only once ",
        ),
        (
            format!("trap 'kill $!' TERM; {stuck} handler & wait"),
            0,
            "has a trap for TERM",
        ),
        (
            "trap 'exit 0' TERM; while :; do sleep 0.2; done".to_owned(),
            0,
            "has a trap for TERM",
        ),
        (
            format!("trap '' TERM; {stuck} handler; true"),
            1,
            "sh ignores TERM",
        ),
    ] {
        for shell in ["/bin/sh", "/bin/bash"] {
            if binary::installed(shell).is_err() {
                continue;
            }
            let words = words.trim_start_matches("sh ");
            // Its pid is that of the shell, whatever that becomes.
            let script = format!("read go; {script}");
            let mut run = Stepdown::as_pid1()
                .program(shell)
                .args(["-c", &script])
                .with_stdin()
                .start();
            run.pid();
            run.type_line("go");
            judged(&mut run, code, &[words]);
        }
    }
}

/// What bash waits for shows in the pipes between the two.
#[test]
fn bash_does_not_wait_for_a_process_substitution() {
    need!(can_be_pid1());
    need!(binary::installed("/bin/bash"));
    let stuck = binary::stuck().display();
    let trap = "trap 'kill $(jobs -p); exit 3' TERM";
    for (script, code, words) in [
        (
            format!("exec > >(cat); {trap}; {stuck} handler & wait"),
            0,
            "has a trap for TERM",
        ),
        (
            format!("{trap}; while read -r line; do true; done < <(sleep 1000)"),
            0,
            "has a trap for TERM",
        ),
        (
            format!("{trap}; sleep 1000 | {stuck} handler & wait"),
            0,
            "has a trap for TERM",
        ),
        (
            format!("{trap}; text=$(sleep 1000); true"),
            1,
            "whose trap for TERM runs only once ",
        ),
        (
            format!("{trap}; sleep 1000 | {stuck} handler; true"),
            1,
            "whose trap for TERM runs only once ",
        ),
    ] {
        let mut run = Stepdown::as_pid1()
            .program("/bin/bash")
            .args(["-c", &format!("read go; {script}")])
            .with_stdin()
            .start();
        run.pid();
        run.type_line("go");
        judged(&mut run, code, &[words]);
    }
}

#[test]
fn a_trap_runs_where_the_program_gets_the_signal_as_well() {
    let stuck = binary::stuck().display();
    both(|mode| {
        let starts = |options: &[&str], trap: &str| {
            Stepdown::in_mode(mode)
                .args(options.iter().copied())
                .shell(&format!("{trap}; echo ready; {stuck} plain; true"))
                .start()
        };
        let trap = "trap 'exit 0' TERM";
        for options in [
            ["--target", "group"],
            ["--target", "tree"],
            ["--ladder", "TERM@group,KILL"],
            ["--ladder", "HUP@child:1s,TERM@tree,KILL"],
        ] {
            let words = ["has a trap for TERM", "ends on TERM"];
            judged(
                &mut starts(&options, &format!("trap '' HUP; {trap}")),
                0,
                &words,
            );
        }
        let words = [
            "is a shell, whose trap for TERM runs only once ",
            "stepdown --target group -- COMMAND",
        ];
        judged(&mut starts(&["--target", "child"], trap), 1, &words);
    });
}

/// A script that is executed has its own name.
#[test]
fn a_script_is_a_shell() {
    need!(can_be_pid1());
    let dir = tempfile::tempdir().expect("a directory");
    let script = dir.path().join("start.sh");
    let text = format!("#!/bin/sh\n{} handler\ntrue\n", binary::stuck().display());
    binary::script(&script, &text, 0o755);
    let script = script.display().to_string();
    // Its program is the shell: who it is shows below an init.
    let mut run = runs(Mode::Pid1, "/bin/sh", ["-c", &format!("exec {script}")]);
    run.says("ready");
    judged(
        &mut run,
        1,
        &["start.sh is PID 1 and a shell without a trap for TERM"],
    );
}

#[test]
fn a_shell_below_an_init_leaves_its_child_alone() {
    need!(can_be_pid1());
    let stuck = binary::stuck().display().to_string();
    let script = format!("{stuck} handler; true");
    let alone = "never gets TERM: ";
    // In its place stands what signals all, or what asks those that are left.
    let stepdown = binary::under_test().display().to_string();
    judged(
        &mut runs(
            Mode::Pid1,
            binary::under_test(),
            ["--", "sh", "-c", &script],
        ),
        0,
        &["will stop", "sends TERM to its child", "handles TERM"],
    );
    let left = ["--left=leave", "--", "sh", "-c", &script];
    judged(
        &mut runs(Mode::Pid1, &stepdown, left),
        1,
        &[
            alone,
            ", a shell above it, ends on TERM and does not pass it on",
        ],
    );
    for (init, before, code, words) in [
        ("/usr/bin/tini", &["--"][..], 1, alone),
        ("/usr/bin/tini", &["-g", "--"], 0, "to its child's group"),
        ("/usr/bin/dumb-init", &["--"], 0, "to its child's group"),
        ("/usr/bin/dumb-init", &["-c", "--"], 1, alone),
        ("/usr/bin/catatonit", &["--"], 1, alone),
    ] {
        if binary::installed(init).is_err() {
            skip_part(format!("{init} is not installed"));
            continue;
        }
        let line = before.iter().copied().chain(["sh", "-c", &script]);
        judged(&mut runs(Mode::Pid1, init, line), code, &[words]);
    }
    // On a machine it runs on.
    let mut run = runs(Mode::Ordinary, "/bin/sh", ["-c", &script]);
    judged(&mut run, 1, &[alone, "it goes on running"]);
}

#[test]
fn an_ignored_signal_is_inherited() {
    let stuck = binary::stuck().display();
    let script = format!("trap '' TERM; {stuck} plain; true");
    let mut run = runs(Mode::Ordinary, "/bin/sh", ["-c", &script]);
    judged(
        &mut run,
        1,
        &["sh ignores TERM", "remove what makes it ignore TERM"],
    );
    let nohup = format!("exec nohup {stuck} plain");
    let mut run = runs(Mode::Ordinary, "/bin/sh", ["-c", &nohup]);
    let pid = run.pid().to_string();
    answers(&["--signal", "HUP", &pid], 1, &["ignores HUP"]);
    // Its default action ends nobody, and no trap is to be removed.
    let words = [
        "has no handler for WINCH, which does nothing by default",
        "way out: choose another stop signal (STOPSIGNAL SIGTERM",
    ];
    answers(&["--signal", "WINCH", &pid], 1, &words);
    answers(&[&pid], 0, &["ends on TERM"]);
    let script = format!(
        "trap '' TERM; {} -- {stuck} plain",
        binary::under_test().display()
    );
    let mut run = runs(
        Mode::Ordinary,
        "/bin/sh",
        ["-c", &format!("exec sh -c \"{script}\"")],
    );
    judged(&mut run, 1, &["ignores TERM"]);
}

#[test]
fn kill_is_no_signal_that_a_stop_begins_with() {
    let mut run = stuck(Mode::Ordinary, "handler");
    let pid = run.pid().to_string();
    doctor(&["--signal", "KILL", &pid]).code(125).logged(&[
        "--signal: KILL reaches no program, so nothing is stopped in order",
        "name the signal that asks for the end, for example TERM",
    ]);
}

#[test]
fn stopped_and_traced() {
    let mut run = stuck(Mode::Ordinary, "handler");
    let pid = run.pid();
    crate::support::proc::kill(pid, libc::SIGSTOP).expect("it runs");
    let way_out = format!("kill -CONT {pid}");
    judged(
        &mut run,
        1,
        &["is stopped by job control: state T", &way_out],
    );
    crate::support::proc::kill(pid, libc::SIGCONT).expect("it is stopped");
    judged(&mut run, 0, &["handles TERM"]);
    need!(binary::installed("/usr/bin/strace"));
    let strace = runs(
        Mode::Ordinary,
        "/usr/bin/strace",
        ["-o", "/dev/null", "-p", &pid.to_string()],
    );
    judged(
        &mut run,
        0,
        &["is traced by ", " strace, which gets TERM first"],
    );
    drop(strace);
}

#[test]
fn the_plan_of_a_stepdown_is_read_and_measured() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = dir.path().join("stepdown.toml");
    fs::write(&config, "grace = '20s'\n").expect("a file of ours");
    let start = |options: &[&str]| {
        let mut run = Stepdown::new()
            .args(options)
            .env("STEPDOWN_SWEEP_GRACE", "3s")
            .dir(dir.path())
            .child([binary::stuck().as_os_str(), "handler".as_ref()])
            .start();
        run.says("ready");
        run
    };
    // 20 s from the file, and 3 s from a variable.
    let mut run = start(&["--config", "stepdown.toml"]);
    let pid = run.pid().to_string();
    let worst = "may take 23.0 s to stop";
    answers(
        &["--grace", "10s", &pid],
        0,
        &[worst, "the platform sends KILL after 10.0 s"],
    );
    let fits = answers(&["--grace", "30s", &pid], 0, &["will stop"]);
    assert!(!fits.stdout.contains("may take"), "{}", fits.told());
    let mut run = start(&["--drain-port", "9", "--drain-delay", "15s"]);
    let pid = run.pid().to_string();
    answers(
        &["--grace", "10s", &pid],
        1,
        &["needs 15.0 s to stop even if its child ends at once"],
    );
    // Nothing says how long the child has, but KILL comes before it is asked.
    let mut run = start(&["--no-kill", "--drain-port", "9"]);
    let pid = run.pid().to_string();
    let before = "may take 30.0 s to stop (when hooks and requests use up their time, before the child is asked to end)";
    answers(&["--grace", "10s", &pid], 0, &[before]);
    let fits = answers(&["--grace", "40s", &pid], 0, &["will stop"]);
    assert!(!fits.stdout.contains("may take"), "{}", fits.told());
    // Another signal than those of --stop-on.
    let mut run = start(&["--stop-on", "INT", "--pre-stop", "true"]);
    let told = judged(
        &mut run,
        0,
        &["only forwards TERM, and does not run its stop sequence, which INT begins"],
    );
    assert!(
        told.stdout.contains("--stop-on INT,TERM"),
        "{}",
        told.told()
    );
    // One on which another child follows.
    let mut run = start(&["--restart-on", "HUP"]);
    let pid = run.pid().to_string();
    answers(
        &["--signal", "HUP", &pid],
        1,
        &[
            "stops its child on HUP and starts it again (--restart-on), and does not stop itself",
            "as the stop signal (STOPSIGNAL, stop_signal)",
            "or: take HUP out of --restart-on",
        ],
    );
    answers(&[&pid], 0, &["sends TERM to its child"]);
    let listen = format!("127.0.0.1:{}", free_port());
    let mut run = start(&[
        "--replace-on=USR2",
        "--ready-when=exec:true",
        "--listen",
        &listen,
    ]);
    let pid = run.pid().to_string();
    answers(
        &["--signal", "USR2", &pid],
        1,
        &[
            "replaces its child on USR2 (--replace-on), and does not stop itself",
            "or: take USR2 out of --replace-on",
        ],
    );
    answers(&[&pid], 0, &["sends TERM to its child"]);
    let mut run = start(&["--rewrite", "TERM:0"]);
    judged(&mut run, 1, &["passes TERM on to nobody"]);
    // What it has read may have gone.
    let mut run = start(&["--config", "stepdown.toml"]);
    fs::remove_file(&config).expect("a file of ours");
    judged(
        &mut run,
        125,
        &["is an init, and what it will do does not show", "--config"],
    );
}

#[test]
fn no_time_at_all_is_told() {
    let mut run = stuck(Mode::Ordinary, "handler");
    let pid = run.pid().to_string();
    let told = "has no time to stop: the platform sends KILL at once";
    answers(&["--grace", "0", &pid], 0, &[told, "give it more time"]);
    let fits = answers(&["--grace", "1s", &pid], 0, &["will stop"]);
    assert!(!fits.stdout.contains("warning"), "{}", fits.told());
}

#[test]
fn two_inits_in_a_row() {
    need!(can_be_pid1());
    let stepdown = binary::under_test().display().to_string();
    let stuck = binary::stuck().display().to_string();
    let line = ["--", &stepdown, "--", &stuck, "handler"];
    let told = judged(
        &mut runs(Mode::Pid1, &stepdown, line),
        0,
        &["is an init behind another init, ", "leave one of them out"],
    );
    assert!(told.stdout.contains("(PID 1) stepdown"), "{}", told.told());
}

#[test]
fn by_name_each_of_several_and_by_what_is_no_name() {
    let dir = tempfile::tempdir().expect("a directory");
    let name = format!("s{}", std::process::id());
    let program = dir.path().join(&name);
    binary::install(binary::stuck(), &program, 0o755);
    let mut one = runs(Mode::Ordinary, &program, ["handler"]);
    one.says("ready");
    answers(&[&name], 0, &[&format!("{name}: will stop (on TERM)")]);
    let mut other = runs(Mode::Ordinary, &program, ["blocks"]);
    other.says("ready");
    let told = answers(
        &[&name],
        1,
        &["will stop (on TERM)", "will not stop cleanly (on TERM)"],
    );
    for pid in [one.pid(), other.pid()] {
        assert!(
            told.stdout.contains(&format!("{name} ({pid})")),
            "{}",
            told.told()
        );
    }
    // A child of one that is called so as well is part of it.
    let mut master = runs(Mode::Ordinary, &program, ["master"]);
    master.says("ready");
    let pid = master.pid().to_string();
    let told = answers(&[&name], 1, &[&format!("{name} ({pid})")]);
    assert_eq!(
        told.stdout.matches(" (on TERM)\n").count(),
        3,
        "{}",
        told.told()
    );
    let twice = answers(&[&pid, &pid], 0, &["will stop"]);
    assert_eq!(twice.stdout.matches("will stop").count(), 1);

    let none = doctor(&["no-such-program-anywhere"]);
    none.code(125)
        .logged(&["no container and no process of this name"]);
    // One that is not there does not hide what is wrong with another.
    doctor(&["no-such-program-anywhere", &other.pid().to_string()]).code(1);
    doctor(&["2147483647"])
        .code(125)
        .logged(&["no such process"]);
    doctor(&[""]).code(125).logged(&["an empty name"]);
    for (words, place) in [
        (["--signal", "TREM", "1"], "stepdown: --signal"),
        (
            ["--signal", "TSTP", "1"],
            "stepdown: --signal: TSTP does not end a process",
        ),
        (["--grace", "soon", "1"], "stepdown: --grace"),
    ] {
        doctor(&words).code(125).logged(&[place]);
    }
}

#[test]
fn without_an_argument_it_needs_a_container() {
    // PROC_PID_INIT_INO of the kernel (include/linux/proc_ns.h).
    let namespace = fs::read_link("/proc/self/ns/pid").expect("/proc");
    if namespace.as_os_str() == "pid:[4026531836]" {
        let alone = doctor::<&str>(&[]);
        alone
            .code(125)
            .logged(&["this is no container", "stepdown doctor web"]);
    } else {
        skip_part("without a container: these tests run in a PID namespace of their own");
    }
    need!(can_be_pid1());
    let mut run = stuck(Mode::Pid1, "plain");
    let pid = run.pid();
    let inside = Command::new("nsenter")
        .args(["-t", &pid.to_string(), "-p", "-m"])
        .arg(binary::under_test())
        .arg("doctor")
        .output()
        .expect("util-linux");
    let told = String::from_utf8_lossy(&inside.stdout);
    assert_eq!(inside.status.code(), Some(1), "{told}");
    assert!(told.starts_with("this container: will not stop"), "{told}");
    assert!(
        told.contains("1 stuck is PID 1 and has no handler"),
        "{told}"
    );
    // It does not look at itself.
    assert!(!told.contains("doctor"), "{told}");
}

#[test]
fn it_sends_nothing_and_changes_nothing() {
    need!(binary::installed("/usr/bin/strace"));
    let dir = tempfile::tempdir().expect("a directory");
    let trace = dir.path().join("trace");
    let mut run = stuck(Mode::Ordinary, "sigwait");
    let pid = run.pid().to_string();
    let traced = Command::new("strace")
        .arg("-f")
        .arg("-o")
        .arg(&trace)
        .arg(binary::under_test())
        .args(["doctor", &pid])
        .output()
        .expect("strace");
    assert!(traced.status.success(), "{traced:?}");
    let told = fs::read_to_string(trace).expect("just written");
    let calls = told.lines().filter(|line| {
        let acts = [
            "kill(",
            "tgkill(",
            "pidfd_send_signal(",
            "ptrace(",
            "unlink",
            "rename",
        ];
        let writes = ["O_WRONLY", "O_RDWR", "O_CREAT"];
        acts.iter().any(|act| line.contains(act))
            || line.contains("open") && writes.iter().any(|flag| line.contains(flag))
    });
    let calls: Vec<&str> = calls.collect();
    assert!(calls.is_empty(), "{calls:#?}");
    // The test itself: what it reads is seen.
    assert!(told.contains(&format!("/proc/{pid}/status")), "{told}");
}

/// As another user /proc shows neither descriptors nor what threads wait in.
#[test]
fn what_cannot_be_seen_is_said() {
    need!(can_be_pid1());
    if !nix::unistd::geteuid().is_root() {
        return crate::support::skipped::skip("not root: cannot become another user");
    }
    let ask = |pid: Pid| {
        let mut command = Command::new(binary::for_everybody());
        command
            .args(["doctor", &pid.to_string()])
            .uid(65534)
            .gid(65534);
        let asked = command.output().expect("the binary under test");
        let told = String::from_utf8_lossy(&asked.stdout).into_owned();
        (asked.status.code(), told)
    };
    let (code, told) = ask(stuck(Mode::Ordinary, "signalfd").pid());
    assert_eq!(code, Some(125), "{told}");
    assert!(
        told.contains("blocks TERM in every thread; whether it takes it by"),
        "{told}"
    );
    assert!(
        told.contains("not seen: descriptors, ports and what threads wait for of "),
        "{told}"
    );
    let (code, told) = ask(stuck(Mode::Ordinary, "handler").pid());
    assert_eq!(code, Some(0), "{told}");
    let mut run = Stepdown::new()
        .child([binary::stuck().as_os_str(), "handler".as_ref()])
        .start();
    run.says("ready");
    let (code, told) = ask(run.pid());
    assert_eq!(code, Some(125), "{told}");
    assert!(told.contains("its environment does not show"), "{told}");
    assert!(told.contains("ask as root"), "{told}");
}

/// As in a container, where root has few capabilities.
#[test]
fn what_root_cannot_see_needs_a_capability() {
    if !nix::unistd::geteuid().is_root() {
        return crate::support::skipped::skip("not root: cannot leave out a capability");
    }
    let other = "exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$0\" signalfd";
    let stuck = binary::stuck().display().to_string();
    let mut other = runs(Mode::Ordinary, "/bin/sh", ["-c", other, &stuck]);
    other.says("ready");
    let asked = Stepdown::new()
        .program("/usr/bin/setpriv")
        .args(["--bounding-set", "-sys_ptrace", "--"])
        .args([binary::under_test().as_os_str(), "doctor".as_ref()])
        .args([&other.pid().to_string()])
        .run();
    asked.code(125);
    let way_out =
        "with the capability SYS_PTRACE (docker run --cap-add SYS_PTRACE), or as their user";
    for told in ["way out: ask again ", ": ask "] {
        let told = format!("{told}{way_out}");
        assert!(asked.stdout.contains(&told), "{told}: {}", asked.told());
    }
    assert!(!asked.stdout.contains("as root"), "{}", asked.told());
}

/// With hidepid other users' processes are not in /proc at all (proc(5)).
#[test]
fn what_proc_hides_is_said() {
    if !nix::unistd::geteuid().is_root() {
        return crate::support::skipped::skip("not root: cannot mount /proc");
    }
    let ask = |target: &str| {
        let script = "mount -t proc -o hidepid=2 proc /proc && \
                      exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$0\" doctor \"$1\"";
        Stepdown::new()
            .program("/usr/bin/unshare")
            .args(["-m", "--", "sh", "-c", script])
            .args([binary::for_everybody().as_os_str(), target.as_ref()])
            .run()
    };
    // Other stories run it under its own name, as that user among others.
    let dir = tempfile::tempdir().expect("a temporary directory");
    let program = dir.path().join("not-to-be-seen");
    binary::install(binary::stuck(), &program, 0o755);
    let mut other = runs(Mode::Ordinary, &program, ["handler"]);
    other.says("ready");
    for target in [&*other.pid().to_string(), "not-to-be-seen"] {
        let asked = ask(target);
        asked.code(125);
        asked.logged(&["or /proc hides it (hidepid): ask as root"]);
    }
    // Of its own processes it sees all but who is below them under another user.
    let own = "exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$0\" handler";
    let mut own = runs(
        Mode::Ordinary,
        "/bin/sh",
        ["-c", own, &binary::stuck().display().to_string()],
    );
    own.says("ready");
    let asked = ask(&own.pid().to_string());
    asked.code(0);
    assert!(
        asked.stdout.contains(
            "not seen: processes of other users, which /proc hides (hidepid): ask as root"
        ),
        "{}",
        asked.told()
    );
}

#[test]
fn colours_are_for_terminals() {
    let mut run = stuck(Mode::Ordinary, "blocks");
    let pid = run.pid().to_string();
    let plain = answers(&[&pid], 1, &["does not stop"]);
    assert!(!plain.stdout.contains('\u{1b}'), "{}", plain.told());
    for (variables, coloured) in [
        (&["TERM=xterm"][..], true),
        (&["TERM=xterm", "NO_COLOR=1"], false),
        (&["TERM=dumb"], false),
    ] {
        let mut command = Command::new("env");
        command.args(["-u", "NO_COLOR"]).args(variables);
        command.arg(binary::under_test()).args(["doctor", &pid]);
        let mut pty = Pty::running(&mut command);
        pty.shows("way out:");
        let told = pty.screen();
        assert_eq!(told.contains("\u{1b}[1;31m"), coloured, "{told}");
        pty.ends();
    }
}

#[test]
fn json_is_as_its_schema_says() {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/doctor.schema.json");
    let schema: Value =
        serde_json::from_str(&fs::read_to_string(schema).expect("our own file")).expect("JSON");
    let mut run = stuck(Mode::Ordinary, "zombies");
    let zombies = run.pid().to_string();
    let mut run2 = stuck(Mode::Ordinary, "blocks");
    let blocks = run2.pid().to_string();
    for (words, code, verdict) in [
        (&["--json", &zombies][..], 0, "stops"),
        (
            &[
                "--json",
                "--grace",
                "7s",
                &zombies,
                &blocks,
                "no-such-program",
            ],
            1,
            "stops-not",
        ),
        (&["--json", "no-such-program"], 125, "unclear"),
    ] {
        let ended = answers(words, code, &["stepdown-doctor/1"]);
        let told: Value = serde_json::from_str(&ended.stdout).expect("JSON");
        schema::holds(&schema, &schema, &told, "$");
        assert_eq!(told["verdict"], verdict);
    }
    let ended = answers(&["--json", "--grace=7s", &blocks], 1, &["blocked"]);
    let told: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    let target = &told["targets"][0];
    assert_eq!(target["grace_ms"], 7000);
    assert_eq!(target["processes"][0]["fate"], "stops-not");
    assert_eq!(target["findings"][0]["level"], "error");
    // The test itself: it sees what is missing, what is more, and what is no word of an enumeration.
    let mut wrong = told.clone();
    wrong["targets"][0]["findings"][0]["kind"] = "other".into();
    assert!(schema::error(&schema, &schema, &wrong, "$").is_some());
    let mut wrong = told.clone();
    wrong["more"] = 1.into();
    assert!(schema::error(&schema, &schema, &wrong, "$").is_some());
    let mut wrong = told;
    wrong.as_object_mut().expect("an object").remove("failed");
    assert!(schema::error(&schema, &schema, &wrong, "$").is_some());
}

/// As much of JSON Schema as ours uses.
mod schema {
    use serde_json::Value;

    #[track_caller]
    pub(super) fn holds(root: &Value, schema: &Value, value: &Value, at: &str) {
        assert_eq!(error(root, schema, value, at), None, "in {value:#}");
    }

    pub(super) fn error(root: &Value, schema: &Value, value: &Value, at: &str) -> Option<String> {
        if let Some(reference) = schema["$ref"].as_str() {
            let target = root.pointer(reference.trim_start_matches('#'));
            return error(root, target.expect("a definition"), value, at);
        }
        if let Some(words) = schema["enum"].as_array()
            && !words.contains(value)
        {
            return Some(format!("{at}: {value} is none of {words:?}"));
        }
        if let Some(constant) = schema.get("const")
            && constant != value
        {
            return Some(format!("{at}: {value} is not {constant}"));
        }
        let types: Vec<&str> = match &schema["type"] {
            Value::String(name) => vec![name],
            Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let is = |name: &&str| match *name {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "integer" => value.is_i64() || value.is_u64(),
            "boolean" => value.is_boolean(),
            "null" => value.is_null(),
            other => panic!("{other} is not known here"),
        };
        if !types.is_empty() && !types.iter().any(is) {
            return Some(format!("{at}: {value} is no {types:?}"));
        }
        if let Some(items) = value.as_array() {
            let mut items = items.iter().enumerate();
            return items.find_map(|(index, item)| {
                error(root, &schema["items"], item, &format!("{at}[{index}]"))
            });
        }
        let (Some(object), Some(properties)) =
            (value.as_object(), schema["properties"].as_object())
        else {
            return None;
        };
        let mut required = schema["required"].as_array().into_iter().flatten();
        if let Some(missing) =
            required.find(|name| !object.contains_key(name.as_str().unwrap_or("")))
        {
            return Some(format!("{at}: {missing} is missing"));
        }
        object.iter().find_map(|(name, value)| {
            let at = format!("{at}.{name}");
            match properties.get(name) {
                Some(schema) => error(root, schema, value, &at),
                None => Some(format!("{at} is not in the schema")),
            }
        })
    }
}
