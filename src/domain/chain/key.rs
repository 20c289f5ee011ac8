//! A validator's public key. There is no type for any other kind of key in this program.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::domain::one_line;

/// A BLS public key: 48 bytes. Shown short (`0xa1b2c3d4…`), written whole.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey([u8; 48]);

/// Why a text is not a [`PublicKey`]. It does not repeat the text: somebody may have pasted a private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a public key is 0x and 96 hexadecimal digits")]
pub struct BadKey;

impl PublicKey {
    /// From its bytes.
    #[must_use]
    pub fn new(bytes: [u8; 48]) -> Self {
        Self(bytes)
    }

    /// The whole key, `0x` and 96 digits in lower case.
    #[must_use]
    pub fn to_hex(&self) -> String {
        use fmt::Write as _;
        self.0.iter().fold(String::from("0x"), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a string takes everything");
            text
        })
    }
}

/// A public key as people write it, or what is wrong with it.
///
/// # Errors
/// A sentence that never repeats the whole text: it may be a private key, put here by mistake.
pub fn written_key(text: &str) -> Result<PublicKey, String> {
    let digits = text.trim().strip_prefix("0x").ok_or_else(|| format!("'{}' does not begin with 0x", cut(text)))?;
    if let Some(bad) = digits.chars().find(|c| !c.is_ascii_hexdigit()) {
        return Err(format!("'{}' has the character {bad:?}, which is no hexadecimal digit", cut(text)));
    }
    match digits.len() {
        64 => Err(format!("'{}' has 32 bytes: a public key has 48; never put a private key here", cut(text))),
        n => digits
            .parse()
            .map_err(|_| format!("'{}' has {n} digits after 0x: a public key has 96, which is 48 bytes", cut(text))),
    }
}

/// The keys in a file of them: one a line; what comes after `#` is a comment.
pub fn key_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()).filter(|line| !line.is_empty())
}

/// The start of a text for an error. Of a key only the start: a private key put here by mistake must not get into a
/// log.
fn cut(text: &str) -> String {
    one_line(text, 11)
}

/// The root by which a chain is known, in lower case; `None` when the text is none.
#[must_use]
pub fn genesis_root(text: &str) -> Option<String> {
    let digits = text.strip_prefix("0x")?;
    let root = digits.len() == 64 && digits.chars().all(|c| c.is_ascii_hexdigit());
    root.then(|| text.to_ascii_lowercase())
}

/// How grants name a chain, letter by letter: its genesis validators root in the one form that it has, or its id.
#[must_use]
pub fn chain_name(text: &str) -> Option<String> {
    let letters = || text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    let is_id = || (1..=64).contains(&text.len()) && !text.starts_with("0x") && letters();
    genesis_root(text).or_else(|| is_id().then(|| text.to_owned()))
}

impl FromStr for PublicKey {
    type Err = BadKey;
    fn from_str(text: &str) -> Result<Self, BadKey> {
        let digits = text.strip_prefix("0x").unwrap_or(text).as_bytes();
        if digits.len() != 96 {
            return Err(BadKey);
        }
        let mut bytes = [0; 48];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok()).ok_or(BadKey);
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for PublicKey {
    type Error = BadKey;
    fn try_from(text: String) -> Result<Self, BadKey> {
        text.parse()
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.to_hex()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}…", &self.to_hex()[..10])
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_whole_and_shown_short() {
        let text = format!("0x{}", "aB".repeat(48));
        let key: PublicKey = text.parse().unwrap();
        assert_eq!(key.to_hex(), text.to_ascii_lowercase());
        assert_eq!(key.to_string(), "0xabababab…");
    }

    #[test]
    fn a_text_of_another_length_or_alphabet_is_refused() {
        for bad in ["", "0x", &"ab".repeat(47), &"0xab".repeat(24), &"zz".repeat(48), &"é".repeat(48)] {
            assert_eq!(bad.parse::<PublicKey>(), Err(BadKey), "{bad}");
        }
    }

    #[test]
    fn a_written_key_has_48_bytes_and_a_private_one_is_not_repeated_in_the_error() {
        let key = format!("0x{}", "aB".repeat(48));
        assert_eq!(written_key(&key).unwrap().to_hex(), key.to_ascii_lowercase());
        let private = format!("0x{}", "1f".repeat(32));
        let error = written_key(&private).unwrap_err();
        assert!(error.contains("never put a private key here") && !error.contains(&private), "{error}");
        for bad in ["", "0x", "abcd", "0xzz"] {
            assert!(written_key(bad).is_err());
        }
    }
}
