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
/// So many rounds at a time: whether two things happen within one jiffy is chance.
const ROUNDS: usize = 4;

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
#[derive(Clone, Copy)]
struct Case {
    server: &'static str,
    client: &'static str,
    /// Requests before the last one that are answered at once.
    quick: u32,
    /// What the last request takes; with 0 there is none.
    ms: u32,
    variant: &'static str,
}

const HTTP: Case = Case {
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
        let options = options.iter().map(|option| option.replace("PORT", &port));
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

/// Every round ends with an answer, and the server is asked to stop only then.
#[track_caller]
fn is_answered(case: Case, options: &[&str]) {
    let mut rounds: Vec<Round> = (0..ROUNDS).map(|_| Round::start(case, options)).collect();
    for round in &mut rounds {
        round.run.signal(Signal::SIGTERM);
    }
    let heard: Vec<String> = rounds.iter_mut().map(|round| round.client.hear()).collect();
    assert!(
        heard.iter().all(|word| word == "answered"),
        "{options:?}: {heard:?}"
    );
    for mut round in rounds {
        // What comes after the answer is not this story.
        round.run.logs("drain");
        if round.run.is_running() {
            round.run.signal(Signal::SIGINT);
        }
        round.run.wait().never_logged("timeout");
    }
}

/// A connection that has had its answers does not hold up a drain that may take for ever.
#[track_caller]
fn is_not_waited_for(case: Case, options: &[&str]) {
    let case = Case { ms: 0, ..case };
    let options = [options, &["--drain-timeout=1h"]].concat();
    let mut rounds: Vec<Round> = (0..ROUNDS).map(|_| Round::start(case, &options)).collect();
    for round in &mut rounds {
        round.run.signal(Signal::SIGTERM);
    }
    for mut round in rounds {
        assert_eq!(round.client.hear(), "closed");
        round.run.wait().code(143).logged(&["drained in"]);
    }
}

#[test]
fn the_next_request_in_the_moment_of_an_answer_is_answered() {
    need!(node());
    for quick in [1, 5] {
        is_answered(Case { quick, ..HTTP }, &["--drain-port=PORT"]);
    }
}

#[test]
fn the_next_request_over_tls_is_answered() {
    need!(openssl());
    for client in ["https1.2", "https"] {
        let case = Case {
            server: "https",
            client,
            quick: 2,
            ..HTTP
        };
        is_answered(case, &["--drain-port=PORT"]);
    }
}

#[test]
fn a_connection_that_was_answered_at_once_does_not_hold_up_the_stop() {
    need!(node());
    for quick in [0, 1, 5] {
        is_not_waited_for(Case { quick, ..HTTP }, &["--drain-port=PORT"]);
    }
}
