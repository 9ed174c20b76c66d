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

    pub(super) fn act(&mut self, action: Action) {
        self.0.push_back(action);
    }

    pub(super) fn tell(&mut self, record: Record) {
        self.act(Action::Record(record));
    }

    pub(super) fn poll(&mut self) -> Option<Action> {
        self.0.pop_front()
    }
}
