//! Grants as people sign them; each is signed once.

use std::{cell::RefCell, collections::HashMap};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use failover::domain::{
    ValidatorId,
    ownership::{AllowedSigners, Grant, GrantPlace, LastGrant, NAMESPACE, SignedGrant, VerifiedGrant},
};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use sha2::{Digest as _, Sha512};

pub const INSTANCE: u64 = 7;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Granted {
    pub number: u8,
    /// The cloud, for this boot; or home.
    pub boot: Option<u8>,
}

pub fn verified(granted: Granted) -> &'static VerifiedGrant {
    &kept(granted).0
}

/// As a place notes that it has seen it.
pub fn last(granted: Granted) -> &'static LastGrant {
    &kept(granted).1
}

fn kept(granted: Granted) -> &'static (VerifiedGrant, LastGrant) {
    type Kept = HashMap<Granted, &'static (VerifiedGrant, LastGrant)>;
    thread_local!(static SIGNED: RefCell<Kept> = RefCell::default());
    SIGNED.with_borrow_mut(|signed| {
        *signed.entry(granted).or_insert_with(|| {
            let verified = sign(granted);
            let last = verified.last();
            Box::leak(Box::new((verified, last)))
        })
    })
}

fn sign(granted: Granted) -> VerifiedGrant {
    let owner = match granted.boot {
        None => GrantPlace::Home { site: "home".into() },
        Some(boot) => GrantPlace::Cloud {
            project: "p".into(),
            zone: "z".into(),
            instance_id: INSTANCE.into(),
            boot_id: boot.to_string(),
        },
    };
    let validator = ValidatorId::new("eth-0").unwrap();
    let grant = Grant {
        validator: validator.clone(),
        chain: "1".into(),
        owner,
        number: granted.number.into(),
        previous: None,
        issued_at: jiff::Timestamp::UNIX_EPOCH,
        by: "op@example.org".into(),
        reason: String::new(),
        evidence: None,
    };
    let (signature, allowed) = signature(&grant);
    SignedGrant { grant, signature }.verify(&validator, "1", &allowed, false).unwrap()
}

/// As `ssh-keygen -Y sign` makes it.
fn signature(grant: &Grant) -> (String, AllowedSigners) {
    let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let string = |bytes: &[u8]| [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat();
    let public = [string(b"ssh-ed25519"), string(key.public_key().as_ref())].concat();
    let digest = Sha512::digest(grant.bytes());
    let parts = [string(NAMESPACE.as_bytes()), string(b""), string(b"sha512")].concat();
    let made = key.sign(&[b"SSHSIG".to_vec(), parts.clone(), string(&digest)].concat());
    let made = string(&[string(b"ssh-ed25519"), string(made.as_ref())].concat());
    let start = [b"SSHSIG".to_vec(), 1_u32.to_be_bytes().to_vec(), string(&public)].concat();
    let blob = STANDARD.encode([start, parts, made].concat());
    let allowed = format!("op@example.org ssh-ed25519 {}", STANDARD.encode(&public));
    let armoured = format!("-----BEGIN SSH SIGNATURE-----\n{blob}\n-----END SSH SIGNATURE-----");
    (armoured, AllowedSigners::parse(&allowed).unwrap())
}
