//! Text from outside inside a notice: bounded, printable, one line.
//!
//! It is not layout; see [`super::layout`].

use std::fmt;

use serde::{Deserialize, Serialize};

/// At most this many characters of one text are kept. An answer of the cloud can have kilobytes; its start tells.
const MAX_CHARS: usize = 400;
/// At most this many lines of evidence are kept; nobody reads more on a phone.
const MAX_LINES: usize = 12;

/// One line of text of at most 400 characters, without control characters.
///
/// **Invariant:** bounded, however it was made, so that a record in the ledger cannot outgrow its limit, and one line,
/// so that it cannot add a header to a mail.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Text(String);

impl Text {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Text {
    fn from(raw: &str) -> Self {
        let mut words = String::new();
        for word in raw.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
            if !words.is_empty() {
                words.push(' ');
            }
            words.push_str(word);
        }
        if words.chars().count() <= MAX_CHARS {
            return Self(words);
        }
        let mut cut: String = words.chars().take(MAX_CHARS - 1).collect();
        cut.push('…');
        Self(cut)
    }
}

impl From<String> for Text {
    fn from(raw: String) -> Self {
        raw.as_str().into()
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.0
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// At most twelve lines, and how many were left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Text>", into = "Vec<Text>")]
pub struct Lines(Vec<Text>);

impl Lines {
    /// The lines; the last one says how many more there were.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(Text::as_str)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Vec<Text>> for Lines {
    fn from(mut lines: Vec<Text>) -> Self {
        if lines.len() > MAX_LINES {
            let more = lines.len() - (MAX_LINES - 1);
            lines.truncate(MAX_LINES - 1);
            lines.push(format!("and {more} more").into());
        }
        Self(lines)
    }
}

impl From<Lines> for Vec<Text> {
    fn from(lines: Lines) -> Self {
        lines.0
    }
}

impl<T: Into<Text>> FromIterator<T> for Lines {
    fn from_iter<I: IntoIterator<Item = T>>(lines: I) -> Self {
        lines.into_iter().map(Into::into).collect::<Vec<Text>>().into()
    }
}
