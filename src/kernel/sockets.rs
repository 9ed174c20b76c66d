//! The sockets of `--listen`: opened before anything is started, given to each child (sd_listen_fds(3)), and
//! closed when no other child follows.

use std::ffi::OsString;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use nix::errno::Errno;

use super::Kernel;
use super::fd_store::Store;
use crate::machine::Unopened;
use crate::plan::sockets::{Address, Socket, UNNAMED};
use crate::record::Record;
use crate::sys::listening::Sharing;
use crate::sys::steering::Steering;
use crate::sys::{descriptors, error_text, listening, steering};

/// The first descriptor that is passed on (sd_listen_fds(3), `SD_LISTEN_FDS_START`).
const FIRST: RawFd = 3;

/// See the module's first sentence.
#[derive(Default)]
pub(super) struct Sockets {
    /// Sockets that we were started with ourselves: they are passed on, too, and before ours.
    inherited: usize,
    /// Of those and of ours, in their order.
    names: Vec<String>,
    /// The number from which on ours are kept: above those that they have in the child.
    lowest: RawFd,
    /// What a child has handed over for the next one.
    store: Store,
    /// What unix sockets have left in the file system.
    files: Vec<SocketFile>,
}

struct SocketFile {
    path: String,
    /// Device and inode: another server may have put its own in this place.
    identity: (u64, u64),
}

impl Sockets {
    /// Whether a child gets any, of these or kept.
    pub(super) fn has_some(&self, open: &[OwnedFd]) -> bool {
        !open.is_empty() || !self.store.all().is_empty()
    }

    /// `LISTEN_FDS` and `LISTEN_FDNAMES`, where there are any; who sets `LISTEN_PID` must know the pid. And `FDSTORE`,
    /// where there is room for some.
    pub(super) fn variables(&self, open: &[OwnedFd]) -> Vec<(OsString, OsString)> {
        let mut variables = Vec::new();
        let mut tell = |name: &str, value: String| variables.push((name.into(), value.into()));
        if self.has_some(open) {
            let kept = self.store.all();
            let names = self.names.iter().chain(kept.iter().map(|(name, _)| name));
            let names: Vec<&str> = names.map(String::as_str).collect();
            tell("LISTEN_FDS", names.len().to_string());
            tell("LISTEN_FDNAMES", names.join(":"));
        }
        if self.store.most() > 0 {
            tell("FDSTORE", self.store.most().to_string());
        }
        variables
    }

    /// For the start of a child: the number of the first that we pass on, and these and those that are kept.
    pub(super) fn passed(&self, open: &[OwnedFd]) -> (RawFd, Vec<RawFd>) {
        let kept = self.store.all();
        let open = open.iter().map(AsRawFd::as_raw_fd);
        let all = open.chain(kept.into_iter().map(|(_, fd)| fd));
        (number(self.inherited), all.collect())
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    pub(super) fn empty_store(&mut self) {
        self.store.clear();
    }

    /// Removes the files of unix sockets, as far as they are still ours.
    pub(super) fn remove_files(&mut self) {
        for file in self.files.drain(..) {
            if SocketFile::of(&file.path).is_some_and(|found| found.identity == file.identity) {
                // Whoever removes a directory first has saved us the trouble.
                let _ = fs::remove_file(&file.path);
            }
        }
    }

    fn open(&mut self, socket: &Socket, sharing: Sharing) -> nix::Result<OwnedFd> {
        let opened = match &socket.address {
            Address::Tcp(addresses) => listening::tcp(addresses, sharing)?,
            Address::Unix(path) => {
                let opened = listening::unix(path)?;
                self.files.extend(SocketFile::of(path));
                opened
            }
        };
        self.names.push(socket.name.clone());
        descriptors::above(opened, self.lowest)
    }

    /// For the generation that is to be started beside the one that has these.
    ///
    /// # Errors
    /// Which one could not be opened, and why.
    pub(super) fn beside(
        &self,
        sockets: &[Socket],
        open: &[OwnedFd],
    ) -> Result<Vec<OwnedFd>, Unopened> {
        let pairs = sockets.iter().zip(open);
        let opened = pairs.map(|(socket, open)| {
            let opened = match socket.port() {
                // Never the same one: the end of one of the two would be the end of its listening.
                Some(_) => listening::tcp_address(open).and_then(|address| {
                    steering::steer(open, Steering::FirstUnlessMarked)?;
                    listening::tcp(&[address], Sharing::Next)
                }),
                // There is no other way to its queue: both accept from it.
                None => open
                    .try_clone()
                    .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or_default())),
            };
            opened
                .and_then(|opened| descriptors::above(opened, self.lowest))
                .map_err(|errno| {
                    let why = format!("--listen {}: {}", socket.text, error_text(errno as i32));
                    match errno {
                        Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::ENOBUFS => {
                            Unopened::NotNow(why)
                        }
                        _ => Unopened::Never(why),
                    }
                })
        });
        opened.collect()
    }
}

/// Steers new connections at all of these addresses.
///
/// # Errors
/// The first errno; the others are steered nevertheless.
pub(super) fn steer_all(
    sockets: &[Socket],
    open: &[OwnedFd],
    steering: Steering,
) -> nix::Result<()> {
    let pairs = sockets.iter().zip(open);
    pairs
        .filter(|(socket, _)| socket.port().is_some())
        .map(|(_, open)| steering::steer(open, steering))
        .fold(Ok(()), nix::Result::and)
}

/// By what /proc calls them.
pub(super) fn inodes(open: &[OwnedFd]) -> Vec<u32> {
    open.iter().filter_map(listening::inode).collect()
}

impl SocketFile {
    fn of(path: &str) -> Option<Self> {
        let found = fs::symlink_metadata(path).ok()?;
        found.file_type().is_socket().then(|| Self {
            path: path.to_owned(),
            identity: (found.dev(), found.ino()),
        })
    }
}

/// The descriptor that the child has for the socket with this index.
fn number(index: usize) -> RawFd {
    FIRST.saturating_add(RawFd::try_from(index).unwrap_or(RawFd::MAX))
}

/// The names of the sockets that were meant for us (sd_listen_fds(3)).
fn inherited(own_pid: i32) -> Vec<String> {
    let variable = |name| std::env::var(name).unwrap_or_default();
    let is_ours = variable("LISTEN_PID").parse() == Ok(own_pid);
    let told: usize = variable("LISTEN_FDS").parse().unwrap_or(0);
    let there = (0..told).take_while(|index| descriptors::is_inherited(number(*index)));
    let count = if is_ours { there.count() } else { 0 };
    named(&variable("LISTEN_FDNAMES"), count)
}

/// So many names; what has none has the name that sd_listen_fds(3) gives it.
pub(super) fn named(names: &str, count: usize) -> Vec<String> {
    let names = names.split(':').filter(|name| !name.is_empty());
    let names = names.chain(std::iter::repeat(UNNAMED)).take(count);
    names.map(str::to_owned).collect()
}

impl Kernel {
    /// # Errors
    /// Where nobody can listen, and why, as it is to be told.
    pub(super) fn open_sockets(&mut self) -> Result<(), String> {
        let plan = std::rc::Rc::clone(&self.plan);
        let room = if plan.keeps_descriptors() {
            plan.fd_store_max
        } else {
            0
        };
        if plan.sockets.is_empty() && room == 0 {
            return Ok(());
        }
        let names = inherited(self.own_pid);
        let before = names.len();
        self.start.sockets.inherited = before;
        self.start.sockets.names = names;
        for fd in (before..before + plan.sockets.len()).map(number) {
            if descriptors::is_inherited(fd) {
                self.trouble(format!(
                    "descriptor {fd} was inherited, but the child gets a socket of --listen in its place"
                ));
            }
        }
        let lowest = number(before + plan.sockets.len() + room);
        self.start.sockets.store = Store::new(room, lowest);
        self.start.sockets.lowest = lowest;
        let sharing = if plan.replaces() {
            Sharing::First
        } else {
            Sharing::Alone
        };
        for socket in &plan.sockets {
            match self.start.sockets.open(socket, sharing) {
                Ok(opened) => self.life.listeners.push(opened),
                Err(errno) => {
                    self.close_sockets();
                    let why = match socket.port() {
                        Some(_) => listening::refusal(errno),
                        None => error_text(errno as i32),
                    };
                    return Err(format!("--listen {}: cannot listen: {why}", socket.text));
                }
            }
        }
        Ok(())
    }

    /// From now on only children have them.
    pub(super) fn close_sockets(&mut self) {
        self.life.listeners.clear();
        if let Some(beside) = &mut self.beside {
            beside.listeners.clear();
        }
        self.start.sockets.empty_store();
    }

    /// Where we listen for the child.
    pub(crate) fn listening(&self) -> impl Iterator<Item = Record> {
        let open = self.life.listeners.iter();
        self.plan.sockets.iter().zip(open).map(|(socket, open)| {
            let address = listening::address(open).filter(|_| socket.port().is_some());
            Record::Listening {
                name: socket.name.clone(),
                address: address.map_or_else(|| socket.text.clone(), |address| address.to_string()),
                chosen: socket.port() == Some(0),
            }
        })
    }
}
