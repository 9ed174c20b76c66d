//! Sockets that listen.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, UnixAddr, bind, connect,
    getsockname, listen, setsockopt, socket, sockopt,
};

use super::error_text;
use super::steering::{Steering, steer};

/// Whether others may listen on the same address (socket(7), SO_REUSEPORT).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sharing {
    Alone,
    /// The next one may join it; nobody listens there yet.
    First,
    /// It joins the first one.
    Next,
}

/// A TCP socket on the first of these addresses that this machine has; with the longest backlog that the kernel
/// grants. `[::]` takes IPv4, too, whatever `net.ipv6.bindv6only` says.
///
/// # Errors
/// The errno of what was refused.
pub(crate) fn tcp(addresses: &[SocketAddr], sharing: Sharing) -> nix::Result<OwnedFd> {
    let mut result = Err(Errno::EADDRNOTAVAIL);
    for address in addresses {
        result = tcp_at(*address, sharing);
        // A container without IPv6.
        if !matches!(result, Err(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL)) {
            break;
        }
    }
    result
}

/// The text of what [`tcp`] was refused with, and the way out where there is one.
pub(crate) fn refusal(errno: Errno) -> String {
    let why = error_text(errno as i32);
    let way_out = match errno {
        Errno::EADDRINUSE => "`ss -ltnp` shows who listens there",
        // ip(7), ip_unprivileged_port_start.
        Errno::EACCES => "a port below 1024 needs the capability NET_BIND_SERVICE",
        Errno::EADDRNOTAVAIL => "this machine has no such address; :PORT is all that it has",
        _ => return why,
    };
    format!("{why}: {way_out}")
}

fn tcp_at(address: SocketAddr, sharing: Sharing) -> nix::Result<OwnedFd> {
    if sharing == Sharing::First {
        // With SO_REUSEPORT nobody would notice that another stepdown of this user listens there.
        drop(bound(address, false)?);
    }
    let socket = bound(address, sharing != Sharing::Alone)?;
    if sharing == Sharing::First {
        // Where the kernel refuses there is never a second one.
        let _ = steer(&socket, Steering::First);
    }
    listen(&socket, Backlog::MAXALLOWABLE)?;
    Ok(socket)
}

fn bound(address: SocketAddr, shared: bool) -> nix::Result<OwnedFd> {
    let family = if address.is_ipv6() {
        AddressFamily::Inet6
    } else {
        AddressFamily::Inet
    };
    let socket = stream(family, SockFlag::empty())?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    if shared {
        setsockopt(&socket, sockopt::ReusePort, &true)?;
    }
    if address.is_ipv6() && address.ip().is_unspecified() {
        setsockopt(&socket, sockopt::Ipv6V6Only, &false)?;
    }
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    Ok(socket)
}

fn stream(family: AddressFamily, flags: SockFlag) -> nix::Result<OwnedFd> {
    socket(
        family,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC | flags,
        None,
    )
}

/// A unix socket with this path, or with the abstract name behind `@`. What a dead server has left in its place
/// is removed.
///
/// # Errors
/// The errno of what was refused; EADDRINUSE where somebody listens there, or a file is no socket.
pub(crate) fn unix(path: &str) -> nix::Result<OwnedFd> {
    let address = match path.strip_prefix('@') {
        Some(name) => UnixAddr::new_abstract(name.as_bytes())?,
        None => UnixAddr::new(path)?,
    };
    let socket = stream(AddressFamily::Unix, SockFlag::empty())?;
    match bind(socket.as_raw_fd(), &address) {
        Err(Errno::EADDRINUSE) if is_left_behind(path, &address) => {
            nix::unistd::unlink(path)?;
            bind(socket.as_raw_fd(), &address)?;
        }
        result => result?,
    }
    listen(&socket, Backlog::MAXALLOWABLE)?;
    Ok(socket)
}

/// Whether nobody listens on that socket any more. A file that is none is refused by connect(2) in the same way.
fn is_left_behind(path: &str, address: &UnixAddr) -> bool {
    let found = std::fs::symlink_metadata(path);
    if !found.is_ok_and(|found| found.file_type().is_socket()) {
        return false;
    }
    // A full backlog would be waited for.
    stream(AddressFamily::Unix, SockFlag::SOCK_NONBLOCK)
        .and_then(|socket| connect(socket.as_raw_fd(), address))
        == Err(Errno::ECONNREFUSED)
}

/// Ends the listening for everybody who has this TCP socket, and takes it out of its group.
pub(crate) fn end(socket: &OwnedFd) {
    if address(socket).is_some() {
        // One that does not listen is none of the group any more.
        let _ = nix::sys::socket::shutdown(socket.as_raw_fd(), nix::sys::socket::Shutdown::Both);
    }
}

/// Where a TCP socket listens.
pub(crate) fn address(socket: &OwnedFd) -> Option<SocketAddr> {
    tcp_address(socket).ok()
}

/// As [`address`].
///
/// # Errors
/// The errno of getsockname(2); EAFNOSUPPORT where it is no TCP socket.
pub(crate) fn tcp_address(socket: &OwnedFd) -> nix::Result<SocketAddr> {
    let bound: SockaddrStorage = getsockname(socket.as_raw_fd())?;
    let v4 = bound
        .as_sockaddr_in()
        .map(|v4| SocketAddr::V4((*v4).into()));
    let v6 = || {
        let v6 = bound.as_sockaddr_in6();
        v6.map(|v6| SocketAddr::V6((*v6).into()))
    };
    v4.or_else(v6).ok_or(Errno::EAFNOSUPPORT)
}

/// What /proc calls it by: the number in `socket:[INODE]`.
pub(crate) fn inode(socket: &OwnedFd) -> Option<u32> {
    let stat = nix::sys::stat::fstat(socket).ok()?;
    u32::try_from(stat.st_ino).ok()
}
