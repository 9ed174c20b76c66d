//! Which descriptors stay open: none inherited above 2, and the directory of the start only for
//! hooks.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::Mode;
use nix::unistd::chdir;

/// Closes every descriptor from `first` on. Async-signal-safe.
pub(crate) fn close_from(first: u32) {
    close_range(first, u32::MAX);
}

fn close_range(first: u32, last: u32) {
    // SAFETY: the descriptors in the range belong to nobody: what we hold ourselves lies outside it.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if result == 0 {
        return;
    }
    // Before Linux 5.9 one by one. The usual limit is 1024; a larger one is not worth a million calls.
    for fd in first..=last.min(4096) {
        if let Ok(fd) = RawFd::try_from(fd) {
            // SAFETY: nobody holds a descriptor of this range.
            unsafe { libc::close(fd) };
        }
    }
}

/// What was inherited above 2.
#[derive(Default)]
pub(crate) struct InheritedDescriptors {
    listed: Vec<RawFd>,
    /// All from this number on: RLIMIT_NOFILE forbids us to open any there, so none is ours.
    beyond: Option<u32>,
}

/// How many numbers are looked at one by one, at most.
const MOST: u32 = 65_536;

impl InheritedDescriptors {
    /// Has to be called before we open any descriptor.
    ///
    /// One poll(2) asks for all of them, and needs no /proc: a closed one is POLLNVAL.
    pub(crate) fn find() -> Self {
        let limit = getrlimit(Resource::RLIMIT_NOFILE);
        let limit = limit.map_or(1024, |(soft, _)| soft).min(MOST.into());
        let limit = u32::try_from(limit).unwrap_or(MOST);
        let mut all: Vec<libc::pollfd> = (3..limit)
            .filter_map(|fd| RawFd::try_from(fd).ok())
            .map(|fd| libc::pollfd {
                fd,
                events: 0,
                revents: 0,
            })
            .collect();
        // SAFETY: the array lives through the call, and its length is what we say.
        let told = unsafe { libc::poll(all.as_mut_ptr(), all.len() as libc::nfds_t, 0) } >= 0;
        let is_open = |one: &libc::pollfd| {
            if told {
                return one.revents & libc::POLLNVAL == 0;
            }
            // No memory for so many, or a filter of system calls: then one by one.
            // SAFETY: a number, and nothing of ours behind it.
            unsafe { libc::fcntl(one.fd, libc::F_GETFD) >= 0 }
        };
        let listed: Vec<RawFd> = all
            .iter()
            .filter(|one| is_open(one))
            .map(|one| one.fd)
            .collect();
        // We get the lowest numbers that are free, so ours lie below this one as long as there are
        // any.
        let room = all.len() - listed.len();
        let beyond = Some(limit.max(3)).filter(|_| limit < MOST || room > ROOM);
        Self { listed, beyond }
    }

    /// Closes them.
    pub(crate) fn close(&self) {
        for fd in self.listed.iter().filter_map(|fd| u32::try_from(*fd).ok()) {
            close_range(fd, fd);
        }
        if let Some(first) = self.beyond {
            close_from(first);
        }
    }
}

/// More than we ever have open at the start.
const ROOM: usize = 64;

/// Room for more descriptors than our limit allows, until it is dropped. What is started meanwhile would have that
/// limit as well.
pub(crate) struct Room {
    soft: u64,
    hard: u64,
}

impl Room {
    /// `None` where the hard limit allows no more.
    pub(crate) fn make() -> Option<Self> {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
        if soft >= hard {
            return None;
        }
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).ok()?;
        Some(Self { soft, hard })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, self.soft, self.hard);
    }
}

/// Opens, or reads, what must not fail: if no descriptor is free, with room for some.
///
/// # Errors
/// Those of `open`.
pub(crate) fn with_room<T>(open: impl Fn() -> io::Result<T>) -> io::Result<T> {
    match open() {
        Err(error) if error.raw_os_error() == Some(libc::EMFILE) => {
            let _room = Room::make();
            open()
        }
        opened => opened,
    }
}

/// Whether it is open, and exec leaves it open: ours are not.
pub(crate) fn is_inherited(fd: RawFd) -> bool {
    // SAFETY: a number, and nothing of ours behind it.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    flags >= 0 && flags & libc::FD_CLOEXEC == 0
}

/// Whether there is something to read, now.
pub(crate) fn is_readable(fd: RawFd) -> bool {
    let mut one = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one structure, which lives through the call.
    let count = unsafe { libc::poll(&raw mut one, 1, 0) };
    count > 0 && one.revents & libc::POLLIN != 0
}

/// Whether both stand for the same open file. Where the kernel does not tell (kcmp(2) needs the right to trace), only
/// sockets are recognized.
pub(crate) fn are_same(one: &OwnedFd, other: &OwnedFd) -> bool {
    const KCMP_FILE: libc::c_int = 0;
    let own = std::process::id();
    // SAFETY: numbers only.
    match unsafe {
        libc::syscall(
            libc::SYS_kcmp,
            own,
            own,
            KCMP_FILE,
            one.as_raw_fd(),
            other.as_raw_fd(),
        )
    } {
        0 => return true,
        1.. => return false,
        _ => {}
    }
    let of = |fd| nix::sys::stat::fstat(fd).ok();
    of(one).zip(of(other)).is_some_and(|(one, other)| {
        let is_socket = one.st_mode & libc::S_IFMT == libc::S_IFSOCK;
        is_socket && (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
    })
}

/// Closes everything above 2 but `ours`.
pub(crate) fn close_all_but(mut ours: Vec<RawFd>) {
    ours.sort_unstable();
    let mut first = 3;
    for fd in ours.into_iter().filter_map(|fd| u32::try_from(fd).ok()) {
        if fd > first {
            close_range(first, fd - 1);
        }
        first = first.max(fd.saturating_add(1));
    }
    close_from(first);
}

/// Takes the numbers of closed standard streams, so that nothing opened later is taken for one of
/// them.
///
/// What occupies them behaves as if closed (an O_PATH descriptor can be neither read nor written,
/// open(2)), and exec closes it.
pub(crate) fn occupy_closed_streams() {
    for number in 0..=2 {
        // SAFETY: a number, and nothing of ours behind it.
        if unsafe { libc::fcntl(number, libc::F_GETFD) } >= 0 {
            continue;
        }
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        // The lowest free number is this one, as those below it are taken.
        if let Ok(taken) = open(c"/", flags, Mode::empty()) {
            let _ = taken.into_raw_fd();
        }
    }
}

/// Leaves the directory of the start, so that its file system can be unmounted.
pub(crate) fn leave_directory() {
    // The root directory is always there; if not even that, we stay where we are.
    if let Err(errno) = chdir(c"/") {
        tracing::warn!("the directory of the start stays in use: {errno}");
    }
}

/// Holds the directory of the start, for hooks that run there later.
pub(crate) fn hold_directory() -> Option<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    above_stderr(open(c".", flags, Mode::empty()).ok()?).ok()
}

/// A pipe whose both ends are closed by exec and lie above 2.
///
/// # Errors
/// The errno of pipe2(2) or of fcntl(2).
pub(crate) fn pipe() -> nix::Result<(OwnedFd, OwnedFd)> {
    pipe_with(OFlag::empty())
}

/// As `pipe`, with room for it; where the start of something depends on it.
///
/// # Errors
/// Those of `pipe`.
pub(crate) fn pipe_in_any_case() -> io::Result<(OwnedFd, OwnedFd)> {
    with_room(|| Ok(pipe()?))
}

/// As `pipe`, with further flags of pipe2(2).
///
/// # Errors
/// The errno of pipe2(2) or of fcntl(2).
pub(crate) fn pipe_with(flags: OFlag) -> nix::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC | flags)?;
    Ok((above_stderr(read)?, above_stderr(write)?))
}

/// What was read of a pipe, and whether that is all of it.
#[derive(Debug)]
pub(crate) struct ReadText {
    pub(crate) bytes: Vec<u8>,
    pub(crate) is_whole: bool,
}

/// Reads a pipe to its end, or until this time.
pub(crate) fn read_within(from: &OwnedFd, until: Instant) -> ReadText {
    let mut text = ReadText {
        bytes: Vec::new(),
        is_whole: false,
    };
    let mut buffer = [0; 4096];
    loop {
        // Rounded up: it would be asked again and again within the last millisecond.
        let left = until.saturating_duration_since(Instant::now()) + Duration::from_micros(999);
        let left = u16::try_from(left.as_millis()).unwrap_or(u16::MAX);
        let mut fds = [PollFd::new(from.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::from(left)) {
            Ok(0) if left < u16::MAX => return text,
            Ok(0) | Err(Errno::EINTR) => continue,
            Ok(_) => {}
            Err(_) => return text,
        }
        match nix::unistd::read(from, &mut buffer) {
            Ok(0) => {
                text.is_whole = true;
                return text;
            }
            Ok(count) => text.bytes.extend(buffer.iter().take(count)),
            Err(Errno::EINTR) => {}
            Err(_) => return text,
        }
    }
}

/// Moves a descriptor above 2: if our stdio was closed, it could be taken for that.
///
/// # Errors
/// The errno of fcntl(2).
pub(crate) fn above_stderr(fd: OwnedFd) -> nix::Result<OwnedFd> {
    above(fd, 3)
}

/// Moves a descriptor to `lowest` or above, if it is not there.
///
/// # Errors
/// The errno of fcntl(2); EMFILE, too, where no number is allowed that is high enough.
pub(crate) fn above(fd: OwnedFd, lowest: RawFd) -> nix::Result<OwnedFd> {
    if fd.as_raw_fd() >= lowest {
        return Ok(fd);
    }
    let moved = nix::fcntl::fcntl(&fd, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(lowest));
    let moved = moved.map_err(|errno| match errno {
        Errno::EINVAL => Errno::EMFILE,
        errno => errno,
    })?;
    // SAFETY: fcntl has just made this descriptor, and nobody else knows it.
    Ok(unsafe { std::os::fd::FromRawFd::from_raw_fd(moved) })
}

/// A path as the kernel takes it; `None` where it holds a NUL byte.
pub(crate) fn path(path: &std::ffi::OsStr) -> Option<CString> {
    use std::os::unix::ffi::OsStrExt;
    CString::new(path.as_bytes()).ok()
}
