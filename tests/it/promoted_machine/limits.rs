//! What the cloud shows of a machine and what it takes: what cannot be read is an error, what is too much is said, and a
//! start that brings nothing is no start.

use std::collections::BTreeMap;

use failover::{
    domain::{GRANT_KEY, MachinePower, ShapeStep, WATERMARK_KEY},
    ports::{CloudError, PromotionMachines as _, ShapeError},
    sandbox::compute::{Fault, Method},
};
use serde_json::{Value, json};

use super::{changes, quiet, reshape, standby};
use crate::compute::rig;

#[tokio::test]
async fn a_machine_that_cannot_be_read_whole_is_an_error_and_neither_gone_nor_as_it_should_be() {
    let rig = rig().await;
    let (instance, _, _) = standby(&rig).await;
    let whole = rig.fake.machines()[0].json.clone();
    type Damage = fn(&mut Value);
    let damages: [(&str, Damage); 8] = [
        ("its scheduling", |json| drop(json.as_object_mut().unwrap().remove("scheduling"))),
        ("no length", |json| json["scheduling"]["maxRunDuration"] = json!({"nanos": 1})),
        ("its status", |json| drop(json.as_object_mut().unwrap().remove("status"))),
        ("no device name", |json| drop(json["disks"][0].as_object_mut().unwrap().remove("deviceName"))),
        ("none of its disks", |json| json["disks"] = json!([])),
        ("no value", |json| json["metadata"]["items"].as_array_mut().unwrap().push(json!({"key": GRANT_KEY}))),
        ("no key", |json| json["metadata"]["items"].as_array_mut().unwrap().push(json!({"value": "1"}))),
        ("labels", |json| json["labels"] = json!({})),
    ];
    for (says, damage) in damages {
        rig.fake.tamper(&instance.name, damage);
        let error = rig.gce.shape(&instance).await.unwrap_err();
        assert!(
            matches!(&error, ShapeError::Cloud(CloudError::Refused(why)) if why.contains(says)),
            "{says}: {error:?}"
        );
        rig.fake.tamper(&instance.name, |json| *json = whole.clone());
    }
    assert!(rig.gce.shape(&instance).await.unwrap().is_some());
}

/// Whoever counts it as gone would let home sign while it does.
#[tokio::test]
async fn a_promoted_machine_without_its_labels_is_not_gone_and_has_not_ended() {
    let rig = rig().await;
    let (instance, _, promoted) = standby(&rig).await;
    reshape(&rig.gce, &instance, &promoted).await.unwrap();
    rig.fake.tamper(&promoted.name, |json| json["labels"] = json!({}));
    assert!(rig.gce.shape(&instance).await.is_err());
    assert_eq!(rig.gce.is_terminated(&instance).await.unwrap(), Some(false));
    for (status, is_terminated) in
        [("SUSPENDED", false), ("SUSPENDING", false), ("STOPPING", false), ("TERMINATED", true)]
    {
        rig.fake.tamper(&promoted.name, |json| json["status"] = status.into());
        assert_eq!(rig.gce.is_terminated(&instance).await.unwrap(), Some(is_terminated), "{status}");
    }
    rig.fake.vanish(&promoted.name);
    assert_eq!(rig.gce.is_terminated(&instance).await.unwrap(), None);
}

#[tokio::test]
async fn a_machine_that_ends_as_soon_as_it_is_started_is_said_and_not_taken_for_one_that_runs() {
    let rig = rig().await;
    let (instance, _, promoted) = standby(&rig).await;
    for _ in 0..5 {
        rig.fake.fault(Method::Start, Fault::Ends);
    }
    let error = reshape(&rig.gce, &instance, &promoted).await.unwrap_err();
    let says = "started, and has ended again at once";
    assert!(matches!(&error, ShapeError::Cloud(CloudError::Retry(why)) if why.contains(says)), "{error:?}");
    let starts = || changes(&rig.fake.log()).iter().filter(|verb| *verb == "start").count();
    assert_eq!(starts(), 5);
    let left = rig.gce.shape(&instance).await.unwrap().unwrap();
    assert_eq!((left.power, left.missing(&promoted)), (MachinePower::Terminated, vec![ShapeStep::Start]));
    // Once it is preempted, and then it stays.
    rig.fake.fault(Method::Start, Fault::Ends);
    assert_eq!(reshape(&rig.gce, &instance, &promoted).await.unwrap(), promoted);
    assert_eq!(starts(), 7);
}

#[tokio::test]
async fn a_start_that_was_accepted_and_ends_out_of_stock_is_out_of_stock_also_after_one_that_was_lost() {
    let rig = rig().await;
    let (instance, _, promoted) = standby(&rig).await;
    // The first is lost on its way, the second is accepted and its operation says why.
    rig.fake.fault(Method::Start, Fault::Drop);
    rig.fake.fault(Method::Start, Fault::OutOfStock);
    let error = reshape(&rig.gce, &instance, &promoted).await.unwrap_err();
    let says = "ZONE_RESOURCE_POOL_EXHAUSTED";
    assert!(matches!(&error, ShapeError::OutOfStock(why) if why.contains(says)), "{error:?}");
    assert_eq!(rig.gce.shape(&instance).await.unwrap().unwrap().power, MachinePower::Terminated);
}

#[tokio::test]
async fn more_metadata_than_compute_engine_takes_is_refused_by_its_key_and_not_asked_for() {
    let rig = rig().await;
    let (instance, _, _) = standby(&rig).await;
    let from = rig.fake.log().len();
    let set =
        |key: &str, bytes: usize| ShapeStep::Metadata(BTreeMap::from([(key.to_owned(), Some("a".repeat(bytes)))]));
    let error = rig.gce.take_step(&instance, &set(WATERMARK_KEY, (256 << 10) + 1), &quiet).await.unwrap_err();
    let refused = |error: &ShapeError, says: &str| {
        assert!(matches!(error, ShapeError::Cloud(CloudError::Refused(why)) if why.contains(says)), "{error:?}");
    };
    refused(&error, "failover-watermark would have 262145 bytes, and Compute Engine takes 262144");
    assert_eq!(changes(&rig.fake.log()[from..]), [""; 0]);
    rig.gce.take_step(&instance, &set(WATERMARK_KEY, 256 << 10), &quiet).await.unwrap();
    let from = rig.fake.log().len();
    let error = rig.gce.take_step(&instance, &set(GRANT_KEY, 256 << 10), &quiet).await.unwrap_err();
    refused(&error, "Compute Engine takes 524288");
    assert_eq!(changes(&rig.fake.log()[from..]), [""; 0]);
}

/// Each program has them written down in its own language.
#[test]
fn the_keys_of_a_promotion_are_the_same_wherever_they_are_written() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| failover::files::read_text(&root.join(path), failover::files::MOST).unwrap();
    let written = [
        ("ansible/startup.sh", &["failover-promoted"][..]),
        ("docs/promoted.md", &["failover-promoted"]),
        ("docs/gcp.md", &["failover-promoted", "failover-grant", "failover-watermark"]),
        ("tests/real/compute_client.py", &["failover-promoted"]),
        ("tests/standby/promoted.sh", &["failover-promoted", "failover-grant"]),
    ];
    for (path, keys) in written {
        let text = read(path);
        for key in keys {
            assert!(failover::domain::PROMOTION_KEYS.contains(key) && text.contains(key), "{path}: {key}");
        }
        assert!(!text.contains("failover-promotion"), "{path} has a key that nobody reads");
    }
}
