//! Asks the program itself whether anything is in flight (`--drain-until`), again and again until the drain ends.

use std::ffi::CString;
use std::rc::Rc;
use std::time::Duration;

use super::Kernel;
use super::jobs::Job;
use crate::drain::until;
use crate::drive::World;
use crate::kernel::hooks;
use crate::kernel::probe::Probe;
use crate::machine::Answer;
use crate::machine::{Event, Facts};
use crate::plan::until::UntilWhen;
use crate::record::ExitStatus;
use crate::sys::fork::Said;

/// How asking about one condition goes on.
pub(super) struct Ask {
    condition: usize,
    probe: Probe,
    /// The answer that is being waited for will come too late to count.
    outdated: bool,
    /// What a process that asks by HTTP says was answered.
    said: Option<Said>,
}

/// What the program is asked while it drains.
#[derive(Default)]
pub(super) struct Asking {
    asks: Vec<Ask>,
    /// The environment of questions that are commands.
    environment: Vec<CString>,
}

impl Kernel {
    pub(super) fn ask_program(&mut self, facts: &Facts) {
        let now = self.now();
        let plan = Rc::clone(&self.plan);
        let until = plan.drain.iter().flat_map(|drain| &drain.until);
        self.life.asking.asks = until
            .enumerate()
            // A program that sends it itself is not asked.
            .filter(|(_, until)| until.when != UntilWhen::Notify)
            .map(|(condition, _)| Ask {
                condition,
                probe: Probe::new(now),
                outdated: false,
                said: None,
            })
            .collect();
        self.life.asking.environment = hooks::environment(facts, &self.start.last);
    }

    /// Asks anew: what was answered until now does not count.
    pub(super) fn ask_again(&mut self) {
        let now = self.now();
        self.queue
            .retain(|event| !matches!(event, Event::Answered { .. }));
        for ask in &mut self.life.asking.asks {
            match ask.probe.running() {
                Some(_) => ask.outdated = true,
                None => ask.probe = Probe::new(now),
            }
        }
    }

    /// When to call `ask` at the latest.
    pub(super) fn ask_at(&self) -> Option<Duration> {
        self.life
            .asking
            .asks
            .iter()
            .map(|ask| ask.probe.due())
            .min()
    }

    /// Asks about all that is due, and ends what takes too long.
    pub(super) fn ask(&mut self) {
        let now = self.now();
        for index in 0..self.life.asking.asks.len() {
            let Some(ask) = self
                .life
                .asking
                .asks
                .get(index)
                .filter(|ask| ask.probe.due() <= now)
            else {
                continue;
            };
            match ask.probe.running() {
                Some(look) => {
                    self.end_job(Job::Ask { index, look });
                    let why = format!("no end of it within {:?}", until::PATIENCE);
                    self.answered(index, Answer::NotKnown(why));
                }
                None => self.begin_to_ask(now, index),
            }
        }
    }

    fn begin_to_ask(&mut self, now: Duration, index: usize) {
        let plan = Rc::clone(&self.plan);
        let Some(ask) = self.life.asking.asks.get(index) else {
            return;
        };
        let until = plan.drain.as_ref();
        let Some(until) = until.and_then(|drain| drain.until.get(ask.condition)) else {
            return;
        };
        let look = ask.probe.next_look();
        let job = Job::Ask { index, look };
        let mut said = None;
        let begun = match &until.when {
            UntilWhen::Notify => return,
            UntilWhen::Exec(argv) => {
                let environment = std::mem::take(&mut self.life.asking.environment);
                let begun = self.run_job(job, argv, &environment);
                self.life.asking.environment = environment;
                begun
            }
            when @ (UntilWhen::Http(_) | UntilWhen::Metric(..)) => {
                let which = self.listener();
                let asked = self.ask_forked(job, &|| until::ask(when, which));
                asked.map(|answer| said = answer)
            }
        };
        if let Some(ask) = self.life.asking.asks.get_mut(index) {
            ask.said = said;
            ask.probe.looking(now, until::PATIENCE);
        }
        if let Err(why) = begun {
            self.answered(index, Answer::NotKnown(why));
        }
    }

    /// A process that has asked is over.
    pub(super) fn ask_ended(&mut self, index: usize, look: u32, status: ExitStatus) {
        let plan = Rc::clone(&self.plan);
        let Some(ask) = self.life.asking.asks.get_mut(index) else {
            return;
        };
        let until = plan.drain.as_ref();
        let until = until.and_then(|drain| drain.until.get(ask.condition));
        if let (Some(until), true) = (until, ask.probe.running() == Some(look)) {
            let said = ask.said.take().and_then(Said::read);
            self.answered(index, until::of_ending(&until.when, status, said));
        }
    }

    fn answered(&mut self, index: usize, answer: Answer) {
        let now = self.now();
        let Some(ask) = self.life.asking.asks.get_mut(index) else {
            return;
        };
        ask.probe.again(now);
        if std::mem::take(&mut ask.outdated) {
            ask.probe = Probe::new(now);
            return;
        }
        let condition = ask.condition;
        tracing::debug!("condition {condition}: {answer:?}");
        self.queue.push_back(Event::Answered { condition, answer });
    }

    /// It is not needed any more.
    pub(super) fn stop_asking(&mut self) {
        if !self.life.asking.asks.is_empty() {
            self.life.asking.asks = Vec::new();
            self.end_jobs(|job| matches!(job, Job::Ask { .. }));
        }
    }
}
