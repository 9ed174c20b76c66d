//! How the time before the deadline is shared out.

use std::time::Duration;

use crate::plan::Plan;

impl Plan {
    /// How the time until the deadline is divided among the phases; `None` without `--deadline`.
    pub(crate) fn budget(&self) -> Option<Budget> {
        self.deadline.map(|deadline| {
            let post_stop = total(self.post_stop.iter().map(|hook| hook.timeout));
            let post_stop = post_stop.min(deadline / 2);
            // KILL, reaping what it has killed and writing the files take a short time.
            let leaving = (deadline / 20).clamp(Duration::from_millis(20), LEAVING);
            let kill_by = deadline.saturating_sub(post_stop + leaving);
            let waits = self.ladder.iter().filter(|step| !step.is_kill());
            let ladder = waits
                .map(|step| step.wait)
                .collect::<Option<Vec<_>>>()
                .map(total);
            // What comes before the ladder must leave time for it: a child that is killed right
            // after it was told to stop loses its requests.
            let ladder = ladder.unwrap_or(kill_by).min(kill_by / 2);
            let gone_by = deadline.saturating_sub(leaving / 2);
            Budget {
                ladder_by: kill_by.saturating_sub(ladder),
                kill_by,
                // A large process needs time to die; it has half of the time of the hooks.
                give_up_by: gone_by.saturating_sub(post_stop / 2),
                gone_by,
                look_by: deadline.saturating_sub(leaving / 4),
            }
        })
    }
}

/// The sum, which does not overflow where a wait is meant to be without end.
pub(crate) fn total(durations: impl IntoIterator<Item = Duration>) -> Duration {
    let add = |sum: Duration, duration| sum.saturating_add(duration);
    durations.into_iter().fold(Duration::ZERO, add)
}

/// The longest time that is kept for KILL and the files.
const LEAVING: Duration = Duration::from_millis(500);

/// Moments of the stop, counted from t0, that no phase may overrun.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Budget {
    /// Pre-stop hooks and drain end here at the latest.
    pub(crate) ladder_by: Duration,
    /// KILL is sent here at the latest.
    pub(crate) kill_by: Duration,
    /// A process that KILL has not ended by now hangs in the kernel and is left.
    pub(crate) give_up_by: Duration,
    /// The post-stop hooks end here at the latest.
    pub(crate) gone_by: Duration,
    /// Nobody looks again who was started while the last KILL was sent.
    pub(crate) look_by: Duration,
}
