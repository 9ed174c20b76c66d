//! Containers through Docker's command line: images from nothing, runs with their real exit codes.

use std::collections::hash_map::DefaultHasher;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::hash::{Hash, Hasher};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output as Finished, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use super::ended::Ended;
use super::mark::Mark;
use super::output::Output;
use super::pty::Pty;
use super::{BOUND, binary, dead_runs, holds_within, machine};

/// As [`BOUND`], for what an engine has to do: it makes and removes containers for other stories as well.
const ENGINE_BOUND: Duration = Duration::from_secs(3 * BOUND.as_secs());

/// Can containers run here? The error is the reason for skipping a story.
pub(crate) fn available() -> Result<(), String> {
    static TRIED: OnceLock<Result<(), String>> = OnceLock::new();
    TRIED
        .get_or_init(
            || match docker(["info", "--format", "{{.ServerVersion}}"]) {
                Ok(info) if info.status.success() => {
                    machine::USES_DOCKER.store(true, Ordering::Relaxed);
                    Ok(())
                }
                Ok(info) => Err(String::from_utf8_lossy(&info.stderr).trim().to_owned()),
                Err(error) => Err(format!("cannot run docker: {error}")),
            },
        )
        .clone()
}

fn docker<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> std::io::Result<Finished> {
    // The old builder needs no plugin, no registry and no network.
    Command::new("docker")
        .args(args)
        .env("DOCKER_BUILDKIT", "0")
        .stdin(Stdio::null())
        .output()
}

/// Runs a docker command that has to work, and returns what it wrote.
#[track_caller]
fn done<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> String {
    let args: Vec<OsString> = args
        .into_iter()
        .map(|arg| arg.as_ref().to_owned())
        .collect();
    let finished = docker(&args).expect("docker, which was there before");
    let error = String::from_utf8_lossy(&finished.stderr);
    assert!(finished.status.success(), "docker {args:?}: {error}");
    String::from_utf8_lossy(&finished.stdout).trim().to_owned()
}

/// An image that is being put together.
pub(crate) struct Image {
    name: &'static str,
    files: Vec<(&'static str, PathBuf)>,
    links: Vec<(&'static str, &'static str)>,
    lines: Vec<String>,
}

impl Image {
    /// `FROM scratch`.
    pub(crate) fn from_scratch(name: &'static str) -> Self {
        Self {
            name,
            files: Vec::new(),
            links: Vec::new(),
            lines: Vec::new(),
        }
    }

    /// Copies an executable (or a directory) of the host to an absolute path.
    pub(crate) fn file(mut self, inside: &'static str, outside: impl Into<PathBuf>) -> Self {
        self.files.push((inside, outside.into()));
        self
    }

    /// A symbolic link at an absolute path.
    pub(crate) fn link(mut self, inside: &'static str, target: &'static str) -> Self {
        self.links.push((inside, target));
        self
    }

    /// A further line of the Dockerfile.
    pub(crate) fn line(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }

    /// Builds it, or finds what another story built from the same content; returns its tag.
    pub(crate) fn build(self) -> String {
        let context = tempfile::tempdir().expect("a temporary directory");
        let root = context.path().join("root");
        let mut hasher = DefaultHasher::new();
        for (inside, outside) in &self.files {
            let to = place(&root, inside);
            let content =
                fs::read(outside).unwrap_or_else(|e| panic!("{}: {e}", outside.display()));
            let mode = fs::metadata(outside)
                .expect("just read")
                .permissions()
                .mode();
            (inside, &content, mode).hash(&mut hasher);
            fs::write(&to, content).expect("a directory of our own");
            fs::set_permissions(&to, fs::Permissions::from_mode(mode)).expect("a file of our own");
        }
        for (inside, target) in &self.links {
            (inside, target).hash(&mut hasher);
            symlink(target, place(&root, inside)).expect("a directory of our own");
        }
        let dockerfile = format!(
            "FROM scratch\nLABEL {}\nCOPY root /\n{}\n",
            machine::label(),
            self.lines.join("\n")
        );
        dockerfile.hash(&mut hasher);
        fs::write(context.path().join("Dockerfile"), dockerfile).expect("a directory of our own");

        // Of this run alone, which removes it after its last story.
        let run = machine::name();
        let tag = format!("stepdown-test-{}:{run}-{:016x}", self.name, hasher.finish());
        dead_runs::remove_once();
        if docker(["image", "inspect", &tag]).is_ok_and(|seen| seen.status.success()) {
            return tag;
        }
        done([
            OsStr::new("build"),
            "-q".as_ref(),
            "-t".as_ref(),
            tag.as_ref(),
            context.path().as_ref(),
        ]);
        tag
    }
}

fn place(root: &Path, inside: &str) -> PathBuf {
    let to = root.join(inside.trim_start_matches('/'));
    fs::create_dir_all(to.parent().expect("below root")).expect("a directory of our own");
    to
}

/// `FROM scratch` with nothing but the static binary as entrypoint and the static child:
/// `/stepdown`, `/actor`, and `/text`, which cannot be executed.
pub(crate) fn scratch() -> &'static str {
    static BUILT: OnceLock<String> = OnceLock::new();
    BUILT.get_or_init(|| {
        Image::from_scratch("scratch")
            .file("/stepdown", binary::under_test_static())
            .file("/actor", binary::actor())
            .file("/text", binary::child("not-executable.txt"))
            .line(r#"ENTRYPOINT ["/stepdown", "--"]"#)
            .build()
    })
}

/// The Debian of this machine as a userland: an image with the directories and links of one, into
/// which [`with_host_userland`] mounts `/usr` read-only. Nothing is copied, so it costs nothing,
/// and the servers are the packages that are installed.
pub(crate) fn userland() -> &'static str {
    static BUILT: OnceLock<String> = OnceLock::new();
    BUILT.get_or_init(|| {
        Image::from_scratch("userland")
            .link("/bin", "usr/bin")
            .link("/sbin", "usr/sbin")
            .link("/lib", "usr/lib")
            .link("/lib64", "usr/lib64")
            .file("/etc/passwd", "/etc/passwd")
            .file("/etc/group", "/etc/group")
            .file("/stepdown", binary::under_test_static())
            .line("ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .line(r#"ENTRYPOINT ["/stepdown", "--"]"#)
            .build()
    })
}

/// The options of `docker run` that complete [`userland`].
pub(crate) fn with_host_userland() -> [&'static str; 4] {
    ["-v", "/usr:/usr:ro", "--tmpfs", "/tmp:exec"]
}

/// A network of the story's own, with nothing behind it; dropping it removes it.
pub(crate) struct Network(String);

impl Network {
    #[track_caller]
    pub(crate) fn new() -> Self {
        let name = format!("stepdown-test-{}", Mark::new().as_str());
        done(["network", "create", "--internal", &name]);
        Self(name)
    }

    /// The option of `docker run` that puts a container into it.
    pub(crate) fn option(&self) -> String {
        format!("--network={}", self.0)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = docker(["network", "rm", &self.0]);
    }
}

/// A run of a container that is being prepared.
pub(crate) struct ContainerRun {
    image: String,
    options: Vec<OsString>,
    command: Vec<OsString>,
}

/// `docker run` with the image; without a network unless an option asks for one.
pub(crate) fn container(image: &str) -> ContainerRun {
    ContainerRun {
        image: image.to_owned(),
        options: Vec::new(),
        command: Vec::new(),
    }
}

impl ContainerRun {
    /// Options of `docker run`.
    pub(crate) fn options<A: Into<OsString>>(
        mut self,
        options: impl IntoIterator<Item = A>,
    ) -> Self {
        self.options.extend(options.into_iter().map(Into::into));
        self
    }

    /// What follows the image's entrypoint, `/stepdown --`.
    pub(crate) fn command<A: Into<OsString>>(
        mut self,
        command: impl IntoIterator<Item = A>,
    ) -> Self {
        self.command.extend(command.into_iter().map(Into::into));
        self
    }

    /// The whole command line of stepdown, instead of `-- COMMAND`.
    pub(crate) fn stepdown<A: Into<OsString>>(self, args: impl IntoIterator<Item = A>) -> Self {
        self.options(["--entrypoint", "/stepdown"]).command(args)
    }

    /// Starts it in the foreground of `docker run`, whose exit code is the container's.
    pub(crate) fn start(self) -> Container {
        let name = new_name();
        let mut command = self.command_line(&name);
        // An open pipe when the container has a standard input (`-i`), else docker ignores it.
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut process = command.spawn().expect("docker, which was there before");
        Container {
            name,
            stdout: Output::of(process.stdout.take()),
            stderr: Output::of(process.stderr.take()),
            started: Instant::now(),
            asked: None,
            stopping: None,
            process,
        }
    }

    /// Starts it as people do who want to type into it: `docker run -it` in a terminal window.
    pub(crate) fn in_window(self) -> Window {
        let name = new_name();
        let pty = Pty::running(&mut self.options(["-it"]).command_line(&name));
        Window { pty, name }
    }

    fn command_line(&self, name: &str) -> Command {
        let mut command = Command::new("docker");
        command.args([
            "run",
            "--name",
            name,
            "--sig-proxy=false",
            "--log-driver=none",
        ]);
        let has_network = |option: &OsString| option.to_string_lossy().starts_with("--network");
        if !self.options.iter().any(has_network) {
            command.arg("--network=none");
        }
        command
            .args(&self.options)
            .arg(&self.image)
            .args(&self.command);
        command
    }

    /// Starts it and waits for its end.
    pub(crate) fn run(self) -> Ended {
        self.start().wait()
    }
}

fn new_name() -> String {
    format!("stepdown-test-{}", Mark::new().as_str())
}

/// A container in a terminal window; dropping it removes it.
pub(crate) struct Window {
    pub(crate) pty: Pty,
    name: String,
}

impl Drop for Window {
    fn drop(&mut self) {
        let _ = docker(["rm", "-f", "-v", &self.name]);
    }
}

/// A container; dropping it removes it.
pub(crate) struct Container {
    name: String,
    process: Child,
    stdout: Output,
    stderr: Output,
    started: Instant,
    asked: Option<Instant>,
    /// `docker stop` while it runs beside the story.
    stopping: Option<Child>,
}

impl Container {
    /// Waits for this line on the container's standard output.
    #[track_caller]
    pub(crate) fn says(&mut self, line: &str) -> &mut Self {
        self.wait_for(&format!("the line {line:?} on stdout"), |container| {
            container.stdout.line(|seen| seen == line).is_some()
        });
        self
    }

    /// Waits for a line on the container's standard output that contains `part`.
    #[track_caller]
    pub(crate) fn says_about(&mut self, part: &str) -> &mut Self {
        self.wait_for(&format!("a line with {part:?} on stdout"), |container| {
            container.stdout.line(|seen| seen.contains(part)).is_some()
        });
        self
    }

    /// Waits for a line on the container's standard error that contains `part`.
    #[track_caller]
    pub(crate) fn logs(&mut self, part: &str) -> &mut Self {
        self.wait_for(&format!("a line with {part:?} on stderr"), |container| {
            container.stderr.line(|seen| seen.contains(part)).is_some()
        });
        self
    }

    /// How many lines on its standard error contain `part` by now.
    pub(crate) fn times_logged(&mut self, part: &str) -> usize {
        let text = self.stderr.text();
        text.lines().filter(|line| line.contains(part)).count()
    }

    /// Waits for anything; a failure shows all output, and a container that has ended fails at once.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let mut ended = None;
        let held = holds_within(ENGINE_BOUND, || {
            ended = self.process.try_wait().expect("our own child");
            self.stdout.look();
            self.stderr.look();
            holds(self) || ended.is_some()
        });
        if !held || (ended.is_some() && !holds(self)) {
            let why = ended.map_or(format!("not within {ENGINE_BOUND:?}"), |status| {
                format!("{status}")
            });
            panic!("{why}: {what}\n{}", self.told());
        }
    }

    /// Types a line into the container (`-i`).
    #[track_caller]
    pub(crate) fn type_line(&mut self, line: &str) -> &mut Self {
        use std::io::Write;
        let stdin = self.process.stdin.as_mut().expect("always piped");
        stdin
            .write_all(format!("{line}\n").as_bytes())
            .expect("docker reads");
        self
    }

    /// `docker stop`, which returns when the container has ended.
    #[track_caller]
    pub(crate) fn stop(&mut self, options: &[&str]) -> &mut Self {
        self.asked.get_or_insert_with(Instant::now);
        done(
            ["stop"]
                .iter()
                .chain(options)
                .copied()
                .chain([self.name.as_str()]),
        );
        self
    }

    /// `docker stop` beside the story, which goes on while the container still runs.
    #[track_caller]
    pub(crate) fn stop_meanwhile(&mut self, options: &[&str]) -> &mut Self {
        self.asked.get_or_insert_with(Instant::now);
        let mut command = Command::new("docker");
        command
            .arg("stop")
            .args(options)
            .arg(&self.name)
            .stdout(Stdio::null());
        self.stopping = Some(command.spawn().expect("docker, which was there before"));
        self
    }

    /// `docker kill -s SIGNAL`.
    #[track_caller]
    pub(crate) fn kill(&mut self, signal: &str) -> &mut Self {
        self.asked.get_or_insert_with(Instant::now);
        done(["kill", "-s", signal, &self.name]);
        self
    }

    /// `docker inspect -f FORMAT`.
    #[track_caller]
    pub(crate) fn inspect(&self, format: &str) -> String {
        done(["inspect", "-f", format, &self.name])
    }

    /// Waits until Docker calls it running, before it says anything.
    #[track_caller]
    pub(crate) fn runs(&mut self) -> &mut Self {
        let name = self.name.clone();
        self.wait_for("the container runs", |_| {
            docker(["inspect", "-f", "{{.State.Running}}", &name])
                .is_ok_and(|seen| seen.stdout.starts_with(b"true"))
        });
        self
    }

    /// The pid of the container's PID 1 as the host sees it.
    #[track_caller]
    pub(crate) fn pid(&self) -> Pid {
        let pid = self.inspect("{{.State.Pid}}").parse().expect("a pid");
        assert_ne!(pid, 0, "{} does not run", self.name);
        Pid::from_raw(pid)
    }

    /// Waits for the end of `docker run`.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Ended {
        let mut status = None;
        let ended = holds_within(ENGINE_BOUND, || {
            self.stdout.look();
            self.stderr.look();
            status = self.process.try_wait().expect("our own child");
            status.is_some()
        });
        assert!(
            ended,
            "still running after {ENGINE_BOUND:?}\n{}",
            self.told()
        );
        let (stdout, stderr) = (self.stdout.text(), self.stderr.text());
        let ended = Ended::new(status.expect("just waited for"), stdout, stderr);
        ended.ran(
            self.started.elapsed(),
            self.asked.map(|asked| asked.elapsed()),
        )
    }

    fn told(&mut self) -> String {
        format!(
            "--- stdout\n{}--- stderr\n{}---",
            self.stdout.text(),
            self.stderr.text()
        )
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = docker(["rm", "-f", "-v", &self.name]);
        for process in self.stopping.iter_mut().chain([&mut self.process]) {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
