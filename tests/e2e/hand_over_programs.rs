//! `--main-pid` around real programs: nginx and gunicorn replace themselves, Redis becomes a daemon.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::support::net::{ask, connect, free_port, is_listening};
use crate::support::running::Running;
use crate::support::{Mode, Stepdown, binary, both, need, wait_until};

fn dir() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// The pid in the file, once there is one.
fn pid_in(path: &Path) -> Option<i32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn get(port: u16) -> String {
    let mut client = connect(port);
    client
        .write_all(b"GET / HTTP/1.0\r\n\r\n")
        .expect("the server reads");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("it answers");
    answer
}

fn handing_over(mode: Mode, dir: &Path) -> Stepdown {
    let main_pid = format!("file:{}", dir.join("pid").display());
    Stepdown::in_mode(mode)
        .dir(dir)
        .args(["--main-pid", &main_pid, "--grace", "60s"])
}

/// The program replaces itself twice, after so many hand-overs; the old one is asked to go by `last`.
fn upgrades_twice(run: &mut Running, dir: &Path, last: Signal, port: u16, before: usize) {
    let file = dir.join("pid");
    for times in before + 1..before + 3 {
        let old = pid_in(&file).expect("a pid file");
        // Its workers are there: before them nginx may sleep over a signal.
        assert!(get(port).contains("hello"));
        run.signal(Signal::SIGUSR2);
        // nginx writes its own at once, gunicorn puts it beside as long as the old one is there.
        let beside = dir.join("pid.2");
        run.wait_for("the next one is there", |_| {
            pid_in(&beside).is_some() || pid_in(&file).is_some_and(|pid| pid != old)
        });
        wait_until("it answers", || get(port).contains("hello"));
        run.signal(last);
        run.logs_times("exited with 0: handed over to pid ", times);
        assert!(get(port).contains("hello"));
    }
}

#[test]
fn nginx_replaces_itself_twice_and_is_drained_by_quit() {
    need!(binary::installed("/usr/sbin/nginx"));
    both(|mode| {
        let dir = dir();
        let port = free_port();
        let at = dir.path().display();
        let conf = format!(
            "user root; worker_processes 1; pid {at}/pid; error_log stderr error;
            events {{}}
            http {{
                access_log off;
                client_body_temp_path {at}/body; proxy_temp_path {at}/proxy;
                fastcgi_temp_path {at}/fastcgi; uwsgi_temp_path {at}/uwsgi;
                scgi_temp_path {at}/scgi;
                server {{ listen 127.0.0.1:{port}; return 200 hello; }}
            }}"
        );
        fs::write(dir.path().join("nginx.conf"), conf).expect("a directory of ours");
        let ready = format!("tcp:{port}");
        let mut run = handing_over(mode, dir.path())
            .args(["--stop-signal", "QUIT", "--ready-when", &ready])
            .child(["/usr/sbin/nginx", "-e", "stderr", "-c"])
            .args([dir.path().join("nginx.conf")])
            .start();
        run.logs("ready after");
        // It becomes a daemon: with `daemon off` nginx takes its parent for the old one, and ignores USR2.
        run.logs("handed over to pid ");
        upgrades_twice(&mut run, dir.path(), Signal::SIGQUIT, port, 1);
        run.signal(Signal::SIGTERM);
        let ended = run.wait();
        ended.code(0).logged(&["QUIT to the child"]);
        ended.logged(&["child exited with 0 on step 1"]);
        ended.never_logged("left").nothing_left();
        assert!(!is_listening(port));
    });
}

#[test]
fn gunicorn_replaces_itself_twice() {
    const GUNICORN: &str = "/usr/bin/gunicorn";
    need!(binary::installed(GUNICORN));
    both(|mode| {
        let dir = dir();
        let port = free_port();
        fs::write(
            dir.path().join("application.py"),
            "def wsgi(environ, start_response):\n    start_response('200 OK', [])\n    return [b'hello']\n",
        )
        .expect("a directory of ours");
        let file = dir.path().join("pid");
        // It is TERM that ends the old one; here that asks for the stop of all, so another signal stands for it.
        let mut run = handing_over(mode, dir.path())
            .args([
                "--rewrite",
                "WINCH:TERM",
                "--ready-when",
                &format!("tcp:{port}"),
            ])
            .child([GUNICORN, "--workers=1", "--pid"])
            .args([file.as_os_str()])
            .args(["--bind", &format!("127.0.0.1:{port}"), "application:wsgi"])
            .start();
        run.logs("ready after");
        wait_until("its file is there", || pid_in(&file).is_some());
        upgrades_twice(&mut run, dir.path(), Signal::SIGWINCH, port, 0);
        run.signal(Signal::SIGTERM);
        let ended = run.wait();
        ended.code(0).logged(&["TERM to the child"]);
        ended
            .logged(&["child exited with 0 on step 1"])
            .nothing_left();
    });
}

#[test]
fn redis_becomes_a_daemon_and_saves_before_it_goes() {
    const REDIS: &str = "/usr/bin/redis-server";
    need!(binary::installed(REDIS));
    both(|mode| {
        let dir = dir();
        let port = free_port();
        let mut run = handing_over(mode, dir.path())
            .args(["--ready-when", &format!("tcp:{port}")])
            .child([REDIS, "--daemonize", "yes", "--bind", "127.0.0.1"])
            .args(["--save", "3600 1", "--appendonly", "no", "--logfile", "log"])
            .args(["--port", &port.to_string(), "--pidfile", "pid", "--dir"])
            .args([dir.path()])
            .start();
        run.logs("handed over to pid ");
        run.logs("ready after");
        let stored = ask(&mut connect(port), b"SET story told\r\n", |answer| {
            answer.ends_with(b"\r\n")
        });
        assert_eq!(stored, b"+OK\r\n");
        run.signal(Signal::SIGTERM);
        let ended = run.wait();
        ended.code(0).logged(&["child exited with 0 on step 1"]);
        ended.nothing_left();
        assert!(dir.path().join("dump.rdb").exists(), "{}", ended.told());
    });
}

#[test]
fn a_redis_that_is_killed_has_failed() {
    const REDIS: &str = "/usr/bin/redis-server";
    need!(binary::installed(REDIS));
    let dir = dir();
    let port = free_port();
    let mut run = handing_over(Mode::Ordinary, dir.path())
        .child([REDIS, "--daemonize", "yes", "--bind", "127.0.0.1"])
        .args([
            "--save",
            "",
            "--port",
            &port.to_string(),
            "--pidfile",
            "pid",
        ])
        .args(["--logfile", "log", "--dir"])
        .args([dir.path()])
        .start();
    run.logs("handed over to pid ");
    let pid = pid_in(&dir.path().join("pid")).expect("its file");
    nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it lives");
    run.wait().code(137).nothing_left();
}
