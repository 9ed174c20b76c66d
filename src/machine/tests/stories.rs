//! Every short story: all sequences of events up to a length, at several gaps of time, for several plans.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::bugs::{Bug, Player};
use super::family::MASTER;
use super::promises::{Allowed, Broken, Promise, Watch};
use super::setups::{Gap, Happening, SETUPS, Setup};
use super::*;

impl Setup {
    /// Plays all stories up to a length; how many there were.
    pub(super) fn play(&self, length: usize, bug: Option<Bug>) -> Result<u32, Broken> {
        let plan = plan(self.options);
        let allowed = Allowed::by(&plan);
        let mut told = 0;
        let tale = Tale::begin(self, &allowed, Player::new(plan, bug))?;
        tale.goes_on(length, &mut told)?;
        Ok(told)
    }
}

/// A story that can go on in many ways.
#[derive(Clone)]
struct Tale<'a> {
    setup: &'a Setup,
    allowed: &'a Allowed,
    player: Player,
    watch: Watch,
    now: Duration,
    starting: bool,
    hook: Option<HookId>,
    command: Option<usize>,
    flushing: bool,
    /// The condition that is looked at before the start.
    waiting: Option<usize>,
    /// Killed, but not told yet to have ended.
    killed_hook: Option<HookId>,
    killed_command: Option<usize>,
    /// The child got KILL.
    killed: bool,
    told_none: bool,
    /// The heir is looked for.
    searching: bool,
}

impl<'a> Tale<'a> {
    fn begin(setup: &'a Setup, allowed: &'a Allowed, player: Player) -> Result<Self, Broken> {
        let mut tale = Self {
            setup,
            allowed,
            player,
            watch: Watch::new(allowed, setup.relatives, setup.immortal),
            now: Duration::ZERO,
            starting: false,
            hook: None,
            command: None,
            flushing: false,
            waiting: None,
            killed_hook: None,
            killed_command: None,
            killed: false,
            told_none: true,
            searching: false,
        };
        tale.carry_out()?;
        Ok(tale)
    }

    fn goes_on(&self, length: usize, told: &mut u32) -> Result<(), Broken> {
        *told += 1;
        if self.watch.finished {
            return self.stays_ended();
        }
        self.checks_what_changes_nothing()?;
        if length == 0 {
            return self.clone().comes_to_its_end();
        }
        for gap in self.setup.gaps {
            let mut later = self.clone();
            later
                .waits(*gap)
                .map_err(|broken| broken.after(format!("{gap:?}")))?;
            for happening in self.setup.happenings {
                let mut tale = later.clone();
                let Some(event) = tale.event(*happening) else {
                    continue;
                };
                if *happening == Happening::SomebodyIsBorn {
                    tale.watch.family.grows(tale.now);
                }
                tale.handle(event)
                    .and_then(|()| tale.goes_on(length - 1, told))
                    .map_err(|broken| broken.after(format!("{gap:?} {happening:?}")))?;
            }
        }
        Ok(())
    }

    fn waits(&mut self, gap: Gap) -> Result<(), Broken> {
        let until = match gap {
            Gap::None => return Ok(()),
            Gap::Some(millis) => self.now + ms(millis),
            Gap::Timer => {
                self.now = self.now.max(self.player.deadline().unwrap_or(self.now));
                return Ok(());
            }
        };
        while let Some(due) = self.player.deadline().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.handle(Event::Deadline)?;
        }
        self.now = until;
        Ok(())
    }

    /// The event, where it can happen.
    fn event(&self, happening: Happening) -> Option<Event> {
        let alive = self.watch.child_alive;
        let event = match happening {
            Happening::Term => signal(Signal::TERM),
            Happening::Int => signal(Signal::INT),
            Happening::CtrlC if alive => typed(Signal::INT),
            Happening::Usr1 => signal(named("USR1")),
            Happening::ParentDied => Event::ParentDied,
            Happening::Started if self.starting => Event::Started { pid: 2 },
            Happening::StartFailed if self.starting => Event::StartFailed(StartFailure {
                code: 127,
                message: String::new(),
            }),
            Happening::ChildExits if alive => Event::ChildExited(ExitStatus::Exited(0)),
            Happening::HookEnds => Event::HookEnded {
                hook: self.hook?,
                result: done(),
            },
            Happening::StopCommandEnds => Event::StopCommandEnded {
                step: self.command?,
                result: done(),
            },
            Happening::MasterEnds if self.watch.family.master_lives() && !self.starting => {
                Event::Reaped {
                    pid: MASTER,
                    status: ExitStatus::Exited(0),
                }
            }
            // It is found by whoever looks.
            Happening::SomebodyIsBorn if self.watch.family.may_grow() => Event::Deadline,
            Happening::NobodyIsLeft if self.is_empty() => Event::NoneLeft,
            Happening::SomebodyIsSwept if !alive && !self.starting => Event::Swept {
                signal: Signal::KILL,
                processes: vec![Process::new(3, "")],
            },
            Happening::Flushed if self.flushing => Event::Flushed,
            Happening::Holds if alive => answered(0, Answer::Holds),
            Happening::HoldsNot if alive => answered(0, Answer::of_number(1)),
            Happening::NotKnown if alive => answered(0, not_known()),
            Happening::WaitHolds => Event::Holds(self.waiting?),
            Happening::WaitHoldsNot => Event::HoldsNot {
                condition: self.waiting?,
                why: "refused".to_owned(),
            },
            Happening::IsAlive if alive => Event::Alive,
            Happening::IsNotAlive if alive => Event::NotAlive("silent".to_owned()),
            Happening::HeirIsThere if self.searching => Event::HeirFound {
                heir: Process::new(2, "heir"),
                had: SignalSet::default(),
            },
            Happening::NoHeirYet if self.searching => Event::NoHeir("unnamed".to_owned()),
            Happening::KeepsAlive if alive => Event::KeepsAlive,
            Happening::Extend if alive => Event::Extend(ms(3_000)),
            Happening::InFlight if alive => Event::InFlight {
                requests: 1,
                settled: false,
            },
            Happening::Settled if alive => Event::InFlight {
                requests: 0,
                settled: true,
            },
            Happening::HeldUp if alive => held_up(1),
            Happening::HeldUpNoMore if alive => held_up(0),
            _ => return None,
        };
        Some(event)
    }

    fn is_empty(&self) -> bool {
        let running = self.watch.child_alive || self.starting;
        let running = running || !self.watch.family.is_empty();
        !running && self.hook.is_none() && self.command.is_none() && !self.told_none
    }

    fn handle(&mut self, event: Event) -> Result<(), Broken> {
        self.watch.hears(self.now, &event);
        match &event {
            Event::Started { .. } | Event::StartFailed(_) => self.starting = false,
            Event::HookEnded { .. } => self.hook = None,
            Event::StopCommandEnded { .. } => self.command = None,
            Event::Holds(_) => self.waiting = None,
            Event::HeirFound { .. } => {
                (self.searching, self.killed) = (false, false);
                self.told_none = false;
            }
            Event::NoneLeft => self.told_none = true,
            _ => {}
        }
        self.player.handle(self.now, event);
        self.carry_out()
    }

    fn carry_out(&mut self) -> Result<(), Broken> {
        while let Some(action) = self.player.poll() {
            self.watch.sees(self.allowed, self.now, &action)?;
            match action {
                Action::Start => {
                    self.starting = true;
                    self.told_none = false;
                }
                Action::RunHook { hook, .. } => {
                    self.hook = Some(hook);
                    self.told_none = false;
                }
                Action::EndHook(hook) if self.hook == Some(hook) => {
                    self.hook = None;
                    self.killed_hook = Some(hook);
                }
                Action::RunStopCommand { step, .. } => self.command = Some(step),
                Action::EndStopCommand { step } => {
                    self.command = None;
                    self.killed_command = Some(step);
                }
                Action::FindHeir => self.searching = true,
                Action::EndSearch => self.searching = false,
                Action::Flush => self.flushing = true,
                Action::WaitFor { condition, .. } => {
                    self.waiting = Some(condition);
                    self.told_none = false;
                }
                Action::EndWait => {
                    self.waiting = None;
                    self.told_none = false;
                }
                Action::Send { signal, .. } | Action::Sweep(signal) => {
                    self.killed |= signal == Signal::KILL;
                }
                _ => {}
            }
        }
        if self.starting && !self.setup.starts_late {
            self.handle(Event::Started { pid: 2 })?;
        }
        if let Some(answer) = self.watch.family.answer() {
            return self.handle(answer);
        }
        self.watch.rests(self.allowed, self.now)
    }

    /// A second TERM, a timer that has not run out and a late end leave the machine as it is.
    fn checks_what_changes_nothing(&self) -> Result<(), Broken> {
        if self.watch.asked && self.watch.came.contains(Signal::TERM) {
            self.unchanged_by(Promise::ASecondTermChangesNothing, signal(Signal::TERM))?;
        }
        if self.player.deadline().is_none_or(|due| due > self.now) {
            self.unchanged_by(Promise::EarlyWakeUpsAreHarmless, Event::Deadline)?;
        }
        let result = failed();
        if let Some(hook) = self.killed_hook {
            let late = Event::HookEnded { hook, result };
            self.unchanged_by(Promise::LateEndsChangeNothing, late)?;
        } else if let Some(step) = self.killed_command {
            let late = Event::StopCommandEnded { step, result };
            self.unchanged_by(Promise::LateEndsChangeNothing, late)?;
        }
        Ok(())
    }

    fn unchanged_by(&self, promise: Promise, event: Event) -> Result<(), Broken> {
        let mut player = self.player.clone();
        player.handle(self.now, event);
        while let Some(action) = player.poll() {
            let is_told = matches!(action, Action::Record(Record::Dropped { .. }));
            promise.holds(is_told, || format!("{:?} {action:?}", self.now))?;
        }
        promise.holds(player == self.player, || {
            format!("{:?} another state", self.now)
        })
    }

    fn stays_ended(&self) -> Result<(), Broken> {
        for event in [signal(Signal::TERM), signal(Signal::INT), Event::Deadline] {
            self.clone().handle(event)?;
        }
        Ok(())
    }

    /// From here on nothing unexpected happens: KILL kills, hooks and commands hang, timers go off when
    /// they are due.
    fn comes_to_its_end(mut self) -> Result<(), Broken> {
        for _ in 0..1_000 {
            if self.watch.finished {
                return Ok(());
            }
            let alive = self.watch.child_alive;
            let event = if self.starting {
                Event::Started { pid: 2 }
            } else if alive && self.killed && !self.setup.immortal {
                Event::ChildExited(ExitStatus::Killed {
                    signal: Signal::KILL,
                    core: false,
                })
            } else if self.is_empty() && !self.setup.immortal {
                Event::NoneLeft
            } else if let Some(due) = self.player.deadline() {
                self.now = self.now.max(due);
                Event::Deadline
            } else {
                // Only the child's own end can come now, and only where nobody was to bring it.
                let may_wait = alive && !(self.watch.asked && self.allowed.may_kill);
                Promise::TheRunEnds.holds(may_wait, || format!("{:?} for ever", self.now))?;
                Event::ChildExited(ExitStatus::Exited(0))
            };
            self.handle(event)
                .map_err(|broken| broken.after("and then on its own"))?;
        }
        Promise::TheRunEnds.holds(false, || format!("{:?} and on", self.now))
    }
}

#[test]
fn every_short_story_keeps_every_promise() {
    let next = AtomicUsize::new(0);
    let play = || {
        let setups = std::iter::from_fn(|| SETUPS.get(next.fetch_add(1, Ordering::Relaxed)));
        let stories = setups.map(|setup| match setup.play(setup.length, None) {
            Ok(stories) => stories,
            Err(broken) => panic!("{setup}\n{:?}: {}", broken.promise, broken.story),
        });
        stories.sum::<u32>()
    };
    let stories: u32 = std::thread::scope(|scope| {
        let threads = [scope.spawn(play), scope.spawn(play)];
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert!(stories > 300_000, "{stories}");
}
