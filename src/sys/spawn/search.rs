//! Where a program is looked for.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Where execvp(3) would look for the program, in order: paths that end with a NUL byte each.
pub(super) fn candidates(program: &[u8], path: Option<&OsStr>) -> Vec<u8> {
    // An empty name is never found, as with execvp.
    if program.contains(&b'/') || program.is_empty() {
        return [program, b"\0"].concat();
    }
    let path = path.map_or(DEFAULT_PATH, OsStr::as_bytes);
    // One allocation for all: the start is too short for one each.
    let directories = path.split(|byte| *byte == b':');
    let mut paths = Vec::with_capacity(path.len() * 2 + (program.len() + 3) * 16);
    for directory in directories {
        let directory = if directory.is_empty() {
            &b"."[..]
        } else {
            directory
        };
        paths.extend_from_slice(directory);
        paths.push(b'/');
        paths.extend_from_slice(program);
        paths.push(0);
    }
    paths
}

/// Where programs are looked for without a PATH (confstr(3), `_CS_PATH`).
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";
