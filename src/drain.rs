//! Which connections have a request in flight: the rules, and the looks that feed them.

pub(crate) mod connections;
#[cfg(test)]
pub(crate) mod fuzz;
pub(crate) mod judge;
pub(crate) mod look;
pub(crate) mod protocol;
pub(crate) mod rules;
pub(crate) mod until;
