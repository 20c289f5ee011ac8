//! When the cloud owned, and from when on silence counts.

use super::*;
use crate::domain::{Span, TimeExt as _, ownership::GrantLink};

fn at(hour: i64) -> Time {
    Time::UNIX_EPOCH.plus(Span::from_hours(hour))
}

fn grant(number: u64, hour: i64, in_cloud: bool) -> grants::GrantRow {
    let owner = match in_cloud {
        false => GrantPlace::Home { site: "home".into() },
        true => GrantPlace::Cloud { project: "p".into(), zone: "z".into(), instance_id: 7.into(), boot_id: "b".into() },
    };
    grants::GrantRow {
        number,
        in_force: false,
        owner: Some(owner),
        by: "ann".into(),
        key: Some("SHA256:x".into()),
        issued_at: Some(at(hour)),
        reason: String::new(),
        link: Some(GrantLink::Ok),
        broken: None,
        problem: None,
        note: None,
    }
}

fn times(grants: Vec<grants::GrantRow>) -> Vec<(i64, i64)> {
    let validator = ValidatorId::new("eth-0").unwrap();
    let chain = GrantChain { validator, grants, session: None, owner: None, problems: Vec::new() };
    let hours = |time: Time| time.duration_since(Time::UNIX_EPOCH).as_hours();
    cloud_times(&chain, at(100)).into_iter().map(|time| (hours(time.from), hours(time.to))).collect()
}

#[test]
fn the_cloud_owned_from_its_grant_to_the_next_one_if_that_is_verified() {
    let (home, cloud) = (|number, hour| grant(number, hour, false), |number, hour| grant(number, hour, true));
    assert_eq!(times(vec![home(1, 1)]), []);
    assert_eq!(times(vec![home(1, 1), cloud(2, 10), home(3, 20)]), [(10, 20)]);
    assert_eq!(times(vec![home(1, 1), cloud(2, 10), cloud(3, 20)]), [(10, 20), (20, 100)], "to now");
    let refused = grants::GrantRow { problem: Some("nobody may sign it".into()), ..cloud(2, 10) };
    assert_eq!(times(vec![home(1, 1), refused, home(3, 20)]), [], "what nobody has verified explains no duty");
    let unread = grants::GrantRow { issued_at: None, problem: Some("torn".into()), ..home(3, 20) };
    assert_eq!(times(vec![cloud(2, 10), unread]), [], "when it ended nobody can say");
    assert_eq!(times(vec![cloud(2, 10), home(3, 5)]), [], "a grant from before the one that it replaces");
    let left = grants::GrantRow { note: Some("its signer has left".into()), ..cloud(2, 10) };
    assert_eq!(times(vec![left, home(3, 20)]), [(10, 20)]);
}
