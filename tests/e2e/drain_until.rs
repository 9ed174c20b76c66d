//! `--drain-until`: the program itself is asked, and until it says that nothing is in flight it gets no signal.
//!
//! Each kind of question comes with its failing twin: a program that never says so, whose time decides.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::support::drainee::{Drainee, THREADED};
use crate::support::net::free_port;
use crate::support::running::Running;
use crate::support::{BOUND, Mode, Stepdown, both, proc, wait_until};

/// The part of a program that answers questions by HTTP; it lives in the story.
struct Program {
    port: u16,
    state: Arc<Mutex<State>>,
}

struct State {
    status: u16,
    body: String,
    /// What was asked.
    requests: Vec<String>,
}

impl Program {
    fn new(status: u16, body: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let port = listener.local_addr().expect("it is bound").port();
        let state = Arc::new(Mutex::new(State {
            status,
            body: body.to_owned(),
            requests: Vec::new(),
        }));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
                    head.push(byte[0]);
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let line = head.lines().next().unwrap_or_default().to_owned();
                let mut state = shared.lock().expect("nobody panics with it");
                state.requests.push(line);
                let (status, body) = (state.status, &state.body);
                let answer = format!(
                    "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                );
                // Who asked may have been ended meanwhile.
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Self { port, state }
    }

    fn answers(&self, status: u16, body: &str) {
        let mut state = self.state.lock().expect("nobody panics with it");
        (state.status, state.body) = (status, body.to_owned());
    }

    fn asked(&self) -> Vec<String> {
        self.state.lock().expect("nobody panics").requests.clone()
    }

    /// Waits until it was asked so often since now.
    #[track_caller]
    fn is_asked(&self, times: usize) {
        let before = self.asked().len();
        wait_until("it is asked", || self.asked().len() >= before + times);
    }
}

/// A child that ends when it gets TERM, and says so.
const CHILD: &str = "trap 'echo got TERM; exit 7' TERM; echo ready; while :; do sleep 0.02; done";

fn start(mode: Mode, options: &[&str]) -> Running {
    let mut run = Stepdown::in_mode(mode).args(options).shell(CHILD).start();
    run.says("ready");
    run
}

/// The child has got nothing yet.
#[track_caller]
fn still_drains(run: &mut Running) {
    assert!(run.is_running());
    assert!(!run.stderr_has("step 1"), "{}", run.stderr_text());
}

#[track_caller]
fn drained(run: Running) {
    let ended = run.wait();
    ended.code(7).said("got TERM").logged(&["drained in"]);
    ended.never_logged("does not hold").nothing_left();
}

/// The time has decided: the child is stopped all the same, and the line says what did not hold and why.
#[track_caller]
fn never_drained(run: Running, condition: &str, why: &str) {
    let ended = run.wait();
    ended.code(7).said("got TERM").nothing_left();
    ended.logged(&["drain ended by its timeout after"]);
    ended.logged(&[&format!("--drain-until {condition} does not hold: {why}")]);
    ended.never_logged("drained in");
}

// Each kind, and its twin.

#[test]
fn http_until_the_answer_is_2xx() {
    both(|mode| {
        let program = Program::new(503, "busy");
        let url = format!("http://127.0.0.1:{}/drained?a=b", program.port);
        let until = format!("--drain-until={url}");
        let mut run = start(mode, &[&until, "--drain-timeout=1h"]);
        assert!(program.asked().is_empty(), "it is asked while it runs");
        run.signal(Signal::SIGTERM);
        run.logs(&format!("drain: waiting until {url} holds"));
        program.is_asked(3);
        still_drains(&mut run);
        program.answers(204, "");
        drained(run);
        assert!(program.asked()[0].starts_with("GET /drained?a=b HTTP/1.1"));
    });
}

#[test]
fn http_that_never_answers_2xx() {
    both(|mode| {
        let program = Program::new(503, "busy");
        let until = format!("http:http://127.0.0.1:{}/drained", program.port);
        let options = ["--drain-until", &until, "--drain-timeout=700ms"];
        let mut run = start(mode, &options);
        run.signal(Signal::SIGTERM);
        never_drained(run, &until, "the answer is 503");
    });
}

const BUSY: &str = "# TYPE jobs gauge\njobs{queue=\"a\"} 2\njobs{queue=\"b\"} 1\n";

#[test]
fn metric_until_its_series_add_up_to_0() {
    both(|mode| {
        let program = Program::new(200, BUSY);
        let until = format!("metric:http://127.0.0.1:{}/metrics#jobs", program.port);
        let options = ["--drain-until", &until, "--drain-timeout=1h"];
        let mut run = start(mode, &options);
        run.signal(Signal::SIGTERM);
        run.logs("drain: 3 in flight, 59m");
        program.answers(200, "jobs{queue=\"a\"} 0\njobs{queue=\"b\"} 1\n");
        run.logs("drain: 1 in flight, 59m");
        still_drains(&mut run);
        program.answers(200, "jobs{queue=\"a\"} 0\njobs{queue=\"b\"} 0\n");
        drained(run);
    });
}

#[test]
fn metric_with_labels_counts_only_what_has_them() {
    let program = Program::new(200, BUSY);
    let url = format!("http://127.0.0.1:{}/metrics", program.port);
    let until = format!("metric:{url}#jobs{{queue=\"b\"}}");
    let options = ["--drain-until", &until, "--drain-timeout=1h"];
    let mut run = start(Mode::Ordinary, &options);
    run.signal(Signal::SIGTERM).logs("drain: 1 in flight");
    program.answers(200, "jobs{queue=\"a\"} 2\njobs{queue=\"b\"} 0\n");
    drained(run);
}

#[test]
fn metric_that_never_comes_to_0() {
    both(|mode| {
        let program = Program::new(200, BUSY);
        let until = format!("metric:http://127.0.0.1:{}/metrics#jobs", program.port);
        let options = ["--drain-until", &until, "--drain-timeout=700ms"];
        let mut run = start(mode, &options);
        run.signal(Signal::SIGTERM);
        run.logs("drain ended by its timeout after 7");
        assert!(run.stderr_has(", 3 requests interrupted"));
        never_drained(run, &until, "it is 3");
    });
}

#[test]
fn metric_that_is_not_there_is_not_drained() {
    let program = Program::new(200, "other 0\n");
    let until = format!("metric:http://127.0.0.1:{}/#jobs", program.port);
    let options = ["--drain-until", &until, "--drain-timeout=700ms"];
    let mut run = start(Mode::Ordinary, &options);
    run.signal(Signal::SIGTERM);
    never_drained(run, &until, "there is no series jobs");
}

/// A file that a command can look for.
fn gate() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("drained");
    (dir, path)
}

#[test]
fn exec_until_it_exits_with_0() {
    both(|mode| {
        let (dir, drained_file) = gate();
        let times = dir.path().join("times");
        let until = format!(
            "exec:sh -c 'echo $STEPDOWN_PHASE $STEPDOWN_SIGNAL >>{}; echo noise; test -e {}'",
            times.display(),
            drained_file.display()
        );
        let options = ["--drain-until", &until, "--drain-timeout=1h"];
        let mut run = start(mode, &options);
        run.signal(Signal::SIGTERM);
        let asked = || fs::read_to_string(&times).unwrap_or_default();
        wait_until("it is asked", || asked().lines().count() >= 3);
        assert_eq!(asked().lines().next(), Some("drain TERM"));
        still_drains(&mut run);
        fs::write(&drained_file, "").expect("a directory of ours");
        let ended = run.wait();
        ended.code(7).logged(&["drained in"]).nothing_left();
        // What it prints is of no use to anybody.
        ended.never_said("noise");
        assert!(!ended.stderr.lines().any(|line| line == "noise"));
    });
}

#[test]
fn exec_that_never_exits_with_0() {
    both(|mode| {
        let options = ["--drain-until=exec:sh -c 'exit 3'", "--drain-timeout=700ms"];
        let mut run = start(mode, &options);
        run.signal(Signal::SIGTERM);
        never_drained(run, "exec:sh -c 'exit 3'", "it exited with 3");
    });
}

#[test]
fn a_command_that_hangs_is_killed_with_the_drain() {
    both(|mode| {
        let (_dir, end) = gate();
        let mut run = Stepdown::in_mode(mode)
            .args(["--drain-until=exec:sh -c 'sleep 1111 & sleep 1111'"])
            .args(["--drain-timeout=700ms", "--grace=1h"])
            .shell(&format!(
                "trap '' TERM; echo ready; until test -e {}; do sleep 0.02; done",
                end.display()
            ))
            .start();
        run.says("ready").signal(Signal::SIGTERM);
        let mark = run.mark().clone();
        let sleeps = |mark: &crate::support::mark::Mark| {
            let is_probe = |pid| {
                fs::read(format!("/proc/{pid}/cmdline"))
                    .is_ok_and(|line| line.starts_with(b"sleep\x001111"))
            };
            mark.processes().iter().filter(|p| is_probe(p.pid)).count()
        };
        wait_until("it asks", || sleeps(&mark) == 2);
        run.logs("step 1 of 2");
        wait_until("nobody asks any more", || sleeps(&mark) == 0);
        assert!(run.is_running());
        fs::write(&end, "").expect("a directory of ours");
        run.wait().code(0).nothing_left();
    });
}

// What is not known.

#[test]
fn each_failure_to_ask_is_told_once_and_is_not_drained() {
    both(|mode| {
        let nobody = free_port();
        let conditions = [
            format!("http://127.0.0.1:{nobody}/"),
            format!("metric:http://127.0.0.1:{nobody}/#jobs"),
            "exec:/no/such/program".to_owned(),
            "exec:sh -c 'exit 127'".to_owned(),
        ];
        let mut options: Vec<&str> = vec!["--drain-timeout=1500ms"];
        for condition in &conditions {
            options.extend(["--drain-until", condition]);
        }
        let mut run = start(mode, &options);
        run.signal(Signal::SIGTERM);
        let ended = run.wait();
        ended.code(7).logged(&["drain ended by its timeout"]);
        for (condition, why) in conditions.iter().zip([
            "Connection refused",
            "Connection refused",
            "/no/such/program: not found",
            "it exited with 127",
        ]) {
            let line = format!("--drain-until {condition}: {why}");
            let told = ended.stderr.lines().filter(|seen| seen.contains(&line));
            assert_eq!(told.count(), 1, "{line}\n{}", ended.told());
            ended.logged(&[&format!("{condition} does not hold: {why}")]);
        }
    });
}

#[test]
fn a_program_that_comes_back_is_believed() {
    let program = Program::new(500, "");
    let until = format!("metric:http://127.0.0.1:{}/#jobs", program.port);
    let options = ["--drain-until", &until, "--drain-timeout=1h"];
    let mut run = start(Mode::Ordinary, &options);
    run.signal(Signal::SIGTERM);
    run.logs(": the answer is 500");
    still_drains(&mut run);
    program.answers(200, "jobs 0\n");
    drained(run);
}

// Together with the rest of the drain.

#[test]
fn all_of_them_must_hold() {
    both(|mode| {
        let program = Program::new(200, "jobs 1\n");
        let (_dir, file) = gate();
        let metric = format!("metric:http://127.0.0.1:{}/#jobs", program.port);
        let exec = format!("exec:test -e {}", file.display());
        let options = [
            "--drain-until",
            &metric,
            "--drain-until",
            &exec,
            "--drain-timeout=1h",
        ];
        let mut run = start(mode, &options);
        run.signal(Signal::SIGTERM);
        run.logs(&format!("waiting until {metric} holds and {exec} holds"));
        run.logs("drain: 1 in flight");
        program.answers(200, "jobs 0\n");
        program.is_asked(3);
        still_drains(&mut run);
        fs::write(&file, "").expect("a directory of ours");
        drained(run);
    });
}

#[test]
fn ports_and_program_are_both_waited_for() {
    both(|mode| {
        for port_first in [true, false] {
            let program = Program::new(503, "");
            let until = format!("--drain-until=http://127.0.0.1:{}/", program.port);
            let options = ["--drain-port=PORT", &until, "--drain-timeout=1h"];
            let mut server = Drainee::start(mode, &options, THREADED);
            let mut client = server.connect();
            client.say("slow");
            server.stop().logs("drain: 1 in flight");
            let mut release = |server: &mut Drainee| {
                server.release();
                client.hears("done");
            };
            if port_first {
                release(&mut server);
                program.is_asked(12);
            } else {
                program.answers(200, "");
                program.is_asked(3);
            }
            still_drains(&mut server.run);
            if port_first {
                program.answers(200, "");
            } else {
                release(&mut server);
            }
            server.run.wait().code(143).logged(&["drained in"]);
        }
    });
}

#[test]
fn the_delay_is_kept_when_the_program_is_done() {
    both(|mode| {
        let options = ["--drain-until=exec:true", "--drain-delay=900ms"];
        let mut run = start(mode, &options);
        run.signal(Signal::SIGTERM);
        let ended = run.wait();
        ended.code(7).logged(&["drained in"]);
        ended.stopped_no_sooner_than(Duration::from_millis(900));
    });
}

#[test]
fn a_second_int_ends_it() {
    both(|mode| {
        let options = ["--drain-until=exec:false", "--drain-timeout=1h"];
        let mut run = start(mode, &options);
        run.signal(Signal::SIGTERM).logs("drain: waiting");
        // The first one hurries nothing.
        let pid = run.pid();
        run.wait_for("it goes on", |run| {
            let _ = proc::kill(pid, Signal::SIGINT as i32);
            run.stderr_has("drain cut short")
        });
        run.wait().nothing_left();
    });
}

#[test]
fn it_is_asked_at_a_bounded_pace() {
    let program = Program::new(503, "");
    let until = format!("--drain-until=http://127.0.0.1:{}/", program.port);
    let mut run = start(Mode::Ordinary, &[&until, "--drain-timeout=1h"]);
    run.signal(Signal::SIGTERM).logs("drain: waiting");
    let since = Instant::now();
    program.is_asked(15);
    // A tenth of a second lies between two questions, more as time goes on.
    assert!(since.elapsed() >= Duration::from_millis(1300));
    program.answers(200, "");
    drained(run);
}

// Wherever it is written.

#[test]
fn variables_and_the_file_say_it_too() {
    let program = Program::new(503, "");
    let url = format!("http://127.0.0.1:{}/", program.port);
    let (dir, file) = gate();
    let exec = format!("exec:test -e {}", file.display());
    let config = dir.path().join("stepdown.toml");
    fs::write(
        &config,
        format!("drain-until = ['{url}', '{exec}']\ndrain-timeout = '1h'"),
    )
    .expect("a directory of ours");
    let of_file = Stepdown::new().args(["--config".as_ref(), config.as_os_str()]);
    let of_variable = Stepdown::new()
        .env("STEPDOWN_DRAIN_UNTIL", format!("{url}\n{exec}"))
        .env("STEPDOWN_DRAIN_TIMEOUT", "1h");
    for stepdown in [of_file, of_variable] {
        let _ = fs::remove_file(&file);
        program.answers(503, "");
        let mut run = stepdown.shell(CHILD).start();
        run.says("ready").signal(Signal::SIGTERM);
        run.logs(&format!("waiting until {url} holds and {exec} holds"));
        program.answers(200, "");
        program.is_asked(3);
        still_drains(&mut run);
        fs::write(&file, "").expect("a directory of ours");
        drained(run);
    }
}

#[test]
fn a_reload_changes_it_but_gives_the_child_no_socket() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let config = dir.path().join("stepdown.toml");
    let now = |text: &str| fs::write(&config, text).expect("a directory of ours");
    now("drain-until = 'exec:true'");
    let mut run = Stepdown::new()
        .args(["--config".as_ref(), config.as_os_str()])
        .args(["--reload-on=HUP", "--drain-timeout=600ms"])
        .shell(CHILD)
        .start();
    run.says("ready");
    now("drain-until = 'notify'");
    run.signal(Signal::SIGHUP);
    run.logs("drain-until: notify needs a socket for the child, which only a restart of stepdown sets up");
    now("drain-until = 'exec:false'");
    run.signal(Signal::SIGHUP);
    run.logs("configuration reloaded: drain-until changed");
    run.signal(Signal::SIGTERM);
    never_drained(run, "exec:false", "it exited with 1");
}

#[test]
fn check_judges_with_it() {
    let check = |until: &str, within: &str| {
        Stepdown::new()
            .args(["check", "--ready-line=ready", "--expect-exit=7"])
            .args(["--drain-until", until, "--drain-timeout=3s", within])
            .shell(CHILD)
            .start()
            .wait_within(BOUND * 2)
    };
    check("exec:true", "--within=30s").code(0).nothing_left();
    check("exec:false", "--within=500ms").code(1).nothing_left();
}
