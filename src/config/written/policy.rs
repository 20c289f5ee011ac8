//! The thresholds of decisions and the limits on money, as they are written, with their defaults.
//!
//! Part of [`super`], and like it checked only in its form. What each threshold decides is the domain's.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    config::values::{At, Duration, Share},
    domain::Span,
};

/// Thresholds of decisions.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// For how long two independent sources have to say down without a break.
    pub hold_down: At<Duration>,
    /// One source alone, or some keys silent, for this long is worth a mail.
    pub suspected_mail_after: At<Duration>,
    /// How long home has to attest again before the standby goes.
    pub healthy_delay: At<Duration>,
    /// More than this share of the validators down together is an outage of the site.
    pub max_unhealthy: At<Share>,
    /// After an incident ended, none opens by itself for this long.
    pub cooldown: At<Duration>,
    /// No more automatic incidents of one validator than this in 24 hours.
    pub max_incidents_per_day: At<u32>,
    /// How long a standby may run undecided. Also its fuse: then the cloud itself stops it.
    pub standby_ttl: At<Duration>,
    /// A standby's report that has not changed for this long is none.
    pub report_stale_after: At<Duration>,
    /// For how long a standby has to have everything before it is called ready.
    pub ready_hold: At<Duration>,
    /// A standby that does not go on for this long is stuck, and somebody is told.
    pub stuck_after: At<Duration>,
    /// A machine that has written nothing by then has not booted: it is deleted and another one is tried.
    pub boot_deadline: At<Duration>,
    /// How many machines of one incident may fail to boot before a human is asked.
    pub max_boot_attempts: At<u32>,
    /// Without a machine by then, somebody is told; trying goes on.
    pub provisioning_deadline: At<Duration>,
    /// How long the watcher that writes may be silent before another takes over.
    pub lease: At<Duration>,
    /// How often a standby is looked at.
    pub observe_every: At<Duration>,
    /// How often all zones are searched for a second machine of an incident.
    pub recheck_every: At<Duration>,
    /// How often requests of operators are looked for.
    pub requests_every: At<Duration>,
    /// The first pause after a failed action; it doubles up to `retry_cap`.
    pub retry_after: At<Duration>,
    /// The longest pause between two tries.
    pub retry_cap: At<Duration>,
    /// How long an action may take in all; after that it is looked for instead.
    pub action_timeout: At<Duration>,
    /// A jump of the clock, or a gap in observation, of more than this begins every waiting time again.
    pub clock_jump: At<Duration>,
    /// How many consensus peers a ready standby has at least.
    pub min_peers: At<u32>,
    /// How old the head block of a ready standby may be.
    pub max_head_age: At<Duration>,
    /// How far the clock of a ready standby may be off.
    pub max_clock_offset: At<Duration>,
}

impl Default for Policy {
    fn default() -> Self {
        let seconds = |n| Duration(Span::from_secs(n)).into();
        let minutes = |n| Duration(Span::from_mins(n)).into();
        let hours = |n| Duration(Span::from_hours(n)).into();
        Self {
            hold_down: minutes(5),
            suspected_mail_after: minutes(20),
            healthy_delay: minutes(20),
            max_unhealthy: Share(0.5).into(),
            cooldown: hours(1),
            max_incidents_per_day: 3.into(),
            standby_ttl: hours(72),
            report_stale_after: minutes(10),
            ready_hold: seconds(19 * 60 + 12),
            stuck_after: minutes(30),
            boot_deadline: minutes(20),
            max_boot_attempts: 2.into(),
            provisioning_deadline: minutes(30),
            lease: seconds(30),
            observe_every: seconds(30),
            recheck_every: minutes(10),
            requests_every: seconds(5),
            retry_after: seconds(10),
            retry_cap: minutes(10),
            action_timeout: minutes(6),
            clock_jump: seconds(30),
            min_peers: 5.into(),
            max_head_age: minutes(1),
            max_clock_offset: Duration(Span::from_millis(500)).into(),
        }
    }
}

/// Limits on money, in US dollars. A standby over one of them is not created, and somebody is told.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// The most that one incident may cost until its fuse.
    pub per_incident_usd: Option<At<f64>>,
    /// The most that the incidents of 30 days may cost together.
    pub per_month_usd: Option<At<f64>>,
}
