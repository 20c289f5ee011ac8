//! Laying out a plain text for a phone: short lines, one thought each, commands on lines of their own.
//!
//! It knows no notice; see `render`.

use crate::domain::visible_line;

/// The longest line of prose. Mail programs on phones break longer ones at places of their own.
pub(super) const WIDTH: usize = 72;

#[derive(Default)]
pub(super) struct Body(String);

impl Body {
    /// A paragraph of prose, broken at 72.
    pub(super) fn say(&mut self, prose: &str) {
        self.gap();
        self.wrap(prose, "", "");
    }

    /// A paragraph with a heading and one item for each line. Nothing when there is no line.
    pub(super) fn list<'a>(&mut self, heading: &str, items: impl Iterator<Item = &'a str>) {
        let mut items = items.peekable();
        if items.peek().is_none() {
            return;
        }
        self.gap();
        self.wrap(heading, "", "");
        for item in items {
            self.wrap(item, "- ", "  ");
        }
    }

    /// A paragraph of "name: value" lines.
    pub(super) fn facts(&mut self, facts: &[(&str, String)]) {
        if !facts.is_empty() {
            self.gap();
        }
        for (name, value) in facts {
            self.wrap(&format!("{name}: {value}"), "", "  ");
        }
    }

    /// Lines that are laid out already.
    pub(super) fn lines(&mut self, lines: &[String]) {
        self.gap();
        for line in lines {
            self.0.push_str(line);
            self.0.push('\n');
        }
    }

    /// What it is for, then the exact command on a line of its own, never broken, so that it can be copied.
    pub(super) fn command(&mut self, purpose: &str, command: &str) {
        self.say(purpose);
        self.0.push_str("  ");
        self.0.push_str(&visible_line(command));
        self.0.push('\n');
    }

    pub(super) fn finish(self) -> String {
        self.0
    }

    fn gap(&mut self) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
    }

    fn wrap(&mut self, prose: &str, first: &str, rest: &str) {
        let mut line = String::from(first);
        let mut empty = true;
        for word in prose.split_whitespace() {
            let needed = line.chars().count() + usize::from(!empty) + word.chars().count();
            if !empty && needed > WIDTH {
                self.0.push_str(&line);
                self.0.push('\n');
                line = String::from(rest);
                empty = true;
            }
            if !empty {
                line.push(' ');
            }
            line.push_str(word);
            empty = false;
        }
        self.0.push_str(&line);
        self.0.push('\n');
    }
}
