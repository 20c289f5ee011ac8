//! What Alertmanager's own port asks for: a login, and an authority of its own. The real one is in `tests/real`.

use std::fs;

use axum::{Router, http::HeaderMap, http::StatusCode, routing::get};
use failover::{
    adapters::alertmanager::{Api, ReconcileError},
    config::{HttpAuth, Login, SecretFile},
};
use tokio::net::TcpListener;

/// Answers only who brings this header.
async fn guarded(wanted: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let status = move |headers: HeaderMap| async move {
        let shown = headers.get("authorization").is_some_and(|header| header == wanted);
        if shown { Ok("{\"uptime\":\"2026-11-20T00:00:00Z\"}") } else { Err(StatusCode::UNAUTHORIZED) }
    };
    let app = Router::new().route("/api/v2/status", get(status));
    tokio::spawn(async move { axum::serve(listener, app).await.expect("serves") });
    url
}

#[tokio::test]
async fn a_login_is_read_for_each_request_so_a_renewed_one_is_used_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("secret");
    let secret = || SecretFile::new(&file);
    let basic = HttpAuth::Basic(Login { username: "failover".into(), password_file: secret() });
    for (login, header) in [(HttpAuth::Bearer(secret()), "Bearer n3w"), (basic, "Basic ZmFpbG92ZXI6bjN3")] {
        let url = guarded(header).await.parse().expect("an address");
        let api = Api::new(url, None, login);
        fs::write(&file, "old").expect("writes");
        let refused = api.check().await.expect_err("an old secret");
        assert!(matches!(refused, ReconcileError::Status { status: 401, .. }), "{refused}");
        assert!(refused.to_string().contains("alertmanager.login"), "{refused}");
        fs::write(&file, "n3w\n").expect("writes");
        api.check().await.expect("the renewed one");
        fs::remove_file(&file).expect("removes");
        assert!(matches!(api.check().await, Err(ReconcileError::Login(_))));
    }
}

#[tokio::test]
async fn an_authority_that_cannot_be_read_is_named() {
    let api =
        Api::new("https://127.0.0.1:1/".parse().expect("an address"), Some("/nowhere/ca.pem".into()), HttpAuth::None);
    let error = api.check().await.expect_err("no file").to_string();
    assert!(error.contains("/nowhere/ca.pem"), "{error}");
}
