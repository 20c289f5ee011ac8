//! The record of promotions as the watcher keeps it beside the owner: what it decides by, bounded.

use serde::{Deserialize, Serialize};

use super::{
    InstanceId, InstanceRef, Owner, Span, Text, Time, TimeExt, Validator,
    ownership::Session,
    promotion::{PromotionEffect, PromotionKind, PromotionRecord, PromotionState},
};

/// What one change of a machine, or of the ledger, takes.
const CHANGE: Span = Span::from_mins(5);
/// What the cloud takes to stop a machine, and a person to touch a key.
const STOP_OR_SIGN: Span = Span::from_mins(10);
/// Until a machine that was started again is ready: it has its data.
const READY: Span = Span::from_hours(1);
/// So long after the time that a step has announced people are notified.
pub const OVERDUE_AFTER: Span = Span::from_mins(15);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromotionView {
    pub kind: PromotionKind,
    pub state: PromotionState,
    pub instance: InstanceRef,
    /// Of the grant that is signed; 0 if nothing is.
    pub number: u64,
    /// As all times here by the clock of whoever promotes.
    pub opened_at: Time,
    pub by: Text,
    pub reason: Text,
    /// What was begun last.
    pub step: Option<PromotionEffect>,
    /// When that, and what is waited for after it, is over, as it has announced.
    pub due_at: Time,
    /// Every machine that may hold keys.
    pub promoted: Vec<InstanceId>,
    /// A gate at home has written the session since its number was raised, and holds it.
    pub home_holds: bool,
}

impl PromotionView {
    #[must_use]
    pub fn of(record: &PromotionRecord, session: Option<&Session>) -> Self {
        let last = record.steps.last();
        let step = last.map(|step| step.effect);
        let lasts = match step {
            Some(PromotionEffect::Raise) => wait(record, session),
            Some(PromotionEffect::Start) => READY,
            Some(PromotionEffect::Stop | PromotionEffect::Sign | PromotionEffect::SignHome) => STOP_OR_SIGN,
            Some(
                PromotionEffect::Protect
                | PromotionEffect::MakePermanent
                | PromotionEffect::Rename
                | PromotionEffect::PutWatermark
                | PromotionEffect::Carry
                | PromotionEffect::RenameBack
                | PromotionEffect::MakeTemporary
                | PromotionEffect::Unprotect,
            )
            | None => CHANGE,
        };
        let holds = |session: &Session| {
            session.holder.is_some() && record.raise.is_some_and(|raise| raise.write != session.write)
        };
        Self {
            kind: record.kind,
            state: record.state,
            instance: record.instance.clone(),
            number: record.number,
            opened_at: record.opened_at,
            by: record.by.as_str().into(),
            reason: record.reason.as_str().into(),
            step,
            due_at: last.map_or(record.opened_at, |step| step.at).plus(lasts),
            promoted: record.promoted.clone(),
            home_holds: record.state == PromotionState::Done && session.is_some_and(holds),
        }
    }

    /// Whether it is a later word about the same promotion.
    #[must_use]
    pub fn is_of(&self, other: &Self) -> bool {
        (self.kind, self.opened_at, &self.by) == (other.kind, other.opened_at, &other.by)
    }

    /// A machine that signs nothing and serves: there is no grant for it.
    fn serves_without_a_grant(&self, instance: &InstanceId) -> bool {
        (self.kind, self.state, self.number) == (PromotionKind::ToCloud, PromotionState::Done, 0)
            && self.instance.id == *instance
    }
}

/// How long the session is waited out at most. Nothing announces when one is given back that is never old.
fn wait(record: &PromotionRecord, session: Option<&Session>) -> Span {
    let counted = record.raise.map_or(0, |raise| raise.unchanged_seconds);
    let left = session.and_then(Session::old_after).map(|after| after.as_secs().saturating_sub(counted));
    Span::from_secs(left.and_then(|left| i64::try_from(left).ok()).unwrap_or_default())
}

impl Validator {
    /// A promotion or a demotion that has begun and not ended.
    #[must_use]
    pub fn open_promotion(&self) -> Option<&PromotionView> {
        self.promotion.as_deref().filter(|promotion| promotion.state.is_open())
    }

    /// Whether its machines are people's alone: a promotion or a demotion is open, or the cloud may own the keys.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        self.owner.may_be_cloud() || self.open_promotion().is_some()
    }

    /// Whether the grant in force is for this machine.
    #[must_use]
    pub fn is_owner(&self, instance: &InstanceId) -> bool {
        matches!(&self.owner, Owner::Cloud { instance: owner, .. } if owner == instance)
    }

    /// A machine that was promoted once and serves no more: it may hold keys, is its operator's alone, and stands in
    /// the way of no other.
    #[must_use]
    pub fn is_kept(&self, instance: &InstanceId) -> bool {
        let Some(promotion) = &self.promotion else { return false };
        let is_between = promotion.state.is_open() || matches!(self.owner, Owner::Moving { .. });
        promotion.promoted.contains(instance)
            && !is_between
            && !self.is_owner(instance)
            && !promotion.serves_without_a_grant(instance)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::{
        ownership::OnLedgerLoss,
        promotion::{NotedRaise, NotedStep},
    };

    fn at(minute: i64) -> Time {
        Time::UNIX_EPOCH.plus(Span::from_mins(minute))
    }

    fn record(steps: &[(PromotionEffect, i64)]) -> PromotionRecord {
        let text = serde_json::json!({
            "validator": "eth-0", "kind": "to_cloud", "state": "open", "number": 8, "over": "d", "by": "ann",
            "reason": "r",
            "instance": {"zone": "z", "name": "fo-eth-0-1a2b3c4d", "id": "101"}, "opened_at": at(0), "promoted": [],
        });
        let mut record: PromotionRecord = serde_json::from_value(text).unwrap();
        record.steps = steps.iter().map(|(effect, minute)| NotedStep { effect: *effect, at: at(*minute) }).collect();
        record
    }

    fn held(on_loss: OnLedgerLoss, write: u128) -> Session {
        let holder = Some(Uuid::from_u128(1));
        Session { holder, on_loss, ttl_seconds: 21_600, ..Session::free(8, Uuid::from_u128(write)) }
    }

    #[test]
    fn a_step_is_due_when_it_says_and_a_wait_when_the_session_is_old() {
        let due = |record: &PromotionRecord, session: Option<&Session>| PromotionView::of(record, session).due_at;
        assert_eq!(due(&record(&[]), None), at(5));
        assert_eq!(due(&record(&[(PromotionEffect::Protect, 1), (PromotionEffect::Stop, 2)]), None), at(12));
        let mut raised = record(&[(PromotionEffect::Start, 10), (PromotionEffect::Raise, 30)]);
        let (over, write) = (Uuid::from_u128(1), Uuid::from_u128(2));
        raised.raise = Some(NotedRaise { over, write, unchanged_seconds: 0 });
        let old = Span::from_secs(21_600 + 432 + 30);
        assert_eq!(due(&raised, Some(&held(OnLedgerLoss::Stop, 2))), at(30).plus(old));
        // What it had not changed for before counts.
        raised.raise = Some(NotedRaise { over, write, unchanged_seconds: 3600 });
        assert_eq!(due(&raised, Some(&held(OnLedgerLoss::Stop, 2))), at(30).plus(old).minus(Span::from_hours(1)));
        // Never by itself: people are asked soon.
        assert_eq!(due(&raised, Some(&held(OnLedgerLoss::Run, 2))), at(30));
        assert_eq!(due(&raised, None), at(30));
    }

    #[test]
    fn home_holds_the_session_by_a_write_of_its_own_after_the_raise_only() {
        let mut done = record(&[]);
        let (over, write) = (Uuid::from_u128(1), Uuid::from_u128(2));
        done.raise = Some(NotedRaise { over, write, unchanged_seconds: 0 });
        done.promoted.push(101.into());
        let holds = |done: &PromotionRecord, session: &Session| PromotionView::of(done, Some(session)).home_holds;
        assert!(!holds(&done, &held(OnLedgerLoss::Stop, 3)), "it is open: a holder may still write");
        done.state = PromotionState::Done;
        assert!(!holds(&done, &held(OnLedgerLoss::Stop, 2)), "it died, and never gave it back");
        assert!(!holds(&done, &Session::free(8, Uuid::from_u128(3))), "it gave it back");
        assert!(holds(&done, &held(OnLedgerLoss::Stop, 3)));
    }

    #[test]
    fn a_machine_is_kept_aside_only_when_nothing_is_open_and_nothing_grants_it() {
        let mut done = record(&[]);
        (done.state, done.promoted) = (PromotionState::Done, vec![101.into()]);
        let view = |record: &PromotionRecord| Some(Box::new(PromotionView::of(record, None)));
        let mut validator = Validator { promotion: view(&done), owner: Owner::Home, ..Validator::default() };
        let id = |number: u64| InstanceId::from(number);
        assert!(validator.is_kept(&id(101)) && !validator.is_kept(&id(102)));
        // Grant and record are not read in one moment.
        validator.owner = Owner::Moving { number: 8 };
        assert!(!validator.is_kept(&id(101)));
        validator.owner = Owner::Cloud { number: 8, instance: id(101), boot: "b".into() };
        assert!(!validator.is_kept(&id(101)));
        validator.owner = Owner::Cloud { number: 8, instance: id(103), boot: "b".into() };
        assert!(validator.is_kept(&id(101)), "that of an earlier promotion");
        done.state = PromotionState::Open;
        (validator.promotion, validator.owner) = (view(&done), Owner::Home);
        assert!(!validator.is_kept(&id(101)) && validator.is_taken());
        (done.state, done.number) = (PromotionState::Done, 0);
        (validator.promotion, validator.owner) = (view(&done), Owner::Unknown);
        assert!(!validator.is_kept(&id(101)), "it signs nothing, and serves");
        assert_eq!(validator.promotion.unwrap().by, Text::from("ann"));
    }
}
