//! `stepdown doctor` before containers: by name over the engine's socket without its client, and inside.

use std::fs;
use std::process::{Command, Stdio};

use crate::doctor::{answers, doctor};
use crate::support::docker::{Image, container};
use crate::support::{BOUND, Stepdown, binary, docker, holds_within, need};

fn image(lines: &[&str]) -> String {
    let image = Image::from_scratch("doctor")
        .file("/stuck", binary::stuck())
        .file("/stepdown", binary::under_test_static());
    let image = lines.iter().fold(image, |image, line| image.line(*line));
    image.line(r#"ENTRYPOINT ["/stuck"]"#).build()
}

#[test]
fn by_name_with_the_signal_and_the_time_of_the_container() {
    need!(docker::available());
    let image = image(&["STOPSIGNAL SIGQUIT"]);
    let mut run = container(&image).command(["plain"]).start();
    run.says("ready");
    let name = run.inspect("{{.Name}}").trim_start_matches('/').to_owned();
    let told = answers(
        &[&name],
        1,
        &[
            "QUIT from its image or options goes to PID 1; docker sends KILL after 10.0 s",
            "is PID 1 and has no handler for QUIT: the kernel discards QUIT",
        ],
    );
    assert!(
        told.stdout
            .starts_with(&format!("{name}: will not stop cleanly"))
    );
    let id = run.inspect("{{.Id}}");
    answers(&[&id[..12]], 1, &["no handler for QUIT"]);
    // Without the engine the id is that of its cgroup.
    let pid = run.pid();
    let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    if cgroup.contains(&id) {
        let hide = "mount -t tmpfs none /run && exec \"$0\" doctor \"$1\"";
        let hidden = Stepdown::new()
            .program("/usr/bin/unshare")
            .args(["-m", "--", "sh", "-c", hide])
            .args([binary::under_test().into_os_string(), id.clone().into()])
            .run();
        hidden.code(1);
        assert!(
            hidden.stdout.contains("no handler for TERM"),
            "{}",
            hidden.told()
        );
    } else {
        crate::support::skipped::skip_part("the cgroups of containers do not show");
    }
    let mut clean = container(&image)
        .options(["--stop-signal", "TERM", "--stop-timeout", "77"])
        .command(["handler"])
        .start();
    clean.says("ready");
    let name = clean
        .inspect("{{.Name}}")
        .trim_start_matches('/')
        .to_owned();
    answers(
        &[&name],
        0,
        &["TERM from its image or options goes to PID 1; docker sends KILL after 77.0 s"],
    );
    Command::new("docker")
        .args(["pause", &name])
        .output()
        .expect("docker");
    answers(
        &[&name],
        1,
        &["the engine has paused it", "is frozen by its cgroup"],
    );
    Command::new("docker")
        .args(["unpause", &name])
        .output()
        .expect("docker");
    answers(&[&name], 0, &["will stop"]);
    // One that has ended is no container that runs.
    clean.stop(&[]);
    holds_within(BOUND, || {
        !doctor(&[&name])
            .stderr
            .contains("the container does not run")
    });
}

#[test]
fn what_a_container_is_told_besides_a_signal_and_a_time() {
    need!(docker::available());
    let image = image(&[]);
    for (options, code, parts) in [
        (
            ["--stop-timeout", "-1"],
            0,
            &[
                "will stop (",
                "TERM goes to PID 1; docker waits without end)",
            ][..],
        ),
        (
            ["--stop-timeout", "0"],
            0,
            &["has no time to stop: docker sends KILL at once"],
        ),
        (
            ["--stop-signal", "KILL"],
            1,
            &[
                "is killed at once: KILL reaches no program, so nothing is stopped in order",
                "(STOPSIGNAL SIGTERM, docker run --stop-signal TERM)",
            ],
        ),
        (["--pid", "host"], 0, &["TERM goes to process "]),
    ] {
        let mut run = container(&image)
            .options(options)
            .command(["handler"])
            .start();
        run.says("ready");
        let name = run.inspect("{{.Name}}").trim_start_matches('/').to_owned();
        let told = answers(&[&name], code, parts);
        if options == ["--pid", "host"] {
            let root = format!("goes to process {};", run.pid());
            assert!(told.stdout.contains(&root), "{}", told.told());
        }
    }
}

/// There is no shell, no procps and no other user's right in it.
#[test]
fn inside_a_container_from_nothing() {
    need!(docker::available());
    let mut run = container(&image(&[])).command(["zombies"]).start();
    run.says("ready");
    let name = run.inspect("{{.Name}}").trim_start_matches('/').to_owned();
    let inside = |options: &[&str]| {
        let asked = Command::new("docker")
            .args(["exec", &name, "/stepdown", "doctor"])
            .args(options)
            .output()
            .expect("docker");
        let told = String::from_utf8_lossy(&asked.stdout).into_owned();
        (asked.status.code(), told)
    };
    let (code, told) = inside(&[]);
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.starts_with("this container: will stop (TERM goes to PID 1)"),
        "{told}"
    );
    assert!(
        told.contains("does not reap its children: 2 zombies"),
        "{told}"
    );
    let (code, told) = inside(&["--signal", "INT"]);
    assert_eq!(code, Some(1), "{told}");
    assert!(
        told.contains("1 stuck is PID 1 and has no handler for INT"),
        "{told}"
    );
    assert!(
        told.contains("stop it with TERM, which it handles"),
        "{told}"
    );
    // Who came by docker exec is told apart.
    let mut other = Command::new("docker")
        .args(["exec", &name, "/stuck", "plain"])
        .stdout(Stdio::null())
        .spawn()
        .expect("docker");
    answers(&[&name], 0, &["stuck plain", "from outside"]);
    let _ = other.kill();
    let _ = other.wait();
}

#[test]
fn an_init_of_the_engine_before_one_of_the_image() {
    need!(docker::available());
    if binary::installed("/usr/bin/docker-init").is_err() {
        return crate::support::skipped::skip("docker-init is not installed");
    }
    let image = image(&[]);
    let start = |options: &[&str], entrypoint: &[&str]| {
        let mut run = container(&image)
            .options(options.iter().copied())
            .options(["--entrypoint", entrypoint[0]])
            .command(entrypoint[1..].iter().copied())
            .start();
        run.says("ready");
        let name = run.inspect("{{.Name}}").trim_start_matches('/').to_owned();
        (run, name)
    };
    let (_run, name) = start(&["--init"], &["/stepdown", "--", "/stuck", "handler"]);
    answers(
        &[&name],
        0,
        &["docker-init", "is an init behind another init"],
    );
    // The plan against the time that docker has for it.
    let line = [
        "/stepdown",
        "--drain-port=9",
        "--drain-delay=12s",
        "--",
        "/stuck",
        "handler",
    ];
    let (_run, name) = start(&[], &line);
    answers(
        &[&name],
        1,
        &[
            "needs 12.0 s to stop even if its child ends at once, and docker sends KILL after 10.0 s",
        ],
    );
    let (_run, name) = start(
        &["--stop-timeout=60"],
        &["/stepdown", "--grace=20s", "--", "/stuck", "handler"],
    );
    let told = answers(&[&name], 0, &["will stop"]);
    assert!(!told.stdout.contains("warning"), "{}", told.told());
}

#[test]
fn podman_is_asked_over_its_socket_as_well() {
    const PODMAN: &str = "/usr/bin/podman";
    need!(binary::installed(PODMAN));
    if !nix::unistd::geteuid().is_root() {
        return crate::support::skipped::skip("not root: Podman would need a user namespace");
    }
    // Podman takes no runroot with a path of more than 50 characters, and TMPDIR may be longer.
    let dir = tempfile::Builder::new()
        .prefix("stepdown-")
        .tempdir_in("/run");
    let dir = dir.expect("a directory");
    let rootfs = dir.path().join("rootfs");
    fs::create_dir(&rootfs).expect("a directory of ours");
    binary::install(binary::stuck(), &rootfs.join("stuck"), 0o755);
    let of = |name: &str| dir.path().join(name).display().to_string();
    let base = [
        "--root",
        &of("root"),
        "--runroot",
        &of("run"),
        "--storage-driver",
        "vfs",
        "--cgroup-manager",
        "cgroupfs",
    ]
    .map(str::to_owned);
    let podman = |words: &[&str]| {
        let ran = Command::new(PODMAN).args(&base).args(words).output();
        ran.expect("podman")
    };
    let socket = format!("unix://{}", of("podman.sock"));
    let mut service = Command::new(PODMAN)
        .args(&base)
        .args(["system", "service", "--time", "0", &socket])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("podman");
    let rootfs = rootfs.display().to_string();
    let name = format!("doctor-{}", std::process::id());
    let started = podman(&[
        "run",
        "--detach",
        "--name",
        &name,
        "--network",
        "none",
        "--ulimit",
        "nofile=1024:1024",
        "--ulimit",
        "nproc=1024:1024",
        "--stop-signal",
        "USR1",
        "--stop-timeout",
        "33",
        "--rootfs",
        &rootfs,
        "/stuck",
        "handler",
    ]);
    let mut told = String::new();
    let is_so = started.status.success()
        && holds_within(BOUND, || {
            let ended = Stepdown::new()
                .args(["doctor", &name])
                .env("CONTAINER_HOST", &socket)
                .run();
            told = ended.told();
            ended.status.code() == Some(1)
                && ended.stdout.contains(
                    "USR1 from its image or options goes to PID 1; podman sends KILL after 33.0 s",
                )
                && ended.stdout.contains("has no handler for USR1")
        });
    podman(&["rm", "--force", "--time", "0", &name]);
    let _ = service.kill();
    let _ = service.wait();
    if !started.status.success() {
        let why = String::from_utf8_lossy(&started.stderr);
        return crate::support::skipped::skip(format!("podman runs no container here: {why}"));
    }
    assert!(is_so, "{told}");
}
