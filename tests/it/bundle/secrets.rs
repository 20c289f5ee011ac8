//! Anyone who can view the machine in the cloud can read its metadata: what is surely secret is refused, what looks so
//! is warned of, and neither is repeated.

use failover::config::{self, Checks};

use super::{both_kinds, parse};

const CHECKPOINT: &str = "https://checkpoint.example.org";
const GETH: &str = "https://releases.example.org/geth.tar.gz";
const MIRROR: &str = "http://mirror.example.org/files";
const OPTION: &str = "--history.chain=postprague";

fn changed(from: &str, into: &str) -> String {
    let text = both_kinds();
    assert!(text.contains(from), "the test changes something that is there: {from}");
    text.replacen(from, into, 1)
}

fn warnings(text: &str) -> Vec<String> {
    let checks = Checks { files: false, ..Checks::default() };
    let (_, warnings) = config::parse(text, "failover.yaml", &checks).unwrap();
    let json = serde_json::to_string(&warnings).unwrap();
    assert!(!json.contains("hush"), "a warning repeats the secret: {json}");
    warnings.iter().map(ToString::to_string).filter(|warning| warning.contains("looks like a secret")).collect()
}

#[test]
fn an_address_with_a_login_travels_to_no_standby() {
    for (from, into) in [
        (CHECKPOINT, "https://me:hush@checkpoint.example.org"),
        (CHECKPOINT, "https://hush@checkpoint.example.org"),
        (GETH, "https://me:hush@releases.example.org/geth.tar.gz"),
        (MIRROR, "http://me:hush@mirror.example.org/files"),
        (OPTION, "--checkpoint=https://me:hush@checkpoint.example.org"),
        ("-server", "wss://hush@node.example.org"),
    ] {
        let error = parse(&changed(from, into)).expect_err("this must not be taken");
        assert!(error.contains("can read it: use an address that needs no login"), "{error}");
        assert!(error.contains("failover.yaml:") && !error.contains("hush"), "{error}");
    }
}

#[test]
fn what_looks_like_a_secret_in_an_address_is_warned_of() {
    assert_eq!(warnings(&both_kinds()), Vec::<String>::new());
    for (from, into, says) in [
        (CHECKPOINT, "https://checkpoint.example.org/?apikey=hush", "checkpoint_sync_url: 'apikey' in its query"),
        (CHECKPOINT, "https://checkpoint.example.org/hush4x7Qz9Lw2Tn8Rb5", "checkpoint_sync_url: part 1 of its path"),
        (GETH, "https://releases.example.org/geth.tar.gz?token=hush", "a download: 'token' in its query"),
        (MIRROR, "http://mirror.example.org/hush4x7Qz9Lw2Tn8Rb5/", "standby.mirror: part 1 of its path"),
        (OPTION, "--eth=https://node.example.org/hush4x7Qz9Lw2Tn8Rb5", "this option: part 1 of its path"),
        ("tcp: {address: \"127.0.0.1:8332\"}", "http: {url: \"http://127.0.0.1:1/?token=hush\"}", "a probe: 'token'"),
    ] {
        let said = warnings(&changed(from, into));
        assert!(said.len() == 1 && said[0].contains(says), "{says}: {said:?}");
    }
}

#[test]
fn the_address_of_a_peer_names_its_public_key_and_no_secret() {
    let peer = format!("--bootnodes=enode://{}@192.0.2.1:30303", "ab".repeat(64));
    assert_eq!(warnings(&changed(OPTION, &peer)), Vec::<String>::new());
}
