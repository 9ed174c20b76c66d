//! The machine is as it was before: what a run of the tests makes has its name, what stories share is removed after
//! the last one, and what is left then is told, removed, and fails the run.
//!
//! Several runs may go on at a time, so it looks only at what this run can have made: what has its name, lies in its
//! temporary directory, or was started with it.

use std::collections::BTreeSet;
use std::collections::hash_map::DefaultHasher;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::hash::{Hash, Hasher};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::libc;
use nix::unistd::Pid;

use super::proc::{self, Process};
use super::{BOUND, holds_within, skipped};

/// Containers have run, and docker can be asked what is left of them.
pub(crate) static USES_DOCKER: AtomicBool = AtomicBool::new(false);

pub(crate) const LABEL: &str = "stepdown-test";

/// The label of every image that a story makes, and so of every container of one.
pub(crate) fn label() -> String {
    format!("{LABEL}={}", name())
}

/// Where pids mean what they mean to us: this PID namespace since this boot.
pub(super) fn place() -> &'static str {
    static PLACE: OnceLock<String> = OnceLock::new();
    PLACE.get_or_init(|| {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        let mut hasher = DefaultHasher::new();
        (boot, namespace).hash(&mut hasher);
        // Short: sockets have the name in their path.
        format!("{:04x}", hasher.finish() & 0xffff)
    })
}

/// What this run is called: no other one, now or before, has the name.
pub(crate) fn name() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let this = Pid::this();
        let started = proc::process(this).map_or(0, |process| process.started);
        format!("e2e-{}-{this}-{started}", place())
    })
}

/// What there was before the first story.
struct Before {
    pid: Pid,
    temporary: PathBuf,
    interfaces: BTreeSet<String>,
}

static BEFORE: OnceLock<Before> = OnceLock::new();

/// libtest has neither a place for what comes before the first test nor one for what comes after the last.
#[used]
#[unsafe(link_section = ".init_array")]
static BEGIN: extern "C" fn() = begin;

extern "C" fn begin() {
    if env::args().any(|word| word == "--list") {
        return;
    }
    let temporary = env::temp_dir().join(format!("stepdown-{}", name()));
    // As /tmp is: some stories become another user.
    let everybody = fs::Permissions::from_mode(0o1777);
    let made = fs::create_dir(&temporary);
    if let Err(error) = made.and_then(|()| fs::set_permissions(&temporary, everybody)) {
        eprintln!("{}: {error}", temporary.display());
        std::process::exit(101);
    }
    // What whoever started the tests had open reaches no story.
    // SAFETY: numbers only; nothing is closed before exec.
    unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    // SAFETY: before main there is one thread, and it reads no variable meanwhile.
    unsafe { env::set_var("TMPDIR", &temporary) };
    let before = Before {
        pid: Pid::this(),
        temporary,
        interfaces: interfaces(),
    };
    let _ = BEFORE.set(before);
    // SAFETY: `end` takes nothing and is there as long as the program.
    unsafe { libc::atexit(end) };
}

extern "C" fn end() {
    // A child that was forked and calls exit(3) is not the run.
    let Some(before) = BEFORE.get().filter(|before| before.pid == Pid::this()) else {
        return;
    };
    remove_what_is_shared(before);
    let left = left(before);
    if !left.is_empty() {
        println!("left behind on this machine, and removed now where it can be:");
        for one in &left {
            println!("  {one}");
        }
        remove(before, &left);
    }
    // Not empty where something has just been told about.
    let _ = fs::remove_dir_all(&before.temporary);
    let is_allowed = skipped::told() == 0 || env::var_os("NO_SKIPS").is_none();
    if !left.is_empty() || !is_allowed {
        // SAFETY: exit(3) is under way and must not be called again.
        unsafe { libc::_exit(101) };
    }
}

/// A directory that everybody may enter, for programs: the target directory may be below one that others may not.
pub(super) fn programs() -> PathBuf {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let path = env::temp_dir().join("programs");
        let everybody = fs::Permissions::from_mode(0o755);
        let made = fs::create_dir(&path).and_then(|()| fs::set_permissions(&path, everybody));
        made.expect("a directory of ours");
        path
    });
    made.clone()
}

/// Images and programs: stories that run at the same time use them, too.
fn remove_what_is_shared(before: &Before) {
    let _ = fs::remove_dir_all(before.temporary.join("programs"));
    if !USES_DOCKER.load(Ordering::Relaxed) {
        return;
    }
    // Parents go with the last image that is made from them; what is left after that is used by a container.
    for _ in 0..3 {
        let images = images();
        if images.is_empty() {
            break;
        }
        docker(["image", "rm", "--force"], images);
    }
}

/// Something that this run has made and not removed.
enum Left {
    Process(Process),
    Mount(String),
    File(PathBuf),
    Cgroup(PathBuf),
    Interface(String),
    Container(String),
    Network(String),
    Image(String),
}

impl std::fmt::Display for Left {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Process(process) => {
                let Process { pid, parent, .. } = process;
                // Its words say which story has started it.
                let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                let line = String::from_utf8_lossy(&line).replace('\0', " ");
                let line = if line.is_empty() {
                    &process.name
                } else {
                    line.trim()
                };
                write!(f, "process {pid}, a child of {parent}: {line}")
            }
            Self::Mount(place) => write!(f, "mount {place}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Cgroup(path) => write!(f, "cgroup {}", path.display()),
            Self::Interface(name) => write!(f, "no network interface {name} any more"),
            Self::Container(id) => write!(f, "container {id}"),
            Self::Network(id) => write!(f, "network {id}"),
            Self::Image(id) => write!(f, "image {id}"),
        }
    }
}

fn left(before: &Before) -> Vec<Left> {
    let mut processes = Vec::new();
    // What was killed last may still be on its way out.
    holds_within(Duration::from_secs(5), || {
        processes = started_by_us(before);
        processes.is_empty()
    });
    let mut left: Vec<Left> = processes.into_iter().map(Left::Process).collect();
    left.extend(mounts(&before.temporary).into_iter().map(Left::Mount));
    let files = fs::read_dir(&before.temporary).into_iter().flatten();
    left.extend(files.flatten().map(|file| Left::File(file.path())));
    left.extend(cgroups(Path::new("/sys/fs/cgroup"), name()).map(Left::Cgroup));
    let now = interfaces();
    let gone = before.interfaces.difference(&now);
    left.extend(gone.cloned().map(Left::Interface));
    if USES_DOCKER.load(Ordering::Relaxed) {
        left.extend(containers().into_iter().map(Left::Container));
        left.extend(networks().into_iter().map(Left::Network));
        left.extend(images().into_iter().map(Left::Image));
    }
    left
}

/// Best effort: the run has failed already.
fn remove(before: &Before, left: &[Left]) {
    for one in left {
        match one {
            Left::Process(process) => drop(proc::kill(process.pid, libc::SIGKILL)),
            Left::Mount(place) => drop(quiet("umount", ["--lazy"], [place])),
            Left::File(path) => drop(fs::remove_dir_all(path).or_else(|_| fs::remove_file(path))),
            Left::Interface(_) => {}
            Left::Cgroup(path) => {
                holds_within(BOUND, || fs::remove_dir(path).is_ok());
            }
            Left::Container(id) => drop(docker(["rm", "--force", "--volumes"], [id])),
            Left::Network(id) => drop(docker(["network", "rm"], [id])),
            Left::Image(id) => drop(docker(["image", "rm", "--force"], [id])),
        }
    }
    remove_what_is_shared(before);
}

/// Whoever inherited our temporary directory.
fn started_by_us(before: &Before) -> Vec<Process> {
    let wanted = [b"TMPDIR=", before.temporary.as_os_str().as_encoded_bytes()].concat();
    let is_told = |pid| {
        fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environ| {
            environ
                .split(|&byte| byte == 0)
                .any(|entry| entry == wanted)
        })
    };
    let is_ours = |process: &Process| {
        process.pid != before.pid && !matches!(process.state, 'Z' | 'X') && is_told(process.pid)
    };
    proc::all().into_iter().filter(is_ours).collect()
}

fn mounts(below: &Path) -> Vec<String> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let places = text.lines().filter_map(|line| line.split(' ').nth(4));
    let ours = places.filter(|place| Path::new(place).starts_with(below));
    ours.map(str::to_owned).collect()
}

/// Those below `root` that have the name of this run in theirs, the deepest first.
fn cgroups(root: &Path, name: &str) -> impl Iterator<Item = PathBuf> {
    let mut found = Vec::new();
    let mut to_see = vec![root.to_owned()];
    while let Some(path) = to_see.pop() {
        let below = fs::read_dir(&path).into_iter().flatten().flatten();
        let below = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        to_see.extend(below.map(|entry| entry.path()));
        if path.to_string_lossy().contains(name) {
            found.push(path);
        }
    }
    found.into_iter().rev()
}

/// Those that stay: hardware, loopback and the bridge of Docker. The others come and go with other runs.
fn interfaces() -> BTreeSet<String> {
    // Of our network namespace; /sys may be mounted from another one.
    let text = fs::read_to_string("/proc/net/dev").unwrap_or_default();
    let names = text.lines().filter_map(|line| line.split_once(':'));
    let stays = |name: &&str| {
        let is_hardware = Path::new("/sys/class/net").join(name).join("device");
        matches!(*name, "lo" | "docker0") || is_hardware.exists()
    };
    let stay = names.map(|(name, _)| name.trim()).filter(stays);
    stay.map(str::to_owned).collect()
}

fn containers() -> Vec<String> {
    let list = ["ps", "--all", "--no-trunc", "--quiet", "--filter"];
    let mut found = docker(list, [format!("label={}", label())]);
    found.extend(docker(list, [format!("name={}", name())]));
    found.sort_unstable();
    found.dedup();
    found
}

fn networks() -> Vec<String> {
    let list = ["network", "ls", "--no-trunc", "--quiet", "--filter"];
    docker(list, [format!("name={}", name())])
}

fn images() -> Vec<String> {
    let list = ["image", "ls", "--all", "--no-trunc", "--quiet", "--filter"];
    let mut found = docker(list, [format!("label={}", label())]);
    found.extend(docker(list, [format!("reference=*{}*", name())]));
    found.sort_unstable();
    found.dedup();
    found
}

/// The lines that docker says.
pub(super) fn docker<const N: usize>(
    command: [&str; N],
    more: impl IntoIterator<Item = impl Into<OsString>>,
) -> Vec<String> {
    quiet("docker", command, more)
}

fn quiet<const N: usize>(
    program: &str,
    command: [&str; N],
    more: impl IntoIterator<Item = impl Into<OsString>>,
) -> Vec<String> {
    let ran = Command::new(program)
        .args(command)
        .args(more.into_iter().map(Into::into))
        .stdin(Stdio::null())
        .output();
    let said = ran.map_or_else(|_| Vec::new(), |ran| ran.stdout);
    let said = String::from_utf8_lossy(&said);
    said.lines().map(str::to_owned).collect()
}
