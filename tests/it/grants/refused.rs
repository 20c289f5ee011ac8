//! What is no grant for this validator, however it came into the ledger: no machine is deleted by it.

use failover::{
    domain::{
        IncidentId, InstanceRef, LedgerKey, Machine, MachineState, Role, Time, Written,
        ownership::{Grant, NAMESPACE, OwnershipView, Session, SignedGrant},
        promotion::{PromotionKind, PromotionRecord, PromotionState},
    },
    ports::{Observed, Unpromoted},
    records,
    runtime::grants::{self, GrantRules},
};
use uuid::Uuid;

use super::rig::{Office, ROOT, cloud, eth, grant, home, sign};
use crate::support::memory_ledger::MemoryLedger;

struct Desk {
    ledger: MemoryLedger,
    rules: GrantRules,
}

impl Desk {
    fn new(office: &Office) -> Self {
        let allowed_signers = Some(office.path("allowed_signers"));
        let chains = [(eth(), ROOT.to_owned())].into();
        Self { ledger: MemoryLedger::default(), rules: GrantRules { allowed_signers, allow_untouched: false, chains } }
    }

    fn session(&self, number: u64) {
        let key = LedgerKey::session(&eth());
        self.ledger.set(&key, records::encode(&key, &Session::free(number, Uuid::nil())));
    }

    async fn view(&self) -> OwnershipView {
        grants::view(&self.ledger, &self.rules, &eth()).await.unwrap()
    }

    /// Why no machine is deleted; `None` when one may be.
    async fn refusal(&self) -> Option<String> {
        let incident = IncidentId::derive(&eth(), Time::UNIX_EPOCH);
        let machine = Machine {
            instance: InstanceRef { zone: "z".into(), name: "m".into(), id: 1.into() },
            validator: "eth-0".into(),
            incident: incident.to_string(),
            ledger: String::new(),
            role: Role::Standby,
            state: MachineState::Running,
            deletion_protection: false,
            machine_type: "t".into(),
            created_at: None,
        };
        let seen = Observed { machine, written: Written::Nothing };
        Unpromoted::check(&seen, &eth(), incident, &self.view().await).err().map(|refused| refused.to_string())
    }
}

#[tokio::test]
async fn only_a_verified_grant_for_home_lets_a_machine_be_deleted() {
    let Some(office) = Office::new() else { return };
    let desk = Desk::new(&office);
    let owner = LedgerKey::owner(&eth());
    let set = |signed: &SignedGrant| desk.ledger.set(&owner, signed.bytes());
    let refused = async |words: &str| {
        let refusal = desk.refusal().await;
        assert!(refusal.as_ref().is_some_and(|refusal| refusal.contains(words)), "{words}: {refusal:?}");
    };
    assert_eq!(desk.refusal().await, None, "nobody has ever signed one");
    desk.session(3);
    refused("a session and no grant").await;
    let good = office.signed("ann", grant(home(), 3));
    set(&good);
    assert_eq!(desk.refusal().await, None);
    desk.session(2);
    assert_eq!(desk.refusal().await, None);
    desk.session(4);
    refused("a promotion is under way").await;
    desk.session(3);
    set(&office.signed("ann", grant(cloud(101, 1), 3)));
    refused("grant 3 says that the machine 101 signs").await;
    set(&good);
    let unconfigured = Desk { ledger: MemoryLedger::default(), rules: GrantRules::default() };
    unconfigured.ledger.set(&owner, good.bytes());
    let why = unconfigured.refusal().await.unwrap();
    assert!(why.contains("configure `grants.allowed_signers`"), "{why}");
    desk.ledger.set(&LedgerKey::session(&eth()), "{}");
    refused("sessions/eth-0 cannot be read").await;
    assert!(!desk.refusal().await.unwrap().contains("ledger remove"), "taking it away would free it");
    desk.session(3);
    std::fs::remove_file(office.path("allowed_signers")).unwrap();
    refused("cannot be read").await;
}

/// Whatever the grants say: they are home's while a promotion begins, and again after a demotion.
#[tokio::test]
async fn an_open_promotion_makes_every_machine_untouchable_and_one_that_was_promoted_stays_so() {
    let Some(office) = Office::new() else { return };
    let desk = Desk::new(&office);
    desk.session(3);
    desk.ledger.set(&LedgerKey::owner(&eth()), office.signed("ann", grant(home(), 3)).bytes());
    assert_eq!(desk.refusal().await, None);
    let key = LedgerKey::promotion(&eth());
    let record = |state, promoted: &[u64]| PromotionRecord {
        validator: eth(),
        kind: PromotionKind::ToCloud,
        state,
        instance: InstanceRef { zone: "z".into(), name: "other".into(), id: 2.into() },
        shape: None,
        boot: None,
        number: 4,
        over: String::new(),
        opened_at: Time::UNIX_EPOCH,
        by: "ann".into(),
        reason: "home is dark".into(),
        until: None,
        statement: None,
        overrides: Vec::new(),
        steps: Vec::new(),
        raise: None,
        watermark: None,
        promoted: promoted.iter().map(|id| (*id).into()).collect(),
    };
    let set = |record: &PromotionRecord| desk.ledger.set(&key, records::encode(&key, record));
    for state in [PromotionState::Open, PromotionState::Aborting] {
        set(&record(state, &[]));
        assert!(desk.refusal().await.unwrap().contains("ann has opened a promotion"), "another machine too");
    }
    for state in [PromotionState::Aborted, PromotionState::Done] {
        set(&record(state, &[2]));
        assert_eq!(desk.refusal().await, None, "this one was never promoted");
        set(&record(state, &[2, 1]));
        assert!(desk.refusal().await.unwrap().contains("may hold keys"));
    }
    let long = PromotionRecord { reason: "x".repeat(5000), ..record(PromotionState::Done, &[]) };
    for unreadable in [b"{}".to_vec(), records::encode(&key, &long)] {
        desk.ledger.set(&key, unreadable);
        let why = desk.refusal().await.unwrap();
        assert!(why.contains("promotions/eth-0 cannot be read") && !why.contains("ledger remove"), "{why}");
    }
}

#[tokio::test]
async fn what_is_no_grant_for_this_validator_is_no_answer() {
    let Some(office) = Office::new() else { return };
    let desk = Desk::new(&office);
    desk.session(3);
    let good = grant(home(), 3);
    let other = |change: fn(&mut Grant)| {
        let mut grant = good.clone();
        change(&mut grant);
        office.signed("ann", grant).bytes()
    };
    let signature = sign(&office.key("ann"), "git", &good.bytes());
    let changed = SignedGrant { grant: Grant { number: 4, ..good.clone() }, ..office.signed("ann", good.clone()) };
    let namespace = SignedGrant { grant: good.clone(), signature };
    for (what, bytes, words) in [
        ("a wrong signature", changed.bytes(), "signature is refused"),
        ("another purpose", namespace.bytes(), "signature is refused"),
        ("a signer who is not allowed", office.signed("eve", good.clone()).bytes(), "allowed_signers does not name"),
        ("another's name", other(|grant| grant.by = "bob@example.org".into()), "is allowed for"),
        ("another chain", other(|grant| grant.chain = "0x00".into()), "is for the chain"),
        (
            "another validator",
            other(|grant| grant.validator = failover::domain::ValidatorId::new("eth-1").unwrap()),
            "is for validator eth-1",
        ),
        ("number 0", other(|grant| grant.number = 0), "number 0 is not in"),
        ("a huge number", other(|grant| grant.number = u64::MAX), "is not in 1 to"),
        ("a megabyte", vec![b' '; 1 << 20], "more than"),
        ("nothing", Vec::new(), "cannot be read"),
        ("what an earlier build believed", br#"{"place":"home"}"#.to_vec(), "cannot be read"),
    ] {
        desk.ledger.set(&LedgerKey::owner(&eth()), bytes);
        let why = desk.view().await.owner().unwrap_err();
        assert!(why.starts_with("owners/eth-0: ") && why.contains(words), "{what}: {why}");
        assert!(desk.refusal().await.is_some(), "{what}");
    }
    // Clocks are not asked: after a power cut one may say anything.
    desk.ledger.set(&LedgerKey::owner(&eth()), other(|grant| grant.issued_at = Time::MAX));
    assert_eq!(desk.refusal().await, None);
    assert_eq!(NAMESPACE, "failover-grant");
}
