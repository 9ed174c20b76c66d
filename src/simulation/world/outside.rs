//! What comes from outside, at any instant: signals, the parent's end, time that is lost; and in the end a stop.

use std::time::Duration;

use super::processes::{KILLED, Process, US};
use super::{Coming, PARENT, Pending, World};
use crate::machine::Event;
use crate::plan::until::UntilWhen;
use crate::record::{ExitStatus, Sender};
use crate::words::signal::Signal;

/// What is asked from outside, and how far it has come.
pub(super) struct Outside {
    pub(super) choices: super::Choices,
    /// When the next one comes.
    next: Option<Duration>,
    /// It is over: so many times was the end asked for.
    ends: Option<u32>,
    /// How often something has come since.
    since: u32,
    cut_short: bool,
    /// The history is to be long: so many times something comes before a stop is asked for.
    spares: u32,
}

impl Outside {
    pub(super) fn new(choices: super::Choices, long: bool) -> Self {
        Self {
            choices,
            next: None,
            ends: None,
            since: 0,
            cut_short: false,
            spares: if long { LONG } else { 0 },
        }
    }

    pub(super) fn cut_short(&mut self) {
        self.cut_short = true;
    }
}

/// What comes from outside in a long history, before a stop is asked for.
const LONG: u32 = 48;

const SIGNALS: [&str; 16] = [
    "TERM", "TERM", "INT", "INT", "INT", "HUP", "QUIT", "USR1", "USR1", "USR2", "USR2", "WINCH",
    "CONT", "TSTP", "RTMIN+1", "PIPE",
];

impl World {
    /// When something comes from outside.
    pub(super) fn next_from_outside(&mut self, deadline: Option<Duration>) -> Option<Duration> {
        let now = self.now;
        let outside = &mut self.outside;
        if outside.ends.is_none() && outside.next.is_none() {
            let choices = &mut outside.choices;
            // Four choices for each that comes, so that a story is easily told without one of them.
            if choices.below(16) == 0 && outside.spares == 0 || outside.cut_short {
                outside.ends = Some(0);
            } else {
                outside.spares = outside.spares.saturating_sub(1);
                let timer = deadline.unwrap_or(now).max(now);
                outside.next = Some(match choices.below(10) {
                    0 | 1 => now,
                    2 | 3 => timer,
                    // A moment before.
                    4 => timer.saturating_sub(Duration::from_nanos(1)).max(now),
                    5 | 6 => now + choices.short_time(),
                    _ => now + choices.time(),
                });
            }
        }
        match (outside.next, outside.ends) {
            (Some(at), _) => Some(at),
            (None, Some(0)) => Some(now + Duration::from_secs(1)),
            // Once more only when nothing else would ever come.
            (None, Some(_) | None) => None,
        }
    }

    /// Nothing comes by itself: the end is asked for once more, at last in ways that nothing can refuse.
    pub(super) fn nothing_comes(&mut self) {
        self.now += Duration::from_secs(60);
        self.ask_for_the_end();
    }

    /// Something comes again and again, for ever: the end is asked for once more.
    pub(super) fn insist(&mut self) {
        if self.outside.ends.is_some_and(|times| times > 0) {
            self.outside.since += 1;
            if self.outside.since.is_multiple_of(400) {
                self.ask_for_the_end();
            }
        }
    }

    fn ask_for_the_end(&mut self) {
        self.outside.spares = 0;
        let times = self.outside.ends.get_or_insert(0);
        *times += 1;
        match *times {
            1 => {
                let plan = self.plan.clone();
                let works = |signal: &Signal| {
                    plan.rewritten(*signal).is_some() && !self.ignores.contains(*signal)
                };
                let first = [Signal::TERM].into_iter().chain(plan.stop_on.iter());
                let mut asking = first.filter(|signal| plan.stop_on.contains(*signal));
                match asking.find(works) {
                    Some(signal) => self.signal(signal, Sender::Outside),
                    None => self.everybody_ends(false),
                }
            }
            // Whoever would have been waited for without end is ended by somebody else.
            2 => self.everybody_ends(false),
            _ => self.everybody_ends(true),
        }
    }

    fn everybody_ends(&mut self, hanging: bool) {
        for pid in self.pids(|_| true) {
            if hanging {
                self.unstick(pid);
            }
            self.ends(pid, KILLED);
        }
    }

    fn signal(&mut self, signal: Signal, sender: Sender) {
        if self.outside.spares > 0 && self.plan.stop_on.contains(signal) {
            return;
        }
        // Those of the standard are pending once.
        let is_pending = self.pending.iter().any(|one| one.signal == signal);
        if !is_pending || signal.number() >= 34 {
            self.pending.push(Pending { signal, sender });
        }
    }

    /// From the terminal: to everybody in the group that we share.
    fn typed(&mut self, signal: Signal) {
        if !self.terminal {
            return self.signal(signal, Sender::Pid(9));
        }
        let pids = self.pids(|one| one.group == US);
        self.deliver_to(&pids, signal);
        self.signal(signal, Sender::Kernel);
    }

    pub(super) fn asks_from_outside(&mut self) {
        if self.outside.next.take().is_none() {
            return self.ask_for_the_end();
        }
        let kind = self.outside.choices.below(24);
        let which = self.outside.choices.below(4_096);
        let child = self.life.child;
        let pick = |all: &[i32]| all.get(which as usize % all.len().max(1)).copied();
        match kind {
            0..=6 => {
                let name = SIGNALS[which as usize % SIGNALS.len()];
                let Ok(signal) = Signal::parse(name) else {
                    return;
                };
                let sender = match which / 16 % 4 {
                    0 => Sender::Outside,
                    1 => Sender::Pid(PARENT),
                    2 => Sender::Pid(9),
                    _ if self.terminal => return self.typed(signal),
                    _ => Sender::Kernel,
                };
                self.signal(signal, sender);
            }
            7 => self.typed(Signal::INT),
            8 => {
                // Several at once.
                self.seen.bursts += 1;
                for index in 0..4 {
                    let name = SIGNALS[(which as usize + index * 5) % SIGNALS.len()];
                    if let Ok(signal) = Signal::parse(name) {
                        self.signal(signal, Sender::Outside);
                    }
                }
            }
            9 => {
                if self.plan.parent_death_signal.is_some() && self.outside.spares == 0 {
                    self.words.push_back(Event::ParentDied);
                }
            }
            10 | 11 => {
                if let Some(child) = child {
                    let status = match which % 5 {
                        0 | 1 => ExitStatus::Exited(0),
                        2 => ExitStatus::Exited(1),
                        3 => KILLED,
                        _ => ExitStatus::Exited(u8::try_from(which % 256).unwrap_or(3)),
                    };
                    self.ends(child, status);
                }
            }
            12 => {
                if let Some(pid) = pick(&self.pids(|_| true)) {
                    let signal = if self.terminal && which.is_multiple_of(3) {
                        Signal::TSTP
                    } else {
                        Signal::STOP
                    };
                    self.deliver(pid, signal);
                }
            }
            13 => {
                if let Some(pid) = pick(&self.pids(|one| one.stopped)) {
                    self.deliver(pid, Signal::CONT);
                }
            }
            14 => {
                if let Some(pid) = pick(&self.pids(|one| !one.works)) {
                    self.forks(pid);
                }
            }
            // All at once, as where each waits for the next one.
            15 if which.is_multiple_of(8) => {
                for pid in self.pids(|one| !one.works) {
                    self.ends(pid, ExitStatus::Exited(0));
                }
            }
            15 => {
                if let Some(pid) = pick(&self.pids(|one| !one.works)) {
                    self.ends(pid, ExitStatus::Exited(0));
                }
            }
            16 => {
                if let Some(pid) = pick(&self.pids(|_| true)) {
                    self.hangs(pid);
                }
            }
            17 | 18 => {
                self.seen.jumps += 1;
                let jump = Duration::from_millis(u64::from(which) * 17);
                self.loses(jump);
            }
            19 | 20 => {
                let number = if which.is_multiple_of(2) {
                    self.life.number
                } else {
                    self.beside
                        .as_ref()
                        .map_or(self.life.number, |life| life.number)
                };
                self.for_generation(number, Self::says_something);
            }
            21 => self.balancers_know(),
            22 => {
                let number = self.life.number;
                self.for_generation(number, Self::names_heir);
            }
            _ => {
                let message = format!("something could not be done ({which})");
                self.words.push_back(Event::Trouble(message));
            }
        }
    }

    /// The endpoint has answered "not ready" often enough.
    fn balancers_know(&mut self) {
        let checks = self.plan.drain.as_ref().and_then(|drain| drain.checks);
        if checks.is_some() && self.plan.health.is_some() {
            self.words.push_back(Event::BalancersTold);
        }
    }

    /// As long as it lives, in time or a little late.
    pub(super) fn beats(&mut self) {
        let (now, number) = (self.now, self.life.number);
        let within = self.plan.liveness.as_ref().and_then(|live| live.watchdog());
        let (Some(child), Some(within)) = (self.life.child, within) else {
            return;
        };
        let speaks = self
            .living(child)
            .is_some_and(|one| !one.stopped && !one.hangs());
        if speaks {
            self.says(Event::KeepsAlive);
        }
        let pause = match self.children.below(12) {
            10 => within * 2,
            11 => within,
            _ => within / 2,
        };
        self.comes(
            now + pause.max(Duration::from_millis(100)),
            Coming::Beats(number),
        );
    }

    pub(super) fn says_something(&mut self) {
        let Some(child) = self.life.child else {
            return;
        };
        if !self
            .living(child)
            .is_some_and(|one| !one.stopped && !one.hangs())
        {
            return;
        }
        let watchdog = self.plan.liveness.as_ref().and_then(|live| live.watchdog());
        let counts = self.plan.drains_until(|when| *when == UntilWhen::Notify);
        let time = self.children.time();
        let event = match self.children.below(10) {
            0 | 1 => Event::ChildSays(self.children.of(&["", "warming up", "busy"]).to_owned()),
            2 | 3 => Event::Extend(time),
            4 => Event::ChildStopping,
            5 if self.plan.takes_ready_from_child() => Event::Ready,
            6 if watchdog.is_some() => Event::WatchdogIs(Some(time).filter(|time| !time.is_zero())),
            7 if watchdog.is_some() => Event::SaysItHangs,
            8 if counts => {
                let number = self.children.below(3);
                if self.life.in_flight.replace(number) == Some(number) {
                    return;
                }
                Event::SaysInFlight(number)
            }
            _ => Event::KeepsAlive,
        };
        if event == Event::KeepsAlive && watchdog.is_none() {
            return;
        }
        self.says(event);
        if self.children.one_in(2) {
            let (at, number) = (self.now + self.children.short_time(), self.life.number);
            self.comes(at, Coming::Says(number));
        }
    }

    /// The child names who takes its place, which it starts first, most often.
    pub(super) fn names_heir(&mut self) {
        if self.plan.main_pid.is_none() {
            return;
        }
        let child = self.life.child;
        let is_able = |one: &mut Process| !one.stopped && !one.hangs();
        let starts = child.and_then(|pid| self.living(pid)).is_some_and(is_able);
        let named = match (self.children.below(8), child) {
            (6, _) => child.unwrap_or(999),
            (7, _) => 999,
            (_, Some(child)) if starts => {
                let group = self.process(child).map(|one| one.group);
                let group = group.filter(|_| self.children.one_in(2));
                self.spawn(child, group)
            }
            _ => return,
        };
        self.life.heir.named = Some(named);
    }
}
