//! The fake Compute Engine refuses what the real one refuses: through Google's own client, and what our adapter makes
//! of it.

use failover::{
    domain::{CreateOutcome, Span},
    ports::Machines,
    sandbox::compute::{Fault, Method},
};
use google_cloud_auth::credentials::anonymous;
use google_cloud_compute_v1::{
    client::{Disks, Instances, ZoneOperations},
    model::{
        AttachedDisk, AttachedDiskInitializeParams, Duration, Instance, InstancesSetLabelsRequest,
        InstancesSetNameRequest, Metadata, Operation, Scheduling, Tags, operation, scheduling,
    },
};

use crate::compute::{Rig, ZONES, created, rig, spec};

const PROJECT: &str = "home-failover";
const ZONE: &str = ZONES[0];

/// Google's client without our adapter.
struct Client {
    instances: Instances,
    operations: ZoneOperations,
}

/// What a call came to: its HTTP status, or the code of its operation.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Done,
    Status(u16),
    Code(String),
}

impl Client {
    async fn new(rig: &Rig) -> Self {
        let url = rig.fake.url();
        let credentials = || anonymous::Builder::new().build();
        let instances = Instances::builder().with_credentials(credentials()).with_endpoint(url);
        let operations = ZoneOperations::builder().with_credentials(credentials()).with_endpoint(url);
        Self { instances: instances.build().await.unwrap(), operations: operations.build().await.unwrap() }
    }

    async fn end(&self, sent: google_cloud_compute_v1::Result<Operation>) -> End {
        let mut operation = match sent {
            Ok(operation) => operation,
            Err(error) => return End::Status(error.http_status_code().expect("an answer of the fake")),
        };
        while operation.status != Some(operation::Status::Done) {
            let name = operation.name.clone().unwrap();
            let get = self.operations.get().set_project(PROJECT).set_zone(ZONE).set_operation(name);
            operation = get.send().await.unwrap();
        }
        let errors = operation.error.map(|error| error.errors).unwrap_or_default();
        errors.into_iter().next().map_or(End::Done, |error| End::Code(error.code.unwrap_or_default()))
    }

    async fn insert(&self, instance: Instance) -> End {
        let insert = self.instances.insert().set_project(PROJECT).set_zone(ZONE).set_body(instance);
        self.end(insert.send().await).await
    }

    async fn set_scheduling(&self, name: &str, scheduling: Scheduling) -> End {
        let set = self.instances.set_scheduling().set_project(PROJECT).set_zone(ZONE).set_instance(name);
        self.end(set.set_body(scheduling).send().await).await
    }

    async fn stop(&self, name: &str) -> End {
        let stop = self.instances.stop().set_project(PROJECT).set_zone(ZONE).set_instance(name);
        self.end(stop.send().await).await
    }

    async fn start(&self, name: &str) -> End {
        let start = self.instances.start().set_project(PROJECT).set_zone(ZONE).set_instance(name);
        self.end(start.send().await).await
    }

    async fn listed(&self, filter: &str) -> Result<Vec<String>, u16> {
        let list = self.instances.list().set_project(PROJECT).set_zone(ZONE).set_filter(filter);
        match list.send().await {
            Ok(list) => Ok(list.items.into_iter().filter_map(|found| found.name).collect()),
            Err(error) => Err(error.http_status_code().unwrap()),
        }
    }
}

fn disk(kind: &str, gb: i64) -> AttachedDiskInitializeParams {
    AttachedDiskInitializeParams::new().set_disk_type(format!("zones/{ZONE}/diskTypes/{kind}")).set_disk_size_gb(gb)
}

fn machine(name: &str, machine_type: &str, boot: AttachedDiskInitializeParams) -> Instance {
    Instance::new()
        .set_name(name)
        .set_machine_type(format!("zones/{ZONE}/machineTypes/{machine_type}"))
        .set_disks([AttachedDisk::new().set_boot(true).set_auto_delete(true).set_initialize_params(boot)])
}

fn max_run_duration(seconds: i64) -> Scheduling {
    Scheduling::new()
        .set_max_run_duration(Duration::new().set_seconds(seconds))
        .set_instance_termination_action(scheduling::InstanceTerminationAction::Stop)
}

#[tokio::test]
async fn scheduling_is_changed_only_of_a_machine_that_is_stopped() {
    let rig = rig().await;
    let client = Client::new(&rig).await;
    assert_eq!(client.insert(machine("a", "n2-standard-2", disk("pd-balanced", 10))).await, End::Done);
    assert_eq!(client.set_scheduling("a", max_run_duration(3600)).await, End::Status(400));
    assert_eq!(rig.fake.machines()[0].json["scheduling"].get("maxRunDuration"), None, "nothing has changed");
    assert_eq!(client.stop("a").await, End::Done);
    assert_eq!(client.set_scheduling("a", max_run_duration(3600)).await, End::Done);
    assert_eq!(client.start("a").await, End::Done);
    let found = &rig.fake.machines()[0];
    assert_eq!((found.status(), &found.json["scheduling"]["maxRunDuration"]["seconds"]), ("RUNNING", &"3600".into()));
}

#[tokio::test]
async fn a_fuse_without_an_action_or_out_of_bounds_is_refused() {
    let rig = rig().await;
    let client = Client::new(&rig).await;
    let with = |scheduling| machine("a", "n2-standard-2", disk("pd-balanced", 10)).set_scheduling(scheduling);
    let without_action = Scheduling::new().set_max_run_duration(Duration::new().set_seconds(3600));
    for bad in [without_action.clone(), max_run_duration(29), max_run_duration(120 * 86_400 + 1), max_run_duration(-1)]
    {
        assert_eq!(client.insert(with(bad)).await, End::Status(400));
    }
    assert!(rig.fake.machines().is_empty());
    assert_eq!(client.insert(with(max_run_duration(30))).await, End::Done);
    assert_eq!(client.stop("a").await, End::Done);
    assert_eq!(client.set_scheduling("a", without_action).await, End::Status(400));
    let shorter = failover::domain::StandbySpec { max_run_duration: Span::from_secs(10), ..spec(ZONE, 0) };
    assert!(
        matches!(rig.gce.create(&shorter, uuid::Uuid::nil()).await, CreateOutcome::RefusedHere(why) if why.contains("30 seconds"))
    );
}

#[tokio::test]
async fn quotas_count_what_exists_and_what_goes_beyond_fails_in_its_operation() {
    let quota = || End::Code("QUOTA_EXCEEDED".into());
    for (metric, machine_type, kind) in [
        ("CPUS", "e2-standard-4", "pd-balanced"),
        ("N2_CPUS", "n2-standard-4", "pd-balanced"),
        ("SSD_TOTAL_GB", "e2-standard-4", "pd-ssd"),
        ("DISKS_TOTAL_GB", "e2-standard-4", "pd-standard"),
    ] {
        let rig = rig().await;
        let client = Client::new(&rig).await;
        rig.fake.set_quota(metric, if metric.ends_with("CPUS") { 7.0 } else { 150.0 });
        assert_eq!(client.insert(machine("a", machine_type, disk(kind, 100))).await, End::Done, "{metric}");
        assert_eq!(client.insert(machine("b", machine_type, disk(kind, 100))).await, quota(), "{metric}");
        assert_eq!(rig.fake.machines().len(), 1, "{metric}");
        let other = if kind == "pd-standard" { "pd-balanced" } else { "pd-standard" };
        if !metric.ends_with("CPUS") {
            let elsewhere = machine("c", machine_type, disk(other, 100));
            assert_eq!(client.insert(elsewhere).await, End::Done, "{metric} counts its own kind only");
        }
        rig.fake.vanish("a");
        assert_eq!(
            client.insert(machine("d", machine_type, disk(kind, 100))).await,
            End::Done,
            "{metric} is free again"
        );
    }
}

#[tokio::test]
async fn a_stopped_machine_gives_its_processors_and_address_back_and_keeps_its_disks() {
    let rig = rig().await;
    let client = Client::new(&rig).await;
    rig.fake.set_quota("IN_USE_ADDRESSES", 1.0);
    let instance = created(&rig).await;
    let usage = || async {
        let url = format!("{}/compute/v1/projects/{PROJECT}/regions/us-central1", rig.fake.url());
        let region: serde_json::Value = reqwest::get(url).await.unwrap().json().await.unwrap();
        let of = |metric: &str| {
            let quotas = region["quotas"].as_array().unwrap();
            quotas.iter().find(|quota| quota["metric"] == metric).unwrap()["usage"].as_f64().unwrap()
        };
        ["CPUS", "IN_USE_ADDRESSES", "SSD_TOTAL_GB", "INSTANCES"].map(|metric| of(metric).to_string())
    };
    assert_eq!(usage().await, ["8", "1", "2098", "1"]);
    let quota = rig.gce.create(&spec(ZONES[1], 1), uuid::Uuid::nil()).await;
    assert!(matches!(&quota, CreateOutcome::QuotaExceeded(why) if why.contains("IN_USE_ADDRESSES")), "{quota:?}");
    assert!(
        matches!(rig.gce.create(&spec(ZONES[2], 2), uuid::Uuid::nil()).await, CreateOutcome::Created(_)),
        "another region"
    );
    assert_eq!(client.stop(&instance.name).await, End::Done);
    assert_eq!(usage().await, ["0", "0", "2098", "1"]);
    assert!(matches!(rig.gce.create(&spec(ZONES[1], 3), uuid::Uuid::nil()).await, CreateOutcome::Created(_)));
    assert_eq!(client.start(&instance.name).await, End::Status(403), "its address is another's now");
}

#[tokio::test]
async fn a_disk_of_the_name_asked_for_is_attached_as_it_is_and_never_made_anew() {
    let rig = rig().await;
    let client = Client::new(&rig).await;
    let mut old = machine("old", "n2-standard-2", disk("pd-balanced", 10).set_disk_name("keys"));
    old.disks[0].auto_delete = Some(false);
    assert_eq!(client.insert(old).await, End::Done);
    let disks = Disks::builder().with_credentials(anonymous::Builder::new().build()).with_endpoint(rig.fake.url());
    let disks = disks.build().await.unwrap();
    let id = || async {
        let get = disks.get().set_project(PROJECT).set_zone(ZONE).set_disk("keys");
        get.send().await.unwrap().id
    };
    let before = id().await;
    let wanted = |name: &str| machine(name, "n2-standard-2", disk("pd-balanced", 500).set_disk_name("keys"));
    let in_use = End::Code("RESOURCE_IN_USE_BY_ANOTHER_RESOURCE".into());
    assert_eq!(client.insert(wanted("new")).await, in_use, "while it is attached to another");
    rig.fake.vanish("old");
    assert_eq!(client.insert(wanted("new")).await, End::Done);
    assert_eq!(id().await, before, "the old disk, with whatever is on it");
}

#[tokio::test]
async fn a_disk_that_was_left_behind_under_the_machines_name_refuses_the_machine() {
    let rig = rig().await;
    let instance = created(&rig).await;
    rig.fake.tamper(&instance.name, |json| json["disks"][0]["autoDelete"] = false.into());
    rig.fake.vanish(&instance.name);
    let outcome = rig.gce.create(&spec(ZONE, 1), uuid::Uuid::nil()).await;
    assert!(matches!(&outcome, CreateOutcome::RefusedHere(why) if why.contains("a disk in")), "{outcome:?}");
    assert!(rig.fake.machines().is_empty());
    assert!(
        matches!(rig.gce.create(&spec(ZONES[1], 2), uuid::Uuid::nil()).await, CreateOutcome::Created(_)),
        "another zone is free"
    );
}

#[tokio::test]
async fn a_filter_is_read_in_each_of_its_forms_and_another_one_is_a_501() {
    let rig = rig().await;
    let client = Client::new(&rig).await;
    let labelled = |name: &str, app: &str| {
        machine(name, "n2-standard-2", disk("pd-balanced", 10)).set_labels([("app", app), ("site", "home")])
    };
    assert_eq!(client.insert(labelled("ours", "failover")).await, End::Done);
    assert_eq!(client.insert(labelled("theirs", "other")).await, End::Done);
    for filter in [
        r#"labels.app="failover""#,
        "labels.app=failover",
        "name=ours",
        r#"labels.site=home labels.app="failover""#,
        "labels.site=home AND name=ours",
        r#"(labels.site="home") (labels.app="failover")"#,
    ] {
        assert_eq!(client.listed(filter).await, Ok(vec!["ours".to_owned()]), "{filter}");
    }
    assert_eq!(client.listed("").await.map(|all| all.len()), Ok(2));
    for filter in ["labels.app!=other", "labels.app:fail", "status=RUNNING", "name=ours OR name=theirs"] {
        assert_eq!(client.listed(filter).await, Err(501), "{filter}");
    }
}

#[tokio::test]
async fn a_change_is_there_only_when_its_operation_has_ended() {
    let rig = rig().await;
    let client = Client::new(&rig).await;
    let instance = created(&rig).await;
    let slow = Fault::Slow(Span::from_hours(1));
    rig.fake.fault(Method::SetLabels, slow.clone());
    rig.fake.fault(Method::SetDeletionProtection, slow);
    let name = instance.name.as_str();
    let get = client.instances.get().set_project(PROJECT).set_zone(ZONE).set_instance(name);
    let before = get.send().await.unwrap();
    let body = || {
        let labels = InstancesSetLabelsRequest::new().set_labels([("role", "retained")]);
        labels.set_or_clear_label_fingerprint(before.label_fingerprint.clone())
    };
    let set = || client.instances.set_labels().set_project(PROJECT).set_zone(ZONE).set_instance(name).set_body(body());
    let begun = set().send().await.unwrap();
    assert_eq!(begun.status, Some(operation::Status::Running));
    let protect = client.instances.set_deletion_protection().set_project(PROJECT).set_zone(ZONE).set_resource(name);
    assert_eq!(protect.set_deletion_protection(true).send().await.unwrap().status, Some(operation::Status::Running));
    let now = &rig.fake.machines()[0];
    assert_eq!((now.label("role"), &now.json["deletionProtection"]), ("standby", &false.into()));
    // One that ends sooner makes the fingerprint stale for earlier readers.
    assert_eq!(client.end(set().send().await).await, End::Done);
    assert_eq!(rig.fake.machines()[0].label("role"), "retained");
    assert_eq!(client.end(set().send().await).await, End::Status(412));
}

#[tokio::test]
async fn a_machine_that_runs_is_retained_without_stopping_it_and_what_is_left_is_said() {
    let rig = rig().await;
    let instance = created(&rig).await;
    let retained = rig.gce.retain(&instance).await.unwrap();
    assert!(retained.protected && !retained.limit_cleared, "{retained:?}");
    let remaining = retained.remaining.unwrap();
    let steps = ["instances stop ", "--clear-max-run-duration", "instances start "];
    let places = steps.map(|step| remaining.find(step).unwrap_or_else(|| panic!("{step}: {remaining}")));
    assert!(places.is_sorted(), "in the order in which they have to be done: {remaining}");
    let machine = &rig.fake.machines()[0];
    assert_eq!((machine.status(), machine.label("role")), ("RUNNING", "retained"));
    let stops = rig.fake.log().into_iter().filter(|line| line.path.ends_with("/stop") || line.path.ends_with("/start"));
    assert_eq!(stops.count(), 0);
}

#[tokio::test]
async fn a_machine_that_is_stopped_loses_its_fuse_and_what_is_left_is_starting_it() {
    let rig = rig().await;
    let client = Client::new(&rig).await;
    let instance = created(&rig).await;
    assert_eq!(client.stop(&instance.name).await, End::Done);
    rig.fake.fault(Method::SetScheduling, Fault::Status(503, "backendError"));
    let failed = rig.gce.retain(&instance).await.unwrap();
    assert!(failed.protected && !failed.limit_cleared, "{failed:?}");
    assert!(!failed.remaining.unwrap().contains("instances stop"), "it is stopped already");
    let retained = rig.gce.retain(&instance).await.unwrap();
    assert!(retained.protected && retained.limit_cleared, "{retained:?}");
    assert!(retained.remaining.unwrap().contains("instances start"));
    assert_eq!(client.start(&instance.name).await, End::Done);
    let machine = &rig.fake.machines()[0];
    assert_eq!((machine.status(), machine.json["scheduling"].get("maxRunDuration")), ("RUNNING", None));
}

/// One change by Google's client, with the body that this makes of the machine as it is now.
async fn change(client: &Client, name: &str, verb: &str, body: serde_json::Value) -> End {
    let set = &client.instances;
    macro_rules! send {
        ($method:ident, $body:ident) => {{
            let body: $body = serde_json::from_value(body).unwrap();
            let request = set.$method().set_project(PROJECT).set_zone(ZONE).set_instance(name);
            client.end(request.set_body(body).send().await).await
        }};
    }
    match verb {
        "setMetadata" => send!(set_metadata, Metadata),
        "setTags" => send!(set_tags, Tags),
        "setName" => send!(set_name, InstancesSetNameRequest),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_machine_is_renamed_only_stopped_from_the_name_it_has_to_one_that_is_free() {
    let rig = rig().await;
    let client = Client::new(&rig).await;
    for name in ["a", "b"] {
        assert_eq!(client.insert(machine(name, "n2-standard-2", disk("pd-balanced", 10))).await, End::Done);
    }
    let rename = |from: &'static str, to: &'static str| {
        change(&client, "a", "setName", serde_json::json!({"currentName": from, "name": to}))
    };
    assert_eq!(rename("a", "c").await, End::Status(400), "it runs");
    assert_eq!(client.stop("a").await, End::Done);
    assert_eq!(rename("b", "c").await, End::Status(412), "that is not its name");
    assert_eq!(change(&client, "a", "setName", serde_json::json!({"name": "c"})).await, End::Status(412));
    assert_eq!(rename("a", "b").await, End::Status(409), "it is another's");
    assert_eq!(rename("a", "C_").await, End::Status(400));
    let id = rig.fake.machines()[0].json["id"].clone();
    assert_eq!(rename("a", "c").await, End::Done);
    let renamed = &rig.fake.machines()[0];
    assert_eq!((renamed.name.as_str(), &renamed.json["id"]), ("c", &id));
    assert!(renamed.json["selfLink"].as_str().unwrap().ends_with("/instances/c"), "{}", renamed.json);
    assert!(renamed.json["disks"][0]["source"].as_str().unwrap().ends_with("/disks/a"), "its disks keep their names");
    assert_eq!(change(&client, "a", "setName", serde_json::json!({})).await, End::Status(404), "the old name is free");
    assert_eq!(client.start("c").await, End::Done);
}

#[tokio::test]
async fn metadata_and_tags_are_replaced_as_a_whole_and_only_over_what_was_read() {
    let rig = rig().await;
    let client = Client::new(&rig).await;
    assert_eq!(client.insert(machine("a", "n2-standard-2", disk("pd-balanced", 10))).await, End::Done);
    for (verb, part, items) in [
        ("setMetadata", "metadata", serde_json::json!([{"key": "k", "value": "v"}])),
        ("setTags", "tags", serde_json::json!(["t"])),
    ] {
        let print = || rig.fake.machines()[0].json[part]["fingerprint"].clone();
        let old = print();
        let body = |print: &serde_json::Value| serde_json::json!({"fingerprint": print, "items": items});
        let set = |body: serde_json::Value| change(&client, "a", verb, body);
        assert_eq!(set(serde_json::json!({"items": items})).await, End::Status(412), "{verb}: without a fingerprint");
        assert_eq!(set(body(&old)).await, End::Done, "{verb}");
        assert_eq!(rig.fake.machines()[0].json[part]["items"], items, "{verb}");
        assert_eq!(set(body(&old)).await, End::Status(412), "{verb}: it has changed");
        assert_eq!(set(serde_json::json!({"fingerprint": print()})).await, End::Done, "{verb}");
        assert_eq!(rig.fake.machines()[0].json[part].get("items"), None, "{verb}: all of it is gone");
        // Two over the same state: the second one to end has lost.
        let method = if verb == "setTags" { Method::SetTags } else { Method::SetMetadata };
        rig.fake.fault(method, Fault::Slow(Span::from_millis(300)));
        let now = print();
        let (slow, quick) = tokio::join!(set(body(&now)), set(body(&now)));
        let mut ends = [format!("{slow:?}"), format!("{quick:?}")];
        ends.sort();
        assert_eq!(ends, ["Code(\"CONDITION_NOT_MET\")", "Done"], "{verb}");
    }
    let double = serde_json::json!({"items": [{"key": "k", "value": "1"}, {"key": "k", "value": "2"}]});
    assert_eq!(change(&client, "a", "setMetadata", double).await, End::Status(400));
    assert_eq!(change(&client, "a", "setTags", serde_json::json!({"items": ["No_"]})).await, End::Status(400));
}

#[tokio::test]
async fn a_disk_stays_or_goes_by_its_device_name_and_a_protected_machine_does_not_go() {
    let rig = rig().await;
    let client = Client::new(&rig).await;
    assert_eq!(client.insert(machine("a", "n2-standard-2", disk("pd-balanced", 10))).await, End::Done);
    let keep = |device: &'static str| {
        let set = client.instances.set_disk_auto_delete().set_project(PROJECT).set_zone(ZONE).set_instance("a");
        set.set_device_name(device).set_auto_delete(false).send()
    };
    assert_eq!(client.end(keep("sdb").await).await, End::Status(400));
    assert_eq!(client.end(keep("persistent-disk-0").await).await, End::Done);
    let protect = |on: bool| {
        let set = client.instances.set_deletion_protection().set_project(PROJECT).set_zone(ZONE).set_resource("a");
        set.set_deletion_protection(on).send()
    };
    let delete = || client.instances.delete().set_project(PROJECT).set_zone(ZONE).set_instance("a").send();
    assert_eq!(client.end(protect(true).await).await, End::Done);
    assert_eq!(client.end(delete().await).await, End::Status(400));
    assert_eq!(client.end(protect(false).await).await, End::Done);
    assert_eq!(client.end(delete().await).await, End::Done);
    let disks = Disks::builder().with_credentials(anonymous::Builder::new().build()).with_endpoint(rig.fake.url());
    let left = disks.build().await.unwrap().get().set_project(PROJECT).set_zone(ZONE).set_disk("a").send().await;
    assert!(left.is_ok(), "the disk outlives its machine");
}

#[tokio::test]
async fn a_start_that_finds_no_machine_to_give_fails_in_its_operation_and_leaves_it_stopped() {
    let rig = rig().await;
    let client = Client::new(&rig).await;
    assert_eq!(client.insert(machine("a", "n2-standard-2", disk("pd-balanced", 10))).await, End::Done);
    assert_eq!(client.stop("a").await, End::Done);
    rig.fake.fault(Method::Start, Fault::OutOfStock);
    assert_eq!(client.start("a").await, End::Code("ZONE_RESOURCE_POOL_EXHAUSTED".into()));
    assert_eq!(rig.fake.machines()[0].status(), "TERMINATED");
    assert_eq!(client.start("a").await, End::Done);
}
