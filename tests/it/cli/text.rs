//! Everything that is asked answers with what nobody should be shown: what comes out of the program is plain all the same.

use std::{fs, net::SocketAddr, time::Duration};

use axum::{Json, Router, http::StatusCode};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpListener,
    task::JoinSet,
};

use super::rig::{Ended, House};

#[allow(dead_code, reason = "the tests inside of the program use more of it")]
#[path = "../../../src/domain/text/hostile.rs"]
mod hostile;

use hostile::{assert_plain, flood};

/// Refuses everything over HTTP and over SMTP, in the forms of all whom we ask. Both end with it.
struct Outside {
    http: SocketAddr,
    smtp: SocketAddr,
    _serving: JoinSet<()>,
}

impl Outside {
    async fn start() -> Self {
        let (http, smtp) =
            (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let (mut serving, addresses) = (JoinSet::new(), (http.local_addr().unwrap(), smtp.local_addr().unwrap()));
        serving.spawn(async move { axum::serve(http, Router::new().fallback(refuse)).await.unwrap() });
        serving.spawn(async move {
            while let Ok((stream, _)) = smtp.accept().await {
                let mut stream = BufReader::new(stream);
                let _ = stream.write_all(b"220 here\r\n").await;
                let mut line = String::new();
                while stream.read_line(&mut line).await.is_ok_and(|read| read > 0) {
                    let words = flood().replace(['\r', '\n'], "\r\n550-");
                    let _ = stream.write_all(format!("550-{words}\r\n550 no\r\n").as_bytes()).await;
                    line.clear();
                }
            }
        });
        Self { http: addresses.0, smtp: addresses.1, _serving: serving }
    }

    /// A house that asks nobody else.
    fn house(&self) -> (House, String) {
        let house = House::new("");
        let kubeconfig = house.folder.path().join("kubeconfig");
        let (http, smtp) = (self.http, self.smtp);
        let cluster = json!({
            "clusters": [{"name": "c", "cluster": {"server": format!("http://{http}")}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "current-context": "c",
        });
        fs::write(&kubeconfig, cluster.to_string()).unwrap();
        let more = format!(
            "  - name: g-0\n    kind: generic\n    kubernetes: {{namespace: g, statefulset: g}}\n    probes:\n      \
             - {{name: api, fails_for: 1, every: 1s, http: {{url: 'http://{http}/'}}}}\n\
             ethereum: {{beacon_nodes: [{{name: home, url: 'http://{http}'}}], genesis_root: '0x{:064x}'}}\n\
             kubernetes: {{kubeconfig: '{}'}}\n\
             compute: {{project: home-failover, endpoint: 'http://{http}', credentials: anonymous, \
             ladder: [{{zone: us-central1-a, machine_type: n2-standard-8}}]}}\n\
             mail: {{host: {}, port: {}, tls: none, from: a@example.org, to: [b@example.org]}}\n",
            1,
            kubeconfig.display(),
            smtp.ip(),
            smtp.port()
        );
        (house, more)
    }
}

async fn refuse() -> (StatusCode, Json<serde_json::Value>) {
    let words = flood();
    let error =
        json!({"code": 403, "message": words, "status": words, "errors": [{"reason": words, "message": words}]});
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403, "reason": words, "message": words,
        "error": error, "data": words, "version": words,
    });
    (StatusCode::FORBIDDEN, Json(body))
}

fn assert_plain_ended(way: &str, ended: &Ended) {
    assert_plain(way, &ended.out, "\n");
    assert_plain(&format!("{way}, standard error"), &ended.err, "\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_shows_no_answer_raw() {
    let outside = Outside::start().await;
    let (house, more) = outside.house();
    let text = fs::read_to_string(house.config()).unwrap();
    house.write(&format!("{text}{more}"));
    let (shown, as_json) =
        tokio::task::spawn_blocking(move || (house.run(&["check"]), house.run(&["check", "--json"]))).await.unwrap();
    assert!(shown.code == 1 && shown.out.matches("FORGED").count() > 3, "{}{}", shown.out, shown.err);
    assert_plain_ended("check", &shown);
    assert_plain_ended("check --json", &as_json);
    serde_json::from_str::<serde_json::Value>(&as_json.out).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_shows_nothing_raw_on_its_page_in_its_log_and_to_its_operators() {
    let outside = Outside::start().await;
    let (house, more) = outside.house();
    let text = fs::read_to_string(house.config()).unwrap();
    let watcher = house.serve_with("a", &more);
    watcher.until("/readyz", 200).await;
    let client = ::failover::adapters::http::client(Duration::from_secs(5)).unwrap();
    let get =
        async |path: &str| client.get(format!("{}{path}", watcher.url)).send().await.unwrap().text().await.unwrap();

    let alert = json!({
        "status": "firing", "labels": {"alertname": flood(), "validator": "eth-0"}, "fingerprint": "00000000000000a4",
        "annotations": {"summary": flood()}, "startsAt": "2026-01-01T00:00:00Z", "endsAt": "0001-01-01T00:00:00Z",
    });
    let body = json!({"version": "4", "status": "firing", "alerts": [alert]}).to_string();
    let post = client.post(format!("{}/webhook/alertmanager", watcher.url)).header("content-type", "application/json");
    assert_eq!(post.body(body).send().await.unwrap().status(), 200);
    // Each of the sources has been told something by now, and says so.
    let said = tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            let status = get("/api/v1/status").await;
            if status.matches("FORGED").count() > 2 {
                break status;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    assert_plain("API", &said.await.expect("the sources speak"), "");
    assert_plain("page", &get("/").await, "\n");
    assert_plain("metrics", &get("/metrics").await, "\n");

    house.write(&format!("{text}{more}"));
    let url = watcher.url.clone();
    // An argument cannot hold a NUL.
    let reason = flood().replace('\0', "");
    let (house, ended) = tokio::task::spawn_blocking(move || {
        let asked = house.run(&["pause", "g-0", "--for", "2h", "--by", &reason, "--reason", &reason]);
        let status = |more: &[&str]| house.run(&[&["status", "--url", &url], more].concat());
        let mut ended = vec![("status", status(&[])), ("status --json", status(&["--json"])), ("pause", asked)];
        for way in [&["journal"][..], &["journal", "--json"], &["promote", "g-0"], &["plan"], &["logs", "g-0"]] {
            ended.push((way[0], house.run(way)));
        }
        (house, ended)
    })
    .await
    .unwrap();
    for (way, ended) in &ended {
        assert_plain_ended(way, ended);
    }
    assert!(ended[0].1.out.contains("FORGED"), "{}", ended[0].1.out);
    let log = fs::read_to_string(house.folder.path().join("a.log")).unwrap();
    assert_plain("log", &log, "\n");
}
