//! What every run keeps, whatever happens: judged action by action.

use super::family::{Family, Relative};
use super::*;
use crate::record::DrainEnd;

mod allowed;

pub(super) use allowed::Allowed;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Promise {
    StepsNeverGoBack,
    NothingAfterTheEnd,
    /// KILL no later than the plan's total after the request.
    KillInTime,
    TheDeadlineHolds,
    /// Each post-stop hook, in every run, and not before the child's end.
    PostStopHooksRunOnce,
    PreStopHooksRunOnRequest,
    NothingIsStartedOnceAStopIsAsked,
    /// No hook either, until all that is waited for holds.
    NothingIsStartedBeforeItHolds,
    /// Nobody looks any more.
    AStopEndsTheWait,
    /// After so many failed checks in a row, or a missed watchdog, and not before.
    WhatHangsIsStopped,
    /// Before the ladder, where the watchdog was missed.
    AMissedWatchdogIsAbrt,
    ASecondTermChangesNothing,
    /// Whatever phase it meets, and whatever was asked before by another signal.
    AFirstRequestHurriesNothing,
    /// A stop signal, once the ladder has told the child that a stop was asked for.
    ASignalTheChildHasNotHadReachesIt,
    /// What comes between the end of the one and the other.
    NothingIsLostInAHandOver,
    /// After the first request: KILL is the third Ctrl-C.
    KillByHandTakesTwoMore,
    /// By the ladder, the sweep or both; nor is asked by the sweep who had the terminal's INT.
    NobodyIsToldTermTwice,
    /// One Ctrl-C on a terminal is one INT for everybody.
    OneRequestReachesNobodyTwice,
    /// Who is left to a parent is asked when that has gone, or has had half of the time.
    RootsFirst,
    /// Of an explicit grace, and never less than the sweep's own.
    WhatIsLeftHasTheRestOfTheGrace,
    /// Whoever is born meanwhile, until it is clear that KILL does not help.
    KillUntilNothingIsLeft,
    NoSignalForTheDead,
    /// None starts before the other has ended or been killed; none is left running at the end.
    OneHookAtATime,
    EarlyWakeUpsAreHarmless,
    /// The end of a hook or stop command that was killed before is not the end of another.
    LateEndsChangeNothing,
    NoKillSparesTheChild,
    /// Only what was answered last, and since the delay was over, is called drained.
    DrainedIsNoGuess,
    /// Within a second, while the drain lasts.
    WhatHoldsUpADrainIsTold,
    /// Once the child has ended and nobody is left; and by itself where KILL is allowed.
    TheRunEnds,
}

pub(super) const ALL: [Promise; 29] = [
    Promise::StepsNeverGoBack,
    Promise::NothingAfterTheEnd,
    Promise::KillInTime,
    Promise::TheDeadlineHolds,
    Promise::PostStopHooksRunOnce,
    Promise::PreStopHooksRunOnRequest,
    Promise::NothingIsStartedOnceAStopIsAsked,
    Promise::NothingIsStartedBeforeItHolds,
    Promise::AStopEndsTheWait,
    Promise::WhatHangsIsStopped,
    Promise::AMissedWatchdogIsAbrt,
    Promise::ASecondTermChangesNothing,
    Promise::AFirstRequestHurriesNothing,
    Promise::ASignalTheChildHasNotHadReachesIt,
    Promise::NothingIsLostInAHandOver,
    Promise::KillByHandTakesTwoMore,
    Promise::NobodyIsToldTermTwice,
    Promise::OneRequestReachesNobodyTwice,
    Promise::RootsFirst,
    Promise::WhatIsLeftHasTheRestOfTheGrace,
    Promise::KillUntilNothingIsLeft,
    Promise::NoSignalForTheDead,
    Promise::OneHookAtATime,
    Promise::EarlyWakeUpsAreHarmless,
    Promise::LateEndsChangeNothing,
    Promise::NoKillSparesTheChild,
    Promise::DrainedIsNoGuess,
    Promise::WhatHoldsUpADrainIsTold,
    Promise::TheRunEnds,
];

/// A broken promise, and how: what was done before it stands in front of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Broken {
    pub(super) promise: Promise,
    pub(super) story: String,
}

impl Broken {
    pub(super) fn after(mut self, what: impl std::fmt::Display) -> Self {
        self.story = format!("{what}; {}", self.story);
        self
    }
}

impl Promise {
    pub(super) fn holds(self, holds: bool, why: impl FnOnce() -> String) -> Result<(), Broken> {
        if holds {
            return Ok(());
        }
        Err(Broken {
            promise: self,
            story: why(),
        })
    }
}

/// What was seen of a run so far.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    pub(super) family: Family,
    pub(super) finished: bool,
    /// A stop was asked for.
    pub(super) asked: bool,
    pub(super) child_alive: bool,
    /// The requests by signal so far, and how many they were.
    pub(super) came: SignalSet,
    first: Option<Signal>,
    requests: u32,
    /// What is answered now is a request, and whether it is the first of its kind.
    request: Option<bool>,
    /// The step that told the child.
    told_at: usize,
    /// The signals that the child was sent, and whether the one that asked is among them.
    had: SignalSet,
    told: bool,
    /// The heir is looked for, and so many USR1 have come for it.
    searching: bool,
    kept: u32,
    /// What the deadline counts from: the request, or the end that came without one.
    t0: Option<Duration>,
    /// How far the run has come: phase, and place in it.
    place: (u8, usize),
    killed: bool,
    left: bool,
    hook: Option<HookId>,
    post_stop: Vec<u8>,
    /// How many of the conditions have held, and whether one is looked at.
    held: usize,
    looks: bool,
    /// The failed checks in a row, and when it was alive last.
    failures: u32,
    alive_at: Duration,
    unhealthy: bool,
    aborted: bool,
    drains: bool,
    drains_since: Duration,
    settled: bool,
    /// When it was answered last that nothing is in flight.
    holds: Option<Duration>,
    /// Since when something holds up the drain, until it is told.
    held_up: Option<Duration>,
}

impl Watch {
    pub(super) fn new(allowed: &Allowed, relatives: &[Relative], immortal: bool) -> Self {
        Self {
            family: Family::new(relatives, immortal),
            finished: false,
            asked: false,
            child_alive: false,
            came: SignalSet::default(),
            first: None,
            requests: 0,
            request: None,
            had: SignalSet::default(),
            told: false,
            told_at: allowed.told_in,
            searching: false,
            kept: 0,
            t0: None,
            place: (0, 0),
            killed: false,
            left: false,
            hook: None,
            post_stop: vec![0; allowed.post_stop],
            held: 0,
            looks: false,
            failures: 0,
            alive_at: Duration::ZERO,
            unhealthy: false,
            aborted: false,
            drains: false,
            drains_since: Duration::ZERO,
            settled: false,
            holds: None,
            held_up: None,
        }
    }

    /// An event that the world is about to deliver.
    pub(super) fn hears(&mut self, now: Duration, event: &Event) {
        self.request = None;
        self.family.hears(now, event);
        match event {
            Event::Signal(Received {
                signal,
                reached_child,
                ..
            }) if [Signal::TERM, Signal::INT].contains(signal) => {
                if *reached_child {
                    self.had.insert(*signal);
                }
                self.request = Some(!self.came.contains(*signal));
                self.came.insert(*signal);
                self.first.get_or_insert(*signal);
                self.requests += 1;
            }
            Event::InFlight { settled, .. } => self.settled = *settled,
            Event::HeldUp { connections: 0, .. } => self.held_up = None,
            Event::HeldUp { .. } if self.drains => {
                self.held_up.get_or_insert(now);
            }
            Event::Answered { answer, .. } => {
                self.holds = Some(now).filter(|_| *answer == Answer::Holds);
            }
            Event::Holds(_) => (self.held, self.looks) = (self.held + 1, false),
            Event::NotAlive(_) if !self.asked => self.failures += 1,
            Event::Alive if !self.asked => self.failures = 0,
            Event::KeepsAlive => self.alive_at = now,
            Event::Started { .. } => (self.child_alive, self.alive_at) = (true, now),
            Event::ChildExited(_) => self.child_alive = false,
            Event::Signal(Received { signal, .. }) if self.searching => {
                // As the kernel keeps it: one of each.
                self.kept = self.kept.max(u32::from(*signal == named("USR1")));
            }
            Event::HeirFound { .. } => {
                self.searching = false;
                (self.child_alive, self.killed) = (true, false);
                self.had = SignalSet::default();
                // The step that is under way has another signal than the one that asked.
                let goes_on = self.place.0 == 3 && self.place.1 > self.told_at;
                if let Some(first) = self.first.filter(|_| goes_on) {
                    self.had.insert(first);
                }
            }
            Event::HookEnded { hook, .. } if self.hook == Some(*hook) => self.hook = None,
            _ => {}
        }
    }

    /// An action of the machine.
    pub(super) fn sees(
        &mut self,
        allowed: &Allowed,
        now: Duration,
        action: &Action,
    ) -> Result<(), Broken> {
        let told = || format!("{now:?} {action:?}");
        Promise::NothingAfterTheEnd.holds(!self.finished, told)?;
        if let Action::Send { signal, .. } | Action::Sweep(signal) = action {
            let spares = allowed.may_kill || !self.child_alive || *signal != Signal::KILL;
            Promise::NoKillSparesTheChild.holds(spares, told)?;
        }
        self.sees_an_answer(allowed, now, action)?;
        let by_hand = self.request.is_some();
        self.family.sees(allowed, now, action, by_hand)?;
        self.sees_the_drain(allowed, now, action)?;
        match action {
            Action::Record(Record::StopAsked { reason, .. }) => {
                if *reason == Reason::Unhealthy {
                    let hangs = self.hangs(allowed, now);
                    Promise::WhatHangsIsStopped.holds(hangs, told)?;
                    self.unhealthy = true;
                }
                self.asked = true;
                self.t0 = Some(now);
            }
            Action::Record(Record::ChildExited { .. } | Record::StartFailed(_)) => {
                self.t0.get_or_insert(now);
            }
            Action::Record(Record::ChildLeft { .. }) => self.left = true,
            Action::Record(Record::Step { step, .. }) => {
                let needs_abort = self.unhealthy && allowed.watchdog.is_some();
                let is_late = allowed.deadline.is_some();
                let in_order = !needs_abort || self.aborted || is_late;
                Promise::AMissedWatchdogIsAbrt.holds(in_order, told)?;
                self.told |= *step >= allowed.told_in;
                self.comes_to((3, *step), told)?;
            }
            Action::StartDrain => self.comes_to((2, 0), told)?,
            Action::TellLeft(whom) => {
                let place = (4, usize::from(whom.rest));
                if self.place != place {
                    self.comes_to(place, told)?;
                }
            }
            Action::Sweep(_) => {
                let place = (if self.place.0 < 5 { 4 } else { 6 }, 2);
                // STOP and KILL have as many rounds as they need.
                if self.place != place {
                    self.comes_to(place, told)?;
                }
            }
            Action::WaitFor { .. } => self.looks = true,
            Action::EndWait => self.looks = false,
            Action::FindHeir => self.searching = true,
            Action::EndSearch => (self.searching, self.kept) = (false, 0),
            Action::Start => {
                let all_hold = self.held == allowed.conditions;
                Promise::NothingIsStartedBeforeItHolds.holds(all_hold, told)?;
                Promise::NothingIsStartedOnceAStopIsAsked.holds(!self.asked, told)?;
            }
            Action::RunHook { hook, .. } => {
                let all_hold = self.held == allowed.conditions;
                let may_run = all_hold || hook.phase != HookPhase::PreStart;
                Promise::NothingIsStartedBeforeItHolds.holds(may_run, told)?;
                self.sees_hook(*hook, told)?;
            }
            Action::EndHook(hook) if self.hook == Some(*hook) => self.hook = None,
            Action::Send { signal, .. } => {
                Promise::NoSignalForTheDead.holds(self.child_alive, told)?;
                let is_kept = *signal == named("USR1");
                self.kept = self.kept.saturating_sub(u32::from(is_kept));
                self.had.insert(*signal);
                self.aborted |= *signal == Signal::ABRT;
                if *signal == Signal::KILL {
                    self.killed = true;
                    let in_time = self.kill_due(allowed).is_none_or(|due| now <= due);
                    Promise::KillInTime.holds(in_time, told)?;
                }
            }
            Action::Finish(_) => {
                self.finished = true;
                let once = self.post_stop.iter().all(|times| *times == 1);
                Promise::PostStopHooksRunOnce.holds(once, told)?;
                Promise::OneHookAtATime.holds(self.hook.is_none(), told)?;
                self.deadline_holds(allowed, now)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn sees_the_drain(
        &mut self,
        allowed: &Allowed,
        now: Duration,
        action: &Action,
    ) -> Result<(), Broken> {
        match action {
            Action::StartDrain => {
                (self.drains, self.drains_since) = (true, now);
                (self.settled, self.holds, self.held_up) = (false, None, None);
            }
            Action::Record(Record::HeldUp { .. }) => self.held_up = None,
            Action::Record(Record::DrainEnded { end, took, .. }) => {
                self.drains = false;
                let over = self.drains_since + allowed.delay;
                // There is no time to ask again then.
                let is_last_moment = *took >= allowed.drain_timeout;
                let is_known = self.holds.is_some_and(|at| at >= over || is_last_moment);
                let is_true = (!allowed.counts || self.settled) && (!allowed.asks || is_known);
                let holds = *end != DrainEnd::Drained || (is_true && now >= over);
                Promise::DrainedIsNoGuess.holds(holds, || format!("{now:?} {action:?}"))?;
            }
            _ => {}
        }
        Ok(())
    }

    /// What a request must not bring about.
    fn sees_an_answer(
        &self,
        allowed: &Allowed,
        now: Duration,
        action: &Action,
    ) -> Result<(), Broken> {
        let Some(is_first) = self.request else {
            return Ok(());
        };
        let told = || format!("{now:?} {action:?}");
        let hurries = match action {
            Action::Record(Record::Escalated { .. }) => true,
            Action::Record(Record::DrainEnded { end, .. }) => *end == DrainEnd::CutShort,
            Action::Record(
                Record::HookEnded { result, .. } | Record::StopCommandEnded { result },
            ) => *result == HookResult::CutShort,
            _ => false,
        };
        Promise::AFirstRequestHurriesNothing.holds(!(is_first && hurries), told)?;
        let is_kill = match action {
            Action::Send { signal, .. } | Action::Sweep(signal) => *signal == Signal::KILL,
            _ => false,
        };
        // KILL may be due at this very moment: with no time at all, for one.
        let is_due = self.kill_due(allowed).is_some_and(|due| now >= due);
        let by_hand = is_kill && !is_due;
        Promise::KillByHandTakesTwoMore.holds(!by_hand || self.requests > 2, told)
    }

    fn sees_hook(&mut self, hook: HookId, told: impl Fn() -> String) -> Result<(), Broken> {
        let rank = match hook.phase {
            HookPhase::PreStart => 0,
            HookPhase::PreStop => 1,
            HookPhase::PostStop => 5,
        };
        match hook.phase {
            HookPhase::PreStart => {
                Promise::NothingIsStartedOnceAStopIsAsked.holds(!self.asked, &told)?;
            }
            HookPhase::PreStop => Promise::PreStopHooksRunOnRequest.holds(self.asked, &told)?,
            HookPhase::PostStop => {
                let ended = !self.child_alive || self.left;
                Promise::PostStopHooksRunOnce.holds(ended, &told)?;
                self.post_stop[hook.index] += 1;
                let once = self.post_stop[hook.index] == 1;
                Promise::PostStopHooksRunOnce.holds(once, &told)?;
            }
        }
        Promise::OneHookAtATime.holds(self.hook.is_none(), &told)?;
        self.hook = Some(hook);
        self.comes_to((rank, hook.index + 1), &told)
    }

    fn comes_to(&mut self, place: (u8, usize), told: impl Fn() -> String) -> Result<(), Broken> {
        Promise::StepsNeverGoBack.holds(place > self.place, told)?;
        self.place = place;
        Ok(())
    }

    fn hangs(&self, allowed: &Allowed, now: Duration) -> bool {
        match allowed.watchdog {
            Some(within) => now >= self.alive_at + within,
            None => allowed
                .failures
                .is_some_and(|failures| self.failures >= failures),
        }
    }

    fn kill_due(&self, allowed: &Allowed) -> Option<Duration> {
        let t0 = self.t0.filter(|_| self.asked)?;
        Some(t0 + allowed.kill_after)
    }

    fn deadline_holds(&self, allowed: &Allowed, now: Duration) -> Result<(), Broken> {
        if let (Some(t0), Some(deadline)) = (self.t0, allowed.deadline) {
            let told = || format!("{now:?}: {:?} after t0", now - t0);
            Promise::TheDeadlineHolds.holds(now <= t0 + deadline, told)?;
        }
        Ok(())
    }

    /// What must hold whenever the machine waits.
    pub(super) fn rests(&self, allowed: &Allowed, now: Duration) -> Result<(), Broken> {
        if self.finished {
            return Ok(());
        }
        self.deadline_holds(allowed, now)?;
        self.family.rests(now)?;
        let hangs_on = self.child_alive
            && !self.asked
            && self.failures >= allowed.failures.unwrap_or(u32::MAX);
        let told = || format!("{now:?}: it hangs, and nobody stops it");
        Promise::WhatHangsIsStopped.holds(!hangs_on, told)?;
        let looks_on = self.looks && self.asked;
        Promise::AStopEndsTheWait.holds(!looks_on, || format!("{now:?}: it is still looked"))?;
        if let (Some(since), true) = (self.held_up, self.drains) {
            let told = || format!("{now:?}: held up since {since:?}");
            Promise::WhatHoldsUpADrainIsTold.holds(now <= since + ms(1_000), told)?;
        }
        let is_lost = self.child_alive && self.kept > 0;
        let told = || format!("{now:?}: {} USR1 for the heir", self.kept);
        Promise::NothingIsLostInAHandOver.holds(!is_lost, told)?;
        if self.child_alive && self.told && !self.killed {
            // In place of the first one it got what the ladder names.
            let stands_for = self.first.filter(|_| !allowed.by_same);
            let had = |signal| self.had.contains(signal) || Some(signal) == stands_for;
            let told = || format!("{now:?}: it had {:?} of {:?}", self.had, self.came);
            Promise::ASignalTheChildHasNotHadReachesIt.holds(self.came.iter().all(had), told)?;
        }
        if let Some(due) = self.kill_due(allowed) {
            let waits = self.child_alive && !self.left && !self.killed && allowed.may_kill;
            let told = || format!("{now:?}: no KILL yet, which was due at {due:?}");
            Promise::KillInTime.holds(!waits || now <= due, told)?;
        }
        Ok(())
    }
}
