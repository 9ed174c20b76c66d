//! Starts a process exactly as it would have been started without us, and knows when exec has worked.
//!
//! The child is made by clone(CLONE_VM | CLONE_VFORK): it borrows our memory and we wait until it has
//! called exec or ended. So there is no page table to copy, no pipe for the error (it writes it into our
//! memory), and no moment at which we could signal a child that is still ourselves. Two rules follow:
//! between clone and exec the child neither allocates nor takes a lock, and it writes only to its own
//! stack and to `ExecAttempt`.
//!
//! Where exec itself may hang (a program on a file system that does not answer), and we must not, the child is a
//! plain copy instead, which tells the error through a pipe, and is waited for only so long.
//!
//! qemu's user mode (`docker run --platform`) makes a fork of it (linux-user/syscall.c, do_fork): the parent goes on at
//! once and never sees what the child writes. There the child itself says why exec has failed.
//!
//! posix_spawn and std's Command are not used: they reset SIGPIPE, touch signals 32 and 33 and have no
//! fallback to /bin/sh.

mod copy;
mod dumpable;
mod parent;
mod script;
mod search;

use std::ffi::{CStr, CString, OsStr, OsString, c_char, c_int, c_void};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering};
use std::time::Duration;

use super::descriptors;
use super::signals::{self, Inherited};
use crate::plan::Identity;
use dumpable::Dumpable;
use parent::is_waited_for;
use script::is_for_a_shell;
use search::candidates;

/// What the new process starts with; everything else it inherits.
#[derive(Default)]
pub(crate) struct Options<'a> {
    /// Its environment; `None` is our own, byte for byte.
    pub(crate) environment: Option<&'a [CString]>,
    /// Leader of a process group of its own.
    pub(crate) own_group: bool,
    /// Shares our terminal: a stop that is pending from there is dropped before exec.
    pub(crate) on_terminal: bool,
    pub(crate) stdin: Option<RawFd>,
    pub(crate) stdout: Option<RawFd>,
    /// Which of its standard streams are /dev/null, where there is one.
    pub(crate) null: Null,
    /// Closes every descriptor above 2 first.
    pub(crate) close_above_stderr: bool,
    pub(crate) passed: Passed<'a>,
    pub(crate) directory: Directory<'a>,
    pub(crate) identity: Option<&'a Identity>,
    pub(crate) no_new_privs: bool,
    /// PID 1 of a PID namespace of its own, with a /proc that shows it (pid_namespaces(7)).
    pub(crate) own_namespaces: bool,
    pub(crate) cgroup: Option<CgroupEntry<'a>>,
    /// Exec is waited for at most so long, if there is a descriptor to be told by. Whoever has not come to it then counts
    /// as started: if it fails later, that is told by its exit code alone, 127 or 126.
    pub(crate) patience: Option<Duration>,
    /// Tells why no process was started, in a copy of this process whose parent cannot know; its exit code.
    pub(crate) tell_in_copy: Option<&'a dyn Fn(&Failure) -> u8>,
}

/// A cgroup that the new process enters. If that is refused, it is started all the same.
#[derive(Clone, Copy)]
pub(crate) struct CgroupEntry<'a> {
    /// The cgroup.procs of it.
    pub(crate) procs: RawFd,
    /// Why it could not enter: the errno.
    pub(crate) refused: &'a AtomicI32,
}

/// What the new process finds one after the other at the numbers from this one on. Ours lie above all of them.
#[derive(Clone, Copy, Default)]
pub(crate) struct Passed<'a> {
    pub(crate) from: RawFd,
    pub(crate) descriptors: &'a [RawFd],
}

/// Which standard streams are /dev/null.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Null {
    #[default]
    None,
    /// There is nothing to read.
    Input,
    /// And what is written is thrown away.
    All,
}

/// The working directory of the new process.
#[derive(Clone, Copy, Default)]
pub(crate) enum Directory<'a> {
    #[default]
    Inherited,
    Path(&'a CStr),
    Descriptor(RawFd),
}

/// Why no process was started: what failed, on which path, and the errno.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Failure {
    pub(crate) stage: SetupStep,
    pub(crate) errno: i32,
}

/// What was being done when it failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SetupStep {
    Clone,
    Namespaces,
    Stdin,
    Directory,
    Sockets,
    NoNewPrivs,
    Groups,
    Group,
    User,
    Exec,
}

const STAGES: [SetupStep; 10] = [
    SetupStep::Clone,
    SetupStep::Namespaces,
    SetupStep::Stdin,
    SetupStep::Directory,
    SetupStep::Sockets,
    SetupStep::NoNewPrivs,
    SetupStep::Groups,
    SetupStep::Group,
    SetupStep::User,
    SetupStep::Exec,
];

/// What the child reads and writes while it shares our memory. The fields it writes are atomics only
/// because Rust wants shared writes to be; we are suspended meanwhile.
struct ExecAttempt<'a> {
    options: &'a Options<'a>,
    inherited: &'a Inherited,
    paths: &'a [u8],
    /// The paths are candidates along PATH, not what was asked for itself.
    searched: bool,
    argv: &'a [*const c_char],
    /// `/bin/sh PATH ARGS...`; PATH is filled in where the kernel says ENOEXEC.
    script_argv: &'a mut [*const c_char],
    envp: *const *const c_char,
    /// The digits of `NAMES_US` in our copy of the environment.
    own_pid: [*mut c_char; NAMES_US.len()],
    stage: AtomicU8,
    errno: AtomicI32,
    /// Where a plain copy tells both; closed by exec.
    failure_to: Option<RawFd>,
}

/// Room for the child until exec, and for `tell_in_copy`, which took up to 11 KiB without optimization. It lies
/// on the heap, where only the pages that are used cost memory; as a local it would be touched page by page, all
/// of it.
#[repr(align(16))]
struct Stack {
    _room: [MaybeUninit<u8>; 32 * 1024],
}

/// Starts `argv`; returns once exec has worked.
///
/// # Errors
/// What failed, and the errno; nothing of the attempt is left.
pub(crate) fn spawn(
    argv: &[CString],
    path: Option<&OsStr>,
    inherited: &Inherited,
    options: &Options<'_>,
) -> Result<i32, Failure> {
    let program = argv.first().map_or(&b""[..], |program| program.as_bytes());
    let paths = candidates(program, path);
    let argv: Vec<*const c_char> = pointers(argv);
    let mut script_argv = Vec::with_capacity(argv.len() + 2);
    script_argv.extend([c"/bin/sh".as_ptr(), ptr::null()]);
    script_argv.extend(argv.iter().skip(1));
    let environment: Option<Vec<*const c_char>> = options.environment.map(pointers);
    let envp = environment
        .as_ref()
        .map_or_else(super::environment::as_is, |list| list.as_ptr());
    let own_pid = NAMES_US.map(|name| digits(options.environment.unwrap_or_default(), name));
    let mut attempt = ExecAttempt {
        options,
        inherited,
        paths: &paths,
        searched: !program.contains(&b'/'),
        argv: &argv,
        script_argv: &mut script_argv,
        envp,
        own_pid,
        stage: AtomicU8::new(0),
        errno: AtomicI32::new(0),
        failure_to: None,
    };
    // Where no descriptor is to be had exec is waited for.
    let pipe = options.patience.map(|_| descriptors::pipe_in_any_case());
    let pipe = pipe.and_then(Result::ok);
    let (failure_from, failure_to) = pipe.unzip();
    attempt.failure_to = failure_to.as_ref().map(AsRawFd::as_raw_fd);
    let mut stack = Box::<Stack>::new_uninit();
    let top = stack.as_mut_ptr().wrapping_add(1);
    let mut flags = libc::SIGCHLD;
    if failure_to.is_none() {
        flags |= libc::CLONE_VM | libc::CLONE_VFORK;
    }
    if options.own_namespaces {
        flags |= libc::CLONE_NEWPID | libc::CLONE_NEWNS;
    }
    let dumpable = Dumpable::now();
    // SAFETY: `child` keeps to the rules of this module's second paragraph; its stack is its own, and
    // CLONE_VFORK keeps stack and attempt alive until it no longer needs them. A plain copy has its own of all.
    let pid = unsafe {
        libc::clone(
            child,
            top.cast(),
            flags,
            ptr::from_mut(&mut attempt).cast::<c_void>(),
        )
    };
    if options.identity.is_some() {
        dumpable.restore();
    }
    if pid == -1 {
        return Err(Failure {
            stage: SetupStep::Clone,
            errno: super::errno(),
        });
    }
    drop(failure_to);
    if let (Some(from), Some(patience)) = (failure_from, options.patience)
        && let Some([stage, errno @ ..]) = copy::failure(&from, patience)
    {
        attempt.stage.store(stage, Ordering::Relaxed);
        attempt
            .errno
            .store(i32::from_ne_bytes(errno), Ordering::Relaxed);
    }
    match attempt.errno.load(Ordering::Relaxed) {
        0 => Ok(pid),
        errno => {
            let stage = usize::from(attempt.stage.load(Ordering::Relaxed));
            let stage = STAGES.get(stage).copied().unwrap_or(SetupStep::Exec);
            // It gives our memory back a moment before it ends: found alive, it would be taken for
            // one that is left.
            super::reap::take_ending(pid);
            Err(Failure { stage, errno })
        }
    }
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings
        .iter()
        .map(|string| string.as_ptr())
        .chain([ptr::null()])
        .collect()
}

/// Variables with the pid of the program that they are meant for (sd_listen_fds(3),
/// sd_watchdog_enabled(3), systemd.exec(5)): they have to name the new process.
pub(crate) const NAMES_US: [&str; 3] = ["LISTEN_PID", "WATCHDOG_PID", "SYSTEMD_EXEC_PID"];

/// As their value, a place for the digits of a pid that is not known yet.
pub(crate) const PID_PLACE: &str = "          ";

fn digits(environment: &[CString], name: &str) -> *mut c_char {
    let value = |entry: &CString| {
        let value = entry.as_bytes().strip_prefix(name.as_bytes())?;
        (value.strip_prefix(b"=")? == PID_PLACE.as_bytes()).then_some(())
    };
    let entry = environment.iter().find(|entry| value(entry).is_some());
    // SAFETY: the offset is inside the entry, which ends with the place.
    entry.map_or(ptr::null_mut(), |entry| unsafe {
        entry.as_ptr().cast_mut().add(name.len() + 1)
    })
}

/// The child's side. Async-signal-safe from its first to its last line.
extern "C" fn child(attempt: *mut c_void) -> c_int {
    // SAFETY: the pointer is `spawn`'s attempt, and `spawn` waits.
    let attempt = unsafe { &mut *attempt.cast::<ExecAttempt<'_>>() };
    let (stage, errno) = match prepare(attempt) {
        Ok(()) => (SetupStep::Exec, exec(attempt)),
        Err(failed) => failed,
    };
    let index = STAGES.iter().position(|known| *known == stage).unwrap_or(0);
    let index = u8::try_from(index).unwrap_or(0);
    attempt.stage.store(index, Ordering::Relaxed);
    attempt.errno.store(errno, Ordering::Relaxed);
    if let Some(to) = attempt.failure_to {
        copy::tell_failure(to, index, errno);
    }
    let mut code = if errno == libc::ENOENT { 127 } else { 126 };
    if let Some(tell) = attempt.options.tell_in_copy
        && !is_waited_for()
    {
        // All of this memory is its own: it may allocate.
        code = tell(&Failure { stage, errno }).into();
    }
    // SAFETY: _exit runs no handler and flushes no buffer that we share with the parent.
    unsafe { libc::_exit(code) }
}

fn checked(stage: SetupStep, result: libc::c_long) -> Result<(), (SetupStep, i32)> {
    if result < 0 {
        Err((stage, super::errno()))
    } else {
        Ok(())
    }
}

fn prepare(attempt: &mut ExecAttempt<'_>) -> Result<(), (SetupStep, i32)> {
    let options = attempt.options;
    // SAFETY: plain syscalls on values; paths and lists live in the suspended parent. The raw ones
    // are raw because libc's setuid family signals all threads of what it takes for its process.
    unsafe {
        // First of all: it still has our rights, and nothing that it starts later is outside.
        if let Some(entry) = &options.cgroup {
            // `0` is whoever writes it (cgroup-v2.rst, "Processes").
            let zero = c"0".as_ptr().cast::<c_void>();
            if libc::write(entry.procs, zero, 1) < 0 {
                entry.refused.store(super::errno(), Ordering::Relaxed);
            }
        }
        if options.own_group {
            libc::setpgid(0, 0);
            // Until then it was one of our group, and may have got what was meant for us: a hangup, a
            // Ctrl-C. A hook must not die of it, and the child gets it from us.
            signals::take_pending().for_each(drop);
        }
        if options.own_namespaces {
            let none = ptr::null::<c_char>();
            let private = libc::MS_REC | libc::MS_PRIVATE;
            let root = c"/".as_ptr();
            let mounted = libc::mount(none, root, none, private, ptr::null());
            checked(SetupStep::Namespaces, mounted.into())?;
            let proc = c"proc".as_ptr();
            let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
            let mounted = libc::mount(proc, c"/proc".as_ptr(), proc, flags, ptr::null());
            checked(SetupStep::Namespaces, mounted.into())?;
        }
        if let Some(stdin) = options.stdin {
            checked(SetupStep::Stdin, libc::dup2(stdin, 0).into())?;
        }
        if let Some(stdout) = options.stdout {
            checked(SetupStep::Stdin, libc::dup2(stdout, 1).into())?;
        }
        // The directory may be open to the new user only: root without CAP_DAC_OVERRIDE cannot enter
        // it, either.
        let mut once_more = None;
        match options.directory {
            Directory::Inherited => {}
            Directory::Path(path) => {
                let changed = checked(SetupStep::Directory, libc::chdir(path.as_ptr()).into());
                match changed {
                    Err((_, libc::EACCES)) if options.identity.is_some() => once_more = Some(path),
                    result => result?,
                }
            }
            Directory::Descriptor(fd) => checked(SetupStep::Directory, libc::fchdir(fd).into())?,
        }
        // Only now: the directory is one of these descriptors.
        let nulls = match options.null {
            Null::None => 0,
            Null::Input => 1,
            Null::All => 3,
        };
        if nulls > 0 {
            // Not to be closed by exec: where a stream was closed it takes its number.
            let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
            for number in 0..nulls {
                libc::dup2(null, number);
            }
        }
        if options.close_above_stderr {
            let first = match attempt.failure_to {
                None => 3,
                Some(to) => {
                    if to != 3 {
                        attempt.failure_to = Some(libc::dup3(to, 3, libc::O_CLOEXEC));
                    }
                    4
                }
            };
            descriptors::close_from(first);
        }
        // From here on nothing of ours is needed that may lie at these numbers.
        for (number, ours) in (options.passed.from..).zip(options.passed.descriptors) {
            let copied = libc::dup2(*ours, number);
            checked(SetupStep::Sockets, copied.into())?;
        }
        if let Some(identity) = options.identity {
            if let Some(groups) = &identity.groups {
                let set = libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr());
                checked(SetupStep::Groups, set)?;
            }
            let gid = libc::c_long::from(identity.gid);
            checked(
                SetupStep::Group,
                libc::syscall(libc::SYS_setresgid, gid, gid, gid),
            )?;
            let uid = libc::c_long::from(identity.uid);
            checked(
                SetupStep::User,
                libc::syscall(libc::SYS_setresuid, uid, uid, uid),
            )?;
            if let Some(path) = once_more {
                checked(SetupStep::Directory, libc::chdir(path.as_ptr()).into())?;
            }
        }
        // After the change of user, which it does not restrict, and before exec, which it
        // restricts.
        if options.no_new_privs {
            let set = libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            checked(SetupStep::NoNewPrivs, set.into())?;
        }
        for place in attempt.own_pid {
            if !place.is_null() {
                write_digits(place, libc::getpid());
            }
        }
    }
    if options.on_terminal {
        signals::discard_terminal_stops();
    }
    attempt.inherited.restore();
    Ok(())
}

/// Writes a pid over the place kept for it.
///
/// # Safety
/// `place` has room for eleven bytes: ten digits and the end.
unsafe fn write_digits(place: *mut c_char, pid: i32) {
    let mut divisor = 1_000_000_000;
    let mut at = place;
    let mut leading = true;
    while divisor > 0 {
        let digit = pid / divisor % 10;
        leading &= digit == 0 && divisor > 1;
        if !leading {
            // SAFETY: at most ten digits are written, and the end after them.
            unsafe {
                *at = b'0' as c_char + digit as c_char;
                at = at.add(1);
            }
        }
        divisor /= 10;
    }
    // SAFETY: the place has room for ten digits and this end.
    unsafe { *at = 0 };
}

/// Tries the candidates as execvp(3) does; returns the errno of the failure that counts.
fn exec(attempt: &mut ExecAttempt<'_>) -> i32 {
    let mut result = libc::ENOENT;
    for path in attempt.paths.split_inclusive(|byte| *byte == 0) {
        let path = path.as_ptr().cast::<c_char>();
        // SAFETY: argv and envp are lists of C strings that end with a null pointer.
        unsafe { libc::execve(path, attempt.argv.as_ptr(), attempt.envp) };
        match super::errno() {
            // SAFETY: `path` is a C string.
            libc::ENOEXEC if !unsafe { is_for_a_shell(path) } => return libc::ENOEXEC,
            libc::ENOEXEC => {
                if let Some(slot) = attempt.script_argv.get_mut(1) {
                    *slot = path;
                }
                let argv = attempt.script_argv.as_ptr();
                // SAFETY: both are lists of C strings that end with a null pointer.
                unsafe { libc::execve(c"/bin/sh".as_ptr(), argv, attempt.envp) };
                return libc::ENOEXEC;
            }
            // A later candidate may work, but if none does this is what the user must know.
            libc::EACCES => result = libc::EACCES,
            errno if !attempt.searched => return errno,
            libc::ENOENT | libc::ENOTDIR | libc::ENODEV | libc::ESTALE | libc::ETIMEDOUT => {}
            errno => return errno,
        }
    }
    result
}

/// The words of a command line as the kernel takes them.
///
/// # Errors
/// A word holds a NUL byte, which no argument can.
pub(crate) fn words(words: &[OsString]) -> Result<Vec<CString>, std::ffi::NulError> {
    words
        .iter()
        .map(|word| CString::new(word.clone().into_vec()))
        .collect()
}
