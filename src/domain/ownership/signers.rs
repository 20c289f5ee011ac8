//! `allowed_signers`: whose signature makes a grant, in OpenSSH's own file format (ssh-keygen(1), ALLOWED SIGNERS).

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{NAMESPACE, SshKey, SshsigError};
use crate::domain::{brief, one_line};

/// The largest file that is read, in bytes.
const MAX: usize = 64 * 1024;

/// The keys that may sign a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedSigners {
    signers: Vec<AllowedSigner>,
    problems: Vec<String>,
}

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedSigner {
    /// Names that `by` of a grant may have.
    pub principals: Vec<String>,
    pub key: SshKey,
}

/// Why a file allows nobody to sign.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignersError {
    #[error("allowed_signers is larger than {MAX} bytes: it has to hold a line for each person who may sign")]
    TooLarge,
    #[error(
        "allowed_signers names no key that may sign{}: write a line `you@example.org namespaces=\"{NAMESPACE}\" ssh-ed25519 AAAA…`",
        one_line(&.0.iter().map(|problem| format!("; {problem}")).collect::<String>(), 220)
    )]
    Nobody(Vec<String>),
}

impl AllowedSigners {
    /// Reads the file. A line that cannot be used allows nothing and is in [`Self::problems`]; the others count, so that a
    /// slip in a new line does not take the right from the keys that have it. `ssh-keygen -Y verify` does the same.
    ///
    /// # Errors
    /// [`SignersError`] when no line allows anybody.
    pub fn parse(text: &str) -> Result<Self, SignersError> {
        if text.len() > MAX {
            return Err(SignersError::TooLarge);
        }
        let (mut signers, mut problems) = (Vec::new(), Vec::new());
        for (number, line) in text.lines().enumerate() {
            let line = line.trim_matches([' ', '\t', '\r']);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match parse(line) {
                Ok(Some(signer)) => signers.push(signer),
                Ok(None) => {}
                Err(why) => problems.push(format!("line {}: {why}", number + 1)),
            }
        }
        if signers.is_empty() { Err(SignersError::Nobody(problems)) } else { Ok(Self { signers, problems }) }
    }

    /// Lines that could not be used, for people.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    #[must_use]
    pub fn signers(&self) -> &[AllowedSigner] {
        &self.signers
    }

    /// Whether this key may sign at all, and as whom.
    #[must_use]
    pub fn names_of(&self, key: &SshKey) -> Option<Vec<&str>> {
        let lines = self.signers.iter().filter(|signer| signer.key == *key);
        let names: Vec<_> = lines.flat_map(|signer| signer.principals.iter().map(String::as_str)).collect();
        (!names.is_empty()).then_some(names)
    }
}

/// `None` for a key of another purpose.
fn parse(line: &str) -> Result<Option<AllowedSigner>, String> {
    let mut words = words(line)?.into_iter();
    let principals = words.next().unwrap_or_default();
    let principals: Vec<String> = principals.trim_matches('"').split(',').map(str::to_owned).collect();
    if let Some(bad) = principals.iter().find(|name| name.is_empty() || name.contains(['*', '?', '!', '"'])) {
        return Err(format!("\"{}\" is a pattern or empty; write the name of one person", brief(bad)));
    }
    let mut kind = words.next().ok_or("it has no key")?;
    let mut ours = true;
    if !is_kind(kind) {
        let options = options(kind)?;
        if options.len() > 1 {
            return Err("it has more than one option".into());
        }
        for option in options {
            ours &= namespace(option)?;
        }
        kind = words.next().ok_or("it has no key")?;
    }
    let key = words.next().ok_or("it has no key")?;
    let blob = STANDARD.decode(key).map_err(|_| "its key is not base64".to_owned())?;
    let key = SshKey::parse(&blob).map_err(|error| match error {
        SshsigError::Kind(_) => error.to_string(),
        _ => "its key is damaged".into(),
    })?;
    if key.kind() != kind {
        return Err(format!("it says {} and the key is {}", brief(kind), key.kind()));
    }
    Ok(ours.then_some(AllowedSigner { principals, key }))
}

fn is_kind(word: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-"].iter().any(|start| word.starts_with(start))
}

/// Whether the option lets the key sign grants.
fn namespace(option: &str) -> Result<bool, String> {
    let (name, value) = option.split_once('=').unwrap_or((option, ""));
    match name.to_ascii_lowercase().as_str() {
        "namespaces" => {
            let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            let names = quoted.filter(|names| !names.contains(['"', '*', '?', '!']));
            let names = names.ok_or("its namespaces have to be names in quotes, without patterns")?;
            Ok(names.split(',').any(|namespace| namespace == NAMESPACE))
        }
        // A date lets a key go while its grant is in force, and home would not start again.
        "valid-before" | "valid-after" | "cert-authority" => {
            Err(format!("the option {name} is not supported: remove it; to end a key's right remove its line"))
        }
        _ => Err(format!("the option {} is unknown", one_line(name, 32))),
    }
}

/// Words by blanks; what is in quotes stays together.
fn words(line: &str) -> Result<Vec<&str>, String> {
    split(line, |c| c == ' ' || c == '\t').map(|words| words.into_iter().filter(|word| !word.is_empty()).collect())
}

fn options(word: &str) -> Result<Vec<&str>, String> {
    split(word, |c| c == ',')
}

fn split(text: &str, separates: fn(char) -> bool) -> Result<Vec<&str>, String> {
    let mut quoted = false;
    let parts = text
        .split(|c| {
            quoted ^= c == '"';
            !quoted && separates(c)
        })
        .collect();
    if quoted { Err("a quote is not closed".into()) } else { Ok(parts) }
}
