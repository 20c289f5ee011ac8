//! The sections about grants and gates.

use failover::{
    config::{self, Checks, Config},
    domain::Span,
};

const ROOT: &str = super::rig::ROOT;

fn text(ethereum: &str, validator: &str, more: &str) -> String {
    format!(
        "site: home\nledger: {{sqlite: {{path: l}}}}\nethereum: {{beacon_nodes: [{{name: a, url: 'http://a:1'}}]{ethereum}}}\n\
         {more}validators:\n  - {{name: eth-0, kind: ethereum, public_keys: ['0x{:096x}']{validator}}}\n",
        7
    )
}

fn parse(text: &str) -> Result<Config, String> {
    let checks = Checks { files: false, ..Checks::default() };
    config::parse(text, "f", &checks).map(|(config, _)| config).map_err(|error| error.to_string())
}

#[test]
fn what_signs_nothing_has_no_grant_and_who_has_keys_signs() {
    let relay = |more: &str| {
        format!(
            "site: home\nledger: {{sqlite: {{path: l}}}}\ngrants: {{allowed_signers: a}}\nvalidators:\n  - {{name: relay, \
             kind: generic, signs: false, probes: [{{name: p, tcp: {{address: 'a:1'}}}}]{more}}}\n"
        )
    };
    let config = parse(&relay("")).unwrap();
    assert!(!config.validators[0].signs && failover::assembly::grant_rules(&config).chains.is_empty());
    let page = failover::assembly::runbook::facts(
        &config,
        &config.validators[0],
        failover::domain::runbook::RunbookMachine::Later,
    );
    assert_eq!(page.guard, failover::domain::runbook::HomeGuard::SignsNothing);
    for (more, words) in [(", chain: cosmoshub-4", "a chain"), (", gate: {url: 'http://relay:8553'}", "a gate")] {
        let error = parse(&relay(more)).unwrap_err();
        assert!(error.contains("signs nothing") && error.contains(words), "{error}");
    }
    let root = format!(", genesis_root: '{ROOT}'");
    let error = parse(&text(&root, ", signs: false", "")).unwrap_err();
    assert!(error.contains("who has public keys signs"), "{error}");
}

#[test]
fn a_day_of_duties_and_ten_minutes_of_silence_are_needed_unless_something_else_within_bounds_is_written() {
    let root = format!(", genesis_root: '{ROOT}'");
    let grants = |more: &str| {
        let grants = format!("grants: {{allowed_signers: a{more}}}\n");
        parse(&text(&root, "", &grants)).map(|config| config.grants.unwrap())
    };
    let (default, hours, minutes) = (grants("").unwrap(), Span::from_hours, Span::from_mins);
    assert_eq!((default.fence_records, default.silent_for), (hours(24), minutes(10)));
    let longest = grants(", fence_records: 168h, silent_for: 24h").unwrap();
    assert_eq!((longest.fence_records, longest.silent_for), (hours(168), hours(24)));
    let shortest = grants(", fence_records: 1m, silent_for: 1m").unwrap();
    assert_eq!((shortest.fence_records, shortest.silent_for), (minutes(1), minutes(1)));
    let wrong = [("fence_records", "59s", "7 days"), ("fence_records", "169h", "7 days")];
    for (key, value, most) in
        wrong.into_iter().chain([("silent_for", "59s", "one day"), ("silent_for", "25h", "one day")])
    {
        let error = grants(&format!(", {key}: {value}")).unwrap_err();
        assert!(
            error.contains(&format!("grants.{key}")) && error.contains(&format!("one minute to {most}")),
            "{error}"
        );
    }
}

#[test]
fn a_grant_is_for_one_chain_and_a_gate_needs_one() {
    let (root, grants) =
        (format!(", genesis_root: '{}'", ROOT.to_uppercase().replace("0X", "0x")), "grants: {allowed_signers: a}\n");
    let gate = ", gate: {url: 'http://eth-0:8553'}";
    let good = parse(&text(&root, gate, grants)).unwrap();
    let validator = &good.validators[0];
    assert_eq!((validator.chain.as_deref(), validator.gate.is_some()), (Some(ROOT), true));
    let rules = failover::assembly::grant_rules(&good);
    assert_eq!((rules.chains.len(), rules.allow_untouched), (1, false));
    for (text, words) in [
        (text("", "", grants), "no ethereum.genesis_root"),
        (text(&root, gate, ""), "no grants section"),
        (text(&root, ", chain: x", grants), "chain goes with 'kind: generic'"),
        (text(&root, ", gate: {url: 'eth-0'}", grants), "gate.url"),
    ] {
        let error = parse(&text).unwrap_err();
        assert!(error.contains(words), "{words}: {error}");
    }
    assert_eq!(parse(&text("", "", "")).unwrap().validators[0].chain, None);
}

#[test]
fn a_file_that_allows_nobody_is_refused_where_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let root = format!(", genesis_root: '{ROOT}'");
    let text = text(&root, "", "grants: {allowed_signers: allowed}\n");
    let checks = || Checks { base: folder.path().into(), ..Checks::default() };
    let error = config::parse(&text, "f", &checks()).unwrap_err().to_string();
    assert!(error.contains("grants.allowed_signers") && error.contains("cannot be read"), "{error}");
    std::fs::write(folder.path().join("allowed"), "# nobody\n").unwrap();
    let error = config::parse(&text, "f", &checks()).unwrap_err().to_string();
    assert!(error.contains("names no key that may sign"), "{error}");
}

/// One parser: a grant for a chain that the gate's command line refuses starts nothing.
#[test]
fn a_chain_is_named_as_its_gate_takes_it() {
    let generic = |chain: &str| {
        let text = format!(
            "site: home\nledger: {{sqlite: {{path: l}}}}\nvalidators:\n  - name: c\n    kind: generic\n    \
             chain: '{chain}'\n    probes: [{{name: node, http: {{url: 'http://p:1/', json: {{pointer: /data, \
             compare: '>= 5'}}}}}}]\n"
        );
        parse(&text)
    };
    for bad in ["cosmos/hub", "a:b", "0x1234", "x=y", &"a".repeat(65)] {
        let error = generic(bad).unwrap_err();
        assert!(error.contains("as its gate takes it"), "{bad}: {error}");
    }
    for (good, named) in [("cosmoshub-4", "cosmoshub-4"), (&ROOT.to_uppercase().replace("0X", "0x"), ROOT)] {
        match generic(good) {
            Ok(config) => assert_eq!(config.validators[0].chain.as_deref(), Some(named)),
            Err(error) => panic!("{error}"),
        }
    }
}
