//! What is wrong with a configuration: where, what, and what to write instead.
//!
//! It decides nothing; see [`super::validate`].

use std::{fmt, io, path::PathBuf};

use serde::Serialize;

use super::Place;

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file itself cannot be read.
    #[error("cannot read the configuration {path}: {error}")]
    Unreadable { path: PathBuf, error: io::Error },
    /// Its content cannot be used. Everything that could be found at once.
    #[error("{}", listing(.0))]
    Invalid(Vec<Problem>),
}

impl ConfigError {
    /// Everything that is wrong with the content; empty when it could not even be read.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Unreadable { .. } => &[],
            Self::Invalid(problems) => problems,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub origin: String,
    pub place: Place,
    /// What is wrong and what to write instead.
    pub message: String,
    pub line: Option<String>,
}

/// Something that works, but somebody should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Warning(pub Problem);

impl Problem {
    pub(super) fn new(origin: &str, text: &str, place: Place, message: String) -> Self {
        let index = usize::try_from(place.line).unwrap_or(usize::MAX).checked_sub(1);
        let line = index.and_then(|index| text.lines().nth(index)).map(str::to_owned);
        Self { origin: origin.to_owned(), place, message, line }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { line, column } = self.place;
        write!(f, "{}:{line}:{column}: {}", self.origin, self.message)?;
        let Some(text) = &self.line else { return Ok(()) };
        // The caret needs the same tabs and widths before it as the line has.
        let before = usize::try_from(column).unwrap_or(1).saturating_sub(1);
        let pad: String = text.chars().take(before).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        write!(f, "\n  | {text}\n  | {pad}^")
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { origin, place, message, .. } = &self.0;
        write!(f, "{origin}:{}:{}: {message}", place.line, place.column)
    }
}

fn listing(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}
