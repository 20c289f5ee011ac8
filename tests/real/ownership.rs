//! Grants as people sign them, with `ssh-keygen` and a hardware key in software; `ssh-keygen -Y verify` is the reference.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Output, Stdio},
};

use failover::domain::{
    Time, ValidatorId,
    ownership::{AllowedSigners, Grant, GrantError, GrantPlace, NAMESPACE, SignedGrant},
};

use crate::parts::part;

const BY: &str = "op@example.org";

fn grant() -> Grant {
    Grant {
        validator: ValidatorId::new("eth-0").unwrap(),
        chain: "0x00".into(),
        owner: GrantPlace::Home { site: "home".into() },
        number: 1,
        previous: None,
        issued_at: Time::UNIX_EPOCH,
        by: BY.into(),
        reason: "a \"quote\", a \\ and \u{e9}".into(),
        evidence: None,
    }
}

fn keygen(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new("ssh-keygen")
        .args(arguments)
        .env("SSH_SK_PROVIDER", part("security-key").join("sk-dummy.so"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

fn sign(folder: &Path, name: &str, kind: &[&str], bytes: &[u8]) -> (String, String) {
    let key = folder.join(name);
    let key = key.to_str().unwrap();
    let made = keygen(&[&["-q", "-N", "", "-f", key][..], kind].concat(), b"");
    assert!(made.status.success(), "{name}: {made:?}");
    let signed = keygen(&["-q", "-Y", "sign", "-f", key, "-n", NAMESPACE], bytes);
    assert!(signed.status.success(), "{name}: {signed:?}");
    let public = fs::read_to_string(format!("{key}.pub")).unwrap();
    (String::from_utf8(signed.stdout).unwrap(), format!("{BY} {public}"))
}

/// What the reference says of this signature over these bytes.
fn reference(folder: &Path, allowed: &str, signature: &str, bytes: &[u8]) -> bool {
    let (signers, file) = (folder.join("allowed"), folder.join("signature"));
    fs::write(&signers, allowed).unwrap();
    fs::write(&file, signature).unwrap();
    let (signers, file) = (signers.to_str().unwrap(), file.to_str().unwrap());
    keygen(&["-Y", "verify", "-f", signers, "-I", BY, "-n", NAMESPACE, "-s", file], bytes).status.success()
}

#[test]
fn what_ssh_keygen_signs_is_accepted_and_refused_as_ssh_keygen_does() {
    let folder = tempfile::tempdir().unwrap();
    let grant = grant();
    let (_, other) = sign(folder.path(), "other", &["-t", "ed25519"], b"");
    for (name, kind) in [
        ("ed25519", &["-t", "ed25519"][..]),
        ("ecdsa-256", &["-t", "ecdsa", "-b", "256"]),
        ("ecdsa-384", &["-t", "ecdsa", "-b", "384"]),
        ("rsa-3072", &["-t", "rsa", "-b", "3072"]),
        ("ed25519-sk", &["-t", "ed25519-sk", "-O", "application=ssh:failover"]),
        ("ecdsa-sk", &["-t", "ecdsa-sk"]),
    ] {
        let (signature, line) = sign(folder.path(), name, kind, &grant.bytes());
        let changed = Grant { number: 2, ..grant.clone() };
        let (middle, text) = (signature.len() / 2, signature.as_str());
        let letter = if text.as_bytes()[middle] == b'A' { "B" } else { "A" };
        let damaged = [&text[..middle], letter, &text[middle + 1..]].concat();
        for (what, allowed, signature, grant, expected) in [
            ("itself", &line, text, &grant, true),
            ("allowed among others", &format!("# people\n{other}{line}"), text, &grant, true),
            ("a key that is not allowed", &other, text, &grant, false),
            ("another grant", &line, text, &changed, false),
            ("a damaged signature", &line, &damaged, &grant, false),
            ("another purpose", &line.replacen(BY, &format!("{BY} namespaces=\"git\""), 1), text, &grant, false),
            (
                "a namespace without quotes",
                &line.replacen(BY, &format!("{BY} namespaces={NAMESPACE}"), 1),
                text,
                &grant,
                false,
            ),
            ("a blank line before it", &line, &format!("\n{text}"), &grant, false),
            ("an authority", &line.replacen(BY, &format!("{BY} cert-authority"), 1), text, &grant, false),
        ] {
            let signers = AllowedSigners::parse(allowed);
            let signed = SignedGrant { grant: grant.clone(), signature: signature.to_owned() };
            let ours =
                signers.is_ok_and(|signers| signed.verify(&grant.validator, &grant.chain, &signers, false).is_ok());
            assert_eq!(
                reference(folder.path(), allowed, signature, &grant.bytes()),
                expected,
                "ssh-keygen: {name}, {what}"
            );
            assert_eq!(ours, expected, "{name}, {what}");
        }
    }
}

/// The one place where the reference is too lenient: it takes a hardware key that nobody has touched.
#[test]
fn an_untouched_hardware_key_is_refused_although_ssh_keygen_takes_it() {
    let folder = tempfile::tempdir().unwrap();
    let grant = grant();
    let kind = ["-t", "ed25519-sk", "-O", "no-touch-required"];
    let (signature, line) = sign(folder.path(), "untouched", &kind, &grant.bytes());
    assert!(reference(folder.path(), &line, &signature, &grant.bytes()));
    let verify = |untouched: bool| {
        let signed = SignedGrant { grant: grant.clone(), signature: signature.clone() };
        signed.verify(&grant.validator, &grant.chain, &AllowedSigners::parse(&line).unwrap(), untouched)
    };
    assert_eq!(verify(false).unwrap_err(), GrantError::Untouched);
    verify(true).unwrap();
}
