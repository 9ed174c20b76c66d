//! One dump over netlink gives the TCP sockets on the asked local ports, both address
//! families, filtered in the kernel, in bounded time, whatever the kernel answers.
//!
//! Sources: sock_diag(7), netlink(7), and `include/uapi/linux/inet_diag.h`. The layouts are read at
//! their documented offsets from plain bytes, so that a short or strange message is an error and is
//! never misread. One request of the older kind, TCPDIAG_GETSOCK, covers both families in one walk
//! over the kernel's hash table, which is most of the cost of a look; where it is refused, two of
//! the newer kind, SOCK_DIAG_BY_FAMILY, do the same.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};

use crate::drain::rules::{Connection, Segments, TcpInfo, TcpState};

/// The longest time that one dump may take. The kernel answers at once; this is a bound for the
/// unexpected.
const BOUND: Duration = Duration::from_millis(250);
/// The kernel fills at most 32 KiB at once, and more only if a single message needs it.
const BUFFER: usize = 32 * 1024;
/// No message is larger than this; a larger size is an error.
const BUFFER_MAX: usize = 1024 * 1024;
/// The kernel checks a filter in a time that grows with the square of its length. With more ranges
/// of ports than this everything is dumped and filtered here.
const RANGES_MAX: usize = 128;

const TCPDIAG_GETSOCK: u16 = 18;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSG_OVERRUN: u16 = 4;
const INET_DIAG_REQ_BYTECODE: u16 = 1;
const INET_DIAG_INFO: u16 = 2;
const INET_DIAG_BC_JMP: u8 = 1;
const INET_DIAG_BC_S_GE: u8 = 2;
const INET_DIAG_BC_S_LE: u8 = 3;
const NLMSG_HEADER: usize = 16;
const SOCKID: usize = 48;
const DIAG_MSG: usize = 72;

/// Why a dump gave nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DumpError {
    /// The kernel does not have it, or a sandbox does not allow it: it makes no sense to ask again.
    Refused(Errno),
    /// This time it did not work.
    Failed(Errno),
    /// The answer is not what the protocol says.
    Malformed,
    /// The answer did not come in time.
    TimedOut,
    /// The tables changed during each of several dumps.
    Interrupted,
}

impl fmt::Display for DumpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(errno) => write!(f, "sock_diag is refused: {}", errno.desc()),
            Self::Failed(errno) => write!(f, "sock_diag failed: {}", errno.desc()),
            Self::Malformed => f.write_str("sock_diag gave an answer that makes no sense"),
            Self::TimedOut => f.write_str("sock_diag did not answer in time"),
            Self::Interrupted => f.write_str("the socket tables changed during each dump"),
        }
    }
}

impl std::error::Error for DumpError {}

impl From<Errno> for DumpError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::EPERM
            | Errno::EACCES
            | Errno::ENOENT
            | Errno::ENOSYS
            | Errno::EINVAL
            | Errno::EOPNOTSUPP
            | Errno::EPROTONOSUPPORT
            | Errno::ESOCKTNOSUPPORT
            | Errno::EAFNOSUPPORT => Self::Refused(errno),
            _ => Self::Failed(errno),
        }
    }
}

/// The states to dump, as the kernel's bit set.
fn bits(states: &[TcpState]) -> u32 {
    states
        .iter()
        .fold(0, |set, &state| set | 1 << (state as u8))
}

/// A netlink socket and its buffer, kept from look to look.
#[derive(Debug)]
pub(crate) struct SockDiag {
    /// `None` after a dump that was given up: what is still queued would answer the next one; and until it could be
    /// opened.
    socket: Option<OwnedFd>,
    buffer: Vec<u8>,
    request: Vec<u8>,
    sequence: u32,
    /// TCPDIAG_GETSOCK was refused.
    by_family: bool,
}

impl SockDiag {
    /// Opens the socket, in the network namespace of the caller, close-on-exec. Where there is no descriptor or
    /// memory for it now the next dump opens it.
    ///
    /// # Errors
    /// There is none to be had.
    pub(crate) fn open() -> Result<Self, DumpError> {
        let socket = match netlink() {
            Err(DumpError::Failed(
                Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::ENOBUFS,
            )) => None,
            opened => Some(opened?),
        };
        Ok(Self {
            socket,
            buffer: Vec::new(),
            request: Vec::new(),
            sequence: 0,
            by_family: false,
        })
    }

    /// Puts into `out` every TCP socket in one of `states` whose local port is one of `ports`; with
    /// `None` on any port. A socket that moves during the dump may be in it twice.
    pub(crate) fn dump(
        &mut self,
        states: &[TcpState],
        ports: Option<&[u16]>,
        out: &mut Vec<Connection>,
    ) -> Result<(), DumpError> {
        out.clear();
        if ports.is_some_and(<[u16]>::is_empty) {
            return Ok(());
        }
        let until = Instant::now() + BOUND;
        let mut tries = 0;
        loop {
            let result = if self.by_family {
                self.by_family(states, ports, out, until)
            } else {
                self.one(AddressFamily::Unspec, states, ports, out, until)
            };
            tries += 1;
            match result {
                Ok(()) => break,
                Err(DumpError::Refused(Errno::EPERM | Errno::EACCES)) => return result,
                Err(DumpError::Refused(_)) if !self.by_family => self.by_family = true,
                Err(DumpError::Interrupted | DumpError::Failed(Errno::EBUSY | Errno::ENOBUFS))
                    if tries < 4 => {}
                // The buffer has grown by now.
                Err(DumpError::Failed(Errno::EMSGSIZE)) if tries < 4 => {}
                Err(_) => return result,
            }
            out.clear();
        }
        if let Some(ports) = ports {
            // Where the ports are too many for a filter in the kernel; otherwise this keeps all.
            let wanted = ranges(ports);
            out.retain(|c| within(&wanted, c.local.port()));
        }
        Ok(())
    }

    fn by_family(
        &mut self,
        states: &[TcpState],
        ports: Option<&[u16]>,
        out: &mut Vec<Connection>,
        until: Instant,
    ) -> Result<(), DumpError> {
        self.one(AddressFamily::Inet, states, ports, out, until)?;
        match self.one(AddressFamily::Inet6, states, ports, out, until) {
            // A kernel without IPv6 has no sockets of it.
            Err(DumpError::Refused(Errno::ENOENT | Errno::EAFNOSUPPORT)) => Ok(()),
            result => result,
        }
    }

    fn one(
        &mut self,
        family: AddressFamily,
        states: &[TcpState],
        ports: Option<&[u16]>,
        out: &mut Vec<Connection>,
        until: Instant,
    ) -> Result<(), DumpError> {
        // Kept only when the dump was read to its end.
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => netlink()?,
        };
        self.sequence = self.sequence.wrapping_add(1);
        build(&mut self.request, self.sequence, family, states, ports);
        retry(|| send(socket.as_raw_fd(), &self.request, MsgFlags::MSG_DONTWAIT))?;
        if self.buffer.len() < BUFFER {
            self.buffer.resize(BUFFER, 0);
        }
        let mut interrupted = false;
        loop {
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
            let length = match retry(|| recv(socket.as_raw_fd(), &mut self.buffer, flags)) {
                Ok(length) => length,
                Err(Errno::EAGAIN) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(DumpError::TimedOut);
                    }
                    let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
                    let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
                    retry(|| poll(&mut fds, timeout))?;
                    continue;
                }
                Err(errno) => return Err(errno.into()),
            };
            if length > BUFFER_MAX {
                return Err(DumpError::Malformed);
            }
            let Some(datagram) = self.buffer.get(..length) else {
                // MSG_TRUNC tells the true length: the datagram was larger than the buffer.
                self.buffer.resize(length, 0);
                return Err(DumpError::Failed(Errno::EMSGSIZE));
            };
            match read_datagram(datagram, self.sequence, &mut interrupted, out)? {
                true if interrupted => {
                    self.socket = Some(socket);
                    return Err(DumpError::Interrupted);
                }
                true => {
                    self.socket = Some(socket);
                    return Ok(());
                }
                false if Instant::now() > until => return Err(DumpError::TimedOut),
                false => {}
            }
        }
    }
}

fn netlink() -> Result<OwnedFd, DumpError> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let protocol = SockProtocol::NetlinkSockDiag;
    Ok(socket(
        AddressFamily::Netlink,
        SockType::Datagram,
        flags,
        protocol,
    )?)
}

fn retry<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

fn build(
    request: &mut Vec<u8>,
    sequence: u32,
    family: AddressFamily,
    states: &[TcpState],
    ports: Option<&[u16]>,
) {
    let info = 1u8 << (INET_DIAG_INFO - 1);
    let states = bits(states).to_ne_bytes();
    request.clear();
    // struct nlmsghdr; its length is filled in at the end, the port id 0 is the kernel.
    request.extend_from_slice(&[0; 4]);
    let compat = family == AddressFamily::Unspec;
    let kind = if compat {
        TCPDIAG_GETSOCK
    } else {
        SOCK_DIAG_BY_FAMILY
    };
    request.extend_from_slice(&kind.to_ne_bytes());
    request.extend_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    request.extend_from_slice(&sequence.to_ne_bytes());
    request.extend_from_slice(&[0; 4]);
    if compat {
        // struct inet_diag_req: family, lengths of source and destination, extensions, id, states.
        request.extend_from_slice(&[0, 0, 0, info]);
        request.extend_from_slice(&[0; SOCKID]);
        request.extend_from_slice(&states);
        request.extend_from_slice(&[0; 4]);
    } else {
        // struct inet_diag_req_v2: family, protocol, extensions, padding, states, id.
        request.extend_from_slice(&[family as u8, libc::IPPROTO_TCP as u8, info, 0]);
        request.extend_from_slice(&states);
        request.extend_from_slice(&[0; SOCKID]);
    }
    let ranges = ports.map(ranges).unwrap_or_default();
    if !ranges.is_empty() && ranges.len() <= RANGES_MAX {
        let filter = filter(&ranges);
        request.extend_from_slice(&((4 + filter.len()) as u16).to_ne_bytes());
        request.extend_from_slice(&INET_DIAG_REQ_BYTECODE.to_ne_bytes());
        request.extend_from_slice(&filter);
    }
    let length = (request.len() as u32).to_ne_bytes();
    if let Some(place) = request.get_mut(..4) {
        place.copy_from_slice(&length);
    }
}

/// Ports as ascending ranges without gaps between them.
fn ranges(ports: &[u16]) -> Vec<(u16, u16)> {
    let mut sorted = ports.to_vec();
    sorted.sort_unstable();
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for port in sorted {
        match ranges.last_mut() {
            Some(last) if port <= last.1.saturating_add(1) => last.1 = port,
            _ => ranges.push((port, port)),
        }
    }
    ranges
}

fn within(ranges: &[(u16, u16)], port: u16) -> bool {
    let after = ranges.partition_point(|range| range.0 <= port);
    after
        .checked_sub(1)
        .and_then(|i| ranges.get(i))
        .is_some_and(|range| port <= range.1)
}

/// The filter program: "at least the first and at most the last of this range, or of the next".
///
/// Each operation is `{ u8 code, u8 yes, u16 no }`, and `yes` and `no` say how many bytes to go on.
/// A comparison of ports is two operations long, the second holding the port in `no`. The socket is
/// taken when the program ends exactly at its end, and left when it jumps four bytes past it.
fn filter(ranges: &[(u16, u16)]) -> Vec<u8> {
    // A range takes 20 bytes, the last one 16 because it needs no jump to the end: so a jump by 20
    // from its beginning leads to the next range, or past the end.
    const RANGE: usize = 20;
    let mut program = Vec::with_capacity(ranges.len() * RANGE);
    let mut op = |code: u8, yes: u8, no: usize| {
        program.extend_from_slice(&[code, yes]);
        program.extend_from_slice(&(no as u16).to_ne_bytes());
    };
    for (index, &(first, last)) in ranges.iter().enumerate() {
        op(INET_DIAG_BC_S_GE, 8, RANGE);
        op(0, 0, first.into());
        op(INET_DIAG_BC_S_LE, 8, RANGE - 8);
        op(0, 0, last.into());
        let after = ranges.len() - index - 1;
        if after > 0 {
            op(INET_DIAG_BC_JMP, 4, after * RANGE);
        }
    }
    program
}

/// Reads one datagram of the answer: `true` when the dump is at its end.
pub(in crate::drain) fn read_datagram(
    mut bytes: &[u8],
    sequence: u32,
    interrupted: &mut bool,
    out: &mut Vec<Connection>,
) -> Result<bool, DumpError> {
    if bytes.is_empty() {
        return Err(DumpError::Malformed);
    }
    while !bytes.is_empty() {
        let length = u32_at(bytes, 0).ok_or(DumpError::Malformed)? as usize;
        if length < NLMSG_HEADER {
            return Err(DumpError::Malformed);
        }
        let message = bytes.get(..length).ok_or(DumpError::Malformed)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        let kind = u16_at(message, 4).ok_or(DumpError::Malformed)?;
        let flags = u16_at(message, 6).ok_or(DumpError::Malformed)?;
        if u32_at(message, 8) != Some(sequence) {
            continue;
        }
        *interrupted |= flags & NLM_F_DUMP_INTR != 0;
        let payload = message.get(NLMSG_HEADER..).unwrap_or_default();
        match kind {
            // Both carry a negative errno; a dump that ended well carries 0 or, long ago, nothing.
            NLMSG_DONE | NLMSG_ERROR => {
                let code = u32_at(payload, 0).map_or(0, |code| code as i32);
                return match (kind, code) {
                    (NLMSG_DONE, 0..) => Ok(true),
                    (_, 0..) => Err(DumpError::Malformed),
                    (_, code) => Err(Errno::from_raw(code.saturating_neg()).into()),
                };
            }
            NLMSG_OVERRUN => return Err(DumpError::Failed(Errno::ENOBUFS)),
            TCPDIAG_GETSOCK | SOCK_DIAG_BY_FAMILY => {
                out.extend(read_socket(payload).ok_or(DumpError::Malformed)?);
            }
            _ => {}
        }
    }
    Ok(false)
}

/// Reads one `struct inet_diag_msg` and its attributes: `None` if it is too short, and no
/// connection if its family or state is one that we do not know.
fn read_socket(payload: &[u8]) -> Option<Option<Connection>> {
    let attributes = payload.get(DIAG_MSG..)?;
    let (family, state) = (*payload.first()?, TcpState::from_number(*payload.get(1)?));
    let address = |port: usize, ip: usize| -> Option<Option<SocketAddr>> {
        let port = u16::from_be_bytes(payload.get(port..port + 2)?.try_into().ok()?);
        let ip: [u8; 16] = payload.get(ip..ip + 16)?.try_into().ok()?;
        let ip = match libc::c_int::from(family) {
            libc::AF_INET => IpAddr::V4(Ipv4Addr::from(*ip.first_chunk::<4>()?)),
            // An IPv4 client of a `[::]` listener is shown with its IPv4 address.
            libc::AF_INET6 => Ipv6Addr::from(ip).to_canonical(),
            _ => return Some(None),
        };
        Some(Some(SocketAddr::new(ip, port)))
    };
    let (Some(state), Some(local), Some(remote)) = (state, address(4, 8)?, address(6, 24)?) else {
        return Some(None);
    };
    Some(Some(Connection {
        cookie: u64::from(u32_at(payload, 44)?) | u64::from(u32_at(payload, 48)?) << 32,
        local,
        remote,
        state,
        recv_queue: u32_at(payload, 56)?,
        send_queue: u32_at(payload, 60)?,
        inode: u32_at(payload, 68)?,
        info: read_attributes(attributes),
    }))
}

/// Finds INET_DIAG_INFO among the attributes. A broken one ends the search: the connection then
/// counts as one of which nothing is known.
fn read_attributes(mut bytes: &[u8]) -> Option<TcpInfo> {
    loop {
        let length = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)?;
        let value = bytes.get(4..length)?;
        if kind == INET_DIAG_INFO {
            return read_info(value);
        }
        bytes = bytes.get(length.next_multiple_of(4)..)?;
    }
}

/// Reads `struct tcp_info`, which has grown at its end with the kernel: what is needed is there
/// since 4.1.
fn read_info(value: &[u8]) -> Option<TcpInfo> {
    Some(TcpInfo {
        last_data_sent: u32_at(value, 44)?,
        last_data_recv: u32_at(value, 52)?,
        bytes_received: u64_at(value, 128)?,
        bytes_sent: u64_at(value, 200).or_else(|| u64_at(value, 120))?,
        last_ack_recv: u32_at(value, 56)?,
        round_trip: u32_at(value, 68)?,
        segments: read_segments(value),
    })
}

/// There since 4.6.
fn read_segments(value: &[u8]) -> Option<Segments> {
    let sent = u32_at(value, 156)?;
    Some(Segments {
        received: u32_at(value, 152)?,
        sent,
        bare: u32_at(value, 136)?.wrapping_sub(sent),
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests;
