//! A connection that holds up the drain, and the rule by which it does.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::record::millis;

/// A connection that holds up the drain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct HeldConnection {
    pub(crate) peer: SocketAddr,
    /// The local one.
    pub(crate) port: u16,
    pub(crate) why: Why,
    /// Since data was last received, or in a handshake since it was first seen.
    #[serde(rename = "waited_ms", serialize_with = "millis")]
    pub(crate) waited: Duration,
}

impl HeldConnection {
    /// Whether nothing but time has passed.
    pub(crate) fn is_as(&self, before: &Self) -> bool {
        (self.peer, self.port, self.why.name()) == (before.peer, before.port, before.why.name())
    }
}

/// Why a connection counts as a request in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Rule 1: the handshake is not over, or the accept queue is full.
    Handshake,
    /// Rule 1, without TCP_INFO: all that can be said is that the connection is there.
    Connected,
    /// Rule 2: the receive queue holds bytes.
    Unread,
    /// Rule 3: the send queue holds bytes.
    Unsent,
    /// Rule 4: something was received, nothing was ever sent.
    Unanswered,
    /// Rule 5: the last data came in.
    Owed,
    /// Rule 6: the last data went in and out within one jiffy, and the order is not known.
    Undecided,
    /// Rule 6: the last data went out less than the quiet time ago; this much of it is left.
    Quiet(Duration),
    /// Rule 7: a blocking server that does not wait for the next request.
    NoReader,
}

impl Why {
    /// As users read it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Connected => "open",
            Self::Unread => "unread",
            Self::Unsent => "unsent",
            Self::Unanswered => "unanswered",
            Self::Owed => "owed",
            Self::Undecided => "undecided",
            Self::Quiet(_) => "quiet-time",
            Self::NoReader => "working",
        }
    }
}

impl Serialize for Why {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
