//! Rules 1 to 7 of the drain: whether a connection, as the kernel describes it, has a request in flight.

use std::time::Duration;

use super::rules::{Connection, Segments, TcpInfo, TcpState, Wait};
use crate::plan::drain::{Protocol, QUIET, QUIET_UNSEEN};
use crate::record::held::Why;

/// How long after an answer a client without another request acknowledges it, in milliseconds, besides the
/// round trip. RFC 9293 allows 500; Linux takes 40 to 200.
const ACKNOWLEDGED: u32 = 500;
/// After this long a request that is not answered is acknowledged alone, in milliseconds. The kernel does it
/// after 200 at most (TCP_DELACK_MAX).
const ALONE: u32 = 300;

/// How long to wait for what cannot be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    /// How long after its last byte an answer counts as finished (rule 6), if it was given.
    pub(crate) quiet: Option<Duration>,
    /// How long the drain may take, which is the longest wait for any connection.
    pub(crate) longest: Duration,
}

impl Patience {
    pub(super) fn quiet(self) -> Duration {
        self.quiet.unwrap_or(QUIET)
    }

    fn quiet_unseen(self) -> Duration {
        self.quiet.unwrap_or(QUIET_UNSEEN)
    }

    /// A short quiet time is about pauses only: it does not tell whether an answer is owed.
    fn undecided(self) -> Duration {
        self.quiet_unseen().max(QUIET_UNSEEN).min(self.longest)
    }
}

/// Judges one connection by rules 1 to 7: `None` when it is idle. `silence` is how long nothing has been
/// sent either way, which is all that counts for some protocols.
pub(super) fn judge(
    c: &Connection,
    protocol: Protocol,
    silence: Duration,
    patience: Patience,
    wait: impl FnOnce() -> Wait,
) -> Option<Why> {
    let half_closed = match c.state {
        TcpState::Established => false,
        TcpState::CloseWait => true,
        TcpState::SynRecv => return Some(Why::Handshake),
        _ => return None,
    };
    // The client's FIN takes a sequence number: until it is read it counts as a byte in the receive
    // queue, and ever after as a byte received. It is not a request.
    let fin = u32::from(half_closed);
    if c.recv_queue > fin {
        return Some(Why::Unread);
    }
    if c.send_queue > 0 {
        return Some(Why::Unsent);
    }
    let Some(info) = c.info else {
        return Some(Why::Connected);
    };
    let is_unused = info.bytes_received <= u64::from(fin);
    let quiet = |long: Duration, age: Duration| {
        let left = long.saturating_sub(age);
        (!left.is_zero()).then_some(Why::Quiet(left))
    };
    if protocol == Protocol::Opaque {
        // The server may greet first, and the client may send without ever being answered.
        let is_unused = is_unused && info.bytes_sent == 0;
        return quiet(patience.quiet_unseen(), silence).filter(|_| !is_unused);
    }
    if is_unused {
        return None;
    }
    if info.bytes_sent == 0 {
        return Some(Why::Unanswered);
    }
    if protocol.multiplexes() {
        return quiet(patience.quiet_unseen(), silence);
    }
    if info.last_data_recv < info.last_data_sent {
        return Some(Why::Owed);
    }
    match wait() {
        Wait::Reader => None,
        Wait::NoReader => Some(Why::NoReader),
        Wait::Unknown => {
            let age = Duration::from_millis(info.last_data_sent.into());
            let long = if protocol == Protocol::Tls && info.may_be_handshake() {
                patience.quiet_unseen()
            } else {
                patience.quiet()
            };
            if let Some(why) = quiet(long, age) {
                return Some(why);
            }
            let is_tie = info.last_data_recv == info.last_data_sent;
            let undecided = is_tie && !info.answered_quickly() && age < patience.undecided();
            undecided.then_some(Why::Undecided)
        }
    }
}

/// A TLS handshake takes no more segments of the server, certificates and session tickets included.
const HANDSHAKE_SEGMENTS: u32 = 6;
/// Session tickets follow the end of the handshake as soon as the server runs, in milliseconds.
const TICKETS: u32 = 1_000;

impl TcpInfo {
    /// Where the last data went in and out within one jiffy: whether that was a quick answer for certain, and
    /// not the next request behind the last answer.
    ///
    /// A client that sends its next request after an answer acknowledges the answer with that request, and
    /// sends nothing after it. A client that sends no request acknowledges later, as a rule. A request that
    /// is not answered soon is acknowledged on its own; so a server that has done that at most once, for the
    /// first request, has answered all of them.
    fn answered_quickly(&self) -> bool {
        let round_trips = self.round_trip.saturating_mul(2) / 1000;
        let delayed = ACKNOWLEDGED.saturating_add(round_trips);
        let acknowledged_after = self.last_data_sent.saturating_sub(self.last_ack_recv);
        if (1..=delayed).contains(&acknowledged_after) {
            return true;
        }
        let Some(Segments {
            received,
            sent,
            bare,
        }) = self.segments
        else {
            return false;
        };
        // An acknowledgment that came later was asked for, when the kernel of this side probed whether the
        // client lives. It says nothing, but then most connections are idle ones.
        let probed = acknowledged_after > 0 && received <= sent;
        received == 1 || probed || bare <= 1 && self.last_data_sent >= ALONE
    }

    /// Whether the last data that the server sent may be the end of a TLS 1.3 handshake. The session
    /// tickets go out behind the first request, when that has come already.
    fn may_be_handshake(&self) -> bool {
        let sent_after = self.last_data_recv.saturating_sub(self.last_data_sent);
        let few = self.segments.is_none_or(|s| s.sent <= HANDSHAKE_SEGMENTS);
        few && sent_after <= TICKETS
    }
}
