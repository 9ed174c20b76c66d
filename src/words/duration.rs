//! Durations as users write and read them: humantime, a bare number being seconds.

use std::fmt;
use std::time::Duration;

/// Reads `1500ms`, `10s`, `1m30s`; a bare number, whole or decimal, is seconds.
///
/// # Errors
/// The text is not a duration; the error says what one looks like.
pub(crate) fn parse(text: &str) -> Result<Duration, BadDuration> {
    let refused = |too_large| BadDuration {
        text: text.to_owned(),
        too_large,
    };
    if text.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && text.chars().all(|c| c.is_ascii_digit() || c == '.')
    {
        let seconds: f64 = text.parse().map_err(|_| refused(false))?;
        // It is a number and not negative, so it is too large.
        return Duration::try_from_secs_f64(seconds).map_err(|_| refused(true));
    }
    let is_overflow = |error: &humantime::DurationError| {
        // Less than a nanosecond, which nobody writes, gets the same message.
        matches!(error, humantime::DurationError::NumberOverflow)
    };
    humantime::parse_duration(text).map_err(|error| refused(is_overflow(&error)))
}

/// A text that is not a duration.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadDuration {
    text: String,
    too_large: bool,
}

impl BadDuration {
    /// How it is to be written.
    pub(crate) fn way_out(&self) -> &'static str {
        if self.too_large {
            "write a shorter one, as 24h"
        } else {
            "write it as 1500ms, 10s or 1m30s; a bare number is seconds"
        }
    }
}

impl fmt::Display for BadDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.too_large {
            write!(f, "{:?} is too large for a duration", self.text)
        } else {
            write!(f, "{:?} is not a duration", self.text)
        }
    }
}

/// A duration as a log line shows it: three significant figures are enough to act on.
pub(crate) struct Shown(pub(crate) Duration);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        match micros {
            0 => f.write_str("0 s"),
            1..=999 => write!(f, "{}.{} ms", micros / 1_000, micros % 1_000 / 100),
            1_000..=999_999 => write!(f, "{} ms", micros / 1_000),
            1_000_000..=119_999_999 => {
                // Whole numbers only: the code that prints floats would be paged in for this alone.
                let tenths = (micros + 50_000) / 100_000;
                write!(f, "{}.{} s", tenths / 10, tenths % 10)
            }
            _ => {
                let seconds = Duration::from_secs(self.0.as_secs());
                write!(f, "{}", humantime::format_duration(seconds))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_that_users_write() {
        for (text, millis) in [
            ("1500ms", 1_500),
            ("10s", 10_000),
            ("1m30s", 90_000),
            ("8", 8_000),
            ("0", 0),
            ("0.25", 250),
            ("2h", 7_200_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_too_large_is_told_from_what_is_none() {
        for text in [
            "99999999999999999999",
            "99999999999999999999s",
            "9999999999999999999h",
        ] {
            assert!(parse(text).is_err_and(|bad| bad.too_large), "{text}");
        }
        assert!(parse("99999999999999999999 parsecs").is_err());
        assert!(parse("18446744073709551615s").is_ok());
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "s",
            "-1",
            "1.2.3",
            "5 parsecs",
            "10sec onds",
            "1e400",
            "nan",
            "inf",
            ".",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
