//! The packages of a release, made of the static binary under test: each is installed from its file, without a network,
//! and what is installed does the main job.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::support::binary::{can_pack, pack, package_image, packages, runs};
use crate::support::docker::{self, Image, container};
use crate::support::skipped::skip_part;
use crate::support::{Stepdown, binary, both, need};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// This machine, as Debian, Rust and Node.js call it.
const DEBIAN: &str = if cfg!(target_arch = "aarch64") {
    "arm64"
} else {
    "amd64"
};
const RUST: &str = std::env::consts::ARCH;
const NODE: &str = if cfg!(target_arch = "aarch64") {
    "arm64"
} else {
    "x64"
};

/// A package by its name, which may have `VERSION` in it.
#[track_caller]
fn package(name: &str) -> PathBuf {
    let path = packages().join(name.replace("VERSION", VERSION));
    assert!(path.is_file(), "{} is not there", path.display());
    path
}

/// Runs a command that has to work, and returns what it wrote.
#[track_caller]
fn done(command: &mut Command) -> String {
    let ran = command.output();
    let ran = ran.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let told = String::from_utf8_lossy(&ran.stdout).into_owned();
    let error = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{command:?}: {told}{error}");
    told
}

#[track_caller]
fn does_the_main_job(program: &Path) {
    both(|mode| {
        let run = Stepdown::in_mode(mode).program(program);
        run.shell("exit 7").run().code(7).nothing_left();
        let mut run = Stepdown::in_mode(mode)
            .program(program)
            .shell("trap 'exit 3' TERM; echo ready; while :; do sleep 0.02; done")
            .start();
        run.says("ready").signal(Signal::SIGTERM);
        run.wait().code(3).nothing_left();
    });
    let told = done(Command::new(program).arg("--version"));
    assert_eq!(told, format!("stepdown {VERSION}\n"));
}

/// The manual page and the completions, below the directory of the shared files.
#[track_caller]
fn has_manual_and_completions(share: &Path, manual: &str, zsh: &str) {
    let files = [
        (manual, ".TH stepdown 1"),
        ("bash-completion/completions/stepdown", "complete -F"),
        (zsh, "#compdef stepdown"),
        (
            "fish/vendor_completions.d/stepdown.fish",
            "complete -c stepdown",
        ),
    ];
    for (name, part) in files {
        // What is not compressed is written as it is.
        let text = done(Command::new("gzip").arg("-cdf").arg(share.join(name)));
        assert!(text.contains(part), "{name} is without {part:?}");
    }
}

#[test]
fn the_same_binary_makes_the_same_packages() {
    need!(can_pack());
    let again = tempfile::tempdir().expect("a directory");
    let mut script = Command::new("sh");
    script
        .args(["-c", "umask 077 && exec \"$0\" \"$@\"", binary::PACKAGES])
        .env("TZ", "Pacific/Kiritimati")
        .current_dir("/");
    pack(&mut script, again.path());
    let sums = |folder: &Path| fs::read_to_string(folder.join("SHA256SUMS")).expect("made");
    assert_eq!(sums(packages()), sums(again.path()));
}

#[test]
fn the_deb_installs_into_an_empty_root_and_leaves_it_empty() {
    need!(can_pack());
    let place = tempfile::tempdir().expect("a directory");
    let root = place.path();
    let state = root.join("var/lib/dpkg");
    for name in ["info", "updates"] {
        fs::create_dir_all(state.join(name)).expect("a directory of ours");
    }
    fs::write(state.join("status"), "").expect("a directory of ours");
    let dpkg = |action: &str, what: &OsStr| {
        // An image of Debian may be set up to leave out manual pages.
        let mut command = Command::new("dpkg");
        command
            .args(["--force-not-root", "--force-bad-path", "--log=/dev/null"])
            .arg("--path-include=/usr/share/*")
            .arg(format!("--root={}", root.display()));
        done(command.arg(action).arg(what))
    };
    let deb = package(&format!("stepdown_VERSION-1_{DEBIAN}.deb"));
    dpkg("--install", deb.as_os_str());
    let program = root.join("usr/bin/stepdown");
    does_the_main_job(&program);
    let share = root.join("usr/share");
    let manual = "man/man1/stepdown.1.gz";
    has_manual_and_completions(&share, manual, "zsh/vendor-completions/_stepdown");
    dpkg("--purge", "stepdown".as_ref());
    assert!(!program.exists() && !share.exists());
}

#[test]
fn lintian_has_nothing_against_the_deb() {
    need!(can_pack());
    need!(runs("lintian", &["--version"], "lintian is not installed"));
    let deb = package(&format!("stepdown_VERSION-1_{DEBIAN}.deb"));
    // Some of its versions leave a file.
    let place = tempfile::tempdir().expect("a directory");
    let mut lintian = Command::new("lintian");
    lintian
        .args(["--fail-on", "error,warning"])
        .arg(deb)
        .env("TMPDIR", place.path());
    assert_eq!(done(&mut lintian), "");
}

#[test]
fn pip_installs_the_wheel_into_a_fresh_environment() {
    need!(can_pack());
    let why = "Python makes no environment: python3-venv is not installed";
    need!(runs("python3", &["-c", "import ensurepip, venv"], why));
    let place = tempfile::tempdir().expect("a directory");
    done(
        Command::new("python3")
            .args(["-m", "venv"])
            .arg(place.path()),
    );
    let wheels = fs::read_dir(packages()).expect("made").flatten();
    let mut wheels = wheels.filter(|file| file.path().extension() == Some("whl".as_ref()));
    let wheel = wheels.next().expect("a wheel").path();
    let pip = place.path().join("bin/pip");
    let options = [
        "install",
        "--no-index",
        "--isolated",
        "--no-cache-dir",
        "--disable-pip-version-check",
    ];
    done(Command::new(&pip).args(options).arg(wheel));
    does_the_main_job(&place.path().join("bin/stepdown"));
    let told = done(Command::new(&pip).args([
        "--disable-pip-version-check",
        "show",
        "--files",
        "stepdown",
    ]));
    for part in [
        VERSION,
        "MIT",
        "dist-info/LICENSE",
        "dist-info/THIRD-PARTY.txt",
    ] {
        assert!(told.contains(part), "{part} is not in\n{told}");
    }
}

/// A prefix of npm, into which packages are installed without a network.
struct Npm(TempDir);

impl Npm {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    #[track_caller]
    fn run(&self, words: &[&str], packages: &[&Path]) {
        let place = self.0.path();
        let mut npm = Command::new("npm");
        npm.args(words)
            .args([
                "--offline",
                "--no-audit",
                "--no-fund",
                "--no-update-notifier",
            ])
            .args(["--loglevel=error", "--prefix"])
            .arg(place)
            .args(packages)
            .env("HOME", place)
            .env("npm_config_cache", place.join("cache"))
            .current_dir(place);
        done(&mut npm);
    }

    fn program(&self) -> PathBuf {
        self.0.path().join("node_modules/.bin/stepdown")
    }

    fn main() -> PathBuf {
        package("stepdown-VERSION.tgz")
    }

    fn binary() -> PathBuf {
        package(&format!("stepdown-linux-{NODE}-VERSION.tgz"))
    }
}

fn has_npm() -> Result<(), String> {
    can_pack()?;
    runs("npm", &["--version"], "npm is not installed")
}

#[test]
fn npm_puts_the_binary_itself_into_its_bin() {
    need!(has_npm());
    let npm = Npm::new();
    npm.run(&["install"], &[&Npm::main(), &Npm::binary()]);
    does_the_main_job(&npm.program());
    let read = |path: &Path| fs::read(path).expect("installed");
    assert!(read(&npm.program()) == read(binary::under_test_static()));
}

#[test]
fn without_its_install_script_the_npm_package_executes_the_binary_or_says_the_way_out() {
    need!(has_npm());
    let npm = Npm::new();
    npm.run(
        &["install", "--ignore-scripts"],
        &[&Npm::main(), &Npm::binary()],
    );
    let can_exec = done(Command::new("node").args(["-p", "typeof process.execve"]));
    if can_exec.trim() == "function" {
        does_the_main_job(&npm.program());
        return;
    }
    let ended = Stepdown::new().program(npm.program()).shell("exit 7").run();
    ended
        .code(125)
        .logged(&["npm rebuild --ignore-scripts=false stepdown"]);
    npm.run(&["rebuild", "--ignore-scripts=false", "stepdown"], &[]);
    does_the_main_job(&npm.program());
}

/// As with --omit=optional, or a package of another processor from a shared node_modules.
#[test]
fn without_the_package_of_its_processor_the_npm_package_says_the_way_out() {
    need!(has_npm());
    let npm = Npm::new();
    npm.run(&["install"], &[&Npm::main()]);
    let ended = Stepdown::new().program(npm.program()).shell("exit 7").run();
    let way_out = format!("npm install stepdown-linux-{NODE}@{VERSION} && npm rebuild stepdown");
    ended
        .code(125)
        .logged(&["the package with the binary is missing", &way_out]);
    npm.run(&["install"], &[&Npm::binary()]);
    npm.run(&["rebuild", "stepdown"], &[]);
    does_the_main_job(&npm.program());
}

#[test]
fn the_archive_is_what_the_checksums_and_cargo_binstall_say() {
    need!(can_pack());
    let check = ["--check", "--strict", "--quiet", "SHA256SUMS"];
    done(
        Command::new("sha256sum")
            .args(check)
            .current_dir(packages()),
    );
    let filled = |key: &str| {
        let cargo = include_str!("../../Cargo.toml");
        let mut values = cargo
            .lines()
            .filter_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
        [
            ("repo", env!("CARGO_PKG_REPOSITORY")),
            ("version", VERSION),
            ("name", "stepdown"),
            ("target-arch", RUST),
            ("bin", "stepdown"),
        ]
        .iter()
        .fold(
            values
                .next()
                .expect("in Cargo.toml")
                .trim_matches('"')
                .to_owned(),
            |text, (name, value)| text.replace(&format!("{{ {name} }}"), value),
        )
    };
    let url = filled("pkg-url");
    let (_, name) = url.rsplit_once('/').expect("a URL");
    let archive = package(name);
    let place = tempfile::tempdir().expect("a directory");
    done(
        Command::new("tar")
            .arg("-xzf")
            .arg(archive)
            .arg("-C")
            .arg(place.path()),
    );
    let program = place.path().join(filled("bin-dir"));
    does_the_main_job(&program);
    let share = program.with_file_name("../share");
    has_manual_and_completions(
        &share,
        "man/man1/stepdown.1",
        "zsh/site-functions/_stepdown",
    );

    // The texts from which others build their packages name the same archive, and its checksum.
    let sums = fs::read_to_string(packages().join("SHA256SUMS")).expect("made");
    let line = sums
        .lines()
        .find(|line| line.ends_with(name))
        .expect("a checksum");
    let (sum, _) = line.split_once(' ').expect("a checksum");
    let read = |name: &str| fs::read_to_string(package(name)).expect("made");
    let formula = read("stepdown.rb");
    assert!(
        formula.contains(&format!("url \"{url}\"\n    sha256 \"{sum}\"")),
        "{formula}"
    );
    assert!(read("APKBUILD").contains(&format!("{RUST}: {sum}")));
    let sourced = format!(
        ". {} && echo \"$source $builddir\"",
        package("APKBUILD").display()
    );
    let told = done(
        Command::new("sh")
            .args(["-euc", &sourced])
            .env("CARCH", RUST)
            .env("srcdir", ""),
    );
    let top = name.trim_end_matches(".tar.gz");
    assert_eq!(told, format!("{url} /{top}\n"));
    if runs("ruby", &["--version"], "").is_ok() {
        done(
            Command::new("ruby")
                .args(["-wc"])
                .arg(package("stepdown.rb")),
        );
    } else {
        skip_part("ruby is not installed");
    }
}

#[test]
fn the_image_is_loaded_and_copied_from() {
    need!(can_pack());
    need!(docker::available());
    let file = package(&format!("stepdown-VERSION-image-{DEBIAN}.tar"));
    done(Command::new("docker").arg("load").arg("--input").arg(file));
    let image = package_image();
    let mount = format!("{}:/actor:ro", binary::actor().display());
    let ended = container(&image)
        .options(["--volume", &mount])
        .command(["/actor", "exit", "7"])
        .run();
    ended.code(7);
    let copied = Image::from_scratch("from-package")
        .file("/actor", binary::actor())
        .line(format!("COPY --from={image} /stepdown /stepdown"))
        .line(r#"ENTRYPOINT ["/stepdown", "--"]"#)
        .build();
    container(&copied)
        .command(["/actor", "exit", "7"])
        .run()
        .code(7);
}
