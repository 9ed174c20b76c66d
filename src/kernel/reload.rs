//! Reads the configuration file again, and tells the service manager so.

use std::rc::Rc;

use super::Kernel;
use crate::machine::Event;
use crate::options::reload::Reloader;
use crate::plan::Plan;

impl Kernel {
    /// What `Action::Reload` asks.
    pub(crate) fn reload_with(&mut self, reloader: Option<Reloader>) {
        self.reloader = reloader;
    }

    /// The plan of the generation whose turn it is; that of the one that serves is the one to compare with.
    pub(super) fn adopt(&mut self, plan: Rc<Plan>) {
        self.plan = plan;
        if self.is_aside {
            return;
        }
        self.passed_on = self.plan.passed_on();
        if let Some(reloader) = &mut self.reloader {
            reloader.adopt();
        }
    }

    pub(super) fn reload(&mut self) {
        let Some(reloader) = &mut self.reloader else {
            return;
        };
        let upward = self.upward.clone();
        let begun = upward.serves().then(|| upward.reloading());
        self.queue.push_back(match reloader.read(&self.plan) {
            Ok(reload) => Event::Reloaded(Box::new(reload)),
            Err(why) => Event::ReloadRefused(why),
        });
        if let Some(begun) = begun {
            self.was_said(begun.and(upward.ready()));
        }
    }
}
