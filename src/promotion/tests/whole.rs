use super::world::validator;
use super::{
    PromotionError, PromotionOutcome, PromotionWay,
    hand::Hand,
    settle, walk, with_home,
    world::{TestWorld, VARIABLES, at_home, standby_shape},
};
use crate::domain::{
    GRANT_KEY, LedgerKey, MachinePower, PROMOTED_KEY, WATERMARK_KEY,
    ownership::{GrantPlace, SignedGrant},
    promotion::{PromotionEffect, PromotionEnd, PromotionState},
};

#[tokio::test(start_paused = true)]
async fn the_whole_way_there_and_back_moves_ownership_twice_and_two_never_sign() {
    let world = TestWorld::new();
    assert_eq!(walk(&world, PromotionWay::ToCloud).await.unwrap(), PromotionOutcome::Keys);
    let grant = world.grant();
    let GrantPlace::Cloud { instance_id, boot_id, .. } = &grant.owner else { panic!("{grant:?}") };
    assert_eq!((grant.number, instance_id, boot_id.as_str()), (5, &7.into(), "boot-2"));
    assert_eq!(world.record().unwrap().state, PromotionState::Done);
    let shape = world.state().machine.as_ref().unwrap().shape.clone();
    assert_eq!((shape.name.as_str(), shape.deletion_protection, &shape.run_limit), ("kept-eth-0", true, &None));
    assert_eq!(shape.metadata[PROMOTED_KEY].as_deref(), Some(VARIABLES));
    let carried = SignedGrant::parse(shape.metadata[GRANT_KEY].as_ref().unwrap().as_bytes()).unwrap();
    assert_eq!(carried.grant, grant, "as it is in the ledger");
    assert!(shape.metadata[WATERMARK_KEY].as_ref().unwrap().starts_with("watermark of"));
    let copy = world.get(&LedgerKey::owner_history(&validator(), 4)).expect("the grant before is kept");
    assert_eq!(SignedGrant::parse(&copy.bytes).unwrap().grant.owner, at_home());
    assert!(world.state().cloud_signs() && !world.state().home_signs());

    // Once more: nothing is left to do but the keys.
    let commits = world.state().commits;
    assert_eq!(walk(&world, PromotionWay::ToCloud).await.unwrap(), PromotionOutcome::Keys);
    world.state().keys_moved = true;
    assert!(matches!(walk(&world, PromotionWay::ToCloud).await.unwrap(), PromotionOutcome::Watch(_)));
    assert_eq!(world.state().commits, commits);
    let end = walk(&world, PromotionWay::Back).await.unwrap();
    assert_eq!(end, PromotionOutcome::Ended(PromotionEnd::Committed));

    assert_eq!(walk(&world, PromotionWay::ToHome).await.unwrap(), PromotionOutcome::Done);
    assert_eq!((world.grant().owner, world.grant().number), (at_home(), 6));
    settle(&world).await;
    let state = world.state();
    assert!(state.home_signs() && !state.cloud_signs());
    let shape = &state.machine.as_ref().unwrap().shape;
    assert_eq!((shape.power, shape.deletion_protection), (MachinePower::Terminated, true), "it may hold keys");
}

#[tokio::test(start_paused = true)]
async fn a_grant_whose_signature_is_spoilt_on_the_machine_is_carried_again() {
    let world = TestWorld::new();
    assert_eq!(walk(&world, PromotionWay::ToCloud).await.unwrap(), PromotionOutcome::Keys);
    let on_the_machine = || world.state().machine.as_ref().unwrap().shape.metadata[GRANT_KEY].clone().unwrap();
    let good = on_the_machine();
    let signed = SignedGrant::parse(good.as_bytes()).unwrap();
    let spoilt = SignedGrant { signature: signed.signature.replacen('A', "B", 1), ..signed };
    let text = String::from_utf8(spoilt.bytes()).unwrap();
    assert_ne!(text, good);
    let metadata = |text| [(GRANT_KEY.to_owned(), Some(text))];
    world.state().machine.as_mut().unwrap().shape.metadata.extend(metadata(text));
    assert_eq!(walk(&world, PromotionWay::ToCloud).await.unwrap(), PromotionOutcome::Keys);
    assert_eq!(on_the_machine(), good);
}

#[tokio::test(start_paused = true)]
async fn a_home_that_does_not_answer_is_waited_out_and_its_age_before_the_raise_counts() {
    let world = TestWorld::new();
    settle(&world).await;
    world.state().home_up = false;
    with_home(&world, tokio::time::sleep(std::time::Duration::from_mins(5))).await;
    let since = tokio::time::Instant::now();
    assert_eq!(walk(&world, PromotionWay::ToCloud).await.unwrap(), PromotionOutcome::Keys);
    let took = since.elapsed();
    assert!(took < std::time::Duration::from_mins(9), "the time before the raise counts: {took:?}");
    assert!(!world.state().home_signs() && world.state().cloud_signs());
}

#[tokio::test(start_paused = true)]
async fn taken_back_before_anything_was_signed_it_is_as_it_was() {
    let world = TestWorld::new();
    let hand = Hand::new(&world);
    let until = |order: &mut crate::domain::promotion::PromotionOrder| order.until = Some(PromotionEffect::Start);
    let end = with_home(&world, hand.walk(PromotionWay::ToCloud, until)).await.unwrap().unwrap();
    assert!(matches!(end, PromotionOutcome::Ended(PromotionEnd::Drill(_))), "{end:?}");
    assert!(world.state().home_signs());
    assert_eq!(walk(&world, PromotionWay::Back).await.unwrap(), PromotionOutcome::Done);
    let shape = world.state().machine.as_ref().unwrap().shape.clone();
    assert_eq!(shape, standby_shape(), "the machine is a standby again");
    assert_eq!((world.grant().number, world.record().unwrap().state), (4, PromotionState::Aborted));
    assert_eq!(world.signer.drafts.lock().unwrap().len(), 0, "nothing is signed");
    assert!(world.state().home_signs());
    // And it may be promoted again.
    assert_eq!(walk(&world, PromotionWay::ToCloud).await.unwrap(), PromotionOutcome::Keys);
}

#[tokio::test(start_paused = true)]
async fn a_zone_without_a_machine_to_give_ends_in_words_and_abort_restores() {
    let world = TestWorld::new();
    world.state().no_capacity = true;
    let end = walk(&world, PromotionWay::ToCloud).await.unwrap();
    assert_eq!(end, PromotionOutcome::Ended(PromotionEnd::StartRefused));
    assert!(world.state().home_signs(), "home has lost nothing");
    assert_eq!(walk(&world, PromotionWay::Back).await.unwrap(), PromotionOutcome::Done);
    let shape = world.state().machine.as_ref().unwrap().shape.clone();
    assert_eq!(shape, standby_shape().stopped());
    assert_eq!(world.record().unwrap().state, PromotionState::Aborted);
}

#[tokio::test(start_paused = true)]
async fn a_suspended_machine_is_not_touched_and_a_missing_one_is_said() {
    let world = TestWorld::new();
    world.state().machine.as_mut().unwrap().suspended = true;
    let error = walk(&world, PromotionWay::ToCloud).await.unwrap_err();
    assert!(matches!(error, PromotionError::Effect { effect: PromotionEffect::Stop, .. }), "{error}");
    world.state().machine = None;
    let end = walk(&world, PromotionWay::ToCloud).await.unwrap();
    assert!(matches!(end, PromotionOutcome::Ended(PromotionEnd::MachineGone(_))), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn who_declines_to_sign_leaves_home_stopped_and_a_signature_takes_it_back() {
    let world = TestWorld::new();
    *world.signer.declines.lock().unwrap() = true;
    assert_eq!(walk(&world, PromotionWay::ToCloud).await.unwrap(), PromotionOutcome::Declined);
    assert_eq!(world.grant().number, 4);
    settle(&world).await;
    assert!(!world.state().home_signs(), "home is stopped until somebody decides");
    *world.signer.declines.lock().unwrap() = false;
    assert_eq!(walk(&world, PromotionWay::Back).await.unwrap(), PromotionOutcome::Done);
    assert_eq!((world.grant().owner, world.grant().number), (at_home(), 5));
    settle(&world).await;
    assert!(world.state().home_signs());
    assert_eq!(world.state().machine.as_ref().unwrap().shape, standby_shape());
}

/// A person takes longer than what the gates said is worth.
#[tokio::test(start_paused = true)]
async fn what_changed_while_a_person_signed_is_read_before_anything_is_in_force() {
    let world = TestWorld::new();
    let (other, commits) = (world.clone(), world.state().commits);
    *world.signer.meanwhile.lock().unwrap() = Some(Box::new(move || {
        let previous = other.grant().digest();
        let renewed = other.signer.sign(7, at_home(), Some(previous));
        other.set(&LedgerKey::owner(&validator()), renewed.bytes());
    }));
    let end = walk(&world, PromotionWay::ToCloud).await.unwrap();
    assert_eq!(end, PromotionOutcome::Ended(PromotionEnd::Lost(7)));
    assert_eq!(world.state().commits, commits + 1, "the signature that lost was written nowhere");
    let state = world.state();
    let shape = &state.machine.as_ref().unwrap().shape;
    assert!(!shape.metadata.contains_key(GRANT_KEY) && state.session().number >= 5);
}

#[tokio::test(start_paused = true)]
async fn without_a_chain_that_says_enough_the_watermark_is_waited_for_and_the_wait_ends() {
    let world = TestWorld::new();
    world.state().chain_says = false;
    let error = walk(&world, PromotionWay::ToCloud).await.unwrap_err();
    assert!(matches!(error, PromotionError::Waited(..)), "{error}");
    assert_eq!(world.grant().number, 4);
    world.state().chain_says = true;
    assert_eq!(walk(&world, PromotionWay::ToCloud).await.unwrap(), PromotionOutcome::Keys);
}
