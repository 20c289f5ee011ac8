//! A clock that nobody sets, for deadlines that safety rests on.

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

/// How long this machine has been up, the time asleep included.
///
/// The order of the three readings counts. A process that is stopped between them gets the moment before it was stopped: a
/// deadline is then too early and never too late.
#[must_use]
pub fn now() -> Duration {
    let [raw, boot, monotonic] =
        [ClockId::MonotonicRaw, ClockId::Boottime, ClockId::Monotonic].map(|clock| since_boot(clock_gettime(clock)));
    up(raw, boot, monotonic)
}

/// `MONOTONIC_RAW` follows no time server, but stands still while the machine is suspended; by how much is what `BOOTTIME`
/// is ahead of `MONOTONIC`. Neither of these two will do alone: chrony slews both by up to a twelfth, and the wall clock
/// can be set back.
pub(crate) fn up(raw: Duration, boot: Duration, monotonic: Duration) -> Duration {
    (raw + boot).saturating_sub(monotonic)
}

fn since_boot(at: Timespec) -> Duration {
    Duration::try_from(at).unwrap_or_default()
}
