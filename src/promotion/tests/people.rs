//! Two operators at once.

use std::time::Duration;

use super::{
    PromotionOutcome, PromotionWay,
    hand::Hand,
    settle, walk, with_home,
    world::{TestWorld, at_home, standby_shape},
};
use crate::domain::promotion::{PromotionEnd, PromotionState};

/// The second one begins later by this.
async fn both(first: PromotionWay, second: PromotionWay, later: Duration, begun: bool) -> bool {
    let world = TestWorld::new();
    if begun {
        walk(&world, PromotionWay::ToCloud).await.unwrap();
    }
    world.state().two_people = true;
    let (one, other) = (Hand::new(&world), Hand::new(&world));
    let late = async {
        tokio::time::sleep(later).await;
        other.walk(second, |_| ()).await.unwrap()
    };
    let (ended, ended_too) = with_home(&world, async { tokio::join!(one.walk(first, |_| ()), late) }).await;
    assert_eq!(world.state().broken, [""; 0], "{later:?}");
    let said = format!("{later:?}: {ended:?} {ended_too:?}");
    for ended in [ended.unwrap(), ended_too] {
        assert!(!matches!(ended, Ok(PromotionOutcome::Refused(_) | PromotionOutcome::Printed)), "{said}");
        assert!(ended.is_ok(), "{said}");
    }
    world.state().two_people = false;
    settle(&world).await;
    // Whatever has come of it, one more word of either brings it to an end.
    let is_clouds = world.grant().owner != at_home();
    if is_clouds {
        assert!(!world.state().home_signs(), "{said}");
        assert!(
            matches!(
                walk(&world, PromotionWay::ToCloud).await,
                Ok(PromotionOutcome::Keys
                    | PromotionOutcome::Ended(PromotionEnd::DemotionOpen | PromotionEnd::CloudOwns(_)))
            ),
            "{said}"
        );
    } else if !begun {
        assert!(
            matches!(
                walk(&world, PromotionWay::Back).await,
                Ok(PromotionOutcome::Done | PromotionOutcome::Ended(PromotionEnd::NothingOpen))
            ),
            "{said}"
        );
        settle(&world).await;
        assert!(world.state().home_signs() && !world.state().cloud_signs(), "{said}");
        assert_eq!(world.state().machine.as_ref().unwrap().shape, standby_shape(), "{said}");
    }
    is_clouds
}

#[tokio::test(start_paused = true)]
async fn of_a_promotion_and_an_abort_exactly_one_wins_whenever_the_second_one_comes() {
    let (mut clouds, mut homes) = (0, 0);
    for seconds in (0..400).step_by(10) {
        let later = Duration::from_secs(seconds);
        let is_clouds = both(PromotionWay::ToCloud, PromotionWay::Back, later, false).await;
        (clouds, homes) = (clouds + usize::from(is_clouds), homes + usize::from(!is_clouds));
    }
    println!("{clouds} promotions won and {homes} aborts");
    assert!(clouds > 0 && homes > 0, "{clouds} {homes}");
}

#[tokio::test(start_paused = true)]
async fn two_who_promote_are_one_promotion() {
    for seconds in [0, 1, 30, 200, 400] {
        assert!(both(PromotionWay::ToCloud, PromotionWay::ToCloud, Duration::from_secs(seconds), false).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_promotion_and_a_demotion_at_once_leave_one_owner() {
    for seconds in (0..60).step_by(3) {
        let later = Duration::from_secs(seconds);
        both(PromotionWay::ToHome, PromotionWay::ToCloud, later, true).await;
        both(PromotionWay::ToCloud, PromotionWay::ToHome, later, false).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_somebody_has_taken_back_is_not_begun_again_by_a_command_that_waits() {
    let world = TestWorld::new();
    world.state().two_people = true;
    let (one, other) = (Hand::new(&world), Hand::new(&world));
    let back = async {
        // Between two looks at a machine that is not ready yet.
        tokio::time::sleep(Duration::from_secs(50)).await;
        other.walk(PromotionWay::Back, |_| ()).await.unwrap()
    };
    let (ended, back) = with_home(&world, async { tokio::join!(one.walk(PromotionWay::ToCloud, |_| ()), back) }).await;
    assert_eq!(back.unwrap(), PromotionOutcome::Done);
    let ended = ended.unwrap().unwrap();
    assert!(matches!(ended, PromotionOutcome::Ended(PromotionEnd::Superseded(_))), "{ended:?}");
    assert_eq!(world.record().unwrap().state, PromotionState::Aborted);
    settle(&world).await;
    assert!(world.state().home_signs());
    assert_eq!(world.state().machine.as_ref().unwrap().shape, standby_shape());
}
