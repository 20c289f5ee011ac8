//! `adopt` beside a machine that may hold the keys.

use super::rig::{Office, can_sign, cloud, eth, home};
use crate::compute::{ZONES, created, rig};
use failover::{domain::LedgerKey, ports::Ledger as _};

#[tokio::test(flavor = "multi_thread")]
async fn home_signs_again_only_when_the_granted_machine_is_seen_terminated() {
    if !can_sign() {
        return;
    }
    let rig = rig().await;
    let instance = created(&rig).await;
    let compute = format!(
        "compute: {{project: home-failover, endpoint: '{}', credentials: anonymous, \
         ladder: [{{zone: {}, machine_type: n2-standard-8}}]}}\n",
        rig.fake.url(),
        ZONES[0]
    );
    let office = Office::with(&compute).unwrap();
    let id: u64 = instance.id.to_string().parse().unwrap();
    office.put(cloud(id, 1), 5).await;
    let before = office.dump().await;
    let adopt = |more: &[&str]| tokio::task::block_in_place(|| office.signs("adopt", "ann", more));
    for more in [&[][..], &["--renew"], &["--deleted", &id.to_string()]] {
        let refused = adopt(more);
        assert!(refused.code == 3 && refused.err.contains("is not TERMINATED"), "{more:?}: {}", refused.err);
    }
    assert_eq!(office.dump().await, before);
    let stop = format!(
        "{}/compute/v1/projects/home-failover/zones/{}/instances/{}/stop",
        rig.fake.url(),
        instance.zone,
        instance.name
    );
    assert!(reqwest::Client::new().post(stop).send().await.unwrap().status().is_success());
    while rig.gce.is_terminated(&instance).await.unwrap() != Some(true) {
        tokio::task::yield_now().await;
    }
    let ended = adopt(&[]);
    assert!(ended.code == 0 && ended.out.contains("is TERMINATED"), "{}{}", ended.out, ended.err);
    let grant = office.grant().await.grant;
    assert_eq!((grant.number, grant.owner, office.session().await.number), (6, home(), 6));
    assert!(office.ledger().get(&LedgerKey::owner_history(&eth(), 5)).await.unwrap().is_some());
}
