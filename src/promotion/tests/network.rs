//! The network goes at each call, and comes back.

use super::{PromotionOutcome, PromotionWay, hand::Hand, settle, walk, with_home, world::TestWorld};
use crate::promotion::ProgressKind;

#[tokio::test(start_paused = true)]
async fn a_network_that_is_lost_at_any_call_is_waited_for_and_said_once() {
    let mut points = 0;
    for from in 1.. {
        let world = TestWorld::new();
        let hand = Hand::cut(&world, from, 6);
        let ended = with_home(&world, hand.walk(PromotionWay::ToCloud, |_| ())).await.unwrap();
        assert_eq!(ended.unwrap(), PromotionOutcome::Keys, "cut at {from}: {:#?}", hand.said());
        assert_eq!(world.state().broken, [""; 0]);
        settle(&world).await;
        assert!(world.state().cloud_signs() && !world.state().home_signs());
        if hand.calls() < from {
            break;
        }
        points += 1;
        let progress = hand.progress.lock().unwrap();
        let said = progress.iter().filter(|one| one.event == ProgressKind::Trouble).count();
        assert!((1..=2).contains(&said), "cut at {from}: said {said} times");
    }
    println!("the network went at {points} calls");
    assert!(points > 100, "{points}");
}

#[tokio::test(start_paused = true)]
async fn gates_that_never_pass_after_the_wait_end_the_command_with_home_stopped_and_the_way_back() {
    let world = TestWorld::new();
    world.state().hides_report = true;
    let hand = Hand::new(&world);
    let end = with_home(&world, hand.walk(PromotionWay::ToCloud, |_| {})).await.unwrap().unwrap();
    assert!(matches!(end, PromotionOutcome::Refused(_)), "{end:?}");
    assert!(!world.state().home_signs() && !world.state().cloud_signs());
    assert_eq!(walk(&world, PromotionWay::Back).await.unwrap(), PromotionOutcome::Done);
    settle(&world).await;
    assert!(world.state().home_signs() && !world.state().cloud_signs());
}
