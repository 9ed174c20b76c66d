//! A page that a forked copy of this process writes and that we read once it has ended.

use std::io;
use std::ptr;
use std::sync::atomic::{AtomicU8, Ordering};

const SIZE: usize = 4096;

/// Shared with every process that is forked while it lives.
pub(crate) struct Slate(*mut libc::c_void);

impl Slate {
    /// # Errors
    /// There is no memory left for it.
    pub(crate) fn new() -> io::Result<Self> {
        let (protection, flags) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
        );
        // SAFETY: a new mapping at an address that the kernel chooses takes nobody's memory.
        let page = unsafe { libc::mmap(ptr::null_mut(), SIZE, protection, flags, -1, 0) };
        if page == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self(page))
    }

    fn bytes(&self) -> &[AtomicU8] {
        // SAFETY: the page is mapped, zeroed and aligned, and stays as long as we do; another process
        // may write to it, which atomics allow.
        unsafe { std::slice::from_raw_parts(self.0.cast(), SIZE) }
    }

    /// Writes what fits.
    pub(crate) fn write(&self, text: &str) {
        for (place, byte) in self.bytes().iter().zip(text.bytes()) {
            place.store(byte, Ordering::Relaxed);
        }
    }

    /// What was written, if anything.
    pub(crate) fn read(&self) -> Option<String> {
        let written = self.bytes().iter().map(|byte| byte.load(Ordering::Relaxed));
        let text: Vec<u8> = written.take_while(|byte| *byte != 0).collect();
        (!text.is_empty()).then(|| String::from_utf8_lossy(&text).into_owned())
    }
}

impl Drop for Slate {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and no reference to it outlives us.
        unsafe { libc::munmap(self.0, SIZE) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_read_again() {
        let slate = Slate::new().unwrap();
        assert_eq!(slate.read(), None);
        slate.write("why");
        assert_eq!(slate.read().as_deref(), Some("why"));
        slate.write(&"x".repeat(2 * SIZE));
        assert_eq!(slate.read().map(|text| text.len()), Some(SIZE));
    }
}
