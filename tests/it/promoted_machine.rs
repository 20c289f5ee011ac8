//! What a promotion does to its machine, against the fake Compute Engine: done in order and once, survived at every
//! request, undone, and out of the watcher's reach.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use failover::{
    adapters::gce::Gce,
    domain::{InstanceRef, MachineShape, RunLimit, ShapeStep, Span},
    ports::{CloudError, PromotionMachines, ShapeError, StepState},
    sandbox::{
        Then,
        compute::{Fault, Method, RequestLine},
    },
};
use serde_json::json;

use crate::compute::{Rig, created, gce_with, incident, rig};

mod limits;
mod names;
mod watcher;

fn quiet(_: &ShapeStep, _: StepState) {}

async fn reshape(gce: &Gce, instance: &InstanceRef, wanted: &MachineShape) -> Result<MachineShape, ShapeError> {
    let machines: &dyn PromotionMachines = gce;
    machines.reshape(instance, wanted, &quiet).await
}

/// A standby with what others may have put on it, and its shape before and after a promotion.
async fn standby(rig: &Rig) -> (InstanceRef, MachineShape, MachineShape) {
    let instance = created(rig).await;
    rig.fake.tamper(&instance.name, |json| {
        json["labels"]["team"] = "mine".into();
        json["metadata"]["items"].as_array_mut().unwrap().push(json!({"key": "theirs", "value": "1"}));
        json["scheduling"]["hostErrorTimeoutSeconds"] = 300.into();
    });
    let before = rig.gce.shape(&instance).await.unwrap().unwrap();
    let promoted = before.promoted("7 of 2026");
    (instance, before.restored(), promoted)
}

/// The calls that change something, without where: `stop`, `setName`.
fn changes(log: &[RequestLine]) -> Vec<String> {
    let changes = log.iter().filter(|line| line.method != "GET");
    let verb = |line: &RequestLine| {
        let path = line.path.split('?').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
        if line.method == "DELETE" { "delete".to_owned() } else { path.to_owned() }
    };
    changes.map(verb).collect()
}

#[tokio::test]
async fn a_promotion_changes_what_it_names_in_order_and_nothing_else_and_back() {
    let rig = rig().await;
    let (instance, before, promoted) = standby(&rig).await;
    assert_eq!(before.run_limit, Some(RunLimit::After(Span::from_hours(72))));
    assert_eq!(before.auto_delete.keys().collect::<Vec<_>>(), ["chaindata", "persistent-disk-0"]);
    let old = rig.fake.machines()[0].json.clone();
    let from = rig.fake.log().len();
    assert_eq!(reshape(&rig.gce, &instance, &promoted).await.unwrap(), promoted);
    let wanted = [
        "setDeletionProtection",
        "stop",
        "setScheduling",
        "setDiskAutoDelete",
        "setDiskAutoDelete",
        "setLabels",
        "setMetadata",
        "setTags",
        "setName",
        "start",
    ];
    assert_eq!(changes(&rig.fake.log()[from..]), wanted);
    let json = rig.fake.machines()[0].json.clone();
    assert_eq!(json["name"], format!("kept-eth-0-{}", incident()).as_str());
    assert_eq!((&json["status"], &json["deletionProtection"]), (&json!("RUNNING"), &json!(true)));
    let scheduling = &json["scheduling"];
    assert_eq!(scheduling.get("maxRunDuration").or(scheduling.get("instanceTerminationAction")), None, "{scheduling}");
    assert_eq!(scheduling["hostErrorTimeoutSeconds"], 300, "the rest of its scheduling stays");
    assert!(json["disks"].as_array().unwrap().iter().all(|disk| disk["autoDelete"] == false), "{json}");
    assert_eq!((&json["labels"]["role"], &json["labels"]["team"]), (&json!("promoted"), &json!("mine")));
    assert_eq!(json["tags"]["items"], json!(["p2p", "failover-ssh"]));
    let items = json["metadata"]["items"].to_string();
    assert!(items.contains(r#"{"key":"theirs","value":"1"}"#), "{items}");
    assert!(items.contains(r#"{"key":"failover-promoted","value":"7 of 2026"}"#), "{items}");

    // Again: it only looks.
    let from = rig.fake.log().len();
    assert_eq!(reshape(&rig.gce, &instance, &promoted).await.unwrap(), promoted);
    assert_eq!(changes(&rig.fake.log()[from..]), [""; 0]);

    let from = rig.fake.log().len();
    assert_eq!(reshape(&rig.gce, &instance, &before).await.unwrap().missing(&before), []);
    let backwards: Vec<_> = ["stop", "setName", "setTags", "setMetadata", "setLabels", "setDiskAutoDelete"].into();
    let backwards =
        [&backwards[..], &["setDiskAutoDelete", "setScheduling", "start", "setDeletionProtection"]].concat();
    assert_eq!(changes(&rig.fake.log()[from..]), backwards);
    let mut back = rig.fake.machines()[0].json.clone();
    for changing in ["labelFingerprint", "lastStartTimestamp", "lastStopTimestamp"] {
        back[changing] = old[changing].clone();
    }
    for part in ["metadata", "tags"] {
        back[part]["fingerprint"] = old[part]["fingerprint"].clone();
        back[part].as_object_mut().unwrap().remove("kind");
    }
    assert_eq!(back, old.as_object().map(|_| without_nulls(old.clone())).unwrap(), "as it was");
}

/// A field that is not there reads as null, and putting that back makes it one.
fn without_nulls(mut value: serde_json::Value) -> serde_json::Value {
    for key in ["lastStopTimestamp"] {
        if value.get(key).is_none() {
            value[key] = serde_json::Value::Null;
        }
    }
    value
}

/// Cuts everything off from the request of this number on; `true` when it came so far.
async fn cut_at(rig: &Rig, instance: &InstanceRef, wanted: &MachineShape, at: usize) -> bool {
    let (seen, cut) = (Arc::new(AtomicUsize::new(0)), Arc::new(tokio::sync::Notify::new()));
    let (counter, signal) = (seen.clone(), cut.clone());
    rig.fake.on_request(Box::new(move |_, _| {
        if counter.fetch_add(1, Ordering::SeqCst) < at {
            return Then::Handle;
        }
        signal.notify_one();
        Then::Lose
    }));
    // The command dies with the request on its way, as by kill -9.
    tokio::select! {
        biased;
        () = cut.notified() => {}
        ended = reshape(&rig.gce, instance, wanted) => {
            if seen.load(Ordering::SeqCst) <= at {
                assert_eq!(ended.unwrap().missing(wanted), []);
            }
        }
    }
    rig.fake.on_request(Box::new(|_, _| Then::Handle));
    seen.load(Ordering::SeqCst) > at
}

/// What holds at every moment: a machine that can be deleted is an untouched standby, and one that runs without an end of
/// its own cannot be deleted.
fn safe(rig: &Rig, before: &MachineShape) {
    let machine = &rig.fake.machines()[0];
    if machine.json["deletionProtection"] != true {
        assert_eq!((machine.label("role"), machine.name.as_str()), ("standby", before.name.as_str()));
        assert!(!machine.json["scheduling"]["maxRunDuration"].is_null());
        let disks = machine.json["disks"].as_array().unwrap();
        assert!(disks.iter().all(|disk| disk["autoDelete"] == true));
        assert!(!machine.json["tags"].to_string().contains("failover-ssh"));
    }
}

/// How many requests there are at which a promotion and its undoing were killed. `resumes` says whether each then goes
/// on to where it was going, or turns back.
async fn kill_everywhere(resumes: bool) -> usize {
    // Nothing here is about time, and the machine may be busy.
    let fake = rig().await.fake;
    let gce = gce_with(&fake, "home", |config| config.call_timeout = Duration::from_secs(30)).await;
    let rig = Rig { fake, gce };
    let (instance, before, promoted) = standby(&rig).await;
    let mut points = 0;
    for at in 0.. {
        let mut was_cut = false;
        for (from, to) in [(&before, &promoted), (&promoted, &before)] {
            if !resumes {
                reshape(&rig.gce, &instance, from).await.unwrap();
            }
            let cut = cut_at(&rig, &instance, to, at).await;
            safe(&rig, &before);
            let end = if resumes { to } else { from };
            let ended = reshape(&rig.gce, &instance, end).await.unwrap();
            assert_eq!(ended.missing(end), [], "killed at request {at} on the way to {to:?}");
            safe(&rig, &before);
            (was_cut, points) = (was_cut || cut, points + usize::from(cut));
        }
        if !was_cut {
            assert_eq!((rig.fake.machines().len(), rig.fake.inserts()), (1, 1));
            assert!(!changes(&rig.fake.log()).iter().any(|verb| verb == "delete"));
            return points;
        }
    }
    unreachable!()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_request_it_is_resumed_and_aborted_from_there() {
    let (resumed, aborted) = tokio::join!(kill_everywhere(true), kill_everywhere(false));
    println!("killed at {} points: {resumed} resumed, {aborted} turned back", resumed + aborted);
    assert!(resumed >= 60 && aborted >= 60, "{resumed} {aborted}");
}

#[tokio::test]
async fn every_answer_that_is_lost_late_or_refused_for_the_moment_is_survived_without_doing_it_twice() {
    let methods = [
        Method::SetDeletionProtection,
        Method::Stop,
        Method::SetScheduling,
        Method::SetDiskAutoDelete,
        Method::SetLabels,
        Method::SetMetadata,
        Method::SetTags,
        Method::SetName,
        Method::Start,
        Method::Operation,
        Method::Get,
    ];
    let faults = [
        Fault::LoseReply,
        Fault::Drop,
        Fault::Status(503, "backendError"),
        Fault::Status(400, "resourceNotReady"),
        Fault::NoOperation,
        Fault::Slow(Span::from_millis(50)),
    ];
    let mut survived = 0;
    for fault in faults {
        let rig = rig().await;
        let (instance, before, promoted) = standby(&rig).await;
        for method in methods {
            if method == Method::Get && fault == Fault::NoOperation {
                continue;
            }
            for wanted in [&promoted, &before] {
                rig.fake.fault(method, fault.clone());
                let ended = reshape(&rig.gce, &instance, wanted).await;
                let looked = matches!((method, &ended), (Method::Get, Err(ShapeError::Cloud(_))));
                assert!(ended.is_ok() || looked, "{method:?} {fault:?}: {ended:?}");
                assert_eq!(reshape(&rig.gce, &instance, wanted).await.unwrap().missing(wanted), []);
                survived += 1;
            }
        }
        let boots = rig.fake.log().iter().filter(|line| line.path.ends_with("/start") && line.status == 200).count();
        assert!(boots <= 2 * methods.len() + 2, "{fault:?}: started {boots} times");
    }
    println!("{survived} single faults survived");
}

#[tokio::test]
async fn what_somebody_else_writes_meanwhile_stays() {
    let rig = rig().await;
    let (instance, _, promoted) = standby(&rig).await;
    let fake = Arc::new(rig.fake);
    let (weak, name) = (Arc::downgrade(&fake), instance.name.clone());
    let quarrels = AtomicUsize::new(0);
    fake.on_request(Box::new(move |_, path| {
        let path = path.split('?').next().unwrap_or_default();
        let field = ["setMetadata", "setTags", "setLabels"].into_iter().find(|verb| path.ends_with(verb));
        let (Some(field), Some(fake)) = (field, weak.upgrade()) else { return Then::Handle };
        if quarrels.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
            fake.tamper(&name, |json| match field {
                "setMetadata" => {
                    json["metadata"]["fingerprint"] = "bmV3AAA=".into();
                    json["metadata"]["items"].as_array_mut().unwrap().push(json!({"key": "late", "value": "2"}));
                }
                "setTags" => json["tags"] = json!({"fingerprint": "bmV3AAA=", "items": ["p2p", "late"]}),
                _ => {
                    json["labelFingerprint"] = "bmV3AAA=".into();
                    json["labels"]["late"] = "2".into();
                }
            });
        }
        Then::Handle
    }));
    assert_eq!(reshape(&rig.gce, &instance, &promoted).await.unwrap(), promoted);
    fake.on_request(Box::new(|_, _| Then::Handle));
    let json = fake.machines()[0].json.clone();
    assert_eq!(json["tags"]["items"], json!(["p2p", "late", "failover-ssh"]));
    assert_eq!((&json["labels"]["late"], &json["labels"]["role"]), (&json!("2"), &json!("promoted")));
    assert!(json["metadata"]["items"].to_string().contains(r#"{"key":"late","value":"2"}"#), "{json}");
}

#[tokio::test]
async fn a_zone_without_a_machine_to_give_undoes_the_promotion_and_leaves_a_stopped_standby() {
    for (fault, is_quota) in [(Fault::OutOfStock, false), (Fault::Status(403, "quotaExceeded"), true)] {
        let rig = rig().await;
        let (instance, before, promoted) = standby(&rig).await;
        rig.fake.fault(Method::Start, fault.clone());
        let error = reshape(&rig.gce, &instance, &promoted).await.unwrap_err();
        assert_eq!(matches!(error, ShapeError::Quota(_)), is_quota, "{error:?}");
        assert!(is_quota || matches!(error, ShapeError::OutOfStock(_)), "{error:?}");
        let starts = changes(&rig.fake.log()).iter().filter(|verb| *verb == "start").count();
        assert_eq!(starts, 1, "it is not asked for again and again");
        let left = rig.gce.shape(&instance).await.unwrap().unwrap();
        assert_eq!(left.missing(&promoted), [ShapeStep::Start], "all the rest is done");
        let wanted = before.clone().stopped();
        assert_eq!(reshape(&rig.gce, &instance, &wanted).await.unwrap().missing(&wanted), []);
        let machine = &rig.fake.machines()[0];
        assert_eq!((machine.status(), machine.label("role")), ("TERMINATED", "standby"));
        // Later there is one again, and the promotion is tried once more.
        assert_eq!(reshape(&rig.gce, &instance, &promoted).await.unwrap(), promoted);
    }
}

#[tokio::test]
async fn a_machine_on_its_way_is_waited_for_and_a_suspended_or_foreign_one_is_not_touched() {
    let rig = rig().await;
    let (instance, _, promoted) = standby(&rig).await;
    let from = rig.fake.log().len();
    rig.fake.tamper(&instance.name, |json| json["status"] = "SUSPENDED".into());
    let protected = ShapeStep::Protect(true);
    rig.gce.take_step(&instance, &protected, &quiet).await.unwrap();
    let error = reshape(&rig.gce, &instance, &promoted).await.unwrap_err();
    assert_eq!(error, ShapeError::Suspended(instance.clone()));
    assert_eq!(changes(&rig.fake.log()[from..]), ["setDeletionProtection"]);
    rig.fake.tamper(&instance.name, |json| json["status"] = "STOPPING".into());
    let waits = Arc::new(AtomicUsize::new(0));
    let progress = |_: &ShapeStep, state: StepState| {
        if state == StepState::Waits && waits.fetch_add(1, Ordering::SeqCst) == 2 {
            rig.fake.tamper(&instance.name, |json| json["status"] = "TERMINATED".into());
        }
    };
    let machines: &dyn PromotionMachines = &rig.gce;
    assert_eq!(machines.reshape(&instance, &promoted, &progress).await.unwrap(), promoted);
    assert!(waits.load(Ordering::SeqCst) >= 3);
    assert_eq!(changes(&rig.fake.log()[from..]).iter().filter(|verb| *verb == "stop").count(), 0);
    let from = rig.fake.log().len();
    let kept = rig.fake.machines()[0].name.clone();
    rig.fake.tamper(&kept, |json| json["labels"]["site"] = "cabin".into());
    let error = reshape(&rig.gce, &instance, &promoted).await.unwrap_err();
    assert!(matches!(&error, ShapeError::Cloud(CloudError::Refused(why)) if why.contains("labels")), "{error:?}");
    rig.fake.vanish(&kept);
    assert_eq!(reshape(&rig.gce, &instance, &promoted).await, Err(ShapeError::Gone(instance.clone())));
    assert_eq!(changes(&rig.fake.log()[from..]), [""; 0]);
}

#[tokio::test]
async fn each_step_says_how_far_it_is_and_one_that_never_ends_is_an_error_in_bounded_time() {
    let rig = rig().await;
    let (instance, _, promoted) = standby(&rig).await;
    rig.fake.fault(Method::Stop, Fault::Slow(Span::from_millis(60)));
    let said = std::sync::Mutex::new(Vec::new());
    let progress = |step: &ShapeStep, state: StepState| said.lock().unwrap().push((step.clone(), state));
    let machines: &dyn PromotionMachines = &rig.gce;
    machines.reshape(&instance, &promoted, &progress).await.unwrap();
    let said = said.into_inner().unwrap();
    let stop: Vec<_> = said.iter().filter(|(step, _)| *step == ShapeStep::Stop).map(|(_, state)| state).collect();
    assert_eq!((stop[0], *stop.last().unwrap()), (&StepState::Asked, &StepState::Done), "{stop:?}");
    let runs = |state: &&&StepState| matches!(state, StepState::Runs { operation, percent: Some(0) } if operation.starts_with("operation-"));
    assert!(stop.iter().filter(runs).count() >= 2, "{stop:?}");
    let done = said.iter().filter(|(_, state)| *state == StepState::Done).count();
    assert_eq!(done, 10);

    let impatient = gce_with(&rig.fake, "home", |config| config.operation_timeout = Duration::from_millis(20)).await;
    for _ in 0..5 {
        rig.fake.fault(Method::SetDeletionProtection, Fault::Slow(Span::from_hours(1)));
    }
    let error = impatient.take_step(&instance, &ShapeStep::Protect(false), &quiet).await.unwrap_err();
    assert!(
        matches!(&error, ShapeError::Cloud(CloudError::Unknown(why)) if why.contains("has not ended")),
        "{error:?}"
    );
}
