//! Small files, read and replaced whole, without ever waiting for anything but the disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::descriptors::with_room;
use super::{error_text, stderr};

/// Nothing that is read here is ever near this size.
const LIMIT: u64 = 1 << 20;

/// Opening a FIFO would wait for its other end, and a terminal could become our controlling
/// terminal (open(2)).
const FLAGS: i32 = libc::O_NONBLOCK | libc::O_NOCTTY;

/// What could not be done with a file, without its name.
pub(crate) fn reason(error: &io::Error) -> String {
    error
        .raw_os_error()
        .map_or_else(|| error.to_string(), error_text)
}

/// The text of a regular file.
///
/// # Errors
/// `NotFound` where there is none; `InvalidData` where it is too large or not UTF-8; it cannot be read, or
/// is no regular file.
pub(crate) fn read(path: &Path) -> io::Result<String> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(FLAGS);
    let file = with_room(|| options.open(path))?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut text = Vec::new();
    // The size in the metadata is no promise: the file may grow, and /proc says 0.
    file.take(LIMIT + 1).read_to_end(&mut text)?;
    if text.len() as u64 > LIMIT {
        return Err(invalid("larger than 1 MiB"));
    }
    String::from_utf8(text).map_err(|_| invalid("not UTF-8"))
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}

/// As many links as the kernel follows (path_resolution(7)).
const LINKS: u32 = 40;

/// Where a chain of links leads, whether anything is there yet or not.
fn followed(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..=LINKS {
        if is_descriptor(&path) {
            return Ok(path);
        }
        match fs::read_link(&path) {
            // One that begins with a slash replaces all before it.
            Ok(target) => path = path.parent().unwrap_or(Path::new("")).join(target),
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::from_raw_os_error(libc::ELOOP))
}

/// Whether this names an open file, as /dev/stdout does in the end (proc(5)). Such a file is in use, so
/// nothing may replace it, and the text of its link is not a path.
fn is_descriptor(path: &Path) -> bool {
    let directory = path
        .parent()
        .and_then(|parent| fs::canonicalize(parent).ok());
    directory.is_some_and(|found| found.starts_with("/proc") && found.ends_with("fd"))
}

/// Renames a file that cannot be used, within its directory; symbolic links to its name stay as
/// they are.
///
/// # Errors
/// Neither a rename nor, where the file itself is a mount, a copy was possible.
pub(crate) fn put_aside(path: &Path) -> io::Result<PathBuf> {
    let path = followed(path)?;
    let mut aside = path.clone().into_os_string();
    aside.push(".corrupt");
    match fs::rename(&path, &aside) {
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
            fs::copy(&path, &aside)?;
            write_in_place(&path, "")?;
        }
        renamed => renamed?,
    }
    Ok(aside.into())
}

/// Puts `text` in the place of a file, so that a reader sees the old one or the new one and nothing
/// between: a file beside it is written and renamed. Where that is not possible (a single file that is
/// mounted, a read-only directory) the file itself is written; a pipe, a device or an open file
/// (/dev/stdout) gets the text as it is.
///
/// The disk is not waited for (no fsync): the rename orders it for every reader, and a machine that
/// loses its power has lost the run, too.
///
/// # Errors
/// The error of the last attempt.
pub(crate) fn replace(path: &Path, text: &str) -> io::Result<()> {
    with_room(|| replace_now(path, text))
}

fn replace_now(path: &Path, text: &str) -> io::Result<()> {
    // The link is kept, what it points to is replaced or made.
    let path = followed(path)?;
    if is_descriptor(&path) {
        return append(&path, text);
    }
    let old = fs::metadata(&path).ok();
    if old.as_ref().is_some_and(|old| !old.is_file()) {
        return write_in_place(&path, text);
    }
    let mode = old.map(|old| old.mode() & 0o777);
    let fresh = beside(&path);
    match write_fresh(&fresh, text, mode).and_then(|()| fs::rename(&fresh, &path)) {
        Ok(()) => Ok(()),
        Err(error) => {
            tracing::warn!(
                "{}: not replaced by {}: {error}",
                path.display(),
                fresh.display()
            );
            let _ = fs::remove_file(&fresh);
            let denied = [libc::EBUSY, libc::EACCES, libc::EPERM, libc::EROFS];
            if path.is_file() && error.raw_os_error().is_some_and(|e| denied.contains(&e)) {
                write_in_place(&path, text)
            } else {
                Err(error)
            }
        }
    }
}

/// A hidden name, and none that ends in `.prom`: node_exporter reads every file that does.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.new", std::process::id()))
}

/// Without a mode of an old one it has what the umask leaves.
fn write_fresh(path: &Path, text: &str, mode: Option<u32>) -> io::Result<()> {
    let create = || {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o644)
            .custom_flags(FLAGS)
            .open(path)
    };
    let mut file = match create() {
        // PID 1 always uses the same name: one that was killed while it was writing may have left
        // the file.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            create()?
        }
        file => file?,
    };
    file.write_all(text.as_bytes())?;
    // Where it cannot be set it is not worth losing the file for.
    if let Some(mode) = mode
        && let Err(error) = file.set_permissions(fs::Permissions::from_mode(mode))
    {
        tracing::warn!("{}: mode {mode:o}: {error}", path.display());
    }
    Ok(())
}

fn append(path: &Path, text: &str) -> io::Result<()> {
    // Who has inherited a file writes on where the others have stopped. If it were opened once more, the next line of
    // theirs, or of our log, would stand over this text.
    if let Some(stream) = own_stream(path).filter(|stream| stderr::is_file(*stream)) {
        return write_to_stream(stream, text);
    }
    let opened = File::options().append(true).custom_flags(FLAGS).open(path);
    match opened {
        Ok(mut file) => file.write_all(text.as_bytes()),
        Err(error) => match own_stream(path) {
            Some(stream) => write_to_stream(stream, text),
            None => Err(error),
        },
    }
}

/// Standard output or error of this process, where the path names one of them. To open it once more takes a right
/// that who was given it may not have: the pipe of a container belongs to root, and a socket cannot be opened.
fn own_stream(path: &Path) -> Option<BorrowedFd<'static>> {
    let directory = fs::canonicalize(path.parent()?).ok()?;
    let is_ours = Some(directory) == fs::canonicalize("/proc/self/fd").ok();
    let number = path.file_name()?.to_str()?.parse().ok();
    let number = number.filter(|number| is_ours && [1, 2].contains(number))?;
    // SAFETY: closed, it makes the write fail; nothing of ours ever gets these numbers.
    Some(unsafe { BorrowedFd::borrow_raw(number) })
}

/// As it is inherited it may be one whose writes wait, so each of these asks before.
fn write_to_stream(stream: BorrowedFd<'_>, text: &str) -> io::Result<()> {
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        let part = rest.get(..stderr::WHOLE).unwrap_or(rest);
        let count = stderr::write_part(stream, part)?;
        rest = rest.get(count..).unwrap_or_default();
    }
    Ok(())
}

fn write_in_place(path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::options()
        .write(true)
        .truncate(true)
        .custom_flags(FLAGS)
        .open(path)?;
    file.write_all(text.as_bytes())
}
