//! Records as bytes: versioned JSON, strict in what it reads.
//!
//! A record that is newer or broken is reported and left as it is; nothing here repairs or replaces.

use serde::{Serialize, de::DeserializeOwned};

/// The version this program writes and the newest it reads.
const VERSION: u64 = 1;

/// Why a record cannot be used. It is left untouched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Written by a newer failover.
    #[error(
        "the record {key} has version {found}, this failover reads up to {VERSION}: upgrade failover; the record is left as it is"
    )]
    Newer {
        /// Which record.
        key: String,
        /// Its version.
        found: u64,
    },
    /// Not a record of ours, or damaged.
    #[error(
        "the record {key} cannot be read ({why}): look at it, repair it or move it away by hand; it is left as it is"
    )]
    Corrupt {
        /// Which record.
        key: String,
        /// What is wrong with it.
        why: String,
    },
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
