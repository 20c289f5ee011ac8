//! `failover promote --check-keys`: whether the client on the promoted machine has every key that is configured, and no
//! other, by its own metrics; and whether the chain shows their duties.
//!
//! Public keys only. A client that was given a watermark twice says nothing of it and signs with none of the keys that it
//! has (seen with Prysm): so what it names is compared with what the chain shows.

use std::collections::BTreeMap;

use super::evidence::EvidenceSources;
use crate::{
    domain::{PublicKey, Time, clock, ownership::OwnershipView},
    ports::Finding,
    sources::chain,
};

/// How many keys are named one by one.
const NAMED: usize = 8;
const ACTIVE: &str = "3";

/// What one page of metrics says of keys.
#[derive(Debug, Default, PartialEq, Eq)]
struct ClientKeys {
    /// Prysm 5.3.1: `validator_statuses{pubkey="0x…"}`, whose value is 0 unknown, 1 deposited, 2 pending, 3 active, 4 exiting, 5
    /// slashing, 6 exited. The value as it is written.
    named: BTreeMap<PublicKey, String>,
    /// Lighthouse names none: `vc_validators_enabled_count` and `vc_validators_total_count`.
    enabled: Option<u64>,
    total: Option<u64>,
    /// Of both, what they signed since they were started.
    signed: Option<u64>,
}

impl ClientKeys {
    fn of(page: &str) -> Self {
        let mut keys = Self::default();
        for (name, labels, value) in page.lines().filter_map(sample) {
            let number = || value.parse::<f64>().ok().filter(|it| (0.0..=1e15).contains(it)).map(|it| it as u64);
            match name {
                "validator_statuses" => {
                    if let Some(key) = label(labels, "pubkey").and_then(|key| key.parse().ok()) {
                        keys.named.insert(key, value.trim_end_matches(".0").to_owned());
                    }
                }
                "vc_validators_enabled_count" => keys.enabled = number(),
                "vc_validators_total_count" => keys.total = number(),
                "vc_signed_attestations_total" if label(labels, "status") == Some("success") => keys.signed = number(),
                "validator_successful_attestations" => {
                    keys.signed = Some(keys.signed.unwrap_or_default().saturating_add(number().unwrap_or_default()));
                }
                _ => {}
            }
        }
        keys
    }

    /// Beside what is configured.
    fn judge(&self, configured: &[PublicKey]) -> Vec<Finding> {
        let subject = "keys of the client";
        let mut findings = Vec::new();
        if self.named.is_empty() && self.enabled.is_none() {
            let remedy = "give the page of the validator client itself: Lighthouse 5064/metrics, Prysm 8081/metrics";
            return vec![Finding::unknown(subject, "this page of metrics says nothing of keys", remedy)];
        }
        if !self.named.is_empty() {
            let is_named = |key: &&PublicKey| self.named.contains_key(key);
            let missing: Vec<_> = configured.iter().filter(|key| !is_named(key)).copied().collect();
            let more: Vec<_> = self.named.keys().filter(|key| !configured.contains(key)).copied().collect();
            let is_idle = |key: &&PublicKey| self.named.get(key).is_some_and(|status| status != ACTIVE);
            let idle: Vec<_> = configured.iter().filter(is_idle).copied().collect();
            let mut report = |keys: &[PublicKey], what: &str, remedy: &str| {
                if !keys.is_empty() {
                    findings.push(Finding::problem(subject, format!("{what}: {}", listed(keys)), remedy));
                }
            };
            report(&missing, "it does not have", "import their keystores, and look for a refusal in its log");
            report(
                &more,
                "it has keys that are not configured",
                "find out whose they are: home may sign with them still",
            );
            report(&idle, "it does not take for active", "see what the chain says of them: `failover check`");
        }
        let (count, of) = (self.enabled, self.total);
        if let Some(enabled) = count.filter(|enabled| self.named.is_empty() && *enabled != configured.len() as u64) {
            let all = of.map_or_else(String::new, |all| format!(" of {all} that it has"));
            let detail = format!("{enabled} keys{all} are enabled, {} are configured", configured.len());
            findings.push(Finding::problem(subject, detail, "import what is missing; remove what is not configured"));
        }
        if findings.is_empty() {
            let how =
                if self.named.is_empty() { "as many as are configured, which it does not name" } else { "all of them" };
            findings.push(Finding::ok(subject, format!("{} keys: {how}", configured.len())));
        }
        findings.push(match self.signed {
            Some(0) | None => {
                let remedy = "wait four epochs for its doppelganger protection; after that look into its log for a watermark \
                              that was imported twice";
                Finding::unknown("signatures of the client", "it has counted none since it was started", remedy)
            }
            Some(signed) => Finding::ok("signatures of the client", format!("{signed} since it was started")),
        });
        findings
    }
}

/// Compares a page of the client's metrics with the configuration and with the chain.
pub async fn run(sources: &EvidenceSources<'_>, view: &OwnershipView, page: &str) -> Vec<Finding> {
    let Some(validator) = sources.config.validators.iter().find(|it| it.name == *sources.validator) else {
        return Vec::new();
    };
    let mut findings = ClientKeys::of(page).judge(validator.public_keys());
    findings.extend(chain::probe_validator(sources.config, validator).await);
    let grant = view.grant.as_ref().ok().and_then(Option::as_ref).map(|grant| grant.grant());
    if let Some(grant) = grant {
        let since = sources.duty_since(view, grant).await;
        findings.push(duties(grant.number, since));
    }
    findings
}

fn duties(number: u64, since: Option<Time>) -> Finding {
    match since {
        Some(since) => Finding::ok("duties on the chain", format!("seen under grant {number} since {}", clock(since))),
        None => {
            let remedy = "they are seen two epochs after the first one; after that see what is said of each key";
            Finding::unknown("duties on the chain", format!("none was seen under grant {number} yet"), remedy)
        }
    }
}

fn listed(keys: &[PublicKey]) -> String {
    let mut shown: Vec<String> = keys.iter().take(NAMED).map(PublicKey::to_hex).collect();
    if keys.len() > NAMED {
        shown.push(format!("{} more", keys.len() - NAMED));
    }
    shown.join(", ")
}

/// `name value` or `name{labels} value` of the text format, whatever follows.
fn sample(line: &str) -> Option<(&str, &str, &str)> {
    let line = line.trim();
    let end = line.find(|c: char| c == '{' || c.is_ascii_whitespace()).filter(|_| !line.starts_with('#'))?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => rest.rsplit_once('}')?,
        None => ("", rest),
    };
    Some((name, labels, rest.split_ascii_whitespace().next()?))
}

fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    let pairs = labels.split(',').map(str::trim);
    let value = pairs.filter_map(|pair| pair.strip_prefix(name)).find_map(|rest| rest.strip_prefix("=\""))?;
    value.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::FindingState;

    fn key(number: u8) -> PublicKey {
        format!("0x{}", format!("{number:02x}").repeat(48)).parse().unwrap()
    }

    fn said(page: &str, keys: &[PublicKey]) -> Vec<(FindingState, String)> {
        ClientKeys::of(page).judge(keys).into_iter().map(|finding| (finding.state, finding.detail)).collect()
    }

    fn prysm(keys: &[(u8, &str)]) -> String {
        let mut page =
            "# HELP validator_statuses validator statuses: 0 UNKNOWN, 1 DEPOSITED, 2 PENDING, 3 ACTIVE, 4 EXITING, \
                        5 SLASHING, 6 EXITED\n# TYPE validator_statuses gauge\n"
                .to_owned();
        for (number, status) in keys {
            page += &format!("validator_statuses{{pubkey=\"{}\"}} {status}\n", key(*number).to_hex());
            page += &format!("validator_successful_attestations{{pubkey=\"{}\"}} 2\n", key(*number).to_hex());
        }
        page
    }

    #[test]
    fn a_key_that_the_client_lacks_has_beside_or_does_not_use_is_named() {
        let keys = [key(1), key(2)];
        let fine = said(&prysm(&[(1, "3"), (2, "3")]), &keys);
        assert!(fine.iter().all(|(state, _)| *state == FindingState::Ok), "{fine:?}");
        let hex = |number| key(number).to_hex();
        for (page, words) in [
            (prysm(&[(1, "3")]), format!("does not have: {}", hex(2))),
            (prysm(&[(1, "3"), (2, "3"), (7, "3")]), format!("not configured: {}", hex(7))),
            (prysm(&[(1, "3"), (2, "2")]), format!("for active: {}", hex(2))),
        ] {
            let said = said(&page, &keys);
            assert!(
                said.iter().any(|(state, why)| *state == FindingState::Problem && why.contains(&words)),
                "{said:?}"
            );
        }
    }

    #[test]
    fn where_the_client_names_no_key_their_number_has_to_be_right() {
        let page = |enabled, signed| {
            format!(
                "# TYPE vc_validators_enabled_count gauge\nvc_validators_enabled_count {enabled}\n\
                 vc_validators_total_count 3\nvc_signed_attestations_total{{status=\"success\"}} {signed}\n\
                 vc_signed_attestations_total{{status=\"slashable\"}} 9\n"
            )
        };
        let keys = [key(1), key(2)];
        let states = |page: &str| said(page, &keys).into_iter().map(|(state, _)| state).collect::<Vec<_>>();
        assert_eq!(states(&page(2, 5)), [FindingState::Ok, FindingState::Ok]);
        assert_eq!(states(&page(3, 5)), [FindingState::Problem, FindingState::Ok]);
        assert_eq!(states(&page(2, 0)), [FindingState::Ok, FindingState::Unknown], "what it refuses to sign is none");
    }

    #[test]
    fn a_page_that_is_none_proves_nothing() {
        for page in ["", "<html>", "up 1\n", "validator_statuses{pubkey=\"0x12\"} 3", "validator_statuses 3\n{", "a{b"]
        {
            assert_eq!(said(page, &[key(1)])[0].0, FindingState::Unknown, "{page}");
        }
    }
}
