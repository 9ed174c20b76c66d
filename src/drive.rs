//! The one loop: the next event, the machine's answer, the actions carried out.
//!
//! `run` and `check` play it in the real world (`kernel`), `explain` in the simulated one (`sim`).

use std::time::Duration;

use crate::machine::{Action, Event, Machine};
use crate::record::{Outcome, Record};

/// What the machine runs in.
pub(crate) trait World {
    /// Time since stepdown began.
    fn now(&self) -> Duration;

    /// Waits for the next event, `Event::Deadline` once `deadline` has passed. Children that have
    /// ended are reported before a deadline that passed meanwhile.
    fn next(&mut self, deadline: Option<Duration>) -> Event;

    /// The next event, if it has happened already.
    fn pending(&mut self) -> Option<Event> {
        None
    }

    /// Carries out an action. A failure comes back as an event; nothing is returned.
    fn act(&mut self, action: Action);
}

/// What decides: the machine, or the supervisor of several.
pub(crate) trait Decider {
    /// When to call `handle` with `Event::Deadline` if nothing else happens before.
    fn deadline(&self) -> Option<Duration>;

    /// The next thing to do; ask again after each `handle` until there is none.
    fn poll(&mut self) -> Option<Action>;

    fn handle(&mut self, now: Duration, event: Event);
}

impl Decider for Machine {
    fn deadline(&self) -> Option<Duration> {
        Self::deadline(self)
    }

    fn poll(&mut self) -> Option<Action> {
        Self::poll(self)
    }

    fn handle(&mut self, now: Duration, event: Event) {
        Self::handle(self, now, event);
    }
}

/// What the records are given to.
pub(crate) trait Audience {
    fn tell(&mut self, at: Duration, record: Record);

    /// The records so far have to be written now: an action follows, or there is nothing to do.
    fn flush(&mut self) {}
}

impl<F: FnMut(Duration, &Record)> Audience for F {
    fn tell(&mut self, at: Duration, record: Record) {
        self(at, &record);
    }
}

/// Runs the machine, or a series of them, to its end: actions are carried out and records told in its order.
/// All three are only borrowed: a process that is about to exit need not drop them.
pub(crate) fn drive(
    decider: &mut impl Decider,
    world: &mut impl World,
    audience: &mut impl Audience,
) -> Outcome {
    let mut now = world.now();
    loop {
        while let Some(action) = decider.poll() {
            match action {
                Action::Record(record) => audience.tell(now, record),
                Action::Finish(outcome) => {
                    audience.flush();
                    return outcome;
                }
                action => {
                    audience.flush();
                    world.act(action);
                }
            }
        }
        let event = world.pending().unwrap_or_else(|| {
            audience.flush();
            world.next(decider.deadline())
        });
        now = world.now();
        decider.handle(now, event);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::options::Settings;
    use crate::record::Sender;
    use crate::sim::{Cue, Script, Sim};
    use crate::words::signal::Signal;

    type Diary = RefCell<Vec<&'static str>>;

    struct World<'a>(Sim, &'a Diary);

    impl super::World for World<'_> {
        fn now(&self) -> Duration {
            self.0.now()
        }

        fn next(&mut self, deadline: Option<Duration>) -> Event {
            self.1.borrow_mut().push("wait");
            self.0.next(deadline)
        }

        fn act(&mut self, action: Action) {
            let name = match &action {
                Action::Start => Some("start"),
                Action::Send { signal, .. } if *signal == Signal::TERM => Some("TERM"),
                _ => None,
            };
            self.1.borrow_mut().extend(name);
            self.0.act(action);
        }
    }

    struct Listener<'a>(&'a Diary);

    impl Audience for Listener<'_> {
        fn tell(&mut self, _: Duration, record: Record) {
            let name = match record {
                Record::StopAsked { .. } => Some("asked"),
                Record::ChildExited { .. } => Some("exited"),
                Record::Ended(_) => Some("ended"),
                _ => None,
            };
            self.0.borrow_mut().extend(name);
        }

        fn flush(&mut self) {
            self.0.borrow_mut().push("flush");
        }
    }

    #[test]
    fn nothing_is_written_before_the_signal_is_on_its_way() {
        let diary = Diary::default();
        let script = Script {
            exits_on: vec![(Cue::Signal(Signal::TERM), Duration::ZERO)],
            ..Script::default()
        };
        let mut sim = Sim::new(script);
        let received = crate::machine::Received {
            signal: Signal::TERM,
            sender: Sender::Kernel,
            reached_child: false,
            ignored: false,
        };
        sim.happens(Duration::from_secs(1), Event::Signal(received));
        let plan = Settings::default().plan().unwrap();
        let mut machine = Machine::new(plan.into());
        let (mut world, mut listener) = (World(sim, &diary), Listener(&diary));
        let _ = drive(&mut machine, &mut world, &mut listener);
        let diary = diary.into_inner();
        let term = diary.iter().position(|entry| *entry == "TERM").unwrap();
        assert_eq!(diary[term + 1..][..2], ["asked", "flush"], "{diary:?}");
        // All is written before a wait or another action.
        for (index, entry) in diary.iter().enumerate() {
            if ["wait", "start", "TERM"].contains(entry) {
                assert_eq!(diary[index - 1], "flush", "{diary:?}");
            }
        }
        assert_eq!(diary.last(), Some(&"flush"), "{diary:?}");
    }
}
