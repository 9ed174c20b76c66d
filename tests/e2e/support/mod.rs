//! What the stories are told with: processes, PID namespaces, containers, conditions with a bound.

#![allow(
    dead_code,
    unused_imports,
    reason = "a vocabulary for stories: not every word is in use at any time"
)]

pub(crate) mod binary;
pub(crate) mod cgroup;
pub(crate) mod dead_runs;
pub(crate) mod docker;
pub(crate) mod drainee;
pub(crate) mod emulator;
pub(crate) mod ended;
pub(crate) mod machine;
pub(crate) mod mark;
pub(crate) mod net;
pub(crate) mod output;
pub(crate) mod pages;
pub(crate) mod proc;
pub(crate) mod pty;
pub(crate) mod running;
pub(crate) mod script;
pub(crate) mod seccomp;
pub(crate) mod server;
pub(crate) mod skipped;
pub(crate) mod stepdown;

use std::io;
use std::time::{Duration, Instant};

pub(crate) use stepdown::{Mode, Stepdown, both};

/// How long a story waits for a condition before it fails; generous, because CI is slow.
pub(crate) const BOUND: Duration = Duration::from_secs(20);

/// The pause between two looks at a condition.
pub(crate) const LOOK: Duration = Duration::from_millis(3);

/// Waits until `holds` says so, or panics with `what` after [`BOUND`].
#[track_caller]
pub(crate) fn wait_until(what: &str, holds: impl FnMut() -> bool) {
    assert!(holds_within(BOUND, holds), "not within {BOUND:?}: {what}");
}

/// Looks at a condition until it holds or `bound` has passed; says whether it held.
pub(crate) fn holds_within(bound: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if holds() {
            return true;
        }
        if start.elapsed() > bound {
            return false;
        }
        std::thread::sleep(LOOK);
    }
}

/// Calls again what a stop of this process has interrupted: with a timeout of its own a socket says so
/// (signal(7)), and a container may be paused.
pub(crate) fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Tells a story about time until one telling of it took less than `bound`.
///
/// A design that waits something out takes long every time; a process that was not scheduled, once.
#[track_caller]
pub(crate) fn once_within(bound: Duration, mut story: impl FnMut() -> Duration) {
    let mut took = Vec::new();
    for _ in 0..5 {
        let last = story();
        if last < bound {
            return;
        }
        took.push(last);
    }
    panic!("never within {bound:?}: {took:?}");
}

/// Leaves the story when the machine lacks what it needs, and says so.
///
/// Takes a `Result<(), String>` whose error is the reason.
macro_rules! need {
    ($condition:expr) => {
        if let Err(why) = $condition {
            $crate::support::skipped::skip(why);
            return;
        }
    };
}
pub(crate) use need;
