//! In the place of tini, dumb-init and catatonit: the same command line, the same result.
//!
//! Where a peer is installed it runs beside stepdown in the same story, so that the story itself is
//! proven by it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::libc;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::support::binary::{actor, installed, under_test};
use crate::support::ended::Ended;
use crate::support::skipped::skip_part;
use crate::support::stepdown::can_be_pid1;
use crate::support::{Mode, Stepdown, both, holds_within, need, proc, wait_until};

/// A tool whose place is taken.
#[derive(Clone, Copy)]
struct Peer {
    name: &'static str,
    path: &'static str,
}

const TINI: Peer = Peer {
    name: "tini",
    path: "/usr/bin/tini",
};
const DOCKER_INIT: Peer = Peer {
    name: "docker-init",
    path: "/usr/bin/docker-init",
};
const DUMB_INIT: Peer = Peer {
    name: "dumb-init",
    path: "/usr/bin/dumb-init",
};
const CATATONIT: Peer = Peer {
    name: "catatonit",
    path: "/usr/bin/catatonit",
};

impl Peer {
    /// stepdown under the peer's name, then the peer itself where it is installed.
    fn programs(self) -> Vec<PathBuf> {
        let mut programs = vec![link(self.name)];
        match installed(self.path) {
            Ok(()) => programs.push(PathBuf::from(self.path)),
            Err(why) => skip_part(format!("the comparison with {}: {why}", self.name)),
        }
        programs
    }

    fn ours(self) -> PathBuf {
        link(self.name)
    }
}

/// A link with this name to the binary under test.
fn link(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("links");
    fs::create_dir_all(&directory).expect("a directory of our own");
    let link = directory.join(name);
    let target = under_test();
    if fs::read_link(&link).ok().as_ref() != Some(&target) {
        // Under another name first: another story may be looking.
        let fresh = directory.join(format!("{name}.{:?}", std::thread::current().id()));
        let _ = fs::remove_file(&fresh);
        symlink(&target, &fresh).expect("a directory of our own");
        fs::rename(&fresh, &link).expect("a directory of our own");
    }
    link
}

fn is_ours(program: &Path) -> bool {
    program.starts_with(env!("CARGO_TARGET_TMPDIR"))
}

type Variables = &'static [(&'static str, &'static str)];

fn prepared(mode: Mode, program: &Path, args: &[&str], variables: Variables) -> Stepdown {
    let run = Stepdown::in_mode(mode).program(program).args(args.to_vec());
    variables
        .iter()
        .fold(run, |run, (key, value)| run.env(key, value))
}

fn run(program: &Path, args: &[&str], variables: Variables) -> Ended {
    prepared(Mode::Ordinary, program, args, variables).run()
}

#[test]
fn the_same_command_line_has_the_same_exit_status() {
    let lines: [(Peer, &[&str], Variables, i32); 58] = [
        (TINI, &["--", "sh", "-c", "exit 9"], &[], 9),
        (TINI, &["true"], &[], 0),
        (TINI, &["-gvv", "true"], &[], 0),
        (TINI, &["-vvv", "-s", "-w", "true"], &[], 0),
        (TINI, &["-e", "143", "--", "sh", "-c", "exit 143"], &[], 0),
        (
            TINI,
            &["-e143", "-e", "7", "--", "sh", "-c", "exit 7"],
            &[],
            0,
        ),
        (TINI, &["-ge", "3", "--", "sh", "-c", "exit 3"], &[], 0),
        (TINI, &["-e", "", "true"], &[], 0),
        (TINI, &["-e", " 5", "--", "sh", "-c", "exit 5"], &[], 0),
        (TINI, &["-e", "256", "true"], &[], 1),
        (TINI, &["-e", "-1", "true"], &[], 1),
        (TINI, &["-e", "5x", "true"], &[], 1),
        (TINI, &["-e"], &[], 1),
        (TINI, &["-p", "SIGTERM", "true"], &[], 0),
        (TINI, &["-pSIGKILL", "true"], &[], 0),
        (TINI, &["-p", "TERM", "true"], &[], 1),
        (TINI, &["-p", "9", "true"], &[], 1),
        (TINI, &["-p", "SIGNONE", "true"], &[], 1),
        (TINI, &["-h"], &[], 0),
        (TINI, &["-gh", "-x"], &[], 0),
        (TINI, &["-l"], &[], 0),
        (TINI, &["-x", "true"], &[], 1),
        (TINI, &["--verbose", "true"], &[], 1),
        (TINI, &["--version"], &[], 0),
        (TINI, &["--version", "true"], &[], 1),
        (TINI, &["--", "--version"], &[], 127),
        (TINI, &[], &[], 1),
        (TINI, &["--"], &[], 1),
        (TINI, &["no-such-program"], &[], 127),
        (TINI, &["/etc"], &[], 126),
        (TINI, &["-e", "127", "no-such-program"], &[], 0),
        (TINI, &["-e", "126", "/etc"], &[], 0),
        (TINI, &["/etc/passwd"], &[], 126),
        // glibc's getopt looks for options behind the command, too.
        (TINI, &["sh", "-e", "3", "--", "-c", "exit 3"], &[], 0),
        (TINI, &["sh", "--", "-c", "exit 4"], &[], 4),
        (TINI, &["true"], &[("TINI_SUBREAPER", "")], 0),
        (TINI, &["true"], &[("TINI_VERBOSITY", "nonsense")], 0),
        (DOCKER_INIT, &["--", "sh", "-c", "kill -9 $$"], &[], 137),
        (
            DOCKER_INIT,
            &["-s", "--", "sh", "-c", "kill -15 $$"],
            &[],
            143,
        ),
        (
            DOCKER_INIT,
            &["-e", "143", "--", "sh", "-c", "kill $$"],
            &[],
            0,
        ),
        (DUMB_INIT, &["sh", "-c", "exit 9"], &[], 9),
        (DUMB_INIT, &["--", "sh", "-c", "exit 9"], &[], 9),
        (DUMB_INIT, &["-cv", "sh", "-c", "kill -9 $$"], &[], 137),
        (DUMB_INIT, &["--single", "--verb", "true"], &[], 0),
        (DUMB_INIT, &["--ver", "true"], &[], 1),
        (DUMB_INIT, &["--rewrite=15:3", "sh", "-c", "exit 5"], &[], 5),
        (
            DUMB_INIT,
            &["-r", "15:3", "-r10:0", "--rewrite", "1:2", "true"],
            &[],
            0,
        ),
        (DUMB_INIT, &["-r", "15:32", "true"], &[], 1),
        (DUMB_INIT, &["-r", "0:15", "true"], &[], 1),
        (DUMB_INIT, &["-r", "TERM:INT", "true"], &[], 1),
        (DUMB_INIT, &["no-such-program"], &[], 2),
        (DUMB_INIT, &["/etc"], &[], 2),
        (DUMB_INIT, &[], &[], 1),
        (DUMB_INIT, &["true"], &[("DUMB_INIT_DEBUG", "1")], 0),
        (CATATONIT, &["-g", "--", "sh", "-c", "exit 9"], &[], 9),
        (CATATONIT, &["no-such-program"], &[], 1),
        (CATATONIT, &["-x"], &[], 1),
        (CATATONIT, &["true"], &[("CATATONIT_LOG", "debug")], 1),
    ];
    for (peer, line, variables, code) in lines {
        for program in peer.programs() {
            let ended = run(&program, line, variables);
            let status = ended.status.code();
            let told = ended.told();
            assert_eq!(
                status,
                Some(code),
                "{program:?} {line:?} {variables:?}\n{told}"
            );
        }
    }
}

#[test]
fn a_line_that_only_a_musl_build_of_tini_understands_is_understood() {
    let ended = run(&TINI.ours(), &["sh", "-c", "exit 3"], &[]);
    ended.code(3).was_silent();
    // And under its own rules glibc's build can be had, too.
    let variables = &[("POSIXLY_CORRECT", "1")];
    for program in TINI.programs() {
        run(&program, &["sh", "-c", "exit 3"], variables).code(3);
    }
}

#[test]
fn version_license_and_help_go_where_the_peer_writes_them() {
    let lines: [(Peer, &[&str], &str, bool); 9] = [
        (TINI, &["--version"], "tini version ", true),
        (DOCKER_INIT, &["--version"], "tini version ", true),
        (CATATONIT, &["--version"], "tini version ", true),
        (CATATONIT, &["-V"], "tini version ", true),
        (DUMB_INIT, &["--version"], "dumb-init v", false),
        (DUMB_INIT, &["-V"], "dumb-init v", false),
        (TINI, &["-l"], "ermission", true),
        (TINI, &["-h"], "-e ", true),
        (DUMB_INIT, &["-h"], "--rewrite", false),
    ];
    for (peer, line, part, on_stdout) in lines {
        for program in peer.programs() {
            let ended = run(&program, line, &[]);
            let (with, without) = if on_stdout {
                (&ended.stdout, &ended.stderr)
            } else {
                (&ended.stderr, &ended.stdout)
            };
            let told = ended.told();
            assert!(with.contains(part), "{program:?} {line:?}\n{told}");
            assert!(without.is_empty(), "{program:?} {line:?}\n{told}");
        }
    }
}

#[test]
fn what_docker_parses_is_one_line_with_one_version() {
    for peer in [TINI, DOCKER_INIT, CATATONIT] {
        let ended = run(&peer.ours(), &["--version"], &[]);
        let version = ended
            .stdout
            .strip_prefix("tini version ")
            .expect("tini's words");
        assert_eq!(version.lines().count(), 1, "{version}");
        assert!(version.starts_with(env!("CARGO_PKG_VERSION")), "{version}");
    }
}

/// Sends the signals one after the other, the last of which ends the child; returns what it said.
fn forwarded(run: Stepdown, signals: &[i32]) -> (Option<i32>, Vec<String>) {
    let mut run = run.start();
    run.says("ready");
    let (init, child) = (run.pid(), run.children()[0].pid);
    let is_idle = |pid| {
        let pending = proc::status(pid, "ShdPnd").unwrap_or_default();
        let state = proc::process(pid).map(|process| process.state);
        pending.trim_start_matches('0').is_empty() && state == Some('S')
    };
    for &signal in signals {
        // One at a time: of two that are pending the kernel gives out the smaller one first.
        wait_until("both wait for signals", || is_idle(init) && is_idle(child));
        run.signal_number(signal);
    }
    let ended = run.wait();
    let lines = ended.stdout.lines().map(str::to_owned).collect();
    (ended.status.code(), lines)
}

#[test]
fn the_same_signals_are_forwarded_dropped_and_rewritten() {
    let witness = crate::support::binary::witness()
        .to_str()
        .expect("our own path");
    let ends = ["--", witness, "listen", "15:115", "31:131"];
    const ALL: &[i32] = &[1, 2, 3, 10, 12, 13, 14, 16, 21, 22, 23, 28, 29, 30, 15];
    let cases: [(Peer, &[&str], &[i32]); 7] = [
        (TINI, &[], ALL),
        (TINI, &["-g"], &[10, 20, 36, 64, 15]),
        (DOCKER_INIT, &["-s"], &[3, 2, 1, 15]),
        (CATATONIT, &[], &[1, 2, 3, 10, 12, 20, 21, 22, 28, 40, 15]),
        (DUMB_INIT, &["-r", "15:31"], &[1, 2, 3, 10, 12, 28, 15]),
        (
            DUMB_INIT,
            &[
                "-r",
                "2:0",
                "-r",
                "10:12",
                "-r",
                "10:1",
                "--rewrite",
                "3:30",
            ],
            &[2, 10, 3, 15],
        ),
        (DUMB_INIT, &["-c", "-r", "1:0"], &[1, 20, 21, 15]),
    ];
    for (peer, options, signals) in cases {
        both(|mode| {
            let args: Vec<&str> = options.iter().chain(&ends).copied().collect();
            let results: Vec<_> = peer
                .programs()
                .iter()
                .filter(|program| {
                    // dumb-init stops itself with TSTP and its like, which nobody here continues.
                    let stops = signals.iter().any(|signal| [20, 21].contains(signal));
                    is_ours(program) || peer.name != "dumb-init" || !stops || mode == Mode::Pid1
                })
                .map(|program| forwarded(prepared(mode, program, &args, &[]), signals))
                .collect();
            assert!(results[0].1.len() > 1, "{results:?}");
            for result in &results {
                assert_eq!(*result, results[0], "{} {args:?} {mode:?}", peer.name);
            }
        });
    }
}

#[test]
fn signals_of_a_fault_are_not_taken_from_outside() {
    need!(can_be_pid1());
    let witness = crate::support::binary::witness()
        .to_str()
        .expect("our own path");
    let args = ["--", witness, "listen", "15:115"];
    for peer in [TINI, CATATONIT] {
        for program in peer.programs() {
            let run = prepared(Mode::Pid1, &program, &args, &[]);
            let (code, lines) = forwarded(run, &[4, 5, 6, 7, 8, 11, 31, 10, 15]);
            assert_eq!(code, Some(115));
            assert_eq!(lines, ["ready", "got 10", "got 15"], "{program:?}");
        }
    }
}

#[test]
fn the_group_is_signalled_where_the_peer_signals_it() {
    let witness = crate::support::binary::witness()
        .to_str()
        .expect("our own path");
    let lines: [(Peer, &[&str], Variables, bool); 9] = [
        (TINI, &[], &[], false),
        (TINI, &["-g"], &[], true),
        (TINI, &[], &[("TINI_KILL_PROCESS_GROUP", "")], true),
        (DUMB_INIT, &[], &[], true),
        (DUMB_INIT, &["-c"], &[], false),
        (DUMB_INIT, &[], &[("DUMB_INIT_SETSID", "0")], false),
        (DUMB_INIT, &[], &[("DUMB_INIT_SETSID", "no")], true),
        (CATATONIT, &[], &[], false),
        (CATATONIT, &["-g"], &[], true),
    ];
    for (peer, options, variables, group) in lines {
        for program in peer.programs() {
            let family = ["--", witness, "family", "15:9"];
            let args: Vec<&str> = options.iter().chain(&family).copied().collect();
            reaches(prepared(Mode::Ordinary, &program, &args, variables), group);
        }
    }
}

/// Whether USR1 reaches a member of the child's group, too; then ends the family.
#[track_caller]
fn reaches(run: Stepdown, group: bool) {
    let mut run = run.start();
    run.says("ready");
    run.signal(Signal::SIGUSR1).says("main got 10");
    if group {
        run.says("member got 10");
    }
    run.signal(Signal::SIGTERM);
    let ended = run.wait();
    ended.code(9).never_said("outsider got 10");
    if !group {
        ended.never_said("member got 10");
    }
}

#[test]
fn their_flags_have_their_effect_under_our_own_name() {
    let stepdown = under_test();
    let witness = crate::support::binary::witness()
        .to_str()
        .expect("our own path");
    let lines: [(&[&str], Variables, bool); 10] = [
        (&[], &[], false),
        (&["-g"], &[], true),
        (&["-gvs"], &[], true),
        (&["-g", "-c"], &[], false),
        (&["-c", "-g"], &[], true),
        (&["--target", "group", "-c"], &[], true),
        (&["--single-child"], &[("STEPDOWN_TARGET", "group")], false),
        (&[], &[("TINI_KILL_PROCESS_GROUP", "0")], true),
        (&["-c"], &[("TINI_KILL_PROCESS_GROUP", "1")], false),
        (
            &[],
            &[("STEPDOWN_TARGET", "group"), ("DUMB_INIT_SETSID", "0")],
            true,
        ),
    ];
    for (options, variables, group) in lines {
        let family = ["--", witness, "family", "15:9"];
        let args: Vec<&str> = options.iter().chain(&family).copied().collect();
        reaches(prepared(Mode::Ordinary, &stepdown, &args, variables), group);
    }
    run(&stepdown, &["-l"], &[]).code(0).said("MIT License");
    let version = format!("stepdown {}", env!("CARGO_PKG_VERSION"));
    run(&stepdown, &["-V"], &[]).code(0).said(&version);
    let remapped = ["-gws", "-e", "7", "-e", "TERM", "--", "sh", "-c", "exit 7"];
    run(&stepdown, &remapped, &[]).code(0).was_silent();
    let ended = Stepdown::new()
        .args(["-r", "15:0", "-r", "10:15", "--rewrite", "12:1"])
        .witness(["listen", "15:115"]);
    let (code, lines) = forwarded(ended, &[12, 10]);
    assert_eq!(
        (code, lines),
        (
            Some(115),
            vec!["ready".into(), "got 1".into(), "got 15".into()]
        )
    );
}

#[test]
fn a_line_of_tini_or_dumb_init_needs_no_other_change() {
    // Each as it stands in Dockerfiles, with the tool's name replaced by ours.
    let lines: [(&[&str], i32); 7] = [
        (&["--", "sh", "-c", "exit 5"], 5),
        (&["-g", "--", "sh", "-c", "exit 5"], 5),
        (
            &["-s", "-v", "-w", "-e", "5", "--", "sh", "-c", "exit 5"],
            0,
        ),
        (&["-p", "SIGTERM", "--", "sh", "-c", "exit 5"], 5),
        (&["-r", "15:3", "--", "sh", "-c", "exit 5"], 5),
        (
            &["--single-child", "--rewrite", "15:2", "sh", "-c", "exit 5"],
            5,
        ),
        (&["-c", "-v", "sh", "-c", "exit 5"], 5),
    ];
    for (line, code) in lines {
        run(&under_test(), line, &[]).code(code).nothing_left();
    }
}

#[test]
fn verbosity_is_told_as_the_peer_counts_it() {
    let lines: [(&[&str], Variables, bool); 8] = [
        (&["--"], &[], false),
        (&["-v", "--"], &[], false),
        (&["-vv", "--"], &[], true),
        (&["--"], &[("TINI_VERBOSITY", "3")], true),
        (&["-vvv", "--"], &[("TINI_VERBOSITY", "1")], false),
        (&["--"], &[("STEPDOWN_LOG_LEVEL", "debug")], true),
        (
            &["-vv", "--"],
            &[("STEPDOWN_QUIET", "1"), ("TINI_VERBOSITY", "3")],
            false,
        ),
        (&["--"], &[("TINI_VERBOSITY", "0")], false),
    ];
    for (line, variables, told) in lines {
        let args = [line, &["true"]].concat();
        let ended = run(&TINI.ours(), &args, variables);
        let shown = ended.told();
        assert_eq!(
            !ended.stderr.is_empty(),
            told,
            "{line:?} {variables:?}\n{shown}"
        );
    }
    let stepdown = under_test();
    run(&stepdown, &["true"], &[("TINI_VERBOSITY", "3")]).logged(&["started"]);
    run(&stepdown, &["true"], &[("DUMB_INIT_DEBUG", "1")]).logged(&["started"]);
    run(&stepdown, &["true"], &[("DUMB_INIT_DEBUG", "yes")]).was_silent();
    run(&stepdown, &["-q", "true"], &[("TINI_VERBOSITY", "3")]).was_silent();
}

#[test]
fn reaped_orphans_are_told_with_w() {
    let actor = actor().to_str().expect("our own path");
    let mut programs = TINI.programs();
    programs.push(under_test());
    for program in programs {
        for (options, told) in [(["-s", "-w"], 3), (["-s", "-s"], 0)] {
            let args = [&options[..], &["--", actor, "orphans", "3"]].concat();
            let mut run = prepared(Mode::Ordinary, &program, &args, &[]).start();
            run.says("ready");
            // tini looks once a second.
            run.logs_times("eaped", told).signal(Signal::SIGTERM);
            let ended = run.wait();
            let count = ended.stderr.matches("eaped").count();
            assert_eq!(count, told, "{program:?}\n{}", ended.told());
        }
    }
}

#[test]
fn signals_are_forwarded_again_and_again_and_nothing_escalates() {
    let script = "trap 'echo term' TERM; trap 'echo int' INT; trap 'exit 5' USR1; echo ready; \
                  while :; do sleep 0.05; done";
    for peer in [TINI, DUMB_INIT, CATATONIT] {
        both(|mode| {
            for program in peer.programs() {
                let args = ["--", "sh", "-c", script];
                let mut run = prepared(mode, &program, &args, &[]).start();
                run.says("ready");
                for (signal, name) in [(Signal::SIGTERM, "term"), (Signal::SIGINT, "int")] {
                    for times in 1..=3 {
                        run.signal(signal).says_times(name, times);
                    }
                }
                run.signal(Signal::SIGUSR1);
                let ended = run.wait();
                ended.code(5);
                if is_ours(&program) {
                    ended.never_logged("stepdown").nothing_left();
                }
            }
        });
    }
}

#[test]
fn a_trap_of_a_shell_that_waits_runs_at_once_under_dumb_init() {
    // dumb-init signals the group, so that what the shell waits for ends, too, and the trap runs. That one is
    // what says ready: a signal that comes before it is there would wait for its end.
    let script = "trap 'echo cleanup; exit 5' TERM; sh -c 'echo ready; exec sleep 1000'";
    both(|mode| {
        for program in DUMB_INIT.programs() {
            let args = ["--", "sh", "-c", script];
            let mut run = prepared(mode, &program, &args, &[]).start();
            run.says("ready").signal(Signal::SIGTERM).says("cleanup");
            run.wait().code(5);
        }
        // Under our own name a target says the same.
        let args = ["--target", "group", "--", "sh", "-c", script];
        let mut run = prepared(mode, &under_test(), &args, &[]).start();
        run.says("ready").signal(Signal::SIGTERM).says("cleanup");
        run.wait().code(5);
    });
}

#[test]
fn a_death_by_a_forwarded_signal_is_no_news() {
    // It is how `docker stop` ends most that runs under `docker run --init`.
    for peer in [TINI, DOCKER_INIT, DUMB_INIT, CATATONIT] {
        both(|mode| {
            let args = ["--", "sh", "-c", "echo ready; exec sleep 1000"];
            for signal in [Signal::SIGTERM, Signal::SIGUSR1] {
                let mut run = prepared(mode, &peer.ours(), &args, &[]).start();
                run.says("ready").signal(signal);
                run.wait().code(128 + signal as i32).was_silent();
            }
        });
    }
    // Another death is: nobody asked for it.
    let killed = ["--", "sh", "-c", "kill -9 $$"];
    run(&TINI.ours(), &killed, &[])
        .code(137)
        .logged(&["child died of KILL"]);
}

#[test]
fn stop_options_in_the_environment_make_the_stop_ours() {
    let actor = actor().to_str().expect("our own path");
    let ladder: Variables = &[("STEPDOWN_LADDER", "TERM:100ms,KILL")];
    let post_stop: Variables = &[
        ("STEPDOWN_POST_STOP", "echo told"),
        ("STEPDOWN_GRACE", "100ms"),
    ];
    for (peer, variables) in [
        (TINI, ladder),
        (DOCKER_INIT, post_stop),
        (DUMB_INIT, ladder),
        (CATATONIT, post_stop),
    ] {
        both(|mode| {
            let args = ["--", actor, "ignore-signals"];
            let mut run = prepared(mode, &peer.ours(), &args, variables).start();
            run.says("ready").signal(Signal::SIGTERM);
            let ended = run.wait();
            ended.code(137).nothing_left();
            if variables.len() > 1 {
                ended.said("told");
            }
        });
    }
}

#[test]
fn options_about_the_child_alone_leave_the_stop_alone() {
    let script =
        "trap 'echo term' TERM; trap 'exit 5' USR1; echo $KEY; while :; do sleep 0.05; done";
    let variables = &[
        ("STEPDOWN_ENV", "KEY=ready"),
        ("STEPDOWN_LOG_LEVEL", "info"),
        // They measure what nobody has asked for.
        ("STEPDOWN_HOOK_TIMEOUT", "5s"),
        ("STEPDOWN_DRAIN_TIMEOUT", "5s"),
        ("STEPDOWN_WAIT_TIMEOUT", "5s"),
        ("STEPDOWN_LIVE_EVERY", "5s"),
        ("STEPDOWN_RESTART_DELAY", "5s"),
    ];
    let args = ["--", "sh", "-c", script];
    let mut run = prepared(Mode::Ordinary, &TINI.ours(), &args, variables).start();
    run.says("ready");
    for times in 1..=2 {
        run.signal(Signal::SIGTERM).says_times("term", times);
    }
    run.signal(Signal::SIGUSR1);
    run.wait().code(5).never_logged("stopping");
}

#[test]
fn what_the_child_leaves_behind_is_swept_under_any_name() {
    let script = "setsid sleep 1000 & setsid sh -c 'sleep 1000 & wait' & echo ready; exit 3";
    for peer in [TINI, DOCKER_INIT, DUMB_INIT, CATATONIT] {
        both(|mode| {
            let args = ["--", "sh", "-c", script];
            let ended = prepared(mode, &peer.ours(), &args, &[]).run();
            ended.code(3).said("ready").was_silent().nothing_left();
        });
    }
}

#[test]
fn a_child_of_dumb_init_is_stopped_where_tstp_could_not_stop_it() {
    need!(can_be_pid1());
    let actor = actor().to_str().expect("our own path");
    for program in DUMB_INIT.programs() {
        let args = ["--", actor, "ignore-signals"];
        let mut run = prepared(Mode::Pid1, &program, &args, &[]).start();
        run.says("ready");
        let child = run.children()[0].pid;
        let state = || proc::process(child).map(|process| process.state);
        run.signal(Signal::SIGTSTP);
        wait_until("the child is stopped", || state() == Some('T'));
        // dumb-init sends itself STOP next, and the kernel drops a CONT that is pending then (sigaction(3p)).
        let init = run.pid();
        let waits = || proc::process(init).is_some_and(|process| process.state == 'S');
        wait_until("the init waits for a signal", waits);
        run.signal(Signal::SIGCONT);
        wait_until("the child goes on", || state() != Some('T'));
        // With -c the signal stays what it is, and the child ignores it.
        let args = ["-c", "--", actor, "ignore-signals"];
        let mut run = prepared(Mode::Pid1, &program, &args, &[]).start();
        run.says("ready");
        let child = run.children()[0].pid;
        run.signal(Signal::SIGTSTP);
        let stopped = || proc::process(child).is_some_and(|process| process.state == 'T');
        assert!(!holds_within(Duration::from_millis(100), stopped));
    }
}

#[test]
fn the_parents_death_is_told_as_tini_tells_it() {
    let witness = crate::support::binary::witness()
        .to_str()
        .expect("our own path");
    for program in TINI.programs() {
        for (signal, number) in [("SIGUSR1", 10), ("SIGTERM", 15)] {
            // The inner shell is the parent; the outer one stays, so that the story can go on.
            let parent = "\"$@\" & echo \"parent $$\"; wait";
            let script = format!("sh -c '{parent}' sh \"$@\" & exec sleep 1000");
            let mut run = Stepdown::new()
                .program("/bin/sh")
                .args(["-c", &script, "sh"])
                .args([program.as_os_str()])
                .args(["-s", "-p", signal, "--", witness])
                .args(["listen", "10:1", "15:1"])
                .start();
            let line = run.says_about("parent ");
            let parent = line.trim_start_matches("parent ").parse().expect("a pid");
            run.says("ready");
            proc::kill(Pid::from_raw(parent), libc::SIGKILL).expect("it waits");
            run.says(&format!("got {number}"));
            run.signal(Signal::SIGTERM);
            let mark = run.mark().clone();
            run.wait().died_of(Signal::SIGTERM);
            mark.wait_until_gone();
        }
    }
}

#[test]
fn the_pause_of_catatonit_reaps_and_ends_by_term() {
    both(|mode| {
        for program in CATATONIT.programs() {
            for signal in [Signal::SIGTERM, Signal::SIGINT] {
                let mut run = prepared(mode, &program, &["-P"], &[]).start();
                let pid = run.pid();
                // Before it blocks signals TERM would end it, and as PID 1 it would be lost. While we
                // wait the kernel shows them as not blocked; by then we have left the directory.
                wait_until("signals are blocked", || {
                    let mask = proc::status(pid, "SigBlk").unwrap_or_default();
                    let mask = u64::from_str_radix(&mask, 16).unwrap_or(0);
                    let cwd = fs::read_link(format!("/proc/{pid}/cwd"));
                    mask & (1 << (libc::SIGTERM - 1)) != 0
                        || cwd.is_ok_and(|cwd| cwd == Path::new("/"))
                });
                run.signal(Signal::SIGHUP);
                assert!(run.is_running());
                run.signal(signal);
                run.wait().code(0).was_silent();
            }
        }
    });
}

#[test]
fn every_name_of_a_tool_is_known() {
    for (name, version) in [
        ("tini", "tini version "),
        ("tini-static", "tini version "),
        ("docker-init", "tini version "),
        ("dumb-init", "dumb-init v"),
        ("catatonit", "tini version "),
    ] {
        let ended = run(&link(name), &["--version"], &[]);
        let told = format!("{}{}", ended.stdout, ended.stderr);
        assert!(told.starts_with(version), "{name}: {told}");
    }
}

#[test]
fn an_unknown_name_is_stepdown_itself() {
    for name in ["init", "entrypoint", "tini-wrapper"] {
        let ended = run(&link(name), &["--version"], &[]);
        let version = format!("stepdown {}", env!("CARGO_PKG_VERSION"));
        ended.code(0).said(&version);
    }
}
