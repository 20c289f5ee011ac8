//! What Alertmanager sends: webhook payload version 4, read leniently. It does not know who the alerts are for.
//!
//! Everything that belongs to the route or the receiver (`receiver`, `groupKey`, `groupLabels`, `externalURL`, …) is
//! left unread: it changes with Alertmanager's configuration, and by nobody's intention.

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::domain::{
    Time,
    alerts::{Fingerprint, Labels},
    one_line,
};

#[derive(Debug)]
pub(super) struct WebhookMessage {
    pub(super) alerts: Vec<WebhookAlert>,
    /// How many alerts were left out because of `max_alerts`.
    pub(super) truncated: u64,
}

#[derive(Debug)]
pub(super) struct WebhookAlert {
    pub(super) status: AlertStatus,
    pub(super) labels: Labels,
    pub(super) summary: String,
    pub(super) starts_at: Option<Time>,
    pub(super) ends_at: Option<Time>,
    pub(super) fingerprint: Fingerprint,
}

impl WebhookAlert {
    /// Its `alertname`; every alert from Prometheus has one.
    pub(super) fn name(&self) -> &str {
        self.labels.get("alertname").map_or("an alert without a name", String::as_str)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AlertStatus {
    Firing,
    Resolved,
    /// A word that version 4 does not have. It is not evidence of anything.
    Other,
}

/// Why a body is not a message. The text goes into Alertmanager's log, where the operator looks.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    #[error(
        "the body is not Alertmanager's JSON ({0}); use a webhook_config without a payload template, pointed at this URL"
    )]
    NotJson(String),
    /// Another version, or none.
    #[error(
        "the payload's version is {0}, and only \"4\" is understood; use Alertmanager 0.7 or later and a \
         webhook_config without a payload template"
    )]
    Version(String),
    /// Version 4, but the fields are not what version 4 has.
    #[error("the payload says version 4 but does not look like it ({0}); remove the payload template")]
    Shape(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    alerts: Vec<WireAlert>,
    truncated_alerts: Option<u64>,
}

#[derive(Deserialize)]
struct VersionOnly {
    version: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireAlert {
    status: String,
    labels: Option<Labels>,
    annotations: Option<Annotations>,
    starts_at: Option<String>,
    ends_at: Option<String>,
    fingerprint: Option<String>,
}

/// The annotations that rule sets use for a line of text; the others are not even kept while reading.
#[derive(Default, Deserialize)]
pub(super) struct Annotations {
    summary: Option<String>,
    message: Option<String>,
    description: Option<String>,
}

impl Annotations {
    pub(super) fn into_summary(self) -> String {
        self.summary.or(self.message).or(self.description).unwrap_or_default()
    }
}

pub(super) fn parse(body: &[u8]) -> Result<WebhookMessage, PayloadError> {
    // The version first: what another version lacks should not hide that it is another one.
    let VersionOnly { version } =
        serde_json::from_slice(body).map_err(|error| PayloadError::NotJson(error.to_string()))?;
    match version {
        Some(serde_json::Value::String(version)) if version == "4" => {}
        Some(other) => return Err(PayloadError::Version(one_line(&other.to_string(), 40))),
        None => return Err(PayloadError::Version("missing".into())),
    }
    let envelope: Envelope = serde_json::from_slice(body).map_err(|error| PayloadError::Shape(error.to_string()))?;
    let alerts = envelope.alerts.into_iter().map(told).collect();
    Ok(WebhookMessage { alerts, truncated: envelope.truncated_alerts.unwrap_or(0) })
}

fn told(wire: WireAlert) -> WebhookAlert {
    let labels = wire.labels.unwrap_or_default();
    let status = match wire.status.as_str() {
        "firing" => AlertStatus::Firing,
        "resolved" => AlertStatus::Resolved,
        _ => AlertStatus::Other,
    };
    WebhookAlert {
        status,
        fingerprint: fingerprint(wire.fingerprint.as_deref(), &labels),
        labels,
        summary: wire.annotations.unwrap_or_default().into_summary(),
        starts_at: wire.starts_at.as_deref().and_then(time),
        ends_at: wire.ends_at.as_deref().and_then(time),
    }
}

/// Alertmanager's fingerprint, or one of our own from the labels, so that nothing odd gets into a key.
pub(super) fn fingerprint(told: Option<&str>, labels: &Labels) -> Fingerprint {
    told.and_then(Fingerprint::new).unwrap_or_else(|| {
        let mut hash = Sha256::new();
        for text in labels.iter().flat_map(|(name, value)| [name, value]) {
            hash.update(text.as_bytes());
            // A byte that UTF-8 never has, so that no two sets of labels read the same.
            hash.update([0xff]);
        }
        let digits: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Fingerprint::new(&digits).expect("eight bytes make 16 digits")
    })
}

/// A time from outside, in whole milliseconds, because the list of alerts has no more. Go's zero time (year 1, "not
/// yet") and whatever is before 1970 or not a time at all is none; after the year 9999 it is the last moment there is.
pub(super) fn time(text: &str) -> Option<Time> {
    let time = match text.parse::<Time>() {
        Ok(time) => time,
        Err(_) if text.starts_with("9999-") => Time::MAX,
        Err(_) => return None,
    };
    let milliseconds = time.as_millisecond();
    if milliseconds <= 0 {
        return None;
    }
    // The very last second there is has no milliseconds of its own.
    Time::from_millisecond(milliseconds).or_else(|_| Time::from_second(milliseconds / 1_000)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(alert: &str) -> String {
        format!(r#"{{"version":"4","truncatedAlerts":2,"receiver":"a\\.b","groupKey":7,"alerts":[{alert}]}}"#)
    }

    #[test]
    fn only_version_status_and_alerts_are_needed() {
        let message = parse(br#"{"version":"4","alerts":[{"status":"firing"}]}"#).expect("enough");
        let alert = &message.alerts[0];
        assert_eq!((message.truncated, alert.status, alert.starts_at), (0, AlertStatus::Firing, None));
        assert_eq!(alert.fingerprint.to_string(), "e3b0c44298fc1c14", "of no labels");
        assert!(parse(br#"{"version":"4","alerts":[{"status":"muted","labels":null,"annotations":null}]}"#).is_ok());
    }

    #[test]
    fn a_firing_alert_of_year_1_has_no_end_and_absurd_times_are_bounded() {
        let text = body(
            r#"{"status":"firing","startsAt":"2026-11-21T01:06:52.53171273Z","endsAt":"0001-01-01T00:00:00Z",
                "generatorURL":[],"fingerprint":"e1552dd47b7bee5f"}"#,
        );
        let message = parse(text.as_bytes()).expect("a payload");
        let alert = &message.alerts[0];
        assert_eq!((message.truncated, alert.ends_at), (2, None));
        assert_eq!(alert.starts_at.map(|time| time.to_string()).as_deref(), Some("2026-11-21T01:06:52.531Z"));
        assert_eq!(time("2026-11-21T02:06:52.531+01:00"), alert.starts_at);
        assert!(
            time("9999-12-31T23:59:59.999999999Z")
                .is_some_and(|time| time > Time::from_second(253_402_000_000).expect("year 9999"))
        );
        for absurd in [
            "0001-01-01T00:00:00Z",
            "0000-01-01T00:00:00Z",
            "-000001-01-01T00:00:00Z",
            "",
            "soon",
            "99999-01-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
        ] {
            assert_eq!(time(absurd), None, "{absurd}");
        }
    }

    #[test]
    fn another_version_is_refused_with_what_to_do() {
        for (body, version) in [
            (r#"{"version":"3","alert":[{}]}"#, "\"3\""),
            (r#"{"version":4,"alerts":[]}"#, "4"),
            (r#"{"alerts":[]}"#, "missing"),
        ] {
            let error = parse(body.as_bytes()).expect_err("not version 4");
            assert_eq!(error, PayloadError::Version(version.into()));
            assert!(error.to_string().contains("webhook_config"));
        }
    }

    #[test]
    fn what_is_not_a_payload_is_refused() {
        for body in ["", "hello", "<html>", "[]", "{\"version\":\"4\"", "\u{feff}{}", "7"] {
            assert!(matches!(parse(body.as_bytes()), Err(PayloadError::NotJson(_))), "{body}");
        }
        for body in [r#"{"version":"4"}"#, r#"{"version":"4","alerts":[{}]}"#, r#"{"version":"4","alerts":{}}"#] {
            assert!(matches!(parse(body.as_bytes()), Err(PayloadError::Shape(_))), "{body}");
        }
        let deep = format!(r#"{{"version":"4","alerts":{}"#, "[".repeat(100_000));
        assert!(parse(deep.as_bytes()).is_err());
    }

    #[test]
    fn an_odd_fingerprint_never_gets_into_a_key() {
        for odd in ["../../owners/eth-0", "E1552DD47B7BEE5F", "", "e1552dd47b7bee5f0"] {
            assert_ne!(fingerprint(Some(odd), &Labels::new()).to_string(), odd);
        }
        let one = Labels::from([("a".into(), "bc".into())]);
        let other = Labels::from([("ab".into(), "c".into())]);
        assert_ne!(fingerprint(None, &one), fingerprint(None, &other));
    }
}
