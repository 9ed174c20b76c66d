//! Answers of container engines, and mountinfo.

use super::{engine, gather};
use crate::fuzz::text;

pub(crate) fn engine(bytes: &[u8]) {
    match engine::container("docker", bytes) {
        Ok(container) => assert!(container.pid > 0),
        Err(why) => assert!(!why.is_empty()),
    }
}

pub(crate) fn mounts(bytes: &[u8]) {
    let _ = gather::hides_others(&text(bytes));
}
