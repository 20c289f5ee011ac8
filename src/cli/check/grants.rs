//! Who may sign grants, and whether the grants there are can be verified.

use std::time::Duration;

use url::Url;

use crate::{
    adapters::{gate_status, http},
    assembly,
    config::{Config, LedgerSettings, ValidatorSettings},
    domain::{Owner, gate::GatePhase},
    ports::{Finding, Ledger},
    runtime::grants,
};

/// With fewer a lost key is a validator that can never move, nor come back.
const KEYS: usize = 2;

pub(super) async fn check(config: &Config) -> Vec<Finding> {
    if config.grants.is_none() {
        return Vec::new();
    }
    let rules = assembly::grant_rules(config);
    let subject = "grants.allowed_signers";
    let mut findings = Vec::new();
    match rules.signers() {
        Err(why) => return vec![Finding::problem(subject, why, "write a line for each person who may sign")],
        Ok(signers) => {
            let keys = signers.signers().len();
            let problems = signers.problems().iter();
            let remedy = "correct the line: until then its key may not sign";
            findings.extend(problems.map(|why| Finding::warning(subject, why.clone(), remedy)));
            findings.push(if keys < KEYS {
                let remedy = "add a second key and keep it elsewhere: without this one nobody can move the validator";
                Finding::warning(subject, "one key may sign", remedy)
            } else {
                Finding::ok(subject, format!("{keys} keys may sign"))
            });
        }
    }
    if config.validators.iter().any(|it| it.gate.is_some()) && matches!(config.ledger, LedgerSettings::Sqlite { .. }) {
        let detail = "the ledger is a file: a gate on another machine or in a pod cannot read it";
        findings.push(Finding::warning("gate", detail, "use `ledger.gcs` where the gate runs in a cluster"));
    }
    let ledger = match assembly::ledger_to_read(config) {
        Ok(ledger) => ledger,
        Err(error) => {
            findings.push(Finding::unknown("grants", format!("{error:#}"), "see the ledger's own findings"));
            return findings;
        }
    };
    for validator in config.validators.iter().filter(|it| it.chain.is_some()) {
        findings.push(grant(&*ledger, &rules, validator).await);
        if let Some(url) = &validator.gate {
            findings.push(gate(validator, url).await);
        }
    }
    findings
}

async fn gate(validator: &ValidatorSettings, url: &Url) -> Finding {
    let subject = format!("gate of {}", validator.name);
    let status = match http::client(Duration::from_secs(5)) {
        Ok(client) => gate_status::read(&client, url).await,
        Err(error) => Err(error.to_string()),
    };
    let status = match status.and_then(|status| status.at_home_of(&validator.name)) {
        Ok(status) => status,
        Err(why) => return Finding::problem(subject, why, "start the gate, or correct `gate.url`"),
    };
    match (status.state, status.trouble) {
        (GatePhase::Running { .. }, None) => Finding::ok(subject, "it runs the validator's process"),
        (GatePhase::Running { .. }, Some(why)) => {
            Finding::warning(subject, why, "let the gate reach the ledger, before it has to stop")
        }
        (GatePhase::Waiting { why, until, .. }, _) => {
            let until = until.map_or_else(String::new, |until| format!(", until {until:.0} at the latest"));
            Finding::warning(subject, format!("it waits: {why}{until}"), "it starts by itself when that is over")
        }
        (GatePhase::Stopping { why, .. }, _) => {
            Finding::warning(subject, format!("it stops the process: {why}"), "see `failover grants`")
        }
    }
}

async fn grant(ledger: &dyn Ledger, rules: &grants::GrantRules, validator: &ValidatorSettings) -> Finding {
    let subject = format!("grant of {}", validator.name);
    let view = match grants::view(ledger, rules, &validator.name).await {
        Ok(view) => view,
        Err(error) => return Finding::unknown(subject, error.to_string(), "see the ledger's own findings"),
    };
    let by = match &view.grant {
        Ok(Some(grant)) => format!("grant {}, signed with {}", grant.grant().number, grant.key()),
        Ok(None) | Err(_) => String::new(),
    };
    let see = format!("see `failover grants {}`", validator.name);
    match view.owner() {
        Ok(Owner::Home) => Finding::ok(subject, format!("home may sign: {by}")),
        Ok(Owner::Cloud { instance, .. }) => Finding::ok(subject, format!("the machine {instance} may sign: {by}")),
        Ok(Owner::Moving { number }) => {
            Finding::warning(subject, format!("a promotion to number {number} is under way"), see)
        }
        Ok(Owner::Unknown) if validator.gate.is_some() => {
            let remedy = format!("make it: `failover adopt {}`", validator.name);
            Finding::problem(subject, "there is none, and the gate starts nothing without it", remedy)
        }
        Ok(Owner::Unknown) => Finding::ok(subject, "there is none: home runs without a gate"),
        Err(why) => Finding::problem(subject, why, see),
    }
}
