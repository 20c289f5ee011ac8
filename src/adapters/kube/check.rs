//! What `failover check` wants to know: does the API server answer, may we see what we have to, is it there.
//!
//! Permissions are asked for with SelfSubjectAccessReview, which every authenticated user may create
//! (`system:basic-user`); it changes nothing. Where even that is refused, reading shows what works.

use std::collections::BTreeSet;

use futures::future::join_all;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::{Api, Client, api::PostParams};

use super::{
    Named, Target,
    convert::Item,
    topic::{ObjectQuery, READ_TIMEOUT, WorkloadKind, blindness},
};
use crate::{
    domain::kube::{BY_SELECTOR, Pod},
    ports::{Finding, FindingState},
};

/// What to do when the API server cannot be asked.
pub const REACH: &str = "in a pod: mount its service account's token and let it reach the API server; elsewhere: \
                         correct `kubernetes.kubeconfig`";

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
    let permissions = permissions(targets);
    let permitted = join_all(permissions.iter().map(|permission| permitted(&client, permission)));
    let exist = join_all(targets.iter().map(|target| exists(&client, target)));
    let (permitted, exist) = tokio::join!(permitted, exist);
    findings.extend(permitted.into_iter().chain(exist));
    findings
}

async fn version(client: &Client) -> Finding {
    let subject = "Kubernetes API server";
    match tokio::time::timeout(READ_TIMEOUT, client.apiserver_version()).await {
        Ok(Ok(info)) => Finding::ok(subject, format!("answers, {}", info.git_version)),
        Ok(Err(error)) => Finding::problem(subject, blindness(&error, || "get /version".into()).to_string(), REACH),
        Err(_) => Finding::problem(subject, "does not answer", REACH),
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
    let unknown = |why: String| {
        let remedy = "run this again; `kubectl auth can-i` asks the same by hand";
        Finding::unknown(subject.clone(), why, remedy)
    };
    match tokio::time::timeout(READ_TIMEOUT, api.create(&params, &ask)).await {
        Ok(Ok(answer)) if answer.status.as_ref().is_some_and(|status| status.allowed) => {
            Finding::ok(subject, "allowed")
        }
        Ok(Ok(_)) => {
            let remedy = "add it to the role of this service account, as in docs/permissions.md; the chart does";
            Finding::problem(subject, "refused", remedy)
        }
        Ok(Err(error)) => unknown(blindness(&error, || "create selfsubjectaccessreviews".into()).to_string()),
        Err(_) => unknown("the API server does not answer".into()),
    }
}

/// Whether what is named is there, by the very lists that are watched.
async fn exists(client: &Client, target: &Target) -> Finding {
    let namespace = target.namespace.clone();
    let topic = match &target.named {
        Named::Workload { kind, name } => ObjectQuery::Workload { kind: *kind, namespace, name: name.clone() },
        Named::Selector(selector) => ObjectQuery::Pods { namespace, selector: selector.clone() },
    };
    let subject = format!("{} ({target})", target.validator);
    let items = match topic.read(client.clone()).await {
        Ok(items) => items,
        Err(why) => {
            let remedy = "see what is said of the API server and of the permissions";
            return Finding::unknown(subject, why.to_string(), remedy);
        }
    };
    let Some(first) = items.first() else {
        let remedy = format!("correct namespace and name under its `kubernetes`, or start it; {BY_SELECTOR}");
        return Finding::problem(subject, "is not there", &remedy);
    };
    if let Some((workload, Some(selector))) = first.what.workload()
        && workload.replicas == 0
        && workload.pods == 0
    {
        let pods = ObjectQuery::Pods { namespace: target.namespace.clone(), selector: selector.clone() };
        let others = pods.read(client.clone()).await.is_ok_and(|pods| !live(&pods).is_empty());
        if others {
            let detail = "is scaled to zero, and a pod that is not its own runs";
            return Finding::problem(subject, detail, format!("{BY_SELECTOR}, here: '{selector}'"));
        }
    }
    let pods = live(&items).len();
    if pods > 1 {
        let detail = format!("matches {pods} pods, and a validator is one");
        return Finding::problem(subject, detail, "narrow its `kubernetes.selector` to the labels of one pod");
    }
    Finding::ok(subject, "is there")
}

/// The pods among these that live and that nobody takes away.
fn live(items: &[Item]) -> Vec<&Pod> {
    let pods = items.iter().filter_map(|item| item.what.pod()).map(|(pod, _)| pod);
    pods.filter(|pod| pod.deleting.is_none() && !pod.has_ended()).collect()
}
