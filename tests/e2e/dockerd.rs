//! As Docker's own init: a daemon of our own, started with `--init-path`, and `docker run --init`.
//!
//! The daemon has a network namespace and a `/run` of its own: `--bridge=none` deletes the bridge `docker0` of the
//! namespace it runs in, and `/run` is where a daemon finds a containerd that runs already and where it cleans up
//! network namespaces.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use nix::libc;
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::support::binary::{actor, install, installed, under_test_static, witness};
use crate::support::mark::{Mark, VARIABLE};
use crate::support::skipped::skip;
use crate::support::{need, proc, wait_until};

const DOCKERD: &str = "/usr/sbin/dockerd";

/// In namespaces of its own, of which only the socket and the files in our directory are seen outside.
const ALONE: [&str; 3] = ["--net", "--mount", "sh"];
const WITH_ITS_OWN_RUN: &str =
    r#"mount -t tmpfs -o mode=755 tmpfs "$(readlink -f /var/run)" && exec "$@""#;

/// A daemon with its own state, socket and containerd, and without a network. Dropping it ends it.
struct Daemon {
    place: TempDir,
    init: PathBuf,
    process: Child,
    mark: Mark,
}

impl Daemon {
    fn start(init_name: &str) -> Self {
        let place = tempfile::tempdir().expect("a temporary directory");
        let init = place.path().join(init_name);
        install(under_test_static(), &init, 0o755);
        let at = |name: &str| place.path().join(name);
        fs::write(at("daemon.json"), "{}").expect("a directory of our own");
        let log = fs::File::create(at("log")).expect("a directory of our own");
        let mark = Mark::new();
        let process = Command::new("unshare")
            .args(ALONE)
            .args(["-c", WITH_ITS_OWN_RUN, "sh", DOCKERD])
            .arg("--config-file")
            .arg(at("daemon.json"))
            .arg("--data-root")
            .arg(at("data"))
            .arg("--exec-root")
            .arg(at("exec"))
            .arg("--pidfile")
            .arg(at("pid"))
            .arg("--host")
            .arg(format!("unix://{}", at("socket").display()))
            .args(["--storage-driver=vfs", "--bridge=none"])
            .args(["--iptables=false", "--ip-masq=false"])
            .args(["--exec-opt", "native.cgroupdriver=cgroupfs"])
            .arg(format!("--cgroup-parent=/{}", mark.as_str()))
            .arg("--init-path")
            .arg(&init)
            .env(VARIABLE, mark.as_str())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("a program that is installed");
        Self {
            place,
            init,
            process,
            mark,
        }
    }

    /// Waits until it answers. The error says why it never will.
    fn answers(&mut self) -> Result<(), String> {
        let mut ended = false;
        wait_until("dockerd answers, or has ended", || {
            ended = self.process.try_wait().expect("our own child").is_some();
            ended || self.docker(&["info"]).status.success()
        });
        if ended {
            let log = self.log();
            let last = log.lines().last().unwrap_or("it ended").to_owned();
            return Err(format!("no second dockerd can run here: {last}"));
        }
        Ok(())
    }

    /// A daemon leaves the parent of its containers' cgroups behind, in each hierarchy.
    fn remove_cgroups(&self) {
        let root = Path::new("/sys/fs/cgroup");
        let hierarchies = fs::read_dir(root).into_iter().flatten().flatten();
        for hierarchy in hierarchies.map(|entry| entry.path()).chain([root.into()]) {
            let _ = fs::remove_dir(hierarchy.join(self.mark.as_str()));
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.place.path().join("log")).unwrap_or_default()
    }

    fn docker(&self, args: &[&str]) -> Output {
        let socket = self.place.path().join("socket");
        Command::new("docker")
            .arg("--host")
            .arg(format!("unix://{}", socket.display()))
            .args(args)
            .stdin(Stdio::null())
            .output()
            .expect("docker's command line")
    }

    /// Runs a command that has to work.
    #[track_caller]
    fn done(&self, args: &[&str]) -> String {
        let output = self.docker(args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "docker {args:?}: {error}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// An image with these static programs in its root directory, and nothing else.
    fn image(&self, programs: &[&Path]) {
        let root = self.place.path().join("root");
        fs::create_dir(&root).expect("a directory of our own");
        for program in programs {
            let name = program.file_name().expect("a program");
            fs::copy(program, root.join(name)).expect("a directory of our own");
        }
        let archive = self.place.path().join("root.tar");
        let tar = Command::new("tar")
            .arg("-C")
            .arg(&root)
            .arg("-cf")
            .arg(&archive)
            .arg(".")
            .status();
        assert!(tar.expect("tar").success());
        self.done(&["import", &archive.display().to_string(), IMAGE]);
    }

    /// `docker run` with the exit code of the container.
    #[track_caller]
    fn run(&self, args: &[&str]) -> (Option<i32>, String) {
        let options = ["run", "--rm", "--network=none"];
        let output = self.docker(&[&options, args].concat());
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    }

    /// A container in the background that has said `ready`; returns its PID 1 as seen from here.
    #[track_caller]
    fn start_ready(&self, name: &str, args: &[&str]) -> Pid {
        let options = ["run", "-d", "--network=none", "--name", name];
        self.done(&[&options, args].concat());
        self.says(name, "ready");
        let pid = self.done(&["inspect", "-f", "{{.State.Pid}}", name]);
        Pid::from_raw(pid.parse().expect("a pid"))
    }

    #[track_caller]
    fn says(&self, name: &str, line: &str) {
        wait_until(line, || {
            self.done(&["logs", name]).lines().any(|seen| seen == line)
        });
    }

    #[track_caller]
    fn code(&self, name: &str) -> String {
        self.done(&["wait", name])
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let containers = self.docker(&["ps", "-aq"]).stdout;
        for container in String::from_utf8_lossy(&containers).lines() {
            let _ = self.docker(&["rm", "-f", container]);
        }
        let pid = Pid::from_raw(self.process.id().cast_signed());
        let _ = proc::kill(pid, libc::SIGTERM);
        let _ = self.process.wait();
        self.mark.kill_leftovers();
        self.remove_cgroups();
    }
}

const IMAGE: &str = "programs:1";

#[test]
fn docker_run_init_uses_the_static_binary() {
    need!(installed(DOCKERD));
    need!(crate::support::docker::available());
    if !nix::unistd::geteuid().is_root() {
        skip("only root can start dockerd");
        return;
    }
    let mut daemon = Daemon::start("docker-init");
    need!(daemon.answers());
    daemon.image(&[actor(), witness()]);

    it_is_in_namespaces_of_its_own(&daemon);
    docker_knows_its_version(&daemon);
    it_is_pid_1_and_passes_signals_and_the_status_on(&daemon);
    its_options_are_variables(&daemon);
    it_is_an_entrypoint_under_any_name(&daemon);

    let mark = daemon.mark.clone();
    drop(daemon);
    // The last of it is killed, and nobody has waited for that.
    mark.wait_until_gone();
}

fn it_is_in_namespaces_of_its_own(daemon: &Daemon) {
    for kind in ["net", "mnt"] {
        let of = |process: String| fs::read_link(format!("/proc/{process}/ns/{kind}"));
        let theirs = of(daemon.process.id().to_string()).expect("it runs");
        assert_ne!(theirs, of("self".to_owned()).expect("we run"));
    }
}

fn docker_knows_its_version(daemon: &Daemon) {
    let init = daemon.done(&["info", "--format", "{{.InitBinary}}"]);
    assert_eq!(Path::new(&init), daemon.init);
    let components = daemon.done(&["version", "--format", "{{json .Server.Components}}"]);
    let version = format!("\"{}_stepdown\"", env!("CARGO_PKG_VERSION"));
    assert!(components.contains(&version), "{components}");
    let log = daemon.log();
    assert!(!log.contains("docker-init version"), "{log}");
    assert!(!log.contains("unknown output format"), "{log}");
}

fn it_is_pid_1_and_passes_signals_and_the_status_on(daemon: &Daemon) {
    for (words, code) in [
        (&["/actor", "exit", "7"][..], 7),
        (&["/actor", "raise", "9"], 137),
        (&["/actor", "raise", "15"], 143),
        (&["/no/such/program"], 127),
    ] {
        let (status, text) = daemon.run(&[&["--init", IMAGE], words].concat());
        assert_eq!(status, Some(code), "{words:?}\n{text}");
    }
    let words = ["--init", IMAGE, "/witness", "listen", "15:33"];
    let pid = daemon.start_ready("signals", &words);
    let line = fs::read(format!("/proc/{pid}/cmdline")).expect("it runs");
    let expected = b"/sbin/docker-init\0--\0/witness\0listen\x0015:33\0";
    assert_eq!(line, expected, "{}", String::from_utf8_lossy(&line));
    daemon.done(&["kill", "-s", "USR1", "signals"]);
    daemon.says("signals", "got 10");
    daemon.done(&["kill", "-s", "INT", "signals"]);
    daemon.says("signals", "got 2");
    daemon.done(&["stop", "-t", "60", "signals"]);
    assert_eq!(daemon.code("signals"), "33");

    let pid = daemon.start_ready("orphans", &["--init", IMAGE, "/actor", "orphans", "20"]);
    // Those of them that still run end at once, too.
    let mut children = Vec::new();
    wait_until("PID 1 has no child but the main one", || {
        children = proc::children(pid);
        children.len() == 1
    });
    assert_ne!(children[0].state, 'Z', "{children:?}");
    daemon.done(&["kill", "orphans"]);
}

fn its_options_are_variables(daemon: &Daemon) {
    let words = [
        "--init",
        "--env=STEPDOWN_LADDER=TERM:50ms,QUIT:50ms,KILL",
        "--env=STEPDOWN_POST_STOP=/actor say hook",
        IMAGE,
        "/actor",
        "ignore-signals",
    ];
    daemon.start_ready("ladder", &words);
    // Docker's own KILL would be a long time coming.
    daemon.done(&["stop", "-t", "60", "ladder"]);
    assert_eq!(daemon.code("ladder"), "137");
    daemon.says("ladder", "hook");
}

fn it_is_an_entrypoint_under_any_name(daemon: &Daemon) {
    let binary = under_test_static().display();
    for (name, options, code) in [
        ("stepdown", &["-g", "--success-exit", "5", "--"][..], 0),
        ("tini", &["-g", "-e", "5", "--"], 0),
        ("docker-init", &["-e5", "-s"], 0),
        ("dumb-init", &["--rewrite", "15:2", "--"], 5),
        ("catatonit", &["-g", "--"], 5),
    ] {
        let mount = format!("--volume={binary}:/{name}:ro");
        let entrypoint = format!("--entrypoint=/{name}");
        let words = [&[mount.as_str(), &entrypoint, IMAGE], options].concat();
        let (status, text) = daemon.run(&[&words[..], &["/actor", "exit", "5"]].concat());
        assert_eq!(status, Some(code), "{name}\n{text}");
    }
}
