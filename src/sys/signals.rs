//! Signals in: blocked before anything else (`entry`), taken one by one from the kernel's queue.
//!
//! No handler is ever installed by an init. A handler costs a self-pipe and merges what the kernel keeps apart;
//! `rt_sigtimedwait` is one syscall per signal and keeps order, multiplicity and sender as far as the
//! kernel does. It also means that no disposition changes, so what was ignored when we were started
//! stays ignored for the child without any work.
//!
//! The raw syscalls are used because libc hides signals 32 and 33 from its own: with them the inherited
//! mask could be neither read nor restored exactly.

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::ptr;
use std::time::Duration;

use super::{credentials, entry};
use crate::record::Sender;
use crate::words::signal::Signal;

/// The size of the kernel's signal set, in bytes.
const SET_SIZE: usize = 8;

/// The state of signals that we were started with, and that the child gets back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inherited {
    mask: u64,
    /// Whether SIGCHLD was ignored: with that, no child could be waited for.
    child_ignored: bool,
    /// Whether there are handlers of ours for `ENDING` (`interrupts`).
    handlers: bool,
    /// Whether the terminal is not to stop it.
    in_background: bool,
}

/// The signals that ask a program to end, and that a terminal or a service manager sends.
pub(crate) const ENDING: [Signal; 4] = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM];

/// How many signals are taken before something else gets its turn.
const AT_ONCE: usize = 256;

/// What we were started with, before `entry` blocked every signal that can be blocked.
pub(crate) fn inherited() -> Inherited {
    Inherited {
        mask: entry::inherited_mask(),
        child_ignored: false,
        handlers: false,
        in_background: false,
    }
}

impl Inherited {
    /// For a process in the background of our terminal, which nobody would continue: TTIN and TTOU are ignored. So it may
    /// write to the terminal and change it, and its reads fail with EIO (setpgid(2), tcsetattr(3)). To block them is not
    /// enough: dash lets all signals through.
    pub(crate) fn in_background(self) -> Self {
        Self {
            in_background: true,
            ..self
        }
    }
}

fn set_mask(mask: u64) -> u64 {
    let mut old = 0_u64;
    // SAFETY: both sets are eight bytes that live through the call.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            ptr::from_ref(&mask),
            ptr::from_mut(&mut old),
            SET_SIZE,
        );
    }
    old
}

/// What `entry` does, for tests of code that relies on it.
#[cfg(test)]
pub(crate) fn block_all() {
    set_mask(u64::MAX);
}

/// Keeps all signals blocked while it lives.
pub(crate) struct Blocked(u64);

impl Blocked {
    /// Around a fork or a clone, so that no handler of ours runs in the new process.
    pub(crate) fn all() -> Self {
        Self(set_mask(u64::MAX))
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        set_mask(self.0);
    }
}

/// Lets every signal through but these, in a forked copy of this process.
pub(crate) fn block_only(signals: &[Signal]) {
    let bit = |signal: &Signal| 1 << (signal.number() - 1);
    set_mask(signals.iter().map(bit).fold(0, |set, bit: u64| set | bit));
}

impl Inherited {
    /// Makes children waitable: an inherited SIG_IGN for SIGCHLD would let the kernel reap them
    /// (waitpid(2), NOTES).
    pub(crate) fn make_children_waitable(&mut self) {
        // A run of `check` does it a second time.
        if is_ignored(Signal::CHLD) {
            self.child_ignored = true;
            set_disposition(Signal::CHLD, libc::SIG_DFL);
        }
    }

    /// Lets `ENDING` through, for which handlers have been installed.
    pub(crate) fn let_handlers_run(&mut self) {
        self.handlers = true;
        let bits = ENDING.map(|signal| 1_u64 << (signal.number() - 1));
        set_mask(!bits.into_iter().fold(0, |all, bit| all | bit));
    }

    /// Takes the handlers away, in a copy of this process in which all signals are blocked.
    pub(crate) fn remove_handlers(&mut self) {
        if self.handlers {
            remove_handlers();
        }
        self.handlers = false;
    }

    /// Gives the state back, in a child just before exec. Async-signal-safe.
    pub(crate) fn restore(&self) {
        if self.handlers {
            remove_handlers();
        }
        if self.child_ignored {
            set_disposition(Signal::CHLD, libc::SIG_IGN);
        }
        if self.in_background {
            set_disposition(Signal::TTIN, libc::SIG_IGN);
            set_disposition(Signal::TTOU, libc::SIG_IGN);
        }
        set_mask(self.mask);
    }
}

/// Drops a stop that is pending from the terminal. In a child that shares memory with its waiting
/// parent: stopped before exec, it would hold up the parent, too. Async-signal-safe.
pub(crate) fn discard_terminal_stops() {
    for signal in [Signal::TSTP, Signal::TTIN, Signal::TTOU] {
        // Setting a signal to be ignored drops what is pending (sigaction(2)).
        if !is_ignored(signal) {
            set_disposition(signal, libc::SIG_IGN);
            set_disposition(signal, libc::SIG_DFL);
        }
    }
}

/// Whether the signal is ignored. As we never change that, it is what we were started with.
pub(crate) fn is_ignored(signal: Signal) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null new action only reads; the old one is fully written or stays zero.
    let action = unsafe {
        libc::sigaction(signal.number(), ptr::null(), action.as_mut_ptr());
        action.assume_init()
    };
    action.sa_sigaction == libc::SIG_IGN
}

/// Puts the dispositions of `ENDING` back: a signal that is ignored was ignored at the start, and after
/// exec all others have the default action. Async-signal-safe.
fn remove_handlers() {
    for signal in ENDING.into_iter().filter(|signal| !is_ignored(*signal)) {
        set_disposition(signal, libc::SIG_DFL);
    }
}

fn set_disposition(signal: Signal, disposition: libc::sighandler_t) {
    // SAFETY: an all-zero sigaction is valid, and the disposition is SIG_IGN or SIG_DFL.
    unsafe {
        let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
        action.sa_sigaction = disposition;
        libc::sigaction(signal.number(), &raw const action, ptr::null_mut());
    }
}

/// A signal taken from the queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Taken {
    pub(crate) signal: Signal,
    pub(crate) sender: Sender,
}

/// Waits for the next signal, at most this long; `None` without one.
pub(crate) fn take(timeout: Option<Duration>) -> Option<Taken> {
    take_of(u64::MAX, timeout)
}

/// Takes this signal from the queue; false where it is not pending.
pub(crate) fn drop_pending(signal: Signal) -> bool {
    await_only(signal, Duration::ZERO)
}

/// Waits for this signal, while all others stay pending; false where it does not come in time.
pub(crate) fn await_only(signal: Signal, timeout: Duration) -> bool {
    take_only(signal, timeout).is_some()
}

/// Waits for this signal at most this long, and takes it; all others stay pending.
pub(crate) fn take_only(signal: Signal, timeout: Duration) -> Option<Taken> {
    take_of(1 << (signal.number() - 1), Some(timeout))
}

/// Takes what is pending, but not without end: whoever sends may be faster. The kernel gives the lowest number first, so
/// what a terminal sends comes before all that can be pending more than once (signal(7)). Async-signal-safe.
pub(crate) fn take_pending() -> impl Iterator<Item = Taken> {
    std::iter::from_fn(|| take(Some(Duration::ZERO))).take(AT_ONCE)
}

fn take_of(set: u64, timeout: Option<Duration>) -> Option<Taken> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let limit = timeout.map(|timeout| libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        // Nanoseconds are below 10^9 and fit whatever type libc has for them.
        tv_nsec: timeout.subsec_nanos() as _,
    });
    let limit = limit.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: set, info and timeout live through the call; a null timeout waits without end.
    let (number, info) = unsafe {
        let number = libc::syscall(
            libc::SYS_rt_sigtimedwait,
            ptr::from_ref(&set),
            info.as_mut_ptr(),
            limit,
            SET_SIZE,
        );
        (number, info.assume_init())
    };
    // EAGAIN: time is up. EINTR: we were stopped and continued.
    let signal = c_int::try_from(number).ok().and_then(Signal::from_number)?;
    Some(Taken {
        signal,
        sender: sender(&info),
    })
}

fn sender(info: &libc::siginfo_t) -> Sender {
    match info.si_code {
        libc::SI_USER | libc::SI_QUEUE | libc::SI_TKILL | libc::SI_MESGQ => {
            // SAFETY: for these codes the kernel fills in si_pid (sigaction(2)).
            match unsafe { info.si_pid() } {
                0 => Sender::Outside,
                pid => Sender::Pid(pid),
            }
        }
        _ => Sender::Kernel,
    }
}

/// Sends a signal to one process, or to a process group when `pid` is negative; where that is refused, as their user.
///
/// # Errors
/// The errno of kill(2).
pub(crate) fn send(pid: i32, signal: Signal) -> Result<(), i32> {
    // SAFETY: kill touches no memory of ours.
    as_its_user(pid, &|| match unsafe { libc::kill(pid, signal.number()) } {
        0 => Ok(()),
        _ => Err(super::errno()),
    })
}

/// Does it as ourselves and, where that is refused, as the user of the process (of the leader of a group when `pid` is
/// negative).
pub(super) fn as_its_user(pid: i32, send: &dyn Fn() -> Result<(), i32>) -> Result<(), i32> {
    match send() {
        // -1 is everybody (kill(2)).
        Err(libc::EPERM) if pid.abs() > 1 => {
            let sent = credentials::with_real_user_of(pid.abs(), send);
            sent.unwrap_or(Err(libc::EPERM))
        }
        sent => sent,
    }
}

/// Sends a signal where nothing depends on its arrival. Who is gone already needs none; any other refusal is a
/// diagnostic.
pub(crate) fn send_if_there(pid: i32, signal: Signal) {
    if let Err(errno) = send(pid, signal)
        && errno != libc::ESRCH
    {
        tracing::warn!("{signal} to {pid}: {}", super::error_text(errno));
    }
}

/// Whether there is such a process, or group when `pid` is negative; zombies are there.
pub(crate) fn is_there(pid: i32) -> bool {
    // SAFETY: kill touches no memory of ours, and signal 0 is sent to nobody.
    unsafe { libc::kill(pid, 0) == 0 || super::errno() != libc::ESRCH }
}

/// Whether nobody is in this process group, so that its number may become that of another one.
pub(crate) fn is_empty(group: i32) -> bool {
    !is_there(-group)
}

/// Stops this process or its whole group by this signal, so that a parent that waits for it sees the
/// same one.
pub(crate) fn stop_by(signal: Signal, whole_group: bool) {
    let signal = if is_ignored(signal) {
        Signal::STOP
    } else {
        signal
    };
    let own_pid = i32::try_from(std::process::id()).unwrap_or(0);
    // 0 is our own group (kill(2)).
    let _ = send(if whole_group { 0 } else { own_pid }, signal);
    // All but STOP have been blocked until now.
    let blocked = set_mask(!(1 << (signal.number() - 1)));
    set_mask(blocked);
}

/// Ends this process by this signal, so that a parent that waits for it sees that signal. Returns
/// where the signal does not end it: it is ignored, or we are PID 1.
pub(crate) fn die_of(signal: Signal) {
    let own_pid = i32::try_from(std::process::id()).unwrap_or(0);
    let _ = send(own_pid, signal);
    set_mask(!(1 << (signal.number() - 1)));
}

/// Has the kernel send us this signal when our parent dies (PR_SET_PDEATHSIG); every number is a valid one.
pub(crate) fn ask_for_parent_death(signal: Signal) {
    // SAFETY: the call touches no memory of ours.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal.number()) };
}

/// A descriptor that is readable while a signal is pending (signalfd(2)).
///
/// # Errors
/// The errno of signalfd(2).
pub(crate) fn pending_descriptor() -> std::io::Result<std::os::fd::OwnedFd> {
    let all = u64::MAX;
    let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
    // SAFETY: the set lives through the call.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_signalfd4,
            -1,
            ptr::from_ref(&all),
            SET_SIZE,
            flags,
        )
    };
    match c_int::try_from(fd) {
        // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
        Ok(fd) if fd >= 0 => Ok(unsafe { std::os::fd::FromRawFd::from_raw_fd(fd) }),
        _ => Err(std::io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_without_end_do_not_hold_up_a_start() {
        block_all();
        // To this thread alone: the other tests have not blocked it.
        let more = AT_ONCE + 10;
        for _ in 0..more {
            // SAFETY: raise touches no memory of ours.
            unsafe { libc::raise(libc::SIGRTMIN()) };
        }
        let interrupt = Signal::INT;
        // SAFETY: as above.
        unsafe { libc::raise(interrupt.number()) };
        let taken: Vec<Signal> = take_pending().map(|taken| taken.signal).collect();
        assert_eq!((taken.len(), taken[0]), (AT_ONCE, interrupt));
        assert_eq!(take_pending().count(), more + 1 - AT_ONCE);
    }
}
