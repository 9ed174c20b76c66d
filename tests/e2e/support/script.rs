//! Runs a script of ours to its end, within a bound.

use std::path::Path;
use std::process::{Command, Stdio};

use nix::libc;
use nix::unistd::Pid;

use super::{BOUND, holds_within, proc};

/// What a script has told.
pub(crate) struct Told {
    pub(crate) code: Option<i32>,
    pub(crate) text: String,
    pub(crate) error: String,
}

pub(crate) fn command(name: &str) -> Command {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    piped(Command::new(folder.join(name)))
}

/// This text, which arguments can follow.
pub(crate) fn python(text: &str) -> Command {
    let mut command = Command::new("python3");
    command.args(["-c", text]);
    piped(command)
}

fn piped(mut command: Command) -> Command {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// What it has told at its end; a script that takes too long fails the story.
#[track_caller]
pub(crate) fn told(command: &mut Command) -> Told {
    let mut script = command.spawn().expect("a script of ours");
    let mut gone = || script.try_wait().expect("our own child").is_some();
    let ended = holds_within(BOUND * 6, &mut gone);
    if !ended {
        // It ends what it has started, and takes back its mounts.
        let _ = proc::kill(Pid::from_raw(script.id().cast_signed()), libc::SIGTERM);
    }
    let output = script.wait_with_output().expect("our own child");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(ended, "it takes too long: {error}{text}");
    let code = output.status.code();
    Told { code, text, error }
}
