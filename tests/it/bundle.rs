//! What a machine is given: all of it, the same each time, within the cloud's limits, and nothing secret.

mod node;
mod secrets;

use std::path::Path;

use failover::{
    adapters::gce,
    bundle::{Bundle, MAX_TOTAL, MAX_VALUE},
    config::{self, Checks, Config},
    domain::{IncidentId, Time, ValidatorId},
};
use serde_json::Value;

const SHA: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

/// One validator of each kind, with everything its standby needs.
fn both_kinds() -> String {
    format!(
        r#"site: home
ledger: {{sqlite: {{path: ledger.sqlite}}}}
ethereum: {{beacon_nodes: [{{name: home, url: "http://127.0.0.1:5052"}}], genesis_root: "0x{zeros}"}}
validators:
  - name: eth-0
    kind: ethereum
    public_keys: ["0x93247f2209abcacf57b75a51dafae777f9dd38bc7053d1af526f220a7489a6d3a2753e5f3e8b1cfe39b56f43611df74a"]
  - name: btc-0
    kind: generic
    probes: [{{name: rpc, tcp: {{address: "home.example:8332"}}}}]
    standby:
      url: https://releases.example.org/node.tar.gz
      sha256: {SHA}
      binary: bin/node
      args: [-server]
      probes: [{{name: rpc, tcp: {{address: "127.0.0.1:8332"}}}}]
      p2p_ports: [8333]
standby:
  failover: {{url: "https://releases.example.org/failover", sha256: {SHA}}}
  mirror: http://mirror.example.org/files
  ethereum:
    checkpoint_sync_url: https://checkpoint.example.org
    geth: {{url: "https://releases.example.org/geth.tar.gz", sha256: {SHA}, extra_args: ["--history.chain=postprague"]}}
    lighthouse: {{url: "https://releases.example.org/lighthouse.tar.gz", sha256: {SHA}}}
"#,
        zeros = "0".repeat(64)
    )
}

fn parse(text: &str) -> Result<Config, String> {
    let checks = Checks { files: false, ..Checks::default() };
    config::parse(text, "failover.yaml", &checks).map(|(config, _)| config).map_err(|error| error.to_string())
}

/// The example with a validator client and where the fees go.
fn with_a_signer(address: &str) -> String {
    let lighthouse = "lighthouse: {url:";
    let validator = format!("lighthouse: {{validator: {{url: 'https://signer.example/vc', sha256: {SHA}}}, url:");
    both_kinds()
        .replace(lighthouse, &validator)
        .replace("    checkpoint_sync_url", &format!("    fee_recipient: '{address}'\n    checkpoint_sync_url"))
}

const ADDRESS: &str = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";

#[test]
fn what_is_for_a_promotion_does_not_travel_to_a_standby() {
    let config = parse(&with_a_signer(ADDRESS)).unwrap();
    let settings = config.standby.as_ref().unwrap().ethereum.as_ref().unwrap();
    assert_eq!(settings.fee_recipient.unwrap().to_string(), ADDRESS);
    let bundle = |config: &Config| {
        let bundle = Bundle::new(config).unwrap();
        let id = ValidatorId::new("eth-0").unwrap();
        bundle.metadata(&id, IncidentId::derive(&id, Time::UNIX_EPOCH))
    };
    assert_eq!(format!("{:?}", bundle(&config)), format!("{:?}", bundle(&parse(&both_kinds()).unwrap())));
}

#[test]
fn an_address_for_fees_that_cannot_be_right_is_refused_and_a_key_in_its_place_not_repeated() {
    let wrong = |address: &str| parse(&with_a_signer(address)).expect_err(address);
    assert!(wrong(&ADDRESS.replace("Aed", "aed")).contains("fee_recipient does not have the upper and lower case"));
    assert!(wrong(&format!("0x{}", "00".repeat(20))).contains("is the address of nobody"));
    let key = format!("0x{}", "1f".repeat(32));
    let said = wrong(&key);
    assert!(said.contains("fee_recipient is not 0x and 40 hexadecimal digits") && !said.contains(&key), "{said}");
}

#[track_caller]
fn refused(change: &str, into: &str, says: &str) {
    let text = both_kinds();
    assert!(text.contains(change), "the test changes something that is there: {change}");
    let error = parse(&text.replacen(change, into, 1)).expect_err("this must not be taken");
    assert!(error.contains(says), "expected {says:?} in:\n{error}");
}

fn metadata(text: &str, validator: &str) -> Vec<(&'static str, String)> {
    let validator = ValidatorId::new(validator).unwrap();
    let bundle = Bundle::new(&parse(text).unwrap()).unwrap();
    bundle.metadata(&validator, IncidentId::derive(&validator, Time::UNIX_EPOCH))
}

fn vars(text: &str, validator: &str) -> Value {
    let items = metadata(text, validator);
    let (_, vars) = items.iter().find(|(key, _)| *key == "failover-vars").unwrap();
    serde_json::from_str::<Value>(vars).unwrap()["standby"].clone()
}

#[test]
fn the_same_configuration_and_incident_give_the_same_bytes() {
    assert_eq!(metadata(&both_kinds(), "eth-0"), metadata(&both_kinds(), "eth-0"));
}

#[test]
fn everything_fits_into_a_machines_metadata_with_room_to_spare() {
    let items = metadata(&both_kinds(), "eth-0");
    let total: usize = items.iter().map(|(key, value)| key.len() + value.len()).sum();
    assert!(items.iter().all(|(_, value)| value.len() <= MAX_VALUE / 2), "one value fills half of its limit");
    assert!(total <= MAX_TOTAL / 2, "{total} bytes fill half of what Compute Engine takes");
}

#[test]
fn more_than_metadata_can_carry_is_refused_before_there_is_an_incident() {
    let long = "a".repeat(MAX_VALUE);
    let text = both_kinds().replacen("--history.chain=postprague", &long, 1);
    let error = Bundle::new(&parse(&text).unwrap()).unwrap_err().to_string();
    assert!(error.contains("'eth-0'") && error.contains("failover-vars"), "{error}");
}

#[test]
fn an_ethereum_standby_is_told_its_clients_by_address_and_digest() {
    let vars = vars(&both_kinds(), "eth-0");
    assert_eq!(vars["clients"], serde_json::json!(["geth", "lighthouse"]));
    assert_eq!(vars["geth"]["sha256"], SHA);
    assert_eq!(vars["geth"]["extra_args"][0], "--history.chain=postprague");
    assert_eq!(vars["mirror"], "http://mirror.example.org/files/", "file names are put behind it");
    assert_eq!(vars["p2p_ports"], serde_json::json!([30303, 9000, 9001]));
    assert_eq!(vars["disk"]["device"], "/dev/disk/by-id/google-chaindata");
    assert!(vars["prysm"].is_null() && vars["generic"].is_null());
}

#[test]
fn a_generic_standby_is_told_its_release_and_how_it_shows_that_it_has_synced() {
    let vars = vars(&both_kinds(), "btc-0");
    assert_eq!(vars["clients"], serde_json::json!(["generic"]));
    assert_eq!(vars["generic"]["binary"], "bin/node");
    assert_eq!(vars["generic"]["health"][0]["tcp"]["address"], "127.0.0.1:8332");
    assert_eq!(vars["p2p_ports"], serde_json::json!([8333]));
    assert!(vars["geth"].is_null() && vars["genesis_root"].is_null());
}

#[test]
fn the_archive_holds_the_roles_as_they_are_here() {
    let items = metadata(&both_kinds(), "eth-0");
    let (_, packed) = items.iter().find(|(key, _)| *key == "failover-bundle").unwrap();
    let gzip = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, packed).unwrap();
    let folder = tempfile::tempdir().unwrap();
    tar::Archive::new(flate2::read::GzDecoder::new(gzip.as_slice())).unpack(folder.path()).unwrap();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (path, _) in Bundle::files() {
        let (unpacked, source) = (folder.path().join(&path), here.join(&path));
        assert_eq!(std::fs::read(unpacked).unwrap(), std::fs::read(source).unwrap(), "{path}");
    }
}

#[test]
fn nothing_of_the_configuration_beyond_the_standby_travels() {
    let with_mail = format!(
        "{}mail: {{host: smtp.secret.example, username: me, password_file: hush, from: a@b.example, to: [c@d.example]}}\n",
        both_kinds()
    );
    for (key, value) in metadata(&with_mail, "eth-0") {
        assert!(!value.contains("smtp.secret.example") && !value.contains("hush"), "{key}");
    }
}

#[test]
fn a_download_without_a_digest_is_refused() {
    refused(SHA, "abc", "64 hexadecimal digits");
    refused("https://releases.example.org/failover", "ftp://releases.example.org/failover", "has to be a URL");
    refused("https://releases.example.org/failover", "https://releases.example.org/", "name of a file");
}

#[test]
fn an_option_about_keys_is_refused() {
    for option in ["--keystore=/keys", "--password", "--interop-num-validators=8", "--JWT-Secret=x"] {
        refused("--history.chain=postprague", option, "about keys");
    }
    refused("-server", "--shelley-kes-key=kes.skey", "about keys");
    refused("--history.chain=postprague", "a\\nb", "on one line");
    refused("--history.chain=postprague", "--format={{ lookup('pipe', 'id') }}", "an expression of ansible");
}

#[test]
fn a_standby_has_exactly_one_consensus_client() {
    let lighthouse =
        format!("    lighthouse: {{url: \"https://releases.example.org/lighthouse.tar.gz\", sha256: {SHA}}}\n");
    refused(&lighthouse, "", "no consensus client");
    let both =
        format!("{lighthouse}    prysm: {{url: \"https://releases.example.org/beacon-chain\", sha256: {SHA}}}\n");
    refused(&lighthouse, &both, "keep one of them");
}

#[test]
fn a_network_of_ones_own_names_its_genesis() {
    refused("checkpoint_sync_url: https://checkpoint.example.org", "network: mine", "needs geth.genesis");
    refused("checkpoint_sync_url: https://checkpoint.example.org", "network: mine", "runs with prysm only");
    refused("    checkpoint_sync_url: https://checkpoint.example.org\n", "", "a sync takes weeks");
}

#[test]
fn every_validator_needs_a_standby_of_its_kind() {
    let text = both_kinds();
    let start = text.find("    standby:\n").unwrap();
    let end = text.find("standby:\n  failover").unwrap();
    refused(&text[start..end], "", "'btc-0' is of kind generic: add `standby`");
    let ethereum = text.find("  ethereum:\n    checkpoint").unwrap();
    refused(&text[ethereum..], "", "'eth-0' is of kind ethereum: add standby.ethereum");
}

#[test]
fn a_generic_standbys_probes_need_no_secret_and_its_program_is_within_its_release() {
    refused(
        "{name: rpc, tcp: {address: \"127.0.0.1:8332\"}}",
        "{name: rpc, http: {url: \"http://127.0.0.1:8332\", bearer_file: t}}",
        "nothing secret",
    );
    refused("address: \"127.0.0.1:8332\"", "address: \"home.example:8332\"", "is another machine");
    for path in ["/bin/node", "../node", "bin/../node", "bin/my node", "$(id)"] {
        refused("bin/node", path, "not a path within the release");
    }
}

#[test]
fn people_read_all_of_it_before_it_ever_happens() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("failover.yaml");
    std::fs::write(&config, both_kinds()).unwrap();
    let to = folder.path().join("shown");
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_failover"));
        let output =
            command.args(["plan", "btc-0", "--show", "bundle", "--config"]).arg(&config).args(arguments).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let text = run(&[]);
    assert!(text.contains("\"binary\": \"bin/node\"") && text.contains("==> startup-script <=="), "{text}");
    assert!(text.contains(&format!("guest-attributes/{}", gce::BOOT)), "the script's first word is where it is read");
    for path in Bundle::files().keys() {
        assert!(text.contains(&format!("==> {path} <==")), "{path} is not shown");
    }
    run(&["--to", to.to_str().unwrap()]);
    let written: Value = serde_json::from_slice(&std::fs::read(to.join("failover-vars")).unwrap()).unwrap();
    assert_eq!(written["standby"], vars(&both_kinds(), "btc-0"));
    let items: std::collections::BTreeMap<String, String> = serde_json::from_str(&run(&["--json"])).unwrap();
    assert_eq!(items, metadata(&both_kinds(), "btc-0").into_iter().map(|(key, text)| (key.to_owned(), text)).collect());
}
