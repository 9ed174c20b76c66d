//! Looks at what may hang (a file on a file system that does not answer, the memory of a process) in a copy of this
//! process, which is waited for only so long.

use std::path::Path;
use std::time::Duration;

use super::Kernel;
use super::jobs::Job;
use super::probe::state_of;
use crate::sys::fork::{self, Looked};

/// How long this process waits for a look, or for a program to be executed.
pub(super) const PATIENCE: Duration = Duration::from_millis(200);

impl Kernel {
    /// A file as it is before the start; `None` where there is none.
    pub(super) fn state_before(&mut self, path: &Path) -> Option<String> {
        self.look_apart(&|| state_of(path).map_err(|_| String::new()))
            .ok()
    }

    /// What `look` finds.
    ///
    /// # Errors
    /// What `look` says, or that there was no answer in time.
    pub(super) fn look_apart(
        &mut self,
        look: &dyn Fn() -> Result<String, String>,
    ) -> Result<String, String> {
        if self.life.jobs.find(|job| *job == Job::Late).is_some() {
            // It may not even die of KILL, and the next one would hang as it does.
            return Err("the look before still hangs".to_owned());
        }
        let looked = fork::look(PATIENCE, &|| match look() {
            Ok(text) => [FOUND, text.as_bytes()].concat(),
            Err(why) => why.into_bytes(),
        });
        match looked {
            Ok(Looked::Said(bytes)) => match bytes.strip_prefix(FOUND) {
                Some(text) => Ok(String::from_utf8_lossy(text).into_owned()),
                None => Err(String::from_utf8_lossy(&bytes).into_owned()),
            },
            Ok(Looked::Late(pid)) => {
                self.life.jobs.begin(pid, Job::Late);
                self.end_job(Job::Late);
                Err(format!("no answer within {PATIENCE:?}"))
            }
            // There is no process to be had for it, and it hangs hardly ever.
            Err(_) => look(),
        }
    }
}

/// What an answer begins with. No message does.
const FOUND: &[u8] = b"\0";
