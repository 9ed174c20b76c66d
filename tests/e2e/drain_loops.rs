//! The drain around a server with an event loop (node): whatever it speaks, what is owed is not cut, and
//! who is idle does not hold up the stop.

use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::ChildStdout;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;

use crate::support::net::free_port;
use crate::support::running::Running;
use crate::support::{Mode, Stepdown, binary, need};

/// As long as an answer takes: longer than the quiet time after an answer.
const SLOW: u32 = 2_500;

fn node() -> Result<(), String> {
    runs("node", "nodejs")
}

fn openssl() -> Result<(), String> {
    node()?;
    runs("openssl", "openssl")
}

fn runs(program: &str, package: &str) -> Result<(), String> {
    let run = Command::new(program)
        .arg("-h")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    run.map(drop)
        .map_err(|error| format!("{program} (package {package}): {error}"))
}

/// A key and a certificate for it.
fn certificate() -> (tempfile::TempDir, [PathBuf; 2]) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
        ])
        .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-keyout", "key", "-out", "cert"])
        .current_dir(directory.path())
        .output()
        .expect("openssl");
    assert!(made.status.success(), "{made:?}");
    let files = ["key", "cert"].map(|name| directory.path().join(name));
    (directory, files)
}

/// What is spoken, and how a client of it behaves.
#[derive(Clone, Copy, Debug)]
struct Case {
    /// What `--drain-port` says.
    drained: &'static str,
    server: &'static str,
    client: &'static str,
    /// Requests before the last one that are answered at once.
    quick: u32,
    /// What the last request takes; with 0 there is none.
    ms: u32,
    variant: &'static str,
}

const HTTP: Case = Case {
    drained: "PORT",
    server: "http",
    client: "http",
    quick: 0,
    ms: SLOW,
    variant: "",
};

struct Round {
    run: Running,
    client: Client,
}

struct Client {
    process: Child,
    says: Lines<BufReader<ChildStdout>>,
}

impl Round {
    /// A server under stepdown, and a client that has asked it.
    #[track_caller]
    fn start(case: Case, options: &[&str]) -> Self {
        let port = free_port().to_string();
        let drained = format!("--drain-port={}", case.drained.replace("PORT", &port));
        let mut words = vec![
            "node".into(),
            binary::child("event-loop.js").into_os_string(),
        ];
        words.extend([case.server.into(), port.clone().into()]);
        let certificate = matches!(case.server, "https" | "h2").then(certificate);
        if let Some((_, files)) = &certificate {
            words.extend(files.iter().map(|file| file.clone().into_os_string()));
        }
        let mut run = Stepdown::in_mode(Mode::Ordinary)
            .args([drained])
            .args(options)
            .child(words)
            .start();
        run.says("ready");
        let (quick, ms) = (case.quick.to_string(), case.ms.to_string());
        let script: &Path = &binary::child("event-loop-client.js");
        let mut process = Command::new("node")
            .arg(script)
            .args([case.client, "127.0.0.1", &port, &quick, &ms, case.variant])
            .stdout(Stdio::piped())
            .spawn()
            .expect("node");
        let says = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        let mut client = Client { process, says };
        assert_eq!(client.hear(), "asked");
        Self { run, client }
    }
}

impl Client {
    #[track_caller]
    fn hear(&mut self) -> String {
        self.says.next().expect("a line").expect("UTF-8")
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Several rounds of each: whether two things happen within one jiffy is chance. What hides in any case needs
/// one.
fn rounds(cases: &[Case], options: &[&str]) -> Vec<(Case, Round)> {
    let times = |case: &Case| {
        if case.server.starts_with("http") {
            4
        } else {
            1
        }
    };
    let all = cases
        .iter()
        .flat_map(|case| std::iter::repeat_n(*case, times(case)));
    let start = |case: Case| (case, Round::start(case, options));
    all.map(start).collect()
}

/// The server is asked to stop while each client waits for its answer, and each gets it.
#[track_caller]
fn are_answered(cases: &[Case]) {
    let mut rounds = rounds(cases, &[]);
    for (_, round) in &mut rounds {
        round.run.signal(Signal::SIGTERM);
    }
    for (case, round) in &mut rounds {
        assert_eq!(round.client.hear(), "answered", "{case:?}");
        // What comes after the answer is not this story.
        round.run.signal(Signal::SIGINT);
    }
    for (_, round) in rounds {
        round.run.wait().never_logged("timeout");
    }
}

/// A connection that has had its answers does not hold up a drain that may take for ever.
#[track_caller]
fn are_not_waited_for(cases: &[Case], options: &[&str]) {
    let cases: Vec<Case> = cases.iter().map(|case| Case { ms: 0, ..*case }).collect();
    let options = [options, &["--drain-timeout=1h"]].concat();
    let mut rounds = rounds(&cases, &options);
    for (_, round) in &mut rounds {
        round.run.signal(Signal::SIGTERM);
    }
    for (case, round) in &mut rounds {
        assert_eq!(round.client.hear(), "closed", "{case:?}");
    }
    for (_, round) in rounds {
        round.run.wait().code(143).logged(&["drained in"]);
    }
}

#[test]
fn the_next_request_in_the_moment_of_an_answer_is_answered() {
    need!(node());
    are_answered(&[1, 5].map(|quick| Case { quick, ..HTTP }));
}

#[test]
fn the_next_request_over_tls_is_answered() {
    need!(openssl());
    are_answered(&["https1.2", "https"].map(|client| Case {
        server: "https",
        client,
        quick: 2,
        ..HTTP
    }));
}

#[test]
fn a_connection_that_was_answered_at_once_does_not_hold_up_the_stop() {
    need!(node());
    are_not_waited_for(&[0, 1, 5].map(|quick| Case { quick, ..HTTP }), &[]);
}

/// What only the protocol tells; without it these are cut, most often.
const HIDDEN: [Case; 9] = {
    const fn case(drained: &'static str, server: &'static str, variant: &'static str) -> Case {
        Case {
            drained,
            server,
            client: server,
            variant,
            ..HTTP
        }
    }
    [
        case("PORT/tls", "https", ""),
        Case {
            client: "https1.2",
            ..case("PORT/tls", "https", "")
        },
        case("PORT/h2", "h2c", ""),
        case("PORT/h2", "h2c", "several"),
        case("PORT/h2", "h2c", "upload"),
        Case {
            quick: 1,
            ..case("PORT/h2", "h2", "")
        },
        case("PORT/h2", "h2", "several"),
        case("PORT/ws", "ws", "pings"),
        case("PORT/opaque", "raw", ""),
    ]
};

#[test]
fn what_the_port_speaks_keeps_answers_from_being_cut() {
    need!(openssl());
    are_answered(&HIDDEN);
}

#[test]
fn whatever_the_port_speaks_an_idle_connection_is_not_waited_for() {
    need!(openssl());
    are_not_waited_for(&HIDDEN, &["--drain-quiet=700ms"]);
}

#[test]
fn heartbeats_do_not_hold_up_the_stop() {
    need!(openssl());
    let pinged = HIDDEN
        .iter()
        .filter(|case| matches!(case.drained, "PORT/h2" | "PORT/ws"));
    let pinged: Vec<Case> = pinged
        .map(|case| Case {
            quick: 1,
            variant: "pings",
            ..*case
        })
        .collect();
    are_not_waited_for(&pinged, &["--drain-quiet=2s"]);
}
