//! Who may ask, at the webhook and at everything else. Neither Alertmanager nor Prometheus signs what it sends, so a
//! shared secret is all there is. Its file is read again while the program runs, because secrets are renewed.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderValue;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::LINES;
use crate::config::{HttpAuth, Login, SecretError, SecretFile};

/// Bytes that only the caller and we know; never none. `Debug` shows nothing of them.
#[derive(Clone, PartialEq, Eq)]
struct WebhookSecret(Vec<u8>);

impl WebhookSecret {
    /// Compares digests, so that the time taken tells neither a byte nor the length.
    fn is(&self, told: &[u8]) -> Choice {
        same(&self.0, told)
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// One way to show who one is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum WebhookCredentials {
    /// `authorization: {credentials_file: …}` in the `http_config` of Alertmanager or Prometheus.
    Bearer(WebhookSecret),
    Basic {
        user: String,
        password: WebhookSecret,
    },
}

/// How old what was read may be. A request after that reads the file again, which takes microseconds.
const REREAD: Duration = Duration::from_secs(1);
/// How long the secret before is still taken. The kubelet shows a changed Secret to each pod within two minutes or so,
/// to Alertmanager's at another time than to ours, and what is answered with 401 is not sent again.
pub const OVERLAP: Duration = Duration::from_mins(10);

/// Who may ask: who shows what a file holds, now or a moment ago.
#[derive(Debug)]
pub struct Access {
    auth: HttpAuth,
    known: Mutex<KnownSecrets>,
}

#[derive(Debug)]
struct KnownSecrets {
    read_at: Instant,
    /// None: everybody who reaches the port. Only for a webhook on loopback.
    current: Option<WebhookCredentials>,
    /// What was read before, each until when.
    earlier: Vec<(WebhookCredentials, Instant)>,
    /// Why it could not be read again, if that is so.
    problem: Option<String>,
}

impl Access {
    /// As configured, with the secret as its file holds it now.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn read(auth: &HttpAuth, now: Instant) -> Result<Self, SecretError> {
        let known = KnownSecrets { read_at: now, current: credentials(auth)?, earlier: Vec::new(), problem: None };
        Ok(Self { auth: auth.clone(), known: Mutex::new(known) })
    }

    /// Whether who sends this header may ask.
    pub fn allows(&self, header: Option<&HeaderValue>, now: Instant) -> bool {
        let mut known = self.known();
        if now.saturating_duration_since(known.read_at) >= REREAD {
            self.reread_into(&mut known, now);
        }
        known.earlier.retain(|(_, until)| now < *until);
        let earlier = known.earlier.iter().map(|(credentials, _)| credentials);
        known.current.as_ref().is_none_or(|current| accepts(std::iter::once(current).chain(earlier), header))
    }

    /// What a caller without credentials is asked to bring.
    #[must_use]
    pub fn challenge(&self) -> HeaderValue {
        HeaderValue::from_static(match self.auth {
            HttpAuth::Basic(_) => "Basic realm=\"failover\", charset=\"UTF-8\"",
            HttpAuth::Bearer(_) | HttpAuth::None => "Bearer realm=\"failover\"",
        })
    }

    /// Reads the file again.
    pub fn reread(&self, now: Instant) {
        self.reread_into(&mut self.known(), now);
    }

    /// Why the secret that is taken is an old one, if that is so.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.known().problem.clone()
    }

    fn known(&self) -> MutexGuard<'_, KnownSecrets> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reread_into(&self, known: &mut KnownSecrets, now: Instant) {
        known.read_at = now;
        match credentials(&self.auth) {
            Ok(read) => {
                known.problem = None;
                if read == known.current {
                    return;
                }
                tracing::info!("a secret of our port has changed; the one before is taken for ten more minutes");
                let before = std::mem::replace(&mut known.current, read);
                known.earlier.extend(before.map(|before| (before, now + OVERLAP)));
            }
            Err(error) => {
                if let Some(times) = LINES.due_at("secret", now) {
                    tracing::error!(times, %error, "the secret read before stays in use");
                }
                known.problem = Some(error.to_string());
            }
        }
    }
}

/// What a caller sends who may ask: the header `Authorization` for these credentials.
///
/// # Errors
/// A file that cannot be read.
pub fn authorization(auth: &HttpAuth) -> Result<Option<HeaderValue>, SecretError> {
    let value = match credentials(auth)? {
        None => return Ok(None),
        Some(WebhookCredentials::Bearer(secret)) => [b"Bearer ", secret.0.as_slice()].concat(),
        Some(WebhookCredentials::Basic { user, password }) => {
            let pair = [user.as_bytes(), b":", password.0.as_slice()].concat();
            format!("Basic {}", STANDARD.encode(pair)).into_bytes()
        }
    };
    let mut header = HeaderValue::from_bytes(&value).expect("a secret has no control character");
    header.set_sensitive(true);
    Ok(Some(header))
}

/// White space at the ends of a file is no part of it: Alertmanager and Prometheus remove it too.
fn credentials(auth: &HttpAuth) -> Result<Option<WebhookCredentials>, SecretError> {
    let secret = |file: &SecretFile| file.read().map(|read| WebhookSecret(read.expose().trim().into()));
    Ok(match auth {
        HttpAuth::Bearer(file) => Some(WebhookCredentials::Bearer(secret(file)?)),
        HttpAuth::Basic(Login { username, password_file }) => {
            Some(WebhookCredentials::Basic { user: username.clone(), password: secret(password_file)? })
        }
        HttpAuth::None => None,
    })
}

fn accepts<'a>(accepted: impl Iterator<Item = &'a WebhookCredentials>, header: Option<&HeaderValue>) -> bool {
    let Some((scheme, rest)) = header.and_then(|value| split(value.as_bytes())) else { return false };
    let mut found = Choice::from(0);
    if scheme.eq_ignore_ascii_case(b"bearer") {
        for credentials in accepted {
            if let WebhookCredentials::Bearer(secret) = credentials {
                found |= secret.is(rest);
            }
        }
    } else if scheme.eq_ignore_ascii_case(b"basic") {
        let Ok(told) = STANDARD.decode(rest) else { return false };
        let Some(colon) = told.iter().position(|byte| *byte == b':') else { return false };
        for credentials in accepted {
            if let WebhookCredentials::Basic { user, password } = credentials {
                found |= same(user.as_bytes(), &told[..colon]) & password.is(&told[colon + 1..]);
            }
        }
    }
    found.into()
}

fn split(header: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = header.iter().position(|byte| *byte == b' ')?;
    Some((&header[..space], header[space..].trim_ascii()))
}

fn same(one: &[u8], other: &[u8]) -> Choice {
    Sha256::digest(one).as_slice().ct_eq(Sha256::digest(other).as_slice())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn header(text: &str) -> HeaderValue {
        HeaderValue::from_str(text).expect("a header")
    }

    /// A file with a secret, who has to show it, and when that began.
    fn bearer(secret: &str) -> (tempfile::NamedTempFile, Access, Instant) {
        let (file, now) = (tempfile::NamedTempFile::new().expect("a file"), Instant::now());
        fs::write(&file, secret).expect("written");
        let access = Access::read(&HttpAuth::Bearer(SecretFile::new(file.path())), now).expect("a secret");
        (file, access, now)
    }

    #[test]
    fn only_the_right_bearer_token_gets_in() {
        let (_file, access, now) = bearer("s3cret\n");
        for right in ["Bearer s3cret", "bearer s3cret"] {
            assert!(access.allows(Some(&header(right)), now), "{right}");
        }
        for wrong in ["Bearer s3cre", "Bearer s3cret2", "Bearer ", "Bearer", "s3cret", "Basic s3cret", "Token s3cret"] {
            assert!(!access.allows(Some(&header(wrong)), now), "{wrong}");
        }
        assert!(!access.allows(None, now));
    }

    #[test]
    fn only_the_right_user_with_the_right_password_gets_in() {
        let (file, _, now) = bearer("a:b");
        let login = Login { username: "am".into(), password_file: SecretFile::new(file.path()) };
        let access = Access::read(&HttpAuth::Basic(login.clone()), now).expect("a secret");
        let lets_in = |text: &str| access.allows(Some(&header(text)), now);
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        assert!(lets_in(&basic("am:a:b")));
        for wrong in ["am:a", "am:", "am", "ama:b", ":a:b", "", "xx:a:b"] {
            assert!(!lets_in(&basic(wrong)), "{wrong}");
        }
        assert!(!lets_in("Basic ???") && !lets_in("Bearer a:b"));
        assert_eq!(authorization(&HttpAuth::Basic(login)).expect("read"), Some(header(&basic("am:a:b"))));
    }

    #[test]
    fn a_renewed_secret_is_taken_at_once_and_the_one_before_for_ten_minutes() {
        let (file, access, start) = bearer("old");
        let lets_in = |secret: &str, seconds: u64| {
            access.allows(Some(&header(&format!("Bearer {secret}"))), start + Duration::from_secs(seconds))
        };
        fs::write(&file, "new").expect("written");
        assert!(lets_in("new", 1) && lets_in("old", 1));
        assert!(lets_in("new", 600) && lets_in("old", 600));
        assert!(lets_in("new", 601) && !lets_in("old", 601));
    }

    #[test]
    fn without_a_request_a_renewed_secret_is_taken_when_it_is_asked_for() {
        let (file, access, start) = bearer("old");
        fs::write(&file, "new").expect("written");
        assert!(!access.allows(Some(&header("Bearer new")), start), "it was read in this second");
        access.reread(start);
        assert!(access.allows(Some(&header("Bearer new")), start));
    }

    #[test]
    fn a_file_that_cannot_be_read_keeps_the_secret_and_says_so() {
        let (file, access, start) = bearer("s3cret");
        let token = header("Bearer s3cret");
        for content in ["", "two\nlines"] {
            fs::write(&file, content).expect("written");
            access.reread(start);
            assert!(access.allows(Some(&token), start), "{content:?}");
            assert!(access.problem().is_some_and(|problem| problem.contains(&file.path().display().to_string())));
        }
        fs::remove_file(&file).expect("removed");
        let later = start + OVERLAP * 2;
        assert!(access.allows(Some(&token), later) && access.problem().is_some());
        fs::write(&file, "s3cret").expect("written");
        access.reread(later);
        assert_eq!(access.problem(), None);
    }

    #[test]
    fn a_secret_is_never_shown() {
        let (_file, access, _) = bearer("s3cret");
        assert!(!format!("{access:?}").contains("s3cret"));
    }
}
