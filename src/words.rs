//! The words that all of stepdown uses: signals, durations, and what is wrong with a value.

pub(crate) mod command_line;
pub(crate) mod duration;
pub(crate) mod fault;
pub(crate) mod list;
pub(crate) mod signal;
pub(crate) mod suggest;
