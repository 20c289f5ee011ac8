//! Judges whether a standby is *stuck*: what keeps it from ever becoming ready unless somebody does something.
//!
//! A stuck standby is not ready; people are notified, nothing is deleted for it, and it is over when the machine
//! progresses. A signer is not among these; one makes the machine untouchable ([`super::attention`]). One that cannot
//! be ruled out is.

use super::identity::{Expected, Identity};
use crate::domain::{Policy, ReportHistory, Span, Standby, Stuck, Time, UNKNOWN_HEAD_AGE_SECONDS, elapsed, one_line};

/// How often the clients may be started again within [`Policy::stuck_after`]. systemd starts a client that fails every
/// few seconds; an update or an operator starts each once or twice.
const RESTARTS: u32 = 5;
/// How often the machine may boot again within twice [`Policy::stuck_after`]. One boot is an update of the kernel.
const BOOTS: usize = 3;
/// A node that cannot write loses its database, so people are notified before it is full.
const DISK_FREE: u8 = 5;
/// The head may follow the chain while the execution client does not get on. A sync of 36 hours gains a percent every
/// twenty minutes on average, but some of them take hours, so the percentage alone gets this many times as long.
const PERCENT_ALONE: i32 = 8;

/// What is known of the machine when it is judged, right after a look at it that succeeded: a cloud that does not
/// answer is not the machine's fault.
pub(super) struct Case<'a> {
    pub history: Option<&'a ReportHistory>,
    /// What its start-up script said last, if it has not reported since.
    pub boot_status: Option<&'a str>,
    pub standby: &'a Standby,
    /// What is in the record counts from here at the earliest: it may be by another's clock.
    pub trusted_since: Option<Time>,
    /// Nothing is missing for it to be ready.
    pub complete: bool,
    pub chain: Expected<'a>,
}

/// What keeps it from making progress, the plainest cause first; `None` while it continues.
pub(super) fn judge(case: &Case<'_>, policy: &Policy, now: Time) -> Option<Stuck> {
    let Some(history) = case.history else { return unheard(case, policy, now) };
    let long = policy.stuck_after;
    if !history.is_fresh(policy.report_stale_after, now) {
        let since = history.moved_at.unwrap_or(history.since);
        return lasts(since, long, now).then(|| case.no_report(since));
    }
    let report = &history.report;
    match case.chain.judge(report) {
        Identity::Other(chain) => return Some(Stuck::OtherChain { chain }),
        Identity::Fits | Identity::Unknown(_) => {}
    }
    if let Some(percent) = report.disk_free_percent.filter(|free| *free <= DISK_FREE) {
        return Some(Stuck::DiskFull { percent });
    }
    let boots = history.boots_within(long.saturating_add(long), now);
    if boots >= BOOTS {
        return Some(Stuck::BootLoop { boots });
    }
    let restarts = history.restarts_within(long, now);
    if restarts >= RESTARTS {
        return Some(Stuck::RestartLoop { restarts });
    }
    if let Some(since) = history.clock_off.since().filter(|since| lasts(*since, long, now)) {
        return Some(Stuck::ClockOff { milliseconds: report.clock_offset_ms, since });
    }
    if let Some(why) = &report.signer_hidden
        && let Some(since) = history.hidden.since().filter(|since| lasts(*since, long, now))
    {
        return Some(Stuck::SignerHidden { why: one_line(why, 120), since });
    }
    if case.chain.is_counted()
        && let Some(since) = history.peerless.since().filter(|since| lasts(*since, long, now))
    {
        return Some(Stuck::NoPeers { since });
    }
    // One that is probed says whether its probes are well, and nothing of how far it is.
    if case.complete || !case.chain.is_counted() {
        return None;
    }
    let percent = report.progress_percent.min(100);
    let longer = long.saturating_mul(PERCENT_ALONE);
    let (alone, patience) = match case.chain {
        Expected::Watched(_) => (Some(longer), long),
        // Its percentage is its head's time, so the head says all. Before it has one it reads its database or fetches a
        // state, of which nothing is counted.
        Expected::Read(_) if report.head_age_seconds >= UNKNOWN_HEAD_AGE_SECONDS => (None, longer),
        Expected::Read(_) | Expected::Probed => (None, long),
    };
    if lasts(history.progress_at, patience, now) {
        return Some(Stuck::NoProgress { percent, since: history.progress_at });
    }
    let alone = alone.is_some_and(|alone| lasts(history.percent_at, alone, now));
    alone.then_some(Stuck::NoProgress { percent, since: history.percent_at })
}

/// Nothing usable was ever reported by it to this watcher. One that has never written anything is the boot's matter
/// ([`super::boot`]); one that has written what cannot be used is silent, and one whose script speaks has not come
/// further.
fn unheard(case: &Case<'_>, policy: &Policy, now: Time) -> Option<Stuck> {
    let since = case.standby.spoke_at?;
    let since = case.trusted_since.map_or(since, |trusted| trusted.max(since));
    lasts(since, policy.stuck_after, now).then(|| case.no_report(since))
}

impl Case<'_> {
    /// No report for this long: a script that has not come so far says why, and otherwise the machine is silent.
    fn no_report(&self, since: Time) -> Stuck {
        match self.boot_status {
            Some(word) => Stuck::StartUp { word: word.to_owned(), since },
            None => Stuck::Silent { since },
        }
    }
}

fn lasts(since: Time, long: Span, now: Time) -> bool {
    elapsed(since, now) >= long
}

#[cfg(test)]
mod tests;
