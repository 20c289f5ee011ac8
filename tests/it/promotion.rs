//! Promotions carried out against the fake Compute Engine over HTTP, with a ledger in a file, keys of `ssh-keygen`, a gate
//! at home and an agent on the machine. What happens at every single write is tested in `src/promotion/tests`.

mod cli;
mod house;

use failover::{
    domain::{
        GRANT_KEY, PROMOTED_KEY, WATERMARK_KEY,
        ownership::{GrantPlace, SignedGrant},
        promotion::{PromotionEnd, PromotionState},
    },
    promotion::{PromotionOutcome, PromotionWay},
    sandbox::compute::{Fault, Method},
};
use house::House;

fn item(house: &House, key: &str) -> Option<String> {
    let machine = house.rig.fake.machines().into_iter().next().unwrap();
    machine.metadata().find(|(found, _)| *found == key).map(|(_, value)| value.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_makes_the_machine_its_validators_and_a_demotion_brings_home_back() {
    let Some(house) = House::new().await else { return };
    assert_eq!(house.walk(PromotionWay::ToCloud).await.unwrap(), PromotionOutcome::Keys);
    let grant = house.grant().await;
    let GrantPlace::Cloud { project, instance_id, boot_id, .. } = &grant.grant.owner else { panic!("{grant:?}") };
    assert_eq!((grant.grant.number, project.as_str(), instance_id), (2, "home-failover", &house.instance.id));
    assert_ne!(*boot_id, house.first_boot, "the boot after the stop");
    assert!(grant.grant.evidence.is_none() && grant.grant.previous.is_some());
    assert_eq!(item(&house, GRANT_KEY).unwrap().as_bytes(), grant.bytes(), "exactly what the ledger has");
    assert_eq!(item(&house, PROMOTED_KEY).unwrap(), house::VARIABLES);
    assert!(item(&house, WATERMARK_KEY).is_some());
    let machine = house.rig.fake.machines().into_iter().next().unwrap();
    assert!(machine.name.starts_with("kept-eth-0"), "{}", machine.name);
    assert_eq!((machine.status(), &machine.json["deletionProtection"]), ("RUNNING", &true.into()));
    let session = house.session().await;
    assert_eq!((session.number, session.holder), (2, None), "home has given it back");

    assert_eq!(house.walk(PromotionWay::ToHome).await.unwrap(), PromotionOutcome::Done);
    let back = house.grant().await.grant;
    assert_eq!((back.number, &back.previous), (3, &Some(grant.grant.digest())));
    assert!(matches!(back.owner, GrantPlace::Home { .. }));
    assert_eq!(house.rig.fake.machines()[0].status(), "TERMINATED");
    house.until_home_signs().await;
    assert_eq!(house.record().await.unwrap().state, PromotionState::Done);
    assert!(SignedGrant::parse(&house.copy(2).await).is_ok(), "each grant before is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_without_a_machine_to_give_is_said_and_an_abort_leaves_a_standby() {
    for fault in [Fault::OutOfStock, Fault::Status(403, "quotaExceeded")] {
        let Some(house) = House::new().await else { return };
        house.rig.fake.fault(Method::Start, fault.clone());
        let end = house.walk(PromotionWay::ToCloud).await.unwrap();
        assert_eq!(end, PromotionOutcome::Ended(PromotionEnd::StartRefused), "{fault:?}");
        assert!(house.said().iter().any(|text| text.contains("it cannot be started now")));
        assert_eq!(house.walk(PromotionWay::Back).await.unwrap(), PromotionOutcome::Done);
        let machine = house.rig.fake.machines().into_iter().next().unwrap();
        assert_eq!((machine.label("role"), &machine.json["deletionProtection"]), ("standby", &false.into()));
        assert_eq!(machine.name, house.instance.name);
        assert_eq!((item(&house, PROMOTED_KEY), item(&house, GRANT_KEY)), (None, None));
        assert_eq!((house.grant().await.grant.number, house.session().await.number), (1, 1));
    }
}

/// The request is on its way when the program ends, as by kill -9.
#[tokio::test(flavor = "multi_thread")]
async fn killed_with_a_request_on_its_way_it_is_resumed_or_taken_back_from_another_machine() {
    let (mut points, mut aborts) = (0, 0);
    for at in (0..).step_by(9) {
        let Some(house) = House::new().await else { return };
        if !house.killed_at(at, PromotionWay::ToCloud).await {
            break;
        }
        points += 1;
        if at % 2 == 0 {
            assert_eq!(house.walk(PromotionWay::ToCloud).await.unwrap(), PromotionOutcome::Keys, "at {at}");
            assert!(matches!(house.grant().await.grant.owner, GrantPlace::Cloud { .. }));
            assert_eq!(house.rig.fake.machines()[0].json["deletionProtection"], true);
            continue;
        }
        aborts += 1;
        match house.walk(PromotionWay::Back).await.unwrap() {
            PromotionOutcome::Ended(PromotionEnd::Committed) => {
                assert!(matches!(house.grant().await.grant.owner, GrantPlace::Cloud { .. }), "at {at}");
            }
            PromotionOutcome::Done | PromotionOutcome::Ended(PromotionEnd::NothingOpen) => {
                let machine = house.rig.fake.machines().into_iter().next().unwrap();
                assert_eq!((machine.label("role"), machine.status()), ("standby", "RUNNING"), "at {at}");
                assert_eq!(machine.json["deletionProtection"], false, "at {at}");
                house.until_home_signs().await;
            }
            other => panic!("at {at}: {other:?}"),
        }
    }
    println!("killed at {points} requests, {aborts} of them taken back");
    assert!(points > 5 && aborts > 2, "{points} {aborts}");
}
