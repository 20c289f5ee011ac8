//! Where a validator is in a cluster, and what was seen of it there: what comes in and what goes out.
//!
//! What is watched for it is a [`super::topic`]'s business.

use std::{fmt, sync::Arc};

use super::topic::WorkloadKind;
use crate::domain::{
    Reading, ValidatorId,
    kube::{Health, PauseNote},
};

/// One validator and where it is in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub validator: ValidatorId,
    pub namespace: String,
    pub named: Named,
    /// The container that signs; all of the pod's if it is not named.
    pub container: Option<String>,
}

/// What a validator is in its namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    Workload {
        kind: WorkloadKind,
        name: String,
    },
    /// The pod that matches this selector.
    Selector(String),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let namespace = &self.namespace;
        match &self.named {
            Named::Workload { kind: WorkloadKind::StatefulSet, name } => write!(f, "statefulset {namespace}/{name}"),
            Named::Workload { kind: WorkloadKind::Deployment, name } => write!(f, "deployment {namespace}/{name}"),
            Named::Selector(selector) => write!(f, "selector {selector} in namespace {namespace}"),
        }
    }
}

/// What the cluster shows of one validator, sent when it changes and again before it goes stale.
#[derive(Clone, Debug)]
pub struct KubeObservation {
    pub validator: ValidatorId,
    pub reading: Reading,
    /// No incident opens by itself while this stands; why, for people.
    pub hold: Option<Arc<str>>,
    /// What the operator has written on the workload; `None` when nothing, or when that is not known.
    pub pause: Option<PauseNote>,
    /// What the opinion was made of.
    pub health: Health,
}
