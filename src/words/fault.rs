//! What is wrong with a value, shown with its place and the way out.

use std::fmt;

/// What is wrong with a value: the message, where in the text, and the way out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Fault {
    message: String,
    way_out: Option<String>,
    place: Option<(String, usize, usize)>,
}

impl Fault {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            way_out: None,
            place: None,
        }
    }

    pub(crate) fn way_out(self, way_out: impl Into<String>) -> Self {
        Self {
            way_out: Some(way_out.into()),
            ..self
        }
    }

    /// The byte that the message points at.
    pub(crate) fn start(&self) -> Option<usize> {
        self.place.as_ref().map(|(_, start, _)| *start)
    }

    /// Points into this part of the text only.
    pub(crate) fn within(mut self, from: usize, to: usize) -> Self {
        if let Some((text, start, end)) = &mut self.place
            && let Some(part) = text.get(from..to)
        {
            let length = part.len();
            *text = part.to_owned();
            *start = start.saturating_sub(from).min(length);
            *end = end.saturating_sub(from).min(length);
        }
        self
    }

    /// Points at bytes `start..end` of `text`.
    pub(crate) fn at(self, text: &str, start: usize, end: usize) -> Self {
        Self {
            place: Some((text.to_owned(), start, end)),
            ..self
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        // Whoever points at one sign may not know how many bytes it has: a blank from a web page has two.
        let column = |text: &str, byte: usize| {
            let before = text.char_indices().take_while(|(at, _)| *at < byte);
            before.count()
        };
        if let Some((text, start, _)) = &self.place {
            write!(f, " at column {}", column(text, *start) + 1)?;
        }
        if let Some(way_out) = &self.way_out {
            write!(f, ": {way_out}")?;
        }
        if let Some((text, start, end)) = &self.place {
            let indent = column(text, *start);
            let marks = column(text, *end).saturating_sub(indent).max(1);
            write!(f, "\n  {text}\n  {:indent$}{}", "", "^".repeat(marks))?;
        }
        Ok(())
    }
}

/// A fault and the option, variable or key in which it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Error {
    place: String,
    fault: Fault,
}

impl Error {
    pub(crate) fn new(place: impl Into<String>, fault: Fault) -> Self {
        Self {
            place: place.into(),
            fault,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.fault)
    }
}
