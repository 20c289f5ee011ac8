//! The program is killed at every call, before it and after it; somebody else then resumes, or takes it back.

use std::sync::Arc;

use super::{
    PromotionOutcome, PromotionWay,
    hand::{Death, Hand},
    settle, walk, with_home,
    world::{TestWorld, at_home, standby_shape},
};
use crate::domain::{MachinePower, promotion::PromotionEnd};

async fn begun(way: PromotionWay, home_up: bool) -> Arc<TestWorld> {
    let world = TestWorld::new();
    match way {
        PromotionWay::ToCloud => {}
        PromotionWay::ToHome => {
            walk(&world, PromotionWay::ToCloud).await.unwrap();
        }
        PromotionWay::Back => {
            *world.signer.declines.lock().unwrap() = true;
            walk(&world, PromotionWay::ToCloud).await.unwrap();
            *world.signer.declines.lock().unwrap() = false;
        }
    }
    world.state().home_up = home_up;
    world
}

/// How many points there are; at each of them `then` is what somebody else does, and `ended` what has to be true.
async fn killed_everywhere(
    way: PromotionWay,
    home_up: bool,
    then: PromotionWay,
    reads: bool,
    ended: impl Fn(&TestWorld, &PromotionOutcome),
) -> usize {
    let mut points = 0;
    for at in 1.. {
        let mut died = false;
        for death in [Death::Before, Death::After] {
            let world = begun(way, home_up).await;
            let hand = Hand::dying(&world, at, death, reads);
            let first = with_home(&world, hand.walk(way, |_| ())).await;
            died |= first.is_none();
            points += usize::from(first.is_none());
            assert_eq!(world.state().broken, [""; 0], "killed at {at} {death:?}");
            let outcome = walk(&world, then).await;
            let outcome = outcome.unwrap_or_else(|error| panic!("killed at {at} {death:?}: {error}"));
            settle(&world).await;
            ended(&world, &outcome);
        }
        if !died {
            return points;
        }
    }
    unreachable!()
}

fn clouds(world: &TestWorld, outcome: &PromotionOutcome) {
    assert_eq!(*outcome, PromotionOutcome::Keys);
    let state = world.state();
    assert!(state.cloud_signs() && !state.home_signs());
    let shape = &state.machine.as_ref().unwrap().shape;
    assert!(shape.deletion_protection && shape.name == "kept-eth-0");
}

/// As it was, or the grant had won.
fn back(world: &TestWorld, outcome: &PromotionOutcome) {
    let is_clouds = world.grant().owner != at_home();
    match outcome {
        PromotionOutcome::Ended(PromotionEnd::Committed) => assert!(is_clouds),
        PromotionOutcome::Done | PromotionOutcome::Ended(PromotionEnd::NothingOpen) => {
            assert!(!is_clouds);
            let state = world.state();
            assert_eq!(state.machine.as_ref().unwrap().shape, standby_shape());
            assert!(!state.cloud_signs() && state.home_signs() == state.home_up);
        }
        other => panic!("{other:?}"),
    }
}

fn homes(world: &TestWorld, outcome: &PromotionOutcome) {
    assert!(
        matches!(outcome, PromotionOutcome::Done | PromotionOutcome::Ended(PromotionEnd::HomeOwns(_))),
        "{outcome:?}"
    );
    let state = world.state();
    assert!(state.home_signs() && !state.cloud_signs());
    let shape = &state.machine.as_ref().unwrap().shape;
    assert_eq!((shape.power, shape.deletion_protection), (MachinePower::Terminated, true));
}

#[tokio::test(start_paused = true)]
async fn a_promotion_killed_at_any_write_or_request_is_resumed_to_the_cloud_that_signs() {
    let up = killed_everywhere(PromotionWay::ToCloud, true, PromotionWay::ToCloud, false, clouds).await;
    let dark = killed_everywhere(PromotionWay::ToCloud, false, PromotionWay::ToCloud, false, clouds).await;
    println!("promote killed and resumed at {up} points with home up, {dark} with home dark");
    assert!(up > 40 && dark > 40, "{up} {dark}");
}

#[tokio::test(start_paused = true)]
async fn a_promotion_killed_at_any_write_or_request_is_taken_back_to_what_it_was_or_had_won() {
    let up = killed_everywhere(PromotionWay::ToCloud, true, PromotionWay::Back, false, back).await;
    let dark = killed_everywhere(PromotionWay::ToCloud, false, PromotionWay::Back, false, back).await;
    println!("promote killed and taken back at {up} points with home up, {dark} with home dark");
    assert!(up > 40 && dark > 40, "{up} {dark}");
}

#[tokio::test(start_paused = true)]
async fn an_abort_killed_at_any_write_or_request_is_finished_by_another_one() {
    let points = killed_everywhere(PromotionWay::Back, true, PromotionWay::Back, false, back).await;
    println!("abort killed at {points} points");
    assert!(points > 20, "{points}");
}

#[tokio::test(start_paused = true)]
async fn a_demotion_killed_at_any_write_or_request_is_resumed_to_the_home_that_signs() {
    let points = killed_everywhere(PromotionWay::ToHome, true, PromotionWay::ToHome, false, homes).await;
    println!("demote killed at {points} points");
    assert!(points > 8, "{points}");
}

/// Taken back it may be promoted or demoted again: the machine has ended either way.
#[tokio::test(start_paused = true)]
async fn a_demotion_killed_at_any_write_or_request_is_taken_back_and_made_again() {
    let taken_back = |_: &TestWorld, outcome: &PromotionOutcome| {
        use PromotionEnd::{CloudStopped, Committed, NothingOpen};
        let fits = match outcome {
            PromotionOutcome::Done => true,
            PromotionOutcome::Ended(end) => matches!(end, NothingOpen | Committed | CloudStopped),
            _ => false,
        };
        assert!(fits, "{outcome:?}");
    };
    let points = killed_everywhere(PromotionWay::ToHome, true, PromotionWay::Back, false, taken_back).await;
    println!("demote killed and taken back at {points} points");
    assert!(points > 8, "{points}");
}

#[tokio::test(start_paused = true)]
async fn reads_are_points_like_any_other() {
    let points = killed_everywhere(PromotionWay::ToHome, true, PromotionWay::ToHome, true, homes).await;
    println!("demote killed at {points} points, reads among them");
    assert!(points > 40, "{points}");
}
