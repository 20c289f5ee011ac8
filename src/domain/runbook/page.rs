//! How a runbook is laid out: plain text for a terminal and a mail, and Markdown. It knows no validator.
//!
//! A command is never damaged by the layout: a line ends between two words with ` \`, and within a word that is longer than
//! a line with `\`, after which the shell goes on in the first column of the next.

use crate::domain::one_line;

/// Where a line of the text ends: as in a mail.
const WIDTH: usize = 78;
/// Where a word ends that is longer than that: an address has to be copied in one piece.
const COLUMNS: usize = 80;
/// What somebody can hold in a hand.
const MOST_LINES: usize = 120;
/// As much of a value as is shown in prose.
const SHOWN: usize = 72;
/// The address of a release is shown whole.
const ADDRESS: usize = 120;
/// Nobody's name of an object in Kubernetes is longer, though it may be.
pub(super) const KUBE_NAME: usize = 100;
/// The longest name of a machine, and more than that of a zone or of a project.
pub(super) const GOOGLE_NAME: usize = 63;

/// One runbook, as parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunbookPage {
    title: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Say(String),
    /// Name, and value.
    Fact(&'static str, String),
    /// What is done, numbered from 1.
    Step(String),
    /// Below a step.
    Command(String),
    Item(String),
}

impl RunbookPage {
    pub(super) fn new(title: String) -> Self {
        Self { title, parts: Vec::new() }
    }

    pub(super) fn say(&mut self, prose: impl Into<String>) {
        self.parts.push(Part::Say(prose.into()));
    }

    pub(super) fn fact(&mut self, name: &'static str, value: impl Into<String>) {
        self.parts.push(Part::Fact(name, value.into()));
    }

    pub(super) fn step(&mut self, prose: impl Into<String>) {
        self.parts.push(Part::Step(prose.into()));
    }

    pub(super) fn command(&mut self, command: impl Into<String>) {
        self.parts.push(Part::Command(command.into()));
    }

    pub(super) fn item(&mut self, prose: impl Into<String>) {
        self.parts.push(Part::Item(prose.into()));
    }

    /// Every command, whole.
    pub fn commands(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Command(command) => Some(command.as_str()),
            Part::Say(_) | Part::Fact(..) | Part::Step(_) | Part::Item(_) => None,
        })
    }

    /// Lines of at most 80 characters, most of them of 78.
    ///
    /// Names that are very long leave no room for empty lines.
    #[must_use]
    pub fn text(&self) -> String {
        let lines = self.lines(true);
        let lines = if lines.len() > MOST_LINES { self.lines(false) } else { lines };
        lines.join("\n") + "\n"
    }

    fn lines(&self, airy: bool) -> Vec<String> {
        let mut lines = Vec::new();
        wrap(&self.title, "", "", &mut lines);
        lines.push("=".repeat(lines.iter().map(|line: &String| line.chars().count()).max().unwrap_or_default()));
        let (mut step, mut before): (u32, Option<&Part>) = (0, None);
        for part in &self.parts {
            let gap = match part {
                Part::Say(_) | Part::Step(_) => airy,
                Part::Fact(..) => airy && !matches!(before, Some(Part::Fact(..))),
                Part::Command(_) | Part::Item(_) => false,
            };
            if gap {
                lines.push(String::new());
            }
            match part {
                Part::Say(prose) => wrap(prose, "", "", &mut lines),
                Part::Fact(name, value) => wrap(&format!("{name}: {value}"), "", "  ", &mut lines),
                Part::Step(prose) => {
                    step += 1;
                    let first = format!("{step}. ");
                    wrap(prose, &first, &" ".repeat(first.len()), &mut lines);
                }
                Part::Command(command) => continued(command, &mut lines),
                Part::Item(prose) => wrap(prose, "   - ", "     ", &mut lines),
            }
            before = Some(part);
        }
        lines
    }

    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = format!("## {}\n", self.title);
        let (mut step, mut before): (u32, Option<&Part>) = (0, None);
        for part in &self.parts {
            let fence = |text: &mut String| text.push_str("   ```\n");
            let in_fence = matches!(before, Some(Part::Command(_)));
            if in_fence && !matches!(part, Part::Command(_)) {
                fence(&mut text);
            }
            match part {
                Part::Say(prose) => text.push_str(&format!("\n{prose}\n")),
                Part::Fact(name, value) => {
                    let gap = if matches!(before, Some(Part::Fact(..))) { "" } else { "\n" };
                    text.push_str(&format!("{gap}* {name}: {value}\n"));
                }
                Part::Step(prose) => {
                    step += 1;
                    text.push_str(&format!("\n{step}. {prose}\n"));
                }
                Part::Command(command) => {
                    if !in_fence {
                        text.push_str("\n   ```sh\n");
                    }
                    text.push_str(&format!("   {command}\n"));
                }
                Part::Item(prose) => {
                    let gap = if matches!(before, Some(Part::Item(_))) { "" } else { "\n" };
                    text.push_str(&format!("{gap}   * {prose}\n"));
                }
            }
            before = Some(part);
        }
        if let Some(Part::Command(_)) = before {
            text.push_str("   ```\n");
        }
        text
    }
}

/// Somebody's own value in prose, as code: one line of plain characters with an end.
pub(super) fn shown(value: &str) -> String {
    code(value, SHOWN)
}

pub(super) fn address(value: &str) -> String {
    code(&value.replace(' ', "?"), ADDRESS)
}

fn code(value: &str, most: usize) -> String {
    let plain = |c: char| if c.is_ascii_graphic() || "… ".contains(c) { c } else { '?' };
    format!("`{}`", one_line(value, most).chars().map(plain).filter(|c| *c != '`').collect::<String>())
}

/// A name as a word of a shell. What is no name, or is longer than one when it is quoted, stays this word in capitals, to
/// be filled in.
pub(super) fn word(name: &str, most: usize, otherwise: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    let quoted: String = name.chars().flat_map(|c| (!plain(c)).then_some('\\').into_iter().chain([c])).collect();
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_graphic() || c == ' ');
    if is_name && quoted.len() <= most { quoted } else { otherwise.to_owned() }
}

fn wrap(prose: &str, first: &str, rest: &str, lines: &mut Vec<String>) {
    let mut line = first.to_owned();
    let mut empty = true;
    let mut end = |line: &mut String| lines.push(std::mem::replace(line, rest.to_owned()));
    // Somebody's value is one word: no line begins with what is in the middle of it.
    let mut in_code = false;
    let ends = |c: char| {
        in_code ^= c == '`';
        c == ' ' && !in_code
    };
    for word in prose.split(ends).filter(|word| !word.is_empty()) {
        let mut word = word.to_owned();
        if !empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            end(&mut line);
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        while line.chars().count() + word.chars().count() > COLUMNS {
            let room = COLUMNS - line.chars().count();
            line.extend(word.chars().take(room));
            word = word.chars().skip(room).collect();
            end(&mut line);
        }
        line.push_str(&word);
        empty = false;
    }
    lines.push(line);
}

const INDENT: &str = "   ";
const DEEPER: &str = "       ";

/// A command, over as many lines as it takes; the shell reads one.
fn continued(command: &str, lines: &mut Vec<String>) {
    let (mut line, mut empty) = (INDENT.to_owned(), true);
    for word in words(command) {
        let atoms = atoms(word);
        // Two for the ` \` that may have to follow.
        if !empty && line.chars().count() + 1 + word.chars().count() + 2 > WIDTH {
            lines.push(line + " \\");
            line = DEEPER.to_owned();
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        for atom in atoms {
            if line.chars().count() + atom.len() + 2 > WIDTH {
                lines.push(line + "\\");
                line = String::new();
            }
            line.push_str(atom);
        }
        empty = false;
    }
    lines.push(line);
}

/// What stays together: a character, or one with the backslash before it.
fn atoms(word: &str) -> Vec<&str> {
    let (mut atoms, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, c) in word.char_indices() {
        escaped = c == '\\' && !escaped;
        if !escaped {
            let end = at + c.len_utf8();
            atoms.push(&word[start..end]);
            start = end;
        }
    }
    atoms
}

/// The words of a command: a space within quotes or behind a backslash ends none.
fn words(command: &str) -> Vec<&str> {
    let (mut words, mut start, mut quote, mut escaped) = (Vec::new(), 0, None, false);
    for (at, c) in command.char_indices() {
        let plain = !escaped && quote.is_none();
        match c {
            ' ' if plain => {
                words.push(&command[start..at]);
                start = at + 1;
            }
            '\'' | '"' if plain => quote = Some(c),
            c if quote == Some(c) && !escaped => quote = None,
            _ => {}
        }
        escaped = c == '\\' && !escaped && quote != Some('\'');
    }
    words.push(&command[start..]);
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a shell makes of it: a backslash at the end of a line is no end.
    fn joined(lines: &[String]) -> Vec<String> {
        let text = lines.join("\n").replace("\\\n", "");
        words(&text).into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn a_word_that_is_no_name_stays_to_be_filled_in() {
        assert_eq!(word("lighthouse-0.eth", 16, "NAME"), "lighthouse-0.eth");
        assert_eq!(word("app in (a, b)", 18, "LABELS"), r"app\ in\ \(a,\ b\)");
        for none in ["", "a\nb", "é", "longer-than-it-may", "quoted (longer)"] {
            assert_eq!(word(none, 16, "NAME"), "NAME");
        }
        assert_eq!(shown("a`b\u{1b}[2K\nc"), "`ab [2K c`");
    }

    #[test]
    fn a_quoted_word_is_not_broken() {
        assert_eq!(words("a 'b c' \"d e\" f\\ g"), ["a", "'b c'", "\"d e\"", "f\\ g"]);
    }

    proptest! {
        #[test]
        fn a_command_over_several_lines_is_the_same_command(
            parts in proptest::collection::vec("[ -~]{1,300}|[a-z=/.-]{1,40}", 1..20),
        ) {
            let command = parts.iter().map(|part| word(part, 300, "X")).collect::<Vec<_>>().join(" ");
            let mut lines = Vec::new();
            continued(&command, &mut lines);
            prop_assert!(lines.iter().all(|line| line.chars().count() <= WIDTH), "{lines:#?}");
            prop_assert_eq!(joined(&lines), words(&command));
        }

        #[test]
        fn prose_fits_into_its_lines_and_nothing_is_lost(prose in "[ -~]{0,600}") {
            let mut lines = Vec::new();
            wrap(&prose, "1. ", "   ", &mut lines);
            prop_assert!(lines.iter().all(|line| line.chars().count() <= COLUMNS), "{lines:#?}");
            let letters = |text: &str| text.chars().filter(|c| *c != ' ').collect::<String>();
            prop_assert_eq!(letters(&lines.concat()), format!("1.{}", letters(&prose)));
        }
    }
}
