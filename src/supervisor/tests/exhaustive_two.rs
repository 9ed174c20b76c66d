//! Every story of five events with two generations alive, judged by promises, and a planted bug for each promise.

use std::collections::BTreeMap;

use super::*;
use crate::machine::HookId;
use crate::plan::HookPhase;
use crate::record::HookResult;

/// What happens next. `Newer` and `Older` are the generations by their number, whichever of them serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Letter {
    Usr2,
    Term,
    ReadyNewer,
    NotAliveOlder,
    FailsNewer,
    FailsOlder,
    ExitsOlder,
    Deadline,
    Early,
}

const LETTERS: [Letter; 9] = [
    Letter::Usr2,
    Letter::Term,
    Letter::ReadyNewer,
    Letter::NotAliveOlder,
    Letter::FailsNewer,
    Letter::FailsOlder,
    Letter::ExitsOlder,
    Letter::Deadline,
    Letter::Early,
];

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Promise {
    TwoAtMost,
    /// After the switch connections go to one, and that is the one that is told to serve.
    OneServes,
    /// While a child lives that can serve, connections go to a child that lives.
    NeverNoneByOurDoing,
    /// The tree of each generation is swept, once it has ended, before anything of it is closed.
    EachIsSweptOnce,
    HooksRunOncePerGeneration,
    AStopEndsItAll,
    /// What is done for one is addressed to it: signals go to its own child.
    SignalsReachTheirOwn,
    NothingAfterTheEnd,
}

/// A mistake that a supervisor could make.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Bug {
    TakesAThird,
    SwitchesBeforeReady,
    ForgetsToSwitch,
    ClosesBeforeTheSweep,
    RunsHooksTwice,
    ForgetsTheOtherAtTheStop,
    SendsToTheWrongOne,
    SpeaksAfterTheEnd,
}

const BUGS: [(Bug, Promise); 8] = [
    (Bug::TakesAThird, Promise::TwoAtMost),
    (Bug::SwitchesBeforeReady, Promise::NeverNoneByOurDoing),
    (Bug::ForgetsToSwitch, Promise::OneServes),
    (Bug::ClosesBeforeTheSweep, Promise::EachIsSweptOnce),
    (Bug::RunsHooksTwice, Promise::HooksRunOncePerGeneration),
    (Bug::ForgetsTheOtherAtTheStop, Promise::AStopEndsItAll),
    (Bug::SendsToTheWrongOne, Promise::SignalsReachTheirOwn),
    (Bug::SpeaksAfterTheEnd, Promise::NothingAfterTheEnd),
];

struct Broken(Promise, String);

fn holds(promise: Promise, holds: bool, why: impl FnOnce() -> String) -> Result<(), Broken> {
    if holds {
        Ok(())
    } else {
        Err(Broken(promise, why()))
    }
}

/// One generation, as the world knows it.
#[derive(Clone, Default)]
struct Life {
    child: bool,
    was_ready: bool,
    none_told: bool,
    pre_start: u32,
    post_stop: u32,
    /// It has got a signal that asks it to end.
    asked: bool,
}

struct Judge {
    supervisor: Supervisor,
    bug: Option<Bug>,
    now: Duration,
    to_come: VecDeque<Event>,
    lives: BTreeMap<u32, Life>,
    /// Where connections go, and what is beside it.
    serving: u32,
    beside: Option<u32>,
    stop_asked: bool,
    outcome: Option<Outcome>,
}

impl Judge {
    fn new(supervision: &Supervision, bug: Option<Bug>) -> Self {
        let mut settings = Settings::default();
        for name in ["pre-start", "post-stop"] {
            settings.set(name, "hook");
        }
        settings.set("ready-when", "notify");
        settings.set("live-when", "exec:look");
        settings.set("live-failures", "1");
        let plan = Rc::new(settings.plan().unwrap());
        let mut supervisor = Supervisor::new(plan, supervision.clone(), 0);
        supervisor.jitter = Jitter::none();
        let first = Life {
            none_told: true,
            ..Life::default()
        };
        Self {
            supervisor,
            bug,
            now: Duration::ZERO,
            to_come: VecDeque::new(),
            lives: BTreeMap::from([(1, first)]),
            serving: 1,
            beside: None,
            stop_asked: false,
            outcome: None,
        }
    }

    fn life(&mut self, number: u32) -> &mut Life {
        self.lives.entry(number).or_default()
    }

    /// As the kernel does it: what is the one beside's is addressed, in whatever state the other one is.
    fn happens_to(&mut self, number: u32, event: Event) {
        self.to_come.push_back(event.of(number));
    }

    fn settle(&mut self) -> Result<(), Broken> {
        loop {
            while let Some(action) = self.supervisor.poll() {
                let (serving, beside) = (self.serving, self.beside);
                match action {
                    Action::Beside(action) => {
                        let number = beside.unwrap_or_default();
                        let wrong = self.bug == Some(Bug::SendsToTheWrongOne)
                            && matches!(*action, Action::Send { .. });
                        let number = if wrong { serving } else { number };
                        self.judge(number, *action)?;
                    }
                    action => self.judge(serving, action)?,
                }
            }
            self.look()?;
            let event = match self.to_come.pop_front() {
                Some(event) => event,
                None => {
                    let alive = [Some(self.serving), self.beside].into_iter().flatten();
                    let mut empty = alive.filter(|number| {
                        let life = self.lives.get(number);
                        life.is_some_and(|life| !life.child && !life.none_told)
                    });
                    let Some(number) = empty.next() else {
                        return Ok(());
                    };
                    self.life(number).none_told = true;
                    Event::NoneLeft.of(number)
                }
            };
            self.supervisor.handle(self.now, event);
        }
    }

    /// What must hold whenever nothing is left to be done.
    fn look(&self) -> Result<(), Broken> {
        let lives = |number: u32| self.lives.get(&number).is_some_and(|life| life.child);
        let able = self.beside.filter(|beside| {
            let life = self.lives.get(beside);
            life.is_some_and(|life| life.child && life.was_ready && !life.asked)
        });
        let is_lost = !lives(self.serving) && able.is_some() && self.to_come.is_empty();
        holds(Promise::NeverNoneByOurDoing, !is_lost, || {
            format!("{} serves, which is dead", self.serving)
        })
    }

    fn judge(&mut self, number: u32, action: Action) -> Result<(), Broken> {
        holds(Promise::NothingAfterTheEnd, self.outcome.is_none(), || {
            format!("{action:?}")
        })?;
        match action {
            Action::RunHook { hook, .. } => {
                self.hook(number, hook)?;
                let result = HookResult::Ended(ExitStatus::Exited(0));
                self.happens_to(number, Event::HookEnded { hook, result });
            }
            Action::OpenBeside { generation } => {
                let alone = self.beside.is_none();
                holds(Promise::TwoAtMost, alone, || "a third one".to_owned())?;
                self.beside = Some(generation);
                self.life(generation).none_told = true;
                self.to_come.push_back(Event::OpenedBeside);
            }
            Action::NextGeneration { number } => {
                self.is_over(self.serving)?;
                self.serving = number;
                self.life(number).none_told = true;
            }
            Action::Start => {
                let life = self.life(number);
                (life.child, life.none_told) = (true, false);
                let pid = i32::try_from(number).unwrap_or_default() + 1;
                self.happens_to(number, Event::Started { pid });
            }
            Action::Switch if self.bug == Some(Bug::ForgetsToSwitch) => {}
            Action::Switch => {
                let Some(beside) = self.beside.replace(self.serving) else {
                    return Err(Broken(Promise::OneServes, "there is no other".to_owned()));
                };
                let before = std::mem::replace(&mut self.serving, beside);
                let life = self.life(before).clone();
                let can_serve = self.life(beside).was_ready || !life.child;
                holds(Promise::NeverNoneByOurDoing, can_serve, || {
                    format!("{beside} serves and was not ready, {before} was there")
                })?;
            }
            Action::Record(Record::Replaced { generation, .. }) => {
                holds(Promise::OneServes, generation == self.serving, || {
                    format!("{generation} is told, connections go to {}", self.serving)
                })?;
            }
            Action::CloseBeside => {
                let number = self.beside.take().unwrap_or_default();
                self.is_over(number)?;
            }
            Action::Send { signal, .. } => {
                let own = self.supervisor.machine_of(number);
                holds(Promise::SignalsReachTheirOwn, own, || {
                    format!("{signal} for {number}, which was not asked to stop")
                })?;
                self.life(number).asked = true;
                if signal == Signal::KILL {
                    self.exits(number, 137);
                }
            }
            Action::StartDrain => {
                let (requests, settled) = (0, true);
                self.happens_to(number, Event::InFlight { requests, settled });
            }
            Action::Flush => self.happens_to(number, Event::Flushed),
            Action::Finish(outcome) => {
                let alive = self.lives.iter().find(|(_, life)| life.child);
                holds(Promise::AStopEndsItAll, alive.is_none(), || {
                    format!("{:?} lives on", alive.map(|(number, _)| number))
                })?;
                self.outcome = Some(outcome);
            }
            _ => {}
        }
        Ok(())
    }

    /// A generation is over: nothing of it is left, and its hooks have run.
    fn is_over(&mut self, number: u32) -> Result<(), Broken> {
        let swept = self.life(number).clone();
        holds(
            Promise::EachIsSweptOnce,
            !swept.child && swept.none_told,
            || format!("{number} is closed and not swept"),
        )?;
        // One that was never begun has none.
        let hooks = (swept.pre_start, swept.post_stop);
        let once = [(1, 1), (0, 0)].contains(&hooks);
        holds(Promise::HooksRunOncePerGeneration, once, || {
            format!("{hooks:?} of {number}")
        })
    }

    fn hook(&mut self, number: u32, hook: HookId) -> Result<(), Broken> {
        let twice = u32::from(self.bug == Some(Bug::RunsHooksTwice)) + 1;
        let life = self.life(number);
        life.none_told = false;
        match hook.phase {
            HookPhase::PreStart => life.pre_start += 1,
            HookPhase::PreStop => {}
            HookPhase::PostStop => life.post_stop += twice,
        }
        let (before, after) = (life.pre_start, life.post_stop);
        holds(
            Promise::HooksRunOncePerGeneration,
            before <= 1 && after <= 1,
            || format!("{before}, {after} of {number}"),
        )
    }

    fn exits(&mut self, number: u32, code: u8) {
        let life = self.life(number);
        if std::mem::replace(&mut life.child, false) {
            let status = ExitStatus::Exited(code);
            self.happens_to(number, Event::ChildExited(status));
        }
    }

    fn give(&mut self, event: Event) -> Result<(), Broken> {
        self.supervisor.handle(self.now, event);
        self.settle()
    }

    fn play(&mut self, letter: Letter) -> Result<(), Broken> {
        if self.outcome.is_some() {
            return self.settle();
        }
        let both = [Some(self.serving), self.beside];
        let newer = both.into_iter().flatten().max().unwrap_or_default();
        let older = both.into_iter().flatten().min().unwrap_or_default();
        match letter {
            Letter::Usr2 => {
                if self.bug == Some(Bug::TakesAThird) {
                    self.supervisor.beside = None;
                }
                self.give(received(named("USR2")))
            }
            Letter::Term => {
                self.stop_asked = true;
                if self.bug == Some(Bug::ForgetsTheOtherAtTheStop) {
                    self.supervisor.beside = None;
                }
                self.give(received(Signal::TERM))
            }
            Letter::ReadyNewer => {
                if self.bug == Some(Bug::SwitchesBeforeReady) && self.supervisor.is_coming() {
                    self.supervisor.now = self.now;
                    self.supervisor.switch(true);
                    return self.settle();
                }
                let life = self.life(newer);
                if life.child {
                    life.was_ready = true;
                    self.happens_to(newer, Event::Ready);
                }
                self.settle()
            }
            Letter::NotAliveOlder => {
                self.happens_to(older, Event::NotAlive("it hangs".to_owned()));
                self.settle()
            }
            Letter::FailsNewer => {
                self.exits(newer, 1);
                self.settle()
            }
            Letter::FailsOlder | Letter::ExitsOlder => {
                self.exits(older, u8::from(letter == Letter::FailsOlder));
                if self.bug == Some(Bug::ClosesBeforeTheSweep) && self.beside == Some(older) {
                    self.supervisor.act(Action::CloseBeside);
                }
                self.settle()
            }
            Letter::Deadline | Letter::Early => {
                if let Some(until) = self.supervisor.deadline() {
                    let left = until.saturating_sub(self.now);
                    let early = letter == Letter::Early;
                    self.now += if early { left / 2 } else { left };
                }
                self.give(Event::Deadline)
            }
        }
    }

    /// A stop, and both children end: then so does the run.
    fn end(&mut self) -> Result<(), Broken> {
        self.play(Letter::Term)?;
        for _ in 0..2 {
            for number in [Some(self.serving), self.beside].into_iter().flatten() {
                self.exits(number, 0);
                self.settle()?;
            }
        }
        if self.bug == Some(Bug::SpeaksAfterTheEnd) {
            self.supervisor
                .tell(Record::GenerationBegan { generation: 9 });
            self.settle()?;
        }
        holds(Promise::AStopEndsItAll, self.outcome.is_some(), || {
            "the run goes on".to_owned()
        })
    }
}

impl Supervisor {
    /// Whether that generation has been asked to stop, or its end has begun.
    fn machine_of(&self, number: u32) -> bool {
        let machine = if number == self.generation.number {
            Some(&self.machine)
        } else {
            let beside = self.beside.as_ref();
            beside
                .filter(|beside| beside.number == number)
                .map(|beside| &beside.machine)
        };
        machine.is_some_and(|machine| machine.why_no_restart().is_some())
    }
}

fn supervisions() -> [Supervision; 2] {
    let mut failures = on_failure();
    failures.replace_on.insert(named("USR2"));
    let mut never = failures.clone();
    never.restart = Restart::No;
    [failures, never]
}

/// Plays every story of five letters; the first promise that is broken.
fn all(supervision: &Supervision, bug: Option<Bug>) -> Result<(), Broken> {
    let stories = LETTERS.len().pow(5);
    for number in 0..stories {
        let mut story = Vec::new();
        let mut rest = number;
        for _ in 0..5 {
            story.push(LETTERS[rest % LETTERS.len()]);
            rest /= LETTERS.len();
        }
        let mut judge = Judge::new(supervision, bug);
        let mut play = || {
            judge.settle()?;
            judge.play(Letter::ReadyNewer)?;
            for letter in &story {
                judge.play(*letter)?;
            }
            judge.end()
        };
        play().map_err(|Broken(promise, why)| Broken(promise, format!("{why}: {story:?}")))?;
    }
    Ok(())
}

#[test]
fn every_story_of_two_generations_keeps_the_promises() {
    for supervision in supervisions() {
        if let Err(Broken(promise, why)) = all(&supervision, None) {
            panic!("{promise:?}: {why}\n{supervision:?}");
        }
    }
}

#[test]
fn each_promise_is_broken_by_the_bug_that_is_planted_for_it_with_two() {
    for (bug, promise) in BUGS {
        let mut supervisions = supervisions().into_iter();
        let found = supervisions.find_map(|supervision| all(&supervision, Some(bug)).err());
        let found = found.map(|Broken(promise, why)| (promise, why));
        assert_eq!(
            found.as_ref().map(|(promise, _)| *promise),
            Some(promise),
            "{bug:?} {found:?}"
        );
    }
}
