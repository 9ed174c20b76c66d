//! Restarts beside everything else that one can ask for, and a stop in every moment of them.

use std::fs;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::files::directory;
use crate::identity::is_root;
use crate::support::cgroup::Group;
use crate::support::pty::{CTRL_C, CTRL_Z, Pty, prompt};
use crate::support::running::Running;
use crate::support::{Mode, Stepdown, binary, both, holds_within, need, proc, wait_until};

const QUICKLY: [&str; 3] = [
    "--restart=always",
    "--restart-delay=1ms",
    "--restart-max-delay=2ms",
];

#[test]
fn a_stop_is_obeyed_in_every_moment_of_a_crash_loop() {
    both(|mode| {
        for round in 0..30_u64 {
            let mut run = Stepdown::in_mode(mode)
                .args(QUICKLY)
                .args(["--restart-limit=none", "--post-stop=true", "-q"])
                .shell("echo up; setsid sleep 1000 & exit 3")
                .start();
            run.says("up");
            // Not to wait for anything: so that it meets all moments.
            std::thread::sleep(Duration::from_micros(round * 1_337 % 23_000));
            run.signal(Signal::SIGTERM);
            let ended = run.wait();
            let code = ended.status.code();
            assert!(matches!(code, Some(3 | 143)), "{code:?} {}", ended.told());
            ended.nothing_left();
        }
    });
}

#[test]
fn what_one_generation_was_to_leave_lives_on_beside_the_next() {
    both(|mode| {
        let dir = directory();
        let mut run = Stepdown::in_mode(mode)
            .dir(dir.path())
            .args(QUICKLY)
            .args(["--left=leave", "--restart-limit=none"])
            .shell(
                "if ! test -e left; then setsid sleep 1000 & echo $! >made; mv made left; exit 1; fi; \
                 echo lives; until test -e end; do sleep 0.01; done; rm end; exit 2",
            )
            .start();
        run.says("lives");
        // A whole further generation does not touch it.
        fs::write(dir.path().join("end"), "").expect("our own directory");
        run.says_times("lives", 2).signal(Signal::SIGTERM);
        let ended = run.wait();
        ended.code(143);
        let names: Vec<String> = ended.still_there().into_iter().map(|p| p.name).collect();
        // As PID 1 nobody can be left: the kernel ends the namespace.
        let lives_on = names.iter().any(|name| name == "sleep");
        assert_eq!(lives_on, mode == Mode::Ordinary, "{names:?}");
    });
}

#[test]
fn a_stop_is_obeyed_in_every_moment_whatever_becomes_of_what_is_left() {
    need!(Group::new());
    both(|mode| {
        let group = Group::new().expect("as before");
        for options in [&["--left=wait"][..], &["--left=leave"], &["--cgroup=on"]] {
            for round in 0..5_u64 {
                let mut run = group
                    .with(Stepdown::in_mode(mode))
                    .args(QUICKLY)
                    .args(options)
                    .args(["--restart-limit=none", "-q"])
                    .shell("echo up; setsid sleep 0.02 & exit 3")
                    .start();
                run.says("up");
                // Not to wait for anything: so that it meets all moments.
                std::thread::sleep(Duration::from_micros(round * 9_337 % 43_000));
                run.signal(Signal::SIGTERM);
                let ended = run.wait();
                let code = ended.status.code();
                assert!(matches!(code, Some(3 | 143)), "{code:?} {}", ended.told());
                wait_until("all are gone", || ended.still_there().is_empty());
                group.is_empty();
            }
        }
    });
}

#[test]
fn a_stop_is_obeyed_in_every_moment_of_a_restart_that_is_asked_for() {
    both(|mode| {
        for round in 0..10_u64 {
            let mut run = Stepdown::in_mode(mode)
                .args(["--restart-on=HUP", "--pre-start=true", "--pre-stop=true"])
                .args([
                    "--post-stop",
                    "sh -c 'echo over $STEPDOWN_GENERATION'",
                    "-q",
                ])
                .shell("trap 'exit 0' TERM; echo up; while :; do sleep 0.01; done")
                .start();
            run.says("up").signal(Signal::SIGHUP);
            // As above.
            std::thread::sleep(Duration::from_micros(round * 7_337 % 67_000));
            run.signal(Signal::SIGTERM);
            let ended = run.wait();
            let code = ended.status.code();
            // Before the start of the second one there is nothing that could end well.
            assert!(matches!(code, Some(0 | 143)), "{code:?} {}", ended.told());
            ended.said("over 1").nothing_left();
        }
    });
}

#[test]
fn each_generation_has_a_cgroup_of_its_own_and_none_is_left() {
    need!(Group::new());
    both(|mode| {
        let group = Group::new().expect("as before");
        let mut run = group
            .stepdown(mode)
            .args(["--restart-on=USR2", "--sweep-grace=100ms"])
            // A daemon that nobody but the cgroup knows, and that ignores TERM.
            .shell(
                "trap 'exit 0' TERM; \
                 (setsid sh -c 'trap \"\" TERM; echo deaf; while :; do sleep 0.05; done' &); \
                 while :; do sleep 0.02; done",
            )
            .start();
        run.says("deaf");
        let first = group.below();
        run.signal(Signal::SIGUSR2).says_times("deaf", 2);
        let second = group.below();
        assert_eq!((first.len(), second.len()), (1, 1), "{first:?} {second:?}");
        run.signal(Signal::SIGTERM);
        run.wait().code(0).nothing_left();
        group.is_empty();
    });
}

#[test]
fn each_generation_is_the_user_that_was_asked_for() {
    need!(is_root());
    both(|mode| {
        let mut run = Stepdown::in_mode(mode)
            .args(["--user=65534", "--restart-on=USR2"])
            .args(["--post-stop", "sh -c 'echo hook $(id -u)'"])
            .shell("trap 'exit 0' TERM; echo child $(id -u):$(id -G); while :; do sleep 0.02; done")
            .start();
        run.says("child 65534:65534").signal(Signal::SIGUSR2);
        run.says_times("child 65534:65534", 2)
            .signal(Signal::SIGTERM);
        let ended = run.wait();
        ended.code(0).nothing_left();
        assert_eq!(
            ended.stdout.matches("hook 0").count(),
            2,
            "{}",
            ended.told()
        );
    });
}

#[test]
fn what_may_take_its_time_puts_off_the_next_generation_but_not_a_stop() {
    const LEAVES: &str = "echo lives; setsid sh -c 'while kill -0 '$$'; do sleep 0.01; done; echo waits; \
         until test -e go; do sleep 0.01; done; rm go; echo done' 2>/dev/null & exit 1";
    both(|mode| {
        let dir = directory();
        let mut run = Stepdown::in_mode(mode)
            .dir(dir.path())
            .args(QUICKLY)
            .args(["--left=wait", "--restart-limit=none"])
            .shell(LEAVES)
            .start();
        run.says("waits");
        let twice = |run: &mut Running| run.stderr_has("generation 1");
        assert!(!holds_within(Duration::from_millis(300), || twice(
            &mut run
        )));
        fs::write(dir.path().join("go"), "").expect("our own directory");
        run.says("done").says_times("waits", 2);
        run.signal(Signal::SIGTERM);
        let ended = run.wait();
        ended.code(1).nothing_left();
        assert_eq!(ended.stdout, "lives\nwaits\ndone\nlives\nwaits\n");
    });
}

/// What an earlier life was to leave is no business of a later one's ladder; what this one leaves is.
#[test]
fn kill_for_a_later_tree_does_not_reach_what_an_earlier_life_has_left() {
    /// One in a session of its own, one without a parent, and a parent that forks in a later life.
    const FIRST: &str = "setsid sleep 1000 & sh -c 'sleep 1000 & echo $! >orphan';          setsid sh -c 'touch parent; until test -e fork; do sleep 0.01; done;          sleep 1000 & touch forked; wait' &          until test -s orphan && test -e parent; do sleep 0.01; done; touch left; exit 1";
    const SECOND: &str = "touch fork; until test -e forked; do sleep 0.01; done;          setsid sh -c 'trap \"\" TERM; touch own; exec sleep 1000' &          until test -e own; do sleep 0.01; done;          touch last; trap '' TERM; echo deaf; while :; do sleep 0.01; done";
    both(|mode| {
        let dir = directory();
        let mut run = Stepdown::in_mode(mode)
            .dir(dir.path())
            .args(QUICKLY)
            .args(["--left=leave", "--restart-on=USR2"])
            .args(["--ladder=TERM@tree:100ms,KILL"])
            .shell(&format!(
                "test -e left || {{ {FIRST}; }}; test -e last || {{ {SECOND}; }};                  echo last; while :; do read line; done"
            ))
            .start();
        run.says("deaf").signal(Signal::SIGUSR2);
        run.logs("KILL to the tree");
        run.says("last");
        let sleeps = |process: &&proc::Process| process.name == "sleep";
        let asleep = |run: &Running| run.mark().processes().iter().filter(sleeps).count();
        // What the second life has left is ended by its ladder.
        wait_until("three are left", || asleep(&run) == 3);
        assert!(!holds_within(Duration::from_millis(200), || asleep(&run) != 3));
        run.signal(Signal::SIGTERM);
        let ended = run.wait();
        ended.code(143);
        // As PID 1 nobody can be left: the kernel ends the namespace.
        let left = ended.still_there().iter().filter(sleeps).count();
        assert_eq!(left, if mode == Mode::Ordinary { 3 } else { 0 });
    });
}

#[test]
fn the_deadline_counts_anew_for_each_stop() {
    both(|mode| {
        let dir = directory();
        let mut run = Stepdown::in_mode(mode)
            .dir(dir.path())
            .args(["--restart-on=USR1", "--deadline=700ms", "--report=run.json"])
            .shell("trap '' TERM; echo deaf; while :; do sleep 0.05; done")
            .start();
        for life in 1..=3 {
            run.says_times("deaf", life);
            run.signal(if life == 3 {
                Signal::SIGTERM
            } else {
                Signal::SIGUSR1
            });
        }
        let ended = run.wait();
        ended.code(137).nothing_left();
        let report = crate::files::json(&dir.path().join("run.json"));
        let generations = report["generations"].as_array().expect("a list");
        assert_eq!(generations.len(), 3);
        for generation in generations {
            assert_eq!(generation["escalated"], true);
            // Most of it is the child's, and what follows has its part.
            let took = generation["took_ms"].as_u64().expect("a time");
            assert!((500..10_000).contains(&took), "{generation}");
        }
    });
}

#[test]
fn the_file_may_be_read_again_between_two_generations() {
    both(|mode| {
        let dir = directory();
        let file = dir.path().join("stepdown.toml");
        let restart = "restart = 'on-failure'\nrestart-delay = '1h'\nrestart-max-delay = '2h'\n\
                       restart-on = 'USR2'\nreload-on = 'HUP'\n";
        fs::write(&file, restart).expect("our own directory");
        let mut run = Stepdown::in_mode(mode)
            .dir(dir.path())
            .args(["--config=stepdown.toml"])
            .shell(
                "test -e second || { touch second; exit 4; }; trap 'echo got USR1; exit 0' USR1; \
                 trap '' TERM; echo lives; while :; do sleep 0.02; done",
            )
            .start();
        run.logs("restarted in");
        fs::write(
            &file,
            format!("{restart}ladder = 'USR1,KILL'\nrestart-limit = 9\n"),
        )
        .expect("our own directory");
        run.signal(Signal::SIGHUP);
        run.logs("configuration reloaded: ladder changed; only a restart of stepdown changes restart-limit");
        run.signal(Signal::SIGUSR2).says("lives");
        run.signal(Signal::SIGTERM);
        run.wait().code(0).said("got USR1");
    });
}

#[test]
fn variables_ask_for_it_as_well() {
    both(|mode| {
        let dir = directory();
        let ended = Stepdown::in_mode(mode)
            .dir(dir.path())
            .env("STEPDOWN_RESTART", "always")
            .env("STEPDOWN_RESTART_DELAY", "1ms")
            .env("STEPDOWN_RESTART_MAX_DELAY", "1ms")
            .env("STEPDOWN_RESTART_LIMIT", "3/1h")
            .env("STEPDOWN_RESTART_NEVER_ON", "78")
            .env("STEPDOWN_RESTART_START_FAILURES", "1")
            .env("STEPDOWN_RESTART_ON", "USR2")
            .shell("echo life >>lives; test $(wc -l <lives) -lt 3 || exit 78")
            .run();
        ended.code(78);
        let lives = fs::read_to_string(dir.path().join("lives")).expect("it lived");
        assert_eq!(lives.lines().count(), 3);
    });
}

#[test]
fn hooks_and_drain_belong_to_each_generation() {
    both(|mode| {
        let mut run = Stepdown::in_mode(mode)
            .args(["--restart-on=USR2", "--drain-until=exec:true"])
            .args(["--pre-start", "sh -c 'echo pre-start $STEPDOWN_GENERATION'"])
            .args(["--pre-stop", "sh -c 'echo pre-stop $STEPDOWN_GENERATION'"])
            .args(["--post-stop", "sh -c 'echo post-stop $STEPDOWN_GENERATION'"])
            .shell("trap 'exit 0' TERM; echo lives; while :; do sleep 0.02; done")
            .start();
        run.says("lives").signal(Signal::SIGUSR2);
        run.says_times("lives", 2).signal(Signal::SIGTERM);
        let ended = run.wait();
        ended.code(0).nothing_left();
        for phase in ["pre-start", "pre-stop", "post-stop"] {
            for generation in 1..=2 {
                ended.said(&format!("{phase} {generation}"));
            }
        }
        assert_eq!(
            ended.stderr.matches("drained in").count(),
            2,
            "{}",
            ended.told()
        );
    });
}

// A terminal.

/// A command line of the shell that runs stepdown.
fn stepdown(rest: &str) -> String {
    format!(
        "{} -q {} {rest}",
        binary::under_test().display(),
        QUICKLY.join(" ")
    )
}

#[test]
fn ctrl_c_ends_the_run_of_any_generation_and_reaches_it_once() {
    let dir = directory();
    let mut pty = Pty::shell();
    pty.enters(&format!("cd {}", dir.path().display()));
    let witness = binary::witness();
    let script = format!(
        "test -e a || {{ touch a; exit 3; }}; exec {} listen 2:7",
        witness.display()
    );
    pty.enters(&stepdown(&format!("-- sh -c '{script}'")))
        .shows("ready");
    pty.types(CTRL_C).shows("got 2").shows(&prompt(7));
    pty.showed_times("got 2", 1);
    assert_eq!(pty.foreground(), pty.leader(), "the shell's own again");
}

#[test]
fn ctrl_c_in_the_delay_ends_the_run() {
    let mut pty = Pty::shell();
    let binary = binary::under_test().display().to_string();
    let delay = "--restart=always --restart-delay=1h --restart-max-delay=2h";
    pty.enters(&format!("{binary} {delay} -- sh -c 'exit 6'"))
        .shows("restarted in")
        .types(CTRL_C)
        .shows(&prompt(6));
}

#[test]
fn ctrl_z_and_fg_work_in_a_later_generation() {
    let dir = directory();
    let mut pty = Pty::shell();
    pty.enters(&format!("cd {}", dir.path().display()));
    pty.enters(&stepdown(
        "-- sh -c 'test -e a || { touch a; exit 3; }; echo up; exec cat'",
    ))
    .shows("up");
    pty.enters("one").shows("one");
    pty.types(CTRL_Z).shows("Stopped").shows(&prompt(148));
    pty.enters("fg").enters("two").shows("two");
    pty.types(CTRL_C).shows(&prompt(130));
}

#[test]
fn the_parents_death_in_the_delay_ends_the_run() {
    let dir = directory();
    let report = dir.path().join("run.json");
    let mut parent = Command::new("sh");
    let script = "\"$@\" & echo $! >pid; until test -e go; do sleep 0.01; done";
    parent
        .args(["-c", script, "sh"])
        .arg(binary::under_test())
        .args(["-q", "-p", "TERM", "--restart=always", "--restart-delay=1h"])
        .args(["--restart-max-delay=2h", "--metrics-file=m.prom"])
        .args(["--report=run.json", "--", "sh", "-c", "exit 3"])
        .current_dir(dir.path());
    let mut parent = parent.spawn().expect("a shell");
    wait_until("it waits for the next generation", || {
        let text = fs::read_to_string(dir.path().join("m.prom")).unwrap_or_default();
        text.contains("{phase=\"restart-delay\"} 1")
    });
    fs::write(dir.path().join("go"), "").expect("our own directory");
    parent.wait().expect("our own child");
    wait_until("the run has ended", || report.exists());
    let told = crate::files::json(&report);
    assert_eq!(told["outcome"]["reason"], "parent-died");
    assert_eq!(told["outcome"]["code"], 3);
    let pid = fs::read_to_string(dir.path().join("pid")).expect("it was started");
    let pid = pid.trim().parse().expect("a pid");
    wait_until("it is gone", || {
        proc::kill(nix::unistd::Pid::from_raw(pid), 0).is_err()
    });
}
