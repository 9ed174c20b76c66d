//! What is left to do after a bug: forward signals and reap, until the child ends.
//!
//! The end of PID 1 is the end of the container, so a panic must not be the end of PID 1. Nothing of
//! the state that a panic may have left half-changed is used here but the child's pid.

use std::sync::atomic::{AtomicI32, Ordering};

use super::reap::{self, Reaped};
use super::{exit, signals, stderr};
use crate::signal::Signal;

/// The main child; 0 as long as there is none.
static CHILD: AtomicI32 = AtomicI32::new(0);

/// From now on a panic keeps the child, with its signals and its status, and loses everything else.
pub(crate) fn prepare(child: i32) {
    CHILD.store(child, Ordering::Relaxed);
    std::panic::set_hook(Box::new(|panic| {
        // What is said may itself be what fails, so it is said in one write, and no more than once.
        let child = CHILD.swap(0, Ordering::Relaxed);
        if child != 0 {
            let place = panic
                .location()
                .map(|at| (at.file(), at.line()))
                .unwrap_or_default();
            let line = format!(
                "stepdown: a bug at {}:{}: only forwarding signals from now on\n",
                place.0, place.1
            );
            stderr::write(line.as_bytes());
            keep_going(child);
        }
    }));
}

/// Forwards every signal and reaps every child until `child` has ended; exits with its status.
fn keep_going(child: i32) -> ! {
    loop {
        match reap::next(false) {
            Reaped::Ended { pid, status } if pid == child => exit(status.code()),
            // It was reaped before the panic, and its status is gone with it.
            Reaped::NoChild => exit(OWN_FAILURE),
            Reaped::Nothing => {
                if let Some(taken) = signals::take(None).filter(|t| t.signal != Signal::CHLD) {
                    let _ = signals::send(child, taken.signal);
                }
            }
            Reaped::Ended { .. } | Reaped::Stopped { .. } => {}
        }
    }
}

/// As in `main`.
const OWN_FAILURE: u8 = 125;

#[cfg(test)]
mod tests {
    use std::ffi::CString;
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::AsRawFd;
    use std::time::{Duration, Instant};

    use nix::sys::signal::{Signal as Nix, kill};
    use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
    use nix::unistd::Pid;

    use super::super::{fork, spawn};
    use super::*;

    #[test]
    fn after_a_panic_signals_are_forwarded_and_the_status_is_kept() {
        let (read, write) = nix::unistd::pipe().unwrap();
        let script = format!(
            // Not >&N: dash takes one digit, and the other tests of this process have descriptors, too.
            "trap 'exit 7' USR1; echo ready >/dev/fd/{}; while :; do sleep 0.01; done",
            write.as_raw_fd()
        );
        let argv = ["/bin/sh", "-c", &script];
        let argv: Vec<CString> = argv
            .iter()
            .map(|word| CString::new(*word).unwrap())
            .collect();
        let copy = fork::copy(|| {
            let inherited = signals::inherited();
            signals::block_all();
            let options = spawn::Options::default();
            let Ok(child) = spawn::spawn(&argv, None, &inherited, &options) else {
                return 1;
            };
            prepare(child);
            panic!("a bug");
        });
        let copy = Pid::from_raw(copy.unwrap());
        drop(write);
        let mut ready = [0; 6];
        File::from(read).read_exact(&mut ready).unwrap();
        kill(copy, Nix::SIGUSR1).unwrap();
        let bound = Instant::now() + Duration::from_secs(20);
        let status = loop {
            match waitpid(copy, Some(WaitPidFlag::WNOHANG)).unwrap() {
                WaitStatus::StillAlive => assert!(Instant::now() < bound),
                status => break status,
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        assert_eq!(status, WaitStatus::Exited(copy, 7));
    }
}
