//! The sockets of sd_notify(3): one that takes messages with the credentials of who sent them, and
//! messages to whoever started us.

use std::ffi::OsStr;
use std::mem;
use std::os::fd::{AsRawFd, OwnedFd};
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

/// Room for the credentials and nothing else, as aligned as a header has to be.
#[repr(C, align(8))]
struct Control {
    header: libc::cmsghdr,
    credentials: libc::ucred,
}

/// Takes the next message: its length, and who sent it.
///
/// There is no room for descriptors that are sent along, so the kernel closes them while it delivers the
/// message, and no close(2) of ours can be made to wait. sd_notify_barrier(3) waits for that close: its
/// promise is kept if each message is dealt with before the next one is taken.
///
/// # Errors
/// EAGAIN when there is none; EMSGSIZE for one that does not fit, which is lost.
pub(crate) fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> nix::Result<(usize, MessageSender)> {
    let mut slice = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: all zeroes are a value of these structures.
    let (mut control, mut message): (Control, libc::msghdr) = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut slice;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = size_of::<Control>() as _;
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: buffer and control data live through the call, and their lengths are what we say.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) };
    let length = usize::try_from(length).map_err(|_| Errno::last())?;
    if message.msg_flags & libc::MSG_TRUNC != 0 {
        return Err(Errno::EMSGSIZE);
    }
    // The credentials are the first of the control messages. nix does not return them if one after
    // them was truncated.
    let header = &control.header;
    let told = header.cmsg_level == libc::SOL_SOCKET && header.cmsg_type == libc::SCM_CREDENTIALS;
    let credentials = &control.credentials;
    let sender = if told {
        MessageSender {
            pid: credentials.pid,
            uid: credentials.uid,
        }
    } else {
        MessageSender {
            pid: 0,
            uid: u32::MAX,
        }
    };
    Ok((length, sender))
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
    sendto(datagram()?.as_raw_fd(), message, &address, flags).map(drop)
}
