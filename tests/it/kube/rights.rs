//! The rights in Kubernetes: what is asked, what the document says and what the chart promises are the same.
//!
//! That the chart grants what it promises is seen on a real API server (`charts/check-cluster.sh`).

use std::collections::BTreeSet;

use failover::{
    adapters::kube::{Note, write},
    domain::{IncidentId, Reason},
};

use super::*;

/// `place: resource verb`, a line for each verb.
type Rights = BTreeSet<String>;

/// The lines of `charts/rights.txt`: `watched: pods [list watch]`.
fn promised() -> Rights {
    let lines = include_str!("../../../charts/rights.txt").lines();
    let rights = lines.flat_map(|line| {
        let (place, right) = line.split_once(": ").expect(line);
        let (resource, verbs) = right.trim_end_matches(']').split_once(" [").expect(line);
        verbs.split(' ').map(move |verb| format!("{place}: {resource} {verb}"))
    });
    rights.collect()
}

/// The table of `docs/permissions.md`.
fn documented() -> Rights {
    let text = include_str!("../../../docs/permissions.md");
    let section = text.split("\n# ").find(|part| part.contains("## In Kubernetes")).unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| ")).skip(1);
    let mut rights = Rights::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [place, resources, verbs, _why] = cells[..] else { panic!("{row}") };
        let place = match place {
            "each watched namespace" => "watched",
            "cluster" => "anywhere",
            other => other.trim_matches('`'),
        };
        for resource in resources.split('`').skip(1).step_by(2) {
            let resource = resource.split_once('/').map_or(resource.to_owned(), |(group, of)| format!("{of}.{group}"));
            rights.extend(verbs.split(", ").map(|verb| format!("{place}: {resource} {verb}")));
        }
    }
    rights
}

/// What was asked of the API server: its groups are not in the fake's log.
fn asked(api: &FakeApiServer) -> Rights {
    let requests = api.requests();
    let asked = requests.iter().filter(|request| *request != "list /version").map(|request| {
        let (verb, what) = request.split_once(' ').expect(request);
        match what.split_once('/') {
            None => format!("anywhere: {what} {verb}"),
            Some(("kube-node-lease", resource)) => format!("kube-node-lease: {resource} {verb}"),
            Some((_, resource)) => format!("watched: {resource} {verb}"),
        }
    });
    asked.collect()
}

fn without_groups(rights: &Rights) -> Rights {
    let short = |right: &String| {
        let (resource, verb) = right.rsplit_once(' ').expect("a verb");
        let (place, resource) = resource.split_once(": ").expect("a place");
        format!("{place}: {} {verb}", resource.split('.').next().unwrap_or_default())
    };
    rights.iter().map(short).collect()
}

#[tokio::test]
async fn what_is_asked_of_the_cluster_is_what_the_chart_grants_and_the_document_says_and_no_more() {
    assert_eq!(promised(), documented());
    let api = cluster().await;
    let mut deployment = objects::stateful_set("eth", "vc");
    deployment["kind"] = "Deployment".into();
    api.put("deployments", deployment);
    let claim = json!({"name": "data", "persistentVolumeClaim": {"claimName": "data"}});
    api.change("pods", "eth", "vc-0", |pod| pod["spec"]["volumes"] = json!([claim]));
    let deployment = Named::Workload { kind: WorkloadKind::Deployment, name: "vc".into() };
    let targets = vec![
        target("eth-0", stateful_set("vc")),
        target("eth-1", deployment),
        target("eth-2", Named::Selector("app=other".into())),
    ];
    let mut watching = Watching::start(&api, targets.clone()).await;
    watching.until(Verdict::Up).await;
    // The questions that come up on the day: what the nodes are, and the steps that are written down.
    api.change("pods", "eth", "vc-0", |pod| {
        pod["spec"].as_object_mut().unwrap().remove("nodeName");
        pod["status"] = json!({"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
             "message": "0/1 nodes are available: 1 node(s) were unschedulable, 1 node(s) had untolerated taint(s)."}]});
    });
    watching.until(Verdict::Down).await;
    let folder = tempfile::tempdir().unwrap();
    let client = kube::connect(Some(&api.kubeconfig(folder.path()).unwrap())).await.unwrap();
    let at: Time = "2026-11-21T07:00:00Z".parse().unwrap();
    let incident = IncidentId::derive(&targets[0].validator, at);
    let reason = Reason::Opened { incident, by: None, cause: "the node is gone".into() };
    write(&client, &targets[0], &Note { incident: Some(incident), reason, at }).await.unwrap();
    // A watch begins a moment after its list.
    let wanted = without_groups(&promised());
    let all = async {
        while asked(&api) != wanted {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let in_time = tokio::time::timeout(LIMIT, all).await;
    assert!(in_time.is_ok(), "{:?} is not {wanted:?}", asked(&api));
}

#[tokio::test]
async fn check_asks_for_the_rights_that_the_chart_grants_and_no_other() {
    let api = cluster().await;
    let folder = tempfile::tempdir().unwrap();
    let client = kube::connect(Some(&api.kubeconfig(folder.path()).unwrap())).await.unwrap();
    let deployment = Named::Workload { kind: WorkloadKind::Deployment, name: "vc".into() };
    let findings = kube::check(client, &[target("eth-0", stateful_set("vc")), target("eth-1", deployment)]).await;
    let asked: Rights = findings
        .iter()
        .filter_map(|finding| finding.subject.strip_prefix("permission to "))
        .map(|permission| {
            let (right, place) = permission.split_once(" in namespace ").unwrap_or((permission, ""));
            let (verb, resource) = right.split_once(' ').unwrap();
            let place = match place {
                "" => "anywhere",
                "eth" => "watched",
                other => other,
            };
            format!("{place}: {resource} {verb}")
        })
        .collect();
    assert_eq!(asked, without_groups(&promised()));
}
