//! `docker run -it`: the terminal is the container's, stepdown is PID 1, and there is no shell to go back to.

use std::time::Duration;

use crate::support::docker::{ContainerRun, available, container, userland, with_host_userland};
use crate::support::pty::{CTRL_C, CTRL_D, CTRL_Z};
use crate::support::{binary, holds_within, need, wait_until};
use crate::terminal::has_job_control;

/// A container with the programs of this machine and our children in it.
fn debian() -> ContainerRun {
    let mounted = |outside: &std::path::Path, inside: &str| {
        let outside = outside.display();
        ["-v".to_owned(), format!("{outside}:{inside}:ro")]
    };
    container(userland())
        .options(with_host_userland())
        .options(mounted(binary::witness(), "/witness"))
        .options(mounted(binary::terminal(), "/terminal"))
}

const SHELL: [&str; 7] = [
    "env",
    r"PS1=[inner $?]\n",
    "bash",
    "--norc",
    "--noprofile",
    "--noediting",
    "-i",
];

/// This command, without the echo of the keys.
fn quiet(command: &str) -> [String; 3] {
    let script = format!("stty -echo; exec {command}");
    ["sh".to_owned(), "-c".to_owned(), script]
}

#[test]
fn a_shell_has_job_control() {
    need!(available());
    // Without any init, and with one that people know: then we know what to compare with.
    let inits: [&[&str]; 3] = [&[], &["tini", "-s", "--"], &["/stepdown", "--"]];
    for init in inits {
        let mut window = debian()
            .options(["--entrypoint", "env"])
            .command(init.iter().chain(&SHELL).copied())
            .in_window();
        window.pty.shows("[inner 0]");
        window.pty.enters("stty -echo");
        has_job_control(&mut window.pty, "/witness");
        assert_eq!(window.pty.ends().code(), Some(7), "{init:?}");
    }
}

#[test]
fn a_shell_that_suspends_itself_goes_on() {
    need!(available());
    let mut window = debian().command(SHELL).in_window();
    window.pty.shows("[inner 0]");
    window.pty.enters("stty -echo").shows("[inner 0]");
    window.pty.enters("suspend").shows("[inner");
    window.pty.enters("echo still''here").shows("stillhere");
    window.pty.enters("exit 7");
    assert_eq!(window.pty.ends().code(), Some(7));
}

#[test]
fn ctrl_c_stops_a_server_with_its_hooks_and_reaches_it_once() {
    need!(available());
    let mut window = debian()
        .stepdown([
            "-q",
            "--pre-stop",
            "echo before",
            "--post-stop",
            "echo after",
        ])
        .command(["--ladder", "SAME:50ms,TERM:20s,KILL"])
        .command(["--"])
        .command(quiet("/witness listen 15:7"))
        .in_window();
    window.pty.shows("ready").types(CTRL_C);
    window.pty.shows("before").shows("got 15").shows("after");
    assert_eq!(window.pty.ends().code(), Some(7));
    window.pty.showed_times("got 2", 1);
}

#[test]
fn the_third_ctrl_c_ends_by_kill() {
    need!(available());
    let mut window = debian()
        .stepdown(["--ladder", "exec=echo one:1h,KILL", "--"])
        .command(["/witness", "listen"])
        .in_window();
    window.pty.shows("ready").types(CTRL_C).shows("one");
    window.pty.types(CTRL_C).shows("takes the next step");
    window.pty.types(CTRL_C);
    assert_eq!(window.pty.ends().code(), Some(137));
}

#[test]
fn ctrl_z_freezes_nothing() {
    need!(available());
    // What does nothing about it, as the kernel does for PID 1.
    let mut window = debian().command(["/terminal", "reader"]).in_window();
    window.pty.shows("ready").types(CTRL_Z);
    window.pty.enters("a line").shows("read a line");
    window.pty.types(CTRL_D).shows("end of input");
    assert_eq!(window.pty.ends().code(), Some(0));
    // What suspends itself: by TSTP the kernel does not let it, by STOP it does.
    for (stop, continued) in [("20", 0), ("19", 2)] {
        let mut window = debian()
            .command(quiet(&format!("/terminal editor {stop}")))
            .in_window();
        window.pty.shows("ready");
        for _ in 0..2 {
            window.pty.types(CTRL_Z).shows("resumed");
            if continued > 0 {
                // A stop that comes before it is taken takes it back.
                window.pty.shows("continued");
            }
        }
        window.pty.types(CTRL_C);
        assert_eq!(window.pty.ends().code(), Some(9));
        window.pty.showed_times("suspending", 2);
        window.pty.showed_times("continued", continued);
    }
}

#[test]
fn a_new_window_size_is_told() {
    need!(available());
    let script = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done";
    let mut window = debian().command(["sh", "-c", script]).in_window();
    window.pty.shows("ready");
    // Docker's client says ready before it looks at the size, and it takes a moment to look: what
    // changes meanwhile it never learns. So it is pulled until it does.
    let mut sizes = 50..;
    wait_until("the size is told", || {
        let rows = sizes.next().expect("numbers without end");
        window.pty.resizes(rows);
        let told = format!("{rows} 80");
        holds_within(Duration::from_secs(1), || {
            window.pty.screen().contains(&told)
        })
    });
    window.pty.types(CTRL_C);
    assert_eq!(window.pty.ends().code(), Some(130));
}
