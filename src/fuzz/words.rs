//! The words of all options: what is printed of a value is read back as the same value.

use super::{show, text};
use crate::words::command_line;
use crate::words::duration::{self, Shown};
use crate::words::signal::{Signal, SignalSet};

pub(super) fn duration(bytes: &[u8]) {
    let text = text(bytes);
    match duration::parse(&text) {
        Ok(read) => {
            let written = humantime::format_duration(read).to_string();
            assert_eq!(duration::parse(&written), Ok(read), "{written}");
            let shown = Shown(read).to_string();
            // All but fractions of milliseconds are durations, too.
            assert!(
                duration::parse(&shown).is_ok() || shown.contains('.'),
                "{shown}"
            );
        }
        Err(bad) => assert!(!bad.to_string().is_empty() && !bad.way_out().is_empty()),
    }
}

pub(super) fn signal(bytes: &[u8]) {
    let text = text(bytes);
    match Signal::parse(&text) {
        Ok(signal) => {
            assert!((1..=64).contains(&signal.number()));
            assert_eq!(Signal::parse(&signal.to_string()), Ok(signal));
            let set = SignalSet::from_iter([signal]);
            assert!(set.contains(signal) && set.iter().eq([signal]));
        }
        Err(unknown) => {
            assert!(!unknown.to_string().is_empty());
            let near = unknown.nearest();
            assert!(near.is_none_or(|near| Signal::parse(near).is_ok()));
        }
    }
}

pub(super) fn command_line(bytes: &[u8]) {
    match command_line::words(bytes) {
        Ok(words) => {
            assert!(!words.is_empty());
            let lossless = words.iter().map(|word| word.as_encoded_bytes());
            // A word cannot hold a zero byte: exec would cut it.
            let Ok(quoted) = shlex::bytes::try_join(lossless) else {
                return;
            };
            assert_eq!(command_line::words(&quoted), Ok(words));
        }
        Err(fault) => show(&fault),
    }
}
