//! The binary under test may be one for another processor, which the kernel runs by an emulator, `STEPDOWN_RUN_BY`:
//! what shows through of it is made good here, once for all stories.
//!
//! qemu's user mode refuses PR_SET_CHILD_SUBREAPER (prctl(2)), which exec keeps. So the process is made one before, and
//! the warning that it will not be one, which then is wrong, does not count as said.

use std::env;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use nix::sys::prctl::set_child_subreaper;

use super::proc;

const WRONG: &str = "no subreaper: Invalid argument";

fn emulator() -> Option<&'static Path> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    let found = FOUND.get_or_init(|| env::var_os("STEPDOWN_RUN_BY").map(PathBuf::from));
    found.as_deref()
}

/// Is this `/proc/PID/exe` what runs the program?
pub(super) fn runs(program: &Path, exe: &str) -> bool {
    let exe = proc::file(exe);
    let is = |path: &Path| exe == proc::file(path);
    exe.is_some() && (is(program) || emulator().is_some_and(is))
}

/// Not for what is known by its path to be a program of this machine: a shell that runs the other one would keep its
/// orphans.
pub(super) fn is_needed(program: &Path) -> bool {
    // e_machine (elf(5)).
    let machine = |path: &Path| {
        let mut head = [0; 20];
        File::open(path).ok()?.read_exact(&mut head).ok()?;
        Some((head[18], head[19]))
    };
    emulator().is_some_and(|emulator| machine(program) != machine(emulator))
}

/// In a forked child.
pub(super) fn make_subreaper() -> std::io::Result<()> {
    set_child_subreaper(true).map_err(Into::into)
}

/// What was written, without the warning.
pub(super) fn without_warning(text: String) -> String {
    if emulator().is_none() || !text.contains(WRONG) {
        return text;
    }
    // As a line of the log: a document of `check` is one line, too.
    let is_told = |line: &&str| {
        let is_log = line.starts_with("stepdown: ") || line.starts_with("{\"time_ms\"");
        !(is_log && line.contains(WRONG))
    };
    text.split_inclusive('\n').filter(is_told).collect()
}

/// It hands the environment over in another order, which no program may rely on.
pub(crate) fn sort_variables(lines: &mut [&str]) {
    if emulator().is_some() {
        lines.sort_unstable();
    }
}
