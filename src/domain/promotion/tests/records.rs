//! The record as it is kept.

use uuid::Uuid;

use super::{super::*, world};
use crate::{
    domain::{InstanceRef, LedgerKey, Time, ValidatorId, gates::GateName},
    records,
};

fn record() -> PromotionRecord {
    PromotionRecord {
        validator: ValidatorId::new("eth-0").unwrap(),
        kind: PromotionKind::ToCloud,
        state: PromotionState::Open,
        instance: InstanceRef { zone: "z".into(), name: "fo-eth-0".into(), id: 7.into() },
        shape: Some(world::shape()),
        boot: Some("boot-1".into()),
        number: 5,
        over: "00".repeat(32),
        opened_at: Time::UNIX_EPOCH,
        by: "op@example.org".into(),
        reason: "home is dark".into(),
        until: Some(PromotionEffect::Start),
        statement: Some("the fuse is in my pocket".into()),
        overrides: vec![NotedOverride { gate: GateName::NoPause, reason: "mine".into() }],
        steps: vec![NotedStep { effect: PromotionEffect::Protect, at: Time::UNIX_EPOCH }],
        raise: Some(NotedRaise { over: Uuid::nil(), write: Uuid::max(), unchanged_seconds: 9 }),
        watermark: Some(NotedWatermark { epoch: 7, digest: "ab".into() }),
        promoted: vec![6.into()],
    }
}

#[test]
fn a_record_is_read_as_it_was_written_and_an_unknown_field_is_refused() {
    let key = LedgerKey::promotion(&record().validator);
    let bytes = records::encode(&key, &record());
    assert_eq!(records::decode::<PromotionRecord>(&key, &bytes), Ok(record()));
    let mut more = serde_json::to_value(record()).unwrap();
    more["note"] = 1.into();
    assert!(records::decode::<PromotionRecord>(&key, &records::encode(&key, &more)).is_err());
    let mut other = serde_json::to_value(record()).unwrap();
    other["state"] = "finished".into();
    assert!(records::decode::<PromotionRecord>(&key, &records::encode(&key, &other)).is_err());
    let mut forgotten = serde_json::to_value(record()).unwrap();
    forgotten.as_object_mut().unwrap().remove("promoted");
    assert!(records::decode::<PromotionRecord>(&key, &records::encode(&key, &forgotten)).is_err());
}

/// They stand in ledgers that a newer program reads.
#[test]
fn the_words_of_the_record_are_those_of_every_release() {
    let text = serde_json::to_string(&record()).unwrap();
    for word in [
        r#""kind":"to_cloud","state":"open""#,
        r#""until":"start""#,
        r#""gate":"no-pause""#,
        r#"{"effect":"protect","at":"1970-01-01T00:00:00Z"}"#,
        r#""unchanged_seconds":9"#,
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[test]
fn a_record_that_is_too_long_repeats_itself_or_is_anothers_is_refused() {
    let validator = record().validator;
    let checked = |change: fn(&mut PromotionRecord)| {
        let mut changed = record();
        change(&mut changed);
        changed.check(&validator)
    };
    assert_eq!(checked(|_| {}), Ok(()));
    for change in [
        (|record| record.validator = ValidatorId::new("eth-1").unwrap()) as fn(&mut PromotionRecord),
        |record| record.reason = "x".repeat(4001),
        |record| record.statement = Some("x".repeat(4001)),
        |record| record.steps.push(record.steps[0]),
        |record| record.overrides.push(record.overrides[0].clone()),
        |record| record.promoted.push(6.into()),
        |record| record.promoted = (0..513_u64).map(Into::into).collect(),
        |record| record.state = PromotionState::Done,
        |record| record.kind = PromotionKind::ToHome,
    ] {
        assert!(checked(change).is_err());
    }
}

#[test]
fn while_it_is_open_no_machine_may_be_touched_and_one_that_was_promoted_never() {
    let of = |state| PromotionRecord { state, ..record() };
    for state in [PromotionState::Open, PromotionState::Aborting] {
        assert!(of(state).forbids(&1.into()) && of(state).forbids(&7.into()));
    }
    for state in [PromotionState::Aborted, PromotionState::Done] {
        assert!(!of(state).forbids(&1.into()) && of(state).forbids(&6.into()));
    }
}
