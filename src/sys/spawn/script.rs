//! Which files are left to /bin/sh when the kernel does not know how to execute them.

use std::ffi::c_char;

/// Whether a file that the kernel does not know is for the shell, as execvp(3) takes it without a look: a
/// program for another machine is not, and no script whose interpreter the kernel could not run.
///
/// # Safety
/// `path` is a C string. Called in the child: async-signal-safe.
pub(super) unsafe fn is_for_a_shell(path: *const c_char) -> bool {
    let mut head = [0_u8; 256];
    // SAFETY: the buffer is as long as is said.
    let read = unsafe {
        // A file that we may not read the shell could not read either.
        let file = libc::open(path, libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK);
        let read = libc::read(file, head.as_mut_ptr().cast(), head.len());
        libc::close(file);
        read
    };
    match usize::try_from(read) {
        Ok(read) => is_text_for_a_shell(head.get(..read).unwrap_or_default()),
        Err(_) => false,
    }
}

fn is_text_for_a_shell(head: &[u8]) -> bool {
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    match line.strip_prefix(b"#!") {
        Some(interpreter) => interpreter.iter().all(|byte| b" \t".contains(byte)),
        None => !line.starts_with(b"\x7fELF") && !line.contains(&0),
    }
}

#[cfg(test)]
mod tests {
    use super::is_text_for_a_shell;

    #[test]
    fn a_program_for_another_machine_is_not_for_a_shell() {
        for text in [
            &b""[..],
            b"echo hi",
            b"#!\necho hi",
            b"# a\n\0",
            b"MZqFpD='\n\0",
        ] {
            assert!(is_text_for_a_shell(text), "{text:?}");
        }
        for other in [
            &b"\x7fELF\x02\x01"[..],
            b"\x7fELF\n",
            b"MZ\x90\0\x03",
            b"#!/bin/python\nprint()",
        ] {
            assert!(!is_text_for_a_shell(other), "{other:?}");
        }
    }
}
