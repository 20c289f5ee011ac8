//! Records as bytes: versioned JSON with a checksum over the record and its key, strict in what it reads.
//!
//! A record that is newer, broken or under another key than its own is reported and left as it is; nothing here repairs
//! or replaces.

use serde::{Serialize, de::DeserializeOwned};

use sha2::{Digest as _, Sha256};

use crate::domain::brief;

/// The version this program writes, and the only one it reads. Version 1 had no checksum in most records.
const VERSION: u64 = 2;

/// Why a record cannot be used. It is left untouched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error(
        "the record {key} has version {found}, this failover reads {VERSION}: upgrade failover; the record is left as it is"
    )]
    Newer { key: String, found: u64 },
    #[error(
        "the record {key} has version {found} of an earlier failover, this one reads {VERSION}: `failover ledger remove \
         {key}` takes it away; until then it is left as it is"
    )]
    Older { key: String, found: u64 },
    /// Laid out in a way that this program does not know.
    #[error(
        "the record {key} has form {found}, this failover reads form {known}: use the failover that wrote it, or take it \
         away with `failover ledger remove {key}`; until then it is left as it is"
    )]
    OtherForm {
        key: String,
        /// Its form; 0 when it names none.
        found: u64,
        known: u64,
    },
    /// Of another ledger, so what it says of machines is not about ours.
    #[error(
        "the record {key} belongs to ledger {found}, this is ledger {ours}: it was put here from another one; \
         `failover ledger remove {key}` takes it away; until then it is left as it is"
    )]
    OtherLedger { key: String, found: uuid::Uuid, ours: uuid::Uuid },
    /// Not a record of ours, or damaged.
    #[error(
        "the record {key} cannot be read ({why}): put back a good copy of it, or take it away with `failover ledger \
         remove {key}`; until then it is left as it is"
    )]
    Corrupt { key: String, why: String },
}

impl RecordError {
    /// Then the record is good, and it is this program that is too old.
    #[must_use]
    pub fn is_of_a_newer_failover(&self) -> bool {
        match self {
            Self::Newer { .. } => true,
            Self::OtherForm { found, known, .. } => found > known,
            Self::Older { .. } | Self::OtherLedger { .. } | Self::Corrupt { .. } => false,
        }
    }
}

/// What a record ends with: the checksum of everything before it, and of the key.
const SUM: &str = ",\"sum\":\"";

/// The bytes of a record under this key, with a checksum at the end: one flipped bit, or a record that came under another
/// key, is seen and not obeyed.
///
/// # Panics
/// Never for our types: they are structs and have text keys only.
#[must_use]
pub fn encode<T: Serialize>(key: &str, record: &T) -> Vec<u8> {
    let value = serde_json::to_value(record).expect("a record is a struct with text keys");
    let serde_json::Value::Object(mut fields) = value else { unreachable!("a record is a struct") };
    fields.insert("v".into(), VERSION.into());
    let mut bytes = serde_json::to_vec(&fields).expect("a value can be written");
    bytes.pop();
    let sum = sum(key, &bytes);
    bytes.extend_from_slice(format!("{SUM}{sum}\"}}").as_bytes());
    bytes
}

/// The record of this key from its bytes. Unknown fields are refused where the type refuses them, which all of ours do.
///
/// # Errors
/// [`RecordError`] names the key and the next step.
pub fn decode<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, RecordError> {
    typed(key, fields(key, bytes)?)
}

/// The same for a kind of record whose layout has a number of its own, in its field `form`.
///
/// # Errors
/// [`RecordError`] names the key and the next step.
pub fn decode_form<T: DeserializeOwned>(key: &str, bytes: &[u8], form: u64) -> Result<T, RecordError> {
    let fields = fields(key, bytes)?;
    match fields.get("form").and_then(serde_json::Value::as_u64).unwrap_or_default() {
        found if found == form => typed(key, fields),
        found => Err(RecordError::OtherForm { key: key.to_owned(), found, known: form }),
    }
}

type Fields = serde_json::Map<String, serde_json::Value>;

fn corrupt(key: &str, why: impl ToString) -> RecordError {
    RecordError::Corrupt { key: key.to_owned(), why: brief(&why.to_string()) }
}

fn typed<T: DeserializeOwned>(key: &str, fields: Fields) -> Result<T, RecordError> {
    serde_json::from_value(fields.into()).map_err(|error| corrupt(key, error))
}

/// The fields of a record whose checksum fits. What has none is damaged, unless it says that it is of another version.
fn fields(key: &str, bytes: &[u8]) -> Result<Fields, RecordError> {
    let text = std::str::from_utf8(bytes).map_err(|error| corrupt(key, error))?;
    let sealed = text.rsplit_once(SUM);
    let body = match sealed {
        Some((body, said)) if said.strip_suffix("\"}") == Some(sum(key, body.as_bytes()).as_str()) => {
            &format!("{body}}}")
        }
        Some(_) => {
            let why = "its checksum does not fit: it is damaged, was changed, or belongs under another key";
            return Err(corrupt(key, why));
        }
        None => text,
    };
    let value: serde_json::Value = serde_json::from_str(body).map_err(|error| corrupt(key, error))?;
    let serde_json::Value::Object(mut fields) = value else { return Err(corrupt(key, "it is not an object")) };
    match fields.remove("v").as_ref().and_then(serde_json::Value::as_u64) {
        Some(VERSION) if sealed.is_some() => Ok(fields),
        Some(VERSION) => Err(corrupt(key, "it has no checksum")),
        Some(found) if found > VERSION => Err(RecordError::Newer { key: key.to_owned(), found }),
        Some(found) => Err(RecordError::Older { key: key.to_owned(), found }),
        None => Err(corrupt(key, "it has no version `v`")),
    }
}

fn sum(key: &str, bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let sum = Sha256::new().chain_update(key).chain_update([0]).chain_update(bytes).finalize();
    sum.iter().fold(String::new(), |mut text, byte| {
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

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Formed {
        form: u64,
        price: f64,
        text: String,
    }

    #[test]
    fn what_was_written_is_read_under_its_own_key_only() {
        let bytes = encode("k", &Small { number: 7 });
        assert_eq!(decode::<Small>("k", &bytes).unwrap(), Small { number: 7 });
        let moved = decode::<Small>("l", &bytes).unwrap_err();
        assert!(moved.to_string().contains("the record l") && moved.to_string().contains("another key"), "{moved}");
    }

    /// Texts and numbers that look like the end of a record are no end.
    #[test]
    fn no_flipped_bit_is_obeyed() {
        let record = Formed { form: 2, price: 0.1 + 0.2, text: "a \"sum\": of ,\"sum\":\"\u{e9}".into() };
        let bytes = encode("k", &record);
        assert_eq!(decode_form::<Formed>("k", &bytes, 2).unwrap(), record);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let read = decode_form::<Formed>("k", &flipped, 2);
            assert!(matches!(&read, Err(RecordError::Corrupt { key, .. }) if key == "k"), "bit {bit}: {read:?}");
        }
        for length in 0..bytes.len() {
            assert!(decode_form::<Formed>("k", &bytes[..length], 2).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn a_record_of_another_form_or_version_is_named_as_such() {
        let key = || "validators/eth-0".to_owned();
        let other = encode(&key(), &Formed { form: 3, price: 0.0, text: String::new() });
        let error = decode_form::<Formed>(&key(), &other, 2).unwrap_err();
        assert_eq!(error, RecordError::OtherForm { key: key(), found: 3, known: 2 });
        let error = decode::<Small>(&key(), br#"{"v":1,"phase":"watching"}"#).unwrap_err();
        assert_eq!(error, RecordError::Older { key: key(), found: 1 });
        let error = decode::<Small>(&key(), br#"{"v":3,"number":7,"more":true}"#).unwrap_err();
        assert_eq!(error, RecordError::Newer { key: key(), found: 3 });
        assert!(error.to_string().contains("upgrade failover"), "{error}");
    }

    #[test]
    fn half_a_record_an_unknown_field_and_a_list_are_corrupt() {
        let more = encode("k", &serde_json::json!({"number": 7, "x": 1}));
        for bytes in [&br#"{"v":2,"num"#[..], br#"{"v":2,"number":7}"#, &more, b"[1]", b"", br#"{"number":7}"#] {
            assert!(matches!(decode::<Small>("k", bytes), Err(RecordError::Corrupt { .. })), "{bytes:?}");
        }
    }

    /// Anyone who may write the ledger can write this, checksum and all.
    #[test]
    fn what_a_record_says_is_one_short_line_in_errors() {
        let hostile = "\u{1b}[31m\n\u{202e}".repeat(40_000);
        for record in [
            serde_json::json!({ hostile.as_str(): 1 }),
            serde_json::json!({ "number": hostile.as_str() }),
            serde_json::json!({ "on_loss": hostile.as_str(), "number": 1 }),
        ] {
            let read =
                decode::<crate::domain::ownership::Session>("sessions/eth-0", &encode("sessions/eth-0", &record));
            let error = read.unwrap_err().to_string();
            assert!(error.chars().count() <= 400 && !error.chars().any(char::is_control), "{error:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_changed_record_is_read(at: proptest::sample::Index, cut in 0_usize..40,
                                     with in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40)) {
            let bytes = encode("k", &crate::domain::ownership::Session::free(7, uuid::Uuid::nil()));
            let at = at.index(bytes.len() + 1);
            let changed = [&bytes[..at], &with, &bytes[(at + cut).min(bytes.len())..]].concat();
            let read = decode::<crate::domain::ownership::Session>("k", &changed);
            proptest::prop_assert!(changed == bytes || read.is_err());
        }
    }
}
