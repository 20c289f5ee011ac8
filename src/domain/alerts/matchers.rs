//! Alertmanager's own matchers: `{alertname="ValidatorDown", namespace=~"eth.*", severity!="info"}`.
//!
//! They select alerts and nothing else. The syntax is Alertmanager's UTF-8 one (0.27 and later): braces may be left
//! out, names and values may be unquoted if they hold none of `{}!=~,\"'` + "`" and white space, a comma may end the
//! list. From the older syntax it keeps one habit, `"\d"` in quotes means what it looks like; the rest of it (spaces
//! in unquoted values, empty unquoted values) is refused with the advice to quote.

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use regex::{Regex, RegexBuilder};

mod lexer;
#[cfg(test)]
mod tests;

use lexer::{Lexer, Token, TokenKind};

pub type Labels = BTreeMap<String, String>;

/// The longest text taken; matchers are written by hand.
const MAX_TEXT: usize = 4_096;
/// The largest compiled expression, in bytes. A page of alternatives fits, `(a{1000}){1000}` does not.
const MAX_REGEX: usize = 1 << 20;

/// One or more conditions, all of which an alert has to meet.
#[derive(Clone, Debug, Default)]
pub struct Matchers {
    all: Vec<Matcher>,
    text: Arc<str>,
}

#[derive(Clone, Debug)]
struct Matcher {
    label: String,
    value: String,
    condition: Condition,
}

#[derive(Clone, Debug)]
enum Condition {
    Equal,
    NotEqual,
    Matches(Regex),
    NotMatches(Regex),
}

/// Why a text is not a list of matchers, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at column {column}: {message}")]
pub struct MatcherError {
    /// Counted in characters, from 1.
    pub column: usize,
    /// What is wrong there and what to write instead.
    pub message: String,
}

impl MatcherError {
    fn new(column: usize, message: impl Into<String>) -> Self {
        Self { column, message: message.into() }
    }
}

impl Matchers {
    /// Whether an alert with these labels meets every condition. A label that is not there is empty.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.all.iter().all(|matcher| {
            let value = labels.get(&matcher.label).map_or("", String::as_str);
            match &matcher.condition {
                Condition::Equal => value == matcher.value,
                Condition::NotEqual => value != matcher.value,
                Condition::Matches(regex) => regex.is_match(value),
                Condition::NotMatches(regex) => !regex.is_match(value),
            }
        })
    }

    /// The matchers in one fixed notation, however they were written.
    #[must_use]
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }
}

impl fmt::Display for Matchers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for Matchers {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Matchers {}

impl FromStr for Matchers {
    type Err = MatcherError;

    fn from_str(text: &str) -> Result<Self, MatcherError> {
        if text.len() > MAX_TEXT {
            return Err(MatcherError::new(1, format!("longer than {MAX_TEXT} bytes; write several mappings instead")));
        }
        let mut lexer = Lexer::new(text);
        let all = parse(&mut lexer)?;
        if all.is_empty() {
            return Err(MatcherError::new(1, "no matcher, so every alert would match; name at least one label"));
        }
        let written: Vec<_> = all.iter().map(ToString::to_string).collect();
        let text = format!("{{{}}}", written.join(", ")).into();
        Ok(Self { all, text })
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operator = match &self.condition {
            Condition::Equal => "=",
            Condition::NotEqual => "!=",
            Condition::Matches(_) => "=~",
            Condition::NotMatches(_) => "!~",
        };
        let plain = self.label.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let value = quoted(&self.value);
        if plain {
            write!(f, "{}{operator}{value}", self.label)
        } else {
            write!(f, "{}{operator}{value}", quoted(&self.label))
        }
    }
}

/// In quotes, so that both this parser and Alertmanager's read the same again.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            _ => out.push(c),
        }
    }
    out.push('"');
    out
}

fn parse(lexer: &mut Lexer<'_>) -> Result<Vec<Matcher>, MatcherError> {
    let mut all = Vec::new();
    let mut token = lexer.next()?;
    let open = token.as_ref().filter(|token| token.kind == TokenKind::Open).map(|token| token.column);
    if open.is_some() {
        token = lexer.next()?;
    }
    loop {
        match token {
            Some(Token { kind: TokenKind::Text(_), .. }) => {}
            // The end: after the brace, after a comma, or of nothing at all.
            Some(Token { kind: TokenKind::Close, .. }) | None => break,
            Some(other) => {
                return Err(MatcherError::new(other.column, format!("expected a label name, not '{other}'")));
            }
        }
        all.push(matcher(token, lexer)?);
        token = lexer.next()?;
        match token {
            Some(Token { kind: TokenKind::Comma, .. }) => token = lexer.next()?,
            Some(Token { kind: TokenKind::Close, .. }) | None => break,
            Some(other) => {
                let advice = "expected a comma or the end; a value with special characters needs double quotes";
                return Err(MatcherError::new(other.column, format!("{advice}, found '{other}'")));
            }
        }
    }
    match (open, token) {
        (Some(_), Some(_)) => match lexer.next()? {
            None => Ok(all),
            Some(more) => Err(MatcherError::new(more.column, format!("'{more}' after the closing brace"))),
        },
        (None, None) => Ok(all),
        (Some(column), None) => Err(MatcherError::new(column, "this brace is never closed")),
        (None, Some(close)) => Err(MatcherError::new(close.column, "a closing brace without an opening one")),
    }
}

fn matcher(name: Option<Token>, lexer: &mut Lexer<'_>) -> Result<Matcher, MatcherError> {
    let (label, column) = match name {
        Some(Token { kind: TokenKind::Text(label), column }) if !label.is_empty() => (label, column),
        Some(other) => return Err(MatcherError::new(other.column, "expected a label name")),
        None => return Err(MatcherError::new(lexer.column(), "expected a label name")),
    };
    let operator = match lexer.next()? {
        Some(Token { kind: TokenKind::Operator(operator), .. }) => operator,
        Some(other) => {
            let message = format!("expected one of = != =~ !~ after '{label}', not '{other}'");
            return Err(MatcherError::new(other.column, message));
        }
        None => return Err(MatcherError::new(column, format!("'{label}' needs one of = != =~ !~ and a value"))),
    };
    let (value, at) = match lexer.next()? {
        Some(Token { kind: TokenKind::Text(value), column }) => (value, column),
        Some(other) => return Err(MatcherError::new(other.column, no_value(&label))),
        None => return Err(MatcherError::new(lexer.column(), no_value(&label))),
    };
    let condition = match operator {
        "=" => Condition::Equal,
        "!=" => Condition::NotEqual,
        "=~" => Condition::Matches(anchored(&value, at)?),
        _ => Condition::NotMatches(anchored(&value, at)?),
    };
    Ok(Matcher { label, value, condition })
}

fn no_value(label: &str) -> String {
    format!("'{label}' needs a value; an empty one is written \"\"")
}

/// As Alertmanager does it: an expression has to match the whole value.
fn anchored(expression: &str, column: usize) -> Result<Regex, MatcherError> {
    RegexBuilder::new(&format!("^(?:{expression})$")).size_limit(MAX_REGEX).build().map_err(|error| {
        let message = match error {
            regex::Error::CompiledTooBig(_) => "the regular expression becomes too large".to_owned(),
            other => format!("not a regular expression: {}", last_line(&other.to_string())),
        };
        MatcherError::new(column, message)
    })
}

/// The parser of expressions draws a picture first and says what is wrong last.
fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or(text).trim_start_matches("error: ").to_owned()
}
