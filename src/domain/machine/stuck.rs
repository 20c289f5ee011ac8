//! *Stuck*: what keeps a standby from ever becoming ready unless somebody does something.
//!
//! Nothing is done about it here or anywhere else: it is told and shown, and it is over when the machine goes on. A
//! signer is not among these; one makes the machine untouchable ([`super::follow`]). One that cannot be ruled out is.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::identity::{Expected, Identity};
use crate::domain::{Heard, Policy, Span, Standby, Time, UNKNOWN_HEAD_AGE_SECONDS, elapsed, printable, start_word};

/// How often the clients may be started again within [`Policy::stuck_after`]. systemd starts a client that fails every
/// few seconds; an update or an operator starts each once or twice.
const RESTARTS: u32 = 5;
/// How often the machine may boot again within twice [`Policy::stuck_after`]. One boot is an update of the kernel.
const BOOTS: usize = 3;
/// A node that cannot write loses its database, so people are told before it is full.
const DISK_FREE: u8 = 5;
/// The head may follow the chain while the execution client does not get on. A sync of 36 hours gains a percent every
/// twenty minutes on average, but some of them take hours, so the percentage alone gets this many times as long.
const PERCENT_ALONE: i32 = 8;

/// Why it will not become ready by itself, with what was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, strum::EnumDiscriminants)]
#[strum_discriminants(
    name(StuckKind),
    derive(PartialOrd, Ord, Serialize, Deserialize, strum::EnumIter),
    serde(rename_all = "snake_case"),
    doc = "A [`Stuck`] without what was seen."
)]
#[serde(rename_all = "snake_case")]
pub enum Stuck {
    /// It follows another chain.
    OtherChain {
        /// The genesis root or the name that it reports. Written `root` before chains had names.
        #[serde(alias = "root")]
        chain: String,
    },
    /// The disk with the chain's data is nearly full.
    DiskFull {
        /// What is free.
        percent: u8,
    },
    /// The machine boots again and again.
    BootLoop {
        /// How often of late.
        boots: usize,
    },
    /// Its clients are started again and again.
    RestartLoop {
        /// How often of late.
        restarts: u32,
    },
    /// Its clock has been wrong for long.
    ClockOff {
        /// By this much.
        milliseconds: i64,
        /// For at least this long.
        since: Time,
    },
    /// It could for long not look everywhere for a signer.
    SignerHidden {
        /// Why not.
        why: String,
        /// Since then.
        since: Time,
    },
    /// It has had no peers for long.
    NoPeers {
        /// Since then.
        since: Time,
    },
    /// It has booted, but its start-up script has come to no agent that reports.
    StartUp {
        /// What the script says.
        word: String,
        /// Since then.
        since: Time,
    },
    /// It has reported and does no longer, or what it writes is no report.
    Silent {
        /// Since then.
        since: Time,
    },
    /// Neither the percentage nor the head goes on.
    NoProgress {
        /// Where it stands.
        percent: u8,
        /// Since then.
        since: Time,
    },
}

impl Stuck {
    /// Which one it is.
    #[must_use]
    pub fn kind(&self) -> StuckKind {
        self.into()
    }
}

impl StuckKind {
    /// Its name in metrics, in JSON and in Message-IDs. Written out: a renamed variant is the same mail.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OtherChain => "other_chain",
            Self::DiskFull => "disk_full",
            Self::BootLoop => "boot_loop",
            Self::RestartLoop => "restart_loop",
            Self::ClockOff => "clock_off",
            Self::SignerHidden => "signer_hidden",
            Self::NoPeers => "no_peers",
            Self::StartUp => "start_up",
            Self::Silent => "silent",
            Self::NoProgress => "no_progress",
        }
    }

    /// What a person can do about it.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::OtherChain => {
                "correct the network (and its genesis, where it is named) of this standby in the configuration, then \
                 close this incident: the next standby is made anew"
            }
            Self::DiskFull => "make `compute.disk.size_gb` larger and grow this machine's data disk in the console",
            Self::BootLoop => "read the serial port with `failover logs`; a machine of another type or zone may help",
            Self::RestartLoop => "read the serial port with `failover logs`; a client's own message says why it ends",
            Self::ClockOff => "look whether the network lets NTP through; the machine asks Google's own time server",
            Self::SignerHidden => {
                "look on the machine what keeps the unit failover-agent from reading it; until then it is neither ready \
                 nor deleted"
            }
            Self::NoPeers => "look whether the network lets the p2p ports out and in (see docs/gcp.md)",
            Self::StartUp => {
                "read the serial port with `failover logs`; the script tries again by itself, so it goes on once what \
                 it says is corrected"
            }
            Self::Silent => "read the serial port with `failover logs`; without reports it is never called ready",
            Self::NoProgress => {
                "read the serial port with `failover logs`; a slow disk or too few peers are the usual causes"
            }
        }
    }
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherChain { chain } => write!(f, "it follows another chain ({chain})"),
            Self::DiskFull { percent } => write!(f, "its disk is nearly full, {percent} % is free"),
            Self::BootLoop { boots } => write!(f, "it has booted again {boots} times"),
            Self::RestartLoop { restarts } => write!(f, "its clients were started again {restarts} times"),
            Self::ClockOff { milliseconds, since } => {
                write!(f, "its clock is off by {milliseconds} ms since {}", super::super::clock(*since))
            }
            Self::SignerHidden { why, since } => {
                write!(f, "it cannot rule out a signer since {}: {why}", super::super::clock(*since))
            }
            Self::NoPeers { since } => write!(f, "it has had no peers since {}", super::super::clock(*since)),
            Self::StartUp { word, since } => {
                write!(f, "it has not come to report since {}; {}", super::super::clock(*since), start_word(word))
            }
            Self::Silent { since } => {
                write!(f, "it has not sent a report that counts since {}", super::super::clock(*since))
            }
            Self::NoProgress { percent, since } => {
                write!(f, "it stands at {percent} % since {}", super::super::clock(*since))
            }
        }
    }
}

/// What is known of the machine when it is judged, right after a look at it that succeeded: a cloud that does not answer
/// is not the machine's fault.
pub(super) struct Case<'a> {
    pub heard: Option<&'a Heard>,
    /// What its start-up script said last, if it has not reported since.
    pub boot_status: Option<&'a str>,
    pub standby: &'a Standby,
    /// What stands in the record counts from here at the earliest: it may be by another's clock.
    pub trusted_since: Option<Time>,
    /// Nothing is missing for it to be ready.
    pub complete: bool,
    pub chain: Expected<'a>,
}

/// What keeps it from going on, the plainest cause first; `None` while it goes on.
pub(super) fn judge(case: &Case<'_>, policy: &Policy, now: Time) -> Option<Stuck> {
    let Some(heard) = case.heard else { return unheard(case, policy, now) };
    let long = policy.stuck_after;
    if !heard.is_fresh(policy.report_stale_after, now) {
        let since = heard.moved_at.unwrap_or(heard.since);
        return lasts(since, long, now).then(|| case.no_report(since));
    }
    let report = &heard.report;
    match case.chain.judge(report) {
        Identity::Other(chain) => return Some(Stuck::OtherChain { chain }),
        Identity::Fits | Identity::Unknown(_) => {}
    }
    if let Some(percent) = report.disk_free_percent.filter(|free| *free <= DISK_FREE) {
        return Some(Stuck::DiskFull { percent });
    }
    let boots = heard.boots_within(long.saturating_add(long), now);
    if boots >= BOOTS {
        return Some(Stuck::BootLoop { boots });
    }
    let restarts = heard.restarts_within(long, now);
    if restarts >= RESTARTS {
        return Some(Stuck::RestartLoop { restarts });
    }
    if let Some(since) = heard.clock_off.since().filter(|since| lasts(*since, long, now)) {
        return Some(Stuck::ClockOff { milliseconds: report.clock_offset_ms, since });
    }
    if let Some(why) = &report.signer_hidden
        && let Some(since) = heard.hidden.since().filter(|since| lasts(*since, long, now))
    {
        return Some(Stuck::SignerHidden { why: printable(why, 120), since });
    }
    if case.chain.is_counted()
        && let Some(since) = heard.peerless.since().filter(|since| lasts(*since, long, now))
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
    if lasts(heard.progress_at, patience, now) {
        return Some(Stuck::NoProgress { percent, since: heard.progress_at });
    }
    let alone = alone.is_some_and(|alone| lasts(heard.percent_at, alone, now));
    alone.then_some(Stuck::NoProgress { percent, since: heard.percent_at })
}

/// Nothing usable was ever heard from it by this watcher. One that has never written anything is the boot's matter
/// ([`super::boot`]); one that has written what cannot be used is silent, and one whose script speaks has not come further.
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
