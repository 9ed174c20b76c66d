//! sd_notify(3) upward: tells the service manager that started us what the command's state is.

use std::ffi::OsString;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::errno::Errno;

use super::Kernel;
use crate::sys;

/// How long it takes until what was not taken is sent again.
const PAUSE: Duration = Duration::from_millis(100);

/// What it has to know is little, and the last word counts most.
const MOST_UNSAID: usize = 8;

/// Where messages go: to the service manager that started us, if one did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Upward {
    name: Option<OsString>,
    /// The last it was told of us is `READY=1`.
    serves: Arc<AtomicBool>,
    /// What it must know and has not taken yet.
    unsaid: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Upward {
    /// `NOTIFY_SOCKET` of our own environment.
    pub(crate) fn from_environment() -> Self {
        Self {
            name: std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()),
            serves: Arc::default(),
            unsaid: Arc::default(),
        }
    }

    pub(crate) fn is_somebody(&self) -> bool {
        self.name.is_some()
    }

    /// Whether the command is ready and is not being stopped, as the service manager knows it.
    pub(crate) fn serves(&self) -> bool {
        self.serves.load(Ordering::Relaxed)
    }

    /// Says that the command is ready.
    ///
    /// # Errors
    /// As of [`Self::say`].
    pub(crate) fn ready(&self) -> Result<(), String> {
        self.serves.store(true, Ordering::Relaxed);
        self.say_surely(b"READY=1")
    }

    /// Says that the command is about to be stopped.
    ///
    /// # Errors
    /// As of [`Self::say`].
    pub(crate) fn stopping(&self) -> Result<(), String> {
        self.serves.store(false, Ordering::Relaxed);
        self.say_surely(b"STOPPING=1")
    }

    /// Says that the configuration is read again; `READY=1` is the end of it (systemd.service(5), `Type=notify-reload`).
    ///
    /// # Errors
    /// As of [`Self::say`].
    pub(crate) fn reloading(&self) -> Result<(), String> {
        let now = sys::clock::microseconds_of_systemd();
        self.say_surely(format!("RELOADING=1\nMONOTONIC_USEC={now}").as_bytes())
    }

    /// Sends it, if there is a service manager.
    ///
    /// # Errors
    /// Why it could not be sent, as text for the log.
    pub(crate) fn say(&self, message: &[u8]) -> Result<(), String> {
        self.send(message).map_err(|errno| self.refused(errno))
    }

    /// As `say`, but what it does not take now it gets later.
    ///
    /// # Errors
    /// As of [`Self::say`].
    pub(crate) fn say_surely(&self, message: &[u8]) -> Result<(), String> {
        let mut unsaid = self.unsaid();
        // One after the other.
        let is_first = unsaid.is_empty();
        let sent = if is_first {
            self.send(message)
        } else {
            Err(Errno::EAGAIN)
        };
        match sent {
            Err(errno) if is_for_now(errno) => {
                if unsaid.len() == MOST_UNSAID {
                    unsaid.remove(0);
                }
                unsaid.push(message.to_vec());
                if !is_first {
                    return Ok(());
                }
                Err(format!("{}: trying again", self.refused(errno)))
            }
            sent => sent.map_err(|errno| self.refused(errno)),
        }
    }

    fn say_again(&self) -> Result<(), String> {
        let mut unsaid = self.unsaid();
        while let Some(message) = unsaid.first() {
            match self.send(message) {
                Err(errno) if is_for_now(errno) => return Ok(()),
                sent => {
                    unsaid.remove(0);
                    sent.map_err(|errno| self.refused(errno))?;
                }
            }
        }
        Ok(())
    }

    fn unsaid(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.unsaid.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, message: &[u8]) -> Result<(), Errno> {
        match &self.name {
            Some(name) if !message.is_empty() => sys::notify::send(name, message),
            _ => Ok(()),
        }
    }

    fn refused(&self, errno: Errno) -> String {
        let name = self.name.clone().unwrap_or_default();
        let why = sys::error_text(errno as i32);
        format!("NOTIFY_SOCKET {}: {why}", name.to_string_lossy())
    }
}

/// Its queue is full, or something is short here.
fn is_for_now(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE
    )
}

impl Kernel {
    /// When to call `say_again` at the latest.
    pub(super) fn say_at(&mut self, now: Duration) -> Option<Duration> {
        let waits = self.upward.is_somebody() && !self.upward.unsaid().is_empty();
        self.unsaid_until = waits.then(|| self.unsaid_until.unwrap_or(now + PAUSE));
        self.unsaid_until
    }

    pub(super) fn say_again(&mut self, now: Duration) {
        if self.unsaid_until.take_if(|at| *at <= now).is_some() {
            let said = self.upward.say_again();
            self.was_said(said);
        }
    }
}
