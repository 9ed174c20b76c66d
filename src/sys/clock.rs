//! When something happened, as /proc counts the starts of processes.

use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

/// In these /proc counts, whatever the kernel's own clock does (USER_HZ).
const TICK: Duration = Duration::from_millis(10);

/// A moment in the past as the start of a process has it (proc_pid_stat(5), `starttime`).
pub(crate) fn ticks_since_boot(at: Instant) -> u64 {
    let Ok(now) = clock_gettime(ClockId::CLOCK_BOOTTIME) else {
        return 0;
    };
    let since_boot = Duration::from(now).saturating_sub(at.elapsed());
    u64::try_from(since_boot.as_nanos() / TICK.as_nanos()).unwrap_or(u64::MAX)
}

/// A number that hardly any other process has at the same time: what is spread by it is spread among them.
pub(crate) fn seed() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from);
    let nanoseconds = u64::try_from(now.as_nanos()).unwrap_or(0);
    nanoseconds ^ (u64::from(std::process::id()) << 48)
}
