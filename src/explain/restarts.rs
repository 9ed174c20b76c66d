//! How a failure, a crash loop and a request to restart go on, as timelines.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::rc::Rc;
use std::time::Duration;

use super::{Played, is_shown, play_lives, row, stop_signal, told};
use crate::machine::Event;
use crate::plan::Plan;
use crate::plan::supervision::Restart;
use crate::record::{ExitStatus, Record};
use crate::sim::{Life, Script, Sim, outside};
use crate::words::signal::Signal;

/// A longer loop shows nothing new.
const MOST: u32 = 8;

const FAILURE: Life = Life::Ends(Duration::ZERO, ExitStatus::Exited(1));

pub(super) fn timelines(text: &mut String, plan: &Rc<Plan>, hooks_take: Option<Duration>) {
    let Some(supervision) = &plan.supervision else {
        return;
    };
    if supervision.restart != Restart::No {
        text.push_str(
            "\nA command that fails at once, each time (in a run each delay is up to 20 % more or less):\n\n",
        );
        let times = supervision
            .limit
            .map_or(MOST, |limit| limit.times.min(MOST));
        let lives = (0..=times).map(|_| FAILURE).collect();
        crash_loop(text, &played(plan, lives, hooks_take, None));
    }
    if let Some(signal) = supervision.restart_on.iter().next() {
        let _ = writeln!(text, "\nA restart by {signal} (--restart-on):\n");
        one_restart(
            text,
            &played(plan, VecDeque::new(), hooks_take, Some(signal)),
        );
    }
}

fn played(
    plan: &Rc<Plan>,
    lives: VecDeque<Life>,
    hooks_take: Option<Duration>,
    restart_by: Option<Signal>,
) -> Played {
    let mut world = Sim::new(Script {
        lives,
        hooks_take,
        ..Script::default()
    });
    let request = |signal| Event::Signal(outside(signal));
    if let Some(signal) = restart_by {
        world.happens(Duration::from_secs(1), request(signal));
    }
    // So that the story ends; what is shown ends before.
    if let Some(signal) = stop_signal(plan) {
        world.happens(Duration::MAX, request(signal));
    }
    play_lives(plan, world)
}

/// What decides about the restarts, without the ends in between.
fn crash_loop(text: &mut String, played: &Played) {
    let mut last = None;
    for (at, record) in &played.records {
        match record {
            Record::GenerationEnded { .. } | Record::GaveUp { .. } | Record::Ended(_) => {
                row(text, &mut last, at.saturating_sub(played.t0), &told(record));
            }
            Record::StopAsked { .. } => {
                let _ = writeln!(text, "{:>12}  and so on", "...");
                return;
            }
            _ => {}
        }
    }
}

/// From the request to the next start.
fn one_restart(text: &mut String, played: &Played) {
    let mut last = None;
    let shown = played.records.iter().filter(|(at, _)| *at >= played.t0);
    for (at, record) in shown.filter(|(_, record)| is_shown(record)) {
        row(text, &mut last, at.saturating_sub(played.t0), &told(record));
        if matches!(record, Record::GenerationBegan { .. }) {
            return;
        }
    }
}
