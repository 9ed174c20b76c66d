//! How the text is laid out: its width, line breaks and colours.

use std::fmt::Write as _;
use std::io::IsTerminal as _;

use crate::check::judge::Held;
use crate::sys;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Layout {
    /// Columns of a terminal; a pipe has none, and its lines are not broken.
    pub(super) columns: Option<usize>,
    colours: bool,
}

impl Layout {
    pub(super) fn of(to_stderr: bool) -> Self {
        let is_terminal = match to_stderr {
            true => std::io::stderr().is_terminal(),
            false => std::io::stdout().is_terminal(),
        };
        let says = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        // https://no-color.org
        let plain = says("NO_COLOR").is_some() || says("TERM").is_none_or(|term| term == "dumb");
        Self {
            columns: is_terminal
                .then(|| sys::terminal::columns(if to_stderr { 2 } else { 1 }))
                .flatten(),
            colours: is_terminal && !plain,
        }
    }

    pub(super) fn painted(self, text: &str, held: Held) -> String {
        if !self.colours {
            return text.to_owned();
        }
        // Green, yellow, red.
        let colour = match held {
            Held::Yes | Held::NotJudged => 32,
            Held::Unknown => 33,
            Held::No => 31,
        };
        format!("\u{1b}[1;{colour}m{text}\u{1b}[0m")
    }

    /// How long the longest timeline is.
    pub(super) fn timeline(self) -> usize {
        const BESIDE: usize = "12345 |".len() + " 1m 59s".len() + 1;
        self.columns
            .map_or(60, |columns| columns.saturating_sub(BESIDE).clamp(10, 100))
    }

    /// `text` after `head`, broken between words; further lines are indented like the first word.
    pub(super) fn write(self, to: &mut String, head: &str, text: &str) {
        const LEAST: usize = 20;
        let indent = head.chars().count();
        let Some(columns) = self.columns.filter(|columns| *columns >= indent + LEAST) else {
            let _ = writeln!(to, "{head}{text}");
            return;
        };
        to.push_str(head);
        let mut column = indent;
        for word in text.split(' ') {
            let length = word.chars().count();
            if column > indent && column + 1 + length > columns {
                let _ = write!(to, "\n{:indent$}", "");
                column = indent;
            } else if column > indent {
                to.push(' ');
                column += 1;
            }
            to.push_str(word);
            column += length;
        }
        to.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIPE: Layout = Layout {
        columns: None,
        colours: false,
    };

    fn written(layout: Layout, head: &str, words: &str) -> String {
        let mut text = String::new();
        layout.write(&mut text, head, words);
        text
    }

    #[test]
    fn lines_are_broken_between_words_on_a_terminal_only() {
        let words = "a shell is in between and a-word-that-is-longer-than-a-line";
        assert_eq!(written(PIPE, "  why: ", words), format!("  why: {words}\n"));
        let narrow = Layout {
            columns: Some(30),
            ..PIPE
        };
        let expected = [
            "  why: a shell is in between",
            "       and",
            "       a-word-that-is-longer-than-a-line",
            "",
        ];
        assert_eq!(written(narrow, "  why: ", words), expected.join("\n"));
        // Too narrow for a column of words: the terminal may break them.
        let tiny = Layout {
            columns: Some(12),
            ..PIPE
        };
        assert_eq!(written(tiny, "  why: ", words), format!("  why: {words}\n"));
    }

    #[test]
    fn timelines_fit() {
        for (columns, width) in [(None, 60), (Some(80), 65), (Some(20), 10), (Some(300), 100)] {
            assert_eq!(Layout { columns, ..PIPE }.timeline(), width, "{columns:?}");
        }
    }

    #[test]
    fn colours_are_for_terminals() {
        assert_eq!(PIPE.painted("ok", Held::Yes), "ok");
        let terminal = Layout {
            colours: true,
            ..PIPE
        };
        assert_eq!(terminal.painted("ok", Held::Yes), "\u{1b}[1;32mok\u{1b}[0m");
        assert_eq!(
            terminal.painted("LOST", Held::No),
            "\u{1b}[1;31mLOST\u{1b}[0m"
        );
    }
}
