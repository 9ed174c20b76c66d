//! A planted bug for each promise: a judge who cannot find one proves nothing.

use std::rc::Rc;
use std::time::Duration;

use super::promises::Promise;
use super::teller::Misses;
use crate::machine::{Action, Event, Whom};
use crate::plan::{HookPhase, Left, Plan, Step, StepAction, Target};
use crate::record::Record;
use crate::words::signal::{Signal, SignalSet};

/// A mistake that stepdown could make.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Bug {
    ForgetsTheDeadline,
    LeavesWhatIsLeft,
    LosesItsTimersInAStop,
    WaitsTwiceAsLong,
    EndsWithAnotherStatus,
    RunsPostStopTwice,
    LetsHooksTakeTheirTime,
    SpeaksAfterTheEnd,
    TakesAStepAgain,
    WaitsHalfAsLong,
    KillsInSpiteOfNoKill,
    ForwardsTwice,
    SendsHupByTheWay,
    SwallowsASignal,
    ForgetsWhoHadTerm,
    HearsNotThatNoneIsLeft,
    StartsInSpiteOfAStop,
    TakesHoldsNotForHolds,
    CountsNoRestarts,
    RestartsAtOnce,
    SwitchesBeforeReady,
    TellsStatusNothingOfSteps,
    CountsNoFailedHooks,
    WakesAllTheTime,
    Panics,
}

/// What each of them breaks.
pub(super) const BUGS: [(Bug, Promise); 25] = [
    (Bug::ForgetsTheDeadline, Promise::TheDeadlineHolds),
    (Bug::LeavesWhatIsLeft, Promise::NothingSurvives),
    (Bug::LosesItsTimersInAStop, Promise::AStopEnds),
    (Bug::WaitsTwiceAsLong, Promise::NoLongerThanExplained),
    (
        Bug::EndsWithAnotherStatus,
        Promise::TheStatusIsThatOfTheTable,
    ),
    (Bug::RunsPostStopTwice, Promise::HooksRunOnceInOrder),
    (Bug::LetsHooksTakeTheirTime, Promise::HooksKeepTheirTimeout),
    (Bug::SpeaksAfterTheEnd, Promise::SilentAfterTheEnd),
    (Bug::TakesAStepAgain, Promise::StepsNeverGoBack),
    (Bug::WaitsHalfAsLong, Promise::KillOnlyWhereThePlanSays),
    (Bug::KillsInSpiteOfNoKill, Promise::NoKillSparesTheCommand),
    (Bug::ForwardsTwice, Promise::ForwardedOnce),
    (Bug::SendsHupByTheWay, Promise::NoSignalUnasked),
    (Bug::SwallowsASignal, Promise::NoSignalIsLost),
    (Bug::ForgetsWhoHadTerm, Promise::NobodyIsAskedTwice),
    (Bug::HearsNotThatNoneIsLeft, Promise::NobodyIsWaitedFor),
    (Bug::StartsInSpiteOfAStop, Promise::NothingStartsAfterAStop),
    (
        Bug::TakesHoldsNotForHolds,
        Promise::NothingStartsBeforeItHolds,
    ),
    (Bug::CountsNoRestarts, Promise::TheRestartLimitHolds),
    (Bug::RestartsAtOnce, Promise::TheRestartDelayIsKept),
    (Bug::SwitchesBeforeReady, Promise::OneServes),
    (Bug::TellsStatusNothingOfSteps, Promise::StatusIsTheLog),
    (Bug::CountsNoFailedHooks, Promise::MetricsAreTheReport),
    (Bug::WakesAllTheTime, Promise::NoSpinning),
    (Bug::Panics, Promise::NoPanic),
];

fn usr1() -> Option<Signal> {
    Signal::parse("USR1").ok()
}

impl Bug {
    /// The option without which it spoils nothing.
    pub(super) fn needs(self) -> &'static str {
        match self {
            Self::ForgetsTheDeadline => "deadline",
            Self::RunsPostStopTwice => "post-stop",
            Self::LetsHooksTakeTheirTime => "pre-stop",
            Self::KillsInSpiteOfNoKill => "no-kill",
            Self::StartsInSpiteOfAStop | Self::CountsNoFailedHooks => "pre-start",
            Self::TakesHoldsNotForHolds => "wait-for",
            Self::CountsNoRestarts | Self::RestartsAtOnce => "restart",
            Self::SwitchesBeforeReady => "replace-on",
            Self::WaitsHalfAsLong | Self::WaitsTwiceAsLong => "grace",
            _ => "",
        }
    }

    /// The plan that the machine works by; the judge keeps the real one.
    pub(super) fn plan(self, plan: &Rc<Plan>) -> Rc<Plan> {
        let mut wrong = (**plan).clone();
        match self {
            Self::ForgetsTheDeadline => wrong.deadline = None,
            Self::LeavesWhatIsLeft => wrong.left = Left::Leave,
            Self::LetsHooksTakeTheirTime => {
                let all = [
                    &mut wrong.pre_start,
                    &mut wrong.pre_stop,
                    &mut wrong.post_stop,
                ];
                for hook in all.into_iter().flatten() {
                    hook.timeout = hook.timeout * 3 + Duration::from_secs(60);
                }
            }
            Self::WaitsHalfAsLong => {
                for step in &mut wrong.ladder {
                    step.wait = step.wait.map(|wait| wait / 2);
                }
            }
            Self::WaitsTwiceAsLong => {
                for step in &mut wrong.ladder {
                    step.wait = step.wait.map(|wait| wait * 2);
                }
            }
            Self::KillsInSpiteOfNoKill if !wrong.ladder.iter().any(Step::is_kill) => {
                wrong.ladder.push(Step {
                    action: StepAction::Signal(Signal::KILL),
                    target: Target::Child,
                    wait: None,
                    says_wait: false,
                    text: "KILL".into(),
                });
            }
            _ => {}
        }
        if let Some(supervision) = &mut wrong.supervision {
            match self {
                Self::CountsNoRestarts => supervision.limit = None,
                Self::RestartsAtOnce => supervision.delay = Duration::ZERO,
                _ => {}
            }
        }
        Rc::new(wrong)
    }

    /// What the machine hears in place of an event.
    pub(super) fn event(self, event: Event) -> Option<Event> {
        match (self, event) {
            (Self::SwallowsASignal, Event::Signal(received)) if Some(received.signal) == usr1() => {
                None
            }
            (Self::HearsNotThatNoneIsLeft, event) if *event.itself() == Event::NoneLeft => None,
            (Self::TakesHoldsNotForHolds, Event::HoldsNot { condition, .. }) => {
                Some(Event::Holds(condition))
            }
            (Self::SwitchesBeforeReady, Event::Of { generation, event })
                if matches!(*event, Event::NotYetReady(_)) =>
            {
                Some(Event::Ready.of(generation))
            }
            (Self::Panics, Event::Signal(received)) if received.signal == Signal::WINCH => {
                panic!("planted")
            }
            (_, event) => Some(event),
        }
    }

    /// What is done in place of an action.
    pub(super) fn action(self, action: Action) -> Vec<Action> {
        let is_post_stop = match &action {
            Action::RunHook { hook, .. } => hook.phase == HookPhase::PostStop,
            _ => false,
        };
        match (self, action) {
            (Self::EndsWithAnotherStatus, Action::Record(Record::Ended(mut outcome))) => {
                outcome.code = outcome.code.wrapping_add(1);
                vec![Action::Record(Record::Ended(outcome))]
            }
            (Self::RunsPostStopTwice, action) if is_post_stop => vec![action.clone(), action],
            (Self::SpeaksAfterTheEnd, action @ Action::Finish(_)) => vec![Action::NotReady, action],
            (Self::TakesAStepAgain, action @ Action::Record(Record::Step { .. })) => {
                vec![action.clone(), action]
            }
            (Self::ForwardsTwice, action @ Action::Send { .. }) => vec![action.clone(), action],
            (Self::SendsHupByTheWay, action @ Action::Record(Record::HookStarted { .. })) => {
                let Ok(signal) = Signal::parse("HUP") else {
                    return vec![action];
                };
                let target = Target::Child;
                vec![action, Action::Send { target, signal }]
            }
            (Self::ForgetsWhoHadTerm, Action::TellLeft(whom)) => {
                let had = SignalSet::default();
                vec![Action::TellLeft(Whom { had, ..whom })]
            }
            (Self::StartsInSpiteOfAStop, action @ Action::Record(Record::WillNotStart)) => {
                vec![action, Action::Start]
            }
            (_, action) => vec![action],
        }
    }

    pub(super) fn deadline(self, deadline: Option<Duration>, in_stop: bool) -> Option<Duration> {
        match self {
            Self::LosesItsTimersInAStop if in_stop => None,
            Self::WakesAllTheTime => Some(Duration::ZERO),
            _ => deadline,
        }
    }

    pub(super) fn misses(self, record: &Record) -> Misses {
        match (self, record) {
            (Self::TellsStatusNothingOfSteps, Record::Step { .. }) => Misses::Status,
            (Self::CountsNoFailedHooks, Record::HookEnded { .. }) => Misses::Metrics,
            _ => Misses::Nobody,
        }
    }
}
