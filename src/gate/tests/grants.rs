//! Which grants a gate at home starts by. None of them stops what runs.

use std::sync::{Arc, Mutex};

use tokio::time::sleep;

use super::{MINUTE, Signatory, World, at_home, eth_0, grant, in_cloud};
use crate::domain::{
    LedgerKey, Time, TimeExt, ValidatorId,
    gate::WaitKind,
    ownership::{Grant, SignedGrant},
};

const HUGE: u64 = (1 << 53) - 1;

/// What is in `owners/`, whether it starts, and what the wait says.
fn cases(world: &World) -> Vec<(&'static str, Vec<u8>, Option<&'static str>)> {
    let sign = |grant| world.signatory.sign(grant).bytes();
    let good = || grant(8, at_home());
    let stranger = Signatory::new();
    let other = SignedGrant { grant: Grant { reason: "changed".into(), ..good() }, ..world.signatory.sign(good()) };
    let eth_1 = ValidatorId::new("eth-1").unwrap();
    let future = Time::UNIX_EPOCH.plus(crate::domain::Span::from_hours(24 * 365 * 200));
    vec![
        ("good", sign(good()), None),
        ("from the future", sign(Grant { issued_at: future, ..good() }), None),
        ("huge", sign(grant(HUGE, at_home())), None),
        ("lower than the session", sign(grant(7, at_home())), Some("a promotion is under way")),
        ("zero", sign(grant(0, at_home())), Some("the grant's number 0")),
        ("too huge", sign(grant(HUGE + 1, at_home())), Some("the grant's number")),
        ("changed after it was signed", other.bytes(), Some("signature is refused")),
        ("by a stranger", stranger.sign(good()).bytes(), Some("which allowed_signers does not name")),
        ("in another's name", sign(Grant { by: "x@example.org".into(), ..good() }), Some("the grant says it is by x")),
        ("another chain", sign(Grant { chain: "1".into(), ..good() }), Some("the grant is for the chain 1")),
        ("another validator", sign(Grant { validator: eth_1, ..good() }), Some("for validator eth-1")),
        ("a megabyte", vec![b' '; 1 << 20], Some("1048576 bytes")),
        ("empty", Vec::new(), Some("cannot be read")),
        ("the cloud", sign(grant(8, in_cloud("b"))), Some("the machine 7 in z")),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_gate_starts_by_a_grant_that_it_can_verify_and_by_nothing_else() {
    let world = World::new();
    for (what, bytes, refused) in cases(&world) {
        world.bucket.set(&LedgerKey::owner(&eth_0()), bytes);
        let house = world.home(1);
        let gate = house.start(&world);
        sleep(2 * MINUTE).await;
        match refused {
            None => assert!(gate.runs(), "{what}: {:?}", gate.status()),
            Some(words) => {
                let (kind, why) = gate.waits();
                assert!(why.contains(words) && kind != WaitKind::Session, "{what}: {kind:?}, {why}");
                assert_eq!((gate.starts(), house.link.puts()), (0, 0), "{what}");
            }
        }
        assert_eq!(gate.terminate().await, 0, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_grant_stops_what_runs() {
    let world = World::new();
    let gate = world.home(1).start(&world);
    gate.until_it_runs().await;
    for (what, bytes, _) in cases(&world) {
        world.bucket.set(&LedgerKey::owner(&eth_0()), bytes);
        sleep(10 * MINUTE).await;
        assert!(gate.runs() && gate.starts() == 1, "{what}");
    }
    world.bucket.remove(&LedgerKey::owner(&eth_0()));
    sleep(10 * MINUTE).await;
    assert!(gate.runs());
    gate.terminate().await;
}

#[tokio::test(start_paused = true)]
async fn the_same_number_with_other_words_is_another_history() {
    let world = World::new();
    let house = world.home(1);
    let gate = house.start(&world);
    gate.until_it_runs().await;
    gate.terminate().await;
    let rival = world.signatory.sign(Grant { reason: "a rival".into(), ..grant(8, at_home()) });
    world.bucket.set(&LedgerKey::owner(&eth_0()), rival.bytes());
    let gate = house.start(&world);
    sleep(2 * MINUTE).await;
    let (kind, why) = gate.waits();
    assert!(kind == WaitKind::Ledger && why.contains("put back"), "{why}");
    assert_eq!(gate.starts(), 0);
    gate.terminate().await;
}

#[tokio::test(start_paused = true)]
async fn allowed_signers_is_read_again_for_every_start() {
    let world = World::new();
    let house = world.home(1);
    let allowed = std::mem::replace(&mut *world.signers.lock().unwrap(), Err("no such file".into()));
    let gate = house.start(&world);
    sleep(MINUTE).await;
    assert_eq!(gate.waits(), (WaitKind::Grant, "no such file".into()));
    let written: Arc<Mutex<_>> = world.signers.clone();
    *written.lock().unwrap() = allowed;
    sleep(MINUTE).await;
    assert!(gate.runs());
    *written.lock().unwrap() = Ok(Signatory::new().allowed());
    sleep(60 * MINUTE).await;
    assert!(gate.runs(), "nothing that runs is stopped by it");
    gate.terminate().await;
    let gate = house.start(&world);
    sleep(MINUTE).await;
    assert_eq!((gate.starts(), gate.waits().0), (0, WaitKind::Grant));
    gate.terminate().await;
}
