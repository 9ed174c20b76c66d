//! Tells whether a thread of the tree sleeps in a read of a connection (rule 7). It looks at the
//! threads at most once a look, and not at those that are known to be still asleep.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use nix::unistd::Pid;

use crate::drain::look::descriptors::{Coverage, ReadBudget, inode_of, sockets};
use crate::drain::look::threads::{ServerKind, process};
use crate::drain::rules::{Connection, TcpInfo, Wait};

/// A thread that was seen reading a connection still does as long as the connection has not changed:
/// nothing has come that it could be busy with. A read may time out, so it is looked at again after
/// this time all the same; not sooner, because that takes some 25 µs for each thread.
const PARKED: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug)]
struct Parked {
    tid: Pid,
    seen_at: Duration,
    bytes: (u64, u64),
}

impl Parked {
    fn holds(&self, now: Duration, info: Option<TcpInfo>) -> bool {
        now.saturating_sub(self.seen_at) < PARKED
            && info.is_some_and(|i| (i.bytes_received, i.bytes_sent) == self.bytes)
    }
}

/// The threads of the tree at one look.
#[derive(Debug, Default)]
struct Scan {
    /// The sockets that are read, and the thread that reads each.
    readers: HashMap<u32, Pid>,
    blocking: Vec<Pid>,
    event_loops: Vec<Pid>,
    unreadable: bool,
    /// The sockets of the two kinds of process, read when both kinds are there.
    of_blocking: Option<HashSet<u32>>,
    of_event_loops: Option<Option<HashSet<u32>>>,
}

/// What is known of the threads from look to look.
#[derive(Debug, Default)]
pub(crate) struct ThreadWaits {
    /// By the cookie of the connection.
    parked: HashMap<u64, Parked>,
    /// Processes once seen in an event loop. When one of them runs and no thread of it waits, it is
    /// still one.
    event_loops: HashSet<Pid>,
    scan: Option<(Duration, Scan)>,
    /// What diagnostics have said of each process.
    said: HashMap<Pid, ServerKind>,
}

impl ThreadWaits {
    /// Asks about `c`, one of the connections `found` by the look at `now`.
    pub(crate) fn wait(
        &mut self,
        now: Duration,
        c: &Connection,
        found: &[Connection],
        budget: &mut ReadBudget,
        pids: impl FnOnce() -> Vec<Pid>,
    ) -> Wait {
        if c.inode == 0 {
            return Wait::Unknown;
        }
        if self
            .parked
            .get(&c.cookie)
            .is_some_and(|parked| parked.holds(now, c.info))
        {
            return Wait::Reader;
        }
        if self.scan.as_ref().is_none_or(|(at, _)| *at != now) {
            self.scan = Some((now, self.read(now, found, budget, &pids())));
        }
        let Some((_, scan)) = &mut self.scan else {
            return Wait::Unknown;
        };
        if let Some(&tid) = scan.readers.get(&c.inode) {
            if let Some(info) = c.info {
                let bytes = (info.bytes_received, info.bytes_sent);
                self.parked.insert(
                    c.cookie,
                    Parked {
                        tid,
                        seen_at: now,
                        bytes,
                    },
                );
            }
            return Wait::Reader;
        }
        scan.without_reader(c.inode, budget)
    }

    fn read(
        &mut self,
        now: Duration,
        found: &[Connection],
        budget: &mut ReadBudget,
        pids: &[Pid],
    ) -> Scan {
        let mut still = HashMap::with_capacity(self.parked.len());
        for c in found {
            if let Some(&parked) = self.parked.get(&c.cookie)
                && parked.holds(now, c.info)
            {
                still.insert(c.cookie, parked);
            }
        }
        self.parked = still;
        let known: HashSet<Pid> = self.parked.values().map(|parked| parked.tid).collect();
        let mut scan = Scan::default();
        for &pid in pids {
            let seen = process(pid, &known, budget);
            for (tid, fd) in seen.readers {
                if let Some(inode) = inode_of(pid, fd) {
                    scan.readers.insert(inode, tid);
                }
            }
            self.say(pid, seen.kind);
            match seen.kind {
                ServerKind::EventLoop => {
                    self.event_loops.insert(pid);
                    scan.event_loops.push(pid);
                }
                ServerKind::Blocking { running: true } if self.event_loops.contains(&pid) => {
                    scan.event_loops.push(pid);
                }
                ServerKind::Blocking { .. } => scan.blocking.push(pid),
                ServerKind::Unreadable => scan.unreadable = true,
            }
        }
        self.event_loops.retain(|pid| pids.contains(pid));
        scan
    }

    fn say(&mut self, pid: Pid, kind: ServerKind) {
        if tracing::enabled!(tracing::Level::DEBUG) && self.said.insert(pid, kind) != Some(kind) {
            tracing::debug!(
                "pid {pid}: its threads, read from /proc/{pid}/task/*/syscall: {kind:?}"
            );
        }
    }
}

impl Scan {
    /// A socket that no thread reads: does a blocking server hold it or an event loop?
    fn without_reader(&mut self, inode: u32, budget: &mut ReadBudget) -> Wait {
        if self.blocking.is_empty() {
            return Wait::Unknown;
        }
        if self.event_loops.is_empty() && !self.unreadable {
            return Wait::NoReader;
        }
        let of_blocking = self.of_blocking.get_or_insert_with(|| {
            let mut inodes = HashSet::new();
            sockets(&self.blocking, budget, |inode| {
                inodes.insert(inode);
                true
            });
            inodes
        });
        if !of_blocking.contains(&inode) {
            return Wait::Unknown;
        }
        // A socket that an event loop holds, too, is served by the event loop: the other process
        // has inherited it.
        let of_event_loops = self.of_event_loops.get_or_insert_with(|| {
            let mut inodes = HashSet::new();
            let read = sockets(&self.event_loops, budget, |inode| {
                inodes.insert(inode);
                true
            });
            (self.event_loops.is_empty() || read == Coverage::Whole).then_some(inodes)
        });
        match of_event_loops {
            Some(inodes) if !inodes.contains(&inode) => Wait::NoReader,
            _ => Wait::Unknown,
        }
    }
}

#[cfg(test)]
#[allow(clippy::print_stderr, reason = "a test says what it skipped")]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;
    use std::thread;
    use std::time::Instant;

    use super::*;
    use crate::drain::rules::TcpState;

    fn much() -> ReadBudget {
        ReadBudget::new(ReadBudget::LOOK)
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn served(stream: &TcpStream, bytes_received: u64) -> Connection {
        Connection {
            cookie: stream.as_raw_fd() as u64,
            local: stream.local_addr().unwrap(),
            remote: stream.peer_addr().unwrap(),
            state: TcpState::Established,
            recv_queue: 0,
            send_queue: 0,
            inode: inode_of(Pid::this(), stream.as_raw_fd()).unwrap(),
            info: Some(TcpInfo {
                bytes_received,
                bytes_sent: 1,
                ..TcpInfo::default()
            }),
        }
    }

    #[test]
    fn a_reader_is_remembered_until_its_connection_changes_or_time_passes() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let server = listener.accept().unwrap().0;
        let before = served(&server, 10);
        let reading = server.try_clone().unwrap();
        let reader = thread::spawn(move || {
            // The original keeps its inode in the table; the clone is what this thread waits on.
            let mut byte = [0];
            std::io::Read::read_exact(&mut &reading, &mut byte).unwrap();
        });
        let mut waits = ThreadWaits::default();
        let tree = || vec![Pid::this()];
        let bound = Instant::now() + seconds(30);
        let mut look = Duration::ZERO;
        while waits.wait(look, &before, &[before], &mut much(), tree) != Wait::Reader {
            if Instant::now() > bound {
                let unreadable = waits.scan.as_ref().is_some_and(|(_, scan)| scan.unreadable);
                assert!(unreadable, "{waits:?}");
                eprintln!("skipped: the threads cannot be read here");
                break;
            }
            look += Duration::from_millis(1);
            thread::yield_now();
        }
        let parked = !waits.parked.is_empty();
        client.write_all(b"x").unwrap();
        reader.join().unwrap();
        if !parked {
            return;
        }
        // Not looked at again while nothing has changed, although the thread is gone.
        let later = look + seconds(1);
        let read = || panic!("the threads were read");
        assert_eq!(
            waits.wait(later, &before, &[before], &mut much(), read),
            Wait::Reader
        );
        let after = served(&server, 11);
        assert_ne!(
            waits.wait(later, &after, &[after], &mut much(), tree),
            Wait::Reader
        );
        // The entry is stale as well once its time is over.
        assert_ne!(
            waits.wait(look + PARKED, &before, &[before], &mut much(), tree),
            Wait::Reader
        );
        assert!(waits.parked.is_empty());
    }

    #[test]
    fn without_a_reader_it_depends_on_whose_socket_it_is() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let inode = inode_of(Pid::this(), listener.as_raw_fd()).unwrap();
        let scan = |blocking: &[Pid], event_loops: &[Pid], unreadable| Scan {
            blocking: blocking.to_vec(),
            event_loops: event_loops.to_vec(),
            unreadable,
            ..Scan::default()
        };
        let (this, none) = (Pid::this(), Pid::from_raw(i32::MAX));
        // Nobody is known, everybody blocks, and nobody does.
        assert_eq!(
            scan(&[], &[], false).without_reader(inode, &mut much()),
            Wait::Unknown
        );
        assert_eq!(
            scan(&[none], &[], false).without_reader(inode, &mut much()),
            Wait::NoReader
        );
        assert_eq!(
            scan(&[], &[this], false).without_reader(inode, &mut much()),
            Wait::Unknown
        );
        // Mixed: the holder decides.
        assert_eq!(
            scan(&[this], &[none], false).without_reader(inode, &mut much()),
            Wait::NoReader
        );
        assert_eq!(
            scan(&[this], &[], true).without_reader(inode, &mut much()),
            Wait::NoReader
        );
        assert_eq!(
            scan(&[none], &[this], false).without_reader(inode, &mut much()),
            Wait::Unknown
        );
        assert_eq!(
            scan(&[none], &[], true).without_reader(inode, &mut much()),
            Wait::Unknown
        );
        assert_eq!(
            scan(&[this], &[this], false).without_reader(inode, &mut much()),
            Wait::Unknown
        );
    }

    #[test]
    fn a_connection_in_the_accept_queue_has_no_reader_to_ask_for() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut c = served(&client, 1);
        c.inode = 0;
        let read = || panic!("the threads were read");
        assert_eq!(
            ThreadWaits::default().wait(Duration::ZERO, &c, &[c], &mut much(), read),
            Wait::Unknown
        );
    }
}
