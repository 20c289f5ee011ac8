//! Arithmetic on moments that saturates: an absurd configuration or an absurd clock makes a deadline that is never or
//! always reached, and no panic.

/// A point in time by the watcher's own clock.
pub type Time = jiff::Timestamp;
/// A span of time; negative ones are refused where they come in.
pub type Span = jiff::SignedDuration;

pub trait TimeExt {
    #[must_use]
    fn plus(self, span: Span) -> Time;
    #[must_use]
    fn minus(self, span: Span) -> Time;
    /// The next moment that can be told apart: what is fresh *until* a moment is stale right after it.
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

/// The span between two moments, zero when they are the other way round.
#[must_use]
pub fn elapsed(from: Time, to: Time) -> Span {
    to.duration_since(from).max(Span::ZERO)
}
