//! The kube source: where the API server is, and what each validator is called there.
//!
//! Whether anything of that name exists is found out by `failover check`, not here.

use super::{Checker, Unique};
use crate::{
    config::{KubernetesSettings, WorkloadName, WorkloadSettings, values::At, written},
    domain::kube::Thresholds,
};

impl Checker<'_> {
    pub(super) fn kubernetes(&mut self, written: &written::Kubernetes) -> KubernetesSettings {
        let remedy = "remove it to use the service account of the pod this runs in";
        let kubeconfig = written.kubeconfig.as_ref();
        KubernetesSettings {
            kubeconfig: kubeconfig.map(|file| self.file(&file.value, file.place, "kubernetes.kubeconfig", remedy)),
            thresholds: Thresholds {
                crash: written.crash_loop,
                crash_after_change: written.crash_loop_after_change,
                rollout_grace: written.rollout_grace.span(),
                start_grace: written.start_grace.span(),
            },
        }
    }

    pub(super) fn workload(
        &mut self,
        written: &At<written::WorkloadSection>,
        seen: &mut Unique,
    ) -> Option<WorkloadSettings> {
        let namespace = self.object_name(&written.namespace, "kubernetes.namespace", 63);
        let container = written.container.as_ref().map(|name| self.object_name(name, "kubernetes.container", 63));
        let (named, place, kind) = match (&written.statefulset, &written.deployment, &written.selector) {
            (Some(name), None, None) => {
                let found = self.object_name(name, "kubernetes.statefulset", 253);
                (WorkloadName::StatefulSet(found), name.place, "statefulset")
            }
            (None, Some(name), None) => {
                let found = self.object_name(name, "kubernetes.deployment", 253);
                (WorkloadName::Deployment(found), name.place, "deployment")
            }
            (None, None, Some(selector)) => {
                (WorkloadName::Selector(self.selector(selector)), selector.place, "selector")
            }
            (None, None, None) => {
                self.wrong(
                    written.place,
                    "kubernetes names nothing in its namespace: add one of statefulset, deployment and selector",
                );
                return None;
            }
            (Some(_), Some(_), _) | (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => {
                self.wrong(
                    written.place,
                    "kubernetes names more than one of statefulset, deployment and selector: keep one of them",
                );
                return None;
            }
        };
        let (WorkloadName::StatefulSet(name) | WorkloadName::Deployment(name) | WorkloadName::Selector(name)) = &named;
        seen.take(self, &format!("{kind} {namespace}/{name}"), place, "workload");
        Some(WorkloadSettings { namespace, named, container })
    }

    fn object_name(&mut self, name: &At<String>, key: &str, longest: usize) -> String {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let fits = (1..=longest).contains(&name.len())
            && name.chars().all(|c| inner(c) || c == '-' || (c == '.' && longest > 63))
            && name.starts_with(inner)
            && name.ends_with(inner);
        if !fits {
            self.wrong(
                name.place,
                format!("{key} '{}' is not a name in Kubernetes: a-z, 0-9 and '-', at most {longest}", name.value),
            );
        }
        name.value.clone()
    }

    /// One selector that is empty would match every pod of the namespace.
    fn selector(&mut self, selector: &At<String>) -> String {
        let terms = terms(&selector.value);
        if terms.is_empty() {
            self.wrong(selector.place, "kubernetes.selector is empty, and would match every pod of the namespace");
        }
        if let Some(term) = terms.iter().find(|term| !is_requirement(term)) {
            self.wrong(
                selector.place,
                format!("'{}' is no requirement on labels: write app=validator, or app in (a,b)", term.trim()),
            );
        }
        selector.value.trim().to_owned()
    }
}

/// Splits at the commas that are outside of parentheses.
fn terms(selector: &str) -> Vec<&str> {
    let mut depth = 0i32;
    let parts = selector.split(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    });
    if selector.trim().is_empty() { Vec::new() } else { parts.collect() }
}

fn is_requirement(term: &str) -> bool {
    let term = term.trim();
    if let Some(key) = term.strip_prefix('!') {
        return is_key(key);
    }
    for operator in ["!=", "==", "="] {
        if let Some((key, value)) = term.split_once(operator) {
            return is_key(key) && is_value(value);
        }
    }
    for operator in [" notin ", " in "] {
        if let Some((key, values)) = term.split_once(operator) {
            let values = values.trim().strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
            return is_key(key) && values.is_some_and(|values| values.split(',').all(is_value));
        }
    }
    is_key(term)
}

fn is_key(key: &str) -> bool {
    let (prefix, name) = key.trim().rsplit_once('/').unwrap_or(("a", key.trim()));
    !name.is_empty() && is_value(name) && !prefix.is_empty() && is_value(prefix)
}

fn is_value(value: &str) -> bool {
    value.trim().chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}
