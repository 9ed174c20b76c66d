//! The generations of the simulated world: the one that serves, and one beside it.

use std::time::Duration;

use super::{CHILD, Sim, outside};
use crate::machine::Event;

/// While the other one has `CHILD`.
const CHILD_BESIDE: i32 = 4;

/// One generation, with what belongs to it.
#[derive(Default)]
pub(super) struct Living {
    pub(super) number: u32,
    pub(super) child: bool,
    pub(super) pid: i32,
    /// How long after its start it is ready.
    pub(super) ready: Option<Duration>,
    /// Hooks and stop commands that are running.
    pub(super) jobs: u32,
    pub(super) leftover: bool,
    /// How many questions the program is asked while it drains.
    pub(super) conditions: usize,
    pub(super) told_none: bool,
    pub(super) told_left: bool,
    /// There in a life that hangs: from when on.
    pub(super) hangs_at: Option<Duration>,
    /// Whether somebody looks if it does.
    pub(super) watched: bool,
}

impl Living {
    pub(super) fn new(number: u32, pid: i32) -> Self {
        Self {
            number,
            pid,
            told_none: true,
            ..Self::default()
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.child && self.jobs == 0 && !self.leftover
    }
}

/// The event itself where it is this generation's, or nobody's.
pub(super) fn own(generation: u32, event: &Event) -> Option<&Event> {
    match event {
        Event::Of {
            generation: other, ..
        } if *other != generation => None,
        event => Some(event.itself()),
    }
}

impl Sim {
    /// That no process is left of a generation, which is told once.
    pub(super) fn tell_none(&mut self) -> Option<Event> {
        let alone = self.beside.is_none();
        let lives = [Some(&mut self.life), self.beside.as_mut()];
        let mut lives = lives.into_iter().flatten();
        let life = lives.find(|life| life.is_empty() && !life.told_none)?;
        life.told_none = true;
        let event = Event::NoneLeft;
        Some(if alone { event } else { event.of(life.number) })
    }

    pub(super) fn open_beside(&mut self, generation: u32) {
        if let Some(why) = self.script.beside_refused.clone() {
            return self.add(self.now, Event::CannotOpenBeside(why));
        }
        self.address();
        let pid = if self.life.pid == CHILD {
            CHILD_BESIDE
        } else {
            CHILD
        };
        self.beside = Some(Living::new(generation, pid));
        self.add(self.now, Event::OpenedBeside);
    }

    /// What is to come was meant for the one that serves until now.
    pub(super) fn address(&mut self) {
        let number = self.life.number;
        for (_, event) in &mut self.to_come {
            let addressed = std::mem::replace(event, Event::Deadline).of(number);
            *event = addressed;
        }
    }

    pub(super) fn swap(&mut self) {
        if let Some(beside) = &mut self.beside {
            std::mem::swap(beside, &mut self.life);
        }
    }

    pub(super) fn close_beside(&mut self) {
        self.beside = None;
        self.ask();
    }

    /// Sends the next signal that asks for something, unless a replacement is under way.
    pub(super) fn ask(&mut self) {
        if self.beside.is_none()
            && let Some(signal) = self.script.asked.pop_front()
        {
            if std::mem::take(&mut self.script.misses_watchdog) {
                self.add(self.now, Event::SaysItHangs);
            }
            self.add(self.now, Event::Signal(outside(signal)));
        }
    }
}
