//! The sockets of sd_notify(3): one that takes messages with the credentials of who sent them, and
//! messages to whoever started us.

use std::ffi::OsStr;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, bind, getsockname, sendto, setsockopt,
    socket, sockopt,
};

use super::descriptors;

/// A socket for messages, and its name as `NOTIFY_SOCKET` has it.
///
/// The name is an abstract one that the kernel chooses (unix(7), "Autobind feature"): it needs no
/// directory that can be written, and nothing of it is left behind.
///
/// # Errors
/// The errno of what was refused.
pub(crate) fn listen() -> nix::Result<(OwnedFd, String)> {
    let socket = descriptors::above_stderr(datagram()?)?;
    setsockopt(&socket, sockopt::PassCred, &true)?;
    bind(socket.as_raw_fd(), &UnixAddr::new_unnamed())?;
    let bound: UnixAddr = getsockname(socket.as_raw_fd())?;
    let name = bound.as_abstract().ok_or(Errno::EAFNOSUPPORT)?;
    let name = format!("@{}", String::from_utf8_lossy(name));
    Ok((socket, name))
}

fn datagram() -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    socket(AddressFamily::Unix, SockType::Datagram, flags, None)
}

/// Who sent a message, as the kernel knows it (unix(7), `SCM_CREDENTIALS`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct MessageSender {
    /// 0 outside our PID namespace.
    pub(crate) pid: i32,
    pub(crate) uid: u32,
}

/// A message with all that came along.
pub(crate) struct Received {
    pub(crate) length: usize,
    pub(crate) sender: MessageSender,
    /// None where there was no room for any.
    pub(crate) descriptors: Vec<OwnedFd>,
    /// Others came along, which the kernel has closed.
    pub(crate) cut: bool,
}

/// Room for what comes along with a message, as aligned as a header has to be.
pub(crate) struct Room(Vec<u64>);

impl Room {
    /// For the credentials and nothing else.
    pub(crate) fn for_credentials() -> Self {
        Self::of(0)
    }

    /// For as many descriptors, too, as one message can bring (unix(7), `SCM_RIGHTS`).
    pub(crate) fn for_descriptors() -> Self {
        Self::of(253 * size_of::<RawFd>())
    }

    fn of(more: usize) -> Self {
        let header = size_of::<libc::cmsghdr>();
        let credentials = header + size_of::<libc::ucred>();
        let more = if more == 0 { 0 } else { header + more };
        Self(vec![0; credentials.div_ceil(8) + more.div_ceil(8)])
    }
}

/// Takes the next message.
///
/// Descriptors that come along and have no room are closed by the kernel while it gives us the message, so no close(2)
/// of ours can be made to wait. Their end is also what sd_notify_barrier(3) waits for: whoever has dealt with a message
/// before it takes the next one keeps that promise.
///
/// # Errors
/// EAGAIN when there is none; EMSGSIZE for one that does not fit, which is lost.
pub(crate) fn receive(
    socket: &OwnedFd,
    buffer: &mut [u8],
    room: &mut Room,
) -> nix::Result<Received> {
    let mut slice = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: all zeroes are a value of this structure.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut slice;
    message.msg_iovlen = 1;
    message.msg_control = room.0.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&room.0[..]) as _;
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: buffer and control data live through the call, and their lengths are what we say.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) };
    let length = usize::try_from(length).map_err(|_| Errno::last())?;
    let mut received = Received {
        length,
        sender: MessageSender {
            pid: 0,
            uid: u32::MAX,
        },
        descriptors: Vec::new(),
        cut: message.msg_flags & libc::MSG_CTRUNC != 0,
    };
    // nix would show nothing where something was cut off.
    // SAFETY: the kernel has filled the room, and the macros of cmsg(3) stay within it.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(&raw const message);
        while let Some(here) = header.as_ref() {
            let data = libc::CMSG_DATA(header);
            match (here.cmsg_level, here.cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) => {
                    let credentials: libc::ucred = data.cast::<libc::ucred>().read_unaligned();
                    received.sender = MessageSender {
                        pid: credentials.pid,
                        uid: credentials.uid,
                    };
                }
                (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                    let bytes = here.cmsg_len.saturating_sub(libc::CMSG_LEN(0) as usize);
                    for index in 0..bytes / size_of::<RawFd>() {
                        let fd = data.cast::<RawFd>().add(index).read_unaligned();
                        received.descriptors.push(OwnedFd::from_raw_fd(fd));
                    }
                }
                _ => {}
            }
            header = libc::CMSG_NXTHDR(&raw const message, header);
        }
    }
    if message.msg_flags & libc::MSG_TRUNC != 0 {
        return Err(Errno::EMSGSIZE);
    }
    Ok(received)
}

/// Sends a message to the socket that `NOTIFY_SOCKET` names, without waiting.
///
/// # Errors
/// The errno of what was refused; EAFNOSUPPORT for a name that is neither a path nor abstract.
pub(crate) fn send(name: &OsStr, message: &[u8]) -> nix::Result<()> {
    let name = name.as_bytes();
    let address = match name.first() {
        Some(b'/') => UnixAddr::new(name)?,
        Some(b'@') => UnixAddr::new_abstract(name.get(1..).unwrap_or_default())?,
        _ => return Err(Errno::EAFNOSUPPORT),
    };
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    let socket = descriptors::with_room(|| Ok(datagram()?));
    let socket = socket.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
    sendto(socket.as_raw_fd(), message, &address, flags).map(drop)
}
