//! The filters of a list, as far as this fake reads them: `labels.K="V"`, `labels.K=V` and `name=V`, joined by a space,
//! by `AND` or as `(a) (b)`; all of them have to hold.
//!
//! It is not Google's whole language. What it does not read it refuses: a filter that is read wrongly would show a
//! machine that is not there, or hide one that is.

use serde_json::Value;

use super::world::FakeMachine;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Field {
    Name,
    Label(String),
}

/// Comparisons that all have to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter(Vec<(Field, String)>);

impl Filter {
    /// Reads a filter; an empty one lets everything pass.
    ///
    /// # Errors
    /// The part that is not understood.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut comparisons = Vec::new();
        let mut open = 0_u32;
        let mut expects_term = false;
        for word in words(text)? {
            match word.as_str() {
                "(" => open += 1,
                ")" if expects_term => return Err(") after AND".into()),
                ")" => open = open.checked_sub(1).ok_or(") without (")?,
                "AND" if comparisons.is_empty() || expects_term => return Err("AND without a left side".into()),
                "AND" => expects_term = true,
                "OR" | "NOT" => return Err(word),
                _ => {
                    comparisons.push(comparison(&word)?);
                    expects_term = false;
                }
            }
        }
        if open > 0 {
            return Err("( without )".into());
        }
        if expects_term {
            return Err("AND without a right side".into());
        }
        Ok(Self(comparisons))
    }

    pub(super) fn matches(&self, machine: &FakeMachine) -> bool {
        self.matches_resource(&machine.json)
    }

    /// The same of any resource that has a name and labels.
    pub(super) fn matches_resource(&self, json: &Value) -> bool {
        self.0.iter().all(|(field, value)| match field {
            Field::Name => json["name"].as_str() == Some(value),
            Field::Label(key) => json["labels"][key].as_str() == Some(value),
        })
    }
}

/// Words and parentheses; what is in quotes is part of its word, spaces included.
fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '\\' => return Err("a backslash".into()),
            '"' => {
                quoted = !quoted;
                word.push(c);
            }
            _ if quoted => word.push(c),
            '(' | ')' => {
                words.extend((!word.is_empty()).then(|| std::mem::take(&mut word)));
                words.push(c.to_string());
            }
            _ if c.is_whitespace() => words.extend((!word.is_empty()).then(|| std::mem::take(&mut word))),
            _ => word.push(c),
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    if quoted { Err("a quote without its end".into()) } else { Ok(words) }
}

/// `field=value`, without spaces round the sign.
fn comparison(word: &str) -> Result<(Field, String), String> {
    let not_understood = || word.to_owned();
    let (field, value) = word.split_once('=').ok_or_else(not_understood)?;
    let field = match field.strip_prefix("labels.") {
        Some(key) if is_plain(key) => Field::Label(key.to_owned()),
        None if field == "name" => Field::Name,
        Some(_) | None => return Err(not_understood()),
    };
    let inner = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match inner {
        Some(inner) if !inner.contains('"') => Ok((field, inner.to_owned())),
        None if is_plain(value) => Ok((field, value.to_owned())),
        // `*` is a wildcard to Google, and much else means something too.
        Some(_) | None => Err(not_understood()),
    }
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(key: &str, value: &str) -> (Field, String) {
        (Field::Label(key.into()), value.into())
    }

    #[test]
    fn every_form_of_and_is_read_alike() {
        let expected = Filter(vec![label("app", "failover"), label("incident", "7f3a")]);
        for text in [
            r#"(labels.app="failover") (labels.incident="7f3a")"#,
            r#"(labels.app="failover")(labels.incident="7f3a")"#,
            r#"labels.app="failover" labels.incident=7f3a"#,
            "labels.app=failover AND labels.incident=7f3a",
            "((labels.app=failover) AND (labels.incident=7f3a))",
        ] {
            assert_eq!(Filter::parse(text), Ok(expected.clone()), "{text}");
        }
        assert_eq!(Filter::parse("name=fo-1"), Ok(Filter(vec![(Field::Name, "fo-1".into())])));
        assert_eq!(Filter::parse(" "), Ok(Filter::default()));
    }

    #[test]
    fn what_is_not_understood_is_refused_and_never_guessed() {
        for text in [
            "labels.app!=failover",
            "labels.app:failover",
            "labels.app:*",
            "labels.app=fail*",
            "labels.app eq failover",
            "labels.app = failover",
            "labels.app=a OR labels.app=b",
            "NOT labels.app=a",
            "-labels.app=a",
            "status=RUNNING",
            "labels.app=",
            "(labels.app=a",
            "labels.app=a)",
            "labels.app=a AND",
            "AND labels.app=a",
            r#"labels.app="a"#,
            r#"labels.app="a"b"#,
        ] {
            assert!(Filter::parse(text).is_err(), "{text}");
        }
    }
}
