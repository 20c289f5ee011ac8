use std::{
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
};

use super::*;

/// One far end for everything: it answers what is next in its list, and hands out what it was asked.
struct FarEnd {
    base: String,
    answers: mpsc::UnboundedSender<(u16, Value)>,
    asked: mpsc::UnboundedReceiver<Asked>,
    task: tokio::task::JoinHandle<()>,
}

struct Asked {
    head: String,
    body: String,
}

impl Asked {
    fn form(&self) -> Vec<(String, String)> {
        url::form_urlencoded::parse(self.body.as_bytes()).into_owned().collect()
    }
}

impl Drop for FarEnd {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FarEnd {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (answers, mut next) = mpsc::unbounded_channel::<(u16, Value)>();
        let (sender, asked) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut bytes = Vec::new();
                let (head, body) = loop {
                    assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "a request in full");
                    let text = String::from_utf8(bytes.clone()).unwrap();
                    let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                    if body.len() == length.map_or(0, |length| length.parse().unwrap()) {
                        break (head.to_owned(), body.to_owned());
                    }
                };
                sender.send(Asked { head, body }).unwrap();
                let Some((status, answer)) = next.recv().await else { return };
                let answer = answer.to_string();
                let head = format!(
                    "HTTP/1.1 {status} X\r\nmetadata-flavor: Google\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                    answer.len()
                );
                stream.write_all((head + &answer).as_bytes()).await.unwrap();
            }
        });
        Self { base, answers, asked, task }
    }

    fn answer(&self, status: u16, answer: Value) {
        self.answers.send((status, answer)).unwrap();
    }

    fn asked(&mut self) -> Asked {
        self.asked.try_recv().expect("it was asked")
    }
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn external(far: &FarEnd, token: &Path, more: Value) -> Value {
    let mut file = json!({
        "type": "external_account", "audience": "//iam.googleapis.com/projects/1/…/providers/home",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "token_url": format!("{}/v1/token", far.base),
        "credential_source": {"file": token},
    });
    file.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    file
}

fn login_at(file: &Value, clock: fn() -> Duration) -> GateLogin {
    let file = self::file(&file.to_string());
    GateLogin::with_clock(&LoginSource::File(file.path().to_owned()), clock).unwrap()
}

async fn bearer(login: &GateLogin) -> String {
    login.headers().await.unwrap()[AUTHORIZATION].to_str().unwrap().to_owned()
}

fn still() -> Duration {
    Duration::from_secs(1000)
}

const TOKEN: &str = "google-token";

fn token(lives: u64) -> Value {
    json!({"access_token": TOKEN, "issued_token_type": "x", "token_type": "Bearer", "expires_in": lives})
}

#[tokio::test]
async fn a_clusters_token_is_exchanged_and_read_again_each_time() {
    let mut far = FarEnd::new().await;
    let subject = file("subject-1\n");
    let login = login_at(&external(&far, subject.path(), json!({})), still);
    far.answer(200, token(3600));
    assert_eq!(bearer(&login).await, "Bearer google-token");
    let asked = far.asked();
    assert!(asked.head.starts_with("POST /v1/token HTTP/1.1\r\n"), "{}", asked.head);
    assert!(asked.head.contains("content-type: application/x-www-form-urlencoded"));
    let pair = |(a, b): (&str, &str)| (a.to_owned(), b.to_owned());
    let expected = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ("subject_token", "subject-1"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ("scope", SCOPE),
        ("audience", "//iam.googleapis.com/projects/1/…/providers/home"),
    ];
    assert_eq!(asked.form(), expected.map(pair));
    assert_eq!(bearer(&login).await, "Bearer google-token");
    assert!(far.asked.try_recv().is_err(), "the one that it has is still good");

    std::fs::write(subject.path(), "subject-2").unwrap();
    login.refused();
    far.answer(200, token(3600));
    bearer(&login).await;
    assert!(far.asked().form().contains(&pair(("subject_token", "subject-2"))), "after a 401 of the bucket");
}

#[tokio::test]
async fn a_service_account_is_impersonated_where_the_file_names_one() {
    let mut far = FarEnd::new().await;
    let subject = file(r#"{"id_token": "inside"}"#);
    let source = json!({"file": subject.path(), "format": {"type": "json", "subject_token_field_name": "id_token"}});
    let url = format!("{}/v1/projects/-/serviceAccounts/gate@p:generateAccessToken", far.base);
    let more = json!({"credential_source": source, "service_account_impersonation_url": url});
    let login = login_at(&external(&far, subject.path(), more), still);
    far.answer(200, token(3600));
    far.answer(200, json!({"accessToken": "the account's", "expireTime": "2000-01-01T00:00:00Z"}));
    assert_eq!(bearer(&login).await, "Bearer the account's");
    let form = far.asked().form();
    assert!(
        form.contains(&("subject_token".into(), "inside".into())) && form.contains(&("scope".into(), IAM_SCOPE.into()))
    );
    let acts = far.asked();
    assert!(acts.head.starts_with("POST /v1/projects/-/serviceAccounts/gate@p:generateAccessToken "), "{}", acts.head);
    assert!(acts.head.contains("authorization: Bearer google-token"));
    let body: Value = serde_json::from_str(&acts.body).unwrap();
    assert_eq!(body, json!({"scope": [SCOPE], "lifetime": "3600s"}));
}

#[tokio::test]
async fn a_key_file_signs_a_statement_for_its_own_server() {
    let mut far = FarEnd::new().await;
    let (pem, public) = (include_str!("test_key.pem"), include_bytes!("test_key.pub.der"));
    let key = json!({
        "type": "service_account", "client_email": "gate@p.iam.gserviceaccount.com", "private_key_id": "k1",
        "private_key": pem, "token_uri": format!("{}/token", far.base),
    });
    far.answer(200, token(3600));
    assert_eq!(bearer(&login_at(&key, still)).await, "Bearer google-token");
    let form = far.asked().form();
    assert_eq!(form[0], ("grant_type".into(), "urn:ietf:params:oauth:grant-type:jwt-bearer".into()));
    let (signed, signature) = form[1].1.rsplit_once('.').unwrap();
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
    let public = ring::signature::UnparsedPublicKey::new(&ring::signature::RSA_PKCS1_2048_8192_SHA256, public);
    public.verify(signed.as_bytes(), &signature).unwrap();
    let parts: Vec<Value> = signed
        .split('.')
        .map(|part| serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap())
        .collect();
    assert_eq!(parts[0], json!({"alg": "RS256", "typ": "JWT", "kid": "k1"}));
    let claims = &parts[1];
    assert_eq!((&claims["iss"], &claims["scope"]), (&json!("gate@p.iam.gserviceaccount.com"), &json!(SCOPE)));
    assert_eq!(claims["aud"], json!(format!("{}/token", far.base)));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 600);
}

#[tokio::test]
async fn a_machine_asks_its_metadata_server() {
    let mut far = FarEnd::new().await;
    let host = far.base.strip_prefix("http://").unwrap().to_owned();
    let server = MetadataServer::at(Some(host.into()), TIMEOUT).unwrap();
    let source = Source::Metadata(server);
    let exchange = Arc::new(Exchange { source, http: client(TIMEOUT).unwrap(), clock: still });
    let login = GateLogin { exchange, held: Mutex::default(), refused: false.into() };
    far.answer(200, json!({"access_token": "machine", "expires_in": 3000, "token_type": "Bearer"}));
    assert_eq!(bearer(&login).await, "Bearer machine");
    let head = far.asked().head;
    assert!(head.starts_with("GET /computeMetadata/v1/instance/service-accounts/default/token HTTP/1.1"), "{head}");
    assert!(head.contains("metadata-flavor: Google"));
    login.refused();
    far.answer(404, json!({}));
    assert!(login.headers().await.unwrap_err().contains("has no service account"));
}

#[tokio::test]
async fn another_token_is_asked_for_early_and_the_old_one_serves_to_its_end() {
    static NOW: AtomicU64 = AtomicU64::new(0);
    let mut far = FarEnd::new().await;
    let subject = file("subject");
    let login =
        login_at(&external(&far, subject.path(), json!({})), || Duration::from_secs(NOW.load(Ordering::Relaxed)));
    far.answer(200, token(3600));
    bearer(&login).await;
    let mut at = async |second: u64, answer: Option<(u16, Value)>| {
        NOW.store(second, Ordering::Relaxed);
        while far.asked.try_recv().is_ok() {}
        if let Some((status, answer)) = answer {
            far.answer(status, answer);
        }
        let got = login.headers().await.map(|headers| headers[AUTHORIZATION].to_str().unwrap().to_owned());
        (got, far.asked.try_recv().is_ok())
    };
    let old = || Ok("Bearer google-token".to_owned());
    assert_eq!(at(3299, None).await, (old(), false));
    assert_eq!(at(3300, Some((503, json!({})))).await, (old(), true));
    assert_eq!(at(3359, None).await, (old(), false), "the ledger does not wait for a time-out at every call");
    assert_eq!(at(3360, Some((503, json!({})))).await, (old(), true));
    let (ended, asked) = at(3600, Some((503, json!({})))).await;
    assert!(ended.unwrap_err().contains("gives no token (503") && asked);
    let newer = json!({"access_token": "newer", "expires_in": 3600});
    assert_eq!(at(3601, Some((200, newer))).await, (Ok("Bearer newer".into()), true));
}

#[tokio::test]
async fn nothing_secret_is_in_an_error_or_a_log_line() {
    let mut far = FarEnd::new().await;
    let subject = file(&"s3cret".repeat(20));
    let login = login_at(&external(&far, subject.path(), json!({})), still);
    let repeats = format!("token {} is not trusted", "s3cret".repeat(20));
    far.answer(400, json!({"error": "invalid_grant", "error_description": repeats}));
    let why = login.headers().await.unwrap_err();
    assert!(why.contains("400") && why.contains("invalid_grant: token … is not trusted"), "{why}");
    assert!(!why.contains("s3cret") && !format!("{login:?}").contains("s3cret"), "{why}");
    far.asked();
    far.answer(200, json!({"access_token": "s3cret\n", "expires_in": 60}));
    let why = login.headers().await.unwrap_err();
    assert!(why.contains("characters that no token has") && !why.contains("s3cret"), "{why}");
    far.answer(200, json!({"access_token": "s3cret", "expires_in": 60}));
    assert!(!format!("{:?}", login.headers().await.unwrap()).contains("s3cret"));

    far.answer(200, json!({"padding": "x".repeat(MAX_ANSWER)}));
    login.refused();
    assert!(login.headers().await.unwrap_err().contains("without a token"), "an answer without end is not read");
}

#[test]
fn a_file_that_cannot_be_used_is_refused_with_the_reason_and_without_its_contents() {
    let refused = |text: &str| {
        let file = file(text);
        let why = GateLogin::new(&LoginSource::File(file.path().to_owned())).unwrap_err();
        assert!(why.contains(&*file.path().to_string_lossy()) && !why.contains("s3cret"), "{why}");
        why
    };
    assert!(refused("s3cret").contains("it is not JSON, line 1"));
    assert!(
        refused(r#"{"type": "authorized_user", "refresh_token": "s3cret"}"#).contains("its type is 'authorized_user'")
    );
    assert!(refused(r#"{"type": "external_account", "audience": "s3cret"}"#).contains("a field is missing"));
    let key = json!({"type": "service_account", "client_email": "a", "private_key_id": "k", "private_key": "s3cret",
                     "token_uri": "https://oauth2.googleapis.com/token"});
    assert!(refused(&key.to_string()).contains("no RSA key"));
    let mut plain = key.clone();
    plain["token_uri"] = "http://oauth2.example.org/token".into();
    assert!(refused(&plain.to_string()).contains("http://oauth2.example.org/token is not https"));
    let none = GateLogin::new(&LoginSource::File("/nowhere/google.json".into())).unwrap_err();
    assert!(none.contains("/nowhere/google.json cannot be read"), "{none}");
}

#[tokio::test]
async fn one_exchange_serves_all_who_wait() {
    let mut far = FarEnd::new().await;
    let subject = file("subject");
    let login = Arc::new(login_at(&external(&far, subject.path(), json!({})), still));
    far.answer(200, token(3600));
    let both = tokio::join!(bearer(&login), bearer(&login));
    assert_eq!(both, ("Bearer google-token".into(), "Bearer google-token".into()));
    far.asked();
    assert!(far.asked.try_recv().is_err());
}

#[tokio::test]
async fn an_exchange_outlives_the_read_that_waited_for_it() {
    for is_there_before in [false, true] {
        let mut far = FarEnd::new().await;
        let subject = file("subject");
        let login = login_at(&external(&far, subject.path(), json!({})), still);
        tokio::select! {
            _ = login.headers() => panic!("nothing is answered yet"),
            asked = far.asked.recv() => asked.unwrap(),
        };
        far.answer(200, token(3600));
        while is_there_before && !login.held.lock().await.asking.as_ref().unwrap().is_finished() {
            tokio::task::yield_now().await;
        }
        assert_eq!(bearer(&login).await, "Bearer google-token");
        assert!(far.asked.try_recv().is_err(), "it was asked once");
        assert!(login.held.lock().await.asking.is_none());
    }
}
