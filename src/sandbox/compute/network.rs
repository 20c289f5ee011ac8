//! Subnetworks and firewall rules, to be looked at. Nothing here closes a port.

use std::collections::BTreeSet;

use http::StatusCode;
use serde_json::{Value, json};

use super::{
    Answer,
    fault::Fault,
    routes::{Call, missing},
    world::World,
};

/// What stands around the machines of the project.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) rules: Vec<Value>,
    /// Regions without a subnetwork.
    pub(super) bare: BTreeSet<String>,
}

impl Default for Network {
    /// Peers may come in, ssh may not.
    fn default() -> Self {
        let ports = ["1024-65535"];
        let allowed = json!([{"IPProtocol": "tcp", "ports": ports}, {"IPProtocol": "udp", "ports": ports}]);
        let rule = json!({"name": "peers", "allowed": allowed, "sourceRanges": ["0.0.0.0/0"]});
        Self { rules: vec![rule], bare: BTreeSet::new() }
    }
}

pub(super) fn subnetwork(world: &mut World, call: &Call<'_>, rest: &[&str], _fault: Option<&Fault>) -> Answer {
    let (region, name) = (rest[1], rest[3]);
    if world.denied.contains("compute.subnetworks.get") {
        return refused("compute.subnetworks.get");
    }
    if world.network.bare.contains(region) {
        return missing(&rest.join("/"));
    }
    let network = world.link(call.project, &format!("global/networks/{name}"));
    let (region, link) =
        (world.link(call.project, &format!("regions/{region}")), world.link(call.project, &rest.join("/")));
    let subnetwork = json!({
        "kind": "compute#subnetwork", "name": name, "network": network, "region": region, "selfLink": link,
        "ipCidrRange": "10.64.0.0/24", "gatewayAddress": "10.64.0.1", "purpose": "PRIVATE", "stackType": "IPV4_ONLY",
    });
    Answer::ok("Subnetwork", subnetwork)
}

pub(super) fn firewalls(world: &mut World, call: &Call<'_>, _rest: &[&str], _fault: Option<&Fault>) -> Answer {
    if world.denied.contains("compute.firewalls.list") {
        return refused("compute.firewalls.list");
    }
    // A rule is in every network there is unless it names one.
    let networks = ["default", "failover", "standby"];
    let mut items = Vec::new();
    for rule in &world.network.rules {
        for network in networks {
            let mut item = json!({
                "kind": "compute#firewall", "direction": "INGRESS", "priority": 1000, "disabled": false,
                "network": world.link(call.project, &format!("global/networks/{network}")),
            });
            for (key, value) in rule.as_object().into_iter().flatten() {
                item[key] = value.clone();
            }
            items.push(item);
        }
    }
    Answer::ok("FirewallList", json!({"kind": "compute#firewallList", "id": "firewalls", "items": items}))
}

fn refused(permission: &str) -> Answer {
    let message = format!("Required '{permission}' permission for the project");
    Answer::error(StatusCode::FORBIDDEN, "forbidden", &message)
}
