//! How the values that records hold are read by people.

use std::fmt;

use crate::plan::Target;
use crate::record::{ExitStatus, HookResult, NotReady, Sender};

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel => f.write_str("from the terminal or the kernel"),
            Self::Outside => f.write_str("from outside the container"),
            Self::Pid(pid) => write!(f, "from pid {pid}"),
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exited with {code}"),
            Self::Killed { signal, core } => {
                let core = if *core { " (core dumped)" } else { "" };
                write!(f, "died of {signal}{core}")
            }
        }
    }
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StopAsked => "a stop was asked for",
            Self::ChildStopping => "the child says that it is stopping",
            Self::ChildExited => "the child has exited",
        })
    }
}

impl fmt::Display for HookResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(ExitStatus::Exited(0)) => f.write_str("done"),
            Self::Ended(status) => write!(f, "failed: {status}"),
            Self::Failed(why) => write!(f, "failed: {why}"),
            Self::TimedOut => f.write_str("killed: its time was over"),
            Self::CutShort => f.write_str("killed: going on without it"),
            Self::Skipped => f.write_str("skipped: the deadline leaves no time for it"),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Child => "child",
            Self::Group => "group",
            Self::Tree => "tree",
        })
    }
}
