//! Signatures as `ssh-keygen -Y sign` makes them (OpenSSH, PROTOCOL.sshsig), for the kinds of key that people have.
//!
//! Checked by hand on `ring`, which is linked anyway: docs/decisions/0018. `ssh-keygen -Y verify` is the reference, and the
//! tests hold the two against each other.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA512,
    RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use sha2::{Digest as _, Sha256, Sha512};

use crate::domain::one_line;

const MAGIC: &[u8] = b"SSHSIG";
const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const END: &str = "-----END SSH SIGNATURE-----";
const ED: &str = "ssh-ed25519";
const P256: &str = "ecdsa-sha2-nistp256";
const P384: &str = "ecdsa-sha2-nistp384";
const RSA: &str = "ssh-rsa";
const SK_ED: &str = "sk-ssh-ed25519@openssh.com";
const SK_P256: &str = "sk-ecdsa-sha2-nistp256@openssh.com";
/// FIDO's user-presence flag, bit 0: somebody has touched the key.
const TOUCHED: u8 = 1;

/// Why a signature or a key is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SshsigError {
    #[error("it is not an SSH signature ({0})")]
    Malformed(&'static str),
    #[error(
        "the key is of kind {0}, which is not supported: use ed25519, ecdsa with 256 or 384 bits, rsa with 2048 or more, \
         ed25519-sk or ecdsa-sk"
    )]
    Kind(String),
    #[error("its namespace is \"{found}\" and has to be \"{expected}\": sign with `ssh-keygen -Y sign -n {expected}`")]
    Namespace { found: String, expected: &'static str },
    #[error("the signature does not fit what is signed: it was changed, or signed with another key")]
    Mismatch,
}

use SshsigError::Malformed;

/// A public key in OpenSSH's own form.
#[derive(Clone, PartialEq, Eq)]
pub struct SshKey {
    blob: Vec<u8>,
    parts: Parts,
}

#[derive(Clone, PartialEq, Eq)]
enum Parts {
    Ed25519(Vec<u8>),
    Ecdsa { kind: &'static str, point: Vec<u8> },
    Rsa { e: Vec<u8>, n: Vec<u8> },
    Sk { kind: &'static str, key: Vec<u8>, application: Vec<u8> },
}

impl SshKey {
    /// A key from the bytes that the base64 part of a `.pub` file stands for.
    pub(super) fn parse(blob: &[u8]) -> Result<Self, SshsigError> {
        let mut rest = Reader(blob);
        let kind = rest.text()?;
        let parts = match kind {
            ED => Parts::Ed25519(sized(rest.string()?, 32)?),
            P256 => Parts::Ecdsa { kind: P256, point: point(&mut rest, "nistp256", 65)? },
            P384 => Parts::Ecdsa { kind: P384, point: point(&mut rest, "nistp384", 97)? },
            RSA => {
                let (e, n) = (rest.positive()?.to_vec(), rest.positive()?.to_vec());
                if !(2048 / 8..=8192 / 8).contains(&n.len()) {
                    return Err(SshsigError::Kind(format!("{RSA} with {} bits", n.len() * 8)));
                }
                Parts::Rsa { e, n }
            }
            SK_ED => {
                let key = sized(rest.string()?, 32)?;
                Parts::Sk { kind: SK_ED, key, application: rest.string()?.to_vec() }
            }
            SK_P256 => {
                let key = point(&mut rest, "nistp256", 65)?;
                Parts::Sk { kind: SK_P256, key, application: rest.string()?.to_vec() }
            }
            other => return Err(SshsigError::Kind(one_line(other, 64))),
        };
        rest.end()?;
        Ok(Self { blob: blob.to_vec(), parts })
    }

    #[cfg(test)]
    pub(super) fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// As `ssh-keygen -l` prints it: `SHA256:` and base64 without padding.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let digest = STANDARD.encode(Sha256::digest(&self.blob));
        format!("SHA256:{}", digest.trim_end_matches('='))
    }

    /// The first word of its `.pub` file.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match &self.parts {
            Parts::Ed25519(_) => ED,
            Parts::Ecdsa { kind, .. } | Parts::Sk { kind, .. } => kind,
            Parts::Rsa { .. } => RSA,
        }
    }
}

impl std::fmt::Debug for SshKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.fingerprint())
    }
}

/// What a signature that fits shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Signed {
    pub by: SshKey,
    /// A hardware key was used and nobody has touched it. OpenSSH accepts such a signature by default.
    pub untouched: bool,
}

/// Checks an armoured signature over `message`. Whether the key may sign is for the caller to say.
pub(super) fn verify(armoured: &str, namespace: &'static str, message: &[u8]) -> Result<Signed, SshsigError> {
    let bytes = dearmour(armoured)?;
    let mut rest = Reader(&bytes);
    if rest.take(MAGIC.len())? != MAGIC {
        return Err(Malformed("its first bytes are not SSHSIG"));
    }
    if rest.number()? != 1 {
        return Err(Malformed("its version is not 1"));
    }
    let by = SshKey::parse(rest.string()?)?;
    let found = rest.text()?;
    if !rest.string()?.is_empty() {
        return Err(Malformed("its reserved part is not empty"));
    }
    let hash = rest.text()?;
    let signature = rest.string()?;
    rest.end()?;
    if found != namespace {
        return Err(SshsigError::Namespace { found: one_line(found, 64), expected: namespace });
    }
    let digest = match hash {
        "sha256" => Sha256::digest(message).to_vec(),
        "sha512" => Sha512::digest(message).to_vec(),
        _ => return Err(Malformed("its hash is neither sha256 nor sha512")),
    };
    let mut signed = MAGIC.to_vec();
    for part in [namespace.as_bytes(), b"", hash.as_bytes(), &digest] {
        signed
            .extend_from_slice(&u32::try_from(part.len()).map_err(|_| Malformed("a part is too long"))?.to_be_bytes());
        signed.extend_from_slice(part);
    }
    let untouched = check(&by, &signed, signature)?;
    Ok(Signed { by, untouched })
}

/// Whether it fits; the answer is whether a hardware key was left untouched.
fn check(key: &SshKey, signed: &[u8], signature: &[u8]) -> Result<bool, SshsigError> {
    let mut rest = Reader(signature);
    let kind = rest.text()?;
    let fits = |algorithm: &'static dyn VerificationAlgorithm, key: &[u8], message: &[u8], signature: &[u8]| {
        UnparsedPublicKey::new(algorithm, key).verify(message, signature).map_err(|_| SshsigError::Mismatch)
    };
    let untouched = match &key.parts {
        Parts::Ed25519(public) => {
            same(kind, ED)?;
            fits(&ED25519, public, signed, rest.string()?)?;
            false
        }
        Parts::Ecdsa { kind: own, point } => {
            same(kind, own)?;
            let (algorithm, half): (&'static dyn VerificationAlgorithm, _) =
                if *own == P256 { (&ECDSA_P256_SHA256_FIXED, 32) } else { (&ECDSA_P384_SHA384_FIXED, 48) };
            fits(algorithm, point, signed, &halves(rest.string()?, half)?)?;
            false
        }
        Parts::Rsa { e, n } => {
            let parameters = match kind {
                "rsa-sha2-512" => &RSA_PKCS1_2048_8192_SHA512,
                "rsa-sha2-256" => &RSA_PKCS1_2048_8192_SHA256,
                _ => return Err(Malformed("an RSA signature has to be rsa-sha2-256 or rsa-sha2-512")),
            };
            let signature = rest.string()?;
            RsaPublicKeyComponents { n, e }.verify(parameters, signed, signature).map_err(|_| SshsigError::Mismatch)?;
            false
        }
        Parts::Sk { kind: own, key, application } => {
            same(kind, own)?;
            let signature = rest.string()?;
            let flags = rest.take(1)?[0];
            let counter = rest.take(4)?;
            // What the hardware has signed (FIDO U2F): hashes of application and message around flags and counter.
            let mut message = Sha256::digest(application).to_vec();
            message.push(flags);
            message.extend_from_slice(counter);
            message.extend_from_slice(&Sha256::digest(signed));
            if *own == SK_ED {
                fits(&ED25519, key, &message, signature)?;
            } else {
                fits(&ECDSA_P256_SHA256_FIXED, key, &message, &halves(signature, 32)?)?;
            }
            flags & TOUCHED == 0
        }
    };
    rest.end()?;
    Ok(untouched)
}

fn same(found: &str, expected: &str) -> Result<(), SshsigError> {
    if found == expected { Ok(()) } else { Err(Malformed("its algorithm is not its key's")) }
}

fn sized(bytes: &[u8], length: usize) -> Result<Vec<u8>, SshsigError> {
    if bytes.len() == length { Ok(bytes.to_vec()) } else { Err(Malformed("a key has the wrong length")) }
}

fn point(rest: &mut Reader<'_>, curve: &str, length: usize) -> Result<Vec<u8>, SshsigError> {
    if rest.text()? != curve {
        return Err(Malformed("a key is on another curve than its kind"));
    }
    sized(rest.string()?, length)
}

/// `r` and `s`, each filled to its length: the form that ring checks.
fn halves(signature: &[u8], half: usize) -> Result<Vec<u8>, SshsigError> {
    let mut rest = Reader(signature);
    let mut fixed = Vec::with_capacity(2 * half);
    for _ in 0..2 {
        let number = rest.positive()?;
        let missing = half.checked_sub(number.len()).ok_or(Malformed("a number of its signature is too long"))?;
        fixed.resize(fixed.len() + missing, 0);
        fixed.extend_from_slice(number);
    }
    rest.end()?;
    Ok(fixed)
}

fn dearmour(text: &str) -> Result<Vec<u8>, SshsigError> {
    let lines = text.strip_suffix('\n').unwrap_or(text).strip_prefix(BEGIN).and_then(|text| text.strip_prefix('\n'));
    let body = lines.and_then(|text| text.strip_suffix(END)).and_then(|text| text.strip_suffix('\n'));
    let body: String = body.ok_or(Malformed("it has no BEGIN and END line"))?.lines().collect();
    STANDARD.decode(body).map_err(|_| Malformed("it is not base64"))
}

/// Reads what SSH writes: lengths of four bytes, big-endian.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], SshsigError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed("it ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u32, SshsigError> {
        let bytes = self.take(4)?.try_into().map_err(|_| Malformed("it ends too early"))?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn string(&mut self) -> Result<&'a [u8], SshsigError> {
        let length = self.number()? as usize;
        self.take(length)
    }

    fn text(&mut self) -> Result<&'a str, SshsigError> {
        std::str::from_utf8(self.string()?).map_err(|_| Malformed("a name in it is not text"))
    }

    /// A number that is above zero, without the zero byte that marks it so.
    fn positive(&mut self) -> Result<&'a [u8], SshsigError> {
        match self.string()? {
            [0, number @ ..] if number.first().is_some_and(|first| *first >= 0x80) => Ok(number),
            number if number.first().is_some_and(|first| (1..0x80).contains(first)) => Ok(number),
            _ => Err(Malformed("a number in it is not written as SSH does")),
        }
    }

    fn end(&self) -> Result<(), SshsigError> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed("something follows its end")) }
    }
}
