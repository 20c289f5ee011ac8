//! Messages that are wrong: each is answered clearly, and none changes anything that it should not.

use std::time::Instant;

use base64::Engine;
use failover::adapters::server::budget::MAX_BODY;

use super::rig::{Rig, alert, body, firing};

async fn refused(body: &str, status: u16, part: &str) {
    let mut rig = Rig::start().await;
    let (found, text) = rig.post(body).await;
    assert_eq!(found, status, "{text}");
    assert!(text.contains(part), "{text}");
    assert!(rig.ledger.dump().is_empty());
    rig.assert_silent();
}

#[tokio::test]
async fn a_message_that_is_not_json_is_refused_for_good() {
    refused("hello", 400, "not Alertmanager's JSON").await;
}

#[tokio::test]
async fn a_message_of_another_version_is_refused_with_what_to_do() {
    refused(r#"{"version":"3","alerts":[]}"#, 400, "webhook_config").await;
}

#[tokio::test]
async fn a_part_that_is_no_alert_is_skipped_and_counted_and_the_others_are_taken() {
    let mut rig = Rig::start().await;
    let odd = alert("firing", 1).replace("\"n\":\"1\"", "\"n\":1");
    assert_eq!(rig.post(&body(&format!("{odd},{},[]", alert("firing", 2)))).await.0, 200);
    assert_eq!(Rig::count(&rig.receiver.stats().unreadable), 2);
    let heard = rig.heard();
    assert_eq!((heard.len(), heard[0].0.alert.fingerprint.to_string().as_str()), (1, "0000000000000002"));
}

#[tokio::test]
async fn a_message_of_20_mb_is_refused_for_good_and_counted() {
    let rig = Rig::start().await;
    let (status, text) = rig.post(&" ".repeat(20 << 20)).await;
    assert_eq!(status, 413, "{text}");
    assert!(text.contains("16 MiB"));
    assert_eq!(Rig::count(&rig.receiver.stats().too_large), 1);
}

#[tokio::test]
async fn a_message_of_16_mib_is_taken() {
    let rig = Rig::start().await;
    let message = firing(1);
    let padded = message.clone() + &" ".repeat(MAX_BODY - message.len());
    assert_eq!(rig.post(&padded).await.0, 200);
    assert_eq!(rig.post(&(padded + " ")).await.0, 413);
}

#[tokio::test]
async fn a_message_of_10_000_alerts_is_taken_whole() {
    let mut rig = Rig::start().await;
    let alerts: Vec<_> = (0..10_000).map(|number| alert("firing", number)).collect();
    assert_eq!(rig.post(&body(&alerts.join(","))).await.0, 200);
    assert_eq!((rig.ledger.dump().len(), rig.heard().len()), (10_000, 10_000));
}

#[tokio::test]
async fn a_label_of_1_mb_is_taken_and_not_kept() {
    let rig = Rig::start().await;
    let long = "x".repeat(1 << 20);
    let text = alert("firing", 1).replace("\"n\":\"1\"", &format!("\"n\":\"{long}\"")).replace("it is down", &long);
    assert_eq!(rig.post(&body(&text)).await.0, 200);
    let size: usize = rig.ledger.dump().values().map(String::len).sum();
    assert!(size < 2_000, "{size} bytes in the ledger");
}

#[tokio::test]
async fn times_in_year_1_and_9999_are_taken() {
    let mut rig = Rig::start().await;
    for (number, start) in [(1, "0001-01-01T00:00:00Z"), (2, "9999-12-31T23:59:59.999Z"), (3, "soon")] {
        let text = alert("firing", number).replace("2026-11-21T01:00:00Z", start);
        assert_eq!(rig.post(&body(&text)).await.0, 200, "{start}");
        assert_eq!(rig.heard()[0].state_name(), "firing", "{start}");
    }
}

#[tokio::test]
async fn wrong_or_missing_credentials_change_nothing_and_are_counted() {
    let mut rig = Rig::start().await;
    let basic = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode("am:s3cret"));
    for header in [None, Some("Bearer wrong"), Some("Bearer "), Some(basic.as_str())] {
        let mut request = rig.client.post(&rig.url).body(firing(1));
        if let Some(header) = header {
            request = request.header("authorization", header);
        }
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 401, "{header:?}");
        assert_eq!(response.headers()["www-authenticate"], "Bearer realm=\"failover\"");
    }
    assert_eq!(Rig::count(&rig.receiver.stats().unauthorised), 4);
    assert!(rig.ledger.dump().is_empty());
    rig.assert_silent();
}

#[tokio::test]
async fn only_post_is_taken() {
    let rig = Rig::start().await;
    assert_eq!(rig.client.get(&rig.url).send().await.expect("an answer").status(), 405);
}

#[tokio::test]
async fn a_renewed_secret_is_taken_without_a_restart() {
    let rig = Rig::start().await;
    std::fs::write(&rig.secret, "n3w").expect("written");
    rig.receiver.access().reread(Instant::now());
    assert_eq!(rig.post(&firing(1)).await.0, 200, "for a while the one before is taken too");
    let request = rig.client.post(&rig.url).bearer_auth("n3w").body(firing(1));
    assert_eq!(request.send().await.expect("an answer").status(), 200);
}

#[tokio::test]
async fn more_labels_or_alerts_than_a_message_has_are_refused_for_good_and_counted() {
    let rig = Rig::start().await;
    let labels: String = (0..1_000_000).map(|number| format!(r#""{number}":"","#)).collect();
    let text = alert("firing", 1).replace("\"n\":\"1\"", &format!("{labels}\"n\":\"1\""));
    for (message, part) in [
        (body(&text), "labels"),
        (body(&vec!["{}"; 1_000_000].join(",")), "alerts"),
        (body(&"[".repeat(1_000)), "brackets"),
    ] {
        let (status, text) = rig.post(&message).await;
        assert!(status == 413 && text.contains(part) && text.contains("group_by"), "{status} {text}");
    }
    assert_eq!(Rig::count(&rig.receiver.stats().too_large), 3);
    assert!(rig.ledger.dump().is_empty());
}

#[tokio::test]
async fn a_refusal_does_not_quote_the_whole_body() {
    let rig = Rig::start().await;
    let (status, text) = rig.post(&format!(r#"{{"version":"4","alerts":"{}"}}"#, "x".repeat(1 << 20))).await;
    assert!(status == 400 && text.len() < 1_000, "{status}, {} bytes", text.len());
}
