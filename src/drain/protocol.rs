//! The protocol of a drained port: its name, its default quiet time, and which of its traffic is only a
//! heartbeat.

use std::collections::HashMap;
use std::time::Duration;

use super::rules::{Connection, TcpInfo};
use crate::plan::drain::Protocol;

/// How many heartbeats may come between two looks, at most.
const MOST: u64 = 8;

impl Protocol {
    /// Whether the order of the last data in and out has no meaning.
    pub(crate) fn multiplexes(self) -> bool {
        matches!(self, Self::H2 | Self::Ws | Self::Opaque)
    }

    /// Whether so many bytes in and out may be a ping and its answer, which only show that both sides are
    /// alive.
    fn is_heartbeat(self, bytes_in: u64, bytes_out: u64) -> bool {
        match self {
            // A PING frame is 17 bytes long both ways (RFC 9113, 6.7), and TLS adds 21, 22 or 29 to it.
            Self::H2 => {
                let frames =
                    |length: u64| bytes_in.is_multiple_of(length) && bytes_in / length <= MOST;
                bytes_in > 0 && bytes_in == bytes_out && [17, 38, 39, 46].into_iter().any(frames)
            }
            // The answer to a ping repeats it, at most 125 bytes, and what comes from the client has a mask of four
            // bytes (RFC 6455, 5.2 and 5.5). TLS adds at most 29.
            Self::Ws => {
                let masks = bytes_in.abs_diff(bytes_out);
                let frames = masks / 4;
                let longest = frames * (2 + 4 + 125 + 29);
                masks.is_multiple_of(4)
                    && (1..=MOST).contains(&frames)
                    && bytes_in.max(bytes_out) <= longest
            }
            Self::Http | Self::Tls | Self::Opaque => false,
        }
    }
}

/// The ports whose protocol is not plain HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Protocols(Vec<(u16, Protocol)>);

impl Protocols {
    pub(crate) fn new(ports: &[(u16, Protocol)]) -> Self {
        let others = ports.iter().filter(|(_, p)| *p != Protocol::Http);
        Self(others.copied().collect())
    }

    pub(super) fn of(&self, port: u16) -> Protocol {
        let found = self.0.iter().find(|(known, _)| *known == port);
        found.map_or(Protocol::Http, |(_, protocol)| *protocol)
    }
}

/// For how long nothing but heartbeats has gone over a connection.
#[derive(Clone, Copy, Debug)]
struct Silence {
    bytes: (u64, u64),
    lasted: Duration,
    at: Duration,
}

/// The silences of the connections on which answers cannot be told from anything else.
#[derive(Clone, Debug, Default)]
pub(super) struct Silences {
    known: HashMap<u64, Silence>,
    before: HashMap<u64, Silence>,
}

impl Silences {
    /// Forgets connections that the last look did not see.
    pub(super) fn next_look(&mut self) {
        self.before = std::mem::take(&mut self.known);
    }

    pub(super) fn of(&mut self, now: Duration, c: &Connection, protocol: Protocol) -> Duration {
        let Some(info) = c.info.filter(|_| protocol.multiplexes()) else {
            return Duration::ZERO;
        };
        let TcpInfo {
            bytes_received,
            bytes_sent,
            ..
        } = info;
        let bytes = (bytes_received, bytes_sent);
        let youngest = Duration::from_millis(info.last_data_sent.min(info.last_data_recv).into());
        let goes_on = self.before.get(&c.cookie).filter(|before| {
            let bytes_in = bytes.0.saturating_sub(before.bytes.0);
            let bytes_out = bytes.1.saturating_sub(before.bytes.1);
            bytes == before.bytes || protocol.is_heartbeat(bytes_in, bytes_out)
        });
        let lasted = goes_on.map_or(youngest, |before| {
            before.lasted + now.saturating_sub(before.at)
        });
        let at = now;
        self.known.insert(c.cookie, Silence { bytes, lasted, at });
        lasted
    }
}
