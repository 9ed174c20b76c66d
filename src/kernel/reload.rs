//! Reads the configuration file again, and tells the service manager so.

use super::Kernel;
use crate::machine::Event;
use crate::options::reload::Reloader;

impl Kernel {
    /// What `Action::Reload` asks.
    pub(crate) fn reload_with(&mut self, reloader: Option<Reloader>) {
        self.reloader = reloader;
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
            self.was_said(begun.and_then(|()| upward.ready()));
        }
    }
}
