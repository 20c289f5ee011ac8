//! Log lines that anybody can cause from outside: one for each kind and minute, with how often it happened.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

const EVERY: Duration = Duration::from_mins(1);

/// When which kind of line was written last, and how many have been left out since.
#[derive(Debug, Default)]
pub struct SeldomLines(Mutex<BTreeMap<&'static str, (Instant, u64)>>);

/// Those of this process.
pub static LINES: SeldomLines = SeldomLines(Mutex::new(BTreeMap::new()));

impl SeldomLines {
    /// Counts one of this kind, now.
    pub fn due(&self, kind: &'static str) -> Option<u64> {
        self.due_at(kind, Instant::now())
    }

    /// Counts one of this kind. When its line is due: how many there were since the last line, this one included.
    pub fn due_at(&self, kind: &'static str, now: Instant) -> Option<u64> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((last, left_out)) = kinds.get_mut(kind) else {
            kinds.insert(kind, (now, 0));
            return Some(1);
        };
        *left_out += 1;
        if now.saturating_duration_since(*last) < EVERY {
            return None;
        }
        *last = now;
        Some(std::mem::take(left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_one_line_a_minute_and_none_is_forgotten_in_its_count() {
        let (lines, start) = (SeldomLines::default(), Instant::now());
        assert_eq!(lines.due_at("a", start), Some(1));
        assert_eq!(lines.due_at("b", start), Some(1), "each kind for itself");
        for second in 1..60 {
            assert_eq!(lines.due_at("a", start + Duration::from_secs(second)), None);
        }
        assert_eq!(lines.due_at("a", start + Duration::from_secs(60)), Some(60));
        assert_eq!(lines.due_at("a", start + Duration::from_secs(61)), None);
    }
}
