//! Workload identity federation, as the chart sets it up: the cluster's token becomes Google's, that becomes the service
//! account's, and Compute Engine is called with it. By Google's own client library, against a server of ours.

use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use failover::{assembly, config};
use serde_json::{Value, json};
use tokio::task::AbortHandle;

const AUDIENCE: &str =
    "//iam.googleapis.com/projects/123456789/locations/global/workloadIdentityPools/failover-home/providers/cluster";
const ACCOUNT: &str = "failover-watcher@my-failover.iam.gserviceaccount.com";

/// What was called: path, who called, and what with.
#[derive(Clone, Debug)]
struct Called {
    path: String,
    authorization: String,
    body: String,
}

#[derive(Clone, Default)]
struct Google {
    calls: Arc<Mutex<Vec<Called>>>,
    /// The exchange is refused.
    distrusts: bool,
}

async fn answer(State(google): State<Google>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let header = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    let authorization = header.unwrap_or_default().to_owned();
    let body: Bytes = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
    let body = String::from_utf8(body.into()).unwrap();
    google.calls.lock().unwrap().push(Called { path: path.clone(), authorization, body });
    let (status, body) = if path == "/v1/token" && google.distrusts {
        let why = "The given credential is rejected by the attribute condition.";
        (StatusCode::BAD_REQUEST, json!({"error": "unauthorized_client", "error_description": why}))
    } else if path == "/v1/token" {
        let issued = "urn:ietf:params:oauth:token-type:access_token";
        let token = json!({"access_token": "federated", "issued_token_type": issued, "token_type": "Bearer", "expires_in": 3600});
        (StatusCode::OK, token)
    } else if path.ends_with(":generateAccessToken") {
        (StatusCode::OK, json!({"accessToken": "the-watchers", "expireTime": "2099-01-01T00:00:00Z"}))
    } else {
        (StatusCode::NOT_FOUND, json!({"error": {"code": 404, "message": "not here"}}))
    };
    (status, axum::Json(body)).into_response()
}

struct Rig {
    google: Google,
    cloud: Arc<failover::adapters::gce::Gce>,
    _folder: tempfile::TempDir,
    server: AbortHandle,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Rig {
    fn calls(&self, end: &str) -> Vec<Called> {
        self.google.calls.lock().unwrap().iter().filter(|call| call.path.ends_with(end)).cloned().collect()
    }
}

/// The file of the chart's ConfigMap, only with other addresses, and the program's own way from a configuration.
async fn rig(impersonate: bool, distrusts: bool) -> Rig {
    let google = Google { distrusts, ..Google::default() };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(answer).with_state(google.clone());
    let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }).abort_handle();
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("google-token");
    fs::write(&token, "the-clusters\n".trim_end()).unwrap();
    let mut file = json!({
        "type": "external_account", "audience": AUDIENCE,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": format!("{url}/v1/token"), "credential_source": {"file": token},
    });
    if impersonate {
        file["service_account_impersonation_url"] =
            Value::String(format!("{url}/v1/projects/-/serviceAccounts/{ACCOUNT}:generateAccessToken"));
    }
    let path = folder.path().join("google.json");
    fs::write(&path, file.to_string()).unwrap();
    let text = format!(
        "site: home\nledger: {{sqlite: {{path: l.sqlite}}}}\nvalidators:\n  - {{name: eth-0, kind: ethereum, public_keys: \
         [\"{}\"]}}\ncompute:\n  project: my-failover\n  endpoint: \"{url}\"\n  credentials: {{key_file: {}}}\n  ladder: \
         [{{zone: us-central1-b, machine_type: n2-standard-8}}]\n",
        super::KEY,
        path.display()
    );
    let checks = config::Checks { files: false, ..config::Checks::default() };
    let (config, _) = config::parse(&text, "failover.yaml", &checks).unwrap_or_else(|error| panic!("{error}"));
    let cloud = assembly::cloud::cloud(&config).await.unwrap().unwrap();
    Rig { google, cloud, _folder: folder, server }
}

fn form(body: &str) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(body.as_bytes()).into_owned().collect()
}

#[tokio::test]
async fn the_clusters_token_becomes_the_service_accounts() {
    let rig = rig(true, false).await;
    rig.cloud.check().await;
    let exchanged = form(&rig.calls("/v1/token")[0].body);
    assert_eq!(exchanged["subject_token"], "the-clusters");
    assert_eq!(exchanged["audience"], AUDIENCE);
    assert_eq!(exchanged["subject_token_type"], "urn:ietf:params:oauth:token-type:jwt");
    assert_eq!(exchanged["grant_type"], "urn:ietf:params:oauth:grant-type:token-exchange");
    let acted = &rig.calls(":generateAccessToken")[0];
    assert!(acted.path.contains(ACCOUNT) && acted.authorization == "Bearer federated", "{acted:?}");
    let zone = &rig.calls("/zones/us-central1-b")[0];
    assert_eq!(zone.authorization, "Bearer the-watchers");
    assert_eq!(rig.calls(":testIamPermissions")[0].authorization, "Bearer the-watchers", "the other client too");
    assert_eq!(rig.calls("/v1/token").len(), 1, "a token is kept for as long as it is valid");
}

#[tokio::test]
async fn without_a_service_account_the_pools_identity_calls() {
    let rig = rig(false, false).await;
    rig.cloud.check().await;
    assert_eq!(rig.calls(":generateAccessToken").len(), 0);
    assert_eq!(rig.calls("/zones/us-central1-b")[0].authorization, "Bearer federated");
}

#[tokio::test]
async fn a_token_that_google_does_not_trust_makes_everything_unknown_or_a_problem_and_calls_nothing() {
    let rig = rig(true, true).await;
    let findings = rig.cloud.check().await;
    assert!(findings.iter().all(|finding| finding.state != failover::ports::FindingState::Ok), "{findings:#?}");
    let said = findings.iter().map(|finding| finding.detail.clone()).collect::<Vec<_>>().join("\n");
    assert!(said.contains("credentials"), "{said}");
    assert_eq!(rig.calls("/zones/us-central1-b").len(), 0);
    assert!(!said.contains("the-clusters"), "no token is ever told");
}
