//! What cannot be started: told in one line that names the file, what is wrong with it, and the way out.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::support::skipped::skip;
use crate::support::{Mode, Stepdown, binary, both};

/// Asserts that the command is not started, that one line says so, and that these parts are in it.
#[track_caller]
fn refused(stepdown: Stepdown, code: i32, parts: &[&str]) {
    let ended = stepdown.run();
    ended.code(code).logged(parts).nothing_left();
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.told());
    assert!(ended.stderr.starts_with("stepdown: "), "{}", ended.told());
    assert_eq!(ended.stdout, "");
}

/// A directory with files to be executed.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn add(&self, name: &str, content: &[u8], rights: u32) -> PathBuf {
        let written = tempfile::NamedTempFile::new().expect("a file");
        fs::write(written.path(), content).expect("room for it");
        let path = self.0.path().join(name);
        // Written by another process: a fork of another story cannot hold it open.
        binary::install(written.path(), &path, rights);
        path
    }

    fn script(&self, name: &str, text: &str) -> PathBuf {
        self.add(name, text.as_bytes(), 0o755)
    }
}

const OWN_MACHINE: u8 = if cfg!(target_arch = "aarch64") {
    183
} else {
    62
};
const OTHER_MACHINE: u8 = if cfg!(target_arch = "aarch64") {
    62
} else {
    183
};

/// A program of which there is nothing but the header and the name of its loader.
fn elf(machine: u8, loader: &str) -> Vec<u8> {
    let mut elf = vec![0_u8; 64 + 56];
    let mut put = |at: usize, bytes: &[u8]| elf[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"\x7fELF\x02\x01\x01");
    put(16, &[2, 0, machine]);
    put(20, &[1]);
    // One program header of 56 bytes behind the 64 of this one.
    put(32, &[64]);
    put(52, &[64, 0, 56, 0, 1]);
    let length = u8::try_from(loader.len() + 1).expect("a short name");
    put(64, &[3, 0, 0, 0, 4]);
    put(64 + 8, &[64 + 56]);
    put(64 + 32, &[length]);
    put(64 + 40, &[length]);
    elf.extend_from_slice(loader.as_bytes());
    elf.push(0);
    elf
}

fn run(mode: Mode, path: &Path) -> Stepdown {
    Stepdown::in_mode(mode).child([path])
}

#[test]
fn a_missing_interpreter_is_named() {
    both(|mode| {
        let files = Files::new();
        let script = files.script("run.sh", "#!/no/such/python3 -u\n");
        let parts = [
            "run.sh: its interpreter /no/such/python3 is not found: install it",
            "in the first line of the script",
        ];
        refused(run(mode, &script), 127, &parts);
        let program = files.add("server", &elf(OWN_MACHINE, "/no/such/ld.so"), 0o755);
        let parts = [
            "server: its loader /no/such/ld.so is not found: take a base image that has this C library",
        ];
        refused(run(mode, &program), 127, &parts);
    });
}

#[test]
fn a_script_of_another_system_is_told_by_its_line_ends() {
    both(|mode| {
        let files = Files::new();
        let script = files.script("run.sh", "#!/bin/sh\r\necho started\r\n");
        let parts = [
            "its interpreter \"/bin/sh\\r\" is not found",
            "end with CR LF; save it with LF (sed -i 's/\\r$//' ",
        ];
        refused(run(mode, &script), 127, &parts);
    });
}

#[test]
fn a_program_for_another_machine_is_no_script() {
    both(|mode| {
        let files = Files::new();
        let other = files.add("other", &elf(OTHER_MACHINE, "/lib/ld.so"), 0o755);
        let own = if OWN_MACHINE == 62 { "amd64" } else { "arm64" };
        let theirs = if OWN_MACHINE == 62 { "arm64" } else { "amd64" };
        let told = format!("it is a program for {theirs}, and this machine is {own}");
        let way_out = format!("--platform linux/{own}");
        refused(
            run(mode, &other),
            126,
            &["other: cannot be executed: ", &told, &way_out],
        );
        // A hook, and a step of the ladder, are no scripts either.
        let path = other.display().to_string();
        let hook = Stepdown::in_mode(mode).args(["--pre-start", &path]);
        let ended = hook.child(["echo", "started"]).run();
        ended
            .code(125)
            .logged(&["pre-start hook", &told])
            .never_said("started");
        // Nor is what is not text, or what it says reads it.
        let cut = files.add("cut", b"\x7fELF", 0o755);
        refused(run(mode, &cut), 126, &["cut: cannot be executed: "]);
        let exe = files.add("run.exe", b"MZ\x90\0\x03", 0o755);
        let told = "it is neither a program nor a script that this machine can run";
        refused(run(mode, &exe), 126, &[told]);
        let text = format!("#!{path}\necho started\n");
        let script = files.script("script", &text);
        let parts = [path.as_str(), "the interpreter is a program for"];
        refused(run(mode, &script), 126, &parts);
    });
}

/// As with execvp(3): what has no first line that names an interpreter is for the shell.
#[test]
fn a_script_without_an_interpreter_is_still_for_the_shell() {
    both(|mode| {
        let files = Files::new();
        for text in ["echo started; exit 3\n", "#!\necho started; exit 3\n"] {
            let ended = run(mode, &files.script("run", text)).run();
            ended.code(3).said("started").was_silent();
        }
        run(mode, &files.script("empty", ""))
            .run()
            .code(0)
            .was_silent();
    });
}

#[test]
fn a_directory_is_told_from_a_file_that_is_not_executable() {
    both(|mode| {
        let files = Files::new();
        let directory = files.0.path();
        let told = "cannot be executed: it is a directory: name a program";
        refused(run(mode, directory), 126, &[told]);
        let plain = files.add("plain", b"text", 0o644);
        let way_out = format!(
            "chmod +x {} (in a Dockerfile: COPY --chmod=755)",
            plain.display()
        );
        let parts = [
            "plain: cannot be executed: it is not executable: ",
            &way_out,
        ];
        refused(run(mode, &plain), 126, &parts);
        // Along PATH it is named by where it was found.
        let named = Stepdown::in_mode(mode).child(["plain"]);
        let path = format!("{}:/usr/bin:/bin", directory.display());
        let told = format!(
            "plain: cannot be executed: {} is not executable",
            plain.display()
        );
        refused(named.env("PATH", path), 126, &[&told]);
        let fifo = directory.join("fifo");
        let rights = nix::sys::stat::Mode::from_bits_truncate(0o755);
        nix::unistd::mkfifo(&fifo, rights).expect("a FIFO");
        refused(run(mode, &fifo), 126, &["it is no regular file"]);
        let script = files.script("script", &format!("#!{}\n", plain.display()));
        let told = format!("the interpreter {} is not executable", plain.display());
        refused(run(mode, &script), 126, &[&told]);
        let link = directory.join("link");
        symlink("/no/such/target", &link).expect("a link");
        let told = "link: not found: it is a link to /no/such/target, which is not there";
        refused(run(mode, &link), 127, &[told]);
        let under_a_file = plain.join("program");
        refused(run(mode, &under_a_file), 126, &["Not a directory"]);
    });
}

#[test]
fn a_file_that_the_user_may_not_execute_is_told_with_its_mode() {
    if !nix::unistd::geteuid().is_root() {
        skip("only root can start it as another user");
        return;
    }
    let files = Files::new();
    let all = fs::Permissions::from_mode(0o755);
    fs::set_permissions(files.0.path(), all).expect("it is ours");
    let own = files.add("own", b"#!/bin/sh\n", 0o700);
    let start = Stepdown::new().args(["--user", "65534"]).child([&own]);
    let told = "own: cannot be executed: Permission denied: it has mode 700 and belongs to 0:0";
    refused(start, 126, &[told]);
}

#[test]
fn a_command_that_is_not_found_shows_the_way_out() {
    for (command, parts) in [
        (
            &["echo hi"][..],
            &[
                "\"echo hi\": not found: it was quoted as one word; write -- echo hi, or sh -c 'echo hi'",
            ][..],
        ),
        (
            &["cd /app && ./run"],
            &["it was quoted as one word; write sh -c 'cd /app && ./run'"],
        ),
        (
            &["--grace", "2s", "true"],
            &[
                "--grace: not found: options of stepdown stand before --",
                "where an image's ENTRYPOINT ends with --, set the variable STEPDOWN_GRACE=2s",
            ],
        ),
        (
            &["--grace=2s", "true"],
            &["set the variable STEPDOWN_GRACE=2s"],
        ),
        (
            &["--no-kill", "true"],
            &["set the variable STEPDOWN_NO_KILL=1"],
        ),
        (&["-e", "143", "true"], &["STEPDOWN_SUCCESS_EXIT=143"]),
        (
            &["--help"],
            &[
                "--help: not found: options of stepdown stand before --",
                "--entrypoint",
            ],
        ),
        (
            &["cd", "/app"],
            &["cd: not found: it is a word of the shell: write sh -c 'cd ...'"],
        ),
        (
            &["SIGTERM", "server"],
            &["SIGTERM: not found: it is a signal: write --stop-signal SIGTERM"],
        ),
        (
            &["exec", "nginx"],
            &["it is a word of the shell: write sh -c 'exec ...'"],
        ),
        (
            &["LEVEL=1", "server"],
            &["only a shell sets variables so: write env LEVEL=1 COMMAND"],
        ),
        (
            &[""],
            &["\"\": not found: the word is empty, as where a variable is not set"],
        ),
        (&["/no such/program"], &["\"/no such/program\": not found"]),
    ] {
        refused(Stepdown::new().child(command.iter().copied()), 127, parts);
    }
    let files = Files::new();
    files.script("here.sh", "#!/bin/sh\n");
    for start in [
        Stepdown::new().dir(files.0.path()),
        Stepdown::new().args([format!("--workdir={}", files.0.path().display())]),
    ] {
        let told = "here.sh: not found: it is in the working directory: write ./here.sh";
        refused(start.child(["here.sh"]), 127, &[told]);
    }
}

/// Not a word is said about a program that is there, whatever its name is.
#[test]
fn a_command_with_an_odd_name_runs() {
    let files = Files::new();
    let path = files.0.path().display().to_string();
    for name in ["--grace", "--help", "echo hi", "A=b", "cd", "explian"] {
        files.script(name, "#!/bin/sh\necho ran \"$1\"\n");
        let start = Stepdown::new().env("PATH", format!("{path}:/usr/bin:/bin"));
        let ended = start.child([name, "2s"]).run();
        ended.code(0).said("ran 2s").was_silent();
    }
}

#[test]
fn a_step_that_stayed_unquoted_is_told_from_a_command() {
    for words in [
        &["--ladder", "exec=nginx", "-s", "quit", "--", "true"][..],
        &["--pre-stop", "no-such-hook", "http://a/", "--", "true"],
    ] {
        let parts = [
            "not found: the command begins at the first word that is neither an option nor its value",
            "quote a value that holds blanks, as --ladder 'exec=nginx -s quit'",
        ];
        refused(Stepdown::new().args(words.iter().copied()), 127, &parts);
    }
}

#[test]
fn what_a_hook_cannot_start_is_told_as_well() {
    let files = Files::new();
    let script = files.script("hook.sh", "#!/bin/sh\r\n");
    let script = script.display().to_string();
    for (hook, told) in [
        ("no-such-hook", "failed: no-such-hook: not found"),
        (
            "cd /app",
            "failed: cd: not found: it is a word of the shell: write sh -c 'cd ...'",
        ),
        (&script, "save it with LF"),
    ] {
        let ended = Stepdown::new()
            .args(["--pre-start", hook])
            .child(["true"])
            .run();
        ended.code(125).logged(&[told]);
    }
}
