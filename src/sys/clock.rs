//! Moments in the unit in which /proc tells when a process was started.

use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

/// The unit of /proc, whatever the tick of the kernel is (USER_HZ).
const TICK: Duration = Duration::from_millis(10);

/// A moment in the past, in the unit of `starttime` (proc_pid_stat(5)).
pub(crate) fn ticks_since_boot(at: Instant) -> u64 {
    let Ok(now) = clock_gettime(ClockId::CLOCK_BOOTTIME) else {
        return 0;
    };
    let since_boot = Duration::from(now).saturating_sub(at.elapsed());
    u64::try_from(since_boot.as_nanos() / TICK.as_nanos()).unwrap_or(u64::MAX)
}

/// The present, as `MONOTONIC_USEC=` has it: microseconds of `CLOCK_MONOTONIC` (sd_notify(3)).
pub(crate) fn microseconds_of_systemd() -> u128 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
    now.as_micros()
}

/// A number that hardly any other process has at the same time: what is spread by it is spread among them.
pub(crate) fn seed() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from);
    let nanoseconds = u64::try_from(now.as_nanos()).unwrap_or(0);
    nanoseconds ^ (u64::from(std::process::id()) << 48)
}
