//! A child of the simulated world that hangs, and who looks whether it does.

use std::time::Duration;

use super::Sim;
use crate::machine::Event;
use crate::plan::liveness::{LiveWhen, Liveness};

impl Sim {
    pub(super) fn will_hang(&mut self, after: Duration) {
        self.life.hangs_at = Some(self.now.saturating_add(after));
        self.keeps_alive();
    }

    /// What expects it to say so hears it as rarely as that may be, and for the last time when it hangs.
    pub(super) fn keeps_alive(&mut self) {
        let liveness = self.script.liveness.as_ref();
        let within = liveness.and_then(Liveness::watchdog);
        if let (Some(within), Some(hangs_at)) = (within, self.life.hangs_at)
            && self.now < hangs_at
        {
            let next = self.now.saturating_add(within).min(hangs_at);
            self.happens(next, Event::KeepsAlive);
        }
    }

    /// The looks before it hangs find it alive, which is no news: the first that matters is the first one after.
    pub(super) fn watch(&mut self) {
        self.life.watched = true;
        let (Some(liveness), Some(hangs_at)) = (&self.script.liveness, self.life.hangs_at) else {
            return;
        };
        let every = liveness.every;
        let until = hangs_at.saturating_sub(self.now).as_nanos();
        let mut looks = until.div_ceil(every.as_nanos().max(1)).max(1);
        if matches!(liveness.when, LiveWhen::File(_)) {
            // This one sees what the file got since the look before.
            looks += 1;
        }
        let looks = u32::try_from(looks).unwrap_or(u32::MAX);
        self.look_fails(self.now.saturating_add(every.saturating_mul(looks)));
    }

    /// The one that has failed is over.
    pub(super) fn looks_again(&mut self) {
        if let (Some(liveness), true) = (&self.script.liveness, self.life.watched) {
            let began = self.now.saturating_sub(lasts(liveness));
            self.look_fails(began.saturating_add(liveness.every).max(self.now));
        }
    }

    /// The look that begins then fails.
    fn look_fails(&mut self, begins: Duration) {
        let Some(liveness) = &self.script.liveness else {
            return;
        };
        let why = match liveness.when {
            LiveWhen::Http(_) => "no answer in time".to_owned(),
            LiveWhen::Exec(_) => format!("no end of it within {:?}", liveness.timeout),
            LiveWhen::File(_) => "the file has not changed since the last check".to_owned(),
            // It listens as before, and a watchdog does not look.
            LiveWhen::Tcp(_) | LiveWhen::Watchdog(_) => return,
        };
        let at = begins.saturating_add(lasts(liveness));
        self.happens(at, Event::NotAlive(why));
    }
}

/// How long a look at a child that hangs goes on.
fn lasts(liveness: &Liveness) -> Duration {
    match liveness.when {
        LiveWhen::Http(_) | LiveWhen::Exec(_) => liveness.timeout,
        LiveWhen::Tcp(_) | LiveWhen::File(_) | LiveWhen::Watchdog(_) => Duration::ZERO,
    }
}
