//! What a webhook of Alertmanager or of Grafana sends, read leniently. It does not know who the alerts are for.
//!
//! Alertmanager's payload has version 4; Grafana-managed alerts have version 1 and the same fields. Everything that
//! belongs to the route or the receiver (`receiver`, `groupKey`, `groupLabels`, `externalURL`, …) is left unread: it
//! changes with the sender's configuration, and by nobody's intention.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

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
    /// Parts that are no alert. They are skipped, and the rest is taken.
    pub(super) unreadable: Unreadable,
}

/// Parts of a list that could not be read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Unreadable {
    pub(super) count: u64,
    /// Why, for the first of them.
    pub(super) why: String,
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
    /// Its rule could not be evaluated, or the word is another one. It is not evidence of anything.
    NotEvaluated,
}

/// Why a body is not a message. The text goes into the sender's log, where the operator looks.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    #[error("the body is not Alertmanager's JSON ({0}); use a webhook_config without a payload template")]
    NotJson(String),
    /// What Prometheus and vmalert send to Alertmanager.
    #[error(
        "the body is a list, as Prometheus and vmalert send it to an Alertmanager, and this is not one: let them notify \
         an Alertmanager (vmalert by -notifier.url), and give that a webhook_config with this URL"
    )]
    ApiList,
    /// Another version, or none.
    #[error(
        "the payload's version is {0}, and only \"4\" (Alertmanager 0.7 or later) and \"1\" (Grafana's own alerting, \
         9 or later) are understood; use a webhook_config, or in Grafana a contact point, without a payload template"
    )]
    Version(String),
    /// The version is right, but the fields are not what it has.
    #[error("the payload does not look like the version it names ({0}); remove the payload template")]
    Shape(String),
}

/// Read in one go, so that a broken part of it breaks nothing else.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    #[serde(borrow)]
    version: Option<&'a RawValue>,
    #[serde(default)]
    alerts: Option<Readable<WireAlert>>,
    #[serde(borrow)]
    truncated_alerts: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireAlert {
    status: String,
    labels: Option<Labels>,
    #[serde(default, deserialize_with = "or_none")]
    annotations: Option<Annotations>,
    starts_at: Option<String>,
    ends_at: Option<String>,
    fingerprint: Option<String>,
}

/// The annotations that rule sets use for a line of text, and Grafana's own; the others are not even kept while reading.
#[derive(Default, Deserialize)]
pub(super) struct Annotations {
    summary: Option<String>,
    message: Option<String>,
    description: Option<String>,
    grafana_state_reason: Option<String>,
}

impl Annotations {
    pub(super) fn into_summary(self) -> String {
        self.summary.or(self.message).or(self.description).unwrap_or_default()
    }
}

/// Whether an alert fires because Grafana could not evaluate its rule. Such an alert has the labels of the rule, so a
/// mapping takes it, and it says nothing about the validator.
///
/// Source: Grafana, "Stale alert instances and no data and error states": the names of the alerts, and the reasons, of
/// which there may be several (`Error, KeepLast`).
pub(super) fn is_not_evaluated(labels: &Labels, annotations: &Annotations) -> bool {
    let name = labels.get("alertname").map_or("", String::as_str);
    let mut reasons = annotations.grafana_state_reason.as_deref().unwrap_or_default().split(',').map(str::trim);
    matches!(name, "DatasourceError" | "DatasourceNoData") || reasons.any(|reason| matches!(reason, "Error" | "NoData"))
}

/// The elements of a list that can be read; one that cannot be does not lose the others.
pub(super) struct Readable<T> {
    pub(super) read: Vec<T>,
    pub(super) unreadable: Unreadable,
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Readable<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ReadableVisitor(PhantomData))
    }
}

struct ReadableVisitor<T>(PhantomData<T>);

impl<'de, T: DeserializeOwned> Visitor<'de> for ReadableVisitor<T> {
    type Value = Readable<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of alerts")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Self::Value, A::Error> {
        let mut list = Readable { read: Vec::new(), unreadable: Unreadable::default() };
        while let Some(part) = parts.next_element::<&RawValue>()? {
            match serde_json::from_str(part.get()) {
                Ok(read) => list.read.push(read),
                Err(error) => {
                    if list.unreadable.count == 0 {
                        list.unreadable.why = one_line(&error.to_string(), 200);
                    }
                    list.unreadable.count += 1;
                }
            }
        }
        Ok(list)
    }
}

/// What is only shown may be of any form.
pub(super) fn or_none<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    let part = Option::<&RawValue>::deserialize(deserializer)?;
    Ok(part.and_then(|part| serde_json::from_str(part.get()).ok()))
}

pub(super) fn parse(body: &[u8]) -> Result<WebhookMessage, PayloadError> {
    match body.trim_ascii_start().first() {
        Some(b'{') => {}
        Some(b'[') => return Err(PayloadError::ApiList),
        Some(_) => return Err(PayloadError::NotJson("it is not an object".into())),
        None => return Err(PayloadError::NotJson("it is empty".into())),
    }
    let envelope: Envelope<'_> = serde_json::from_slice(body).map_err(|error| {
        let text = one_line(&error.to_string(), 200);
        if error.is_data() { PayloadError::Shape(text) } else { PayloadError::NotJson(text) }
    })?;
    match envelope.version.map(RawValue::get) {
        Some("\"4\"" | "\"1\"") => {}
        Some(other) => return Err(PayloadError::Version(one_line(other, 40))),
        None => return Err(PayloadError::Version("missing".into())),
    }
    let Some(Readable { read, unreadable }) = envelope.alerts else {
        return Err(PayloadError::Shape("there is no list `alerts`".into()));
    };
    if read.is_empty() && unreadable.count > 0 {
        return Err(PayloadError::Shape(unreadable.why));
    }
    let truncated = envelope.truncated_alerts.and_then(|count| count.get().parse().ok()).unwrap_or(0);
    Ok(WebhookMessage { alerts: read.into_iter().map(told).collect(), truncated, unreadable })
}

fn told(wire: WireAlert) -> WebhookAlert {
    let labels = wire.labels.unwrap_or_default();
    let annotations = wire.annotations.unwrap_or_default();
    let status = match wire.status.as_str() {
        "firing" if !is_not_evaluated(&labels, &annotations) => AlertStatus::Firing,
        "resolved" => AlertStatus::Resolved,
        _ => AlertStatus::NotEvaluated,
    };
    WebhookAlert {
        status,
        fingerprint: fingerprint(wire.fingerprint.as_deref(), &labels),
        labels,
        summary: annotations.into_summary(),
        starts_at: wire.starts_at.as_deref().and_then(time),
        ends_at: wire.ends_at.as_deref().and_then(time),
    }
}

/// The fingerprint as the sender names it, or, so that nothing odd gets into a key, as Alertmanager computes it from the
/// labels: FNV-1a of every name and value, each followed by a byte that UTF-8 never has.
pub(super) fn fingerprint(told: Option<&str>, labels: &Labels) -> Fingerprint {
    told.and_then(Fingerprint::new).unwrap_or_else(|| {
        let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let texts = labels.iter().flat_map(|(name, value)| [name, value]);
        let sum = texts.flat_map(|text| text.bytes().chain([0xff])).fold(0xcbf2_9ce4_8422_2325, hash);
        Fingerprint::new(&format!("{sum:016x}")).expect("a number of 64 bits has 16 digits")
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
        assert_eq!(alert.fingerprint.to_string(), "cbf29ce484222325", "of no labels");
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
            (r#"{"text":"ValidatorDown","alerts":[{"name":"ValidatorDown"}]}"#, "missing"),
            (r#"{"ruleName":"ValidatorDown","state":"alerting","evalMatches":[]}"#, "missing"),
        ] {
            let error = parse(body.as_bytes()).expect_err("another version");
            assert_eq!(error, PayloadError::Version(version.into()));
            assert!(error.to_string().contains("webhook_config") && error.to_string().contains("Grafana"), "{error}");
        }
    }

    #[test]
    fn what_is_not_a_payload_is_refused() {
        for body in ["", "hello", "<html>", "{\"version\":\"4\"", "\u{feff}{}", "7"] {
            assert!(matches!(parse(body.as_bytes()), Err(PayloadError::NotJson(_))), "{body}");
        }
        for body in [r#"{"version":"4"}"#, r#"{"version":"4","alerts":[{}]}"#, r#"{"version":"4","alerts":{}}"#] {
            assert!(matches!(parse(body.as_bytes()), Err(PayloadError::Shape(_))), "{body}");
        }
        let deep = format!(r#"{{"version":"4","alerts":{}"#, "[".repeat(100_000));
        assert!(parse(deep.as_bytes()).is_err());
    }

    #[test]
    fn what_is_sent_to_an_alertmanager_is_explained() {
        let error =
            parse(br#" [{"labels":{"alertname":"Down"},"endsAt":"2026-11-21T01:06:52Z"}]"#).expect_err("no message");
        assert_eq!(error, PayloadError::ApiList);
        assert!(error.to_string().contains("-notifier.url"), "{error}");
    }

    #[test]
    fn a_part_that_cannot_be_read_does_not_lose_the_rest() {
        let good = r#"{"status":"firing","labels":{"alertname":"A"}}"#;
        for odd in [
            "7",
            "null",
            "[[]]",
            "{}",
            r#"{"status":7}"#,
            r#"{"status":"firing","labels":["a"]}"#,
            r#"{"status":"firing","labels":{"a":1}}"#,
            r#"{"status":"firing","startsAt":17}"#,
        ] {
            let message = parse(body(&format!("{odd},{good},{odd}")).as_bytes()).expect("a payload");
            assert_eq!((message.alerts.len(), message.unreadable.count), (1, 2), "{odd}");
            assert!(message.unreadable.why.contains("line 1"), "{}", message.unreadable.why);
        }
        for shown in [r#""annotations":{"summary":7}"#, r#""annotations":[]"#, r#""annotations":null"#] {
            let message = parse(body(&format!(r#"{{"status":"firing",{shown}}}"#)).as_bytes()).expect("a payload");
            assert_eq!((message.alerts.len(), message.unreadable.count), (1, 0), "{shown}");
        }
    }

    /// As Grafana documents it and as it was recorded, shortened.
    #[test]
    fn grafanas_own_alerts_are_the_same_fields_and_what_it_could_not_evaluate_is_no_evidence() {
        let statuses = |alert: &str| {
            let text = format!(
                r#"{{"receiver":"failover","status":"firing","orgId":1,"alerts":[{alert}],"groupLabels":{{}},
                    "externalURL":"https://grafana.example/","version":"1","groupKey":"{{}}:{{}}","truncatedAlerts":0,
                    "title":"[FIRING:1]","state":"alerting","message":"**Firing**"}}"#
            );
            let message = parse(text.as_bytes()).expect("a payload");
            message.alerts.iter().map(|alert| alert.status).collect::<Vec<_>>()
        };
        let alert = |status: &str, name: &str, reason: &str| {
            format!(
                r#"{{"status":"{status}","labels":{{"alertname":"{name}","validator":"eth-0","grafana_folder":"Alerts"}},
                    "annotations":{{"summary":"no answer"{reason}}},"startsAt":"2025-10-08T14:33:30Z",
                    "endsAt":"0001-01-01T00:00:00Z","values":{{"B":1}},"valueString":"[ var='B' value=1 ]",
                    "generatorURL":"?orgId=1","fingerprint":"c6eadffa33fcdf37","silenceURL":"https://grafana.example/s",
                    "dashboardURL":"","panelURL":"","orgId":1}}"#
            )
        };
        let reason = |text: &str| format!(r#","grafana_state_reason":"{text}""#);
        use AlertStatus::{Firing, NotEvaluated, Resolved};
        for (status, name, said, expected) in [
            ("firing", "ValidatorDown", String::new(), Firing),
            ("resolved", "ValidatorDown", reason("Updated"), Resolved),
            ("firing", "ValidatorDown", reason("Error"), NotEvaluated),
            ("firing", "ValidatorDown", reason("NoData, KeepLast"), NotEvaluated),
            ("firing", "DatasourceError", String::new(), NotEvaluated),
            ("firing", "DatasourceNoData", String::new(), NotEvaluated),
            ("resolved", "DatasourceError", String::new(), Resolved),
            ("pending", "ValidatorDown", String::new(), NotEvaluated),
        ] {
            assert_eq!(statuses(&alert(status, name, &said)), [expected], "{status} {name} {said}");
        }
    }

    #[test]
    fn a_missing_fingerprint_is_computed_as_alertmanager_does() {
        let labels =
            [("alertname", "ValidatorDown"), ("instance", "home-1"), ("job", "validator"), ("severity", "critical")];
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert_eq!(fingerprint(None, &labels).to_string(), "e1552dd47b7bee5f");
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
