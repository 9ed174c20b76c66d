//! Checks whether the child is ready, until it is, and tells the service manager.

use std::ffi::CString;
use std::rc::Rc;
use std::time::Duration;

use super::Kernel;
use super::jobs::Job;
use crate::call;
use crate::drain::look;
use crate::drain::look::Missing;
use crate::drive::World;
use crate::kernel::hooks;
use crate::kernel::probe;
use crate::kernel::probe::{Probe, file_holds};
use crate::machine::{Event, Facts};
use crate::plan::Plan;
use crate::plan::readiness::ReadyWhen;
use crate::record::ExitStatus;
use crate::sys::descriptors::Room;
use crate::sys::fork::Said;

/// How it is found out whether the child is ready.
#[derive(Default)]
pub(super) struct ReadyLooks {
    probe: Option<Probe>,
    /// The plan that counts for this child: one that is read again says when the next one is ready.
    plan: Option<Rc<Plan>>,
    /// The file of `file:PATH` as it was before the start.
    file_before: Option<String>,
    /// The environment of a look that is a command.
    environment: Vec<CString>,
    /// What a look that is a request says about why the answer is no.
    said: Option<Said>,
}

impl Kernel {
    pub(super) fn ready(&mut self) {
        // It may have said so itself.
        self.life.readiness.probe = None;
        let said = self.upward.ready();
        self.was_said(said);
    }

    pub(super) fn not_ready(&mut self) {
        self.stop_looking();
        let said = self.upward.stopping();
        self.was_said(said);
    }

    pub(super) fn was_said(&mut self, said: Result<(), String>) {
        if let Err(why) = said {
            self.trouble(why);
        }
    }

    /// The file of `file:PATH` as it is before the start.
    pub(super) fn remember_ready_file(&mut self) {
        let plan = Rc::clone(&self.plan);
        if let Some(ReadyWhen::File(path)) = when(&plan) {
            self.life.readiness.file_before = self.state_before(path);
        }
    }

    pub(super) fn await_ready(&mut self, facts: &Facts) {
        let plan = &mut self.life.readiness.plan;
        let plan = Rc::clone(plan.get_or_insert_with(|| Rc::clone(&self.plan)));
        match when(&plan) {
            // The child sends it itself.
            None | Some(ReadyWhen::Notify) => {
                let why = "the child has not said READY=1".to_owned();
                return self.queue.push_back(Event::NotYetReady(why));
            }
            Some(ReadyWhen::Exec(_)) => {
                self.life.readiness.environment = hooks::environment(facts, &[]);
            }
            Some(_) => {}
        }
        self.life.readiness.probe = Some(Probe::new(self.now()));
    }

    /// When to call `probe` at the latest.
    pub(super) fn probe_at(&self) -> Option<Duration> {
        self.life.readiness.probe.as_ref().map(Probe::due)
    }

    /// The next look, or the end of one that takes too long.
    pub(super) fn probe(&mut self) {
        let plan = self.life.readiness.plan.clone();
        let when = plan.as_deref().and_then(when);
        let now = self.now();
        let (Some(when), Some(probe)) = (when, &mut self.life.readiness.probe) else {
            return;
        };
        if let Some(look) = probe.running() {
            self.end_job(Job::Probe { look });
            return self.seen(Err(format!("no end of it within {:?}", probe::PATIENCE)));
        }
        let job = Job::Probe {
            look: probe.next_look(),
        };
        let begun = match when {
            ReadyWhen::Notify => return,
            ReadyWhen::Tcp(ports) => {
                let listens = self.listens_on(ports);
                return self.seen(listens);
            }
            ReadyWhen::File(path) => {
                let before = self.life.readiness.file_before.clone();
                let look = || file_holds(path, before.as_deref()).map(|()| String::new());
                let holds = self.look_apart(&look).map(drop);
                return self.seen(holds);
            }
            ReadyWhen::Http(request) => {
                // The other one would answer for it.
                let which = self.listener();
                let patience = probe::PATIENCE - probe::LAST_WORDS;
                let ask = || call::ask_one_of(request, patience, which);
                let asked = self.ask_forked(job, &|| match ask() {
                    Ok(()) => (0, String::new()),
                    Err(why) => (1, why),
                });
                asked.map(|said| self.life.readiness.said = said)
            }
            ReadyWhen::Exec(argv) => {
                let environment = std::mem::take(&mut self.life.readiness.environment);
                let begun = self.run_job(job, argv, &environment);
                self.life.readiness.environment = environment;
                begun
            }
        };
        match (begun, &mut self.life.readiness.probe) {
            (Ok(()), Some(probe)) => probe.looking(now, probe::PATIENCE),
            (Err(why), _) => self.seen(Err(why)),
            (Ok(()), None) => {}
        }
    }

    /// Whether the child, or its tree, listens on all these ports.
    pub(super) fn listens_on(&self, ports: &[u16]) -> Result<(), String> {
        // Who leaves the tree may well be the server.
        let stays = self.own_pid == 1 || self.plan.subreaper;
        let look = || {
            let tree = stays.then_some(|| self.pids_of_tree());
            look::first_not_listened_on(ports, self.life.child.pid, tree)
        };
        let looked = look().or_else(|_| {
            // It may be for want of a descriptor.
            let _room = Room::make();
            look()
        });
        match looked {
            Ok(None) => Ok(()),
            Ok(Some(Missing { port, taken: false })) => {
                Err(format!("nobody listens on port {port}"))
            }
            Ok(Some(Missing { port, taken: true })) => Err(format!(
                "port {port} is listened on by another process only"
            )),
            Err(why) => Err(why.to_string()),
        }
    }

    /// A look that took a process is over.
    pub(super) fn look_ended(&mut self, look: u32, status: ExitStatus) {
        if self.life.readiness.probe.as_ref().and_then(Probe::running) == Some(look) {
            let said = self.life.readiness.said.take().and_then(Said::read);
            self.seen(match status {
                ExitStatus::Exited(0) => Ok(()),
                status => Err(said.unwrap_or_else(|| format!("it {status}"))),
            });
        }
    }

    /// It is not needed any more.
    pub(super) fn stop_looking(&mut self) {
        self.life.readiness.probe = None;
        self.life.watching = None;
        self.end_jobs(|job| matches!(job, Job::Probe { .. } | Job::Watch { .. }));
    }

    fn seen(&mut self, holds: Result<(), String>) {
        let now = self.now();
        match holds {
            Ok(()) => {
                self.life.readiness.probe = None;
                self.queue.push_back(Event::Ready);
            }
            Err(why) => {
                tracing::debug!("not ready: {why}");
                if let Some(probe) = &mut self.life.readiness.probe {
                    probe.again(now);
                }
                self.queue.push_back(Event::NotYetReady(why));
            }
        }
    }
}

fn when(plan: &Plan) -> Option<&ReadyWhen> {
    plan.readiness.as_ref().map(|readiness| &readiness.when)
}
