//! `--main-pid`: the process that was started ends, and another one of its tree is the child from then on.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::health::{body, get, with_endpoint};
use crate::support::net::{free_port, is_listening};
use crate::support::running::Running;
use crate::support::{Mode, Stepdown, binary, both, proc, wait_until};

fn dir() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// Forks a daemon that writes its pid with `$WRITE`, and exits with 0.
const DAEMON: &str = "daemon() { trap 'echo bye; exit 7' TERM; trap 'echo got USR1' USR1; echo ready; \
     while :; do sleep 0.02; done; }; daemon & ";

/// The pid file is there before the first process has ended.
const WRITES_IT_FIRST: &str = "echo $! >new; mv new pid";

/// It is there once the file `go` is.
const WRITES_IT_LATER: &str =
    "pid=$!; (until test -e go; do sleep 0.02; done; echo $pid >new; mv new pid) &";

fn handing_over(mode: Mode, dir: &Path) -> Stepdown {
    let stepdown = Stepdown::in_mode(mode).dir(dir);
    stepdown.args(["--main-pid", "file:pid"])
}

fn go(dir: &TempDir) {
    fs::write(dir.path().join("go"), "").expect("a directory of ours");
}

#[test]
fn a_daemon_is_the_child_and_its_status_is_ours() {
    both(|mode| {
        let dir = dir();
        let mut run = handing_over(mode, dir.path())
            .shell(&format!("{DAEMON}{WRITES_IT_FIRST}"))
            .start();
        run.logs("exited with 0: handed over to pid ");
        run.says("ready").signal(Signal::SIGUSR1);
        run.says("got USR1").signal(Signal::SIGTERM);
        let ended = run.wait();
        ended.code(7).said("bye").nothing_left();
        // The ladder's, not the sweep's.
        ended
            .logged(&["child exited with 7 on step 1"])
            .never_logged("left");
    });
}

#[test]
fn the_file_is_read_without_a_free_descriptor_too() {
    both(|mode| {
        let dir = dir();
        let script =
            format!("{DAEMON}echo $! >new; mv new pid; until test -e go; do sleep 0.02; done");
        let mut run = handing_over(mode, dir.path()).shell(&script).start();
        run.says("ready");
        proc::limit_descriptors(run.pid(), 3);
        go(&dir);
        run.logs("exited with 0: handed over to pid ");
        run.signal(Signal::SIGTERM);
        let ended = run.wait();
        ended.code(7).said("bye").nothing_left();
        ended.never_logged("Too many open files");
    });
}

#[test]
fn without_the_option_the_end_of_the_first_process_is_the_end() {
    both(|mode| {
        let dir = dir();
        let ended = Stepdown::in_mode(mode)
            .dir(dir.path())
            .shell(&format!("{DAEMON}{WRITES_IT_FIRST}"))
            .run();
        ended.code(0).logged(&["TERM to "]).nothing_left();
        ended.never_logged("handed over");
    });
}

#[test]
fn a_file_that_comes_late_is_waited_for_and_signals_are_kept() {
    both(|mode| {
        let dir = dir();
        let mut run = handing_over(mode, dir.path())
            .shell(&format!("{DAEMON}{WRITES_IT_LATER}"))
            .start();
        run.logs(
            "waiting up to 10.0 s for the one that takes over: there is no such file (--main-pid)",
        );
        run.says("ready").signal(Signal::SIGUSR1);
        go(&dir);
        run.says("got USR1").signal(Signal::SIGTERM);
        run.wait().code(7).said("bye").nothing_left();
    });
}

#[test]
fn a_stop_that_comes_before_the_heir_goes_through_its_ladder() {
    both(|mode| {
        let dir = dir();
        // The hook lasts until the daemon has its file.
        let mut run = handing_over(mode, dir.path())
            .args([
                "--pre-stop",
                "sh -c 'touch go; until test -e pid; do sleep 0.02; done; sleep 0.5'",
            ])
            .args(["--stop-signal", "USR1", "--grace", "60s"])
            .shell(&format!(
                "daemon() {{ trap 'echo told; exit 9' USR1; trap 'echo swept; exit 7' TERM; \
                 echo ready; while :; do sleep 0.02; done; }}; daemon & {WRITES_IT_LATER}"
            ))
            .start();
        run.logs("waiting up to 10.0 s for the one that takes over");
        run.says("ready").signal(Signal::SIGTERM);
        let ended = run.wait();
        ended.code(9).said("told").never_said("swept");
        ended.logged(&["handed over to pid"]).nothing_left();
    });
}

#[test]
fn a_stop_ends_all_where_nobody_takes_over() {
    both(|mode| {
        let dir = dir();
        let mut run = handing_over(mode, dir.path()).shell(DAEMON).start();
        run.logs("waiting up to 10.0 s");
        run.says("ready").signal(Signal::SIGTERM);
        // By the sweep: it is left, whatever it was to be.
        let ended = run.wait();
        ended.code(0).said("bye").nothing_left();
        ended.logged(&["nobody has taken over (--main-pid file:pid): there is no such file"]);
    });
}

/// What is told of a daemon whose pid file has something else; `WRITE` writes it.
fn refused(mode: Mode, before: Option<&str>, write: &str, why: &str) {
    let dir = dir();
    if let Some(text) = before {
        fs::write(dir.path().join("pid"), text).expect("a directory of ours");
    }
    let mut run = handing_over(mode, dir.path())
        .shell(&format!("{DAEMON}{write}"))
        .start();
    let line = run.logs("waiting up to 10.0 s for the one that takes over: ");
    assert!(line.contains(why), "{why:?} in {line}");
    run.says("ready").signal(Signal::SIGTERM);
    run.wait().code(0).nothing_left();
}

#[test]
fn a_pid_file_that_names_nobody_of_ours_is_refused() {
    both(|mode| {
        refused(
            mode,
            Some("1\n"),
            "",
            "the file has not changed since the start",
        );
        refused(mode, None, ": >pid; sleep 0.3", "the file is empty");
        refused(mode, None, "echo main >pid", "\"main\", which is no pid");
        refused(mode, None, "echo $$ >pid", "is the one that has ended");
        refused(
            mode,
            None,
            "echo 4194303 >pid",
            "no process with pid 4194303",
        );
        refused(mode, None, "echo $PPID >pid", "is stepdown itself");
    });
    // One that is another's: a number that was given to somebody else since.
    let ours = format!("echo {} >pid", std::process::id());
    refused(
        Mode::Ordinary,
        None,
        &ours,
        "is no descendant of stepdown's",
    );
}

#[test]
fn a_file_that_is_corrected_counts() {
    both(|mode| {
        let dir = dir();
        let script = format!("{DAEMON}pid=$!; echo 4194303 >pid; {WRITES_IT_LATER}");
        let mut run = handing_over(mode, dir.path()).shell(&script).start();
        run.logs("no process with pid 4194303");
        go(&dir);
        run.logs("handed over");
        run.says("ready").signal(Signal::SIGTERM);
        run.wait().code(7).nothing_left();
    });
}

#[test]
fn an_heir_that_dies_at_once_has_the_status_all_the_same() {
    both(|mode| {
        for script in [
            // It ends before the first process does, which waits for nobody any more.
            "main=$$; (until grep -qx sleep /proc/$main/comm || ! kill -0 $main; do :; done; exit 3) & echo $! >pid; \
             exec sleep 1",
            // It was adopted and waited for before.
            "(sh -c 'sleep 0.3; exit 3' & echo $! >pid); \
             while kill -0 $(cat pid); do sleep 0.01; done; exit 0",
            // It ends after it.
            "main=$$; (while kill -0 $main; do sleep 0.01; done; exit 3) & echo $! >pid",
        ] {
            let dir = dir();
            let ended = handing_over(mode, dir.path()).shell(script).run();
            ended.code(3).logged(&["handed over"]).nothing_left();
        }
    });
}

#[test]
fn who_fails_hands_nothing_over_unless_the_heir_is_known() {
    both(|mode| {
        let first = dir();
        let ended = handing_over(mode, first.path())
            .shell(&format!("{DAEMON}exit 5"))
            .run();
        ended
            .code(5)
            .never_logged("waiting up to 10.0 s")
            .nothing_left();

        let second = dir();
        let mut run = handing_over(mode, second.path())
            .shell(&format!("{DAEMON}{WRITES_IT_FIRST}; exit 5"))
            .start();
        run.logs("exited with 5: handed over");
        run.says("ready").signal(Signal::SIGTERM);
        run.wait().code(7).nothing_left();
    });
}

#[test]
fn who_leaves_nothing_is_not_waited_for() {
    both(|mode| {
        let dir = dir();
        let ended = handing_over(mode, dir.path()).shell("exit 0").run();
        ended.code(0).was_silent();
    });
}

/// USR2 starts the next one, which writes the file once it is there; USR1 ends one with 0; TERM with its number.
const UPGRADES: &str = r#"
n=$1
trap 'sh server $((n + 1)) & ' USR2
trap 'exit 0' USR1
trap 'echo $n stops; exit 3$n' TERM
echo $$ >new.$n; mv new.$n pid
echo ready $n
while :; do sleep 0.02; done
"#;

fn upgrading(stepdown: Stepdown, dir: &TempDir) -> Running {
    fs::write(dir.path().join("server"), UPGRADES).expect("a directory of ours");
    let mut run = stepdown.child(["sh", "server", "1"]).start();
    run.says("ready 1");
    run
}

#[test]
fn one_hand_over_follows_another() {
    both(|mode| {
        let dir = dir();
        let mut run = upgrading(handing_over(mode, dir.path()), &dir);
        for next in 2..6 {
            run.signal(Signal::SIGUSR2);
            run.says(&format!("ready {next}")).signal(Signal::SIGUSR1);
            run.logs_times("handed over to pid", next - 1);
        }
        run.signal(Signal::SIGTERM);
        let ended = run.wait();
        ended.code(35).said("5 stops").nothing_left();
        ended.never_logged("only forwarded").never_logged("left");
    });
}

#[test]
fn in_the_middle_of_an_upgrade_the_stop_is_for_both() {
    both(|mode| {
        let dir = dir();
        let mut run = upgrading(handing_over(mode, dir.path()), &dir);
        run.signal(Signal::SIGUSR2);
        run.says("ready 2").signal(Signal::SIGTERM);
        let ended = run.wait();
        ended.code(32).said("1 stops").said("2 stops");
        ended
            .logged(&["exited with 31: handed over to pid"])
            .logged(&["child exited with 32 on step 1"])
            .never_logged("left");
        ended.nothing_left();
    });
}

#[test]
fn who_got_the_signal_with_its_group_gets_it_once() {
    both(|mode| {
        let dir = dir();
        let stepdown = handing_over(mode, dir.path()).args(["--target", "group"]);
        fs::write(
            dir.path().join("server"),
            UPGRADES.replace(
                "echo $n stops; exit 3$n",
                "echo $n told; test $n = 2 || exit 0; touch go",
            ),
        )
        .expect("a directory of ours");
        let mut run = stepdown
            .args([
                "--post-stop",
                "echo over",
                "--ladder",
                "TERM@group:2s,USR1@child:20s",
            ])
            .child(["sh", "server", "1"])
            .start();
        run.says("ready 1").signal(Signal::SIGUSR2);
        run.says("ready 2");
        // Whether it was there already is told by the hundredths of a second in which it was started.
        let since = proc::now();
        wait_until("the clock has gone on", || proc::now() > since + 1);
        run.signal(Signal::SIGTERM);
        let ended = run.wait();
        ended.code(0).logged(&["on step 2"]).nothing_left();
        let told = ended.stdout.matches("2 told").count();
        assert_eq!(told, 1, "{}", ended.told());
    });
}

#[test]
fn mainpid_names_the_heir() {
    both(|mode| {
        let dir = dir();
        let at = |name: &str| dir.path().join(name);
        nix::unistd::mkfifo(&at("orders"), nix::sys::stat::Mode::S_IRWXU).expect("our directory");
        let notifier = binary::notifier().display();
        let mut run = Stepdown::in_mode(mode)
            .dir(dir.path())
            .args(["--main-pid", "notify", "--ready-when", "notify"])
            .shell(&format!(
                "{notifier} orders & echo $! >heir; until test -e go; do sleep 0.02; done"
            ))
            .start();
        run.says("ready");
        let heir = || fs::read_to_string(at("heir")).unwrap_or_default();
        wait_until("the heir's pid is there", || heir().ends_with('\n'));
        let heir = heir();
        let mut orders = fs::OpenOptions::new()
            .write(true)
            .open(at("orders"))
            .expect("it is read");
        let mut order = |order: &str| {
            std::io::Write::write_all(&mut orders, format!("{order}\n").as_bytes())
                .expect("a FIFO");
        };
        order(&format!("say MAINPID={}", heir.trim()));
        run.says_about("done");
        go(&dir);
        run.logs(&format!("handed over to pid {} ", heir.trim()));
        // It is ready when the heir says so.
        order("say READY=1");
        run.logs("ready after");
        run.signal(Signal::SIGTERM);
        run.wait().code(3).nothing_left();
    });
}

#[test]
fn a_pid_that_is_said_after_the_end_counts_too() {
    both(|mode| {
        let dir = dir();
        let notifier = binary::notifier().display();
        let mut run = Stepdown::in_mode(mode)
            .dir(dir.path())
            .args(["--main-pid", "notify"])
            .shell(&format!(
                "daemon() {{ trap 'exit 7' TERM; echo ready; while :; do sleep 0.02; done; }}; daemon & pid=$!; \
                 (until test -e go; do sleep 0.02; done; {notifier} once \"MAINPID=$pid\" </dev/null) &"
            ))
            .start();
        run.logs("waiting up to 10.0 s for the one that takes over: nobody has said MAINPID=");
        go(&dir);
        run.logs("handed over");
        run.says("ready").signal(Signal::SIGTERM);
        run.wait().code(7).nothing_left();
    });
}

#[test]
fn the_failure_of_an_heir_is_that_of_the_generation() {
    both(|mode| {
        let dir = dir();
        let mut run = handing_over(mode, dir.path())
            .args(["--restart", "on-failure", "--restart-delay", "1ms"])
            .shell(
                "echo life >>lives; test $(wc -l <lives) = 1 && code=4 || code=0; \
                 daemon() { trap 'exit 7' TERM; echo lives; until test -e go -a $code = 4; do sleep 0.02; done; exit 4; }; \
                 daemon & echo $! >new; mv new pid",
            )
            .start();
        run.logs("handed over");
        go(&dir);
        run.logs("generation 1 exited with 4: restarted in");
        run.logs_times("handed over", 2);
        run.says_times("lives", 2).signal(Signal::SIGTERM);
        run.wait().code(7).nothing_left();
    });
}

#[test]
fn the_file_of_the_life_before_names_nobody() {
    both(|mode| {
        let dir = dir();
        let mut run = handing_over(mode, dir.path())
            .args(["--restart", "always", "--restart-delay", "1ms"])
            .shell(
                "echo life >>lives; test $(wc -l <lives) = 1 && { echo 4194303 >pid; exit 0; }; \
                 daemon() { trap 'exit 7' TERM; echo ready; while :; do sleep 0.02; done; }; daemon &",
            )
            .start();
        run.logs(
            "waiting up to 10.0 s for the one that takes over: the file has not changed since the start",
        );
        run.says("ready").signal(Signal::SIGTERM);
        run.wait().code(0).nothing_left();
    });
}

#[test]
fn status_has_the_pid_of_the_heir() {
    both(|mode| {
        let dir = dir();
        let (stepdown, port) = with_endpoint(handing_over(mode, dir.path()));
        let mut run = upgrading(stepdown, &dir);
        let status = || -> serde_json::Value {
            serde_json::from_str(body(&get(port, "/status"))).expect("JSON")
        };
        let pid = || fs::read_to_string(dir.path().join("pid")).expect("a pid file");
        run.signal(Signal::SIGUSR2);
        run.says("ready 2").signal(Signal::SIGUSR1);
        run.logs("handed over");
        wait_until("it is told", || status()["hand_overs"] == 1);
        assert_eq!(status()["child"].to_string(), pid().trim());
        assert_eq!(status()["ready"], true);
        run.signal(Signal::SIGTERM);
        run.wait().code(32);
    });
}

#[test]
fn it_is_refused_where_nothing_is_adopted() {
    let options = ["--main-pid", "file:pid", "--subreaper=off"];
    let ended = Stepdown::new().args(options).shell("exit 0").run();
    ended.code(125);
    ended.logged(&["--main-pid", "is not ours with --subreaper=off"]);
    // PID 1 adopts whatever it is told.
    if crate::support::stepdown::can_be_pid1().is_ok() {
        Stepdown::as_pid1()
            .args(options)
            .shell("exit 0")
            .run()
            .code(0);
    }
}

/// A child that starts a server, and exits with 0 once the file `go` is there.
fn leaves_a_server(stepdown: Stepdown, dir: &TempDir) -> (Running, u16) {
    let port = free_port();
    let http = binary::http().display();
    let run = stepdown
        .dir(dir.path())
        .shell(&format!(
            "{http} registry {port} & until test -e go; do sleep 0.02; done; exit 0"
        ))
        .start();
    wait_until("it listens", || is_listening(port));
    (run, port)
}

#[test]
fn a_server_that_is_left_behind_is_told_about_once_with_the_way_out() {
    both(|mode| {
        let dir = dir();
        let (run, port) = leaves_a_server(Stepdown::in_mode(mode), &dir);
        go(&dir);
        let ended = run.wait();
        let what = format!("what it has left listens on port {port}");
        ended
            .code(0)
            .logged(&[&what, "--main-pid file:PATH"])
            .nothing_left();
        assert_eq!(ended.stderr.matches("--main-pid").count(), 1);
    });
}

#[test]
fn in_the_place_of_another_tool_nothing_is_said_of_it() {
    let dir = dir();
    let tini = dir.path().join("tini");
    std::os::unix::fs::symlink(binary::under_test(), &tini).expect("a directory of ours");
    let stepdown = Stepdown::new().program(tini).args(["-s"]);
    let (run, _) = leaves_a_server(stepdown, &dir);
    go(&dir);
    run.wait().code(0).was_silent();
}

#[test]
fn check_judges_the_one_that_took_over() {
    let dir = dir();
    let script = format!("{DAEMON}{WRITES_IT_FIRST}");
    let ended = Stepdown::new()
        .dir(dir.path())
        .args([
            "check",
            "--main-pid",
            "file:pid",
            "--expect-exit",
            "7",
            "--within",
            "20s",
        ])
        .args(["--ready-when", "file:pid", "--after", "300ms"])
        .shell(&script)
        .run();
    ended.code(0).nothing_left();
    assert!(!ended.stdout.contains("left"), "{}", ended.told());
}
