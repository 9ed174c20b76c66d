//! Calls to the outside that need no other program: an HTTP request, one UDP datagram, or
//! the goodbye of a service.
//!
//! They are carried out in a process of their own (`sys::fork`): resolving a
//! name blocks, a server may never answer, and neither may touch PID 1.

mod brief;
#[cfg(test)]
pub(crate) mod fuzz;
mod http;
mod mdns;
mod udp;
#[cfg(feature = "doctor")]
pub(crate) mod unix;

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::plan::call::{Call, Payload, Request, Server};
pub(crate) use http::{AGENT, Listener, answer, ask, ask_one_of};

// To the outside.
/// Carries out a call; blocks for at most about `patience`, and longer only while a name is resolved.
///
/// # Errors
/// Why it is no success, as it is to be told.
pub(crate) fn carry_out(
    call: &Call,
    payload: Option<&Payload>,
    patience: Duration,
    which: Listener,
) -> Result<(), String> {
    match (call, payload) {
        (Call::Http(request), Some(payload)) => http::send(request, payload, patience, which),
        (Call::Http(request), None) => ask_one_of(request, patience, which),
        (Call::Udp(datagram), _) => udp::send(datagram),
        (Call::Goodbye(service), _) => mdns::say_goodbye(service),
    }
}

/// Opens a connection and closes it again; as long as `carry_out`.
///
/// # Errors
/// Why there is none, as it is to be told.
pub(crate) fn reach(server: &Server, patience: Duration) -> Result<(), String> {
    first_that_connects(&server.addresses()?, patience).map(drop)
}

/// A connection to the first address that takes one.
fn first_that_connects(addresses: &[SocketAddr], patience: Duration) -> Result<TcpStream, String> {
    // A silent address does not eat the time of the others.
    let share = patience / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    let mut why = "the name has no address".to_owned();
    for address in addresses {
        match TcpStream::connect_timeout(address, share) {
            // Where nobody listens on a port that is given to clients, too, we may meet ourselves (TCP's
            // simultaneous open, RFC 9293, section 3.5).
            Ok(stream) if stream.local_addr().ok() == Some(*address) => {
                why = crate::sys::error_text(libc::ECONNREFUSED);
            }
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                why = "no connection in time".to_owned();
            }
            Err(error) => why = crate::sys::error_text(error.raw_os_error().unwrap_or(0)),
        }
    }
    Err(why)
}

impl Server {
    fn addresses(&self) -> Result<Vec<SocketAddr>, String> {
        // An address is taken as it is; only names need a resolver.
        (self.host.as_str(), self.port)
            .to_socket_addrs()
            .map(Iterator::collect)
            .map_err(|error| format!("{}: {error}", self.host))
    }
}

impl Request {
    /// Where the server is.
    ///
    /// # Errors
    /// The name is not known.
    pub(crate) fn addresses(&self) -> Result<Vec<SocketAddr>, String> {
        self.server.addresses()
    }
}
