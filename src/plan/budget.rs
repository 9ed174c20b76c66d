//! How the time before the deadline is shared out.

use std::time::Duration;

use crate::plan::Plan;

impl Plan {
    /// How the time before the deadline is shared out; `None` without `--deadline`.
    pub(crate) fn budget(&self) -> Option<Budget> {
        self.deadline.map(|deadline| {
            let post_stop = total(self.post_stop.iter().map(|hook| hook.timeout));
            let post_stop = post_stop.min(deadline / 2);
            // KILL, the reaping of what it killed and the files: short, but not nothing.
            let leaving = (deadline / 20).clamp(Duration::from_millis(20), LEAVING);
            let kill_by = deadline.saturating_sub(post_stop + leaving);
            let waits = self.ladder.iter().filter(|step| !step.is_kill());
            let ladder = waits
                .map(|step| step.wait)
                .collect::<Option<Vec<_>>>()
                .map(total);
            // What comes before the ladder may not eat the ladder: a child that is told to stop
            // and killed in the same breath has lost its requests all the same.
            let ladder = ladder.unwrap_or(kill_by).min(kill_by / 2);
            let gone_by = deadline.saturating_sub(leaving / 2);
            Budget {
                ladder_by: kill_by.saturating_sub(ladder),
                kill_by,
                // A large process takes its time to die; half of what the hooks have is its to use.
                give_up_by: gone_by.saturating_sub(post_stop / 2),
                gone_by,
            }
        })
    }
}

/// The sum, which waits that are meant to be without end cannot overflow.
pub(crate) fn total(durations: impl IntoIterator<Item = Duration>) -> Duration {
    let add = |sum: Duration, duration| sum.saturating_add(duration);
    durations.into_iter().fold(Duration::ZERO, add)
}

/// The most that KILL and the files are given out of the deadline.
const LEAVING: Duration = Duration::from_millis(500);

/// Moments of the stop, counted from t0, that no phase may overrun.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Budget {
    /// Pre-stop hooks and drain end here at the latest.
    pub(crate) ladder_by: Duration,
    /// KILL is sent here at the latest.
    pub(crate) kill_by: Duration,
    /// What has not died of KILL until here hangs in the kernel and is left.
    pub(crate) give_up_by: Duration,
    /// The post-stop hooks end here at the latest.
    pub(crate) gone_by: Duration,
}
