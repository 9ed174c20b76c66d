//! Scenarios as text, every short story against the promises, and a planted bug for each promise.

use std::collections::VecDeque;

use super::*;
use crate::drive::{World, drive};
use crate::machine::Answer;
use crate::options::{self, Settings};
use crate::plan::drain::{Checks, Drain, DrainPorts};
use crate::plan::{HookPhase, Step, StepAction};
use crate::record::waited::Waited;
use crate::record::{ExitStatus, Process, Sender};
use crate::sim::{Cue, Leftover, Script, Sim};
use crate::tell::log;
use crate::words::signal::SignalSet;

mod asked_again;
mod bugs;
mod drain;
mod ends;
mod family;
mod heir;
mod kill;
mod ladder;
mod limits;
mod liveness;
mod phases;
mod promises;
mod readiness;
mod reload;
mod rules;
mod run;
mod setups;
mod signals;
mod status;
mod stories;
mod wait;

const HANGS: Option<Duration> = None;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The plan of a command line.
fn plan(options: &str) -> Plan {
    let mut settings = Settings::default();
    let mut words = shlex::split(options).unwrap().into_iter();
    while let Some(word) = words.next() {
        let name = word.strip_prefix("--").unwrap();
        let takes_value = options::find(name).unwrap().takes_value();
        let text = takes_value.then(|| words.next().unwrap());
        settings.set(name, text.as_deref().unwrap_or("on"));
    }
    settings.plan().unwrap()
}

fn named(name: &str) -> Signal {
    Signal::parse(name).unwrap()
}

/// A signal from a process.
fn signal(signal: Signal) -> Event {
    Event::Signal(Received {
        signal,
        sender: Sender::Pid(9),
        reached_child: false,
        ignored: false,
    })
}

/// A signal from the terminal, which the child has got as well.
fn typed(signal: Signal) -> Event {
    Event::Signal(Received {
        signal,
        sender: Sender::Kernel,
        reached_child: true,
        ignored: false,
    })
}

fn in_flight(requests: u32, settled: bool) -> Event {
    Event::InFlight { requests, settled }
}

fn held_up(connections: u32) -> Event {
    Event::HeldUp {
        connections,
        oldest: Vec::new(),
    }
}

fn answered(condition: usize, answer: Answer) -> Event {
    Event::Answered { condition, answer }
}

fn not_known() -> Answer {
    Answer::NotKnown("refused".to_owned())
}

fn done() -> HookResult {
    HookResult::Ended(ExitStatus::Exited(0))
}

fn failed() -> HookResult {
    HookResult::Ended(ExitStatus::Exited(1))
}

/// A run in the simulated world, told line by line: milliseconds, then a record as the user reads it, or
/// an action behind an arrow.
struct Story {
    plan: Plan,
    script: Script,
    events: Vec<(Duration, Event)>,
    shows_facts: bool,
}

impl Story {
    fn of(options: &str) -> Self {
        Self {
            plan: plan(options),
            script: Script {
                hooks_take: Some(Duration::ZERO),
                ..Script::default()
            },
            events: Vec::new(),
            shows_facts: false,
        }
    }

    fn drain(mut self, delay: u64, timeout: u64) -> Self {
        self.plan.drain = Some(Drain {
            delay: ms(delay),
            timeout: ms(timeout),
            ports: DrainPorts::Auto,
            quiet: None,
            checks: None,
            until: Vec::new(),
        });
        self
    }

    fn checks(mut self, times: u32, timeout: u64) -> Self {
        let checks = Checks {
            times,
            timeout: ms(timeout),
        };
        self.plan.drain.as_mut().unwrap().checks = Some(checks);
        self
    }

    /// The child exits so long after it got this.
    fn exits_on(mut self, cue: Cue, after: u64) -> Self {
        self.script.exits_on.push((cue, ms(after)));
        self
    }

    fn immortal(mut self) -> Self {
        self.script.immortal = true;
        self
    }

    fn hooks_hang(mut self) -> Self {
        self.script.hooks_take = HANGS;
        self
    }

    fn hook(mut self, phase: HookPhase, index: usize, takes: u64, result: HookResult) -> Self {
        let hook = HookId { phase, index };
        self.script.hooks.push((hook, Some(ms(takes)), result));
        self
    }

    fn leaves(mut self, leftover: Leftover) -> Self {
        self.script.leftover = leftover;
        self
    }

    fn start_fails(mut self, code: u8) -> Self {
        let message = "no such program".to_owned();
        self.script.start_fails = Some(StartFailure { code, message });
        self
    }

    /// The stop is asked for as soon as the child runs.
    fn asked(mut self, signal: Signal) -> Self {
        self.script.asked = [signal].into();
        self
    }

    fn at(mut self, millis: u64, event: Event) -> Self {
        self.events.push((ms(millis), event));
        self
    }

    fn in_place_of_init(mut self) -> Self {
        self.plan.as_pid1 = true;
        self
    }

    /// Shows what hooks are told.
    fn with_facts(mut self) -> Self {
        self.shows_facts = true;
        self
    }

    fn told(self) -> String {
        let mut sim = Sim::new(self.script);
        for (at, event) in self.events {
            sim.happens(at, event);
        }
        let lines = std::cell::RefCell::new(Vec::new());
        let mut world = Watched {
            sim,
            plan: &self.plan,
            lines: &lines,
            shows_facts: self.shows_facts,
        };
        let mut machine = Machine::new(Rc::new(self.plan.clone()));
        let outcome = drive(
            &mut machine,
            &mut world,
            &mut |at: Duration, record: &Record| {
                // The action beside it says the same.
                if matches!(record, Record::HookStarted { .. }) {
                    return;
                }
                let line = format!("{} {}", at.as_millis(), log::text(record));
                lines.borrow_mut().push(line);
            },
        );
        let at = world.now().as_millis();
        let mut lines = lines.take();
        lines.push(format!("{at} -> exit {}", outcome.code));
        lines.join("\n")
    }

    #[track_caller]
    fn tells(self, expected: &str) {
        let told = self.told();
        let expected = expected.lines().map(str::trim).filter(|l| !l.is_empty());
        assert_eq!(told, expected.collect::<Vec<_>>().join("\n"), "\n{told}\n");
    }
}

/// A world that writes down what it is asked to do.
struct Watched<'a> {
    sim: Sim,
    plan: &'a Plan,
    lines: &'a std::cell::RefCell<Vec<String>>,
    shows_facts: bool,
}

impl Watched<'_> {
    fn hook(&self, hook: HookId) -> String {
        let name = &self.plan.hooks(hook.phase)[hook.index].name;
        format!("{} hook {name:?}", hook.phase.name())
    }

    fn facts(&self, facts: &Facts) -> String {
        if !self.shows_facts {
            return String::new();
        }
        let status = facts.status.map(|status| status.to_string());
        let remaining = facts.remaining.map(|left| left.as_millis());
        format!(
            " [{:?} {:?} {:?} child {:?} {status:?} escalated {} left {remaining:?} result {:?}]",
            facts.reason.map(Reason::name),
            facts.signal,
            facts.sender,
            facts.child,
            facts.escalated,
            facts.result
        )
    }
}

impl World for Watched<'_> {
    fn now(&self) -> Duration {
        self.sim.now()
    }

    fn next(&mut self, deadline: Option<Duration>) -> Event {
        self.sim.next(deadline)
    }

    fn act(&mut self, action: Action) {
        // From its start: every story would tell it.
        if action == Action::Ready && self.plan.readiness.is_none() {
            return self.sim.act(action);
        }
        let text = match &action {
            // Nothing is ever on its way here; every story with a drain would say so.
            Action::Flush | Action::LookWhoListens => return self.sim.act(action),
            Action::RunHook { hook, facts } => {
                format!("run the {}{}", self.hook(*hook), self.facts(facts))
            }
            Action::TryNoMore(hook) => format!("no more attempts of the {}", self.hook(*hook)),
            Action::EndHook(hook) => format!("kill the {}", self.hook(*hook)),
            Action::Send { target, signal } => format!("{signal} to the {target:?}").to_lowercase(),
            Action::Continue(target) => format!("cont to the {target:?}").to_lowercase(),
            Action::RunStopCommand { step, facts } => {
                format!("run step {}{}", step + 1, self.facts(facts))
            }
            Action::EndStopCommand { step } => format!("kill the command of step {}", step + 1),
            Action::WriteStdin { step } => format!("write step {}", step + 1),
            Action::Sweep(signal) => format!("sweep {signal}"),
            Action::Watch(_) => "look whether it is alive".to_owned(),
            Action::AwaitReady(_) => "awaitready".to_owned(),
            Action::AskProgram { conditions, .. } => format!("ask about {conditions}"),
            Action::TellLeft(whom) if whom.rest => "sweep TERM, the rest".to_owned(),
            Action::TellLeft(_) => "sweep TERM".to_owned(),
            Action::Suspend(signal) => format!("suspend by {signal}"),
            Action::SendBeyondGroup(signal) => format!("{signal} beyond the group"),
            Action::Adopt(_) => "take the new plan".to_owned(),
            other => format!("{other:?}").to_lowercase(),
        };
        let at = self.sim.now().as_millis();
        self.lines.borrow_mut().push(format!("{at} -> {text}"));
        self.sim.act(action);
    }
}
