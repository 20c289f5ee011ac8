//! Thresholds and budgets that contradict each other.

use super::{Checker, PolicySettings, Span, Usd, span, usd};
use crate::config::{
    values::{At, Duration},
    written::{Budget, Policy, Written},
};

/// Below this the ledger's own delays let go of a lease that is held.
const SHORTEST_LEASE: Span = Span::from_millis(200);
/// Each attempt costs a machine for `boot_deadline`; what has failed so often will fail again.
const MOST_BOOT_ATTEMPTS: u32 = 10;
/// The first word of a start-up script takes about a minute of Compute Engine's own, and is seen at the next look. A machine
/// that is given up sooner was sound, and so is the next one that is given up.
const SHORTEST_BOOT: Span = Span::from_mins(3);
const LONGEST_FUSE: Span = Span::from_hours(120 * 24);

impl Checker<'_> {
    pub(super) fn policy(&mut self, policy: &Policy) -> PolicySettings {
        if span(&policy.lease) < SHORTEST_LEASE {
            self.wrong(policy.lease.place, "policy.lease has to be at least 200ms");
        }
        if span(&policy.standby_ttl) > LONGEST_FUSE {
            self.wrong(policy.standby_ttl.place, "policy.standby_ttl can be 2880h at most, the longest fuse there is");
        }
        let ttl = ("policy.standby_ttl", &policy.standby_ttl);
        let stale = ("policy.report_stale_after", &policy.report_stale_after);
        self.not_longer(("policy.hold_down", &policy.hold_down), ttl);
        self.not_longer(("policy.provisioning_deadline", &policy.provisioning_deadline), ttl);
        self.not_longer(("policy.observe_every", &policy.observe_every), stale);
        self.not_longer(("policy.ready_hold", &policy.ready_hold), ttl);
        self.not_longer(("policy.stuck_after", &policy.stuck_after), ttl);
        self.not_longer(("policy.boot_deadline", &policy.boot_deadline), ttl);
        let attempts = &policy.max_boot_attempts;
        if !(1..=MOST_BOOT_ATTEMPTS).contains(&attempts.value) {
            self.wrong(attempts.place, format!("policy.max_boot_attempts is 1 to {MOST_BOOT_ATTEMPTS}"));
        }
        self.not_longer(("policy.retry_after", &policy.retry_after), ("policy.retry_cap", &policy.retry_cap));
        PolicySettings {
            hold_down: span(&policy.hold_down),
            suspected_mail_after: span(&policy.suspected_mail_after),
            healthy_delay: span(&policy.healthy_delay),
            max_unhealthy: policy.max_unhealthy.value.0,
            cooldown: span(&policy.cooldown),
            max_incidents_per_day: policy.max_incidents_per_day.value,
            standby_ttl: span(&policy.standby_ttl),
            report_stale_after: span(&policy.report_stale_after),
            ready_hold: span(&policy.ready_hold),
            stuck_after: span(&policy.stuck_after),
            boot_deadline: span(&policy.boot_deadline),
            max_boot_attempts: policy.max_boot_attempts.value,
            provisioning_deadline: span(&policy.provisioning_deadline),
            lease: span(&policy.lease),
            observe_every: span(&policy.observe_every),
            recheck_every: span(&policy.recheck_every),
            requests_every: span(&policy.requests_every),
            retry_after: span(&policy.retry_after),
            retry_cap: span(&policy.retry_cap),
            action_timeout: span(&policy.action_timeout),
            clock_jump: span(&policy.clock_jump),
            min_peers: policy.min_peers.value,
            max_head_age: span(&policy.max_head_age),
            max_clock_offset: span(&policy.max_clock_offset),
        }
    }

    /// Without a section `standby` no machine ever speaks, and none is given up.
    pub(super) fn boots(&mut self, written: &Written) {
        let deadline = &written.policy.boot_deadline;
        if written.standby.is_some() && span(deadline) < SHORTEST_BOOT {
            self.wrong(
                deadline.place,
                format!(
                    "policy.boot_deadline has to be at least {SHORTEST_BOOT:#}: a machine that is sound would be deleted \
                     before it has said its first word"
                ),
            );
        }
    }

    /// Both may be defaults; the problem stands where somebody wrote something.
    pub(super) fn not_longer(&mut self, short: (&str, &At<Duration>), long: (&str, &At<Duration>)) {
        if span(short.1) > span(long.1) {
            let place = if short.1.place.line > 0 { short.1.place } else { long.1.place };
            self.wrong(
                place,
                format!(
                    "{} ({}) is longer than {} ({}): make it shorter, or the other longer",
                    short.0, short.1.value, long.0, long.1.value
                ),
            );
        }
    }

    pub(super) fn budget(&mut self, budget: &Budget) -> (Option<Usd>, Option<Usd>) {
        let limits = [("per_incident_usd", &budget.per_incident_usd), ("per_month_usd", &budget.per_month_usd)];
        for (key, limit) in limits {
            if let Some(limit) = limit.as_ref().filter(|limit| !limit.value.is_finite() || limit.value <= 0.0) {
                self.wrong(
                    limit.place,
                    format!("budget.{key} has to be more than 0; to create nothing write 'mode: observe'"),
                );
            }
        }
        if let (Some(incident), Some(month)) = (&budget.per_incident_usd, &budget.per_month_usd)
            && incident.value > month.value
        {
            self.wrong(incident.place, "budget.per_incident_usd is more than budget.per_month_usd: lower it");
        }
        (budget.per_incident_usd.as_ref().map(usd), budget.per_month_usd.as_ref().map(usd))
    }
}
