//! How long the stop of a plan takes, for who judges it from outside.

use std::rc::Rc;
use std::time::Duration;

use super::{asked, play, worst_case};
use crate::plan::{Plan, StepAction};
use crate::record::Record;
use crate::sim::{Cue, Script};

/// How long hooks and the drain may take, before the child is asked to end.
pub(crate) fn before_ladder(plan: &Rc<Plan>) -> Duration {
    let played = play(plan, worst_case::stubborn(plan), None);
    let mut steps = played
        .records
        .iter()
        .filter(|(_, record)| matches!(record, Record::Step { .. }));
    steps
        .next()
        .map_or(Duration::ZERO, |(at, _)| at.saturating_sub(played.t0))
}

/// How long a stop takes: at most, and when, `None` where it may last without end; and at least, with a child,
/// hooks and requests that end at once.
pub(crate) fn times(plan: &Rc<Plan>) -> (Option<(Duration, &'static str)>, Duration) {
    let asked = asked(plan, &Script::default(), None);
    let signals = plan.ladder.iter().filter_map(|step| match step.action {
        StepAction::Signal(signal) => Some(signal),
        _ => asked,
    });
    let cues = signals
        .map(Cue::Signal)
        .chain([Cue::Stdin, Cue::Eof, Cue::Exec]);
    let willing = Script {
        asked: asked.into_iter().collect(),
        exits_on: cues.map(|cue| (cue, Duration::ZERO)).collect(),
        hooks_take: Some(Duration::ZERO),
        requests_end: true,
        ..Script::default()
    };
    let least = play(plan, willing, None).took();
    let mut running = Plan::clone(plan);
    if plan.supervision.is_none() {
        // They are over.
        running.pre_start.clear();
    }
    let worst = worst_case::worst(&Rc::new(running)).map(|worst| (worst.took, worst.when));
    (worst, least)
}
