//! Logs: JSON when the watcher runs without a terminal, readable otherwise, always on standard error.
//!
//! Whatever a field is made of, in a log it begins no line, colours nothing and hides nothing; the library itself escapes
//! some control characters of the message, and no others.

use std::{
    fmt,
    io::{self, IsTerminal},
};

use tracing::{Subscriber, field::Field};
use tracing_subscriber::{
    EnvFilter, Layer,
    field::{RecordFields, Visit},
    fmt::{FormatFields, format::Writer},
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

use super::{Cli, Command};
use crate::domain::{visible_json, visible_line};

/// Starts the logs. Commands that print for people log only warnings unless asked for more.
pub fn init(cli: &Cli) {
    let usual = match (&cli.command, cli.verbose) {
        (Command::Serve(_), 0) => "info",
        (Command::Agent(options), 0) if options.runs_on() => "info",
        (_, 0) => "warn",
        (_, 1) => "failover=debug,info",
        (_, _) => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(usual));
    let registry = tracing_subscriber::registry().with(filter);
    // Only the watcher's log is read by machines; a person who types a command reads it directly.
    let for_machines = matches!(cli.command, Command::Serve(_)) && !io::stderr().is_terminal();
    if for_machines {
        registry.with(machines(io::stderr)).init();
    } else {
        registry.with(people(io::stderr, io::stderr().is_terminal())).init();
    }
}

fn people<S, W>(out: fn() -> W, colour: bool) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: io::Write + 'static,
{
    tracing_subscriber::fmt::layer().with_target(false).fmt_fields(Lines).with_ansi(colour).with_writer(out)
}

fn machines<S, W>(out: fn() -> W) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: io::Write + 'static,
{
    tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(move || Json(out()))
}

/// `message name=value name=value`, each on the same line.
struct Lines;

impl<'w> FormatFields<'w> for Lines {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut line = Line { writer, gap: "", result: Ok(()) };
        fields.record(&mut line);
        line.result
    }
}

struct Line<'w> {
    writer: Writer<'w>,
    gap: &'static str,
    result: fmt::Result,
}

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Where a library's own line came from, which the format shows by other means.
        if field.name().starts_with("log.") {
            return;
        }
        let value = visible_line(&format!("{value:?}"));
        let name = if field.name() == "message" { String::new() } else { format!("{}=", field.name()) };
        self.result = self.result.and_then(|()| write!(self.writer, "{}{name}{value}", self.gap));
        self.gap = " ";
    }
}

/// Each line is JSON, which escapes the half of it.
struct Json<W>(W);

impl<W: io::Write> io::Write for Json<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_all(visible_json(&String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::domain::hostile;

    thread_local! {
        static LOG: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }

    struct Log;

    impl io::Write for Log {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            LOG.with_borrow_mut(|log| log.extend(line));
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Everything in which a text can reach the log.
    fn logged(subscriber: impl Subscriber + Send + Sync) -> String {
        let text = hostile::flood();
        let error = io::Error::other(text.clone());
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("of", name = %text, quoted = text.as_str());
            let _entered = span.enter();
            tracing::warn!("{text}");
            tracing::warn!(why = %text, quoted = text.as_str(), debug = ?text, %error, "a line");
            tracing::error!(error = &error as &dyn std::error::Error, number = 7, "another");
        });
        String::from_utf8(LOG.take()).unwrap()
    }

    #[test]
    fn nothing_is_raw_in_a_log_for_people_and_each_event_is_a_line() {
        let log = logged(tracing_subscriber::registry().with(people(|| Log, false)));
        assert_eq!(log.lines().count(), 3, "{log}");
        hostile::assert_plain("log", &log, "\n");
        assert!(log.contains("WARN") && log.contains(" a line why=x^[[2K") && log.contains("number=7"), "{log}");
    }

    #[test]
    fn colours_are_the_logs_own_only() {
        let log = logged(tracing_subscriber::registry().with(people(|| Log, true)));
        hostile::assert_plain("log", &log, "\n\u{1b}");
        assert!(!log.contains("\u{1b}[2K") && log.contains("\u{1b}[33m WARN"), "{log:?}");
    }

    #[test]
    fn nothing_is_raw_in_a_log_for_machines_which_reads_as_it_was() {
        let log = logged(tracing_subscriber::registry().with(machines(|| Log)));
        hostile::assert_plain("log", &log, "\n");
        let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 3);
        assert_eq!((&lines[0]["message"], &lines[1]["why"]), (&hostile::flood().into(), &hostile::flood().into()));
    }
}
