//! Nothing survives: whatever the main child leaves behind is found, signalled, named, and gone.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::docker::{self, Image, container};
use crate::support::stepdown::can_be_pid1;
use crate::support::{BOUND, Stepdown, binary, both, need, proc, wait_until};

/// Long enough to fail the story if it were ever slept out.
const LONG: &str = "1h";

fn tree_maker() -> &'static str {
    binary::tree_maker().to_str().expect("a plain path")
}

/// Everything that the children files of a test must not miss.
const FAMILY: &str = "
    sleep 1001 &
    sh -c 'sleep 1002 & sleep 1003; :' &
    setsid sleep 1004 &
    (setsid sh -c 'sleep 1005 & :' &)
    sh -c 'kill -STOP $$; sleep 1006' &
    sh -c 'trap \"\" TERM; sleep 1007; sleep 1008' &
";

/// Waits until all sleepers of the family, and the one that has stopped itself, are there.
fn wait_for_family(run: &mut crate::support::running::Running) {
    run.wait_for("the whole family", |run| {
        let members = run.mark().processes();
        let sleepers = members.iter().filter(|member| member.name == "sleep");
        sleepers.count() == 6 && members.iter().any(|member| member.state == 'T')
    });
}

#[test]
fn nothing_survives_a_stop() {
    both(|mode| {
        // The trap comes first, and the shell has no sleeper of its own: once all are there, so is it.
        let mut run = Stepdown::in_mode(mode)
            .args(["--sweep-grace", "200ms"])
            .shell(&format!("trap 'exit 3' TERM; {FAMILY} wait"))
            .start();
        wait_for_family(&mut run);
        run.signal(Signal::SIGTERM);
        run.wait()
            .code(3)
            .logged(&["TERM to ", " left: ", " sleep, "])
            .logged(&["KILL to ", " left: "])
            .logged(&["nothing is left"])
            .nothing_left();
    });
}

#[test]
fn nothing_survives_the_childs_own_end() {
    both(|mode| {
        let mut run = Stepdown::in_mode(mode)
            .args(["--sweep-grace", "200ms"])
            .with_stdin()
            .shell(&format!("{FAMILY} read line; exit 5"))
            .start();
        wait_for_family(&mut run);
        run.type_line("leave");
        run.wait()
            .code(5)
            .logged(&["nothing is left"])
            .nothing_left();
    });
}

/// Its parent ends, or a thread of it, while the tree is looked at.
#[test]
fn who_gets_another_parent_meanwhile_gets_the_signal_as_well() {
    for (who, rounds) in [("parents", "1000"), ("threads", "300")] {
        let moving = binary::moving().to_str().expect("a plain path");
        let run = Stepdown::new()
            .args(["--target", "tree"])
            .child([moving, who, rounds])
            .run();
        run.code(0).never_said("lost").nothing_left();
    }
}

#[test]
fn stragglers_that_obey_are_not_waited_for_any_longer() {
    both(|mode| {
        let mut run = Stepdown::in_mode(mode)
            .args(["--sweep-grace", LONG])
            .shell("setsid sh -c 'trap \"echo bye; exit\" TERM; echo ready; while :; do sleep 0.01; done' & read line; wait")
            .start();
        run.says("ready").signal(Signal::SIGTERM);
        run.wait()
            .code(143)
            .said("bye")
            .never_logged("KILL")
            .nothing_left();
    });
}

/// The straggler needs longer for its goodbye than the default grace, or for ever.
#[test]
fn the_sweep_grace_is_what_was_asked_for() {
    for (grace, goodbye, said) in [
        ("100ms", "while :; do sleep 1; done", false),
        (LONG, "sleep 2.5", true),
    ] {
        let script = format!(
            "trap '{goodbye}; echo bye; exit' TERM; echo ready; while :; do sleep 0.01; done"
        );
        let mut run = Stepdown::new()
            .args(["--sweep-grace", grace])
            .shell(&format!("setsid sh -c \"{script}\" & read line; wait"))
            .start();
        run.says("ready").signal(Signal::SIGTERM);
        let ended = run.wait();
        ended.code(143).nothing_left();
        if said {
            ended.said("bye").never_logged("KILL");
        } else {
            ended.never_said("bye").logged(&["KILL to ", " left: "]);
        }
    }
}

#[test]
fn a_stopped_straggler_is_continued_so_that_it_can_obey() {
    both(|mode| {
        let mut run = Stepdown::in_mode(mode)
            .args(["--sweep-grace", LONG])
            .with_stdin()
            .shell("setsid sh -c 'trap \"echo bye; exit\" TERM; kill -STOP $$; while :; do sleep 0.01; done' & read line; exit 0")
            .start();
        run.wait_for("a stopped process", |run| {
            run.mark()
                .processes()
                .iter()
                .any(|member| member.state == 'T')
        });
        run.type_line("leave");
        run.wait()
            .code(0)
            .said("bye")
            .never_logged("KILL")
            .nothing_left();
    });
}

#[test]
fn a_deaf_straggler_gets_its_grace_and_then_kill() {
    both(|mode| {
        let actor = binary::actor().to_str().expect("a plain path");
        let mut run = Stepdown::in_mode(mode)
            .args(["--sweep-grace", "300ms"])
            .shell(&format!("setsid {actor} ignore-signals & wait"))
            .start();
        run.says("ready").signal(Signal::SIGTERM);
        run.wait()
            .code(143)
            .logged(&["TERM to 1 process left: ", " actor"])
            .logged(&["KILL to 1 process left: ", " actor"])
            .stopped_no_sooner_than(Duration::from_millis(300))
            .nothing_left();
    });
}

#[test]
fn int_again_ends_the_grace_of_what_is_left() {
    both(|mode| {
        let actor = binary::actor().to_str().expect("a plain path");
        let mut run = Stepdown::in_mode(mode)
            .args(["--sweep-grace", LONG])
            .shell(&format!("setsid {actor} ignore-signals & wait"))
            .start();
        run.says("ready").signal(Signal::SIGTERM);
        run.logs("TERM to 1 process left: ");
        run.asks_again();
        assert!(!run.stderr_has("KILL"));
        run.asks_again();
        run.wait()
            .code(143)
            .logged(&["KILL to 1 process left: ", " actor"])
            .nothing_left();
    });
}

#[test]
fn where_nobody_is_left_no_time_is_spent_and_nothing_is_told() {
    both(|mode| {
        Stepdown::in_mode(mode)
            .args(["--sweep-grace", LONG])
            .shell("sleep 0.01 & setsid true & wait; exit 4")
            .run()
            .code(4)
            .was_silent()
            .nothing_left();
    });
}

#[test]
fn stragglers_are_waited_for_on_request() {
    both(|mode| {
        let mut run = Stepdown::in_mode(mode)
            .args(["-v", "--left", "wait"])
            .with_stdin()
            .shell("exec 3<&0; setsid sh -c 'read line <&3; echo done' & exit 3")
            .start();
        run.logs("child exited with 3");
        assert!(run.is_running());
        run.type_line("finish");
        run.wait()
            .code(3)
            .said("done")
            .never_logged("TERM to")
            .nothing_left();
    });
}

#[test]
fn a_stop_ends_the_wait_for_stragglers() {
    both(|mode| {
        let mut run = Stepdown::in_mode(mode)
            .args(["-v", "--left", "wait", "--sweep-grace", LONG])
            .shell("setsid sleep 1000 & exit 3")
            .start();
        run.logs("child exited with 3");
        run.wait_for("the straggler", |run| {
            run.mark()
                .processes()
                .iter()
                .any(|member| member.name == "sleep")
        });
        run.signal(Signal::SIGTERM);
        run.wait()
            .code(3)
            .logged(&["TERM to 1 process left: ", " sleep"])
            .nothing_left();
    });
}

#[test]
fn stragglers_are_left_on_request() {
    // A post-stop hook, after which everybody else is swept once more, changes nothing about it.
    for options in [&[][..], &["-q", "--post-stop", "true"]] {
        let ended = Stepdown::new()
            .args(["--left", "leave"])
            .args(options)
            .shell("setsid sleep 1000 & exit 3")
            .run();
        ended.code(3).was_silent();
        // In the middle of its exec it has no environment to be known by.
        wait_until("it is still there", || ended.still_there().len() == 1);
    }
}

#[test]
fn what_is_swept_is_named() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let odd = directory.path().join("x) S 1 (\ny");
    std::os::unix::fs::symlink("/bin/sleep", &odd).expect("a directory of our own");
    both(|mode| {
        for (format, name) in [("text", r"x) S 1 (\ny"), ("json", r"x) S 1 (\ny")] {
            let mut run = Stepdown::in_mode(mode)
                .args(["--log-format", format])
                .env("ODD", &odd)
                .shell("setsid \"$ODD\" 1000 & echo pid $!; exec sleep 1000")
                .start();
            let inner = run.says_about("pid ").replace("pid ", "");
            run.wait_for("both programs", |run| {
                let members = run.mark().processes();
                members.iter().any(|member| member.name.starts_with("x)"))
                    && members.iter().any(|member| member.name == "sleep")
            });
            run.signal(Signal::SIGTERM);
            run.wait().code(143).logged(&[&inner, name]).nothing_left();
        }
    });
}

#[test]
fn a_log_line_about_thousands_is_still_json() {
    let mut run = Stepdown::new()
        .args(["--log-format", "json", "--ladder", "KILL"])
        .child([tree_maker(), "tree", "400"])
        .start();
    run.says("ready").signal(Signal::SIGTERM);
    let ended = run.wait();
    ended
        .code(137)
        .logged(&["\"swept\"", "\"more\":"])
        .nothing_left();
    for line in ended.stderr.lines() {
        assert!(line.starts_with('{') && line.ends_with('}'), "{line}");
    }
}

/// The command ends first, and its children have another parent before their turn comes.
#[test]
fn without_a_subreaper_kill_reaches_the_children_of_the_command() {
    let script =
        "trap '' TERM; for n in 1 2 3 4 5 6 7 8; do sleep 1000 & done; echo ready; sleep 1000; :";
    for _ in 0..5 {
        let mut run = Stepdown::new()
            .args(["--subreaper=off", "--ladder", "KILL"])
            .shell(script)
            .start();
        run.says("ready").signal(Signal::SIGTERM);
        let mark = run.mark().clone();
        run.wait().code(137);
        // They have KILL, and end as children of somebody else.
        mark.wait_until_gone();
    }
}

#[test]
fn orphans_are_adopted_by_an_ordinary_process_unless_that_is_switched_off() {
    let script = "(setsid sh -c 'sleep 1000 & :' &) ; echo ready; read line; exit 0";
    for (switch, adopted) in [("on", true), ("off", false)] {
        let mut run = Stepdown::new()
            .args(["--subreaper", switch])
            .with_stdin()
            .shell(script)
            .start();
        run.says("ready");
        let stepdown = proc::process(run.pid()).expect("it lives");
        // The parent that it lost cannot be told by its environment while it ends; but it is younger
        // than whoever adopts.
        let is_older = |pid| proc::process(pid).is_some_and(|p| p.started < stepdown.started);
        run.wait_for(&format!("an orphan, --subreaper {switch}"), |run| {
            let members = run.mark().processes();
            members.iter().any(|member| {
                let by_us = member.parent == stepdown.pid;
                member.name == "sleep" && by_us == adopted && (by_us || is_older(member.parent))
            })
        });
        run.type_line("leave");
        let ended = run.wait();
        ended.code(0);
        assert_eq!(
            ended.still_there().is_empty(),
            adopted,
            "--subreaper {switch}"
        );
        if !adopted {
            ended.was_silent();
        }
    }
}

#[test]
fn a_tree_of_thousands_that_ignore_term_is_gone() {
    both(|mode| {
        let mut run = Stepdown::in_mode(mode)
            .args(["--ladder", "TERM:500ms,KILL"])
            .child([tree_maker(), "tree", "5000"])
            .start();
        run.says("ready");
        let deaf = run.mark().processes();
        let maker = deaf.iter().filter(|process| process.name == "tree-maker");
        assert_eq!(maker.count(), 5001);
        run.signal(Signal::SIGTERM);
        run.wait_within(3 * BOUND)
            .code(137)
            .logged(&["KILL to 5000 processes left: "])
            .nothing_left();
    });
}

#[test]
fn stragglers_that_replace_each_other_are_outrun() {
    both(|mode| {
        // The budget of the first two lasts for minutes; the bomb would not stop growing before.
        for (kind, forks) in [
            ("hydra", "1000000"),
            ("run-away", "1000000"),
            ("bomb", "3000"),
        ] {
            let mut run = Stepdown::in_mode(mode)
                .args(["--sweep-grace", "50ms"])
                .child([tree_maker(), kind, forks])
                .start();
            run.says("ready").signal(Signal::SIGTERM);
            run.wait().code(143).nothing_left();
        }
    });
}

#[test]
fn a_process_whose_first_thread_has_ended_is_found() {
    both(|mode| {
        let mut run = Stepdown::in_mode(mode)
            .args(["--sweep-grace", "50ms"])
            .child([tree_maker(), "headless"])
            .start();
        run.says("ready").signal(Signal::SIGTERM);
        run.wait()
            .code(143)
            .logged(&["KILL to 1 process left: ", " tree-maker"])
            .logged(&["nothing is left"])
            .nothing_left();
    });
}

#[test]
fn without_proc_an_ordinary_process_says_what_it_cannot_do() {
    need!(can_be_pid1());
    let stepdown = binary::under_test();
    let mut run = Stepdown::new()
        .program("unshare")
        .args(["--mount", "--"])
        .args([
            binary::actor().as_os_str(),
            "without-proc".as_ref(),
            stepdown.as_os_str(),
        ])
        .args(["--sweep-grace", "50ms"])
        .shell("sh -c 'trap \"\" TERM; echo ready; while :; do sleep 0.05; done' & wait")
        .start();
    run.says("ready").signal(Signal::SIGTERM);
    let ended = run.wait();
    ended
        .code(143)
        .logged(&["no usable /proc", "process group"])
        .nothing_left();
    assert_eq!(ended.stderr.matches("/proc").count(), 1, "{}", ended.stderr);
}

#[test]
fn a_fork_bomb_within_a_pids_limit_is_gone_with_its_container() {
    need!(docker::available());
    let image = Image::from_scratch("tree")
        .file("/stepdown", binary::under_test_static())
        .file("/tree-maker", binary::tree_maker())
        .line(r#"ENTRYPOINT ["/stepdown", "--"]"#)
        .build();
    let mut container = container(&image)
        .options(["--pids-limit", "200"])
        .stepdown([
            "--sweep-grace",
            "50ms",
            "--",
            "/tree-maker",
            "bomb",
            "1000000",
        ])
        .start();
    container.says("ready");
    let init = container.pid();
    wait_until("the limit is reached", || tasks_beside(init) >= 190);
    container.stop(&["-t", "15"]);
    container.wait().code(143).logged(&["nothing is left"]);
}

/// How many processes share the PID namespace of a process.
fn tasks_beside(init: nix::unistd::Pid) -> usize {
    let namespace = |pid| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let wanted = namespace(init);
    let all = proc::all();
    all.iter()
        .filter(|process| namespace(process.pid) == wanted)
        .count()
}
