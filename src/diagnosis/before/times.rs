//! Judges the times of a stop against the grace period of the platform.

use super::Judge;
use crate::diagnosis::before_finding::Before;
use crate::diagnosis::patience::{GRACEFUL, Patience};
use crate::diagnosis::snapshot::{Init, Seen};
use crate::diagnosis::verdict::Level;
use crate::words::signal::Signal;

impl Judge<'_> {
    /// A server whose own time is longer than the platform's.
    pub(super) fn patience(&mut self, seen: &Seen, signal: Signal) {
        let words: Vec<&str> = seen.look.argv.iter().map(String::as_str).collect();
        if let Some(grace) = &self.snapshot.grace
            && let Some(patience) = Patience::of(&words).filter(|_| signal == GRACEFUL)
            && patience.time > grace.time
            && !grace.time.is_zero()
        {
            let (grace, by) = (grace.time, grace.by.clone());
            let finding = Before::Outlasts {
                patience,
                grace,
                by,
            };
            self.find(seen, Level::Warning, finding);
        }
    }

    /// No program does anything between its signal and a KILL that comes with it.
    pub(super) fn no_grace(&mut self, root: &Seen) {
        if let Some(grace) = &self.snapshot.grace
            && grace.time.is_zero()
        {
            let by = grace.by.clone();
            self.find(root, Level::Warning, Before::NoGrace { by });
        }
    }

    pub(super) fn times(&mut self, seen: &Seen, init: &Init) {
        let (Some(times), Some(grace)) = (&init.times, &self.snapshot.grace) else {
            return;
        };
        let by = grace.by.clone();
        let found = match times.worst {
            _ if times.least > grace.time => Some((
                Level::Error,
                Before::TooLong {
                    least: times.least,
                    grace: grace.time,
                    by,
                },
            )),
            _ if grace.time.is_zero() => None,
            Some((worst, when)) if worst > grace.time => Some((
                Level::Warning,
                Before::MayTakeLonger {
                    worst,
                    when,
                    grace: grace.time,
                    by,
                },
            )),
            None if times.before > grace.time => Some((
                Level::Warning,
                Before::MayTakeLonger {
                    worst: times.before,
                    when: "hooks and requests use up their time, before the child is asked to end",
                    grace: grace.time,
                    by,
                },
            )),
            None if times.has_post_stop => Some((
                Level::Warning,
                Before::NoTimeLeft {
                    grace: grace.time,
                    by,
                },
            )),
            _ => None,
        };
        if let Some((level, finding)) = found {
            self.find(seen, level, finding);
        }
    }
}
