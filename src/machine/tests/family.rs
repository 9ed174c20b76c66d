//! The processes of a story: who lives, who has had which signal, and what a sweep promises them.

use super::promises::{Allowed, Broken, Promise};
use super::*;
use crate::machine::roots::{Had, LeftBehind, Treatment, judge};

/// A process besides the child, which is there from the start.
pub(super) struct Relative {
    pub(super) pid: i32,
    pub(super) parent: i32,
    /// In the child's process group, which the terminal signals, too.
    pub(super) in_group: bool,
}

const CHILD: i32 = 2;
pub(super) const MASTER: i32 = 4;

/// A wrapper's program, and a master that has left its session, with a worker of its own.
pub(super) const WRAPPER_AND_MASTER: &[Relative] = &[
    Relative {
        pid: 3,
        parent: CHILD,
        in_group: true,
    },
    Relative {
        pid: MASTER,
        parent: CHILD,
        in_group: false,
    },
    Relative {
        pid: 5,
        parent: MASTER,
        in_group: false,
    },
];

/// Who is killed forks no more, but what it forked before is there.
const MOST_BIRTHS: usize = 2;

/// More than the longest pause between two rounds of KILL.
const SOON: Duration = Duration::from_millis(200);

#[derive(Clone, Debug)]
struct Member {
    pid: i32,
    parent: i32,
    in_group: bool,
    alive: bool,
    /// KILL has reached it, whether it can die or not.
    killed: bool,
    had: SignalSet,
    terms: u32,
    ints: u32,
    /// Its birth, or its parent's end.
    changed: Duration,
}

/// See the module's first sentence.
#[derive(Clone, Debug)]
pub(super) struct Family {
    members: Vec<Member>,
    has_relatives: bool,
    immortal: bool,
    births: usize,
    ints_asked: u32,
    /// Until when the step under way lasts, where somebody has said so.
    step_until: Option<Duration>,
    /// The sweep has begun to ask: then, and until when they have time.
    asked: Option<(Duration, Duration)>,
    killing: Option<Duration>,
    given_up: bool,
    /// The machine knows that nobody is left.
    over: bool,
    /// What the machine is to be told next.
    answers: VecDeque<Event>,
}

impl Family {
    pub(super) fn new(relatives: &[Relative], immortal: bool) -> Self {
        let child = Relative {
            pid: CHILD,
            parent: 1,
            in_group: true,
        };
        let member = |relative: &Relative| Member {
            pid: relative.pid,
            parent: relative.parent,
            in_group: relative.in_group,
            alive: relative.pid != CHILD,
            killed: false,
            had: SignalSet::default(),
            terms: 0,
            ints: 0,
            changed: Duration::ZERO,
        };
        Self {
            members: [&child].into_iter().chain(relatives).map(member).collect(),
            has_relatives: !relatives.is_empty(),
            immortal,
            births: 0,
            ints_asked: 0,
            step_until: None,
            asked: None,
            killing: None,
            given_up: false,
            over: false,
            answers: VecDeque::new(),
        }
    }

    fn lives(&self, pid: i32) -> bool {
        let mut members = self.members.iter();
        members.any(|member| member.pid == pid && member.alive)
    }

    fn left(&self) -> impl Iterator<Item = &Member> {
        let is_left = |member: &&Member| member.alive && member.pid != CHILD;
        self.members.iter().filter(is_left)
    }

    /// Nobody besides the child.
    pub(super) fn is_empty(&self) -> bool {
        self.left().next().is_none()
    }

    pub(super) fn master_lives(&self) -> bool {
        self.lives(MASTER)
    }

    /// Somebody may turn out to have been born to one of those that got KILL.
    pub(super) fn may_grow(&self) -> bool {
        !self.over && self.killing.is_some() && self.births < MOST_BIRTHS
    }

    pub(super) fn grows(&mut self, now: Duration) {
        self.births += 1;
        self.members.push(Member {
            pid: 10 + i32::try_from(self.births).unwrap(),
            parent: 1,
            in_group: false,
            alive: true,
            killed: false,
            had: SignalSet::default(),
            terms: 0,
            ints: 0,
            changed: now,
        });
    }

    pub(super) fn answer(&mut self) -> Option<Event> {
        self.answers.pop_front()
    }

    pub(super) fn hears(&mut self, now: Duration, event: &Event) {
        match event {
            Event::Started { .. } => {
                let child = self.members.iter_mut().find(|member| member.pid == CHILD);
                child.unwrap().alive = true;
            }
            Event::HeirFound { .. } => {
                let mut members = self.members.iter_mut();
                let child = members.find(|member| member.pid == CHILD).unwrap();
                (child.alive, child.killed) = (true, false);
                (child.had, child.terms, child.ints) = (SignalSet::default(), 0, 0);
            }
            Event::NoneLeft => self.over |= self.has_relatives,
            Event::ChildExited(_) => self.ends(now, CHILD),
            Event::Reaped { pid, .. } => self.ends(now, *pid),
            Event::Signal(Received {
                signal: Signal::INT,
                reached_child,
                ..
            }) => {
                self.ints_asked += 1;
                let in_group = |member: &&mut Member| member.alive && member.in_group;
                for member in self.members.iter_mut().filter(in_group) {
                    if *reached_child {
                        member.had.insert(Signal::INT);
                        member.ints += 1;
                    }
                }
            }
            _ => {}
        }
    }

    fn ends(&mut self, now: Duration, pid: i32) {
        for member in &mut self.members {
            member.alive &= member.pid != pid;
            if member.parent == pid {
                member.parent = 1;
                member.changed = now;
            }
        }
    }

    /// An action of the machine, carried out; `by_hand` when it answers a request.
    pub(super) fn sees(
        &mut self,
        allowed: &Allowed,
        now: Duration,
        action: &Action,
        by_hand: bool,
    ) -> Result<(), Broken> {
        let told = || format!("{now:?} {action:?}");
        match action {
            Action::Record(Record::Step { step, .. }) => {
                let wait = allowed.waits[*step - 1];
                self.step_until = wait.map(|wait| now + wait);
            }
            Action::Send { target, signal } => {
                let reached = |member: &Member| match target {
                    Target::Child => member.pid == CHILD,
                    Target::Group => member.in_group,
                    Target::Tree => true,
                };
                let is_kill = *signal == Signal::KILL;
                let is_for_all = *target == Target::Tree && is_kill;
                let named = self.reach(allowed, *signal, reached, told)?;
                if is_for_all && self.has_relatives {
                    self.killing.get_or_insert(now);
                    self.tell_swept(*signal, named);
                }
            }
            Action::SendBeyondGroup(signal) => {
                self.reach(allowed, *signal, |member| !member.in_group, told)?;
            }
            Action::TellLeft(whom) => self.asks(allowed, now, *whom)?,
            Action::Sweep(signal) => {
                if *signal == Signal::KILL && self.killing.is_none() && !self.given_up {
                    let is_over = self.asked.is_some_and(|(_, until)| now >= until);
                    let in_time = is_over || by_hand || !self.has_relatives;
                    Promise::WhatIsLeftHasTheRestOfTheGrace.holds(in_time, told)?;
                    self.killing = Some(now);
                }
                let named = self.reach(allowed, *signal, |member| member.pid != CHILD, told)?;
                if self.has_relatives {
                    self.tell_swept(*signal, named);
                }
            }
            Action::Record(Record::ChildLeft { .. }) => self.given_up = true,
            Action::Record(Record::SweepEnded { left: true, .. }) => {
                let over = self
                    .killing
                    .is_some_and(|since| now >= since + KILL_PATIENCE);
                let is_true = over || !self.has_relatives;
                Promise::KillUntilNothingIsLeft.holds(is_true, told)?;
                self.given_up = true;
            }
            Action::Flush
            | Action::RunHook {
                hook:
                    HookId {
                        phase: HookPhase::PostStop,
                        ..
                    },
                ..
            } => {
                let nobody = self.is_empty() || self.given_up;
                Promise::KillUntilNothingIsLeft.holds(nobody, told)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Those who are there and get a signal; who gets KILL for the first time is named.
    fn reach(
        &mut self,
        allowed: &Allowed,
        signal: Signal,
        reached: impl Fn(&Member) -> bool,
        told: impl Fn() -> String,
    ) -> Result<Vec<Process>, Broken> {
        let mut named = Vec::new();
        let ints = self.ints_asked + allowed.int_steps;
        let is_reached = |member: &&mut Member| member.alive && reached(member);
        for member in self.members.iter_mut().filter(is_reached) {
            let is_new = !member.had.contains(signal);
            member.had.insert(signal);
            member.terms += u32::from(signal == Signal::TERM);
            member.ints += u32::from(signal == Signal::INT);
            let pid = member.pid;
            let who = || format!("{pid}: {}", told());
            Promise::NobodyIsToldTermTwice.holds(member.terms <= 1, who)?;
            Promise::OneRequestReachesNobodyTwice.holds(member.ints <= ints, who)?;
            if signal == Signal::KILL {
                member.killed = true;
                // That the child has ended is an event.
                member.alive = self.immortal || pid == CHILD;
            }
            if is_new && pid != CHILD {
                named.push(Process::new(pid, ""));
            }
        }
        Ok(named)
    }

    fn tell_swept(&mut self, signal: Signal, processes: Vec<Process>) {
        self.answers.push_back(Event::Swept { signal, processes });
    }

    /// What the world does when a sweep asks those who are left.
    fn asks(&mut self, allowed: &Allowed, now: Duration, whom: Whom) -> Result<(), Broken> {
        if !self.has_relatives {
            return Ok(());
        }
        let told = || format!("{now:?} {whom:?} of {self:?}");
        let own = now + allowed.sweep_grace;
        let until = self.step_until.map_or(own, |until| until.max(own));
        let (since, until) = self.asked.unwrap_or((now, until));
        let half = since + (until - since) / 2;
        let has_had = |member: &Member| whom.had.iter().any(|signal| member.had.contains(signal));
        let left = self.left().map(|member| LeftBehind {
            pid: member.pid,
            parent: member.parent,
            had: if has_had(member) { Had::Yes } else { Had::No },
        });
        let left: Vec<LeftBehind> = left.collect();
        let (mut asked, mut before) = (Vec::new(), Vec::new());
        let verdicts = judge(&left, whom.rest);
        for (left, verdict) in left.iter().zip(&verdicts) {
            match verdict {
                Treatment::Ask => {
                    let is_root = !self.lives(left.parent);
                    Promise::RootsFirst.holds(is_root || now >= half, told)?;
                    // The terminal has asked it.
                    let mut members = self.members.iter();
                    let it = members.find(|member| member.pid == left.pid).unwrap();
                    let had_int = it.had.contains(Signal::INT);
                    Promise::NobodyIsToldTermTwice.holds(!had_int, told)?;
                    asked.push(left.pid);
                }
                Treatment::Wait => before.push(Process::new(left.pid, "")),
                Treatment::HoldBack => {}
            }
        }
        self.asked = Some((since, until));
        let is_asked = |member: &Member| asked.contains(&member.pid);
        let told = || format!("{now:?} {whom:?}");
        let named = self.reach(allowed, Signal::TERM, is_asked, told)?;
        let held_back = verdicts.contains(&Treatment::HoldBack);
        self.answers.push_back(Event::NotTold { before, held_back });
        self.tell_swept(Signal::TERM, named);
        Ok(())
    }

    /// What must hold whenever the machine waits.
    pub(super) fn rests(&self, now: Duration) -> Result<(), Broken> {
        if !self.has_relatives || self.given_up {
            return Ok(());
        }
        let Some((since, until)) = self.asked else {
            return Ok(());
        };
        let half = since + (until - since) / 2;
        for member in self.left().filter(|member| !member.killed) {
            let told = || format!("{now:?}: {member:?}");
            let Some(killing) = self.killing else {
                Promise::KillUntilNothingIsLeft.holds(now <= until, told)?;
                let asked = member.had.contains(Signal::TERM) || member.had.contains(Signal::INT);
                let is_root = !self.lives(member.parent);
                let waits_for_none = is_root && now > since.max(member.changed) + SOON;
                let due = now > half || waits_for_none;
                Promise::RootsFirst.holds(asked || !due, told)?;
                continue;
            };
            let by = killing.max(member.changed) + SOON;
            Promise::KillUntilNothingIsLeft.holds(now <= by, told)?;
        }
        Ok(())
    }
}
