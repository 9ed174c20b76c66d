//! Whom the sweep tells what: nobody twice, roots first, and each of those that are left for as long as was said.

use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::ended::Ended;
use crate::support::pty::{CTRL_C, Pty, prompt};
use crate::support::skipped::skip;
use crate::support::stepdown::can_be_pid1;
use crate::support::{BOUND, Mode, Stepdown, binary, both, need, proc, wait_until};

/// Long enough to fail the story if it were ever slept out.
const LONG: &str = "1h";

fn left_behind(stepdown: Stepdown, words: &str) -> Stepdown {
    stepdown
        .child([binary::left_behind()])
        .args(words.split(' ').map(String::from))
}

fn times(ended: &Ended, line: &str) -> usize {
    ended.stdout.lines().filter(|seen| *seen == line).count()
}

/// So that nobody can be in doubt about what came first: starts are counted in hundredths of a second.
fn lets_time_pass() {
    std::thread::sleep(Duration::from_millis(30));
}

/// The program was told once, and had the time that it needs.
#[track_caller]
fn has_finished(ended: &Ended) {
    assert_eq!(times(ended, "server got TERM"), 1, "{}", ended.told());
    ended
        .said("server has finished")
        .never_said("server was hurried")
        .never_logged("KILL to 1 process left")
        .nothing_left();
}

#[test]
fn who_was_told_by_the_ladder_is_not_told_again() {
    both(|mode| {
        for options in [
            &["--target", "group"][..],
            &["--target", "tree"],
            &["--ladder", "TERM@group,TERM@tree:1h"],
        ] {
            let stepdown = Stepdown::in_mode(mode).args(options);
            // npm, or a shell: gone at once, while the program in its group needs its time.
            let stepdown = stepdown.args(["--sweep-grace", LONG]);
            let mut run = left_behind(stepdown, "front serve server 700").start();
            run.says("server ready");
            lets_time_pass();
            run.signal(Signal::SIGTERM);
            let ended = run.wait();
            ended.logged(&[
                "waiting for 1 process left, which has had the signal: ",
                " left-behind",
                "(--sweep-grace)",
            ]);
            has_finished(ended.code(143).never_logged("TERM to 1 process left"));
        }
    });
}

#[test]
fn what_a_forwarded_term_has_reached_is_not_told_again() {
    both(|mode| {
        let stepdown = Stepdown::in_mode(mode)
            .args(["--target", "group", "--stop-on", ""])
            .args(["--sweep-grace", LONG]);
        let mut run = left_behind(stepdown, "front serve server 700").start();
        run.says("server ready").signal(Signal::SIGTERM);
        has_finished(run.wait().code(143));
    });
}

#[test]
fn who_was_in_the_group_later_is_told() {
    both(|mode| {
        // The second server is started by a trap: the signal was there before.
        let server = binary::left_behind().display();
        let script = format!(
            "trap '{server} serve late 0 & sleep 0.3; exit 3' TERM; {server} serve early 500 & wait; wait"
        );
        let mut run = Stepdown::in_mode(mode)
            .args(["--target", "group", "--sweep-grace", "5s"])
            .shell(&script)
            .start();
        run.says("early ready");
        lets_time_pass();
        run.signal(Signal::SIGTERM);
        let ended = run.wait();
        ended
            .code(3)
            .said("late got TERM")
            .never_logged("KILL")
            .nothing_left();
        assert_eq!(times(&ended, "early got TERM"), 1, "{}", ended.told());
    });
}

#[test]
fn what_the_terminal_has_told_is_not_told_again() {
    let mut pty = Pty::shell();
    let (stepdown, server) = (binary::under_test(), binary::left_behind());
    let (stepdown, server) = (stepdown.display(), server.display());
    pty.enters(&format!(
        "{stepdown} --sweep-grace 1h -- {server} front serve server 500"
    ));
    pty.shows("server ready").types(CTRL_C);
    pty.shows("server has finished").shows(&prompt(130));
    pty.showed_times("server got INT", 1);
    pty.never_showed("server got TERM");
}

/// A shell starts its background jobs with INT ignored: it has asked nobody.
#[test]
fn who_ignores_what_it_was_told_is_told_by_term() {
    both(|mode| {
        let job = "trap 'echo bye; exit' TERM; echo ready; while :; do sleep 0.02; done";
        let mut run = Stepdown::in_mode(mode)
            .args(["--target", "group", "--sweep-grace", LONG])
            .shell(&format!("trap 'exit 3' INT; ({job}) & wait"))
            .start();
        run.says("ready").signal(Signal::SIGINT);
        run.wait()
            .code(3)
            .said("bye")
            .never_logged("KILL")
            .nothing_left();
    });
}

#[test]
fn without_proc_nobody_is_told_twice_either() {
    need!(can_be_pid1());
    for options in [&["--target", "group"], &["--target", "tree"]] {
        for mode in [Mode::Ordinary, Mode::Pid1] {
            let stepdown = Stepdown::in_mode(mode);
            let (actor, stepdown_path) = (binary::actor(), binary::under_test());
            let stepdown = match mode {
                Mode::Ordinary => stepdown
                    .program("unshare")
                    .args(["--mount", "--"])
                    .args([actor]),
                Mode::Pid1 => stepdown.program(actor),
            };
            let stepdown = stepdown
                .args(["without-proc"])
                .args([stepdown_path])
                .args(options)
                .args(["--sweep-grace", "30s"]);
            let mut run = left_behind(stepdown, "front serve server 700").start();
            run.says("server ready");
            match mode {
                Mode::Ordinary => drop(run.signal(Signal::SIGTERM)),
                // It is not to be found by its program: that is another one by now.
                Mode::Pid1 => {
                    let inits = run.mark().processes();
                    let init = inits.iter().find(|process| process.name == "stepdown");
                    let init = init.expect("it runs").pid;
                    proc::kill(init, Signal::SIGTERM as i32).expect("our own");
                }
            }
            let ended = run.wait();
            ended.code(143);
            assert_eq!(times(&ended, "server got TERM"), 1, "{}", ended.told());
            ended.said("server has finished");
        }
    }
}

#[test]
fn what_is_left_has_the_rest_of_an_explicit_grace() {
    both(|mode| {
        for options in [
            &["--grace", "30s"][..],
            &["--ladder", "TERM:30s"],
            &["--grace", "30s", "--target", "group"],
        ] {
            let stepdown = Stepdown::in_mode(mode)
                .args(options)
                .args(["--sweep-grace", "50ms"]);
            let mut run = left_behind(stepdown, "front serve server 800").start();
            run.says("server ready").signal(Signal::SIGTERM);
            has_finished(
                run.wait()
                    .code(143)
                    .stopped_no_sooner_than(Duration::from_millis(800)),
            );
        }
    });
}

#[test]
fn the_line_about_kill_names_the_option_that_decided() {
    both(|mode| {
        for (options, why) in [
            ("--sweep-grace 100ms", "(--sweep-grace is over)"),
            ("--grace 200ms --sweep-grace 50ms", "(--grace is over)"),
            (
                "--grace 50ms --sweep-grace 200ms",
                "(--sweep-grace is over)",
            ),
            (
                "--ladder TERM:200ms --sweep-grace 50ms",
                "(--ladder is over)",
            ),
            (
                "--deadline 300ms --sweep-grace 1h",
                "(--deadline leaves no more time)",
            ),
        ] {
            let stepdown = Stepdown::in_mode(mode).args(options.split(' ').map(String::from));
            let mut run = left_behind(stepdown, "front-apart serve server 3600000").start();
            run.says("server ready").signal(Signal::SIGTERM);
            run.wait()
                .code(143)
                .logged(&["KILL to 1 process left: ", "left-behind", why])
                .nothing_left();
        }
        // Who is in a hurry has decided that, and a grace that nobody has asked for gives nothing.
        let stepdown = Stepdown::in_mode(mode).args(["--sweep-grace", LONG]);
        let mut run = left_behind(stepdown, "front-apart serve server 3600000").start();
        run.says("server ready").signal(Signal::SIGTERM);
        run.logs("TERM to 1 process left");
        run.signal(Signal::SIGINT).says("server got TERM");
        std::thread::sleep(Duration::from_millis(100));
        run.signal(Signal::SIGINT);
        run.wait()
            .code(143)
            .logged(&["KILL to 1 process left: "])
            .never_logged("is over")
            .nothing_left();
    });
}

#[test]
fn a_grace_is_for_a_stop_and_not_for_the_childs_own_end() {
    both(|mode| {
        let server = binary::left_behind().display();
        let ended = Stepdown::in_mode(mode)
            .args(["--grace", LONG, "--sweep-grace", "100ms"])
            .shell(&format!(
                "{server} serve server 3600000 & sleep 0.3; exit 3"
            ))
            .run();
        ended
            .code(3)
            .logged(&["KILL to 1 process left: ", "(--sweep-grace is over)"])
            .nothing_left();
    });
}

#[test]
fn a_master_that_is_left_tells_its_workers_itself() {
    both(|mode| {
        for options in [&["--sweep-grace", "30s"], &["--grace", "30s"]] {
            let stepdown = Stepdown::in_mode(mode).args(options);
            let mut run = left_behind(stepdown, "master 3 700").start();
            run.says("main ready").signal(Signal::SIGTERM);
            let ended = run.wait();
            ended
                .code(143)
                .said("master got TERM")
                .never_said("master was told twice")
                .never_said("worker has lost its task")
                .logged(&["TERM to 1 process left: "])
                .never_logged("KILL")
                .nothing_left();
            assert_eq!(times(&ended, "worker has finished"), 3, "{}", ended.told());
        }
    });
}

#[test]
fn the_rest_is_told_once_its_parents_have_had_half_of_the_time() {
    both(|mode| {
        let stepdown = Stepdown::in_mode(mode).args(["--sweep-grace", "1200ms"]);
        let mut run = left_behind(stepdown, "deaf-parent 0").start();
        run.says("child ready").signal(Signal::SIGTERM);
        let ended = run.wait();
        ended
            .code(143)
            .said("parent has seen it")
            .stopped_no_sooner_than(Duration::from_millis(600))
            .never_logged("KILL")
            .nothing_left();
        assert_eq!(times(&ended, "child got TERM"), 1, "{}", ended.told());
    });
}

#[test]
fn who_loses_its_parent_is_told_at_once() {
    both(|mode| {
        let stepdown = Stepdown::in_mode(mode).args(["--sweep-grace", LONG]);
        let mut run = left_behind(stepdown, "front-apart front front serve server 300").start();
        run.says("server ready").signal(Signal::SIGTERM);
        let ended = run.wait();
        has_finished(ended.code(143));
    });
}

#[test]
fn a_storm_of_forks_within_a_limit_is_gone_with_an_ordinary_process() {
    if !nix::unistd::geteuid().is_root() {
        return skip("only root can give somebody a limit of its own");
    }
    // Nobody else is this user, so the limit is that of the storm.
    let tree_maker = binary::tree_maker().to_str().expect("a plain path");
    for target in ["TERM:50ms,KILL", "TERM,KILL"] {
        let user = 47_000 + std::process::id() % 1000;
        let mut run = Stepdown::new()
            .args(["--user", &format!("{user}:{user}"), "--sweep-grace", "50ms"])
            .args(["--ladder", target])
            .child([tree_maker, "storm", "200"])
            .start();
        run.says("ready");
        run.wait_for("the limit is reached", |run| {
            run.mark().processes().len() > 150
        });
        run.signal(Signal::SIGTERM);
        // The storm itself takes what CPU there is.
        run.wait_within(3 * BOUND)
            .code(143)
            .logged(&["nothing is left"])
            .nothing_left();
    }
}

#[test]
fn who_came_from_outside_is_named_as_such() {
    need!(can_be_pid1());
    let stepdown = Stepdown::as_pid1().args(["--sweep-grace", "100ms"]);
    let mut run = left_behind(stepdown, "front-apart serve server 3600000").start();
    run.says("server ready");
    let init = run.pid().to_string();
    // As `docker exec` does it.
    let mut entered = Command::new("nsenter")
        .args(["--target", &init, "--pid", "--mount", "--", "sleep", "1000"])
        .spawn()
        .expect("util-linux");
    let entering = nix::unistd::Pid::from_raw(entered.id().cast_signed());
    wait_until("somebody is inside", || {
        proc::children(entering)
            .iter()
            .any(|inside| inside.name == "sleep")
    });
    run.signal(Signal::SIGTERM);
    let ended = run.wait();
    let _ = entered.kill();
    entered.wait().expect("our own child");
    ended
        .code(143)
        .logged(&[
            "KILL to 2 processes left: ",
            " left-behind",
            " sleep (from outside)",
        ])
        .never_logged("left-behind (from outside)");
}

/// CONT is 18.
#[test]
fn only_who_is_stopped_is_continued() {
    both(|mode| {
        for (target, stopped) in [
            ("child", false),
            ("child", true),
            ("group", false),
            ("group", true),
            ("tree", false),
            ("tree", true),
        ] {
            let mut run = Stepdown::in_mode(mode)
                .args(["--target", target])
                .witness(["family", "15:0"])
                .start();
            run.says("ready");
            if stopped {
                let main = run.children()[0].pid;
                proc::kill(main, Signal::SIGSTOP as i32).expect("our own");
                wait_until("it is stopped", || {
                    proc::process(main).is_some_and(|process| process.state == 'T')
                });
            }
            run.signal(Signal::SIGTERM);
            let ended = run.wait();
            ended.code(0).never_logged("KILL").nothing_left();
            // It may act on TERM before it takes CONT.
            for who in ["member ", "outsider ", "orphan "] {
                ended.never_said(&format!("{who}got 18"));
            }
            if !stopped {
                ended.never_said("main got 18");
            }
        }
    });
}

#[test]
fn a_member_of_the_target_that_is_stopped_is_continued() {
    both(|mode| {
        for target in ["group", "tree"] {
            let mut run = Stepdown::in_mode(mode)
                .args(["--target", target, "--grace", LONG])
                .shell(
                    "sh -c 'kill -STOP $$; sleep 0.1' & trap 'wait; exit 3' TERM; echo ready; wait",
                )
                .start();
            run.says("ready");
            run.wait_for("a stopped process", |run| {
                let members = run.mark().processes();
                members.iter().any(|member| member.state == 'T')
            });
            run.signal(Signal::SIGTERM);
            run.wait().code(3).never_logged("KILL").nothing_left();
        }
    });
}

/// The stop and the request come together: nobody can know before.
#[test]
fn a_child_that_is_stopped_as_the_stop_begins_is_continued() {
    both(|mode| {
        for _ in 0..10 {
            let mut run = Stepdown::in_mode(mode)
                .args(["--grace", LONG])
                .shell("trap 'exit 3' TERM; echo ready; while :; do sleep 0.02; done")
                .start();
            run.says("ready");
            let (stepdown, child) = (run.pid(), run.children()[0].pid);
            proc::kill(stepdown, Signal::SIGSTOP as i32).expect("our own");
            proc::kill(child, Signal::SIGSTOP as i32).expect("our own");
            run.signal(Signal::SIGTERM);
            proc::kill(stepdown, Signal::SIGCONT as i32).expect("our own");
            run.wait().code(3).never_logged("KILL").nothing_left();
        }
    });
}

#[test]
fn a_child_that_was_continued_before_gets_no_other_cont() {
    both(|mode| {
        let mut run = Stepdown::in_mode(mode).witness(["listen", "15:0"]).start();
        run.says("ready");
        let child = run.children()[0].pid;
        proc::kill(child, Signal::SIGSTOP as i32).expect("our own");
        wait_until("it is stopped", || {
            proc::process(child).is_some_and(|process| process.state == 'T')
        });
        proc::kill(child, Signal::SIGCONT as i32).expect("our own");
        run.says("got 18").signal(Signal::SIGTERM);
        let ended = run.wait();
        ended.code(0);
        assert_eq!(times(&ended, "got 18"), 1, "{}", ended.told());
    });
}
