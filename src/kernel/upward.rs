//! sd_notify(3) upward: tells the service manager that started us what the command's state is.

use std::ffi::OsString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::sys;

/// Where messages go: to the service manager that started us, if one did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Upward {
    name: Option<OsString>,
    /// The last it was told of us is `READY=1`.
    serves: Arc<AtomicBool>,
}

impl Upward {
    /// `NOTIFY_SOCKET` of our own environment.
    pub(crate) fn from_environment() -> Self {
        Self {
            name: std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()),
            serves: Arc::default(),
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
        self.say(b"READY=1")
    }

    /// Says that the command is about to be stopped.
    ///
    /// # Errors
    /// As of [`Self::say`].
    pub(crate) fn stopping(&self) -> Result<(), String> {
        self.serves.store(false, Ordering::Relaxed);
        self.say(b"STOPPING=1")
    }

    /// Says that the configuration is read again; `READY=1` is the end of it (systemd.service(5), `Type=notify-reload`).
    ///
    /// # Errors
    /// As of [`Self::say`].
    pub(crate) fn reloading(&self) -> Result<(), String> {
        let now = sys::clock::microseconds_of_systemd();
        self.say(format!("RELOADING=1\nMONOTONIC_USEC={now}").as_bytes())
    }

    /// Sends it, if there is a service manager.
    ///
    /// # Errors
    /// Why it could not be sent, as text for the log.
    pub(crate) fn say(&self, message: &[u8]) -> Result<(), String> {
        match &self.name {
            Some(name) if !message.is_empty() => {
                sys::notify::send(name, message).map_err(|errno| {
                    let name = name.to_string_lossy();
                    format!("NOTIFY_SOCKET {name}: {}", sys::error_text(errno as i32))
                })
            }
            _ => Ok(()),
        }
    }
}
