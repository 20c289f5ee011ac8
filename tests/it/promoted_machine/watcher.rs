//! What the watcher, bound by the machine's name, still sees of a promoted machine, and what it may do with it: read it.

use std::{path::Path, time::Duration};

use failover::{
    adapters::gce::Gce,
    domain::{ActionId, MachinePower, MachineShape, Role, Step, ownership::OwnershipView},
    ports::{CloudError, FindingState, Machines as _, PromotionMachines as _, Scope, Unpromoted},
    sandbox::{
        compute::FakeCompute,
        stage::{OURS, Pace, Stage},
    },
};
use google_cloud_auth::credentials::{CacheableResource, Credentials, CredentialsProvider, EntityTag};
use serde_json::json;

use super::{changes, reshape, standby};
use crate::compute::{ZONES, gce_with, incident, rig, validator};

#[derive(Debug)]
struct Token(&'static str);

impl CredentialsProvider for Token {
    async fn headers(
        &self,
        _: http::Extensions,
    ) -> Result<CacheableResource<http::HeaderMap>, google_cloud_auth::errors::CredentialsError> {
        let value = http::HeaderValue::from_str(&format!("Bearer {}", self.0)).unwrap();
        let data = [(http::header::AUTHORIZATION, value)].into_iter().collect();
        Ok(CacheableResource::New { entity_tag: EntityTag::new(), data })
    }

    async fn universe_domain(&self) -> Option<String> {
        None
    }
}

/// The watcher as it is bound by name, and the operator, who is not.
async fn watcher(fake: &FakeCompute) -> Gce {
    fake.bind_watcher("watcher");
    gce_with(fake, "home", |config| config.credentials = Credentials::from(Token("watcher"))).await
}

#[tokio::test]
async fn a_promoted_machine_is_out_of_the_watchers_reach_and_stays_its_validators() {
    let rig = rig().await;
    let watcher = watcher(&rig.fake).await;
    let (instance, _, promoted) = standby(&rig).await;
    let proof = watcher.observe(&instance).await.unwrap().unwrap();
    let proof = Unpromoted::check(&proof, &validator(), incident(), &OwnershipView::ABSENT).unwrap();
    reshape(&rig.gce, &instance, &promoted).await.unwrap();
    rig.fake.guest_attribute(&promoted.name, "boot", "installing ansible");
    let from = rig.fake.log().len();

    // Under its number it is found, under whatever name.
    let seen = watcher.observe(&instance).await.unwrap().unwrap();
    assert_eq!((&seen.machine.instance.name, &seen.machine.instance.id), (&promoted.name, &instance.id));
    assert_eq!((seen.machine.role, seen.machine.deletion_protection), (Role::Promoted, true));
    assert_ne!(seen.written, failover::domain::Written::Nothing, "and what it reports");
    let scope = Scope::Incident(validator(), incident());
    assert_eq!(watcher.find(&scope).await.unwrap()[0].instance.name, promoted.name);
    assert_eq!(rig.gce.is_terminated(&instance).await.unwrap(), Some(false), "it is not gone");

    // A proof from before does not delete it, and neither would the cloud.
    let action = ActionId { incident: incident(), step: Step::Delete, attempt: 1 };
    let error = watcher.delete(&action, &proof).await.unwrap_err();
    assert!(matches!(&error, CloudError::Refused(why) if why.contains("kept-")), "{error:?}");
    assert_eq!(changes(&rig.fake.log()[from..]), [""; 0]);
    let link =
        format!("{}/compute/v1/projects/home-failover/zones/{}/instances/{}", rig.fake.url(), ZONES[0], promoted.name);
    let client = reqwest::Client::new();
    let as_watcher = |request: reqwest::RequestBuilder| request.bearer_auth("watcher").json(&json!({})).send();
    assert_eq!(as_watcher(client.delete(&link)).await.unwrap().status(), 403);
    for verb in ["setMetadata", "setLabels", "setTags", "setName", "setDeletionProtection", "setScheduling", "stop"] {
        assert_eq!(as_watcher(client.post(format!("{link}/{verb}"))).await.unwrap().status(), 403, "{verb}");
    }
    assert_eq!(client.delete(&link).send().await.unwrap().status(), 400, "protected against everybody");
    assert_eq!(rig.gce.shape(&instance).await.unwrap().unwrap(), promoted);

    // `failover check` sees that it is so, and would see if it were not.
    let of_it = |findings: Vec<failover::ports::Finding>| {
        let found = findings.into_iter().filter(|finding| finding.subject.contains(&promoted.name));
        found.map(|finding| (finding.state, finding.detail)).collect::<Vec<_>>()
    };
    let found = of_it(watcher.check().await);
    assert!(matches!(&found[..], [(FindingState::Ok, _)]), "{found:?}");
    let found = of_it(rig.gce.check().await);
    assert!(matches!(&found[..], [(FindingState::Warning, why)] if why.contains("setMetadata")), "{found:?}");
    rig.fake.deny("compute.instances.getGuestAttributes");
    let found = of_it(watcher.check().await);
    assert!(matches!(&found[..], [(FindingState::Problem, why)] if why.contains("getGuestAttributes")), "{found:?}");
}

#[tokio::test]
async fn a_new_machine_under_the_old_name_is_not_the_promoted_one() {
    let rig = rig().await;
    let (instance, _, promoted) = standby(&rig).await;
    reshape(&rig.gce, &instance, &promoted).await.unwrap();
    // Its disks kept their names, so that the cloud itself refuses the same name in the same place.
    let outcome = rig.gce.create(&crate::compute::spec(ZONES[0], 1), uuid::Uuid::nil()).await;
    assert!(
        matches!(&outcome, failover::domain::CreateOutcome::RefusedHere(why) if why.contains("a disk in")),
        "{outcome:?}"
    );
    let name = instance.name.clone();
    rig.fake.tamper(&promoted.name, |json| json["status"] = "TERMINATED".into());
    let renamed = MachineShape { name: "kept-other".into(), ..promoted.clone() };
    reshape(&rig.gce, &instance, &renamed).await.unwrap();
    assert_eq!(rig.gce.observe(&instance).await.unwrap().unwrap().machine.instance.name, "kept-other");
    assert_ne!(name, "kept-other");
    rig.fake.vanish("kept-other");
    assert_eq!(rig.gce.observe(&instance).await.unwrap(), None, "now it is gone");
    assert_eq!(rig.gce.shape(&instance).await.unwrap(), None);
}

/// The real watcher goes on while its standby is promoted, and home comes back after that.
#[tokio::test(flavor = "multi_thread")]
async fn the_watcher_shows_a_promoted_machine_as_its_standby_and_sweeps_nothing() {
    const PATIENCE: Duration = Duration::from_secs(60);
    let mut stage = Stage::build(Path::new(env!("CARGO_BIN_EXE_failover")), &Pace::quick()).await.unwrap();
    stage.start_watcher().unwrap();
    stage.until("it watches", PATIENCE, |status| status.validators[0].phase == "watching").await.unwrap();
    stage.home.unplug().await;
    stage.chain.set_attesting(OURS, false);
    stage.alertmanager.send("ValidatorDown", "eth-0", failover::domain::Time::now(), None).await;
    stage.until("a standby is ready", PATIENCE, |status| status.validators[0].phase == "ready").await.unwrap();
    let machine = stage.cloud.machines().remove(0);
    let site = machine.label("site").to_owned();
    let operator = gce_with(&stage.cloud, &site, |config| config.project = machine.project().to_owned()).await;
    let instance = operator.find(&Scope::Everything).await.unwrap().remove(0).instance;
    let before = operator.shape(&instance).await.unwrap().unwrap();
    assert_eq!(before.power, MachinePower::Running);
    let promoted = reshape(&operator, &instance, &before.promoted("7")).await.unwrap();
    let shows = promoted.name.clone();
    let is_shown = |status: &failover::runtime::status::Status| {
        serde_json::to_string(status).is_ok_and(|text| text.contains(&shows))
    };
    stage.until("it is shown under its name", PATIENCE, is_shown).await.unwrap();
    stage.chain.set_attesting(OURS, true);
    stage.home.plug_in().await.unwrap();
    let over = |_: &failover::runtime::status::Status| {
        stage.mail.mails().iter().any(|mail| mail.subject().contains("over after"))
    };
    if let Err(error) = stage.until("home is back and the machine is kept", PATIENCE, over).await {
        let subjects: Vec<_> = stage.mail.mails().iter().map(|mail| mail.subject().to_owned()).collect();
        panic!(
            "{error}
{subjects:?}
{}",
            serde_json::to_string(&stage.status().await.unwrap()).unwrap()
        );
    }
    assert_eq!(stage.cloud.inserts(), 1);
    let deletes = stage.cloud.log().iter().filter(|line| line.method == "DELETE").count();
    assert_eq!((deletes, stage.cloud.machines().len()), (0, 1));
    assert_eq!(operator.shape(&instance).await.unwrap().unwrap(), promoted);
}
