//! Plays random plans in random worlds, in made-up time, and holds each run to what stepdown promises.
//!
//! `scripts/simulate` plays as many as it is asked for. A run that breaks a promise is made as short as it can be and
//! still break the same one, and is told as `explain` tells a plan. Nothing in here is part of the product.

mod bugs;
mod choices;
mod counts;
mod plan;
mod promises;
mod shrink;
mod story;
mod teller;
mod world;

use std::fmt::Write as _;
use std::time::Instant;

use crate::words::duration::Shown;
use bugs::{BUGS, Bug};
use counts::Counts;
use promises::Promise;
use shrink::shrink;
use story::Story;

/// The story as `explain` would tell it: the command line, and then what happens.
fn told(seed: u64, run: u64, story: &Story, bug: Option<Bug>) -> String {
    let mut text = format!("seed {seed}, run {run}\n\n");
    let pid1 = if story.options.as_pid1 {
        "as PID 1: "
    } else {
        ""
    };
    let _ = write!(text, "{pid1}stepdown");
    for one in &story.options.written {
        let _ = write!(text, " {}", one.typed());
    }
    let _ = writeln!(text, " -- COMMAND");
    for one in &story.options.later {
        let _ = writeln!(text, "  in the file when it is read again: {}", one.typed());
    }
    let Some(played) = story.play(bug, true) else {
        return text;
    };
    text.push('\n');
    let mut last = None;
    for (at, what) in &played.timeline {
        let time = if last == Some(*at) {
            String::new()
        } else {
            Shown(*at).to_string()
        };
        last = Some(*at);
        let _ = writeln!(text, "{time:>12}  {what}");
    }
    if let Some(broken) = played.broken {
        let _ = writeln!(
            text,
            "\nbroken: {}\n        {}",
            broken.promise.words(),
            broken.why
        );
    }
    text
}

/// Plays this run; where it breaks a promise, the shortest story that breaks it, too, as text.
fn judge(seed: u64, run: u64, counts: &mut Counts) -> Result<(), String> {
    let (story, played) = Story::random(seed, run, None);
    counts.add(&played.counts);
    match played.broken {
        None => Ok(()),
        Some(broken) => {
            let story = shrink(story, broken.promise, None);
            Err(told(seed, run, &story, None))
        }
    }
}

/// A number from the environment.
fn asked(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

fn print(text: &str) {
    crate::sys::stdout::print(text);
}

/// What `scripts/simulate` runs.
#[test]
#[ignore = "as long as it is asked to take: scripts/simulate"]
fn simulate() {
    let seed = asked("SIMULATE_SEED").unwrap_or_else(crate::sys::clock::seed);
    let (runs, events) = (asked("SIMULATE_RUNS"), asked("SIMULATE_EVENTS"));
    let first = asked("SIMULATE_FIRST").unwrap_or(0);
    let runs = runs.unwrap_or(if events.is_some() { u64::MAX } else { 100_000 });
    let keep_going = asked("SIMULATE_KEEP_GOING").is_some();
    print(&format!("seed {seed}\n"));
    std::panic::set_hook(Box::new(|_| {}));
    let began = Instant::now();
    let mut counts = Counts::default();
    let mut failures = 0;
    for run in first..first.saturating_add(runs) {
        if events.is_some_and(|events| counts.events >= events) {
            break;
        }
        if let Err(text) = judge(seed, run, &mut counts) {
            failures += 1;
            print(&format!("{text}\n"));
            if !keep_going {
                break;
            }
        }
    }
    let took = began.elapsed();
    let rate = counts.events as f64 / took.as_secs_f64();
    print(&format!(
        "\n{counts}\nin {:.0} s, {rate:.0} events per second\n",
        took.as_secs_f64()
    ));
    for promise in Promise::ALL {
        print(&format!("- {}\n", promise.words()));
    }
    print(&format!("broken in {failures} runs\n"));
    let _ = std::panic::take_hook();
    assert_eq!(failures, 0, "seed {seed}");
}

/// Few enough for a build without optimisation; `scripts/simulate` plays more.
#[test]
fn random_runs_keep_every_promise() {
    let mut counts = Counts::default();
    for run in 0..500 {
        if let Err(text) = judge(1, run, &mut counts) {
            panic!("{text}");
        }
    }
    assert!(counts.events > 5_000, "{counts}");
}

/// The first run in which a bug breaks this promise, and its story.
fn found(bug: Bug, promise: Promise) -> (u64, Story) {
    let found = (0..20_000).find_map(|run| {
        let (story, played) = Story::random_with(2, run, bug)?;
        let broken = played.broken?;
        (broken.promise == promise).then_some((run, story))
    });
    found.unwrap_or_else(|| panic!("{bug:?} passes for {promise:?}"))
}

#[test]
fn a_planted_bug_breaks_its_promise() {
    std::panic::set_hook(Box::new(|_| {}));
    for (bug, promise) in BUGS {
        found(bug, promise);
    }
    let _ = std::panic::take_hook();
}

#[test]
fn a_story_is_made_short_and_told_with_its_options() {
    let (bug, promise) = (Bug::TakesAStepAgain, Promise::StepsNeverGoBack);
    let (run, story) = found(bug, promise);
    let story = shrink(story, promise, Some(bug));
    let text = told(2, run, &story, Some(bug));
    assert!(text.contains("\nstepdown -- COMMAND\n"), "{text}");
    assert!(text.contains("step 1 of 2: TERM to the child"), "{text}");
    assert!(text.contains(promise.words()), "{text}");
    assert!(text.lines().count() < 30, "{text}");
}

#[test]
fn every_promise_has_a_planted_bug() {
    for promise in Promise::ALL {
        assert!(
            BUGS.iter().any(|(_, breaks)| breaks == promise),
            "{promise:?}"
        );
    }
}
