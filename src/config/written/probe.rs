//! The probes of a validator of kind generic as they are written.
//!
//! Part of [`super`], and like it checked only in its form.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Basic;
use crate::{
    config::values::{At, Duration, FailureCount, seconds},
    domain::probe::FailsFor,
};

/// A question that shows whether a generic validator works: exactly one of http and tcp.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Its name in reasons; unique within the validator.
    pub name: At<String>,
    /// A question over HTTP.
    pub http: Option<HttpProbe>,
    /// A connection, and nothing more.
    pub tcp: Option<TcpProbe>,
    /// How often it is asked.
    #[serde(default = "seconds::<15>")]
    pub every: At<Duration>,
    /// How long the answer may take.
    #[serde(default = "seconds::<5>")]
    pub timeout: At<Duration>,
    /// It says down when it fails this many times in a row, `3`, or throughout this long, `2m`.
    #[serde(default = "fails_for")]
    pub fails_for: At<FailureCount>,
    /// For `compare: advances`: a height that stays the same for this long says down.
    pub stalled_after: Option<At<Duration>>,
}

/// A question over HTTP. Any 2xx answer is a good one, unless `json` asks for more.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpProbe {
    /// Where.
    pub url: At<String>,
    /// GET, or POST when there is a body.
    pub method: Option<At<Method>>,
    /// What is sent, as JSON: for JSON-RPC.
    pub body: Option<At<String>>,
    /// What the answer has to hold.
    pub json: Option<Json>,
    /// The file that holds a token, sent as `Authorization: Bearer …`.
    pub bearer_file: Option<At<PathBuf>>,
    /// User name and password.
    pub basic: Option<At<Basic>>,
    /// A private certificate authority in PEM form, beside those of the system.
    pub ca_file: Option<At<PathBuf>>,
}

/// A connection, and nothing more.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TcpProbe {
    /// Host and port.
    pub address: At<String>,
}

/// What the answer has to hold.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Json {
    /// Where to look: a JSON pointer (RFC 6901).
    pub pointer: At<String>,
    /// What has to be there: `advances`, or `==`, `!=`, `<`, `<=`, `>`, `>=` and a JSON value.
    pub compare: At<String>,
}

/// How it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// Nothing is sent.
    Get,
    /// The body is sent.
    Post,
}

fn fails_for() -> At<FailureCount> {
    // One lost answer is nothing, two may be a restart; what has lasted is then held for `policy.hold_down` as well.
    FailureCount(FailsFor::Times(3)).into()
}
