//! The probes of a generic validator as the program uses them.
//!
//! What the answers mean is a [`probe::Rule`]; nothing is asked here.

use std::path::PathBuf;

use url::Url;

use crate::{
    config::{Login, SecretFile},
    domain::{Span, probe},
};

/// A question to a generic validator.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeSettings {
    pub question: Question,
    pub every: Span,
    /// How long the answer may take.
    pub timeout: Span,
    pub rule: probe::Rule,
}

/// How a generic validator is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    Http(Box<HttpQuestion>),
    Tcp { address: String },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpQuestion {
    pub url: Url,
    /// Asked with POST instead of GET.
    pub post: bool,
    /// JSON to send; only with POST.
    pub body: Option<String>,
    pub login: Option<HttpLogin>,
    /// A private authority beside the system's.
    pub ca_file: Option<PathBuf>,
}

/// Who we are to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpLogin {
    Bearer(SecretFile),
    Basic(Login),
}
