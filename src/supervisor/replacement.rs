//! Two generations at a time: the next one is started beside the one that serves, takes its place once it is
//! ready, and the one before it is stopped.
//!
//! What the machine of the one beside says is addressed to it; nothing that it does changes whether stepdown is
//! ready, nor the end of the run.

use std::rc::Rc;
use std::time::Duration;

use super::{State, Supervisor};
use crate::machine::{Action, Event, Generation, Machine, Received, Unopened};
use crate::record::{Outcome, Record};

/// The generation beside the one that serves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Beside {
    pub(super) number: u32,
    pub(super) machine: Machine,
    stage: Stage,
    /// What asked for the replacement.
    asked: Received,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// It is to serve once it is ready.
    Coming,
    /// It has served, and is being stopped.
    Leaving,
}

impl Beside {
    pub(super) fn is_coming(&self) -> bool {
        self.stage == Stage::Coming
    }
}

/// Why another generation is not begun now.
const REPLACES: &str = "a replacement is under way";
const RESTARTS: &str = "a restart is under way";

impl Supervisor {
    /// Whether there is one that is not there for long, or is about to be.
    pub(super) fn why_no_other(&self) -> Option<&'static str> {
        let busy = self.beside.is_some() || self.opening.is_some();
        let restarts = self.restart_asked && !self.stop_asked;
        busy.then_some(REPLACES)
            .or_else(|| restarts.then_some(RESTARTS))
            .or_else(|| self.machine.why_no_restart())
    }

    /// Whether there is one that may yet serve: not one that is being stopped, or has failed.
    pub(super) fn is_coming(&self) -> bool {
        self.beside
            .as_ref()
            .is_some_and(|beside| beside.is_coming() && !beside.machine.comes_down())
    }

    pub(super) fn replace_by(&mut self, received: Received) {
        // Nobody serves any more.
        if self.machine.only_waits() {
            return self.restart_by(self.now, received);
        }
        if let Some(why) = self.why_no_other() {
            return self.drop_signal(received.signal, why);
        }
        self.newest = self.newest.saturating_add(1);
        self.opening = Some(received);
        self.act(Action::OpenBeside {
            generation: self.newest,
        });
    }

    /// What the next one needs is there.
    pub(super) fn opened(&mut self, now: Duration) {
        let Some(asked) = self.opening.take() else {
            return;
        };
        // Meanwhile a stop was asked for, or the one that was to be replaced has ended.
        if self.stop_asked || self.state != State::Alive || self.machine.why_no_restart().is_some()
        {
            self.give_number_back();
            return self.act(Action::CloseBeside);
        }
        let number = self.newest;
        self.tell(Record::ReplaceBegan {
            generation: number,
            signal: asked.signal,
            sender: Some(asked.sender),
        });
        let generation = Generation {
            number,
            restarts: self.generation.restarts,
        };
        let plan = Rc::clone(self.plan());
        self.beside = Some(Box::new(Beside {
            number,
            machine: Machine::beside(plan, now, generation),
            stage: Stage::Coming,
            asked,
        }));
    }

    /// Where the kernel never lets two serve at a time the next one follows this one, and the sockets stay open in
    /// between. Where something is short for now the one that serves goes on.
    pub(super) fn cannot_open(&mut self, now: Duration, why: Unopened) {
        let Some(asked) = self.opening.take() else {
            return;
        };
        self.give_number_back();
        if self.stop_asked || self.state != State::Alive {
            return;
        }
        match why {
            Unopened::NotNow(why) => self.tell(Record::ReplaceRefused {
                why,
                serving: self.generation.number,
            }),
            Unopened::Never(why) => {
                let message =
                    format!("--replace-on: {why}: restarted in place, with the sockets kept open");
                self.tell(Record::Trouble { message });
                self.restart_by(now, asked);
            }
        }
    }

    /// The one for which the sockets were opened has not begun. The next one has its number, unless another one has
    /// begun meanwhile; never that of one that has failed.
    fn give_number_back(&mut self) {
        if self.newest > self.generation.number {
            self.newest -= 1;
        }
    }

    /// The one that comes serves from now on, and the other one leaves.
    pub(super) fn switch(&mut self, ready: bool) {
        let now = self.now;
        let Some(beside) = &mut self.beside else {
            return;
        };
        beside.stage = Stage::Leaving;
        std::mem::swap(&mut beside.machine, &mut self.machine);
        std::mem::swap(&mut beside.number, &mut self.generation.number);
        self.machine.serve();
        self.verdict = None;
        if ready {
            beside.machine.handle(now, Event::Replaced(beside.asked));
        }
        let before = beside.number;
        self.ready_since = Some(now).filter(|_| ready);
        self.act(Action::Switch);
        self.tell(Record::Replaced {
            generation: self.generation.number,
            before,
            pid: self.machine.child_pid(),
            ready,
        });
    }

    /// A stop is asked for: the plan of the one that serves says so, and how long it takes, for both.
    pub(super) fn beside_ends_too(&mut self, now: Duration) {
        if let Some(beside) = &mut self.beside {
            beside.machine.ends_with(now, self.machine.plan());
        }
    }

    pub(super) fn hurries_beside(&self, received: Received) -> bool {
        let plan = self.beside.as_ref().map(|beside| beside.machine.plan());
        plan.is_some_and(|plan| {
            plan.escalate_on.contains(received.signal)
                && plan.heeds(received.signal, received.ignored)
        })
    }

    /// An event that is a matter of both, or of the one beside alone.
    pub(super) fn tell_beside(&mut self, now: Duration, event: Event) {
        if let Some(beside) = &mut self.beside {
            beside.machine.handle(now, event);
        }
    }

    /// What it says, as it goes on to the world.
    pub(super) fn heard_beside(&mut self, action: Action) -> Option<Action> {
        let beside = self.beside.as_ref()?;
        let (number, is_coming) = (beside.number, beside.is_coming());
        match action {
            // They are a matter of both, and told by the other one; or of the run, which goes on.
            Action::Record(
                Record::Reaped { .. }
                | Record::OomKilled { .. }
                | Record::Reloaded { .. }
                | Record::NotReady { .. },
            ) => None,
            Action::Record(record) => Some(Action::Record(Record::OfGeneration {
                generation: number,
                record: Box::new(record),
            })),
            Action::Finish(_) => {
                self.ended_beside();
                None
            }
            Action::Ready if is_coming => {
                self.switch(true);
                self.act(Action::Ready);
                None
            }
            Action::Ready | Action::CloseSockets => None,
            Action::NotReady => Some(Action::Beside(Box::new(Action::StopLooking))),
            action => Some(Action::Beside(Box::new(action))),
        }
    }

    /// The one that served has ended without its child's end (it hangs in the kernel): the next one serves.
    pub(super) fn left_to_next(&mut self, outcome: Outcome) {
        self.switch(false);
        if let Some(beside) = &self.beside {
            let (generation, record) = (beside.number, Box::new(Record::Ended(outcome)));
            self.tell(Record::OfGeneration { generation, record });
        }
        self.beside = None;
        self.act(Action::CloseBeside);
    }

    /// The one beside is over.
    fn ended_beside(&mut self) {
        let Some(beside) = self.beside.take() else {
            return;
        };
        self.act(Action::CloseBeside);
        if beside.is_coming() && !self.stop_asked && self.state == State::Alive {
            self.tell(Record::ReplaceFailed {
                generation: beside.number,
                serving: self.generation.number,
            });
        }
        if let State::Ending { since, last } = self.state.clone() {
            // The stop has taken as long as the slower one.
            let waited = self.now.saturating_sub(since);
            self.finish(Outcome {
                took: last.took.saturating_add(waited),
                ..last
            });
        }
    }
}
