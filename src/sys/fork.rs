//! Runs a function of ours in a process of its own: what may block, or needs a resolver, does not
//! happen in PID 1, and no program has to be there for it.

use nix::sys::signal::Signal as Nix;
use nix::unistd::{ForkResult, Pid, fork, setpgid};

use super::{descriptors, last_resort, signals};
use crate::words::signal::Signal;

/// Runs `job` in a forked copy of this process that changes nothing: same descriptors. All signals are
/// blocked in it. What it returns is the exit code.
///
/// # Errors
/// The errno of fork(2).
pub(crate) fn copy(job: impl FnOnce() -> u8) -> Result<i32, i32> {
    let _blocked = signals::Blocked::all();
    // SAFETY: as for `run`.
    match unsafe { fork() } {
        Ok(ForkResult::Parent { child }) => Ok(child.as_raw()),
        Ok(ForkResult::Child) => super::exit(job()),
        Err(errno) => Err(errno as i32),
    }
}

/// Runs `job` in a forked copy of this process, the leader of a process group of its own with nothing
/// open above 2. What it returns is the exit code; it dies with us, and of any signal but PIPE.
///
/// # Errors
/// The errno of fork(2).
pub(crate) fn run(job: impl FnOnce() -> u8) -> Result<i32, i32> {
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
            descriptors::close_from(3);
            descriptors::occupy_closed_streams();
            signals::block_only(&[Signal::PIPE]);
            last_resort::is_copy();
            super::exit(job())
        }
        Err(errno) => Err(errno as i32),
    }
}
