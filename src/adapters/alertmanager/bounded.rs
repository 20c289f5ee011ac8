//! What a message would become in memory, found out before anything is made of it: a body of 16 MiB can hold millions
//! of labels, and each takes twenty times as much memory as it has bytes.
//!
//! It does not say whether the body is JSON; what is none is refused by the reader, which then has little to read.

/// The most alerts of a message, and the most elements of any list in it.
pub const MAX_ALERTS: usize = 10_000;
/// The most labels or annotations of an alert, and the most keys of any object. Prometheus has some ten, at times
/// fifty.
pub const MAX_LABELS: usize = 256;
/// The longest text, in bytes. What is kept of one has 256 characters.
pub const MAX_TEXT_BYTES: usize = 1 << 20;
/// What a message may become, in bytes: 10,000 alerts with few labels, or 4,000 with fifteen.
pub const MAX_WEIGHT: usize = 12 << 20;

/// As deep as the reader goes.
const MAX_DEPTH: usize = 128;
/// The fields of the message and of an alert are at this depth or above; what is below is a map of labels.
const OF_AN_ALERT: usize = 3;

// What each takes, measured with many of them: the structure of an alert, an element of any other list, a text of an
// alert, and a name or value of a label with its share of a half-full node of the map.
const ALERT: usize = 256;
const ELEMENT: usize = 64;
const TEXT: usize = 40;
const LABEL_TEXT: usize = 72;

/// What a message has too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Excess {
    #[error("more than {MAX_ALERTS} alerts")]
    Alerts,
    #[error("an alert with more than {MAX_LABELS} labels or annotations")]
    Labels,
    #[error("a text of more than {} MiB", MAX_TEXT_BYTES >> 20)]
    Text,
    #[error("more than {MAX_DEPTH} brackets within each other")]
    Depth,
    #[error("more labels than fit into {} MiB", MAX_WEIGHT >> 20)]
    Weight,
}

/// How much memory its reader will need, at most.
pub(super) fn weigh(body: &[u8]) -> Result<usize, Excess> {
    let mut open: Vec<Open> = Vec::with_capacity(8);
    let mut weight = 0;
    let mut rest = body;
    while let [byte, after @ ..] = rest {
        rest = after;
        match byte {
            b'"' => {
                let length = text(rest);
                if length > MAX_TEXT_BYTES {
                    return Err(Excess::Text);
                }
                rest = rest.get(length + 1..).unwrap_or_default();
                let is_key = rest.trim_ascii_start().first() == Some(&b':');
                weight += match open.len() {
                    // The names of fields are not kept.
                    0..=OF_AN_ALERT if is_key => 0,
                    0..OF_AN_ALERT => length,
                    OF_AN_ALERT => TEXT + length,
                    _ => LABEL_TEXT + length,
                };
            }
            b'{' | b'[' => {
                if open.len() == MAX_DEPTH {
                    return Err(Excess::Depth);
                }
                weight += if open.len() < OF_AN_ALERT { ALERT } else { ELEMENT };
                open.push(Open { list: *byte == b'[', commas: 0 });
            }
            b'}' | b']' => drop(open.pop()),
            b',' => {
                if let Some(open) = open.last_mut() {
                    open.commas += 1;
                    if open.list && open.commas >= MAX_ALERTS {
                        return Err(Excess::Alerts);
                    }
                    if !open.list && open.commas >= MAX_LABELS {
                        return Err(Excess::Labels);
                    }
                    weight += if open.list { ELEMENT } else { 0 };
                }
            }
            _ => {}
        }
        if weight > MAX_WEIGHT {
            return Err(Excess::Weight);
        }
    }
    Ok(weight)
}

struct Open {
    list: bool,
    commas: usize,
}

/// How many bytes there are until the quotation mark that ends a text.
fn text(rest: &[u8]) -> usize {
    let mut at = 0;
    while let Some(byte) = rest.get(at) {
        match byte {
            b'"' => break,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(alerts: &str) -> String {
        format!(r#"{{"version":"4","alerts":[{alerts}]}}"#)
    }

    fn refused(body: &str) -> Excess {
        weigh(body.as_bytes()).expect_err("too much")
    }

    #[test]
    fn an_ordinary_message_weighs_little() {
        let alert =
            r#"{"status":"firing","labels":{"alertname":"A","namespace":"eth"},"annotations":{"summary":"down"}}"#;
        let weight = weigh(message(alert).as_bytes()).expect("ordinary");
        assert!((500..2_000).contains(&weight), "{weight}");
    }

    #[test]
    fn alerts_and_labels_by_the_million_are_refused_before_anything_is_made_of_them() {
        assert_eq!(refused(&message(&vec!["{}"; 1_000_000].join(","))), Excess::Alerts);
        assert_eq!(refused(&message(&vec!["0"; 1_000_000].join(","))), Excess::Alerts);
        let labels = |count: usize| (0..count).map(|n| format!(r#""{n}":"""#)).collect::<Vec<_>>().join(",");
        assert_eq!(refused(&message(&format!(r#"{{"labels":{{{}}}}}"#, labels(1_000_000)))), Excess::Labels);
        let many = format!(r#"{{"labels":{{{}}}}}"#, labels(MAX_LABELS));
        assert!(weigh(message(&many).as_bytes()).is_ok());
        assert_eq!(refused(&message(&vec![many; 1_000].join(","))), Excess::Weight);
        let lists = vec![format!("[{}]", vec!["0"; 9_000].join(",")); 100].join(",");
        assert_eq!(refused(&format!(r#"{{"version":[{lists}]}}"#)), Excess::Weight);
    }

    #[test]
    fn a_text_ends_at_its_own_quotation_mark_and_is_never_endless() {
        assert_eq!(text(br#"a\"b\\" , "c""#), 6);
        assert_eq!(weigh(br#"["\",\",\"", "{{{{"]"#), weigh(br#"["abcdefgh", "{{{{"]"#));
        let long = |bytes: usize| message(&format!(r#"{{"status":"{}"}}"#, "x".repeat(bytes)));
        assert!(weigh(long(MAX_TEXT_BYTES).as_bytes()).is_ok());
        assert_eq!(refused(&long(MAX_TEXT_BYTES + 1)), Excess::Text);
        assert_eq!(refused(&format!("\"{}", "\\".repeat(MAX_TEXT_BYTES + 3))), Excess::Text);
        assert_eq!(refused(&"[".repeat(MAX_DEPTH + 1)), Excess::Depth);
        for broken in ["", "]]]]", "\"", "\"\\", "{,,,,}", "\\\""] {
            assert!(weigh(broken.as_bytes()).is_ok(), "{broken}: the reader refuses it");
        }
    }
}
