//! What a gate goes by while it waits: the kind of a wait, the age of a session, how its command ended, and which of
//! several grants is the newest.

use std::time::Duration;

use super::{WaitKind, WaitReason};
use crate::domain::ownership::{GrantError, LastGrant, VerifiedGrant};

impl WaitReason {
    #[must_use]
    pub fn kind(&self) -> WaitKind {
        match self {
            Self::NoGrant | Self::GrantedElsewhere { .. } => WaitKind::Grant,
            Self::PutBack(_) | Self::NoSession => WaitKind::Ledger,
            Self::Moving { .. } => WaitKind::Moving,
            Self::Held(_) | Self::HeldForGood => WaitKind::Session,
        }
    }

    /// Whether a session that is still this gate's own is given back: somebody else waits for it. Not where the ledger
    /// is in doubt.
    #[must_use]
    pub fn gives_back(&self) -> bool {
        match self {
            Self::GrantedElsewhere { .. } | Self::Moving { .. } => true,
            Self::NoGrant | Self::PutBack(_) | Self::NoSession | Self::Held(_) | Self::HeldForGood => false,
        }
    }
}

/// How long one version of the session has been there at least.
#[derive(Clone, Debug)]
pub struct VersionAge<V> {
    version: V,
    /// This old was it at that moment of the own raw clock.
    age: Duration,
    at: Duration,
}

impl<V: PartialEq> VersionAge<V> {
    /// `now` is from after the answer, so that it is never older than it is believed to be.
    #[must_use]
    pub fn seen(before: Option<Self>, version: V, now: Duration) -> Self {
        match before {
            Some(before) if before.version == version => before,
            Some(_) | None => Self { version, age: Duration::ZERO, at: now },
        }
    }

    /// What the store's own clock says, with the moment at which it had answered. The longer one counts: each is too short
    /// at worst.
    pub fn by_store(&mut self, age: Duration, now: Duration) {
        if age > self.unchanged(now) {
            (self.age, self.at) = (age, now);
        }
    }

    #[must_use]
    pub fn unchanged(&self, now: Duration) -> Duration {
        self.age.saturating_add(now.saturating_sub(self.at))
    }
}

/// Whether the end of a command looks like that of one that saw its own keys at work: by itself, within its first four
/// epochs. `signal`: a signal that is not the gate's ended it. Those that come from outside (an operator, the kernel
/// when memory is short) say nothing.
#[must_use]
pub fn ended_early(signal: Option<i32>, ran: Duration, epoch: Duration) -> bool {
    const FROM_OUTSIDE: [i32; 4] = [1, 2, 9, 15];
    let by_itself = signal.is_none_or(|signal| !FROM_OUTSIDE.contains(&signal));
    by_itself && ran < epoch.saturating_mul(4)
}

/// The newest of several verified grants, in whatever order and however often they have come. `None` when all of them are
/// older than what was seen.
///
/// # Errors
/// [`GrantError::PutBack`] when two of the same number differ, here or from what was seen.
pub fn newest_grant(grants: Vec<VerifiedGrant>, last: Option<&LastGrant>) -> Result<Option<VerifiedGrant>, GrantError> {
    let mut newest: Option<VerifiedGrant> = None;
    for grant in grants.into_iter().filter(|grant| last.is_none_or(|last| grant.grant().number >= last.number)) {
        grant.is_news_after(last)?;
        match &newest {
            Some(other) if other.grant().number > grant.grant().number => {}
            Some(other) => {
                grant.is_news_after(Some(&other.last()))?;
                newest = Some(grant);
            }
            None => newest = Some(grant),
        }
    }
    Ok(newest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ownership::{GrantPlace, test_grant};

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_age_is_the_longer_of_what_the_store_says_and_what_was_watched() {
        let mut age = VersionAge::seen(None, "1", SECOND * 100);
        assert_eq!(age.unchanged(SECOND * 160), SECOND * 60);
        age = VersionAge::seen(Some(age), "1", SECOND * 160);
        assert_eq!(age.unchanged(SECOND * 160), SECOND * 60, "the same version continues");
        age.by_store(SECOND * 30, SECOND * 160);
        assert_eq!(age.unchanged(SECOND * 160), SECOND * 60);
        age.by_store(SECOND * 300, SECOND * 160);
        assert_eq!(age.unchanged(SECOND * 170), SECOND * 310);
        age = VersionAge::seen(Some(age), "2", SECOND * 170);
        assert_eq!(age.unchanged(SECOND * 170), Duration::ZERO);
        assert_eq!(age.unchanged(SECOND * 100), Duration::ZERO, "a clock does not go back");
    }

    #[test]
    fn an_end_by_itself_within_four_epochs_is_early_and_one_from_outside_is_not() {
        let epoch = SECOND * 384;
        assert!(ended_early(None, epoch * 4 - SECOND, epoch));
        assert!(!ended_early(None, epoch * 4, epoch));
        assert!(ended_early(Some(6), SECOND, epoch), "it aborted");
        for signal in [9, 15] {
            assert!(!ended_early(Some(signal), SECOND, epoch));
        }
    }

    #[test]
    fn the_newest_grant_is_the_same_in_any_order() {
        let home = |number| test_grant(number, GrantPlace::Home { site: "home".into() });
        let (one, two, rival) = (home(1), home(2), home(2));
        let newest = |grants: &[&VerifiedGrant], last: Option<&VerifiedGrant>| {
            newest_grant(grants.iter().map(|grant| (*grant).clone()).collect(), last.map(VerifiedGrant::last).as_ref())
        };
        assert_eq!(newest(&[], None), Ok(None));
        for grants in [[&one, &two, &two], [&two, &one, &two], [&two, &two, &one]] {
            assert_eq!(newest(&grants, None).unwrap().unwrap(), two);
        }
        assert_eq!(newest(&[&one], Some(&two)), Ok(None), "an older one is an old answer");
        assert_eq!(rival.digest(), two.digest(), "signed again it is the same");
        let away = test_grant(2, GrantPlace::Home { site: "away".into() });
        for grants in [[&away, &two], [&two, &away]] {
            assert!(newest(&grants, None).is_err());
        }
        assert!(newest(&[&away], Some(&two)).is_err());
    }
}
