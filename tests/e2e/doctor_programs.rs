//! `stepdown doctor` before programs that people run, each beside its clean twin.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::str::FromStr;

use crate::doctor::{answers, judged, runs};
use crate::support::net::free_port;
use crate::support::skipped::skip;
use crate::support::stepdown::can_be_pid1;
use crate::support::{Mode, Stepdown, binary, need};

const NODE: &str = "/usr/bin/node";
const SERVER: &str = "process.on('SIGTERM', () => process.exit(0)); \
                      require('http').createServer(() => {}).listen(0, () => console.log('ready'));";

/// A package whose scripts start a server: in a shell that stays, and in its place.
fn package() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let scripts = r#"{"name":"x","version":"1.0.0","scripts":{"stays":"node server.js; true","start":"exec node server.js"}}"#;
    fs::write(dir.path().join("package.json"), scripts).expect("a file of ours");
    fs::write(dir.path().join("server.js"), SERVER).expect("a file of ours");
    dir
}

#[test]
fn npm_passes_a_signal_on_to_its_shell_alone() {
    need!(binary::installed("/usr/bin/npm"));
    need!(can_be_pid1());
    let dir = package();
    for (script, code, words) in [
        (
            "stays",
            1,
            &[
                "passes TERM on, but only to its child",
                "a shell above it, ends on TERM and does not pass it on",
            ][..],
        ),
        (
            "start",
            0,
            &["passes TERM on, but only to its child", "handles TERM"],
        ),
    ] {
        let mut run = Stepdown::as_pid1()
            .program(NODE)
            .args(["/usr/bin/npm", "run", script])
            .env("npm_config_cache", dir.path().join("cache"))
            .env("npm_config_update_notifier", "false")
            .dir(dir.path())
            .start();
        run.says("ready");
        judged(&mut run, code, words);
    }
}

/// yarn does the same; what behaves so stands for it where it is not installed.
#[test]
fn yarn_passes_a_signal_on_to_its_shell_alone() {
    need!(binary::installed(NODE));
    need!(can_be_pid1());
    let dir = package();
    let yarn = dir.path().join("yarn.js");
    let text = "const child = require('child_process').spawn('sh', ['-c', process.argv[2]], {stdio: 'inherit'});
        process.on('SIGTERM', () => child.kill('SIGTERM')); child.on('exit', () => process.exit(1));";
    fs::write(&yarn, text).expect("a file of ours");
    for (script, code, words) in [
        ("node server.js; true", 1, "never gets TERM: "),
        ("exec node server.js", 0, "handles TERM"),
    ] {
        let mut run = Stepdown::as_pid1()
            .program(NODE)
            .args([yarn.as_os_str(), script.as_ref()])
            .dir(dir.path())
            .start();
        run.says("ready");
        judged(
            &mut run,
            code,
            &["passes TERM on, but only to its child", words],
        );
    }
}

#[test]
fn node_hides_its_handler_as_pid_1_only() {
    need!(binary::installed(NODE));
    need!(can_be_pid1());
    for (mode, code, words) in [
        (
            Mode::Pid1,
            125,
            "ends on it only if the program has a handler of its own",
        ),
        (Mode::Ordinary, 0, "will stop"),
    ] {
        let mut run = runs(mode, NODE, ["-e", SERVER]);
        run.says("ready");
        judged(&mut run, code, &[words]);
    }
    // With an init in front it is clean, whatever its handlers are.
    let mut run = runs(Mode::Pid1, binary::under_test(), ["--", NODE, "-e", SERVER]);
    run.says("ready");
    judged(&mut run, 0, &["will stop", "handles TERM"]);
}

#[test]
fn python_has_no_handler_unless_the_program_has_one() {
    const PYTHON: &str = "/usr/bin/python3";
    need!(binary::installed(PYTHON));
    need!(can_be_pid1());
    let port = free_port().to_string();
    let server = ["-u", "-m", "http.server", "--bind", "127.0.0.1", &port];
    let mut run = runs(Mode::Pid1, PYTHON, server);
    run.says_about("Serving HTTP");
    judged(
        &mut run,
        1,
        &[
            "is PID 1 and has no handler for TERM",
            &format!(":{port} "),
            "stop it with INT, which it handles",
        ],
    );
    let pid = run.pid().to_string();
    answers(&["--signal", "INT", &pid], 0, &["handles INT"]);
    let twin = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); \
                print('ready', flush=True); time.sleep(1000)";
    let mut run = runs(Mode::Pid1, PYTHON, ["-c", twin]);
    run.says("ready");
    judged(&mut run, 0, &["handles TERM"]);
}

#[test]
fn java_handles_its_signals_unless_told_not_to() {
    const JAVA: &str = "/usr/bin/java";
    if binary::installed(JAVA).is_err() || binary::installed("/usr/bin/javac").is_err() {
        return skip("java or javac is not installed");
    }
    need!(can_be_pid1());
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("Rest.java");
    let text = "class Rest { public static void main(String[] words) throws Exception {
        System.out.println(\"ready\"); Thread.sleep(1000000); } }";
    fs::write(&file, text).expect("a file of ours");
    let file = file.display().to_string();
    for (options, code, words) in [
        (&["-Xint"][..], 0, "handles TERM"),
        // Reduced use of signals: no shutdown hooks.
        (
            &["-Xint", "-Xrs"],
            1,
            "is PID 1 and has no handler for TERM",
        ),
    ] {
        let line = options.iter().copied().chain([&*file]);
        // The launcher may leave its work to a thread; the process is the same.
        let real = fs::canonicalize(JAVA).expect("it is there");
        judged(&mut runs(Mode::Pid1, real, line), code, &[words]);
    }
}

/// Go's runtime has a handler for every signal, whether or not the program asks for one.
#[test]
fn go_ends_unless_the_program_asks_for_the_signal() {
    const GO: &str = "/usr/bin/go";
    need!(binary::installed(GO));
    need!(can_be_pid1());
    let dir = tempfile::tempdir().expect("a directory");
    let built = |name: &str, imports: &str, before: &str, rest: &str| {
        let file = dir.path().join(format!("{name}.go"));
        let text = format!(
            "package main\nimport ({imports})\nfunc main() {{ {before}; println(\"ready\"); {rest} }}\n"
        );
        fs::write(&file, text).expect("a file of ours");
        let program = dir.path().join(name);
        let built = Command::new(GO)
            .args(["build", "-o"])
            .arg(&program)
            .arg(&file)
            .env("GOCACHE", dir.path().join("cache"))
            .env("GOPATH", dir.path().join("path"))
            .env("GOTOOLCHAIN", "local")
            .env("CGO_ENABLED", "0")
            .output()
            .expect("go");
        assert!(built.status.success(), "{built:?}");
        program
    };
    let plain = built("plain", "\"time\"", "_ = 0", "time.Sleep(time.Hour)");
    let asks = built(
        "asks",
        "\"os\"; \"os/signal\"; \"syscall\"",
        "c := make(chan os.Signal, 1); signal.Notify(c, syscall.SIGTERM, syscall.SIGUSR1)",
        "<-c",
    );
    for (program, signal, code, words, exit) in [
        (
            &plain,
            "TERM",
            0,
            "ends on TERM at once, as a Go program without signal.Notify does",
            Some(2),
        ),
        (
            &plain,
            "USR1",
            1,
            "is a Go program that has not asked for USR1 (signal.Notify)",
            None,
        ),
        (
            &asks,
            "TERM",
            0,
            "handles TERM if this Go program has asked for it",
            Some(0),
        ),
        (&asks, "USR1", 0, "handles USR1", Some(0)),
        (&asks, "USR2", 1, "has not asked for USR2", None),
    ] {
        let mut run = runs(Mode::Pid1, program, []);
        run.logs("ready");
        let pid = run.pid();
        let pid_word = pid.to_string();
        answers(&["--signal", signal, &pid_word], code, &[words]);
        // What was said is what it does.
        let number = nix::sys::signal::Signal::from_str(&format!("SIG{signal}")).expect("one");
        crate::support::proc::kill(pid, number as i32).expect("it runs");
        if let Some(exit) = exit {
            run.wait().code(exit);
        } else {
            // The runtime has taken it.
            answers(&["--signal", signal, &pid_word], code, &[words]);
        }
    }
}

#[test]
fn nginx_is_clean_with_each_of_its_signals() {
    const NGINX: &str = "/usr/sbin/nginx";
    need!(binary::installed(NGINX));
    need!(can_be_pid1());
    if !nix::unistd::geteuid().is_root() {
        return skip("not root: nginx changes its user");
    }
    let dir = tempfile::tempdir().expect("a directory");
    let conf = configuration(dir.path());
    let line = ["-e", "stderr", "-c", &conf];
    let mut run = runs(Mode::Pid1, NGINX, line);
    run.logs("start worker process");
    let pid = run.pid().to_string();
    for signal in ["TERM", "QUIT"] {
        let handles = format!("handles {signal}");
        answers(
            &["--signal", signal, &pid],
            0,
            &["will stop", &handles, "has to stop it"],
        );
    }
}

fn configuration(place: &Path) -> String {
    let (conf, port) = (place.join("nginx.conf"), free_port());
    let place = place.display();
    let text = format!(
        "daemon off; user root; worker_processes 5; pid {place}/pid; error_log stderr notice;
        events {{}}
        http {{
            access_log off;
            client_body_temp_path {place}/body; proxy_temp_path {place}/proxy;
            fastcgi_temp_path {place}/fastcgi; uwsgi_temp_path {place}/uwsgi;
            scgi_temp_path {place}/scgi;
            server {{ listen 127.0.0.1:{port}; location / {{ return 204; }} }}
        }}"
    );
    fs::write(&conf, text).expect("a directory of ours");
    conf.display().to_string()
}

/// Its workers have the same command line, and are not named.
#[test]
fn gunicorn_that_waits_longer_than_the_platform_is_named() {
    const GUNICORN: &str = "/usr/bin/gunicorn";
    need!(binary::installed(GUNICORN));
    let dir = tempfile::tempdir().expect("a directory");
    let text =
        "def wsgi(environ, start_response):\n    start_response('200 OK', [])\n    return [b'']\n";
    fs::write(dir.path().join("application.py"), text).expect("a file of ours");
    let bind = format!("127.0.0.1:{}", free_port());
    let mut run = Stepdown::new()
        .program(GUNICORN)
        .args([
            "--graceful-timeout",
            "60",
            "--bind",
            &bind,
            "application:wsgi",
        ])
        .dir(dir.path())
        .start();
    let pid = run.pid().to_string();
    let told = answers(
        &["--grace", "10s", &pid],
        0,
        &[
            "waits for its requests for up to 60.0 s (--graceful-timeout), and the platform sends KILL after 10.0 s",
            "stop_grace_period: 61s",
            "or: lower --graceful-timeout",
        ],
    );
    assert_eq!(
        told.stdout.matches("warning:").count(),
        1,
        "{}",
        told.told()
    );
    let told = answers(&["--grace", "60s", &pid], 0, &["will stop"]);
    assert!(!told.stdout.contains("warning:"), "{}", told.told());
}
