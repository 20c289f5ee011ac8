//! What the workload of a validator starts its containers with, as its template says, or its pod where only labels are
//! known.

use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::{Pod, PodSpec},
};
use kube::{Api, Client, api::ListParams};

use super::{
    Named, Target,
    topic::{READ_TIMEOUT, WorkloadKind},
};
use crate::domain::{brief, kube::ContainerCommand};

/// More pods than this match no selector that is meant for one.
const PODS: u32 = 16;

/// The commands of its containers; empty when it is not there.
///
/// # Errors
/// Why the API does not say, in words.
pub async fn commands(client: Client, target: &Target) -> Result<Vec<ContainerCommand>, String> {
    match tokio::time::timeout(READ_TIMEOUT, specs(client, target)).await {
        Ok(Ok(specs)) => Ok(specs.into_iter().flatten().flat_map(of_spec).collect()),
        Ok(Err(error)) => Err(brief(&error.to_string())),
        Err(_) => Err("the API server does not answer".into()),
    }
}

async fn specs(client: Client, target: &Target) -> kube::Result<Vec<Option<PodSpec>>> {
    let namespace = &target.namespace;
    // As the watcher asks, with the same rights.
    let named = |name: &str| ListParams::default().fields(&format!("metadata.name={name}")).limit(1);
    Ok(match &target.named {
        Named::Workload { kind: WorkloadKind::StatefulSet, name } => {
            let found = Api::<StatefulSet>::namespaced(client, namespace).list(&named(name)).await?;
            found.items.into_iter().map(|it| it.spec.and_then(|spec| spec.template.spec)).collect()
        }
        Named::Workload { kind: WorkloadKind::Deployment, name } => {
            let found = Api::<Deployment>::namespaced(client, namespace).list(&named(name)).await?;
            found.items.into_iter().map(|it| it.spec.and_then(|spec| spec.template.spec)).collect()
        }
        Named::Selector(selector) => {
            let params = ListParams::default().labels(selector).limit(PODS);
            let found = Api::<Pod>::namespaced(client, namespace).list(&params).await?;
            found.items.into_iter().map(|it| it.spec).collect()
        }
    })
}

fn of_spec(spec: PodSpec) -> impl Iterator<Item = ContainerCommand> {
    spec.containers.into_iter().map(|container| ContainerCommand {
        container: container.name,
        command: container.command.and_then(|command| command.into_iter().next()),
    })
}
