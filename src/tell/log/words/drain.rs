//! The words for what a drain waits for, what holds it up and how it ends.

use std::fmt;

use crate::record::held::HeldConnection;
use crate::record::{DrainEnd, DrainWait};
use crate::words::duration::Shown;

/// How often.
pub(super) struct Times(pub(super) u32);

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("once"),
            times => write!(f, "{times} times"),
        }
    }
}

pub(super) fn drain_waits(f: &mut fmt::Formatter<'_>, wait: &DrainWait) -> fmt::Result {
    match wait {
        DrainWait::Delay { left } => write!(
            f,
            "drain: waiting {}, load balancers do not know yet (--drain-delay)",
            Shown(*left)
        ),
        DrainWait::Checks { times, left } => write!(
            f,
            "drain: waiting until each checker was told \"not ready\" {}, up to {} (--drain-checks)",
            Times(*times),
            Shown(*left)
        ),
        DrainWait::Requests { ports, until } => {
            f.write_str("drain: waiting until ")?;
            if *ports || until.is_empty() {
                f.write_str("no request is in flight")?;
            }
            for (index, text) in until.iter().enumerate() {
                match (index, *ports) {
                    (0, false) => {}
                    (_, _) => f.write_str(" and ")?,
                }
                write!(f, "{text} holds")?;
            }
            Ok(())
        }
    }
}

pub(super) fn held_up(
    f: &mut fmt::Formatter<'_>,
    connections: u32,
    oldest: &[HeldConnection],
) -> fmt::Result {
    let noun = if connections == 1 {
        "connection"
    } else {
        "connections"
    };
    write!(f, "drain: held up by {connections} {noun}")?;
    for (index, held) in oldest.iter().enumerate() {
        let before = if index > 0 { "," } else { ":" };
        let (peer, port) = (held.peer, held.port);
        let (why, waited) = (held.why.name(), Shown(held.waited));
        write!(f, "{before} {peer} on port {port} ({why}, {waited})")?;
    }
    let more = u32::try_from(oldest.len()).unwrap_or(u32::MAX);
    match connections.saturating_sub(more) {
        0 => Ok(()),
        more => write!(f, " and {more} more"),
    }
}

pub(super) fn drain_ended(
    f: &mut fmt::Formatter<'_>,
    end: DrainEnd,
    interrupted: u32,
    took: Shown,
) -> fmt::Result {
    match end {
        DrainEnd::Drained => return write!(f, "drained in {took}"),
        DrainEnd::TimedOut => write!(f, "drain ended by its timeout after {took}")?,
        DrainEnd::Deadline => write!(
            f,
            "drain ended after {took}: the deadline leaves no more time for it"
        )?,
        DrainEnd::CutShort => write!(f, "drain cut short after {took}")?,
        DrainEnd::ChildExited => write!(f, "drain ended after {took}: the child has exited")?,
    }
    match interrupted {
        0 => Ok(()),
        1 => f.write_str(", 1 request interrupted"),
        count => write!(f, ", {count} requests interrupted"),
    }
}
