//! The runbook, mailed for the day on which there is no laptop: its pages as they were made.

use serde::{Deserialize, Serialize};

use super::{About, Lifetime, Topic, render::Writer};
use crate::domain::one_line;

/// More than three pages of 120 lines have.
const MOST_LINES: usize = 400;
const MOST_COLUMNS: usize = 80;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunbookNotice {
    pub text: RunbookText,
}

/// Lines of a runbook with their indents.
///
/// **Invariant:** bounded, however it was made: at most 400 lines of at most 80 plain characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<String>", into = "Vec<String>")]
pub struct RunbookText(Vec<String>);

impl From<Vec<String>> for RunbookText {
    fn from(lines: Vec<String>) -> Self {
        let bounded = |line: String| {
            let indent = line.chars().take_while(|c| *c == ' ').take(MOST_COLUMNS / 2).count();
            format!("{}{}", " ".repeat(indent), one_line(&line, MOST_COLUMNS - indent))
        };
        Self(lines.into_iter().take(MOST_LINES).map(bounded).collect())
    }
}

impl From<RunbookText> for Vec<String> {
    fn from(text: RunbookText) -> Self {
        text.0
    }
}

impl RunbookNotice {
    pub const TOPIC: Topic = Topic::RUNBOOK;

    pub(super) fn about(&self) -> About {
        About::new("runbook", Self::TOPIC, Lifetime::Keys)
    }
}

impl Writer<'_> {
    pub(super) fn runbook(&mut self, runbook: &RunbookNotice) -> String {
        let id = self.id();
        self.body.say(&format!(
            "This is what to do by hand when the home of {id} is gone, for the day without a laptop. Keep this mail; it comes \
             again when its text changes. You need not do anything now."
        ));
        self.next("With the machine of the day, and as Markdown (--markdown):", &format!("runbook {id}"));
        self.body.lines(&runbook.text.0);
        "its runbook, to keep".into()
    }
}
