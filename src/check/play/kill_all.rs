//! Ends all that was started here, whatever it does meanwhile.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::sys::tree::Member;
use crate::sys::{reap, signals, tree};
use crate::words::signal::Signal;

/// Kills and reaps our descendants until there are none.
pub(super) fn kill_all() {
    const PATIENCE: Duration = Duration::from_secs(5);
    let began = Instant::now();
    loop {
        stop_all();
        let _ = tree::signal(Signal::KILL, |_| true);
        let left = loop {
            match reap::next(false) {
                reap::Reaped::Ended { .. } => {}
                reap::Reaped::NoChild => break false,
                _ => break true,
            }
        };
        if !left || began.elapsed() > PATIENCE {
            return;
        }
        // The next end of a child wakes us, and no other signal: one that asks `check` to end is taken
        // later.
        signals::await_only(Signal::CHLD, Duration::from_millis(5));
    }
}

/// Stops our descendants until each is stopped. In a fork bomb each process that is killed makes room for
/// another one; a stopped process neither forks nor makes room.
pub(super) fn stop_all() {
    const ROUNDS: u32 = 64;
    let mut stopped = HashSet::new();
    for _ in 0..ROUNDS {
        let is_new = |member: &Member| !stopped.contains(&(member.pid, member.started));
        let reached = tree::signal(Signal::STOP, is_new).unwrap_or_default();
        if reached.is_empty() {
            return;
        }
        let found = reached.iter().map(|member| (member.pid, member.started));
        stopped.extend(found);
    }
}
