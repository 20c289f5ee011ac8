//! Alerts and the watcher that runs: what has come, what has not, and test alerts, of which nothing can come.

use super::scene::{Scene, TOKEN};

async fn status(scene: &Scene) -> serde_json::Value {
    let client = failover::adapters::http::client(std::time::Duration::from_secs(5)).unwrap();
    client.get(format!("http://127.0.0.1:{}/api/v1/status", scene.port)).send().await.unwrap().json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watchdog_that_never_came_or_no_longer_comes_is_a_problem() {
    let mut scene = Scene::start().await;
    // Whoever checks believes for less long than the watcher does.
    scene.watchdog = "timeout: 1ms";
    let _watcher = scene.watch().await;
    scene.watchdog = "timeout: 5m";
    scene.check(&[]).is("warning", "Watchdog", "none has come yet");
    scene.watchdog = "timeout: 1ms";
    let checked = scene.check(&[]);
    checked.is("problem", "Watchdog", "none has come since the watcher was started");
    checked.advises("problem", "Watchdog", "route it to the watcher's /webhook/alertmanager");
    scene.watchdog().await;
    scene.check(&[]).advises("problem", "Watchdog", "`repeat_interval` below `watchdog.timeout`");
    scene.watchdog = "timeout: 5m";
    scene.check(&[]).is("ok", "Watchdog", "came ");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_running_watcher_warns_of_is_shown() {
    let scene = Scene::start().await;
    let _watcher = scene.watch().await;
    // No mapping takes it: its severity is another one.
    let client = failover::adapters::http::client(std::time::Duration::from_secs(5)).unwrap();
    let body = r#"{"version":"4","alerts":[{"status":"firing","labels":{"alertname":"Foo","severity":"info"}}]}"#;
    client.post(scene.webhook()).bearer_auth(TOKEN).body(body).send().await.unwrap().error_for_status().unwrap();
    scene.check(&[]).is("warning", "it warns", "alerts that no validator is mapped to: Foo");
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_that_go_to_a_wrong_path_are_shown() {
    let scene = Scene::start().await;
    let _watcher = scene.watch().await;
    let client = failover::adapters::http::client(std::time::Duration::from_secs(5)).unwrap();
    let answer = client.post(format!("http://127.0.0.1:{}/alerts", scene.port)).body("{}").send().await.unwrap();
    assert_eq!(answer.status(), 404);
    scene.check(&[]).is("warning", "it warns", "Alertmanager must send to /webhook/alertmanager");
}

/// The login of the pages is another one than the webhook's, and neither is sent in the other's place.
#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_behind_a_login_is_asked_with_it() {
    let mut scene = Scene::start().await;
    std::fs::write(scene.house.folder.path().join("page"), "of-the-pages").unwrap();
    scene.http = ", login: {bearer_file: page}";
    let _watcher = scene.watch().await;
    let checked = scene.check(&["--webhook"]);
    checked.is("ok", "watcher", "holds the lease");
    checked.is("ok", "test alert to the webhook", "took it");
    std::fs::write(scene.house.folder.path().join("other"), "another").unwrap();
    scene.http = ", login: {bearer_file: other}";
    let checked = scene.check(&[]);
    checked.is("warning", "watcher", "it wants the login in `http.login`");
    checked.advises("warning", "watcher", "give `http.login`");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_alert_is_counted_and_shown_and_never_becomes_evidence_or_a_record() {
    let scene = Scene::start().await;
    let _watcher = scene.watch().await;
    // With the very label that the mapping asks for.
    let checked = scene.check(&["--webhook", "--alertmanager", "--label", "severity=critical", "--wait", "20s"]);
    checked.is("ok", "test alert to the webhook", "took it");
    checked.is("ok", "test alert through Alertmanager", "arrived");
    assert_eq!(scene.house.alerts().await, 0, "no ledger keeps it");
    let status = status(&scene).await;
    assert_eq!(status["webhook"]["tests"].as_array().unwrap().len(), 2, "{status}");
    assert_eq!(status["webhook"]["received"], 0, "it shows nothing of Prometheus");
    assert_eq!(status["validators"][0]["phase"], "watching");
    let alert = |signal: &&serde_json::Value| signal["source"] == "alert" && signal["verdict"] == "down";
    assert!(!status["validators"][0]["signals"].as_array().unwrap().iter().any(|signal| alert(&signal)), "{status}");
    assert!(!status["warnings"].to_string().contains("FailoverTest"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_alert_finds_a_wrong_secret_and_a_missing_route() {
    let mut scene = Scene::start().await;
    let _watcher = scene.watch().await;
    *scene.far.route.lock().unwrap() = None;
    std::fs::write(scene.house.folder.path().join("other"), "another").unwrap();
    scene.secret = "other";
    let checked = scene.check(&["--webhook", "--alertmanager", "--wait", "1s"]);
    assert_eq!(checked.code, 1);
    checked.is("problem", "test alert to the webhook", "401");
    checked.advises("problem", "test alert to the webhook", "alertmanager.auth");
    checked.is("problem", "test alert through Alertmanager", "not arrived within 1 s");
    checked.advises("problem", "test alert through Alertmanager", "alertname=\"FailoverTest\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_sites_watcher_is_not_taken_for_ours() {
    let scene = Scene::start().await;
    let text = scene.text().replace("site: home", "site: cabin");
    let watcher = scene.house.serve_text("watcher", scene.port, &text);
    watcher.until("/readyz", 200).await;
    scene.check(&[]).is("problem", "watcher", "watches cabin, and this file is about home");
}
