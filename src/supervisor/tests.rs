//! The supervisor in the simulated world, as text.

use std::cell::RefCell;

use super::*;
use crate::drive::drive;
use crate::options::Settings;
use crate::plan::SuccessExit;
use crate::plan::supervision::Limit;
use crate::record::{ExitStatus, Sender};
use crate::sim::{Cue, Life, Script, Sim, outside};
use crate::tell::log;
use crate::words::signal::{Signal, SignalSet};

mod exhaustive;
mod exhaustive_two;
mod replacements;
mod rules;
mod stories;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Restarts after failures as without any other option, without jitter.
fn on_failure() -> Supervision {
    Supervision {
        restart: Restart::OnFailure,
        delay: ms(500),
        longest_delay: secs(30),
        limit: Some(Limit {
            times: 5,
            within: Some(secs(60)),
        }),
        never_on: SuccessExit::default(),
        start_failures: false,
        restart_on: SignalSet::default(),
        replace_on: SignalSet::default(),
    }
}

fn named(name: &str) -> Signal {
    Signal::parse(name).unwrap()
}

fn received(signal: Signal) -> Event {
    Event::Signal(outside(signal))
}

const TERM: Event = Event::Signal(Received {
    signal: Signal::TERM,
    sender: Sender::Outside,
    reached_child: false,
    ignored: false,
});

/// What happens, and what is expected to be told.
struct Story {
    supervision: Supervision,
    options: Vec<(&'static str, &'static str)>,
    script: Script,
    events: Vec<(Duration, Event)>,
}

impl Story {
    /// The first lives end by themselves, the later ones by TERM alone.
    fn new(supervision: Supervision, lives: &[(u64, u8)]) -> Self {
        let lives = lives
            .iter()
            .map(|(after, code)| Life::Ends(ms(*after), ExitStatus::Exited(*code)));
        Self {
            supervision,
            options: Vec::new(),
            script: Script {
                lives: lives.collect(),
                exits_on: vec![(Cue::Signal(Signal::TERM), ms(10))],
                ..Script::default()
            },
            events: Vec::new(),
        }
    }

    fn with(mut self, option: &'static str, value: &'static str) -> Self {
        self.options.push((option, value));
        self
    }

    fn at(mut self, millis: u64, event: Event) -> Self {
        self.events.push((ms(millis), event));
        self
    }

    fn told(self) -> String {
        let mut settings = Settings::default();
        for (name, value) in &self.options {
            settings.set(name, value);
        }
        let plan = Rc::new(settings.plan().unwrap());
        let mut sim = Sim::new(self.script);
        for (at, event) in self.events {
            sim.happens(at, event);
        }
        let mut supervisor = Supervisor::steady(plan, self.supervision);
        let lines = RefCell::new(Vec::new());
        let outcome = drive(
            &mut supervisor,
            &mut sim,
            &mut |at: Duration, record: &Record| {
                let line = format!("{} {}", at.as_millis(), log::text(record));
                lines.borrow_mut().push(line);
            },
        );
        let mut lines = lines.into_inner();
        lines.push(format!("-> exit {}", outcome.code));
        lines.join("\n")
    }

    #[track_caller]
    fn tells(self, expected: &str) {
        let told = self.told();
        let expected = expected.lines().map(str::trim).filter(|l| !l.is_empty());
        assert_eq!(told, expected.collect::<Vec<_>>().join("\n"), "\n{told}\n");
    }
}
