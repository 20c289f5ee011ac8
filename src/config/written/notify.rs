//! Who is notified, as it is written: people by mail, and a monitor outside of this home.
//!
//! Part of [`super`], and like it checked only in its form. A secret is in a file of its own, never here.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::values::{At, Duration, seconds};

/// Who is notified, and how.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mail {
    /// The mail server.
    pub host: At<String>,
    /// Its port. If missing: 587 for starttls, 465 for tls, 25 for none.
    pub port: Option<At<u16>>,
    /// How the connection is protected.
    #[serde(default)]
    pub tls: At<MailTls>,
    /// A private certificate authority in PEM form, beside those of the system.
    pub ca_file: Option<At<PathBuf>>,
    /// The user name, if the server wants a login.
    pub username: Option<At<String>>,
    /// The file that holds the password.
    pub password_file: Option<At<PathBuf>>,
    /// Who writes, for example `failover <failover@example.org>`.
    pub from: At<String>,
    /// Who is notified.
    pub to: At<Vec<At<String>>>,
    /// How long the server may take for one mail, up to its last byte. To say that it has it, it has ten minutes more.
    #[serde(default = "seconds::<30>")]
    pub timeout: At<Duration>,
    /// Mail the runbook of each validator that has a grant, once, and again whenever it changes.
    #[serde(default)]
    pub runbook: At<bool>,
}

/// How the connection to the mail server is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MailTls {
    /// STARTTLS, and nothing is sent without it.
    #[default]
    Starttls,
    /// TLS from the first byte.
    Tls,
    /// Not at all. Only to this very machine.
    None,
}

/// A monitor outside of this home.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Monitor {
    /// The file that holds the URL to call while all is well. Whoever knows the URL can pretend to be us.
    pub ping_url_file: At<PathBuf>,
    /// How often it is called.
    #[serde(default = "seconds::<60>")]
    pub every: At<Duration>,
}
