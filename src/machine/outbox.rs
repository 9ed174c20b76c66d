//! What is to be done and told, in this order.

use std::collections::VecDeque;

use super::Action;
use crate::record::Record;

/// See the module's first sentence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Outbox(VecDeque<Action>);

impl Outbox {
    pub(super) fn new() -> Self {
        // A stop needs no more: it is the wrong moment to go to the allocator.
        Self(VecDeque::with_capacity(16))
    }

    /// A `Send` overtakes the records that wait: the signal is on its way before anything is said about
    /// it. Nothing else overtakes anything.
    pub(super) fn act(&mut self, action: Action) {
        let is_record = |action: &&Action| matches!(action, Action::Record(_));
        let overtaken = match action {
            Action::Send { .. } => self.0.iter().rev().take_while(is_record).count(),
            _ => 0,
        };
        self.0.insert(self.0.len() - overtaken, action);
    }

    pub(super) fn tell(&mut self, record: Record) {
        self.act(Action::Record(record));
    }

    pub(super) fn poll(&mut self) -> Option<Action> {
        self.0.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Target;
    use crate::words::signal::Signal;

    /// What comes out, as letters: records `a` and `b`, other actions, and signals by number.
    fn comes_out(goes_in: &str) -> String {
        let mut outbox = Outbox::new();
        for letter in goes_in.chars() {
            outbox.act(match letter {
                'a' => Action::Record(Record::WillNotStart),
                'b' => Action::Record(Record::Suspended),
                'R' => Action::NotReady,
                'S' => Action::Start,
                'C' => Action::Continue(Target::Child),
                'B' => Action::SendBeyondGroup(Signal::TERM),
                'K' => Action::Sweep(Signal::KILL),
                number => Action::Send {
                    target: Target::Child,
                    signal: Signal::parse(&number.to_string()).unwrap(),
                },
            });
        }
        let letter = |action| match action {
            Action::Record(Record::WillNotStart) => 'a',
            Action::Record(_) => 'b',
            Action::NotReady => 'R',
            Action::Start => 'S',
            Action::Continue(_) => 'C',
            Action::SendBeyondGroup(_) => 'B',
            Action::Sweep(_) => 'K',
            Action::Send { signal, .. } => signal.number().to_string().remove(0),
            other => panic!("{other:?}"),
        };
        std::iter::from_fn(|| outbox.poll()).map(letter).collect()
    }

    #[test]
    fn a_signal_overtakes_the_records_that_wait() {
        assert_eq!(comes_out("ab2"), "2ab");
        assert_eq!(comes_out("Rab2C"), "R2abC");
        // Signals keep their order.
        assert_eq!(comes_out("a2b3"), "23ab");
    }

    #[test]
    fn it_overtakes_nothing_else() {
        // Whoever starts a program has said all before.
        assert_eq!(comes_out("aSb2"), "aS2b");
        assert_eq!(comes_out("a2Cb3"), "2aC3b");
    }

    #[test]
    fn nothing_else_overtakes() {
        for order in ["abR", "abS", "abC", "abB", "abK", "aRbS"] {
            assert_eq!(comes_out(order), order);
        }
    }
}
