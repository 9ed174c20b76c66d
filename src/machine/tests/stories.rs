//! Every short story: all sequences of events up to a length, at several gaps of time, for several plans.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::bugs::{Bug, Player};
use super::promises::{Allowed, Broken, Promise, Watch};
use super::*;

/// The plan of a set of stories, and how its world behaves.
pub(super) struct Setup {
    options: &'static str,
    /// Not even KILL ends the child, or what it leaves behind.
    immortal: bool,
    /// The confirmation of exec is an event like others; otherwise it comes at once.
    starts_late: bool,
    length: usize,
    happenings: &'static [Happening],
    gaps: &'static [Gap],
}

/// What may happen, where it can happen at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Happening {
    Term,
    Int,
    Usr1,
    ParentDied,
    Started,
    StartFailed,
    ChildExits,
    HookEnds,
    StopCommandEnds,
    NobodyIsLeft,
    SomebodyIsSwept,
    Extend,
    InFlight,
    Settled,
    Flushed,
    Holds,
    HoldsNot,
    NotKnown,
}

/// How long after what happened before. Timers that fall due meanwhile go off when they are due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Gap {
    None,
    Some(u64),
    /// Just when the next timer goes off, and before it.
    Timer,
}

use Happening::{
    ChildExits, Extend, Flushed, Holds, HoldsNot, HookEnds, InFlight, Int, NobodyIsLeft, NotKnown,
    ParentDied, Settled, SomebodyIsSwept, StartFailed, Started, StopCommandEnds, Term, Usr1,
};

const USUAL: &[Happening] = &[Term, Int, ChildExits, HookEnds, NobodyIsLeft];
const GAPS: &[Gap] = &[Gap::None, Gap::Some(700), Gap::Timer];

const BASE: Setup = Setup {
    options: "",
    immortal: false,
    starts_late: false,
    length: 5,
    happenings: USUAL,
    gaps: GAPS,
};

/// Between them they have every phase, every timer, and every way to cut them short.
pub(super) const SETUPS: &[Setup] = &[
    Setup {
        options: "--grace 2s",
        length: 6,
        happenings: &[Term, Int, ChildExits, NobodyIsLeft],
        gaps: &[Gap::Some(700), Gap::Timer],
        ..BASE
    },
    Setup {
        options: "--ladder TERM:1s,INT:1s,QUIT:1s --sweep-grace 1s --post-stop p",
        gaps: &[Gap::None, Gap::Some(1_500), Gap::Timer],
        happenings: &[Term, Int, ChildExits, NobodyIsLeft],
        ..BASE
    },
    Setup {
        options: "--pre-stop a --pre-stop b --post-stop p --post-stop q --hook-timeout 1s --grace 1s",
        gaps: &[Gap::Some(700), Gap::Timer],
        ..BASE
    },
    Setup {
        options: "--pre-stop a --post-stop p --post-stop q --hook-timeout 3s --deadline 4s",
        ..BASE
    },
    Setup {
        options: "--pre-stop a --post-stop p --ladder TERM:1s,INT:3s --deadline 3s --sweep-grace 9s",
        immortal: true,
        happenings: &[Term, Int, ChildExits, NobodyIsLeft, SomebodyIsSwept],
        gaps: &[Gap::None, Gap::Some(700)],
        ..BASE
    },
    Setup {
        options: "--post-stop p --grace 1s --deadline 8s --drain-port auto --drain-delay 500ms \
                  --drain-timeout 2s",
        happenings: &[
            Int,
            ChildExits,
            NobodyIsLeft,
            InFlight,
            Settled,
            Term,
            Flushed,
        ],
        gaps: &[Gap::None, Gap::Some(700)],
        ..BASE
    },
    Setup {
        options: "--grace 1s --drain-port auto --drain-until exec:a --drain-delay 1s --drain-timeout 4s",
        happenings: &[
            Int, ChildExits, Settled, InFlight, Holds, HoldsNot, NotKnown, Term,
        ],
        gaps: &[Gap::None, Gap::Some(700)],
        ..BASE
    },
    Setup {
        options: "--no-kill --ladder TERM:1s,INT:1s --post-stop p",
        happenings: &[Term, Int, ChildExits, NobodyIsLeft],
        ..BASE
    },
    Setup {
        options: "--no-kill --ladder TERM:1s --post-stop p --deadline 3s",
        happenings: &[Term, Int, ChildExits, NobodyIsLeft, Extend],
        gaps: &[Gap::None, Gap::Timer],
        ..BASE
    },
    Setup {
        options: "--pre-start a --post-stop p --hook-timeout 1s --grace 1s --parent-death-signal HUP",
        starts_late: true,
        happenings: &[
            Term,
            ParentDied,
            Started,
            StartFailed,
            ChildExits,
            HookEnds,
            NobodyIsLeft,
        ],
        ..BASE
    },
    Setup {
        options: "--ladder 'exec=a:1s,exec=b:1s,KILL@child:1s' --max-runtime 3s",
        immortal: true,
        happenings: &[Term, Int, ChildExits, StopCommandEnds, NobodyIsLeft],
        ..BASE
    },
    Setup {
        options: "--stragglers wait --post-stop p --parent-death-signal HUP --grace 1s",
        happenings: &[Term, ParentDied, ChildExits, NobodyIsLeft],
        ..BASE
    },
    Setup {
        options: "--stragglers leave --post-stop p --grace 1s --deadline 2s",
        happenings: &[Term, Int, Usr1, ChildExits, NobodyIsLeft],
        gaps: &[Gap::None, Gap::Some(700)],
        ..BASE
    },
    Setup {
        options: "--grace 0 --sweep-grace 0 --hook-timeout 0 --pre-stop a --post-stop p --deadline 0 \
                  --drain-port 80",
        gaps: &[Gap::None, Gap::Timer],
        immortal: true,
        ..BASE
    },
];

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

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stepdown {}", self.options)
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
    /// Killed, but not told yet to have ended.
    killed_hook: Option<HookId>,
    killed_command: Option<usize>,
    /// The child got KILL.
    killed: bool,
    told_none: bool,
}

impl<'a> Tale<'a> {
    fn begin(setup: &'a Setup, allowed: &'a Allowed, player: Player) -> Result<Self, Broken> {
        let mut tale = Self {
            setup,
            allowed,
            player,
            watch: Watch::new(allowed),
            now: Duration::ZERO,
            starting: false,
            hook: None,
            command: None,
            flushing: false,
            killed_hook: None,
            killed_command: None,
            killed: false,
            told_none: true,
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
            Term => signal(Signal::TERM),
            Int => signal(Signal::INT),
            Usr1 => signal(named("USR1")),
            ParentDied => Event::ParentDied,
            Started if self.starting => Event::Started { pid: 2 },
            StartFailed if self.starting => Event::StartFailed(StartFailure {
                code: 127,
                message: String::new(),
            }),
            ChildExits if alive => Event::ChildExited(ExitStatus::Exited(0)),
            HookEnds => Event::HookEnded {
                hook: self.hook?,
                result: done(),
            },
            StopCommandEnds => Event::StopCommandEnded {
                step: self.command?,
                result: done(),
            },
            NobodyIsLeft if self.is_empty() => Event::NoneLeft,
            SomebodyIsSwept if !alive && !self.starting => Event::Swept {
                signal: Signal::KILL,
                processes: vec![Process::new(3, "")],
            },
            Flushed if self.flushing => Event::Flushed,
            Holds if alive => answered(0, Answer::Holds),
            HoldsNot if alive => answered(0, Answer::of_number(1)),
            NotKnown if alive => answered(0, not_known()),
            Extend if alive => Event::Extend(ms(3_000)),
            InFlight if alive => Event::InFlight {
                requests: 1,
                settled: false,
            },
            Settled if alive => Event::InFlight {
                requests: 0,
                settled: true,
            },
            _ => return None,
        };
        Some(event)
    }

    fn is_empty(&self) -> bool {
        let running = self.watch.child_alive || self.starting;
        !running && self.hook.is_none() && self.command.is_none() && !self.told_none
    }

    fn handle(&mut self, event: Event) -> Result<(), Broken> {
        self.watch.hears(self.now, &event);
        match &event {
            Event::Started { .. } | Event::StartFailed(_) => self.starting = false,
            Event::HookEnded { .. } => self.hook = None,
            Event::StopCommandEnded { .. } => self.command = None,
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
                Action::Flush => self.flushing = true,
                Action::Send { signal, .. } | Action::Sweep(signal) => {
                    self.killed |= signal == Signal::KILL;
                }
                _ => {}
            }
        }
        if self.starting && !self.setup.starts_late {
            self.handle(Event::Started { pid: 2 })?;
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
