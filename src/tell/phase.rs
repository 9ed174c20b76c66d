//! The phase that a run is in, as `/status` and the metrics name it: one fold over the records.

use crate::plan::HookPhase;
use crate::record::Record;

/// All that there are, in the order of a run.
pub(crate) const NAMES: [&str; 10] = [
    "starting",
    "pre-start",
    "running",
    "stopping",
    "pre-stop",
    "drain",
    "ladder",
    "sweep",
    "post-stop",
    "ended",
];

/// See the module's first sentence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Phase {
    name: &'static str,
    child_ended: bool,
}

impl Phase {
    pub(crate) fn new() -> Self {
        Self {
            name: "starting",
            child_ended: false,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        self.name
    }

    pub(crate) fn tell(&mut self, record: &Record) {
        self.name = match record {
            Record::HookStarted { phase, .. } => phase.name(),
            // What follows the last one tells of itself, or there is nothing else to do.
            Record::HookEnded { phase, .. } if phase.name() == self.name => match phase {
                HookPhase::PreStart => "starting",
                HookPhase::PreStop if self.child_ended => "sweep",
                HookPhase::PreStop => "stopping",
                HookPhase::PostStop => "post-stop",
            },
            Record::Started { .. } => "running",
            Record::StartFailed(_) => "sweep",
            Record::StopAsked { .. } if !self.child_ended => "stopping",
            Record::DrainStarted(_) => "drain",
            Record::Step { .. } => "ladder",
            Record::ChildExited { .. } | Record::ChildLeft { .. } => {
                self.child_ended = true;
                // The hooks of a stop that was asked for run to their end.
                if self.name == HookPhase::PreStop.name() {
                    self.name
                } else {
                    "sweep"
                }
            }
            Record::Ended(_) => "ended",
            _ => self.name,
        };
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::time::Duration;

    use super::*;
    use crate::drive::drive;
    use crate::machine::{Event, Machine};
    use crate::options::Settings;
    use crate::record::ExitStatus;
    use crate::sim::{Script, Sim};
    use crate::words::signal::Signal;

    /// The phases of a run in the simulated world, each once.
    fn phases(
        options: &[(&'static str, &str)],
        script: Script,
        ends_at: Option<u64>,
    ) -> Vec<&'static str> {
        let mut settings = Settings::default();
        for (name, value) in options {
            settings.set(name, value);
        }
        let mut machine = Machine::new(Rc::new(settings.plan().unwrap()));
        let mut world = Sim::new(script);
        if let Some(at) = ends_at {
            let end = Event::ChildExited(ExitStatus::Exited(0));
            world.happens(Duration::from_millis(at), end);
        }
        let seen = RefCell::new((Phase::new(), vec!["starting"]));
        drive(
            &mut machine,
            &mut world,
            &mut |_: Duration, record: &Record| {
                let (phase, names) = &mut *seen.borrow_mut();
                phase.tell(record);
                assert!(NAMES.contains(&phase.name()));
                if names.last() != Some(&phase.name()) {
                    names.push(phase.name());
                }
            },
        );
        seen.into_inner().1
    }

    fn script() -> Script {
        Script {
            asked: Some(Signal::TERM),
            hooks_take: Some(Duration::from_secs(1)),
            ..Script::default()
        }
    }

    const HOOKS: [(&str, &str); 4] = [
        ("pre-start", "a"),
        ("pre-stop", "b"),
        ("pre-stop", "c"),
        ("post-stop", "d"),
    ];

    #[test]
    fn every_phase_is_told_in_its_order() {
        assert_eq!(
            phases(
                &[&HOOKS[..], &[("drain-delay", "1s")]].concat(),
                script(),
                None
            ),
            [
                "starting",
                "pre-start",
                "starting",
                "running",
                "stopping",
                "pre-stop",
                "stopping",
                "pre-stop",
                "stopping",
                "drain",
                "ladder",
                "sweep",
                "post-stop",
                "ended"
            ]
        );
    }

    #[test]
    fn the_childs_end_ends_no_pre_stop_hook() {
        assert_eq!(
            phases(&HOOKS, script(), Some(500)),
            [
                "starting",
                "pre-start",
                "starting",
                "running",
                "stopping",
                "pre-stop",
                "sweep",
                "pre-stop",
                "sweep",
                "post-stop",
                "ended"
            ]
        );
    }

    #[test]
    fn a_start_that_fails_has_nothing_but_its_end() {
        let failure = crate::record::StartFailure {
            code: 127,
            message: String::new(),
        };
        let script = Script {
            start_fails: Some(failure),
            ..script()
        };
        let told = phases(&HOOKS, script, None);
        assert_eq!(told[2..], ["starting", "sweep", "post-stop", "ended"]);
    }
}
