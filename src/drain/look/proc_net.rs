//! Where sock_diag is refused, /proc/net/tcp and tcp6 still give the sockets on the asked
//! local ports, without what TCP_INFO would say about them.
//!
//! Format: proc(5), /proc/net/tcp. The addresses are 32-bit words printed in the byte order of the
//! machine.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::drain::rules::{Connection, TcpState};

/// The tables of our own network namespace.
pub(crate) const OURS: &str = "/proc/net";

/// Puts into `out` every TCP socket in one of `states` whose local port is one of `ports`; with
/// `None` on any port.
///
/// # Errors
/// A file in `tables` cannot be read: what it holds is not known. A kernel without IPv6 has only the first.
pub(crate) fn dump(
    tables: &str,
    states: &[TcpState],
    ports: Option<&[u16]>,
    out: &mut Vec<Connection>,
) -> io::Result<()> {
    out.clear();
    table(&format!("{tables}/tcp"), states, ports, out)?;
    match table(&format!("{tables}/tcp6"), states, ports, out) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        read => read?,
    }
    // The kernel gives a page at a time and finds its place again by counting, so it may show a socket
    // several times if others come and go meanwhile. Several may listen on one address (SO_REUSEPORT).
    let mut seen = HashSet::new();
    out.retain(|c| {
        let listener = (c.state == TcpState::Listen).then_some(c.inode);
        seen.insert((c.local, c.remote, listener))
    });
    Ok(())
}

fn table(
    path: &str,
    states: &[TcpState],
    ports: Option<&[u16]>,
    out: &mut Vec<Connection>,
) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(64 * 1024, File::open(path)?);
    let mut text = Vec::new();
    loop {
        text.clear();
        match reader.read_until(b'\n', &mut text) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        }
        let Some(found) = str::from_utf8(&text).ok().and_then(line) else {
            continue;
        };
        let wanted = ports.is_none_or(|ports| ports.contains(&found.local.port()));
        if wanted && states.contains(&found.state) {
            out.push(found);
        }
    }
}

/// Reads one line; `None` for the heading and for anything else.
pub(in crate::drain) fn line(text: &str) -> Option<Connection> {
    let mut fields = text.split_ascii_whitespace();
    fields.next()?;
    let (local, remote) = (address(fields.next()?)?, address(fields.next()?)?);
    let state = TcpState::from_number(u8::from_str_radix(fields.next()?, 16).ok()?)?;
    let (send, recv) = fields.next()?.split_once(':')?;
    // tr:tm->when, retrnsmt, uid, timeout, then the inode, the reference count and the address.
    let inode = fields.nth(4)?.parse().ok()?;
    let cookie = fields
        .nth(1)
        .and_then(|at| u64::from_str_radix(at, 16).ok())
        .unwrap_or(0);
    Some(Connection {
        cookie,
        local,
        remote,
        state,
        recv_queue: u32::from_str_radix(recv, 16).ok()?,
        send_queue: u32::from_str_radix(send, 16).ok()?,
        inode,
        info: None,
    })
}

fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| -> Option<[u8; 4]> {
        Some(
            u32::from_str_radix(ip.get(at..at + 8)?, 16)
                .ok()?
                .to_ne_bytes(),
        )
    };
    let ip = match ip.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let mut octets = [0; 16];
            octets
                .iter_mut()
                .zip(words.iter().flatten())
                .for_each(|(to, from)| *to = *from);
            Ipv6Addr::from(octets).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn lines_of_both_tables_are_read() {
        let text = "   1: 0100007F:1F90 0200007F:C350 01 0000000A:00000014 00:00000000 00000000 \
                    0 0 4711 1 00000000f1e2d3c4 20 4 30 10 -1";
        let c = line(text).unwrap();
        assert_eq!(c.local, "127.0.0.1:8080".parse().unwrap());
        assert_eq!(c.remote, "127.0.0.2:50000".parse().unwrap());
        assert_eq!(
            (c.state, c.send_queue, c.recv_queue),
            (TcpState::Established, 10, 20)
        );
        assert_eq!((c.inode, c.cookie, c.info), (4711, 0xf1e2_d3c4, None));
        let text = "  12: B80D0120000000000000000001000000:0050 \
                    0000000000000000FFFF00000100000A:1234 08 00000000:00000000 00:00000000 \
                    00000000 0 0 0 1 0000000000000000 20 4 30 10 -1";
        let c = line(text).unwrap();
        assert_eq!(c.local, "[2001:db8::1]:80".parse().unwrap());
        assert_eq!(c.remote, "10.0.0.1:4660".parse().unwrap());
        assert_eq!((c.state, c.inode), (TcpState::CloseWait, 0));
        for length in 0..text.len() {
            if let Some(part) = text.get(..length) {
                let _ = line(part);
            }
        }
        assert_eq!(
            line("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when"),
            None
        );
        assert_eq!(
            line("  1: zzzzzzzzzzzzzzzz:0050 ÄÄÄÄ:1 01 0:0 0:0 0 0 0 1 1 1"),
            None
        );
    }

    #[test]
    fn what_the_kernel_shows_twice_is_there_once() {
        let line = |remote: &str, state: &str, inode: u32| {
            format!(
                "   0: 0100007F:1F90 {remote} {state} 00000000:00000000 00:00000000 00000000 \
                 0 0 {inode} 1 0000000000000000 20 4 30 10 -1\n"
            )
        };
        let text = [
            line("00000000:0000", "0A", 1),
            line("00000000:0000", "0A", 2),
            line("00000000:0000", "0A", 1),
            line("0100007F:C350", "01", 0),
            line("0100007F:C351", "01", 3),
            // The same one, accepted meanwhile.
            line("0100007F:C350", "01", 4),
        ];
        let tables = tempfile::tempdir().unwrap();
        std::fs::write(tables.path().join("tcp"), text.concat()).unwrap();
        let mut found = Vec::new();
        let states = [TcpState::Listen, TcpState::Established];
        dump(tables.path().to_str().unwrap(), &states, None, &mut found).unwrap();
        let inodes: Vec<_> = found.iter().map(|c| c.inode).collect();
        assert_eq!(inodes, [1, 2, 0, 3]);
    }

    #[test]
    fn half_of_the_tables_is_no_answer() {
        let tables = tempfile::tempdir().unwrap();
        let look = || {
            let tables = tables.path().to_str().unwrap();
            dump(tables, &[TcpState::Listen], None, &mut Vec::new())
        };
        assert!(look().is_err());
        std::fs::write(tables.path().join("tcp"), "").unwrap();
        // A kernel without IPv6.
        assert!(look().is_ok());
        // It is there, and cannot be read.
        std::fs::create_dir(tables.path().join("tcp6")).unwrap();
        assert!(look().is_err());
        std::fs::remove_file(tables.path().join("tcp")).unwrap();
        std::fs::remove_dir(tables.path().join("tcp6")).unwrap();
        std::fs::write(tables.path().join("tcp6"), "").unwrap();
        assert!(look().is_err());
    }

    #[test]
    fn sockets_of_both_families_are_found_by_port_and_state() {
        for at in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(at) else {
                continue;
            };
            let address = listener.local_addr().unwrap();
            let client = TcpStream::connect(address).unwrap();
            let _server = listener.accept().unwrap();
            let mut found = Vec::new();
            let bound = Instant::now() + Duration::from_secs(20);
            // The kernel may also leave one out if others go while the table is read.
            let mut look = |state| loop {
                dump(OURS, &[state], Some(&[address.port()]), &mut found).unwrap();
                // On the other family anybody may have a connection from that port.
                found.retain(|c| c.local == address);
                if !found.is_empty() {
                    break found.iter().map(|c| c.remote).collect::<Vec<_>>();
                }
                assert!(Instant::now() < bound, "{state:?}");
            };
            assert_eq!(look(TcpState::Established), [client.local_addr().unwrap()]);
            assert_eq!(look(TcpState::Listen).len(), 1);
            dump(OURS, &[TcpState::Listen], Some(&[]), &mut found).unwrap();
            assert_eq!(found, []);
        }
    }
}
