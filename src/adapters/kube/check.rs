//! What `failover check` wants to know: does the API server answer, may we see what we have to, is it there.
//!
//! Permissions are asked for with SelfSubjectAccessReview, which every authenticated user may create
//! (`system:basic-user`); it changes nothing. Where even that is refused, reading shows what works.

use std::collections::BTreeSet;

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::{Api, Client, api::PostParams};

use super::{
    Named, Target,
    topic::{ObjectQuery, READ_TIMEOUT, WorkloadKind, blindness},
};
use crate::ports::{Finding, FindingState};

/// One thing we have to be allowed to do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Permission {
    group: &'static str,
    resource: &'static str,
    namespace: Option<String>,
    verb: &'static str,
}

/// Everything that would fail on the day. Nothing is changed.
pub async fn check(client: Client, targets: &[Target]) -> Vec<Finding> {
    let mut findings = vec![version(&client).await];
    if findings[0].state == FindingState::Problem {
        return findings;
    }
    for permission in permissions(targets) {
        findings.push(permitted(&client, &permission).await);
    }
    for target in targets {
        findings.push(exists(&client, target).await);
    }
    findings
}

async fn version(client: &Client) -> Finding {
    let subject = "Kubernetes API server".to_owned();
    match tokio::time::timeout(READ_TIMEOUT, client.apiserver_version()).await {
        Ok(Ok(info)) => Finding { subject, state: FindingState::Ok, detail: format!("answers, {}", info.git_version) },
        Ok(Err(error)) => {
            let why = blindness(&error, || "get /version".into());
            Finding { subject, state: FindingState::Problem, detail: why.to_string() }
        }
        Err(_) => Finding { subject, state: FindingState::Problem, detail: "does not answer".into() },
    }
}

/// Exactly what the role needs, no more.
fn permissions(targets: &[Target]) -> BTreeSet<Permission> {
    let mut all = BTreeSet::new();
    let mut add = |group, resource, namespace: Option<&String>, verbs: &[&'static str]| {
        for verb in verbs {
            all.insert(Permission { group, resource, namespace: namespace.cloned(), verb });
        }
    };
    // Everything is listed and watched by name or label; nothing is ever got by itself.
    const SEE: [&str; 2] = ["list", "watch"];
    for target in targets {
        let namespace = Some(&target.namespace);
        add("", "pods", namespace, &SEE);
        add("", "persistentvolumeclaims", namespace, &SEE);
        match &target.named {
            Named::Workload { kind: WorkloadKind::StatefulSet, .. } => add("apps", "statefulsets", namespace, &SEE),
            Named::Workload { kind: WorkloadKind::Deployment, .. } => add("apps", "deployments", namespace, &SEE),
            Named::Selector(_) => {}
        }
        add("events.k8s.io", "events", namespace, &["create"]);
    }
    add("", "nodes", None, &SEE);
    add("coordination.k8s.io", "leases", Some(&"kube-node-lease".to_owned()), &SEE);
    all
}

async fn permitted(client: &Client, permission: &Permission) -> Finding {
    let Permission { group, resource, namespace, verb } = permission;
    let place = namespace.as_ref().map(|namespace| format!(" in namespace {namespace}")).unwrap_or_default();
    let subject = format!("permission to {verb} {resource}{place}");
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                group: Some((*group).into()),
                resource: Some((*resource).into()),
                namespace: namespace.clone(),
                verb: Some((*verb).into()),
                ..Default::default()
            }),
            ..Default::default()
        },
        ..Default::default()
    };
    let api = Api::<SelfSubjectAccessReview>::all(client.clone());
    let (params, ask) = (PostParams::default(), review);
    let (state, detail) = match tokio::time::timeout(READ_TIMEOUT, api.create(&params, &ask)).await {
        Ok(Ok(answer)) if answer.status.as_ref().is_some_and(|status| status.allowed) => {
            (FindingState::Ok, "allowed".to_owned())
        }
        Ok(Ok(_)) => (FindingState::Problem, "refused: add it to the role".into()),
        Ok(Err(error)) => {
            (FindingState::Unknown, blindness(&error, || "create selfsubjectaccessreviews".into()).to_string())
        }
        Err(_) => (FindingState::Unknown, "the API server does not answer".into()),
    };
    Finding { subject, state, detail }
}

/// Whether what is named is there, by the very lists that are watched.
async fn exists(client: &Client, target: &Target) -> Finding {
    let namespace = target.namespace.clone();
    let topic = match &target.named {
        Named::Workload { kind, name } => ObjectQuery::Workload { kind: *kind, namespace, name: name.clone() },
        Named::Selector(selector) => ObjectQuery::Pods { namespace, selector: selector.clone() },
    };
    let subject = format!("{} ({target})", target.validator);
    let (state, detail) = match (topic.read(client.clone()).await, &target.named) {
        (Err(why), _) => (FindingState::Unknown, why.to_string()),
        (Ok(items), Named::Selector(_)) if items.len() > 1 => {
            (FindingState::Problem, format!("matches {} pods, and a validator is one", items.len()))
        }
        (Ok(items), _) if items.is_empty() => (FindingState::Problem, "is not there".into()),
        (Ok(_), _) => (FindingState::Ok, "is there".into()),
    };
    Finding { subject, state, detail }
}
