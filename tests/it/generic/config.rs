//! Kind generic as operators get it wrong in the configuration.

use failover::{
    config::{self, Checks, Config, ConfigError, HttpLogin, Question, Warning},
    domain::{
        OtherChain, Span,
        probe::{FailsFor, WantedValue},
    },
};

const EXAMPLE: &str = include_str!("../../../docs/examples/generic.yaml");

fn parse(text: &str) -> Result<(Config, Vec<Warning>), ConfigError> {
    config::parse(text, "f", &Checks { files: false, ..Checks::default() })
}

/// One validator of kind generic, with these lines.
fn validator(lines: &str) -> String {
    format!(
        "site: home\nledger: {{sqlite: {{path: x}}}}\nvalidators:\n  - name: btc-0\n    kind: generic\n    {lines}\n"
    )
}

fn probe(text: &str) -> String {
    validator(&format!("probes: [{{name: node, {text}}}]"))
}

/// Checks that the text is refused at the place of `at` (its first occurrence), saying `says`.
#[track_caller]
fn refused(text: &str, at: &str, says: &str) {
    let error = parse(text).expect_err("this must not be taken").to_string();
    let offset = text.find(at).expect("the test names a place in its text");
    let line = text[..offset].matches('\n').count() + 1;
    let column = offset - text[..offset].rfind('\n').map_or(0, |end| end + 1) + 1;
    let place = format!("f:{line}:{column}: ");
    assert!(error.contains(&place) && error.contains(says), "expected {place}…{says} in:\n{error}");
}

#[test]
fn the_example_is_a_configuration_and_what_the_schema_describes() {
    let (config, warnings) = parse(EXAMPLE).unwrap();
    assert_eq!(warnings, []);
    let probes = config.validators[0].probes();
    let names: Vec<&str> = probes.iter().map(|probe| probe.rule.name.as_str()).collect();
    assert_eq!(names, ["height", "peers", "p2p"]);
    let Question::Http(height) = &probes[0].question else { panic!("it is over HTTP") };
    assert!(height.post && matches!(height.login, Some(HttpLogin::Basic(_))));
    let stalled_after = Span::from_mins(90);
    assert_eq!(probes[0].rule.wanted.as_ref().unwrap().value, WantedValue::Advances { stalled_after });
    assert_eq!(probes[1].rule.fails_for, FailsFor::Time(Span::from_mins(10)));
    assert_eq!(probes[2].rule.fails_for, FailsFor::Times(3), "the documented default");
    assert_eq!((probes[2].every, probes[2].timeout), (Span::from_secs(15), Span::from_secs(5)));
    let schema = jsonschema::validator_for(&config::schema()).unwrap();
    let example: serde_json::Value = serde_saphyr::from_str(EXAMPLE).unwrap();
    let errors: Vec<String> = schema.iter_errors(&example).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
}

#[test]
fn the_example_of_a_node_that_is_read_is_one_too() {
    const EXAMPLE: &str = include_str!("../../../docs/examples/cometbft.yaml");
    let (config, warnings) = parse(EXAMPLE).unwrap();
    assert_eq!(warnings, []);
    let id = &config.validators[0].name;
    let hub = OtherChain::Read { chain_id: Some("cosmoshub-4".into()) };
    assert_eq!(config.policy.other_chains.get(id), Some(&hub));
    let schema = jsonschema::validator_for(&config::schema()).unwrap();
    assert!(schema.is_valid(&serde_saphyr::from_str::<serde_json::Value>(EXAMPLE).unwrap()));
}

#[test]
fn a_generic_validator_has_probes_and_no_keys_and_one_of_ethereum_the_other_way_round() {
    refused(&validator("alerts: []"), "generic", "add probes");
    refused(&validator("probes: []"), "[]", "probes is empty");
    let with_keys = probe("tcp: {address: 'a:1'}") + "    public_keys: ['0x1']\n    public_keys_file: keys\n";
    refused(&with_keys, "['0x1']", "has no public keys here");
    refused(&with_keys, "keys\n", "has no public keys here");
    let ethereum = probe("tcp: {address: 'a:1'}").replace("kind: generic", "kind: ethereum");
    refused(&ethereum, "[{name: node", "probes go with 'kind: generic'");
}

#[test]
fn a_probe_is_one_question() {
    refused(&probe("http: {url: 'http://a'}, tcp: {address: 'a:1'}"), "'a:1'", "make it two probes");
    refused(&probe("every: 5s"), "node", "this probe asks nothing");
    refused(&probe("udp: {}"), "udp", "unknown key 'udp'");
    refused(&probe("http: {uri: x}"), "uri", "did you mean 'url'");
    let twice = validator("probes: [{name: a, tcp: {address: 'h:1'}}, {name: 'a', tcp: {address: 'h:2'}}]");
    refused(&twice, "'a'", "duplicate probe 'a'");
    for bad in ["'h'", "'h:0'", "':1'", "'h:99999'", "'::1:80'", "'http://h:1'", "'a b:1'"] {
        refused(&probe(&format!("tcp: {{address: {bad}}}")), bad, "is not a host and a port");
    }
    for good in ["h.x-y.svc:1", "127.0.0.1:8333", "[::1]:8333"] {
        parse(&probe(&format!("tcp: {{address: '{good}'}}"))).unwrap();
    }
}

#[test]
fn a_pointer_or_a_comparison_that_cannot_be_used_is_refused() {
    let json = |json: &str| probe(&format!("http: {{url: 'http://a', json: {json}}}"));
    refused(&json("{pointer: result, compare: '> 1'}"), "result", "begins with a slash, '/result'");
    refused(&json("{pointer: /a, compare: 'near 5'}"), "'near 5'", "is not a comparison");
    refused(&json("{pointer: /a, compare: '== ok'}"), "'== ok'", "in double quotes");
    refused(&json("{pointer: /a, compare: '> true'}"), "'> true'", "use == or !=");
    refused(&json("{pointer: /a, compare: advances}"), "advances", "needs stalled_after");
    refused(&json("{pointer: /a}"), "pointer", "'compare' is missing");
    parse(&json("{pointer: '', compare: '!= null'}")).unwrap();
    let also = |text: &str| format!("{text}, stalled_after: 20s");
    let url = "http: {url: 'http://a', json: {pointer: /a, compare: ";
    refused(&probe(&also(&format!("{url}advances}}}}"))), "20s", "shorter than twice every");
    refused(&probe(&also(&format!("{url}'> 1'}}}}"))), "20s", "goes with 'compare: advances'");
    refused(&probe(&also("tcp: {address: 'a:1'}")), "20s", "goes with 'json");
}

#[test]
fn times_and_failures_that_make_no_sense_are_refused() {
    let failing = |fails_for: &str| probe(&format!("tcp: {{address: 'a:1'}}, fails_for: {fails_for}"));
    refused(&failing("0"), "0}", "are none");
    for bad in ["often", "-3", "1.5", "3x"] {
        refused(&failing(bad), bad, "neither a number from 1 nor a duration");
    }
    refused(&probe("tcp: {address: 'a:1'}, every: 0s"), "0s", "not longer than zero");
}

#[test]
fn a_question_that_contradicts_itself_is_refused() {
    let http = |more: &str| probe(&format!("http: {{url: 'http://a', {more}}}"));
    refused(&http("method: GET, body: '{}'"), "GET", "a body is sent with POST");
    refused(&http("method: PUT"), "PUT", "is not one of the choices");
    refused(&http("body: 'getblockcount'"), "'getblockcount'", "body is not JSON");
    refused(&http("bearer_file: a, basic: {username: u, password_file: p}"), "{username", "keep one of them");
    refused(&http("basic: {username: 'a:b', password_file: p}"), "{username", "without ':'");
    refused(&http("ca_file: ca.pem"), "ca.pem", "of no use with http");
    refused(&probe("http: {url: 'http://me:secret@a'}"), "'http://me", "secrets belong in files");
    let text = probe("http: {url: 'https://a', bearer_file: not-there, ca_file: not-here}");
    let error = config::parse(&text, "f", &Checks::default()).unwrap_err().to_string();
    assert!(error.contains("cannot read the secret file not-there") && error.contains("ca_file not-here"), "{error}");
}

#[test]
fn probes_are_a_source_beside_the_cluster_and_not_beside_alerts_about_the_process() {
    let never = |text: &str, says: &str| {
        let (_, warnings) = parse(text).unwrap();
        let found = warnings.iter().map(ToString::to_string).find(|warning| warning.contains("never be confirmed"));
        assert_eq!(found.is_some(), !says.is_empty(), "{found:?}");
        assert!(found.unwrap_or_default().contains(says));
    };
    let alone = probe("tcp: {address: 'a:1'}");
    never(&alone, "it has its probes only");
    // Beacon nodes are no source for it.
    never(&format!("{alone}ethereum: {{beacon_nodes: [{{name: a, url: 'http://a'}}]}}\n"), "it has its probes only");
    let alert = |evidence: &str| {
        format!(
            "{alone}    alerts: [{{matchers: '{{a=\"b\"}}', evidence: {evidence}}}]\nalertmanager: {{auth: {{bearer_file: t}}}}\n"
        )
    };
    never(&alert("process"), "its alerts rest on its probes as well");
    never(&alert("host"), "");
    never(&format!("{alone}    kubernetes: {{namespace: btc, statefulset: node}}\n"), "");
    let armed = format!("{alone}mode: armed\ncompute: {{project: p, ladder: [{{zone: a-b-c, machine_type: m}}]}}\n");
    refused(&armed, "btc-0", "can never be confirmed down");
}
