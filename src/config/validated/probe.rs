//! The probes of a generic validator as the program uses them.
//!
//! What the answers mean is a [`probe::Rule`]; nothing is asked here.

use std::path::PathBuf;

use url::Url;

use crate::{
    config::SecretFile,
    domain::{Span, probe},
};

/// A question to a generic validator.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeSettings {
    /// How it is asked.
    pub question: Question,
    /// How often.
    pub every: Span,
    /// How long the answer may take.
    pub timeout: Span,
    /// What the answers mean.
    pub rule: probe::Rule,
}

/// How a generic validator is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Over HTTP.
    Http(Box<HttpQuestion>),
    /// With a connection alone.
    Tcp {
        /// `host:port`.
        address: String,
    },
}

/// A question over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpQuestion {
    /// Where.
    pub url: Url,
    /// Asked with POST instead of GET.
    pub post: bool,
    /// JSON to send; only with POST.
    pub body: Option<String>,
    /// Who we are.
    pub login: Option<HttpLogin>,
    /// A private authority beside the system's.
    pub ca_file: Option<PathBuf>,
}

/// Who we are to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpLogin {
    /// A token.
    Bearer(SecretFile),
    /// User name and password.
    Basic {
        /// The user name.
        username: String,
        /// The password.
        password: SecretFile,
    },
}
