//! The words for a step of the ladder.

use std::fmt;

use crate::words::signal::Signal;

/// A step as the ladder has it, and the signal that it comes to: the log shows the signal, not the word (`SAME`) that it
/// was chosen by.
pub(super) struct StepText<'a>(pub(super) &'a str, pub(super) Option<Signal>);

impl fmt::Display for StepText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text, Some(signal)) = self else {
            return f.write_str(self.0);
        };
        if let Some(rest) = text.strip_prefix("SAME") {
            return write!(f, "{signal}{rest}");
        }
        let says_it = match signal.name() {
            Some(name) => text.starts_with(name),
            None => text.starts_with(&signal.to_string()),
        };
        f.write_str(text)?;
        if says_it {
            Ok(())
        } else {
            write!(f, " = {signal}")
        }
    }
}
