//! `failover logs`, against the fake Compute Engine's serial port.

use std::io::{BufRead as _, BufReader};

use failover::{
    adapters::ledger_sqlite::LedgerSqlite,
    domain::{Case, Incident, InstanceRef, Rung, Stage, Standby, Time, Validator},
    ports::{Expect, Ledger as _},
    records,
    runtime::{
        identity,
        store::{Envelope, FORM},
    },
};

use super::rig::{House, program};
use crate::compute::{Rig, ZONES, created, incident, rig};

/// A house whose cloud is this fake, and whose ledger says where the standby is.
async fn house(rig: &Rig, standby: Option<&InstanceRef>) -> House {
    let house = House::new(&format!(
        "compute: {{project: home-failover, endpoint: '{}', credentials: anonymous, \
         ladder: [{{zone: {}, machine_type: n2-standard-8}}]}}\n",
        rig.fake.url(),
        ZONES[0]
    ));
    let Some(instance) = standby else { return house };
    let now = Time::now();
    let incident = Incident { steps: 1, machine_since: Some(now), ..Incident::new(incident(), now, "a test".into()) };
    let rung = Rung { zone: instance.zone.clone(), machine_type: "n2-standard-8".into() };
    let standby = Standby::new(instance.clone(), rung, now);
    let case = Case { incident, stage: Stage::Standing(standby), attention: None };
    let validator = Validator { case: Some(case), ..Validator::default() };
    let ledger = LedgerSqlite::open(&house.folder.path().join("ledger.sqlite")).unwrap();
    let id = identity::of(&ledger, Time::now()).await.unwrap().id;
    let envelope =
        Envelope { form: FORM, ledger: id, written_at: now, token: 1, write_id: uuid::Uuid::nil(), validator };
    ledger.put("validators/eth-0", records::encode("validators/eth-0", &envelope), Expect::Absent).await.unwrap();
    house
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_show_what_the_machine_printed_and_obey_none_of_it() {
    let rig = rig().await;
    let instance = created(&rig).await;
    rig.fake.serial_write(&instance.name, b"failover: \x1b[2Jbooting\r\nfailover: done\n");
    let house = house(&rig, Some(&instance)).await;
    let (shown, as_json) = tokio::task::spawn_blocking(move || {
        (house.run(&["logs", "eth-0"]), house.run(&["logs", "eth-0", "--json", "--last", "5"]))
    })
    .await
    .unwrap();
    assert_eq!((shown.code, shown.out.as_str()), (0, "failover: ^[[2Jbooting\nfailover: done\n"), "{}", shown.err);
    let part: serde_json::Value = serde_json::from_str(&as_json.out).unwrap();
    assert_eq!((&part["contents"], &part["next"]), (&"done\n".into(), &38.into()), "{part}");
}

#[tokio::test(flavor = "multi_thread")]
async fn followed_logs_go_on_where_they_were_and_end_with_the_machine() {
    let rig = rig().await;
    let instance = created(&rig).await;
    rig.fake.serial_write(&instance.name, b"one\n");
    let house = house(&rig, Some(&instance)).await;
    let mut follow = program();
    follow.args(["logs", "eth-0", "--follow", "--config"]).arg(house.config());
    let mut child = follow.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || tokio::task::block_in_place(|| lines.next().map(Result::unwrap));
    assert_eq!(next().as_deref(), Some("one"));
    rig.fake.serial_write(&instance.name, b"two\n");
    assert_eq!(next().as_deref(), Some("two"), "and `one` does not come twice");
    rig.fake.vanish(&instance.name);
    assert_eq!(next(), None);
    assert!(tokio::task::block_in_place(|| child.wait()).unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_standby_logs_say_so() {
    let rig = rig().await;
    let house = house(&rig, None).await;
    let refused = tokio::task::spawn_blocking(move || house.run(&["logs", "eth-0"])).await.unwrap();
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("eth-0 is watching and has no standby now"), "{}", refused.err);
}
