//! What was seen of one life of the command.

use std::rc::Rc;
use std::time::Duration;

use super::{Judge, Promise};
use crate::machine::{Action, Event, HookId};
use crate::plan::{HookPhase, Left, Plan, Step, StepAction};
use crate::record::{Again, ExitStatus, HookResult, Outcome, Reason, Record};
use crate::words::signal::{Signal, SignalSet};

/// See the module's first sentence.
#[derive(Clone, Debug)]
pub(super) struct Life {
    pub(super) number: u32,
    /// What it goes by: the file may be read again while two are alive.
    pub(super) plan: Rc<Plan>,
    /// What it is to go by once the child is there.
    later: Option<Rc<Plan>>,
    /// As events tell it.
    pub(super) child: Option<i32>,
    pub(super) was_ready: bool,
    pub(super) status: Option<ExitStatus>,
    pub(super) handed_over: bool,
    pub(super) searching: bool,
    /// What the terminal has given to the child.
    pub(super) typed: SignalSet,
    /// As records tell it.
    pub(super) started: bool,
    pub(super) failure: Option<u8>,
    pub(super) reason: Option<Reason>,
    /// Whom the stop was asked for by: what `SAME` is.
    pub(super) signal: Option<Signal>,
    pub(super) asked: bool,
    pub(super) exited: bool,
    pub(super) left: bool,
    pub(super) will_not_start: bool,
    pub(super) sent: SignalSet,
    owed: SignalSet,
    /// What the deadline counts from.
    pub(super) t0: Option<Duration>,
    /// From when on the deadline of the run holds for it as well, and that deadline.
    pub(super) bound: Option<(Duration, Duration)>,
    /// How far it has come: phase, and place in it.
    place: (u8, usize),
    held: usize,
    hook: Option<HookId>,
    /// When the last hook began, and what the world had lost of the time by then.
    hook_began: (Duration, Duration),
    next_hook: [usize; 3],
    /// The step that is under way, from when on, and whether the platform had asked by then.
    pub(super) step: Option<(usize, Duration, bool)>,
    /// When KILL was sent for the first time.
    pub(super) killed_from: Option<Duration>,
    pub(super) tree_killed: bool,
    pub(super) told_left_at: Option<Duration>,
    pub(super) sweep_killed: bool,
    pub(super) extended: Duration,
    pub(super) kept: u32,
    pub(super) over: bool,
    /// It has not served yet, and is beside the one that does.
    pub(super) serves_never: bool,
    /// It is over, but for the one beside, whose end is waited for.
    pub(super) waits_for_other: bool,
    /// What `explain` says of its stop, once that was asked for: none where it may last without end.
    pub(super) explained: Option<Option<Duration>>,
}

impl Life {
    pub(super) fn new(number: u32, plan: Rc<Plan>) -> Self {
        Self {
            number,
            plan,
            later: None,
            child: None,
            was_ready: false,
            status: None,
            handed_over: false,
            searching: false,
            typed: SignalSet::default(),
            started: false,
            failure: None,
            reason: None,
            signal: None,
            asked: false,
            exited: false,
            left: false,
            will_not_start: false,
            sent: SignalSet::default(),
            owed: SignalSet::default(),
            t0: None,
            bound: None,
            place: (0, 0),
            held: 0,
            hook: None,
            hook_began: (Duration::ZERO, Duration::ZERO),
            next_hook: [0; 3],
            step: None,
            killed_from: None,
            tree_killed: false,
            told_left_at: None,
            sweep_killed: false,
            extended: Duration::ZERO,
            kept: 0,
            over: false,
            serves_never: false,
            waits_for_other: false,
            explained: None,
        }
    }

    pub(super) fn hears(&mut self, event: &Event) {
        match event {
            Event::Started { pid } => {
                self.child = Some(*pid);
                self.plan = self.later.take().unwrap_or_else(|| Rc::clone(&self.plan));
            }
            Event::Reloaded(reload) if self.t0.is_none() && self.serves_never => {
                let plan = Rc::new(reload.plan.clone());
                if self.child.is_some() || self.status.is_some() {
                    self.plan = plan;
                } else {
                    self.later = Some(plan);
                }
            }
            Event::ChildExited(status) => {
                self.status = Some(*status);
                self.child = None;
            }
            Event::HeirFound { heir, .. } => {
                self.child = Some(heir.pid);
                self.status = None;
                self.handed_over = true;
            }
            Event::Signal(received) if received.reached_child => self.typed.insert(received.signal),
            Event::Ready => self.was_ready = true,
            Event::Holds(condition) if *condition == self.held => self.held += 1,
            _ => {}
        }
    }

    fn comes_to(&mut self, place: (u8, usize)) -> bool {
        let goes_on = place > self.place;
        self.place = self.place.max(place);
        goes_on
    }

    /// It was killed, or has ended without a stop, and its rest is being taken away.
    pub(super) fn is_coming_down(&self) -> bool {
        self.t0.is_some()
    }
}

impl Judge {
    pub(super) fn sees_of(&mut self, generation: Option<u32>, action: &Action) {
        let now = self.now;
        let told = || format!("{now:?} {action:?}");
        let plan = self.plan_of(generation);
        let over = self.life_mut(generation).over;
        self.holds(Promise::SilentAfterTheEnd, !over, told);
        let life = self.life_mut(generation);
        match action {
            Action::Start => {
                let conditions = plan.wait.as_ref().map_or(0, |wait| wait.conditions.len());
                let holds = life.held >= conditions;
                let asked = life.asked;
                let hooks = life.next_hook[0] == plan.pre_start.len() && !life.started;
                life.started = true;
                self.holds(Promise::NothingStartsBeforeItHolds, holds, told);
                let asked = asked || self.stop_asked;
                self.holds(Promise::NothingStartsAfterAStop, !asked, told);
                self.holds(Promise::HooksRunOnceInOrder, hooks, told);
            }
            Action::RunHook { hook, .. } => self.runs_hook(generation, *hook),
            Action::EndHook(hook) if life.hook == Some(*hook) => {
                life.hook = None;
            }
            Action::StartDrain => {
                let goes_on = life.comes_to((2, 0));
                self.holds(Promise::StepsNeverGoBack, goes_on, told);
            }
            Action::FindHeir => life.searching = true,
            Action::EndSearch => life.searching = false,
            Action::Send { target, signal } => {
                let (target, signal) = (*target, *signal);
                self.batch.sends(signal);
                if signal == Signal::KILL {
                    self.sends_kill(generation, Some(target));
                }
            }
            Action::SendBeyondGroup(signal) => self.batch.sends_beyond(*signal),
            Action::TellLeft(whom) => {
                let (place, is_first) = ((4, usize::from(whom.rest)), life.told_left_at.is_none());
                life.told_left_at.get_or_insert(now);
                let goes_on = !is_first || life.comes_to(place);
                let leaves = plan.left == Left::Leave;
                self.holds(Promise::StepsNeverGoBack, goes_on, told);
                self.holds(Promise::NoKillSparesTheCommand, !leaves, told);
            }
            Action::Sweep(Signal::KILL) => self.sends_kill(generation, None),
            _ => {}
        }
    }

    fn runs_hook(&mut self, generation: Option<u32>, hook: HookId) {
        let (now, lost, stop_asked) = (self.now, self.lost_by_now, self.stop_asked);
        let plan = self.plan_of(generation);
        let conditions = plan.wait.as_ref().map_or(0, |wait| wait.conditions.len());
        let life = self.life_mut(generation);
        let told = || format!("{now:?} {hook:?}");
        let phase = match hook.phase {
            HookPhase::PreStart => 0,
            HookPhase::PreStop => 1,
            HookPhase::PostStop => 2,
        };
        let alone = life.hook.is_none();
        let next = &mut life.next_hook[phase];
        let in_order = hook.index >= *next && (phase == 1 || hook.index == *next);
        *next = hook.index + 1;
        life.hook = Some(hook);
        life.hook_began = (now, lost);
        let may = match hook.phase {
            HookPhase::PreStart => !life.asked && !life.started,
            HookPhase::PreStop => life.asked && life.started,
            HookPhase::PostStop => life.child.is_none() || life.left,
        };
        let holds = life.held >= conditions || phase != 0;
        let asked = (life.asked || stop_asked) && phase == 0;
        let rank = [0, 1, 5][phase];
        let goes_on = life.comes_to((rank, hook.index + 1));
        self.holds(Promise::NothingStartsBeforeItHolds, holds, told);
        self.holds(Promise::NothingStartsAfterAStop, !asked, told);
        self.holds(Promise::HooksRunOnceInOrder, alone && in_order && may, told);
        self.holds(Promise::StepsNeverGoBack, goes_on, told);
    }

    pub(super) fn told_of(&mut self, generation: Option<u32>, record: &Record) {
        let now = self.now;
        let plan = self.plan_of(generation);
        self.batch.tells(record);
        let lost = self.lost;
        let life = self.life_mut(generation);
        match record {
            Record::StopAsked { reason, signal, .. } => {
                // It was to be followed by another one, and is not any more; a mere wait is ended.
                let only_waits =
                    life.reason == Some(Reason::Exit) && plan.left == Left::Wait && !life.asked;
                let ends_for_good = life.t0.is_some() && !only_waits;
                if !ends_for_good {
                    life.t0 = Some(now);
                    let by_parent = *reason == Reason::ParentDied;
                    life.signal = if by_parent {
                        plan.parent_death_signal
                    } else {
                        signal.map_or(Some(Signal::TERM), |signal| plan.rewritten(signal))
                    };
                    if matches!(reason, Reason::Restart | Reason::Replaced) {
                        life.signal = Some(Signal::TERM);
                    }
                }
                life.asked = true;
                if !ends_for_good || life.reason == Some(Reason::Restart) {
                    life.reason = Some(*reason);
                }
            }
            Record::WillNotStart => life.will_not_start = true,
            Record::StartFailed(failure) => {
                life.failure = Some(failure.code);
                if !life.asked {
                    life.reason = Some(Reason::StartFailed);
                }
                life.t0.get_or_insert(now);
            }
            Record::HookEnded { phase, result, .. } => {
                let index = match phase {
                    HookPhase::PreStart => life.next_hook[0],
                    HookPhase::PreStop => life.next_hook[1],
                    HookPhase::PostStop => life.next_hook[2],
                };
                life.hook = None;
                let is_skipped = *result == HookResult::Skipped;
                let hook = plan.hooks(*phase).get(index.saturating_sub(1));
                let timeout = hook.map_or(Duration::ZERO, |hook| hook.timeout);
                // Not by what it tells of itself.
                let (began, lost_before) = life.hook_began;
                let took = now.saturating_sub(began);
                let in_time = is_skipped || took <= timeout + lost.saturating_sub(lost_before);
                self.holds(Promise::HooksKeepTheirTimeout, in_time, || {
                    format!("{phase:?} {index}: {took:?} of {timeout:?}")
                });
                let runs = !is_skipped || *phase == HookPhase::PreStop;
                let why = || format!("{phase:?} {index} is skipped");
                self.holds(Promise::HooksRunOnceInOrder, runs, why);
            }
            Record::Step { step, signal, .. } => {
                let goes_on = life.comes_to((3, *step));
                if let Some(signal) = signal {
                    life.sent.insert(*signal);
                }
                let by_signal = life.reason == Some(Reason::Signal);
                let (step, before) = (*step, life.step.replace((*step, now, by_signal)));
                self.holds(Promise::StepsNeverGoBack, goes_on, || {
                    format!("step {step}")
                });
                if *signal == Some(Signal::KILL) {
                    self.check_kill_step(generation, step, before);
                }
            }
            Record::AskedAgain { again, sent_as, .. } => match again {
                Again::PassedOn | Again::Hurried => life.sent.insert(*sent_as),
                Again::Waits | Again::WaitsLonger => life.owed.insert(*sent_as),
                Again::ByTerminal | Again::StoodFor | Again::Noted => {}
            },
            // Until the step that tells the child of the stop it is forwarded as any other.
            Record::Forwarded { signal, .. } if life.owed.contains(*signal) => {
                let is_same = |step: &Step| step.action == StepAction::Same;
                let told_in = plan.ladder.iter().position(is_same).unwrap_or(0);
                if life.step.is_some_and(|(step, ..)| step > told_in) {
                    life.sent.insert(*signal);
                }
            }
            Record::Aborted { .. } => life.sent.insert(Signal::ABRT),
            Record::Extended { by, .. } => life.extended += *by,
            Record::ChildExited { .. } => {
                life.exited = true;
                life.searching = false;
                life.t0.get_or_insert(now);
                life.reason.get_or_insert(Reason::Exit);
            }
            Record::HandedOver { .. } => life.searching = false,
            Record::ChildLeft { .. } => {
                life.left = true;
                self.told_left = true;
            }
            Record::SweepEnded { left: true, .. } => {
                let number = life.number;
                let nobody = self.deserted.contains(&Some(number));
                self.told_left = true;
                self.holds(Promise::NobodyIsWaitedFor, !nobody, || {
                    format!("life {number} has no process")
                });
            }
            // What was waited for, no stop was asked for, and only then its time begins.
            Record::SweepEnded { left: false, .. } if !life.asked && plan.left == Left::Wait => {
                life.t0 = Some(now);
            }
            Record::Ended(outcome) if generation.is_some() => {
                self.check_end(generation, outcome);
                self.life_mut(generation).over = true;
            }
            _ => {}
        }
    }

    /// A life has ended.
    pub(super) fn check_end(&mut self, generation: Option<u32>, outcome: &Outcome) {
        let plan = self.plan_of(generation);
        let life = self.life_mut(generation);
        let all = life.next_hook[2] == plan.post_stop.len() && life.hook.is_none();
        let is_refused = !life.started && life.failure == Some(125) && life.place == (0, 0);
        let why = format!(
            "{} of {} post-stop hooks",
            life.next_hook[2],
            plan.post_stop.len()
        );
        self.holds(Promise::HooksRunOnceInOrder, all || is_refused, || why);
        self.check_deadline(generation);
        self.check_status(generation, outcome);
    }
}

impl Judge {
    /// Somebody lives on when a life is over, or the run.
    pub(in crate::simulation) fn survives(&mut self, one: &Survivor) {
        let closed = self.closed.as_ref();
        let plan = match closed.filter(|life| life.number == one.generation) {
            Some(life) => Rc::clone(&life.plan),
            None => self.plan_of(Some(one.generation)),
        };
        let kills = plan.ladder.last().is_some_and(Step::is_kill);
        let told = self.told_left;
        // Who was just being started when KILL was sent for the last time is not to be found.
        let is_new = one.born >= self.killed_at;
        let excused = plan.left == Left::Leave
            || !kills && (one.is_child || told)
            || told && (one.killed || is_new);
        self.holds(Promise::NothingSurvives, excused, || {
            format!("{one:?}, told: {told}")
        });
    }
}

/// See `Judge::survives`.
#[derive(Clone, Copy, Debug)]
#[allow(dead_code, reason = "shown where a promise is broken")]
pub(in crate::simulation) struct Survivor {
    pub(in crate::simulation) pid: i32,
    pub(in crate::simulation) generation: u32,
    pub(in crate::simulation) born: Duration,
    /// KILL was sent to it.
    pub(in crate::simulation) killed: bool,
    pub(in crate::simulation) is_child: bool,
}

impl Life {
    /// The post-stop hooks have run, or there are none.
    pub(super) fn place_is_after_hooks(&self) -> bool {
        self.place.0 >= 5
    }
}
