//! For how long a machine has been ready without a break, by what a command has seen itself: where no watcher is alive,
//! nobody else notes it.

use std::time::Duration;

/// A report moves every half minute. After three of them nobody knows what was in between.
const GAP: Duration = Duration::from_secs(90);

/// Fed at every look, with a clock that nobody sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadyWatch {
    sight: Option<ReadySight>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct ReadySight {
    boot: String,
    since: Duration,
    last: Duration,
}

impl ReadyWatch {
    /// `boot`: that of a fresh report by which it is ready; `None` when it is not.
    pub fn saw(&mut self, boot: Option<&str>, at: Duration) {
        self.sight = match (boot, self.sight.take()) {
            (None, _) => None,
            (Some(boot), Some(seen)) if seen.boot == boot && at.saturating_sub(seen.last) <= GAP => {
                Some(ReadySight { last: at, ..seen })
            }
            (Some(boot), _) => Some(ReadySight { boot: boot.to_owned(), since: at, last: at }),
        };
    }

    /// How long, up to the last look.
    pub fn lasted(&self) -> Option<Duration> {
        self.sight.as_ref().map(|seen| seen.last.saturating_sub(seen.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_break_a_boot_or_a_gap_in_looking_begins_it_again() {
        let at = Duration::from_secs;
        let mut watch = ReadyWatch::default();
        assert_eq!(watch.lasted(), None);
        (0..=20).for_each(|minute| watch.saw(Some("a"), at(60 * minute)));
        assert_eq!(watch.lasted(), Some(at(1200)));
        watch.saw(Some("b"), at(1230));
        assert_eq!(watch.lasted(), Some(at(0)), "another boot");
        watch.saw(Some("b"), at(1290));
        watch.saw(Some("b"), at(1290 + 91));
        assert_eq!(watch.lasted(), Some(at(0)), "this machine slept");
        watch.saw(None, at(1400));
        assert_eq!(watch.lasted(), None);
    }
}
