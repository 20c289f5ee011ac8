//! What a machine is given when it is promoted, beside what its standby was given: the client that signs, the gate before
//! it, and whose word lets that start. Its playbook reads it once. It has no field for a key or another secret.

use serde::Serialize;

use crate::{
    config::{Config, ConsensusSettings, DownloadSettings, ValidatorKind, ValidatorSettings},
    domain::{PublicKey, chain::Epoch, interchange::Watermark, ownership::AllowedSigners},
};

/// What a standby has nothing of, and a promoted machine needs.
#[derive(Clone, Debug)]
pub struct PromotedClient {
    /// The validator client's own release. Lighthouse has one program for both, and none.
    pub release: Option<DownloadSettings>,
    /// `0x` and 40 hexadecimal digits.
    pub fee_recipient: String,
    /// Whether it looks for a second signer before it signs.
    pub doppelganger: bool,
    /// More options; none of them is about keys.
    pub extra_args: Vec<String>,
    pub gate: DownloadSettings,
    /// The text of the file `grants.allowed_signers`.
    pub allowed_signers: String,
}

#[derive(Serialize)]
struct Promoted<'a> {
    validator: &'a str,
    chain: Option<&'a str>,
    allow_untouched: bool,
    allowed_signers: Vec<&'a str>,
    public_keys: Vec<String>,
    client: Option<Client<'a>>,
    gate: Option<&'a DownloadSettings>,
}

#[derive(Serialize)]
struct Client<'a> {
    url: Option<&'a str>,
    sha256: Option<&'a str>,
    fee_recipient: &'a str,
    doppelganger: bool,
    extra_args: &'a [String],
}

/// The text of the metadata. `None` when the configuration does not say all that such a machine needs: a validator of
/// Ethereum has to have a chain, `grants`, a standby and a client. Others sign nothing that a gate knows how to hold;
/// their machine is only let alone from then on.
pub(super) fn render(
    config: &Config,
    validator: &ValidatorSettings,
    client: Option<&PromotedClient>,
) -> Option<String> {
    let standby = config.standby.as_ref()?;
    let mut promoted = Promoted {
        validator: validator.name.as_str(),
        chain: validator.chain.as_deref(),
        allow_untouched: config.grants.as_ref().is_some_and(|grants| grants.allow_untouched),
        allowed_signers: Vec::new(),
        public_keys: validator.public_keys().iter().map(PublicKey::to_hex).collect(),
        client: None,
        gate: None,
    };
    match &validator.kind {
        ValidatorKind::Generic { standby, .. } => {
            standby.as_ref()?;
        }
        ValidatorKind::Ethereum { .. } => {
            let (Some(client), Some(_), Some(_)) = (client, promoted.chain, &config.grants) else { return None };
            let release = match &standby.ethereum.as_ref()?.consensus {
                ConsensusSettings::Lighthouse(_) => None,
                ConsensusSettings::Prysm(_) => Some(client.release.as_ref()?),
            };
            // Only what allows somebody: a file that is another one than was meant stays where it is.
            let allows = |line: &&str| AllowedSigners::parse(line).is_ok();
            promoted.allowed_signers = client.allowed_signers.lines().map(str::trim).filter(allows).collect();
            promoted.client = Some(Client {
                url: release.map(|release| release.url.as_str()),
                sha256: release.map(|release| release.sha256.as_str()),
                fee_recipient: &client.fee_recipient,
                doppelganger: client.doppelganger,
                extra_args: &client.extra_args,
            });
            promoted.gate = Some(&client.gate);
            if promoted.allowed_signers.is_empty() {
                return None;
            }
        }
    }
    let text = serde_json::to_string_pretty(&serde_json::json!({ "promoted": promoted }));
    Some(text.expect("text with string keys"))
}

/// As long as the watermark of its keys can become, at an epoch that no chain reaches in a hundred years. Without keys there is
/// none.
pub(super) fn longest_watermark(validator: &ValidatorSettings) -> String {
    let root = format!("0x{}", "0".repeat(64)).parse().expect("a root");
    let watermark = Watermark::new(root, Epoch(999_999_999), 32, validator.public_keys().iter().copied());
    let bytes = watermark.map(|watermark| watermark.bytes()).unwrap_or_default();
    String::from_utf8(bytes).expect("JSON")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::{
        bundle::{Bundle, MAX_VALUE, PROMOTED_KEY},
        config::{self, Checks},
    };

    const SHA: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    const KEY: &str =
        "0x93247f2209abcacf57b75a51dafae777f9dd38bc7053d1af526f220a7489a6d3a2753e5f3e8b1cfe39b56f43611df74a";
    const SIGNER: &str = "you@example.org namespaces=\"failover-grant\" \
                          ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

    fn written(consensus: &str) -> String {
        let zeros = "0".repeat(64);
        format!(
            r#"site: home
ledger: {{sqlite: {{path: ledger.sqlite}}}}
grants: {{allowed_signers: allowed_signers}}
ethereum: {{beacon_nodes: [{{name: home, url: "http://127.0.0.1:5052"}}], genesis_root: "0x{zeros}"}}
validators:
  - {{name: eth-0, kind: ethereum, public_keys: ["{KEY}"]}}
  - name: btc-0
    kind: generic
    probes: [{{name: rpc, tcp: {{address: "home.example:8332"}}}}]
    standby:
      url: https://releases.example.org/node.tar.gz
      sha256: {SHA}
      binary: bin/node
      probes: [{{name: rpc, tcp: {{address: "127.0.0.1:8332"}}}}]
      p2p_ports: [8333]
standby:
  failover: {{url: "https://releases.example.org/failover", sha256: {SHA}}}
  ethereum:
    checkpoint_sync_url: https://checkpoint.example.org
    geth: {{url: "https://releases.example.org/geth.tar.gz", sha256: {SHA}}}
    {consensus}: {{url: "https://releases.example.org/{consensus}", sha256: {SHA}}}
"#
        )
    }

    fn config(text: &str) -> Config {
        let checks = Checks { files: false, ..Checks::default() };
        config::parse(text, "failover.yaml", &checks).unwrap().0
    }

    fn download(name: &str) -> DownloadSettings {
        let url = format!("https://releases.example.org/{name}").parse().unwrap();
        DownloadSettings { url, sha256: SHA.into() }
    }

    fn client(release: Option<&str>) -> PromotedClient {
        PromotedClient {
            release: release.map(download),
            fee_recipient: "0x00000000219ab540356cbb839cbe05303d7705fa".into(),
            doppelganger: true,
            extra_args: vec!["--graffiti=a".into()],
            gate: download("failover-gate"),
            allowed_signers: format!("# who may sign\n{SIGNER}\n\n"),
        }
    }

    fn text(config: &Config, name: &str, client: Option<&PromotedClient>) -> Option<String> {
        let validator = config.validators.iter().find(|validator| validator.name.as_str() == name).unwrap();
        Bundle::new(config).unwrap().promoted(config, validator, client).unwrap()
    }

    fn promoted(config: &Config, name: &str, client: Option<&PromotedClient>) -> Value {
        let text = text(config, name, client).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["promoted"].clone()
    }

    #[test]
    fn a_promoted_machine_is_given_its_client_and_its_gate_by_digest() {
        let given = promoted(&config(&written("prysm")), "eth-0", Some(&client(Some("validator"))));
        assert_eq!(given["validator"], "eth-0");
        assert_eq!(given["chain"], format!("0x{}", "0".repeat(64)));
        assert_eq!(given["client"]["url"], "https://releases.example.org/validator");
        assert_eq!(given["client"]["sha256"], SHA);
        assert_eq!(given["client"]["doppelganger"], true);
        assert_eq!(given["gate"]["url"], "https://releases.example.org/failover-gate");
        assert_eq!(given["public_keys"], serde_json::json!([KEY]), "whole, for the gate to ask about");
        assert_eq!(given["allow_untouched"], false);
    }

    #[test]
    fn lighthouse_needs_no_second_release() {
        let given = promoted(&config(&written("lighthouse")), "eth-0", Some(&client(Some("other"))));
        assert!(given["client"]["url"].is_null() && given["client"]["sha256"].is_null());
    }

    #[test]
    fn a_line_that_allows_nobody_does_not_travel() {
        let mut other = client(None);
        other.allowed_signers.push_str("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmU\n");
        let config = config(&written("lighthouse"));
        assert_eq!(promoted(&config, "eth-0", Some(&other))["allowed_signers"], serde_json::json!([SIGNER]));
        other.allowed_signers = "-----BEGIN OPENSSH PRIVATE KEY-----\n".into();
        assert_eq!(text(&config, "eth-0", Some(&other)), None, "nobody could ever start it");
    }

    #[test]
    fn what_lacks_a_part_is_no_promotion() {
        let whole = written("prysm");
        let with = |client: Option<PromotedClient>| text(&config(&whole), "eth-0", client.as_ref());
        assert_eq!(with(None), None);
        assert_eq!(with(Some(client(None))), None, "prysm has a release of its own");
        assert!(with(Some(client(Some("validator")))).is_some());
        let no_grants = whole.replacen("grants: {allowed_signers: allowed_signers}\n", "", 1);
        assert_eq!(text(&config(&no_grants), "eth-0", Some(&client(Some("validator")))), None);
        let no_standby = whole.split_once("  - name: btc-0").unwrap().0;
        let no_standby = config(no_standby);
        assert!(no_standby.standby.is_none());
        assert_eq!(text(&no_standby, "eth-0", Some(&client(Some("validator")))), None);
    }

    #[test]
    fn a_validator_without_a_client_of_ours_is_only_let_alone() {
        let given = promoted(&config(&written("prysm")), "btc-0", Some(&client(None)));
        assert!(given["client"].is_null() && given["gate"].is_null());
        assert_eq!(given["allowed_signers"], serde_json::json!([]));
    }

    #[test]
    fn more_than_metadata_can_carry_is_refused() {
        let config = config(&written("lighthouse"));
        let mut long = client(None);
        long.extra_args = vec!["a".repeat(MAX_VALUE)];
        let error = Bundle::new(&config).unwrap().promoted(&config, &config.validators[0], Some(&long)).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("'eth-0'") && error.contains(PROMOTED_KEY), "{error}");
    }

    #[test]
    fn keys_whose_watermark_would_not_fit_are_refused_before_anything_is_done() {
        let key = |number: usize| format!("\"0x{number:096x}\"");
        let with = |keys: usize| {
            let keys: Vec<String> = (1..=keys).map(key).collect();
            config(&written("lighthouse").replacen(&format!("\"{KEY}\""), &keys.join(", "), 1))
        };
        let promoted =
            |config: &Config| Bundle::new(config).unwrap().promoted(config, &config.validators[0], Some(&client(None)));
        assert!(promoted(&with(300)).unwrap().is_some());
        let error = promoted(&with(600)).unwrap_err().to_string();
        assert!(error.contains("failover-watermark") && error.contains("share out its keys"), "{error}");
    }

    #[test]
    fn the_playbook_knows_every_word_that_is_written_and_refuses_all_others() {
        let text = std::str::from_utf8(Bundle::files()["playbooks/promoted.yml"]).unwrap();
        let known = |list: &str| {
            let line = text.lines().find_map(|line| line.trim().strip_prefix(&format!("{list}: ["))).unwrap();
            line.trim_end_matches(']').split(", ").map(str::to_owned).collect::<BTreeSet<_>>()
        };
        let given = promoted(&config(&written("prysm")), "eth-0", Some(&client(Some("validator"))));
        let words = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(known("promoted_words"), words(&given));
        assert_eq!(known("promoted_client_words"), words(&given["client"]));
        assert_eq!(known("promoted_gate_words"), words(&given["gate"]));
    }

    /// What the playbook reads, by its words `promoted.a.b`.
    #[test]
    fn what_the_playbook_reads_is_what_is_written() {
        let files = Bundle::files();
        let mut read = BTreeSet::new();
        for file in ["playbooks/promoted.yml", "playbooks/vars/promoted.yml"] {
            for part in std::str::from_utf8(files[file]).unwrap().split("promoted.").skip(1) {
                let word =
                    part.split(|c: char| !(c.is_ascii_lowercase() || "_.0123456789".contains(c))).next().unwrap();
                read.insert(format!("/{}", word.trim_end_matches('.').replace('.', "/")));
            }
        }
        read.remove("/yml");
        read.remove("/md");
        let given = promoted(&config(&written("prysm")), "eth-0", Some(&client(Some("validator"))));
        assert!(read.len() > 8, "{read:?}");
        for pointer in read {
            assert!(given.pointer(&pointer).is_some(), "{pointer} is read and not there");
        }
    }
}
