//! A service of multicast DNS whose end is told to the network: what was announced, as it is written in a hook.

use super::call::decoded;
use crate::words::fault::Fault;

/// A service as DNS-SD names it (RFC 6763, section 4.1), in the domain `local`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Service {
    /// One label, in which any character may stand.
    pub(crate) instance: String,
    /// `_http._tcp`.
    pub(crate) kind: String,
    /// Where it was announced; without it nothing is said of the server and its port.
    pub(crate) port: Option<u16>,
}

pub(super) const MDNS: &str = "mdns://";
const EXAMPLE: &str = "write mdns://INSTANCE._http._tcp.local[:PORT]";
const DOMAIN: &str = ".local";
/// A label of DNS has no more bytes.
const LABEL: usize = 63;

/// Parses `mdns://INSTANCE._SERVICE._tcp.local[:PORT]`, in which `%20` is a blank.
///
/// # Errors
/// What is wrong, where, and the way out.
pub(crate) fn parse(text: &str) -> Result<Service, Fault> {
    let start = text.len() - text.trim_start().len();
    let end = text.trim_end().len().max(start);
    let whole = |message: &str| {
        let fault = Fault::new(message).at(text, start, end);
        Err(fault.way_out(EXAMPLE))
    };
    let is_ours = |scheme: &str| scheme.eq_ignore_ascii_case(MDNS);
    if !text.get(start..start + MDNS.len()).is_some_and(is_ours) {
        return whole("this is no URL");
    }
    let name_at = start + MDNS.len();
    let rest = &text[name_at..end];
    let Some(domain) = rest.to_ascii_lowercase().rfind(DOMAIN) else {
        return whole("only names that end with .local are announced by multicast");
    };
    let (name, after) = (&rest[..domain], &rest[domain + DOMAIN.len()..]);
    let after = after.strip_prefix('.').unwrap_or(after);
    let port = match after.strip_prefix(':') {
        None if after.is_empty() => None,
        None => return whole("the name goes on after .local"),
        Some(port) => match port.parse() {
            Ok(port) if port > 0 => Some(port),
            _ => {
                let fault = Fault::new("the port is no number from 1 to 65535");
                return Err(fault.at(text, end - port.len(), end).way_out(EXAMPLE));
            }
        },
    };
    let parts = name.rsplit_once('.').and_then(|(rest, protocol)| {
        let (instance, service) = rest.rsplit_once('.')?;
        Some((instance, service, protocol))
    });
    let Some((instance, service, protocol)) = parts else {
        return whole("the name has no service, as _http._tcp");
    };
    let protocols = ["_tcp", "_udp"];
    if !protocols.iter().any(|p| p.eq_ignore_ascii_case(protocol)) {
        return whole("before .local stands _tcp or _udp");
    }
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let word = service.strip_prefix('_').unwrap_or_default();
    if word.is_empty() || !word.bytes().all(is_word) || service.len() > LABEL {
        return whole("the name has no service, as _http._tcp");
    }
    let bytes = decoded(instance).map_err(|at| {
        let at = name_at + at;
        Fault::new("% is not followed by two hexadecimal digits")
            .at(text, at, at + 1)
            .way_out("write %25 for the sign itself")
    })?;
    match String::from_utf8(bytes) {
        Ok(instance) if !instance.is_empty() && instance.len() <= LABEL => Ok(Service {
            instance,
            kind: format!("{service}.{protocol}"),
            port,
        }),
        _ => whole("the instance is a text of 1 to 63 bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_has_an_instance_a_kind_and_perhaps_a_port() {
        for (text, instance, kind, port) in [
            ("mdns://web._http._tcp.local", "web", "_http._tcp", None),
            (
                " MDNS://web.2._http._tcp.local.:80 ",
                "web.2",
                "_http._tcp",
                Some(80),
            ),
            (
                "mdns://My%20Web: a._ipp._UDP.Local:631",
                "My Web: a",
                "_ipp._UDP",
                Some(631),
            ),
        ] {
            let expected = Service {
                instance: instance.to_owned(),
                kind: kind.to_owned(),
                port,
            };
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_mistake_is_told_with_the_way_out() {
        for (text, message) in [
            (" ", "this is no URL at column 2"),
            ("mdns://web._http._tcp", "only names that end with .local"),
            ("mdns://web._http._tcp.local:x", "the port is no number"),
            ("mdns://web._http._tcp.local:0", "the port is no number"),
            ("mdns://web._http._tcp.localhost", "goes on after .local"),
            ("mdns://web._http._sctp.local", "stands _tcp or _udp"),
            ("mdns://web.http._tcp.local", "has no service"),
            ("mdns://_http._tcp.local", "has no service"),
            ("mdns://._http._tcp.local", "1 to 63 bytes"),
            ("mdns://a%2._http._tcp.local", "write %25"),
        ] {
            let fault = parse(text).unwrap_err().to_string();
            assert!(fault.contains(message), "{text}: {fault}");
        }
    }
}
