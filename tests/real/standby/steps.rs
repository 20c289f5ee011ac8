//! What has happened, and when: the table of a run.

use std::time::{Duration, Instant};

/// A run in steps.
pub struct Steps {
    begun: Instant,
    last: Instant,
    rows: Vec<(Duration, Duration, String)>,
}

impl Steps {
    /// The clock starts with this.
    pub fn begin(what: &str) -> Self {
        let now = Instant::now();
        Self { begun: now, last: now, rows: vec![(Duration::ZERO, Duration::ZERO, what.to_owned())] }
    }

    /// This has happened now.
    pub fn done(&mut self, what: &str) {
        let now = Instant::now();
        self.rows.push((now - self.begun, now - self.last, what.to_owned()));
        self.last = now;
        println!("{:>7.1} s  {what}", (now - self.begun).as_secs_f64());
    }

    /// As a table for the README.
    pub fn print(&self) {
        println!("| after | step took | what |\n|---:|---:|---|");
        for (after, took, what) in &self.rows {
            println!("| {:.1} s | {:.1} s | {what} |", after.as_secs_f64(), took.as_secs_f64());
        }
    }
}
