//! Looks whether what is waited for before the start holds, each time in a process of its own.

use std::ffi::CString;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::Kernel;
use super::jobs::Job;
use crate::call;
use crate::drive::World;
use crate::kernel::hooks;
use crate::kernel::probe::Probe;
use crate::machine::{Event, Facts};
use crate::plan::wait::{WaitFor, WaitWhen};
use crate::record::ExitStatus;
use crate::sys::fork::Said;

/// How looking at one condition goes on.
pub(super) struct WaitLooks {
    condition: usize,
    probe: Probe,
    /// When to say that the first look is not over yet.
    slow_at: Option<Duration>,
    /// The environment of a look that is a command.
    environment: Vec<CString>,
    /// What a look that is no command says about why the answer is no.
    said: Option<Said>,
}

/// A look that takes longer has failed: a resolver has had the time to ask a second name server.
const PATIENCE: Duration = Duration::from_secs(15);

/// A server has so long to take a connection, and to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// Somebody who looks at a start that does not go on has to see why.
const SLOW: Duration = Duration::from_secs(1);

/// No time at all is no time limit to the library.
const SHORTEST: Duration = Duration::from_millis(1);

impl Kernel {
    pub(super) fn wait_for(&mut self, condition: usize, facts: &Facts) {
        self.life.waiting = Some(WaitLooks {
            condition,
            probe: Probe::new(self.now()),
            slow_at: Some(self.now().saturating_add(SLOW)),
            environment: hooks::environment(facts, &self.start.last),
            said: None,
        });
    }

    /// When to call `look_at_wait` at the latest.
    pub(super) fn wait_look_at(&self) -> Option<Duration> {
        self.life.waiting.as_ref().map(|waiting| {
            let due = waiting.probe.due();
            waiting.slow_at.map_or(due, |at| at.min(due))
        })
    }

    /// The next look, or the end of one that takes too long.
    pub(super) fn look_at_wait(&mut self) {
        let (plan, now) = (Rc::clone(&self.plan), self.now());
        let Some(waiting) = &mut self.life.waiting else {
            return;
        };
        let condition = waiting.condition;
        if waiting.slow_at.take_if(|at| *at <= now).is_some() {
            let why = "the first check is not over".to_owned();
            return self.queue.push_back(Event::HoldsNot { condition, why });
        }
        if let Some(look) = waiting.probe.running() {
            self.end_job(Job::Wait { condition, look });
            return self.wait_seen(Err(format!("no end of it within {PATIENCE:?}")));
        }
        let wait = plan.wait.as_ref();
        let Some(WaitFor { when, .. }) = wait.and_then(|wait| wait.conditions.get(condition))
        else {
            return;
        };
        let look = waiting.probe.next_look();
        let job = Job::Wait { condition, look };
        let environment = std::mem::take(&mut waiting.environment);
        let begun = match when {
            WaitWhen::Exec(argv) => self.run_job(job, argv, &environment).map(|()| None),
            when => {
                let timeout = wait.map_or(ANSWER, |wait| wait.timeout);
                // Whoever has less time in all still hears why.
                let patience = ANSWER
                    .min(timeout.saturating_sub(timeout / 10))
                    .max(SHORTEST);
                self.ask_forked(job, &|| match look_at(when, patience) {
                    Ok(()) => (0, String::new()),
                    Err(why) => (1, why),
                })
            }
        };
        let Some(waiting) = &mut self.life.waiting else {
            return;
        };
        waiting.environment = environment;
        match begun {
            Ok(said) => {
                waiting.said = said;
                waiting.probe.looking(now, PATIENCE);
            }
            Err(why) => self.wait_seen(Err(why)),
        }
    }

    /// The process of a look is over.
    pub(super) fn wait_look_ended(&mut self, condition: usize, look: u32, status: ExitStatus) {
        let Some(waiting) = &mut self.life.waiting else {
            return;
        };
        if waiting.condition == condition && waiting.probe.running() == Some(look) {
            let said = waiting.said.take().and_then(Said::read);
            self.wait_seen(match status {
                ExitStatus::Exited(0) => Ok(()),
                status => Err(said.unwrap_or_else(|| format!("it {status}"))),
            });
        }
    }

    fn wait_seen(&mut self, holds: Result<(), String>) {
        let now = self.now();
        let Some(waiting) = &mut self.life.waiting else {
            return;
        };
        let condition = waiting.condition;
        waiting.slow_at = None;
        self.queue.push_back(match holds {
            Ok(()) => {
                self.life.waiting = None;
                Event::Holds(condition)
            }
            Err(why) => {
                waiting.probe.again(now);
                Event::HoldsNot { condition, why }
            }
        });
    }

    pub(super) fn end_wait(&mut self) {
        self.life.waiting = None;
        self.end_jobs(|job| matches!(job, Job::Wait { .. }));
        // There may be no process at all, and the machine will ask who is left.
        self.life.told_none = false;
        self.reaping.is_due = true;
    }
}

/// One look, in its own process.
fn look_at(when: &WaitWhen, patience: Duration) -> Result<(), String> {
    match when {
        WaitWhen::Tcp(server) => call::reach(server, patience),
        WaitWhen::Http(request) => call::ask(request, patience),
        WaitWhen::File(path) => is_there(path),
        WaitWhen::Exec(_) => Err("it is a command".to_owned()),
    }
}

fn is_there(path: &Path) -> Result<(), String> {
    match std::fs::metadata(path) {
        Ok(_) => Ok(()),
        Err(error) => Err(crate::sys::error_text(error.raw_os_error().unwrap_or(0))),
    }
}
