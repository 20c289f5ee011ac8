//! One line on the terminal that says what is still being looked at. Without a terminal nothing is written.

use std::{
    collections::BTreeMap,
    io::{IsTerminal as _, Write as _, stderr},
    sync::{Mutex, PoisonError},
};

/// Longer lines would wrap, and could not be taken back.
const WIDTH: usize = 79;

pub(super) struct ProgressLine {
    shown: bool,
    at_work: Mutex<BTreeMap<String, String>>,
}

/// What is being looked at, until it is dropped.
pub(super) struct AtWork<'a> {
    progress: &'a ProgressLine,
    what: String,
}

impl ProgressLine {
    pub(super) fn new() -> Self {
        Self { shown: stderr().is_terminal(), at_work: Mutex::default() }
    }

    pub(super) fn begin(&self, what: &str) -> AtWork<'_> {
        self.change(|at_work| {
            at_work.insert(what.to_owned(), String::new());
        });
        AtWork { progress: self, what: what.to_owned() }
    }

    /// Takes the line away.
    pub(super) fn end(&self) {
        self.change(BTreeMap::clear);
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, String>)) {
        let mut at_work = self.at_work.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut at_work);
        if !self.shown {
            return;
        }
        let line = line(&at_work);
        // Nobody reads it if it cannot be written.
        let _ = write!(stderr(), "\r\x1b[2K{line}").and_then(|()| stderr().flush());
    }
}

fn line(at_work: &BTreeMap<String, String>) -> String {
    if at_work.is_empty() {
        return String::new();
    }
    let part = |(what, how): (&String, &String)| if how.is_empty() { what.clone() } else { format!("{what} ({how})") };
    // What tells how far it is comes first: the line may be too long.
    let (far, rest): (Vec<_>, Vec<_>) = at_work.iter().partition(|(_, how)| !how.is_empty());
    let parts: Vec<String> = far.into_iter().chain(rest).map(part).collect();
    format!("looking at: {}", parts.join(", ")).chars().take(WIDTH).collect()
}

impl AtWork<'_> {
    /// How far it is.
    pub(super) fn at(&self, how: String) {
        self.progress.change(|at_work| {
            at_work.insert(self.what.clone(), how);
        });
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.progress.change(|at_work| {
            at_work.remove(&self.what);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_names_what_is_at_work_and_never_wraps() {
        let progress = ProgressLine { shown: false, at_work: Mutex::default() };
        let _chain = progress.begin("chain");
        let standby = progress.begin("standby");
        standby.at("geth: 12 of 90 MiB".into());
        let line = || super::line(&progress.at_work.lock().unwrap());
        assert_eq!(line(), "looking at: standby (geth: 12 of 90 MiB), chain");
        standby.at("x".repeat(200));
        assert_eq!(line().len(), WIDTH);
        drop(standby);
        assert_eq!(line(), "looking at: chain");
    }
}
