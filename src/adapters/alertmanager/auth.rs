//! Who may send us alerts. Alertmanager does not sign what it sends, so a shared secret is all there is.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderValue;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::config::{Login, SecretError, SecretFile, WebhookAuth};

/// Bytes that only Alertmanager and we know. `Debug` shows nothing of them.
#[derive(Clone)]
pub struct WebhookSecret(Vec<u8>);

/// A secret without a byte, which everybody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a secret must not be empty")]
pub struct EmptySecret;

impl WebhookSecret {
    /// Takes a secret as it is. White space at the ends of a file is no part of it: Alertmanager removes it too.
    ///
    /// # Errors
    /// [`EmptySecret`]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, EmptySecret> {
        let bytes = bytes.into();
        if bytes.is_empty() { Err(EmptySecret) } else { Ok(Self(bytes)) }
    }

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

/// One way to show that one is Alertmanager.
#[derive(Clone, Debug)]
pub enum WebhookCredentials {
    /// `authorization: {credentials_file: …}` in Alertmanager's `http_config`.
    Bearer(WebhookSecret),
    Basic {
        user: String,
        password: WebhookSecret,
    },
}

#[derive(Clone, Debug)]
pub enum Access {
    /// Everybody who reaches the port. Only for a port on loopback.
    Anybody,
    /// Who shows one of these. Several, so that a secret can be changed without a gap; without any, nobody.
    Only(Vec<WebhookCredentials>),
}

impl Access {
    /// As configured, with the secrets as their files hold them now.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn read(auth: &WebhookAuth) -> Result<Self, SecretError> {
        let secret = |file: &SecretFile| file.read().map(|read| WebhookSecret(read.expose().into()));
        Ok(match auth {
            WebhookAuth::Bearer(file) => Self::Only(vec![WebhookCredentials::Bearer(secret(file)?)]),
            WebhookAuth::Basic(Login { username, password_file }) => {
                Self::Only(vec![WebhookCredentials::Basic { user: username.clone(), password: secret(password_file)? }])
            }
            WebhookAuth::None => Self::Anybody,
        })
    }

    pub(super) fn allows(&self, header: Option<&HeaderValue>) -> bool {
        match self {
            Self::Anybody => true,
            Self::Only(accepted) => accepts(accepted, header),
        }
    }

    /// What a caller without credentials is told to bring.
    pub(super) fn challenge(&self) -> HeaderValue {
        match self {
            Self::Anybody => challenge(&[]),
            Self::Only(accepted) => challenge(accepted),
        }
    }
}

fn accepts(accepted: &[WebhookCredentials], header: Option<&HeaderValue>) -> bool {
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

fn challenge(accepted: &[WebhookCredentials]) -> HeaderValue {
    let basic = accepted.iter().any(|credentials| matches!(credentials, WebhookCredentials::Basic { .. }));
    let bearer = accepted.iter().any(|credentials| matches!(credentials, WebhookCredentials::Bearer(_)));
    HeaderValue::from_static(match (bearer, basic) {
        (true, true) => "Bearer realm=\"failover\", Basic realm=\"failover\"",
        (false, true) => "Basic realm=\"failover\", charset=\"UTF-8\"",
        (_, false) => "Bearer realm=\"failover\"",
    })
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
    use super::*;

    fn header(text: &str) -> HeaderValue {
        HeaderValue::from_str(text).expect("a header")
    }

    fn secret(text: &str) -> WebhookSecret {
        WebhookSecret::new(text).expect("not empty")
    }

    fn lets_in(accepted: &[WebhookCredentials], text: &str) -> bool {
        accepts(accepted, Some(&header(text)))
    }

    #[test]
    fn only_the_right_bearer_token_gets_in() {
        let accepted = [WebhookCredentials::Bearer(secret("old")), WebhookCredentials::Bearer(secret("s3cret"))];
        for right in ["Bearer s3cret", "bearer s3cret", "Bearer old"] {
            assert!(lets_in(&accepted, right), "{right}");
        }
        for wrong in ["Bearer s3cre", "Bearer s3cret2", "Bearer ", "Bearer", "s3cret", "Basic s3cret", "Token s3cret"] {
            assert!(!lets_in(&accepted, wrong), "{wrong}");
        }
        assert!(!accepts(&accepted, None));
    }

    #[test]
    fn only_the_right_user_with_the_right_password_gets_in() {
        let accepted = [WebhookCredentials::Basic { user: "am".into(), password: secret("a:b") }];
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        assert!(lets_in(&accepted, &basic("am:a:b")));
        for wrong in ["am:a", "am:", "am", "ama:b", ":a:b", "", "xx:a:b"] {
            assert!(!lets_in(&accepted, &basic(wrong)), "{wrong}");
        }
        assert!(!lets_in(&accepted, "Basic ???") && !lets_in(&accepted, "Bearer a:b"));
    }

    #[test]
    fn without_credentials_nobody_gets_in_and_a_secret_is_never_empty_nor_shown() {
        assert!(!lets_in(&[], "Bearer ") && !lets_in(&[], "Basic Og=="));
        assert!(WebhookSecret::new("").is_err());
        assert_eq!(format!("{:?}", WebhookCredentials::Bearer(secret("s3cret"))), "Bearer(Secret(…))");
    }
}
