//! The alert with which `failover check` tries the way here. It is counted and shown, and is never evidence: no mapping
//! takes it, no ledger keeps it, and no incident can come of it.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::domain::{Time, alerts::Labels};

/// Its `alertname`.
pub const NAME: &str = "FailoverTest";
/// The label with its id, by which whoever has sent it knows it again.
pub const ID: &str = "failover_test";

/// Whether it is one, whatever else its labels say.
pub(super) fn is_one(labels: &Labels) -> bool {
    labels.get("alertname").map(String::as_str) == Some(NAME) && labels.contains_key(ID)
}

pub(super) fn id(labels: &Labels) -> Option<Uuid> {
    labels.get(ID).and_then(|id| id.parse().ok())
}

/// Labels and texts as Alertmanager's API v2 takes them. It ends by itself, also where nobody takes it back.
#[must_use]
pub fn alert(id: Uuid, more: &[(String, String)], now: Time, until: Time) -> Value {
    let mut labels = serde_json::Map::new();
    labels.extend(more.iter().map(|(name, value)| (name.clone(), value.clone().into())));
    labels.insert("alertname".into(), NAME.into());
    labels.insert(ID.into(), id.to_string().into());
    json!({
        "labels": labels,
        "annotations": {"summary": "a test by `failover check`; nothing is wrong, and it ends by itself"},
        "startsAt": now.to_string(),
        "endsAt": until.to_string(),
    })
}

/// The same as Alertmanager sends it to a webhook.
#[must_use]
pub fn message(id: Uuid, now: Time, until: Time) -> Value {
    let mut alert = alert(id, &[], now, until);
    alert["status"] = "firing".into();
    json!({"version": "4", "truncatedAlerts": 0, "status": "firing", "receiver": "failover", "alerts": [alert]})
}

#[cfg(test)]
mod tests {
    use super::{super::mapping::Mapping, super::mapping::Mappings, *};
    use crate::domain::{Evidence, ValidatorId};

    #[test]
    fn no_mapping_takes_a_test_alert_whatever_its_labels_are() {
        let mapping = Mapping {
            validator: ValidatorId::new("eth-0").unwrap(),
            matchers: "severity=critical".parse().unwrap(),
            evidence: Evidence::Process,
        };
        let mappings = Mappings::new([mapping], None);
        let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut labels: Labels = [label("alertname", NAME), label("severity", "critical")].into();
        assert_eq!(mappings.take(&labels).len(), 1, "one that only has its name is an alert like others");
        labels.insert(ID.into(), Uuid::nil().to_string());
        assert!(mappings.take(&labels).is_empty() && id(&labels) == Some(Uuid::nil()));
    }
}
