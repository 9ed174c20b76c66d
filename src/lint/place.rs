//! Where something stands in the files.

/// A place in a file; line and column are counted from one, columns in characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Spot {
    /// The index of the file among all that were read.
    pub(crate) file: usize,
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// A value, and where it was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Placed<T> {
    pub(crate) value: T,
    pub(crate) at: Spot,
}

impl<T> Placed<T> {
    pub(crate) fn new(value: T, at: Spot) -> Self {
        Self { value, at }
    }
}

/// From bytes to lines and columns.
pub(crate) struct Lines<'a> {
    text: &'a str,
    file: usize,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(text: &'a str, file: usize) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            text,
            file,
            starts: std::iter::once(0).chain(ends).collect(),
        }
    }

    /// The place of the byte.
    pub(crate) fn spot(&self, at: usize) -> Spot {
        let line = self.starts.partition_point(|start| *start <= at).max(1);
        let start = self.starts.get(line - 1).copied().unwrap_or_default();
        let before = self.text.get(start..at).unwrap_or_default();
        Spot {
            file: self.file,
            line,
            column: before.chars().count() + 1,
        }
    }
}
