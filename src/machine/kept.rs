//! Keeps the signals that come for a child that is not there yet, and no more of them than the kernel keeps for a
//! process that blocks them.

use super::{Event, Received};

/// How many at most, with the real-time signals, of which each one counts (signal(7)).
const MOST: usize = 1024;

/// The first of those, with the two that are the C library's own.
const REAL_TIME: i32 = 32;

/// Keeps it, or says why not.
pub(super) fn keep(kept: &mut Vec<Event>, received: Received) -> Result<(), &'static str> {
    let is_same =
        |event: &Event| matches!(event, Event::Signal(other) if other.signal == received.signal);
    if received.signal.number() < REAL_TIME && kept.iter().any(is_same) {
        return Err("one is kept for the child already");
    }
    if kept.len() >= MOST {
        return Err("too many are kept for the child");
    }
    kept.push(Event::Signal(received));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::outside;
    use crate::words::signal::Signal;

    #[test]
    fn one_of_each_is_kept_and_of_real_time_signals_each_one_up_to_a_number() {
        let mut kept = Vec::new();
        let mut keep = |name: &str| keep(&mut kept, outside(Signal::parse(name).unwrap())).is_ok();
        assert!(keep("USR1") && keep("USR2"));
        assert!(!keep("USR1"));
        assert!((2..MOST).all(|_| keep("RTMIN")));
        assert!(!keep("RTMIN") && !keep("HUP"));
        assert_eq!(kept.len(), MOST);
    }
}
