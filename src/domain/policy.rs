//! What the operator allows: every threshold of a decision, already validated.
//!
//! It holds no addresses and no secrets; those belong to the adapters.

use std::collections::BTreeMap;

use super::{Backoff, Rung, Span, Time, TimeExt, Usd, ValidatorId, runbook::MailedRunbook};

/// Whether decisions are carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Decides and notifies, creates nothing.
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
    /// Everything until its limit stops the machine.
    pub at_most: Option<Usd>,
    /// What remains once it is stopped: the disks, per month.
    pub stopped_per_month: Option<Usd>,
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

/// The keys of the section `policy`: name, type, default and meaning of each, once. Their bounds are in
/// [`Policy::contradictions`]. What needs the list hands over a macro that takes it: [`Policy`], the section as it is
/// written, and the statement `policy` of a scenario. The meanings are the descriptions in `failover config schema`.
macro_rules! policy_keys {
    ($take:ident) => {
        $take! {
            /// For how long two independent sources have to say down without a break.
            hold_down: Span = Span::from_mins(5); // Most reboots are over by then.
            /// One source alone, or some keys silent, for this long is worth a mail.
            suspected_mail_after: Span = Span::from_mins(20);
            /// How long home has to attest again before the standby goes.
            healthy_delay: Span = Span::from_mins(20);
            /// More than this share of the validators down together is an outage of the site.
            max_unhealthy: f64 = 0.5;
            /// After an incident ended, none opens by itself for this long.
            cooldown: Span = Span::from_hours(1);
            /// No more automatic incidents of one validator than this in 24 hours.
            max_incidents_per_day: usize = 3;
            /// How long a standby may run undecided. Also its `maxRunDuration`: then Compute Engine itself stops it.
            standby_ttl: Span = Span::from_hours(72);
            /// For how long a standby has to have everything before it is called ready.
            ready_hold: Span = Span::from_secs(19 * 60 + 12); // Three epochs of mainnet: it may fall behind again at once.
            /// A standby that makes no progress for this long is stuck, and somebody is notified.
            stuck_after: Span = Span::from_mins(30);
            /// A machine that has written nothing by then has not booted: it is deleted and another one is tried.
            boot_deadline: Span = Span::from_mins(20);
            /// How many machines of one incident may fail to boot before a human is asked.
            max_boot_attempts: u32 = 2;
            /// How long the watcher that writes may be silent before another takes over; by default 55 s in a bucket.
            lease: Span = Span::from_secs(30);
            /// How long a witness does not see home's watcher before it takes the lease, and says that home is down.
            site_silence: Span = Span::from_mins(10); // A watcher that is moved or upgraded is back by then.
            /// How many consensus peers a ready standby has at least.
            min_peers: u32 = 5;
            /// How old the head block of a ready standby may be.
            max_head_age: Span = Span::from_mins(1);
        }
    };
}
pub(crate) use policy_keys;

macro_rules! define {
    ($($(#[$meaning:meta])* $key:ident: $type:ty = $default:expr;)*) => {
        /// Every threshold a decision uses. The defaults follow from one sentence: creating is cheap and harmless, be
        /// quick.
        ///
        /// After the keys of the file's section `policy` comes what no file can change, then what the file says
        /// elsewhere.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Policy {
            $($(#[$meaning])* pub $key: $type,)*
            /// How many independent signals have to say *down*.
            pub needed: usize,
            /// How often people are notified again of what lasts.
            pub remind_every: Span,
            /// A report whose counter has not moved for this long is no report.
            pub report_stale_after: Span,
            /// How far the clock of a ready standby may be off.
            pub max_clock_offset: Span,
            /// Without a machine by then, somebody is notified; it keeps trying.
            pub provisioning_deadline: Span,
            /// How often a machine is looked at.
            pub observe_every: Span,
            /// How often all zones are searched for a second machine of the incident.
            pub recheck_every: Span,
            /// How long before a machine that no incident claims is deleted people are notified of it.
            pub orphan_notice: Span,
            /// How often requests of operators are looked for in the ledger.
            pub requests_every: Span,
            /// The first pause after a failed action; doubles up to `retry_cap`.
            pub retry_after: Span,
            /// The longest pause between two tries.
            pub retry_cap: Span,
            /// Decide only, or act as well.
            pub mode: Mode,
            /// Where to create, in order of preference.
            pub ladder: Vec<PricedRung>,
            /// The most one incident may cost until its limit.
            pub budget_per_incident: Option<Usd>,
            /// The most that incidents opened in the last 30 days may cost together.
            pub budget_per_month: Option<Usd>,
            /// Who is notified.
            pub mail_to: Vec<String>,
            /// The start-up bundle is a placeholder: the machine would not follow any chain, and people are notified of
            /// it.
            pub simulated: bool,
            /// Validators of chains that nobody here follows, and by what their standbys are judged instead. No genesis
            /// root is asked of them.
            pub other_chains: BTreeMap<ValidatorId, OtherChain>,
            /// What is mailed of each validator that has a grant, whenever it has changed. Empty if nobody wants it.
            pub runbooks: BTreeMap<ValidatorId, MailedRunbook>,
            /// The command that stops what signs at each validator's home.
            pub home_stops: BTreeMap<ValidatorId, String>,
        }

        impl Default for Policy {
            fn default() -> Self {
                Self {
                    $($key: $default,)*
                    // One sensor may be broken; two that break in the same way at the same time are an outage. With one
                    // the whole confirmation would be gone.
                    needed: 2,
                    remind_every: Span::from_hours(24),
                    // The agent reports every half a minute; twenty reports lost in a row are no accident.
                    report_stale_after: Span::from_mins(10),
                    // MAXIMUM_GOSSIP_CLOCK_DISPARITY of the consensus specification: beyond it, blocks are ignored.
                    max_clock_offset: Span::from_millis(500),
                    // The whole ladder has been tried by then, whatever each rung answers.
                    provisioning_deadline: Span::from_mins(30),
                    // As often as the agent reports.
                    observe_every: Span::from_secs(30),
                    // A late insert shows within minutes, and a listing asks every zone.
                    recheck_every: Span::from_mins(10),
                    // Time to read a mail and to protect the machine; an hour of one costs less than a dollar.
                    orphan_notice: Span::from_hours(1),
                    // Each time is a request to the bucket, and a person waits.
                    requests_every: Span::from_secs(5),
                    // A lost answer is over in seconds, an outage of the cloud's API in hours.
                    retry_after: Span::from_secs(10),
                    retry_cap: Span::from_mins(10),
                    mode: Mode::Observe,
                    ladder: Vec::new(),
                    budget_per_incident: None,
                    budget_per_month: None,
                    mail_to: Vec::new(),
                    simulated: true,
                    other_chains: BTreeMap::new(),
                    runbooks: BTreeMap::new(),
                    home_stops: BTreeMap::new(),
                }
            }
        }
    };
}
policy_keys!(define);

/// What is different in a bucket, where each question is paid for: `tests/it/two/hour.rs` counts what it comes to.
impl Policy {
    /// The lifetime of a lease that is renewed in a bucket: a successor leads within a minute of its holder's death.
    pub const LEASE_IN_A_BUCKET: Span = Span::from_secs(55);
    pub const REQUESTS_EVERY_IN_A_BUCKET: Span = Span::from_secs(10);
}

/// What is wrong with a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contradiction {
    /// The keys that could be changed; the first that is written is at fault.
    pub keys: Vec<&'static str>,
    /// What is wrong and what to write instead.
    pub message: String,
}

/// Below this the ledger's own delays let go of a lease that is held.
const SHORTEST_LEASE: Span = Span::from_millis(200);
/// A witness that is later than this is none.
const LONGEST_SILENCE: Span = Span::from_hours(24);
/// The longest `maxRunDuration` that Compute Engine takes.
const MAX_RUN_DURATION: Span = Span::from_hours(120 * 24);
/// Each attempt costs a machine for `boot_deadline`; what has failed so often will fail again.
const MOST_BOOT_ATTEMPTS: u32 = 10;
/// The first word of a start-up script takes about a minute of Compute Engine's own, and is seen at the next look. A
/// machine that is abandoned sooner was sound, and so is the next one that is abandoned.
const SHORTEST_BOOT: Span = Span::from_mins(3);

impl Policy {
    /// Every threshold that is out of its bounds, or contradicts another.
    #[must_use]
    pub fn contradictions(&self) -> Vec<Contradiction> {
        let mut found = Vec::new();
        let mut wrong = |keys: &[&'static str], message| found.push(Contradiction { keys: keys.to_vec(), message });
        if self.lease < SHORTEST_LEASE {
            wrong(&["lease"], format!("policy.lease has to be at least {SHORTEST_LEASE:#}"));
        }
        let shortest = self.lease.saturating_add(self.lease);
        if self.site_silence < shortest || self.site_silence > LONGEST_SILENCE {
            let message = format!(
                "policy.site_silence has to be at least {shortest:#}, twice policy.lease, and at most {LONGEST_SILENCE:#}"
            );
            wrong(&["site_silence", "lease"], message);
        }
        if !(1..=MOST_BOOT_ATTEMPTS).contains(&self.max_boot_attempts) {
            wrong(&["max_boot_attempts"], format!("policy.max_boot_attempts has to be 1 to {MOST_BOOT_ATTEMPTS}"));
        }
        // A rehearsal never speaks, and is not given up.
        if !self.simulated && self.boot_deadline < SHORTEST_BOOT {
            let why = "a machine that is sound would be deleted before it has said its first word";
            wrong(&["boot_deadline"], format!("policy.boot_deadline has to be at least {SHORTEST_BOOT:#}: {why}"));
        }
        let (ttl, deadline) = (self.standby_ttl, self.provisioning_deadline);
        if ttl > MAX_RUN_DURATION {
            let message = format!(
                "policy.standby_ttl has to be at most {MAX_RUN_DURATION:#}, the longest that Compute Engine takes"
            );
            wrong(&["standby_ttl"], message);
        }
        if ttl < deadline {
            let message = format!("policy.standby_ttl has to be at least {deadline:#}: that long a creation may take");
            wrong(&["standby_ttl"], message);
        }
        for (key, span) in [
            ("hold_down", self.hold_down),
            ("ready_hold", self.ready_hold),
            ("stuck_after", self.stuck_after),
            ("boot_deadline", self.boot_deadline),
        ] {
            if span > ttl {
                let message = format!(
                    "policy.{key} ({span:#}) is longer than policy.standby_ttl ({ttl:#}): make it shorter, or the other \
                     longer"
                );
                wrong(&[key, "standby_ttl"], message);
            }
        }
        found
    }

    /// The pause before try number `attempt` (from 0): doubling, never longer than the cap.
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

    /// When Compute Engine stops a machine created at this moment.
    #[must_use]
    pub fn expires_at(&self, created_at: Time) -> Time {
        created_at.plus(self.standby_ttl)
    }
}
