//! Tells the child whether its parent waits for exec, as after vfork(2).

use std::ffi::c_char;

/// Whether the parent is suspended until we call exec or end, as after vfork(2): it cannot be interrupted then, which
/// proc_pid_stat(5) shows as D. Without /proc it is taken to be.
pub(super) fn is_waited_for() -> bool {
    let mut path = *b"/proc/\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let mut head = [0_u8; 256];
    // SAFETY: both buffers are as long as is said; the path has room for ten digits, "/stat" and the end.
    let read = unsafe {
        let digits = path.as_mut_ptr().add(6).cast::<c_char>();
        super::write_digits(digits, libc::getppid());
        libc::strcat(digits, c"/stat".as_ptr());
        let file = libc::open(path.as_ptr().cast(), libc::O_RDONLY | libc::O_CLOEXEC);
        let read = libc::read(file, head.as_mut_ptr().cast(), head.len());
        libc::close(file);
        read
    };
    let stat = head.get(..usize::try_from(read).unwrap_or(0));
    let state = stat.and_then(|stat| stat.rsplit(|byte| *byte == b')').next()?.get(1));
    state.is_none_or(|state| *state == b'D')
}
