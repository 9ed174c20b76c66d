//! A machine step by step: what it does and tells at each event.

use super::*;

/// A machine by itself, with what it does and tells at each event.
pub(super) struct Run {
    pub(super) machine: Machine,
    pub(super) now: Duration,
}

impl Run {
    /// Nothing has happened yet.
    pub(super) fn begins(options: &str) -> Self {
        let mut machine = Machine::new(Rc::new(plan(options)));
        while machine.poll().is_some() {}
        let now = ms(0);
        Self { machine, now }
    }

    /// The child runs.
    pub(super) fn of(options: &str) -> Self {
        let mut run = Self::begins(options);
        run.hears(0, Event::Started { pid: 2 });
        run
    }

    /// What comes of an event, so long after the one before.
    pub(super) fn hears(&mut self, after: u64, event: Event) -> Vec<Action> {
        self.now += ms(after);
        self.machine.handle(self.now, event);
        std::iter::from_fn(|| self.machine.poll()).collect()
    }

    /// So long after the last event the machine wants to be asked again.
    pub(super) fn waits(&self) -> Option<Duration> {
        let deadline = self.machine.deadline();
        deadline.map(|deadline| deadline.saturating_sub(self.now))
    }
}

pub(super) fn exits(code: u8) -> Event {
    Event::ChildExited(ExitStatus::Exited(code))
}
