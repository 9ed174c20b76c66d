//! The command lives more than once: `--restart`, its delay and limits, and `--restart-on`.

use std::fs;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::support::ended::Ended;
use crate::support::{BOUND, Mode, Stepdown, binary, both, uninterrupted};

/// Each life writes a line into `lives`; the fourth one lives until TERM, the others exit with 7.
const FAILS_THREE_TIMES: &str = "echo life >>lives; test $(wc -l <lives) -gt 3 || exit 7; \
     trap 'exit 0' TERM; echo lives; while :; do sleep 0.05; done";

fn dir() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn lives(dir: &TempDir) -> usize {
    let lives = fs::read_to_string(dir.path().join("lives"));
    lives.unwrap_or_default().lines().count()
}

/// Restarts without losing time.
fn restarting(mode: Mode, dir: &TempDir) -> Stepdown {
    let quickly = ["--restart", "on-failure", "--restart-delay", "1ms"];
    Stepdown::in_mode(mode).dir(dir.path()).args(quickly)
}

#[test]
fn a_child_that_crashes_three_times_and_then_lives() {
    both(|mode| {
        let dir = dir();
        let mut run = restarting(mode, &dir).shell(FAILS_THREE_TIMES).start();
        run.says("lives").signal(Signal::SIGTERM);
        let ended = run.wait();
        ended.code(0).nothing_left();
        ended
            .logged(&["generation 1 exited with 7: restarted in "])
            .logged(&["generation 2 exited with 7"])
            .logged(&["generation 3 exited with 7"])
            .logged(&["stopped in"]);
        assert_eq!(lives(&dir), 4);
    });
}

#[test]
fn without_it_the_command_lives_once() {
    both(|mode| {
        let dir = dir();
        let never = [&[][..], &["--restart", "no"]];
        for (run, options) in (1..).zip(never) {
            let stepdown = Stepdown::in_mode(mode).dir(dir.path()).args(options);
            let ended = stepdown.shell(FAILS_THREE_TIMES).run();
            ended.code(7).never_logged("generation");
            assert_eq!(lives(&dir), run);
        }
    });
}

#[test]
fn one_that_never_lives_is_given_up_with_its_own_status() {
    both(|mode| {
        let dir = dir();
        let ended = restarting(mode, &dir)
            .args(["--restart-limit", "2/10m", "--restart-max-delay", "2ms"])
            .shell("echo life >>lives; exit 9")
            .run();
        ended
            .code(9)
            .logged(&["generation 2 exited with 9"])
            .logged(&["not restarted again: 2 restarts within 10m (--restart-limit)"]);
        assert_eq!(lives(&dir), 3);
    });
}

#[test]
fn no_limit_is_none() {
    let dir = dir();
    let ended = restarting(Mode::Ordinary, &dir)
        .args(["--restart-limit", "none", "--restart-max-delay", "1ms"])
        .shell("echo life >>lives; test $(wc -l <lives) -ge 12")
        .run();
    ended.code(0);
    assert_eq!(lives(&dir), 12);
}

#[test]
fn a_stop_in_the_delay_ends_the_run_at_once_with_the_last_status() {
    both(|mode| {
        let mut run = Stepdown::in_mode(mode)
            .args(["--restart", "on-failure", "--restart-delay", "1h"])
            .shell("exit 5")
            .start();
        run.logs("restarted in");
        run.signal(Signal::SIGTERM);
        run.wait()
            .code(5)
            .logged(&["stopping: TERM"])
            .logged(&["stopped in"]);
    });
}

#[test]
fn the_delay_is_kept_and_doubles() {
    let dir = dir();
    let began = Instant::now();
    let ended = Stepdown::new()
        .dir(dir.path())
        .args(["--restart=on-failure", "--restart-delay=100ms"])
        .args(["--restart-limit=3"])
        .shell("exit 1")
        .run();
    ended
        .code(1)
        .logged(&["not restarted again: 3 restarts (--restart-limit)"]);
    // 100, 200 and 400 ms, each a fifth shorter at most.
    assert!(began.elapsed() >= Duration::from_millis(560));
}

#[test]
fn a_success_is_restarted_always_only() {
    both(|mode| {
        let dir = dir();
        restarting(mode, &dir).shell("exit 0").run().code(0);
        let ended = restarting(mode, &dir)
            .args(["--success-exit", "7"])
            .shell("echo life >>lives; exit 7")
            .run();
        ended.code(0);
        assert_eq!(lives(&dir), 1);
        let ended = restarting(mode, &dir)
            .args(["--restart=always", "--restart-limit=2"])
            .shell("echo life >>lives")
            .run();
        ended.code(0).logged(&["not restarted again"]);
        assert_eq!(lives(&dir), 4);
    });
}

#[test]
fn listed_codes_and_signals_are_final() {
    both(|mode| {
        let dir = dir();
        for (script, code) in [("exit 78", 78), ("kill -ABRT $$", 134)] {
            let ended = restarting(mode, &dir)
                .args(["--restart-never-on", "78,ABRT"])
                .shell(script)
                .run();
            ended.code(code).never_logged("generation");
        }
    });
}

#[test]
fn a_command_that_cannot_be_started_is_final_unless_asked_otherwise() {
    both(|mode| {
        let dir = dir();
        let missing = dir.path().join("later");
        let ended = restarting(mode, &dir).child([&missing]).run();
        ended.code(127).never_logged("generation");
        let mut run = restarting(mode, &dir)
            .args(["--restart-start-failures", "--restart-limit=none"])
            .args(["--restart-max-delay=10ms"])
            .child([&missing])
            .start();
        run.logs("generation 1 could not be started: restarted in");
        // The kernel refuses a file that is still open for writing: it is renamed into its place.
        let made = dir.path().join("made");
        fs::copy("/bin/true", &made).expect("a directory of ours");
        fs::rename(made, missing).expect("a directory of ours");
        run.wait().code(0);
    });
}

#[test]
fn a_signal_asks_for_the_whole_stop_and_the_next_start() {
    both(|mode| {
        let mut run = Stepdown::in_mode(mode)
            .args(["--restart-on", "HUP,USR2"])
            .args(["--pre-start", "sh -c 'echo starting $STEPDOWN_GENERATION'"])
            .args([
                "--post-stop",
                "sh -c 'echo stopped $STEPDOWN_GENERATION $STEPDOWN_REASON'",
            ])
            .shell("trap 'echo told; exit 0' TERM; echo ready; while :; do sleep 0.05; done")
            .start();
        run.says("starting 1").says("ready").signal(Signal::SIGHUP);
        run.says("told").says("stopped 1 restart");
        run.says("starting 2")
            .says_times("ready", 2)
            .signal(Signal::SIGUSR2);
        run.says("stopped 2 restart")
            .says("starting 3")
            .says_times("ready", 3);
        run.signal(Signal::SIGTERM);
        let ended = run.wait();
        ended.code(0).said("stopped 3 signal").nothing_left();
        ended
            .logged(&["restarting: HUP"])
            .logged(&["generation 1 exited with 0: restarted, as asked"]);
    });
}

#[test]
fn hooks_are_told_of_restarts_nobody_asked_for() {
    let dir = dir();
    let ended = restarting(Mode::Ordinary, &dir)
        .args(["--restart-limit", "1", "--post-stop"])
        .args(["sh -c 'echo $STEPDOWN_GENERATION $STEPDOWN_RESTARTS $STEPDOWN_EXIT_CODE'"])
        .shell("exit 3")
        .run();
    ended.code(3).said("1 0 3").said("2 1 3");
}

#[test]
fn nothing_of_one_generation_survives_into_the_next() {
    both(|mode| {
        let dir = dir();
        let mut run = restarting(mode, &dir)
            .args(["--sweep-grace", "50ms"])
            .shell(
                "echo life >>lives; test $(wc -l <lives) -gt 1 || \
                 { setsid sh -c 'trap \"\" TERM; echo $$ >left; while :; do sleep 0.05; done' & \
                   while ! test -s left; do sleep 0.01; done; exit 1; }; \
                 kill -0 $(cat left) 2>/dev/null && echo survived; echo ready; exec sleep 1000",
            )
            .start();
        run.says("ready").signal(Signal::SIGTERM);
        let ended = run.wait();
        ended.code(143).never_said("survived").nothing_left();
    });
}

#[test]
fn each_generation_finds_what_the_first_one_found() {
    both(|mode| {
        let dir = dir();
        let ended = restarting(mode, &dir)
            .args(["--restart-limit=1"])
            .shell("pwd; ls /proc/self/fd | tr '\\n' ' '; echo; exit 1")
            .run();
        ended.code(1);
        let lines: Vec<&str> = ended.stdout.lines().collect();
        assert_eq!(lines.len(), 4, "{lines:?}");
        assert_eq!(lines[..2], lines[2..], "{lines:?}");
    });
}

#[test]
fn input_is_relayed_to_the_generation_that_is_alive() {
    both(|mode| {
        let dir = dir();
        let mut run = restarting(mode, &dir)
            .args(["--stdin=relay", "--restart-on=HUP"])
            .with_stdin()
            .shell("echo ready; while read -r line; do echo got $line; test $line != fail || exit 1; done; sleep 1000")
            .start();
        run.says("ready").type_line("one").says("got one");
        run.type_line("fail").says_times("ready", 2);
        run.type_line("two").says("got two");
        run.signal(Signal::SIGHUP).says_times("ready", 3);
        run.type_line("three").says("got three");
        run.signal(Signal::SIGTERM);
        run.wait().code(143);
    });
}

#[test]
fn the_service_manager_is_not_told_of_a_stop_that_is_none() {
    let dir = dir();
    let manager = UnixDatagram::bind(dir.path().join("manager")).expect("a directory of ours");
    manager
        .set_read_timeout(Some(BOUND))
        .expect("a bound above zero");
    let told = || {
        let mut buffer = [0; 4096];
        let count = uninterrupted(|| manager.recv(&mut buffer)).expect("a message");
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    };
    let mut run = restarting(Mode::Ordinary, &dir)
        .env("NOTIFY_SOCKET", dir.path().join("manager"))
        .shell(FAILS_THREE_TIMES)
        .start();
    for _ in 0..4 {
        assert_eq!(told(), "READY=1");
    }
    run.says("lives").signal(Signal::SIGTERM);
    assert_eq!(told(), "STOPPING=1");
    run.wait().code(0);
}

#[test]
fn readiness_begins_anew_with_each_generation() {
    both(|mode| {
        let dir = dir();
        let orders = dir.path().join("orders");
        nix::unistd::mkfifo(&orders, nix::sys::stat::Mode::S_IRWXU).expect("a directory of ours");
        let mut run = restarting(mode, &dir)
            .args(["--ready-when=notify", "--restart-on=HUP"])
            .child([binary::notifier().as_os_str(), orders.as_os_str()])
            .start();
        run.says("ready");
        // As long as somebody could write, the child does not see the end of its orders.
        let orders = OpenOptions::new().write(true).open(&orders);
        let mut orders = orders.expect("the child reads it");
        let mut say = || {
            let order = b"say READY=1\n";
            orders.write_all(order).expect("the child reads it");
        };
        say();
        run.logs("ready after");
        run.signal(Signal::SIGHUP).says_times("ready", 2);
        say();
        run.logs_times("ready after", 2);
        run.signal(Signal::SIGTERM);
        run.wait();
    });
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let cases: [(&[&str], &str); 6] = [
        (&["--restart", "sometimes"], "no, on-failure, always"),
        (
            &["--restart=always", "--restart-limit", "0/1m"],
            "none for no limit",
        ),
        (
            &["--restart=always", "--restart-limit", "5/soon"],
            "--restart-limit",
        ),
        (
            &[
                "--restart=always",
                "--restart-delay=5s",
                "--restart-max-delay=1s",
            ],
            "shorter than --restart-delay",
        ),
        (&["--restart-on", "TERM"], "take it out of --stop-on"),
        (&["--restart-delay", "1s"], "add --restart"),
    ];
    for (options, way_out) in cases {
        let ended = Stepdown::new().args(options).child(["true"]).run();
        ended.code(125).logged(&[way_out]);
    }
}

/// What is left of the first life is waited for, until HUP comes.
fn hup_ends_the_wait(mode: Mode, options: &[&str]) -> Ended {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut run = Stepdown::in_mode(mode)
        .args(["-v", "--left=wait"])
        .args(options)
        .dir(dir.path())
        .shell("if test -e first; then echo second; exit; fi; : >first; sleep 1000 & exit 3")
        .start();
    run.logs("child exited with 3");
    run.signal(Signal::SIGHUP).says("second");
    let ended = run.wait();
    ended
        .code(0)
        .logged(&["TERM to 1 process left"])
        .logged(&["generation 2 begins"])
        .nothing_left();
    ended
}

#[test]
fn a_restart_on_request_ends_the_wait_for_what_is_left() {
    both(|mode| {
        let ended = hup_ends_the_wait(mode, &["--restart-on=HUP"]);
        ended.logged(&["restarting: HUP"]);
    });
}

#[test]
fn a_request_for_a_replacement_ends_the_wait_for_what_is_left() {
    both(|mode| {
        let options = [
            "--listen=127.0.0.1:0",
            "--ready-when=exec:true",
            "--replace-on=HUP",
        ];
        hup_ends_the_wait(mode, &options);
    });
}
