//! HTML in the making: texts are escaped when they are put in, and only literals of the program are markup.

use std::fmt::{self, Display, Write as _};

/// A page, or a part of one.
#[derive(Default)]
pub(super) struct Html(String);

impl Html {
    /// Appends markup in which each `{}` stands for one of `texts`, which are escaped.
    ///
    /// What is known only when the program runs cannot become markup: it is not `'static`.
    pub(super) fn put(&mut self, markup: &'static str, texts: &[&dyn Display]) {
        let mut parts = markup.split("{}");
        self.0.push_str(parts.next().unwrap_or_default());
        debug_assert_eq!(parts.clone().count(), texts.len(), "{markup}");
        for (part, text) in parts.zip(texts) {
            // A string takes all that is written to it.
            let _ = write!(Escaping(&mut self.0), "{text}");
            self.0.push_str(part);
        }
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

/// Escapes what is written through it; control characters have no place in HTML.
struct Escaping<'a>(&'a mut String);

impl fmt::Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                '\n' | '\t' => self.0.push(c),
                c if c.is_control() => self.0.push('\u{fffd}'),
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_cannot_become_markup() {
        let mut html = Html::default();
        html.put(
            "<p class=\"{}\">{} of {}</p>",
            &[&"a\" b='", &"<b>&{}\u{7}", &2],
        );
        assert_eq!(
            html.into_string(),
            "<p class=\"a&quot; b=&#39;\">&lt;b&gt;&amp;{}\u{fffd} of 2</p>"
        );
    }
}
