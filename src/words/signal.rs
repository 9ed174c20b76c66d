//! Signals by number, name and set: all 64 of the kernel's, the real-time ones included.
//!
//! Names are those of signal(7) without `SIG`. Real-time signals are written `RTMIN+n`, counted from
//! 34 as glibc, systemd and container tools do, whatever libc this binary was built with.

use std::fmt;

use nix::sys::signal::Signal as Standard;

use crate::words::suggest;

/// A signal number from 1 to 64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Signal(u8);

/// Second names (signal(7)), read but never printed.
const SYNONYMS: [(&str, Standard); 3] = [
    ("IOT", Standard::SIGABRT),
    ("POLL", Standard::SIGIO),
    ("CLD", Standard::SIGCHLD),
];

/// The first real-time signal that is free for use. That of musl, `libc::SIGRTMIN()`, is 35.
const RTMIN: u8 = 34;

/// The name of a standard signal, without `SIG`.
fn short(signal: Standard) -> &'static str {
    let name = signal.as_str();
    name.strip_prefix("SIG").unwrap_or(name)
}

/// Every name that is read, `RTMIN+n` and `RTMAX-n` apart.
fn names() -> impl Iterator<Item = &'static str> {
    let standard = Standard::iterator().map(short);
    let others = SYNONYMS.iter().map(|(name, _)| *name);
    standard.chain(["RTMIN", "RTMAX"]).chain(others)
}

impl Signal {
    pub(crate) const HUP: Self = Self::of(Standard::SIGHUP);
    pub(crate) const INT: Self = Self::of(Standard::SIGINT);
    pub(crate) const QUIT: Self = Self::of(Standard::SIGQUIT);
    pub(crate) const ABRT: Self = Self::of(Standard::SIGABRT);
    #[cfg(feature = "doctor")]
    pub(crate) const SEGV: Self = Self::of(Standard::SIGSEGV);
    pub(crate) const KILL: Self = Self::of(Standard::SIGKILL);
    pub(crate) const PIPE: Self = Self::of(Standard::SIGPIPE);
    pub(crate) const TERM: Self = Self::of(Standard::SIGTERM);
    pub(crate) const CHLD: Self = Self::of(Standard::SIGCHLD);
    pub(crate) const CONT: Self = Self::of(Standard::SIGCONT);
    pub(crate) const STOP: Self = Self::of(Standard::SIGSTOP);
    pub(crate) const TSTP: Self = Self::of(Standard::SIGTSTP);
    pub(crate) const TTIN: Self = Self::of(Standard::SIGTTIN);
    pub(crate) const TTOU: Self = Self::of(Standard::SIGTTOU);
    pub(crate) const XFSZ: Self = Self::of(Standard::SIGXFSZ);
    pub(crate) const WINCH: Self = Self::of(Standard::SIGWINCH);
    /// SIGSETXID of glibc, which no process sends to another one.
    pub(crate) const RESERVED: Self = Self(33);
    pub(crate) const MAX: u8 = 64;

    /// All of them are below 32.
    const fn of(standard: Standard) -> Self {
        Self(standard as u8)
    }

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
        let synonym = SYNONYMS.iter().find(|(known, _)| *known == name);
        match (name, synonym) {
            ("RTMIN", _) => Ok(Self(RTMIN)),
            ("RTMAX", _) => Ok(Self(Self::MAX)),
            (_, Some((_, standard))) => Ok(Self::of(*standard)),
            _ => Standard::iterator()
                .find(|standard| short(*standard) == name)
                .map(Self::of)
                .ok_or_else(unknown),
        }
    }

    /// Without `SIG`; `None` for real-time signals other than RTMIN and RTMAX, which are counted.
    pub(crate) fn name(self) -> Option<&'static str> {
        match self.0 {
            RTMIN => Some("RTMIN"),
            Self::MAX => Some("RTMAX"),
            _ => Standard::try_from(self.number()).ok().map(short),
        }
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

    /// Whether its default action ends no process and stops none (signal(7)).
    pub(crate) fn is_ignored_by_default(self) -> bool {
        let urgent = Self::of(Standard::SIGURG);
        [Self::CHLD, Self::CONT, urgent, Self::WINCH].contains(&self)
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

/// A text that does not name a signal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UnknownSignal {
    text: String,
    nearest: Option<&'static str>,
}

impl UnknownSignal {
    fn new(text: &str) -> Self {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let nearest = suggest::nearest(name, names());
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
    fn names_are_those_of_the_standard_signals() {
        let named = |number| Signal::from_number(number).unwrap().name();
        assert!((1..=31).all(|number| named(number).is_some()));
        assert!(
            (32..=33)
                .chain(35..=63)
                .all(|number| named(number).is_none())
        );
        let some = [
            libc::SIGHUP,
            libc::SIGSTKFLT,
            libc::SIGCHLD,
            libc::SIGIO,
            34,
            64,
        ]
        .map(named);
        assert_eq!(
            some.map(Option::unwrap),
            ["HUP", "STKFLT", "CHLD", "IO", "RTMIN", "RTMAX"]
        );
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
            ("SIGPOLL", 29),
            ("CLD", 17),
            ("32", 32),
            ("RTMAX", 64),
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
            "0",
            "65",
            "-1",
            "",
            "SIG",
            "RTMIN+31",
            "RTMAX-31",
            "RTMIN+",
            "RTMIN+x",
            "SIGSIGTERM",
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
