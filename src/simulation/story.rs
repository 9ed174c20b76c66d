//! One run: a plan, a world and the machine between them, judged while it goes on.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use super::bugs::Bug;
use super::choices::{Choices, Numbers};
use super::counts::Counts;
use super::plan::Options;
use super::promises::{Broken, Judge, Promise, Survivor};
use super::teller::{Misses, Teller};
use super::world::World;
use crate::drive::{self, Decider, drive};
use crate::machine::{Action, Event, Machine};
use crate::plan::Plan;
use crate::record::{Outcome, Reason, Record};
use crate::supervisor::Supervisor;
use crate::tell::log;

/// All that makes a run: the same story is always the same run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Story {
    pub(super) options: Options,
    /// Of the world: what comes from outside, how children go, what is answered, what signals do.
    pub(super) choices: [Vec<u32>; 4],
    pub(super) jitter: u64,
}

/// What came of it.
pub(super) struct Played {
    pub(super) broken: Option<Broken>,
    pub(super) counts: Counts,
    /// The choices that were made.
    pub(super) choices: [Vec<u32>; 4],
    /// What happened and was told, where that was asked for.
    pub(super) timeline: Vec<(Duration, String)>,
}

/// Who sees and tells all that happens between the machine and the world.
struct Scene {
    judge: Judge,
    teller: Teller,
    bug: Option<Bug>,
    counts: Counts,
    timeline: Option<Vec<(Duration, String)>>,
    now: Duration,
}

/// So many events are enough for a story; then it comes to its end.
const ENOUGH: u64 = 2_000;
/// With so many it never will.
const TOO_MANY: u64 = 20_000;

impl Scene {
    fn breaks(&mut self, broken: Broken) {
        self.judge.broken.get_or_insert(broken);
    }

    fn shows(&mut self, what: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(timeline) = &mut self.timeline {
            timeline.push((now, what()));
        }
    }

    fn acts(&mut self, now: Duration, action: &Action) {
        self.now = now;
        self.judge.sees(now, action);
        self.counts.action(action);
        if let Action::Record(record) = action {
            self.counts.record(record);
            self.shows(|| log::text(record));
            let misses = self.bug.map_or(Misses::Nobody, |bug| bug.misses(record));
            if let Err(broken) = self.teller.tell(now, record, misses) {
                self.breaks(broken);
            }
        }
    }

    /// What must hold of what was told, whenever the machine waits.
    fn rests(&mut self, deadline: Option<Duration>) {
        let now = self.now;
        self.judge.rests(now, deadline);
        let (generation, told) = (self.judge.serving(), self.teller.progress().generation());
        let between = self.teller.progress().phase() == "restart-delay";
        if generation != told && !between {
            let why = format!("/status says generation {told}, and {generation} serves");
            let promise = Promise::StatusIsTheLog;
            self.breaks(Broken { promise, why });
        }
    }
}

/// Without the plan, or the facts for hooks, that it may hold.
fn shortened(what: &impl std::fmt::Debug) -> String {
    let text = format!("{what:?}");
    let long = [", facts: ", "(Facts {", "(Reload {", "(Plan {"];
    let end = long.iter().filter_map(|part| text.find(part)).min();
    match end {
        Some(end) => format!("{} ...", &text[..end]),
        None => text,
    }
}

/// The machine, as it is or with a bug planted between it and the world.
struct Watched<'a, D> {
    decider: D,
    scene: &'a RefCell<Scene>,
    outbox: std::collections::VecDeque<Action>,
    asked: bool,
}

impl<D: Decider> Decider for Watched<'_, D> {
    fn deadline(&self) -> Option<Duration> {
        let deadline = self.decider.deadline();
        let bug = self.scene.borrow().bug;
        bug.map_or(deadline, |bug| bug.deadline(deadline, self.asked))
    }

    fn poll(&mut self) -> Option<Action> {
        let mut scene = self.scene.borrow_mut();
        if scene.judge.is_over() {
            // The story need not go on.
            return Some(Action::Finish(Outcome {
                code: 0,
                reason: Reason::Exit,
                status: None,
                escalated: false,
                took: Duration::ZERO,
            }));
        }
        let action = match (self.outbox.pop_front(), scene.bug) {
            (Some(action), _) => Some(action),
            (None, None) => self.decider.poll(),
            (None, Some(bug)) => {
                let all = self.decider.poll().map(|action| bug.action(action));
                self.outbox.extend(all.into_iter().flatten());
                self.outbox.pop_front()
            }
        };
        self.asked |= matches!(action, Some(Action::Record(Record::StopAsked { .. })));
        let now = scene.now;
        match &action {
            Some(action) => scene.acts(now, action),
            None => {
                let deadline = self.decider.deadline();
                let deadline = scene
                    .bug
                    .map_or(deadline, |bug| bug.deadline(deadline, self.asked));
                scene.rests(deadline);
            }
        }
        action
    }

    fn handle(&mut self, now: Duration, event: Event) {
        let bug = {
            let mut scene = self.scene.borrow_mut();
            scene.now = now;
            scene.counts.event(&event);
            scene.judge.hears(now, &event);
            scene.shows(|| format!("  {}", shortened(&event)));
            scene.bug
        };
        let event = match bug {
            Some(bug) => bug.event(event),
            None => Some(event),
        };
        if let Some(event) = event {
            self.decider.handle(now, event);
        }
    }
}

/// The world, as far as the judge must look into it.
struct Staged<'a> {
    world: World,
    scene: &'a RefCell<Scene>,
    events: u64,
}

impl Staged<'_> {
    /// Who of this generation is there now that it is over.
    fn look_who_survives(&self, generation: Option<u32>) {
        let mut scene = self.scene.borrow_mut();
        for one in self.world.alive(generation) {
            scene.judge.survives(&Survivor {
                pid: one.pid,
                generation: one.generation,
                born: one.born,
                killed: one.killed,
                is_child: self.world.child_of(one.generation) == Some(one.pid),
            });
        }
        if self.world.asked_twice {
            let promise = Promise::NobodyIsAskedTwice;
            let why = "TERM twice".to_owned();
            scene.breaks(Broken { promise, why });
        }
    }

    /// Before an event is taken: the end of a process is one.
    fn look_who_is_there(&self) {
        let lives = [Some(self.world.number()), self.world.beside_number()];
        let deserted = |life: Option<u32>| life.filter(|number| !self.world.has_process(*number));
        self.scene.borrow_mut().judge.deserted = lives.map(deserted);
    }
}

impl drive::World for Staged<'_> {
    fn now(&self) -> Duration {
        self.world.now
    }

    fn pending(&mut self) -> Option<Event> {
        self.look_who_is_there();
        self.world.pending()
    }

    fn next(&mut self, deadline: Option<Duration>) -> Event {
        self.events += 1;
        if self.events == ENOUGH {
            self.world.cut_short();
        }
        self.look_who_is_there();
        let event = self.world.next(deadline);
        let mut scene = self.scene.borrow_mut();
        scene.judge.lost = self.world.lost;
        scene.judge.lost_at = self.world.lost_at;
        if self.events > TOO_MANY && !scene.judge.is_over() {
            scene.counts.unfinished += 1;
            scene.judge.goes_on(self.events);
        }
        event
    }

    fn act(&mut self, action: Action) {
        match &action {
            Action::NextGeneration { .. } => {
                let number = self.world.number();
                self.look_who_survives(Some(number));
            }
            Action::CloseBeside => {
                if let Some(number) = self.world.beside_number() {
                    self.look_who_survives(Some(number));
                }
            }
            action => {
                let text = || format!("  -> {}", shortened(action));
                self.scene.borrow_mut().shows(text);
            }
        }
        self.world.act(action);
        let mut scene = self.scene.borrow_mut();
        scene.judge.lost = self.world.lost;
        scene.judge.lost_at = self.world.lost_at;
    }
}

impl Story {
    /// The story of this number; it is made up while it is told.
    fn choices_of(seed: u64, run: u64) -> (Options, Rc<Plan>, [Choices; 4], u64) {
        let mut numbers = Numbers::new(seed ^ run.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let mut choices = Choices::made_up(numbers.next());
        let (options, plan) = Options::random(&mut choices);
        let world = std::array::from_fn(|_| Choices::made_up(numbers.next()));
        (options, plan, world, numbers.next())
    }

    /// Makes up a story and plays it.
    pub(super) fn random(seed: u64, run: u64, bug: Option<Bug>) -> (Self, Played) {
        let (options, plan, choices, jitter) = Self::choices_of(seed, run);
        let options = Rc::new(options);
        let played = play(&options, plan, choices, jitter, bug, false);
        let story = Self {
            options: Rc::unwrap_or_clone(options),
            choices: played.choices.clone(),
            jitter,
        };
        (story, played)
    }

    /// The same with a planted bug; `None` where the plan has nothing that the bug could spoil.
    pub(super) fn random_with(seed: u64, run: u64, bug: Bug) -> Option<(Self, Played)> {
        let (options, ..) = Self::choices_of(seed, run);
        let needs = bug.needs();
        let has_it = options.written.iter().any(|one| one.name == needs);
        (needs.is_empty() || has_it).then(|| Self::random(seed, run, Some(bug)))
    }

    /// Plays it again; `None` where its options make no plan.
    pub(super) fn play(&self, bug: Option<Bug>, shows: bool) -> Option<Played> {
        let plan = self.options.plan()?;
        let choices = self.choices.each_ref().map(|made| Choices::given(made));
        let options = Rc::new(self.options.clone());
        Some(play(&options, plan, choices, self.jitter, bug, shows))
    }
}

fn play(
    options: &Rc<Options>,
    plan: Rc<Plan>,
    choices: [Choices; 4],
    jitter: u64,
    bug: Option<Bug>,
    shows: bool,
) -> Played {
    let scene = RefCell::new(Scene {
        judge: Judge::new(Rc::clone(&plan)),
        teller: Teller::new(&plan),
        bug,
        counts: Counts::default(),
        timeline: shows.then(Vec::new),
        now: Duration::ZERO,
    });
    let mut staged = Staged {
        world: World::new(Rc::clone(options), Rc::clone(&plan), choices),
        scene: &scene,
        events: 0,
    };
    let played = catch_unwind(AssertUnwindSafe(|| run(&plan, jitter, bug, &mut staged)));
    let mut choices = staged.world.made();
    if let Err(panic) = played {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let why = text.unwrap_or_default();
        let promise = Promise::NoPanic;
        scene.borrow_mut().breaks(Broken { promise, why });
    } else if !scene.borrow().judge.is_cut() {
        staged.look_who_survives(None);
        let scene = &mut *scene.borrow_mut();
        let with_text = jitter.is_multiple_of(16);
        if let Err(broken) = scene.teller.ends(scene.now, with_text) {
            scene.breaks(broken);
        }
    }
    let seen = staged.world.seen;
    let escaped = staged.world.escaped;
    drop(staged);
    let mut scene = scene.into_inner();
    scene.counts.ends(&plan, scene.now, seen, escaped);
    if scene.judge.broken.is_none() {
        choices.iter_mut().for_each(Vec::clear);
    }
    Played {
        broken: scene.judge.broken,
        counts: scene.counts,
        choices,
        timeline: scene.timeline.unwrap_or_default(),
    }
}

fn run(plan: &Rc<Plan>, jitter: u64, bug: Option<Bug>, staged: &mut Staged<'_>) {
    let plan = bug.map_or_else(|| Rc::clone(plan), |bug| bug.plan(plan));
    match plan.supervision.clone() {
        None => run_decider(Machine::new(plan), staged),
        Some(supervision) => run_decider(Supervisor::new(plan, supervision, jitter), staged),
    }
}

fn run_decider(decider: impl Decider, staged: &mut Staged<'_>) {
    let mut watched = Watched {
        decider,
        scene: staged.scene,
        outbox: std::collections::VecDeque::new(),
        asked: false,
    };
    drive(&mut watched, staged, &mut |_: Duration, _: &Record| {});
    if staged.scene.borrow().judge.is_cut() {
        return;
    }
    // Whatever comes then is none of its business any more.
    let now = drive::World::now(staged);
    for event in [Event::NoneLeft, Event::Deadline, Event::ParentDied] {
        watched.decider.handle(now, event);
        while let Some(action) = watched.decider.poll() {
            staged.scene.borrow_mut().judge.sees(now, &action);
        }
    }
}
