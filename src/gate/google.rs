//! Who the gate is to Google: the few ways that it needs, without Google's library. It knows nothing of buckets.
//!
//! No token and no key gets into a log or an error.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use http::{
    HeaderMap, HeaderValue,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use reqwest::Response;
use serde::{Deserialize, de::DeserializeOwned};
use tokio::{
    sync::Mutex,
    task::{JoinError, JoinHandle},
};
use url::{Url, form_urlencoded};

use crate::{
    adapters::{
        http::{client, read_excerpt, read_json},
        ledger_gcs::GoogleLogin,
        metadata::MetadataServer,
    },
    domain::one_line,
    files, raw_clock,
};

mod key_file;

use key_file::KeyFile;

/// All that the gate does is in its bucket.
const SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_write";
/// A token that only acts as a service account (as in Google's library).
const IAM_SCOPE: &str = "https://www.googleapis.com/auth/iam";
/// Another one is asked for so long before the end of a token, so that a minute without an answer costs nothing.
const EARLY: Duration = Duration::from_secs(300);
/// After a renewal that failed the token that is still valid is used for so long before the next try: each costs a
/// time-out before the ledger is asked.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long one of the servers may take. Two of them are asked for a token, and a read of the ledger that waits for it is
/// given up after ten seconds.
const TIMEOUT: Duration = Duration::from_secs(4);
/// A token has some kilobytes.
const MAX_ANSWER: usize = 64 << 10;
/// How long a token of a service account lives (IAM, "generateAccessToken": an hour at most, unless extended).
const LIFETIME: Duration = Duration::from_secs(3600);

/// Where tokens come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginSource {
    /// The server asks for nothing.
    Anonymous,
    /// The machine's own service account.
    Metadata,
    /// A credential file: `external_account` with the token in a file, or the key of a service account.
    File(PathBuf),
}

/// Gets tokens and keeps each until shortly before its end.
pub struct GateLogin {
    exchange: Arc<Exchange>,
    held: Mutex<Held>,
    refused: AtomicBool,
}

#[derive(Default)]
struct Held {
    token: Option<Token>,
    /// A task of its own: with a short `gate_ttl` a read is given up before it ends, and the next one finds the token.
    asking: Option<JoinHandle<Result<Token, String>>>,
}

/// Asks for tokens.
struct Exchange {
    source: Source,
    http: reqwest::Client,
    /// Time since boot, the time asleep included.
    clock: fn() -> Duration,
}

enum Source {
    Anonymous,
    Metadata(MetadataServer),
    External(Box<External>),
    Key(Box<KeyFile>),
}

struct Token {
    headers: HeaderMap,
    ends_at: Duration,
    renew_at: Duration,
}

/// What came with a token.
#[derive(Deserialize)]
struct Grant {
    access_token: String,
    expires_in: u64,
}

/// Workload identity federation: somebody else's token is exchanged for Google's.
#[derive(Deserialize)]
struct External {
    audience: String,
    subject_token_type: String,
    token_url: Url,
    service_account_impersonation_url: Option<Url>,
    credential_source: TokenFile,
}

#[derive(Deserialize)]
struct TokenFile {
    file: PathBuf,
    format: Option<TokenFormat>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum TokenFormat {
    Text,
    Json { subject_token_field_name: String },
}

impl GateLogin {
    /// Reads a credential file; nothing is asked yet.
    ///
    /// # Errors
    /// What is wrong with it, and what to do.
    pub fn new(source: &LoginSource) -> Result<Self, String> {
        Self::with_clock(source, raw_clock::now)
    }

    fn with_clock(source: &LoginSource, clock: fn() -> Duration) -> Result<Self, String> {
        let source = match source {
            LoginSource::Anonymous => Source::Anonymous,
            LoginSource::Metadata => {
                Source::Metadata(MetadataServer::from_environment(TIMEOUT).map_err(|error| error.to_string())?)
            }
            LoginSource::File(path) => Source::read(path)?,
        };
        let http = client(TIMEOUT).map_err(|error| error.to_string())?;
        let exchange = Arc::new(Exchange { source, http, clock });
        Ok(Self { exchange, held: Mutex::default(), refused: AtomicBool::new(false) })
    }
}

impl Exchange {
    async fn ask(&self) -> Result<Token, String> {
        // Before the request: it may have been on its way for long.
        let asked_at = (self.clock)();
        let (token, lives) = match &self.source {
            Source::Anonymous => return Ok(Token::anonymous()),
            Source::Metadata(server) => machine_token(server).await?,
            Source::External(external) => self.exchange(external).await?,
            Source::Key(key) => {
                let grant: Grant = self.post(&key.token_uri, &key.request()?).await?;
                (grant.access_token, Duration::from_secs(grant.expires_in))
            }
        };
        let mut value = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| "what came for a token has characters that no token has".to_owned())?;
        value.set_sensitive(true);
        let ends_at = asked_at.saturating_add(lives);
        let renew_at = ends_at.saturating_sub(EARLY.min(lives / 2));
        Ok(Token { headers: HeaderMap::from_iter([(AUTHORIZATION, value)]), ends_at, renew_at })
    }

    async fn exchange(&self, external: &External) -> Result<(String, Duration), String> {
        let subject = external.credential_source.read()?;
        let scope = if external.service_account_impersonation_url.is_some() { IAM_SCOPE } else { SCOPE };
        let request = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("subject_token", subject.as_str()),
            ("subject_token_type", external.subject_token_type.as_str()),
            ("scope", scope),
            ("audience", external.audience.as_str()),
        ];
        let grant: Grant = self.post(&external.token_url, &request).await?;
        let lives = Duration::from_secs(grant.expires_in);
        match &external.service_account_impersonation_url {
            None => Ok((grant.access_token, lives)),
            Some(url) => Ok((self.act_as(url, &grant.access_token).await?, LIFETIME)),
        }
    }

    /// A token of the service account. Its end is told as a moment, which our clock may not know: we count what we
    /// asked for.
    async fn act_as(&self, url: &Url, token: &str) -> Result<String, String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Answer {
            access_token: String,
        }
        let body = serde_json::json!({"scope": [SCOPE], "lifetime": format!("{}s", LIFETIME.as_secs())});
        let sent = self.http.post(url.clone()).bearer_auth(token).json(&body).send().await;
        Ok(answer::<Answer>(url, sent).await?.access_token)
    }

    async fn post<T: DeserializeOwned, V: AsRef<str>>(&self, url: &Url, form: &[(&str, V)]) -> Result<T, String> {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self.http.post(url.clone()).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        answer(url, request.body(body).send().await).await
    }
}

#[async_trait]
impl GoogleLogin for GateLogin {
    async fn headers(&self) -> Result<HeaderMap, String> {
        let mut held = self.held.lock().await;
        let Held { token: held, asking } = &mut *held;
        if self.refused.swap(false, Ordering::Relaxed) {
            *held = None;
        }
        let now = (self.exchange.clock)();
        if let Some(token) = held.as_ref().filter(|token| now < token.renew_at) {
            return Ok(token.headers.clone());
        }
        let answer = |ended: Result<_, JoinError>| ended.unwrap_or_else(|error| Err(error.to_string()));
        // What came for a caller that had given up.
        let came = match asking.take_if(|asking| asking.is_finished()) {
            Some(asked) => answer(asked.await).ok().filter(|token| now < token.renew_at),
            None => None,
        };
        let asked = match came {
            Some(token) => Ok(token),
            None => {
                let task = asking.get_or_insert_with(|| {
                    let exchange = Arc::clone(&self.exchange);
                    tokio::spawn(async move { exchange.ask().await })
                });
                let ended = task.await;
                *asking = None;
                answer(ended)
            }
        };
        match asked {
            Ok(token) => Ok(held.insert(token).headers.clone()),
            Err(why) => match held.as_mut().filter(|token| now < token.ends_at) {
                Some(token) => {
                    tracing::warn!("the token for Google is not renewed, the old one is still good: {why}");
                    token.renew_at = now.saturating_add(PATIENCE).min(token.ends_at);
                    Ok(token.headers.clone())
                }
                None => Err(why),
            },
        }
    }

    fn refused(&self) {
        self.refused.store(true, Ordering::Relaxed);
    }
}

impl fmt::Debug for GateLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match &self.exchange.source {
            Source::Anonymous => "anonymous",
            Source::Metadata(_) => "metadata",
            Source::External(_) => "external_account",
            Source::Key(_) => "service_account",
        };
        write!(f, "GateLogin({name})")
    }
}

impl Source {
    fn read(path: &Path) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Kind {
            r#type: String,
        }
        let name = path.display();
        let unusable = |why: &dyn fmt::Display| {
            format!("{name} is no credential file that can be used ({why}); name the one that setup.sh or gcloud made")
        };
        let text = files::read_text(path, files::MOST)
            .map_err(|error| format!("the credential file {name} cannot be read: {error}; correct --credentials"))?;
        let kind: Kind = serde_json::from_str(&text).map_err(|error| unusable(&no_values(&error)))?;
        match kind.r#type.as_str() {
            "external_account" => {
                let external: External = serde_json::from_str(&text).map_err(|error| unusable(&no_values(&error)))?;
                let urls = [Some(&external.token_url), external.service_account_impersonation_url.as_ref()];
                urls.into_iter().flatten().try_for_each(is_private).map_err(|why| unusable(&why))?;
                Ok(Self::External(Box::new(external)))
            }
            "service_account" => KeyFile::parse(&text).map(Box::new).map(Self::Key).map_err(|why| unusable(&why)),
            other => Err(unusable(&format!(
                "its type is '{}'; external_account and service_account can be used",
                one_line(other, 40)
            ))),
        }
    }
}

/// Where in the file it is wrong, without what is there: that may be a key.
fn no_values(error: &serde_json::Error) -> String {
    let what = if error.is_data() { "a field is missing or of another form" } else { "it is not JSON" };
    format!("{what}, line {} column {}", error.line(), error.column())
}

/// A token travels encrypted, or on this machine.
fn is_private(url: &Url) -> Result<(), String> {
    let local = match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    };
    match url.scheme() {
        "https" => Ok(()),
        "http" if local => Ok(()),
        _ => Err(format!("{url} is not https")),
    }
}

impl TokenFile {
    /// Read at every exchange: the kubelet writes another one before this one ends.
    fn read(&self) -> Result<String, String> {
        let name = self.file.display();
        let text = files::read_text(&self.file, files::MOST).map_err(|error| {
            format!("the token file {name} cannot be read: {error}; mount it where it is looked for")
        })?;
        let token = match &self.format {
            None | Some(TokenFormat::Text) => text.trim().to_owned(),
            Some(TokenFormat::Json { subject_token_field_name: field }) => serde_json::from_str(&text)
                .ok()
                .and_then(|json: serde_json::Value| json.get(field)?.as_str().map(str::to_owned))
                .ok_or_else(|| format!("the token file {name} is no JSON with a text '{field}': look at its format"))?,
        };
        if token.is_empty() {
            Err(format!("the token file {name} is empty: wait for it to be written"))
        } else {
            Ok(token)
        }
    }
}

impl Token {
    fn anonymous() -> Self {
        Self { headers: HeaderMap::new(), ends_at: Duration::MAX, renew_at: Duration::MAX }
    }
}

async fn machine_token(server: &MetadataServer) -> Result<(String, Duration), String> {
    const PATH: &str = "instance/service-accounts/default/token";
    let none = "this machine has no service account: give it one, or name another --credentials";
    let answer = server.get(PATH).await.map_err(|error| error.to_string())?;
    let answer = answer.ok_or_else(|| none.to_owned())?;
    let grant: Grant = serde_json::from_slice(&answer)
        .map_err(|_| format!("the metadata server at {} sends no token: is it Google's?", server.address()))?;
    Ok((grant.access_token, Duration::from_secs(grant.expires_in)))
}

async fn answer<T: DeserializeOwned>(url: &Url, sent: reqwest::Result<Response>) -> Result<T, String> {
    let host = url.host_str().unwrap_or_default();
    let response = sent.map_err(|error| {
        let mut root: &dyn std::error::Error = &error;
        while let Some(cause) = root.source() {
            root = cause;
        }
        let why = if error.is_timeout() { "no answer in time".to_owned() } else { one_line(&root.to_string(), 100) };
        format!("{host} is not reached ({why}): look at the network of this machine")
    })?;
    let status = response.status();
    if !status.is_success() {
        let why = refusal(&read_excerpt(response).await);
        return Err(format!(
            "{host} gives no token ({status}{why}): look at the credential file, this machine's clock, and what Google \
             trusts (docs/gcp.md)"
        ));
    }
    read_json(response, MAX_ANSWER)
        .await
        .map_err(|_| format!("{host} answers {status} without a token: is it Google's?"))
}

/// The words for a refusal. Nothing else of a page is shown: it may repeat what was sent.
fn refusal(page: &str) -> String {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Refusal {
        Iam { error: Message },
        Sts { error: String, error_description: Option<String> },
    }
    #[derive(Deserialize)]
    struct Message {
        message: String,
    }
    let words = match serde_json::from_str(page) {
        Ok(Refusal::Iam { error }) => error.message,
        Ok(Refusal::Sts { error, error_description: None }) => error,
        Ok(Refusal::Sts { error, error_description: Some(more) }) => format!("{error}: {more}"),
        Err(_) => return String::new(),
    };
    // A token has no spaces; a word does not have so many letters.
    let words: Vec<&str> = words.split_whitespace().map(|word| if word.len() > 80 { "…" } else { word }).collect();
    format!(", {}", one_line(&words.join(" "), 300))
}

#[cfg(test)]
mod tests;
