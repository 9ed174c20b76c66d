//! What clients of the endpoint send, and what a state file holds.

pub(crate) use super::endpoint::fuzz::request;
pub(crate) use super::files::state::fuzz::state;
