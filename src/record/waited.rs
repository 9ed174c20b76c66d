//! A process that a stop waits for.

use std::fmt;

use serde::Serialize;

/// A process that a stop waits for, and why it is still there as far as that shows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Waited {
    pub(crate) pid: i32,
    pub(crate) command: String,
    pub(crate) why: Option<String>,
}

impl fmt::Display for Waited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pid, self.command.escape_debug())?;
        match &self.why {
            Some(why) => write!(f, " ({why})"),
            None => Ok(()),
        }
    }
}
