//! Podman: as its init, as the entrypoint of an image, from the Kubernetes manifest, and with the readiness it asks for.
//!
//! Each story has a Podman with storage of its own, and no network: Podman's would be a bridge of this machine.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use tempfile::TempDir;

use crate::support::{BOUND, binary, holds_within, need, wait_until};

const PODMAN: &str = "/usr/bin/podman";
const IMAGE: &str = "localhost/web:1";
/// Root may have more than it can give.
const LIMITS: &str =
    "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n";

/// A Podman of the story's own; dropping it removes all that it has.
struct Podman(TempDir);

impl Podman {
    /// With [`IMAGE`], the static binary as its entrypoint. The error is the reason for skipping a story.
    fn new() -> Result<Self, String> {
        binary::installed(PODMAN)?;
        if !nix::unistd::geteuid().is_root() {
            return Err("not root: Podman would need a user namespace".to_owned());
        }
        // Podman takes no runroot with a path of more than 50 characters, and TMPDIR may be longer.
        let short = tempfile::Builder::new()
            .prefix("stepdown-")
            .tempdir_in("/run");
        let podman = Self(short.expect("a directory"));
        fs::write(podman.at("limits"), LIMITS).expect("a directory of ours");
        let root = podman.at("image");
        fs::create_dir(&root).expect("a directory of ours");
        for (name, program) in [
            ("stepdown", binary::under_test_static()),
            ("actor", binary::actor()),
        ] {
            binary::install(program, &root.join(name), 0o755);
        }
        let archive = podman.at("image.tar");
        let packed = Command::new("tar")
            .arg("-C")
            .arg(&root)
            .arg("-cf")
            .arg(&archive)
            .arg(".")
            .status();
        assert!(packed.expect("tar").success());
        let entrypoint = r#"ENTRYPOINT ["/stepdown","--"]"#;
        let command = r#"CMD ["/actor","print-signals","6"]"#;
        let imported = podman
            .command(["import", "--change", entrypoint, "--change", command])
            .arg(archive)
            .arg(IMAGE)
            .output();
        told(&imported.expect("podman"));
        let tried = podman.run([
            "run",
            "--rm",
            "--network=none",
            IMAGE,
            "/actor",
            "exit",
            "0",
        ]);
        match tried.status.success() {
            true => Ok(podman),
            false => Err(format!(
                "podman runs no container here: {}",
                String::from_utf8_lossy(&tried.stderr)
            )),
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(PODMAN);
        command
            .arg("--root")
            .arg(self.at("r"))
            .arg("--runroot")
            .arg(self.at("s"))
            .args(["--storage-driver=vfs", "--cgroup-manager=cgroupfs"])
            .args(words)
            .env("CONTAINERS_CONF", self.at("limits"));
        command
    }

    fn run<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Output {
        self.command(words).output().expect("podman")
    }

    /// Has to work; returns what it wrote.
    #[track_caller]
    fn done<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> String {
        told(&self.run(words))
    }

    /// Both outputs of a container.
    fn logs(&self, name: &str) -> String {
        let logs = self.run(["logs", name]);
        [logs.stdout, logs.stderr]
            .iter()
            .map(|bytes| String::from_utf8_lossy(bytes))
            .collect()
    }

    /// Waits until the container has said so.
    #[track_caller]
    fn says(&self, name: &str, part: &str) {
        wait_until(part, || self.logs(name).contains(part));
    }

    #[track_caller]
    fn exit_code(&self, name: &str, code: &str) {
        let seen = self.done(["inspect", "--format={{.State.ExitCode}}", name]);
        assert_eq!(seen.trim(), code, "{}", self.logs(name));
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        self.run(["pod", "rm", "--all", "--force", "--time=0"]);
        self.run(["rm", "--all", "--force", "--time=0"]);
    }
}

#[track_caller]
fn told(ran: &Output) -> String {
    let error = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{}: {error}", ran.status);
    String::from_utf8_lossy(&ran.stdout).into_owned()
}

/// Leaves the story where there is no Podman, or it cannot run.
macro_rules! podman {
    () => {
        match Podman::new() {
            Ok(podman) => podman,
            Err(why) => {
                need!(Err::<(), String>(why));
                return;
            }
        }
    };
}

#[test]
fn it_is_podmans_init() {
    let podman = podman!();
    let init = format!("--init-path={}", binary::under_test_static().display());
    let start = ["--network=none", "--init", &init, "--entrypoint=", IMAGE];
    let run = |options: &[&'static str], command: &[&'static str]| {
        podman.run(
            ["run"]
                .iter()
                .chain(options)
                .copied()
                .chain(start)
                .chain(command.iter().copied()),
        )
    };
    let ended = run(&["--rm"], &["/actor", "exit", "7"]);
    assert_eq!(ended.status.code(), Some(7));
    told(&run(
        &["--detach", "--name=c"],
        &["/actor", "print-signals", "6"],
    ));
    podman.says("c", "ready");
    podman.done(["stop", "--time=40", "c"]);
    podman.exit_code("c", "6");
    assert!(podman.logs("c").contains("got 15"));
    assert!(
        podman
            .done(["inspect", "--format={{.Path}} {{.Args}}", "c"])
            .starts_with("/run/podman-init [--")
    );
}

#[test]
fn podman_stop_sends_the_stop_signal_of_the_image() {
    let podman = podman!();
    podman.done([
        "run",
        "--detach",
        "--name=c",
        "--network=none",
        "--stop-signal=INT",
        IMAGE,
    ]);
    podman.says("c", "ready");
    podman.done(["stop", "--time=40", "c"]);
    podman.exit_code("c", "6");
    let logs = podman.logs("c");
    assert!(
        logs.contains("got 2") && logs.contains("stopping: INT"),
        "{logs}"
    );
}

/// The Deployment of docs/kubernetes.md: with our image, one replica, a shorter delay, and no ports.
#[test]
fn podman_plays_the_kubernetes_manifest() {
    let podman = podman!();
    let manifest = fs::read_to_string("scripts/examples/kubernetes.yaml").expect("our own");
    let (deployment, _) = manifest
        .split_once("---")
        .expect("a Deployment and a Service");
    let is_kept = |line: &&str| line.trim() != "ports:" && !line.contains("containerPort");
    let deployment: Vec<&str> = deployment.lines().filter(is_kept).collect();
    let deployment = deployment
        .join("\n")
        .replace("replicas: 3", "replicas: 1")
        .replace("image: web ", &format!("image: {IMAGE} "))
        .replace("value: 5s", "value: 200ms")
        .replace("port: stepdown", "port: 9000");
    let file = podman.at("web.yaml");
    fs::write(&file, deployment).expect("a directory of ours");
    let played = podman
        .command(["play", "kube", "--network=none"])
        .arg(&file)
        .output();
    told(&played.expect("podman"));
    let names = podman.done(["ps", "--format={{.Names}}"]);
    let name = names
        .lines()
        .find(|name| name.contains("web-pod"))
        .expect("a container");
    podman.says(name, "ready");
    podman.done(["pod", "stop", "--all", "--time=40"]);
    podman.exit_code(name, "6");
    let logs = podman.logs(name);
    assert!(
        logs.contains("--drain-delay") && logs.contains("got 15"),
        "{logs}"
    );
}

/// `--sdnotify=container`: who started Podman as a service hears that the command is ready.
#[test]
fn podman_passes_on_that_the_command_is_ready() {
    let podman = podman!();
    let path = podman.at("n");
    let socket = UnixDatagram::bind(&path).expect("a directory of ours");
    socket
        .set_read_timeout(Some(Duration::from_millis(10)))
        .expect("a socket");
    let mut heard = String::new();
    let mut hears = || {
        let mut buffer = [0; 4096];
        while let Ok(length) = socket.recv(&mut buffer) {
            heard.push_str(&String::from_utf8_lossy(&buffer[..length]));
            heard.push('\n');
        }
        heard.clone()
    };
    let shared = podman.at("shared");
    fs::create_dir(&shared).expect("a directory of ours");
    let volume = format!("--volume={}:/shared", shared.display());
    let started = podman
        .command([
            "run",
            "--detach",
            "--name=c",
            "--network=none",
            "--sdnotify=container",
            &volume,
        ])
        .args([
            "--entrypoint=/stepdown",
            IMAGE,
            "--ready-when=file:/shared/ready",
            "--",
            "/actor",
            "wait",
        ])
        .env("NOTIFY_SOCKET", &path)
        .output();
    told(&started.expect("podman"));
    podman.says("c", "ready");
    assert!(!hears().contains("READY=1"));
    fs::write(shared.join("ready"), "").expect("a directory of ours");
    assert!(
        holds_within(BOUND, || hears().contains("READY=1")),
        "{}",
        podman.logs("c")
    );
    podman.done(["stop", "--time=40", "c"]);
    podman.exit_code("c", "143");
}
