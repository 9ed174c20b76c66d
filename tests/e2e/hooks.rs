//! Hooks: when they run, what they are told, and that none of them can hold up or prevent a stop.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::{Mode, Stepdown, both, proc, wait_until};

/// stepdown with hooks that have the time that they need, however busy the machine is.
fn patient(mode: Mode) -> Stepdown {
    Stepdown::in_mode(mode).args(["--hook-timeout", "1h"])
}

/// A hook that writes what it was told to a file in the directory of the start.
fn telling(file: &str) -> String {
    format!("sh -c 'env > {file}.new; mv {file}.new {file}'")
}

/// The variables in such a file.
fn told(dir: &Path, file: &str) -> BTreeMap<String, String> {
    let text = fs::read_to_string(dir.join(file)).expect("the hook has run");
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// Asserts the variables that hooks are told; `None` is one that must not be there.
#[track_caller]
fn assert_told(told: &BTreeMap<String, String>, wanted: &[(&str, Option<&str>)]) {
    for (key, value) in wanted {
        assert_eq!(
            told.get(*key).map(String::as_str),
            *value,
            "{key} in {told:#?}"
        );
    }
}

/// The variables that are a number of milliseconds or a pid.
fn number(told: &BTreeMap<String, String>, key: &str) -> i64 {
    let text = told
        .get(key)
        .unwrap_or_else(|| panic!("{key} in {told:#?}"));
    text.parse().unwrap_or_else(|_| panic!("{key}={text}"))
}

#[test]
fn hooks_run_in_their_order_and_take_down_in_reverse() {
    both(|mode| {
        let mut run = patient(mode)
            .args([
                "--pre-start",
                "echo pre-start 1",
                "--pre-start=echo pre-start 2",
            ])
            .args([
                "--pre-stop",
                "echo pre-stop 1",
                "--pre-stop",
                "echo 'pre-stop  2'",
            ])
            .args([
                "--post-stop",
                "echo post-stop 1",
                "--post-stop",
                "echo post-stop 2",
            ])
            .witness(["listen", "15:7"])
            .start();
        run.says("ready").signal(Signal::SIGTERM);
        let ended = run.wait();
        ended
            .code(7)
            .logged(&["pre-stop hook", "done"])
            .nothing_left();
        let wanted = "pre-start 1\npre-start 2\nready\npre-stop 1\npre-stop  2\ngot 15\n\
                      post-stop 2\npost-stop 1\n";
        assert_eq!(ended.stdout, wanted);
    });
}

#[test]
fn hooks_of_a_variable_stand_on_a_line_each() {
    both(|mode| {
        patient(mode)
            .env("STEPDOWN_PRE_START", "echo one\necho two\n")
            .env("STEPDOWN_POST_STOP", "echo end")
            .shell("exit 3")
            .run()
            .code(3)
            .said("one")
            .said("two")
            .said("end");
    });
}

#[test]
fn hooks_are_told_about_a_stop_by_signal() {
    both(|mode| {
        let dir = tempfile::tempdir().expect("a directory");
        let mut run = patient(mode)
            .dir(dir.path())
            .args(["--deadline", "100s"])
            .args(["--pre-start", &telling("pre-start")])
            .args(["--pre-stop", &telling("pre-stop")])
            .args(["--post-stop", &telling("post-stop")])
            .env("FROM_THE_START", "kept")
            .shell("trap 'exit 7' TERM; echo child $$; echo ready; while :; do sleep 0.02; done")
            .start();
        run.says("ready").signal(Signal::SIGTERM);
        let ended = run.wait();
        ended.code(7);
        let child = ended
            .stdout
            .lines()
            .find_map(|line| line.strip_prefix("child "));
        let sender = match mode {
            Mode::Ordinary => std::process::id().to_string(),
            Mode::Pid1 => "0".to_owned(),
        };
        let before = told(dir.path(), "pre-start");
        assert_told(
            &before,
            &[
                ("STEPDOWN_PHASE", Some("pre-start")),
                ("STEPDOWN_REASON", None),
                ("STEPDOWN_SIGNAL", None),
                ("STEPDOWN_CHILD_PID", None),
                ("STEPDOWN_EXIT_CODE", None),
                ("SERVICE_RESULT", None),
                ("FROM_THE_START", Some("kept")),
            ],
        );
        let asked = [
            ("STEPDOWN_REASON", Some("signal")),
            ("STEPDOWN_SIGNAL", Some("TERM")),
            ("STEPDOWN_SENDER_PID", Some(&*sender)),
            ("STEPDOWN_CHILD_PID", child),
            ("STEPDOWN_ESCALATED", Some("0")),
        ];
        let during = told(dir.path(), "pre-stop");
        assert_told(&during, &asked);
        assert_told(
            &during,
            &[
                ("STEPDOWN_PHASE", Some("pre-stop")),
                ("STEPDOWN_EXIT_CODE", None),
                ("SERVICE_RESULT", None),
                ("FROM_THE_START", Some("kept")),
            ],
        );
        let after = told(dir.path(), "post-stop");
        assert_told(&after, &asked);
        assert_told(
            &after,
            &[
                ("STEPDOWN_PHASE", Some("post-stop")),
                ("STEPDOWN_EXIT_CODE", Some("7")),
                ("STEPDOWN_EXIT_SIGNAL", None),
                ("SERVICE_RESULT", Some("exit-code")),
                ("EXIT_CODE", Some("exited")),
                ("EXIT_STATUS", Some("7")),
            ],
        );
        for told in [&during, &after] {
            let left = number(told, "STEPDOWN_REMAINING_MS");
            assert!((60_000..100_000).contains(&left), "{left}");
        }
    });
}

#[test]
fn a_post_stop_hook_is_told_about_each_way_to_end() {
    both(|mode| {
        let dir = tempfile::tempdir().expect("a directory");
        let with_hook = || {
            patient(mode)
                .dir(dir.path())
                .args(["--post-stop", &telling("end")])
        };
        with_hook().shell("exit 3").run().code(3);
        assert_told(
            &told(dir.path(), "end"),
            &[
                ("STEPDOWN_PHASE", Some("post-stop")),
                ("STEPDOWN_REASON", Some("exit")),
                ("STEPDOWN_SIGNAL", None),
                ("STEPDOWN_SENDER_PID", None),
                ("STEPDOWN_EXIT_CODE", Some("3")),
                ("STEPDOWN_EXIT_SIGNAL", None),
                ("STEPDOWN_ESCALATED", Some("0")),
                ("SERVICE_RESULT", Some("exit-code")),
                ("EXIT_CODE", Some("exited")),
                ("EXIT_STATUS", Some("3")),
            ],
        );
        with_hook().shell("exit 0").run().code(0);
        assert_told(
            &told(dir.path(), "end"),
            &[
                ("STEPDOWN_EXIT_CODE", Some("0")),
                ("SERVICE_RESULT", Some("success")),
                ("EXIT_STATUS", Some("0")),
            ],
        );
        with_hook().shell("kill -SEGV $$").run().code(139);
        let end = told(dir.path(), "end");
        assert_told(
            &end,
            &[
                ("STEPDOWN_REASON", Some("exit")),
                ("STEPDOWN_EXIT_CODE", None),
                ("STEPDOWN_EXIT_SIGNAL", Some("SEGV")),
                ("EXIT_STATUS", Some("SEGV")),
            ],
        );
        let result = (end["SERVICE_RESULT"].as_str(), end["EXIT_CODE"].as_str());
        assert!(
            [("signal", "killed"), ("core-dump", "dumped")].contains(&result),
            "{result:?}"
        );
        with_hook()
            .args(["--max-runtime", "30ms", "--grace", "50ms"])
            // The time may be over before the shell has come to a trap.
            .ignoring(libc::SIGTERM)
            .shell("while :; do sleep 1; done")
            .run()
            .code(124);
        assert_told(
            &told(dir.path(), "end"),
            &[
                ("STEPDOWN_REASON", Some("max-runtime")),
                ("STEPDOWN_SENDER_PID", None),
                ("STEPDOWN_EXIT_CODE", None),
                ("STEPDOWN_EXIT_SIGNAL", Some("KILL")),
                ("STEPDOWN_ESCALATED", Some("1")),
                ("SERVICE_RESULT", Some("timeout")),
                ("EXIT_CODE", Some("killed")),
                ("EXIT_STATUS", Some("KILL")),
            ],
        );
        with_hook().child(["/no/such/command"]).run().code(127);
        assert_told(
            &told(dir.path(), "end"),
            &[
                ("STEPDOWN_REASON", Some("start-failed")),
                ("STEPDOWN_CHILD_PID", None),
                ("STEPDOWN_EXIT_CODE", None),
                ("STEPDOWN_EXIT_SIGNAL", None),
                ("SERVICE_RESULT", Some("resources")),
            ],
        );
    });
}

#[test]
fn hooks_are_told_that_the_parent_died() {
    // A shell starts us in the background, says who we are and ends when told to.
    let dir = tempfile::tempdir().expect("a directory");
    let script = format!(
        "\"$@\" --hook-timeout 1h --parent-death-signal USR1 --post-stop \"{}\" -- \"$WITNESS\" listen 10:7 &
         wait",
        telling("end")
    );
    let stepdown = crate::support::binary::under_test();
    let mut run = Stepdown::new()
        .program("/bin/sh")
        .dir(dir.path())
        .env("WITNESS", crate::support::binary::witness())
        .args(["-c", &script, "sh"])
        .args([stepdown])
        .start();
    run.says("ready").signal(Signal::SIGKILL);
    let end = dir.path().join("end");
    wait_until("the post-stop hook has run", || end.exists());
    assert_told(
        &told(dir.path(), "end"),
        &[
            ("STEPDOWN_REASON", Some("parent-died")),
            ("STEPDOWN_SENDER_PID", None),
            ("STEPDOWN_EXIT_CODE", Some("7")),
            ("STEPDOWN_ESCALATED", Some("0")),
        ],
    );
    run.mark().wait_until_gone();
}

#[test]
fn a_late_hook_is_killed_with_its_whole_group() {
    both(|mode| {
        let mut run = Stepdown::in_mode(mode)
            .args(["--hook-timeout", "100ms"])
            // What would hold it up for so long is not what was asked for.
            .env("STEPDOWN_HOOK_TIMEOUT", "1h")
            .args(["--pre-stop", "sh -c 'sleep 1000 & sleep 1000 & wait'"])
            .witness(["listen", "15:7"])
            .start();
        run.says("ready").signal(Signal::SIGTERM);
        run.wait()
            .code(7)
            .stopped_no_sooner_than(Duration::from_millis(100))
            .logged(&["pre-stop hook", "killed: its time was over"])
            .nothing_left();
    });
}

#[test]
fn a_second_int_ends_a_pre_stop_hook() {
    both(|mode| {
        let mut run = patient(mode)
            .args(["--pre-stop", "sh -c 'echo hook; exec sleep 1000'"])
            .witness(["listen", "2:7"])
            .start();
        run.says("ready").signal(Signal::SIGINT).says("hook");
        // The child has not been asked yet: it is asked now.
        run.signal(Signal::SIGINT);
        run.wait()
            .code(7)
            .logged(&["pre-stop hook", "killed: going on without it"])
            .nothing_left();
    });
}

#[test]
fn a_hook_that_was_killed_has_left_nobody() {
    both(|mode| {
        let mut run = patient(mode)
            .args(["--pre-start", "sh -c 'sleep 1000 & echo hook; wait'"])
            .child(["true"])
            .start();
        run.says("hook").asks_again().asks_again();
        run.wait()
            .code(130)
            .logged(&["pre-start hook", "killed"])
            .never_logged(" left")
            .nothing_left();
        // An exec= step that is not waited for any longer is no straggler, either.
        let mut run = Stepdown::in_mode(mode)
            .args([
                "--ladder",
                "exec=sh -c \"sleep 1000 & echo stop; wait\":1h,TERM",
            ])
            .witness(["listen", "15:7"])
            .start();
        run.says("ready").signal(Signal::SIGTERM).says("stop");
        run.asks_again().asks_again().asks_again();
        run.wait().code(7).never_logged(" left").nothing_left();
    });
}

#[test]
fn a_failing_pre_start_hook_prevents_the_start() {
    both(|mode| {
        let dir = tempfile::tempdir().expect("a directory");
        for hook in ["false", "/no/such/hook", "sh -c 'kill -KILL $$'"] {
            let ended = patient(mode)
                .dir(dir.path())
                .args(["--pre-start", hook, "--pre-start", "touch second"])
                .args(["--post-stop", &telling("end")])
                .child(["touch", "started"])
                .run();
            ended
                .code(125)
                .logged(&["pre-start hook", hook, "failed"])
                .nothing_left();
            assert!(!dir.path().join("started").exists(), "{}", ended.told());
            assert!(!dir.path().join("second").exists(), "{}", ended.told());
            assert_told(
                &told(dir.path(), "end"),
                &[("STEPDOWN_REASON", Some("start-failed"))],
            );
        }
    });
}

#[test]
fn a_late_pre_start_hook_prevents_the_start_too() {
    both(|mode| {
        Stepdown::in_mode(mode)
            .args(["--hook-timeout=50ms", "--pre-start", "sleep 1000"])
            .child(["echo", "started"])
            .run()
            .code(125)
            .never_said("started")
            .nothing_left();
    });
}

#[test]
fn a_stop_during_a_pre_start_hook_prevents_the_start() {
    both(|mode| {
        // The first request hurries nothing: a migration ends.
        let dir = tempfile::tempdir().expect("a directory");
        let hook = "sh -c 'echo hook; while ! [ -e go ]; do sleep 0.02; done; echo whole'";
        let mut run = patient(mode)
            .dir(dir.path())
            .args(["--pre-start", hook, "--pre-start", "echo second"])
            .args(["--post-stop", "echo end"])
            .child(["echo", "started"])
            .start();
        run.says("hook").signal(Signal::SIGTERM);
        run.logs("nothing will be started");
        run.asks_again();
        fs::write(dir.path().join("go"), "").expect("a directory of our own");
        run.wait()
            .code(143)
            .said("whole")
            .said("end")
            .never_said("second")
            .never_said("started")
            .never_logged("killed")
            .nothing_left();
        // Who takes such an end of the child for a success does so when there was no child yet.
        for (options, code) in [
            (&["-e", "143"][..], 0),
            (&["--success-exit=TERM"], 0),
            (&["--clean-stop"], 0),
            (&["-e", "130,INT"], 143),
        ] {
            let mut run = patient(mode)
                .args(options)
                .args(["--pre-start", "sh -c 'echo hook; exec sleep 1000'"])
                .child(["echo", "started"])
                .start();
            run.says("hook").signal(Signal::SIGTERM);
            run.logs("nothing will be started");
            run.asks_again().asks_again();
            run.wait().code(code).never_said("started");
        }
    });
}

#[test]
fn a_failing_hook_never_stops_the_stop() {
    both(|mode| {
        let mut run = patient(mode)
            .args([
                "--pre-stop",
                "false",
                "--pre-stop",
                "/no/such/hook",
                "--pre-stop",
                "echo last",
            ])
            .args(["--post-stop", "echo end", "--post-stop", "sh -c 'exit 9'"])
            .witness(["listen", "15:7"])
            .start();
        run.says("ready").signal(Signal::SIGTERM);
        run.wait()
            .code(7)
            .said("last")
            .said("end")
            .logged(&["pre-stop hook \"false\" failed: exited with 1"])
            .logged(&["pre-stop hook \"/no/such/hook\" failed: /no/such/hook: not found"])
            .logged(&["post-stop hook", "failed: exited with 9"]);
    });
}

#[test]
fn pre_stop_hooks_run_to_their_end_when_the_child_exits_meanwhile() {
    both(|mode| {
        let dir = tempfile::tempdir().expect("a directory");
        let mut run = patient(mode)
            .dir(dir.path())
            .args(["--pre-stop"])
            .args(["sh -c 'echo hook; while ! [ -e go ]; do sleep 0.02; done; echo hook done'"])
            .witness(["listen", "10:7"])
            .start();
        run.says("ready").signal(Signal::SIGTERM).says("hook");
        run.signal(Signal::SIGUSR1).logs("child exited with 7");
        fs::write(dir.path().join("go"), "").expect("a directory of our own");
        run.wait().code(7).said("hook done").never_said("got 15");
    });
}

#[test]
fn hooks_work_in_the_directory_of_the_start() {
    both(|mode| {
        let dir = tempfile::tempdir().expect("a directory");
        let here = dir.path().canonicalize().expect("it is there");
        let here = here.to_str().expect("a plain path");
        for closed in [None, Some(0)] {
            let mut stepdown = patient(mode).dir(dir.path());
            if let Some(fd) = closed {
                stepdown = stepdown.closing(fd);
            }
            let ended = stepdown
                .args(["--workdir", "/usr"])
                .args(["--pre-start=sh -c 'echo pre-start $(pwd -P)'"])
                .args(["--post-stop=sh -c 'echo post-stop $(pwd -P)'"])
                .shell("echo child $PWD")
                .run();
            ended
                .code(0)
                .said(&format!("pre-start {here}"))
                .said("child /usr")
                .said(&format!("post-stop {here}"));
        }
    });
}

#[test]
fn hooks_inherit_no_descriptor_and_their_own_group() {
    both(|mode| {
        let file = fs::File::open("/dev/null").expect("a device");
        let fd = file.as_raw_fd();
        // ls itself holds the directory that it lists.
        let hook = "sh -c 'cut -d\" \" -f1,5 /proc/$$/stat; exec ls /proc/self/fd'";
        let ended = patient(mode)
            // SAFETY of what it does: dup2 is async-signal-safe.
            .prepared(move || {
                for wanted in 5..=9 {
                    // SAFETY: two numbers.
                    if unsafe { libc::dup2(fd, wanted) } < 0 {
                        return Err(std::io::Error::last_os_error());
                    }
                }
                Ok(())
            })
            .args(["--post-stop", hook])
            .shell("true")
            .run();
        ended.code(0);
        let lines: Vec<&str> = ended.stdout.lines().collect();
        let (pid, group) = lines[0].split_once(' ').expect("two numbers");
        assert_eq!(pid, group);
        assert_eq!(lines[1..], ["0", "1", "2", "3"], "{}", ended.told());
    });
}

#[test]
fn hooks_do_not_read_what_is_for_the_child() {
    both(|mode| {
        let hook = "sh -c 'echo \"hook <$(cat)>\"'";
        let mut run = patient(mode)
            .args(["--pre-start", hook, "--post-stop", hook])
            .args(["--ladder", &format!("exec={hook}:1h")])
            .with_stdin()
            .shell("read line; echo child $line; kill -TERM $PPID; cat; echo end")
            .start();
        run.type_line("hello").says("child hello");
        run.says_times("hook <>", 2).close_stdin();
        let ended = run.wait();
        ended.code(0).said("end");
        assert_eq!(ended.stdout.matches("hook <>").count(), 3);
    });
}

#[test]
fn a_signal_for_the_tree_is_not_for_a_hook() {
    both(|mode| {
        let dir = tempfile::tempdir().expect("a directory");
        let mut run = patient(mode)
            .dir(dir.path())
            .args(["--target", "tree", "--pre-stop"])
            .args(["sh -c 'echo hook; while ! [ -e go ]; do sleep 0.02; done; echo hook done'"])
            .witness(["family", "15:7"])
            .start();
        run.says("ready").signal(Signal::SIGTERM).says("hook");
        run.signal(Signal::SIGUSR1);
        for name in ["main", "member", "outsider", "orphan"] {
            run.says(&format!("{name} got 10"));
        }
        fs::write(dir.path().join("go"), "").expect("a directory of our own");
        run.wait().code(7).said("hook done").nothing_left();
    });
}

#[test]
fn what_a_hook_leaves_behind_is_swept() {
    both(|mode| {
        let mut run = patient(mode)
            .args(["--sweep-grace", "100ms"])
            .args([
                "--pre-start",
                "sh -c 'setsid sleep 1000 > /dev/null 2>&1 & echo left'",
            ])
            .args([
                "--post-stop",
                "sh -c 'setsid sleep 1000 > /dev/null 2>&1 & echo left too'",
            ])
            .witness(["listen", "15:7"])
            .start();
        run.says("ready").signal(Signal::SIGTERM);
        run.wait().code(7).said("left too").nothing_left();
    });
}

#[test]
fn the_child_is_told_nothing_that_is_for_hooks() {
    both(|mode| {
        let ended = patient(mode)
            .args(["--pre-start", "true"])
            .child(["env"])
            .run();
        ended.code(0);
        assert!(!ended.stdout.contains("STEPDOWN_"), "{}", ended.told());
    });
}

#[test]
fn stepdown_waits_for_a_hook_without_being_busy() {
    // The hook's end is an event; meanwhile signals are still forwarded.
    let mut run = Stepdown::new()
        .args([
            "--hook-timeout",
            "1h",
            "--pre-stop",
            "sh -c 'echo hook; exec sleep 1000'",
        ])
        .witness(["listen", "15:7"])
        .start();
    run.says("ready").signal(Signal::SIGTERM).says("hook");
    run.signal(Signal::SIGUSR1).says("got 10");
    let mut found = None;
    wait_until("the hook's shell has become sleep", || {
        let mut children = run.children().into_iter();
        found = children.find(|child| child.name == "sleep");
        found.is_some()
    });
    let hook = found.expect("just waited for");
    assert_eq!(hook.group, hook.pid);
    proc::kill(hook.pid, 15).expect("it is there");
    run.wait().code(7).logged(&["failed: died of TERM"]);
}
