//! What nobody should ever be shown as it is, for the tests of each way to a person. Not a part of the program.

use regex::Regex;
use serde::{Serialize, de::DeserializeOwned};

/// It begins a line wherever a line end of somebody else's has got through.
pub const FORGED: &str = "FORGED";

/// Sequences that take a terminal over, lines, every kind of character that is not seen or turns the line around, a heap of
/// marks, markup, and far too much of it. The worst first, because it is cut somewhere.
#[must_use]
pub fn flood() -> String {
    let mut text = format!(
        "x\u{1b}[2K\u{1b}]0;t\u{7}\r\n{FORGED}: ok\n{FORGED} \u{202e}gnp\u{2028}{FORGED}\u{85}{FORGED}\u{9b}1m"
    );
    let ranges = [
        ('\0', '\x1f'),
        ('\x7f', '\u{9f}'),
        ('\u{ad}', '\u{ad}'),
        ('\u{34f}', '\u{34f}'),
        ('\u{61c}', '\u{61c}'),
        ('\u{180b}', '\u{180f}'),
        ('\u{200b}', '\u{200f}'),
        ('\u{2028}', '\u{202e}'),
        ('\u{2060}', '\u{206f}'),
        ('\u{fe00}', '\u{fe0f}'),
        ('\u{feff}', '\u{feff}'),
        ('\u{fff9}', '\u{fffb}'),
        ('\u{e0000}', '\u{e007f}'),
        ('\u{e0100}', '\u{e0103}'),
    ];
    for (first, last) in ranges {
        (first..=last).for_each(|c| text.extend([c, 'a']));
    }
    text + "e" + &"\u{301}\u{489}\u{e49}".repeat(60) + "<script>alert('x')</script>" + &"long ".repeat(400)
}

/// Nothing of it is left but what this way obeys, and no line was forged.
///
/// # Panics
/// When something is left.
pub fn assert_plain(way: &str, text: &str, obeyed: &str) {
    let class = r"[\p{Cc}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\p{Bidi_Control}\u{FFF9}-\u{FFFB}]|\p{M}{5}";
    let class = Regex::new(class).expect("a class of characters");
    for (number, line) in text.split('\n').enumerate() {
        let found = class.find_iter(line).find(|found| !obeyed.contains(found.as_str()));
        assert!(found.is_none(), "{way}: line {number} has {:?} raw: {line:?}", found.map(|found| found.as_str()));
        assert!(!line.trim_start().starts_with(FORGED), "{way}: line {number} is forged: {line:?}");
    }
    assert!(obeyed.contains('\n') || !text.contains('\n'), "{way}: has more than a line: {text:?}");
}

/// The same value, with the flood in place of each of its texts that may be anything.
pub fn everywhere<T: Serialize + DeserializeOwned>(value: &T) -> T {
    let mut written = serde_json::to_value(value).expect("it is written as JSON");
    let mut places = Vec::new();
    texts(&written, String::new(), &mut places);
    for place in places {
        let text = written.pointer_mut(&place).expect("it was there");
        let was = std::mem::replace(text, flood().into());
        if serde_json::from_value::<T>(written.clone()).is_err() {
            *written.pointer_mut(&place).expect("it was there") = was;
        }
    }
    serde_json::from_value(written).expect("each change was tried")
}

fn texts(value: &serde_json::Value, place: String, places: &mut Vec<String>) {
    match value {
        serde_json::Value::String(_) => places.push(place),
        serde_json::Value::Array(values) => {
            values.iter().enumerate().for_each(|(at, value)| texts(value, format!("{place}/{at}"), places));
        }
        serde_json::Value::Object(values) => values.iter().for_each(|(name, value)| {
            texts(value, format!("{place}/{}", name.replace('~', "~0").replace('/', "~1")), places);
        }),
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {}
    }
}
