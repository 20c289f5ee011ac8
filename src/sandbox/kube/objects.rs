//! Objects as a cluster with one validator has them, for tests and stories.
//!
//! They are the shapes real controllers and kubelets write, shortened to what any reader could want.

use serde_json::{Value, json};

/// A statefulset with one replica, whose template is proven.
#[must_use]
pub fn stateful_set(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": name, "namespace": namespace, "uid": format!("sts-{name}"), "generation": 1},
        "spec": {"replicas": 1, "serviceName": name, "selector": {"matchLabels": {"app": name}}, "template": {}},
        "status": {"replicas": 1, "readyReplicas": 1, "observedGeneration": 1,
                   "currentRevision": format!("{name}-r1"), "updateRevision": format!("{name}-r1")},
    })
}

#[must_use]
pub fn pod(namespace: &str, set: &str, node: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": format!("{set}-0"), "namespace": namespace, "uid": format!("pod-{set}-1"),
            "creationTimestamp": "2026-11-21T06:00:00Z",
            "labels": {"app": set, "controller-revision-hash": format!("{set}-r1")},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": set,
                                 "uid": format!("sts-{set}"), "controller": true}],
        },
        "spec": {"nodeName": node, "containers": [{"name": "vc", "image": "vc:1"}]},
        "status": {
            "phase": "Running",
            "conditions": [
                {"type": "PodScheduled", "status": "True"},
                {"type": "Ready", "status": "True"},
            ],
            "containerStatuses": [container("vc", json!({"running": {"startedAt": "2026-11-21T06:00:05Z"}}), true, 0)],
        },
    })
}

#[must_use]
pub fn container(name: &str, state: Value, ready: bool, restarts: i32) -> Value {
    json!({"name": name, "image": "vc:1", "imageID": "vc:1", "ready": ready, "restartCount": restarts, "state": state})
}

#[must_use]
pub fn node(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "uid": format!("node-{name}")},
        "status": {"conditions": [
            {"type": "MemoryPressure", "status": "False"},
            {"type": "DiskPressure", "status": "False"},
            {"type": "Ready", "status": "True", "message": "kubelet is posting ready status"},
        ]},
    })
}

/// A node's lease, renewed at this time.
#[must_use]
pub fn lease(node: &str, renewed_at: &str, seconds: i32) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": node, "namespace": "kube-node-lease", "uid": format!("lease-{node}")},
        "spec": {"holderIdentity": node, "leaseDurationSeconds": seconds, "renewTime": renewed_at},
    })
}
