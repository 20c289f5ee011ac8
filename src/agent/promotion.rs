//! What a machine that a promotion has taken says of that: whether its playbook has succeeded, and what keeps its gate from
//! starting the client. It starts nothing, and reads no grant.

use std::time::Duration;

use url::Url;

use crate::{
    adapters::{
        gate_status,
        http::plain_client,
        metadata::{MetadataError, MetadataServer},
    },
    domain::{
        PROMOTED_KEY,
        gate::{GatePhase, GateStatus, WaitKind},
    },
};

/// A gate on the same machine that is slower than this hangs.
const TIMEOUT: Duration = Duration::from_secs(2);

/// What was seen of a promotion; of a machine without one nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenPromotion {
    /// The playbook has succeeded with the very settings that the metadata have now.
    pub promoted: bool,
    /// It has succeeded with others, and nothing on the machine will be changed any more.
    pub with_others: bool,
    /// What keeps the gate from running the client, in words.
    pub gate: Option<String>,
}

pub struct PromotionLook {
    http: reqwest::Client,
    gate: Url,
}

impl PromotionLook {
    /// Prepares; nothing is sent. `gate` is where its port is.
    ///
    /// # Errors
    /// As [`plain_client`].
    pub fn new(gate: Url) -> reqwest::Result<Self> {
        Ok(Self { http: plain_client(TIMEOUT, http::HeaderMap::new())?, gate })
    }

    /// By the marker that the start-up script has left, which holds the settings that it was left for. Without it nobody is
    /// asked.
    pub async fn look(&self, marker: Option<&[u8]>, metadata: &MetadataServer) -> SeenPromotion {
        let Some(marker) = marker else { return SeenPromotion::default() };
        let path = format!("instance/attributes/{PROMOTED_KEY}");
        let (wanted, status) = tokio::join!(metadata.get(&path), gate_status::read(&self.http, &self.gate));
        SeenPromotion { gate: words(status), ..compare(marker, &wanted) }
    }
}

/// Without an answer nothing is known. One whose promotion was taken back has no such settings, and is no promoted one. Another
/// release of ours may write the same settings otherwise.
fn compare(marker: &[u8], wanted: &Result<Option<Vec<u8>>, MetadataError>) -> SeenPromotion {
    let Ok(Some(wanted)) = wanted else { return SeenPromotion::default() };
    let settings = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).ok();
    let promoted = settings(marker).is_some_and(|marker| Some(marker) == settings(wanted));
    SeenPromotion { promoted, with_others: !promoted, gate: None }
}

/// What a person has to know; `None` while it runs.
fn words(answer: Result<GateStatus, String>) -> Option<String> {
    let status = match answer {
        Ok(status) => status,
        Err(why) => return Some(format!("the gate says nothing: {why}")),
    };
    let needs = match status.state {
        GatePhase::Running { .. } => return None,
        // A grant has been here, so that this boot is another one than it names.
        GatePhase::Waiting { kind: WaitKind::Grant, .. } if status.number.is_some() => "needs regrant: ",
        GatePhase::Waiting { .. } | GatePhase::Stopping { .. } => "",
    };
    Some(format!("{needs}{status}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Time, ValidatorId};

    fn status(state: GatePhase, number: Option<u64>) -> GateStatus {
        let validator = ValidatorId::new("eth-0").unwrap();
        let place = "cloud".into();
        GateStatus { validator, place, version: "1".into(), state, number, renewed_at: None, trouble: None }
    }

    fn waiting(kind: WaitKind) -> GatePhase {
        GatePhase::Waiting { why: "grant 6 is not for this boot".into(), kind, since: Time::UNIX_EPOCH, until: None }
    }

    #[test]
    fn a_gate_that_runs_needs_nobody_and_one_that_waits_for_another_boots_grant_needs_regrant() {
        assert_eq!(words(Ok(status(GatePhase::Running { since: Time::UNIX_EPOCH, until: None }, Some(6)))), None);
        let said = words(Ok(status(waiting(WaitKind::Grant), Some(6)))).unwrap();
        assert!(said.starts_with("needs regrant: eth-0 at cloud waits since") && said.contains("grant 6"), "{said}");
        for (kind, number) in [(WaitKind::Grant, None), (WaitKind::Duties, Some(6))] {
            let said = words(Ok(status(waiting(kind), number))).unwrap();
            assert!(said.starts_with("eth-0 at cloud waits since"), "{said}");
        }
        assert_eq!(words(Err("it refuses".into())).unwrap(), "the gate says nothing: it refuses");
    }

    #[test]
    fn only_the_settings_that_the_metadata_have_now_make_a_machine_a_promoted_one() {
        let seen = |wanted| compare(b"{\"a\": 1, \"b\": 2}", &wanted);
        let (yes, no) = (SeenPromotion { promoted: true, ..SeenPromotion::default() }, SeenPromotion::default());
        let others = SeenPromotion { with_others: true, ..no.clone() };
        assert_eq!(seen(Ok(Some(b"{\"b\":2,\"a\":1}\n".to_vec()))), yes, "the same, written otherwise");
        for other in [&b"{\"a\": 1, \"b\": 3}"[..], b"{\"a\": 1}", b"", b"{"] {
            assert_eq!(seen(Ok(Some(other.to_vec()))), others);
        }
        assert_eq!(compare(b"", &Ok(Some(Vec::new()))), others, "a marker that says nothing is no promotion");
        assert_eq!(seen(Ok(None)), no);
        assert_eq!(seen(Err(MetadataError::NoAnswer)), no);
    }
}
