//! Prints what was asked for, and says by its status whether all of it was taken.

use nix::errno::Errno;

/// Writes the text to standard output: 0, or 125 where it could not be written.
pub(crate) fn print(text: &str) -> u8 {
    let mut rest = text.as_bytes();
    // SAFETY: a closed descriptor 1 makes the write fail.
    let stdout = unsafe { std::os::fd::BorrowedFd::borrow_raw(1) };
    while !rest.is_empty() {
        match nix::unistd::write(stdout, rest) {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            Err(errno) => {
                let why = super::error_text(errno as i32);
                super::stderr::write(format!("stepdown: standard output: {why}\n").as_bytes());
                return 125;
            }
        }
    }
    0
}
