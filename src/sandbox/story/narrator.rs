//! How a story is printed: a line for each thing that happens, with the time since the beginning.

#![allow(clippy::print_stdout, reason = "it colours and moves a bar; whatever the parts say goes through `visible`")]

use std::{
    collections::BTreeMap,
    io::IsTerminal,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use crate::{
    domain::{visible, visible_line},
    runtime::status::Status,
};

/// Prints to standard output, or to nobody.
pub struct Narrator {
    start: Instant,
    quiet: bool,
    colour: bool,
    shown: Mutex<Shown>,
}

#[derive(Default)]
struct Shown {
    /// What each source said last.
    verdicts: BTreeMap<String, String>,
    phase: String,
    percent: u8,
    in_bar: bool,
}

impl Narrator {
    #[must_use]
    pub fn aloud() -> Self {
        Self { start: Instant::now(), quiet: false, colour: std::io::stdout().is_terminal(), shown: Mutex::default() }
    }

    #[must_use]
    pub fn silent() -> Self {
        Self { quiet: true, ..Self::aloud() }
    }

    fn print(&self, text: &str) {
        if !self.quiet {
            println!("{text}");
        }
    }

    fn bold(&self, text: &str) -> String {
        if self.colour { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub fn title(&self, text: &str) {
        self.print(&self.bold(&format!("failover sandbox: {text}")));
    }

    pub fn aside(&self, text: &str) {
        self.print(&format!("  {text}"));
    }

    pub fn chapter(&self, text: &str) {
        self.end_of_bar();
        self.print(&format!("\n{}", self.bold(&format!("── {text}"))));
    }

    pub fn line(&self, who: &str, what: &str) {
        self.end_of_bar();
        let (who, what) = (visible_line(who), visible_line(what));
        self.print(&format!("{:6.1}s  {who:>12}  {what}", self.start.elapsed().as_secs_f64()));
    }

    pub fn text(&self, text: &str) {
        for line in visible(text).lines() {
            self.print(&format!("          {line}"));
        }
    }

    pub fn mail(&self, subject: &str, body: &str) {
        self.line("mail", &format!("Subject: {subject}"));
        self.text(body);
    }

    /// Tells what has changed since the last time: verdicts, the phase with its reason, progress.
    pub fn status(&self, status: &Status) {
        let Some(validator) = status.validators.first() else { return };
        let mut lines = Vec::new();
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        for signal in &validator.signals {
            if shown.verdicts.get(&signal.source) != Some(&signal.verdict) {
                shown.verdicts.insert(signal.source.clone(), signal.verdict.clone());
                lines.push((signal.source.clone(), format!("{}: {}", signal.verdict, signal.why)));
            }
        }
        // The words change every second; a new kind of standing is worth a line.
        let phase: String = validator.reason.chars().filter(|c| c.is_alphabetic()).take(20).collect();
        if shown.phase != phase {
            shown.phase = phase;
            if validator.phase != "syncing" || validator.standby.as_ref().is_none_or(|s| s.progress.is_none()) {
                lines.push((validator.phase.clone(), validator.reason.clone()));
            }
        }
        let standby = validator.standby.as_ref();
        let progress = standby.and_then(|standby| standby.progress.as_ref());
        let percent = progress.map_or(0, |progress| progress.percent);
        let bar =
            (percent > shown.percent).then(|| progress.map(|progress| progress.stage.clone()).unwrap_or_default());
        shown.percent = shown.percent.max(percent);
        drop(shown);
        for (who, what) in lines {
            self.line(&who, &what);
        }
        if let Some(stage) = bar {
            self.bar(percent, &stage);
        }
    }

    /// On a terminal the bar moves; elsewhere it is a line for each step.
    fn bar(&self, percent: u8, stage: &str) {
        if self.quiet {
            return;
        }
        let full = usize::from(percent) * 30 / 100;
        let stage = visible_line(stage);
        let text = format!("[{}{}] {percent:3} %  {stage}", "█".repeat(full), "·".repeat(30 - full));
        if self.colour {
            use std::io::Write as _;
            print!("\r{:6.1}s  {:>12}  {text:80}", self.start.elapsed().as_secs_f64(), "standby");
            let _ = std::io::stdout().flush();
            self.shown.lock().unwrap_or_else(PoisonError::into_inner).in_bar = true;
        } else {
            self.print(&format!("{:6.1}s  {:>12}  {text}", self.start.elapsed().as_secs_f64(), "standby"));
        }
    }

    /// What comes next begins on a line of its own.
    pub fn end_of_bar(&self) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut shown.in_bar) && !self.quiet {
            println!();
        }
    }
}
