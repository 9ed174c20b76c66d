//! Sockets that are opened for the command (`--listen`), and how they are written.

use std::net::SocketAddr;

use crate::plan::listen::{self, Listen};
use crate::words::fault::Fault;

/// A socket that listens before the command is started.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Socket {
    /// By which the command knows it (`LISTEN_FDNAMES`).
    pub(crate) name: String,
    pub(crate) address: Address,
    /// The address as the user has written it.
    pub(crate) text: String,
}

/// Where a socket listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Address {
    /// The first that this machine has is taken.
    Tcp(Vec<SocketAddr>),
    /// An absolute path, or an abstract name that begins with `@`.
    Unix(String),
}

/// What a socket without a name is called (sd_listen_fds(3), `sd_listen_fds_with_names`).
pub(crate) const UNNAMED: &str = "unknown";

/// The longest path that an address holds (unix(7)).
const LONGEST_PATH: usize = 107;
/// systemd's own limit (`FDNAME_MAX`).
const LONGEST_NAME: usize = 255;

impl Socket {
    /// The TCP port, where it is said.
    pub(crate) fn port(&self) -> Option<u16> {
        match &self.address {
            Address::Tcp(addresses) => addresses.first().map(SocketAddr::port),
            Address::Unix(_) => None,
        }
    }

    /// Whether an endpoint cannot listen there beside it.
    pub(crate) fn listens_at(&self, endpoint: &Listen) -> bool {
        matches!(&self.address, Address::Tcp(own) if listen::overlap(own, &endpoint.addresses))
    }

    /// Whether it cannot be opened beside the other one.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        match (&self.address, &other.address) {
            (Address::Tcp(own), Address::Tcp(others)) => listen::overlap(own, others),
            (Address::Unix(own), Address::Unix(other)) => own == other,
            _ => false,
        }
    }
}

/// Whether that can be the name of a socket (systemd.socket(5), `FileDescriptorName=`).
pub(crate) fn is_name(name: &str) -> bool {
    let is_of_one = |byte| (b' '..=b'~').contains(&byte) && byte != b':';
    (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(is_of_one)
}

/// Parses `[NAME=]ADDR:PORT` or `[NAME=]unix:PATH`.
///
/// # Errors
/// What is wrong, where, and the way out.
pub(crate) fn parse(text: &str) -> Result<Socket, Fault> {
    let text = text.trim();
    let (name, rest) = match text.split_once('=') {
        // What follows is the address already, and the sign a part of a path.
        Some((before, _)) if before.contains([':', '/', '[']) => (None, text),
        Some((name, rest)) => (Some(name), rest),
        None => (None, text),
    };
    if let Some(name) = name.filter(|name| !is_name(name)) {
        let fault = Fault::new(format!("{name:?} is no name for a socket"));
        return Err(fault
            .at(text, 0, name.len())
            .way_out("write ASCII, 255 characters at most, as web=:8080"));
    }
    let address = match rest.strip_prefix("unix:") {
        Some(path) => Address::Unix(unix(text, path)?),
        None if rest.starts_with(['/', '@']) => {
            let fault = Fault::new(format!("{rest:?} is no address with a port"));
            return Err(fault.way_out(format!("for a unix socket write unix:{rest}")));
        }
        None => Address::Tcp(Listen::parse(rest)?.addresses),
    };
    Ok(Socket {
        name: name.unwrap_or(UNNAMED).to_owned(),
        address,
        text: rest.to_owned(),
    })
}

fn unix(text: &str, path: &str) -> Result<String, Fault> {
    let fault = |what: String| {
        let fault = Fault::new(what).at(text, text.len() - path.len(), text.len());
        fault.way_out("write unix:/run/web.sock, or unix:@NAME for an abstract one")
    };
    if path.is_empty() || path == "@" {
        return Err(fault("the path is missing".to_owned()));
    }
    let path = if path.starts_with('@') {
        path.to_owned()
    } else {
        // The directory of the start is left before the file is removed.
        let absolute = std::path::absolute(path).ok();
        let absolute = absolute.and_then(|path| path.into_os_string().into_string().ok());
        absolute.ok_or_else(|| fault(format!("{path:?} is no path")))?
    };
    if path.len() > LONGEST_PATH {
        return Err(fault(format!(
            "{path:?} has {} bytes, and no more than {LONGEST_PATH} fit into an address",
            path.len()
        )));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_an_address_and_perhaps_a_name() {
        for (text, name, port) in [
            ("127.0.0.1:80", UNNAMED, Some(80)),
            ("web=:80", "web", Some(80)),
            ("a b=[::1]:8080", "a b", Some(8080)),
            ("*:0", UNNAMED, Some(0)),
            ("unix:/run/a=b", UNNAMED, None),
            ("admin=unix:/run/a=b", "admin", None),
            ("unix:@web", UNNAMED, None),
        ] {
            let socket = parse(text).unwrap();
            assert_eq!((&*socket.name, socket.port()), (name, port), "{text}");
        }
        let path = |text| parse(text).unwrap().address;
        assert_eq!(path("unix:/run/a"), Address::Unix("/run/a".to_owned()));
        assert_eq!(path("a=unix:@b"), Address::Unix("@b".to_owned()));
        assert!(matches!(path("unix:a"), Address::Unix(path) if path.starts_with('/')));
    }

    #[test]
    fn a_mistake_shows_the_way_out() {
        let long = format!("unix:/{}", "x".repeat(107));
        for (text, way_out) in [
            ("web", "write ADDR:PORT"),
            ("web=", "write ADDR:PORT"),
            ("=:80", "as web=:8080"),
            ("wéb=:80", "as web=:8080"),
            (":65536", "ports go up to 65535"),
            ("/run/web", "write unix:/run/web"),
            ("web=@a", "write unix:@a"),
            ("unix:", "column 6: write unix:/run"),
            ("unix:@", "column 6: write unix:/run"),
            (&long, "no more than 107"),
        ] {
            let fault = parse(text).unwrap_err().to_string();
            assert!(fault.contains(way_out), "{text}: {fault}");
        }
    }
}
