//! Calls to the outside that need no other program: an HTTP request, or one UDP datagram.
//!
//! They are carried out in a process of their own (`sys::fork`): resolving a
//! name blocks, a server may never answer, and neither may touch PID 1.

mod http;
mod udp;

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use crate::plan::call::{Call, Request, Server};
pub(crate) use http::{AGENT, answer, ask, connect, message};

// To the outside.
/// Carries out a call; blocks for at most about `patience`, and longer only while a name is resolved.
///
/// # Errors
/// Why it is no success, as it is to be told.
pub(crate) fn carry_out(call: &Call, patience: Duration) -> Result<(), String> {
    match call {
        Call::Http(request) => ask(request, patience),
        Call::Udp(datagram) => udp::send(datagram),
    }
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
