//! Our environment, read where the kernel put it: the start is too short to copy all of it.

use std::ffi::{CStr, OsStr, OsString, c_char};
use std::os::unix::ffi::OsStrExt;

unsafe extern "C" {
    static environ: *const *const c_char;
}

/// The list as exec takes it.
pub(crate) fn as_is() -> *const *const c_char {
    // SAFETY: nothing in this program changes the environment after the C runtime has set it up.
    unsafe { environ }
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

/// The variables whose names begin with `prefix`.
pub(crate) fn beginning_with(prefix: &str) -> impl Iterator<Item = (OsString, OsString)> {
    let ours = entries().filter(move |entry| entry.to_bytes().starts_with(prefix.as_bytes()));
    ours.filter_map(pair)
}

/// The variables with these names.
pub(crate) fn named(names: &[&str]) -> impl Iterator<Item = (OsString, OsString)> {
    let is_named = |entry: &&CStr| {
        let names = names.iter().map(|name| name.as_bytes());
        let mut rests = names.filter_map(|name| entry.to_bytes().strip_prefix(name));
        rests.any(|rest| rest.starts_with(b"="))
    };
    entries().filter(is_named).filter_map(pair)
}

fn pair(entry: &CStr) -> Option<(OsString, OsString)> {
    let bytes = entry.to_bytes();
    let split = bytes.iter().position(|byte| *byte == b'=')?;
    let (key, value) = (bytes.get(..split)?, bytes.get(split + 1..)?);
    Some((
        OsStr::from_bytes(key).to_owned(),
        OsStr::from_bytes(value).to_owned(),
    ))
}
