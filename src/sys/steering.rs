//! To which of the sockets that listen on one address new connections go (socket(7), SO_ATTACH_REUSEPORT_CBPF).
//!
//! The kernel numbers the sockets of such a group in the order in which they began to listen, and asks a program
//! for the number. When one of them is closed the last one takes its number: of two the one that is left is the
//! first one. It needs no privilege, but the same effective user for all of them.

use std::mem::size_of_val;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};

/// Where new connections go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Steering {
    First,
    /// Those that are marked go to the second one, the others to the first one.
    FirstUnlessMarked,
    /// The other way round.
    SecondUnlessMarked,
}

/// The mark of a connection with which we ask the one that others do not reach: a codepoint for local use in
/// place of a service class (RFC 2474, section 6, pool 2), as it stands in the header of IPv4 and IPv6.
const MARK: i32 = 0x0c;

/// The two bits below it are for congestion (RFC 3168).
const CLASS: u32 = 0xfc;

/// The network header (linux/filter.h, SKF_NET_OFF): the data of the packet begins behind that of TCP.
const HEADER: u32 = 0xfff0_0000;

/// Steers the new connections of the group that this socket belongs to.
///
/// # Errors
/// The errno of setsockopt(2).
pub(crate) fn steer(socket: &OwnedFd, steering: Steering) -> nix::Result<()> {
    let give = |number| statement(libc::BPF_RET | libc::BPF_K, number);
    let (marked, others) = match steering {
        Steering::First => return attach(socket, &[give(0)]),
        Steering::FirstUnlessMarked => (1, 0),
        Steering::SecondUnlessMarked => (0, 1),
    };
    let load = |size, at| statement(libc::BPF_LD | size | libc::BPF_ABS, HEADER + at);
    let with = |operation, value| statement(libc::BPF_ALU | operation | libc::BPF_K, value);
    let mark = u32::try_from(MARK).unwrap_or_default();
    attach(
        socket,
        &[
            // The version of IP decides where the class stands.
            load(libc::BPF_B, 0),
            with(libc::BPF_RSH, 4),
            jump(libc::BPF_JEQ, 4, 0, 2),
            load(libc::BPF_B, 1),
            jump(libc::BPF_JA, 3, 0, 0),
            load(libc::BPF_H, 0),
            with(libc::BPF_RSH, 4),
            with(libc::BPF_AND, 0xff),
            with(libc::BPF_AND, CLASS),
            jump(libc::BPF_JEQ, mark, 0, 1),
            give(marked),
            give(others),
        ],
    )
}

/// Marks a connection before it is made.
///
/// # Errors
/// The errno of setsockopt(2).
pub(crate) fn mark(socket: &impl AsFd, to: SocketAddr) -> nix::Result<()> {
    match to {
        SocketAddr::V4(_) => setsockopt(socket, sockopt::Ipv4Tos, &MARK),
        SocketAddr::V6(_) => setsockopt(socket, sockopt::Ipv6TClass, &MARK),
    }
}

fn statement(code: u32, value: u32) -> libc::sock_filter {
    libc::sock_filter {
        code: u16::try_from(code).unwrap_or_default(),
        jt: 0,
        jf: 0,
        k: value,
    }
}

fn jump(condition: u32, value: u32, jt: u8, jf: u8) -> libc::sock_filter {
    let code = libc::BPF_JMP | condition | libc::BPF_K;
    libc::sock_filter {
        jt,
        jf,
        ..statement(code, value)
    }
}

fn attach(socket: &OwnedFd, program: &[libc::sock_filter]) -> nix::Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::E2BIG)?;
    let program = libc::sock_fprog {
        len: length,
        filter: program.as_ptr().cast_mut(),
    };
    let size = u32::try_from(size_of_val(&program)).unwrap_or_default();
    // SAFETY: the kernel only reads `size` bytes of `program`, and the `len` statements that it points to, which
    // outlive the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const program).cast(),
            size,
        )
    };
    Errno::result(result).map(drop)
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::sys::listening::{Sharing, address, tcp};

    /// Two that listen on the same address.
    fn two(at: &str) -> Option<(OwnedFd, OwnedFd, SocketAddr)> {
        let first = tcp(&[at.parse().unwrap()], Sharing::First).ok()?;
        let bound = address(&first).unwrap();
        let second = tcp(&[bound], Sharing::Next).unwrap();
        Some((first, second, bound))
    }

    fn waits_at(listener: &TcpListener) -> bool {
        listener.set_nonblocking(true).unwrap();
        match listener.accept() {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                false
            }
        }
    }

    fn connect(to: SocketAddr, marked: bool) {
        use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, connect};
        let family = if to.is_ipv6() {
            AddressFamily::Inet6
        } else {
            AddressFamily::Inet
        };
        let socket =
            nix::sys::socket::socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)
                .unwrap();
        if marked {
            mark(&socket, to).unwrap();
        }
        connect(socket.as_raw_fd(), &SockaddrStorage::from(to)).unwrap();
        drop(TcpStream::from(socket));
    }

    #[test]
    fn connections_go_where_they_are_steered() {
        for at in ["127.0.0.1:0", "[::1]:0", "[::]:0"] {
            // A machine without IPv6.
            let Some((first, second, bound)) = two(at) else {
                continue;
            };
            let to: SocketAddr = match at {
                "[::]:0" => SocketAddr::from(([127, 0, 0, 1], bound.port())),
                _ => bound,
            };
            let (a, b) = (TcpListener::from(first), TcpListener::from(second));
            let group = OwnedFd::from(a.try_clone().unwrap());
            for (steering, plain, marked) in [
                (Steering::First, false, false),
                (Steering::FirstUnlessMarked, false, true),
                (Steering::SecondUnlessMarked, true, false),
            ] {
                steer(&group, steering).unwrap();
                for (is_marked, to_second) in [(false, plain), (true, marked)].repeat(20) {
                    connect(to, is_marked);
                    let went = (waits_at(&a), waits_at(&b));
                    assert_eq!(
                        went,
                        (!to_second, to_second),
                        "{at} {steering:?} {is_marked}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_one_that_is_left_is_the_first_one() {
        let (first, second, bound) = two("127.0.0.1:0").unwrap();
        steer(&first, Steering::SecondUnlessMarked).unwrap();
        let second = TcpListener::from(second);
        drop(first);
        connect(bound, false);
        assert!(waits_at(&second), "the program names one that is not there");
        let third = tcp(&[bound], Sharing::Next).unwrap();
        let group = OwnedFd::from(second.try_clone().unwrap());
        steer(&group, Steering::First).unwrap();
        connect(bound, false);
        assert!(waits_at(&second));
        steer(&group, Steering::SecondUnlessMarked).unwrap();
        connect(bound, false);
        assert!(waits_at(&TcpListener::from(third)));
    }

    #[test]
    fn a_port_on_which_somebody_listens_is_taken() {
        let (_first, _second, bound) = two("127.0.0.1:0").unwrap();
        assert_eq!(
            tcp(&[bound], Sharing::First).unwrap_err(),
            Errno::EADDRINUSE
        );
    }
}
