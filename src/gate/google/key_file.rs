//! The key file of a service account: a statement about oneself, signed with it, is exchanged for a token (RFC 7523).

use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use ring::{
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RsaKeyPair},
};
use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::{SCOPE, is_private, no_values};
use crate::domain::Time;

/// How long the statement may be used, in seconds (Google: an hour at most).
const LIVES: i64 = 600;
/// Our clock may be so many seconds ahead of theirs.
const SKEW: i64 = 30;

pub(super) struct KeyFile {
    client_email: String,
    private_key_id: String,
    pub(super) token_uri: Url,
    key: RsaKeyPair,
}

impl KeyFile {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Written {
            client_email: String,
            private_key_id: String,
            private_key: String,
            token_uri: Url,
        }
        let written: Written = serde_json::from_str(text).map_err(|error| no_values(&error))?;
        is_private(&written.token_uri)?;
        let lines = written.private_key.lines().map(str::trim).filter(|line| !line.starts_with("-----"));
        let key = BASE64_STANDARD.decode(lines.collect::<String>()).ok();
        let key = key.and_then(|der| RsaKeyPair::from_pkcs8(&der).ok());
        let key = key.ok_or("its private_key is no RSA key in PKCS#8")?;
        let Written { client_email, private_key_id, token_uri, .. } = written;
        Ok(Self { client_email, private_key_id, token_uri, key })
    }

    /// The form that asks for a token.
    pub(super) fn request(&self) -> Result<[(&'static str, String); 2], String> {
        let grant_type = "urn:ietf:params:oauth:grant-type:jwt-bearer".to_owned();
        Ok([("grant_type", grant_type), ("assertion", self.statement(Time::now().as_second())?)])
    }

    fn statement(&self, now: i64) -> Result<String, String> {
        let part = |json: serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(json.to_string());
        let head = part(json!({"alg": "RS256", "typ": "JWT", "kid": self.private_key_id}));
        let claims = part(json!({
            "iss": self.client_email, "scope": SCOPE, "aud": self.token_uri, "iat": now - SKEW,
            "exp": now - SKEW + LIVES,
        }));
        let signed = format!("{head}.{claims}");
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| "the key of the service account does not sign: name another file".to_owned())?;
        Ok(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
    }
}
