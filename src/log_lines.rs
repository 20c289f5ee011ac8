//! The two forms of a log, for people and for machines.
//!
//! Whatever a field is made of, in a log it begins no line, colours nothing and hides nothing; the library itself
//! escapes some control characters of the message, and no others.

use std::{fmt, io};

use tracing::{Subscriber, field::Field};
use tracing_subscriber::{
    Layer,
    field::{RecordFields, Visit},
    fmt::{FormatFields, format::Writer},
    registry::LookupSpan,
};

use crate::domain::{visible_json, visible_line};

pub(crate) fn people<S, W>(out: fn() -> W, colour: bool) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: io::Write + 'static,
{
    tracing_subscriber::fmt::layer().with_target(false).fmt_fields(Lines).with_ansi(colour).with_writer(out)
}

pub(crate) fn machines<S, W>(out: fn() -> W) -> impl Layer<S>
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

    use tracing_subscriber::layer::SubscriberExt;

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
