//! A generic standby whose node is of a known kind: said once, checked at its place, and given to the machine as it is.

use failover::{
    config::{self, CardanoNetwork, NodeSettings},
    domain::OtherChain,
};
use serde_json::{Value, json};

use super::{both_kinds, parse, vars};

const PROBES: &str = r#"probes: [{name: rpc, tcp: {address: "127.0.0.1:8332"}}]
      p2p"#;
const COMETBFT: &str = r#"node: {cometbft: {rpc: "http://127.0.0.1:26657", network: mainnet-beacon-80094}}"#;
const CARDANO: &str = r#"node: {cardano: {metrics: "http://127.0.0.1:12798/metrics", network: preprod}}"#;

/// The standby of `btc-0` with these lines instead of its probes.
fn with(lines: &str) -> String {
    let text = both_kinds();
    assert!(text.contains(PROBES), "the test changes something that is there");
    text.replacen(PROBES, &format!("{lines}\n      p2p"), 1)
}

/// Refused at the place of the first `at` within that standby, with these words.
#[track_caller]
fn refused(lines: &str, at: &str, says: &str) {
    let text = with(lines);
    let error = parse(&text).expect_err("this must not be taken");
    let from = text.find("    standby:\n").unwrap();
    let offset = from + text[from..].find(at).expect("the test names a place in its text");
    let line = text[..offset].matches('\n').count() + 1;
    let column = offset - text[..offset].rfind('\n').map_or(0, |end| end + 1) + 1;
    let place = format!("failover.yaml:{line}:{column}: ");
    assert!(error.contains(&place) && error.contains(says), "expected {place}…{says} in:\n{error}");
}

#[test]
fn the_machine_is_told_which_kind_of_node_it_runs_and_has_no_probes_beside_it() {
    let cometbft = vars(&with(COMETBFT), "btc-0");
    let node = json!({"cometbft": {"rpc": "http://127.0.0.1:26657/", "network": "mainnet-beacon-80094"}});
    assert_eq!((&cometbft["generic"]["node"], &cometbft["generic"]["health"]), (&node, &json!([])));
    assert_eq!(cometbft["kind"], "generic", "what runs it is the same role");
    let cardano = vars(&with(CARDANO), "btc-0");
    let node = json!({"cardano": {"metrics": "http://127.0.0.1:12798/metrics", "network": "preprod"}});
    assert_eq!(cardano["generic"]["node"], node);
    let probed = vars(&both_kinds(), "btc-0");
    assert_eq!(probed["generic"]["node"], Value::Null, "the key is always there");
}

#[test]
fn what_the_agent_reads_on_the_machine_is_what_was_configured() {
    let standby = vars(&with(CARDANO), "btc-0");
    let read: NodeSettings = serde_json::from_value(standby["generic"]["node"].clone()).unwrap();
    let NodeSettings::Cardano(node) = &read else { panic!("another kind: {read:?}") };
    assert_eq!(node.network, CardanoNetwork::Preprod);
}

#[test]
fn a_standby_is_judged_by_exactly_one_of_its_probes_and_its_node() {
    let probes = r#"probes: [{name: rpc, tcp: {address: "127.0.0.1:8332"}}]"#;
    refused(&format!("{probes}\n      {COMETBFT}"), "{cometbft", "there are probes and node");
    refused("", "url", "nothing shows whether this standby has synced: add `node`");
    refused("probes: []", "[]\n      p2p", "probes is empty");
}

#[test]
fn a_node_is_of_exactly_one_kind() {
    refused("node: {}", "{}", "names no kind: add cometbft or cardano");
    let both = format!("{}, {}", COMETBFT.trim_end_matches('}'), CARDANO.trim_start_matches("node: {"));
    let both = both.replacen("80094, ", "80094}, ", 1);
    refused(&both, "{metrics", "has cometbft and cardano");
    refused("node: {bitcoin: {}}", "bitcoin", "unknown key 'bitcoin'");
}

#[test]
fn a_node_is_asked_on_the_machine_itself_over_http() {
    for (node, good, shown) in
        [(COMETBFT, "http://127.0.0.1:26657", "rpc"), (CARDANO, "http://127.0.0.1:12798/metrics", "metrics")]
    {
        let change = |into: &str| node.replacen(good, into, 1);
        refused(&change("https://127.0.0.1:1"), "\"https", &format!("{shown} is asked on the machine itself"));
        refused(&change("http://10.0.0.7:26657"), "\"http", "'http://10.0.0.7:26657' is another machine");
        refused(&change("tcp://127.0.0.1:26657"), "\"tcp", &format!("{shown} has to be a URL"));
        refused(&change("http://me:hush@127.0.0.1"), "\"http", "use an address that needs no login");
        refused(&change("http://127.0.0.1/{{ x }}"), "\"http", "an expression of ansible");
        for fine in ["http://localhost:1", "http://[::1]:1"] {
            parse(&with(&change(fine))).unwrap();
        }
    }
}

#[test]
fn a_network_is_named_as_its_chain_names_it() {
    let named = |name: &str| COMETBFT.replacen("mainnet-beacon-80094", name, 1);
    refused(&named("\"\""), "\"\"", "'' is not a chain id");
    refused(&named("\"berachain mainnet\""), "\"bera", "is not a chain id");
    refused(&named(&"x".repeat(51)), "xxx", "at most 50");
    refused(&named("\"{{ x }}\""), "\"{{", "an expression of ansible");
    refused(&CARDANO.replacen("preprod", "sanchonet", 1), "sanchonet", "write one of mainnet, preprod, preview");
    let digits = vars(&with(&named("80094")), "btc-0");
    assert_eq!(digits["generic"]["node"]["cometbft"]["network"], "80094", "a name of digits stays a text");
}

#[test]
fn the_schema_takes_both_kinds_and_no_other() {
    let schema = jsonschema::validator_for(&config::schema()).unwrap();
    let fits = |text: &str| schema.is_valid(&serde_saphyr::from_str::<Value>(text).unwrap());
    assert!(fits(&with(COMETBFT)) && fits(&with(CARDANO)) && fits(&both_kinds()));
    assert!(!fits(&with("node: {bitcoin: {}}")) && !fits(&with("node: {cardano: {network: mainnet}}")));
}

#[test]
fn the_watcher_judges_a_standby_by_what_its_agent_can_tell() {
    let judged = |text: &str| {
        let policy = parse(text).unwrap().policy;
        policy.other_chains.into_iter().map(|(id, chain)| (id.to_string(), chain)).collect::<Vec<_>>()
    };
    let read = |chain_id: Option<&str>| OtherChain::Read { chain_id: chain_id.map(str::to_owned) };
    assert_eq!(judged(&with(COMETBFT)), [("btc-0".to_owned(), read(Some("mainnet-beacon-80094")))]);
    assert_eq!(judged(&with(CARDANO)), [("btc-0".to_owned(), read(None))], "its metrics name no network");
    assert_eq!(judged(&both_kinds()), [("btc-0".to_owned(), OtherChain::Probed)], "eth-0 is on the watched chain");
}
