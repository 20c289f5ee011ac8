//! A validator's public key. There is no type for any other kind of key in this program.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

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
}
