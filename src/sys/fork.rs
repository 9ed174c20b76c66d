//! Runs a function in a forked copy of this process: what may block or resolve names stays out of
//! PID 1, and needs no helper program.

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::sys::signal::Signal as Nix;
use nix::unistd::{ForkResult, Pid, fork, setpgid};

use super::{descriptors, last_resort, reap, signals};
use crate::words::signal::Signal;

/// Runs `job` in a forked copy of this process that changes nothing: same descriptors. All signals are
/// blocked in it. What it returns is the exit code.
///
/// # Errors
/// The errno of fork(2).
pub(crate) fn copy(job: impl FnOnce() -> u8) -> Result<i32, i32> {
    let _blocked = signals::Blocked::all();
    // SAFETY: this process has one thread, so the copy holds no lock that another one had taken. It leaves by _exit.
    match unsafe { fork() } {
        Ok(ForkResult::Parent { child }) => Ok(child.as_raw()),
        Ok(ForkResult::Child) => super::exit(job()),
        Err(errno) => Err(errno as i32),
    }
}

/// Runs `job` in a forked copy of this process, the leader of a process group of its own with nothing
/// open above 2. It returns the exit code, and what it has to say besides; where no descriptor is left for that
/// only the code is heard. It dies with us, and of any signal but PIPE.
///
/// # Errors
/// The errno of fork(2).
pub(crate) fn ask(job: &dyn Fn() -> (u8, String)) -> Result<(i32, Option<Said>), i32> {
    let pipe = descriptors::with_room(|| Ok(descriptors::pipe_with(OFlag::O_NONBLOCK)?));
    let (read, write) = pipe.ok().unzip();
    let told = || {
        let (code, text) = job();
        if let Some(write) = &write {
            // It is empty, and takes that much whole.
            let text = text.as_bytes().get(..PIPE_BUF).unwrap_or(text.as_bytes());
            let _ = nix::unistd::write(write, text);
        }
        code
    };
    let pid = led(write.as_ref(), Box::new(told))?;
    Ok((pid, read.map(Said)))
}

/// Runs `look` in such a copy and waits for what it says, for `patience` at most.
///
/// # Errors
/// The errno of what was refused; `look` has not run.
pub(crate) fn look(patience: Duration, look: &dyn Fn() -> Vec<u8>) -> Result<Looked, i32> {
    let pipe = descriptors::pipe_in_any_case();
    let (read, write) = pipe.map_err(|error| error.raw_os_error().unwrap_or(0))?;
    let tell = || {
        let text = look();
        let mut rest = text.as_slice();
        while let Ok(count @ 1..) = nix::unistd::write(&write, rest) {
            rest = rest.get(count..).unwrap_or_default();
        }
        0
    };
    let pid = led(Some(&write), Box::new(tell))?;
    drop(write);
    let text = descriptors::read_within(&read, Instant::now() + patience);
    if !text.is_whole {
        return Ok(Looked::Late(pid));
    }
    // It has nothing left to do.
    reap::take_ending(pid);
    Ok(Looked::Said(text.bytes))
}

/// What a look that was waited for has come to.
pub(crate) enum Looked {
    Said(Vec<u8>),
    /// This copy is still looking.
    Late(i32),
}

/// What a copy has said, to be read once it has ended.
pub(crate) struct Said(OwnedFd);

/// A write of so much is done whole or not at all (pipe(7), PIPE_BUF).
const PIPE_BUF: usize = 4096;

impl Said {
    /// The text, if there is any. Nobody is waited for.
    pub(crate) fn read(self) -> Option<String> {
        let mut bytes = [0; PIPE_BUF];
        let length = nix::unistd::read(&self.0, &mut bytes).ok()?;
        let text = bytes.get(..length).filter(|text| !text.is_empty())?;
        Some(String::from_utf8_lossy(text).into_owned())
    }
}

fn led(open: Option<&OwnedFd>, job: Box<dyn FnOnce() -> u8 + '_>) -> Result<i32, i32> {
    // SAFETY: this process has one thread, so the copy holds no lock that another one had taken, and
    // all of the library is usable in it. Nothing of ours is dropped in it: it leaves by _exit.
    match unsafe { fork() } {
        Ok(ForkResult::Parent { child }) => {
            // Both sides do it, so that neither can be too early with a signal to the group.
            let _ = setpgid(child, child);
            Ok(child.as_raw())
        }
        Ok(ForkResult::Child) => {
            let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
            let _ = nix::sys::prctl::set_pdeathsig(Nix::SIGKILL);
            descriptors::close_all_but(open.iter().map(|open| open.as_raw_fd()).collect());
            descriptors::occupy_closed_streams();
            signals::block_only(&[Signal::PIPE]);
            last_resort::is_copy();
            super::exit(job())
        }
        Err(errno) => Err(errno as i32),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Option<String> {
        let (pid, said) = ask(&|| (3, text.to_owned())).unwrap();
        let ended = nix::sys::wait::waitpid(Pid::from_raw(pid), None);
        assert_eq!(
            ended,
            Ok(nix::sys::wait::WaitStatus::Exited(Pid::from_raw(pid), 3))
        );
        said.unwrap().read()
    }

    #[test]
    fn what_a_copy_says_is_heard_as_far_as_it_fits() {
        assert_eq!(said("why").as_deref(), Some("why"));
        assert_eq!(said(""), None);
        assert_eq!(
            said(&"x".repeat(2 * PIPE_BUF)).map(|text| text.len()),
            Some(PIPE_BUF)
        );
    }

    #[test]
    fn who_has_not_ended_is_not_waited_for() {
        let (pid, said) = ask(&|| {
            nix::unistd::pause();
            (0, "late".to_owned())
        })
        .unwrap();
        assert_eq!(said.unwrap().read(), None);
        signals::send(pid, Signal::KILL).unwrap();
        nix::sys::wait::waitpid(Pid::from_raw(pid), None).unwrap();
    }
}
