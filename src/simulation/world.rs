//! The random world: what the kernel's side can do, in made-up time, in the orders in which it can come.
//!
//! `kernel` is the model: what is queued comes first, then children that have ended, while they are taken; then the
//! clock; then signals, the lowest first. Each process lives in a table, so that it is known who is left.

mod acts;
mod life;
mod outside;
mod processes;
mod reaping;
mod sending;
mod tests;

use std::collections::VecDeque;
use std::mem;
use std::rc::Rc;
use std::time::Duration;

use super::choices::Choices;
use super::plan::Options;
use crate::drive;
use crate::machine::{Action, Event, HookId};
use crate::plan::Plan;
use crate::record::{ExitStatus, Sender};
use crate::words::signal::{Signal, SignalSet};
use life::{Life, LookAt};
use outside::Outside;
use processes::Process;

/// What a process works at that is not the main child.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Job {
    Hook(HookId),
    StopCommand { step: usize },
    Look { at: LookAt, number: u32 },
}

/// What is set to happen at some time.
#[derive(Clone, Debug)]
enum Coming {
    Ends(i32, ExitStatus),
    Unsticks(i32),
    Forks(i32),
    /// The child of this generation says something: that it is ready, that it is alive, or anything.
    SaysReady(u32),
    Beats(u32),
    Says(u32),
    /// It names who takes its place, which it has started.
    Names(u32),
}

/// A signal that is pending for stepdown.
#[derive(Clone, Copy, Debug)]
struct Pending {
    signal: Signal,
    sender: Sender,
}

/// See the module's first sentence.
pub(super) struct World {
    pub(super) now: Duration,
    options: Rc<Options>,
    plan: Rc<Plan>,
    /// What is asked from outside; how children go; what looks, hooks and connections answer; what signals do.
    outside: Outside,
    children: Choices,
    answers: Choices,
    reactions: Choices,
    life: Life,
    beside: Option<Box<Life>>,
    is_aside: bool,
    queue: VecDeque<Event>,
    /// What the child says, and the endpoint.
    words: VecDeque<Event>,
    reaping: bool,
    in_a_row: u32,
    /// CHLD is pending.
    child_signal: bool,
    pending: Vec<Pending>,
    /// Which children were stopped, and by what, until that is taken note of.
    stops: Vec<(i32, Signal)>,
    processes: Vec<Process>,
    last_pid: i32,
    coming: Vec<(Duration, u64, Coming)>,
    comings: u64,
    passed_on: SignalSet,
    terminal: bool,
    ignores: SignalSet,
    /// Each action takes a moment.
    is_slow: bool,
    told_ready: bool,
    kills: u32,
    /// Somebody was left to another reaper (`--subreaper=off`).
    pub(super) escaped: bool,
    /// Somebody who was left has got TERM twice.
    pub(super) asked_twice: bool,
    /// The time that went by without stepdown being able to do anything, and when that was last.
    pub(super) lost: Duration,
    pub(super) lost_at: Duration,
    pub(super) seen: Seen,
}

/// What has happened in a world, as far as nobody else counts it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) jumps: u32,
    pub(super) stuck: u32,
    pub(super) bursts: u32,
    pub(super) long: bool,
}

/// After so many children the others get their turn, as in the kernel's part.
const IN_A_ROW: u32 = 256;

const PARENT: i32 = 0;

impl World {
    pub(super) fn new(options: Rc<Options>, plan: Rc<Plan>, choices: [Choices; 4]) -> Self {
        let [outside, mut children, answers, reactions] = choices;
        let terminal = children.one_in(6);
        let mut ignores = SignalSet::default();
        if children.one_in(24) {
            ignores.insert(Signal::INT);
            ignores.insert(Signal::QUIT);
        }
        let is_slow = children.one_in(16);
        Self {
            now: Duration::ZERO,
            outside: Outside::new(outside, options.long),
            children,
            answers,
            reactions,
            life: Life {
                number: 1,
                hears: plan.awaits_notification(),
                ..Life::default()
            },
            beside: None,
            is_aside: false,
            queue: VecDeque::new(),
            words: VecDeque::new(),
            reaping: false,
            in_a_row: 0,
            child_signal: false,
            pending: Vec::new(),
            stops: Vec::new(),
            processes: Vec::new(),
            last_pid: 1,
            coming: Vec::new(),
            comings: 0,
            passed_on: plan.passed_on(),
            terminal,
            ignores,
            is_slow,
            told_ready: false,
            kills: 0,
            escaped: false,
            asked_twice: false,
            lost: Duration::ZERO,
            lost_at: Duration::ZERO,
            seen: Seen {
                long: options.long,
                ..Seen::default()
            },
            options,
            plan,
        }
    }

    /// The choices that were made, for another telling of the story.
    pub(super) fn made(&self) -> [Vec<u32>; 4] {
        [
            self.outside.choices.made().to_vec(),
            self.children.made().to_vec(),
            self.answers.made().to_vec(),
            self.reactions.made().to_vec(),
        ]
    }

    /// The processes of this generation that live; of all where there is none given.
    pub(super) fn alive(&self, generation: Option<u32>) -> impl Iterator<Item = &Process> {
        let alive = self.processes.iter().filter(|one| one.lives());
        alive.filter(move |one| generation.is_none_or(|number| one.generation == number))
    }

    /// The child's pid, as the kernel's side knows it.
    pub(super) fn child_of(&self, generation: u32) -> Option<i32> {
        let lives = [Some(&self.life), self.beside.as_deref()];
        let life = lives
            .into_iter()
            .flatten()
            .find(|life| life.number == generation);
        life.and_then(|life| life.child)
    }

    /// The one that serves, and the one beside.
    pub(super) fn number(&self) -> u32 {
        self.life.number
    }

    pub(super) fn beside_number(&self) -> Option<u32> {
        self.beside.as_ref().map(|life| life.number)
    }

    /// Whether a process is there, a zombie or one of an earlier life, too, that is not the other generation's.
    pub(super) fn has_process(&self, generation: u32) -> bool {
        let lives = [Some(self.number()), self.beside_number()];
        let is_others = |number| number != generation && lives.contains(&Some(number));
        let mut all = self.processes.iter();
        all.any(|one| !is_others(one.generation))
    }

    /// There must be an end.
    pub(super) fn cut_short(&mut self) {
        self.outside.cut_short();
    }

    fn comes(&mut self, at: Duration, coming: Coming) {
        self.comings += 1;
        let index = self.coming.iter().rposition(|(other, ..)| *other <= at);
        let index = index.map_or(0, |index| index + 1);
        self.coming.insert(index, (at, self.comings, coming));
    }

    /// Which life a process is the main child of.
    fn life_of(&self, pid: i32) -> Option<&Life> {
        let lives = [Some(&self.life), self.beside.as_deref()];
        let mut lives = lives.into_iter().flatten();
        lives.find(|life| life.child == Some(pid))
    }

    fn swap(&mut self) -> Option<()> {
        let other = self.beside.as_deref_mut()?;
        mem::swap(&mut self.life, other);
        if let Some(plan) = self.life.plan.take() {
            other.plan = Some(mem::replace(&mut self.plan, plan));
        }
        Some(())
    }

    /// As `kernel::beside`: takes the turn of the one beside, and addresses what is told meanwhile.
    fn for_beside<R>(&mut self, act: impl FnOnce(&mut Self) -> R) -> Option<R> {
        self.swap()?;
        self.is_aside = true;
        let earlier = mem::take(&mut self.queue);
        let result = act(self);
        let told = mem::replace(&mut self.queue, earlier);
        let generation = self.life.number;
        self.queue
            .extend(told.into_iter().map(|event| event.of(generation)));
        self.is_aside = false;
        self.swap();
        Some(result)
    }

    /// Does something for the generation with this number, where it is alive.
    fn for_generation(&mut self, number: u32, act: impl FnOnce(&mut Self)) {
        if self.life.number == number {
            act(self);
        } else if self
            .beside
            .as_ref()
            .is_some_and(|life| life.number == number)
        {
            self.for_beside(act);
        }
    }

    /// A message of the child of this life, on its own socket.
    fn says(&mut self, event: Event) {
        if !self.life.hears {
            return;
        }
        let event = if self.plan.replaces() {
            event.of(self.life.number)
        } else {
            event
        };
        self.words.push_back(event);
    }

    /// Something that was set to happen happens.
    fn happens(&mut self, coming: Coming) {
        match coming {
            Coming::Ends(pid, status) => self.ends(pid, status),
            Coming::Unsticks(pid) => self.unstick(pid),
            Coming::Forks(pid) => self.forks(pid),
            Coming::SaysReady(number) => self.for_generation(number, |world| {
                if world.life.child.is_some() && world.plan.takes_ready_from_child() {
                    world.says(Event::Ready);
                }
            }),
            Coming::Beats(number) => self.for_generation(number, Self::beats),
            Coming::Says(number) => self.for_generation(number, Self::says_something),
            Coming::Names(number) => self.for_generation(number, Self::names_heir),
        }
    }

    /// The next moment at which anything can happen comes; what waits for it is done.
    fn pass_time(&mut self, deadline: Option<Duration>) {
        self.insist();
        let mine = [
            self.next_look(),
            self.for_beside(|world| world.next_look()).flatten(),
        ];
        let coming = self.coming.first().map(|(at, ..)| *at);
        let times = [deadline, coming, mine[0], mine[1]];
        let next = times.into_iter().flatten().min();
        let asked = self.next_from_outside(deadline);
        let times = [next, asked];
        let Some(until) = times.into_iter().flatten().min() else {
            return self.nothing_comes();
        };
        self.now = self.now.max(until);
        while self.coming.first().is_some_and(|(at, ..)| *at <= self.now) {
            let (_, _, coming) = self.coming.remove(0);
            self.happens(coming);
        }
        if asked.is_some_and(|at| at <= self.now) {
            self.asks_from_outside();
        }
    }

    /// A signal or a word that is there.
    fn take(&mut self) -> Option<Event> {
        let signals = self.child_signal || !self.pending.is_empty();
        let words_first = !self.words.is_empty() && (!signals || self.answers.one_in(2));
        if words_first {
            return self.words.pop_front();
        }
        while let Some(taken) = self.next_signal() {
            let event = match taken {
                None => {
                    self.reaping = true;
                    return None;
                }
                Some(taken) => self.received(taken),
            };
            if event.is_some() {
                return event;
            }
        }
        None
    }

    /// The lowest number first; `Some(None)` is CHLD.
    fn next_signal(&mut self) -> Option<Option<Pending>> {
        let lowest = self.pending.iter().enumerate();
        let lowest = lowest.min_by_key(|(_, pending)| pending.signal);
        let lowest = lowest.map(|(index, pending)| (index, pending.signal));
        match lowest {
            Some((index, signal)) if !self.child_signal || signal < Signal::CHLD => {
                Some(Some(self.pending.remove(index)))
            }
            _ => mem::take(&mut self.child_signal).then_some(None),
        }
    }
}

impl drive::World for World {
    fn now(&self) -> Duration {
        self.now
    }

    fn pending(&mut self) -> Option<Event> {
        if let Some(event) = self.queue.pop_front() {
            return Some(event);
        }
        while self.reaping && self.in_a_row < IN_A_ROW {
            self.in_a_row += 1;
            if let Some(event) = self.reap_one() {
                return Some(event);
            }
        }
        None
    }

    fn next(&mut self, deadline: Option<Duration>) -> Event {
        loop {
            if let Some(event) = self.pending() {
                return event;
            }
            self.in_a_row = 0;
            self.look_at_connections();
            if self.beside.is_some() {
                self.for_beside(Self::look_at_connections);
            }
            if let Some(event) = self.queue.pop_front() {
                return event;
            }
            if deadline.is_some_and(|deadline| deadline <= self.now) {
                return Event::Deadline;
            }
            if self.look() || self.for_beside(Self::look).unwrap_or(false) {
                continue;
            }
            if self.reaping {
                self.child_signal = false;
            }
            let is_there = self.child_signal || !self.pending.is_empty() || !self.words.is_empty();
            if !is_there && !self.reaping {
                self.pass_time(deadline);
                // Whoever had the processor taken away looks at the clock first.
                if self.answers.one_in(4) {
                    continue;
                }
            }
            if let Some(event) = self.take() {
                return event;
            }
        }
    }

    fn act(&mut self, action: Action) {
        if self.is_slow && self.answers.one_in(4) {
            let took = Duration::from_millis(u64::from(self.answers.below(40)));
            self.loses(took);
        }
        self.carry_out(action);
    }
}
