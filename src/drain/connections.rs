//! The connections of the drained ports: when to look at them, and what the machine is told.

use std::collections::VecDeque;
use std::time::Duration;

use nix::unistd::Pid;

use super::rules::{Patience, Protocols, Tracker};
use crate::drain::look::{DrainedPorts, LookError, Ports};
use crate::machine::Event;
use crate::plan::Plan;
use crate::plan::drain::DrainPorts;
use crate::record::held::HeldConnection;
use crate::sys::descriptors::Room;

/// The looks that a drain, or the flush after it, needs; until then nothing is opened.
#[derive(Default)]
pub(crate) struct Connections {
    drain: Option<DrainedPorts>,
    purpose: Purpose,
    /// When the next look is due, counted from the same zero as `now` everywhere.
    next: Duration,
    /// What the machine was told last, so that it is told of changes only.
    told: Option<(u32, bool)>,
    held: Vec<HeldConnection>,
    told_fallback: bool,
    /// Bytes that were left to be sent at the last look of the flush.
    leaving: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Purpose {
    #[default]
    None,
    Drain,
    /// No process is left to answer; answers may still be in the kernel's send queues.
    Flush,
}

/// The time between two looks at the send queues.
const FLUSH_PAUSE: Duration = Duration::from_millis(5);

impl Connections {
    /// The sockets of `passed_on`, by their inodes, belong to the tree although we hold them, too. Others may listen
    /// on their addresses (`is_steered`), to whom new connections go.
    pub(crate) fn start(&mut self, plan: &Plan, passed_on: Vec<u32>, is_steered: bool) {
        self.drain = opened(plan).map(|drain| drain.with_passed_on(passed_on, is_steered));
        if self.drain.is_some() {
            self.purpose = Purpose::Drain;
        }
        self.next = Duration::ZERO;
    }

    /// Looks at once, and tells the result even if it has not changed.
    pub(crate) fn look_again(&mut self) {
        self.told = None;
        self.next = Duration::ZERO;
    }

    pub(crate) fn end(&mut self) {
        self.purpose = Purpose::None;
    }

    /// There is something to wait for only if the network namespace ends with us: otherwise the
    /// kernel goes on sending.
    pub(crate) fn flush(&mut self, plan: &Plan, ends_with_us: bool) {
        self.drain = match self.drain.take() {
            _ if !ends_with_us => None,
            // A child that ended by itself was not drained.
            None => opened(plan),
            drained => drained,
        };
        self.purpose = Purpose::Flush;
        self.leaving = u64::MAX;
        self.next = Duration::ZERO;
    }

    /// When `look` has something to do.
    pub(crate) fn next_look(&self) -> Option<Duration> {
        (self.purpose != Purpose::None).then_some(self.next)
    }

    /// Looks, if it is time to, and adds an event if something has changed.
    ///
    /// `tree` gives the processes whose connections these are.
    pub(crate) fn look(
        &mut self,
        now: Duration,
        tree: impl FnOnce() -> Vec<Pid>,
        events: &mut VecDeque<Event>,
    ) {
        if self.next_look().is_none_or(|at| now < at) {
            return;
        }
        // Nothing is started while we look, so nobody else gets this limit.
        let _room = Room::make();
        match self.purpose {
            Purpose::None => {}
            Purpose::Drain => self.look_at_requests(now, tree, events),
            Purpose::Flush => self.look_at_leaving(now, events),
        }
    }

    fn look_at_requests(
        &mut self,
        now: Duration,
        tree: impl FnOnce() -> Vec<Pid>,
        events: &mut VecDeque<Event>,
    ) {
        let Some(drain) = &mut self.drain else {
            self.purpose = Purpose::None;
            return;
        };
        let look = drain.look(now, tree);
        self.next = now.saturating_add(drain.next_look());
        let why = match (&look, drain.fallback()) {
            // Nothing was seen, so nothing may be concluded; the timeout decides.
            (Err(error), _) => Some(format!("drain: {error}")),
            (Ok(_), Some(why)) => Some(format!(
                "drain: {why}; every open connection counts as in flight"
            )),
            (Ok(_), None) => None,
        };
        if let Some(message) = why.filter(|_| !self.told_fallback) {
            self.told_fallback = true;
            events.push_back(Event::Trouble(message));
        }
        let Ok(look) = look else { return };
        let requests = u32::try_from(look.in_flight).unwrap_or(u32::MAX);
        let held_as_before = self.told.is_some_and(|(before, _)| before == requests)
            && self.held.len() == look.held.len()
            && self.held.iter().zip(&look.held).all(|(a, b)| b.is_as(a));
        let news = (requests, look.drained);
        if self.told.replace(news) != Some(news) {
            events.push_back(Event::InFlight {
                requests,
                settled: look.drained,
            });
        }
        // Those that nobody has taken yet have no more to tell than their number.
        if !held_as_before && (requests == 0 || !look.held.is_empty()) {
            self.held.clone_from(&look.held);
            events.push_back(Event::HeldUp {
                connections: requests,
                oldest: look.held,
            });
        }
    }

    fn look_at_leaving(&mut self, now: Duration, events: &mut VecDeque<Event>) {
        self.next = now.saturating_add(FLUSH_PAUSE);
        let left = match self.drain.as_mut().map(DrainedPorts::leaving) {
            // Nothing was seen, so nothing may be concluded; the machine does not wait for ever.
            Some(Err(LookError::SockDiag(_))) => return,
            Some(Ok(left)) if left.connections > 0 => left,
            // None is left; or it can never be known.
            Some(Ok(_) | Err(LookError::Both(..))) | None => {
                self.purpose = Purpose::None;
                events.push_back(Event::Flushed);
                return;
            }
        };
        if left.bytes < std::mem::replace(&mut self.leaving, left.bytes) {
            events.push_back(Event::Flushing);
        }
    }
}

/// `None` where no ports are to be drained.
fn opened(plan: &Plan) -> Option<DrainedPorts> {
    let wanted = plan.drain.as_ref()?;
    let (ports, protocols) = match &wanted.ports {
        DrainPorts::None => return None,
        DrainPorts::Auto => (Ports::Auto, Protocols::default()),
        DrainPorts::List(ports) => {
            let numbers = ports.iter().map(|(port, _)| *port).collect();
            (Ports::List(numbers), Protocols::new(ports))
        }
    };
    let patience = Patience {
        quiet: wanted.quiet,
        longest: wanted.timeout,
    };
    Some(DrainedPorts::new(ports, Tracker::new(patience, protocols)))
}
