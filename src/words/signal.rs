//! Signals by number, name and set: all 64 of the kernel's, the real-time ones included.
//!
//! Names are those of signal(7) without `SIG`. Real-time signals are written `RTMIN+n`, counted from
//! 34 as glibc, systemd and container tools do, whatever libc this binary was built with.

use std::fmt;

use crate::words::suggest;

/// A signal number from 1 to 64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Signal(u8);

/// Names in the order of their preference; the first name of a number is the one printed.
/// Numbers are those of x86-64 and aarch64, which agree (signal(7), "Signal numbering").
const NAMES: [(&str, u8); 36] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
    ("RTMIN", RTMIN),
    ("RTMAX", Signal::MAX),
    ("IOT", 6),
    ("POLL", 29),
    ("CLD", 17),
];

const RTMIN: u8 = 34;

impl Signal {
    pub(crate) const HUP: Self = Self(1);
    pub(crate) const INT: Self = Self(2);
    pub(crate) const QUIT: Self = Self(3);
    pub(crate) const KILL: Self = Self(9);
    pub(crate) const PIPE: Self = Self(13);
    pub(crate) const TERM: Self = Self(15);
    pub(crate) const CHLD: Self = Self(17);
    pub(crate) const CONT: Self = Self(18);
    pub(crate) const STOP: Self = Self(19);
    pub(crate) const TSTP: Self = Self(20);
    pub(crate) const TTIN: Self = Self(21);
    pub(crate) const TTOU: Self = Self(22);
    pub(crate) const XFSZ: Self = Self(25);
    pub(crate) const WINCH: Self = Self(28);
    pub(crate) const MAX: u8 = 64;

    /// The signal with this number, if the kernel has it.
    pub(crate) fn from_number(number: i32) -> Option<Self> {
        u8::try_from(number)
            .ok()
            .filter(|n| (1..=Self::MAX).contains(n))
            .map(Self)
    }

    pub(crate) fn number(self) -> i32 {
        i32::from(self.0)
    }

    /// A name with or without `SIG`, in any case; a number; `RTMIN+n` or `RTMAX-n`.
    ///
    /// # Errors
    /// The text is none of these; the error holds the nearest name there is.
    pub(crate) fn parse(text: &str) -> Result<Self, UnknownSignal> {
        let unknown = || UnknownSignal::new(text);
        if let Ok(number) = text.parse::<i32>() {
            return Self::from_number(number).ok_or_else(unknown);
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let real_time = |base: u8, sign: i32, offset: &str| {
            let offset = offset.parse::<u8>().ok()?;
            let number = i32::from(base) + sign * i32::from(offset);
            Self::from_number(number).filter(|s| s.0 >= RTMIN)
        };
        if let Some(offset) = name.strip_prefix("RTMIN+") {
            return real_time(RTMIN, 1, offset).ok_or_else(unknown);
        }
        if let Some(offset) = name.strip_prefix("RTMAX-") {
            return real_time(Self::MAX, -1, offset).ok_or_else(unknown);
        }
        let named = NAMES.iter().find(|(known, _)| *known == name);
        named.map(|(_, number)| Self(*number)).ok_or_else(unknown)
    }

    /// Without SIG; `None` for the real-time ones, which are counted.
    pub(crate) fn name(self) -> Option<&'static str> {
        let named = NAMES.iter().find(|(_, number)| *number == self.0);
        named.map(|(name, _)| *name)
    }

    /// Whether it stops or continues a process.
    pub(crate) fn is_job_control(self) -> bool {
        self == Self::CONT || self.stops_a_process()
    }

    /// Whether the kernel sends it to the processes of a terminal.
    pub(crate) fn comes_from_a_terminal(self) -> bool {
        let of_keys_and_size = [Self::HUP, Self::INT, Self::QUIT, Self::WINCH];
        of_keys_and_size.contains(&self) || (self.is_job_control() && self != Self::STOP)
    }

    /// Whether the default action of the signal is to stop the process (signal(7)).
    pub(crate) fn stops_a_process(self) -> bool {
        [Self::STOP, Self::TSTP, Self::TTIN, Self::TTOU].contains(&self)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None if self.0 > RTMIN => write!(f, "RTMIN+{}", self.0 - RTMIN),
            // 32 and 33 have no name: libc keeps them for its threads.
            None => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Signal {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A text that names no signal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UnknownSignal {
    text: String,
    nearest: Option<&'static str>,
}

impl UnknownSignal {
    fn new(text: &str) -> Self {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let nearest = suggest::nearest(name, NAMES.iter().map(|(known, _)| *known));
        Self {
            text: text.to_owned(),
            nearest,
        }
    }

    pub(crate) fn nearest(&self) -> Option<&'static str> {
        self.nearest
    }
}

impl fmt::Display for UnknownSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown signal {:?}", self.text)
    }
}

/// A set of signals.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SignalSet(u64);

impl SignalSet {
    /// Bit 0 is signal 1, as in /proc/PID/status.
    pub(crate) fn from_mask(mask: u64) -> Self {
        Self(mask)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn all() -> Self {
        Self(u64::MAX)
    }

    pub(crate) fn contains(self, signal: Signal) -> bool {
        self.0 & (1 << (signal.0 - 1)) != 0
    }

    pub(crate) fn insert(&mut self, signal: Signal) {
        self.0 |= 1 << (signal.0 - 1);
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Signal> {
        (1..=Signal::MAX)
            .map(Signal)
            .filter(move |signal| self.contains(*signal))
    }
}

impl FromIterator<Signal> for SignalSet {
    fn from_iter<I: IntoIterator<Item = Signal>>(signals: I) -> Self {
        let mut set = Self::default();
        signals.into_iter().for_each(|signal| set.insert(signal));
        set
    }
}

impl fmt::Display for SignalSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.iter().map(|signal| signal.to_string()).collect();
        f.write_str(&names.join(","))
    }
}

impl fmt::Debug for SignalSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_printed_name_is_read_back() {
        for number in 1..=64 {
            let signal = Signal::from_number(number).unwrap();
            assert_eq!(Signal::parse(&signal.to_string()), Ok(signal));
        }
    }

    #[test]
    fn spellings_that_users_write() {
        for (text, number) in [
            ("TERM", 15),
            ("SIGTERM", 15),
            ("sigterm", 15),
            ("15", 15),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
            ("IOT", 6),
            ("CLD", 17),
            ("32", 32),
        ] {
            assert_eq!(
                Signal::parse(text).map(Signal::number),
                Ok(number),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_signal_is_refused_with_the_nearest_name() {
        for text in [
            "0", "65", "-1", "", "SIG", "RTMIN+31", "RTMAX-31", "RTMIN+", "RTMIN+x",
        ] {
            assert!(Signal::parse(text).is_err(), "{text}");
        }
        assert_eq!(Signal::parse("TREM").unwrap_err().nearest(), Some("TERM"));
        assert_eq!(
            Signal::parse("SIGQIUT").unwrap_err().nearest(),
            Some("QUIT")
        );
    }
}
