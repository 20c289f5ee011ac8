//! What a node does is distinguished from what our own side may be the cause of.

use std::fs;

use failover::{
    adapters::generic_probe::GenericProbe,
    config::{self, Checks, ProbeSettings},
    domain::probe::{ProbeAnswer, ProbeObservation},
    ports::FindingState,
    sources::{self, chain},
};

use super::node::{FakeNode, Mood};

/// The settings of one probe, from its text in the configuration.
fn settings(probe: &str) -> ProbeSettings {
    let text = format!(
        "site: home\nledger: {{sqlite: {{path: x}}}}\nvalidators:\n  - name: btc-0\n    kind: generic\n    \
         probes: [{{name: node, {probe}}}]\n"
    );
    let (config, _) = config::parse(&text, "f", &Checks { files: false, ..Checks::default() }).unwrap();
    config.validators[0].probes()[0].clone()
}

const HEIGHT: &str = "json: {pointer: /result/blocks, compare: '>= 5'}";

async fn ask(probe: &str) -> (ProbeAnswer, ProbeObservation) {
    let settings = settings(probe);
    let answer = GenericProbe::new(&settings).unwrap().ask().await;
    let sight = ProbeObservation::of(&answer, &settings.rule);
    (answer, sight)
}

async fn ask_node(node: &FakeNode, more: &str) -> ProbeObservation {
    ask(&format!("http: {{url: 'http://{}/', {HEIGHT}}}, timeout: 2s{more}", node.address)).await.1
}

#[tokio::test]
async fn a_node_that_works_is_seen_over_http_and_tcp() {
    let node = FakeNode::start(Mood::StandsStill).await;
    assert_eq!(ask_node(&node, "").await, ProbeObservation::Works("/result/blocks is 840000".into()));
    let advances =
        format!("http: {{url: 'http://{}/', json: {{pointer: /result/blocks, compare: advances}}}}", node.address);
    assert_eq!(ask(&format!("{advances}, stalled_after: 90m")).await.1, ProbeObservation::Height(840_000));
    assert_eq!(ask(&format!("tcp: {{address: '{}'}}", node.address)).await.0, ProbeAnswer::Connected);
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_refuses() {
    let mut node = FakeNode::start(Mood::StandsStill).await;
    node.unplug();
    // The port is free only once the server's task has ended.
    while ask(&format!("tcp: {{address: '{}'}}", node.address)).await.0 == ProbeAnswer::Connected {
        tokio::task::yield_now().await;
    }
    assert_eq!(ask(&format!("tcp: {{address: '{}'}}", node.address)).await.0, ProbeAnswer::Refused);
    assert_eq!(ask(&format!("http: {{url: 'http://{}/'}}", node.address)).await.0, ProbeAnswer::Refused);
    let port = node.address.port();
    assert_eq!(
        ask(&format!("http: {{url: 'http://localhost:{port}/'}}")).await.0,
        ProbeAnswer::Refused,
        "by name as well"
    );
}

#[tokio::test]
async fn silence_is_a_time_out_and_an_error_of_the_node_a_failure() {
    let node = FakeNode::start(Mood::Silent).await;
    assert_eq!(
        ask(&format!("http: {{url: 'http://{}/'}}, timeout: 100ms", node.address)).await.0,
        ProbeAnswer::TimedOut
    );
    node.set(Mood::Says(503, "loading".into()));
    assert_eq!(ask_node(&node, "").await, ProbeObservation::Fails("it answers 503".into()));
}

#[tokio::test]
async fn what_our_side_may_be_the_cause_of_is_a_doubt() {
    let node = FakeNode::start(Mood::Half).await;
    let mut sights = vec![ask_node(&node, "").await];
    for (status, body) in [
        (200, "{\"result\":{\"blocks\"".to_owned()),
        (200, "<html>sign in</html>".to_owned()),
        (200, format!("{{\"result\":{{\"blocks\":840000}},\"pad\":\"{}\"}}", "x".repeat(1024 * 1024))),
        (200, "{\"result\":null}".to_owned()),
        (302, String::new()),
        (401, String::new()),
        (403, String::new()),
        (404, String::new()),
        (429, String::new()),
    ] {
        node.set(Mood::Says(status, body));
        sights.push(ask_node(&node, "").await);
    }
    // It does not speak TLS; a label of a name has at most 63 characters.
    sights.push(ask(&format!("http: {{url: 'https://{}/'}}, timeout: 2s", node.address)).await.1);
    let name = format!("{}.invalid", "a".repeat(64));
    sights.push(ask(&format!("http: {{url: 'http://{name}:8332/'}}, timeout: 2s")).await.1);
    sights.push(ask(&format!("tcp: {{address: '{name}:8333'}}, timeout: 2s")).await.1);
    for sight in sights {
        assert!(matches!(sight, ProbeObservation::Doubt(_)), "{sight:?}");
    }
}

#[tokio::test]
async fn json_rpc_is_posted_with_its_login_and_a_renewed_secret_is_used_at_once() {
    let node = FakeNode::start(Mood::StandsStill).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    fs::write(&file, "one\n").unwrap();
    let body = r#"{"method":"getblockchaininfo","params":[]}"#;
    let url = format!("url: 'http://{}/', body: '{body}'", node.address);
    let bearer = settings(&format!("http: {{{url}, bearer_file: {}}}", file.display()));
    let probe = GenericProbe::new(&bearer).unwrap();
    probe.ask().await;
    fs::write(&file, "two\n").unwrap();
    probe.ask().await;
    ask(&format!("http: {{{url}, basic: {{username: rpc, password_file: {}}}}}", file.display())).await;
    let sent: Vec<String> =
        node.asked().iter().map(|(headers, _)| headers["authorization"].to_str().unwrap().to_owned()).collect();
    assert_eq!(sent, ["Bearer one", "Bearer two", "Basic cnBjOnR3bw=="]);
    assert!(node.asked().iter().all(|(headers, sent)| sent == body && headers["content-type"] == "application/json"));
    fs::remove_file(&file).unwrap();
    let ProbeAnswer::Doubtful(why) = probe.ask().await else { panic!("a secret that is gone is our own fault") };
    assert!(why.contains("cannot read the secret file"), "{why}");
    assert_eq!(node.asked().len(), 3, "nothing is asked without it");
}

#[tokio::test]
async fn check_asks_every_probe_once_and_shows_what_was_answered() {
    let node = FakeNode::start(Mood::StandsStill).await;
    let broken = FakeNode::start(Mood::Says(200, "<html>\n<p>sign in".into())).await;
    let text = format!(
        "site: home\nledger: {{sqlite: {{path: x}}}}\nvalidators:\n  - name: btc-0\n    kind: generic\n    probes:\n      \
         - {{name: height, http: {{url: 'http://{}/', {HEIGHT}}}}}\n      \
         - {{name: many, http: {{url: 'http://{}/', json: {{pointer: /result/blocks, compare: '> 900000'}}}}}}\n      \
         - {{name: wall, http: {{url: 'http://{}/', {HEIGHT}}}}}\n",
        node.address, node.address, broken.address
    );
    let (config, _) = config::parse(&text, "f", &Checks { files: false, ..Checks::default() }).unwrap();
    let findings = sources::probes::ask_once(&config).await;
    let seen: Vec<_> = findings.iter().map(|found| (found.subject.as_str(), found.state)).collect();
    assert_eq!(
        seen,
        [
            ("btc-0's probe height", FindingState::Ok),
            ("btc-0's probe many", FindingState::Problem),
            ("btc-0's probe wall", FindingState::Unknown),
        ]
    );
    assert!(findings[0].detail.contains(r#"answered 200: {"result":{"chain":"main""#), "{}", findings[0].detail);
    assert!(findings[1].detail.starts_with("/result/blocks is 840000, not > 900000"), "{}", findings[1].detail);
    assert!(findings[2].detail.ends_with("answered 200: <html> <p>sign in"), "{}", findings[2].detail);
    assert_eq!((node.asked().len(), broken.asked().len()), (2, 1));
    assert!(chain::probe_chain(&config).await.is_empty(), "no beacon node is missed");
    let evidence = chain::chain_evidence(&config, &config.validators[0].name).await;
    assert!(evidence.generic, "the gates know that beacon nodes are not asked");
}
