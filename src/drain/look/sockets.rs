//! Finds out which sockets belong to the process tree, as far as /proc shows it, and reads no more
//! of /proc than the answer needs.
//!
//! A process holds a socket when one of its descriptors is a link to `socket:[INODE]` (proc(5),
//! /proc/PID/fd). A connection in an accept queue has no inode yet: it belongs to the process that
//! listens on its port. Reading a large descriptor table costs milliseconds, so it is read only
//! where another process listens on the same port (SO_REUSEPORT, the host's network), or none does
//! any more.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use nix::unistd::Pid;

use crate::drain::look::descriptors::{Coverage, ReadBudget, first_sockets, sockets};
use crate::drain::rules::Connection;

/// How many descriptors of each process are searched for listeners before all the others.
const LOW: usize = 64;
/// How long the known listeners of a port remain valid.
pub(crate) const FRESH: Duration = Duration::from_secs(1);
/// A socket has its inode a moment before its descriptor, and it may be on its way from one process
/// to another, so it is foreign only when this many looks have not found it.
const MISSES: u8 = 2;

/// A listening socket, by its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ListeningSocket {
    ip: IpAddr,
    tree: bool,
}

impl ListeningSocket {
    /// Whether a connection to that local address may have come from it. A listener on `::` takes
    /// IPv4 too, unless it was told not to, which the tables do not show.
    fn accepts(&self, local: IpAddr) -> bool {
        match self.ip {
            IpAddr::V4(ip) if ip.is_unspecified() => local.is_ipv4(),
            ip => ip.is_unspecified() || ip == local,
        }
    }
}

/// What is known of who owns which socket.
#[derive(Debug)]
pub(crate) struct Owners {
    ports: HashMap<u16, Vec<ListeningSocket>>,
    /// Listening sockets found in the tree; a process that inherits one keeps it there.
    listening: HashSet<u32>,
    /// All sockets of the tree when its tables were last read.
    tree: HashSet<u32>,
    read: Coverage,
    /// Connections by cookie, and how many readings have not found them.
    misses: HashMap<u64, u8>,
    /// The look at which the tables were last read, and the one at which the listeners were last
    /// set.
    tables_at: Option<Duration>,
    listeners_at: Option<Duration>,
}

impl Default for Owners {
    fn default() -> Self {
        Self {
            ports: HashMap::new(),
            listening: HashSet::new(),
            tree: HashSet::new(),
            read: Coverage::Whole,
            misses: HashMap::new(),
            tables_at: None,
            listeners_at: None,
        }
    }
}

impl Owners {
    /// Whether [`Owners::listeners`] has to be called again.
    pub(crate) fn stale(&self, now: Duration) -> bool {
        self.listeners_at
            .is_none_or(|at| now.saturating_sub(at) >= FRESH)
    }

    /// Whether [`Owners::listeners`] was called at all.
    pub(crate) fn were_seen(&self) -> bool {
        self.listeners_at.is_some()
    }

    /// Takes all listening sockets, on whatever ports are asked about.
    ///
    /// Where a process of the tree cannot be read, a listener that no other process is known to
    /// hold counts as the tree's; `own` are the sockets of this process, which is no part of it.
    pub(crate) fn listeners(
        &mut self,
        now: Duration,
        found: &[Connection],
        pids: impl FnOnce() -> Vec<Pid>,
        own: impl FnOnce() -> HashSet<u32>,
    ) {
        self.listeners_at = Some(now);
        let inodes: HashSet<u32> = found.iter().map(|c| c.inode).collect();
        self.listening.retain(|inode| inodes.contains(inode));
        let mut read = Coverage::Whole;
        if self.listening.len() < inodes.len() {
            let (pids, mut budget) = (pids(), ReadBudget::new(ReadBudget::LISTENERS));
            // A server listens before it serves, so its listeners are among its first descriptors.
            for depth in [LOW, usize::MAX] {
                read = first_sockets(&pids, depth, &mut budget, &mut |inode| {
                    if inodes.contains(&inode) {
                        self.listening.insert(inode);
                    }
                    self.listening.len() < inodes.len()
                });
                if self.listening.len() == inodes.len() {
                    break;
                }
            }
        }
        let own = if read == Coverage::Part {
            own()
        } else {
            HashSet::new()
        };
        self.ports.clear();
        for listener in found {
            let unknown = read == Coverage::Part && !own.contains(&listener.inode);
            let tree = self.listening.contains(&listener.inode) || unknown;
            let ip = listener.local.ip();
            self.ports
                .entry(listener.local.port())
                .or_default()
                .push(ListeningSocket { ip, tree });
        }
    }

    /// Whether the tree listens on that port.
    pub(crate) fn listens(&self, port: u16) -> bool {
        self.ports
            .get(&port)
            .is_some_and(|at| at.iter().any(|listener| listener.tree))
    }

    /// Every port the tree listens on.
    pub(crate) fn ports(&self) -> impl Iterator<Item = u16> {
        self.ports
            .keys()
            .copied()
            .filter(|&port| self.listens(port))
    }

    /// Whether a connection belongs to the tree, `true` where that cannot be read.
    pub(crate) fn ours(
        &mut self,
        now: Duration,
        c: &Connection,
        budget: &mut ReadBudget,
        pids: impl FnOnce() -> Vec<Pid>,
    ) -> bool {
        let (mut by_tree, mut by_others) = (false, false);
        for listener in self.ports.get(&c.local.port()).into_iter().flatten() {
            if listener.accepts(c.local.ip()) {
                by_tree |= listener.tree;
                by_others |= !listener.tree;
            }
        }
        if by_tree && !by_others {
            return true;
        }
        if c.inode == 0 {
            return by_tree || self.read == Coverage::Part;
        }
        if self.tree.contains(&c.inode) {
            return true;
        }
        let missed = self.misses.get(&c.cookie).copied().unwrap_or(0);
        if missed >= MISSES {
            return false;
        }
        if self.tables_at != Some(now) {
            self.tables_at = Some(now);
            self.tree.clear();
            self.read = sockets(&pids(), budget, |inode| {
                self.tree.insert(inode);
                true
            });
        }
        if self.tree.contains(&c.inode) || self.read == Coverage::Part {
            return true;
        }
        self.misses.insert(c.cookie, missed + 1);
        missed + 1 < MISSES
    }

    /// Forgets connections that no longer exist.
    pub(crate) fn forget(&mut self, found: &[Connection]) {
        if self.misses.len() > found.len() {
            let open: HashSet<u64> = found.iter().map(|c| c.cookie).collect();
            self.misses.retain(|cookie, _| open.contains(cookie));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    use super::*;
    use crate::drain::look::descriptors::inode_of;
    use crate::drain::rules::TcpState;

    fn connection(cookie: u64, port: u16, inode: u32, state: TcpState) -> Connection {
        Connection {
            cookie,
            local: ([127, 0, 0, 1], port).into(),
            remote: ([127, 0, 0, 1], 1).into(),
            state,
            recv_queue: 0,
            send_queue: 0,
            inode,
            info: None,
        }
    }

    fn much() -> ReadBudget {
        ReadBudget::new(ReadBudget::LOOK)
    }

    #[test]
    fn a_port_on_which_the_tree_alone_listens_needs_no_reading() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let inode = inode_of(Pid::this(), listener.as_raw_fd()).unwrap();
        let mut owners = Owners::default();
        assert!(owners.stale(Duration::ZERO));
        let found = [connection(1, port, inode, TcpState::Listen)];
        owners.listeners(Duration::ZERO, &found, || vec![Pid::this()], HashSet::new);
        assert!(owners.listens(port) && !owners.listens(1));
        assert_eq!(owners.ports().collect::<Vec<_>>(), [port]);
        assert!(!owners.stale(FRESH / 2) && owners.stale(FRESH));
        for inode in [0, 1] {
            let c = connection(2, port, inode, TcpState::Established);
            assert!(owners.ours(Duration::ZERO, &c, &mut much(), || panic!(
                "the tables were read"
            )));
        }
    }

    #[test]
    fn a_listener_accepts_what_is_sent_to_its_address() {
        let accepts = |at: &str, local: &str| {
            let listener = ListeningSocket {
                ip: at.parse().unwrap(),
                tree: true,
            };
            listener.accepts(local.parse().unwrap())
        };
        assert!(accepts("127.0.0.1", "127.0.0.1") && !accepts("127.0.0.1", "127.0.0.2"));
        assert!(accepts("0.0.0.0", "127.0.0.1") && !accepts("0.0.0.0", "::1"));
        assert!(accepts("::", "127.0.0.1") && accepts("::", "::1"));
        assert!(accepts("::1", "::1") && !accepts("::1", "127.0.0.1"));
    }

    #[test]
    fn where_others_listen_too_the_descriptors_decide_at_the_second_look() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let client = TcpStream::connect(at).unwrap();
        let mine = inode_of(Pid::this(), client.as_raw_fd()).unwrap();
        let listening = inode_of(Pid::this(), listener.as_raw_fd()).unwrap();
        let mut owners = Owners::default();
        // The inode 1 is never that of a socket of this process.
        let found = [
            connection(1, at.port(), listening, TcpState::Listen),
            connection(2, at.port(), 1, TcpState::Listen),
        ];
        owners.listeners(Duration::ZERO, &found, || vec![Pid::this()], HashSet::new);
        let (ours, foreign) = (
            connection(3, at.port(), mine, TcpState::Established),
            connection(4, at.port(), 1, TcpState::Established),
        );
        let queued = connection(5, at.port(), 0, TcpState::Established);
        let tree = || vec![Pid::this()];
        let second = Duration::from_secs(1);
        assert!(owners.ours(Duration::ZERO, &ours, &mut much(), tree));
        assert!(owners.ours(Duration::ZERO, &queued, &mut much(), tree));
        assert!(
            owners.ours(Duration::ZERO, &foreign, &mut much(), || panic!(
                "read twice at one look"
            ))
        );
        assert!(!owners.ours(second, &foreign, &mut much(), tree));
        assert!(!owners.ours(second * 2, &foreign, &mut much(), || panic!(
            "it was known by then"
        )));
        assert!(owners.ours(second * 2, &ours, &mut much(), || panic!(
            "it was known by then"
        )));
        owners.forget(&[]);
        assert!(owners.misses.is_empty());
        // A queue on a port on which only others listen.
        owners.listeners(second * 3, &found[1..], || vec![Pid::this()], HashSet::new);
        assert!(!owners.ours(second * 3, &queued, &mut much(), tree));
    }
}
