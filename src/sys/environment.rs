//! Our environment, read where the kernel put it: a copy of all of it is memory that stays dirty while we idle.
//!
//! With the 500 variables that Kubernetes sets in a namespace of many services a copy costs 60 KiB, and the start 4%.

use std::ffi::{CStr, OsStr, OsString, c_char};
use std::os::unix::ffi::OsStrExt;

// SAFETY: environ(7) gives it this type.
unsafe extern "C" {
    static environ: *const *const c_char;
}

/// The list as exec takes it.
pub(crate) fn as_is() -> *const *const c_char {
    // SAFETY: nothing in this program changes the environment after the C runtime has set it up.
    unsafe { environ }
}

/// The variables whose names begin with `prefix`.
pub(crate) fn beginning_with(prefix: &str) -> impl Iterator<Item = (OsString, OsString)> {
    entries().filter_map(move |entry| {
        let bytes = entry.to_bytes();
        let end = bytes.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (bytes.get(..end)?, bytes.get(end + 1..)?);
        let owned = |bytes| OsStr::from_bytes(bytes).to_owned();
        let is_meant = name.starts_with(prefix.as_bytes());
        is_meant.then(|| (owned(name), owned(value)))
    })
}

fn entries() -> impl Iterator<Item = &'static CStr> {
    let mut next = as_is();
    std::iter::from_fn(move || {
        // SAFETY: the list ends with a null pointer and its strings live as long as the process.
        unsafe {
            if next.is_null() || (*next).is_null() {
                return None;
            }
            let entry = CStr::from_ptr(*next);
            next = next.add(1);
            Some(entry)
        }
    })
}
