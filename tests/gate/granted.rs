//! The grant on its way to the machine: written by what promotes into the metadata of the fake Compute Engine, read by the real
//! gate from the metadata server of that machine.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use failover::{
    adapters::{
        clock::SystemClock,
        gce::{Gce, GceConfig},
    },
    bundle::Bundle,
    domain::{
        ActionId, CreateOutcome, GRANT_KEY, IncidentId, InstanceRef, Rung, ShapeStep, Span, StandbySpec, Step, Time,
        ValidatorId,
        gate::WaitKind,
        ownership::{GrantPlace, SignedGrant},
    },
    ports::{Machines as _, PromotionMachines as _},
    sandbox::compute::FakeCompute,
};
use google_cloud_auth::credentials::anonymous;
use rustix::process::Signal;
use uuid::Uuid;

use crate::{
    local_house::{CLIENT, House},
    machines::{boot, killed},
    placed::{Place, is_there, send},
};

const ZONE: &str = "us-central1-a";

/// A project with one standby in it.
async fn cloud() -> (FakeCompute, Gce, InstanceRef) {
    let fake = FakeCompute::start(&[ZONE], Span::from_millis(1), Arc::new(SystemClock)).await.unwrap();
    let rung = Rung { zone: ZONE.into(), machine_type: "n2-standard-8".into() };
    let config = GceConfig {
        project: "home-failover".into(),
        endpoint: Some(fake.url().parse().unwrap()),
        resource_manager: Some(fake.url().parse().unwrap()),
        credentials: anonymous::Builder::new().build(),
        ladder: vec![rung.clone()],
        site: "home".into(),
        subnetwork: None,
        tags: vec![],
        image: "projects/debian-cloud/global/images/family/debian-12".into(),
        boot_disk_gb: 50,
        disk_type: "pd-balanced".into(),
        disk_gb: 2048,
        bundle: Bundle::default(),
        call_timeout: Duration::from_secs(10),
        operation_timeout: Duration::from_secs(10),
        poll_every: Duration::from_millis(2),
    };
    let gce = Gce::new(config).await.unwrap();
    let validator = ValidatorId::new("eth-0").unwrap();
    let incident = IncidentId::derive(&validator, Time::UNIX_EPOCH);
    let action = ActionId { incident, step: Step::Create, attempt: 0 };
    let spec = StandbySpec { action, validator, rung, max_run_duration: Span::from_hours(72) };
    let CreateOutcome::Created(instance) = gce.create(&spec, Uuid::nil()).await else { panic!("created") };
    (fake, gce, instance)
}

#[test]
fn the_bytes_that_a_promotion_leaves_in_the_metadata_start_the_client_and_with_one_changed_nothing_does() {
    if !is_there(Place::Container) {
        return;
    }
    let Some(house) = House::new() else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (fake, gce, instance) = runtime.block_on(cloud());
    let at = runtime.block_on(fake.metadata_server(&instance.name)).unwrap().to_string();
    let carry = |bytes: &[u8]| {
        let value = String::from_utf8(bytes.to_vec()).unwrap();
        let step = ShapeStep::Metadata(BTreeMap::from([(GRANT_KEY.to_owned(), Some(value.clone()))]));
        let shape = runtime.block_on(gce.take_step(&instance, &step, &|_, _| ())).unwrap();
        assert_eq!(shape.metadata[GRANT_KEY], Some(value));
    };
    let owner = GrantPlace::Cloud {
        project: "home-failover".into(),
        zone: ZONE.into(),
        instance_id: instance.id.clone(),
        boot_id: Uuid::from_u128(1).to_string(),
    };
    let signed: SignedGrant = house.grant(owner, 1);
    let bytes = signed.bytes();
    let start = || house.gate(Place::Container, "one", CLIENT).after(&boot(&house, 1)).in_the_cloud(&at).start();

    // In what is signed, in the signature, and cut off at its end.
    let text = String::from_utf8(bytes.clone()).unwrap();
    let middle = signed.signature.len() / 2;
    let other = if signed.signature.as_bytes()[middle] == b'A' { "B" } else { "A" };
    let forged = format!("{}{other}{}", &signed.signature[..middle], &signed.signature[middle + 1..]);
    let changed = [
        text.replacen("a test", "a tesu", 1),
        String::from_utf8(SignedGrant { signature: forged, ..signed }.bytes()).unwrap(),
        text[..text.trim_end().len() - 1].to_owned(),
    ];
    for changed in changed {
        assert_ne!(changed, text);
        carry(changed.as_bytes());
        let mut gate = start();
        gate.waits(WaitKind::Grant, "no grant has come for this boot");
        // No client has ever held what `killed` looks at.
        send(gate.gate(), Signal::KILL);
        gate.ends();
        house.nothing_has_run();
    }
    carry(&bytes);
    let mut gate = start();
    gate.hears_up();
    killed(gate);
    house.never_two();
}
