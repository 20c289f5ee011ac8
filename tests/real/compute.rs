//! The fake Compute Engine before its judges: Google's own Python client, and Google's own schema.

use std::{fs, process::Stdio, sync::Arc, time::Duration};

use failover::{
    adapters::{
        clock::SystemClock,
        gce::{Gce, GceConfig},
    },
    bundle::Bundle,
    domain::{ActionId, CreateOutcome, IncidentId, Report, Rung, Span, StandbySpec, Step, Time, ValidatorId},
    ports::{Machines, PromotionMachines, Scope, Unpromoted},
    sandbox::compute::{FakeCompute, Fault, Method},
};
use google_cloud_auth::credentials::anonymous;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::Command,
};

use crate::parts::part;

async fn fake() -> FakeCompute {
    let zones = ["us-central1-a", "us-central1-b"];
    FakeCompute::start(&zones, Span::from_millis(1), Arc::new(SystemClock)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn googles_python_client_sees_a_compute_engine() {
    let fake = fake().await;
    fake.fault(Method::Insert, Fault::OutOfStock);
    let mut command = Command::new(part("python").join("bin/python"));
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/compute_client.py")).arg(fake.url());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).kill_on_drop(true);
    let mut client = command.spawn().unwrap();
    let mut said = BufReader::new(client.stdout.take().unwrap()).lines();
    assert_eq!(said.next_line().await.unwrap().as_deref(), Some("write"), "its complaint stands above");
    write_as_machine(&fake, "fo-second").await;
    client.stdin.take().unwrap().write_all(b"written\n").await.unwrap();
    assert_eq!(said.next_line().await.unwrap().as_deref(), Some("done"), "its complaint stands above");
    assert!(client.wait().await.unwrap().success());
    assert!(fake.machines().is_empty());
    check_bodies(&fake);
}

/// A line on its console, and a guest attribute through its metadata server.
async fn write_as_machine(fake: &FakeCompute, machine: &str) {
    fake.serial_write(machine, b"failover: done\n");
    let address = fake.metadata_server(machine).await.unwrap();
    let url = format!("http://{address}/computeMetadata/v1/instance/guest-attributes/failover/report");
    let client = failover::adapters::http::client(Duration::from_secs(5)).unwrap();
    let answer = client.put(url).header("Metadata-Flavor", "Google").body("{}").send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

/// A whole life of a standby, then every body that was taken or sent against the published schema.
#[tokio::test(flavor = "multi_thread")]
async fn every_body_is_as_googles_schema_has_it() {
    let fake = fake().await;
    let rung = Rung { zone: "us-central1-a".into(), machine_type: "n2-standard-8".into() };
    let gce = Gce::new(GceConfig {
        project: "home-failover".into(),
        endpoint: Some(fake.url().parse().unwrap()),
        resource_manager: Some(fake.url().parse().unwrap()),
        credentials: anonymous::Builder::new().build(),
        ladder: vec![rung.clone()],
        site: "home".into(),
        subnetwork: Some("regions/us-central1/subnetworks/standby".into()),
        tags: vec!["p2p".into()],
        image: "projects/debian-cloud/global/images/family/debian-12".into(),
        boot_disk_gb: 50,
        disk_type: "pd-balanced".into(),
        disk_gb: 2048,
        bundle: Bundle::default(),
        call_timeout: Duration::from_secs(5),
        operation_timeout: Duration::from_secs(5),
        poll_every: Duration::from_millis(2),
    })
    .await
    .unwrap();
    let validator = ValidatorId::new("eth-0").unwrap();
    let incident = IncidentId::derive(&validator, Time::UNIX_EPOCH);
    let action = |step, attempt| ActionId { incident, step, attempt };
    let max_run_duration = Span::from_hours(72);
    let spec = |attempt| StandbySpec {
        action: action(Step::Create, attempt),
        validator: validator.clone(),
        rung: rung.clone(),
        max_run_duration,
    };
    fake.fault(Method::Insert, Fault::OutOfStock);
    assert!(matches!(gce.create(&spec(0), uuid::Uuid::nil()).await, CreateOutcome::OutOfStock(_)));
    let CreateOutcome::Created(instance) = gce.create(&spec(1), uuid::Uuid::nil()).await else { panic!("not created") };
    let report = Report {
        incident: incident.to_string(),
        boot_id: "b".into(),
        counter: 1,
        progress_percent: 1,
        stage: "s".into(),
        synced: false,
        optimistic: true,
        head_age_seconds: 1,
        peers: 1,
        genesis_root: "0x00".into(),
        clock_offset_ms: 1,
        ..Report::default()
    };
    fake.report(&instance.name, &report);
    let observed = gce.observe(&instance).await.unwrap().unwrap();
    assert_eq!(gce.find(&Scope::Everything).await.unwrap().len(), 1);
    gce.check().await;
    // Every kind of rule the program has to understand.
    fake.set_firewall(&[
        json!({"name": "peers", "allowed": [{"IPProtocol": "tcp", "ports": ["30303"]}, {"IPProtocol": "all"}],
               "sourceRanges": ["0.0.0.0/0"], "targetTags": ["p2p"]}),
        json!({"name": "none", "denied": [{"IPProtocol": "tcp", "ports": ["22"]}], "priority": 900}),
    ]);
    gce.check().await;
    let looked_at: Vec<&str> = fake.bodies().iter().map(|recorded| recorded.schema).collect();
    assert!(["Subnetwork", "FirewallList"].iter().all(|schema| looked_at.contains(schema)), "{looked_at:?}");
    let proof = Unpromoted::check(&observed, &validator, incident, &failover::domain::ownership::OwnershipView::ABSENT)
        .unwrap();
    gce.delete(&action(Step::Delete, 1), &proof).await.unwrap();
    let CreateOutcome::Created(instance) = gce.create(&spec(2), uuid::Uuid::nil()).await else { panic!("not created") };
    assert!(!gce.retain(&instance).await.unwrap().limit_cleared, "it runs");
    // What is left to the operator: stopped, cleared, started.
    let link = format!("{}/compute/v1/projects/home-failover/zones/us-central1-a", fake.url());
    let client = reqwest::Client::new();
    let post = |path: String| client.post(format!("{link}/instances/{path}")).send();
    assert_eq!(post(format!("{}/stop", instance.name)).await.unwrap().status(), 200);
    while fake.machines()[0].status() != "TERMINATED" {
        tokio::task::yield_now().await;
    }
    assert!(gce.retain(&instance).await.unwrap().limit_cleared);
    assert_eq!(post(format!("{}/start", instance.name)).await.unwrap().status(), 200);
    while fake.machines()[0].status() != "RUNNING" {
        tokio::task::yield_now().await;
    }
    // Promoted, looked at, and back.
    let machines: &dyn PromotionMachines = &gce;
    let before = machines.shape(&instance).await.unwrap().unwrap();
    let promoted = machines.reshape(&instance, &before.promoted("7"), &|_, _| ()).await.unwrap();
    assert!(promoted.name.starts_with("kept-"), "{promoted:?}");
    gce.check().await;
    machines.reshape(&instance, &before.restored(), &|_, _| ()).await.unwrap();
    let taken: Vec<&str> = fake.bodies().iter().map(|recorded| recorded.schema).collect();
    let promotion =
        ["InstancesSetNameRequest", "Metadata", "Tags", "TestPermissionsRequest", "TestPermissionsResponse"];
    assert!(promotion.iter().all(|schema| taken.contains(schema)), "{taken:?}");
    fake.serial_write(&instance.name, b"failover: done\n");
    let more = format!("instances/{}/serialPort?port=1&start=3", instance.name);
    for path in [more, format!("disks/{}", instance.name), format!("disks/{}-1", instance.name)] {
        assert_eq!(client.get(format!("{link}/{path}")).send().await.unwrap().status(), 200);
    }
    fake.set_quota("CPUS", 8.0);
    assert!(
        matches!(gce.create(&spec(3), uuid::Uuid::nil()).await, CreateOutcome::Created(_)),
        "the one that is there"
    );
    let other = StandbySpec { validator: ValidatorId::new("eth-1").unwrap(), ..spec(4) };
    assert!(matches!(gce.create(&other, uuid::Uuid::nil()).await, CreateOutcome::QuotaExceeded(_)));
    check_bodies(&fake);
}

fn check_bodies(fake: &FakeCompute) {
    let text = fs::read_to_string(part("compute-schema").join("compute.v1.json")).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    let mut definitions = document["schemas"].clone();
    convert(&mut definitions);
    let bodies = fake.bodies();
    assert!(bodies.len() > 5, "there is something to check");
    let mut wrong = Vec::new();
    for recorded in bodies {
        let schema = json!({"$ref": format!("#/$defs/{}", recorded.schema), "$defs": definitions});
        let validator = jsonschema::validator_for(&schema).unwrap();
        for error in validator.iter_errors(&recorded.body) {
            wrong.push(format!("{} at {}: {error}", recorded.schema, error.instance_path()));
        }
    }
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Google's discovery format to JSON Schema: references, no field but those listed, whole patterns.
fn convert(value: &mut Value) {
    match value {
        Value::Array(all) => all.iter_mut().for_each(convert),
        Value::Object(object) => {
            if let Some(Value::String(name)) = object.get("$ref") {
                let reference = format!("#/$defs/{name}");
                object.insert("$ref".into(), reference.into());
            }
            if object.get("type") == Some(&json!("object"))
                && object.get("properties").is_some_and(Value::is_object)
                && !object.contains_key("additionalProperties")
            {
                object.insert("additionalProperties".into(), false.into());
            }
            if let Some(Value::String(pattern)) = object.get("pattern") {
                let whole = format!("^(?:{pattern})$");
                object.insert("pattern".into(), whole.into());
            }
            if object.get("type") == Some(&json!("any")) {
                object.remove("type");
            }
            // Limits stand there as texts.
            for key in ["minimum", "maximum"] {
                if object.get(key).is_some_and(Value::is_string) {
                    object.remove(key);
                }
            }
            // Descriptions, ids and formats of numbers say nothing that JSON Schema understands.
            for key in ["id", "format", "annotations", "enumDescriptions", "enumDeprecated", "default"] {
                if object.get(key).is_some_and(|found| !found.is_object()) {
                    object.remove(key);
                }
            }
            object.values_mut().for_each(convert);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
