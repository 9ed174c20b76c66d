//! Tells which characters of a ladder stand outside all quotes.

/// Follows shell quoting along a text: single, double, backslash.
#[derive(Default)]
pub(super) struct Quotes {
    /// Where the quote begins that is open.
    pub(super) open: Option<usize>,
    quote: Option<char>,
    /// The last character was a backslash that escapes the next one.
    pub(super) escaped: bool,
}

impl Quotes {
    /// How it stands at the end of a text.
    pub(super) fn after(text: &str) -> Self {
        let mut quotes = Self::default();
        for (index, character) in text.char_indices() {
            quotes.step(index, character);
        }
        quotes
    }

    /// Takes the next character; true when it stands outside all quotes.
    pub(super) fn step(&mut self, index: usize, character: char) -> bool {
        if self.escaped {
            self.escaped = false;
            return false;
        }
        match (self.quote, character) {
            (Some(quote), c) if c == quote => {
                self.quote = None;
                self.open = None;
            }
            (Some('\''), _) => {}
            (_, '\\') => self.escaped = true,
            (None, '\'' | '"') => {
                self.quote = Some(character);
                self.open = Some(index);
            }
            (None, _) => return true,
            (Some(_), _) => {}
        }
        false
    }
}
