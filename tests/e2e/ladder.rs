//! The ladder: which steps are taken, at whom, how long each waits, and what is relayed on stdin.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::running::Running;
use crate::support::{Stepdown, binary, both, proc, wait_until};

/// Long enough to fail the story if it were ever slept out.
const LONG: &str = "1h";

/// What the log says about the steps that were taken, in order.
fn steps(stderr: &str) -> Vec<&str> {
    let is_step = |line: &&str| line.starts_with("stepdown: step ");
    let text = |line| {
        let (_, text) = str::split_once(line, ": step ").unwrap_or_default();
        text
    };
    stderr.lines().filter(is_step).map(text).collect()
}

/// A child that ignores every signal that can be ignored.
fn deaf(stepdown: Stepdown) -> Running {
    let program = binary::actor().to_str().expect("a plain path");
    let mut run = stepdown.child([program, "ignore-signals"]).start();
    run.says("ready");
    run
}

#[test]
fn the_default_is_the_same_signal_and_then_kill() {
    both(|mode| {
        let mut run = deaf(Stepdown::in_mode(mode).args(["--grace", "120ms"]));
        run.signal(Signal::SIGTERM);
        let ended = run.wait();
        ended
            .code(137)
            .stopped_no_sooner_than(Duration::from_millis(120))
            .logged(&["stopping: TERM"])
            .logged(&["child died of KILL on step 2"])
            .nothing_left();
        assert_eq!(
            steps(&ended.stderr),
            [
                "1 of 2: TERM to the child, waiting up to 120 ms",
                "2 of 2: KILL to the tree"
            ]
        );
    });
}

#[test]
fn same_is_the_signal_that_asked() {
    both(|mode| {
        for (signal, number) in [
            (Signal::SIGINT, 2),
            (Signal::SIGQUIT, 3),
            (Signal::SIGTERM, 15),
        ] {
            let mut run = Stepdown::in_mode(mode)
                .args(["--stop-on=TERM,INT,QUIT"])
                .witness(["listen", "2:7", "3:7", "15:7"])
                .start();
            run.says("ready").signal(signal);
            run.wait().code(7).said(&format!("got {number}"));
        }
    });
}

#[test]
fn the_stop_signal_replaces_same() {
    both(|mode| {
        for stepdown in [
            Stepdown::in_mode(mode).args(["--stop-signal", "SIGQUIT"]),
            Stepdown::in_mode(mode).env("STEPDOWN_STOP_SIGNAL", "3"),
            Stepdown::in_mode(mode).args(["--stop-signal=QUIT", "--ladder", "same:1h"]),
        ] {
            let mut run = stepdown.witness(["listen", "3:7"]).start();
            run.says("ready").signal(Signal::SIGTERM);
            run.wait().code(7).never_said("got 15").never_said("got 37");
        }
    });
}

#[test]
fn steps_are_taken_in_order_each_with_its_own_wait() {
    both(|mode| {
        let mut run = Stepdown::in_mode(mode)
            // Of those that are pending together the child is given the lowest first, so they ascend.
            .args(["--ladder", "HUP:60ms, USR1:90ms,RTMIN+3", "--grace", LONG])
            .witness(["listen", "37:7"])
            .start();
        run.says("ready").signal(Signal::SIGTERM);
        let ended = run.wait();
        ended
            .code(7)
            .stopped_no_sooner_than(Duration::from_millis(150))
            .logged(&["child exited with 7 on step 3"]);
        assert_eq!(
            ended.stdout.replace("got 18\n", ""),
            "ready\ngot 1\ngot 10\ngot 37\n"
        );
        assert_eq!(
            steps(&ended.stderr),
            [
                "1 of 4: HUP:60ms to the child, waiting up to 60 ms",
                "2 of 4: USR1:90ms to the child, waiting up to 90 ms",
                "3 of 4: RTMIN+3 to the child, waiting up to 1h",
            ]
        );
    });
}

#[test]
fn a_wait_ends_with_the_child() {
    both(|mode| {
        let mut run = Stepdown::in_mode(mode)
            .args(["--grace", LONG])
            .witness(["listen", "15:0"])
            .start();
        run.says("ready").signal(Signal::SIGTERM);
        run.wait().code(0).nothing_left();
    });
}

#[test]
fn steps_reach_the_child_the_group_or_the_tree() {
    both(|mode| {
        // Each wait is ended by hand, so that no story depends on the time.
        let mut run = Stepdown::in_mode(mode)
            .args([
                "--ladder",
                "HUP@child:1h,USR1@group:1h,USR2@tree:1h,TERM:1h",
            ])
            .witness(["family", "15:7"])
            .start();
        let everybody = ["main", "member", "outsider", "orphan"];
        run.says("ready").signal(Signal::SIGTERM).says("main got 1");
        run.asks_again().asks_again().asks_again();
        for name in &everybody[..2] {
            run.says(&format!("{name} got 10"));
        }
        run.asks_again().asks_again();
        for name in everybody {
            run.says(&format!("{name} got 12"));
        }
        run.asks_again().asks_again();
        let ended = run.wait();
        ended.code(7).nothing_left();
        for name in &everybody[1..] {
            ended.never_said(&format!("{name} got 1"));
        }
        for name in &everybody[2..] {
            ended.never_said(&format!("{name} got 10"));
        }
    });
}

#[test]
fn the_default_target_is_that_of_target() {
    both(|mode| {
        let mut run = Stepdown::in_mode(mode)
            .args(["--target", "tree", "--ladder", "USR1:1h,USR2@child:1h"])
            .witness(["family", "12:7"])
            .start();
        run.says("ready").signal(Signal::SIGTERM);
        for name in ["main", "member", "outsider", "orphan"] {
            run.says(&format!("{name} got 10"));
        }
        run.asks_again().asks_again().asks_again();
        // Each INT has reached the tree, too, and nobody but the child ends by one of these.
        run.logs("waiting for 3 processes left");
        run.asks_again();
        run.wait()
            .code(7)
            .never_said("orphan got 12")
            .never_said("orphan got 15")
            .nothing_left();
    });
}

#[test]
fn kill_hits_the_whole_tree_unless_told_otherwise() {
    both(|mode| {
        // The orphan ignores TERM: with a sweep grace that long only KILL can take it.
        let mut run = Stepdown::in_mode(mode)
            .args(["--grace", "80ms", "--sweep-grace", LONG])
            .shell(
                "trap '' TERM; setsid sh -c 'echo ready; exec sleep 1000' &
                 while :; do sleep 1000; done",
            )
            .start();
        run.says("ready").signal(Signal::SIGTERM);
        run.wait().code(137).nothing_left();
        let mut run = Stepdown::in_mode(mode)
            .args(["--ladder", "TERM:50ms,KILL@child", "--sweep-grace", "50ms"])
            .shell(
                "trap '' TERM; setsid sh -c 'echo ready; exec sleep 1000' &
                 while :; do sleep 1000; done",
            )
            .start();
        run.says("ready").signal(Signal::SIGTERM);
        run.wait()
            .code(137)
            .logged(&["2 of 2: KILL@child to the child"])
            .nothing_left();
    });
}

#[test]
fn a_stopped_child_is_continued_so_that_it_can_obey() {
    both(|mode| {
        let mut run = Stepdown::in_mode(mode)
            .args(["--grace", LONG])
            .witness(["listen", "15:7"])
            .start();
        let child = run.says("ready").children()[0].pid;
        proc::kill(child, 19).expect("our own child");
        wait_until("it is stopped", || {
            proc::process(child).is_some_and(|process| process.state == 'T')
        });
        run.signal(Signal::SIGTERM);
        run.wait().code(7);
    });
}

#[test]
fn whoever_the_step_is_for_is_continued() {
    both(|mode| {
        for (target, outside) in [("group", ""), ("tree", "setsid ")] {
            let script = format!(
                "trap : TERM; {outside}sh -c 'trap \"echo bye; exit\" TERM; kill -STOP $$; \
                 while :; do sleep 0.01; done' & wait; wait; exit 7"
            );
            let mut run = Stepdown::in_mode(mode)
                .args(["--ladder", &format!("TERM@{target}:{LONG}")])
                .shell(&script)
                .start();
            run.wait_for("a stopped process", |run| {
                let members = run.mark().processes();
                members.iter().any(|member| member.state == 'T')
            });
            run.signal(Signal::SIGTERM);
            run.wait().code(7).said("bye").nothing_left();
        }
    });
}

#[test]
fn kill_is_last_and_never_left_out() {
    both(|mode| {
        let mut run = deaf(Stepdown::in_mode(mode).args(["--ladder", "TERM:20ms,HUP:20ms"]));
        run.signal(Signal::SIGTERM);
        run.wait().code(137).logged(&["step 3 of 3: KILL"]);
    });
}

#[test]
fn a_step_that_the_deadline_leaves_no_time_for_is_told() {
    both(|mode| {
        let mut run =
            deaf(Stepdown::in_mode(mode).args(["--deadline=1s", "--ladder=TERM:5s,INT:5s"]));
        run.signal(Signal::SIGTERM);
        run.wait()
            .code(137)
            .logged(&["step 2 of 3: INT:5s skipped: the deadline leaves no time for it"])
            .logged(&["step 3 of 3: KILL"]);
    });
}

#[test]
fn no_kill_means_no_kill() {
    both(|mode| {
        let mut run = Stepdown::in_mode(mode)
            .args(["--no-kill", "--ladder", "TERM:20ms,HUP:20ms"])
            .witness(["listen", "10:7"])
            .start();
        run.says("ready").signal(Signal::SIGTERM).says("got 1");
        // Long after the last wait the child is there, and still gets what is sent to it.
        std::thread::sleep(Duration::from_millis(150));
        run.signal(Signal::SIGUSR1);
        let ended = run.wait();
        ended.code(7).never_logged("KILL");
        assert_eq!(steps(&ended.stderr).len(), 2);
    });
}

#[test]
fn the_deadline_holds_whatever_hangs() {
    // To the moment it is held in the machine's own stories. Here the machine may stand still for a
    // while, and what would hang hangs for an hour.
    const DEADLINE: Duration = Duration::from_secs(3);
    const STANDSTILL: Duration = Duration::from_secs(8);
    both(|mode| {
        let mut run = deaf(
            Stepdown::in_mode(mode)
                .args(["--deadline", "3s", "--hook-timeout", LONG])
                .args(["--pre-stop", "sleep 1000", "--pre-stop", "sleep 1000"])
                .args(["--post-stop", "sleep 1000"])
                .args(["--ladder", "TERM:1h,INT:1h"]),
        );
        let mark = run.mark().clone();
        run.signal(Signal::SIGTERM);
        run.wait()
            .code(137)
            .stopped_within(DEADLINE + STANDSTILL)
            .logged(&["KILL to the tree"])
            .logged(&["post-stop hook", "killed: its time was over"]);
        // What got KILL in the last moment may need another one to be gone.
        mark.wait_until_gone();
    });
}

#[test]
fn without_a_grace_a_step_has_what_the_deadline_leaves() {
    both(|mode| {
        let mut run = Stepdown::in_mode(mode)
            .args([
                "--deadline",
                "100s",
                "--post-stop",
                "true",
                "--hook-timeout=10s",
            ])
            .witness(["listen", "15:7"])
            .start();
        run.says("ready").signal(Signal::SIGTERM);
        // 100 s less 10 s for the hook and half a second for KILL and leaving.
        run.wait()
            .code(7)
            .logged(&["step 1 of 2", "waiting up to 89.5 s"]);
    });
}

#[test]
fn a_drain_comes_between_the_hooks_and_the_first_step() {
    both(|mode| {
        let port = crate::support::net::free_port().to_string();
        let mut run = Stepdown::in_mode(mode)
            .args([
                "--drain-port",
                &port,
                "--drain-delay",
                "120ms",
                "--drain-quiet",
                "10ms",
            ])
            .args(["--drain-timeout", LONG, "--pre-stop", "echo hook"])
            .witness(["listen", "15:7"])
            .start();
        run.says("ready").signal(Signal::SIGTERM);
        // Nothing is in flight: the delay is all there is to wait for.
        let ended = run.wait();
        ended
            .code(7)
            .stopped_no_sooner_than(Duration::from_millis(120))
            .logged(&["drained in"]);
        assert_eq!(ended.stdout, "ready\nhook\ngot 15\n");
    });
}

#[test]
fn a_console_program_is_stopped_by_a_line_on_its_input() {
    both(|mode| {
        let mut run = Stepdown::in_mode(mode)
            .args(["--ladder", "stdin=stop:1h"])
            .with_stdin()
            .child([binary::child("console-obeys-stop.sh")])
            .start();
        run.says("ready").type_line("hello").says("unknown: hello");
        run.signal(Signal::SIGTERM);
        run.wait().code(0).said("saved").nothing_left();
    });
}

#[test]
fn the_stop_line_comes_through_when_our_own_input_is_empty() {
    // `docker run -d` gives /dev/null; a service manager may close it.
    both(|mode| {
        let null = Stepdown::in_mode(mode);
        let closed = Stepdown::in_mode(mode).closing(0);
        for stepdown in [null, closed] {
            let mut run = stepdown
                .args(["--ladder", "'stdin=save, then stop':50ms,stdin=stop:1h"])
                .child([binary::child("console-obeys-stop.sh")])
                .start();
            run.says("ready").signal(Signal::SIGTERM);
            run.wait()
                .code(0)
                .said("saved")
                .never_said("input is closed");
        }
    });
}

#[test]
fn eof_closes_the_childs_input() {
    both(|mode| {
        let mut run = Stepdown::in_mode(mode)
            .args(["--ladder", "eof:1h"])
            .with_stdin()
            .shell("echo ready; cat; echo input is closed; exit 7")
            .start();
        run.says("ready").type_line("hello").says("hello");
        run.signal(Signal::SIGTERM);
        run.wait().code(7).said("input is closed");
    });
}

#[test]
fn a_stop_command_does_what_signals_cannot() {
    both(|mode| {
        let dir = tempfile::tempdir().expect("a directory");
        let mut run = Stepdown::in_mode(mode)
            .args([
                "--ladder",
                "exec=sh -c 'pwd; env > told; kill -USR1 $STEPDOWN_CHILD_PID':1h",
            ])
            .dir(dir.path())
            .witness(["listen", "10:7"])
            .start();
        run.says("ready").signal(Signal::SIGTERM);
        // It works where stepdown was started, as a hook does.
        let here = dir.path().canonicalize().expect("it is there");
        run.wait()
            .code(7)
            .never_said("got 15")
            .said(here.to_str().expect("a plain path"))
            .nothing_left();
        let told = std::fs::read_to_string(dir.path().join("told")).expect("what it was told");
        for line in [
            "STEPDOWN_REASON=signal",
            "STEPDOWN_SIGNAL=TERM",
            "STEPDOWN_PHASE=stop",
        ] {
            assert!(told.lines().any(|seen| seen == line), "{line} in\n{told}");
        }
    });
}

#[test]
fn a_stop_command_that_fails_or_hangs_holds_up_nothing() {
    both(|mode| {
        let mut run = Stepdown::in_mode(mode)
            .args(["--ladder"])
            .args(["exec=/no/such/command:1h,exec=false:1h,exec='sleep 1000':20ms,USR1:1h"])
            .witness(["listen", "10:7"])
            .start();
        run.says("ready").signal(Signal::SIGTERM);
        // Those that fail by themselves have all the time they need, and it is ended by hand.
        for (why, times) in [("/no/such/command: not found", 3), ("exited with 1", 2)] {
            run.logs(&format!("stop command failed: {why}"));
            for _ in 0..times {
                run.asks_again();
            }
        }
        run.wait()
            .code(7)
            .logged(&["stop command killed"])
            .nothing_left();
    });
}

#[test]
fn the_end_of_our_input_is_the_end_of_the_childs() {
    both(|mode| {
        let mut run = Stepdown::in_mode(mode)
            .args(["--stdin", "relay"])
            .with_stdin()
            .shell("cat; echo the end")
            .start();
        run.type_line("hello").says("hello").close_stdin();
        run.wait().code(0).said("the end").was_silent();
        // /dev/null, and nothing at all.
        for stepdown in [Stepdown::in_mode(mode), Stepdown::in_mode(mode).closing(0)] {
            stepdown
                .args(["--stdin=relay"])
                .shell("cat; echo the end")
                .run()
                .code(0)
                .said("the end")
                .was_silent();
        }
    });
}

/// Bytes that repeat in no short period.
pub(crate) fn bytes(count: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..count).map(|_| next()).collect()
}

/// What cksum(1) says about them.
fn checksum(bytes: &[u8]) -> String {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(bytes).expect("room for it");
    file.rewind().expect("a file");
    let said = std::process::Command::new("cksum").stdin(file).output();
    String::from_utf8(said.expect("cksum").stdout).expect("numbers")
}

#[test]
fn ten_megabytes_come_through_the_relay_intact() {
    let sent = bytes(10_000_000);
    let wanted = checksum(&sent);
    both(|mode| {
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        let run = Stepdown::in_mode(mode)
            .args(["--stdin", "relay"])
            .stdin_from(reader)
            .shell("sleep 0.05; exec cksum")
            .start();
        writer.write_all(&sent).expect("it is read");
        drop(writer);
        run.wait().code(0).said(wanted.trim_end()).was_silent();
    });
}

#[test]
fn a_file_comes_through_the_relay_intact_then_it_ends() {
    let mut file = tempfile::tempfile().expect("a file");
    let sent = bytes(1_000_000);
    file.write_all(&sent).expect("room for it");
    both(|mode| {
        let mut file = file.try_clone().expect("a descriptor");
        file.rewind().expect("a file");
        Stepdown::in_mode(mode)
            .args(["--ladder", "stdin=stop"])
            .stdin_from(file)
            .shell("exec cksum")
            .run()
            .code(0)
            .said(checksum(&sent).trim_end())
            .was_silent();
    });
}

#[test]
fn a_child_that_does_not_read_can_be_stopped_all_the_same() {
    both(|mode| {
        // Endless input fills the pipe and our own buffer; then nobody reads it.
        let endless = File::open("/dev/zero").expect("a device");
        let mut run = Stepdown::in_mode(mode)
            .args(["--ladder", "stdin=stop:30ms,TERM:1h"])
            .stdin_from(endless)
            .witness(["listen", "15:7", "10:8"])
            .start();
        run.says("ready").signal(Signal::SIGHUP).says("got 1");
        run.signal(Signal::SIGTERM);
        run.wait().code(7).nothing_left();
    });
}

#[test]
fn a_child_that_closes_its_input_is_no_trouble() {
    both(|mode| {
        let mut run = Stepdown::in_mode(mode)
            .args(["--ladder", "stdin=stop:20ms,TERM:1h"])
            .with_stdin()
            .shell("exec 0<&-; trap 'exit 7' TERM; echo ready; while :; do sleep 0.02; done")
            .start();
        run.says("ready").type_line("nobody reads this");
        run.signal(Signal::SIGHUP);
        let ended = run.wait();
        // HUP is not handled by the shell: it ends it.
        ended.code(129).nothing_left();
        // Nor is one that does not want all of it.
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        let run = Stepdown::in_mode(mode)
            .args(["--stdin", "relay"])
            .stdin_from(reader)
            .shell("exec head -c 1")
            .start();
        // Fails once stepdown has ended: it was the only reader.
        while writer.write_all(&[b'y'; 4096]).is_ok() {}
        run.wait().code(0).was_silent();
    });
}

#[test]
fn a_line_that_nobody_reads_is_told() {
    both(|mode| {
        let mut run = Stepdown::in_mode(mode)
            .args(["--ladder", "stdin=stop:2s,TERM:1h"])
            .shell("exec 0<&-; trap 'exit 7' TERM; echo ready; while :; do sleep 0.02; done")
            .start();
        run.says("ready").signal(Signal::SIGTERM);
        run.logs("the child's standard input: Broken pipe");
        run.wait().code(7);
    });
}

#[test]
fn without_the_relay_the_input_is_the_childs_own() {
    // What the child leaves unread is there for whoever comes after us, as without stepdown.
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    writer.write_all(b"one\ntwo\n").expect("an empty pipe");
    drop(writer);
    let mut rest = reader.try_clone().expect("a descriptor");
    Stepdown::new()
        .stdin_from(reader)
        .shell("read line; echo got $line")
        .run()
        .code(0)
        .said("got one");
    let mut left = String::new();
    rest.read_to_string(&mut left).expect("a pipe");
    assert_eq!(left, "two\n");
}
