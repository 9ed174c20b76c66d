//! From what the kernel knows of the connections on the drained ports: how many requests are in
//! flight, and when to look again. No system call, no clock.
//!
//! Each look is judged connection by connection, in the order of the rules below, and folded into a
//! [`Tracker`], because a single idle look may fall between two requests.
//!
//! 1. Only ESTABLISHED, CLOSE_WAIT (the client has half-closed, its answer is still owed) and
//!    SYN_RECV (the client may believe it is connected and have sent its request) can hold one. A
//!    SYN_RECV does so for a few seconds only: a lost client, and a listener with TCP_DEFER_ACCEPT,
//!    keep it for a minute.
//! 2. Bytes nobody has read yet are a request, also in the accept queue.
//! 3. Bytes not sent or not acknowledged are an answer under way.
//! 4. A connection that never received anything is idle; one that received and never answered
//!    is busy.
//! 5. Data received after the last data sent is a request whose answer is owed, for as long as it
//!    is computed.
//! 6. Otherwise the last data went out: a finished answer or a pause inside one. Only quiet time tells them
//!    apart. Where the last data went in and out within one jiffy it may have been a quick answer, or the
//!    next request behind the last answer: see [`TcpInfo::answered_quickly`]. What that leaves undecided is
//!    owed an answer, for a while. Some protocols ([`Protocol`](crate::plan::drain::Protocol)) hide more:
//!    there only a longer silence tells.
//! 7. A blocking server says more: a thread asleep reading that socket is waiting for the next
//!    request, and no such thread means that somebody is still working on the answer.
//! 8. Two consecutive idle looks, some time apart, end the drain.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

pub(crate) use crate::drain::judge::Patience;
use crate::drain::judge::judge;
pub(crate) use crate::drain::protocol::Protocols;
use crate::drain::protocol::Silences;
use crate::record::held::{HeldConnection, Why};

/// Two looks closer than this count as one. The ages in TCP_INFO move in steps of one jiffy (up to
/// 10 ms), so looks in the same jiffy could not tell a change from none.
pub(crate) const BETWEEN_LOOKS: Duration = Duration::from_millis(20);
/// How long after a first idle look the second one is due.
const CONFIRM: Duration = Duration::from_millis(50);
/// The shortest time between two looks while requests are in flight.
const SHORTEST: Duration = Duration::from_millis(100);
/// Looks may take one part in this many of a core.
const SHARE: u32 = 150;
/// How long after it was first seen a connection in SYN_RECV counts: time for the client to send
/// once more, and again, what a full accept queue has dropped.
const HANDSHAKE: Duration = Duration::from_secs(3);
/// How many connections in flight a [`LookResult`] names; the others are only counted.
pub(crate) const NAMED: usize = 4;

/// What diagnostics call a connection that holds no request.
const IDLE: &str = "idle";

/// The states of a TCP socket, numbered as in the kernel's `enum tcp_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(crate) enum TcpState {
    Established = 1,
    SynSent = 2,
    SynRecv = 3,
    FinWait1 = 4,
    FinWait2 = 5,
    TimeWait = 6,
    Close = 7,
    CloseWait = 8,
    LastAck = 9,
    Listen = 10,
    Closing = 11,
}

impl TcpState {
    /// The state of that number; `None` for one this kernel has and we do not know.
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Established,
            2 => Self::SynSent,
            // 12 is TCP_NEW_SYN_RECV, the state of a connection request (kernel 4.1 and later).
            3 | 12 => Self::SynRecv,
            4 => Self::FinWait1,
            5 => Self::FinWait2,
            6 => Self::TimeWait,
            7 => Self::Close,
            8 => Self::CloseWait,
            9 => Self::LastAck,
            10 => Self::Listen,
            11 => Self::Closing,
            _ => return None,
        })
    }
}

/// What `struct tcp_info` says of the data that went each way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TcpInfo {
    /// Milliseconds since data was last sent, in steps of a jiffy (`tcpi_last_data_sent`).
    pub(crate) last_data_sent: u32,
    /// Milliseconds since data was last received (`tcpi_last_data_recv`).
    pub(crate) last_data_recv: u32,
    /// Bytes received; a FIN counts as one (`tcpi_bytes_received`).
    pub(crate) bytes_received: u64,
    /// Bytes sent, or where the kernel does not count them (before 4.19) bytes acknowledged, which
    /// is the same once the send queue is empty.
    pub(crate) bytes_sent: u64,
    /// Milliseconds since an acknowledgment was last received, alone or with data (`tcpi_last_ack_recv`).
    pub(crate) last_ack_recv: u32,
    /// The smoothed round-trip time in microseconds (`tcpi_rtt`).
    pub(crate) round_trip: u32,
    /// `None` where the kernel does not count them (before 4.6).
    pub(crate) segments: Option<Segments>,
}

/// How many segments went each way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segments {
    /// Those that carried data (`tcpi_data_segs_in`, `tcpi_data_segs_out`).
    pub(crate) received: u32,
    pub(crate) sent: u32,
    /// Those sent without data (`tcpi_segs_out` less `tcpi_data_segs_out`): acknowledgments, most of them.
    pub(crate) bare: u32,
}

/// One TCP socket as a look finds it. `inode` is 0 while it waits in an accept queue and after
/// its process has closed it. `info` is `None` where the kernel gives none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Connection {
    pub(crate) cookie: u64,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) state: TcpState,
    pub(crate) recv_queue: u32,
    pub(crate) send_queue: u32,
    pub(crate) inode: u32,
    pub(crate) info: Option<TcpInfo>,
}

/// What the threads of the tree do with a connection (rule 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// A thread is asleep in read, recv or poll on this very socket.
    Reader,
    /// It belongs to a blocking server, and no thread is asleep reading it.
    NoReader,
    /// It belongs to an event loop, or the threads cannot be read.
    Unknown,
}

/// What only the process tree can answer. The tracker asks as seldom as it can, because each
/// answer costs reads in /proc.
pub(crate) trait View {
    /// Asked only where rules 1 to 5 leave the connection open.
    fn wait(&mut self, connection: &Connection) -> Wait;
    /// Whether the socket belongs to the tree, `true` where that cannot be read. Asked only of
    /// connections that would hold up the drain.
    fn ours(&mut self, connection: &Connection) -> bool;
}

/// What one look found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LookResult {
    /// Requests in flight in the tree.
    pub(crate) in_flight: usize,
    /// Open connections that hold none.
    pub(crate) idle: usize,
    /// Rule 8: this look and the one before it found nothing in flight.
    pub(crate) drained: bool,
    /// How much quiet time (rule 6) is left, if nothing else is waited for.
    pub(crate) quiet_left: Option<Duration>,
    /// The connections in flight that have waited longest, at most [`NAMED`], the oldest first.
    pub(crate) held: Vec<HeldConnection>,
}

/// The fold over the looks of one drain.
#[derive(Clone, Debug)]
pub(crate) struct Tracker {
    patience: Patience,
    protocols: Protocols,
    silences: Silences,
    /// Connections in SYN_RECV, by both addresses, and when they were first seen.
    handshakes: HashMap<(SocketAddr, SocketAddr), Duration>,
    idle_since: Option<Duration>,
    /// What diagnostics have said of each connection last.
    said: HashMap<(SocketAddr, SocketAddr), &'static str>,
}

impl Tracker {
    pub(crate) fn new(patience: Patience, protocols: Protocols) -> Self {
        Self {
            patience,
            protocols,
            silences: Silences::default(),
            handshakes: HashMap::new(),
            idle_since: None,
            said: HashMap::new(),
        }
    }

    pub(crate) fn quiet(&self) -> Duration {
        self.patience.quiet()
    }

    /// Folds one look in. `now` only has to rise from look to look.
    pub(crate) fn look(
        &mut self,
        now: Duration,
        found: &[Connection],
        view: &mut dyn View,
    ) -> LookResult {
        let mut look = LookResult {
            in_flight: 0,
            idle: 0,
            drained: false,
            quiet_left: None,
            held: Vec::new(),
        };
        let mut only_quiet = true;
        let seen = std::mem::take(&mut self.handshakes);
        self.silences.next_look();
        for connection in found {
            let protocol = self.protocols.of(connection.local.port());
            let silence = self.silences.of(now, connection, protocol);
            let mut threads = None;
            let wait = || *threads.insert(view.wait(connection));
            let why = judge(connection, protocol, silence, self.patience, wait);
            let Some(why) = why else {
                self.say(connection, threads, IDLE);
                look.idle += 1;
                continue;
            };
            let Connection { local, remote, .. } = *connection;
            let mut handshake_for = Duration::ZERO;
            if why == Why::Handshake {
                let since = *seen.get(&(local, remote)).unwrap_or(&now);
                self.handshakes.insert((local, remote), since);
                handshake_for = now.saturating_sub(since);
                if handshake_for >= HANDSHAKE {
                    self.say(connection, threads, "handshake given up");
                    continue;
                }
            }
            if !view.ours(connection) {
                self.say(connection, threads, "not of this tree");
                continue;
            }
            self.say(connection, threads, why.name());
            look.in_flight += 1;
            match why {
                Why::Quiet(left) => look.quiet_left = look.quiet_left.max(Some(left)),
                _ => only_quiet = false,
            }
            let heard = connection.info.map(|info| info.last_data_recv);
            let waited = match why {
                Why::Handshake => handshake_for,
                _ => Duration::from_millis(heard.unwrap_or(0).into()),
            };
            let at = look.held.partition_point(|held| held.waited >= waited);
            if at < NAMED {
                look.held.truncate(NAMED - 1);
                let (peer, port) = (remote, local.port());
                let held = HeldConnection {
                    peer,
                    port,
                    why,
                    waited,
                };
                look.held.insert(at, held);
            }
        }
        if !only_quiet {
            look.quiet_left = None;
        }
        if look.in_flight > 0 {
            self.idle_since = None;
        } else {
            let since = *self.idle_since.get_or_insert(now);
            look.drained = now.saturating_sub(since) >= BETWEEN_LOOKS;
        }
        look
    }

    /// Diagnostics: what was concluded from what. What is as before, or idle from the first, only at level trace.
    fn say(&mut self, c: &Connection, threads: Option<Wait>, verdict: &'static str) {
        if !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let port = c.local.port();
        let evidence = format_args!(
            "connection {:?}, {} bytes unread, {} unsent, {:?}, threads {threads:?}",
            c.state, c.recv_queue, c.send_queue, c.info,
        );
        let before = self.said.insert((c.local, c.remote), verdict);
        if before.unwrap_or(IDLE) == verdict {
            tracing::trace!(peer = %c.remote, port, verdict, "{evidence}");
        } else {
            tracing::debug!(peer = %c.remote, port, verdict, "{evidence}");
        }
    }

    /// A look that failed or was incomplete: nothing is known, so the idle looks start over.
    pub(crate) fn missed(&mut self) {
        self.idle_since = None;
    }
}

/// How long to wait before the next look, when the last one took `cost`.
///
/// Looking stays below one percent of a core, up to the point where that would hold up the stop: a
/// stop may take 300 ms longer than the last answer and its quiet time. An idle look is confirmed
/// soon, and quiet time is waited out exactly. Once nothing is in flight the next look is only
/// about new requests, and there is another look when the drain ends.
pub(crate) fn pace(look: &LookResult, cost: Duration, quiet: Duration) -> Duration {
    if look.in_flight == 0 && !look.drained {
        return CONFIRM;
    }
    let longest = (Duration::from_millis(200) + quiet / 2).min(Duration::from_millis(500));
    let interval = (cost * SHARE).clamp(SHORTEST, longest);
    match look.quiet_left {
        // One jiffy more than is left, so that the look does not come a moment too early.
        Some(left) if left < longest => (left + Duration::from_millis(10)).max(BETWEEN_LOOKS),
        Some(_) => longest,
        None => interval,
    }
}

#[cfg(test)]
mod tests;
