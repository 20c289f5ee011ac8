//! What is watched: each topic is one watch, one list to compare it with, and one permission.
//!
//! What was seen is kept in [`super::index`].

use std::{fmt::Debug, time::Duration};

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    coordination::v1::Lease,
    core::v1::{Node, PersistentVolumeClaim, Pod},
};
use kube::{
    Api, Client, Resource,
    api::ListParams,
    runtime::{
        WatchStreamExt,
        utils::Backoff,
        watcher::{self, DefaultBackoff, Event},
    },
};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::convert::{self, Item};
use crate::domain::{brief, kube::Blindness};

const LEASES: &str = "kube-node-lease";

/// A watch is ended by the server after this long and begun again. The client takes a watch for dead five seconds
/// later, so this is how long a connection can hang unnoticed.
const WATCH_SECONDS: u32 = 60;

/// However long the server was away, it is asked again this often: a house has a dozen watches.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The longest one list may take.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// How many objects one answer may bring. An object as it is sent takes a hundred times the memory of what is kept of
/// it.
const PAGE: u32 = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkloadKind {
    StatefulSet,
    Deployment,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ObjectQuery {
    Workload {
        kind: WorkloadKind,
        namespace: String,
        name: String,
    },
    Pods {
        namespace: String,
        selector: String,
    },
    Node(String),
    AllNodes,
    /// Those of all nodes: one that stops alone is a machine, several at once may be the cluster's store.
    Leases,
    Claim {
        namespace: String,
        name: String,
    },
}

/// What a topic has to say.
#[derive(Debug)]
pub(super) enum WatchEvent {
    /// Everything there is, at once.
    All(Vec<Item>),
    /// One more, or one that has changed.
    One(Item),
    /// One is gone, as it was last.
    Gone(Item),
    /// Something is wrong with the watch. What, tells reading.
    Doubt,
    /// It may not be watched, whether or not it may be read.
    Refused(Blindness),
}

impl ObjectQuery {
    /// The permission this takes, without its verb.
    pub(super) fn object(&self) -> String {
        match self {
            Self::Workload { kind: WorkloadKind::StatefulSet, namespace, .. } => {
                format!("statefulsets.apps in namespace {namespace}")
            }
            Self::Workload { kind: WorkloadKind::Deployment, namespace, .. } => {
                format!("deployments.apps in namespace {namespace}")
            }
            Self::Pods { namespace, .. } => format!("pods in namespace {namespace}"),
            Self::Node(_) | Self::AllNodes => "nodes".into(),
            Self::Leases => format!("leases.coordination.k8s.io in namespace {LEASES}"),
            Self::Claim { namespace, .. } => format!("persistentvolumeclaims in namespace {namespace}"),
        }
    }

    /// Watches until nobody listens.
    pub(super) async fn watch(self, client: Client, tx: mpsc::Sender<(ObjectQuery, WatchEvent)>) {
        match &self {
            Self::Workload { kind: WorkloadKind::StatefulSet, namespace, name } => {
                let api = Api::<StatefulSet>::namespaced(client, namespace);
                watch(api, by_name(name), &self, convert::stateful_set, tx).await
            }
            Self::Workload { kind: WorkloadKind::Deployment, namespace, name } => {
                let api = Api::<Deployment>::namespaced(client, namespace);
                watch(api, by_name(name), &self, convert::deployment, tx).await
            }
            Self::Pods { namespace, selector } => {
                let config = watcher::Config::default().labels(selector);
                watch(Api::<Pod>::namespaced(client, namespace), config, &self, convert::pod, tx).await
            }
            Self::Node(name) => watch(Api::<Node>::all(client), by_name(name), &self, convert::node, tx).await,
            Self::AllNodes => watch(Api::<Node>::all(client), all(), &self, convert::node, tx).await,
            Self::Leases => watch(Api::<Lease>::namespaced(client, LEASES), all(), &self, convert::lease, tx).await,
            Self::Claim { namespace, name } => {
                let api = Api::<PersistentVolumeClaim>::namespaced(client, namespace);
                watch(api, by_name(name), &self, convert::claim, tx).await
            }
        }
    }

    /// Reads it afresh: a watch that hangs looks like a world in which nothing happens.
    pub(super) async fn read(&self, client: Client) -> Result<Vec<Item>, Blindness> {
        let named = |name: &str| ListParams::default().fields(&format!("metadata.name={name}"));
        let read = async {
            match self {
                Self::Workload { kind: WorkloadKind::StatefulSet, namespace, name } => {
                    read(Api::<StatefulSet>::namespaced(client, namespace), named(name), convert::stateful_set).await
                }
                Self::Workload { kind: WorkloadKind::Deployment, namespace, name } => {
                    read(Api::<Deployment>::namespaced(client, namespace), named(name), convert::deployment).await
                }
                Self::Pods { namespace, selector } => {
                    let params = ListParams::default().labels(selector);
                    read(Api::<Pod>::namespaced(client, namespace), params, convert::pod).await
                }
                Self::Node(name) => read(Api::<Node>::all(client), named(name), convert::node).await,
                Self::AllNodes => read(Api::<Node>::all(client), ListParams::default(), convert::node).await,
                Self::Leases => {
                    read(Api::<Lease>::namespaced(client, LEASES), ListParams::default(), convert::lease).await
                }
                Self::Claim { namespace, name } => {
                    let api = Api::<PersistentVolumeClaim>::namespaced(client, namespace);
                    read(api, named(name), convert::claim).await
                }
            }
        };
        match tokio::time::timeout(READ_TIMEOUT, read).await {
            Ok(Ok(items)) => Ok(items),
            Ok(Err(error)) => Err(blindness(&error, || format!("list {}", self.object()))),
            Err(_) => Err(Blindness::Unreachable { why: format!("no answer in {} s", READ_TIMEOUT.as_secs()) }),
        }
    }
}

fn all() -> watcher::Config {
    watcher::Config::default()
}

fn by_name(name: &str) -> watcher::Config {
    all().fields(&format!("metadata.name={name}"))
}

/// The pauses between watches that fail. kube's own grow to a minute, for which a server that is back would not be seen.
#[derive(Default)]
struct WatchPauses(DefaultBackoff);

impl Iterator for WatchPauses {
    type Item = Duration;
    fn next(&mut self) -> Option<Duration> {
        self.0.next().map(|pause| pause.min(LONGEST_PAUSE))
    }
}

impl Backoff for WatchPauses {
    fn reset(&mut self) {
        self.0.reset();
    }
}

async fn watch<K>(
    api: Api<K>,
    config: watcher::Config,
    topic: &ObjectQuery,
    convert: fn(K) -> Item,
    tx: mpsc::Sender<(ObjectQuery, WatchEvent)>,
) where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    // Small pages: what is not used is dropped before the next one is read.
    let config = config.timeout(WATCH_SECONDS).page_size(PAGE);
    let events = watcher::watcher(api, config).backoff(WatchPauses::default());
    let mut events = events.map_ok(|event| small(event, convert)).boxed();
    let mut first = Vec::new();
    while let Some(event) = events.next().await {
        let event = match event {
            Ok(Small::Init) => {
                first.clear();
                continue;
            }
            Ok(Small::InitApply(item)) => {
                first.push(item);
                continue;
            }
            Ok(Small::InitDone) => WatchEvent::All(std::mem::take(&mut first)),
            Ok(Small::Apply(item)) => WatchEvent::One(item),
            Ok(Small::Delete(item)) => WatchEvent::Gone(item),
            Err(error) if is_gone(&error) => {
                // The server has forgotten the version we stood at. The watcher lists again at once.
                tracing::debug!(topic = %topic.object(), "the watch begins again");
                continue;
            }
            Err(error) => {
                tracing::debug!(topic = %topic.object(), %error, "the watch was interrupted");
                match &error {
                    watcher::Error::WatchStartFailed(error) => {
                        match blindness(error, || format!("watch {}", topic.object())) {
                            why @ Blindness::Refused { .. } => WatchEvent::Refused(why),
                            Blindness::Unauthenticated | Blindness::Unreachable { .. } => WatchEvent::Doubt,
                        }
                    }
                    watcher::Error::InitialListFailed(_)
                    | watcher::Error::WatchError(_)
                    | watcher::Error::WatchFailed(_)
                    | watcher::Error::NoResourceVersion => WatchEvent::Doubt,
                }
            }
        };
        if tx.send((topic.clone(), event)).await.is_err() {
            return;
        }
    }
}

enum Small {
    Init,
    InitApply(Item),
    InitDone,
    Apply(Item),
    Delete(Item),
}

fn small<K>(event: Event<K>, convert: fn(K) -> Item) -> Small {
    match event {
        Event::Init => Small::Init,
        Event::InitApply(object) => Small::InitApply(convert(object)),
        Event::InitDone => Small::InitDone,
        Event::Apply(object) => Small::Apply(convert(object)),
        Event::Delete(object) => Small::Delete(convert(object)),
    }
}

async fn read<K>(api: Api<K>, params: ListParams, convert: fn(K) -> Item) -> kube::Result<Vec<Item>>
where
    K: Clone + Debug + DeserializeOwned,
{
    let mut params = params.limit(PAGE);
    let mut items = Vec::new();
    loop {
        let page = api.list(&params).await?;
        items.extend(page.items.into_iter().map(convert));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(items),
        }
    }
}

fn is_gone(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::WatchError(status) => status.code == 410,
        watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status)) => status.code == 410,
        watcher::Error::InitialListFailed(_)
        | watcher::Error::WatchStartFailed(_)
        | watcher::Error::WatchFailed(_)
        | watcher::Error::NoResourceVersion => false,
    }
}

/// What an error of the client means for what we know.
pub(super) fn blindness(error: &kube::Error, permission: impl FnOnce() -> String) -> Blindness {
    match error {
        kube::Error::Api(status) if status.code == 403 => Blindness::Refused { permission: permission() },
        kube::Error::Api(status) if status.code == 401 => Blindness::Unauthenticated,
        kube::Error::Api(status) => Blindness::Unreachable { why: format!("it answers {}", status.code) },
        error => Blindness::Unreachable { why: innermost(error) },
    }
}

/// The last of a chain of reasons is the one that names the cause: "connection refused".
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    brief(&error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_back_is_seen_within_ten_seconds() {
        let mut pauses = WatchPauses::default();
        let longest = pauses.by_ref().take(50).max().unwrap();
        assert_eq!(longest, LONGEST_PAUSE);
        pauses.reset();
        assert!(pauses.next().unwrap() < Duration::from_secs(2), "and at first at once");
    }
}
