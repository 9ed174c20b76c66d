//! What a message of sd_notify(3) says, line by line, and what of it is passed on.

use std::time::Duration;

use crate::plan::sockets;
use crate::plan::until::IN_FLIGHT;

/// A parsed message.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Message {
    pub(super) ready: bool,
    pub(super) reloading: bool,
    pub(super) stopping: bool,
    /// It is alive, or hangs.
    pub(super) watchdog: Option<Watchdog>,
    /// How often it will say so from now on.
    pub(super) watchdog_every: Option<Duration>,
    pub(super) extend: Option<Duration>,
    pub(super) in_flight: Option<u32>,
    pub(super) main_pid: Option<i32>,
    pub(super) status: Option<String>,
    pub(super) store: bool,
    pub(super) unstore: bool,
    pub(super) fd_name: Option<String>,
    /// They are kept even when their other side is gone (`FDPOLL=0`).
    pub(super) unpolled: bool,
    /// The lines that are passed on to the service manager.
    pub(super) onward: Vec<u8>,
}

/// What is said with `WATCHDOG=`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Watchdog {
    Alive,
    Trigger,
}

/// Lines that are not passed on. We send `READY` and `STOPPING` ourselves, when the machine decides so. Lines
/// about the main process or about descriptors would mislead: stepdown is the main process, and descriptors
/// are not passed on.
const KEPT: [&[u8]; 11] = [
    b"READY",
    b"STOPPING",
    b"MAINPID",
    b"MAINPIDFDID",
    b"FDSTORE",
    b"FDSTOREREMOVE",
    b"FDNAME",
    b"FDPOLL",
    b"BARRIER",
    b"NOTIFYACCESS",
    IN_FLIGHT.as_bytes(),
];

impl Message {
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let mut message = Self::default();
        for line in bytes.split(|byte| *byte == b'\n') {
            let Some(split) = line.iter().position(|byte| *byte == b'=') else {
                continue;
            };
            let (key, value) = (line.get(..split), line.get(split + 1..));
            let (key, value) = (key.unwrap_or_default(), value.unwrap_or_default());
            match key {
                b"READY" => message.ready |= value == b"1",
                b"RELOADING" => message.reloading |= value == b"1",
                b"STOPPING" => message.stopping |= value == b"1",
                b"WATCHDOG" if value == b"1" => message.watchdog = Some(Watchdog::Alive),
                b"WATCHDOG" if value == b"trigger" => message.watchdog = Some(Watchdog::Trigger),
                b"WATCHDOG_USEC" => {
                    message.watchdog_every = microseconds(value).or(message.watchdog_every);
                }
                b"EXTEND_TIMEOUT_USEC" => {
                    message.extend = microseconds(value).or(message.extend);
                }
                b"STATUS" => {
                    let text = String::from_utf8_lossy(value);
                    message.status = Some(text.chars().take(STATUS).collect());
                }
                b"MAINPID" => {
                    let text = std::str::from_utf8(value).ok();
                    let pid = text.and_then(|text| text.trim().parse().ok());
                    message.main_pid = pid.filter(|pid| *pid > 0).or(message.main_pid);
                }
                b"FDSTORE" => message.store |= value == b"1",
                b"FDSTOREREMOVE" => message.unstore |= value == b"1",
                b"FDPOLL" => message.unpolled |= value == b"0",
                b"FDNAME" => {
                    let name = std::str::from_utf8(value).ok();
                    let name = name.filter(|name| sockets::is_name(name));
                    message.fd_name = name.map(str::to_owned);
                }
                _ if key == IN_FLIGHT.as_bytes() => {
                    let text = std::str::from_utf8(value).ok();
                    let number = text.and_then(|text| text.trim().parse().ok());
                    message.in_flight = number.or(message.in_flight);
                }
                _ => {}
            }
            if !KEPT.contains(&key) {
                message.onward.extend_from_slice(line);
                message.onward.push(b'\n');
            }
        }
        message.onward.pop();
        message
    }
}

fn microseconds(value: &[u8]) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?;
    text.parse().ok().map(Duration::from_micros)
}

/// 0, or the largest number, ends the watchdog (sd_watchdog_enabled(3); systemd does so, too).
pub(super) fn watchdog(every: Duration) -> Option<Duration> {
    let never = [Duration::ZERO, Duration::from_micros(u64::MAX)];
    Some(every).filter(|every| !never.contains(every))
}

/// The longest status that is kept, in bytes.
pub(super) const STATUS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_taken_apart_and_passed_on_without_what_is_ours() {
        let message = Message::parse(
            b"READY=1\nMAINPID=7\nSTATUS=Serving a=b\nEXTEND_TIMEOUT_USEC=1500000\nX_OWN=\xff\nX_STEPDOWN_IN_FLIGHT=3\nodd\n",
        );
        let expected = Message {
            ready: true,
            reloading: false,
            stopping: false,
            watchdog: None,
            watchdog_every: None,
            extend: Some(Duration::from_millis(1500)),
            in_flight: Some(3),
            main_pid: Some(7),
            status: Some("Serving a=b".to_owned()),
            store: false,
            unstore: false,
            fd_name: None,
            unpolled: false,
            onward: b"STATUS=Serving a=b\nEXTEND_TIMEOUT_USEC=1500000\nX_OWN=\xff".to_vec(),
        };
        assert_eq!(message, expected);
    }

    #[test]
    fn a_watchdog_hears_what_is_meant_for_it() {
        let said = |bytes| Message::parse(bytes).watchdog;
        assert_eq!(said(b"WATCHDOG=1"), Some(Watchdog::Alive));
        assert_eq!(said(b"STATUS=a\nWATCHDOG=trigger"), Some(Watchdog::Trigger));
        assert_eq!(said(b"WATCHDOG=0\nWATCHDOG_USEC=1"), None);
        let every = |bytes| Message::parse(bytes).watchdog_every;
        let second = Some(Duration::from_secs(1));
        assert_eq!(every(b"WATCHDOG=1\nWATCHDOG_USEC=1000000"), second);
        assert_eq!(every(b"WATCHDOG_USEC=-1"), None);
        assert_eq!(watchdog(Duration::ZERO), None);
        assert_eq!(watchdog(Duration::from_micros(u64::MAX)), None);
        assert_eq!(second.and_then(watchdog), second);
    }

    #[test]
    fn what_is_not_one_says_nothing() {
        let message = Message::parse(b"READY=0\nSTOPPING=\nEXTEND_TIMEOUT_USEC=-1\n\n=\n");
        assert!(!message.ready && !message.stopping);
        assert_eq!(message.extend, None);
        assert_eq!(Message::parse(b"FDNAME=a:b\nFDSTORE=0"), Message::default());
    }
}
