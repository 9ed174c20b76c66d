//! Ends what the post-stop hooks have left, and looks for who was forked while the last KILL was sent.

use std::time::Duration;

use super::{Kill, SHORTEST_PAUSE};
use crate::machine::{Machine, Phase};
use crate::record::Record;

/// So often it is looked at least, however late it is, as long as each look finds somebody new.
const LAST_LOOKS: u32 = 3;

/// No longer than this it is looked again and again, where no deadline says so.
const LAST_LOOKS_TAKE: Duration = Duration::from_millis(250);

/// The time for KILL is over: who was started while it was sent is looked for, and nobody is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct LastLooks {
    looks: u32,
    pub(super) until: Duration,
}

impl Machine {
    pub(in crate::machine) fn last_sweep(&mut self, now: Duration) {
        let Phase::LastSweep(kill) = &mut self.phase else {
            return;
        };
        let first = kill.is_none();
        let pause = kill.get_or_insert(Kill::FIRST).next_pause();
        if first {
            self.since = now;
        }
        if now < self.give_up_at() {
            self.kill_round();
            return self.pause(now, pause);
        }
        // However late it is, what the hooks have left gets KILL.
        if self.looks_again(now) {
            self.kill_round();
            // Those that are known to outlive KILL are not waited for.
            let pause = if self.stop.hopeless {
                Duration::ZERO
            } else {
                SHORTEST_PAUSE
            };
            return self.pause(now, pause);
        }
        if !self.stop.hopeless {
            let took = now.saturating_sub(self.since);
            self.tell(Record::SweepEnded { left: true, took });
        }
        self.enter_flush(now);
    }

    /// Who was forked while KILL was sent did not get it: it is looked again until a look finds nobody new.
    fn looks_again(&mut self, now: Duration) -> bool {
        let until = now.saturating_add(LAST_LOOKS_TAKE);
        let until = self.before(Some(until), |limits| limits.look_by);
        let Some(kill) = self.kill() else {
            return false;
        };
        let found = kill.found;
        let last = kill.last.get_or_insert(LastLooks {
            looks: 0,
            until: until.unwrap_or(now),
        });
        let again = last.looks == 0 || found && (last.looks < LAST_LOOKS || now < last.until);
        last.looks += 1;
        again
    }
}
