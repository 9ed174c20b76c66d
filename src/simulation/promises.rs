//! What stepdown promises, in words for its users, and the judge that holds each run to it, event by event.

mod kill;
mod life;
mod signals;
mod status;
mod time;

use std::rc::Rc;
use std::time::Duration;

use crate::machine::{Action, Event};
use crate::plan::Plan;
use crate::plan::supervision::{Restart, Supervision};
use crate::record::{Outcome, Reason, Record, RestartReason};
use life::Life;
pub(super) use life::Survivor;
use signals::Batch;

macro_rules! promises {
    ($($name:ident: $words:literal,)*) => {
        /// What holds in every run, whatever the plan and the world.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(super) enum Promise {
            $($name,)*
        }

        impl Promise {
            pub(super) const ALL: &[Self] = &[$(Self::$name,)*];

            /// As users read it.
            pub(super) fn words(self) -> &'static str {
                match self {
                    $(Self::$name => $words,)*
                }
            }
        }
    };
}

promises! {
    TheDeadlineHolds:
        "With --deadline, stepdown is gone so long after the request, or after the end of the command itself.",
    NothingSurvives:
        "When stepdown is gone, so is all that the command has started, unless --left leave or --no-kill keeps it; \
         what not even KILL ends is told.",
    AStopEnds:
        "Every stop ends by itself, in the time that the plan gives it; only --no-kill, and PID 1 without a time, \
         wait for the command or the platform.",
    NoLongerThanExplained:
        "A stop that a signal asks for takes no longer than explain says; besides, the command may ask for more time, \
         and what hangs in the kernel is waited for.",
    TheStatusIsThatOfTheTable:
        "The exit status is the one that the table of exit statuses has for what happened.",
    HooksRunOnceInOrder:
        "In each life of the command a hook runs once at most, one after the other, in their order: pre-start before \
         the start, pre-stop only if a stop was asked for, post-stop always and last.",
    HooksKeepTheirTimeout:
        "No hook takes longer than its timeout.",
    SilentAfterTheEnd:
        "After the end nothing is done, and nothing is told.",
    StepsNeverGoBack:
        "A stop never goes back to a phase or a step that it has left.",
    KillOnlyWhereThePlanSays:
        "KILL is sent where a step, the end of the sweep, the deadline or the third request says so, and never before.",
    NoKillSparesTheCommand:
        "With --no-kill the command never gets KILL, and with --left leave what it leaves never does.",
    ForwardedOnce:
        "A signal that is told as forwarded is sent exactly once.",
    NoSignalUnasked:
        "The command gets no signal that nobody has asked for and no step names.",
    NoSignalIsLost:
        "Each signal that comes while the command runs is forwarded or obeyed, or the log says why not.",
    NobodyIsAskedTwice:
        "Of what is left no process gets TERM a second time.",
    NobodyIsWaitedFor:
        "What is left is waited for, and told as left, only where a process of that life is there.",
    NothingStartsAfterAStop:
        "Once a stop is asked for, neither the command nor a pre-start hook is started, and no life follows.",
    NothingStartsBeforeItHolds:
        "Nothing is started before all that --wait-for names holds.",
    TheRestartLimitHolds:
        "There are no more restarts than --restart-limit allows, and none after an end that --restart does not name.",
    TheRestartDelayIsKept:
        "The next life begins no earlier than the delay that was told, unless a signal asks for it.",
    OneServes:
        "A replacement serves only once it is ready, or the one before it has ended.",
    StatusIsTheLog:
        "/status says what the log says: phase, generation, step, child, restarts.",
    MetricsAreTheReport:
        "The metrics count what the report lists.",
    NoSpinning:
        "stepdown does not wake up again and again at one moment.",
    NoPanic:
        "stepdown never panics.",
}

/// A promise that was broken, and by what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Broken {
    pub(super) promise: Promise,
    pub(super) why: String,
}

/// See the module's first sentence.
pub(super) struct Judge {
    supervision: Option<Supervision>,
    pub(super) broken: Option<Broken>,
    pub(super) now: Duration,
    /// The one that serves, and the one beside.
    serving: Life,
    beside: Option<Life>,
    /// The one that was beside the other one, and is over.
    closed: Option<Life>,
    opening: Option<u32>,
    batch: Batch,
    pub(super) ended: Option<Outcome>,
    finished: bool,
    /// Nothing has asked it to stop, and it never would.
    endless: bool,
    stop_asked: bool,
    restarts: Vec<Duration>,
    /// The next life begins no earlier.
    not_before: Option<Duration>,
    last_code: Option<u8>,
    /// What the world has lost of the time, and when that was last.
    pub(super) lost: Duration,
    pub(super) lost_at: Duration,
    /// What it had lost when the last event came: actions take their time after that.
    lost_by_now: Duration,
    /// The timer went off so often at one moment.
    wakes: u32,
    woke_at: Duration,
    /// A line says that something is left.
    pub(super) told_left: bool,
    /// When KILL was sent last to all that is left.
    killed_at: Duration,
    /// Which lives had no process, not even a zombie, when the last event came.
    pub(super) deserted: [Option<u32>; 2],
}

impl Judge {
    pub(super) fn new(plan: Rc<Plan>) -> Self {
        Self {
            supervision: plan.supervision.clone(),
            broken: None,
            now: Duration::ZERO,
            serving: Life::new(1, plan),
            beside: None,
            closed: None,
            opening: None,
            batch: Batch::default(),
            ended: None,
            finished: false,
            endless: false,
            stop_asked: false,
            restarts: Vec::new(),
            not_before: None,
            last_code: None,
            lost: Duration::ZERO,
            lost_at: Duration::ZERO,
            lost_by_now: Duration::ZERO,
            wakes: 0,
            woke_at: Duration::ZERO,
            told_left: false,
            killed_at: Duration::ZERO,
            deserted: [None; 2],
        }
    }

    /// Only the first counts: what follows may follow from it.
    pub(super) fn holds(&mut self, promise: Promise, holds: bool, why: impl FnOnce() -> String) {
        if !holds && self.broken.is_none() {
            let why = why();
            self.broken = Some(Broken { promise, why });
        }
    }

    pub(super) fn serving(&self) -> u32 {
        self.serving.number
    }

    pub(super) fn beside(&self) -> Option<u32> {
        self.beside.as_ref().map(|life| life.number)
    }

    pub(super) fn is_over(&self) -> bool {
        self.finished || self.is_cut()
    }

    /// The story was ended in its middle.
    pub(super) fn is_cut(&self) -> bool {
        self.endless || self.broken.is_some()
    }

    /// It has had far more events than a story needs. With `--restart always` and no signal left that asks for a stop
    /// that is what was wanted.
    pub(super) fn goes_on(&mut self, events: u64) {
        self.endless = true;
        let stop_asked = self.stop_asked;
        self.holds(Promise::AStopEnds, !stop_asked, || {
            format!("after {events} events")
        });
    }

    fn life_mut(&mut self, generation: Option<u32>) -> &mut Life {
        match (generation, &mut self.beside) {
            (Some(number), Some(beside)) if beside.number == number => beside,
            _ => &mut self.serving,
        }
    }

    pub(super) fn plan_of(&mut self, generation: Option<u32>) -> Rc<Plan> {
        Rc::clone(&self.life_mut(generation).plan)
    }

    /// An event that is about to be given to the machine.
    pub(super) fn hears(&mut self, now: Duration, event: &Event) {
        self.now = now;
        self.lost_by_now = self.lost;
        self.batch = Batch::default();
        self.batch
            .receives(event, &self.serving, self.beside.as_ref());
        if *event == Event::Deadline {
            self.wakes = if self.woke_at == now {
                self.wakes + 1
            } else {
                0
            };
            self.woke_at = now;
            let wakes = self.wakes;
            self.holds(Promise::NoSpinning, wakes < 200, || {
                format!("{wakes} times")
            });
        }
        match event {
            Event::Of { generation, event } => self.life_mut(Some(*generation)).hears(event),
            event => {
                self.serving.hears(event);
                if let (true, Some(beside)) = (event.outlives_a_generation(), &mut self.beside) {
                    beside.hears(event);
                }
            }
        }
    }

    /// An action, or a record, of the machine.
    pub(super) fn sees(&mut self, now: Duration, action: &Action) {
        self.now = now;
        let over = self.finished || self.ended.is_some() && !matches!(action, Action::Finish(_));
        self.holds(Promise::SilentAfterTheEnd, !over, || format!("{action:?}"));
        match action {
            Action::Beside(action) => {
                let number = self.beside();
                if let (Action::Adopt(plan), Some(beside)) = (&**action, &mut self.beside) {
                    beside.plan = Rc::clone(plan);
                }
                self.sees_of(number, action);
            }
            Action::Record(Record::OfGeneration { generation, record }) => {
                self.told_of(Some(*generation), record);
            }
            Action::Record(record) => {
                self.told_run(record);
                self.told_of(None, record);
            }
            Action::Finish(_) => {
                let told = self.ended.is_some();
                self.holds(Promise::SilentAfterTheEnd, told, || {
                    "the end was not told".to_owned()
                });
                self.finished = true;
            }
            Action::OpenBeside { generation } => {
                self.batch.answered();
                self.opening = Some(*generation);
            }
            Action::Switch => self.switches(),
            Action::CloseBeside => self.closed = self.beside.take(),
            Action::NextGeneration { number } => {
                self.batch.answered();
                let (stop_asked, number) = (self.stop_asked, *number);
                self.holds(Promise::NothingStartsAfterAStop, !stop_asked, || {
                    format!("life {number} begins")
                });
                let plan = Rc::clone(&self.serving.plan);
                self.serving = Life::new(number, plan);
            }
            Action::Adopt(plan) => self.serving.plan = Rc::clone(plan),
            Action::Reload => self.batch.answered(),
            Action::RestoreTerminal | Action::CloseSockets | Action::Suspend(_) => {}
            action => self.sees_of(None, action),
        }
    }

    fn switches(&mut self) {
        let Some(beside) = &mut self.beside else {
            let why = || "nobody is there to serve".to_owned();
            return self.holds(Promise::OneServes, false, why);
        };
        std::mem::swap(beside, &mut self.serving);
        self.serving.serves_never = false;
        beside.serves_never = false;
        let may_serve = self.serving.was_ready || beside.child.is_none() || beside.left;
        let number = self.serving.number;
        self.holds(Promise::OneServes, may_serve, || {
            format!("{number} was not ready, and the child of the one before was there")
        });
    }

    /// What is told of the run as a whole.
    fn told_run(&mut self, record: &Record) {
        let now = self.now;
        match record {
            Record::StopAsked { reason, .. } => {
                let by_supervisor = self.supervision.is_some();
                let stops = matches!(reason, Reason::Signal | Reason::ParentDied);
                self.stop_asked |= stops || !by_supervisor;
                // The run ends within the deadline that counts, and with it the one beside.
                if let (true, Some(beside)) = (stops, &mut self.beside) {
                    beside.bound = self.serving.plan.deadline.map(|deadline| (now, deadline));
                }
            }
            // The stop of the one that serves was no request (--max-runtime); this is one.
            Record::AskedAgain { signal, .. } | Record::Escalated { signal, .. }
                if self.serving.plan.stop_on.contains(*signal) =>
            {
                if let Some(beside) = &mut self.beside
                    && beside.bound.is_none()
                {
                    beside.bound = self.serving.plan.deadline.map(|deadline| (now, deadline));
                }
            }
            Record::ReplaceBegan { generation, .. } => {
                let (opening, generation) = (self.opening.take(), *generation);
                let alone = self.beside.is_none() && opening == Some(generation);
                self.holds(Promise::OneServes, alone, || {
                    format!("{generation} is one too many")
                });
                let plan = Rc::clone(&self.serving.plan);
                let mut life = Life::new(generation, plan);
                life.serves_never = true;
                self.beside = Some(life);
            }
            Record::GenerationEnded {
                outcome,
                restart,
                delay,
                ..
            } => {
                self.check_end(None, outcome);
                self.serving.over = true;
                self.last_code = Some(outcome.code);
                self.not_before = Some(now + *delay);
                self.counts_restart(outcome, *restart, *delay);
            }
            Record::GenerationBegan { .. } => {
                // As often as it was asked for, and without a delay where none was.
                self.wakes = 0;
                let early = self.not_before.take().filter(|at| now < *at);
                let asked = self.batch.is_signal();
                self.holds(
                    Promise::TheRestartDelayIsKept,
                    early.is_none() || asked,
                    || format!("not before {early:?}"),
                );
            }
            Record::Ended(outcome) => {
                match self.last_code.filter(|_| self.not_before.is_some()) {
                    // Between two lives nobody was there to end.
                    Some(code) => {
                        let told = outcome.code;
                        let promise = Promise::TheStatusIsThatOfTheTable;
                        self.holds(promise, told == code, || format!("{told} is not {code}"));
                    }
                    None => self.check_end(None, outcome),
                }
                self.ended = Some(outcome.clone());
            }
            _ => {}
        }
    }

    fn counts_restart(&mut self, outcome: &Outcome, why: RestartReason, delay: Duration) {
        let Some(supervision) = self.supervision.clone() else {
            let why = || "nothing is to be restarted".to_owned();
            return self.holds(Promise::TheRestartLimitHolds, false, why);
        };
        if why == RestartReason::Asked {
            return;
        }
        let now = self.now;
        self.restarts.push(now);
        let within = supervision.limit.and_then(|limit| limit.within);
        let counts = |at: &&Duration| within.is_none_or(|within| now - **at < within);
        let counted = self.restarts.iter().filter(counts).count();
        let allowed = supervision.limit.map_or(u32::MAX, |limit| limit.times);
        let in_time = u32::try_from(counted).is_ok_and(|counted| counted <= allowed);
        let promise = Promise::TheRestartLimitHolds;
        self.holds(promise, in_time, || format!("{counted} of {allowed}"));
        let wanted = match supervision.restart {
            Restart::No => false,
            Restart::OnFailure => why != RestartReason::Success,
            Restart::Always => true,
        };
        let is_success = outcome.reason == Reason::Exit && outcome.code == 0;
        let is_true = is_success == (why == RestartReason::Success);
        self.holds(promise, wanted && is_true, || {
            format!("{why:?} after {outcome:?}")
        });
        // A fifth more or less than a delay that doubles.
        let least = supervision.delay.min(supervision.longest_delay) * 4 / 5;
        let most = supervision.longest_delay * 6 / 5;
        let is_delay = delay >= least && delay <= most;
        self.holds(Promise::TheRestartDelayIsKept, is_delay, || {
            format!("{delay:?}")
        });
    }

    /// The machine has nothing more to do until something happens, or until then.
    pub(super) fn rests(&mut self, now: Duration, deadline: Option<Duration>) {
        self.now = now;
        self.check_signals();
        for generation in [Some(self.serving.number), self.beside()] {
            if generation.is_some() {
                self.check_rest(generation, deadline);
            }
        }
    }
}
