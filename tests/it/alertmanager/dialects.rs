//! Who else sends to the webhook: Grafana's own alerting, and what belongs to an Alertmanager's port.

use super::rig::{Rig, alert, body};

/// Grafana's message around alerts, which have fields of their own as well.
fn grafana(alerts: &str) -> String {
    let alerts = alerts
        .replace("\"endsAt\"", "\"values\":{\"A\":1},\"valueString\":\"[ var='A' ]\",\"panelURL\":\"\",\"endsAt\"");
    let outer =
        "\"version\":\"1\",\"orgId\":1,\"title\":\"[FIRING:1]\",\"state\":\"alerting\",\"message\":\"**Firing**\"";
    body(&alerts).replace("\"version\":\"4\"", outer)
}

#[tokio::test]
async fn grafanas_own_alerts_count_as_those_of_an_alertmanager() {
    let mut rig = Rig::start().await;
    for (status, state) in [("firing", "firing"), ("resolved", "resolved")] {
        let (answer, text) = rig.post(&grafana(&alert(status, 1))).await;
        assert_eq!((answer, rig.heard()[0].state_name()), (200, state), "{text}");
    }
}

#[tokio::test]
async fn what_grafana_could_not_evaluate_is_unknown_although_its_labels_are_those_of_the_rule() {
    let mut rig = Rig::start().await;
    let reason = "\"summary\":\"it is down\",\"grafana_state_reason\":\"Error\"";
    let failed = alert("firing", 1).replace("\"summary\":\"it is down\"", reason);
    for text in [&alert("firing", 1), &failed, &alert("suppressed", 2)] {
        assert_eq!(rig.post(&grafana(text)).await.0, 200);
    }
    let states: Vec<_> = (0..3).map(|_| rig.heard()[0].state_name()).collect();
    assert_eq!(states, ["firing", "not evaluated", "not evaluated"]);
}

#[tokio::test]
async fn a_list_meant_for_an_alertmanager_is_refused_with_the_remedy() {
    let mut rig = Rig::start().await;
    let (status, text) = rig.post(&format!("[{}]", alert("firing", 1))).await;
    assert_eq!(status, 400);
    assert!(text.contains("let them notify an Alertmanager") && text.contains("-notifier.url"), "{text}");
    rig.assert_silent();
}
