//! What the operator allows: every threshold of a decision, already validated.
//!
//! It holds no addresses and no secrets; those belong to the adapters.

use std::collections::BTreeMap;

use super::{Backoff, Rung, Span, Time, TimeExt, Usd, ValidatorId};

/// Whether decisions are carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Decides and tells, creates nothing.
    #[default]
    Observe,
    /// Creates and deletes standbys.
    Armed,
}

/// A rung with what a standby on it costs.
#[derive(Clone, Debug, PartialEq)]
pub struct PricedRung {
    /// Where, on what.
    pub rung: Rung,
    /// Machine and disks while it runs; `None` when the price table does not know the machine type.
    pub per_hour: Option<Usd>,
    /// Everything until the fuse stops the machine.
    pub until_fuse: Option<Usd>,
    /// What remains after the fuse: the disks, per month.
    pub after_fuse_per_month: Option<Usd>,
}

/// How far a standby is on a chain that nobody here follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OtherChain {
    /// Its own probes say only whether it is well.
    Probed,
    /// The agent knows this kind of node: it counts the height, the age of the head and the peers by itself.
    Read {
        /// The name of the chain that it has to report; `None` where such nodes report none.
        chain_id: Option<String>,
    },
}

/// Every threshold a decision uses. The defaults follow from one sentence: creating is cheap and harmless, be quick.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Decide only, or act as well.
    pub mode: Mode,
    /// How many independent signals have to say *down*. Two: one broken sensor must not start a machine.
    pub needed: usize,
    /// For how long, without a break. Five minutes: most reboots are over by then.
    pub hold_down: Span,
    /// One signal alone, or some keys silent, for this long is worth a mail.
    pub suspected_mail_after: Span,
    /// How often people are notified again of what lasts.
    pub remind_every: Span,
    /// How long home has to attest again before the standby goes.
    pub healthy_delay: Span,
    /// More than this share of the validators down together is an outage of the site, 0.0 to 1.0.
    pub max_unhealthy: f64,
    /// After an incident ended, none opens by itself for this long.
    pub cooldown: Span,
    /// No more automatic incidents than this in any 24 hours.
    pub max_incidents_per_day: usize,
    /// A standby not needed, promoted or retained by then is a human's question. Also the machine's fuse.
    pub standby_ttl: Span,
    /// A report whose counter has not moved for this long is no report.
    pub report_stale_after: Span,
    /// For how long a standby has to have everything before it is called ready. Three epochs of mainnet: one that has
    /// just caught up may fall behind again at once.
    pub ready_hold: Span,
    /// A standby that does not go on for this long is stuck, and somebody is told.
    pub stuck_after: Span,
    /// A machine that has written nothing by then, counted from when it was known, has not booted.
    pub boot_deadline: Span,
    /// How many machines of one incident may fail to boot before a human is asked.
    pub max_boot_attempts: u32,
    /// Without a machine by then, somebody is told; trying goes on.
    pub provisioning_deadline: Span,
    /// How often a machine is looked at.
    pub observe_every: Span,
    /// How often all zones are searched for a second machine of the incident.
    pub recheck_every: Span,
    /// The first pause after a failed action; doubles up to `retry_cap`.
    pub retry_after: Span,
    /// The longest pause between two tries.
    pub retry_cap: Span,
    /// How long an action may take in all; after that it is looked for instead.
    pub action_timeout: Span,
    /// Where to create, in order of preference.
    pub ladder: Vec<PricedRung>,
    /// The most one incident may cost until its fuse.
    pub budget_per_incident: Option<Usd>,
    /// The most that incidents opened in the last 30 days may cost together.
    pub budget_per_month: Option<Usd>,
    /// Who is told.
    pub mail_to: Vec<String>,
    /// The start-up bundle is a placeholder: the machine would not follow any chain, and people are told so.
    pub simulated: bool,
    /// Validators of chains that nobody here follows, and by what their standbys are judged instead. No genesis root is
    /// asked of them.
    pub other_chains: BTreeMap<ValidatorId, OtherChain>,
    /// Consensus peers a ready standby has at least.
    pub min_peers: u32,
    /// How old its head may be.
    pub max_head_age: Span,
    /// How far its clock may be off.
    pub max_clock_offset: Span,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            mode: Mode::Observe,
            needed: 2,
            hold_down: Span::from_mins(5),
            suspected_mail_after: Span::from_mins(20),
            remind_every: Span::from_hours(24),
            healthy_delay: Span::from_mins(20),
            max_unhealthy: 0.5,
            cooldown: Span::from_hours(1),
            max_incidents_per_day: 3,
            standby_ttl: Span::from_hours(72),
            report_stale_after: Span::from_mins(10),
            ready_hold: Span::from_secs(19 * 60 + 12),
            stuck_after: Span::from_mins(30),
            boot_deadline: Span::from_mins(20),
            max_boot_attempts: 2,
            provisioning_deadline: Span::from_mins(30),
            observe_every: Span::from_secs(30),
            recheck_every: Span::from_mins(10),
            retry_after: Span::from_secs(10),
            retry_cap: Span::from_mins(10),
            action_timeout: Span::from_mins(6),
            ladder: Vec::new(),
            budget_per_incident: None,
            budget_per_month: None,
            mail_to: Vec::new(),
            simulated: true,
            other_chains: BTreeMap::new(),
            min_peers: 5,
            max_head_age: Span::from_secs(60),
            max_clock_offset: Span::from_millis(500),
        }
    }
}

impl Policy {
    /// The pause before try number `attempt` (from 0).
    #[must_use]
    pub fn backoff(&self, attempt: u32) -> Span {
        Backoff::new(self.retry_after, self.retry_cap).pause(attempt)
    }

    /// What a machine of this rung costs in this time, in dollars; `None` when its price is not known.
    #[must_use]
    pub fn cost(&self, rung: &Rung, ran: Span) -> Option<f64> {
        let priced = self.ladder.iter().find(|priced| priced.rung == *rung)?;
        Some(priced.per_hour?.0 * ran.as_secs_f64() / 3600.0)
    }

    /// When the fuse of a machine created at this moment burns.
    #[must_use]
    pub fn fuse_at(&self, created_at: Time) -> Time {
        created_at.plus(self.standby_ttl)
    }
}
