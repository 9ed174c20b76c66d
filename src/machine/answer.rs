//! What came of asking the program whether it has anything in flight.

/// What came of asking.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    Holds,
    NotYet {
        /// Where the program counts.
        in_flight: Option<u32>,
        why: String,
    },
    /// Nothing may be concluded, and why.
    NotKnown(String),
}

impl Answer {
    /// What a number in flight means.
    pub(crate) fn of_number(number: u32) -> Self {
        match number {
            0 => Self::Holds,
            number => Self::NotYet {
                in_flight: Some(number),
                why: format!("{number} in flight"),
            },
        }
    }
}
