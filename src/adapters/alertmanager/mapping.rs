//! Which alerts count for which validator, and what they rest on. It does not say what an alert means.

use std::sync::Arc;

use super::test_alert;
use crate::domain::{
    Evidence, ValidatorId,
    alerts::{Alert, Labels, Matchers},
};

/// Alerts that meet the matchers count for the validator, as this evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    pub validator: ValidatorId,
    pub matchers: Matchers,
    pub evidence: Evidence,
}

/// All mappings, and which alert is the Watchdog.
#[derive(Clone, Debug, Default)]
pub struct Mappings {
    all: Vec<(Mapping, Arc<str>)>,
    watchdog: Option<Matchers>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) validator: ValidatorId,
    pub(super) evidence: Evidence,
    pub(super) mapping: Arc<str>,
}

impl Mappings {
    /// Takes mappings in the order of the configuration, which matters.
    ///
    /// One alert is one piece of evidence. When several mappings of *one* validator match it, the first counts;
    /// otherwise one alert could pass for two independent signals. It may count for several validators.
    #[must_use]
    pub fn new(mappings: impl IntoIterator<Item = Mapping>, watchdog: Option<Matchers>) -> Self {
        let named = |mapping: Mapping| {
            let text = name(mapping.matchers.text());
            (mapping, text)
        };
        Self { all: mappings.into_iter().map(named).collect(), watchdog }
    }

    pub(super) fn is_watchdog(&self, labels: &Labels) -> bool {
        self.watchdog.as_ref().is_some_and(|watchdog| watchdog.matches(labels))
    }

    pub(super) fn take(&self, labels: &Labels) -> Vec<Taken> {
        let mut taken: Vec<Taken> = Vec::new();
        if test_alert::is_one(labels) {
            return taken;
        }
        for (mapping, text) in &self.all {
            if taken.iter().all(|known| known.validator != mapping.validator) && mapping.matchers.matches(labels) {
                let validator = mapping.validator.clone();
                taken.push(Taken { validator, evidence: mapping.evidence, mapping: Arc::clone(text) });
            }
        }
        taken
    }

    /// Whether a stored alert was taken by a mapping that is still there.
    pub(super) fn still_has(&self, alert: &Alert) -> bool {
        self.all.iter().any(|(mapping, text)| {
            mapping.validator == alert.validator && mapping.evidence == alert.evidence && *text == alert.mapping
        })
    }
}

/// What a mapping is called in stored alerts. It is compared with those of an earlier configuration, so its bytes stay as
/// they are.
fn name(text: &str) -> Arc<str> {
    const MOST: usize = 256;
    if text.len() <= MOST {
        return text.into();
    }
    format!("{}…", &text[..text.floor_char_boundary(MOST - '…'.len_utf8())]).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(validator: &str, matchers: &str, evidence: Evidence) -> Mapping {
        let validator = ValidatorId::new(validator).expect("a name");
        Mapping { validator, matchers: matchers.parse().expect("matchers"), evidence }
    }

    #[test]
    fn one_alert_counts_once_for_a_validator_and_may_count_for_several() {
        let mappings = Mappings::new(
            vec![
                mapping("eth-0", "alertname=Down", Evidence::Process),
                mapping("eth-0", "alertname=~D.*", Evidence::Host),
                mapping("eth-1", "alertname=~D.*", Evidence::Host),
                mapping("eth-2", "alertname=Other", Evidence::Host),
            ],
            None,
        );
        let labels = Labels::from([("alertname".into(), "Down".into())]);
        let taken: Vec<_> =
            mappings.take(&labels).into_iter().map(|taken| (taken.validator.to_string(), taken.evidence)).collect();
        assert_eq!(taken, [("eth-0".into(), Evidence::Process), ("eth-1".into(), Evidence::Host)]);
    }
}
