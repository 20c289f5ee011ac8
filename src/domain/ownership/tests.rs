use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::prelude::*;
use ring::{rand::SystemRandom, signature::Ed25519KeyPair, signature::KeyPair as _};
use sha2::{Digest as _, Sha512};

use super::*;
use crate::domain::{Owner, Time, ValidatorId};

const GRANT: &str = include_str!("../../../tests/signatures/grant.json");
pub(super) const ALLOWED: &str = include_str!("../../../tests/signatures/allowed_signers");

macro_rules! signature {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../tests/signatures/", $name, ".sig")))
    };
}

pub(super) const ACCEPTED: [(&str, &str); 7] = [
    signature!("ed25519"),
    signature!("ecdsa-256"),
    signature!("ecdsa-384"),
    signature!("rsa-2048"),
    signature!("rsa-4096"),
    signature!("ed25519-sk"),
    signature!("ecdsa-sk"),
];

pub(super) const CHAIN: &str = "0x9143aa7c615a7f7115e2b6aac319c03529df8242ae705fba9df39b79c59fa8b1";

pub(super) fn eth_0() -> ValidatorId {
    ValidatorId::new("eth-0").unwrap()
}

pub(super) fn grant() -> Grant {
    serde_json::from_str(GRANT).unwrap()
}

pub(super) fn signed(signature: &str) -> SignedGrant {
    SignedGrant { grant: grant(), signature: signature.to_owned() }
}

pub(super) fn allowed() -> AllowedSigners {
    AllowedSigners::parse(ALLOWED).unwrap()
}

/// A person with a key.
struct Operator(Ed25519KeyPair);

impl Operator {
    fn new() -> Self {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self(Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap())
    }

    fn public(&self) -> Vec<u8> {
        [string(b"ssh-ed25519"), string(self.0.public_key().as_ref())].concat()
    }

    fn line(&self) -> String {
        format!("op@example.org ssh-ed25519 {}", STANDARD.encode(self.public()))
    }

    fn allowed(&self) -> AllowedSigners {
        AllowedSigners::parse(&self.line()).unwrap()
    }

    fn sign(&self, grant: Grant) -> SignedGrant {
        let digest = Sha512::digest(grant.bytes());
        let parts = [string(NAMESPACE.as_bytes()), string(b""), string(b"sha512")].concat();
        let signature = self.0.sign(&[b"SSHSIG".to_vec(), parts.clone(), string(&digest)].concat());
        let signature = [string(b"ssh-ed25519"), string(signature.as_ref())].concat();
        let start = [b"SSHSIG".to_vec(), 1_u32.to_be_bytes().to_vec(), string(&self.public())].concat();
        let blob = STANDARD.encode([start, parts, string(&signature)].concat());
        let signature = format!("-----BEGIN SSH SIGNATURE-----\n{blob}\n-----END SSH SIGNATURE-----\n");
        SignedGrant { grant, signature }
    }

    fn verified(&self, grant: Grant) -> VerifiedGrant {
        self.sign(grant).verify(&eth_0(), CHAIN, &self.allowed(), false).unwrap()
    }
}

/// A grant that somebody has signed.
pub(in crate::domain) fn test_grant(number: u64, owner: GrantPlace) -> VerifiedGrant {
    Operator::new().verified(Grant { number, owner, ..grant() })
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

fn after(before: &VerifiedGrant) -> Grant {
    Grant { number: before.grant().number + 1, previous: Some(before.digest().to_owned()), ..grant() }
}

/// What ssh-keygen signs are the bytes of the file, so these must never change.
#[test]
fn the_bytes_that_are_signed_are_those_of_every_release() {
    assert_eq!(String::from_utf8(grant().bytes()).unwrap(), GRANT);
    let cloud = GrantPlace::Cloud {
        project: "p".into(),
        zone: "us-central1-a".into(),
        instance_id: 7_000_000_000_000_000_001.into(),
        boot_id: "b".into(),
    };
    assert_eq!(
        serde_json::to_string(&cloud).unwrap(),
        r#"{"cloud":{"project":"p","zone":"us-central1-a","instance_id":"7000000000000000001","boot_id":"b"}}"#
    );
}

#[test]
fn a_signature_of_each_kind_of_key_that_ssh_keygen_made_is_accepted() {
    for (kind, signature) in ACCEPTED {
        let verified = signed(signature).verify(&eth_0(), CHAIN, &allowed(), false);
        let verified = verified.unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!(verified.grant(), &grant());
        let kept = SignedGrant::parse(&signed(signature).bytes()).unwrap();
        assert_eq!(kept.verify(&eth_0(), CHAIN, &allowed(), false).unwrap(), verified);
    }
}

#[test]
fn a_hardware_key_has_to_be_touched_unless_the_operator_says_otherwise() {
    let (_, untouched) = signature!("untouched-sk");
    let untouched = signed(untouched);
    assert_eq!(untouched.clone().verify(&eth_0(), CHAIN, &allowed(), false).unwrap_err(), GrantError::Untouched);
    untouched.verify(&eth_0(), CHAIN, &allowed(), true).unwrap();
}

#[test]
fn a_signature_for_another_purpose_or_of_another_kind_is_refused_by_name() {
    let refused =
        |(_, signature): (&str, &str)| signed(signature).verify(&eth_0(), CHAIN, &allowed(), true).unwrap_err();
    let found = "file".to_owned();
    let error = GrantError::Signature(SshsigError::Namespace { found, expected: NAMESPACE });
    assert_eq!(refused(signature!("other-namespace")), error);
    let error = refused(signature!("ecdsa-521")).to_string();
    assert!(error.contains("ecdsa-sha2-nistp521, which is not supported"), "{error}");
}

#[test]
fn no_flipped_bit_of_a_signature_passes() {
    for (kind, signature) in ACCEPTED {
        let body: String = signature.lines().filter(|line| !line.starts_with('-')).collect();
        let blob = STANDARD.decode(body).unwrap();
        let step = if kind.starts_with("rsa") { 61 } else { 7 };
        for bit in (0..blob.len() * 8).step_by(step) {
            let mut flipped = blob.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let text = STANDARD.encode(flipped);
            let text = format!("-----BEGIN SSH SIGNATURE-----\n{text}\n-----END SSH SIGNATURE-----");
            assert!(signed(&text).verify(&eth_0(), CHAIN, &allowed(), true).is_err(), "{kind}, bit {bit}");
        }
    }
}

/// Each field is part of what is signed.
#[test]
fn no_change_of_a_grant_passes() {
    let cloud =
        || GrantPlace::Cloud { project: "p".into(), zone: "z".into(), instance_id: 1.into(), boot_id: "b".into() };
    let changes: [fn(&mut Grant); 6] = [
        |grant| grant.reason.push('.'),
        |grant| grant.owner = GrantPlace::Home { site: "away".into() },
        |grant| grant.number += 1,
        |grant| grant.previous = Some("00".into()),
        |grant| grant.issued_at = Time::UNIX_EPOCH,
        |grant| grant.evidence = Some("00".into()),
    ];
    let (_, signature) = ACCEPTED[0];
    let refused = |grant: Grant| {
        let changed = SignedGrant { grant, signature: signature.to_owned() };
        assert_eq!(
            changed.verify(&eth_0(), CHAIN, &allowed(), false).unwrap_err(),
            GrantError::Signature(SshsigError::Mismatch)
        );
    };
    for change in changes {
        let mut grant = grant();
        change(&mut grant);
        refused(grant);
    }
    refused(Grant { owner: cloud(), ..grant() });
    refused(Grant { reason: "another".into(), ..grant() });
}

#[test]
fn only_a_key_that_is_allowed_signs_and_only_in_its_own_name() {
    let (operator, other) = (Operator::new(), Operator::new());
    let verify = |signed: SignedGrant| signed.verify(&eth_0(), CHAIN, &operator.allowed(), false);
    verify(operator.sign(grant())).unwrap();
    assert!(matches!(verify(other.sign(grant())), Err(GrantError::Signer(_))));
    let borrowed = Grant { by: "somebody@example.org".into(), ..grant() };
    assert!(matches!(verify(operator.sign(borrowed)), Err(GrantError::Principal { .. })));
    // The signature of one grant under another of the same person.
    let moved = SignedGrant { signature: operator.sign(grant()).signature, grant: Grant { number: 9, ..grant() } };
    assert_eq!(verify(moved).unwrap_err(), GrantError::Signature(SshsigError::Mismatch));
}

#[test]
fn a_grant_for_another_validator_chain_or_with_an_absurd_number_is_refused() {
    let operator = Operator::new();
    let verify = |grant: Grant| operator.sign(grant).verify(&eth_0(), CHAIN, &operator.allowed(), false);
    let other = ValidatorId::new("eth-1").unwrap();
    assert!(matches!(verify(Grant { validator: other, ..grant() }), Err(GrantError::OtherValidator { .. })));
    for number in [0, 1 << 53, u64::MAX] {
        assert_eq!(verify(Grant { number, ..grant() }).unwrap_err(), GrantError::Number(number));
    }
    assert!(matches!(verify(Grant { chain: "1".into(), ..grant() }), Err(GrantError::OtherChain { .. })));
}

#[test]
fn grants_follow_each_other_by_number_digest_and_chain() {
    let operator = Operator::new();
    let first = operator.verified(grant());
    let second = operator.verified(after(&first));
    second.follows(&first).unwrap();
    // An adoption passes over numbers that were known elsewhere; what makes a machine sign passes over none.
    let home = GrantPlace::Home { site: "home".into() };
    let (zone, boot_id) = ("z".into(), "b".into());
    let cloud = GrantPlace::Cloud { project: "p".into(), zone, instance_id: 7.into(), boot_id };
    let gap = |owner: &GrantPlace| Grant { number: 12, owner: owner.clone(), ..after(&first) };
    operator.verified(gap(&home)).follows(&first).unwrap();
    let link = |grant: &Grant| GrantLink::of(grant, Some(first.grant()));
    assert_eq!((link(&gap(&home)), link(&gap(&cloud))), (GrantLink::Ok, GrantLink::Broken));
    assert_eq!(link(&Grant { previous: Some("00".into()), ..gap(&home) }), GrantLink::MissingCopy);
    let broken = |grant: Grant| operator.verified(grant).follows(&first).unwrap_err();
    for grant in [
        Grant { number: 10, owner: cloud.clone(), ..after(&first) },
        Grant { number: 8, owner: home, ..after(&first) },
        Grant { number: 8, ..after(&first) },
        Grant { previous: None, ..after(&first) },
        Grant { previous: Some(second.digest().to_owned()), ..after(&first) },
    ] {
        assert!(matches!(broken(grant), GrantError::Chain { .. }));
    }
    let again = first.clone();
    let resigned =
        SignedGrant { signature: operator.sign(grant()).signature.replacen('\n', "\n\n", 1), grant: grant() };
    let resigned = resigned.verify(&eth_0(), CHAIN, &operator.allowed(), false).unwrap();
    assert_eq!(resigned.digest(), again.digest(), "written in another way, it is the same grant");
    let last = first.last();
    assert_eq!(second.is_news_after(Some(&last)), Ok(()));
    assert_eq!(first.is_news_after(Some(&last)), Ok(()));
    assert_eq!(first.is_news_after(None), Ok(()));
    let put_back = |known, found| Err(GrantError::PutBack { known, found });
    assert_eq!(first.is_news_after(Some(&second.last())), put_back(9, 8));
    let rival = operator.verified(Grant { reason: "a rival".into(), ..grant() });
    assert_eq!(rival.is_news_after(Some(&last)), put_back(8, 8));
}

#[test]
fn a_number_of_the_session_above_the_grant_means_that_a_promotion_is_under_way() {
    let operator = Operator::new();
    let home = operator.verified(grant());
    assert_eq!(home.owner(None), Owner::Home);
    assert_eq!(home.owner(Some(8)), Owner::Home);
    assert_eq!(home.owner(Some(7)), Owner::Home);
    assert_eq!(home.owner(Some(9)), Owner::Moving { number: 9 });
    let owner =
        GrantPlace::Cloud { project: "p".into(), zone: "z".into(), instance_id: 7.into(), boot_id: "first".into() };
    let cloud = operator.verified(Grant { owner, ..after(&home) });
    let expected = Owner::Cloud { number: 9, instance: 7.into(), boot: "first".into() };
    assert_eq!(cloud.owner(Some(9)), expected);
    assert_eq!(cloud.owner(Some(10)), Owner::Moving { number: 10 });
}

#[test]
fn a_bad_line_of_allowed_signers_allows_nothing_and_leaves_the_others() {
    let good = Operator::new();
    let key = STANDARD.encode(Operator::new().public());
    let problem = |line: &str| {
        let signers = AllowedSigners::parse(&format!("# who may sign\n{line}\n{}\n", good.line())).unwrap();
        assert_eq!(signers.signers().len(), 1, "{line}");
        signers.problems().concat()
    };
    for (line, expected) in [
        (format!("* ssh-ed25519 {key}"), "line 2: \"*\" is a pattern or empty"),
        (format!("a,!b ssh-ed25519 {key}"), "\"!b\" is a pattern"),
        (format!("a valid-before=\"20300101\" ssh-ed25519 {key}"), "the option valid-before is not supported"),
        (format!("a cert-authority ssh-ed25519 {key}"), "the option cert-authority is not supported"),
        (format!("a no-such ssh-ed25519 {key}"), "the option no-such is unknown"),
        (format!("a ssh-rsa {key}"), "it says ssh-rsa and the key is ssh-ed25519"),
        (format!("a ssh-ed25519 {}", &key[..40]), "its key is damaged"),
        ("a ssh-ed25519 ???".into(), "not base64"),
        ("a ssh-ed25519".into(), "it has no key"),
        ("a".into(), "it has no key"),
        (format!("a namespaces=\"x ssh-ed25519 {key}"), "a quote is not closed"),
        (format!("a namespaces=\"!failover-*,{NAMESPACE}\" ssh-ed25519 {key}"), "without patterns"),
        (format!("a namespaces={NAMESPACE} ssh-ed25519 {key}"), "names in quotes"),
        (format!("a namespaces=\"\"{NAMESPACE}\"\" ssh-ed25519 {key}"), "names in quotes"),
        (format!("a namespaces=\"{NAMESPACE}\",namespaces=\"x\" ssh-ed25519 {key}"), "more than one option"),
    ] {
        let problem = problem(&line);
        assert!(problem.contains(expected), "{line}: {problem}");
    }
    // Of another purpose: no problem, and no right.
    assert_eq!(problem(&format!("a namespaces=\"git,file\" ssh-ed25519 {key}")), "");
    let both = format!("a,b namespaces=\"git,{NAMESPACE}\" ssh-ed25519 {key} somebody's laptop");
    assert_eq!(AllowedSigners::parse(&both).unwrap().signers()[0].principals, ["a", "b"]);
}

#[test]
fn a_file_that_allows_nobody_says_what_to_write() {
    for text in ["", "# nobody\n", "a ssh-ed25519 ???\n"] {
        let error = AllowedSigners::parse(text).unwrap_err().to_string();
        assert!(error.contains("names no key that may sign") && error.contains("write a line"), "{error}");
    }
    assert_eq!(AllowedSigners::parse(&"#".repeat(70_000)), Err(SignersError::TooLarge));
}

#[test]
fn what_is_no_grant_is_no_answer() {
    let text = String::from_utf8(signed(ACCEPTED[0].1).bytes()).unwrap();
    for bad in [
        text.replacen("\"number\":8", "\"number\":8,\"number\":9", 1),
        text.replacen("\"number\":8", "\"number\":-8", 1),
        text.replacen("\"number\":8", "\"number\":8.5", 1),
        text.replacen("\"number\":8", "\"more\":1,\"number\":8", 1),
        text.replacen("\"home\"", "\"anywhere\"", 1),
        text[..text.len() - 1].to_owned(),
        String::new(),
        "[]".into(),
        r#"{"place":"home"}"#.into(),
    ] {
        assert!(matches!(SignedGrant::parse(bad.as_bytes()), Err(GrantError::Unreadable(_))), "{bad}");
    }
    assert_eq!(SignedGrant::parse(&vec![b' '; 1 << 20]), Err(GrantError::TooLarge(1 << 20)));
}

proptest! {
    /// Neither panics nor accepts, whatever comes.
    #[test]
    fn noise_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400), text in "\\PC{0,200}") {
        prop_assert!(SignedGrant::parse(&bytes).is_err());
        let _ = AllowedSigners::parse(&text);
        let _ = SshKey::parse(&bytes);
        let blob = STANDARD.encode([b"SSHSIG\0\0\0\x01".to_vec(), bytes].concat());
        for body in [blob.as_str(), text.as_str()] {
            let armoured = format!("-----BEGIN SSH SIGNATURE-----\n{body}\n-----END SSH SIGNATURE-----");
            prop_assert!(signed(&armoured).verify(&eth_0(), CHAIN, &allowed(), true).is_err());
        }
    }

    /// A real signature with a piece cut out, doubled or replaced is refused or still the same.
    #[test]
    fn a_mangled_signature_is_refused(kind in 0..ACCEPTED.len(), from in 0_usize..300, length in 0_usize..40,
                                      with in proptest::collection::vec(any::<u8>(), 0..40)) {
        let body: String = ACCEPTED[kind].1.lines().filter(|line| !line.starts_with('-')).collect();
        let blob = STANDARD.decode(body).unwrap();
        let from = from.min(blob.len());
        let mangled = [&blob[..from], &with, &blob[(from + length).min(blob.len())..]].concat();
        let text = STANDARD.encode(&mangled);
        let armoured = format!("-----BEGIN SSH SIGNATURE-----\n{text}\n-----END SSH SIGNATURE-----");
        let verified = signed(&armoured).verify(&eth_0(), CHAIN, &allowed(), true);
        prop_assert!(mangled == blob || verified.is_err());
    }
}
