//! A head that has a time: how old it is, and how far the way to now is. Pure, and true of any chain whose blocks have
//! a time; whether such a head makes a node *synced* is not decided here.

use std::time::Duration;

use super::{
    health::{UNKNOWN_HEAD_AGE_SECONDS, percent},
    pace::{Outlook, Pace, Work},
};
use crate::domain::{Span, Time};

/// A head so far in the future is not believed. Clocks of honest nodes differ by less than a second, nodes refuse
/// blocks that are some seconds early, and our own idea of the right time is good to a tenth of one.
const AHEAD: Span = Span::from_secs(10);

/// By how much a head is in the future; `None` when it is none of those.
#[must_use]
pub fn ahead(head: Time, now: Time) -> Option<Span> {
    let ahead = head.duration_since(now);
    (ahead > AHEAD).then_some(ahead)
}

/// How old a head is, in whole seconds; of one from the future that is not known.
#[must_use]
pub fn age_seconds(head: Time, now: Time) -> u64 {
    if ahead(head, now).is_some() { UNKNOWN_HEAD_AGE_SECONDS } else { seconds(head, now) }
}

/// From which moment of the chain's time to which a node has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// Where its chain begins, or what it keeps of it.
    pub from: Time,
    pub to: Time,
}

impl Way {
    /// How much of it is done: never 100, because only a node that is synced has come to the end.
    #[must_use]
    pub fn percent(self, now: Time) -> u8 {
        percent(seconds(self.from, self.to), seconds(self.from, now)).min(99)
    }

    /// How it continues. The chain's time is what is worked off: blocks are not all alike, and what remains of the time
    /// is known to the second while the head moves on.
    pub fn outlook(self, pace: &mut Pace, now: Time, uptime: Duration) -> Option<Outlook> {
        pace.outlook(Work::ChainSeconds, uptime, seconds(Time::UNIX_EPOCH, self.to), seconds(self.to, now))
    }
}

/// Why a node is not synced, with how far it is.
#[derive(Clone, Debug)]
pub struct Doing {
    pub stage: String,
    /// How far it has come, if that is known.
    pub way: Option<Way>,
}

impl Doing {
    /// Something of which nobody knows how long it takes.
    #[must_use]
    pub fn waits(stage: String) -> Self {
        Self { stage, way: None }
    }

    /// The percentage, and the seconds to go if they can be told. Without anything to do it is synced.
    pub fn progress(doing: Option<&Self>, pace: &mut Pace, now: Time, uptime: Duration) -> (u8, Option<u64>) {
        let outlook = match doing.and_then(|doing| doing.way) {
            Some(way) => way.outlook(pace, now, uptime),
            None => {
                pace.rest();
                None
            }
        };
        let percent = doing.map_or(100, |doing| doing.way.map_or(0, |way| way.percent(now)));
        (percent, outlook.map(|outlook| outlook.seconds_to_go))
    }
}

/// Whole seconds from one to the other; 0 when they are the other way round.
fn seconds(from: Time, to: Time) -> u64 {
    u64::try_from(to.duration_since(from).as_secs()).unwrap_or(0)
}
