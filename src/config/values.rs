//! Small values as they are written in the configuration: durations, shares, public keys, each with its place.
//!
//! Whether values fit together is decided in [`super::validate`].

use std::{borrow::Cow, fmt, ops::Deref, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::domain::{Span, parse_span, probe::FailsFor};

/// Where something is in the file. Both count from 1; zero is "nowhere", for a default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The line.
    pub line: u64,
    /// The column, in characters.
    pub column: u64,
}

/// A value and where it was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Its place; nowhere when it is a default.
    pub place: Place,
}

impl<T> From<T> for At<T> {
    fn from(value: T) -> Self {
        Self { value, place: Place::default() }
    }
}

impl At<Duration> {
    pub(in crate::config) fn span(&self) -> Span {
        self.value.0
    }
}

impl<T> Deref for At<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = serde_saphyr::Spanned::<T>::deserialize(deserializer)?;
        let place = Place { line: spanned.referenced.line(), column: spanned.referenced.column() };
        Ok(Self { value: spanned.value, place })
    }
}

impl<T: Serialize> Serialize for At<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// What is written as one word: `FromStr` reads it, `Display` writes it, and its schema is this.
macro_rules! one_word {
    ($type:ident, $schema:tt) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }

        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

/// A span of time as it is written: `5m`, `4h10m`, `200ms`. Never zero, never negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(pub Span);

impl FromStr for Duration {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        parse_span(text).map(Self)
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        Self(span)
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        duration.0
    }
}

/// A default.
pub(super) fn seconds<const N: i64>() -> At<Duration> {
    Duration(Span::from_secs(N)).into()
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

one_word!(Duration, {"type": "string", "examples": ["30s", "5m", "4h10m"]});

/// A share, written `50%` or `0.5`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Share(pub f64);

impl FromStr for Share {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let share = match text.strip_suffix('%') {
            Some(percent) => percent.trim().parse::<f64>().map(|percent| percent / 100.0),
            None => text.parse::<f64>(),
        };
        match share {
            Ok(share) if (0.0..=1.0).contains(&share) => Ok(Self(share)),
            Ok(_) | Err(_) => Err(format!("'{text}' is not a share: write 50% or 0.5, from 0% to 100%")),
        }
    }
}

impl From<f64> for Share {
    fn from(share: f64) -> Self {
        Self(share)
    }
}

impl From<Share> for f64 {
    fn from(share: Share) -> Self {
        share.0
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0 * 100.0)
    }
}

one_word!(Share, {"type": ["string", "number"], "examples": ["50%", 0.5]});

/// How often, `3`, or for how long, `2m`, a probe may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailureCount(pub FailsFor);

impl FromStr for FailureCount {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let form = "write how many times in a row, like 3, or for how long, like 2m";
        match text.trim().parse::<u32>() {
            Ok(0) => Err(format!("'0' failures are none: {form}")),
            Ok(times) => Ok(Self(FailsFor::Times(times))),
            Err(_) => match text.parse() {
                Ok(Duration(span)) => Ok(Self(FailsFor::Time(span))),
                Err(_) => Err(format!("'{text}' is neither a number from 1 nor a duration: {form}")),
            },
        }
    }
}

impl fmt::Display for FailureCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            FailsFor::Times(times) => write!(f, "{times}"),
            FailsFor::Time(span) => write!(f, "{}", Duration(span)),
        }
    }
}

one_word!(FailureCount, {"type": ["string", "integer"], "minimum": 1, "examples": [3, "2m"]});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_needs_a_unit_and_is_longer_than_zero() {
        assert_eq!(Duration::from_str("4h10m"), Ok(Duration(Span::from_mins(250))));
        assert_eq!(Duration::from_str("200ms"), Ok(Duration(Span::from_millis(200))));
        for bad in ["-5m", "0s", "5", "", "5 parsecs", "99999h", "5m ago"] {
            assert!(Duration::from_str(bad).is_err(), "{bad} was taken");
        }
    }

    #[test]
    fn a_duration_is_read_back_as_it_is_shown() {
        for text in ["5m", "4h10m", "200ms", "72h", "1m30s"] {
            let duration = text.parse::<Duration>().unwrap();
            assert_eq!(duration.to_string().parse(), Ok(duration), "{duration}");
        }
    }

    #[test]
    fn a_share_is_a_part_of_the_whole() {
        assert_eq!(Share::from_str("50%"), Ok(Share(0.5)));
        assert_eq!(Share::from_str("0.25"), Ok(Share(0.25)));
        for bad in ["101%", "-1%", "half", "2", "NaN", "%"] {
            assert!(Share::from_str(bad).is_err(), "{bad} was taken");
        }
    }
}
