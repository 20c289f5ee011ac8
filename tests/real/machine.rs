//! Machines that are really booted, without anything of ours on them: what a start-up script may count on.

use std::{sync::Arc, time::Duration};

use failover::{
    adapters::clock::SystemClock,
    domain::Span,
    sandbox::compute::{FakeCompute, Machines},
};
use serde_json::{Value, json};

use crate::{nspawn::Nspawn, parts::part};

/// Says what it sees, counts its boots on the disk, and reports as the agent does.
const SCRIPT: &str = r#"#!/bin/sh
boots=$(($(cat /var/lib/boots 2> /dev/null || echo 0) + 1))
echo "$boots" > /var/lib/boots
base="http://$GCE_METADATA_HOST/computeMetadata/v1/instance"
name=$(curl -sf -H 'Metadata-Flavor: Google' "$base/name")
echo "failover: boot $boots of $name"
printf '{"boot":%s,"as":"%s"}' "$boots" "$(id -un)" |
  curl -sf -X PUT -H 'Metadata-Flavor: Google' --data-binary @- "$base/guest-attributes/failover/report"
echo "failover: done" > /dev/ttyS0
"#;

struct Cloud {
    fake: FakeCompute,
    client: reqwest::Client,
}

impl Cloud {
    async fn start() -> Self {
        let zones = ["us-central1-a"];
        let fake = FakeCompute::start(&zones, Span::from_millis(1), Arc::new(SystemClock)).await.unwrap();
        Self { fake, client: failover::adapters::http::client(Duration::from_secs(5)).unwrap() }
    }

    fn url(&self, rest: &str) -> String {
        format!("{}/compute/v1/projects/p/zones/us-central1-a/instances{rest}", self.fake.url())
    }

    async fn insert(&self, name: &str, script: &str) {
        let items = json!([
            {"key": "startup-script", "value": script},
            {"key": "enable-guest-attributes", "value": "TRUE"},
        ]);
        let body = json!({
            "name": name, "machineType": "zones/us-central1-a/machineTypes/n2-standard-8",
            "disks": [{"boot": true, "autoDelete": true}], "metadata": {"items": items},
        });
        assert_eq!(self.client.post(self.url("")).json(&body).send().await.unwrap().status(), 200);
    }

    async fn console(&self, name: &str) -> String {
        let answer = self.client.get(self.url(&format!("/{name}/serialPort"))).send().await.unwrap();
        answer.json::<Value>().await.unwrap()["contents"].as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the machine has reported this boot and its console shows what the script has said.
    async fn booted(&self, name: &str, boot: u64, nspawn: &Nspawn) {
        let wait = async {
            loop {
                assert_eq!(nspawn.failures(), Vec::<String>::new());
                let reported = self.fake.guest_attributes(name).iter().any(|(namespace, key, value)| {
                    let value: Value = serde_json::from_str(value).unwrap();
                    (namespace.as_str(), key.as_str()) == ("failover", "report")
                        && value == json!({"boot": boot, "as": "root"})
                });
                let console = self.console(name).await;
                let said = console.contains(&format!("failover: boot {boot} of {name}"))
                    && console.matches("failover: done").count() >= usize::try_from(boot).unwrap();
                if reported && said {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(120), wait).await.is_err() {
            panic!("boot {boot} has come to nothing:\n{}", self.console(name).await);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_runs_its_start_up_script_at_every_boot_and_ends_with_the_machine() {
    let cloud = Cloud::start().await;
    let nspawn = Arc::new(Nspawn::new(part("debian")).with_disk(64 << 20));
    let machines = Machines::boot(&cloud.fake, nspawn.clone());
    cloud.insert("fo-real", SCRIPT).await;
    cloud.booted("fo-real", 1, &nspawn).await;
    let state = nspawn.run_on("fo-real", &["systemctl", "is-system-running", "--wait"]).await;
    assert_eq!(String::from_utf8_lossy(&state.stdout).trim(), "running", "no unit has failed");
    let disk = nspawn.run_on("fo-real", &["blockdev", "--getsize64", "/dev/disk/by-id/google-chaindata"]).await;
    assert_eq!(String::from_utf8_lossy(&disk.stdout).trim(), (64 << 20).to_string(), "{disk:?}");
    let port = cloud.fake.url().rsplit(':').next().unwrap().to_owned();
    let beyond = nspawn.run_on("fo-real", &["curl", "-s", &format!("http://127.0.0.1:{port}")]).await;
    assert_eq!(beyond.status.code(), Some(7), "the host has ports that are none of its business: {beyond:?}");
    // Somebody types `reboot` on the machine, and somebody presses its reset button.
    nspawn.run_on("fo-real", &["systemctl", "reboot"]).await;
    cloud.booted("fo-real", 2, &nspawn).await;
    let reset = cloud.client.post(cloud.url("/fo-real/reset")).send().await.unwrap();
    assert_eq!(reset.status(), 200);
    cloud.booted("fo-real", 3, &nspawn).await;
    let root = nspawn.file("fo-real", "/");
    assert_eq!(cloud.client.delete(cloud.url("/fo-real")).send().await.unwrap().status(), 200);
    machines.power_off().await;
    assert!(cloud.fake.machines().is_empty());
    assert_eq!(processes_in(&root), Vec::<String>::new(), "nothing of it runs any more");
}

/// Every process whose root is this folder.
fn processes_in(root: &std::path::Path) -> Vec<String> {
    let all = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let inside = all.filter(|process| {
        let command = std::fs::read_to_string(process.join("cmdline")).unwrap_or_default();
        std::fs::read_link(process.join("root")).is_ok_and(|of| of.starts_with(root) && root.parent().is_some())
            || command.contains(root.to_str().unwrap())
    });
    inside.map(|process| process.display().to_string()).collect()
}
