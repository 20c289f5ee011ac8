//! Operators who race, writes that are lost, and ends in the middle.

use failover::{
    domain::{
        LedgerKey,
        ownership::{Grant, SignedGrant},
    },
    ports::Ledger as _,
    runtime::grants::{ReplaceError, replace},
};

use super::rig::{eth, grant, home};
use crate::support::memory_ledger::{Fault, MemoryLedger};

/// Nobody checks signatures here: whoever replaces has done so.
fn signed(number: u64, by: &str) -> SignedGrant {
    SignedGrant { grant: Grant { by: by.into(), ..grant(home(), number) }, signature: by.into() }
}

fn ledger() -> MemoryLedger {
    let ledger = MemoryLedger::default();
    ledger.set(&LedgerKey::owner(&eth()), signed(1, "first").bytes());
    ledger
}

fn in_force(ledger: &MemoryLedger) -> String {
    ledger.dump().get(&*LedgerKey::owner(&eth())).cloned().unwrap_or_default()
}

fn text(grant: &SignedGrant) -> String {
    String::from_utf8(grant.bytes()).unwrap()
}

#[tokio::test]
async fn of_two_operators_exactly_one_wins_and_the_losers_grant_is_written_nowhere() {
    let ledger = ledger();
    let read = ledger.get(&LedgerKey::owner(&eth())).await.unwrap();
    let (ann, bob) = (signed(2, "ann"), signed(2, "bob"));
    replace(&ledger, &eth(), read.as_ref(), &ann).await.unwrap();
    let lost = replace(&ledger, &eth(), read.as_ref(), &bob).await;
    assert!(matches!(lost, Err(ReplaceError::Lost)), "{lost:?}");
    assert_eq!(in_force(&ledger), text(&ann));
    assert!(ledger.dump().values().all(|text| !text.contains("bob")), "{:?}", ledger.dump());
    let keys: Vec<_> = ledger.dump().into_keys().collect();
    assert_eq!(keys, ["owners/eth-0", "owners/eth-0/1"]);
    // Nor where there was none.
    let ledger = MemoryLedger::default();
    replace(&ledger, &eth(), None, &ann).await.unwrap();
    assert!(matches!(replace(&ledger, &eth(), None, &bob).await, Err(ReplaceError::Lost)));
    assert_eq!(ledger.dump().len(), 1);
}

#[tokio::test]
async fn an_end_at_any_write_leaves_the_old_grant_or_the_new_one_and_can_be_repeated() {
    // The copy, then the replacement; each is not done, done without a reply, or neither.
    for at in 0..2 {
        for fault in [Fault::Unavailable, Fault::LostReply, Fault::LostRequest] {
            let (ledger, ann) = (ledger(), signed(2, "ann"));
            // A put that no fault meets is scripted as one whose reply is lost: that is found out by reading.
            ledger.script(std::iter::repeat_n(Fault::LostReply, at).chain([fault]));
            let read = ledger.get(&LedgerKey::owner(&eth())).await.unwrap();
            let ended = replace(&ledger, &eth(), read.as_ref(), &ann).await;
            let expected = if ended.is_ok() { text(&ann) } else { text(&signed(1, "first")) };
            assert_eq!(in_force(&ledger), expected, "{at} {fault:?}: {ended:?}");
            if ended.is_err() {
                let read = ledger.get(&LedgerKey::owner(&eth())).await.unwrap();
                replace(&ledger, &eth(), read.as_ref(), &ann).await.unwrap();
            }
            assert_eq!(ledger.dump()["owners/eth-0/1"], text(&signed(1, "first")), "{at} {fault:?}");
            assert_eq!(in_force(&ledger), text(&ann));
        }
    }
}

#[tokio::test]
async fn a_copy_of_another_grant_is_not_written_over() {
    let ledger = ledger();
    ledger.set("owners/eth-0/1", signed(1, "somebody").bytes());
    let before = ledger.dump();
    let read = ledger.get(&LedgerKey::owner(&eth())).await.unwrap();
    let refused = replace(&ledger, &eth(), read.as_ref(), &signed(2, "ann")).await;
    assert!(matches!(refused, Err(ReplaceError::OtherCopy { .. })), "{refused:?}");
    assert_eq!(ledger.dump(), before);
}

/// It may have been written: the machine gets it only when it was read.
#[tokio::test]
async fn a_grant_that_cannot_be_read_again_is_not_said_to_be_in_force() {
    let ledger = ledger();
    let read = ledger.get(&LedgerKey::owner(&eth())).await.unwrap();
    ledger.fail_reads(true);
    let ended = replace(&ledger, &eth(), read.as_ref(), &signed(2, "ann")).await;
    assert!(matches!(ended, Err(ReplaceError::Unknown(_))), "{ended:?}");
}
