//! A signal reads the configuration file again: the stop changes, the child does not, and a bad file
//! changes nothing.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::support::{Mode, Stepdown, both};

/// A configuration file that can change.
struct File {
    dir: TempDir,
    path: PathBuf,
}

impl File {
    fn new(text: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory of our own");
        let path = dir.path().join("stepdown.toml");
        fs::write(&path, text).expect("our own file");
        Self { dir, path }
    }

    fn now(&self, text: &str) {
        fs::write(&self.path, text).expect("our own file");
    }

    /// Run in its directory, where the file has its short name.
    fn stepdown(&self, mode: Mode) -> Stepdown {
        Stepdown::in_mode(mode)
            .dir(self.dir.path())
            .args(["--config", "stepdown.toml"])
    }
}

#[test]
fn grace_ladder_and_hooks_change_and_the_child_hears_nothing_of_it() {
    both(|mode| {
        let file = File::new("reload-on = 'HUP'\ngrace = '1h'\npost-stop = 'touch old'");
        let mut run = file.stepdown(mode).witness(["listen", "10:7"]).start();
        run.says("ready");
        file.now("reload-on = 'HUP'\nladder = 'USR1'\nsweep-grace = 1\npost-stop = 'touch new'");
        run.signal(Signal::SIGHUP)
            .logs("configuration reloaded: ladder, grace, post-stop, sweep-grace changed");
        run.signal(Signal::SIGTERM);
        let ended = run.wait();
        ended.code(7).never_said("got 1").nothing_left();
        assert!(file.dir.path().join("new").exists());
        assert!(!file.dir.path().join("old").exists());
    });
}

#[test]
fn hooks_that_come_with_a_reload_run_in_the_directory_of_the_start() {
    let file = File::new("grace = 1");
    let mut run = file
        .stepdown(Mode::Ordinary)
        .args(["--reload-on", "USR2"])
        .witness(["listen", "15:0"])
        .start();
    run.says("ready");
    file.now("[[pre-stop]]\nname = 'late'\nrun = 'touch late'");
    run.signal(Signal::SIGUSR2).logs("grace, pre-stop changed");
    run.signal(Signal::SIGTERM);
    run.wait().code(0).logged(&["\"late\" done"]);
    assert!(file.dir.path().join("late").exists());
}

#[test]
fn without_the_option_the_signal_is_forwarded() {
    let file = File::new("grace = '1h'");
    let mut run = file
        .stepdown(Mode::Ordinary)
        .witness(["listen", "15:0"])
        .start();
    run.says("ready");
    file.now("no such thing");
    run.signal(Signal::SIGHUP)
        .says("got 1")
        .signal(Signal::SIGTERM);
    run.wait().code(0).never_logged("configuration");
}

#[test]
fn a_bad_file_is_refused_and_the_old_one_counts() {
    both(|mode| {
        let good = "reload-on = 'HUP'\nladder = 'USR1,KILL'";
        let file = File::new(good);
        let mut run = file.stepdown(mode).witness(["listen", "10:7"]).start();
        run.says("ready");
        for (bad, why) in [
            (
                "ladder = 'USR2'\ngarce = 3",
                "stepdown.toml:2:1: garce: unknown key: did you mean grace?",
            ),
            ("ladder = 'URS2'", "stepdown.toml:1:10: ladder: "),
            ("ladder = 'USR2", "invalid literal string"),
            (
                "drain-checks = 3\nhealth-listen = '127.0.0.1:1'",
                "drain-checks: nobody answers the checks, and only a restart",
            ),
            (
                "ladder = 'stdin=stop'",
                "the relay, which only a restart of stepdown sets up",
            ),
        ] {
            file.now(bad);
            run.signal(Signal::SIGHUP).logs(why);
        }
        fs::remove_file(&file.path).expect("our own file");
        run.signal(Signal::SIGHUP).logs("No such file");
        nix::unistd::mkfifo(&file.path, nix::sys::stat::Mode::S_IRUSR).expect("our own directory");
        run.signal(Signal::SIGHUP).logs("not a regular file");
        run.signal(Signal::SIGTERM);
        let ended = run.wait();
        ended
            .code(7)
            .never_said("got 1")
            .never_logged("configuration reloaded");
        assert_eq!(
            ended.stderr.matches("configuration not reloaded").count(),
            7
        );
    });
}

#[test]
fn what_only_a_restart_changes_is_said() {
    let file = File::new("env = ['A=1']\nreload-on = 'HUP'");
    let mut run = file
        .stepdown(Mode::Ordinary)
        .witness(["listen", "15:0"])
        .start();
    run.says("ready");
    file.now("env = ['A=2']\ngrace = 3\nlog-level = 'warn'\nreload-on = 'HUP'");
    run.signal(Signal::SIGHUP).logs(
        "configuration reloaded: grace changed; only a restart of stepdown changes env, log-level",
    );
    run.signal(Signal::SIGHUP)
        .logs("configuration reloaded: nothing changed");
    // As it was at the start, and so as it is.
    file.now("env = ['A=1']\nsweep-grace = 1\nreload-on = 'HUP'");
    run.signal(Signal::SIGHUP)
        .logs("configuration reloaded: grace, sweep-grace changed");
    run.signal(Signal::SIGTERM);
    let ended = run.wait();
    ended.code(0);
    let told = ended.stderr.matches("only a restart").count();
    assert_eq!(told, 1, "{}", ended.told());
}

#[test]
fn flags_still_win_over_the_file_that_was_read_again() {
    let file = File::new("reload-on = 'HUP'");
    let mut run = file
        .stepdown(Mode::Ordinary)
        .args(["--stop-signal", "USR1"])
        .witness(["listen", "10:7", "12:8"])
        .start();
    run.says("ready");
    file.now("reload-on = 'HUP'\nstop-signal = 'USR2'\ngrace = 3");
    run.signal(Signal::SIGHUP)
        .logs("configuration reloaded: grace changed");
    run.signal(Signal::SIGTERM);
    run.wait().code(7);
}

#[test]
fn the_plan_of_a_stop_stands() {
    let file = File::new("reload-on = 'HUP'\nladder = 'USR1:1h'");
    let mut run = file
        .stepdown(Mode::Ordinary)
        .args(["-v"])
        .witness(["listen", "15:7"])
        .start();
    run.says("ready");
    run.signal(Signal::SIGTERM).says("got 10");
    file.now("reload-on = 'HUP'\nladder = 'TERM:1h'");
    run.signal(Signal::SIGHUP)
        .logs("HUP (--reload-on) not obeyed: a stop is under way");
    let started = std::time::Instant::now();
    run.signal(Signal::SIGINT).logs("passed on to the child");
    run.signal(Signal::SIGINT).logs("takes the next step");
    run.signal(Signal::SIGINT);
    let ended = run.wait();
    ended.code(137).never_said("got 1").never_logged("reloaded");
    assert!(started.elapsed() < Duration::from_secs(15));
}

#[test]
fn a_reload_that_cannot_be_is_refused_before_the_start() {
    for (args, why) in [
        (
            vec!["--reload-on", "HUP"],
            "--reload-on: there is no file to read again: add --config",
        ),
        (
            vec!["--config", "/dev/null", "--reload-on", "HUP"],
            "/dev/null: not a regular file",
        ),
        (
            vec!["--config", "stepdown.toml", "--reload-on", "HUP,TERM"],
            "--reload-on: TERM asks for the stop already",
        ),
    ] {
        let file = File::new("");
        let run = Stepdown::new()
            .dir(file.dir.path())
            .args(args)
            .shell("echo started")
            .start();
        run.wait().code(125).never_said("started").logged(&[why]);
    }
}

#[test]
fn a_reload_changes_nothing_in_the_stop_of_the_one_that_was_replaced() {
    both(|mode| {
        let text = "reload-on = 'HUP'\nreplace-on = 'USR2'\nlisten = 'unix:socket'\n\
                    ready-when = 'exec:true'\ngrace = '1h'\nhook-timeout = '1h'\n";
        let hook = |name: &str| format!("'sh -c \"touch {name}$STEPDOWN_GENERATION\"'");
        let file = File::new(&format!("{text}post-stop = [{}, {}]", hook("a"), hook("b")));
        let mut run = file
            .stepdown(mode)
            .shell(
                "trap 'while ! test -e go; do sleep 0.02; done; exit 3' TERM; echo up; \
                 while :; do sleep 0.02; done",
            )
            .start();
        run.says("up").logs("ready after");
        run.signal(Signal::SIGUSR2);
        run.logs("generation 1: step 1 of 2");
        file.now(&format!("{text}post-stop = {}", hook("new")));
        run.signal(Signal::SIGHUP).logs("configuration reloaded");
        let is_there = |name: &str| file.dir.path().join(name).exists();
        fs::write(file.dir.path().join("go"), "").expect("our own file");
        run.logs("generation 1: stopped in");
        run.signal(Signal::SIGTERM);
        run.wait().code(3).nothing_left();
        assert!(is_there("a1") && is_there("b1") && !is_there("new1"));
        assert!(is_there("new2") && !is_there("a2"));
    });
}

#[test]
fn a_reload_while_one_life_ends_counts_for_the_next_one() {
    both(|mode| {
        let file = File::new("");
        let text = |post_stop: &str| {
            format!(
                "reload-on = 'HUP'\nrestart = 'on-failure'\nrestart-delay = 0\n\
                 post-stop = \"{post_stop}\"\n"
            )
        };
        file.now(&text("sh -c 'until test -e go; do sleep 0.01; done'"));
        let script = "if test -e first; then exit; fi; : >first; exit 3";
        let mut run = file.stepdown(mode).args(["-v"]).shell(script).start();
        run.logs("child exited with 3");
        file.now(&text("touch new"));
        run.signal(Signal::SIGHUP)
            .logs("the configuration is read again before the next start");
        fs::write(file.dir.path().join("go"), "").expect("our own directory");
        let ended = run.wait();
        ended.code(0);
        let at = |line: &str| ended.stderr.find(line);
        let read = at("configuration reloaded: post-stop changed");
        assert!(
            read.is_some() && read < at("generation 2 begins"),
            "{}",
            ended.told()
        );
        assert!(file.dir.path().join("new").exists());
    });
}
