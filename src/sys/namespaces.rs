//! The right to make namespaces: root has it, anybody else gets it from a user namespace of their own.

use std::fs;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getgid, getuid};

/// Makes sure that this process may make PID and mount namespaces for its children
/// (user_namespaces(7)). Inside, everybody keeps their user and group.
///
/// # Errors
/// The errno of unshare(2) or of the files in /proc/self.
pub(crate) fn prepare() -> Result<(), i32> {
    // Mounts of our own are needed anyway, and show whether we are allowed to.
    if unshare(CloneFlags::CLONE_NEWNS).is_ok() {
        return Ok(());
    }
    let (user, group) = (getuid(), getgid());
    unshare(CloneFlags::CLONE_NEWUSER).map_err(|errno| errno as i32)?;
    let write = |name: &str, text: String| {
        fs::write(format!("/proc/self/{name}"), text)
            .map_err(|error| error.raw_os_error().unwrap_or(0))
    };
    // Without privileges, groups can be mapped only once setgroups(2) has been denied.
    write("setgroups", "deny".to_owned())?;
    write("gid_map", format!("{group} {group} 1"))?;
    write("uid_map", format!("{user} {user} 1"))
}
