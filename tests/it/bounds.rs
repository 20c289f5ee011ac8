//! An answer that never ends: every client stops reading at a limit, and says whose answer it was and what the limit is.

use std::{sync::Arc, time::Duration};

use failover::{
    adapters::{
        alertmanager::{Api, Mappings},
        beacon,
        cardano::CardanoClient,
        cometbft::CometbftClient,
        execution::Execution,
        generic_probe::GenericProbe,
        http::{self, BodyError},
        kube,
        ledger_gcs::{GcsConfig, LedgerGcs},
        ledger_sqlite::LedgerSqlite,
        metadata::MetadataServer,
    },
    config::{self, Checks, HttpAuth},
    domain::ValidatorId,
    ports::{Expect, Ledger, LedgerError, PutError, Version},
    runtime::store::{self, StoreError},
};
use google_cloud_auth::credentials::anonymous;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    cli::rig::{House, failover},
    support::endless::Endless,
};

const LONG: Duration = Duration::from_secs(60);
const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// JSON that is right so far.
async fn endless_json() -> Endless {
    Endless::http("application/json", "{\"data\": \"", "aaaaaaaa").await
}

fn bucket(url: &str) -> LedgerGcs {
    LedgerGcs::new(GcsConfig {
        endpoint: Some(url.parse().unwrap()),
        bucket: "ledger".into(),
        prefix: String::new(),
        login: std::sync::Arc::new(anonymous::Builder::new().build()),
        timeout: LONG,
    })
    .unwrap()
}

/// The error has the other side in it, and the limit.
fn says(error: &impl ToString, server: &Endless, most: usize) {
    let error = error.to_string();
    assert!(error.contains(&format!("{} sends an answer larger than {most} bytes", server.address())), "{error}");
}

#[tokio::test]
async fn an_object_of_the_bucket_is_read_up_to_the_size_of_a_record() {
    let begin = "HTTP/1.1 200 OK\r\nx-goog-generation: 7\r\n\r\n";
    let server = Endless::start(begin, "aaaaaaaa").await;
    let error = bucket(&server.url()).get("validators/eth-0").await.unwrap_err();
    says(&error, &server, MIB);
    assert!(matches!(&error, LedgerError::Oversized(why) if why.contains("validators/eth-0")), "{error}");
    server.assert_bounded(MIB).await;
}

#[tokio::test]
async fn whatever_else_the_bucket_answers_is_bounded() {
    let server = endless_json().await;
    let error = bucket(&server.url()).list("journal/", None).await.unwrap_err();
    says(&error, &server, 4 * MIB);
    server.assert_bounded(4 * MIB).await;
    let server = endless_json().await;
    let error = bucket(&server.url()).put("k", b"x".to_vec(), Expect::Absent).await.unwrap_err();
    says(&error, &server, 4 * MIB);
    assert!(matches!(error, PutError::UnknownOutcome(_)), "it may have been written: {error}");
    server.assert_bounded(4 * MIB).await;
    let server = Endless::start("HTTP/1.1 200 OK\r\ndate: Fri, 15 Jan 2027 08:00:00 GMT\r\n\r\n", "aaaaaaaa").await;
    let error = bucket(&server.url()).age("k", &Version("7".into())).await.unwrap_err();
    says(&error, &server, 4 * MIB);
    server.assert_bounded(4 * MIB).await;
    // A refusal is one, and its page is cut.
    let server = Endless::start("HTTP/1.1 403 Forbidden\r\n\r\nno storage.objects.get", " aaaaaaa").await;
    let error = bucket(&server.url()).get("k").await.unwrap_err();
    assert!(error.to_string().contains("no storage.objects.get"), "{error}");
    server.assert_bounded(MIB).await;
}

#[tokio::test]
async fn a_record_in_sqlite_is_not_taken_into_memory_if_it_is_none_of_ours() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger");
    let ledger = LedgerSqlite::open(&path).unwrap();
    ledger.put("k", vec![b'x'; MIB], Expect::Absent).await.unwrap();
    assert_eq!(ledger.get("k").await.unwrap().unwrap().bytes.len(), MIB);
    let elsewhere = rusqlite::Connection::open(&path).unwrap();
    elsewhere.execute("UPDATE records SET bytes = zeroblob(200000000)", []).unwrap();
    let error = ledger.get("k").await.unwrap_err();
    assert!(error.to_string().contains("k has 200000000 bytes"), "{error}");
    let error = ledger.put("k", b"x".to_vec(), Expect::Absent).await.unwrap_err();
    assert!(matches!(error, PutError::Failed(LedgerError::Oversized(_))), "{error}");
}

/// As one that is damaged: it is left alone, and the others are watched.
#[tokio::test]
async fn a_record_that_is_too_large_is_unreadable_and_does_not_stop_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger");
    let ledger = LedgerSqlite::open(&path).unwrap();
    ledger.put("validators/eth-0", b"x".to_vec(), Expect::Absent).await.unwrap();
    let elsewhere = rusqlite::Connection::open(&path).unwrap();
    elsewhere.execute("UPDATE records SET bytes = zeroblob(200000000)", []).unwrap();
    let error = store::read(&ledger, &ValidatorId::new("eth-0").unwrap()).await.unwrap_err();
    assert!(matches!(&error, StoreError::Record(_)), "{error}");
    assert!(error.to_string().contains("200000000 bytes") && error.to_string().contains("left as it is"), "{error}");
}

#[tokio::test]
async fn a_beacon_node_is_read_up_to_a_limit_from_here_and_on_the_standby() {
    let server = endless_json().await;
    let url = server.url().parse().unwrap();
    let error = beacon::followed(http::client(LONG).unwrap(), &url, None).await.unwrap_err();
    assert!(error.to_string().contains(&format!("larger than {} bytes", 8 * MIB)), "{error}");
    server.assert_bounded(8 * MIB).await;
    let server = endless_json().await;
    let mut node = beacon::LocalNode::new(&server.url().parse().unwrap(), LONG).unwrap();
    let error = node.look().await.chain.unwrap_err();
    assert!(error.to_string().contains(&format!("larger than {} bytes", 256 * KIB)), "{error}");
    server.assert_bounded(MIB).await;
}

#[tokio::test]
async fn the_nodes_on_a_standby_are_read_up_to_a_limit() {
    let server = endless_json().await;
    let look = Execution::new(&server.url().parse().unwrap(), LONG).unwrap().look().await;
    assert!(look.syncing.unwrap_err().to_string().contains(&format!("larger than {} bytes", 64 * KIB)));
    server.assert_bounded(MIB).await;
    let server = endless_json().await;
    let look = CometbftClient::new(&server.url().parse().unwrap(), LONG).unwrap().look().await;
    assert!(look.status.unwrap_err().to_string().contains(&format!("larger than {} bytes", 64 * KIB)));
    server.assert_bounded(MIB).await;
    let server = Endless::http("text/plain", "", "cardano_node_metrics_slotNum_int 5\n").await;
    let error = CardanoClient::new(&server.url().parse().unwrap(), LONG).unwrap().look().await.unwrap_err();
    assert!(error.to_string().contains(&format!("larger than {} bytes", 512 * KIB)), "{error}");
    server.assert_bounded(MIB).await;
}

#[tokio::test]
async fn a_metadata_server_that_never_ends_its_answer_is_left() {
    let server = endless_json().await;
    let metadata = MetadataServer::at(Some(server.address().to_string().into()), LONG).unwrap();
    metadata.put_guest_attribute("failover/report", b"{}".to_vec()).await.unwrap();
    server.assert_bounded(MIB).await;
}

#[tokio::test]
async fn a_probe_that_never_ends_its_answer_is_doubtful_and_not_down() {
    let server = endless_json().await;
    let text = format!(
        "site: home\nledger: {{sqlite: {{path: x}}}}\nvalidators:\n  - name: btc-0\n    kind: generic\n    \
         probes: [{{name: node, http: {{url: '{}/', json: {{pointer: /data, compare: '>= 5'}}}}, timeout: 30s}}]\n",
        server.url()
    );
    let (config, _) = config::parse(&text, "f", &Checks { files: false, ..Checks::default() }).unwrap();
    let answer = GenericProbe::new(&config.validators[0].probes()[0]).unwrap().ask().await;
    let failover::domain::probe::ProbeAnswer::Doubtful(why) = answer else { panic!("{answer:?}") };
    says(&why, &server, MIB);
    server.assert_bounded(MIB).await;
}

#[tokio::test]
async fn alertmanagers_list_is_read_up_to_a_limit() {
    let server = endless_json().await;
    let api = Api::new(server.url().parse().unwrap(), None, HttpAuth::None);
    let error = api.list(&Mappings::default()).await.unwrap_err();
    says(&error, &server, 64 * MIB);
    server.assert_bounded(64 * MIB).await;
}

#[tokio::test]
async fn an_api_server_is_read_up_to_a_limit() {
    let server = endless_json().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubeconfig.yaml");
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "x",
        "clusters": [{"name": "x", "cluster": {"server": server.url()}}],
        "users": [{"name": "x", "user": {"token": "not-a-secret"}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
    });
    std::fs::write(&path, kubeconfig.to_string()).unwrap();
    let client = kube::connect(Some(&path)).await.unwrap();
    let findings = kube::check(client, &[]).await;
    assert!(findings[0].detail.contains(&format!("larger than {} bytes", 16 * MIB)), "{findings:?}");
    server.assert_bounded(16 * MIB).await;
    let error = kube::connect(Some("/dev/zero".as_ref())).await.err().unwrap();
    assert!(error.to_string().contains("larger than"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_read_a_watcher_up_to_a_limit() {
    let server = Arc::new(endless_json().await);
    let ended = failover(&["status", "--url", &server.url()]);
    assert_eq!(ended.code, 1, "{}", ended.err);
    says(&ended.err, &server, 8 * MIB);
    Arc::into_inner(server).unwrap().assert_bounded(8 * MIB).await;
}

#[test]
fn a_path_that_never_ends_is_refused_by_name_and_limit() {
    let refused = failover(&["config", "check", "--config", "/dev/zero"]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("/dev/zero") && refused.err.contains("larger than 4194304 bytes"), "{}", refused.err);
    let refused = failover(&["simulate", "/dev/zero"]);
    assert!(refused.code != 0 && refused.err.contains("larger than"), "{}", refused.err);
    let house = House::new("");
    house.write(
        "site: home\nledger: {sqlite: {path: l}}\nvalidators:\n  - name: eth-0\n    kind: ethereum\n    \
         public_keys_file: /dev/zero\n",
    );
    let refused = house.run(&["config", "check"]);
    assert!(refused.err.contains("larger than 4194304 bytes"), "{}", refused.err);
    let error = config::SecretFile::new("/dev/zero").read().unwrap_err();
    assert!(error.to_string().contains("/dev/zero"), "{error}");
}

/// A byte now and then keeps every time-out alive that begins again with each byte.
#[tokio::test]
async fn an_answer_that_drips_ends_by_the_total_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let drips = tokio::spawn(async move {
        let (mut stream, _): (TcpStream, _) = listener.accept().await.unwrap();
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        let mut drops = 0_u32;
        while stream.write_all(b"a").await.is_ok() {
            drops += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        drops
    });
    let client = http::client(Duration::from_millis(300)).unwrap();
    let response = client.get(url).send().await.unwrap();
    let error = http::read_body(response, MIB).await.unwrap_err();
    assert!(matches!(&error, BodyError::Broken(error) if error.is_timeout()), "{error}");
    assert!(drips.await.unwrap() > 1, "it did drip");
}
