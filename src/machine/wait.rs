//! Waits before the start for what the child depends on, one condition after the other.

use std::time::Duration;

use super::{Action, Event, Machine, Phase};
use crate::record::{Record, StartFailure};
use crate::words::duration::Shown;

/// How far the wait has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Waiting {
    condition: usize,
    /// When the wait for the first one began.
    began: Duration,
    /// Why it did not hold at the last look.
    why: Option<String>,
    /// As in `Phase::PreStart`.
    pub(super) kept: Vec<Event>,
}

impl Machine {
    /// The first thing that a life of the command does.
    pub(super) fn enter_wait(&mut self, now: Duration) {
        match &self.plan.wait {
            Some(wait) => {
                self.until = Some(now.saturating_add(wait.timeout));
                self.wait_for(now, 0, now);
            }
            None => self.enter_pre_start(now, 0),
        }
    }

    fn wait_for(&mut self, now: Duration, condition: usize, began: Duration) {
        let wait = self.plan.wait.as_ref();
        if wait.is_none_or(|wait| condition >= wait.conditions.len()) {
            return self.enter_pre_start(now, 0);
        }
        let waiting = Waiting {
            condition,
            began,
            why: None,
            kept: self.take_kept(),
        };
        self.enter(now, Phase::WaitFor(waiting), self.until);
        let facts = self.facts(now, "wait-for");
        self.act(Action::WaitFor { condition, facts });
    }

    fn waiting(&mut self) -> Option<&mut Waiting> {
        match &mut self.phase {
            Phase::WaitFor(waiting) => Some(waiting),
            _ => None,
        }
    }

    /// The condition as the user has written it.
    fn awaited(&self, condition: usize) -> String {
        let wait = self.plan.wait.as_ref();
        let condition = wait.and_then(|wait| wait.conditions.get(condition));
        condition.map_or_else(String::new, |condition| condition.text.clone())
    }

    pub(super) fn holds(&mut self, now: Duration, condition: usize) {
        let Some(waiting) = self.waiting().filter(|w| w.condition == condition) else {
            return;
        };
        let began = waiting.began;
        let was_told = waiting.why.is_some();
        if was_told {
            let condition = self.awaited(condition);
            let took = now.saturating_sub(self.since);
            self.tell(Record::WaitEnded { condition, took });
        }
        self.wait_for(now, condition + 1, began);
    }

    pub(super) fn holds_not(&mut self, now: Duration, condition: usize, why: String) {
        let Some(waiting) = self.waiting().filter(|w| w.condition == condition) else {
            return;
        };
        let before = waiting.why.replace(why.clone());
        let is_first = before.is_none();
        if before.is_some_and(|before| before == why) {
            return;
        }
        let condition = self.awaited(condition);
        let left = self.until.unwrap_or(now).saturating_sub(now);
        self.tell(if is_first {
            Record::WaitStarted {
                condition,
                why,
                left,
            }
        } else {
            Record::WaitGoesOn { condition, why }
        });
    }

    pub(super) fn end_wait(&mut self) {
        self.act(Action::EndWait);
        // A look is a process, and between two of them there is none.
        self.none_left = false;
    }

    pub(super) fn waited_too_long(&mut self, now: Duration) {
        let Some(waiting) = self.waiting() else {
            return;
        };
        let (condition, began) = (waiting.condition, waiting.began);
        let why = waiting.why.take();
        let why = why.unwrap_or_else(|| "the first check is not over".to_owned());
        let condition = self.awaited(condition);
        let took = Shown(now.saturating_sub(began));
        let message = format!("--wait-for {condition} does not hold after {took}: {why}");
        self.end_wait();
        self.start_failed(now, StartFailure { code: 125, message });
    }
}
