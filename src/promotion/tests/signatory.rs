//! Somebody who signs grants, without a program beside the test.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use sha2::{Digest as _, Sha512};

use super::world::{CHAIN, validator};
use crate::{
    domain::{
        Time,
        ownership::{Grant, GrantPlace, NAMESPACE, SignedGrant},
    },
    promotion::{GrantDraft, GrantSigner, GrantSigning},
    runtime::grants::GrantRules,
};

pub struct TestSigner {
    key: Ed25519KeyPair,
    folder: tempfile::TempDir,
    /// What was signed, in order.
    pub drafts: Mutex<Vec<GrantDraft>>,
    /// What happens while a person makes up their mind.
    pub meanwhile: Mutex<Option<Meanwhile>>,
    pub declines: Mutex<bool>,
}

type Meanwhile = Box<dyn FnOnce() + Send>;

impl TestSigner {
    pub fn new() -> Arc<Self> {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let key = Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let signer =
            Self { key, folder, drafts: Mutex::default(), meanwhile: Mutex::default(), declines: Mutex::default() };
        let line = format!("op@example.org ssh-ed25519 {}", STANDARD.encode(signer.public()));
        std::fs::write(signer.allowed(), line).unwrap();
        Arc::new(signer)
    }

    fn allowed(&self) -> PathBuf {
        self.folder.path().join("allowed_signers")
    }

    pub fn rules(&self) -> GrantRules {
        GrantRules {
            allowed_signers: Some(self.allowed()),
            allow_untouched: false,
            chains: [(validator(), CHAIN.to_owned())].into(),
        }
    }

    fn public(&self) -> Vec<u8> {
        [string(b"ssh-ed25519"), string(self.key.public_key().as_ref())].concat()
    }

    pub fn sign(&self, number: u64, owner: GrantPlace, previous: Option<String>) -> SignedGrant {
        let (by, reason) = ("op@example.org".into(), "a test".into());
        let issued_at = Time::UNIX_EPOCH;
        let (validator, chain) = (validator(), CHAIN.into());
        let grant = Grant { validator, chain, owner, number, previous, issued_at, by, reason, evidence: None };
        let digest = Sha512::digest(grant.bytes());
        let parts = [string(NAMESPACE.as_bytes()), string(b""), string(b"sha512")].concat();
        let signature = self.key.sign(&[b"SSHSIG".to_vec(), parts.clone(), string(&digest)].concat());
        let signature = [string(b"ssh-ed25519"), string(signature.as_ref())].concat();
        let start = [b"SSHSIG".to_vec(), 1_u32.to_be_bytes().to_vec(), string(&self.public())].concat();
        let blob = STANDARD.encode([start, parts, string(&signature)].concat());
        let signature = format!("-----BEGIN SSH SIGNATURE-----\n{blob}\n-----END SSH SIGNATURE-----\n");
        SignedGrant { grant, signature }
    }
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

#[async_trait]
impl GrantSigner for TestSigner {
    async fn sign(&self, draft: &GrantDraft) -> Result<GrantSigning, String> {
        self.drafts.lock().unwrap().push(draft.clone());
        if let Some(meanwhile) = self.meanwhile.lock().unwrap().take() {
            meanwhile();
        }
        if *self.declines.lock().unwrap() {
            return Ok(GrantSigning::Declined);
        }
        let signed = Self::sign(self, draft.number, draft.owner.clone(), Some(draft.previous.clone()));
        Ok(GrantSigning::Signed(signed.into()))
    }
}
