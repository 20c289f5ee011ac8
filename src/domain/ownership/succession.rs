//! Which grant may follow which, where it is not a promotion: `failover adopt` and `failover regrant`.

use std::time::Duration;

use super::{Grant, GrantPlace, Session, VerifiedGrant, grant::MAX_NUMBER};
use crate::domain::InstanceId;

/// Whole epochs without a duty that stand in for a session that is missing.
pub const SILENT_EPOCHS: u32 = 5;
/// A boot id is a UUID, as Linux writes it.
const BOOT_ID: usize = 36;

/// The number of an adoption's grant: above that of every grant known anywhere, in the ledger, in a gate's notes or in
/// an operator's memory, and not below any session's. `None`: none is left.
///
/// Not above the session's: a promotion has raised it by one, and a raise above that would outlive an adoption that
/// ends halfway. A grant that follows the one in force would then be below the session, and home would never start by
/// it.
#[must_use]
pub fn adoption_number(granted: impl IntoIterator<Item = u64>, raised: impl IntoIterator<Item = u64>) -> Option<u64> {
    let above = granted.into_iter().max().unwrap_or(0).checked_add(1)?;
    let number = raised.into_iter().fold(above, u64::max);
    (number <= MAX_NUMBER).then_some(number)
}

/// What an operator who adopts a validator for home knows at this moment.
#[derive(Clone, Copy, Debug)]
pub struct Adoption<'a> {
    /// Of the grant that is to be signed: [`adoption_number`].
    pub number: u64,
    /// The grant in the ledger, which the new one replaces: as read before anything was stopped or waited for. One that
    /// cannot be verified counts too, for what it forbids.
    pub over: Option<&'a Grant>,
    /// `over` is verified and lets this very home sign, and no number above it was known: the session's holder continues.
    pub keeps: bool,
    /// Whether each machine that ever had a grant is seen TERMINATED now.
    pub machines_terminated: bool,
    pub session: Option<&'a Session>,
    /// How long the session's holder has not written it: the age of exactly the version that the raise replaced, and
    /// the time since. Of a session that is missing: since that was first seen.
    pub unchanged: Duration,
    /// Whether there ever was a grant or a session, here or before the ledger was lost.
    pub was_known: bool,
    /// After how long a session of this validator's gates is old, if it is missing; `None` with `on_ledger_loss: run`.
    pub longest: Option<Duration>,
    /// Whole epochs without a duty by these keys, seen since the session was found missing.
    pub silent: u32,
    /// Somebody has stated that nothing at home can sign, and that nothing there comes back by itself, since the
    /// session was read.
    pub stated: bool,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdoptStep {
    /// Stop the promoted machine and see it TERMINATED.
    Terminate,
    /// Write the session with a raised number, under exactly the version that was read. Time does not free one that
    /// exists.
    Raise,
    /// Write it raised and free, under exactly the version that was read before the statement.
    Free,
    /// So long at least; `None`: until its holder gives it back, or the statement.
    Wait(Option<Duration>),
    /// So many more silent epochs.
    Silence(u32),
    /// Write a free session, if it is still missing.
    Create,
    /// Sign the grant, over exactly the one that was read.
    Sign,
}

impl Adoption<'_> {
    #[must_use]
    pub fn next(&self) -> AdoptStep {
        if self.over.is_some_and(|grant| matches!(grant.owner, GrantPlace::Cloud { .. })) && !self.machines_terminated {
            return AdoptStep::Terminate;
        }
        // Without an end it is free only when it is given back.
        let wait = |after: Option<Duration>| AdoptStep::Wait(after.map(|after| after.saturating_sub(self.unchanged)));
        match self.session {
            Some(session) if self.stated && session.holder.is_some() => AdoptStep::Free,
            // Not raised, so it may still be renewed under the new grant.
            Some(session) if self.keeps && session.number < self.number => AdoptStep::Sign,
            Some(session) if session.number < self.number => AdoptStep::Raise,
            Some(session) if session.is_free(self.unchanged) => AdoptStep::Sign,
            Some(session) => wait(session.old_after()),
            None if !self.was_known || self.stated => AdoptStep::Create,
            None if self.silent < SILENT_EPOCHS => AdoptStep::Silence(SILENT_EPOCHS - self.silent),
            // Silence does not show a gate that was confirmed and has not started yet.
            None if self.longest.is_some_and(|after| after <= self.unchanged) => AdoptStep::Create,
            None => wait(self.longest),
        }
    }
}

/// Why a machine does not get another grant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegrantError {
    #[error("grant {number} is home's: a machine in the cloud gets one by `failover promote` only")]
    Home { number: u64 },
    #[error(
        "grant {number} is for the machine {granted}, and this is {found}; demote the first before another is promoted"
    )]
    OtherMachine { number: u64, granted: InstanceId, found: InstanceId },
    #[error("grant {number} is for this boot already; start the gate on the machine")]
    SameBoot { number: u64 },
    #[error("'{0}' is no boot id: see /proc/sys/kernel/random/boot_id on the machine")]
    BootId(String),
    #[error(
        "the session's number is {session}, above grant {grant}: ownership is on its way elsewhere; finish that, or end it \
         with `failover adopt --renew`"
    )]
    Moving { session: u64, grant: u64 },
    #[error("number {0} is the last one there is")]
    NumberTooLarge(u64),
}

/// Whether a cloud grant may be replaced by one for another boot: of the same machine only, whose boots never run at once,
/// so no other proof is needed.
///
/// # Errors
/// [`RegrantError`].
pub fn may_regrant(over: &VerifiedGrant, instance: &InstanceId, boot: &str) -> Result<(), RegrantError> {
    let number = over.grant().number;
    match &over.grant().owner {
        GrantPlace::Home { .. } => Err(RegrantError::Home { number }),
        GrantPlace::Cloud { instance_id, .. } if instance_id != instance => {
            Err(RegrantError::OtherMachine { number, granted: instance_id.clone(), found: instance.clone() })
        }
        GrantPlace::Cloud { boot_id, .. } if boot_id == boot => Err(RegrantError::SameBoot { number }),
        GrantPlace::Cloud { .. } => Ok(()),
    }
}

/// The number of the grant for this boot of the machine that the grant in force names, beside the session's number.
///
/// # Errors
/// [`RegrantError`].
pub fn regrant(
    over: &VerifiedGrant,
    session: Option<u64>,
    instance: &InstanceId,
    boot: &str,
) -> Result<u64, RegrantError> {
    let grant = over.grant().number;
    match may_regrant(over, instance, boot) {
        Ok(()) if boot.len() != BOOT_ID || !boot.chars().all(is_of_boot_id) => {
            Err(RegrantError::BootId(boot.to_owned()))
        }
        Ok(()) | Err(RegrantError::SameBoot { .. }) if session.is_some_and(|session| session > grant) => {
            Err(RegrantError::Moving { session: session.unwrap_or_default(), grant })
        }
        Ok(()) if grant >= MAX_NUMBER => Err(RegrantError::NumberTooLarge(grant)),
        Ok(()) => Ok(grant + 1),
        Err(why) => Err(why),
    }
}

fn is_of_boot_id(letter: char) -> bool {
    letter == '-' || letter.is_ascii_digit() || ('a'..='f').contains(&letter)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::{
        Time,
        ownership::{OnLedgerLoss, test_grant},
    };

    fn home(number: u64) -> VerifiedGrant {
        test_grant(number, GrantPlace::Home { site: "home".into() })
    }

    fn cloud(number: u64) -> VerifiedGrant {
        let boot_id = "first".into();
        test_grant(number, GrantPlace::Cloud { project: "p".into(), zone: "z".into(), instance_id: 7.into(), boot_id })
    }

    #[test]
    fn an_adoptions_number_is_above_every_grants_and_not_below_a_sessions() {
        assert_eq!(adoption_number([], []), Some(1));
        assert_eq!(adoption_number([3, 9, 4], [9]), Some(10));
        assert_eq!(adoption_number([9], [10]), Some(10), "a promotion is open: the raise is the same");
        assert_eq!(adoption_number([9], [12]), Some(12));
        assert_eq!(adoption_number([MAX_NUMBER - 1], []), Some(MAX_NUMBER));
        assert_eq!(adoption_number([MAX_NUMBER], []), None);
        assert_eq!(adoption_number([1], [u64::MAX]), None);
        assert_eq!(adoption_number([u64::MAX], []), None);
    }

    #[test]
    fn a_regrant_replaces_a_cloud_grant_of_the_same_machine_by_one_for_another_boot() {
        assert_eq!(may_regrant(&cloud(9), &7.into(), "second"), Ok(()));
        assert_eq!(may_regrant(&cloud(9), &7.into(), "first"), Err(RegrantError::SameBoot { number: 9 }));
        assert_eq!(may_regrant(&home(9), &7.into(), "second"), Err(RegrantError::Home { number: 9 }));
        let other = RegrantError::OtherMachine { number: 9, granted: 7.into(), found: 8.into() };
        assert_eq!(may_regrant(&cloud(9), &8.into(), "second"), Err(other));
    }

    #[test]
    fn an_adoption_raises_and_waits_for_a_session_that_exists_and_never_frees_it() {
        let ttl = Duration::from_secs(3600);
        let held = |number, on_loss| {
            Session::free(number, Uuid::nil()).held_by(Uuid::from_u128(1), on_loss, ttl, Time::UNIX_EPOCH, Uuid::nil())
        };
        let hour = Duration::from_secs(3600);
        let old = Duration::from_secs(3600 + 72 + 30);
        let step = |session: &Session, unchanged| {
            let home = home(8);
            let adoption = Adoption {
                number: 9,
                over: Some(home.grant()),
                keeps: false,
                stated: false,
                machines_terminated: false,
                session: Some(session),
                unchanged,
                was_known: true,
                longest: Some(old),
                silent: 9,
            };
            adoption.next()
        };
        for (session, unchanged, expected) in [
            (held(8, OnLedgerLoss::Stop), old, AdoptStep::Raise),
            (held(9, OnLedgerLoss::Stop), hour, AdoptStep::Wait(Some(old - hour))),
            (held(9, OnLedgerLoss::Stop), old, AdoptStep::Sign),
            (held(9, OnLedgerLoss::Run), Duration::MAX, AdoptStep::Wait(None)),
            (Session::free(9, Uuid::nil()), Duration::ZERO, AdoptStep::Sign),
            (Session::free(8, Uuid::nil()), Duration::MAX, AdoptStep::Raise),
        ] {
            assert_eq!(step(&session, unchanged), expected, "{session:?}, {unchanged:?}");
        }
    }

    #[test]
    fn a_missing_session_is_made_after_silence_and_the_time_in_which_its_holder_may_still_start() {
        let old = Duration::from_secs(3702);
        let new = Adoption {
            number: 1,
            over: None,
            keeps: false,
            stated: false,
            machines_terminated: false,
            session: None,
            unchanged: Duration::ZERO,
            was_known: false,
            longest: Some(old),
            silent: 0,
        };
        assert_eq!(new.next(), AdoptStep::Create, "there never was one");
        let lost = Adoption { was_known: true, ..new };
        assert_eq!(lost.next(), AdoptStep::Silence(5));
        assert_eq!(Adoption { silent: 4, unchanged: old, ..lost }.next(), AdoptStep::Silence(1));
        assert_eq!(Adoption { silent: 5, ..lost }.next(), AdoptStep::Wait(Some(old)));
        assert_eq!(Adoption { silent: 5, unchanged: old, ..lost }.next(), AdoptStep::Create);
        let run = Adoption { silent: 5, unchanged: Duration::MAX, longest: None, ..lost };
        assert_eq!(run.next(), AdoptStep::Wait(None), "only the statement");
        assert_eq!(Adoption { stated: true, ..run }.next(), AdoptStep::Create);
        assert_eq!(Adoption { stated: true, ..lost }.next(), AdoptStep::Create, "neither silence nor time");
    }

    /// Also one that continues without the ledger, whose age says nothing.
    #[test]
    fn a_statement_frees_what_is_held_and_only_a_settled_home_keeps_it() {
        let (home, cloud) = (home(8), cloud(8));
        let session = |number, on_loss| {
            let ttl = Duration::from_secs(3600);
            Session::free(number, Uuid::nil()).held_by(Uuid::from_u128(1), on_loss, ttl, Time::UNIX_EPOCH, Uuid::nil())
        };
        let next = |session: &Session, stated, keeps, over: &VerifiedGrant| {
            let adoption = Adoption {
                number: 9,
                over: Some(over.grant()),
                keeps,
                stated,
                machines_terminated: false,
                session: Some(session),
                unchanged: Duration::ZERO,
                was_known: true,
                longest: None,
                silent: 0,
            };
            adoption.next()
        };
        for on_loss in [OnLedgerLoss::Stop, OnLedgerLoss::Run] {
            assert_eq!(next(&session(8, on_loss), true, false, &home), AdoptStep::Free);
            assert_eq!(next(&session(9, on_loss), true, false, &home), AdoptStep::Free, "raised before, and not freed");
            assert_eq!(next(&session(9, on_loss), true, false, &cloud), AdoptStep::Terminate, "it says nothing of it");
            assert_eq!(next(&session(8, on_loss), false, true, &home), AdoptStep::Sign, "what runs continues");
            assert!(matches!(next(&session(9, on_loss), false, true, &home), AdoptStep::Wait(_)), "raised meanwhile");
        }
        assert_eq!(next(&Session::free(9, Uuid::nil()), true, false, &home), AdoptStep::Sign);
        assert_eq!(next(&Session::free(8, Uuid::nil()), true, false, &home), AdoptStep::Raise);
    }

    /// Each of them ends before its grant: the session keeps the number that the next one signs.
    #[test]
    fn two_adoptions_that_end_halfway_do_not_strand_home() {
        let grant = home(8);
        let mut session = Session::free(9, Uuid::nil());
        for _ in 0..2 {
            let number = adoption_number([grant.grant().number], [session.number]).unwrap();
            session = session.raised_to(number, Uuid::nil());
        }
        let number = adoption_number([grant.grant().number], [session.number]).unwrap();
        assert_eq!((number, session.number), (9, 9));
    }

    #[test]
    fn a_regrants_number_is_the_next_one_for_a_boot_id_while_no_number_is_raised() {
        let (boot, seven) = ("00000000-0000-0000-0000-00000000000f", InstanceId::from(7));
        assert_eq!(regrant(&cloud(9), Some(9), &seven, boot), Ok(10));
        assert_eq!(regrant(&cloud(9), None, &seven, boot), Ok(10));
        for wrong in ["", "second", "00000000-0000-0000-0000-00000000000F", "00000000-0000-0000-0000-0000000000001"] {
            assert_eq!(regrant(&cloud(9), None, &seven, wrong), Err(RegrantError::BootId(wrong.into())));
        }
        let moving = Err(RegrantError::Moving { session: 10, grant: 9 });
        assert_eq!(regrant(&cloud(9), Some(10), &seven, boot), moving);
        assert_eq!(regrant(&cloud(9), Some(10), &seven, "first"), moving, "nor is the old one carried there again");
        assert_eq!(regrant(&cloud(9), Some(9), &seven, "first"), Err(RegrantError::SameBoot { number: 9 }));
        assert_eq!(regrant(&cloud(MAX_NUMBER), None, &seven, boot), Err(RegrantError::NumberTooLarge(MAX_NUMBER)));
    }

    #[test]
    fn no_adoption_while_a_promoted_machine_may_run() {
        let cloud = cloud(8);
        let session = Session::free(9, Uuid::nil());
        let adoption = Adoption {
            number: 9,
            over: Some(cloud.grant()),
            keeps: false,
            stated: false,
            machines_terminated: false,
            session: Some(&session),
            unchanged: Duration::MAX,
            was_known: true,
            longest: None,
            silent: 5,
        };
        assert_eq!(adoption.next(), AdoptStep::Terminate);
        assert_eq!(Adoption { machines_terminated: true, ..adoption }.next(), AdoptStep::Sign);
    }
}
