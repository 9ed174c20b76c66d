//! Orphans: all are reaped, none holds up the end, and what is left of the tree is dealt with as told.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::running::Running;
use crate::support::{Stepdown, binary, both, proc, wait_until};

fn actor(stepdown: Stepdown, words: &[&str]) -> Stepdown {
    stepdown.child([binary::actor()]).args(words)
}

fn zombies(run: &mut Running) -> usize {
    let children = run.children();
    children.iter().filter(|child| child.state == 'Z').count()
}

#[test]
fn thousands_of_orphans_are_reaped() {
    both(|mode| {
        let mut run = actor(Stepdown::in_mode(mode), &["orphans", "5000"]).start();
        run.says("ready");
        wait_until("only the child is left", || run.children().len() == 1);
        assert_eq!(zombies(&mut run), 0);
        run.signal(Signal::SIGTERM);
        run.wait().code(143).nothing_left();
    });
}

#[test]
fn each_orphan_is_told_of_when_that_was_asked_for() {
    both(|mode| {
        for options in [
            &["-v"][..],
            &["--log-level=error,reaped"],
            &["-w", "-q"],
            // What it was called before.
            &["--log-reaped", "-q"],
        ] {
            let mut run = actor(Stepdown::in_mode(mode).args(options), &["orphans", "3"]).start();
            run.says("ready");
            run.wait_for("three orphans are told of", |run| {
                run.stderr_text().matches("reaped, exited with 0").count() == 3
            });
            run.signal(Signal::SIGTERM);
            run.wait().code(143);
        }
    });
}

#[test]
fn what_could_not_be_started_is_no_orphan() {
    both(|mode| {
        Stepdown::in_mode(mode)
            .args(["-w", "--post-stop", "/no/such/hook"])
            .child(["/no/such/command"])
            .run()
            .code(127)
            .logged(&["/no/such/command: not found"])
            .never_logged("orphan")
            .nothing_left();
    });
}

#[test]
fn a_flood_of_orphans_does_not_keep_signals_waiting() {
    // Alone, and with something else to wait for.
    both(|mode| flood(Stepdown::in_mode(mode).args(["-v"])));
    flood(Stepdown::new().args(["-v", "--ready-when=notify"]));
}

fn flood(stepdown: Stepdown) {
    const ORPHANS: &str = "1500";
    let log = tempfile::NamedTempFile::new().expect("a file");
    let mut run = stepdown
        .stderr_to(log.reopen().expect("our own"))
        .with_stdin()
        .shell(&format!(
            "echo ready; read go; exec {} orphans {ORPHANS}",
            binary::actor().display()
        ))
        .start();
    run.says("ready");
    // While it is stopped they pile up, as they do behind a storm that does not end.
    run.signal(Signal::SIGSTOP).type_line("go");
    run.wait_for("all orphans wait to be reaped", |run| {
        zombies(run).to_string() == ORPHANS
    });
    // A number above that of CHLD: the kernel hands out lower ones first.
    run.signal(Signal::SIGWINCH).signal(Signal::SIGCONT);
    wait_until("all were reaped", || zombies(&mut run) == 0);
    run.signal(Signal::SIGTERM);
    run.wait().code(143);
    let log = std::fs::read_to_string(log.path()).expect("text");
    let after = log
        .lines()
        .skip_while(|line| !line.contains("WINCH forwarded"));
    let reaped = after.filter(|line| line.contains("orphan")).count();
    assert!(reaped > 500, "{reaped} after WINCH\n{log}");
}

#[test]
fn stepdown_ends_with_its_child_though_an_orphan_holds_the_pipes() {
    both(|mode| {
        let dir = tempfile::tempdir().expect("a directory");
        let ended = Stepdown::in_mode(mode)
            .dir(dir.path())
            .args(["--sweep-grace", "50ms"])
            .shell(
                "trap '' TERM; setsid sh -c 'touch up; while :; do sleep 1; done' &
                 while ! [ -e up ]; do sleep 0.01; done; exit 3",
            )
            .run();
        ended
            .code(3)
            .logged(&["TERM to"])
            .logged(&["KILL to"])
            .nothing_left();
    });
}

#[test]
fn what_is_left_gets_term_and_its_time() {
    both(|mode| {
        let ended = Stepdown::in_mode(mode)
            .args(["--sweep-grace", "1h"])
            .shell(
                "setsid sh -c 'trap \"echo bye; exit\" TERM; echo up; while :; do sleep 0.02; done' &
                 while ! [ -e /proc/$!/stat ]; do :; done; sleep 0.1; exit 3",
            )
            .run();
        ended
            .code(3)
            .logged(&["TERM to", "left: "])
            .logged(&["nothing is left"])
            .nothing_left();
    });
}

#[test]
fn stragglers_are_waited_for_when_told_so() {
    both(|mode| {
        let mut run = Stepdown::in_mode(mode)
            .args(["--left", "wait"])
            .with_stdin()
            .shell("sh -c 'echo up; sleep 1000; echo done' & echo ready; read go; exit 3")
            .start();
        run.says("ready").says("up");
        let main = run.children()[0].pid;
        run.type_line("leave");
        // The child has exited, and stepdown stays until the other one ends, too.
        wait_until("the main child is gone", || {
            let children = run.children();
            children.len() == 1 && children[0].pid != main
        });
        std::thread::sleep(Duration::from_millis(100));
        assert!(run.is_running());
        let mut sleeper = None;
        wait_until("the other one waits for sleep", || {
            let mut members = run.mark().processes().into_iter();
            sleeper = members.find(|member| member.name == "sleep");
            sleeper.is_some()
        });
        let sleeper = sleeper.expect("just waited for").pid;
        proc::kill(sleeper, libc::SIGTERM).expect("it is there");
        run.wait()
            .code(3)
            .said("done")
            .never_logged("stepdown")
            .nothing_left();
    });
}

#[test]
fn a_stop_hurries_stragglers_that_are_waited_for() {
    both(|mode| {
        let mut run = Stepdown::in_mode(mode)
            .args(["--left", "wait"])
            .shell("sh -c 'echo up; exec sleep 1000' & echo leaving; exit 3")
            .start();
        run.says("leaving").says("up");
        run.signal(Signal::SIGTERM);
        run.wait()
            .logged(&["TERM to 1 process left"])
            .nothing_left();
    });
}

#[test]
fn stragglers_are_left_alone_when_told_so() {
    // As PID 1 nothing can be left: the kernel kills what is in the namespace.
    let mut run = Stepdown::new()
        .env("STEPDOWN_LEFT", "leave")
        .shell("sleep 1000 > /dev/null 2>&1 & echo left $!; exit 3")
        .start();
    let left = run.says_about("left ");
    let left: i32 = left["left ".len()..].parse().expect("a pid");
    let ended = run.wait();
    ended.code(3).was_silent();
    assert!(proc::is_alive(nix::unistd::Pid::from_raw(left)));
}

#[test]
fn stepdown_is_a_subreaper_unless_told_otherwise() {
    for (options, adopts) in [
        (&[][..], true),
        (&["--subreaper", "on"], true),
        (&["--subreaper=off"], false),
    ] {
        let mut run = actor(Stepdown::new().args(options), &["keep-an-orphan"]).start();
        run.says("ready");
        let pid = run.pid();
        let mark = run.mark().clone();
        let mut orphan = None;
        wait_until("the orphan has another parent", || {
            let main = run.children().first().map(|child| child.pid);
            let mut others = mark.processes().into_iter();
            orphan = others.find(|p| p.pid != pid && Some(p.pid) != main && Some(p.parent) != main);
            orphan.is_some() && orphan.as_ref().is_some_and(|p| (p.parent == pid) == adopts)
        });
        run.signal(Signal::SIGTERM);
        let ended = run.wait();
        ended.code(143);
        let orphan = orphan.expect("just waited for").pid;
        assert_eq!(proc::is_alive(orphan), !adopts);
    }
}

#[test]
fn a_forking_storm_is_ended() {
    both(|mode| {
        // Each generation forks the next and leaves; none of them obeys TERM.
        let mut run = Stepdown::in_mode(mode)
            .args(["--grace", "50ms", "--sweep-grace", "50ms"])
            .shell(
                "trap '' TERM; f() { (setsid sh -c 'sleep 0.01' & f) & }; f; echo ready;
                 while :; do sleep 1; done",
            )
            .start();
        run.says("ready").signal(Signal::SIGTERM);
        run.wait().code(137).nothing_left();
    });
}

#[test]
fn a_stopped_straggler_is_swept_too() {
    both(|mode| {
        let ended = Stepdown::in_mode(mode)
            .args(["--sweep-grace", "1h"])
            .shell(
                "sh -c 'kill -STOP $$' & while ! grep -q 'T (' /proc/$!/status; do :; done; exit 3",
            )
            .run();
        // TERM alone would wait for ever: CONT goes with it.
        ended.code(3).nothing_left();
    });
}

#[test]
fn a_subreaper_is_found_by_the_orphan_of_a_hook() {
    let mut run = Stepdown::new()
        .args([
            "--pre-start",
            "sh -c '(sleep 1000 > /dev/null 2>&1 &)'",
            "--sweep-grace",
            "100ms",
        ])
        .witness(["listen", "15:7"])
        .start();
    run.says("ready");
    let pid = run.pid();
    wait_until("stepdown has adopted it", || {
        run.children()
            .iter()
            .any(|child| child.name == "sleep" && child.parent == pid)
    });
    run.signal(Signal::SIGTERM);
    run.wait().code(7).nothing_left();
}
