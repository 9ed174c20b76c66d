//! Why a process does not stop: a pure judgement over what /proc has shown of it.
//!
//! `check`, the line after 8 s of a stop, `/status` and `doctor` share it, so that all of them say the same
//! thing in the same words.

pub(crate) mod after;
pub(crate) mod finding;
pub(crate) mod process;

pub(crate) use finding::{Finding, Named};
pub(crate) use process::ProcessLook;
