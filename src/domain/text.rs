//! Text that reaches people: one rule for whatever somebody else wrote.
//!
//! A machine, a node or an API may send anything, and people decide by what they read in a mail, a log or a terminal. So:
//!
//! * **In**: what is kept or put into a sentence of ours is made one bounded line, by [`one_line`] or as [`Text`], so that it
//!   forges no line, no header and fills no record.
//! * **Out**: each way to a person goes over everything once more, whatever its parts were made of. There is one place for
//!   each way, and a way that is added gets one too: `cli::out` (all that commands print; `clippy::print_stdout` holds it),
//!   `log_lines` (all that is logged), `adapters::web` (page, JSON, metrics), `notice::render` (mail), and the note of
//!   `kube::events`. There nothing is lost: what would not be seen is shown as what it is.
//!
//! It is not layout, and it escapes no markup; whoever writes a mail or a page does that.

use std::fmt;

use serde::{Deserialize, Serialize};
use unicode_width::UnicodeWidthChar as _;

/// The beginning of a text as one line of at most `most` characters; one that was cut ends in `…`.
///
/// **Invariant:** a run of white space, line ends and control characters is one space; what turns the direction of writing
/// or is not seen at all is dropped.
#[must_use]
pub fn one_line(text: &str, most: usize) -> String {
    let line = plain(text, most);
    if line.chars().nth(most).is_none() {
        return line;
    }
    let kept: String = line.chars().take(most.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// As much of a stranger's answer as fits into the line that reports it.
#[must_use]
pub fn brief(text: &str) -> String {
    one_line(text, 100)
}

/// The end of a text, by the rule of [`one_line`]: in what a process leaves behind the reason comes last.
#[must_use]
pub fn end_of_line(text: &str, most: usize) -> String {
    let line = plain(text, usize::MAX);
    let length = line.chars().count();
    if length <= most {
        return line;
    }
    let kept: String = line.chars().skip(length - most.saturating_sub(1)).collect();
    format!("…{}", kept.trim_start())
}

/// Everything a text has, for a terminal or a mail: only line ends and tabs are obeyed; what [`one_line`] drops is shown
/// as what it is.
#[must_use]
pub fn visible(text: &str) -> String {
    shown(&text.replace("\r\n", "\n"), &['\n', '\t'], caret)
}

/// Far more than anybody reads in one field of a log, and less than a collector of logs cuts off.
const MAX_LINE: usize = 4000;

/// The same as one line, cut where it is far too long: for what must not begin a line of its own.
#[must_use]
pub fn visible_line(text: &str) -> String {
    match text.char_indices().nth(MAX_LINE) {
        Some((end, _)) => shown(&text[..end], &[], caret) + "…",
        None => shown(text, &[], caret),
    }
}

/// The same JSON, written so that a terminal can show it: programs read what they would have read before.
#[must_use]
pub fn visible_json(json: &str) -> String {
    shown(json, &['\n'], |c, shown| {
        c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| shown.push_str(&format!("\\u{unit:04x}")));
    })
}

/// A page whose markup has been escaped already.
#[must_use]
pub fn visible_html(html: &str) -> String {
    shown(html, &['\n'], |c, shown| shown.push_str(&format!("&lt;U+{:04X}&gt;", u32::from(c))))
}

fn caret(c: char, shown: &mut String) {
    match c {
        '\0'..='\x1f' => shown.extend(['^', char::from((c as u8) + b'@')]),
        '\x7f' => shown.push_str("^?"),
        other => shown.push_str(&format!("<U+{:04X}>", u32::from(other))),
    }
}

/// Every character that is no plain text is escaped, except for those that are obeyed.
fn shown(text: &str, obeyed: &[char], escape: impl Fn(char, &mut String)) -> String {
    let (mut shown, mut marks) = (String::with_capacity(text.len()), Marks::default());
    for c in text.chars() {
        let too_many = marks.one_too_many(c);
        if obeyed.contains(&c) || !(c.is_control() || is_unseen(c) || too_many) {
            shown.push(c);
        } else {
            escape(c, &mut shown);
        }
    }
    shown
}

/// Counts the marks on one character. Written languages have up to four; hundreds cover the lines above and below.
#[derive(Default)]
struct Marks(usize);

impl Marks {
    fn one_too_many(&mut self, c: char) -> bool {
        self.0 = if c.width() == Some(0) { self.0 + 1 } else { 0 };
        self.0 > 4
    }
}

/// A little more than `most` characters, if there are more: enough to see that it has to be cut.
fn plain(text: &str, most: usize) -> String {
    let (mut line, mut length, mut gap) = (String::new(), 0, false);
    let (mut rest, mut marks) = (text.chars(), Marks::default());
    while length <= most
        && let Some(c) = rest.next()
    {
        if c.is_whitespace() || c.is_control() {
            gap = true;
        } else if !is_unseen(c) && !marks.one_too_many(c) {
            if std::mem::take(&mut gap) && !line.is_empty() {
                line.push(' ');
                length += 1;
            }
            line.push(c);
            length += 1;
        }
    }
    line
}

/// What has no width of its own or turns the direction of writing: Unicode's `Default_Ignorable_Code_Point` and
/// `Bidi_Control`, the separators of lines and paragraphs, and the marks of an annotation between lines.
fn is_unseen(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// At most this many characters of one text are kept. An answer of the cloud can have kilobytes; its start tells.
const MAX_CHARS: usize = 400;
/// At most this many lines of evidence are kept; nobody reads more on a phone.
const MAX_LINES: usize = 12;

/// One line of text of at most 400 characters, by the rule of [`one_line`].
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
        Self(one_line(raw, MAX_CHARS))
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

/// The last lines of what a machine's serial port has printed, fit to be mailed.
#[must_use]
pub fn console_tail(console: &str) -> Lines {
    const LINES: usize = 10;
    let lines =
        console.lines().rev().map(|line| one_line(&uncoloured(line), MAX_CHARS)).filter(|line| !line.is_empty());
    let mut lines: Vec<String> = lines.take(LINES).collect();
    lines.reverse();
    if lines.is_empty() {
        lines.push("its serial port has printed nothing".into());
    }
    lines.into_iter().collect()
}

/// Without the sequences that colour a terminal: a console is full of them, and they tell nothing.
fn uncoloured(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line.chars().peekable();
    while let Some(c) = rest.next() {
        if c == '\u{1b}' && rest.next_if_eq(&'[').is_some() {
            while rest.next_if(|c| !c.is_ascii_alphabetic()).is_some() {}
            rest.next();
        } else {
            text.push(c);
        }
    }
    text
}

#[cfg(test)]
pub(crate) mod hostile;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DROPPED: &str = r"[\p{Cc}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\p{Bidi_Control}\u{FFF9}-\u{FFFB}]";

    #[test]
    fn what_somebody_else_wrote_neither_controls_a_terminal_nor_turns_the_line_around() {
        assert_eq!(one_line("a\u{1b}[2Jb\u{202e}c\u{200b}\u{61c}\u{2060}\n", 80), "a [2Jbc");
        assert_eq!(one_line(" one\r\n\ttwo\u{2028}three\u{7}four ", 80), "one two three four");
        assert_eq!(one_line("\u{1b}[0;32m  OK  \u{1b}[0m \u{1b}]0;title\u{7}", 80), "[0;32m OK [0m ]0;title");
    }

    #[test]
    fn a_text_that_is_cut_ends_in_an_ellipsis_and_is_no_longer_for_it() {
        assert_eq!((one_line("éèà", 3), one_line("éèàù", 3)), ("éèà".into(), "éè…".into()));
        assert_eq!(one_line("ab cd", 4), "ab…");
        assert_eq!((end_of_line("éèà", 3), end_of_line("éèàù", 3)), ("éèà".into(), "…àù".into()));
    }

    #[test]
    fn the_characters_that_are_not_seen_are_those_that_unicode_names() {
        let dropped = regex::Regex::new(DROPPED).expect("a class of characters");
        for c in '\0'..=char::MAX {
            assert_eq!(c.is_control() || is_unseen(c), dropped.is_match(c.encode_utf8(&mut [0; 4])), "{c:?}");
        }
    }

    #[test]
    fn what_would_take_over_a_terminal_is_shown_and_not_obeyed() {
        assert_eq!(visible("a\tb\r\nc\n"), "a\tb\nc\n");
        assert_eq!(visible("\u{1b}[2J\u{1b}]0;title\u{7}"), "^[[2J^[]0;title^G");
        assert_eq!(visible("over\rwritten\u{8}\u{7f}"), "over^Mwritten^H^?");
        assert_eq!(visible("\u{9b}31m \u{202e}txt\u{2060}"), "<U+009B>31m <U+202E>txt<U+2060>");
    }

    #[test]
    fn json_reads_as_before_and_a_page_shows_what_it_would_have_obeyed() {
        let all: String = ('\0'..=char::MAX).collect();
        let json =
            serde_json::to_string_pretty(&[all.as_str(), "e\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}"]).unwrap();
        let shown = visible_json(&json);
        assert!(!regex::Regex::new(DROPPED).unwrap().is_match(&shown.replace('\n', "")));
        assert_eq!(
            serde_json::from_str::<Vec<String>>(&shown).unwrap(),
            serde_json::from_str::<Vec<String>>(&json).unwrap()
        );
        assert_eq!(visible_json("[\"\u{7f}\u{e0041}\"]"), r#"["\u007f\udb40\udc41"]"#);
        assert_eq!(
            visible_html("<p>\n\u{202e}a\u{1b}[2K\t</p>"),
            "<p>\n&lt;U+202E&gt;a&lt;U+001B&gt;[2K&lt;U+0009&gt;</p>"
        );
    }

    #[test]
    fn a_field_of_a_log_begins_no_line_and_has_an_end() {
        assert_eq!(visible_line("a\r\nINFO b\tc\u{2028}"), "a^M^JINFO b^Ic<U+2028>");
        assert_eq!(visible_line(&"é".repeat(MAX_LINE)).chars().count(), MAX_LINE);
        assert_eq!(visible_line(&"é".repeat(MAX_LINE + 1)), "é".repeat(MAX_LINE) + "…");
    }

    #[test]
    fn a_heap_of_marks_does_not_cover_other_lines() {
        let four = "a\u{301}\u{302}\u{303}\u{304}b";
        let too_many = regex::Regex::new(r"\p{M}{5}").unwrap();
        // What is not seen between them parts them only where it is shown.
        for marks in ["\u{301}\u{489}\u{e49}", "\u{301}\u{200d}\u{489}"] {
            let heap = "e".to_owned() + &marks.repeat(50);
            let shown = [visible(&heap), visible_line(&heap), visible_json(&heap), visible_html(&heap)];
            for shown in shown.into_iter().chain([one_line(&heap, 300)]) {
                assert!(!too_many.is_match(&shown), "{shown}");
            }
        }
        assert_eq!((one_line(four, 80).as_str(), visible(four).as_str()), (four, four));
    }

    #[test]
    fn the_last_lines_of_a_console_are_kept_without_colours_and_control_characters() {
        let text = "old\n".repeat(50) + "\u{1b}[0;32m  OK  \u{1b}[0m Started\r\n\u{7}bell\n\n";
        let lines: Vec<String> = console_tail(&text).iter().map(str::to_owned).collect();
        assert_eq!(lines.len(), 10);
        assert_eq!(&lines[8..], ["OK Started", "bell"]);
        assert_eq!(console_tail("").iter().collect::<Vec<_>>(), ["its serial port has printed nothing"]);
    }

    proptest! {
        #[test]
        fn whatever_comes_in_one_bounded_plain_line_goes_out(
            text in "(\\PC|[ \u{0}-\u{20}\u{7f}-\u{ad}\u{61c}\u{2000}-\u{206f}\u{feff}\u{e0020}]|\u{1b}\\[[0-9;]{0,9}m?){0,60}",
            most in 1..80_usize,
        ) {
            let dropped = regex::Regex::new(DROPPED).expect("a class of characters");
            for line in [one_line(&text, most), end_of_line(&text, most)] {
                prop_assert!(line.chars().count() <= most, "{line:?}");
                prop_assert!(!dropped.is_match(&line), "{line:?}");
                prop_assert_eq!(line.split_whitespace().collect::<Vec<_>>().join(" "), line.as_str());
            }
            let once = one_line(&text, most);
            prop_assert_eq!(one_line(&once, most), once);
            prop_assert!(!dropped.is_match(&visible(&text).replace(['\n', '\t'], "")));
        }
    }
}
