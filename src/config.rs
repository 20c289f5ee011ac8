//! The configuration: one YAML file, as written → checked ([`Config`]), refused with line and column.
//!
//! It holds no secret, only the names of files with secrets, and no name of a file with a key of a validator.
//! `docs/configuration.md` explains every key.

use std::path::{Path, PathBuf};

use crate::files;

mod error;
mod prices;
mod secret;
mod validate;
mod validated;
mod values;
mod wording;
mod written;

pub use error::{ConfigError, Problem, Warning};
pub use secret::{Secret, SecretError, SecretFile};
pub use validated::*;
pub use values::{At, Duration, Place, Share};
pub use written::{CredentialSettings, MailTls, WatcherRole};

/// A complete configuration to start from; what `failover config example` prints.
pub const EXAMPLE: &str = include_str!("../docs/examples/failover.yaml");

/// How a configuration is checked beyond its text.
#[derive(Clone, Debug)]
pub struct Checks {
    /// Files that are named are opened. Off on an operator's laptop, where the secrets of the watcher are not.
    pub files: bool,
    /// Paths that do not begin with `/` are looked for here: the folder of the configuration.
    pub base: PathBuf,
}

impl Default for Checks {
    fn default() -> Self {
        Self { files: true, base: PathBuf::new() }
    }
}

/// Reads and checks the file.
///
/// # Errors
/// [`ConfigError`] lists everything that is wrong, each with its place and what to write instead.
pub fn load(path: &Path, checks: Checks) -> Result<(Config, Vec<Warning>), ConfigError> {
    let text = files::read_text(path, files::MOST)
        .map_err(|error| ConfigError::Unreadable { path: path.to_owned(), error })?;
    let base = path.parent().map(Path::to_owned).unwrap_or_default();
    parse(&text, &path.display().to_string(), &Checks { base, ..checks })
}

/// Checks a text; `origin` is what problems call it.
///
/// # Errors
/// As [`load`].
pub fn parse(text: &str, origin: &str, checks: &Checks) -> Result<(Config, Vec<Warning>), ConfigError> {
    validate::validate(&read(text, origin)?, text, origin, checks)
}

/// Checks the probes of a generic validator where they stand alone, as the agent on a standby gets them. `origin` is
/// what problems call them.
///
/// # Errors
/// As [`load`]; the lines that problems name are those of the list written out.
pub fn probes_from_json(probes: &serde_json::Value, origin: &str) -> Result<Vec<ProbeSettings>, ConfigError> {
    let text = format!("{probes:#}");
    validate::probes_alone(&read(&text, origin)?, &text, origin)
}

/// Reads a text for its form only.
fn read<T: serde::de::DeserializeOwned>(text: &str, origin: &str) -> Result<T, ConfigError> {
    serde_saphyr::from_str(text).map_err(|error| {
        let place =
            error.location().map_or(Place { line: 1, column: 1 }, |at| Place { line: at.line(), column: at.column() });
        let message = wording::in_words(&error.without_snippet().to_string());
        ConfigError::Invalid(vec![Problem::new(origin, text, place, message)])
    })
}

/// The JSON schema of the file, for editors.
#[must_use]
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(written::ConfigFile).into()
}
