//! The drain as it was asked for: ports and what they speak, times, conditions.

use std::time::Duration;

use crate::plan::until::Until;

/// How long a connection is quiet to count as idle, where nobody has said it: after an answer a pause may follow
/// in which a stream goes on.
pub(crate) const QUIET: Duration = Duration::from_secs(1);
/// The same where an answer that is owed looks like one that was given: it is computed meanwhile.
pub(crate) const QUIET_UNSEEN: Duration = Duration::from_secs(10);

/// The drain: between the pre-stop hooks and the ladder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Drain {
    /// At least this long, whatever is in flight: load balancers do not know of the stop yet.
    pub(crate) delay: Duration,
    /// At most this long.
    pub(crate) timeout: Duration,
    /// The ports whose requests in flight are counted; without any the drain is the delay alone.
    pub(crate) ports: DrainPorts,
    /// How long a connection must be quiet to count as idle; `None` is the default of its protocol.
    pub(crate) quiet: Option<Duration>,
    pub(crate) checks: Option<Checks>,
    /// What the program itself is asked, besides the ports or without any; all conditions must
    /// hold.
    pub(crate) until: Vec<Until>,
}

impl Drain {
    /// How long it may last.
    pub(crate) fn longest(&self) -> Duration {
        let checks = self.checks.map_or(Duration::ZERO, |checks| checks.timeout);
        self.timeout.max(self.delay).max(checks)
    }
}

/// After the delay the drain also waits until the load balancers know of the stop
/// (`--drain-checks`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Checks {
    /// Each checker was told "not ready" this often.
    pub(crate) times: u32,
    /// How long that is waited for at most.
    pub(crate) timeout: Duration,
}

/// The local ports that are drained.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum DrainPorts {
    None,
    /// Every TCP port that the tree listens on.
    Auto,
    /// These, and what they speak.
    List(Vec<(u16, Protocol)>),
}

/// Decides by which rule a connection counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Protocol {
    /// Requests and answers in turn, in the clear.
    #[default]
    Http,
    /// The same behind TLS, whose handshake ends with data from the server that looks like an answer.
    Tls,
    /// HTTP/2, gRPC too, in the clear or not: answers and control frames hide that another answer is owed.
    H2,
    /// WebSockets: a message may be owed an answer, or none.
    Ws,
    /// Anything else.
    Opaque,
}

impl Protocol {
    pub(crate) const ALL: [(&'static str, Self); 5] = [
        ("http", Self::Http),
        ("tls", Self::Tls),
        ("h2", Self::H2),
        ("ws", Self::Ws),
        ("opaque", Self::Opaque),
    ];
}
