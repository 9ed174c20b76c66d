//! What the README, the pages of `docs` and Dockerfile.example say works: every block of commands in them is run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::docker::{Image, container};
use crate::support::pages::{self, root};
use crate::support::{binary, docker, machine, need};

/// The blocks of all pages with this word behind the fence.
fn blocks(language: &str) -> Vec<String> {
    let pages = pages::all();
    let blocks = pages.iter();
    blocks
        .flat_map(|page| pages::blocks(&page.text, language))
        .collect()
}

/// A directory in which the binary under test is called `stepdown`.
fn path_with_stepdown() -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let link = directory.path().join("stepdown");
    std::os::unix::fs::symlink(binary::under_test(), link).expect("a link");
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", directory.path().display());
    (directory, path)
}

#[test]
fn every_block_of_commands_runs() {
    let (_directory, path) = path_with_stepdown();
    let blocks = blocks("sh");
    assert!(blocks.len() > 4, "{blocks:?}");
    // The tests do not start themselves again: whoever reads this test's result has run that block.
    for block in blocks.iter().filter(|block| *block != "cargo test") {
        // Cargo would put a binary of other features in the place of the one under test, while other stories run it;
        // scripts/newcomer runs the command as it stands.
        let block = block.replace("cargo run --", "stepdown");
        let run = || {
            Command::new("bash")
                .args(["-euo", "pipefail", "-c", &block])
                .current_dir(root())
                .env("PATH", &path)
                .output()
                .expect("bash")
        };
        // Times in it are for readers: on a machine that is busy a second may not suffice, but again and again it
        // is too short for what does not work only.
        let mut ran = run();
        for _ in 0..4 {
            if ran.status.success() {
                break;
            }
            ran = run();
        }
        let told = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{block}\n{}: {told}", ran.status);
    }
}

#[test]
fn the_configuration_files_are_read() {
    let files = blocks("toml");
    assert!(!files.is_empty());
    for text in files {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("stepdown.toml");
        fs::write(&path, &text).expect("our own file");
        let explained = Command::new(binary::under_test())
            .args(["explain".as_ref(), "--config".as_ref(), path.as_os_str()])
            .output()
            .expect("the binary under test");
        let told = String::from_utf8_lossy(&explained.stderr);
        assert!(explained.status.success(), "{text}\n{told}");
    }
}

#[test]
fn the_lines_for_a_dockerfile_make_an_image() {
    need!(docker::available());
    // Those of the README; others name programs that this image does not have.
    let recipes = pages::blocks(&pages::page("README.md"), "dockerfile");
    let lines = recipes.first().expect("a recipe");
    let lines = lines.replace("[\"myserver\"]", "[\"/actor\", \"exit\", \"7\"]");
    let context = tempfile::tempdir().expect("a temporary directory");
    copy(
        binary::under_test_static(),
        &context.path().join("stepdown"),
    );
    copy(binary::actor(), &context.path().join("actor"));
    let dockerfile = format!(
        "FROM scratch AS stepdown\nCOPY stepdown /stepdown\n\
         FROM scratch\nENV PATH=/usr/local/bin\nCOPY actor /actor\n{lines}\n"
    );
    let image = build(&dockerfile, context.path(), &[]);
    let ran = Command::new("docker")
        .args(["run", "--rm", "--network", "none", image.as_str()])
        .output()
        .expect("docker");
    assert_eq!(
        ran.status.code(),
        Some(7),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
}

/// There is no registry here, so the base images stand for what they would bring: the build stage gets
/// a `cargo` that hands out the static binary which the suite has built with the same script.
#[test]
fn dockerfile_example_builds_both_stages() {
    need!(docker::available());
    need!(binary::installed("/bin/busybox"));
    let context = tempfile::tempdir().expect("a temporary directory");
    for part in [
        "scripts",
        "src",
        "Cargo.toml",
        "Cargo.lock",
        "Dockerfile.example",
    ] {
        let copied = Command::new("cp")
            .args(["-r", &root().join(part).display().to_string()])
            .arg(context.path())
            .status()
            .expect("cp");
        assert!(copied.success());
    }
    let tools = tempfile::tempdir().expect("a temporary directory");
    let cargo = script(
        tools.path(),
        "cargo",
        "#!/bin/sh\nwhile [ \"$1\" != --target ]; do shift; done\n\
         mkdir -p target/$2/release\ncp /prebuilt target/$2/release/stepdown\n",
    );
    let rustc = script(tools.path(), "rustc", "#!/bin/sh\necho /sysroot\n");
    let base = with_shell(Image::from_scratch("build-stage"))
        .file("/bin/cargo", cargo)
        .file("/bin/rustc", rustc)
        .file("/prebuilt", binary::under_test_static())
        .line("ENV PATH=/bin")
        .build();
    let runtime = with_shell(Image::from_scratch("runtime-stage"))
        .line("ENV PATH=/bin:/usr/local/bin")
        .build();
    let dockerfile = fs::read_to_string(root().join("Dockerfile.example")).expect("our own file");
    let arguments = [
        format!("--build-arg=BUILD_IMAGE={base}"),
        format!("--build-arg=RUNTIME_IMAGE={runtime}"),
    ];
    let image = build(&dockerfile, context.path(), &arguments);
    let mut run = container(&image)
        .command(["sh", "-c", "echo hello; sleep 1000"])
        .start();
    run.says("hello").stop(&[]);
    run.wait()
        .code(143)
        .logged(&["stopping: TERM from outside the container"]);
}

/// The few programs that the build and the shell of the example call.
fn with_shell(image: Image) -> Image {
    let programs = [
        "/bin/sh",
        "/bin/cp",
        "/bin/dirname",
        "/bin/mkdir",
        "/bin/sleep",
        "/bin/uname",
    ];
    let image = image.file("/bin/busybox", "/bin/busybox");
    programs
        .into_iter()
        .fold(image, |image, program| image.link(program, "busybox"))
}

fn copy(from: &Path, to: &Path) {
    fs::copy(from, to).expect("a file to copy");
}

fn script(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    binary::script(&path, text, 0o755);
    path
}

/// Builds a Dockerfile; the tag is the image's own id.
fn build(dockerfile: &str, context: &Path, arguments: &[String]) -> String {
    let file = context.join("Dockerfile.under-test");
    // Every stage: what is made on the way is an image, too.
    let stages = dockerfile.lines().map(|line| {
        let is_stage = line.starts_with("FROM ");
        let label = is_stage.then(|| format!("LABEL {}\n", machine::label()));
        format!("{line}\n{}", label.unwrap_or_default())
    });
    fs::write(&file, stages.collect::<String>()).expect("a file of our own");
    let built = Command::new("docker")
        .args(["build", "--quiet", "--network", "none", "-f"])
        .arg(&file)
        .args(arguments)
        .arg(context)
        .env("DOCKER_BUILDKIT", "0")
        .output()
        .expect("docker");
    let told = String::from_utf8_lossy(&built.stderr);
    assert!(
        built.status.success(),
        "{told}\n{}",
        String::from_utf8_lossy(&built.stdout)
    );
    String::from_utf8_lossy(&built.stdout).trim().to_owned()
}
