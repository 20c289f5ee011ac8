//! How long to wait before what failed is tried again. It neither waits nor counts.

use super::Span;

/// A pause that doubles from the first to the longest.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    first: Span,
    longest: Span,
}

impl Backoff {
    #[must_use]
    pub const fn new(first: Span, longest: Span) -> Self {
        Self { first, longest }
    }

    /// The pause after so many failures before this one.
    #[must_use]
    pub fn pause(self, failures_before: u32) -> Span {
        let factor = 1_i32 << failures_before.min(16);
        self.first.checked_mul(factor).unwrap_or(self.longest).min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_and_stays_at_the_cap_for_ever() {
        let backoff = Backoff::new(Span::from_secs(10), Span::from_mins(10));
        let pauses = [0, 1, 5, 6, 7, u32::MAX].map(|failures| backoff.pause(failures).as_secs());
        assert_eq!(pauses, [10, 20, 320, 600, 600, 600]);
        assert_eq!(Backoff::new(Span::MAX, Span::MAX).pause(1), Span::MAX);
    }
}
