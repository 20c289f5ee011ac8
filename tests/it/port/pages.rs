//! What is shown to whom, by the real program: the login, the headers, what is not there, and renewed secrets.

use std::{fs, time::Duration};

use reqwest::{Client, Method, Response};

use crate::cli::rig::{House, Watcher};

/// A watcher whose pages need a login and whose webhook needs a token.
struct Guarded {
    house: House,
    watcher: Watcher,
    client: Client,
}

impl Guarded {
    async fn start(login: &str) -> Self {
        let house = House::new("");
        for (name, secret) in [("webhook", "old"), ("page", "secret")] {
            house.secret(name, secret);
        }
        let watcher = house.serve_as("guarded", |text| {
            text.replace(
                "'}\nalertmanager: {auth: none}",
                &format!("', login: {login}}}\nalertmanager: {{auth: {{bearer_file: webhook}}}}"),
            )
        });
        watcher.until("/readyz", 200).await;
        Self { house, watcher, client: failover::adapters::http::client(Duration::from_secs(10)).unwrap() }
    }

    async fn ask(&self, method: Method, path: &str, token: Option<&str>) -> Response {
        let mut request = self.client.request(method, format!("{}{path}", self.watcher.url));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        request.send().await.unwrap()
    }

    async fn get(&self, path: &str, token: Option<&str>) -> Response {
        self.ask(Method::GET, path, token).await
    }

    async fn alert(&self, token: &str) -> u16 {
        let body =
            r#"{"version":"4","alerts":[{"status":"firing","labels":{"alertname":"Down","validator":"eth-0"}}]}"#;
        let request = self.client.post(format!("{}/webhook/alertmanager", self.watcher.url)).bearer_auth(token);
        request.body(body).send().await.unwrap().status().as_u16()
    }
}

const SHOWN: [&str; 3] = ["/", "/api/v1/status", "/metrics"];
const HEALTH: [&str; 2] = ["/healthz", "/readyz"];

#[tokio::test]
async fn everything_but_health_needs_the_login_and_the_webhook_has_its_own() {
    let guarded = Guarded::start("{bearer_file: page}").await;
    for path in HEALTH {
        assert_eq!(guarded.get(path, None).await.status(), 200, "{path}");
    }
    for path in SHOWN {
        for token in [None, Some("wrong"), Some("old")] {
            let answer = guarded.get(path, token).await;
            assert_eq!(answer.status(), 401, "{path} {token:?}");
            assert_eq!(answer.headers()["www-authenticate"], "Bearer realm=\"failover\"");
        }
        assert_eq!(guarded.get(path, Some("secret")).await.status(), 200, "{path}");
    }
    assert_eq!((guarded.alert("secret").await, guarded.alert("old").await), (401, 200));
    let metrics = guarded.get("/metrics", Some("secret")).await.text().await.unwrap();
    assert!(metrics.contains("failover_http_requests_refused_total{reason=\"unauthorised\"} 9"), "{metrics}");
    let refused = guarded.watcher.log().lines().filter(|line| line.contains("without the right login")).count();
    assert_eq!(refused, 1, "one line a minute");
}

#[tokio::test]
async fn status_brings_the_login_of_the_configuration_or_of_its_options() {
    let guarded = Guarded::start("{basic: {username: ops, password_file: page}}").await;
    let url = &guarded.watcher.url;
    let file = guarded.house.folder.path().join("page");
    let file = file.to_str().unwrap();
    let asked = |more: &[&str]| {
        let arguments = [&["status", "--json", "--url", url], more].concat();
        crate::cli::rig::failover(&arguments)
    };
    let refused = asked(&[]);
    assert!(refused.code == 1 && refused.err.contains("`http.login`"), "{}", refused.err);
    assert_eq!(asked(&["--username", "ops", "--password-file", file]).code, 0);
    assert_eq!(asked(&["--bearer-file", file]).code, 1, "it is a password here");
    let challenged = guarded.get("/", None).await;
    assert_eq!(challenged.headers()["www-authenticate"], "Basic realm=\"failover\", charset=\"UTF-8\"");
}

/// Whoever may write the ledger names an address in it: that must not fetch the login.
#[tokio::test(flavor = "multi_thread")]
async fn the_login_goes_to_our_own_address_only_whatever_the_ledger_names() {
    let house = House::new("");
    house.secret("page", "secret");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let named = format!("http://{}", listener.local_addr().unwrap());
    let watcher = house.serve_as("named", |text| text.replace("'}\n", &format!("', address: '{named}'}}\n")));
    watcher.until("/readyz", 200).await;
    for (own, sent) in [("http://127.0.0.1:1", false), (named.as_str(), true)] {
        let text = fs::read_to_string(house.folder.path().join("named.yaml")).unwrap();
        let login = format!("address: '{own}', login: {{bearer_file: page}}}}");
        house.write(&text.replace(&format!("address: '{named}'}}"), &login));
        let config = house.config();
        let asking = tokio::task::spawn_blocking(move || {
            crate::cli::rig::failover(&["status", "--config", config.to_str().unwrap()])
        });
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = vec![0; 4096];
        let read = tokio::io::AsyncReadExt::read(&mut stream, &mut head).await.unwrap();
        let head = String::from_utf8_lossy(&head[..read]).to_lowercase();
        assert_eq!(head.contains("authorization: bearer secret"), sent, "{head}");
        drop(stream);
        let shown = asking.await.unwrap();
        assert!(shown.code == 0 && shown.out.contains("eth-0"), "the ledger is read: {}{}", shown.out, shown.err);
    }
}

#[tokio::test]
async fn every_answer_says_what_a_browser_may_do_with_it() {
    let guarded = Guarded::start("{bearer_file: page}").await;
    for path in SHOWN.iter().chain(&HEALTH).chain(&["/nothing", "/webhook/alertmanager"]) {
        for token in [None, Some("secret")] {
            let answer = guarded.get(path, token).await;
            let header = |name: &str| answer.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
            let policy = header("content-security-policy");
            for part in ["default-src 'none'", "frame-ancestors 'none'", "style-src 'sha256-"] {
                assert!(policy.contains(part), "{path}: {policy}");
            }
            assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
            assert_eq!(header("referrer-policy"), "no-referrer", "{path}");
            assert_eq!(header("cache-control"), "no-store", "{path}");
        }
    }
}

#[tokio::test]
async fn a_post_to_a_wrong_path_is_answered_counted_logged_once_and_shown() {
    let guarded = Guarded::start("none").await;
    for path in ["/", "/alerts", "/webhook", "/webhook/alertmanager/", "/api/v2/alerts"] {
        let answer = guarded.ask(Method::POST, path, None).await;
        assert!([404, 405].contains(&answer.status().as_u16()), "{path}");
        let text = answer.text().await.unwrap();
        assert!(text.contains("must send to /webhook/alertmanager"), "{path}: {text}");
    }
    assert_eq!(guarded.get("/favicon.ico", None).await.status(), 404);
    let metrics = guarded.get("/metrics", None).await.text().await.unwrap();
    for (reason, count) in [("post_not_found", 5), ("not_found", 1)] {
        assert!(metrics.contains(&format!("refused_total{{reason=\"{reason}\"}} {count}\n")), "{metrics}");
    }
    let status: serde_json::Value = guarded.get("/api/v1/status", None).await.json().await.unwrap();
    let warnings = status["warnings"].to_string();
    assert!(warnings.contains("5 POSTs were sent to where nothing is, the last to /api/v2/alerts"), "{warnings}");
    assert!(guarded.get("/", None).await.text().await.unwrap().contains("5 POSTs were sent"));
    let lost = guarded.watcher.log().lines().filter(|line| line.contains("ALERTS MAY BE LOST")).count();
    assert_eq!(lost, 1, "one line a minute");
}

#[tokio::test]
async fn a_renewed_secret_is_read_at_sighup_which_ends_nothing_and_the_one_before_is_still_taken() {
    let guarded = Guarded::start("{bearer_file: page}").await;
    assert_eq!((guarded.alert("old").await, guarded.alert("new").await), (200, 401));
    guarded.house.secret("webhook", "new");
    guarded.watcher.signal("-HUP");
    while guarded.alert("new").await != 200 {}
    assert_eq!(guarded.alert("old").await, 200);
    fs::remove_file(guarded.house.folder.path().join("webhook")).unwrap();
    guarded.watcher.signal("-HUP");
    loop {
        let status: serde_json::Value = guarded.get("/api/v1/status", Some("secret")).await.json().await.unwrap();
        if status["warnings"].to_string().contains("what was read before stays in use") {
            break;
        }
    }
    assert_eq!(guarded.alert("new").await, 200);
}

#[tokio::test]
async fn messages_with_a_wrong_token_are_one_line_a_minute() {
    let guarded = Guarded::start("none").await;
    for _ in 0..50 {
        assert_eq!(guarded.alert("wrong").await, 401);
    }
    let lines = guarded.watcher.log().lines().filter(|line| line.contains("wrong or no credentials")).count();
    assert_eq!(lines, 1);
}
