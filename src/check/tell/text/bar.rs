//! How far a check has come: one line on the terminal behind standard error, drawn again and again.

use std::cell::{Cell, RefCell};
use std::time::Instant;

use crate::sys;

/// Columns of the bar itself.
const WIDTH: usize = 30;

/// Back to the beginning of the line, and nothing in it (ECMA-48, EL).
const CLEAR: &str = "\r\u{1b}[K";

pub(super) struct Bar {
    began: Instant,
    planned: usize,
    done: Cell<usize>,
    message: RefCell<String>,
}

impl Bar {
    pub(super) fn new(planned: usize) -> Self {
        Self {
            began: Instant::now(),
            planned,
            done: Cell::new(0),
            message: RefCell::default(),
        }
    }

    pub(super) fn began(&self) -> Instant {
        self.began
    }

    pub(super) fn say(&self, message: String) {
        self.message.replace(message);
        self.draw();
    }

    pub(super) fn one_more(&self) {
        self.done.set(self.done.get() + 1);
        self.draw();
    }

    /// Has the line out of the way while something is printed.
    pub(super) fn aside(&self, print: impl FnOnce()) {
        self.clear();
        print();
        self.draw();
    }

    pub(super) fn clear(&self) {
        sys::stderr::write(CLEAR.as_bytes());
    }

    fn draw(&self) {
        // A line that is broken could not be cleared.
        let columns = sys::terminal::columns(2).unwrap_or(80).saturating_sub(1);
        let line: String = self.line().chars().take(columns).collect();
        sys::stderr::write(format!("{CLEAR}{line}").as_bytes());
    }

    fn line(&self) -> String {
        let done = self.done.get().min(self.planned);
        let full = WIDTH * done / self.planned.max(1);
        let (full, empty) = ("#".repeat(full), "-".repeat(WIDTH - full));
        let message = self.message.borrow();
        format!("{full}{empty} {done}/{} {message}", self.planned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_how_many_runs_of_how_many_are_over() {
        let bar = Bar::new(4);
        bar.message.replace("run 2, 3 s left".to_owned());
        bar.done.set(1);
        let line = format!("{}{} 1/4 run 2, 3 s left", "#".repeat(7), "-".repeat(23));
        assert_eq!(bar.line(), line);
        bar.done.set(9);
        assert!(bar.line().starts_with(&"#".repeat(WIDTH)), "{}", bar.line());
    }
}
