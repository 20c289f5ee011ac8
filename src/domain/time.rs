//! Arithmetic on moments that saturates: an absurd configuration or an absurd clock makes a deadline that is never or
//! always reached, and no panic. And how people read moments and spans.

use jiff::fmt::friendly::SpanParser;

/// A point in time by the watcher's own clock.
pub type Time = jiff::Timestamp;
/// A span of time; negative ones are refused where they come in.
pub type Span = jiff::SignedDuration;

pub trait TimeExt {
    #[must_use]
    fn plus(self, span: Span) -> Time;
    #[must_use]
    fn minus(self, span: Span) -> Time;
    /// The next moment that can be distinguished: what is fresh *until* a moment is stale right after it.
    #[must_use]
    fn just_after(self) -> Time;
}

impl TimeExt for Time {
    fn plus(self, span: Span) -> Time {
        self.checked_add(span).unwrap_or(if span.is_negative() { Time::MIN } else { Time::MAX })
    }

    fn minus(self, span: Span) -> Time {
        self.checked_sub(span).unwrap_or(if span.is_negative() { Time::MAX } else { Time::MIN })
    }

    fn just_after(self) -> Time {
        self.plus(Span::from_nanos(1))
    }
}

/// A span of time as people write it: `5m`, `4h10m`, `200ms`.
///
/// # Errors
/// When it is no such text, not longer than zero, or longer than a year.
pub fn parse_span(text: &str) -> Result<Span, String> {
    const FORM: &str = "a duration is written like 30s, 5m, 4h10m or 200ms";
    static PARSER: SpanParser = SpanParser::new();
    let span = PARSER.parse_duration(text.trim()).map_err(|_| format!("'{text}' is not a duration: {FORM}"))?;
    if span <= Span::ZERO {
        return Err(format!("'{text}' is not longer than zero: {FORM}"));
    }
    // Longer than any wait that makes sense, and short enough to be added to any moment.
    if span > Span::from_hours(24 * 366) {
        return Err(format!("'{text}' is longer than a year, which is surely a mistake"));
    }
    Ok(span)
}

/// The span between two moments, zero when they are the other way round.
#[must_use]
pub fn elapsed(from: Time, to: Time) -> Span {
    to.duration_since(from).max(Span::ZERO)
}

/// A moment as people read it: to the second, UTC.
#[must_use]
pub fn clock(at: Time) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A span as people write it: `2m 10s`. Whole seconds from a minute up, one decimal below ten seconds.
#[must_use]
pub fn human(span: Span) -> String {
    let seconds = span.as_secs_f64();
    let whole = span.as_secs();
    match whole {
        ..=9 => format!("{seconds:.1}s").replace(".0s", "s"),
        10..=59 => format!("{whole}s"),
        60..=3599 => two(whole / 60, 'm', whole % 60, 's'),
        3600..=86_399 => two(whole / 3600, 'h', whole % 3600 / 60, 'm'),
        _ => two(whole / 86_400, 'd', whole % 86_400 / 3600, 'h'),
    }
}

fn two(big: i64, big_unit: char, small: i64, small_unit: char) -> String {
    if small == 0 { format!("{big}{big_unit}") } else { format!("{big}{big_unit} {small}{small_unit}") }
}
