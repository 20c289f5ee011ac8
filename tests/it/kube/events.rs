//! The steps of an incident as Kubernetes events: on the right object, and one each at most.

use failover::{
    adapters::kube::{Note, write},
    domain::{IncidentId, Reason},
};

use super::*;

async fn client(api: &FakeApiServer) -> ::kube::Client {
    let folder = tempfile::tempdir().unwrap();
    kube::connect(Some(&api.kubeconfig(folder.path()).unwrap())).await.unwrap()
}

fn opened(cause: &str) -> Note {
    let at: Time = "2026-11-21T07:00:00Z".parse().unwrap();
    let incident = IncidentId::derive(&ValidatorId::new("eth-0").unwrap(), at);
    Note { incident: Some(incident), reason: Reason::Opened { incident, by: None, cause: cause.into() }, at }
}

#[tokio::test]
async fn a_step_is_one_event_on_the_watched_object_however_often_it_is_told() {
    let api = cluster().await;
    let (client, target) = (client(&api).await, target("eth-0", stateful_set("vc")));
    for _ in 0..3 {
        write(&client, &target, &opened("the node is gone")).await.unwrap();
    }
    let events = api.objects("events");
    assert_eq!(events.len(), 1, "{events:?}");
    let event = &events[0];
    assert_eq!(event["regarding"]["kind"], "StatefulSet");
    assert_eq!((&event["regarding"]["name"], &event["regarding"]["uid"]), (&json!("vc"), &json!("sts-vc")));
    assert_eq!((&event["reason"], &event["type"]), (&json!("FailoverOpened"), &json!("Warning")));
    assert!(event["note"].as_str().unwrap().contains("the node is gone"));
    write(&client, &target, &opened("another cause")).await.unwrap();
    assert_eq!(api.objects("events").len(), 2);
}

#[tokio::test]
async fn what_is_no_step_writes_nothing_and_asks_nothing() {
    let api = cluster().await;
    let client = client(&api).await;
    let note = Note { reason: Reason::SuspicionOver, ..opened("") };
    write(&client, &target("eth-0", stateful_set("vc")), &note).await.unwrap();
    assert_eq!(api.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn a_refused_event_names_the_permission_and_is_not_tried_again() {
    let api = cluster().await;
    api.refuse("create", "events", true);
    let client = client(&api).await;
    let error = write(&client, &target("eth-0", stateful_set("vc")), &opened("")).await.unwrap_err();
    assert!(error.to_string().contains("create events.events.k8s.io in namespace eth"), "{error}");
    assert_eq!(api.requests().iter().filter(|request| request.starts_with("create")).count(), 1);
}
