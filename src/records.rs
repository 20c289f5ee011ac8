//! Records as bytes: versioned JSON, strict in what it reads.
//!
//! A record that is newer or broken is reported and left as it is; nothing here repairs or replaces.

use serde::{Serialize, de::DeserializeOwned};

use sha2::{Digest as _, Sha256};

/// The version this program writes and the newest it reads.
const VERSION: u64 = 1;

/// Why a record cannot be used. It is left untouched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error(
        "the record {key} has version {found}, this failover reads up to {VERSION}: upgrade failover; the record is left as it is"
    )]
    Newer { key: String, found: u64 },
    /// Laid out in a way that this program does not know.
    #[error(
        "the record {key} has form {found}, this failover reads form {known} only: use the failover that wrote it, or move the record away by hand; it is left as it is"
    )]
    OtherForm {
        key: String,
        /// Its form; 0 when it names none.
        found: u64,
        known: u64,
    },
    /// Of another ledger, so what it says of machines is not about ours.
    #[error(
        "the record {key} belongs to ledger {found}, this is ledger {ours}: it was copied here; move it away by hand; it is left as it is"
    )]
    OtherLedger { key: String, found: uuid::Uuid, ours: uuid::Uuid },
    /// Not a record of ours, or damaged.
    #[error(
        "the record {key} cannot be read ({why}): look at it, repair it or move it away by hand; it is left as it is"
    )]
    Corrupt { key: String, why: String },
}

/// The bytes of a record.
///
/// # Panics
/// Never for our types: they are structs and have text keys only.
#[must_use]
pub fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    let value = serde_json::to_value(record).expect("a record is a struct with text keys");
    let serde_json::Value::Object(mut fields) = value else { unreachable!("a record is a struct") };
    fields.insert("v".into(), VERSION.into());
    serde_json::to_vec(&fields).expect("a value can be written")
}

/// A record from its bytes. Unknown fields are refused where the type refuses them, which all of ours do.
///
/// # Errors
/// [`RecordError`] names the key and the next step.
pub fn decode<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, RecordError> {
    let corrupt = |why: String| RecordError::Corrupt { key: key.to_owned(), why };
    let value: serde_json::Value = serde_json::from_slice(bytes).map_err(|error| corrupt(error.to_string()))?;
    let serde_json::Value::Object(mut fields) = value else { return Err(corrupt("it is not an object".into())) };
    match fields.remove("v").as_ref().and_then(serde_json::Value::as_u64) {
        Some(VERSION) => {}
        Some(found) if found > VERSION => return Err(RecordError::Newer { key: key.to_owned(), found }),
        _ => return Err(corrupt("it has no version `v`".into())),
    }
    serde_json::from_value(fields.into()).map_err(|error| corrupt(error.to_string()))
}

/// What a sealed record ends with: the checksum of everything before it.
const SUM: &str = ",\"sum\":\"";

/// The bytes of a record with their checksum at the end, so that one flipped bit is seen and not obeyed.
#[must_use]
pub fn seal<T: Serialize>(record: &T) -> Vec<u8> {
    let mut bytes = encode(record);
    bytes.pop();
    let sum = sum(&bytes);
    bytes.extend_from_slice(format!("{SUM}{sum}\"}}").as_bytes());
    bytes
}

/// A sealed record of this form from its bytes.
///
/// # Errors
/// [`RecordError`] names the key and the next step.
pub fn unseal<T: DeserializeOwned>(key: &str, bytes: &[u8], form: u64) -> Result<T, RecordError> {
    let corrupt = |why: &str| RecordError::Corrupt { key: key.to_owned(), why: why.to_owned() };
    // Version and form come first: a record of another one may be sealed in another way.
    let value: serde_json::Value = serde_json::from_slice(bytes).map_err(|error| corrupt(&error.to_string()))?;
    if let Some(found) = value.get("v").and_then(serde_json::Value::as_u64).filter(|found| *found > VERSION) {
        return Err(RecordError::Newer { key: key.to_owned(), found });
    }
    match value.get("form").map_or(Some(0), serde_json::Value::as_u64) {
        Some(found) if found == form => {}
        found => {
            let found = found.unwrap_or_default();
            return Err(RecordError::OtherForm { key: key.to_owned(), found, known: form });
        }
    }
    let text = std::str::from_utf8(bytes).map_err(|error| corrupt(&error.to_string()))?;
    let (body, said) = text.rsplit_once(SUM).ok_or_else(|| corrupt("it has no checksum"))?;
    if said.strip_suffix("\"}") != Some(sum(body.as_bytes()).as_str()) {
        return Err(corrupt("its checksum does not fit: it is damaged, or somebody has changed it"));
    }
    decode(key, format!("{body}}}").as_bytes())
}

fn sum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        use std::fmt::Write as _;
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Small {
        number: u32,
    }

    #[test]
    fn what_was_written_is_read() {
        assert_eq!(decode::<Small>("k", &encode(&Small { number: 7 })).unwrap(), Small { number: 7 });
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sealed {
        form: u64,
        price: f64,
        text: String,
    }

    /// Every bit of a sealed record is either noticed or changes nothing that is read.
    #[test]
    fn no_flipped_bit_is_obeyed() {
        let record = Sealed { form: 2, price: 0.1 + 0.2, text: "a \"sum\": of ,\"sum\":\"\u{e9}".into() };
        let bytes = seal(&record);
        assert_eq!(unseal::<Sealed>("k", &bytes, 2).unwrap(), record);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let read = unseal::<Sealed>("k", &flipped, 2);
            assert!(read.is_err(), "bit {bit}: {read:?}");
        }
    }

    #[test]
    fn a_record_of_another_form_is_named_as_such() {
        for (bytes, found) in [
            (br#"{"v":1,"phase":"watching"}"#.to_vec(), 0),
            (seal(&Sealed { form: 3, price: 0.0, text: String::new() }), 3),
        ] {
            let error = unseal::<Sealed>("validators/eth-0", &bytes, 2).unwrap_err();
            assert_eq!(error, RecordError::OtherForm { key: "validators/eth-0".into(), found, known: 2 });
        }
    }

    #[test]
    fn a_newer_record_says_so() {
        let error = decode::<Small>("validators/eth-0", br#"{"v":2,"number":7,"more":true}"#).unwrap_err();
        assert_eq!(error, RecordError::Newer { key: "validators/eth-0".into(), found: 2 });
        assert!(error.to_string().contains("upgrade failover"), "{error}");
    }

    #[test]
    fn half_a_record_an_unknown_field_and_a_list_are_corrupt() {
        for bytes in [&br#"{"v":1,"num"#[..], br#"{"v":1,"number":7,"x":1}"#, b"[1]", b"", br#"{"number":7}"#] {
            assert!(matches!(decode::<Small>("k", bytes), Err(RecordError::Corrupt { .. })), "{bytes:?}");
        }
    }
}
