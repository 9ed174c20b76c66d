//! Finds or builds the programs that the stories run: stepdown, its static build, children.

use std::env;
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::machine;

/// The binary under test: `STEPDOWN_BIN`, or what cargo has just built.
pub(crate) fn under_test() -> PathBuf {
    match env::var_os("STEPDOWN_BIN") {
        Some(path) => absolute(path),
        None => PathBuf::from(env!("CARGO_BIN_EXE_stepdown")),
    }
}

/// The static binary that containers get: `STEPDOWN_STATIC_BIN`, or what `scripts/build-static`
/// builds and names. The script always runs: cargo knows better than we what is out of date.
pub(crate) fn under_test_static() -> &'static Path {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| match env::var_os("STEPDOWN_STATIC_BIN") {
        Some(path) => Ok(absolute(path)),
        None => build_static(&[]),
    });
    match found {
        Ok(path) => path,
        Err(why) => panic!("no static binary for the containers: {why}"),
    }
}

/// The build for images, of `scripts/build-static --init`.
pub(crate) fn for_images() -> &'static Path {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match FOUND.get_or_init(|| build_static(&["--init"])) {
        Ok(path) => path,
        Err(why) => panic!("no binary for images: {why}"),
    }
}

/// Can the packages of a release be made here? The error is the reason for skipping a story.
pub(crate) fn can_pack() -> Result<(), String> {
    runs(
        "python3",
        &["-c", "import tomllib"],
        "there is no Python 3.11",
    )?;
    runs("dpkg-deb", &["--version"], "dpkg-deb is not installed")
}

/// Does this command succeed? If not, `why` is the reason for skipping a story.
pub(crate) fn runs(program: &str, args: &[&str], why: &str) -> Result<(), String> {
    let tried = Command::new(program).args(args).output();
    let succeeded = tried.is_ok_and(|tried| tried.status.success());
    succeeded.then_some(()).ok_or_else(|| why.to_owned())
}

/// A folder with the packages of a release, for this machine: of the static binary, and of no release build of its own.
pub(crate) fn packages() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = machine::programs().join("packages");
        pack(&mut Command::new(PACKAGES), &folder);
        folder
    })
}

pub(crate) const PACKAGES: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/release.d/packages");

/// Calls the script that makes the packages.
#[track_caller]
pub(crate) fn pack(script: &mut Command, folder: &Path) {
    let machine = if cfg!(target_arch = "aarch64") {
        "arm64="
    } else {
        "amd64="
    };
    let mut binary = OsString::from(machine);
    binary.push(under_test_static());
    let made = script
        .args([folder.as_os_str(), &binary])
        .env("SOURCE_DATE_EPOCH", "1700000000")
        .env("IMAGE", package_image())
        .output()
        .expect("a script of ours");
    let error = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{PACKAGES}: {error}");
}

/// What the engine calls the image among the packages: of this run alone, which removes it after its last story.
pub(crate) fn package_image() -> String {
    format!("stepdown-test-package:{}", machine::name())
}

fn build_static(options: &[&str]) -> Result<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = root.join("scripts/build-static");
    let built = Command::new(&script)
        .args(options)
        .current_dir(root)
        .output()
        .map_err(|error| format!("cannot run {}: {error}", script.display()))?;
    if !built.status.success() {
        return Err(format!(
            "{} failed: {}",
            script.display(),
            String::from_utf8_lossy(&built.stderr)
        ));
    }
    // Its last word is where the binary is, seen from the root of the repository.
    let printed = String::from_utf8_lossy(&built.stdout);
    let binary = root.join(printed.trim());
    if binary.is_file() {
        Ok(binary)
    } else {
        Err(format!(
            "{} is not there after {}",
            binary.display(),
            script.display()
        ))
    }
}

/// A program from `tests/e2e/children`.
pub(crate) fn child(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/e2e/children")
        .join(name);
    assert!(path.is_file(), "no such child program: {}", path.display());
    path
}

/// `children/actor.c` as a static program: the child that needs nothing but the kernel.
pub(crate) fn actor() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| compiled("actor"))
}

/// `children/witness.c` as a static program: the child that says what reached it.
pub(crate) fn witness() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| compiled("witness"))
}

/// `children/tree-maker.c` as a static program: many processes that are hard to end.
pub(crate) fn tree_maker() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| compiled("tree-maker"))
}

/// `children/left-behind.c` as a static program: processes that end one after the other.
pub(crate) fn left_behind() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| compiled("left-behind"))
}

/// `children/moving.c` as a static program: processes that get another parent, and count signals.
pub(crate) fn moving() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| compiled("moving"))
}

/// `children/gallery/gallery.c`: programs with a known defect each, and their clean twins.
pub(crate) fn gallery() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| compiled("gallery/gallery"))
}

/// `children/terminal.c` as a static program: the child that uses its terminal.
pub(crate) fn terminal() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| compiled("terminal"))
}

/// `children/drainee.c` as a static program: a server whose clients say what it shall do.
pub(crate) fn drainee() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| compiled("drainee"))
}

/// `children/notifier.c` as a static program: the child that speaks sd_notify(3).
pub(crate) fn notifier() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| compiled("notifier"))
}

/// `children/http.c` as a static program: HTTP servers.
pub(crate) fn http() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| compiled("http"))
}

/// `children/listener.c` as a static program: a server on the sockets that it was given.
pub(crate) fn listener() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| compiled("listener"))
}

/// `children/stuck.c` as a static program: what a stop does not end, and its clean twins.
pub(crate) fn stuck() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| compiled("stuck"))
}

/// `children/hung.c` as a static program: a file system that does not answer.
pub(crate) fn hung() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| compiled("hung"))
}

/// `children/deeds.c` as a static program: sockets, signals and exec, as its arguments say.
pub(crate) fn deeds() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| compiled("deeds"))
}

fn compiled(name: &str) -> PathBuf {
    let file = name.rsplit('/').next().unwrap_or(name);
    let program = machine::programs().join(file);
    let compiled = Command::new("gcc")
        .args([
            "-static", "-pthread", "-O1", "-Wall", "-Wextra", "-Werror", "-o",
        ])
        .arg(&program)
        .arg(child(&format!("{name}.c")))
        .output()
        .expect("gcc, which also links every Rust program");
    assert!(
        compiled.status.success(),
        "{}",
        String::from_utf8_lossy(&compiled.stderr)
    );
    program
}

/// The binary under test for a story that becomes another user.
pub(crate) fn for_everybody() -> &'static Path {
    static COPIED: OnceLock<PathBuf> = OnceLock::new();
    COPIED.get_or_init(|| {
        let copy = machine::programs().join("stepdown");
        install(&under_test(), &copy, 0o755);
        copy
    })
}

/// Copies a program to where it will be executed. Another process does it: what another story forks
/// while this one writes inherits the descriptor, and until it calls exec the file is busy (ETXTBSY).
#[track_caller]
pub(crate) fn install(from: &Path, to: &Path, rights: u32) {
    let installed = Command::new("install")
        .args(["-m", &format!("{rights:o}")])
        .args([from, to])
        .status();
    assert!(installed.expect("coreutils").success(), "{}", to.display());
}

/// A file that will be executed, or tried to, with this text; see [`install`].
#[track_caller]
pub(crate) fn script(path: &Path, text: &str, rights: u32) {
    let mut content = tempfile::NamedTempFile::new().expect("a file");
    content.write_all(text.as_bytes()).expect("room for it");
    install(content.path(), path, rights);
}

/// Is a program of the machine there? The error is the reason for skipping a story.
pub(crate) fn installed(program: &str) -> Result<(), String> {
    if Path::new(program).exists() {
        Ok(())
    } else {
        Err(format!("{program} is not installed"))
    }
}

fn absolute(path: OsString) -> PathBuf {
    std::path::absolute(PathBuf::from(path)).expect("a path that is not empty")
}
