//! The clients that ask `/readyz`, and whether all of them know that we are not ready.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::record::Record;

/// The clients of `/readyz` by address, each presumably a balancer.
#[derive(Debug, Default)]
pub(crate) struct Checkers {
    known: HashMap<IpAddr, Checker>,
    /// How many answers make one know (`--drain-checks`).
    enough: Option<u32>,
    told: bool,
}

#[derive(Clone, Copy, Debug)]
struct Checker {
    last: Duration,
    interval: Option<Duration>,
    /// "Not ready" answers since the stop was asked for.
    refused: u32,
}

/// How many addresses are remembered at most, so that their memory is bounded.
const MOST: usize = 256;

/// One that checks at intervals is missed after this many of them.
const PATIENCE: u32 = 3;

impl Checkers {
    pub(crate) fn tell(&mut self, record: &Record) {
        match record {
            Record::NotReady { checks, .. } => self.enough = *checks,
            Record::Ready { .. } | Record::ReadyAgain { .. } | Record::GenerationBegan { .. } => {
                self.outdated();
            }
            _ => {}
        }
    }

    /// Earlier answers no longer count.
    fn outdated(&mut self) {
        self.told = false;
        for checker in self.known.values_mut() {
            checker.refused = 0;
        }
    }

    /// Whether all know, and still rightly so.
    pub(crate) fn all_know(&self) -> bool {
        self.told
    }

    /// A client was answered; true when with this answer all know, which happens once.
    ///
    /// All are those that were checking when the stop was asked for, at the moment `stopping`; at least
    /// one must have been answered: no clients does not mean that all know.
    pub(crate) fn answered(
        &mut self,
        now: Duration,
        who: IpAddr,
        stopping: Option<Duration>,
    ) -> bool {
        let is_full = self.known.len() >= MOST && !self.known.contains_key(&who);
        if is_full && !self.make_room(stopping) {
            return false;
        }
        let before = self.known.get(&who).copied();
        let checker = self.known.entry(who).or_insert(Checker {
            last: now,
            interval: None,
            refused: 0,
        });
        let (Some(stopping), Some(enough)) = (stopping, self.enough) else {
            checker.interval = before.map(|before| now.saturating_sub(before.last));
            checker.last = now;
            return false;
        };
        checker.refused = checker.refused.saturating_add(1);
        let knows = |checker: &Checker| checker.refused >= enough;
        let mut missed = self.known.values().filter(|c| c.is_missed(stopping));
        let all = self.known.values().any(knows) && missed.all(knows);
        all && !std::mem::replace(&mut self.told, true)
    }

    /// Forgets one for the sake of another: one that came by once, or the one that was here longest ago, and none that is
    /// missed.
    fn make_room(&mut self, stopping: Option<Duration>) -> bool {
        let is_missed = |checker: &Checker| stopping.is_some_and(|at| checker.is_missed(at));
        let others = self.known.iter().filter(|(_, c)| !is_missed(c));
        let least = others.min_by_key(|(_, checker)| (checker.interval.is_some(), checker.last));
        let least = least.map(|(who, _)| *who);
        least.is_some_and(|who| self.known.remove(&who).is_some())
    }
}

impl Checker {
    /// Whether it was checking at the moment `stopping`, and would have gone on.
    fn is_missed(&self, stopping: Duration) -> bool {
        self.interval.is_some_and(|interval| {
            let patience = interval
                .saturating_mul(PATIENCE)
                .max(Duration::from_secs(1));
            stopping.saturating_sub(self.last) <= patience
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::NotReady;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Each checks at these seconds while ready.
    fn checked(checks: &[(IpAddr, u64)]) -> Checkers {
        let mut checkers = Checkers::default();
        let why = NotReady::StopAsked;
        let enough = Some(2);
        checkers.tell(&Record::NotReady {
            why,
            checks: enough,
        });
        for (who, when) in checks {
            assert!(!checkers.answered(at(*when), *who, None));
        }
        checkers
    }

    #[test]
    fn one_that_nobody_knew_counts_when_there_are_no_others() {
        let mut checkers = checked(&[]);
        assert!(!checkers.answered(at(1), A, Some(at(0))));
        assert!(checkers.answered(at(2), A, Some(at(0))));
        assert!(!checkers.answered(at(3), A, Some(at(0))), "told once");
    }

    #[test]
    fn the_slowest_of_those_that_check_is_waited_for() {
        let mut checkers = checked(&[(A, 8), (B, 2), (A, 9), (B, 7), (A, 10)]);
        let stop = Some(at(10));
        for second in 11..15 {
            assert!(!checkers.answered(at(second), A, stop));
        }
        assert!(!checkers.answered(at(12), B, stop));
        assert!(checkers.answered(at(17), B, stop));
    }

    #[test]
    fn one_that_came_by_once_or_long_ago_is_not() {
        let mut checkers = checked(&[(B, 1), (B, 2), (A, 8), (A, 9)]);
        let stop = Some(at(10));
        assert!(!checkers.answered(at(10), A, stop));
        assert!(checkers.answered(at(11), A, stop));

        let mut checkers = checked(&[(B, 9), (A, 8), (A, 9)]);
        assert!(!checkers.answered(at(10), A, stop));
        assert!(checkers.answered(at(11), A, stop));
    }

    #[test]
    fn what_was_told_before_it_was_ready_again_does_not_count() {
        let mut checkers = checked(&[(A, 1), (A, 2)]);
        assert!(!checkers.answered(at(3), A, Some(at(3))));
        assert!(checkers.answered(at(4), A, Some(at(3))));
        assert!(checkers.all_know());
        checkers.tell(&Record::ReadyAgain { after: at(1) });
        assert!(!checkers.all_know());
        assert!(!checkers.answered(at(5), A, None));
        assert!(!checkers.answered(at(6), A, Some(at(6))));
        assert!(checkers.answered(at(7), A, Some(at(6))));
    }

    #[test]
    fn a_flood_of_addresses_costs_bounded_memory() {
        let mut checkers = checked(&[]);
        for index in 0..10_000_u32 {
            let who = IpAddr::V4(index.into());
            assert!(!checkers.answered(at(1), who, Some(at(0))));
        }
        assert!(checkers.known.len() <= MOST);
    }

    #[test]
    fn many_that_came_by_leave_room_for_one_that_checks() {
        let other = |number: usize| IpAddr::from(std::net::Ipv4Addr::from_bits(number as u32));
        let mut checkers = checked(&[(A, 1), (A, 2)]);
        for number in 0..2 * MOST {
            assert!(!checkers.answered(at(3), other(number), None));
        }
        assert_eq!(checkers.known.len(), MOST);
        assert!(!checkers.answered(at(3), B, None));
        assert!(!checkers.answered(at(4), B, None));
        // Who is waited for is not forgotten, however many come now.
        let stop = Some(at(4));
        for number in 0..2 * MOST {
            assert!(!checkers.answered(at(5), other(number), stop));
        }
        for (who, all) in [(A, false), (B, false), (A, false), (B, true)] {
            assert_eq!(checkers.answered(at(6), who, stop), all);
        }
    }

    #[test]
    fn one_that_checks_is_known_whoever_came_by_before() {
        let mut checkers = checked(&[(A, 1), (A, 2)]);
        for index in 0..10_000_u32 {
            checkers.answered(at(3), IpAddr::V4(index.into()), None);
        }
        for second in [4, 5] {
            checkers.answered(at(second), B, None);
        }
        let stop = Some(at(6));
        assert!(!checkers.answered(at(6), B, stop));
        assert!(checkers.answered(at(7), B, stop));
    }
}
