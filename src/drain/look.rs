//! All that the main loop asks about connections: whether ports are listened on, what is in flight,
//! when to look again, and what the kernel has still to send when the child is gone.
//!
//! Everything here returns in bounded time, a few milliseconds as a rule, and nothing is left
//! running between two calls.

mod descriptors;
pub(super) mod proc_net;
pub(super) mod sock_diag;
mod sockets;
pub(super) mod threads;
mod waits;

use std::cell::LazyCell;
use std::collections::HashSet;
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use crate::drain::look::descriptors::{ReadBudget, sockets};
use crate::drain::look::sock_diag::SockDiag;
use crate::drain::look::sockets::Owners;
use crate::drain::look::waits::ThreadWaits;
use crate::drain::rules::{Connection, LookResult, TcpState, Tracker, View, Wait, pace};
use crate::sys::descriptors::Room;
use crate::words::duration::Shown;

/// Rule 1: the states that can hold a request.
const SERVED: [TcpState; 3] = [
    TcpState::Established,
    TcpState::CloseWait,
    TcpState::SynRecv,
];
/// The states of a socket that its process has closed and whose data may still be under way.
const LEAVING: [TcpState; 3] = [TcpState::FinWait1, TcpState::LastAck, TcpState::Closing];

/// So long a connection may take to be made: a SYN that was lost is sent again after a second (RFC 6298, section 2).
const HANDSHAKES: Duration = Duration::from_millis(1500);

/// The ports that are listened on by these tables (`/proc/PID/net`), by the inode of the socket; `None` where
/// they cannot be read.
#[cfg(any(feature = "check", feature = "doctor"))]
pub(crate) fn listening(tables: &str) -> Option<std::collections::BTreeMap<u64, u16>> {
    let mut found = Vec::new();
    proc_net::dump(tables, &[TcpState::Listen], None, &mut found).ok()?;
    let ports = found
        .iter()
        .map(|socket| (u64::from(socket.inode), socket.local.port()));
    Some(ports.collect())
}

/// Which local ports are drained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ports {
    /// Every port the tree has been seen listening on.
    Auto,
    List(Vec<u16>),
}

/// Why a look gave nothing.
#[derive(Debug)]
pub(crate) enum LookError {
    /// sock_diag did not work this time; it may work the next time.
    SockDiag(sock_diag::DumpError),
    /// sock_diag is refused, and /proc/net/tcp cannot be read either.
    Both(sock_diag::DumpError, io::Error),
}

impl fmt::Display for LookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SockDiag(e) => e.fmt(f),
            Self::Both(e, proc) => write!(f, "{e}; /proc/net/tcp cannot be read: {proc}"),
        }
    }
}

impl std::error::Error for LookError {}

/// Where the sockets are read from.
#[derive(Debug)]
enum SocketSource {
    SockDiag(SockDiag),
    ProcNet(sock_diag::DumpError),
}

impl SocketSource {
    fn open() -> Self {
        match SockDiag::open() {
            Ok(diag) => {
                tracing::debug!("sockets are read through sock_diag");
                Self::SockDiag(diag)
            }
            Err(why) => Self::refused(why),
        }
    }

    fn refused(why: sock_diag::DumpError) -> Self {
        tracing::debug!("sockets are read from /proc/net/tcp: {why}");
        Self::ProcNet(why)
    }

    fn dump(
        &mut self,
        states: &[TcpState],
        ports: Option<&[u16]>,
        out: &mut Vec<Connection>,
    ) -> Result<(), LookError> {
        if let Self::SockDiag(diag) = self {
            match diag.dump(states, ports, out) {
                Err(refused @ sock_diag::DumpError::Refused(_)) => *self = Self::refused(refused),
                result => return result.map_err(LookError::SockDiag),
            }
        }
        match self {
            Self::ProcNet(why) => proc_net::dump(proc_net::OURS, states, ports, out)
                .map_err(|e| LookError::Both(*why, e)),
            Self::SockDiag(_) => Ok(()),
        }
    }
}

/// A TCP port on which one of these processes listens.
pub(crate) fn listened_on(tree: impl FnOnce() -> Vec<Pid>) -> Option<u16> {
    let mut found = Vec::new();
    let listen = [TcpState::Listen];
    let _room = Room::make();
    SocketSource::open().dump(&listen, None, &mut found).ok()?;
    let mut owners = Owners::default();
    owners.listeners(Duration::ZERO, &found, tree, || own(&[]));
    owners.ports().min()
}

/// A port on which the tree does not listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) port: u16,
    /// Another process listens on it.
    pub(crate) taken: bool,
}

/// The first of these TCP ports on which the tree does not listen, in the network namespace of the child.
/// With `None` for the tree, and where the owner cannot be found out, any listener counts.
///
/// The kernel is asked for listeners on just these ports: thousands of connections do not make a look
/// more expensive.
pub(crate) fn first_not_listened_on(
    ports: &[u16],
    child: Option<i32>,
    tree: Option<impl FnOnce() -> Vec<Pid>>,
) -> Result<Option<Missing>, LookError> {
    let namespace = |of: &str| std::fs::read_link(format!("/proc/{of}/ns/net")).ok();
    let elsewhere = child.map(|pid| pid.to_string()).filter(|pid| {
        let (ours, its) = (namespace("self"), namespace(pid));
        its.is_some() && its != ours
    });
    let mut found = Vec::new();
    let in_its_own = elsewhere.is_some_and(|pid| {
        let tables = format!("/proc/{pid}/net");
        proc_net::dump(&tables, &[TcpState::Listen], Some(ports), &mut found).is_ok()
    });
    if !in_its_own {
        SocketSource::open().dump(&[TcpState::Listen], Some(ports), &mut found)?;
    }
    let mut owners = Owners::default();
    let anybody = tree.is_none();
    if let Some(tree) = tree.filter(|_| !found.is_empty()) {
        owners.listeners(Duration::ZERO, &found, tree, || own(&[]));
    }
    let missing = ports.iter().find_map(|&port| {
        let mut there = found.iter().filter(|socket| socket.local.port() == port);
        let unknown = |socket: &Connection| anybody || socket.inode == 0;
        let listens = owners.listens(port) || there.clone().any(unknown);
        let taken = there.next().is_some();
        (!listens).then_some(Missing { port, taken })
    });
    Ok(missing)
}

/// What the kernel still has to send on connections that their process has closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Leaving {
    pub(crate) connections: usize,
    /// Bytes that the peer has not acknowledged; a FIN counts as one.
    pub(crate) bytes: u64,
}

/// Everything known about the drained ports.
#[derive(Debug)]
pub(crate) struct DrainedPorts {
    ports: Ports,
    /// Sockets of this process that belong to the tree, by their inodes.
    passed_on: Vec<u32>,
    is_steered: bool,
    /// Since when it is known, and the connections that were there soon after, by their cookies; of those that were
    /// being made, the ones that were there at once.
    steered_since: Option<Duration>,
    known: HashSet<u64>,
    being_made: HashSet<u64>,
    /// Those of the list, or those seen so far, ascending.
    drained: Vec<u16>,
    tracker: Tracker,
    source: SocketSource,
    owners: Owners,
    waits: ThreadWaits,
    found: Vec<Connection>,
    listeners: Vec<Connection>,
    /// Connections that were there when the processes were gone, by their cookies.
    left: Option<HashSet<u64>>,
    next: Duration,
}

impl DrainedPorts {
    /// Opens one descriptor, close-on-exec, in the network namespace of the caller. Never fails: if sock_diag
    /// is refused, [`DrainedPorts::fallback`] says so.
    pub(crate) fn new(ports: Ports, tracker: Tracker) -> Self {
        let mut drained = match &ports {
            Ports::Auto => Vec::new(),
            Ports::List(list) => list.clone(),
        };
        drained.sort_unstable();
        drained.dedup();
        Self {
            ports,
            passed_on: Vec::new(),
            is_steered: false,
            steered_since: None,
            known: HashSet::new(),
            being_made: HashSet::new(),
            drained,
            tracker,
            source: SocketSource::open(),
            owners: Owners::default(),
            waits: ThreadWaits::default(),
            found: Vec::new(),
            listeners: Vec::new(),
            left: None,
            next: Duration::ZERO,
        }
    }

    /// Where others listen on the same addresses, and new connections go to them (`is_steered`), a connection that
    /// nobody has taken yet may be one of theirs: the queues of these sockets tell how many are not.
    pub(crate) fn with_passed_on(self, passed_on: Vec<u32>, is_steered: bool) -> Self {
        Self {
            passed_on,
            is_steered,
            ..self
        }
    }

    /// Why only /proc/net/tcp is read, if that is so, and every open connection counts as in
    /// flight. It is logged once. Known after the first look.
    pub(crate) fn fallback(&self) -> Option<sock_diag::DumpError> {
        match self.source {
            SocketSource::SockDiag(_) => None,
            SocketSource::ProcNet(why) => Some(why),
        }
    }

    fn refresh<F: FnOnce() -> Vec<Pid>>(
        &mut self,
        now: Duration,
        tree: &LazyCell<Vec<Pid>, F>,
    ) -> Result<(), LookError> {
        let auto = self.ports == Ports::Auto;
        let wanted = if auto { None } else { Some(&self.drained[..]) };
        self.source
            .dump(&[TcpState::Listen], wanted, &mut self.listeners)?;
        self.owners.listeners(
            now,
            &self.listeners,
            || tree.to_vec(),
            || own(&self.passed_on),
        );
        if auto {
            self.drained.extend(self.owners.ports());
            self.drained.sort_unstable();
            self.drained.dedup();
        }
        Ok(())
    }

    /// One look. `now` rises from look to look; `tree` is called only if it is needed and gives the processes of the
    /// tree, without this one.
    ///
    /// After an error the idle looks start over, and the next look may well succeed.
    pub(crate) fn look(
        &mut self,
        now: Duration,
        tree: impl FnOnce() -> Vec<Pid>,
    ) -> Result<LookResult, LookError> {
        let started = Instant::now();
        let tree = LazyCell::new(tree);
        let result = self.look_now(now, &tree);
        let took = started.elapsed();
        self.next = match &result {
            Ok(look) => {
                let next = pace(look, took, self.tracker.quiet());
                let LookResult {
                    in_flight, idle, ..
                } = look;
                tracing::trace!(
                    "{in_flight} in flight, {idle} idle: looked for {}, again in {}",
                    Shown(took),
                    Shown(next)
                );
                next
            }
            Err(_) => {
                self.tracker.missed();
                Duration::from_millis(100)
            }
        };
        result
    }

    fn look_now<F: FnOnce() -> Vec<Pid>>(
        &mut self,
        now: Duration,
        tree: &LazyCell<Vec<Pid>, F>,
    ) -> Result<LookResult, LookError> {
        if self.owners.stale(now) {
            self.refresh(now, tree)?;
        }
        self.source
            .dump(&SERVED, Some(&self.drained), &mut self.found)?;
        let untaken = if self.is_steered {
            // One that was reset stays in the queue, but is no connection any more.
            let without_socket = self.found.iter().filter(|c| c.inode == 0).count();
            self.leave_out_those_of_others(now);
            self.untaken()?.min(without_socket)
        } else {
            0
        };
        self.owners.forget(&self.found);
        let mut view = TreeView {
            now,
            pids: tree,
            found: &self.found,
            budget: ReadBudget::new(ReadBudget::LOOK),
            owners: &mut self.owners,
            waits: &mut self.waits,
        };
        let mut look = self.tracker.look(now, &self.found, &mut view);
        if untaken > 0 {
            look.in_flight += untaken;
            look.drained = false;
            self.tracker.missed();
        }
        Ok(look)
    }

    /// What appears once connections have been steered elsewhere for a while is not ours. Those that were being made
    /// at that moment have become connections until then; their handshakes end at our sockets, and nowhere else.
    fn leave_out_those_of_others(&mut self, now: Duration) {
        let is_made = |c: &Connection| c.state != TcpState::SynRecv;
        if self.steered_since.is_none() {
            let being_made = self.found.iter().filter(|c| !is_made(c));
            self.being_made = being_made.map(|c| c.cookie).collect();
        }
        let since = *self.steered_since.get_or_insert(now);
        if now.saturating_sub(since) < HANDSHAKES {
            self.known
                .extend(self.found.iter().map(|connection| connection.cookie));
        }
        let (known, being_made) = (&self.known, &self.being_made);
        self.found.retain(|c| match is_made(c) {
            true => c.inode != 0 && known.contains(&c.cookie),
            false => being_made.contains(&c.cookie),
        });
    }

    /// How many connections wait in the queues of these sockets: the kernel has them in the place of a listener's
    /// bytes (tcp_diag.c).
    fn untaken(&mut self) -> Result<usize, LookError> {
        let drained = Some(&self.drained[..]);
        self.source
            .dump(&[TcpState::Listen], drained, &mut self.listeners)?;
        let ours = self.listeners.iter();
        let ours = ours.filter(|listener| self.passed_on.contains(&listener.inode));
        let waiting = ours
            .map(|listener| u64::from(listener.recv_queue))
            .sum::<u64>();
        Ok(usize::try_from(waiting).unwrap_or(usize::MAX))
    }

    /// How long to wait between the last look and the next.
    pub(crate) fn next_look(&self) -> Duration {
        self.next
    }

    /// What the kernel has still to deliver on the drained ports once the processes are gone. It
    /// would be lost if the network namespace went away now.
    ///
    /// Where the tree has ended before it was seen where it listens, any port may be one of them. What comes after the
    /// first look is of others.
    pub(crate) fn leaving(&mut self) -> Result<Leaving, LookError> {
        let is_any = self.ports == Ports::Auto && !self.owners.were_seen();
        let ports = Some(&self.drained[..]).filter(|_| !is_any);
        self.source.dump(&LEAVING, ports, &mut self.found)?;
        let ours = self
            .left
            .get_or_insert_with(|| self.found.iter().map(|c| c.cookie).collect());
        let found = self.found.iter().filter(|c| ours.contains(&c.cookie));
        let left = found.filter(|c| c.send_queue > 0);
        Ok(left.fold(Leaving::default(), |sum, c| Leaving {
            connections: sum.connections + 1,
            bytes: sum.bytes + u64::from(c.send_queue),
        }))
    }
}

/// The sockets of this process that belong to it alone.
fn own(passed_on: &[u32]) -> HashSet<u32> {
    let mut inodes = HashSet::new();
    sockets(
        &[Pid::this()],
        &mut ReadBudget::new(ReadBudget::LISTENERS),
        |inode| {
            inodes.insert(inode);
            true
        },
    );
    inodes.retain(|inode| !passed_on.contains(inode));
    inodes
}

struct TreeView<'a, F: FnOnce() -> Vec<Pid>> {
    now: Duration,
    pids: &'a LazyCell<Vec<Pid>, F>,
    found: &'a [Connection],
    budget: ReadBudget,
    owners: &'a mut Owners,
    waits: &'a mut ThreadWaits,
}

impl<F: FnOnce() -> Vec<Pid>> View for TreeView<'_, F> {
    fn wait(&mut self, c: &Connection) -> Wait {
        self.waits
            .wait(self.now, c, self.found, &mut self.budget, || {
                self.pids.to_vec()
            })
    }

    fn ours(&mut self, c: &Connection) -> bool {
        self.owners
            .ours(self.now, c, &mut self.budget, || self.pids.to_vec())
    }
}

#[cfg(test)]
mod tests;
