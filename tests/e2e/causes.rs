//! What asks for a stop besides a signal: time that is over, and the death of the parent.
//!
//! Time may be over before the child has said that it is ready. So what it is sent is blocked from the
//! start, by inheritance, and waits for it.

use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::support::binary::{under_test, witness};
use crate::support::running::Running;
use crate::support::{Stepdown, both, proc};

#[test]
fn a_child_that_runs_too_long_is_stopped_and_the_status_says_so() {
    both(|mode| {
        let before = Instant::now();
        let ended = Stepdown::in_mode(mode)
            .args(["--max-runtime", "100ms"])
            .blocking(Signal::SIGTERM)
            .witness(["listen", "15:0"])
            .run();
        ended
            .code(124)
            .said("got 15")
            .logged(&["--max-runtime is over"]);
        ended.nothing_left();
        assert!(before.elapsed() >= Duration::from_millis(100));
    });
}

#[test]
fn time_that_is_over_goes_down_the_whole_ladder() {
    both(|mode| {
        let ended = Stepdown::in_mode(mode)
            .args(["--max-runtime=50ms", "--ladder=INT:50ms,TERM:50ms,KILL"])
            .blocking(Signal::SIGINT)
            .blocking(Signal::SIGTERM)
            .witness(["family", "10:1"])
            .run();
        let steps = ["step 1 of 3: INT", "step 2 of 3: TERM", "step 3 of 3: KILL"];
        steps.iter().for_each(|step| {
            ended.logged(&[step]);
        });
        ended
            .code(124)
            .logged(&["stopped by KILL", "124"])
            .nothing_left();
    });
}

#[test]
fn a_child_that_ends_in_time_keeps_its_status() {
    both(|mode| {
        Stepdown::in_mode(mode)
            .env("STEPDOWN_MAX_RUNTIME", "1h")
            .shell("exit 7")
            .run()
            .code(7)
            .was_silent();
        // A stop that was asked for before the time was over is a stop by signal.
        let mut run = Stepdown::in_mode(mode)
            .args(["--max-runtime", "1h"])
            .witness(["listen", "15:0"])
            .start();
        run.says("ready").signal(Signal::SIGTERM);
        run.wait().code(0).never_logged("max-runtime");
    });
}

/// As on a machine that gives stepdown no time for a while.
#[test]
fn a_child_that_has_ended_in_time_counts_though_it_is_noticed_late() {
    both(|mode| {
        let limit = Duration::from_secs(2);
        let mut run = Stepdown::in_mode(mode)
            .args(["--max-runtime", "2s"])
            .with_stdin()
            .shell("echo ready; read go; exit 7")
            .start();
        run.says("ready");
        let (stepdown, child) = (run.pid(), run.children()[0].pid);
        proc::kill(stepdown, libc::SIGSTOP).expect("our own");
        let stopped = Instant::now();
        run.type_line("go");
        run.wait_for("the time to be over and the child to have ended", |_| {
            stopped.elapsed() > limit && !proc::is_alive(child)
        });
        proc::kill(stepdown, libc::SIGCONT).expect("our own");
        run.wait().code(7).never_logged("max-runtime is over");
    });
}

#[test]
fn the_time_begins_with_the_child_not_with_the_hooks() {
    both(|mode| {
        let ended = Stepdown::in_mode(mode)
            .args(["--max-runtime", "200ms", "--pre-start", "sleep 0.4"])
            .blocking(Signal::SIGTERM)
            .witness(["listen", "15:0"])
            .run();
        ended.code(124).said("ready").said("got 15");
        let both = Duration::from_millis(600);
        assert!(ended.ran >= both, "{:?}\n{}", ended.ran, ended.told());
    });
}

/// stepdown below a shell that can be killed, below another one that goes on, so that the story does.
struct Orphaned {
    run: Running,
    parent: Pid,
}

impl Orphaned {
    fn start(options: &[&str], words: &[&str]) -> Self {
        // The inner shell is the parent; it does what it reads, and ends with its input.
        let parent = "\"$@\" & echo \"parent $$\"; while read act; do eval \"$act\"; done; wait";
        let script = format!("exec 3<&0; sh -c '{parent}' sh \"$@\" <&3 & exec sleep 1000");
        let mut run = Stepdown::new()
            .program("/bin/sh")
            .args(["-c", &script, "sh"])
            .args([under_test()])
            .args(options.to_vec())
            .args(["--".as_ref(), witness().as_os_str()])
            .args(words.to_vec())
            .with_stdin()
            .start();
        let line = run.says_about("parent ");
        let parent = line.trim_start_matches("parent ").parse().expect("a pid");
        run.says("ready");
        let parent = Pid::from_raw(parent);
        Self { run, parent }
    }

    /// The outer shell, too, and nothing else is there any more.
    #[track_caller]
    fn ends(mut self) {
        let mark = self.run.mark().clone();
        self.run.wait_for("only the outer program is left", |run| {
            let left = run.mark().processes();
            left.iter()
                .all(|process| process.name == "sleep" || process.name == "sh")
        });
        drop(self.run);
        mark.wait_until_gone();
    }
}

#[test]
fn the_parents_death_is_a_request_to_stop() {
    for (signal, number) in [("INT", 2), ("SIGUSR1", 10), ("RTMIN+3", 37), ("33", 33)] {
        let end = format!("{number}:0");
        let mut story = Orphaned::start(&["-p", signal], &["listen", &end]);
        proc::kill(story.parent, libc::SIGKILL).expect("it waits");
        story.run.logs("the parent process died");
        story.run.says(&format!("got {number}"));
        story.ends();
    }
}

#[test]
fn a_parent_that_ends_by_itself_has_died_too() {
    let mut story = Orphaned::start(&["--parent-death-signal", "HUP"], &["listen", "1:0"]);
    story.run.type_line("exit 0");
    story.run.logs("stopping with HUP: the parent process died");
    story.run.says("got 1");
    story.ends();
}

#[test]
fn with_kill_the_parents_death_ends_the_child_not_the_sweep() {
    for signal in ["KILL", "STOP"] {
        // Nobody in this family ends by itself.
        let options = ["-p", signal, "--ladder", "SAME:100ms,KILL"];
        let mut story = Orphaned::start(&options, &["family", "64:0"]);
        proc::kill(story.parent, libc::SIGKILL).expect("it waits");
        story.run.logs("the parent process died");
        story.run.logs("stopped by KILL");
        story.ends();
    }
}

#[test]
fn a_signal_from_a_living_parent_is_a_signal() {
    let mut story = Orphaned::start(&["-p", "USR1"], &["listen", "15:0"]);
    story.run.type_line("kill -USR1 $!").says("got 10");
    proc::kill(story.parent, libc::SIGKILL).expect("it waits");
    story
        .run
        .logs("stopping with USR1: the parent process died");
    story.run.says_times("got 10", 2);
    let own = story.run.mark().clone();
    let witness = own.processes().into_iter().find(|p| p.name == "witness");
    proc::kill(witness.expect("it waits").pid, libc::SIGTERM).expect("it waits");
    story.ends();
}

#[test]
fn the_end_of_the_thread_that_has_started_stepdown_is_not_the_parents_death() {
    let starts = || {
        let options = ["-p", "TERM"];
        let mut run = Stepdown::new()
            .args(options)
            .witness(["listen", "10:7"])
            .start();
        run.says("ready");
        (run, nix::unistd::gettid())
    };
    let (mut run, thread) = std::thread::spawn(starts).join().expect("it has started");
    // The kernel tells of its end before it is gone.
    let task = std::path::PathBuf::from(format!("/proc/self/task/{thread}"));
    run.wait_for("the thread is gone", |_| !task.exists());
    run.signal(Signal::SIGUSR1);
    run.wait().code(7).never_logged("stopping");
}
