//! What the kernel's side of one life of the command consists of: the child, and whatever looks at it or runs for it.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use super::asking::Asking;
use super::child::Child;
use super::heir::Heir;
use super::jobs::Job;
use super::notify;
use super::readiness::ReadyLooks;
use super::waiting::WaitLooks;
use super::watching::LiveLooks;
use crate::drain::connections::Connections;
use crate::machine::jobs::Jobs;
use crate::plan::Plan;
use crate::sys::fork::Said;

/// See the module's first sentence.
#[derive(Default)]
pub(super) struct Life {
    /// Which one it is, counted from one.
    pub(super) number: u32,
    /// Its plan, while it is the turn of the other one.
    pub(super) plan: Option<Rc<Plan>>,
    /// When it began, in hundredths of a second since boot; not of the first one, before which there was none.
    pub(super) began: u64,
    /// How many kills for lack of memory were known then.
    pub(super) oom_kills_before: u64,
    /// The sockets of `--listen`. Their numbers are above those that they have in the child.
    pub(super) listeners: Vec<OwnedFd>,
    pub(super) child: Child,
    pub(super) waiting: Option<WaitLooks>,
    pub(super) watching: Option<LiveLooks>,
    pub(super) readiness: ReadyLooks,
    pub(super) heir: Heir,
    pub(super) jobs: Jobs<Job>,
    /// What the hook that runs, and is a call, says of how it has failed.
    pub(super) hook_said: Option<Said>,
    pub(super) asking: Asking,
    pub(super) connections: Connections,
    /// The child's `NOTIFY_SOCKET`, where it is one of ours.
    pub(super) notify_socket: Option<notify::Socket>,
    /// It has been told that no process is left.
    pub(super) told_none: bool,
}
