//! Loopback only: free ports, and connections that cannot hang a story.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};

use super::{BOUND, uninterrupted, wait_until};

/// A TCP port of 127.0.0.1 that is free and that neither another story nor the kernel hands out:
/// they lie below the range for outgoing connections (32768 on, ip(7)).
pub(crate) fn free_port() -> u16 {
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 12_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Another run of the tests begins elsewhere.
    let begin = std::process::id().wrapping_mul(97);
    let taken = taken_ports();
    for _ in 0..COUNT {
        let next = begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = u16::try_from(FIRST + next).expect("below 32768");
        if !taken.contains(&port) {
            return port;
        }
    }
    panic!("no free port from {FIRST} on");
}

/// The local ports in the tables of proc(5), whatever the state of the socket.
///
/// Binding one to see whether it is free would take it: what another story forks at that moment
/// inherits the socket, and until it calls exec the port cannot be listened on.
fn taken_ports() -> HashSet<u16> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(fs::read_to_string);
    let lines = tables.iter().flatten().flat_map(|table| table.lines());
    let local = |line: &str| {
        let address = line.split_ascii_whitespace().nth(1)?;
        u16::from_str_radix(address.rsplit_once(':')?.1, 16).ok()
    };
    lines.filter_map(local).collect()
}

/// Is there IPv6 on loopback?
pub(crate) fn ipv6() -> Result<(), String> {
    let tried = TcpListener::bind("[::1]:0");
    tried.map(drop).map_err(|error| format!("no IPv6: {error}"))
}

/// 127.0.0.1 and a port.
pub(crate) fn address(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Does somebody listen there?
pub(crate) fn is_listening(port: u16) -> bool {
    TcpStream::connect(address(port)).is_ok()
}

/// A connection whose reads and writes give up after [`BOUND`].
#[track_caller]
pub(crate) fn connect(port: u16) -> TcpStream {
    let mut connected = Err(io::Error::other("not tried"));
    wait_until(&format!("port {port} accepts"), || {
        connected = TcpStream::connect(address(port));
        connected.is_ok()
    });
    let stream = connected.expect("just waited for");
    stream
        .set_read_timeout(Some(BOUND))
        .expect("a bound above zero");
    stream
        .set_write_timeout(Some(BOUND))
        .expect("a bound above zero");
    stream
}

/// Sends bytes and reads until the answer satisfies `complete`.
#[track_caller]
pub(crate) fn ask(
    stream: &mut TcpStream,
    bytes: &[u8],
    complete: impl Fn(&[u8]) -> bool,
) -> Vec<u8> {
    stream.write_all(bytes).expect("the server reads");
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    while !complete(&answer) {
        match uninterrupted(|| stream.read(&mut chunk)).expect("the server answers") {
            0 => panic!("closed after {:?}", String::from_utf8_lossy(&answer)),
            count => answer.extend_from_slice(&chunk[..count]),
        }
    }
    answer
}
