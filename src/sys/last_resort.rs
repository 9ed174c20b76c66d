//! What is left to do after a bug: forward signals and reap, until the child ends.
//!
//! The end of PID 1 is the end of the container, so a panic must not be the end of PID 1. Nothing of
//! the state that a panic may have left half-changed is used here but the child's pid and status.

use std::sync::atomic::{AtomicI32, Ordering};

use super::reap::{self, Reaped};
use super::{exit, signals, stderr};
use crate::record::ExitStatus;
use crate::words::signal::Signal;

/// The main child; 0 as long as there is none, `COPY` in a forked copy of us, which never has one.
static CHILD: AtomicI32 = AtomicI32::new(0);

const COPY: i32 = -1;

/// How it ended, as an exit code; below 0 as long as it lives. From then on its pid may be anybody's.
static STATUS: AtomicI32 = AtomicI32::new(-1);

/// From now on a panic leaves the child running, still forwards its signals and returns its status;
/// everything else is lost.
pub(crate) fn prepare(child: i32) {
    CHILD.store(child, Ordering::Relaxed);
    STATUS.store(-1, Ordering::Relaxed);
    std::panic::set_hook(Box::new(|panic| {
        // What is said may itself be what fails, so it is said in one write, and no more than once.
        let child = CHILD.swap(0, Ordering::Relaxed);
        if child != 0 {
            let status = u8::try_from(STATUS.load(Ordering::Relaxed)).ok();
            let place = panic
                .location()
                .map(|at| (at.file(), at.line()))
                .unwrap_or_default();
            let consequence = match status {
                _ if child == COPY => "this hook or look has failed",
                None => "only forwarding signals from now on",
                Some(_) => "the child has ended, going without the rest",
            };
            let line = format!(
                "stepdown: a bug at {}:{}: {consequence}\n",
                place.0, place.1
            );
            stderr::write(line.as_bytes());
            match status {
                _ if child == COPY => exit(OWN_FAILURE),
                None => keep_going(child),
                Some(status) => exit(status),
            }
        }
    }));
}

/// The child has been reaped.
pub(crate) fn child_ended(status: ExitStatus) {
    STATUS.store(status.code().into(), Ordering::Relaxed);
}

/// Whether this is a forked copy.
pub(crate) fn is_in_copy() -> bool {
    CHILD.load(Ordering::Relaxed) == COPY
}

/// To be called in a forked copy of this process: a panic then ends the copy alone.
pub(super) fn is_copy() {
    CHILD.store(COPY, Ordering::Relaxed);
}

/// Forwards every signal and reaps every child until `child` has ended; exits with its status.
fn keep_going(child: i32) -> ! {
    loop {
        match reap::next(false) {
            Reaped::Ended { pid, status } if pid == child => exit(status.code()),
            // It was reaped, and the panic came before that could be noted.
            Reaped::NoChild => exit(OWN_FAILURE),
            Reaped::Nothing => {
                if let Some(taken) = signals::take(None).filter(|t| t.signal != Signal::CHLD) {
                    let _ = signals::send(child, taken.signal);
                }
            }
            Reaped::Ended { .. } | Reaped::Stopped { .. } | Reaped::Continued { .. } => {}
        }
    }
}

/// As in `main`.
const OWN_FAILURE: u8 = 125;

#[cfg(test)]
mod tests {
    use std::ffi::{CString, OsString};
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::AsRawFd;
    use std::rc::Rc;
    use std::time::{Duration, Instant};

    use nix::sys::signal::{Signal as Nix, kill};
    use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
    use nix::unistd::Pid;

    use super::*;
    use crate::drive::World;
    use crate::kernel::Kernel;
    use crate::machine::{Action, Event};
    use crate::options::Settings;
    use crate::sys::{fork, spawn};

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
        assert_eq!(ended(copy), WaitStatus::Exited(copy, 7));
    }

    /// How the copy ends, if it does.
    fn ended(copy: Pid) -> WaitStatus {
        let bound = Instant::now() + Duration::from_secs(20);
        loop {
            match waitpid(copy, Some(WaitPidFlag::WNOHANG)).unwrap() {
                WaitStatus::StillAlive => assert!(Instant::now() < bound),
                status => return status,
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn after_the_childs_end_a_panic_ends_with_its_status() {
        // As PID 1 and as a subreaper there may well be others to wait for.
        let copy = fork::copy(|| {
            let inherited = signals::inherited();
            signals::block_all();
            let plan = Rc::new(Settings::default().plan().unwrap());
            let command = ["/bin/sh", "-c", "sleep 1000 >/dev/null 2>&1 & exit 7"];
            let command = command.into_iter().map(OsString::from).collect();
            let mut kernel = Kernel::new(plan, command, inherited);
            kernel.act(Action::Start);
            while !matches!(kernel.next(None), Event::ChildExited(_)) {}
            kernel.act(Action::Sweep(Signal::KILL));
            panic!("a bug");
        });
        let copy = Pid::from_raw(copy.unwrap());
        assert_eq!(ended(copy), WaitStatus::Exited(copy, 7));
    }

    #[test]
    fn the_child_that_serves_is_the_one_that_is_left() {
        let copy = fork::copy(|| {
            let inherited = signals::inherited();
            signals::block_all();
            let plan = Rc::new(Settings::default().plan().unwrap());
            let command = ["/bin/sleep", "1000"].map(OsString::from).to_vec();
            let mut kernel = Kernel::new(plan, command, inherited);
            kernel.act(Action::Start);
            let serving = CHILD.load(Ordering::Relaxed);
            kernel.act(Action::OpenBeside { generation: 2 });
            kernel.act(Action::Beside(Box::new(Action::Start)));
            let left = CHILD.load(Ordering::Relaxed);
            kernel.act(Action::Sweep(Signal::KILL));
            kernel.act(Action::Beside(Box::new(Action::Sweep(Signal::KILL))));
            u8::from(serving <= 0 || left != serving)
        });
        let copy = Pid::from_raw(copy.unwrap());
        assert_eq!(ended(copy), WaitStatus::Exited(copy, 0));
    }

    #[test]
    fn a_panic_in_a_call_is_no_success_of_it() {
        let copy = fork::copy(|| {
            prepare(1);
            child_ended(ExitStatus::Exited(0));
            let (call, _) = fork::ask(&|| panic!("a bug")).unwrap();
            match ended(Pid::from_raw(call)) {
                WaitStatus::Exited(_, 0) => 1,
                _ => 0,
            }
        });
        let copy = Pid::from_raw(copy.unwrap());
        assert_eq!(ended(copy), WaitStatus::Exited(copy, 0));
    }
}
