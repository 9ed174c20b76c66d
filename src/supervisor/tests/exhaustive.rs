//! Every story of five events, judged by promises, and a planted bug for each promise.

use super::*;
use crate::machine::HookId;
use crate::plan::HookPhase;
use crate::record::HookResult;

/// What happens next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Letter {
    ExitsWell,
    Fails,
    Term,
    /// Asks for a restart.
    Hup,
    Usr1,
    /// It is as late as the supervisor has asked for.
    Deadline,
    /// Half of that time: too early.
    Early,
}

const LETTERS: [Letter; 7] = [
    Letter::ExitsWell,
    Letter::Fails,
    Letter::Term,
    Letter::Hup,
    Letter::Usr1,
    Letter::Deadline,
    Letter::Early,
];

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Promise {
    /// Whatever state it meets: no generation begins after it, and the run ends with the child.
    AStopEndsTheRun,
    /// The next one starts when the last one has ended and been swept.
    OneGenerationAtATime,
    /// The pre-start and post-stop hooks of each generation that began.
    HooksRunOncePerGeneration,
    TheLimitHolds,
    TheDelayIsKept,
    NothingAfterTheEnd,
    /// A failure is followed by a start, unless the limit or a stop forbids it.
    AFailureIsNotTheEnd,
    TheStatusIsThatOfTheLastGeneration,
    /// The one that is alive gets what asks neither for a stop nor for a restart.
    OtherSignalsReachTheChild,
    /// The sockets of `--listen` are there for each generation, and closed from the stop on.
    SocketsAreOpenUntilTheStop,
    /// Once the last child is over they are closed before anything else is done.
    SocketsAreClosedBeforeTheHooks,
}

/// A mistake that a supervisor could make.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Bug {
    MissesAStopInTheDelay,
    RestartsInSpiteOfAStop,
    DoesNotWaitForTheSweep,
    StartsAtOnce,
    CountsNoRestarts,
    SkipsPostStop,
    SpeaksAfterTheEnd,
    GivesUpAtOnce,
    EndsWellWhateverHappened,
    SwallowsSignals,
    ClosesSocketsForARestart,
    KeepsSocketsOpen,
    ClosesSocketsAtTheEnd,
}

const BUGS: [(Bug, Promise); 13] = [
    (Bug::MissesAStopInTheDelay, Promise::AStopEndsTheRun),
    (Bug::RestartsInSpiteOfAStop, Promise::AStopEndsTheRun),
    (Bug::DoesNotWaitForTheSweep, Promise::OneGenerationAtATime),
    (Bug::StartsAtOnce, Promise::TheDelayIsKept),
    (Bug::CountsNoRestarts, Promise::TheLimitHolds),
    (Bug::SkipsPostStop, Promise::HooksRunOncePerGeneration),
    (Bug::SpeaksAfterTheEnd, Promise::NothingAfterTheEnd),
    (Bug::GivesUpAtOnce, Promise::AFailureIsNotTheEnd),
    (
        Bug::EndsWellWhateverHappened,
        Promise::TheStatusIsThatOfTheLastGeneration,
    ),
    (Bug::SwallowsSignals, Promise::OtherSignalsReachTheChild),
    (
        Bug::ClosesSocketsForARestart,
        Promise::SocketsAreOpenUntilTheStop,
    ),
    (Bug::KeepsSocketsOpen, Promise::SocketsAreOpenUntilTheStop),
    (
        Bug::ClosesSocketsAtTheEnd,
        Promise::SocketsAreClosedBeforeTheHooks,
    ),
];

struct Broken(Promise, String);

/// The world of a story: what it has seen, and what it holds the supervisor to.
struct Judge {
    supervisor: Supervisor,
    bug: Option<Bug>,
    times: u32,
    /// A failure is followed by a restart.
    restarts: bool,
    now: Duration,
    to_come: VecDeque<Event>,
    child: bool,
    /// The last generation has been swept, or there was none.
    swept: bool,
    none_told: bool,
    pre_start: u32,
    post_stop: u32,
    generations: u32,
    unasked: u32,
    /// When the next start may be, at the earliest.
    not_before: Duration,
    stop_asked: bool,
    asked_to_restart: bool,
    failed: bool,
    last: Option<u8>,
    forwarded: u32,
    sockets_closed: bool,
    /// Whether they were, when the last post-stop hook began.
    closed_by_then: bool,
    outcome: Option<Outcome>,
}

impl Judge {
    fn new(supervision: &Supervision, bug: Option<Bug>) -> Self {
        let mut settings = Settings::default();
        for name in ["pre-start", "pre-stop", "post-stop"] {
            settings.set(name, "hook");
        }
        let mut plan = settings.plan().unwrap();
        if bug == Some(Bug::SkipsPostStop) {
            plan.post_stop.clear();
        }
        let mut supervision = supervision.clone();
        let restarts = supervision.restart != Restart::No;
        let times = supervision.limit.map_or(u32::MAX, |limit| limit.times);
        match bug {
            Some(Bug::StartsAtOnce) => supervision.delay = Duration::ZERO,
            Some(Bug::CountsNoRestarts) => supervision.limit = None,
            Some(Bug::GivesUpAtOnce) => supervision.restart = Restart::No,
            _ => {}
        }
        let mut judge = Self {
            supervisor: Supervisor::new(Rc::new(plan), supervision, 0),
            bug,
            times,
            restarts,
            now: Duration::ZERO,
            to_come: VecDeque::new(),
            child: false,
            swept: true,
            none_told: true,
            pre_start: 0,
            post_stop: 0,
            generations: 1,
            unasked: 0,
            not_before: Duration::ZERO,
            stop_asked: false,
            asked_to_restart: false,
            failed: false,
            last: None,
            forwarded: 0,
            sockets_closed: false,
            closed_by_then: true,
            outcome: None,
        };
        judge.supervisor.jitter = Jitter::none();
        judge
    }

    fn is_between(&self) -> bool {
        matches!(self.supervisor.state, State::Between { .. })
    }

    fn give(&mut self, event: Event) -> Result<(), Broken> {
        let is_term = event == received(Signal::TERM);
        match self.bug {
            Some(Bug::MissesAStopInTheDelay) if is_term && self.is_between() => {
                return self.settle();
            }
            Some(Bug::ClosesSocketsForARestart) if event == received(Signal::HUP) => {
                self.sockets_closed = true;
            }
            Some(Bug::SwallowsSignals) if event == received(named("USR1")) => return self.settle(),
            _ => {}
        }
        self.supervisor.handle(self.now, event);
        if self.bug == Some(Bug::RestartsInSpiteOfAStop) {
            self.supervisor.stop_asked = false;
            self.supervisor.restart_asked |= is_term;
        }
        self.settle()
    }

    /// Carries out what is to be done, and tells what follows at once, until nothing does.
    fn settle(&mut self) -> Result<(), Broken> {
        loop {
            while let Some(action) = self.supervisor.poll() {
                self.judge(action)?;
            }
            let event = match self.to_come.pop_front() {
                Some(event) => event,
                None if !self.child && !self.none_told => {
                    (self.none_told, self.swept) = (true, true);
                    Event::NoneLeft
                }
                None => return Ok(()),
            };
            if let (Some(Bug::DoesNotWaitForTheSweep), Event::ChildExited(status)) =
                (self.bug, &event)
            {
                self.supervisor.ended(Outcome {
                    code: status.code(),
                    reason: Reason::Exit,
                    status: Some(*status),
                    escalated: false,
                    took: Duration::ZERO,
                });
                self.now += secs(1);
                self.supervisor.handle(self.now, Event::Deadline);
                continue;
            }
            self.supervisor.handle(self.now, event);
        }
    }

    fn judge(&mut self, action: Action) -> Result<(), Broken> {
        let holds = |promise, holds: bool, why: &str| {
            if holds {
                Ok(())
            } else {
                Err(Broken(promise, why.to_owned()))
            }
        };
        holds(
            Promise::NothingAfterTheEnd,
            self.outcome.is_none(),
            &format!("{action:?}"),
        )?;
        match action {
            Action::RunHook { hook, .. } => {
                self.hook(hook);
                self.none_told = false;
                let result = HookResult::Ended(ExitStatus::Exited(0));
                self.to_come.push_back(Event::HookEnded { hook, result });
            }
            Action::CloseSockets if self.bug == Some(Bug::KeepsSocketsOpen) && self.stop_asked => {}
            Action::CloseSockets
                if self.bug == Some(Bug::ClosesSocketsAtTheEnd) && !self.stop_asked => {}
            Action::CloseSockets => self.sockets_closed = true,
            Action::NextGeneration { .. } => {
                holds(Promise::AStopEndsTheRun, !self.stop_asked, "a generation")?;
                let alone = !self.child && self.swept;
                holds(Promise::OneGenerationAtATime, alone, "two")?;
                let hooks = (self.pre_start, self.post_stop);
                let once = hooks == (self.generations, self.generations);
                holds(
                    Promise::HooksRunOncePerGeneration,
                    once,
                    &format!("{hooks:?} of {}", self.generations),
                )?;
                holds(
                    Promise::TheDelayIsKept,
                    self.now >= self.not_before || self.asked_to_restart,
                    "too early",
                )?;
                holds(
                    Promise::SocketsAreOpenUntilTheStop,
                    !self.sockets_closed,
                    "closed for the next one",
                )?;
                self.asked_to_restart = false;
                self.generations += 1;
            }
            Action::Start => {
                (self.child, self.swept, self.none_told) = (true, false, false);
                self.to_come.push_back(Event::Started { pid: 2 });
            }
            Action::Send { signal, .. } if signal == named("USR1") => self.forwarded += 1,
            Action::Send { signal, .. } if signal == Signal::KILL => self.exits(137),
            Action::Record(Record::GenerationEnded { restart, .. }) => {
                if restart != RestartReason::Asked {
                    self.unasked += 1;
                    self.not_before = self.now + ms(500);
                }
                holds(
                    Promise::TheLimitHolds,
                    self.unasked <= self.times,
                    "one restart too many",
                )?;
            }
            Action::Record(Record::GaveUp { restarts, .. }) => {
                holds(
                    Promise::AFailureIsNotTheEnd,
                    restarts == self.times,
                    "given up too early",
                )?;
                self.failed = false;
            }
            Action::Record(Record::Ended(outcome)) => {
                let code = self.last.unwrap_or(143);
                let code = match self.bug {
                    Some(Bug::EndsWellWhateverHappened) => code.wrapping_add(1),
                    _ => code,
                };
                holds(
                    Promise::TheStatusIsThatOfTheLastGeneration,
                    outcome.code == code,
                    &format!("{} is not {code}", outcome.code),
                )?;
                holds(
                    Promise::SocketsAreClosedBeforeTheHooks,
                    self.stop_asked || self.closed_by_then,
                    "open",
                )?;
                let may_end = self.stop_asked || !self.failed;
                holds(Promise::AFailureIsNotTheEnd, may_end, "it is")?;
            }
            Action::Flush => self.to_come.push_back(Event::Flushed),
            Action::Finish(outcome) => self.outcome = Some(outcome),
            _ => {}
        }
        Ok(())
    }

    fn hook(&mut self, hook: HookId) {
        match hook.phase {
            HookPhase::PreStart => self.pre_start += 1,
            HookPhase::PreStop => {}
            HookPhase::PostStop => {
                self.post_stop += 1;
                self.closed_by_then = self.sockets_closed;
            }
        }
    }

    fn exits(&mut self, code: u8) {
        if std::mem::replace(&mut self.child, false) {
            self.last = Some(code);
            let status = ExitStatus::Exited(code);
            self.to_come.push_back(Event::ChildExited(status));
        }
    }

    fn play(&mut self, letter: Letter) -> Result<(), Broken> {
        if self.outcome.is_some() {
            return self.settle();
        }
        let running = self.child && self.supervisor.machine.why_no_restart().is_none();
        match letter {
            Letter::ExitsWell | Letter::Fails => {
                let code = u8::from(letter == Letter::Fails);
                self.failed = running && code != 0 && !self.stop_asked && self.restarts;
                self.exits(code);
                self.settle()
            }
            Letter::Term => {
                self.stop_asked = true;
                self.give(received(Signal::TERM))?;
                if self.child && !self.sockets_closed {
                    let why = "they wait for nobody".to_owned();
                    return Err(Broken(Promise::SocketsAreOpenUntilTheStop, why));
                }
                Ok(())
            }
            Letter::Hup => {
                self.asked_to_restart |= running || self.is_between();
                self.give(received(Signal::HUP))
            }
            Letter::Usr1 => {
                let before = self.forwarded;
                self.give(received(named("USR1")))?;
                if running && self.forwarded == before {
                    let why = "USR1 is lost".to_owned();
                    return Err(Broken(Promise::OtherSignalsReachTheChild, why));
                }
                Ok(())
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

    fn end(&mut self) -> Result<(), Broken> {
        self.play(Letter::Term)?;
        self.play(Letter::ExitsWell)?;
        if self.bug == Some(Bug::SpeaksAfterTheEnd) {
            self.supervisor
                .tell(Record::GenerationBegan { generation: 9 });
            self.settle()?;
        }
        let why = || Broken(Promise::AStopEndsTheRun, "the run goes on".to_owned());
        self.outcome.as_ref().map(|_| ()).ok_or_else(why)
    }
}

fn supervisions() -> [Supervision; 3] {
    let mut failures = on_failure();
    failures.limit = Some(Limit {
        times: 1,
        within: Some(secs(600)),
    });
    failures.restart_on.insert(Signal::HUP);
    let mut always = failures.clone();
    always.restart = Restart::Always;
    always.limit = None;
    let mut asked = failures.clone();
    asked.restart = Restart::No;
    [failures, always, asked]
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
fn every_story_of_five_events_keeps_the_promises() {
    for supervision in supervisions() {
        if let Err(Broken(promise, why)) = all(&supervision, None) {
            panic!("{promise:?}: {why}\n{supervision:?}");
        }
    }
}

#[test]
fn each_promise_is_broken_by_the_bug_that_is_planted_for_it() {
    for (bug, promise) in BUGS {
        let mut supervisions = supervisions().into_iter();
        let found = supervisions.find_map(|supervision| all(&supervision, Some(bug)).err());
        let found = found.map(|Broken(promise, _)| promise);
        assert_eq!(found, Some(promise), "{bug:?}");
    }
}
