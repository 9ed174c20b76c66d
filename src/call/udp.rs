//! Sends a datagram, from the port that its receivers expect.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::sys::socket::{self, AddressFamily, SockaddrStorage, sockopt};

use crate::plan::call::Datagram;

/// Sends it to the first address that takes it. Nobody can tell whether a distant server listens; but
/// `localhost` has two addresses, and its server may listen on one of them only.
pub(super) fn send(datagram: &Datagram) -> Result<(), String> {
    let mut why = "the name has no address".to_owned();
    let mut was_sent = false;
    let addresses = datagram.server.addresses()?;
    for (index, address) in addresses.iter().enumerate() {
        let sent = send_to(*address, &datagram.payload).and_then(|socket| {
            was_sent = true;
            let more = index + 1 < addresses.len();
            if more { was_refused(&socket) } else { Ok(()) }
        });
        match sent {
            Ok(()) => return Ok(()),
            Err(error) => why = crate::sys::error_text(error.raw_os_error().unwrap_or(0)),
        }
    }
    if was_sent { Ok(()) } else { Err(why) }
}

fn send_to(address: SocketAddr, payload: &[u8]) -> std::io::Result<UdpSocket> {
    let socket = if address.port() == MDNS && address.ip().is_multicast() {
        mdns_socket(any(address, MDNS).ip())?
    } else {
        UdpSocket::bind(any(address, 0))?
    };
    // It may go to a broadcast address.
    socket.set_broadcast(true)?;
    // Only a connected socket is told that nobody listens there (udp(7)).
    socket.connect(address)?;
    socket.send(payload)?;
    Ok(socket)
}

/// How long our own kernel has to say that nobody listens; as a rule it knows while it sends.
const REFUSAL: Duration = Duration::from_millis(20);

/// An error where this machine says that nobody listens; an answer from another machine is not
/// waited for.
fn was_refused(socket: &UdpSocket) -> std::io::Result<()> {
    if !socket.peer_addr()?.ip().is_loopback() {
        return socket.take_error()?.map_or(Ok(()), Err);
    }
    socket.set_read_timeout(Some(REFUSAL))?;
    match socket.recv(&mut [0]) {
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Err(error),
        // It is silent, or has answered.
        _ => Ok(()),
    }
}

fn any(family: SocketAddr, port: u16) -> SocketAddr {
    if family.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, port).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, port).into()
    }
}

pub(super) const MDNS: u16 = 5353;

/// Multicast DNS is accepted only if it comes from port 5353, and should not come through a router
/// (RFC 6762, sections 6 and 11). The responder of this machine uses the port, too.
pub(super) fn mdns_socket(own: IpAddr) -> nix::Result<UdpSocket> {
    let family = if own.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    let kind = socket::SockType::Datagram;
    let socket = socket::socket(family, kind, socket::SockFlag::SOCK_CLOEXEC, None)?;
    socket::setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    socket::setsockopt(&socket, sockopt::ReusePort, &true)?;
    if own.is_ipv4() {
        socket::setsockopt(&socket, sockopt::IpMulticastTtl, &255)?;
    } else {
        socket::setsockopt(&socket, sockopt::Ipv6MulticastHops, &255)?;
        // The responder has the port for IPv4, too.
        socket::setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
    }
    let own = SockaddrStorage::from(SocketAddr::new(own, MDNS));
    socket::bind(socket.as_raw_fd(), &own)?;
    Ok(socket.into())
}
