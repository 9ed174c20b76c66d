//! Tells all neighbours that a service ends, so that none goes on using it until its records run out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::{InterfaceFlags, if_nametoindex};

use super::udp;
use crate::plan::mdns::Service;
use crate::sys;

const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);

/// Sends the goodbye on each interface that has neighbours, over IPv4 and IPv6. Success is that it was sent on one.
pub(super) fn say_goodbye(service: &Service) -> Result<(), String> {
    let host = nix::unistd::gethostname().map_err(|errno| sys::error_text(errno as i32))?;
    let message = goodbye(service, &host.to_string_lossy());
    let mut why = "no network interface has multicast".to_owned();
    let mut was_sent = false;
    for (own, group) in ways()? {
        match send(own, group, &message) {
            Ok(()) => was_sent = true,
            Err(error) => why = sys::error_text(error.raw_os_error().unwrap_or(0)),
        }
    }
    if was_sent { Ok(()) } else { Err(why) }
}

fn send(own: IpAddr, group: SocketAddr, message: &[u8]) -> std::io::Result<()> {
    // Over IPv4 the kernel takes the interface that has the address to which the socket is bound.
    udp::mdns_socket(own)?.send_to(message, group)?;
    Ok(())
}

/// Each way out, one an interface and protocol: the address to send from, and the group with its interface.
fn ways() -> Result<Vec<(IpAddr, SocketAddr)>, String> {
    let mut ways: Vec<(IpAddr, SocketAddr)> = Vec::new();
    let mut links = Vec::new();
    let addresses = getifaddrs().map_err(|errno| sys::error_text(errno as i32))?;
    for interface in addresses {
        let wanted = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_MULTICAST;
        let (flags, name) = (interface.flags, interface.interface_name);
        let Some(address) = interface.address else {
            continue;
        };
        if !flags.contains(wanted) || flags.contains(InterfaceFlags::IFF_LOOPBACK) {
            continue;
        }
        let (own, group): (IpAddr, SocketAddr) = if let Some(own) = address.as_sockaddr_in() {
            (own.ip().into(), (GROUP_V4, udp::MDNS).into())
        } else if let Some(own) = address.as_sockaddr_in6() {
            let index = if_nametoindex(&name[..]).unwrap_or(own.scope_id());
            let group = SocketAddrV6::new(GROUP_V6, udp::MDNS, 0, index);
            (Ipv6Addr::UNSPECIFIED.into(), group.into())
        } else {
            continue;
        };
        let link = (name, own.is_ipv4());
        if !links.contains(&link) {
            links.push(link);
            ways.push((own, group));
        }
    }
    Ok(ways)
}

const PTR: u16 = 12;
const TXT: u16 = 16;
const SRV: u16 = 33;
const INTERNET: u16 = 1;
/// "There are no other records of this name": whoever keeps one drops it, whatever it says (RFC 6762, section 10.2).
const FLUSH: u16 = 0x8000;

/// An answer that nobody has asked for, with the records that were announced and a time to live of 0 (RFC 6762,
/// section 10.1). The address of the host stays: others may be on it.
pub(super) fn goodbye(service: &Service, host: &str) -> Vec<u8> {
    let kind = name(service.kind.split('.').chain(["local"]));
    let instance = [&label(&service.instance)[..], &kind].concat();
    let mut records = vec![record(&kind, PTR, INTERNET, &instance)];
    if let Some(port) = service.port {
        let host = host.split('.').next().unwrap_or_default();
        // Priority and weight are 0.
        let mut server = vec![0; 4];
        server.extend(port.to_be_bytes());
        server.extend(name([host, "local"]));
        records.push(record(&instance, SRV, INTERNET | FLUSH, &server));
        records.push(record(&instance, TXT, INTERNET | FLUSH, &[0]));
    }
    let count = u16::try_from(records.len()).unwrap_or_default();
    // No number; an answer, by who is in charge; no question.
    let mut message = vec![0, 0, 0x84, 0, 0, 0];
    message.extend(count.to_be_bytes());
    message.extend([0; 4]);
    message.extend(records.concat());
    message
}

fn record(owner: &[u8], kind: u16, class: u16, data: &[u8]) -> Vec<u8> {
    let mut record = owner.to_vec();
    record.extend(kind.to_be_bytes());
    record.extend(class.to_be_bytes());
    record.extend(0_u32.to_be_bytes());
    record.extend(u16::try_from(data.len()).unwrap_or_default().to_be_bytes());
    record.extend(data);
    record
}

fn name<'a>(labels: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    let mut name: Vec<u8> = labels.into_iter().flat_map(label).collect();
    name.push(0);
    name
}

fn label(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut label = vec![u8::try_from(bytes.len()).unwrap_or_default()];
    label.extend(bytes);
    label
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by hand after RFC 1035, section 4, and RFC 2782.
    #[test]
    fn the_message_is_as_the_standard_has_it() {
        let mut service = Service {
            instance: "My Web".to_owned(),
            kind: "_http._tcp".to_owned(),
            port: None,
        };
        let kind = &b"\x05_http\x04_tcp\x05local\0"[..];
        let pointer = [
            &b"\0\0\x84\0\0\0\0\x01\0\0\0\0"[..],
            kind,
            b"\0\x0c\0\x01\0\0\0\0\0\x1d\x06My Web",
            kind,
        ];
        let mut all = pointer.concat();
        // The length of what follows it: one label, and the kind.
        let length = u8::try_from(7 + kind.len()).unwrap();
        let at = 12 + kind.len() + 9;
        all[at] = length;
        assert_eq!(goodbye(&service, "host.example"), all);
        service.port = Some(8080);
        all[7] = 3;
        all.extend(b"\x06My Web");
        all.extend(kind);
        all.extend(b"\0\x21\x80\x01\0\0\0\0\0\x12\0\0\0\0\x1f\x90\x04host\x05local\0");
        all.extend(b"\x06My Web");
        all.extend(kind);
        all.extend(b"\0\x10\x80\x01\0\0\0\0\0\x01\0");
        assert_eq!(goodbye(&service, "host.example"), all);
    }
}
