//! The network a standby would stand in, as its firewall is today: peers come in, ssh from the internet does not.
//!
//! Only looked at, and only the rules of the project: those of an organisation can close more than is seen here, and
//! the machine's own firewall closes everything but the peers' ports once more.

use std::collections::BTreeSet;

use google_cloud_compute_v1::model::{Firewall, firewall::Direction};

use super::{Failure, failed};
use crate::{
    adapters::gce::{Gce, GceConfig, body},
    domain::Rung,
    ports::Finding,
};

const ANYWHERE: [&str; 2] = ["0.0.0.0/0", "::/0"];
/// What a rule has that says nothing (Compute API, `Firewall.priority`).
const PRIORITY: i32 = 1000;
const SSH: u16 = 22;

/// Subnetworks of every region of the ladder, and the firewall of each network they are part of.
pub(super) async fn network(gce: &Gce) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut networks = BTreeSet::new();
    let mut regions = BTreeSet::new();
    for rung in gce.config.ladder.iter().filter(|rung| regions.insert(rung.region().to_owned())) {
        let Some(path) = body::subnetwork(&gce.config, rung) else {
            networks.insert((gce.config.project.clone(), "default".to_owned()));
            continue;
        };
        let (finding, network) = subnetwork(gce, rung, &path).await;
        findings.push(finding);
        networks.extend(network);
    }
    for (project, name) in networks {
        findings.extend(firewall(gce, &project, &name).await);
    }
    findings
}

/// What is in `path` after `key`.
fn part<'a>(path: &'a str, key: &str) -> Option<&'a str> {
    let mut parts = path.split('/');
    parts.find(|part| *part == key)?;
    parts.next()
}

async fn subnetwork(gce: &Gce, rung: &Rung, path: &str) -> (Finding, Option<(String, String)>) {
    let subject = format!("subnetwork {path}");
    let (Some(region), Some(name)) = (part(path, "regions"), part(path, "subnetworks")) else {
        return (Finding::problem(subject, "not a subnetwork", "correct `compute.subnetwork`"), None);
    };
    if region != rung.region() {
        let remedy = "give the name alone in `compute.subnetwork`, and make one of that name in each region";
        return (Finding::problem(subject, format!("{rung} is not in its region"), remedy), None);
    }
    // A shared network is another project's.
    let project = part(path, "projects").unwrap_or(&gce.config.project);
    let request = gce.subnetworks.get().set_project(project).set_region(region).set_subnetwork(name);
    match gce.bounded(gce.once(request).send()).await {
        Ok(found) => {
            let network = found.network.as_deref().and_then(|url| part(url, "networks")).map(str::to_owned);
            let detail = found.ip_cidr_range.unwrap_or_default();
            (Finding::ok(subject, detail), network.map(|network| (project.to_owned(), network)))
        }
        Err(failure) => (look_failed(subject, &failure, "compute.subnetworks.get", "make it"), None),
    }
}

/// A look that is refused tells nothing about what is looked at.
fn look_failed(subject: String, failure: &Failure, permission: &str, repair: &str) -> Finding {
    match failure {
        Failure::Refused(_) => {
            Finding::unknown(subject, failure.to_string(), format!("grant {permission} so that it can be looked at"))
        }
        Failure::Busy(_)
        | Failure::Unanswered(_)
        | Failure::Stale(_)
        | Failure::NotFound(_)
        | Failure::Exists(_)
        | Failure::OutOfStock(_)
        | Failure::Invalid(_)
        | Failure::Quota(_) => failed(subject, failure, &format!("{repair}, see docs/gcp.md")),
    }
}

async fn firewall(gce: &Gce, project: &str, network: &str) -> Vec<Finding> {
    let subject = format!("firewall of network {network}");
    let rules = match rules(gce, project).await {
        Ok(rules) => rules,
        Err(failure) => {
            return vec![look_failed(subject, &failure, "compute.firewalls.list", "correct `compute.project`")];
        }
    };
    let rules: Vec<Firewall> = rules.into_iter().filter(|rule| applies(rule, network, &gce.config)).collect();
    let ports = gce.config.bundle.p2p_ports();
    let closed: Vec<String> = ports
        .iter()
        .flat_map(|port| ["tcp", "udp"].map(|protocol| (protocol, *port)))
        .filter(|(protocol, port)| !is_open(&rules, protocol, *port))
        .map(|(protocol, port)| format!("{protocol} {port}"))
        .collect();
    let mut findings = Vec::new();
    if is_open(&rules, "tcp", SSH) {
        let remedy = "remove the rule (often default-allow-ssh), or use a network of its own, see docs/gcp.md";
        let detail = "ssh is open to the whole internet, and no standby needs it";
        findings.push(Finding::warning(subject.clone(), detail, remedy));
    }
    if !closed.is_empty() {
        let detail = format!(
            "closed to peers: {}; a standby then finds only peers it calls itself, and syncs slowly",
            closed.join(", ")
        );
        findings.push(Finding::warning(subject.clone(), detail, "open them for the tags in `compute.tags`"));
    }
    if findings.is_empty() {
        let detail = format!("{} ports are open to peers, ssh is not open to the internet", ports.len());
        findings.push(Finding::ok(subject, detail));
    }
    findings
}

async fn rules(gce: &Gce, project: &str) -> Result<Vec<Firewall>, Failure> {
    let mut rules = Vec::new();
    let mut token: Option<String> = None;
    loop {
        let request = gce.firewalls.list().set_project(project).set_or_clear_page_token(token.clone());
        let page = gce.bounded(gce.once(request).send()).await?;
        rules.extend(page.items);
        token = page.next_page_token.filter(|token| !token.is_empty());
        if token.is_none() {
            return Ok(rules);
        }
    }
}

/// Whether the rule is about a standby and somebody anywhere who calls it. One for a service account is not: it has
/// none.
fn applies(rule: &Firewall, network: &str, config: &GceConfig) -> bool {
    let in_network = rule.network.as_deref().and_then(|url| part(url, "networks")) == Some(network);
    let for_us = rule.target_service_accounts.is_empty()
        && (rule.target_tags.is_empty() || rule.target_tags.iter().any(|tag| config.tags.contains(tag)));
    let by_range = rule.source_ranges.iter().any(|range| ANYWHERE.contains(&range.as_str()));
    let of_all =
        rule.source_ranges.is_empty() && rule.source_tags.is_empty() && rule.source_service_accounts.is_empty();
    let comes_in = rule.direction.as_ref().is_none_or(|direction| *direction == Direction::Ingress);
    in_network && for_us && comes_in && (by_range || of_all) && rule.disabled != Some(true)
}

/// The rule with the smallest number decides, among equals a denial, and without any it is closed.
fn is_open(rules: &[Firewall], protocol: &str, port: u16) -> bool {
    let named = |wanted: &Option<String>, ports: &[String]| {
        let wanted = wanted.as_deref().unwrap_or_default().to_lowercase();
        let number = if protocol == "tcp" { "6" } else { "17" };
        (wanted == "all" || wanted == protocol || wanted == number)
            && (ports.is_empty() || ports.iter().any(|range| covers(range, port)))
    };
    let priority = |rule: &Firewall| rule.priority.unwrap_or(PRIORITY);
    let denied = |rule: &&Firewall| rule.denied.iter().any(|denied| named(&denied.ip_protocol, &denied.ports));
    let allowed = |rule: &&Firewall| rule.allowed.iter().any(|allowed| named(&allowed.ip_protocol, &allowed.ports));
    let first_denial = rules.iter().filter(denied).map(priority).min().unwrap_or(i32::MAX);
    rules.iter().filter(allowed).map(priority).min().is_some_and(|first| first < first_denial)
}

/// `30303`, or `1024-65535`.
fn covers(range: &str, port: u16) -> bool {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    matches!((first.trim().parse::<u16>(), last.trim().parse::<u16>()), (Ok(first), Ok(last)) if first <= port && port <= last)
}
