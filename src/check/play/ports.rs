//! Whether somebody listens on a port, on whatever address: by the kernel's table, or else by trying to listen there. What
//! neither shows is unknown.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use crate::drain::look::listening;
use crate::sys::error_text;

/// Those of the ports that somebody listens on.
///
/// # Errors
/// It cannot be found out, and why.
pub(crate) fn taken(ports: &[u16]) -> Result<Vec<u16>, String> {
    if ports.is_empty() {
        return Ok(Vec::new());
    }
    let listened = listening("/proc/self/net");
    let mut taken = Vec::new();
    for port in ports {
        let is_taken = match &listened {
            Some(listened) => listened.values().any(|other| other == port),
            None => cannot_be_bound(*port)?,
        };
        if is_taken {
            taken.push(*port);
        }
    }
    Ok(taken)
}

/// Whether a server could not listen on the port on all addresses. Connections in TIME_WAIT do not count:
/// they do not prevent a restarted server from listening.
fn cannot_be_bound(port: u16) -> Result<bool, String> {
    let all: [SocketAddr; 2] = [
        (Ipv4Addr::UNSPECIFIED, port).into(),
        (Ipv6Addr::UNSPECIFIED, port).into(),
    ];
    for address in all {
        // std sets SO_REUSEADDR.
        match TcpListener::bind(address) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => return Ok(true),
            // An ordinary user may not have a port below 1024, whether it is free or not.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                return Err(format!(
                    "whether port {port} is free cannot be seen: /proc/net/tcp cannot be read, and listening there: {}",
                    error_text(error.raw_os_error().unwrap_or(0))
                ));
            }
            // A machine without IPv6 has no port of it that could be taken.
            Ok(_) | Err(_) => {}
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_one_address_takes_the_port() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            // Without IPv6 there is nothing to see.
            let Ok(listener) = TcpListener::bind(address) else {
                continue;
            };
            let port = listener.local_addr().expect("it is bound").port();
            assert_eq!(taken(&[port]), Ok(vec![port]), "{address}");
            assert_eq!(cannot_be_bound(port), Ok(true), "{address}");
        }
    }
}
