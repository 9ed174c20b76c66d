//! Who we are to the kernel, and whether we may become somebody else.

use std::fs;
use std::ptr;

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
const CAP_SETGID: u32 = 6;
const CAP_SETUID: u32 = 7;

impl Credentials {
    /// Ours.
    pub(crate) fn own() -> Self {
        let uids = nix::unistd::getresuid().map_or([u32::MAX; 3], |ids| {
            [ids.real, ids.effective, ids.saved].map(nix::unistd::Uid::as_raw)
        });
        let gids = nix::unistd::getresgid().map_or([u32::MAX; 3], |ids| {
            [ids.real, ids.effective, ids.saved].map(nix::unistd::Gid::as_raw)
        });
        let groups = nix::unistd::getgroups().unwrap_or_default();
        let capabilities = effective_capabilities();
        let may = |capability: u32| capabilities & (1 << capability) != 0;
        Self {
            uids,
            gids,
            groups: groups.into_iter().map(nix::unistd::Gid::as_raw).collect(),
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
