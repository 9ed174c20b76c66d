//! Whether what runs will stop: a judgement over a snapshot of the processes, before any signal is sent.

use std::collections::BTreeMap;

use super::after::{reaches, state};
use super::before_finding::Before;
use super::finding::{Finding, Named};
use super::go::{self, GoAction};
use super::process::{ProcessLook, SignalAction};
use super::shell::trap_waits;
use super::snapshot::{Init, InitStep, Seen, Snapshot};
use super::verdict::{Diagnosis, Fate, Found, Judged, Level, Verdict};
use crate::words::signal::Signal;

#[cfg(test)]
mod tests;
mod times;

/// What reaches a process.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Told {
    By(Signal),
    LeftTo(Named),
    Nothing,
    Outside,
}

/// What is above a process.
#[derive(Clone, Copy, Default)]
struct Above<'a> {
    parent: Option<&'a Seen>,
    /// The next init.
    init: Option<&'a Seen>,
}

struct Judge<'a> {
    snapshot: &'a Snapshot,
    children: BTreeMap<i32, Vec<&'a Seen>>,
    /// What an init sends to more than its child.
    told: BTreeMap<i32, Told>,
    judged: Vec<Judged>,
    found: Vec<Found>,
}

/// See the module's first sentence.
pub(crate) fn judge(snapshot: &Snapshot) -> Diagnosis {
    let mut children: BTreeMap<i32, Vec<&Seen>> = BTreeMap::new();
    for seen in &snapshot.processes {
        children.entry(seen.look.parent).or_default().push(seen);
    }
    for list in children.values_mut() {
        list.sort_by_key(|seen| (seen.started, seen.pid()));
    }
    let mut judge = Judge {
        snapshot,
        children,
        told: BTreeMap::new(),
        judged: Vec::new(),
        found: Vec::new(),
    };
    let is_root = |seen: &&Seen| seen.pid() == snapshot.root;
    if let Some(root) = snapshot.processes.iter().find(is_root) {
        judge.visit(root, Told::By(snapshot.signal), Above::default());
        judge.no_grace(root);
    }
    for seen in snapshot.processes.iter().filter(|seen| seen.from_outside) {
        judge.visit(seen, Told::Outside, Above::default());
    }
    let mut findings = judge.found;
    findings.sort_by_key(|found| found.level);
    let verdict = match findings.first().map(|found| found.level) {
        Some(Level::Error) => Verdict::StopsNot,
        Some(Level::Unclear) => Verdict::Unclear,
        _ => Verdict::Stops,
    };
    Diagnosis {
        verdict,
        processes: judge.judged,
        findings,
    }
}

impl<'a> Judge<'a> {
    fn children(&self, pid: i32) -> Vec<&'a Seen> {
        let all = self.children.get(&pid).cloned().unwrap_or_default();
        all.into_iter().filter(|seen| !seen.from_outside).collect()
    }

    fn living(&self, pid: i32) -> Vec<&'a Seen> {
        let mut living = self.children(pid);
        living.retain(|seen| !seen.look.is_zombie());
        living
    }

    fn row(&mut self, seen: &Seen, fate: Fate, why: impl Into<String>) {
        let (pid, why) = (seen.pid(), why.into());
        self.judged.push(Judged { pid, fate, why });
    }

    fn find(&mut self, seen: &Seen, level: Level, finding: impl Into<Finding>) {
        let (process, finding) = (seen.named(), finding.into());
        self.found.push(Found {
            process,
            level,
            finding,
        });
    }

    fn visit(&mut self, seen: &'a Seen, told: Told, above: Above<'a>) {
        if seen.look.is_zombie() {
            self.row(
                seen,
                Fate::Zombie,
                "has ended, and its parent has not reaped it",
            );
            return;
        }
        let told = self.told.get(&seen.pid()).cloned().unwrap_or(told);
        let below = match &told {
            Told::By(signal) => self.told_by(seen, *signal, above),
            Told::LeftTo(parent) => {
                self.left_to(seen, parent, above);
                Told::LeftTo(seen.named())
            }
            Told::Nothing => {
                let why = match self.snapshot.signal {
                    Signal::KILL if self.snapshot.contained => "is killed with PID 1".to_owned(),
                    signal => format!("never gets {signal}"),
                };
                self.row(seen, Fate::Untold, why);
                Told::Nothing
            }
            Told::Outside => {
                self.row(
                    seen,
                    Fate::Outside,
                    "was started from outside (docker exec), and ends with PID 1",
                );
                Told::Outside
            }
        };
        self.zombies(seen);
        let ends = self
            .judged
            .iter()
            .any(|judged| judged.pid == seen.pid() && judged.fate == Fate::Stops);
        let init = if seen.init.is_some() {
            Some(seen)
        } else {
            above.init
        };
        let sweeps = init
            .and_then(|seen| seen.init.as_ref())
            .is_some_and(|init| init.sweeps);
        for child in self.children(seen.pid()) {
            let is_told = child.look.is_zombie() || self.told.contains_key(&child.pid());
            let told = match (&told, &below) {
                // An init that sweeps asks what its child leaves behind.
                (Told::By(_), Told::Nothing) if ends && sweeps => Told::By(Signal::TERM),
                (Told::By(_), Told::Nothing) if ends && !is_told => {
                    self.alone(seen, child);
                    Told::Nothing
                }
                _ => below.clone(),
            };
            let parent = Some(seen);
            self.visit(child, told, Above { parent, init });
        }
    }

    /// Nothing is passed on to this child by a parent that ends.
    fn alone(&mut self, parent: &'a Seen, child: &'a Seen) {
        let signal = self.snapshot.signal;
        let contained = self.snapshot.contained;
        let finding = match &parent.init {
            _ if child.look.session != parent.look.session => Finding::OwnSession,
            Some(_) => Finding::from(Before::PassedOver {
                signal,
                by: parent.named(),
            }),
            None => Finding::Alone {
                signal,
                by: parent.named(),
                shell: parent.look.is_shell(),
                contained: Some(contained),
            },
        };
        self.find(child, self.weight(child), finding);
    }

    /// To be killed costs nothing where there is no handler that would have to run.
    fn weight(&self, seen: &'a Seen) -> Level {
        if !self.snapshot.contained || self.minds(seen, self.snapshot.signal) {
            Level::Error
        } else {
            Level::Warning
        }
    }

    /// Whether it or one below it would act on the signal, or serves somebody.
    fn minds(&self, seen: &'a Seen, signal: Signal) -> bool {
        let own = ProcessLook::has(seen.look.caught, signal)
            || seen
                .signalfds
                .is_some_and(|set| ProcessLook::has(set, signal))
            || !seen.listens.is_empty();
        own || self
            .living(seen.pid())
            .into_iter()
            .any(|child| self.minds(child, signal))
    }

    fn zombies(&mut self, seen: &'a Seen) {
        let mut zombies = self.children(seen.pid());
        zombies.retain(|child| child.look.is_zombie());
        if !zombies.is_empty() {
            let finding = Before::Unreaped {
                zombies: zombies.iter().map(|zombie| zombie.named()).collect(),
                init: seen.look.is_init,
            };
            self.find(seen, Level::Warning, finding);
        }
    }

    fn left_to(&mut self, seen: &'a Seen, parent: &Named, above: Above<'a>) {
        if let Some(finding) = state(&seen.look, seen.traced_by.clone()) {
            self.row(seen, Fate::StopsNot, finding.to_string());
            return self.find(seen, Level::Warning, finding);
        }
        self.row(seen, Fate::Left, format!("{parent} has to stop it"));
        let Some(above) = above
            .parent
            .filter(|above| above.look.session != seen.look.session)
        else {
            return;
        };
        // Who is in a session whose leader has ended was left behind by it: nobody here knows of it.
        let mut all = self.snapshot.processes.iter();
        let has_leader = all.any(|other| other.pid() == seen.look.session);
        if !has_leader {
            self.find(seen, self.weight(seen), Finding::OwnSession);
        } else if above.look.is_shell() {
            self.find(seen, Level::Warning, Finding::OwnSession);
        }
    }

    /// What this one does with the signal, and what that means for those below it.
    fn told_by(&mut self, seen: &'a Seen, signal: Signal, above: Above<'a>) -> Told {
        // From outside it ends even PID 1, and an init as any other program.
        if self.snapshot.signal == Signal::KILL {
            self.row(seen, Fate::StopsNot, Before::Killed.to_string());
            self.find(seen, Level::Error, Before::Killed);
            return Told::Nothing;
        }
        let is_told = |other: &Seen| matches!(self.told.get(&other.pid()), Some(Told::By(_)));
        if let Some(finding) = self.obstacle(seen, signal, &is_told) {
            let (fate, level) = if finding.is_unclear() {
                (Fate::Unclear, Level::Unclear)
            } else {
                (Fate::StopsNot, Level::Error)
            };
            self.row(seen, fate, finding.to_string());
            self.find(seen, level, finding);
            return if level == Level::Unclear {
                Told::LeftTo(seen.named())
            } else {
                Told::Nothing
            };
        }
        if let Some(by) = &seen.traced_by {
            self.find(
                seen,
                Level::Warning,
                Before::Watched {
                    signal,
                    by: by.clone(),
                },
            );
        }
        if let Some(init) = &seen.init {
            if let Some(outer) = above.init {
                let outer = outer.named();
                self.find(seen, Level::Warning, Before::TwoInits { outer });
            }
            return self.init(seen, init, signal);
        }
        if seen.is_script_runner() {
            self.row(
                seen,
                Fate::Stops,
                format!("passes {signal} on, but only to its child"),
            );
            return Told::By(signal);
        }
        if seen.look.action(signal) == SignalAction::Default && !waits_for(seen, signal) {
            self.row(
                seen,
                Fate::Stops,
                format!("ends on {signal}, for which it has no handler"),
            );
            return Told::Nothing;
        }
        let go = go::action(seen, signal);
        if go == Some(GoAction::Ends) {
            self.row(
                seen,
                Fate::Stops,
                format!("ends on {signal} at once, as a Go program without signal.Notify does"),
            );
            return Told::Nothing;
        }
        let by = match seen.look.action(signal) {
            _ if go == Some(GoAction::EndsUnlessAsked) => {
                format!(
                    "handles {signal} if this Go program has asked for it (signal.Notify), and otherwise ends at once"
                )
            }
            _ if waits_for(seen, signal) => format!("takes {signal} by sigwait"),
            SignalAction::Blocks => format!("takes {signal} by a signalfd"),
            _ if seen.look.is_shell() => format!("has a trap for {signal}"),
            _ => format!("handles {signal}"),
        };
        self.row(seen, Fate::Stops, by);
        self.patience(seen, signal);
        Told::LeftTo(seen.named())
    }

    /// Why the signal does not end it, if it does not; `is_told` is who else gets it at that moment.
    fn obstacle(
        &self,
        seen: &'a Seen,
        signal: Signal,
        is_told: &dyn Fn(&Seen) -> bool,
    ) -> Option<Finding> {
        let look = &seen.look;
        if let Some(state) = state(look, seen.traced_by.clone()) {
            return Some(state);
        }
        let by_root = self.snapshot.by_root;
        if let Some(why) = &seen.init_unseen {
            let why = why.clone();
            return Some(Finding::from(Before::InitUnseen { why, by_root }));
        }
        if seen.init.is_some() || waits_for(seen, signal) {
            return None;
        }
        let acts_on = look.other_stop(signal);
        let children = self.living(seen.pid());
        match look.action(signal) {
            SignalAction::Ignores => Some(Finding::Ignores {
                signal,
                acts_on,
                like: self.ignores_as_well(seen, signal),
            }),
            SignalAction::NoAction => Some(Finding::NoAction { signal, acts_on }),
            SignalAction::Pending => Some(Finding::NotTaken { signal }),
            SignalAction::Blocks => match seen.signalfds {
                Some(set) if ProcessLook::has(set, signal) => None,
                Some(_) => Some(Finding::from(Before::Blocks { signal })),
                None => Some(Finding::from(Before::TakerUnseen {
                    signal,
                    blocked: true,
                    by_root,
                })),
            },
            SignalAction::Dropped => Some(match children.first().filter(|_| look.is_shell()) {
                Some(child) => Finding::ShellAsInit {
                    signal,
                    child: child.named(),
                    others: children.len() - 1,
                },
                None if seen.sigwaits.is_none() => Finding::from(Before::TakerUnseen {
                    signal,
                    blocked: false,
                    by_root,
                }),
                None => Finding::Dropped { signal, acts_on },
            }),
            SignalAction::Handles if seen.is_node_as_init(signal) => {
                Some(Finding::from(Before::NodeAsInit { signal }))
            }
            SignalAction::Handles if go::action(seen, signal) == Some(GoAction::Nothing) => {
                Some(Finding::from(Before::GoUnasked { signal }))
            }
            SignalAction::Handles if look.is_shell() => {
                // Its trap runs once these have ended.
                let ends = |child: &&Seen| {
                    is_told(child) && self.obstacle(child, signal, is_told).is_none()
                };
                let mut waited = children.clone();
                waited.retain(|child| !ends(child));
                trap_waits(seen, &children, &waited, signal, is_told)
            }
            _ => None,
        }
    }

    fn ignores_as_well(&self, seen: &Seen, signal: Signal) -> Option<Named> {
        let parent = seen.look.parent;
        let mut all = self.snapshot.processes.iter();
        let parent = all.find(|other| other.pid() == parent)?;
        ProcessLook::has(parent.look.ignored, signal).then(|| parent.named())
    }

    fn init(&mut self, seen: &'a Seen, init: &'a Init, signal: Signal) -> Told {
        if let Some(with) = init.goes_on.clone() {
            let finding = Before::GoesOn { signal, with };
            self.row(seen, Fate::StopsNot, finding.to_string());
            self.find(seen, Level::Error, finding);
            return Told::LeftTo(seen.named());
        }
        self.times(seen, init);
        if let Some(stop_on) = &init.not_begun {
            let stop_on = stop_on.clone();
            self.find(seen, Level::Warning, Before::NotBegun { signal, stop_on });
        }
        let children = self.living(seen.pid());
        let Some(main) = children.first().copied() else {
            self.row(seen, Fate::Stops, "has no child");
            return Told::Nothing;
        };
        if init.steps.is_empty() {
            let finding = Before::Drops { signal };
            self.row(seen, Fate::StopsNot, finding.to_string());
            self.find(seen, Level::Error, finding);
            return Told::Nothing;
        }
        let steps: Vec<String> = init.steps.iter().map(InitStep::to_string).collect();
        self.row(seen, Fate::Stops, steps.join(", then "));
        // The first step that the child acts on; without one the first one says why not. What is no signal
        // cannot be judged, and is taken for a way that works.
        let is_reached = |step: &InitStep, other: &Seen| {
            other.pid() == main.pid() || reaches(step.target, &main.look, &other.look)
        };
        let works = |step: &&InitStep| {
            let is_told = |other: &Seen| is_reached(step, other);
            step.signal
                .is_none_or(|signal| self.obstacle(main, signal, &is_told).is_none())
        };
        let Some(step) = init.steps.iter().find(works).or(init.steps.first()) else {
            return Told::Nothing;
        };
        let Some(sent) = step.signal else {
            self.told.insert(main.pid(), Told::LeftTo(seen.named()));
            return Told::LeftTo(seen.named());
        };
        let below = self.below(seen);
        for other in below {
            if is_reached(step, other) {
                self.told.insert(other.pid(), Told::By(sent));
            }
        }
        if init.sweeps {
            Told::By(Signal::TERM)
        } else {
            Told::Nothing
        }
    }

    /// All below it, without those of an init of its own.
    fn below(&self, seen: &'a Seen) -> Vec<&'a Seen> {
        let mut found = self.living(seen.pid());
        let mut next = 0;
        while let Some(seen) = found.get(next) {
            let below = self.living(seen.pid());
            found.extend(below);
            next += 1;
        }
        found
    }
}

/// Whether a thread of it waits for this signal.
fn waits_for(seen: &Seen, signal: Signal) -> bool {
    seen.sigwaits
        .is_some_and(|set| ProcessLook::has(set, signal))
}
