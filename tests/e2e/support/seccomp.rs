//! System calls that fail from now on, as under a strict profile or on another kernel (seccomp(2)).

use std::io;

use nix::libc;

/// Between fork and exec: lets a system call fail with `errno`, with `first` only where that is the lower
/// half of its first argument.
pub(crate) fn refuse(call: libc::c_long, first: Option<u32>, errno: i32) -> io::Result<()> {
    refuse_where(call, first.map(|first| (0, first)), errno)
}

/// As [`refuse`], with a place among the arguments, counted from 0, and what stands in the lower half there.
pub(crate) fn refuse_where(
    call: libc::c_long,
    argument: Option<(u32, u32)>,
    errno: i32,
) -> io::Result<()> {
    const ALLOW: u32 = 0x7fff_0000;
    const REFUSE: u32 = 0x0005_0000;
    let call = u32::try_from(call).unwrap_or(u32::MAX);
    let statement = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    // The number of the system call stands at 0, its arguments from 16 on.
    let load = |place| statement(0x20, 0, 0, place);
    let equal = |value, otherwise| statement(0x15, 0, otherwise, value);
    let answer = |value| statement(0x06, 0, 0, value);
    let mut filter = [
        load(0),
        equal(call, 3),
        load(16 + 8 * argument.map_or(0, |(place, _)| place)),
        match argument {
            Some((_, value)) => equal(value, 1),
            None => statement(0x05, 0, 0, 0),
        },
        answer(REFUSE | errno.cast_unsigned()),
        answer(ALLOW),
    ];
    let program = libc::sock_fprog {
        len: 6,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: plain system calls; the filter lives through the second one.
    let done = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER,
                &raw const program,
            ) == 0
    };
    if done {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
