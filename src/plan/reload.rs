//! What a configuration file that was read again changes.

use crate::plan::Plan;

/// What has changed in the file, and the plan that results.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Reload {
    pub(crate) plan: Plan,
    /// The options whose new values apply from now on.
    pub(crate) changed: Vec<&'static str>,
    /// The options that were changed but apply only after a restart.
    pub(crate) needs_restart: Vec<&'static str>,
}
