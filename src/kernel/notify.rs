//! sd_notify(3) from below: messages of the child are acted on, and passed on to the service manager that started us.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use nix::errno::Errno;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::fd_store::Store;
use super::upward::Upward;
use crate::machine::Event;
use crate::reactor::Reactor;
use crate::sys;
use crate::sys::notify::{MessageSender, Room};
use crate::sys::tree::{self, Kin};
use message::{Message, Watchdog};

mod message;

/// So many messages wait at most (unix(7), `max_dgram_qlen`; systemd sets 512), and a turn or two may bring none.
const MOST_WAITING: u32 = 2 * 512;

/// After so many errors in a row the next message is waited for, since of one that stayed there nobody would hear
/// before: EAGAIN is not believed once, one that is too long is gone, and what refuses this one may do so for ever.
fn most_failures(errno: Errno) -> u32 {
    match errno {
        Errno::EAGAIN => 2,
        Errno::EMSGSIZE => u32::MAX,
        _ => 8,
    }
}

/// What a descriptor without a name is called (sd_notify(3), `FDNAME=`).
const STORED: &str = "stored";

/// The largest message that is accepted (systemd's own limit).
const LARGEST: usize = 4096;

/// What one life of the command is listened to for.
pub(crate) struct Hearing {
    pub(crate) events: Events,
    pub(crate) upward: Upward,
    /// Whether `READY=1` counts: not if `--ready-when` has another condition.
    pub(crate) awaits_ready: bool,
    /// Whether `WATCHDOG=` counts (`--live-when watchdog:`).
    pub(crate) awaits_watchdog: bool,
    /// The child's, where it is given one (`--user`).
    pub(crate) child_user: Option<u32>,
    /// Where descriptors are kept for the next child.
    pub(crate) store: Option<Store>,
}

/// Where that goes which is for the machine.
pub(crate) struct Events {
    pub(crate) sender: mpsc::UnboundedSender<Event>,
    /// Whose child it is, where two generations may be alive.
    pub(crate) generation: Option<u32>,
}

impl Events {
    fn send(&self, event: Event) {
        let event = match self.generation {
            Some(generation) => event.of(generation),
            None => event,
        };
        // Nobody is there to hear it once the run is over.
        let _ = self.sender.send(event);
    }
}

/// The child's socket; what comes is taken until it is dropped.
pub(crate) struct Socket {
    name: String,
    socket: Arc<AsyncFd<OwnedFd>>,
    /// The last `MAINPID=`; 0 as long as there was none.
    main_pid: Arc<AtomicI32>,
    listening: JoinHandle<()>,
}

impl Socket {
    /// For `NOTIFY_SOCKET`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The process that takes over once the child has ended.
    pub(crate) fn main_pid(&self) -> Option<i32> {
        Some(self.main_pid.load(Ordering::Relaxed)).filter(|pid| *pid > 0)
    }

    fn of(
        name: String,
        socket: Arc<AsyncFd<OwnedFd>>,
        reactor: &Reactor,
        hearing: Hearing,
    ) -> Self {
        let main_pid = Arc::new(AtomicI32::new(0));
        let child = NotifySocket {
            socket: Arc::clone(&socket),
            main_pid: Arc::clone(&main_pid),
            hearing,
            refused: false,
            is_deaf: false,
            reloading: false,
            full: false,
            cut: false,
            in_flight: None,
            status: String::new(),
            unheard: false,
        };
        let listening = reactor.runtime().spawn(child.listen());
        Self {
            name,
            socket,
            main_pid,
            listening,
        }
    }

    /// The same socket for the next life of the command; nothing that was said until now counts for it.
    pub(crate) fn again(&self, reactor: &Reactor, hearing: Hearing) -> Self {
        // The task that has heard the last life does not run again.
        self.listening.abort();
        let mut room = Room::for_credentials();
        for _ in 0..MOST_WAITING {
            if !sys::descriptors::is_readable(self.socket.as_raw_fd()) {
                break;
            }
            let _ = sys::notify::receive(self.socket.get_ref(), &mut [0; LARGEST], &mut room);
        }
        let (name, socket) = (self.name.clone(), Arc::clone(&self.socket));
        Self::of(name, socket, reactor, hearing)
    }

    /// Takes what has been said until now.
    pub(crate) fn hear(&self, reactor: &Reactor) {
        for _ in 0..MOST_WAITING {
            if !sys::descriptors::is_readable(self.socket.as_raw_fd()) {
                return;
            }
            reactor.runtime().block_on(tokio::task::yield_now());
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// Opens the child's socket and takes what comes.
///
/// # Errors
/// Why there is no socket, as text for the log.
pub(crate) fn open(reactor: &Reactor, hearing: Hearing) -> Result<Socket, String> {
    let failed = |why: String| format!("notify: no socket: {why}");
    let (socket, name) =
        sys::notify::listen().map_err(|errno| failed(sys::error_text(errno as i32)))?;
    let _inside = reactor.runtime().enter();
    let socket = sys::watch::readable(socket).map_err(|error| failed(error.to_string()))?;
    Ok(Socket::of(name, Arc::new(socket), reactor, hearing))
}

struct NotifySocket {
    socket: Arc<AsyncFd<OwnedFd>>,
    main_pid: Arc<AtomicI32>,
    hearing: Hearing,
    refused: bool,
    /// A message was not received, and that was told.
    is_deaf: bool,
    /// The service manager was told `RELOADING=1`, and waits for `READY=1`.
    reloading: bool,
    /// The store had no room, which was told.
    full: bool,
    /// Some did not come with the last message that brought any, which was told.
    cut: bool,
    /// The last number of requests in flight.
    in_flight: Option<u32>,
    /// The last `STATUS=`.
    status: String,
    /// The last message could not be passed on, and that was logged.
    unheard: bool,
}

impl NotifySocket {
    async fn listen(mut self) {
        let mut buffer = vec![0; LARGEST];
        let mut room = match self.hearing.store {
            Some(_) => Room::for_descriptors(),
            None => Room::for_credentials(),
        };
        let mut failures = 0;
        loop {
            let Ok(mut ready) = self.socket.readable().await else {
                return;
            };
            match sys::notify::receive(ready.get_inner(), &mut buffer, &mut room) {
                Ok(received) => {
                    drop(ready);
                    failures = 0;
                    let bytes = buffer.get(..received.length).unwrap_or_default();
                    self.take(bytes, received.sender, received.descriptors, received.cut);
                }
                Err(errno) => {
                    tracing::debug!("a notification could not be received: {errno}");
                    failures += 1;
                    let gives_up = failures >= most_failures(errno);
                    if gives_up {
                        failures = 0;
                        ready.clear_ready();
                    }
                    drop(ready);
                    if gives_up && errno != Errno::EAGAIN {
                        self.tell_refusal(errno);
                    }
                }
            }
            // The main loop runs first, and handles this message before the next one is received: so a
            // barrier (`sd_notify_barrier(3)`) is kept, and a flood of messages delays nothing else.
            tokio::task::yield_now().await;
        }
    }

    /// Once: the next message may be refused as well.
    fn tell_refusal(&mut self, errno: Errno) {
        if !std::mem::replace(&mut self.is_deaf, true) {
            let why = sys::error_text(errno as i32);
            self.send(Event::Trouble(format!(
                "what the child says (NOTIFY_SOCKET) is not received: {why}"
            )));
        }
    }

    fn take(&mut self, bytes: &[u8], sender: MessageSender, descriptors: Vec<OwnedFd>, cut: bool) {
        if let Err(who) = may_speak(sender, self.hearing.child_user) {
            // Once: the sender may go on for ever.
            if !std::mem::replace(&mut self.refused, true) {
                self.send(Event::Trouble(format!(
                    "notification refused: it is from {who}"
                )));
            }
            return;
        }
        let mut message = Message::parse(bytes);
        let text = String::from_utf8_lossy(bytes);
        tracing::debug!("{sender:?} said {text:?}");
        self.tell_cut(&message, cut);
        self.keep(&message, descriptors);
        let upward = self.hearing.upward.clone();
        // A child may send a message every second.
        let passed_on = if self.end_reload(&mut message) {
            upward.say_surely(&message.onward)
        } else {
            upward.say(&message.onward)
        };
        let was_unheard = std::mem::replace(&mut self.unheard, passed_on.is_err());
        if let (Err(why), false) = (passed_on, was_unheard) {
            self.send(Event::Trouble(why));
        }
        if let Some(status) = message.status
            && self.status != status
        {
            self.status.clone_from(&status);
            self.send(Event::ChildSays(status));
        }
        if let Some(pid) = message.main_pid {
            self.main_pid.store(pid, Ordering::Relaxed);
        }
        if let Some(by) = message.extend {
            self.send(Event::Extend(by));
        }
        if let Some(number) = message.in_flight
            && self.in_flight.replace(number) != Some(number)
        {
            self.send(Event::SaysInFlight(number));
        }
        if message.ready && self.hearing.awaits_ready {
            self.send(Event::Ready);
        }
        if let (Some(every), true) = (message.watchdog_every, self.hearing.awaits_watchdog) {
            self.send(Event::WatchdogIs(message::watchdog(every)));
        }
        match message.watchdog.filter(|_| self.hearing.awaits_watchdog) {
            Some(Watchdog::Alive) => self.send(Event::KeepsAlive),
            Some(Watchdog::Trigger) => self.send(Event::SaysItHangs),
            None => {}
        }
        if message.stopping {
            self.send(Event::ChildStopping);
        }
    }

    /// Passes the `READY=1` on that ends a reload of the command, and says whether there is one. Where it counts for
    /// `--ready-when`, the machine says it.
    fn end_reload(&mut self, message: &mut Message) -> bool {
        self.reloading |= message.reloading;
        self.reloading &= self.hearing.upward.serves();
        let ends =
            message.ready && !self.hearing.awaits_ready && std::mem::take(&mut self.reloading);
        if ends {
            if !message.onward.is_empty() {
                message.onward.push(b'\n');
            }
            message.onward.extend_from_slice(b"READY=1");
        }
        ends
    }

    /// Before any is kept or closed: whether there is room for one more tells why. Told again once all have come.
    fn tell_cut(&mut self, message: &Message, cut: bool) {
        if !message.store || self.hearing.store.is_none() {
            return;
        }
        let was_cut = std::mem::replace(&mut self.cut, cut);
        if cut && !was_cut {
            let why = match self.socket.get_ref().try_clone() {
                Ok(_) => "the kernel does not hand them over".to_owned(),
                Err(error) => sys::error_text(error.raw_os_error().unwrap_or_default()),
            };
            self.send(Event::Trouble(format!(
                "descriptors (FDSTORE=1) are not kept: {why}"
            )));
        }
    }

    fn keep(&mut self, message: &Message, descriptors: Vec<OwnedFd>) {
        let Some(store) = &self.hearing.store else {
            return;
        };
        if let (true, Some(name)) = (message.unstore, &message.fd_name) {
            store.remove(name);
        }
        if !message.store {
            return;
        }
        let name = message.fd_name.as_deref().unwrap_or(STORED);
        for descriptor in descriptors {
            if let Err(why) = store.add(name, descriptor, !message.unpolled)
                && !std::mem::replace(&mut self.full, true)
            {
                self.send(Event::Trouble(why));
                return;
            }
        }
    }

    fn send(&self, event: Event) {
        // The machine exists as long as this process.
        self.hearing.events.send(event);
    }
}

/// Whether a message is accepted; the error is its sender.
///
/// A living sender must be a descendant of ours. One that has already ended, as `systemd-notify` has,
/// cannot be looked up any more, nor can one while no descriptor is left. But if its message were lost the start would
/// fail, or the watchdog would end the command: it is accepted if its user is the child's (`--user`), or has a process
/// in the tree. This gives no new rights: that user may trace and signal that process anyway (ptrace(2), kill(2)).
fn may_speak(sender: MessageSender, child_user: Option<u32>) -> Result<(), String> {
    let MessageSender { pid, uid } = sender;
    let state = match tree::kin(pid) {
        Kin::Below => return Ok(()),
        Kin::Elsewhere if pid == 0 => return Err("a process outside the PID namespace".to_owned()),
        Kin::Elsewhere => return Err(format!("pid {pid}, which is not a descendant")),
        Kin::Ended => "has ended",
        Kin::Unseen => "cannot be looked up in /proc",
    };
    if child_user == Some(uid) || tree::has_user(uid) {
        return Ok(());
    }
    Err(format!(
        "pid {pid} of user {uid}, which {state}, and none of whose user is a descendant"
    ))
}

#[cfg(test)]
pub(super) mod fuzz;
