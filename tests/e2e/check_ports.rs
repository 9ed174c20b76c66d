//! `stepdown check` and ports: who listens on one is seen before the start, before the stop and at the end, whoever
//! asks.

use std::net::TcpListener;

use crate::check::reachable;
use crate::support::net::free_port;
use crate::support::skipped::skip;
use crate::support::{Stepdown, binary, need};

fn check(options: &[&str]) -> Stepdown {
    Stepdown::new().args(["check"]).args(options)
}

/// Such a user may not have the port, whether it is free or not.
#[test]
fn a_port_below_1024_is_seen_by_an_ordinary_user() {
    let taken = (700..1024).find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok());
    let Some(taken) = taken else {
        return skip("only root can listen on a port below 1024");
    };
    let port = taken.local_addr().expect("it is bound").port();
    let dir = reachable();
    let program = dir.path().join("stepdown");
    binary::install(&binary::under_test(), &program, 0o755);
    let ended = Stepdown::new()
        .program("setpriv")
        .args(["--reuid=1234", "--regid=1234", "--clear-groups"])
        .args([program.as_os_str()])
        .args([
            "check",
            "--ready-line=ready",
            &format!("--port-free={port}"),
        ])
        .args(["--", "sh", "-c", "echo ready; exec sleep 1000"])
        .run();
    ended.code(125).nothing_left();
    let why = format!("port {port} is taken before the start");
    assert!(ended.stdout.contains(&why), "{}", ended.told());
}

/// It would answer in place of the program.
#[test]
fn a_server_that_is_there_already_cannot_stand_in_for_the_program() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("it is bound").port();
    let why = format!("port {port} is taken before the start");
    for host in ["127.0.0.1", "localhost"] {
        let asked = format!("--in-flight=http://{host}:{port}/");
        let ended = check(&[&asked]).shell("echo started").run();
        ended.code(125).nothing_left();
        assert!(ended.stdout.contains(&why), "{}", ended.told());
    }
    let free = free_port();
    let listen = format!("--listen=127.0.0.1:{free}");
    let asked = format!("--replace-url=http://127.0.0.1:{port}/");
    let replace = ["--replace", "--ready-when=notify", &listen, &asked];
    let ended = check(&replace).shell("echo started").run();
    ended.code(125).nothing_left();
    assert!(ended.stdout.contains(&why), "{}", ended.told());
    // Whoever has the port of --listen keeps the run from its start by itself, and on another address it does not matter.
    let listen = format!("--listen=127.0.0.2:{port}");
    let asked = format!("--in-flight=http://127.0.0.2:{port}/");
    let ended = check(&["--after=20s", &listen, &asked])
        .shell("exit 3")
        .run();
    ended.code(1).said("runs: broken").nothing_left();
}

/// KILL ends a process at once, and its memory is given back before its sockets are closed.
#[test]
fn a_port_is_free_once_all_that_were_killed_are_gone() {
    need!(binary::installed("/usr/bin/python3"));
    let port = free_port();
    let script = format!(
        "import os, signal, socket\n\
         signal.signal(signal.SIGTERM, signal.SIG_IGN)\n\
         listener = socket.create_server(('127.0.0.1', {port}))\n\
         here, there = os.pipe()\n\
         for _ in range(3):\n    \
             if os.fork() == 0:\n        \
                 memory = b'x' * (128 << 20)\n        \
                 os.write(there, b'.')\n        \
                 while True: signal.pause()\n\
         told = 0\n\
         while told < 3: told += len(os.read(here, 3))\n\
         print('ready', flush=True)\n\
         while True: signal.pause()\n"
    );
    let freed = format!("--port-free={port}");
    let kill = ["--allow-kill", "--grace=200ms", "--within=60s"];
    let ended = check(&["--ready-line=ready", &freed])
        .args(kill)
        .child(["/usr/bin/python3", "-c", &script])
        .run();
    ended.code(0).said("All promises held.").nothing_left();
    assert!(!ended.stdout.contains("port-free"), "{}", ended.told());
}

#[test]
fn a_sweep_shows_whether_anybody_listened() {
    let port = free_port();
    let freed = format!("--port-free={port}");
    let offsets = ["--offsets=1ms..2ms/1ms", "--expect-exit=TERM"];
    let ended = check(&[&freed])
        .args(offsets)
        .shell("exec sleep 1000")
        .run();
    ended.code(0).said("All promises held in 2 runs.");
    ended.nothing_left().said(&format!(
        "port-free: not judged: nobody listened on port {port} before the stop either"
    ));
    // One run shows it: there the signal comes once somebody listens, which takes a program its time.
    let command = [
        binary::gallery().as_os_str().to_owned(),
        "requests".into(),
        "clean".into(),
        port.to_string().into(),
    ];
    let is_shown = [1, 4, 16].into_iter().any(|seconds| {
        let ended = check(&[&freed, "--expect-exit=0,TERM"])
            .args([format!(
                "--offsets=1ms..{}ms/{}ms",
                seconds * 1000 + 1,
                seconds * 1000
            )])
            .child(&command)
            .run();
        ended.code(0).nothing_left();
        !ended.stdout.contains("not judged")
    });
    assert!(is_shown);
}
