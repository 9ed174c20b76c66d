//! Looks again and again whether a child that is ready is alive. What may block is looked at by another process.

use std::ffi::CString;
use std::rc::Rc;
use std::time::Duration;

use super::Kernel;
use super::jobs::Job;
use crate::call;
use crate::drive::World;
use crate::kernel::hooks;
use crate::kernel::probe::{LAST_WORDS, state_of};
use crate::machine::{Event, Facts};
use crate::plan::liveness::{LiveWhen, Liveness};
use crate::record::ExitStatus;
use crate::sys::error_text;
use crate::sys::fork::Said;

/// How the looking goes on.
pub(super) struct LiveLooks {
    /// When the next look is due, or the one that is under way is given up.
    due: Duration,
    /// When the look that is under way, or the last one, began.
    began: Duration,
    looks: u32,
    running: bool,
    /// The environment of a look that is a command.
    environment: Vec<CString>,
    /// What a look that is no command has to say.
    said: Option<Said>,
    /// The file of `file:PATH` as it was at the last look.
    file: Option<String>,
}

impl Kernel {
    pub(super) fn watch(&mut self, facts: &Facts) {
        let Some(liveness) = &self.plan.liveness else {
            return;
        };
        let now = self.now();
        self.life.watching = Some(LiveLooks {
            due: now.saturating_add(liveness.every),
            began: now,
            looks: 0,
            running: false,
            environment: hooks::environment(facts, &self.start.last),
            said: None,
            file: None,
        });
    }

    /// When to call `look_at_watch` at the latest.
    pub(super) fn watch_look_at(&self) -> Option<Duration> {
        self.life.watching.as_ref().map(|watching| watching.due)
    }

    /// The next look, or the end of one that takes too long.
    pub(super) fn look_at_watch(&mut self) {
        let (plan, now) = (Rc::clone(&self.plan), self.now());
        let (Some(liveness), Some(watching)) = (&plan.liveness, &mut self.life.watching) else {
            return;
        };
        if watching.running {
            let look = watching.looks;
            self.end_job(Job::Watch { look });
            return self.watched(Err(format!("no end of it within {:?}", liveness.timeout)));
        }
        watching.began = now;
        watching.looks = watching.looks.wrapping_add(1);
        let job = Job::Watch {
            look: watching.looks,
        };
        let Liveness { when, timeout, .. } = liveness;
        let mut patience = *timeout;
        let begun = match when {
            LiveWhen::Watchdog(_) => return,
            LiveWhen::Tcp(ports) => {
                let listens = self.listens_on(ports);
                return self.watched(listens);
            }
            LiveWhen::Exec(argv) => {
                let environment = std::mem::take(&mut watching.environment);
                let begun = self.run_job(job, argv, &environment).map(|()| None);
                if let Some(watching) = &mut self.life.watching {
                    watching.environment = environment;
                }
                begun
            }
            LiveWhen::Http(request) => {
                patience = patience.saturating_add(LAST_WORDS);
                self.ask_forked(job, &|| match call::ask(request, *timeout) {
                    Ok(()) => (0, String::new()),
                    Err(why) => (1, why),
                })
            }
            LiveWhen::File(path) => self.ask_forked(job, &|| match state_of(path) {
                Ok(state) => (0, state),
                Err(error) => (1, error_text(error.raw_os_error().unwrap_or(0))),
            }),
        };
        match (begun, &mut self.life.watching) {
            (Ok(said), Some(watching)) => {
                watching.said = said;
                watching.running = true;
                watching.due = now.saturating_add(patience);
            }
            (Err(why), _) => self.watched(Err(why)),
            (Ok(_), None) => {}
        }
    }

    /// The process of a look is over.
    pub(super) fn watch_look_ended(&mut self, look: u32, status: ExitStatus) {
        let Some(watching) = &mut self.life.watching else {
            return;
        };
        if !watching.running || watching.looks != look {
            return;
        }
        let said = watching.said.take().and_then(Said::read);
        let when = self.plan.liveness.as_ref().map(|liveness| &liveness.when);
        let holds = match (status, when) {
            (ExitStatus::Exited(0), Some(LiveWhen::File(_))) => match said {
                Some(state) if watching.file.as_ref() == Some(&state) => {
                    Err("the file has not changed since the last check".to_owned())
                }
                Some(state) => {
                    watching.file = Some(state);
                    Ok(())
                }
                // There was no descriptor for it.
                None => Err("no answer".to_owned()),
            },
            (ExitStatus::Exited(0), _) => Ok(()),
            (status, _) => Err(said.unwrap_or_else(|| format!("it {status}"))),
        };
        self.watched(holds);
    }

    fn watched(&mut self, holds: Result<(), String>) {
        let now = self.now();
        let every = self.plan.liveness.as_ref().map(|live| live.every);
        if let Some(watching) = &mut self.life.watching {
            watching.running = false;
            watching.said = None;
            let next = watching.began.saturating_add(every.unwrap_or_default());
            watching.due = next.max(now);
        }
        self.queue.push_back(match holds {
            Ok(()) => Event::Alive,
            Err(why) => Event::NotAlive(why),
        });
    }
}
