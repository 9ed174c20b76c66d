//! A planted bug for each promise: a check that cannot fail proves nothing.

use super::promises::{ALL, Promise};
use super::setups::SETUPS;
use super::*;

/// A mistake that a machine could make.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Bug {
    TakesAStepAgain,
    ReturnsToTheFirstSweep,
    SpeaksAfterTheEnd,
    HoldsKillBack,
    ForgetsTheDeadline,
    RunsPostStopTwice,
    SkipsPostStop,
    RunsPostStopEarly,
    RunsPreStopAfterACrash,
    StartsInSpiteOfAStop,
    TakesHoldsNotForHolds,
    TakesTheFirstForAll,
    StartsWhenTheWaitIsOver,
    LooksOnInSpiteOfAStop,
    CountsFailuresThatAreNotInARow,
    MissesAFailure,
    MissesAWord,
    SkipsAbrt,
    EndsAPreStartHookAtTheFirstTerm,
    TakesASecondTermForInt,
    TakesTheFirstIntForTwo,
    SwallowsATermAfterInt,
    SwallowsWhatTheLadderDoesNotName,
    TakesTheSecondIntForTwo,
    ForgetsWhatWasKept,
    TellsTermTwice,
    ForgetsWhoHadTerm,
    ForgetsTheTerminal,
    SendsWhatTheTerminalHasSent,
    AsksWorkersAtOnce,
    NeverAsksWorkers,
    OverlooksWhoHasLostItsParent,
    ForgetsTheGraceOfTheStep,
    KillsOnce,
    LeavesWhoIsBorn,
    ForwardsToTheDead,
    LetsHooksOverlap,
    TakesEveryWakeUpForDue,
    LosesItsTimersInTheSweep,
    MissesThatNobodyIsLeft,
    TakesAnyHooksEnd,
    TakesAnyCommandsEnd,
    KillsInSpiteOfNoKill,
    TakesNotKnownForDrained,
    ForgetsTheDelay,
    TakesNobodyHeldUpForDrained,
    KeepsQuietAboutWhatHoldsUp,
}

const BUGS: [(Bug, Promise); 47] = [
    (Bug::TakesAStepAgain, Promise::StepsNeverGoBack),
    (Bug::ReturnsToTheFirstSweep, Promise::StepsNeverGoBack),
    (Bug::SpeaksAfterTheEnd, Promise::NothingAfterTheEnd),
    (Bug::HoldsKillBack, Promise::KillInTime),
    (Bug::ForgetsTheDeadline, Promise::TheDeadlineHolds),
    (Bug::RunsPostStopTwice, Promise::PostStopHooksRunOnce),
    (Bug::SkipsPostStop, Promise::PostStopHooksRunOnce),
    (Bug::RunsPostStopEarly, Promise::PostStopHooksRunOnce),
    (
        Bug::RunsPreStopAfterACrash,
        Promise::PreStopHooksRunOnRequest,
    ),
    (
        Bug::StartsInSpiteOfAStop,
        Promise::NothingIsStartedOnceAStopIsAsked,
    ),
    (
        Bug::TakesHoldsNotForHolds,
        Promise::NothingIsStartedBeforeItHolds,
    ),
    (
        Bug::TakesTheFirstForAll,
        Promise::NothingIsStartedBeforeItHolds,
    ),
    (
        Bug::StartsWhenTheWaitIsOver,
        Promise::NothingIsStartedBeforeItHolds,
    ),
    (Bug::LooksOnInSpiteOfAStop, Promise::AStopEndsTheWait),
    (
        Bug::CountsFailuresThatAreNotInARow,
        Promise::WhatHangsIsStopped,
    ),
    (Bug::MissesAFailure, Promise::WhatHangsIsStopped),
    (Bug::MissesAWord, Promise::WhatHangsIsStopped),
    (Bug::SkipsAbrt, Promise::AMissedWatchdogIsAbrt),
    (
        Bug::EndsAPreStartHookAtTheFirstTerm,
        Promise::AFirstRequestHurriesNothing,
    ),
    (
        Bug::TakesASecondTermForInt,
        Promise::ASecondTermChangesNothing,
    ),
    (
        Bug::TakesTheFirstIntForTwo,
        Promise::AFirstRequestHurriesNothing,
    ),
    (
        Bug::SwallowsATermAfterInt,
        Promise::ASignalTheChildHasNotHadReachesIt,
    ),
    (
        Bug::SwallowsWhatTheLadderDoesNotName,
        Promise::ASignalTheChildHasNotHadReachesIt,
    ),
    (
        Bug::TakesTheSecondIntForTwo,
        Promise::KillByHandTakesTwoMore,
    ),
    (Bug::ForgetsWhatWasKept, Promise::NothingIsLostInAHandOver),
    (Bug::TellsTermTwice, Promise::NobodyIsToldTermTwice),
    (Bug::ForgetsWhoHadTerm, Promise::NobodyIsToldTermTwice),
    (Bug::ForgetsTheTerminal, Promise::NobodyIsToldTermTwice),
    (
        Bug::SendsWhatTheTerminalHasSent,
        Promise::OneRequestReachesNobodyTwice,
    ),
    (Bug::AsksWorkersAtOnce, Promise::RootsFirst),
    (Bug::NeverAsksWorkers, Promise::RootsFirst),
    (Bug::OverlooksWhoHasLostItsParent, Promise::RootsFirst),
    (
        Bug::ForgetsTheGraceOfTheStep,
        Promise::WhatIsLeftHasTheRestOfTheGrace,
    ),
    (Bug::KillsOnce, Promise::KillUntilNothingIsLeft),
    (Bug::LeavesWhoIsBorn, Promise::KillUntilNothingIsLeft),
    (Bug::ForwardsToTheDead, Promise::NoSignalForTheDead),
    (Bug::LetsHooksOverlap, Promise::OneHookAtATime),
    (
        Bug::TakesEveryWakeUpForDue,
        Promise::EarlyWakeUpsAreHarmless,
    ),
    (Bug::LosesItsTimersInTheSweep, Promise::TheRunEnds),
    (Bug::MissesThatNobodyIsLeft, Promise::TheRunEnds),
    (Bug::TakesAnyHooksEnd, Promise::LateEndsChangeNothing),
    (Bug::TakesAnyCommandsEnd, Promise::LateEndsChangeNothing),
    (Bug::KillsInSpiteOfNoKill, Promise::NoKillSparesTheChild),
    (Bug::TakesNotKnownForDrained, Promise::DrainedIsNoGuess),
    (Bug::ForgetsTheDelay, Promise::DrainedIsNoGuess),
    (Bug::TakesNobodyHeldUpForDrained, Promise::DrainedIsNoGuess),
    (
        Bug::KeepsQuietAboutWhatHoldsUp,
        Promise::WhatHoldsUpADrainIsTold,
    ),
];

/// The machine, as it is or with a bug planted between it and the world.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Player {
    machine: Machine,
    bug: Option<Bug>,
    outbox: VecDeque<Action>,
    held_back: Option<Action>,
    asked: bool,
    ended: bool,
    ints: u32,
    killed: bool,
}

impl Player {
    pub(super) fn new(mut plan: Plan, bug: Option<Bug>) -> Self {
        if bug == Some(Bug::ForgetsTheDeadline) {
            plan.deadline = None;
        }
        if let (Some(Bug::ForgetsTheDelay), Some(drain)) = (bug, &mut plan.drain) {
            drain.delay = Duration::ZERO;
        }
        let mut player = Self {
            machine: Machine::new(Rc::new(plan)),
            bug,
            outbox: VecDeque::new(),
            held_back: None,
            asked: false,
            ended: false,
            ints: 0,
            killed: false,
        };
        player.take_over();
        player
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        let in_sweep = matches!(self.machine.phase, Phase::Sweep(_));
        let lost = self.bug == Some(Bug::LosesItsTimersInTheSweep) && in_sweep;
        self.machine.deadline().filter(|_| !lost)
    }

    pub(super) fn poll(&mut self) -> Option<Action> {
        self.outbox.pop_front()
    }

    pub(super) fn handle(&mut self, mut now: Duration, mut event: Event) {
        let is_term = event == signal(Signal::TERM);
        let is_int = event == signal(Signal::INT);
        self.ints += u32::from(is_int);
        let child_ends = matches!(event, Event::ChildExited(_));
        self.outbox.extend(self.held_back.take());
        match self.bug {
            Some(Bug::TakesASecondTermForInt) if is_term && self.asked => {
                event = signal(Signal::INT);
            }
            Some(Bug::SwallowsATermAfterInt) if is_term && self.ints > 0 => return,
            Some(Bug::SwallowsWhatTheLadderDoesNotName) if self.asked && is_term | is_int => {
                let mut steps = self.machine.plan.ladder.iter();
                if !steps.any(|step| step.action == StepAction::Same) {
                    return;
                }
            }
            Some(Bug::TakesTheFirstIntForTwo) if is_int && self.ints == 1 => {
                self.machine.handle(now, event.clone());
            }
            Some(Bug::TakesTheSecondIntForTwo) if is_int && self.ints == 2 => {
                self.machine.handle(now, event.clone());
            }
            Some(Bug::TakesEveryWakeUpForDue) if event == Event::Deadline => {
                now = now.max(self.machine.deadline().unwrap_or(now));
            }
            Some(Bug::TakesAnyHooksEnd) => {
                if let (Event::HookEnded { hook, .. }, Some(current)) =
                    (&mut event, self.machine.current_hook())
                {
                    *hook = current;
                }
            }
            Some(Bug::TakesAnyCommandsEnd) => {
                if let (Event::StopCommandEnded { step, .. }, Some(current)) =
                    (&mut event, self.machine.stop_command())
                {
                    *step = current;
                }
            }
            Some(Bug::TakesNotKnownForDrained) => {
                if let Event::Answered { answer, .. } = &mut event
                    && matches!(answer, Answer::NotKnown(_))
                {
                    *answer = Answer::Holds;
                }
            }
            Some(Bug::CountsFailuresThatAreNotInARow) if event == Event::Alive => return,
            Some(Bug::ForgetsWhatWasKept) if matches!(event, Event::HeirFound { .. }) => {
                if let Some(search) = &mut self.machine.child.search {
                    search.kept.clear();
                }
            }
            Some(Bug::MissesAWord) if event == Event::KeepsAlive => return,
            Some(Bug::MissesAFailure) if matches!(event, Event::NotAlive(_)) => return,
            Some(Bug::TakesHoldsNotForHolds) => {
                if let Event::HoldsNot { condition, .. } = event {
                    event = Event::Holds(condition);
                }
            }
            Some(Bug::TakesTheFirstForAll) if event == Event::Holds(0) => {
                self.machine.handle(now, event.clone());
                event = Event::Holds(1);
            }
            Some(Bug::StartsWhenTheWaitIsOver)
                if event == Event::Deadline
                    && matches!(self.machine.phase, Phase::WaitFor(_))
                    && self.machine.until.is_some_and(|until| now >= until) =>
            {
                self.machine.enter_pre_start(now, 0);
            }
            Some(Bug::TakesNobodyHeldUpForDrained) if event == held_up(0) => {
                event = in_flight(0, true);
            }
            Some(Bug::OverlooksWhoHasLostItsParent) if matches!(event, Event::Reaped { .. }) => {
                return;
            }
            Some(Bug::ForgetsTheGraceOfTheStep) => {
                if let Phase::Sweep(sweep) = &mut self.machine.phase {
                    sweep.of_step = None;
                }
            }
            Some(Bug::MissesThatNobodyIsLeft) if event == Event::NoneLeft => return,
            Some(Bug::SpeaksAfterTheEnd) if self.ended => self.outbox.push_back(Action::NotReady),
            Some(Bug::RunsPreStopAfterACrash) if child_ends && !self.asked => {
                let pre_stop = self.hook_run(HookPhase::PreStop);
                self.outbox.extend(pre_stop);
            }
            _ => {}
        }
        self.machine.handle(now, event);
        self.take_over();
    }

    fn hook_run(&self, phase: HookPhase) -> Option<Action> {
        let hook = HookId { phase, index: 0 };
        let facts = self.machine.facts(Duration::ZERO, phase.name());
        (!self.machine.plan.hooks(phase).is_empty()).then_some(Action::RunHook { hook, facts })
    }

    fn take_over(&mut self) {
        while let Some(action) = self.machine.poll() {
            self.distort(action);
        }
    }

    fn distorted(&self, whom: Whom) -> Whom {
        let (mut rest, mut had) = (whom.rest, whom.had);
        match self.bug {
            Some(Bug::ForgetsWhoHadTerm) => had = SignalSet::default(),
            Some(Bug::ForgetsTheTerminal) => had = [Signal::TERM].into_iter().collect(),
            Some(Bug::AsksWorkersAtOnce) => rest = true,
            Some(Bug::NeverAsksWorkers) => rest = false,
            _ => {}
        }
        Whom { rest, had, ..whom }
    }

    fn distort(&mut self, action: Action) {
        let is_kill = matches!(
            action,
            Action::Send {
                signal: Signal::KILL,
                ..
            }
        );
        let is_term = matches!(
            action,
            Action::Send {
                signal: Signal::TERM,
                ..
            }
        );
        let runs_post_stop = match &action {
            Action::RunHook { hook, .. } => hook.phase == HookPhase::PostStop,
            _ => false,
        };
        let is_pre_start_over = match &action {
            Action::Record(Record::HookEnded { phase, .. }) => *phase == HookPhase::PreStart,
            _ => false,
        };
        let is_news = Action::Record(Record::WillNotStart);
        let now = self.machine.since;
        let drops_usr1 = match &action {
            Action::Record(Record::Dropped { signal, .. }) => *signal == named("USR1"),
            _ => false,
        };
        let asks = matches!(action, Action::Record(Record::StopAsked { .. }));
        self.asked |= asks;
        self.ended |= matches!(action, Action::Finish(_));
        let action = match action {
            Action::TellLeft(whom) => Action::TellLeft(self.distorted(whom)),
            Action::SendBeyondGroup(signal)
                if self.bug == Some(Bug::SendsWhatTheTerminalHasSent) =>
            {
                let target = Target::Tree;
                Action::Send { target, signal }
            }
            action => action,
        };
        let was_killed = self.killed;
        self.killed |= action == Action::Sweep(Signal::KILL);
        match self.bug {
            Some(Bug::KillsOnce) if was_killed && action == Action::Sweep(Signal::KILL) => {}
            Some(Bug::LeavesWhoIsBorn) if action == Action::Sweep(Signal::KILL) => {
                self.machine.handle(now, Event::NoneLeft);
                self.outbox.push_back(action);
            }
            Some(Bug::KeepsQuietAboutWhatHoldsUp)
                if matches!(action, Action::Record(Record::HeldUp { .. })) => {}
            Some(Bug::TakesAStepAgain) if matches!(action, Action::Record(Record::Step { .. })) => {
                self.outbox.extend([action.clone(), action]);
            }
            Some(Bug::ReturnsToTheFirstSweep) if action == Action::Sweep(Signal::KILL) => {
                let first_sweep = Action::TellLeft(Whom {
                    rest: false,
                    had: SignalSet::default(),
                    asked: None,
                });
                self.outbox.extend([action, first_sweep]);
            }
            Some(Bug::TellsTermTwice) if is_term => {
                self.outbox.extend([action.clone(), action]);
            }
            Some(Bug::HoldsKillBack) if is_kill => self.held_back = Some(action),
            Some(Bug::RunsPostStopTwice) if runs_post_stop => {
                self.outbox.extend([action.clone(), action]);
            }
            Some(Bug::SkipsPostStop) if runs_post_stop => {}
            Some(Bug::RunsPostStopEarly) if asks => {
                self.outbox.push_back(action);
                let early = self.hook_run(HookPhase::PostStop);
                self.outbox.extend(early);
            }
            Some(Bug::StartsInSpiteOfAStop) if self.asked && is_pre_start_over => {
                self.outbox.extend([action, Action::Start]);
            }
            Some(Bug::EndsAPreStartHookAtTheFirstTerm) if action == is_news => {
                self.outbox.push_back(action);
                self.machine.end_hook(now, HookResult::CutShort);
            }
            Some(Bug::LooksOnInSpiteOfAStop) if action == Action::EndWait => {}
            Some(Bug::SkipsAbrt)
                if action
                    == Action::Send {
                        target: Target::Child,
                        signal: Signal::ABRT,
                    } => {}
            Some(Bug::LetsHooksOverlap) if matches!(action, Action::EndHook(_)) => {}
            Some(Bug::KillsInSpiteOfNoKill)
                if matches!(action, Action::Record(Record::ChildLeft { .. })) =>
            {
                self.outbox.extend([action, Action::Sweep(Signal::KILL)]);
            }
            Some(Bug::ForwardsToTheDead) if drops_usr1 => {
                let (target, signal) = (Target::Child, named("USR1"));
                self.outbox.push_back(Action::Send { target, signal });
            }
            _ => self.outbox.push_back(action),
        }
    }
}

#[test]
fn a_planted_bug_breaks_its_promise() {
    for (bug, promise) in BUGS {
        // Short stories first: most bugs need no long one.
        let caught = (1..=4).find(|length| {
            let broken = SETUPS
                .iter()
                .filter_map(|setup| setup.play(*length, Some(bug)).err());
            broken.into_iter().any(|broken| broken.promise == promise)
        });
        assert!(caught.is_some(), "{bug:?} passes for {promise:?}");
    }
}

#[test]
fn every_promise_has_a_planted_bug() {
    for promise in ALL {
        assert!(
            BUGS.iter().any(|(_, breaks)| *breaks == promise),
            "{promise:?}"
        );
    }
}
