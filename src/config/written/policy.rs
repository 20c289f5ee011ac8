//! The thresholds of decisions and the limits on money, as they are written.
//!
//! Part of [`super`], and like it checked only in its form. The keys and their defaults are the domain's.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    config::values::{At, Duration, Place, Share},
    domain::{self, policy_keys},
};

/// How a value of the policy is written.
macro_rules! written {
    (Span) => {
        Duration
    };
    (f64) => {
        Share
    };
    ($number:ident) => {
        $number
    };
}

macro_rules! section {
    ($($(#[$meaning:meta])* $key:ident: $type:ident = $default:expr;)*) => {
        /// Thresholds of decisions.
        #[derive(Debug, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct PolicySection {
            $($(#[$meaning])* $key: At<written!($type)>,)*
        }

        impl Default for PolicySection {
            fn default() -> Self {
                let default = domain::Policy::default();
                Self { $($key: At::from(<written!($type)>::from(default.$key)),)* }
            }
        }

        impl PolicySection {
            /// The domain's policy with these thresholds.
            pub fn thresholds(&self) -> domain::Policy {
                domain::Policy { $($key: self.$key.value.into(),)* ..domain::Policy::default() }
            }

            /// Where this key was written; nowhere if it was not.
            pub fn place(&self, key: &str) -> Place {
                match key {
                    $(stringify!($key) => self.$key.place,)*
                    _ => Place::default(),
                }
            }
        }
    };
}
policy_keys!(section);

/// Limits on money, in US dollars. A standby over one of them is not created, and somebody is notified.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// The most that one incident may cost until its limit.
    pub per_incident_usd: Option<At<f64>>,
    /// The most that the incidents of 30 days may cost together.
    pub per_month_usd: Option<At<f64>>,
}
