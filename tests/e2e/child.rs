//! The child starts exactly as it would without stepdown, and stepdown keeps nothing that is its.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use nix::sys::signal::Signal;

use crate::support::skipped::skip_part;
use crate::support::{Mode, Stepdown, binary, both, emulator, wait_until};

/// Prepares a start, the same for the child alone and under stepdown.
type Prepare<'a> = &'a dyn Fn(Stepdown) -> Stepdown;

/// What the witness says about its start, but for the mark, which is each story's own, and the
/// signal for the death of a parent, which is not inherited (unshare(1) sets one for PID 1).
fn dumped(stdout: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = stdout
        .lines()
        .filter(|line| !line.starts_with("env E2E_MARK=") && !line.starts_with("pdeathsig"))
        .collect();
    assert!(lines.len() > 50, "{stdout}");
    emulator::sort_variables(&mut lines);
    lines
}

/// Starts the witness alone and under stepdown and compares what it says of itself.
#[track_caller]
fn is_the_same(mode: Mode, words: &[&OsStr], options: &[&str], prepare: Prepare<'_>) -> String {
    let bare = prepare(Stepdown::in_mode(mode))
        .program(binary::witness())
        .args(["dump"])
        .args(words)
        .run();
    let under = prepare(Stepdown::in_mode(mode))
        .args(options)
        .witness(["dump"])
        .args(words)
        .run();
    bare.code(0);
    under.code(0).was_silent();
    let (bare, with) = (dumped(&bare.stdout), dumped(&under.stdout));
    for (bare, with) in bare.iter().zip(&with) {
        assert_eq!(bare, with, "alone, and under stepdown");
    }
    assert_eq!(bare.len(), with.len());
    under.stdout.clone()
}

/// Runs a system call between fork and exec.
fn checked(result: impl Into<libc::c_long>) -> io::Result<()> {
    if result.into() < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

#[test]
fn nothing_is_different_for_the_child() {
    both(|mode| {
        is_the_same(mode, &[], &[], &|start| start);
        is_the_same(mode, &[], &["--grace", "1s", "-e", "3"], &|start| start);
    });
}

#[test]
fn the_inherited_mask_stays_signals_of_libc_included() {
    both(|mode| {
        // All, and 32, 33 and RTMIN+6 alone. KILL and STOP cannot be blocked.
        for (mask, seen) in [
            (u64::MAX, "fffffffffffbfeff"),
            (0x8180000000, "0000008180000000"),
        ] {
            let said = is_the_same(mode, &[], &[], &|start| start.blocking_mask(mask));
            // unshare(1) loses 32 and 33 from its mask.
            if mode == Mode::Ordinary {
                assert!(said.contains(&format!("blocked {seen}")), "{said}");
            }
        }
    });
}

#[test]
fn ignored_signals_stay_ignored() {
    both(|mode| {
        for signal in [1, 2, 13, 15, 17, 20, 32, 33, 64] {
            let said = is_the_same(mode, &[], &[], &|start| {
                start.prepared(move || {
                    // The kernel's own layout: handler, flags, restorer, mask. libc refuses 32.
                    let ignore = [1_u64, 0, 0, 0];
                    let null = std::ptr::null_mut::<u64>();
                    // SAFETY: the action lives through the call.
                    let set = unsafe {
                        libc::syscall(libc::SYS_rt_sigaction, signal, ignore.as_ptr(), null, 8)
                    };
                    checked(set)
                })
            });
            let ignored: Vec<&str> = said
                .lines()
                .filter(|line| line.starts_with("signal "))
                .collect();
            let wanted = format!("signal {signal} ignored 0");
            // unshare(1) wants to see its child and takes CHLD back.
            if (mode, signal) != (Mode::Pid1, libc::SIGCHLD) {
                assert!(ignored.contains(&&*wanted), "{wanted} in {ignored:?}");
            }
        }
    });
}

#[test]
fn sigpipe_is_as_inherited() {
    both(|mode| {
        let script = "(while echo late; do :; done; echo status $? >&2) | true";
        for (ignored, said) in [(false, false), (true, true)] {
            let mut start = Stepdown::in_mode(mode);
            if ignored {
                start = start.ignoring(libc::SIGPIPE);
            }
            let ended = start.shell(script).run();
            assert_eq!(ended.stderr.contains("status"), said, "{}", ended.told());
        }
    });
}

#[test]
fn children_can_be_waited_for_when_they_were_ignored_at_the_start() {
    both(|mode| {
        let ignored = || Stepdown::in_mode(mode).ignoring(libc::SIGCHLD);
        ignored().witness(["exit", "7"]).run().code(7);
        ignored().witness(["die", "15"]).run().code(143);
        let mut run = ignored()
            .args(["--pre-stop", "true", "--post-stop", "echo end"])
            .witness(["listen", "15:3"])
            .start();
        run.says("ready").signal(Signal::SIGTERM);
        run.wait()
            .code(3)
            .said("end")
            .logged(&["hook \"true\" done"]);
    });
}

/// Opens descriptors 3 to 9: files at odd places, for the child only.
fn with_descriptors(start: Stepdown, file: &File) -> Stepdown {
    let fd = file.as_raw_fd();
    start.prepared(move || {
        for wanted in 3..=9 {
            given(fd, wanted)?;
        }
        Ok(())
    })
}

/// Makes `fd` the descriptor `wanted` of the child, between fork and exec.
pub(crate) fn given(fd: i32, wanted: i32) -> io::Result<()> {
    // SAFETY: numbers only; in the forked child nobody else owns them. dup2 of a descriptor onto
    // itself would leave it to be closed by exec.
    unsafe {
        checked(libc::dup2(fd, wanted))?;
        checked(libc::fcntl(wanted, libc::F_SETFD, 0))
    }
}

#[test]
fn descriptors_reach_the_child_and_stepdown_keeps_none() {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(b"some bytes").expect("room for it");
    both(|mode| {
        let said = is_the_same(mode, &[], &[], &|start| with_descriptors(start, &file));
        for fd in 3..=9 {
            assert!(said.contains(&format!("\nfd {fd} flags 0 ")), "{said}");
        }
        for options in [
            &[][..],
            &["--post-stop", "true"],
            &["--ladder", "stdin=stop:50ms,TERM"],
        ] {
            let mut run = with_descriptors(Stepdown::in_mode(mode), &file)
                .args(options)
                .witness(["listen", "15:7"])
                .start();
            run.says("ready");
            let pid = run.pid();
            let same = fs::metadata(format!("/proc/self/fd/{}", file.as_raw_fd())).expect("open");
            let held = || {
                let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("it lives");
                let paths: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
                paths
                    .into_iter()
                    .filter(|path| {
                        use std::os::unix::fs::MetadataExt;
                        fs::metadata(path)
                            .is_ok_and(|m| (m.dev(), m.ino()) == (same.dev(), same.ino()))
                    })
                    .count()
            };
            wait_until("stepdown holds none of them", || held() == 0);
            if options.is_empty() {
                let open = || {
                    let entries = fs::read_dir(format!("/proc/{pid}/fd"));
                    entries.expect("it lives").count()
                };
                wait_until("stepdown holds nothing but stdio", || open() == 3);
            }
            run.signal(Signal::SIGTERM);
            run.wait();
        }
    });
}

#[test]
fn stepdown_keeps_no_directory_busy() {
    both(|mode| {
        let dir = tempfile::tempdir().expect("a directory");
        let mut run = Stepdown::in_mode(mode)
            .dir(dir.path())
            .witness(["listen", "15:7"])
            .start();
        let pid = run.says("ready").pid();
        wait_until("stepdown works in /", || {
            fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == OsStr::new("/"))
        });
        run.signal(Signal::SIGTERM);
        run.wait().code(7);
    });
}

#[test]
fn surroundings_reach_the_child() {
    both(|mode| {
        let dir = tempfile::tempdir().expect("a directory");
        let said = is_the_same(mode, &[], &[], &|start| {
            start.dir(dir.path()).prepared(|| {
                let limit = libc::rlimit {
                    rlim_cur: 77,
                    rlim_max: 99,
                };
                // SAFETY: plain system calls; the limit lives through its call.
                unsafe {
                    libc::umask(0o137);
                    libc::nice(3);
                    checked(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit))?;
                    checked(libc::setrlimit(libc::RLIMIT_CORE, &raw const limit))?;
                    checked(libc::prctl(libc::PR_SET_TIMERSLACK, 12_345))?;
                    checked(libc::prctl(libc::PR_SET_KEEPCAPS, 0))?;
                    checked(libc::personality(0x0040000))
                }
            })
        });
        // Whoever runs the tests may have been nice, too.
        // SAFETY: numbers only.
        let nice = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) } + 3;
        for line in ["umask 137", &format!("nice {nice}"), "rlimit 7 77 99"] {
            assert!(said.lines().any(|seen| seen == line), "{line} in {said}");
        }
    });
}

#[test]
fn bytes_that_are_no_text_reach_the_child() {
    both(|mode| {
        let odd = OsStr::from_bytes(b"\xff\xfe -- '\n");
        for options in [&[][..], &["--grace=1s"]] {
            let said = is_the_same(mode, &[odd, OsStr::new(""), odd], options, &|start| {
                start
                    .env("ODD", odd)
                    .env(OsStr::from_bytes(b"\x80KEY"), "")
                    .env("EMPTY", "")
            });
            assert_eq!(
                said.matches("argv \\xff\\xfe\\x20--\\x20'\\x0a").count(),
                2,
                "{said}"
            );
            assert!(said.contains("env ODD=\\xff\\xfe"), "{said}");
        }
    });
}

#[test]
fn added_variables_leave_the_others_as_they_are() {
    both(|mode| {
        let odd = OsStr::from_bytes(b"\xff");
        let mut option = OsString::from("--env=ADDED=");
        option.push(odd);
        let ended = Stepdown::in_mode(mode)
            .env("ODD", odd)
            .env("CHANGED", "before")
            .args([option])
            .args(["--env", "CHANGED=after=all", "--env", "EMPTY="])
            .witness(["dump"])
            .run();
        ended.code(0);
        for line in [
            "env ODD=\\xff",
            "env ADDED=\\xff",
            "env CHANGED=after=all",
            "env EMPTY=",
        ] {
            ended.said(line);
        }
        ended.never_said("env CHANGED=before");
    });
}

#[test]
fn closed_streams_stay_closed() {
    // Not as PID 1: unshare(1), which starts that, opens what it finds closed.
    for closed in [&[0][..], &[1], &[2], &[0, 1], &[1, 2], &[0, 1, 2]] {
        for options in [&[][..], &["--post-stop", "true", "-q"], &["-v"]] {
            let said = [None, Some(options)].map(|under| {
                let mut answer = tempfile::tempfile().expect("a file");
                let fd = answer.as_raw_fd();
                let mut start = Stepdown::new()
                    .env("WITNESS_FD", "9")
                    .prepared(move || given(fd, 9));
                for fd in closed {
                    start = start.closing(*fd);
                }
                start = match under {
                    None => start.program(binary::witness()).args(["dump"]),
                    Some(options) => start.args(options).witness(["dump"]),
                };
                start.run().code(0);
                answer.rewind().expect("a file");
                let mut text = String::new();
                answer.read_to_string(&mut text).expect("text");
                let stdio = |line: &&str| {
                    ["fd 0 ", "fd 1 ", "fd 2 "]
                        .iter()
                        .any(|fd| line.starts_with(fd))
                };
                dumped(&text)
                    .into_iter()
                    .filter(stdio)
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            });
            assert_eq!(said[0], said[1], "{closed:?} closed, {options:?}");
            assert_eq!(said[0].len(), 3 - closed.len());
        }
    }
}

#[test]
fn closed_streams_of_stepdown_are_never_taken_for_its_own_descriptors() {
    // With the relay there are descriptors of our own: none of them may pass for stdio.
    let mut answer = tempfile::tempfile().expect("a file");
    let fd = answer.as_raw_fd();
    let mut run = Stepdown::new()
        .prepared(move || given(fd, 9))
        .closing(0)
        .closing(1)
        .closing(2)
        .args(["-v", "--ladder", "stdin=stop:1h", "--post-stop", "true"])
        .shell("echo ready >&9; read line; echo got $line >&9; exit 7")
        .start();
    let mut said = move || {
        let mut text = String::new();
        answer.rewind().expect("a file");
        answer.read_to_string(&mut text).expect("text");
        text
    };
    wait_until("the child is ready", || said().contains("ready"));
    let pid = run.pid();
    for number in 0..=2 {
        let of = fs::read_link(format!("/proc/{pid}/fd/{number}")).unwrap_or_default();
        assert!(
            !of.to_string_lossy().starts_with("anon_inode"),
            "{number} is {of:?}"
        );
    }
    run.signal(Signal::SIGWINCH);
    run.signal(Signal::SIGTERM);
    run.wait().code(7);
    assert!(said().contains("got stop"));
}

#[test]
fn a_script_without_an_interpreter_is_run_by_sh() {
    both(|mode| {
        let dir = tempfile::tempdir().expect("a directory");
        let script = dir.path().join("script");
        binary::script(&script, "echo \"script $# $1 $2\"; exit 7\n", 0o755);
        let by_path = [script.as_os_str(), OsStr::new("a b"), OsStr::new("c")];
        let ended = Stepdown::in_mode(mode).child(by_path).run();
        ended.code(7).said("script 2 a b c").was_silent();
        // Found along PATH, too.
        let mut path = dir.path().as_os_str().to_owned();
        path.push(":/usr/bin:/bin");
        let ended = Stepdown::in_mode(mode)
            .env("PATH", path)
            .child(["script", "x"])
            .run();
        ended.code(7).said("script 1 x ").was_silent();
    });
}

#[test]
fn the_child_works_where_and_as_whom_it_is_told() {
    both(|mode| {
        let dir = tempfile::tempdir().expect("a directory");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("our own");
        let here = dir.path().canonicalize().expect("it is there");
        let ended = Stepdown::in_mode(mode)
            .args(["--workdir".as_ref(), dir.path().as_os_str()])
            .child(["pwd", "-P"])
            .run();
        ended.code(0).said(here.to_str().expect("a plain path"));
        if !nix::unistd::geteuid().is_root() {
            skip_part("only root can become somebody else");
            return;
        }
        let as_whom = |options: &[&str]| {
            let ended = Stepdown::in_mode(mode)
                .args(options)
                .shell("echo $(id -u) $(id -g) $(id -G) $HOME")
                .run();
            ended.code(0).was_silent();
            ended.stdout.trim_end().to_owned()
        };
        assert_eq!(as_whom(&["--user", "12345:23456"]), "12345 23456 23456 /");
        assert_eq!(as_whom(&["--user", "12345"]), "12345 0 0 /");
        assert_eq!(as_whom(&["--user=12345", "--group", "4"]), "12345 4 4 /");
        assert!(as_whom(&["--group", "tty"]).starts_with("0 5 5"));
        let daemon = as_whom(&["--user", "daemon"]);
        assert!(daemon.starts_with("1 1 1"), "{daemon}");
    });
}

#[test]
fn new_privileges_are_denied_when_asked_for() {
    both(|mode| {
        let ended = Stepdown::in_mode(mode)
            .args(["--no-new-privs"])
            .shell("grep NoNewPrivs /proc/self/status")
            .run();
        ended.code(0).said("NoNewPrivs:\t1");
    });
}
