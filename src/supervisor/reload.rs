//! Puts off a request to read the configuration file again that comes while one generation ends and another one is
//! to follow.

use std::time::Duration;

use super::Supervisor;
use crate::machine::{Action, Received};
use crate::record::Record;

impl Supervisor {
    /// What is under way goes on as it began, and the next one has what is in the file by then; false where there is
    /// nothing to put off.
    pub(super) fn puts_off_reload(&mut self, now: Duration, received: Received) -> bool {
        let signal = received.signal;
        if self.stop_asked || !self.plan().reload_on.contains(signal) || !self.was_to_go_on(now) {
            return false;
        }
        self.reload_asked = true;
        self.tell(Record::ReloadPutOff { signal });
        true
    }

    /// The next one follows. Tells whether the file is read before.
    pub(super) fn reload_if_asked(&mut self) -> bool {
        let is_asked = std::mem::take(&mut self.reload_asked);
        if is_asked {
            self.act(Action::Reload);
        }
        is_asked
    }
}
