//! Why a process does not stop: a pure judgement over what /proc has shown of it.
//!
//! `check`, the line after 8 s of a stop, `/status` and `doctor` share it, so that all of them say the same
//! thing in the same words.

pub(crate) mod after;
#[cfg(feature = "doctor")]
pub(crate) mod before;
#[cfg(feature = "doctor")]
pub(crate) mod before_finding;
pub(crate) mod finding;
#[cfg(feature = "doctor")]
pub(crate) mod go;
#[cfg(any(feature = "doctor", feature = "lint"))]
pub(crate) mod patience;
pub(crate) mod process;
#[cfg(feature = "doctor")]
mod shell;
#[cfg(feature = "doctor")]
pub(crate) mod snapshot;
#[cfg(feature = "doctor")]
pub(crate) mod verdict;

pub(crate) use finding::{Finding, Named};
pub(crate) use process::ProcessLook;
