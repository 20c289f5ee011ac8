//! Every bit of every kind of record, flipped.

use failover::{
    domain::{
        Action, AlertRecord, Case, ChainEvidence, Command, Evidence, Incident, IncidentId, InstanceRef, LedgerKey,
        Machine, MachineState, Role, Rung, Span, Stage, Standby, Time, Usd, Validator, ValidatorId, Written,
        alerts::{Alert, AlertState, Fingerprint},
        ownership::{Grant, Session, SignedGrant},
        stamped,
    },
    ports::{FindingState, Ledger as _, Observed, Unpromoted},
    records,
    runtime::{
        grants::{self, GrantRules},
        identity,
        journal::Entry,
        lease::{LeaseHolder, LeaseRecord},
        requests,
        store::{Envelope, FORM},
        verify,
    },
};
use uuid::Uuid;

use crate::support::memory_ledger::MemoryLedger;

fn eth() -> ValidatorId {
    ValidatorId::new("eth-0").unwrap()
}

fn incident() -> IncidentId {
    IncidentId::derive(&eth(), Time::UNIX_EPOCH)
}

fn instance() -> InstanceRef {
    InstanceRef { zone: "us-central1-a".into(), name: format!("fo-eth-0-{}", incident()), id: 42.into() }
}

/// A record with an open incident, its machine and a second one that goes.
fn validator(ledger: Uuid) -> Envelope {
    let now = Time::now();
    let mut incident = Incident::new(incident(), now, "alert and chain say down".into());
    incident.estimate = Some(Usd(48.2));
    let extra = incident.next(Action::Delete(instance()), now);
    let rung = Rung { zone: "us-central1-a".into(), machine_type: "n2-standard-8".into() };
    let standby = Standby { ready: true, extra: Some(extra), ..Standby::new(instance(), rung, now) };
    let case = Some(Case { incident, stage: Stage::Standing(standby), attention: None });
    let validator = Validator { case, ..Validator::default() };
    Envelope { form: FORM, ledger, written_at: now, token: 3, write_id: Uuid::nil(), validator }
}

fn alert() -> AlertRecord {
    let now = Time::now();
    let alert = Alert {
        validator: eth(),
        fingerprint: Fingerprint::new("e1552dd47b7bee5f").unwrap(),
        starts_at: Some(now),
        evidence: Evidence::Process,
        mapping: "{validator=\"eth-0\"}".into(),
        name: "ValidatorDown".into(),
        summary: "it is down".into(),
    };
    let state = AlertState::Firing { since: now };
    AlertRecord { alert, state, ends_at: None, seen_at: now, saved_at: now, revision: 1 }
}

async fn every_kind() -> Vec<(String, Vec<u8>)> {
    let (ledger, now) = (MemoryLedger::default(), Time::now());
    let id = identity::of(&ledger, now).await.unwrap().id;
    let until = now + Span::from_hours(1);
    requests::send(&ledger, now, &eth(), "me", "new disk", Command::Pause { until }, None).await.unwrap();
    let about = LeaseHolder { site: "home".into(), address: Some("http://127.0.0.1:8080".into()), witness: None };
    let lease = LeaseRecord { holder: Uuid::nil().to_string(), about, token: 3, beat: 7, ttl_ms: 30_000 };
    let entry = Entry {
        kind: None,
        at: now,
        validator: eth(),
        site: "home".into(),
        token: 3,
        from: "watching".into(),
        to: "provisioning".into(),
        asked_by: None,
        asked: None,
        reasons: vec!["opened".into()],
    };
    let journal = LedgerKey::journal(&stamped(now, Uuid::nil()));
    let (record, alert) = (LedgerKey::validator(&eth()), alert());
    let alert_key = alert.alert.key();
    let chain = LedgerKey::chain(&eth());
    ledger.set(&record, records::encode(&record, &validator(id)));
    ledger.set(&LedgerKey::LEASE, records::encode(&LedgerKey::LEASE, &lease));
    ledger.set(&journal, records::encode(&journal, &entry));
    ledger.set(&alert_key, records::encode(&alert_key, &alert));
    ledger.set(&chain, records::encode(&chain, &ChainEvidence::default()));
    let session = LedgerKey::session(&eth());
    ledger.set(&session, records::encode(&session, &Session::free(7, Uuid::nil())));
    // Of the key of the last request only whether it has changed counts.
    let read = ledger.dump().into_iter().filter(|(key, _)| *key != *LedgerKey::LAST_REQUEST);
    let all: Vec<_> = read.map(|(key, text)| (key, text.into_bytes())).collect();
    assert_eq!(all.len(), 8, "one of each kind: {all:?}");
    let configured = [eth()];
    let verified = verify::verify(&ledger, &configured, &GrantRules::default(), Time::now(), |_| {}).await.unwrap();
    assert!(verified.findings.is_empty() && verified.records == 9, "{verified:#?}");
    all
}

fn flipped(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    (0..bytes.len() * 8).map(|bit| {
        let mut bytes = bytes.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    })
}

#[tokio::test]
async fn a_flipped_bit_in_a_record_of_any_kind_is_an_error_that_names_the_key() {
    for (key, bytes) in every_kind().await {
        for damaged in flipped(&bytes) {
            let finding = verify::of_record(&key, &damaged, None);
            let is_named = |finding: &failover::ports::Finding| {
                finding.subject == key && finding.state == FindingState::Problem && finding.remedy.is_some()
            };
            assert!(finding.as_ref().is_some_and(is_named), "{key}: {}", String::from_utf8_lossy(&damaged));
        }
    }
}

/// What is whole under another key is not that key's: SQLite's pages and a bucket's names may be damaged as well.
#[tokio::test]
async fn a_record_under_a_key_with_a_flipped_bit_is_never_believed() {
    for (key, bytes) in every_kind().await {
        for other in flipped(key.as_bytes()) {
            let Ok(other) = String::from_utf8(other) else { continue };
            let finding = verify::of_record(&other, &bytes, None);
            // An alert of an earlier build is removed without being read.
            assert!(finding.is_some_and(|finding| finding.subject == other), "{key} as {other:?}");
        }
    }
}

/// A grant has no checksum but its signature: whatever a flipped bit makes of it, the machine is not deleted.
#[tokio::test]
async fn a_flipped_bit_in_a_grant_frees_no_machine() {
    let machine = Machine {
        instance: instance(),
        validator: "eth-0".into(),
        incident: incident().to_string(),
        ledger: String::new(),
        role: Role::Standby,
        state: MachineState::Running,
        deletion_protection: false,
        machine_type: "n2-standard-8".into(),
        created_at: None,
    };
    let seen = Observed { machine, written: Written::Nothing };
    let signatures = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/signatures/");
    let read = |name: &str| std::fs::read_to_string(format!("{signatures}{name}")).unwrap();
    let grant: Grant = serde_json::from_str(&read("grant.json")).unwrap();
    let rules = GrantRules {
        allowed_signers: Some(format!("{signatures}allowed_signers").into()),
        allow_untouched: false,
        chains: [(eth(), grant.chain.clone())].into(),
    };
    let ledger = MemoryLedger::default();
    let session = LedgerKey::session(&eth());
    ledger.set(&session, records::encode(&session, &Session::free(grant.number, Uuid::nil())));
    let bytes = SignedGrant { grant, signature: read("ed25519.sig") }.bytes();
    let is_free = async |bytes: &[u8]| {
        ledger.set(&LedgerKey::owner(&eth()), bytes);
        let view = grants::view(&ledger, &rules, &eth()).await.unwrap();
        Unpromoted::check(&seen, &eth(), incident(), &view).is_ok()
    };
    assert!(is_free(&bytes).await);
    let mut free = 0;
    for damaged in flipped(&bytes) {
        // What JSON takes for the same words in another form is the same grant.
        let is_same = SignedGrant::parse(&damaged).is_ok_and(|signed| signed.bytes() == bytes);
        assert_eq!(is_free(&damaged).await, is_same, "{}", String::from_utf8_lossy(&damaged));
        free += usize::from(is_same);
    }
    assert!(free < 8, "{free}");
}

#[tokio::test]
async fn what_contradicts_its_key_or_another_record_is_found_and_nothing_is_written() {
    let ledger = MemoryLedger::default();
    let id = identity::of(&ledger, Time::now()).await.unwrap().id;
    let set = |key: &str, envelope: &Envelope| ledger.set(key, records::encode(key, envelope));
    let mut closed_yet_open = validator(id);
    closed_yet_open.validator.history.push(failover::domain::Closed {
        id: incident(),
        opened_at: Time::UNIX_EPOCH,
        closed_at: Time::now(),
        automatic: true,
        cost: None,
        how: "home is back".into(),
    });
    set("validators/eth-0", &closed_yet_open);
    set("validators/eth-1", &validator(Uuid::from_u128(9)));
    let mut late = validator(id);
    late.written_at = Time::now() + Span::from_hours(5);
    late.validator.case = None;
    set("validators/gone", &late);
    let other = "alerts/eth-1/e1552dd47b7bee5f";
    ledger.set(other, records::encode(other, &alert()));
    ledger.set("validators/Eth", "{}");
    ledger.set("checks/00000000-0000-0000-0000-000000000000", "{\"v\":2}");
    let before = (ledger.dump(), ledger.puts());
    let configured = [eth(), ValidatorId::new("eth-1").unwrap()];
    let verified = verify::verify(&ledger, &configured, &GrantRules::default(), Time::now(), |_| {}).await.unwrap();
    let said: Vec<String> =
        verified.findings.iter().map(|finding| format!("{}: {}", finding.subject, finding.detail)).collect();
    for wanted in [
        "alerts/eth-1/e1552dd47b7bee5f: it does not belong under its key",
        "validators/Eth: no failover writes such a key",
        "checks/00000000-0000-0000-0000-000000000000: a `failover check` that was interrupted",
        "validators/eth-0: its incident 31ec5ddd is open, and among those that ended",
        "validators/eth-1: the record validators/eth-1 belongs to ledger 00000000-0000-0000-0000-000000000009",
        "validators/eth-1: its incident 31ec5ddd is eth-0's as well",
        "validators/eth-1: its standby fo-eth-0-31ec5ddd in us-central1-a is eth-0's as well",
        "validators/gone: it is not configured here",
        "validators/gone: it was written in the future",
    ] {
        assert!(said.iter().any(|said| said.starts_with(wanted)), "{wanted}\n{said:#?}");
    }
    assert_eq!(said.len(), 9, "{said:#?}");
    assert!(verified.findings.iter().all(|finding| finding.remedy.is_some()));
    assert_eq!((ledger.dump(), ledger.puts()), before, "nothing is written");
}

/// A ledger of many pages is walked through to its end.
#[tokio::test]
async fn every_record_of_a_large_ledger_is_looked_at() {
    let ledger = MemoryLedger::default();
    for number in 0..1234 {
        ledger.set(&format!("unknown/{number:04}"), "x");
    }
    let seen = std::cell::Cell::new(0);
    let verified =
        verify::verify(&ledger, &[], &GrantRules::default(), Time::now(), |records| seen.set(records)).await.unwrap();
    assert_eq!((verified.records, seen.get(), verified.findings.len(), verified.more), (1234, 1234, 200, 1034));
    assert!(ledger.get("unknown/0000").await.unwrap().is_some());
}
