//! The Compute Engine adapter against the fake: every way in which creating once can become creating twice, or deleting
//! what is not ours.

use std::{sync::Arc, time::Duration};

use failover::{
    adapters::{
        clock::SystemClock,
        gce::{Gce, GceConfig},
    },
    bundle::Bundle,
    domain::{
        ActionId, CreateOutcome, IncidentId, InstanceRef, MachineState, Report, Role, Rung, Span, StandbySpec, Step,
        Time, ValidatorId, Written, ownership::OwnershipView,
    },
    ports::{CloudError, FindingState, Machines, Observed, Scope, Unpromoted},
    sandbox::compute::{FakeCompute, Fault, Method},
};
use google_cloud_auth::credentials::anonymous;
use serde_json::json;

pub(crate) const ZONES: [&str; 3] = ["us-central1-a", "us-central1-b", "europe-west4-a"];

pub(crate) struct Rig {
    pub(crate) fake: FakeCompute,
    pub(crate) gce: Gce,
}

pub(crate) async fn rig() -> Rig {
    let fake = FakeCompute::start(&ZONES, Span::from_millis(1), Arc::new(SystemClock)).await.unwrap();
    Rig { gce: gce_of(&fake, "home").await, fake }
}

/// What a watcher of this site sees of a project.
async fn gce_of(fake: &FakeCompute, site: &str) -> Gce {
    gce_with(fake, site, |_| ()).await
}

/// The same with something else about it.
pub(crate) async fn gce_with(fake: &FakeCompute, site: &str, change: impl FnOnce(&mut GceConfig)) -> Gce {
    let mut config = GceConfig {
        project: "home-failover".into(),
        endpoint: Some(fake.url().parse().unwrap()),
        resource_manager: Some(fake.url().parse().unwrap()),
        credentials: anonymous::Builder::new().build(),
        ladder: ZONES.map(|zone| Rung { zone: zone.into(), machine_type: "n2-standard-8".into() }).into(),
        site: site.into(),
        subnetwork: None,
        tags: vec!["p2p".into()],
        image: "projects/debian-cloud/global/images/family/debian-12".into(),
        boot_disk_gb: 50,
        disk_type: "pd-balanced".into(),
        disk_gb: 2048,
        bundle: Bundle::default(),
        call_timeout: Duration::from_secs(2),
        operation_timeout: Duration::from_secs(5),
        poll_every: Duration::from_millis(2),
    };
    change(&mut config);
    Gce::new(config).await.unwrap()
}

pub(crate) fn validator() -> ValidatorId {
    ValidatorId::new("eth-0").unwrap()
}

pub(crate) fn incident() -> IncidentId {
    IncidentId::derive(&validator(), Time::UNIX_EPOCH)
}

pub(crate) fn spec(zone: &str, attempt: u32) -> StandbySpec {
    StandbySpec {
        action: ActionId { incident: incident(), step: Step::Create, attempt },
        validator: validator(),
        rung: Rung { zone: zone.into(), machine_type: "n2-standard-8".into() },
        max_run_duration: Span::from_hours(72),
    }
}

pub(crate) async fn created(rig: &Rig) -> InstanceRef {
    match rig.gce.create(&spec(ZONES[0], 0), uuid::Uuid::nil()).await {
        CreateOutcome::Created(instance) => instance,
        other => panic!("{other:?}"),
    }
}

/// Two houses in one project, each with an `eth-0`: neither sees the other's machine, so neither deletes it.
#[tokio::test]
async fn a_machine_of_another_site_is_not_there_and_every_machine_names_its_ledger() {
    let rig = rig().await;
    let other = gce_of(&rig.fake, "cabin").await;
    let ledger = uuid::Uuid::new_v4();
    let CreateOutcome::Created(instance) = rig.gce.create(&spec(ZONES[0], 0), ledger).await else { panic!("created") };
    let labels = rig.fake.machines()[0].json["labels"].clone();
    assert_eq!((&labels["site"], &labels["ledger"]), (&"home".into(), &ledger.to_string().into()));
    for scope in [Scope::Everything, Scope::Validator(validator()), scope()] {
        assert_eq!(rig.gce.find(&scope).await.unwrap()[0].ledger, ledger.to_string(), "{scope:?}");
        assert!(other.find(&scope).await.unwrap().is_empty(), "{scope:?}");
    }
    assert!(other.observe(&instance).await.is_err(), "nor can it be checked for a deletion");
}

fn scope() -> Scope {
    Scope::Incident(validator(), incident())
}

fn unpromoted(observed: &Observed) -> Unpromoted {
    Unpromoted::check(observed, &validator(), incident(), &OwnershipView::ABSENT).unwrap()
}

fn delete_action() -> ActionId {
    ActionId { incident: incident(), step: Step::Delete, attempt: 1 }
}

#[tokio::test]
async fn a_standby_has_no_rights_no_keys_no_way_in_and_an_end() {
    let rig = rig().await;
    let instance = created(&rig).await;
    let machine = &rig.fake.machines()[0];
    assert_eq!((machine.zone.as_str(), machine.status()), (ZONES[0], "RUNNING"));
    let body = &rig.fake.bodies().into_iter().find(|body| body.schema == "Instance").unwrap().body;
    assert_eq!(body.get("serviceAccounts"), None, "no service account");
    assert_eq!(body["scheduling"]["maxRunDuration"]["seconds"], "259200");
    assert_eq!(body["scheduling"]["instanceTerminationAction"], "STOP");
    assert_eq!(body["shieldedInstanceConfig"]["enableSecureBoot"], true);
    for disk in body["disks"].as_array().unwrap() {
        assert_eq!(disk["autoDelete"], true);
        assert_eq!(disk["initializeParams"].get("diskName"), None, "a disk of that name would be attached as it is");
    }
    let metadata = body["metadata"]["items"].to_string();
    assert!(metadata.contains(r#"{"key":"block-project-ssh-keys","value":"TRUE"}"#), "{metadata}");
    assert!(metadata.contains(r#"{"key":"enable-guest-attributes","value":"TRUE"}"#), "{metadata}");
    assert_eq!(machine.label("incident"), incident().to_string());
    let found = rig.gce.find(&scope()).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((&found[0].instance, found[0].role, found[0].state), (&instance, Role::Standby, MachineState::Running));
}

#[tokio::test]
async fn a_failed_operation_is_told_by_its_code_and_leaves_nothing() {
    let rig = rig().await;
    rig.fake.fault(Method::Insert, Fault::OutOfStock);
    rig.fake.fault(Method::Insert, Fault::Quota);
    assert!(matches!(rig.gce.create(&spec(ZONES[0], 0), uuid::Uuid::nil()).await, CreateOutcome::OutOfStock(_)));
    assert!(matches!(rig.gce.create(&spec(ZONES[1], 1), uuid::Uuid::nil()).await, CreateOutcome::QuotaExceeded(_)));
    assert!(rig.fake.machines().is_empty());
}

#[tokio::test]
async fn a_lost_reply_is_an_unknown_outcome_and_the_same_request_creates_nothing_twice() {
    let rig = rig().await;
    rig.fake.fault(Method::Insert, Fault::LoseReply);
    assert!(matches!(rig.gce.create(&spec(ZONES[0], 0), uuid::Uuid::nil()).await, CreateOutcome::Unknown(_)));
    assert_eq!(rig.gce.find(&scope()).await.unwrap().len(), 1, "looking tells");
    assert!(
        matches!(rig.gce.create(&spec(ZONES[0], 0), uuid::Uuid::nil()).await, CreateOutcome::Created(_)),
        "the same request id"
    );
    assert!(
        matches!(rig.gce.create(&spec(ZONES[0], 1), uuid::Uuid::nil()).await, CreateOutcome::Created(_)),
        "409, and the labels match"
    );
    assert_eq!(rig.fake.machines().len(), 1);
}

#[tokio::test]
async fn a_strangers_machine_of_the_same_name_is_refused_and_left_alone() {
    let rig = rig().await;
    let instance = created(&rig).await;
    rig.fake.tamper(&instance.name, |json| json["labels"] = json!({"app": "theirs"}));
    let outcome = rig.gce.create(&spec(ZONES[0], 7), uuid::Uuid::nil()).await;
    assert!(matches!(&outcome, CreateOutcome::RefusedHere(why) if why.contains("not this incident's")), "{outcome:?}");
    assert!(rig.gce.find(&scope()).await.unwrap().is_empty());
    assert_eq!(rig.fake.machines().len(), 1);
}

#[tokio::test]
async fn a_machine_that_is_still_being_made_or_on_its_way_out_is_waited_for_and_not_taken() {
    let rig = rig().await;
    let instance = created(&rig).await;
    let states = [
        ("PROVISIONING", MachineState::Starting),
        ("STAGING", MachineState::Starting),
        ("STOPPING", MachineState::Stopping),
        ("SUSPENDING", MachineState::Stopping),
    ];
    for (attempt, (status, state)) in (10..).zip(states) {
        rig.fake.tamper(&instance.name, |json| json["status"] = status.into());
        let outcome = rig.gce.create(&spec(ZONES[0], attempt), uuid::Uuid::nil()).await;
        assert!(matches!(outcome, CreateOutcome::BeingMade(_)), "{status}: {outcome:?}");
        assert_eq!(rig.gce.find(&scope()).await.unwrap()[0].state, state, "{status}");
    }
    rig.fake.tamper(&instance.name, |json| json["status"] = "REPAIRING".into());
    let outcome = rig.gce.create(&spec(ZONES[0], 20), uuid::Uuid::nil()).await;
    assert!(matches!(outcome, CreateOutcome::Created(_)), "it goes on by itself: {outcome:?}");
}

#[tokio::test]
async fn every_bad_answer_to_an_insert_is_refused_or_unknown_and_creates_nothing() {
    let (everywhere, here, busy, unknown) = ("everywhere", "here", "busy", "unknown");
    let bad = [
        (Fault::Status(403, "forbidden"), everywhere),
        (Fault::Status(404, "notFound"), here),
        (Fault::Status(412, "conditionNotMet"), here),
        (Fault::Status(400, "invalid"), here),
        (Fault::Status(400, "IP_SPACE_EXHAUSTED_WITH_DETAILS"), here),
        // A minute mends these.
        (Fault::Status(400, "resourceNotReady"), busy),
        (Fault::Status(401, "authError"), busy),
        (Fault::Status(403, "rateLimitExceeded"), busy),
        (Fault::Status(403, "RATE_LIMIT_EXCEEDED"), busy),
        (Fault::Status(403, "CONCURRENT_OPERATIONS_QUOTA_EXCEEDED"), busy),
        (Fault::Status(403, "RESOURCE_OPERATION_RATE_EXCEEDED"), busy),
        (Fault::Status(500, "SERVICE_UNAVAILABLE_FOR_LOCATION"), busy),
        // Every place would say the same.
        (Fault::Status(400, "billingNotEnabled"), everywhere),
        (Fault::Status(403, "accessNotConfigured"), everywhere),
        (Fault::Status(404, "PROJECT_NOT_FOUND"), everywhere),
        // What nobody knows may be the place's.
        (Fault::Status(400, "aReasonOfTomorrow"), here),
        (Fault::Status(409, "alreadyExists"), unknown),
        (Fault::Status(408, "timeout"), unknown),
        (Fault::Status(429, "rateLimitExceeded"), busy),
        (Fault::Status(500, "backendError"), unknown),
        (Fault::Status(503, "backendError"), unknown),
        (Fault::Drop, unknown),
        (Fault::NoOperation, unknown),
        (Fault::Hang, unknown),
    ];
    let rig = rig().await;
    for (attempt, (fault, expected)) in (0..).zip(bad) {
        rig.fake.fault(Method::Insert, fault.clone());
        let outcome = rig.gce.create(&spec(ZONES[0], attempt), uuid::Uuid::nil()).await;
        let kind = match &outcome {
            CreateOutcome::Unknown(_) | CreateOutcome::BeingMade(_) => unknown,
            CreateOutcome::Busy(_) => busy,
            CreateOutcome::RefusedHere(_) => here,
            CreateOutcome::Refused(_) => everywhere,
            CreateOutcome::Created(_) | CreateOutcome::OutOfStock(_) | CreateOutcome::QuotaExceeded(_) => "another",
        };
        assert_eq!(kind, expected, "{fault:?} became {outcome:?}");
        assert!(rig.fake.machines().is_empty(), "{fault:?}");
    }
    rig.fake.fault(Method::Insert, Fault::Status(403, "quotaExceeded"));
    let outcome = rig.gce.create(&spec(ZONES[0], 99), uuid::Uuid::nil()).await;
    assert!(matches!(outcome, CreateOutcome::QuotaExceeded(_)), "{outcome:?}");
}

#[tokio::test]
async fn a_zone_of_the_ladder_that_does_not_answer_is_named_and_what_the_others_show_is_found() {
    let rig = rig().await;
    let instance = created(&rig).await;
    rig.fake.set_reachable(ZONES[1], false);
    let Err(CloudError::Incomplete(list)) = rig.gce.find(&scope()).await else { panic!("not all zones were seen") };
    assert_eq!(list.unseen_zones, [ZONES[1]]);
    assert!(list.why.starts_with("us-central1-b: 503"), "{}", list.why);
    assert_eq!(list.found.iter().map(|found| &found.instance).collect::<Vec<_>>(), [&instance]);
    rig.fake.set_reachable(ZONES[1], true);
    assert_eq!(rig.gce.find(&scope()).await.unwrap().len(), 1);
    for zone in ZONES {
        rig.fake.set_reachable(zone, false);
    }
    assert!(matches!(rig.gce.find(&scope()).await, Err(CloudError::Unknown(_))), "nobody has answered");
}

/// A part of the cloud that cannot hold a machine of ours must not be able to stop us.
#[tokio::test]
async fn a_zone_outside_of_the_ladder_that_does_not_answer_hides_nothing() {
    let fake = FakeCompute::start(&[ZONES[0], "mars-north1-a"], Span::from_millis(1), Arc::new(SystemClock)).await;
    let fake = fake.unwrap();
    // The other zones of the ladder do not exist (any more).
    let rig = Rig { gce: gce_of(&fake, "home").await, fake };
    created(&rig).await;
    rig.fake.set_reachable("mars-north1-a", false);
    assert_eq!(rig.gce.find(&scope()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn every_bad_answer_to_a_look_is_an_error_and_never_an_empty_list() {
    let rig = rig().await;
    created(&rig).await;
    for fault in
        [Fault::Status(403, "forbidden"), Fault::Status(404, "notFound"), Fault::Status(429, "rateLimitExceeded")]
    {
        rig.fake.fault(Method::AggregatedList, fault.clone());
        assert!(rig.gce.find(&scope()).await.is_err(), "{fault:?}");
    }
    // One bad zone may have failed the whole list: each is asked for itself.
    for fault in [Fault::Status(500, "backendError"), Fault::Drop, Fault::Hang, Fault::LoseReply] {
        rig.fake.fault(Method::AggregatedList, fault.clone());
        assert_eq!(rig.gce.find(&scope()).await.unwrap().len(), 1, "{fault:?}");
    }
    assert_eq!(rig.gce.find(&scope()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_disk_that_was_there_before_makes_the_machine_refused() {
    let rig = rig().await;
    let instance = created(&rig).await;
    rig.fake.tamper(&instance.name, |json| json["disks"][1]["source"] = json!("zones/z/disks/old-keys"));
    let outcome = rig.gce.create(&spec(ZONES[0], 1), uuid::Uuid::nil()).await;
    assert!(matches!(&outcome, CreateOutcome::Refused(why) if why.contains("was there before")), "{outcome:?}");
}

#[tokio::test]
async fn a_report_is_read_and_nonsense_is_none() {
    let rig = rig().await;
    let instance = created(&rig).await;
    let observe = || async { rig.gce.observe(&instance).await.unwrap().unwrap().written.report().cloned() };
    assert_eq!(observe().await, None, "nothing written yet");
    let report = Report {
        incident: incident().to_string(),
        boot_id: "b".into(),
        counter: 1,
        progress_percent: 40,
        stage: "headers".into(),
        synced: false,
        optimistic: true,
        head_age_seconds: 900,
        peers: 3,
        genesis_root: "0x00".into(),
        clock_offset_ms: 2,
        ..Report::default()
    };
    rig.fake.report(&instance.name, &report);
    assert_eq!(observe().await, Some(report));
    let long = "x".repeat(100_000);
    for nonsense in ["", "{", "[]", "{\"counter\": -1}", &long] {
        rig.fake.guest_attribute(&instance.name, "report", nonsense);
        assert_eq!(observe().await, None);
    }
}

#[tokio::test]
async fn a_machine_of_the_same_name_made_later_is_another_one() {
    let rig = rig().await;
    let first = created(&rig).await;
    let observed = rig.gce.observe(&first).await.unwrap().unwrap();
    rig.fake.vanish(&first.name);
    assert_eq!(rig.gce.observe(&first).await.unwrap(), None);
    let CreateOutcome::Created(second) = rig.gce.create(&spec(ZONES[0], 1), uuid::Uuid::nil()).await else {
        panic!("not created")
    };
    assert_ne!(first.id, second.id);
    assert_eq!(rig.gce.observe(&first).await.unwrap(), None, "the name is not the machine");
    rig.gce.delete(&delete_action(), &unpromoted(&observed)).await.unwrap();
    assert_eq!(rig.fake.machines().len(), 1, "the second one is not ours to delete by the first one's proof");
}

#[tokio::test]
async fn deleting_may_be_repeated_and_an_unknown_outcome_is_said() {
    let rig = rig().await;
    let instance = created(&rig).await;
    let proof = unpromoted(&rig.gce.observe(&instance).await.unwrap().unwrap());
    rig.fake.fault(Method::Delete, Fault::Status(500, "backendError"));
    assert!(matches!(rig.gce.delete(&delete_action(), &proof).await, Err(CloudError::Unknown(_))));
    rig.fake.fault(Method::Delete, Fault::LoseReply);
    assert!(matches!(rig.gce.delete(&delete_action(), &proof).await, Err(CloudError::Unknown(_))));
    rig.gce.delete(&delete_action(), &proof).await.unwrap();
    assert!(rig.fake.machines().is_empty());
    rig.gce.delete(&delete_action(), &proof).await.unwrap();
}

#[tokio::test]
async fn what_is_retained_is_protected_and_out_of_reach() {
    let rig = rig().await;
    let instance = created(&rig).await;
    rig.fake.fault(Method::SetLabels, Fault::Status(412, "conditionNotMet"));
    let retained = rig.gce.retain(&instance).await.unwrap();
    assert!(retained.protected, "{retained:?}");
    let observed = rig.gce.observe(&instance).await.unwrap().unwrap();
    assert_eq!((observed.machine.role, observed.machine.deletion_protection), (Role::Retained, true));
    Unpromoted::check(&observed, &validator(), incident(), &OwnershipView::ABSENT).unwrap_err();
}

#[test]
fn a_signer_or_a_foreign_label_makes_a_machine_untouchable() {
    let machine = failover::domain::Machine {
        instance: InstanceRef { zone: "z".into(), name: "m".into(), id: 1.into() },
        validator: "eth-0".into(),
        incident: incident().to_string(),
        ledger: String::new(),
        role: Role::Standby,
        state: MachineState::Running,
        deletion_protection: false,
        machine_type: "t".into(),
        created_at: None,
    };
    let seen = |change: fn(&mut failover::domain::Machine)| {
        let mut machine = machine.clone();
        change(&mut machine);
        Observed { machine, written: Written::Nothing }
    };
    let check =
        |observed: &Observed| Unpromoted::check(observed, &validator(), incident(), &OwnershipView::ABSENT).is_ok();
    assert!(check(&seen(|_| {})));
    assert!(!check(&seen(|machine| machine.role = Role::Promoted)));
    assert!(!check(&seen(|machine| machine.role = Role::Other)));
    assert!(!check(&seen(|machine| machine.deletion_protection = true)));
    assert!(!check(&seen(|machine| machine.incident = "ffffffff".into())));
    assert!(!check(&seen(|machine| machine.validator = "eth-1".into())));
    let says = |written: Written| Observed { machine: machine.clone(), written };
    assert!(check(&says(Report::default().into())));
    assert!(check(&says(Written::starting("installing ansible"))), "an agent comes after the script");
    let hidden = Report { signer_hidden: Some("/proc is hidden".into()), ..Report::default() };
    assert!(!check(&says(hidden.into())), "one that cannot be ruled out counts as seen");
    assert!(!check(&says(Report { signer_seen: true, ..Report::default() }.into())));
    assert!(!check(&says(Written::Unreadable("too long".into()))), "it may say that there is a signer");
}

#[tokio::test]
async fn check_names_what_would_fail_on_the_day() {
    let rig = rig().await;
    let problems = |findings: &[failover::ports::Finding]| {
        let bad = findings.iter().filter(|finding| finding.state != FindingState::Ok);
        bad.map(|finding| format!("{}: {}", finding.subject, finding.detail)).collect::<Vec<_>>()
    };
    assert_eq!(problems(&rig.gce.check().await), Vec::<String>::new());
    rig.fake.deny("compute.instances.create");
    let found = problems(&rig.gce.check().await);
    assert!(found.len() == 1 && found[0].contains("missing: compute.instances.create"), "{found:?}");
}

#[tokio::test]
async fn what_the_fake_does_not_implement_it_says() {
    let rig = rig().await;
    let url = format!("{}/compute/v1/projects/p/global/networks", rig.fake.url());
    let answer = reqwest::get(url).await.unwrap();
    assert_eq!(answer.status(), 501);
    assert!(answer.text().await.unwrap().contains("does not implement"));
}
