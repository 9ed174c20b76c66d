//! `stepdown check` and programs that people run: the verdicts that they deserve.

use std::ffi::OsString;
use std::os::unix::fs::chown;

use std::process::Command;

use nix::unistd::User;

use crate::support::ended::Ended;
use crate::support::net::free_port;
use crate::support::skipped::skip;
use crate::support::stepdown::can_be_pid1;
use crate::support::{Stepdown, binary, need};

fn check<A: Into<OsString>>(options: &[&str], command: impl IntoIterator<Item = A>) -> Ended {
    Stepdown::new()
        .args(["check"])
        .args(options)
        .child(command)
        .run()
}

#[test]
fn nginx_stops_on_quit_and_frees_its_port() {
    need!(binary::installed("/usr/sbin/nginx"));
    let dir = tempfile::tempdir().expect("a temporary directory");
    let port = free_port();
    let conf = dir.path().join("nginx.conf");
    let place = dir.path().display();
    let text = format!(
        "daemon off; user root; worker_processes 2; pid {place}/pid; error_log stderr notice;
        events {{}}
        http {{
            access_log off;
            client_body_temp_path {place}/body; proxy_temp_path {place}/proxy;
            fastcgi_temp_path {place}/fastcgi; uwsgi_temp_path {place}/uwsgi;
            scgi_temp_path {place}/scgi;
            server {{ listen 127.0.0.1:{port}; location / {{ return 204; }} }}
        }}"
    );
    std::fs::write(&conf, text).expect("a directory of ours");
    let freed = format!("--port-free={port}");
    let options = [
        "--ready-line=start worker process",
        "--signal=QUIT",
        "--expect-exit=0",
        &freed,
        "--runs=3",
    ];
    let command = [
        OsString::from("nginx"),
        "-e".into(),
        "stderr".into(),
        "-c".into(),
        conf.into(),
    ];
    check(&options, command).code(0).nothing_left();
}

#[test]
fn redis_saves_and_exits_with_0() {
    need!(binary::installed("/usr/bin/redis-server"));
    let dir = tempfile::tempdir().expect("a temporary directory");
    let port = free_port().to_string();
    let freed = format!("--port-free={port}");
    let options = ["--ready-line=Ready to accept", "--expect-exit=0", &freed];
    let command = [
        "redis-server",
        "--bind",
        "127.0.0.1",
        "--port",
        &port,
        "--dir",
    ];
    let command = command
        .iter()
        .map(OsString::from)
        .chain([dir.path().into()]);
    check(&options, command).code(0).nothing_left();
}

#[test]
fn postgresql_is_fast_on_int() {
    let Some(programs) = postgresql_programs() else {
        skip("postgresql is not installed");
        return;
    };
    let user = User::from_name("postgres").ok().flatten();
    let (true, Some(user)) = (nix::unistd::geteuid().is_root(), user) else {
        skip("only root can become the user postgres");
        return;
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    chown(dir.path(), Some(user.uid.as_raw()), Some(user.gid.as_raw())).expect("as root");
    let data = dir.path().join("data");
    let as_user = || -> Vec<OsString> {
        let (uid, gid) = (
            format!("--reuid={}", user.uid),
            format!("--regid={}", user.gid),
        );
        [
            "setpriv".to_owned(),
            uid,
            gid,
            "--clear-groups".to_owned(),
            "--".to_owned(),
        ]
        .map(OsString::from)
        .to_vec()
    };
    let words = as_user();
    let made = Command::new("setpriv")
        .args(words.iter().skip(1))
        .arg(programs.join("initdb"))
        .args([
            "--no-sync",
            "--auth=trust",
            "--username=postgres",
            "--pgdata",
        ])
        .arg(&data)
        .env("LC_ALL", "C")
        .current_dir(dir.path())
        .output()
        .expect("initdb, which is installed");
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let port = free_port().to_string();
    let freed = format!("--port-free={port}");
    let mut command = as_user();
    command.push(programs.join("postgres").into());
    let settings = [
        "fsync=off",
        "shared_buffers=1MB",
        "listen_addresses=127.0.0.1",
    ];
    for setting in settings {
        command.extend(["-c".into(), setting.into()]);
    }
    command.extend(["-p".into(), port.into(), "-k".into(), dir.path().into()]);
    command.extend(["-D".into(), data.into()]);
    let options = [
        "--ready-line=ready to accept connections",
        "--signal=INT",
        "--expect-exit=0",
        &freed,
    ];
    check(&options, command).code(0).nothing_left();
}

/// Debian keeps the programs of each version in a directory of its own.
fn postgresql_programs() -> Option<std::path::PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    versions
        .filter_map(|version| Some(version.ok()?.path().join("bin")))
        .find(|programs| programs.join("initdb").exists())
}

#[test]
fn python_s_http_server_has_no_handler() {
    need!(binary::installed("/usr/bin/python3"));
    need!(can_be_pid1());
    let port = free_port().to_string();
    let command = [
        "python3",
        "-u",
        "-m",
        "http.server",
        "--bind",
        "127.0.0.1",
        &port,
    ];
    let options = ["--ready-line=Serving HTTP", "--as-pid1", "--within=500ms"];
    let ended = check(&options, command);
    ended.code(1).said("no-kill: broken").nothing_left();
    let reason = "python3 is PID 1 and has no handler for TERM";
    assert!(ended.stdout.contains(reason), "{}", ended.told());
    // With an init in front, the default action ends it.
    let options = ["--ready-line=Serving HTTP", "--expect-exit=TERM"];
    check(&options, command).code(0).nothing_left();
}

#[test]
fn node_with_and_without_a_handler() {
    need!(binary::installed("/usr/bin/node"));
    need!(can_be_pid1());
    let server = "require('http').createServer(() => {}).listen(0, () => console.log('ready'));";
    let handler = "process.on('SIGTERM', () => process.exit(0));";
    let options = ["--ready-line=ready", "--as-pid1", "--within=1s"];
    let without = check(&options, ["node", "-e", server]);
    without.code(1).said("no-kill: broken").nothing_left();
    let with = format!("{handler} {server}");
    let options = ["--ready-line=ready", "--as-pid1", "--expect-exit=0"];
    check(&options, ["node", "-e", &with])
        .code(0)
        .nothing_left();
}

/// Only what was open when the signal came proves anything, and an error of the server is no answer.
#[test]
fn requests_are_counted_as_their_clients_would() {
    for (status, is_open, code, happened) in [
        (
            "200",
            true,
            125,
            " of 3 requests were open when the stop was asked for",
        ),
        ("200", false, 0, "All promises held."),
        ("404", false, 0, "All promises held."),
        (
            "503",
            false,
            1,
            "happened: 0 of 3 completed (the answer is 503 Service Unavailable)",
        ),
    ] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let gate = dir.path().join("gate").display().to_string();
        if is_open {
            std::fs::write(&gate, "").expect("a directory of ours");
        }
        let port = free_port().to_string();
        let url = format!("--in-flight=http://127.0.0.1:{port}/");
        // stepdown waits for the answers, whatever they are, and the server answers once it is asked to stop.
        let drained = format!("--drain-port={port}");
        let opened = format!("--pre-stop=touch {gate}");
        let options = [
            "--ready-line=ready on",
            "--in-flight-count=3",
            "--within=20s",
            &url,
            &drained,
            &opened,
        ];
        // The server answers once the file is there. Where it is there before, one request is taken after the other
        // and the queue holds one: who gets a third in sees that the first is answered.
        let server = binary::http().display().to_string();
        let ended = check(&options, [&server, "gate", &port, &gate, status]);
        ended.code(code).nothing_left();
        assert!(ended.stdout.contains(happened), "{}", ended.told());
    }
}
