//! The log, the endpoint and the files: each a fold over the records.

pub(crate) mod endpoint;
pub(crate) mod files;
#[cfg(test)]
pub(crate) mod fuzz;
pub(crate) mod lines;
pub(crate) mod log;
pub(crate) mod metrics;
pub(crate) mod progress;
