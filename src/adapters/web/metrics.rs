//! Metrics: gauges made from the status at the moment they are asked for, and the counters of those who count.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::{
        EncodeLabelSet,
        text::{encode_eof, encode_registry},
    },
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use crate::{domain::brief, runtime::status::Status};

mod standby;

use standby::Standbys;

/// OpenMetrics, as Prometheus asks for it.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Of {
    validator: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OwnedBy {
    validator: String,
    place: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct InPhase {
    validator: String,
    phase: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Opinion {
    validator: String,
    source: String,
    evidence: String,
    verdict: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Refused {
    validator: String,
    fault: String,
    said: String,
}

/// An empty one; whoever counts registers its counters there once.
#[must_use]
pub fn registry() -> Registry {
    Registry::with_prefix("failover")
}

/// The text. Without a status only what every process knows. One that waits for the lease says what it sees itself.
#[must_use]
pub fn render(status: Option<&Status>, counters: &Registry) -> String {
    let mut registry = registry();
    let leads: Gauge = Gauge::default();
    leads.set(i64::from(status.is_some_and(|status| status.holds_lease)));
    registry.register("leads", "Whether this process holds the lease", leads);
    if let Some(status) = status {
        gauges(&mut registry, status);
    }
    let mut text = String::new();
    // Writing into a String does not fail.
    let _ = encode_registry(&mut text, &registry);
    let _ = encode_registry(&mut text, counters);
    let _ = encode_eof(&mut text);
    text
}

fn gauges(registry: &mut Registry, status: &Status) {
    let phases = Family::<InPhase, Gauge>::default();
    let opinions = Family::<Opinion, Gauge>::default();
    let mails = Family::<Of, Gauge>::default();
    let failed = Family::<Of, Gauge>::default();
    let refused = Family::<Refused, Gauge>::default();
    let dropped = Family::<Of, Counter>::default();
    let owners = Family::<OwnedBy, Gauge>::default();
    let [grants, promotions, kept] = [(); 3].map(|()| Family::<Of, Gauge>::default());
    let standbys = Standbys::default();
    let expiries = Family::<Of, Gauge<f64, AtomicU64>>::default();
    for validator in &status.validators {
        let name = validator.name.to_string();
        let of = || Of { validator: name.clone() };
        let phase = validator.phase.replace(' ', "_");
        phases.get_or_create(&InPhase { validator: name.clone(), phase }).set(1);
        for signal in &validator.signals {
            let opinion = Opinion {
                validator: name.clone(),
                source: signal.source.clone(),
                evidence: signal.evidence.clone(),
                verdict: signal.verdict.clone(),
            };
            opinions.get_or_create(&opinion).set(1);
        }
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        mails.get_or_create(&of()).set(count(validator.mails_waiting));
        dropped.get_or_create(&of()).inc_by(validator.notices_dropped);
        if let Some(obstacle) = &validator.mail_obstacle {
            let fault = obstacle.fault.as_ref().to_owned();
            // Enough to see what it is about, and little enough for a label.
            let said = brief(&obstacle.why);
            let labels = Refused { validator: name.clone(), fault, said };
            refused.get_or_create(&labels).set(1);
        }
        failed.get_or_create(&of()).set(count(validator.mails_failed));
        if let Some(owner) = &validator.owner {
            let place = owner.place.clone();
            owners.get_or_create(&OwnedBy { validator: name.clone(), place }).set(1);
            if let Some(grant) = owner.grant {
                grants.get_or_create(&of()).set(i64::try_from(grant).unwrap_or(i64::MAX));
            }
            promotions.get_or_create(&of()).set(i64::from(validator.promotion.is_some()));
            kept.get_or_create(&of()).set(count(validator.kept.len()));
        }
        if let Some(standby) = &validator.standby {
            standbys.take(&name, standby);
            if let Some(at) = standby.expires_at {
                expiries.get_or_create(&of()).set(at.as_second() as f64);
            }
        }
    }
    registry.register("validator_phase", "1 for the phase a validator is in", phases);
    registry.register("signal", "1 for what a source says now", opinions);
    registry.register("mails_waiting", "Mail the server has not taken yet", mails);
    registry.register("mails_failed", "Mail of these that waits until somebody mends something", failed);
    registry.register("mail_refused", "1 for what keeps the mail that waits, in the server's words", refused);
    registry.register("notices_dropped", "Copies of notices that nobody will get; the journal says why", dropped);
    registry.register("owner", "1 for the place that may sign, by the verified grant", owners);
    registry.register("grant_number", "Of the grant in force", grants);
    registry.register("promotion_open", "1 while a promotion or demotion is open", promotions);
    registry.register("kept_machines", "Machines that own nothing any more and may hold keys", kept);
    standbys.register(registry);
    registry.register_with_unit("standby_expires_timestamp", "When the standby stops itself", Unit::Seconds, expiries);
    let unreadable: Gauge = Gauge::default();
    unreadable.set(i64::try_from(status.unreadable.len()).unwrap_or(i64::MAX));
    registry.register("unreadable_records", "Records of the ledger that cannot be read", unreadable);
}
