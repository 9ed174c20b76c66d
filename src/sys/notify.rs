//! The sockets of sd_notify(3): one that takes messages with the credentials of who sent them, and
//! messages to whoever started us.

use std::ffi::OsStr;
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, UnixCredentials,
    bind, getsockname, recvmsg, sendto, setsockopt, socket, sockopt,
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

/// Takes the next message: its length, and the sender's pid (0 outside our PID namespace).
///
/// # Errors
/// EAGAIN when there is none; EMSGSIZE for one that does not fit, which is lost.
pub(crate) fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> nix::Result<(usize, i32)> {
    let mut slices = [IoSliceMut::new(buffer)];
    // Room for the credentials and nothing else: descriptors that come along are closed by the kernel,
    // which is also what sd_notify_barrier(3) waits for.
    let mut control = nix::cmsg_space!(UnixCredentials);
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut slices, Some(&mut control), flags)?;
    if message.flags.contains(MsgFlags::MSG_TRUNC) {
        return Err(Errno::EMSGSIZE);
    }
    let mut pid = 0;
    // Truncated control data is what descriptors leave; the credentials come first (unix(7)).
    if let Ok(mut list) = message.cmsgs()
        && let Some(ControlMessageOwned::ScmCredentials(sender)) = list.next()
    {
        pid = sender.pid();
    }
    Ok((message.bytes, pid))
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
