//! Who we are to the kernel, and whether we may become somebody else.

use std::fs;
use std::ptr;

use nix::unistd::{Gid, Uid, getresuid, setfsgid, setfsuid, setresuid};

/// Our ids and what credentials(7) lets us do with them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Credentials {
    /// Real, effective, saved.
    pub(crate) uids: [u32; 3],
    pub(crate) gids: [u32; 3],
    pub(crate) groups: Vec<u32>,
    pub(crate) may_set_uid: bool,
    pub(crate) may_set_gid: bool,
    pub(crate) may_set_groups: bool,
}

/// Numbers of capabilities(7).
const CAP_KILL: u32 = 5;
const CAP_SETGID: u32 = 6;
const CAP_SETUID: u32 = 7;

impl Credentials {
    /// Ours.
    pub(crate) fn own() -> Self {
        let uids = getresuid().map_or([u32::MAX; 3], |ids| {
            [ids.real, ids.effective, ids.saved].map(Uid::as_raw)
        });
        let gids = nix::unistd::getresgid().map_or([u32::MAX; 3], |ids| {
            [ids.real, ids.effective, ids.saved].map(Gid::as_raw)
        });
        let groups = nix::unistd::getgroups().unwrap_or_default();
        let capabilities = effective_capabilities();
        let may = |capability: u32| capabilities & (1 << capability) != 0;
        Self {
            uids,
            gids,
            groups: groups.into_iter().map(Gid::as_raw).collect(),
            may_set_uid: may(CAP_SETUID),
            may_set_gid: may(CAP_SETGID),
            may_set_groups: may(CAP_SETGID) && !setgroups_denied(),
        }
    }

    /// The effective user id.
    pub(crate) fn uid(&self) -> u32 {
        self.uids[1]
    }

    /// The effective group id.
    pub(crate) fn gid(&self) -> u32 {
        self.gids[1]
    }
}

/// The ids behind this key of `/proc/PID/status` (proc(5)): the real one, the effective, the saved, that for files.
pub(super) fn ids(status: &str, key: &str) -> impl Iterator<Item = u32> {
    let ids = status.lines().find_map(|line| line.strip_prefix(key));
    let ids = ids.unwrap_or_default().split_ascii_whitespace();
    ids.map_while(|id| id.parse().ok())
}

/// The real user and group of a process; `None` where they cannot be read.
fn user_of(pid: i32) -> Option<(Uid, Gid)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let real = |key| ids(&status, key).next();
    Some((Uid::from_raw(real("Uid:")?), Gid::from_raw(real("Gid:")?)))
}

/// Whether we may become another user whose processes we may not signal.
pub(crate) fn may_be_refused() -> bool {
    let capabilities = effective_capabilities();
    let has = |capability: u32| capabilities & (1 << capability) != 0;
    has(CAP_SETUID) && !has(CAP_KILL)
}

/// Runs `act` while our real user is that of the process: kill(2) takes it as it takes the effective one, and root
/// without CAP_KILL (a container with `cap_drop: ALL`) has no other right to signal the command of another user. The
/// other ids stay, and so do capabilities, the dumpable attribute and the signal of prctl(2), PR_SET_PDEATHSIG.
///
/// `None` where its user is not known, or may not be ours.
pub(super) fn with_real_user_of<T>(pid: i32, act: &dyn Fn() -> T) -> Option<T> {
    let unchanged = Uid::from_raw(u32::MAX);
    let (user, _) = user_of(pid)?;
    let own = getresuid().ok()?.real;
    setresuid(user, unchanged, unchanged).ok()?;
    let result = act();
    let _ = setresuid(own, unchanged, unchanged);
    Some(result)
}

/// From now on files are opened as the user of the process does it, and so is `/proc/PID` of that user (ptrace(2),
/// PTRACE_MODE_READ_FSCREDS). Only in a forked copy of this process: prctl(2), PR_SET_DUMPABLE and PR_SET_PDEATHSIG are lost.
/// False where its user is not known.
pub(crate) fn look_as_user_of(pid: i32) -> bool {
    let Some((user, group)) = user_of(pid) else {
        return false;
    };
    // Neither says whether it was done; what is refused is so when it is looked at.
    setfsgid(group);
    setfsuid(user);
    true
}

/// user_namespaces(7), "The /proc/pid/setgroups file"; without /proc the attempt will tell.
fn setgroups_denied() -> bool {
    fs::read("/proc/self/setgroups").is_ok_and(|text| text.starts_with(b"deny"))
}

/// The lower 32 capabilities in effect. There is no call in libc: it is one of libcap.
fn effective_capabilities() -> u32 {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    struct Data {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    /// `_LINUX_CAPABILITY_VERSION_3` of capget(2): two halves of 32 bits.
    const VERSION: u32 = 0x2008_0522;
    let mut header = Header {
        version: VERSION,
        pid: 0,
    };
    let mut data = [Data::default(); 2];
    // SAFETY: header and data have the layout that capget(2) gives for this version.
    unsafe {
        libc::syscall(
            libc::SYS_capget,
            ptr::from_mut(&mut header),
            data.as_mut_ptr(),
        )
    };
    data[0].effective
}
