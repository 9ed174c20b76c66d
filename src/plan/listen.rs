//! Where the health endpoint listens.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::words::fault::Fault;

/// Where the endpoint listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Listen {
    /// The first address that is free is taken.
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) text: String,
}

impl Listen {
    /// Parses `ADDR:PORT`; without an address, on all addresses of this machine.
    ///
    /// # Errors
    /// It is no address with a port.
    pub(crate) fn parse(text: &str) -> Result<Self, Fault> {
        let text = text.trim();
        let all = |port| {
            // The IPv6 socket takes IPv4, too; but there are containers without IPv6.
            vec![
                SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
                SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
            ]
        };
        let port = text.strip_prefix(':').or_else(|| text.strip_prefix("*:"));
        let addresses = match (port.unwrap_or(text).parse::<u16>(), text.parse()) {
            (Ok(port), _) => all(port),
            (_, Ok(address)) => vec![address],
            _ => {
                let fault = Fault::new(format!("{text:?} is no address with a port"));
                return Err(fault.way_out(bracketed(text).map_or_else(
                    || {
                        "write ADDR:PORT, as 127.0.0.1:9000, or :9000 for all; ports go up to 65535"
                            .into()
                    },
                    |bracketed| format!("an IPv6 address stands in brackets: write {bracketed}"),
                )));
            }
        };
        Ok(Self {
            addresses,
            text: text.to_owned(),
        })
    }

    /// The address at which such an endpoint is asked from its own machine.
    pub(crate) fn reachable(&self) -> impl Iterator<Item = SocketAddr> {
        self.addresses.iter().map(|address| {
            let own: IpAddr = match address.ip() {
                IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
                // With the interface that a link-local one has.
                _ => return *address,
            };
            SocketAddr::new(own, address.port())
        })
    }
}

/// Whether nobody can listen on the one beside the other: the port is the same, and so is the address, or one is all
/// addresses. Of port 0 the kernel finds a free one each time.
pub(crate) fn overlap(one: &[SocketAddr], other: &[SocketAddr]) -> bool {
    // `[::]` takes IPv4, too.
    let has =
        |all: &SocketAddr, ip: IpAddr| all.ip().is_unspecified() && (all.is_ipv6() || ip.is_ipv4());
    one.iter().any(|one| {
        other.iter().any(|other| {
            let is_same = one == other || has(one, other.ip()) || has(other, one.ip());
            one.port() != 0 && one.port() == other.port() && is_same
        })
    })
}

/// What was probably meant, if the brackets of an IPv6 address are missing.
fn bracketed(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.rsplit_once(':')?;
    let ip: Ipv6Addr = ip.parse().ok()?;
    Some(SocketAddr::from((ip, port.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_overlap_on_one_port_where_one_is_all_of_them() {
        let overlap = |one: &str, other: &str| {
            let addresses = |text| Listen::parse(text).unwrap().addresses;
            let (one, other) = (addresses(one), addresses(other));
            assert_eq!(overlap(&one, &other), overlap(&other, &one));
            overlap(&one, &other)
        };
        for (one, other) in [
            (":80", ":80"),
            ("*:80", "80"),
            (":80", "127.0.0.1:80"),
            (":80", "[::1]:80"),
            ("[::]:80", "127.0.0.1:80"),
            ("[::]:80", "0.0.0.0:80"),
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("127.0.0.1:80", "127.0.0.1:80"),
        ] {
            assert!(overlap(one, other), "{one} {other}");
        }
        for (one, other) in [
            (":0", ":0"),
            (":80", ":81"),
            ("127.0.0.1:80", "127.0.0.2:80"),
            ("127.0.0.1:80", "[::1]:80"),
            ("0.0.0.0:80", "[::1]:80"),
        ] {
            assert!(!overlap(one, other), "{one} {other}");
        }
    }
}
